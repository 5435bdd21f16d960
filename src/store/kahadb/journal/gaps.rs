//! Which files of the journal are gone because nobody needed them.
//!
//! The log is read across a gap only if the file before it ends where the first file of the gap
//! began: each gap keeps that file's chain value. So a file that is lost is told from one that was
//! dropped, and so is the end of a file from damage in it.
//!
//! As a payload: n, n x (numbers between the gap before and this one, numbers in it - 1, chain).

use crate::store::kahadb::fields::{Fields, Malformed, put_varint};
use bytes::{Bytes, BytesMut};

/// Files `first ..= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    first: u32,
    last: u32,
    /// What the first of them said the log before it ended with.
    chain: u32,
}

/// Ascending, never adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// The file `number`, in whose header `chain` is, goes.
    pub fn insert(&mut self, number: u32, chain: u32) {
        if self.contains(number) {
            return;
        }
        let at = self.0.partition_point(|gap| gap.first < number);
        self.0.insert(at, Gap { first: number, last: number, chain });
        let touches = |pair: &[Gap]| pair[0].last + 1 == pair[1].first;
        if self.0.get(at..at + 2).is_some_and(touches) {
            self.0[at].last = self.0.remove(at + 1).last;
        }
        if at > 0 && self.0.get(at - 1..=at).is_some_and(touches) {
            self.0[at - 1].last = self.0.remove(at).last;
        }
    }

    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|gap| gap.last < number);
        self.0.get(at).is_some_and(|gap| gap.first <= number)
    }

    /// What the log before `next` must end with, if all files between `file` and it are gone.
    pub(super) fn chain_between(&self, file: u32, next: u32) -> Option<u32> {
        let gap = self.0.iter().find(|gap| gap.last.checked_add(1) == Some(next))?;
        (Some(gap.first) == file.checked_add(1)).then_some(gap.chain)
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_varint(&mut out, self.0.len() as u64);
        let mut next = 0;
        for gap in &self.0 {
            put_varint(&mut out, u64::from(gap.first - next));
            put_varint(&mut out, u64::from(gap.last - gap.first));
            put_varint(&mut out, u64::from(gap.chain));
            next = gap.last + 1;
        }
        out.freeze()
    }

    pub(in crate::store::kahadb) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut f = Fields::new(bytes);
        let (mut gaps, mut next) = (Vec::new(), 0_u32);
        for _ in 0..f.count(3)? {
            let first = next.checked_add(f.u32()?).ok_or(Malformed)?;
            let last = first.checked_add(f.u32()?).ok_or(Malformed)?;
            gaps.push(Gap { first, last, chain: f.u32()? });
            next = last.checked_add(1).ok_or(Malformed)?;
        }
        f.end()?;
        Ok(Self(gaps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn gaps_are_the_files_that_went(numbers in prop::collection::vec(1..40_u32, 0..40)) {
            let mut gaps = Gaps::default();
            numbers.iter().for_each(|number| gaps.insert(*number, number * 3));
            let gone: BTreeSet<u32> = numbers.into_iter().collect();
            for number in 1..42 {
                prop_assert_eq!(gaps.contains(number), gone.contains(&number));
            }
            for file in (0..40).filter(|file| !gone.contains(file)) {
                let next = (file + 1..).find(|next| !gone.contains(next)).unwrap_or(41);
                let chain = (next > file + 1).then_some((file + 1) * 3);
                prop_assert_eq!(gaps.chain_between(file, next), chain);
            }
            prop_assert_eq!(Gaps::decode(&gaps.encode()), Ok(gaps));
        }
    }
}
