//! How messages leave a queue: acknowledged, expired, dead, purged.

use super::super::in_flight::{Ack, Entry};
use super::super::{Effects, Now, Op};
use super::judged::Span;
use super::{Key, Queue};
use crate::broker::advisory::Notice;
use crate::broker::dead_letter::{Cause, DeadLetter, Leaving, Told};
use crate::broker::error::BrokerError;
use crate::broker::outbox::Receipt;
use crate::jms::{AckKind, Text};
use crate::store::{Cancel, StoreOp};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Queue {
    /// Applies an acknowledgement. `receipt` is taken when it has to wait for dead letters; else it is to
    /// wait for what leaves the store.
    pub(super) fn acknowledge(
        &mut self,
        ack: &Ack,
        receipt: &mut Option<Receipt>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BrokerError> {
        let extend = self.context.policy.use_prefetch_extension;
        if let Some(browser) = self.browsers.iter_mut().find(|b| b.key() == ack.subscription) {
            browser.acknowledged(ack.count);
            return Ok(());
        }
        let Some(subscription) = self.consumers.get_mut(ack.subscription) else { return Ok(()) };
        let window = Arc::clone(&subscription.new.window);
        let by = match ack.kind {
            AckKind::Poison => subscription.new.info.connection().cloned(),
            _ => self.context.policy.witness(&subscription.new.info),
        };
        let settled = subscription.in_flight.settle(ack, &window, extend)?;
        subscription.dequeued += settled.removed.len() as u64;
        window.pace.acknowledged(now.instant);
        if subscription.new.info.network_subscription {
            self.counters.now.forwarded += settled.removed.len() as u64;
        }
        let letters = match ack.kind {
            AckKind::Poison | AckKind::Expired => settled.removed.len(),
            _ => 0,
        };
        let mut receipts = match (letters, receipt.is_some()) {
            (1.., true) => receipt.take().map(|r| r.split(letters)).unwrap_or_default(),
            _ => Vec::new(),
        };
        for entry in settled.removed {
            match ack.kind {
                AckKind::Poison => {
                    let cause = ack.cause.as_deref().map(|cause| Cause::Client(cause.clone()));
                    self.dead(entry, cause, by.as_ref(), receipts.pop(), out);
                }
                // By the client's clock, which may be ahead of ours: it has not consumed the message.
                AckKind::Expired => self.expired(entry, receipts.pop(), out),
                _ => self.consumed(entry, by.as_ref(), out),
            }
        }
        Ok(())
    }

    /// A message was consumed, by a consumer of that connection.
    fn consumed(&mut self, entry: Entry, by: Option<&Text>, out: &mut Effects) {
        if self.context.stores(&entry.message) {
            // What was not written yet need not be.
            let withdrawn = entry.cancel.as_ref().is_some_and(Cancel::cancel);
            if !withdrawn {
                out.removals.push(self.removal(entry.sequence));
            }
        }
        self.consumed_in_store(&entry, by, out);
    }

    /// A message was consumed, and the store knows.
    pub(super) fn consumed_in_store(
        &mut self,
        entry: &Entry,
        by: Option<&Text>,
        out: &mut Effects,
    ) {
        if self.context.policy.advisory_for_consumed {
            out.notice(Notice::consumed(&self.context.destination, &entry.message, by));
        }
        if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
            match entry.message.persistent {
                // It may come again.
                false => audit.forget(id),
                true if self.context.policy.duplicates_are_dead_letters => audit.gone(id),
                true => {}
            }
        }
        self.gone(entry);
    }

    /// A message reached the end of its life. `receipt` is of who waits for that.
    pub(super) fn expired(&mut self, entry: Entry, receipt: Option<Receipt>, out: &mut Effects) {
        self.counters.now.expired += 1;
        out.notice(Notice::expired(&self.context.destination, &entry.message));
        if self.context.policy.advisory_for_consumed {
            out.notice(Notice::consumed(&self.context.destination, &entry.message, None));
        }
        let expiration = entry.message.expiration;
        self.dead(entry, Some(Cause::Expired(expiration)), None, receipt, out);
    }

    /// The message leaves the store in the submit that brings it to the dead letter queue.
    fn dead(
        &mut self,
        entry: Entry,
        cause: Option<Cause>,
        by: Option<&Text>,
        receipt: Option<Receipt>,
        out: &mut Effects,
    ) {
        // It may be sent here again from the dead letter queue.
        if let (Some(audit), Some(id), true) = (&mut self.audit, entry.id(), entry.sequence != 0) {
            audit.forget(id);
        }
        let stored = entry.sequence != 0 && self.context.stores(&entry.message);
        let leaves = stored.then(|| self.leaving(&entry));
        out.dead_letter(DeadLetter {
            message: Arc::clone(&entry.message),
            from: self.context.destination.clone(),
            cause,
            subscriber: None,
            by: by.cloned(),
            redeliveries: entry.redeliveries,
            leaves,
            receipt,
        });
        self.gone(&entry);
    }

    fn gone(&mut self, entry: &Entry) {
        self.forget_sequence(entry.sequence);
        self.counters.now.dequeued += 1;
        self.context.usage.release(entry.bytes);
    }

    /// Takes `entry` out of the store; until that is done no page brings it again.
    fn leaving(&mut self, entry: &Entry) -> Leaving {
        let (sequence, tell) = (entry.sequence, Arc::clone(&self.context.tell));
        self.dying.insert(sequence, entry.band);
        let told = Told::new(move |gone| tell(Op::Buried { sequence, gone }));
        Leaving { op: self.removal(sequence), told }
    }

    /// A dead message has left the store; or could not, then it is pending again.
    pub(super) fn buried(&mut self, sequence: i64, gone: bool, now: Now, out: &mut Effects) {
        let Some(band) = self.dying.remove(&sequence) else { return };
        if gone {
            // A page that is on its way may have been read before.
            self.forget_sequence(sequence);
        } else {
            let dequeued = &mut self.counters.now.dequeued;
            *dequeued = dequeued.saturating_sub(1);
            self.backlog.skip(band, sequence);
            self.backlog_expires = true;
            self.look_at(Span::of(Key::at(band, sequence)));
        }
        if self.dying.is_empty() && std::mem::take(&mut self.more_expired) {
            self.read_expired(now, out);
        }
    }

    pub(super) fn removal(&self, sequence: i64) -> StoreOp {
        StoreOp::Remove { destination: self.context.destination.clone(), sequence }
    }

    /// Pending messages that are past their time leave, when the check is due.
    pub(super) fn expire_due(&mut self, now: Now, out: &mut Effects) {
        if self.next_expiry_check.is_none_or(|due| now.instant < due) {
            return;
        }
        self.expire_pending(now, out);
        self.read_expired(now, out);
        let spilled = self.spill.check_expiry();
        let more = !self.expiring.is_empty() || self.backlog_expires || spilled;
        self.next_expiry_check = more.then(|| now.instant + self.context.policy.expire_period);
    }

    /// Those in memory that are past their time leave.
    pub(super) fn expire_pending(&mut self, now: Now, out: &mut Effects) {
        while let Some(&(expiration, key)) = self.expiring.first() {
            if expiration >= now.wall_ms {
                break;
            }
            self.expiring.pop_first();
            if let Some(entry) = self.pending.remove(key) {
                self.expired(entry, None, out);
            }
        }
    }

    /// Every message goes, those in flight too.
    pub(super) fn purge(&mut self, out: &mut Effects) {
        self.clear();
        if self.context.keeps && !self.context.destination.kind().is_temporary() {
            let last = self.context.sequence.load(Ordering::Relaxed);
            out.removals
                .push(StoreOp::Purge { destination: self.context.destination.clone(), last });
        }
    }

    /// Forgets every message, those in flight too.
    pub(super) fn clear(&mut self) {
        let mut entries: Vec<Entry> = std::mem::take(&mut self.pending).into_values().collect();
        self.expiring.clear();
        for subscription in self.consumers.iter_mut() {
            entries.extend(subscription.in_flight.purge());
        }
        entries.extend(std::mem::take(&mut self.orphans).into_iter().map(|(_, entry)| entry));
        entries.extend(self.clear_spill());
        for entry in entries {
            self.gone(&entry);
        }
        for sequence in self.locked.clear().collect::<Vec<i64>>() {
            self.counters.now.dequeued += 1;
            self.forget_sequence(sequence);
        }
        self.counters.now.dequeued += self.backlog.len();
        self.backlog.clear();
        self.purged.extend(self.withheld.iter().copied());
        self.reading_expired = false;
    }
}
