//! A sender that waits for room: noted at its connection, its producer and the destination.

use super::super::destination::DestinationHandle;
use super::super::registry::{ConnectionEntry, ProducerEntry};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One wait.
pub(super) struct Blocked {
    destination: Arc<DestinationHandle>,
    connection: Arc<ConnectionEntry>,
    producer: Option<Arc<ProducerEntry>>,
    since: Instant,
}

impl Blocked {
    pub(super) fn begin(
        destination: Arc<DestinationHandle>,
        connection: Arc<ConnectionEntry>,
        producer: Option<Arc<ProducerEntry>>,
    ) -> Self {
        destination.shared.blocks();
        connection.blocked.store(true, Ordering::Relaxed);
        if let Some(producer) = &producer {
            producer.blocked.store(true, Ordering::Relaxed);
            producer.blocked_sends.fetch_add(1, Ordering::Relaxed);
        }
        Self { destination, connection, producer, since: Instant::now() }
    }
}

/// The wait is over.
impl Drop for Blocked {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        self.destination.shared.unblocks(waited);
        self.connection.blocked.store(false, Ordering::Relaxed);
        if let Some(producer) = &self.producer {
            producer.blocked.store(false, Ordering::Relaxed);
            let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            producer.blocked_micros.fetch_add(micros, Ordering::Relaxed);
        }
    }
}

/// Waits for `room`, and at each `interval` says for how many seconds already; zero: never.
pub(super) async fn warned_of<T>(
    room: impl Future<Output = T>,
    interval: Duration,
    warn: impl Fn(u64),
) -> T {
    let start = tokio::time::Instant::now();
    let mut room = pin!(room);
    if interval.is_zero() {
        return room.await;
    }
    loop {
        match tokio::time::timeout(interval, room.as_mut()).await {
            Ok(done) => return done,
            Err(_) => warn(start.elapsed().as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_is_mentioned_at_each_interval() {
        let said = RefCell::new(Vec::new());
        let wait = |interval| {
            let room = tokio::time::sleep(Duration::from_secs(100));
            warned_of(room, interval, |seconds| said.borrow_mut().push(seconds))
        };
        wait(Duration::from_secs(30)).await;
        assert_eq!(said.take(), [30, 60, 90]);
        wait(Duration::ZERO).await;
        assert!(said.borrow().is_empty());
    }
}
