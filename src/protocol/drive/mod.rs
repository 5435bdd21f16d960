//! The loop of one connection, the same for all protocols.
//!
//! ```text
//! socket -> frames -> Ingress::frame, handle ---> broker
//!                                |                  |
//!                             replies             outbox
//!                                v                  v
//! socket <- bytes <--------- Egress::poll_take, encode
//! ```
//!
//! Reading and writing are two futures of one task. A producer that is blocked by flow control holds up
//! the reading half only: dispatches and keep-alives still go out. Reading goes through a buffer that
//! all connections of a thread share; a connection keeps bytes only while a frame is incomplete.

use super::{Egress, Ended, Ingress, Liveness};
use crate::broker::client::Closing;
use crate::transport::WriteBuffer;
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// What one read takes at the most.
const READ_BYTES: usize = 64 * 1024;

/// Frames longer than this are kept in one piece, so that their bodies need no copy.
const SHARED_FRAME_MIN: usize = 32 * 1024;

/// From its first byte to its last a frame has this long, however the bytes trickle in ...
const FRAME_PATIENCE: Duration = Duration::from_secs(30);
/// ... and a second more for each of these.
const FRAME_BYTES_PER_SECOND: usize = 64 * 1024;

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the peer to take something of what is written; none: as long as it takes.
    pub write: Option<Duration>,
    /// For something to read; none: for ever.
    pub read: Option<Duration>,
    /// For the peer to introduce itself.
    pub handshake: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { write: None, read: None, handshake: Duration::from_secs(30) }
    }
}

/// How long a connection that was refused may take to read why and close.
const REFUSED_LINGER: Duration = Duration::from_secs(2);

/// How long the last words may take to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

thread_local! {
    /// Where a read goes.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
    /// The memory of a buffer that has been written: the next connection that writes takes it.
    static WRITTEN: Cell<WriteBuffer> = Cell::default();
}

/// What the reading half tells the one that watches.
#[derive(Debug, Default)]
struct Signs {
    /// Something came since the last check.
    received: AtomicBool,
    /// Commands are being carried out: the socket is unread because of us.
    busy: AtomicBool,
}

/// Runs a connection to its end. `stop` ends it from outside; `closing` is what the client knows it by. A
/// command that is being carried out is carried out to its end.
///
/// The task of an idle connection is little more than this future. What only some connections need, or only for a
/// while, is in boxes of its own; and it is no `async fn`, which would keep what it is given twice.
pub fn drive<R, W, I, E>(
    mut reader: R,
    mut writer: W,
    mut ingress: I,
    mut egress: E,
    stop: Arc<Notify>,
    closing: Closing,
    patience: Patience,
) -> impl Future<Output = Ended> + Send
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
    I: Ingress,
    E: Egress,
{
    let (signs, mut out) = (Signs::default(), WriteBuffer::default());
    async move {
        let ended = {
            let mut reading = pin!(read(&mut reader, &mut ingress, &signs, &closing, &patience));
            let writing = pin!(write(&mut writer, &mut egress, &mut out, &signs, patience.write));
            let (ended, is_reading) = tokio::select! {
                ended = &mut reading => (ended, false),
                ended = writing => (ended, true),
                () = stop.notified() => (Ended::Stopped, true),
            };
            closing.close();
            if is_reading {
                reading.await;
            }
            ended
        };
        if matches!(ended, Ended::Refused) {
            Box::pin(linger(&mut reader, &mut writer, &mut egress, &mut out)).await;
        } else {
            Box::pin(last_words(&mut writer, &mut egress, &mut out)).await;
        }
        Box::pin(ingress.close()).await;
        ended
    }
}

