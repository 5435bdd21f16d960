//! The pending messages of a destination that only the store has.
//!
//! Each band of priorities is one sequence of messages. Those of its *gaps* only the store has; all others are
//! known: in memory, with a consumer, or gone. The last gap may be open to what is yet to come.
//!
//! ```text
//!   sequence --->   after          to            after
//!  |  known         | gap           |  known      | gap, open to what comes
//! ```
//!
//! A page that is read closes a gap or makes it smaller, from where the reading began. Messages that are dropped
//! from memory, because those who have room do not want them, leave a gap.

use std::collections::BTreeMap;

/// Where a message that enters the destination is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Memory,
    /// In the store only: it will be read when its turn comes.
    Store,
}

/// The gaps of a destination, by band. A band without gaps is not there.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bands: BTreeMap<u8, Band>,
    /// The page on its way.
    reading: Option<Reading>,
    /// The page that came last.
    arrived: Option<Reading>,
    /// What is being read is not what is wanted any more.
    stale: bool,
    /// Above this sequence nothing has come yet.
    newest: i64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    band: u8,
    after: i64,
    /// What was the newest when the page was asked for.
    newest: i64,
}

#[derive(Debug, Default)]
struct Band {
    /// In their order; they do not touch.
    gaps: Vec<Gap>,
    /// How many messages are in them.
    count: u64,
    /// Up to here what is read may be known already.
    known: i64,
    /// Something came after the page that is being read was asked for.
    late: bool,
}

/// The sequences above `after` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    after: i64,
    to: i64,
}

/// The end of a gap that is open to what comes.
const OPEN: i64 = i64::MAX;

impl Band {
    fn has(&self, sequence: i64) -> bool {
        self.gaps.iter().any(|gap| gap.after < sequence && sequence <= gap.to)
    }

    fn add(&mut self, new: Gap) {
        let at = self.gaps.partition_point(|gap| gap.to < new.after);
        let touched = self.gaps[at..].iter().take_while(|gap| gap.after <= new.to).count();
        let touched = at..at + touched;
        let merged = self.gaps[touched.clone()]
            .iter()
            .fold(new, |all, gap| Gap { after: all.after.min(gap.after), to: all.to.max(gap.to) });
        self.gaps.splice(touched, [merged]);
    }

    /// What is above `after` up to `to` is known.
    fn cover(&mut self, after: i64, to: i64) {
        let rest = self.gaps.iter().flat_map(|gap| {
            let before = Gap { after: gap.after, to: gap.to.min(after) };
            let behind = Gap { after: gap.after.max(to), to: gap.to };
            [before, behind].into_iter().filter(|gap| gap.after < gap.to)
        });
        self.gaps = rest.collect();
    }
}

impl Backlog {
    /// A band of a destination that was there before the broker started.
    pub(super) fn recovered(&mut self, band: u8, messages: u64) {
        if messages > 0 {
            let gaps = vec![Gap { after: 0, to: OPEN }];
            self.bands.insert(band, Band { gaps, count: messages, ..Band::default() });
        }
    }

    /// Messages in the store and not in memory.
    pub(super) fn len(&self) -> u64 {
        self.bands.values().map(|band| band.count).sum()
    }

    /// Whether every pending message is in memory.
    pub(super) fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    /// What is not in memory, by band: the sequence to read above.
    pub(super) fn unread(&self) -> Vec<(u8, i64)> {
        let first = |band: &Band| band.gaps.first().map(|gap| gap.after);
        self.bands.iter().filter_map(|(number, band)| Some((*number, first(band)?))).collect()
    }

    /// The first of what is not in memory from `from` on and before `until`, both by band and sequence: the
    /// band, and the sequence to read above.
    pub(super) fn unread_in(&self, from: (u8, i64), until: (u8, i64)) -> Option<(u8, i64)> {
        let gaps = self.bands.range(from.0..);
        let mut gaps = gaps.flat_map(|(band, of)| of.gaps.iter().map(|gap| (*band, *gap)));
        let (band, gap) = gaps.find(|(band, gap)| (*band, gap.to) >= from)?;
        let above =
            if band == from.0 { gap.after.max(from.1.saturating_sub(1)) } else { gap.after };
        ((band, above.saturating_add(1)) < until).then_some((band, above))
    }

