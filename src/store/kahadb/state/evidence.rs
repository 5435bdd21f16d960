//! What is live of a journal file: a record that makes other files dispensable.
//!
//! Whether a message that a file has is still wanted is said by records in later files. When one of
//! those has to go, what it said is said again, at the end of the log, as the result: a Live record
//! of the file. A rebuild believes the newest Live record of each file, whatever else it finds.
//!
//! Live payload: twice (here, elsewhere) n, n x (subscription, ranges of offsets in the file).
//! *Here* are records that are the truth: messages of queues, and what says which destinations,
//! subscriptions and prepared branches there are, under subscription 0; messages of topics under
//! each subscription that has not acknowledged them. *Elsewhere* are messages that are still wanted
//! but were written again since. What is in neither is dead. Ranges of offsets behind that, if there are
//! any, are the messages of either kind that were delivered.

use crate::store::kahadb::fields::{Fields, Malformed, put_varint};
use crate::store::kahadb::journal::{Lsn, Ranges};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// Subscription to offsets.
type Offsets = BTreeMap<u64, Ranges>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::kahadb) struct LiveSet {
    here: Offsets,
    elsewhere: Offsets,
    delivered: Ranges,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Who still wants it; nobody in particular for a queue.
    Here(BTreeSet<u64>),
    Elsewhere(BTreeSet<u64>),
    Dead,
}

impl LiveSet {
    /// The record at `lsn` is live; `wanted` are subscriptions, none for a queue.
    pub(in crate::store::kahadb) fn insert(
        &mut self,
        lsn: Lsn,
        is_here: bool,
        wanted: impl IntoIterator<Item = u64>,
    ) {
        let offset = u64::from(lsn.offset());
        let offsets = if is_here { &mut self.here } else { &mut self.elsewhere };
        for subscription in wanted {
            offsets.entry(subscription).or_default().insert(offset, offset);
        }
    }

    /// The message at `lsn` was delivered.
    pub(in crate::store::kahadb) fn deliver(&mut self, lsn: Lsn) {
        self.delivered.insert(lsn.offset().into(), lsn.offset().into());
    }

    pub(in crate::store::kahadb) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for offsets in [&self.here, &self.elsewhere] {
            put_varint(&mut out, offsets.len() as u64);
            for (subscription, ranges) in offsets {
                put_varint(&mut out, *subscription);
                ranges.encode(&mut out);
            }
        }
        if !self.delivered.is_empty() {
            self.delivered.encode(&mut out);
        }
        out.freeze()
    }

    pub(super) fn decode(set: &[u8]) -> Result<Self, Malformed> {
        let mut f = Fields::new(set);
        let mut offsets = || {
            let mut offsets = Offsets::new();
            for _ in 0..f.count(2)? {
                offsets.insert(f.varint()?, Ranges::decode(&mut f)?);
            }
            Ok(offsets)
        };
        let (here, elsewhere) = (offsets()?, offsets()?);
        let delivered = match f.is_at_end() {
            true => Ranges::default(),
            false => Ranges::decode(&mut f)?,
        };
        f.end()?;
        Ok(Self { here, elsewhere, delivered })
    }

    fn life(&self, offset: u32) -> Life {
        let wanted = |offsets: &Offsets| -> BTreeSet<u64> {
            let there = offsets.iter().filter(|(_, ranges)| ranges.contains(offset.into()));
            there.map(|(subscription, _)| *subscription).collect()
        };
        let here = wanted(&self.here);
        if !here.is_empty() {
            return Life::Here(here);
        }
        let elsewhere = wanted(&self.elsewhere);
        if elsewhere.is_empty() { Life::Dead } else { Life::Elsewhere(elsewhere) }
    }
}

/// What a rebuild knows before it begins.
#[derive(Debug, Default)]
pub(in crate::store::kahadb) struct Evidence {
    /// The newest of each file.
    lives: BTreeMap<u32, (Lsn, LiveSet)>,
    /// Subscriptions that a record deletes which was not read again yet, and where they have something
    /// pending: until then others may share that. Where the record is gone, Live records say what became of it.
    pub(super) leaving: BTreeMap<u64, BTreeSet<u32>>,
    /// Files that are there.
    pub(in crate::store::kahadb) files: BTreeSet<u32>,
}

impl Evidence {
    /// A Live record.
    pub(in crate::store::kahadb) fn add(
        &mut self,
        file: u32,
        as_of: Lsn,
        set: &[u8],
    ) -> Result<(), Malformed> {
        if self.lives.get(&file).is_none_or(|(known, _)| *known <= as_of) {
            self.lives.insert(file, (as_of, LiveSet::decode(set)?));
        }
        Ok(())
    }

    /// Whether the Live record of a file was made behind `lsn`.
    pub(super) fn is_newer(&self, file: u32, lsn: Lsn) -> bool {
        self.lives.get(&file).is_some_and(|(as_of, _)| *as_of > lsn)
    }

    /// What became of a record; none if its file has no Live record.
    pub(super) fn life(&self, lsn: Lsn) -> Option<Life> {
        self.lives.get(&lsn.file()).map(|(_, set)| set.life(lsn.offset()))
    }

    /// Whether a Live record says that the message of the record at `lsn` was delivered.
    pub(super) fn is_delivered(&self, lsn: Lsn) -> bool {
        let live = self.lives.get(&lsn.file());
        live.is_some_and(|(_, set)| set.delivered.contains(lsn.offset().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_live_set_says_what_was_put_into_it(
            records in prop::collection::btree_map(1..500_u32, (any::<bool>(), 0..4_u64), 0..50),
        ) {
            let mut set = LiveSet::default();
            for (offset, (is_here, count)) in &records {
                set.insert(Lsn::new(3, *offset), *is_here, 0..*count);
                if offset % 3 == 0 {
                    set.deliver(Lsn::new(3, *offset));
                }
            }
            let mut evidence = Evidence::default();
            evidence.add(3, Lsn::new(9, 1), &set.encode()).unwrap();
            evidence.add(3, Lsn::new(8, 1), &LiveSet::default().encode()).unwrap();
            for offset in 1..500 {
                let life = evidence.life(Lsn::new(3, offset));
                let expected = match records.get(&offset) {
                    Some((true, count)) if *count > 0 => Life::Here((0..*count).collect()),
                    Some((false, count)) if *count > 0 => Life::Elsewhere((0..*count).collect()),
                    _ => Life::Dead,
                };
                prop_assert_eq!(life, Some(expected));
                let is_delivered = offset % 3 == 0 && records.contains_key(&offset);
                prop_assert_eq!(evidence.is_delivered(Lsn::new(3, offset)), is_delivered);
            }
            prop_assert_eq!(evidence.life(Lsn::new(4, 1)), None);
        }
    }
}