/// Reads until the connection ends; it has to be polled once more when `closing` says so.
async fn read<R: AsyncRead + Unpin, I: Ingress>(
    reader: &mut R,
    ingress: &mut I,
    signs: &Signs,
    closing: &Closing,
    patience: &Patience,
) -> Ended {
    let mut partial = BytesMut::new();
    let handshake = Instant::now() + patience.handshake;
    // When the frame began that is incomplete.
    let mut begun = Instant::now();
    let mut timer = None;
    loop {
        let fresh = partial.is_empty();
        let deadline = if !ingress.established() {
            Some(handshake)
        } else if !fresh {
            match ingress.frame_length(&partial) {
                Ok(wanted) => Some(begun + frame_patience(wanted.unwrap_or(0))),
                Err(ended) => return ended,
            }
        } else {
            patience.read.map(|read| Instant::now() + read)
        };
        set(&mut timer, deadline);
        let filling = poll_fn(|cx| {
            if let Poll::Ready(got) = poll_fill(cx, reader, ingress, &mut partial) {
                return Poll::Ready(got);
            }
            if closing.is_closed() {
                return Poll::Ready(Err(Ended::Stopped));
            }
            let Some(timer) = &mut timer else { return Poll::Pending };
            timer.as_mut().poll(cx).map(|()| Err(late(ingress, &partial, patience)))
        });
        let mut cut = match filling.await {
            Ok(Some(cut)) => cut,
            Ok(None) => return Ended::Goodbye,
            Err(ended) => {
                // What came whole before the fault is carried out.
                return handle(ingress).await.err().unwrap_or(ended);
            }
        };
        signs.received.store(true, Ordering::Relaxed);
        signs.busy.store(true, Ordering::Relaxed);
        loop {
            if let Err(ended) = handle(ingress).await {
                return ended;
            }
            match cut_partial(ingress, &mut partial) {
                Ok(0) => break,
                Ok(more) => cut += more,
                Err(ended) => return handle(ingress).await.err().unwrap_or(ended),
            }
        }
        if partial.is_empty() {
            partial = BytesMut::new();
        } else if fresh || cut > 0 {
            begun = Instant::now();
        }
        signs.busy.store(false, Ordering::Relaxed);
    }
}

/// How long a frame of so many bytes may take.
fn frame_patience(bytes: usize) -> Duration {
    FRAME_PATIENCE + Duration::from_secs((bytes / FRAME_BYTES_PER_SECOND) as u64)
}

/// Sets `timer`, or gives it up. Frames that come in pieces, one behind the other, share one.
fn set(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Option<Instant>) {
    match (timer.as_mut(), deadline) {
        (_, None) => *timer = None,
        (Some(timer), Some(deadline)) => timer.set(sleep_until(deadline)),
        (None, Some(deadline)) => *timer = Some(Box::pin(sleep_until(deadline))),
    }
}

/// What has not come in time.
fn late<I: Ingress>(ingress: &I, partial: &[u8], patience: &Patience) -> Ended {
    if !ingress.established() {
        return Ended::NoHandshake(patience.handshake);
    }
    match ingress.frame_length(partial) {
        Err(ended) => ended,
        Ok(_) if partial.is_empty() => Ended::Inactive(patience.read.unwrap_or_default()),
        Ok(wanted) => Ended::SlowFrame(wanted.unwrap_or(0)),
    }
}

/// Carries out what was read. Most of what the task of a connection can be in the middle of is in there: it takes
/// that memory for as long as it is at work, and an idle connection is small.
fn handle<I: Ingress>(
    ingress: &mut I,
) -> Pin<Box<dyn Future<Output = Result<(), Ended>> + Send + '_>> {
    Box::pin(ingress.handle())
}

/// Reads once and cuts frames: how many bytes became frames. None at the end of the stream.
fn poll_fill<R: AsyncRead + Unpin, I: Ingress>(
    cx: &mut Context<'_>,
    reader: &mut R,
    ingress: &mut I,
    partial: &mut BytesMut,
) -> Poll<Result<Option<usize>, Ended>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let used = if partial.is_empty() {
            let used = cut(ingress, bytes)?;
            partial.extend_from_slice(&bytes[used..]);
            used
        } else {
            continue_partial(ingress, partial, bytes)?
        };
        Poll::Ready(Ok(Some(used)))
    })
}

