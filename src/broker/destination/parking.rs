//! Sends that wait for room: the sender gets its receipt when the message is in, not before, and its
//! connection goes on meanwhile (semantics.md section 8). The bound: what the connections have room for,
//! see [`Incoming::parked`].

use super::queue::{QueueContext, Shortage, TempShortage};
use super::{Admission, Effects, Incoming, Join, Now};
use crate::broker::advisory::Notice;
use crate::broker::error::BrokerError;
use crate::broker::usage::Usage;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The waiting sends of one destination, oldest first.
#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<Parked>,
    /// So many of them, the oldest, were in before.
    put_back: usize,
    wakes: Wakes,
    full: bool,
    warned: Option<Instant>,
    /// Since it is full, there was a warning of the store, or of the temp store.
    warned_of_store: bool,
    warned_of_temp: bool,
}

/// With which limits a wake-up is registered.
#[derive(Debug, Default)]
struct Wakes {
    memory: Arc<AtomicBool>,
    store: Arc<AtomicBool>,
    temp: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Parked {
    incoming: Incoming,
    since: Instant,
}

impl Parked {
    /// When it has waited long enough, if its sender is to be told.
    fn deadline(&self, context: &QueueContext) -> Option<Instant> {
        let patience = context.policy.send_fail_after;
        (!patience.is_zero() && !self.incoming.of_network).then(|| self.since + patience)
    }
}

impl Parking {
    /// Takes memory for `incoming` as it asks for; none when it must wait.
    pub(super) fn enter(
        &mut self,
        incoming: Incoming,
        context: &QueueContext,
        size: u64,
        now: Now,
        out: &mut Effects,
    ) -> Option<Incoming> {
        match incoming.admission {
            Admission::Credited => Some(incoming),
            Admission::Forced => {
                context.usage.take(incoming.bytes);
                Some(incoming)
            }
            Admission::Park => {
                if self.waiting.is_empty() && context.try_take(&incoming) {
                    return admitted(incoming, out);
                }
                self.note_full(&incoming, context, size, now, out);
                context.shared.blocks();
                self.waiting.push_back(Parked { incoming, since: now.instant });
                None
            }
        }
    }

    /// A message the store had no room for waits again, behind those that came back before it.
    pub(super) fn put_back(
        &mut self,
        incoming: Incoming,
        context: &QueueContext,
        size: u64,
        now: Now,
        out: &mut Effects,
    ) {
        self.note_full(&incoming, context, size, now, out);
        context.shared.blocks();
        let at = self.put_back.min(self.waiting.len());
        self.waiting.insert(at, Parked { incoming, since: now.instant });
        self.put_back = at + 1;
    }

    /// The destination is told when the store has room.
    pub(super) fn ask_for_store(&self, context: &QueueContext) {
        let percent = context.policy.store_high_water_percent;
        ask(&context.store_usage, percent, &self.wakes.store, context);
    }

    /// Takes out the one at `at`.
    fn take(&mut self, at: usize, context: &QueueContext, now: Now) -> Option<Incoming> {
        let Parked { incoming, since } = self.waiting.remove(at)?;
        if at < self.put_back {
            self.put_back -= 1;
        }
        context.shared.unblocks(now.instant.saturating_duration_since(since));
        Some(incoming)
    }

    /// The first that will have waited long enough, and when. All may wait as long, but those of networks.
    fn most_urgent(&self, context: &QueueContext) -> Option<(usize, Instant)> {
        if context.policy.send_fail_after.is_zero() {
            return None;
        }
        let deadlines = self.waiting.iter().map(|parked| parked.deadline(context));
        deadlines.enumerate().find_map(|(at, deadline)| Some((at, deadline?)))
    }

