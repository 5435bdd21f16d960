//! The pending messages of a queue that only the store has.
//!
//! Each band of priorities is one sequence of messages. Those up to a position are known to the queue: in
//! memory, with a consumer, or gone. What is above it, the *tail*, is read page by page as consumers take.
//!
//! ```text
//!   sequence --->      skipped            after                       newest
//!  |  known, in memory | known, dropped  |  tail: in the store only  |
//! ```
//!
//! Messages that no consumer wants are dropped from memory again to make room for later ones (`skipped`);
//! when somebody may want them, reading begins again there.

use std::collections::BTreeMap;

/// Where a message that enters the queue is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Memory,
    /// In the store only: it will be read when its turn comes.
    Store,
}

/// The tails of a queue, by band.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    tails: BTreeMap<u8, Tail>,
    /// The band that is being read.
    reading: Option<u8>,
    /// What is being read is not what is wanted any more.
    stale: bool,
    /// Above this sequence nothing has come yet.
    newest: i64,
}

#[derive(Debug, Default)]
struct Tail {
    after: i64,
    /// There is something above `after`.
    more: bool,
    /// How many.
    count: u64,
    /// There are more than that: what came unseen.
    uncounted: bool,
    /// First and last of those that were dropped from memory.
    skipped: Option<(i64, i64)>,
    /// How many were dropped from memory.
    unwanted: u64,
    /// Up to here what is read may be known already.
    known: i64,
    /// Something came after the page that is being read was asked for.
    late: bool,
}

impl Backlog {
    /// A band of a queue that was there before the broker started.
    pub(super) fn recovered(&mut self, band: u8, messages: u64) {
        if messages > 0 {
            self.tails.insert(band, Tail { more: true, count: messages, ..Tail::default() });
        }
    }

    /// Messages in the store and not in memory.
    pub(super) fn len(&self) -> u64 {
        self.tails.values().map(|tail| tail.count + tail.unwanted).sum()
    }

    /// Whether every pending message is in memory.
    pub(super) fn is_empty(&self) -> bool {
        self.tails.is_empty()
    }

    /// The last of what was dropped from memory, by band.
    pub(super) fn skipped(&self) -> impl Iterator<Item = (u8, i64)> {
        self.tails.iter().filter_map(|(band, tail)| Some((*band, tail.skipped?.1)))
    }

    /// What is not in memory, by band: the sequence to read above.
    pub(super) fn unread(&self) -> Vec<(u8, i64)> {
        let from =
            |tail: &Tail| tail.skipped.map_or(tail.after, |(first, _)| tail.after.min(first - 1));
        self.tails.iter().map(|(band, tail)| (*band, from(tail))).collect()
    }

    /// Where the first tail begins, band and sequence: messages above wait until it was read.
    pub(super) fn barrier(&self) -> Option<(u8, i64)> {
        self.tails.iter().find(|(_, tail)| tail.more).map(|(band, tail)| (*band, tail.after))
    }

    /// The first band that has a tail.
    pub(super) fn first(&self) -> Option<u8> {
        self.tails.iter().find(|(_, tail)| tail.more).map(|(band, _)| *band)
    }

    /// Places a message that is, or will be, in the store. `short`: memory is.
    pub(super) fn place(&mut self, band: u8, sequence: i64, short: bool) -> Place {
        let newest = self.newest;
        self.newest = newest.max(sequence);
        if !short && !self.tails.get(&band).is_some_and(|tail| tail.more) {
            return Place::Memory;
        }
        let tail = self.tails.entry(band).or_default();
        // A page on its way may end behind a message that was numbered before and is stored after it was
        // read: nobody would read it again.
        let is_read = sequence < newest && self.reading == Some(band);
        if tail.more && (sequence <= tail.after || is_read) {
            tail.known = tail.known.max(self.newest);
            return Place::Memory;
        }
        if !tail.more {
            tail.more = true;
            tail.after = sequence - 1;
            // A commit brings messages that were numbered before others that are in memory by now.
            tail.known = tail.known.max(newest);
        }
        tail.count += 1;
        tail.late = true;
        Place::Store
    }

