//! Sets of sequence numbers as the journal writes them: sorted ranges.

use crate::store::kahadb::fields::{Fields, Malformed, put_varint};
use bytes::BytesMut;

/// Sorted, disjoint, not adjacent, not empty ranges of u64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

/// `first ..= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u64,
    pub last: u64,
}

impl Ranges {
    pub fn one(first: u64, last: u64) -> Self {
        let mut ranges = Self::default();
        ranges.insert(first, last);
        ranges
    }

    /// Adds `first ..= last`, which is O(1) if it lies behind all others. Nothing if it is empty.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Those that touch the new one: from the first whose end reaches it ...
        let from = self.0.partition_point(|r| r.last.saturating_add(1) < first);
        // ... to the last whose start it reaches.
        let touching = self.0[from..].partition_point(|r| r.first <= last.saturating_add(1));
        let Some(joined) = self.0[from..from + touching].last().copied() else {
            self.0.insert(from, Range { first, last });
            return;
        };
        self.0[from] = Range { first: first.min(self.0[from].first), last: last.max(joined.last) };
        self.0.drain(from + 1..from + touching);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|r| self.insert(r.first, r.last));
    }

    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, n: u64) -> bool {
        self.0.get(self.0.partition_point(|r| r.last < n)).is_some_and(|r| r.first <= n)
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|r| r.first..=r.last)
    }

    /// Pieces of at most `max` ranges.
    pub(super) fn split(self, max: usize) -> impl Iterator<Item = Self> {
        let whole = (self.0.len() <= max).then(|| self.clone());
        let pieces = if whole.is_some() { Vec::new() } else { self.0 };
        let pieces: Vec<Self> = pieces.chunks(max).map(|chunk| Self(chunk.to_vec())).collect();
        whole.into_iter().chain(pieces)
    }

    /// n, n x (gap, count - 1): the gap is to the number behind the range before.
    pub(in crate::store::kahadb) fn encode(&self, out: &mut BytesMut) {
        put_varint(out, self.0.len() as u64);
        let mut next = 0;
        for range in &self.0 {
            put_varint(out, range.first - next);
            put_varint(out, range.last - range.first);
            next = range.last.wrapping_add(1); // wraps behind the last possible range only
        }
    }

    pub(in crate::store::kahadb) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let count = fields.count(2)?;
        let mut ranges = Vec::with_capacity(count);
        let mut next = Some(0_u64);
        for i in 0..count {
            let (gap, more) = (fields.varint()?, fields.varint()?);
            let touches = gap == 0 && i > 0;
            let first = next.and_then(|n| n.checked_add(gap)).filter(|_| !touches);
            let last = first.and_then(|n| n.checked_add(more));
            let (Some(first), Some(last)) = (first, last) else { return Err(Malformed) };
            ranges.push(Range { first, last });
            next = last.checked_add(1);
        }
        Ok(Self(ranges))
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Self::default();
        numbers.into_iter().for_each(|n| ranges.insert(n, n));
        ranges
    }
}

/// Bytes of one range, at most.
pub(super) const RANGE_BYTES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_the_set_that_was_inserted(
            inserts in prop::collection::vec((0..60_u64, 0..9_u64, any::<bool>()), 0..20),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, more, high) in inserts {
                let first = if high { u64::MAX - 70 + first } else { first };
                ranges.insert(first, first + more);
                model.extend(first..=first + more);
            }
            prop_assert_eq!(ranges.iter().collect::<BTreeSet<_>>(), model.clone());
            for pair in ranges.as_slice().windows(2) {
                prop_assert!(pair[0].last + 1 < pair[1].first);
            }
            for n in 0..80 {
                prop_assert_eq!(ranges.contains(n), model.contains(&n));
            }
            let mut out = BytesMut::new();
            ranges.encode(&mut out);
            prop_assert_eq!(Ranges::decode(&mut Fields::new(&out)), Ok(ranges.clone()));
            let mut joined = Ranges::default();
            ranges.clone().split(3).for_each(|piece| joined.merge(&piece));
            prop_assert_eq!(joined, ranges);
        }
    }
}
