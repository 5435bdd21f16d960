//! How messages leave a queue: acknowledged, expired, dead, purged.

use super::super::in_flight::{Ack, Entry, TransactionKey};
use super::super::{Effects, Now};
use super::Queue;
use crate::broker::advisory::Notice;
use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::error::BrokerError;
use crate::jms::AckKind;
use crate::store::StoreOp;
use std::sync::Arc;

impl Queue {
    /// Applies an acknowledgement; true when something durable was removed.
    pub(super) fn acknowledge(
        &mut self,
        ack: &Ack,
        now: Now,
        out: &mut Effects,
    ) -> Result<bool, BrokerError> {
        let extend = self.context.policy.use_prefetch_extension;
        if let Some(browser) = self.browsers.iter_mut().find(|b| b.key() == ack.subscription) {
            browser.acknowledged(ack.count);
            return Ok(false);
        }
        let Some(subscription) = self.subscription_mut(ack.subscription) else { return Ok(false) };
        let window = Arc::clone(&subscription.new.window);
        let settled = subscription.in_flight.settle(ack, &window, extend)?;
        subscription.dequeued += settled.removed.len() as u64;
        let durable = settled.removed.iter().any(|entry| entry.message.persistent);
        for entry in settled.removed {
            match ack.kind {
                AckKind::Poison => {
                    let cause = ack.cause.as_deref().map(|cause| Cause::Client(cause.clone()));
                    self.dead(entry, cause, out);
                }
                AckKind::Expired if entry.message.is_expired(now.wall_ms) => {
                    self.expired(entry, out)
                }
                _ => self.consumed(entry, out),
            }
        }
        Ok(durable)
    }

    /// Commit: what was acknowledged in the transaction leaves. Rollback: it stays with its consumer,
    /// or goes back to the queue when the consumer is gone.
    pub(super) fn end_transaction(
        &mut self,
        transaction: TransactionKey,
        commit: bool,
        now: Now,
        out: &mut Effects,
    ) {
        let mut removed = Vec::new();
        for subscription in &mut self.subscriptions {
            let window = Arc::clone(&subscription.new.window);
            let gone = subscription.in_flight.end_transaction(transaction, commit, &window);
            subscription.dequeued += gone.len() as u64;
            removed.extend(gone);
        }
        let (mine, others) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|(holder, _)| *holder == transaction);
        self.orphans = others;
        for (_, entry) in mine {
            if commit {
                removed.push(entry);
            } else {
                self.insert(entry, now);
            }
        }
        for entry in removed {
            self.consumed(entry, out);
        }
    }

    /// A message was consumed.
    fn consumed(&mut self, entry: Entry, out: &mut Effects) {
        if self.context.policy.advisory_for_consumed {
            out.notice(Notice::consumed(&self.context.destination, &entry.message));
        }
        self.gone(&entry, out);
    }

    /// A message reached the end of its life.
    pub(super) fn expired(&mut self, entry: Entry, out: &mut Effects) {
        self.counters.expired += 1;
        out.notice(Notice::expired(&self.context.destination, &entry.message));
        if self.context.policy.advisory_for_consumed {
            out.notice(Notice::consumed(&self.context.destination, &entry.message));
        }
        let expiration = entry.message.expiration;
        self.dead(entry, Some(Cause::Expired(expiration)), out);
    }

    fn dead(&mut self, entry: Entry, cause: Option<Cause>, out: &mut Effects) {
        // It may be sent here again from the dead letter queue.
        if let (Some(audit), Some(id), true) = (&mut self.audit, entry.id(), entry.sequence != 0) {
            audit.forget(id);
        }
        out.dead_letter(DeadLetter {
            message: Arc::clone(&entry.message),
            from: self.context.destination.clone(),
            cause,
            subscriber: None,
        });
        self.gone(&entry, out);
    }

    fn gone(&mut self, entry: &Entry, out: &mut Effects) {
        self.counters.dequeued += 1;
        self.context.usage.release(entry.bytes);
        if entry.sequence != 0 && self.is_stored(&entry.message) {
            out.store.push(StoreOp::Remove {
                destination: self.context.destination.clone(),
                sequence: entry.sequence,
            });
        }
    }

    /// Pending messages that are past their time leave, when the check is due.
    pub(super) fn expire_due(&mut self, now: Now, out: &mut Effects) {
        if self.next_expiry_check.is_none_or(|due| now.instant < due) {
            return;
        }
        while let Some(&(expiration, key)) = self.expiring.first() {
            if expiration >= now.wall_ms {
                break;
            }
            self.expiring.pop_first();
            if let Some(entry) = self.pending.remove(&key) {
                self.expired(entry, out);
            }
        }
        let more = !self.expiring.is_empty();
        self.next_expiry_check = more.then(|| now.instant + self.context.policy.expire_period);
    }

    /// Every message goes, those in flight too.
    pub(super) fn purge(&mut self, out: &mut Effects) {
        let mut entries: Vec<Entry> = std::mem::take(&mut self.pending).into_values().collect();
        self.expiring.clear();
        for subscription in &mut self.subscriptions {
            entries.extend(subscription.in_flight.purge());
        }
        entries.extend(std::mem::take(&mut self.orphans).into_iter().map(|(_, entry)| entry));
        for entry in entries {
            self.gone(&entry, out);
        }
    }
}