    /// The next waiting send that got its memory. Fails those that waited too long.
    pub(super) fn next(
        &mut self,
        context: &QueueContext,
        now: Now,
        out: &mut Effects,
    ) -> Option<Incoming> {
        loop {
            let Some(oldest) = self.waiting.front() else {
                let usages = [&context.usage, &context.store_usage, &context.temp_usage];
                self.full = self.full && usages.iter().any(|usage| usage.full().is_some());
                self.warned_of_store &= self.full;
                self.warned_of_temp &= self.full;
                return None;
            };
            if context.try_take(&oldest.incoming) {
                match admitted(self.take(0, context, now)?, out) {
                    Some(incoming) => return Some(incoming),
                    None => continue,
                }
            }
            let overdue =
                self.most_urgent(context).filter(|(_, deadline)| *deadline <= now.instant);
            let Some((at, _)) = overdue else {
                self.ask_for_wake(&oldest.incoming, context);
                // It may have waited for memory until now, and nobody comes any more who is warned of this.
                let short = context.full_for(&oldest.incoming.message);
                let is_news = match short {
                    Some(Shortage::Store(_)) => !self.warned_of_store,
                    Some(Shortage::Temp(_)) => !self.warned_of_temp,
                    Some(Shortage::Memory) | None => false,
                };
                if is_news {
                    let producer = oldest.incoming.producer();
                    self.warn(short, &producer, context, 0);
                }
                return None;
            };
            if let Some(incoming) = self.take(at, context, now) {
                let (producer, destination) = (incoming.producer(), context.destination.clone());
                let error = match context.full_for(&incoming.message) {
                    Some(Shortage::Store(limit)) => {
                        let percent = context.policy.store_high_water_percent;
                        BrokerError::StoreWaitTimeout { percent, limit, producer, destination }
                    }
                    Some(Shortage::Temp(TempShortage { percent, limit_bytes: limit })) => {
                        BrokerError::TempWaitTimeout { percent, limit, producer, destination }
                    }
                    _ => BrokerError::MemoryWaitTimeout { producer, destination },
                };
                out.resolve(incoming.receipt, Err(error));
            }
        }
    }

    /// Drops what a connection that is gone had waiting.
    pub(super) fn forget(&mut self, connection: u64) {
        self.waiting.retain(|parked| parked.incoming.connection != connection);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.put_back = 0;
    }

    /// When the first send has waited long enough.
    pub(super) fn deadline(&self, context: &QueueContext) -> Option<Instant> {
        self.most_urgent(context).map(|(_, deadline)| deadline)
    }

    /// What `oldest` lacks will tell when there is some.
    fn ask_for_wake(&self, oldest: &Incoming, context: &QueueContext) {
        let (usage, percent, pending) = match context.full_for(&oldest.message) {
            Some(Shortage::Store(_)) => {
                let percent = context.policy.store_high_water_percent;
                (&context.store_usage, percent, &self.wakes.store)
            }
            Some(Shortage::Temp(_)) => (&context.temp_usage, 100, &self.wakes.temp),
            Some(Shortage::Memory) | None => (&context.usage, 100, &self.wakes.memory),
        };
        ask(usage, percent, pending, context);
    }

    fn warn(&mut self, short: Option<Shortage>, producer: &str, context: &QueueContext, size: u64) {
        let destination = &context.destination;
        match short {
            Some(Shortage::Store(limit)) => {
                let percent = context.policy.store_high_water_percent;
                self.warned_of_store = true;
                super::warn_store_full(destination, percent, limit, producer);
            }
            Some(Shortage::Temp(short)) => {
                self.warned_of_temp = true;
                super::warn_temp_full(destination, short, producer);
            }
            Some(Shortage::Memory) | None => {
                super::warn_full(destination, &context.usage, size);
            }
        }
    }

    /// The first send that meets a full destination is worth a warning and advisories.
    fn note_full(
        &mut self,
        incoming: &Incoming,
        context: &QueueContext,
        size: u64,
        now: Now,
        out: &mut Effects,
    ) {
        let interval = context.policy.blocked_warning_interval;
        let again =
            !interval.is_zero() && self.warned.is_none_or(|at| now.instant >= at + interval);
        if !self.full || again {
            self.warned = Some(now.instant);
            let short = context.full_for(&incoming.message);
            self.warn(short, &incoming.producer(), context, size);
        }
        if self.full {
            return;
        }
        self.full = true;
        super::notice_full(&context.policy, &context.destination, &context.usage, out);
        if context.policy.advisory_for_fast_producers
            && let Some(producer) = &incoming.message.producer_id
        {
            out.notice(Notice::fast_producer(&context.destination, producer));
        }
    }
}

/// A send that has its memory; none when it went into its transaction.
fn admitted(incoming: Incoming, out: &mut Effects) -> Option<Incoming> {
    let Some(Join(join)) = incoming.joins else {
        return Some(Incoming { parked: None, ..incoming });
    };
    let result = match join(incoming.message, incoming.bytes) {
        true => Ok(()),
        false => Err(BrokerError::SendTooLate),
    };
    out.resolve(incoming.receipt, result);
    None
}

/// Sees to it that the destination is woken when less than `percent` of `usage` is used; once, as `pending` says.
fn ask(usage: &Usage, percent: u32, pending: &Arc<AtomicBool>, context: &QueueContext) {
    if pending.swap(true, Ordering::SeqCst) {
        return;
    }
    let (pending, wake) = (Arc::clone(pending), Arc::clone(&context.wake));
    usage.when_below(percent, move || {
        pending.store(false, Ordering::SeqCst);
        wake();
    });
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Clock, context, incoming, message};
    use super::*;
    use crate::broker::outbox::{Outbox, Receipt};
    use crate::broker::policy::Policy;
    use crate::jms::{Destination, Message};
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    fn parked(number: i64, persistent: bool) -> Incoming {
        let message = Message { persistent, ..message("c", number) };
        Incoming { admission: Admission::Park, ..incoming(message, None) }
    }

