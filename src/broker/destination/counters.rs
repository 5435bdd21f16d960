//! What a destination counts.
//!
//! Most numbers are plain integers of the destination's own task ([`Ledger`]). What subscriptions of topics
//! and waiting connections know is in [`SharedCounts`], written once per batch and fetched when somebody asks.
//!
//! A destination is counted twice, for itself and for the whole broker, and each can be reset without the
//! other:
//!
//! ```text
//!        reset of the broker        reset of the destination
//!   own    <-----------------  now  ----------------->  broker
//! ```

use crate::jms::Destination;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Least, most and average of what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    pub count: u64,
    pub sum: u64,
    /// 0 while nothing was measured.
    pub min: u64,
    pub max: u64,
}

impl Spread {
    pub fn add(&mut self, value: u64) {
        self.merge(Self { count: 1, sum: value, min: value, max: value });
    }

    pub fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// 0 while nothing was measured.
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }
}

/// What came and went since the broker's start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub enqueued: u64,
    pub dispatched: u64,
    pub dequeued: u64,
    pub expired: u64,
    /// Acknowledged by other brokers.
    pub forwarded: u64,
    /// Not taken, because it had come before.
    pub duplicates: u64,
    /// Bytes of a message as limits of memory count them.
    pub message_bytes: Spread,
    /// ms from a message's coming to its dispatch.
    pub enqueue_ms: Spread,
    /// Sends that had to wait for room, and how long they did.
    pub blocked_sends: u64,
    pub blocked: Duration,
}

impl Counters {
    pub fn merge(&mut self, other: &Self) {
        self.enqueued += other.enqueued;
        self.dispatched += other.dispatched;
        self.dequeued += other.dequeued;
        self.expired += other.expired;
        self.forwarded += other.forwarded;
        self.duplicates += other.duplicates;
        self.message_bytes.merge(other.message_bytes);
        self.enqueue_ms.merge(other.enqueue_ms);
        self.blocked_sends += other.blocked_sends;
        self.blocked += other.blocked;
    }
}

impl Spread {
    /// Adds the ms from `came` to `now`, both since the epoch; nothing if that is not known.
    pub(super) fn add_wait(&mut self, came: i64, now: i64) {
        if came > 0 {
            self.add(u64::try_from(now.saturating_sub(came)).unwrap_or(0));
        }
    }
}

/// Whose counters begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Destination,
    Broker,
}

/// The counters of one destination.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Counted for the destination and for the broker.
    pub(super) now: Counters,
    /// For the destination only.
    own: Counters,
    /// For the broker only.
    broker: Counters,
}

impl Ledger {
    /// What the destination counts for itself.
    pub(super) fn own(&self) -> Counters {
        let mut own = self.own.clone();
        own.merge(&self.now);
        own
    }

    /// What it counts for the broker.
    pub(super) fn broker(&self) -> Counters {
        let mut broker = self.broker.clone();
        broker.merge(&self.now);
        broker
    }

    pub(super) fn reset(&mut self, whose: Whose) {
        let now = std::mem::take(&mut self.now);
        match whose {
            Whose::Destination => {
                self.own = Counters::default();
                self.broker.merge(&now);
            }
            Whose::Broker => {
                self.broker = Counters::default();
                self.own.merge(&now);
            }
        }
    }

    /// Takes what others counted.
    pub(super) fn fetch(&mut self, shared: &SharedCounts) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        self.now.dispatched += take(&shared.dispatched);
        self.now.dequeued += take(&shared.dequeued);
        self.now.forwarded += take(&shared.forwarded);
        self.now.expired += take(&shared.expired);
        self.now.blocked_sends += take(&shared.blocked_sends);
        self.now.blocked += Duration::from_micros(take(&shared.blocked_micros));
    }
}

/// What others count for a destination, until it fetches that.
#[derive(Debug, Default)]
pub struct SharedCounts {
    pub(super) dispatched: AtomicU64,
    pub(super) dequeued: AtomicU64,
    pub(super) forwarded: AtomicU64,
    pub(super) expired: AtomicU64,
    blocked_sends: AtomicU64,
    blocked_micros: AtomicU64,
    /// Durable subscriptions; of a topic.
    durables: AtomicU32,
}

impl SharedCounts {
    /// How many durable subscriptions there are now; of a topic.
    pub(super) fn set_durables(&self, count: usize) {
        self.durables.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Whether persistent messages of `destination`, whose counts these are, go into the store: those of topics
    /// do that for durable subscriptions only.
    pub fn stores(&self, destination: &Destination) -> bool {
        destination.kind().is_queue() || self.durables.load(Ordering::Relaxed) > 0
    }

    /// A send waits for room.
    pub fn blocks(&self) {
        self.blocked_sends.fetch_add(1, Ordering::Relaxed);
    }

    /// It does not wait any more.
    pub fn unblocks(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.blocked_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// What destinations that are gone had counted for the broker.
#[derive(Clone, Debug, Default)]
pub struct Gone(Arc<Mutex<Counters>>);

impl Gone {
    pub(super) fn add(&self, counters: &Counters) {
        self.0.lock().merge(counters);
    }

    pub fn counters(&self) -> Counters {
        self.0.lock().clone()
    }

    pub fn reset(&self) {
        *self.0.lock() = Counters::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_of_one_leaves_the_other() {
        let mut ledger = Ledger::default();
        ledger.now.enqueued = 3;
        ledger.now.enqueue_ms.add(5);
        ledger.reset(Whose::Broker);
        assert_eq!((ledger.own().enqueued, ledger.broker()), (3, Counters::default()));
        ledger.now.enqueued += 1;
        ledger.now.enqueue_ms.add(2);
        ledger.reset(Whose::Destination);
        assert_eq!((ledger.own(), ledger.broker().enqueued), (Counters::default(), 1));
        assert_eq!(ledger.broker().enqueue_ms, Spread { count: 1, sum: 2, min: 2, max: 2 });
    }

    #[test]
    fn a_spread_of_nothing_is_zero() {
        let mut spread = Spread::default();
        assert_eq!((spread.min, spread.max, spread.average()), (0, 0, 0.0));
        [7, 3, 5].into_iter().for_each(|value| spread.add(value));
        assert_eq!((spread.min, spread.max, spread.average()), (3, 7, 5.0));
    }

    #[test]
    fn what_others_counted_is_fetched_once() {
        let (mut ledger, shared) = (Ledger::default(), SharedCounts::default());
        shared.blocks();
        shared.unblocks(Duration::from_millis(2));
        ledger.fetch(&shared);
        ledger.fetch(&shared);
        assert_eq!(ledger.own().blocked_sends, 1);
        assert_eq!(ledger.own().blocked, Duration::from_millis(2));
    }
}