/// Decodes the whole frames at the beginning of `bytes`; returns how many bytes they were.
fn cut<I: Ingress>(ingress: &mut I, bytes: &[u8]) -> Result<usize, Ended> {
    let mut at = 0;
    while let Some(length) = ingress.frame_length(&bytes[at..])? {
        let Some(frame) = bytes.get(at..at + length) else { break };
        at += length;
        if !ingress.frame(frame, None)? {
            break;
        }
    }
    Ok(at)
}

/// As [`cut`], of `partial` with `bytes` behind it. Only what belongs to the frame that `partial` begins with is
/// copied there, unless the frame is a long one.
fn continue_partial<I: Ingress>(
    ingress: &mut I,
    partial: &mut BytesMut,
    bytes: &[u8],
) -> Result<usize, Ended> {
    let missing = match ingress.frame_length(partial)? {
        Some(length) if length < SHARED_FRAME_MIN => length.checked_sub(partial.len()),
        _ => None,
    };
    let Some((end, rest)) = missing.and_then(|missing| bytes.split_at_checked(missing)) else {
        partial.extend_from_slice(bytes);
        return cut_partial(ingress, partial);
    };
    partial.extend_from_slice(end);
    let goes_on = ingress.frame(partial, None)?;
    let used = partial.len();
    partial.clear();
    let more = if goes_on { cut(ingress, rest)? } else { 0 };
    partial.extend_from_slice(&rest[more..]);
    Ok(used + more)
}

/// As [`cut`], out of what is kept; returns how many bytes went.
fn cut_partial<I: Ingress>(ingress: &mut I, partial: &mut BytesMut) -> Result<usize, Ended> {
    if let Some(length) = ingress.frame_length(partial)?
        && length >= SHARED_FRAME_MIN
    {
        if partial.len() < length {
            // Never more than twice what has come.
            partial.reserve((length - partial.len()).min(partial.len()));
            return Ok(0);
        }
        let frame: Bytes = partial.split_to(length).freeze();
        ingress.frame(&frame, Some(&frame))?;
        return Ok(length);
    }
    let used = cut(ingress, partial)?;
    bytes::Buf::advance(partial, used);
    Ok(used)
}

/// Reads and forgets, until the peer closes.
async fn drain<R: AsyncRead + Unpin>(reader: &mut R) {
    loop {
        let got = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
            })
        })
        .await;
        if !matches!(got, Ok(1..)) {
            return;
        }
    }
}

/// What the writing half wakes up for.
enum Wake {
    Work,
    Check,
}

async fn write<W: AsyncWrite + Unpin, E: Egress>(
    writer: &mut W,
    egress: &mut E,
    out: &mut WriteBuffer,
    signs: &Signs,
    write_timeout: Option<Duration>,
) -> Ended {
    let mut watch: Option<Watch> = None;
    loop {
        let waking = poll_fn(|cx| {
            if let Some(watch) = &mut watch
                && watch.timer.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Wake::Check);
            }
            egress.poll_take(cx).map(|()| Wake::Work)
        });
        let wake = waking.await;
        *out = WRITTEN.take();
        let encoded = match (wake, &mut watch) {
            (Wake::Check, Some(watch)) => match watch.check(signs) {
                Ok(true) => egress.keep_alive(out),
                Ok(false) => Ok(()),
                Err(ended) => return ended,
            },
            _ => egress.encode(out),
        };
        if !out.is_empty() {
            let written = match &mut watch {
                None => write_all(writer, out, write_timeout).await,
                Some(watch) => {
                    watch.sent = true;
                    let lost = watch.lost(signs);
                    tokio::select! {
                        biased;
                        written = write_all(writer, out, write_timeout) => written,
                        lost = lost => Err(lost),
                    }
                }
            };
            if let Err(ended) = written {
                return ended;
            }
        }
        WRITTEN.set(std::mem::take(out));
        if let Err(ended) = encoded {
            return ended;
        }
        if watch.is_none() {
            watch = egress.liveness().map(Watch::new);
        }
    }
}