    /// Where the first gap begins, band and sequence.
    pub(super) fn barrier(&self) -> Option<(u8, i64)> {
        let (number, band) = self.bands.first_key_value()?;
        Some((*number, band.gaps.first()?.after))
    }

    /// The first band that has a gap.
    pub(super) fn first(&self) -> Option<u8> {
        self.bands.keys().next().copied()
    }

    /// Places a message that is, or will be, in the store. `short`: memory is.
    pub(super) fn place(&mut self, band: u8, sequence: i64, short: bool) -> Place {
        let newest = self.newest;
        self.newest = newest.max(sequence);
        // A commit brings messages that were numbered before others that are here by now.
        let overtaken = sequence < newest;
        // A page on its way may end behind such a message and not have it: nobody would read it again.
        let is_read = overtaken && self.reading.is_some_and(|reading| reading.band == band);
        let there = self.bands.get_mut(&band);
        let is_unread = there.as_ref().is_some_and(|band| band.has(sequence));
        if !is_unread && short && !overtaken {
            there_or_new(&mut self.bands, band).add(Gap { after: sequence - 1, to: OPEN });
        } else if !is_unread || is_read {
            // Pages may have it as well.
            if let Some(band) = there {
                band.known = band.known.max(self.newest);
            }
            return Place::Memory;
        }
        let band = there_or_new(&mut self.bands, band);
        band.count += 1;
        band.late = true;
        Place::Store
    }

    /// Asks for the page at the first gap, unless one is being read: the band and the sequence to read above.
    pub(super) fn read(&mut self) -> Option<(u8, i64)> {
        let (band, after) = self.barrier()?;
        self.read_above(band, after).then_some((band, after))
    }

