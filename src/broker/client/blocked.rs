//! A sender that waits for room: noted at its connection, its producer and the destination.

use super::super::destination::DestinationHandle;
use super::super::registry::{ConnectionEntry, ProducerEntry};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
