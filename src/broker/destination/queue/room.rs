//! Messages the store has refused for want of space, though there was some when they were let in: their
//! senders wait as if they had come later, unless the policy says that they are told.

use super::{Key, Queue};
use crate::broker::destination::in_flight::Entry;
use crate::broker::destination::{Adds, Admission, Effects, Incoming, Now};
use crate::broker::outbox::Receipt;
use crate::jms::Message;
use crate::store::{StoreOp, StoredAdd};
use std::sync::Arc;

/// A message that a consumer has, or had, and that is still to be stored.
#[derive(Debug)]
pub(super) struct Late {
    add: StoredAdd,
    receipt: Option<Receipt>,
}

impl Queue {
    /// What nobody has goes back to the sends that wait, before all others; what a consumer has is stored when
    /// there is room, if it is still there then.
    pub(super) fn wait_for_room(&mut self, adds: Adds, now: Now, out: &mut Effects) {
        let (sends, mut awaited) = adds.into_sends();
        for (add, receipt) in sends {
            let sequence = add.sequence;
            let of_awaited = awaited.iter().position(|entry| entry.sequence == sequence);
            let waiting = of_awaited.map(|at| awaited.swap_remove(at));
            if let Some(entry) = &waiting {
                self.withheld.remove(&entry.sequence);
                if self.purged.remove(&entry.sequence) {
                    self.context.usage.release(entry.bytes);
                    out.resolve(receipt, Ok(()));
                    continue;
                }
            }
            let waiting = waiting.or_else(|| self.remove(Key::at(add.band, sequence)));
            if let Some(entry) = waiting {
                self.context.usage.release(entry.bytes);
                self.send_again(entry, receipt, now, out);
            } else if self.has_out(sequence) {
                self.late.push(Late { add, receipt });
            } else if add.cancel.as_ref().is_some_and(|cancel| cancel.is_cancelled()) {
                // It was consumed.
                out.resolve(receipt, Ok(()));
            } else {
                self.backlog.gone(add.band);
                let bytes = self.bytes_of(&add.message);
                let entry = self.entry(add.message, sequence, bytes);
                self.send_again(entry, receipt, now, out);
            }
        }
        self.store_late(out);
    }

    /// Gives the store what it had no room for, if it may have some now.
    pub(super) fn store_late(&mut self, out: &mut Effects) {
        if self.late.is_empty() {
            return;
        }
        let percent = self.context.policy.store_high_water_percent;
        if self.context.store_usage.full_at(percent).is_some() {
            self.parking.ask_for_store(&self.context);
            return;
        }
        for Late { add, receipt } in std::mem::take(&mut self.late) {
            if self.has_out(add.sequence) || self.has_pending(&add) {
                out.adds.push(StoreOp::Add(add));
                out.when_added(receipt);
            } else {
                out.resolve(receipt, Ok(()));
            }
        }
    }

    fn send_again(&mut self, entry: Entry, receipt: Option<Receipt>, now: Now, out: &mut Effects) {
        if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
            audit.forget(id);
        }
        self.counters.now.enqueued = self.counters.now.enqueued.saturating_sub(1);
        let bytes = self.bytes_of(&entry.message);
        let incoming = Incoming {
            admission: Admission::Park,
            redeliveries: entry.redeliveries,
            receipt,
            ..Incoming::of_broker(entry.message, bytes)
        };
        let size = self.pending.len() as u64 + self.backlog.len();
        self.parking.put_back(incoming, &self.context, size, now, out);
    }

    fn bytes_of(&self, message: &Arc<Message>) -> u64 {
        (message.size() as u64).max(self.context.policy.minimum_message_bytes)
    }

    /// Whether a message is with a consumer, or on its way to a dead letter queue.
    fn has_out(&self, sequence: i64) -> bool {
        let mut held = self.consumers.iter().flat_map(|s| s.in_flight.iter());
        held.any(|held| held.entry.sequence == sequence)
            || self.orphans.iter().any(|(_, entry)| entry.sequence == sequence)
            || self.dying.contains_key(&sequence)
    }

    fn has_pending(&self, add: &StoredAdd) -> bool {
        self.pending.contains(Key::at(add.band, add.sequence))
    }
}