    /// Asks for the page above `after`, unless one is being read.
    pub(super) fn read_above(&mut self, band: u8, after: i64) -> bool {
        if self.reading.is_some() {
            return false;
        }
        self.reading = Some(Reading { band, after, newest: self.newest });
        if let Some(band) = self.bands.get_mut(&band) {
            band.late = false;
        }
        true
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether a message read from `band` may be known already.
    pub(super) fn may_know(&self, band: u8, sequence: i64) -> bool {
        self.bands.get(&band).is_some_and(|band| sequence <= band.known)
    }

    /// The page that was asked for has come, or could not be read. False: drop it.
    pub(super) fn arrived(&mut self) -> bool {
        self.arrived = self.reading.take();
        !std::mem::take(&mut self.stale)
    }

    /// What the page of `band` that came had: `taken` of it were not known, `last` is where it ended, `end`
    /// says that nothing was behind.
    pub(super) fn page(&mut self, band: u8, taken: u64, last: Option<i64>, end: bool) {
        let Some(Reading { after, newest, .. }) = self.arrived.take() else { return };
        let last = last.map_or(after, |last| last.max(after));
        self.newest = self.newest.max(last);
        let Some(of) = self.bands.get_mut(&band) else { return };
        of.count = of.count.saturating_sub(taken);
        of.known = of.known.max(last);
        let to = match (end, of.late) {
            (true, false) => OPEN,
            (true, true) => last.max(newest),
            (false, _) => last,
        };
        of.cover(after, to);
        if of.gaps.is_empty() {
            self.bands.remove(&band);
        }
    }

    /// A message is dropped from memory.
    pub(super) fn skip(&mut self, band: u8, sequence: i64) {
        self.skip_all(band, sequence, sequence, 1);
    }

    /// Of what is between `first` and `last`, so many messages are dropped from memory.
    pub(super) fn skip_all(&mut self, band: u8, first: i64, last: i64, messages: u64) {
        let band = there_or_new(&mut self.bands, band);
        band.add(Gap { after: first - 1, to: last });
        band.count += messages;
        band.known = band.known.max(self.newest).max(last);
    }

    /// Whatever is being read behind a gap is not wanted before that.
    pub(super) fn rewind(&mut self) {
        let barrier = self.barrier();
        let behind =
            |reading: Reading| barrier.is_some_and(|at| at < (reading.band, reading.after));
        self.stale |= self.reading.is_some_and(behind);
    }

    /// Whether message `sequence`, if it is pending at all, is so in the store only.
    pub(super) fn has(&self, band: u8, sequence: i64) -> bool {
        self.bands.get(&band).is_some_and(|band| band.has(sequence))
    }

    /// A message that only the store had is gone from there.
    pub(super) fn gone(&mut self, band: u8) {
        if let Some(band) = self.bands.get_mut(&band) {
            band.count = band.count.saturating_sub(1);
        }
    }

    /// Everything is gone.
    pub(super) fn clear(&mut self) {
        self.stale |= self.reading.is_some();
        self.bands.clear();
    }
}

fn there_or_new(bands: &mut BTreeMap<u8, Band>, band: u8) -> &mut Band {
    bands.entry(band).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_opens_when_memory_is_short_and_closes_with_its_last_page() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.place(0, 1, false), Place::Memory);
        assert_eq!(backlog.place(0, 2, true), Place::Store);
        assert_eq!(backlog.place(0, 3, false), Place::Store, "in the gap");
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
    fn a_message_that_was_numbered_before_a_gap_opened_stays_in_memory() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.place(0, 9, true), Place::Store);
        assert_eq!(backlog.place(0, 8, true), Place::Memory);
        assert!(backlog.may_know(0, 8), "a page may have it");
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
    fn what_was_dropped_is_a_gap_that_is_read_from_any_place() {
        let mut backlog = Backlog::default();
        backlog.place(0, 9, false);
        backlog.skip_all(0, 3, 7, 4);
        assert_eq!((backlog.barrier(), backlog.len()), (Some((0, 2)), 4));
        assert_eq!(backlog.unread_in((0, 1), (0, 3)), None);
        assert_eq!(backlog.unread_in((0, 1), (0, 4)), Some((0, 2)));
        assert_eq!(backlog.unread_in((0, 5), (9, 0)), Some((0, 4)));
        assert_eq!(backlog.unread_in((0, 8), (9, 0)), None);
        assert!(backlog.read_above(0, 4) && !backlog.read_above(0, 2));
        assert!(backlog.arrived());
        backlog.page(0, 1, Some(6), false);
        assert_eq!(backlog.unread_in((0, 5), (9, 0)), Some((0, 6)));
        assert_eq!((backlog.unread(), backlog.len()), (vec![(0, 2)], 3));
        assert!(backlog.may_know(0, 9) && !backlog.may_know(0, 10));
        assert_eq!(backlog.place(0, 10, false), Place::Memory);
        assert!(backlog.may_know(0, 10), "a page of the gap may reach it");
        assert_eq!(backlog.place(0, 11, true), Place::Store);
        assert!(backlog.read_above(0, 10) && backlog.arrived());
        backlog.page(0, 1, Some(11), true);
        assert!(backlog.may_know(0, 11), "it is in memory by now");
    }

    #[test]
    fn gaps_that_touch_are_one() {
        let mut backlog = Backlog::default();
        backlog.place(0, 20, true);
        for (first, last) in [(5, 6), (9, 12), (7, 7), (1, 2), (8, 8), (13, 19)] {
            backlog.skip_all(0, first, last, 1);
        }
        let gaps = &backlog.bands[&0].gaps;
        assert_eq!(*gaps, [Gap { after: 0, to: 2 }, Gap { after: 4, to: OPEN }]);
    }

    #[test]
    fn a_rewind_drops_what_is_read_behind_a_gap() {
        let mut backlog = Backlog::default();
        backlog.place(0, 7, true);
        assert_eq!(backlog.read(), Some((0, 6)));
        backlog.rewind();
        assert!(backlog.arrived(), "there was nothing to rewind to");
        assert_eq!(backlog.read(), Some((0, 6)));
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
}
