//! Messages acknowledged in transactions that were prepared before the broker's start: only the store has
//! them, and no page brings them while they are locked.
//!
//! ```text
//!  locked --commit--> gone
//!     |
//!     +--rollback--> to be read --> asked for --> pending
//!                        ^              |
//!                        +-- no answer -+
//! ```
//!
//! While any are to be read nothing is given to consumers: these come before what is behind them.

use super::super::in_flight::{Entry, TransactionKey};
use super::super::{Effects, Now, PageOf};
use super::Queue;
use crate::store::{Fetch, Page};
use std::mem;

/// Stored messages, by their sequences, that are with nobody and not pending.
#[derive(Debug, Default)]
pub(super) struct Locked {
    held: Vec<(TransactionKey, Vec<i64>)>,
    /// Rolled back, to be read.
    free: Vec<i64>,
    /// Being read.
    asked: Vec<i64>,
}

impl Locked {
    pub(super) fn len(&self) -> usize {
        self.held() + self.free.len() + self.asked.len()
    }

    /// Those whose transactions have not ended: they are not counted as messages of the queue, as in
    /// ActiveMQ.
    pub(super) fn held(&self) -> usize {
        self.held.iter().map(|(_, sequences)| sequences.len()).sum()
    }

    /// Those of `transaction`.
    pub(super) fn of(&self, transaction: TransactionKey) -> impl Iterator<Item = i64> {
        let mine = self.held.iter().filter(move |(holder, _)| *holder == transaction);
        mine.flat_map(|(_, sequences)| sequences.iter().copied())
    }

    /// What `transaction` has locked, which is in the caller's hands from now on.
    pub(super) fn take(&mut self, transaction: TransactionKey) -> Vec<i64> {
        let mine = self.held.extract_if(.., |(holder, _)| *holder == transaction);
        mine.flat_map(|(_, sequences)| sequences).collect()
    }

    /// Everything, and nothing that is being read is wanted any more.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = i64> {
        let Self { held, free, asked } = mem::take(self);
        held.into_iter().flat_map(|(_, sequences)| sequences).chain(free).chain(asked)
    }

    /// Whether messages have yet to come before any other may go.
    pub(super) fn is_reading(&self) -> bool {
        !self.free.is_empty() || !self.asked.is_empty()
    }
}

impl Queue {
    /// These were acknowledged in a prepared transaction.
    pub(super) fn lock(&mut self, transaction: TransactionKey, sequences: Vec<i64>) {
        let band = self.backlog.first().unwrap_or(0);
        sequences.iter().for_each(|_| self.backlog.gone(band));
        self.withheld.extend(sequences.iter().copied());
        self.locked.held.push((transaction, sequences));
    }

    /// What `transaction` had locked will be pending again.
    pub(super) fn unlock(&mut self, transaction: TransactionKey) {
        let sequences = self.locked.take(transaction);
        self.locked.free.extend(sequences);
    }

    /// Asks for what was unlocked, all at once.
    pub(super) fn read_unlocked(&mut self, out: &mut Effects) {
        let waits = !self.locked.asked.is_empty() || self.retry_at.is_some();
        if self.locked.free.is_empty() || waits {
            return;
        }
        let sequences = mem::take(&mut self.locked.free);
        self.locked.asked.clone_from(&sequences);
        let destination = self.context.destination.clone();
        out.fetches.push((PageOf::Unlocked, Fetch::Exactly { destination, sequences }));
    }

    /// They are pending again. They stay withheld: a page may have them too.
    pub(super) fn take_unlocked(&mut self, page: Page, now: Now) {
        let asked = mem::take(&mut self.locked.asked);
        for stored in page.messages {
            // After a purge nobody waits for it.
            if asked.contains(&stored.sequence) {
                let entry: Entry = self.stored_entry(stored);
                self.context.usage.take(entry.bytes);
                self.insert(entry, now);
            }
        }
    }

    /// They could not be read: another time.
    pub(super) fn unlock_later(&mut self) {
        let asked = mem::take(&mut self.locked.asked);
        self.locked.free.extend(asked);
    }
}