/// Writes all of `out`. The peer is given up when it takes nothing for as long as `patience`.
async fn write_all<W: AsyncWrite + Unpin>(
    writer: &mut W,
    out: &mut WriteBuffer,
    patience: Option<Duration>,
) -> Result<(), Ended> {
    while !out.is_empty() {
        let writing = poll_fn(|cx| {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = out.chunks(&mut slices);
            Pin::new(&mut *writer).poll_write_vectored(cx, &slices[..filled])
        });
        let written = match patience {
            None => writing.await?,
            Some(patience) => match Box::pin(timeout(patience, writing)).await {
                Ok(written) => written?,
                Err(_) => return Err(Ended::Blocked(patience)),
            },
        };
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        out.advance(written);
    }
    Ok(poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await?)
}

/// Writes to a peer that was refused, until it closes or has had its time.
async fn linger<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, E: Egress>(
    reader: &mut R,
    writer: &mut W,
    egress: &mut E,
    out: &mut WriteBuffer,
) {
    let signs = Signs::default();
    let lingering = async {
        tokio::select! {
            _ = write(writer, egress, out, &signs, None) => {}
            () = drain(reader) => {}
        }
    };
    // Whoever does not close by then is closed.
    drop(timeout(REFUSED_LINGER, lingering).await);
}

/// Writes what still waits, for a short while, behind what was being written.
async fn last_words<W: AsyncWrite + Unpin, E: Egress>(
    writer: &mut W,
    egress: &mut E,
    out: &mut WriteBuffer,
) {
    let writing = async {
        loop {
            write_all(writer, out, None).await?;
            if !poll_fn(|cx| Poll::Ready(egress.poll_take(cx).is_ready())).await {
                return Ok::<_, Ended>(());
            }
            // What cannot be encoded is left out; the connection ends anyway.
            drop(egress.encode(out));
        }
    };
    // The peer may be gone; nobody waits for these bytes any more.
    drop(timeout(FLUSH_PATIENCE, writing).await);
    let closing = poll_fn(|cx| Pin::new(&mut *writer).poll_shutdown(cx));
    drop(timeout(FLUSH_PATIENCE, closing).await);
}

/// Checks for life in both directions (OpenWire section 9).
#[derive(Debug)]
struct Watch {
    liveness: Liveness,
    next_read: Instant,
    next_write: Instant,
    sent: bool,
    /// Set anew at each check only: a write costs no timer.
    timer: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(liveness: Liveness) -> Self {
        let first = Instant::now() + liveness.initial_delay;
        let timer = Box::pin(sleep_until(first));
        Self { liveness, next_read: first, next_write: first, sent: false, timer }
    }

    /// Goes on with the checks while something is being written; ends when the peer is given up.
    async fn lost(&mut self, signs: &Signs) -> Ended {
        loop {
            self.timer.as_mut().await;
            if let Err(ended) = self.check(signs) {
                return ended;
            }
            self.sent = true;
        }
    }

    /// True when a sign of life is due.
    fn check(&mut self, signs: &Signs) -> Result<bool, Ended> {
        let now = Instant::now();
        if now >= self.next_read {
            self.next_read = now + self.liveness.read_check;
            let heard = signs.received.swap(false, Ordering::Relaxed);
            if !heard && !signs.busy.load(Ordering::Relaxed) {
                return Err(Ended::Inactive(self.liveness.read_check));
            }
        }
        let due = now >= self.next_write;
        if due {
            self.next_write = now + self.liveness.write_check;
        }
        self.timer.as_mut().reset(self.next_read.min(self.next_write));
        let quiet = !self.sent;
        if due {
            self.sent = false;
        }
        Ok(due && quiet)
    }
}

#[cfg(test)]
mod tests;
