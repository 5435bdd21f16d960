//! What is known about the messages of one channel of the temp store.
//!
//! The channel answers in the order it was asked, later. So what is taken out of it was put in before the
//! take was asked for, and what it refuses meanwhile as well.
//!
//! ```text
//!  oldest  | in the channel when it was asked | put in since then | refused, in memory |  newest
//! ```

use super::in_flight::Entry;
use std::collections::VecDeque;

/// The messages of one channel: how many there are, and those it had no room for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// In the channel, or on their way there.
    count: u64,
    /// A take is on its way: so many were there before.
    asked: Option<u64>,
    /// Refused, while older ones are in the channel, oldest first.
    behind: VecDeque<Entry>,
}

impl Tally {
    /// Messages that are not pending yet.
    pub(super) fn len(&self) -> u64 {
        self.count + self.behind.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether messages are on their way back.
    pub(super) fn is_reading(&self) -> bool {
        self.asked.is_some()
    }

    /// So many more go into the channel.
    pub(super) fn add(&mut self, messages: usize) {
        self.count += messages as u64;
    }

    /// Whether to take messages out now: there are some, and no take is on its way.
    pub(super) fn ask(&mut self) -> bool {
        let asks = self.asked.is_none() && self.count > 0;
        if asks {
            self.asked = Some(self.count);
        }
        asks
    }

    /// Messages have come, oldest first; none when all that were there before cannot be read. Returns what
    /// is pending now.
    pub(super) fn arrived(&mut self, taken: Vec<Entry>) -> Vec<Entry> {
        let before = self.asked.take().unwrap_or(0);
        let gone = if taken.is_empty() { before } else { taken.len() as u64 };
        self.count = self.count.saturating_sub(gone);
        let mut pending = Vec::with_capacity(taken.len());
        for entry in taken {
            // It was put in after these were refused.
            while let Some(older) =
                self.behind.pop_front_if(|older| older.sequence < entry.sequence)
            {
                pending.push(older);
            }
            pending.push(entry);
        }
        self.release(&mut pending);
        pending
    }

    /// The take has failed. What was asked for is still there.
    pub(super) fn failed(&mut self) {
        self.asked = None;
    }

    /// The channel had no room for these. Returns what is pending now.
    pub(super) fn refused(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let messages = entries.len() as u64;
        self.count = self.count.saturating_sub(messages);
        self.asked = self.asked.map(|before| before.saturating_sub(messages));
        self.behind.extend(entries);
        let mut pending = Vec::new();
        self.release(&mut pending);
        pending
    }

    /// Takes out what was refused and is in memory.
    pub(super) fn take_behind(&mut self) -> VecDeque<Entry> {
        std::mem::take(&mut self.behind)
    }

    /// Nothing older is in the channel.
    fn release(&mut self, pending: &mut Vec<Entry>) {
        if self.count == 0 {
            pending.extend(self.behind.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::message;
    use super::*;
    use std::sync::Arc;

    fn entries(sequences: impl IntoIterator<Item = i64>) -> Vec<Entry> {
        let entry = |sequence| Entry::new(Arc::new(message("c", sequence)), sequence, 1, false);
        sequences.into_iter().map(entry).collect()
    }

    fn sequences(entries: &[Entry]) -> Vec<i64> {
        entries.iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn what_was_put_in_after_a_take_was_asked_for_is_still_there() {
        let mut tally = Tally::default();
        assert!(!tally.ask(), "nothing is there");
        tally.add(3);
        assert!(tally.ask() && !tally.ask());
        tally.add(2);
        assert!(tally.arrived(Vec::new()).is_empty(), "the three are lost");
        assert_eq!(tally.len(), 2);
        assert!(tally.ask());
        assert_eq!(sequences(&tally.arrived(entries(4..=5))), [4, 5]);
        assert!(tally.is_empty() && !tally.is_reading());
    }

    #[test]
    fn a_take_that_failed_loses_nothing() {
        let mut tally = Tally::default();
        tally.add(2);
        assert!(tally.ask());
        tally.failed();
        assert_eq!(tally.len(), 2);
        assert!(tally.ask());
        assert_eq!(sequences(&tally.arrived(entries(1..=2))), [1, 2]);
    }

    #[test]
    fn what_is_refused_overtakes_nothing() {
        let mut tally = Tally::default();
        tally.add(3);
        tally.add(2);
        assert!(tally.ask());
        assert!(tally.refused(entries(4..=5)).is_empty());
        // There is room again.
        tally.add(1);
        assert_eq!(tally.len(), 6);
        assert_eq!(sequences(&tally.arrived(entries(1..=2))), [1, 2]);
        assert!(tally.ask());
        assert_eq!(sequences(&tally.arrived(entries([3, 6]))), [3, 4, 5, 6]);
        assert!(tally.is_empty());
    }

    #[test]
    fn what_is_refused_is_pending_when_nothing_older_is_left() {
        let mut tally = Tally::default();
        tally.add(1);
        assert!(tally.ask());
        tally.add(2);
        assert_eq!(sequences(&tally.arrived(entries([1]))), [1]);
        assert_eq!(sequences(&tally.refused(entries(2..=3))), [2, 3]);
        assert!(tally.is_empty());
    }
}
