//! A queue's part in transactions.

use super::super::commit::{CommittedSend, DUPLICATE, Decision, outlives_its_producer};
use super::super::in_flight::{Entry, TransactionKey};
use super::super::{Effects, Now};
use super::Queue;
use crate::broker::destination::audit::Seen;
use crate::jms::Text;
use crate::store::StoreOp;
use std::sync::Arc;

impl Queue {
    /// Says what a commit does here: what was acknowledged leaves, what was sent comes.
    pub(super) fn vote(
        &mut self,
        transaction: Option<TransactionKey>,
        sends: Vec<CommittedSend>,
        now: Now,
    ) -> (Vec<StoreOp>, Vec<Entry>) {
        self.votes += 1;
        let marked = transaction.map(|transaction| self.marked(transaction)).unwrap_or_default();
        let mut ops: Vec<StoreOp> =
            marked.into_iter().map(|sequence| self.removal(sequence)).collect();
        let mut entries = Vec::with_capacity(sends.len());
        for CommittedSend { message, bytes } in sends {
            if message.is_expired(now.wall_ms) {
                entries.push(self.entry(message, 0, bytes));
                continue;
            }
            let seen = self.note(&message);
            if seen != Seen::New && !outlives_its_producer(&message) {
                self.context.usage.release(bytes);
                if seen == Seen::Gone {
                    entries.push(self.entry(message, DUPLICATE, 0));
                }
            } else {
                let redeliveries = message.redelivery_counter;
                let entry = Entry { redeliveries, ..self.numbered(message, bytes) };
                if self.context.stores(&entry.message) {
                    self.withheld.insert(entry.sequence);
                    ops.push(self.add_op(&entry));
                }
                entries.push(entry);
            }
        }
        (ops, entries)
    }

    /// Carries out a commit, or undoes the vote.
    pub(super) fn decide(&mut self, decision: Decision, now: Now, out: &mut Effects) {
        let Decision { transaction, outcome, waits_on, entries, receipt } = decision;
        match transaction {
            Some(transaction) if outcome.is_ok() => {
                for (by, entry) in self.end_transaction(transaction) {
                    self.consumed_in_store(&entry, by.as_ref(), out);
                }
                for sequence in self.locked.take(transaction) {
                    self.counters.now.dequeued += 1;
                    self.forget_sequence(sequence);
                }
            }
            Some(transaction) if !waits_on => self.roll_back(transaction, now),
            _ => {}
        }
        for entry in entries {
            if entry.sequence == DUPLICATE {
                if outcome.is_ok() {
                    self.counters.now.duplicates += 1;
                    self.context.drop_duplicate(entry.message, true, None, out);
                }
                continue;
            }
            let stored = self.withheld.remove(&entry.sequence);
            if self.purged.remove(&entry.sequence) && outcome.is_ok() {
                self.context.usage.release(entry.bytes);
                out.removals.push(self.removal(entry.sequence));
            } else if outcome.is_err() {
                self.context.usage.release(entry.bytes);
                if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
                    audit.forget(id);
                }
            } else if entry.sequence == 0 {
                self.count_arrival(entry.bytes);
                self.expired(entry, None, out);
            } else {
                self.note_arrival(&entry, out);
                if stored {
                    self.enter_stored(entry, now);
                } else {
                    self.keep_unstored(entry, now);
                }
            }
        }
        out.resolve(receipt, outcome);
    }

    /// Sequences of the stored messages acknowledged in `transaction`.
    pub(super) fn marked(&self, transaction: TransactionKey) -> Vec<i64> {
        let held = self.consumers.iter().flat_map(|s| s.in_flight.marked(transaction));
        let orphans = self.orphans.iter().filter(|(holder, _)| *holder == transaction);
        held.chain(orphans.map(|(_, entry)| entry))
            .filter(|entry| self.context.stores(&entry.message))
            .map(|entry| entry.sequence)
            .chain(self.locked.of(transaction))
            .collect()
    }

    /// What was acknowledged in `transaction` leaves its consumers; and their connections, if those are told.
    fn end_transaction(&mut self, transaction: TransactionKey) -> Vec<(Option<Text>, Entry)> {
        let mut removed = Vec::new();
        for subscription in self.consumers.iter_mut() {
            let window = Arc::clone(&subscription.new.window);
            let gone = subscription.in_flight.end_transaction(transaction, true, &window);
            subscription.dequeued += gone.len() as u64;
            if subscription.new.info.network_subscription {
                self.counters.now.forwarded += gone.len() as u64;
            }
            let by = self.context.policy.witness(&subscription.new.info);
            removed.extend(gone.into_iter().map(|entry| (by.clone(), entry)));
        }
        removed.extend(self.take_orphans(transaction).into_iter().map(|entry| (None, entry)));
        removed
    }

    /// What was acknowledged in `transaction` stays with its consumers, or is pending again when they are
    /// gone.
    pub(super) fn roll_back(&mut self, transaction: TransactionKey, now: Now) {
        for subscription in self.consumers.iter_mut() {
            let window = Arc::clone(&subscription.new.window);
            subscription.in_flight.end_transaction(transaction, false, &window);
        }
        for entry in self.take_orphans(transaction) {
            self.insert(entry, now);
        }
        self.unlock(transaction);
    }

    fn take_orphans(&mut self, transaction: TransactionKey) -> Vec<Entry> {
        let (mine, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|(holder, _)| *holder == transaction);
        self.orphans = others;
        mine.into_iter().map(|(_, entry)| entry).collect()
    }
}