    /// Asks for the next page of the first band, unless one is being read: the band and the sequence to
    /// read above.
    pub(super) fn read(&mut self) -> Option<(u8, i64)> {
        if self.reading.is_some() {
            return None;
        }
        let band = self.first()?;
        let tail = self.tails.get_mut(&band)?;
        tail.late = false;
        self.reading = Some(band);
        Some((band, tail.after))
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether a message read from `band` may be known to the queue already.
    pub(super) fn may_know(&self, band: u8, sequence: i64) -> bool {
        self.tails.get(&band).is_some_and(|tail| sequence <= tail.known)
    }

    /// The page that was asked for has come, or could not be read. False: drop it.
    pub(super) fn arrived(&mut self) -> bool {
        self.reading = None;
        !std::mem::take(&mut self.stale)
    }

    /// What a page of `band` had: `taken` of it were not known, `last` is where it ended, `end` says that
    /// nothing was behind.
    pub(super) fn page(&mut self, band: u8, taken: u64, last: Option<i64>, end: bool) {
        self.newest = self.newest.max(last.unwrap_or(0));
        let Some(tail) = self.tails.get_mut(&band) else { return };
        tail.count = tail.count.saturating_sub(taken);
        tail.after = last.unwrap_or(tail.after).max(tail.after);
        if end && !tail.late {
            tail.more = false;
            tail.count = 0;
        }
        if !tail.more && tail.skipped.is_none() {
            self.tails.remove(&band);
        }
    }

    /// A message nobody wants now is dropped from memory.
    pub(super) fn skip(&mut self, band: u8, sequence: i64) {
        let newest = self.newest;
        let tail =
            self.tails.entry(band).or_insert_with(|| Tail { after: newest, ..Tail::default() });
        tail.unwanted += 1;
        let (first, last) = tail.skipped.unwrap_or((sequence, sequence));
        tail.skipped = Some((first.min(sequence), last.max(sequence)));
    }

    /// Somebody may want what was skipped: reading begins again at the first of it.
    pub(super) fn rewind(&mut self) {
        for tail in self.tails.values_mut() {
            if let Some((first, _)) = tail.skipped.take() {
                self.stale |= self.reading.is_some();
                tail.known = self.newest.max(tail.after);
                tail.after = first - 1;
                tail.count += std::mem::take(&mut tail.unwanted);
                tail.more = true;
                tail.late = true;
            }
        }
    }

    /// The store has got messages for the queue unseen, anywhere: reading begins again at the start.
    pub(super) fn restart(&mut self, band: u8) {
        self.stale |= self.reading.is_some();
        let newest = self.newest;
        let tail = self.tails.entry(band).or_default();
        tail.known = newest.max(tail.after);
        tail.after = 0;
        (tail.more, tail.late, tail.uncounted) = (true, true, true);
    }

    /// Says how many are behind the page that came, if that is known.
    pub(super) fn recount(&mut self, band: u8, behind: Option<u64>) {
        if let Some(tail) = self.tails.get_mut(&band).filter(|tail| tail.uncounted)
            && let Some(behind) = behind
        {
            (tail.count, tail.uncounted) = (behind.max(tail.count), false);
        }
    }

    /// A message that only the store had is gone from there.
    pub(super) fn gone(&mut self, band: u8, sequence: i64) {
        if let Some(tail) = self.tails.get_mut(&band) {
            let skipped = tail.skipped.is_some_and(|(_, last)| sequence <= last);
            let of = if skipped { &mut tail.unwanted } else { &mut tail.count };
            *of = of.saturating_sub(1);
        }
    }

    /// Everything is gone.
    pub(super) fn clear(&mut self) {
        self.stale |= self.reading.is_some();
        self.tails.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_when_memory_is_short_and_ends_with_its_last_page() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.place(0, 1, false), Place::Memory);
        assert_eq!(backlog.place(0, 2, true), Place::Store);
        assert_eq!(backlog.place(0, 3, false), Place::Store, "behind the tail");
        assert_eq!((backlog.len(), backlog.read()), (2, Some((0, 1))));
        assert_eq!(backlog.read(), None, "one page at a time");
        assert_eq!(backlog.place(0, 4, false), Place::Store);
        assert!(backlog.arrived());
        backlog.page(0, 2, Some(3), true);
        assert_eq!(backlog.len(), 1, "4 came while the page was read");
        assert_eq!(backlog.read(), Some((0, 3)));
        assert!(backlog.arrived());
        backlog.page(0, 1, Some(4), true);
        assert_eq!((backlog.first(), backlog.len()), (None, 0));
        assert_eq!(backlog.place(0, 5, false), Place::Memory);
    }

