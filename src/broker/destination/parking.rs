//! Sends that wait for room: the sender gets its receipt when the message is in, not before, and its
//! connection goes on meanwhile (semantics.md section 8).

use super::queue::{QueueContext, Shortage};
use super::{Admission, Effects, Incoming, Now};
use crate::broker::advisory::Notice;
use crate::broker::error::BrokerError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The waiting sends of one destination, oldest first.
#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<Parked>,
    /// A wake-up is registered with the usage.
    wake_pending: Arc<AtomicBool>,
    full: bool,
    warned: Option<Instant>,
}

#[derive(Debug)]
struct Parked {
    incoming: Incoming,
    since: Instant,
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
                    return Some(incoming);
                }
                self.note_full(&incoming, context, size, now, out);
                self.waiting.push_back(Parked { incoming, since: now.instant });
                None
            }
        }
    }

    /// The next waiting send that got its memory. Fails those that waited too long.
    pub(super) fn next(
        &mut self,
        context: &QueueContext,
        now: Now,
        out: &mut Effects,
    ) -> Option<Incoming> {
        let patience = context.policy.send_fail_after;
        loop {
            let Some(oldest) = self.waiting.front() else {
                let usages = [&context.usage, &context.store_usage, &context.temp_usage];
                self.full = self.full && usages.iter().any(|usage| usage.full().is_some());
                return None;
            };
            if context.try_take(&oldest.incoming) {
                return self.waiting.pop_front().map(|parked| parked.incoming);
            }
            if patience.is_zero() || now.instant < oldest.since + patience {
                self.ask_for_wake(context);
                return None;
            }
            if let Some(Parked { incoming, .. }) = self.waiting.pop_front() {
                let (producer, destination) = (incoming.producer(), context.destination.clone());
                let error = match context.full_for(&incoming.message) {
                    Some(Shortage::Store(limit)) => {
                        BrokerError::StoreWaitTimeout { limit, producer, destination }
                    }
                    Some(Shortage::Temp(limit)) => {
                        BrokerError::TempWaitTimeout { limit, producer, destination }
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
    }

    /// When the oldest send has waited long enough.
    pub(super) fn deadline(&self, context: &QueueContext) -> Option<Instant> {
        let patience = context.policy.send_fail_after;
        self.waiting.front().filter(|_| !patience.is_zero()).map(|oldest| oldest.since + patience)
    }

    fn ask_for_wake(&self, context: &QueueContext) {
        if self.wake_pending.swap(true, Ordering::SeqCst) {
            return;
        }
        let (pending, wake) = (Arc::clone(&self.wake_pending), Arc::clone(&context.wake));
        // The one that is full will tell.
        let usages = [&context.usage, &context.store_usage, &context.temp_usage];
        let full = usages.into_iter().find(|usage| usage.full().is_some());
        full.unwrap_or(&context.usage).when_room(move || {
            pending.store(false, Ordering::SeqCst);
            wake();
        });
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
            match context.full_for(&incoming.message) {
                Some(Shortage::Store(limit)) => {
                    super::warn_store_full(&context.destination, limit, &incoming.producer());
                }
                Some(Shortage::Temp(limit)) => {
                    super::warn_temp_full(&context.destination, limit, &incoming.producer());
                }
                _ => super::warn_full(&context.destination, &context.usage, size),
            }
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