    /// They are held back, and those behind them are told in time that there is no room.
    #[test]
    fn sends_of_networks_wait_as_long_as_need_be() {
        let (usage, mut clock) = (Usage::new(100, None), Clock::new());
        let send_fail_after = Duration::from_millis(20);
        let policy = Policy { send_fail_after, ..Policy::default() };
        let context = context(Destination::queue("Q"), policy, &usage);
        let (mut parking, mut out) = (Parking::default(), Effects::default());
        let answers = Arc::new(Outbox::default());
        usage.take(100);
        for number in 1..4 {
            let receipt = Some(Receipt::new(Arc::clone(&answers), number));
            let of_network = number != 2;
            let incoming = Incoming { receipt, of_network, ..parked(number as i64, false) };
            assert!(parking.enter(incoming, &context, 0, clock.now(), &mut out).is_none());
        }
        assert_eq!(parking.deadline(&context), Some(clock.now().instant + send_fail_after));
        clock.ms += 20;
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        let failed: Vec<_> = out.receipts.drain(..).map(|(_, result)| result).collect();
        assert!(matches!(&failed[..], [Err(BrokerError::MemoryWaitTimeout { .. })]), "{failed:?}");
        assert_eq!(parking.deadline(&context), None);
        clock.ms += 100_000;
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        usage.release(100);
        let mut got_in = std::iter::from_fn(|| parking.next(&context, clock.now(), &mut out));
        assert_eq!(got_in.by_ref().count(), 2);
        assert!(out.receipts.is_empty(), "nobody else is refused");
    }

    /// The log tells it though no other send comes.
    #[test]
    fn who_waits_for_another_reason_than_at_first_is_warned_of_once() {
        let (usage, clock) = (Usage::new(100, None), Clock::new());
        let mut context = context(Destination::queue("Q"), Policy::default(), &usage);
        context.store_usage = Usage::new(10, None);
        let (mut parking, mut out) = (Parking::default(), Effects::default());
        usage.take(100);
        assert!(parking.enter(parked(1, true), &context, 0, clock.now(), &mut out).is_none());
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        assert!(!parking.warned_of_store, "memory is what it lacks");
        context.store_usage.take(10);
        usage.release(100);
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        assert!(parking.warned_of_store);
        context.store_usage.release(10);
        assert!(parking.next(&context, clock.now(), &mut out).is_some());
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        assert!(!parking.warned_of_store, "the next time is another one");
    }

    #[test]
    fn the_limit_that_keeps_the_oldest_out_wakes_the_destination() {
        let (usage, clock) = (Usage::new(100, None), Clock::new());
        let woken = Arc::new(AtomicU64::new(0));
        let wake = Arc::clone(&woken);
        let mut context = context(Destination::queue("Q"), Policy::default(), &usage);
        context.store_usage = Usage::new(10, None);
        context.wake = Arc::new(move || {
            wake.fetch_add(1, Ordering::SeqCst);
            true
        });
        let (mut parking, mut out) = (Parking::default(), Effects::default());
        usage.take(100);
        context.store_usage.take(10);
        for incoming in [parked(1, false), parked(2, true)] {
            assert!(parking.enter(incoming, &context, 0, clock.now(), &mut out).is_none());
        }
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        context.store_usage.release(10);
        assert_eq!(woken.load(Ordering::SeqCst), 0, "the oldest needs none of it");
        context.store_usage.take(10);
        usage.release(100);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(parking.next(&context, clock.now(), &mut out).is_some());
        assert!(parking.next(&context, clock.now(), &mut out).is_none());
        context.store_usage.release(10);
        assert_eq!(woken.load(Ordering::SeqCst), 2, "the store kept the second one out");
        assert!(parking.next(&context, clock.now(), &mut out).is_some());
    }
}