    #[test]
    fn a_message_that_was_numbered_before_the_tail_began_stays_in_memory() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.place(0, 9, true), Place::Store);
        assert_eq!(backlog.place(0, 8, true), Place::Memory);
    }

    #[test]
    fn a_tail_that_begins_before_what_is_in_memory_may_have_that_too() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.place(0, 9, false), Place::Memory);
        assert_eq!(backlog.place(0, 7, true), Place::Store);
        assert_eq!(backlog.read(), Some((0, 6)));
        assert!(backlog.may_know(0, 7) && !backlog.may_know(0, 10));
    }

    #[test]
    fn a_message_stored_behind_a_page_on_its_way_stays_in_memory_and_is_known() {
        let mut backlog = Backlog::default();
        backlog.place(0, 11, true);
        backlog.place(0, 16, false);
        assert_eq!(backlog.read(), Some((0, 10)));
        // 15 was numbered before 16, and the page was read before it was stored.
        assert_eq!(backlog.place(0, 15, false), Place::Memory);
        assert!(backlog.may_know(0, 15), "another page may have it");
        assert!(backlog.arrived());
        backlog.page(0, 2, Some(16), true);
        assert_eq!(backlog.first(), None);
    }

    #[test]
    fn what_was_skipped_is_read_again_after_a_rewind() {
        let mut backlog = Backlog::default();
        backlog.place(0, 7, false);
        backlog.skip(0, 5);
        backlog.skip(0, 3);
        assert_eq!((backlog.first(), backlog.len()), (None, 2));
        backlog.rewind();
        assert_eq!(backlog.read(), Some((0, 2)));
        assert!(backlog.may_know(0, 7) && !backlog.may_know(0, 8));
        backlog.rewind();
        assert!(backlog.arrived(), "there was nothing to rewind to");
        backlog.page(0, 2, Some(5), false);
        assert_eq!(backlog.first(), Some(0));
        assert_eq!(backlog.read(), Some((0, 5)));
        backlog.skip(0, 4);
        backlog.rewind();
        assert!(!backlog.arrived(), "what was read lies behind what is wanted");
        assert_eq!(backlog.read(), Some((0, 3)));
    }

    #[test]
    fn bands_are_read_in_their_order() {
        let mut backlog = Backlog::default();
        backlog.recovered(5, 1);
        backlog.recovered(0, 1);
        assert_eq!(backlog.read(), Some((0, 0)));
        assert!(backlog.arrived());
        backlog.page(0, 1, Some(1), true);
        assert_eq!(backlog.read(), Some((5, 0)));
    }

    #[test]
    fn what_came_into_the_store_unseen_is_read_and_counted_after_a_restart() {
        let mut backlog = Backlog::default();
        backlog.place(0, 9, true);
        assert_eq!(backlog.read(), Some((0, 8)));
        backlog.restart(0);
        assert!(!backlog.arrived(), "it began too late");
        assert_eq!(backlog.read(), Some((0, 0)));
        assert!(backlog.may_know(0, 9) && backlog.arrived());
        backlog.page(0, 2, Some(4), false);
        backlog.recount(0, Some(3));
        assert_eq!((backlog.read(), backlog.len()), (Some((0, 4)), 3));
        assert!(backlog.arrived());
        backlog.page(0, 3, Some(9), true);
        assert!(backlog.is_empty());
    }
}
