//! How a consumer keeps up: noted by who serves it, looked at by who watches it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Numbers of one consumer.
#[derive(Debug)]
pub struct Pace {
    slow: AtomicBool,
    /// How often it fell behind.
    times: AtomicU32,
    /// Messages it took though more were waiting; not counted for plain subscriptions of topics.
    taken: AtomicU64,
    since: Instant,
    /// The last acknowledgement, ms after `since`.
    acknowledged_ms: AtomicU64,
}

/// What a watcher sees of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub slow: bool,
    /// How often it fell behind so far.
    pub times: u32,
    /// Grows while it takes messages, where that is counted.
    pub taken: u64,
    /// Since its last acknowledgement, or since it came.
    pub silent_for: Duration,
    pub in_flight: i32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            slow: AtomicBool::new(false),
            times: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            since: Instant::now(),
            acknowledged_ms: AtomicU64::new(0),
        }
    }
}

impl Pace {
    /// Messages wait and the consumer takes none. True when it was not so before.
    pub(super) fn falls_behind(&self) -> bool {
        if self.slow.load(Ordering::Relaxed) {
            return false;
        }
        self.times.fetch_add(1, Ordering::Relaxed);
        !self.slow.swap(true, Ordering::Relaxed)
    }

    /// Whether messages wait and the consumer takes none.
    pub(super) fn is_behind(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// The consumer takes messages again.
    pub(super) fn keeps_up(&self) {
        if self.slow.load(Ordering::Relaxed) {
            self.slow.store(false, Ordering::Relaxed);
        }
    }

    /// It is given so many messages.
    pub(super) fn takes(&self, messages: u64) {
        if messages > 0 {
            self.taken.fetch_add(messages, Ordering::Relaxed);
        }
    }

    /// It has acknowledged something.
    pub(super) fn acknowledged(&self, now: Instant) {
        let after = now.saturating_duration_since(self.since).as_millis();
        self.acknowledged_ms.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What there is to see of a consumer that holds `in_flight` messages.
    pub(super) fn seen(&self, in_flight: i32, now: Instant) -> Seen {
        let acknowledged = Duration::from_millis(self.acknowledged_ms.load(Ordering::Relaxed));
        let here_for = now.saturating_duration_since(self.since);
        Seen {
            slow: self.slow.load(Ordering::Relaxed),
            times: self.times.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            silent_for: here_for.saturating_sub(acknowledged),
            in_flight,
        }
    }
}
