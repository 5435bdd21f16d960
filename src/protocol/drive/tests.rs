use super::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

/// Frames of four bytes; the first one is the handshake.
#[derive(Default)]
struct Fours {
    frames: usize,
}

impl Ingress for Fours {
    fn established(&self) -> bool {
        self.frames > 0
    }

    fn frame_length(&self, _: &[u8]) -> Result<Option<usize>, Ended> {
        Ok(Some(4))
    }

    fn frame(&mut self, _: &[u8], _: Option<&Bytes>) -> Result<bool, Ended> {
        self.frames += 1;
        Ok(true)
    }

    async fn handle(&mut self) -> Result<(), Ended> {
        Ok(())
    }

    async fn close(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let patience = Duration::from_secs(10);
    let (mut near, mut far) = duplex(4);
    let mut out = WriteBuffer::default();
    out.append(&[0; 12]);
    let slowly = async {
        for _ in 0..2 {
            sleep(patience * 2 / 3).await;
            let mut taken = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut far, &mut taken).await.expect("it is there");
        }
    };
    let (written, ()) = tokio::join!(write_all(&mut near, &mut out, Some(patience)), slowly);
    assert!(written.is_ok(), "it took something again and again");
    out.append(&[0; 4]);
    let written = write_all(&mut near, &mut out, Some(patience)).await;
    assert!(matches!(written, Err(Ended::Blocked(_))), "{written:?}");
}

/// Has more to write whenever it is asked.
struct Flood;

impl Egress for Flood {
    fn poll_take(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn encode(&mut self, out: &mut WriteBuffer) -> Result<(), Ended> {
        out.append(&[0; 64]);
        Ok(())
    }

    fn keep_alive(&mut self, _: &mut WriteBuffer) -> Result<(), Ended> {
        Ok(())
    }

    fn liveness(&self) -> Option<Liveness> {
        let check = Duration::from_secs(10);
        Some(Liveness { initial_delay: check, read_check: check, write_check: check })
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_watched_while_it_is_written_to() {
    for takes in [false, true] {
        let (mut near, mut far) = duplex(64);
        let (mut out, signs) = (WriteBuffer::default(), Signs::default());
        let mut flood = Flood;
        let taking = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let mut taken = [0; 64];
                if takes {
                    drop(tokio::io::AsyncReadExt::read(&mut far, &mut taken).await);
                }
            }
        };
        tokio::select! {
            ended = write(&mut near, &mut flood, &mut out, &signs, None) => {
                assert!(matches!(ended, Ended::Inactive(_)), "{ended}");
            }
            () = taking => {}
        }
    }
}

#[tokio::test]
async fn frames_are_the_same_however_they_are_cut() {
    for pieces in [[1, 1, 1, 9], [3, 4, 4, 1], [6, 6, 0, 0], [5, 1, 1, 5], [12, 0, 0, 0]] {
        let (mut fours, mut partial) = (Fours::default(), BytesMut::new());
        for piece in pieces.into_iter().filter(|piece| *piece > 0) {
            let bytes = vec![0; piece];
            let mut reader = &bytes[..];
            let filling = poll_fn(|cx| poll_fill(cx, &mut reader, &mut fours, &mut partial));
            filling.await.expect("all are frames");
        }
        assert_eq!((fours.frames, partial.len()), (3, 0), "{pieces:?}");
    }
}

async fn end_of(mut reader: DuplexStream) -> (Ended, usize, Duration) {
    let (mut fours, opened) = (Fours::default(), Instant::now());
    let ended = {
        let (signs, closing) = (Signs::default(), Closing::default());
        read(&mut reader, &mut fours, &signs, &closing, &Patience::default()).await
    };
    (ended, fours.frames, opened.elapsed())
}

#[tokio::test(start_paused = true)]
async fn peer_without_handshake_is_dropped() {
    let (_silent, reader) = duplex(64);
    let (ended, _, after) = end_of(reader).await;
    assert!(matches!(ended, Ended::NoHandshake(_)), "{ended}");
    assert_eq!(after, Patience::default().handshake);
}

#[tokio::test(start_paused = true)]
async fn frame_that_trickles_in_has_one_deadline() {
    let (mut peer, reader) = duplex(64);
    tokio::spawn(async move {
        peer.write_all(&[0; 5]).await.unwrap();
        loop {
            sleep(FRAME_PATIENCE * 2 / 5).await;
            if peer.write_all(&[0]).await.is_err() {
                return;
            }
        }
    });
    let (ended, frames, after) = end_of(reader).await;
    assert!(matches!(ended, Ended::SlowFrame(4)), "{ended}");
    assert_eq!((frames, after), (1, FRAME_PATIENCE));
}

#[tokio::test(start_paused = true)]
async fn each_frame_has_its_own_deadline() {
    let (mut peer, reader) = duplex(64);
    tokio::spawn(async move {
        // Each write ends one frame and begins the next.
        peer.write_all(&[0; 6]).await.unwrap();
        for _ in 0..10 {
            sleep(FRAME_PATIENCE * 9 / 10).await;
            peer.write_all(&[0; 4]).await.unwrap();
        }
    });
    let (ended, frames, _) = end_of(reader).await;
    assert!(matches!(ended, Ended::Goodbye), "{ended}");
    assert_eq!(frames, 11);
}

#[tokio::test(start_paused = true)]
async fn established_peer_may_be_silent() {
    let (mut peer, reader) = duplex(64);
    tokio::spawn(async move {
        peer.write_all(&[0; 4]).await.unwrap();
        sleep(Patience::default().handshake * 100).await;
    });
    let (ended, frames, _) = end_of(reader).await;
    assert!(matches!(ended, Ended::Goodbye), "{ended}");
    assert_eq!(frames, 1);
}
