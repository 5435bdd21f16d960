//! What one destination holds: the tree, and on it what happened since it was written.
//!
//! ```text
//! delta    what was applied since the last checkpoint began      looked at first
//! frozen   what the checkpoint under way is writing              then
//! tree     what checkpoints have written                         then
//! ```
//!
//! A message that comes and goes within one delta never reaches the tree.
//!
//! A purge hides what it ends at once, by a mark in the delta. How many messages that were, and of
//! which files, is counted afterwards, a slice at a time: there may be millions of them. No
//! checkpoint begins before that is done. What a durable subscription leaves behind that is deleted
//! goes in the same way.

use crate::jms::Destination;
use crate::store::kahadb::fields::Malformed;
use crate::store::kahadb::index::storage::Folder;
use crate::store::kahadb::index::{Damage, IndexError, PagedReader, Reader, Version};
use crate::store::kahadb::journal::Lsn;
use crate::store::kahadb::pending::Pending;
use crate::store::kahadb::rows::{self, Row};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The tree, as of the last checkpoint that was published.
pub(in crate::store::kahadb) struct Tree {
    pub(in crate::store::kahadb) reader: PagedReader<Folder>,
    pub(in crate::store::kahadb) version: Version,
}

/// Changes to the messages of a destination.
#[derive(Clone, Debug, Default)]
pub(in crate::store::kahadb) struct Delta {
    /// By band and seq.
    pub(super) adds: BTreeMap<(u8, u64), Row>,
    /// Those below that are gone.
    pub(super) removed: BTreeSet<(u8, u64)>,
    /// Up to which seq all below are gone, by band.
    pub(super) purged: BTreeMap<u8, u64>,
}

/// Rows below the delta that a purge hides but that are not yet taken from the figures.
#[derive(Debug)]
pub(super) struct Uncounted {
    band: u8,
    next: u64,
    last: u64,
    /// File of the record that says so.
    pub(super) by: u32,
    /// Has as removed what was gone before.
    upper: Delta,
}

/// What a deleted subscription had not acknowledged.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) pending: Pending,
    /// File of the record that says so.
    pub(super) by: u32,
}

#[derive(Debug)]
pub(in crate::store::kahadb) struct Contents {
    pub(in crate::store::kahadb) destination: Destination,
    /// Where the record is that says it exists; none if it does not exist any more.
    pub(in crate::store::kahadb) lsn: Option<Lsn>,
    /// Messages of each band that has any.
    pub(in crate::store::kahadb) bands: BTreeMap<u8, u64>,
    /// Messages with an expiration.
    pub(in crate::store::kahadb) expiring: u64,
    /// No message expires before, ms since 1970; while a search goes on, none of those behind it.
    pub(in crate::store::kahadb) expires_from: u64,
    /// Where a search for expired messages stopped.
    pub(in crate::store::kahadb) search: Option<Search>,
    /// Topics: what each durable subscription has not acknowledged.
    pub(in crate::store::kahadb) pending: BTreeMap<u64, Pending>,
    pub(super) delta: Delta,
    pub(super) frozen: Option<Arc<Delta>>,
    /// Oldest first; they have no row in common.
    pub(super) uncounted: VecDeque<Uncounted>,
    /// Messages in here that nobody else wants are as good as gone.
    pub(super) left: VecDeque<Left>,
}

/// A search for expired messages that goes on with the next fetch.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::kahadb) struct Search {
    pub(in crate::store::kahadb) band: u8,
    pub(in crate::store::kahadb) seq: u64,
    /// Of the messages that it passed, ms since 1970.
    pub(in crate::store::kahadb) earliest_ms: u64,
}

/// Rows of one band, and where to look on; none behind the last.
pub(in crate::store::kahadb) type Slice = (BTreeMap<u64, Row>, Option<u64>);

impl Tree {
    fn get(&self, number: u32, (band, seq): (u8, u64)) -> Result<Option<Row>, IndexError> {
        let row = self.reader.get(self.version, &rows::message_key(number, band, seq))?;
        row.map(|row| Row::decode(&row).map_err(nonsense)).transpose()
    }
}

impl Delta {
    pub(super) fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removed.is_empty() && self.purged.is_empty()
    }

    /// This one, and then `newer`.
    pub(super) fn then(mut self, newer: Self) -> Self {
        self.adds.retain(|key, _| !newer.hides(*key));
        self.removed.extend(newer.removed);
        for (band, last) in newer.purged {
            let purged = self.purged.entry(band).or_default();
            *purged = last.max(*purged);
        }
        let purged = &self.purged;
        self.removed.retain(|key| purged.get(&key.0).is_none_or(|last| key.1 > *last));
        for (key, row) in newer.adds {
            // What it replaces may be in here, and not below.
            let older = self.adds.get(&key);
            let replaces = row.replaces && older.is_none_or(|older| older.replaces);
            self.adds.insert(key, Row { replaces, ..row });
        }
        self
    }

    /// Whether what is below under this key is gone.
    fn hides(&self, key: (u8, u64)) -> bool {
        self.purged.get(&key.0).is_some_and(|last| key.1 <= *last) || self.removed.contains(&key)
    }
}

impl Contents {
    pub(super) fn new(destination: Destination) -> Self {
        Self {
            destination,
            lsn: None,
            bands: BTreeMap::new(),
            expiring: 0,
            expires_from: u64::MAX,
            search: None,
            pending: BTreeMap::new(),
            delta: Delta::default(),
            frozen: None,
            uncounted: VecDeque::new(),
            left: VecDeque::new(),
        }
    }

    pub(in crate::store::kahadb) fn messages(&self) -> u64 {
        self.bands.values().sum()
    }

    pub(in crate::store::kahadb) fn exists(&self) -> bool {
        self.lsn.is_some()
    }

    /// Whether the message of a row, which may be left behind by a deleted subscription, is for
    /// anybody.
    pub(in crate::store::kahadb) fn is_wanted(&self, seq: u64, row: &Row) -> bool {
        self.left.is_empty()
            || !row.is_topic
            || self.pending.values().any(|pending| pending.contains(seq))
    }

    pub(super) fn insert(&mut self, key: (u8, u64), row: Row) {
        *self.bands.entry(key.0).or_default() += 1;
        if row.expiration_ms > 0 {
            self.expiring += 1;
            self.expires_from = self.expires_from.min(row.expiration_ms);
        }
        self.delta.adds.insert(key, row);
    }

    /// The row under `key` as it is below the delta.
    fn below(&self, tree: &Tree, number: u32, key: (u8, u64)) -> Result<Option<Row>, IndexError> {
        if self.delta.hides(key) {
            return Ok(None);
        }
        if let Some(frozen) = &self.frozen {
            if let Some(row) = frozen.adds.get(&key) {
                return Ok(Some(*row));
            }
            if frozen.hides(key) {
                return Ok(None);
            }
        }
        tree.get(number, key)
    }

    /// The band and row of a message.
    pub(in crate::store::kahadb) fn find(
        &self,
        tree: &Tree,
        number: u32,
        seq: u64,
    ) -> Result<Option<(u8, Row)>, IndexError> {
        for band in self.bands.keys() {
            let key = (*band, seq);
            let row = match self.delta.adds.get(&key) {
                Some(row) => Some(*row),
                None => self.below(tree, number, key)?,
            };
            if let Some(row) = row {
                return Ok(Some((*band, row)));
            }
        }
        Ok(None)
    }

    /// Takes away the row that `find` found.
    pub(super) fn take(&mut self, key: (u8, u64), row: Row) {
        let in_delta = self.delta.adds.remove(&key);
        if in_delta.is_none_or(|row| row.replaces) {
            self.delta.removed.insert(key);
        }
        self.forget(key.0, 1, u64::from(row.expiration_ms > 0));
    }

    fn forget(&mut self, band: u8, messages: u64, expiring: u64) {
        self.expiring = self.expiring.saturating_sub(expiring);
        if let Some(there) = self.bands.get_mut(&band) {
            *there = there.saturating_sub(messages);
            if *there == 0 {
                self.bands.remove(&band);
            }
        }
    }

    /// Puts `row` in the place of the one that `find` found.
    pub(super) fn replace(&mut self, key: (u8, u64), row: Row) {
        let in_delta = self.delta.adds.get(&key);
        let replaces = in_delta.is_none_or(|row| row.replaces);
        self.delta.adds.insert(key, Row { replaces, ..row });
    }

    /// Takes away all of a band up to `last`, as a record in file `by` says. Returns the rows of the
    /// delta; those below are still to be counted.
    pub(super) fn purge(&mut self, band: u8, last: u64, by: u32) -> Vec<Row> {
        let range = (band, 0)..=(band, last);
        let adds: Vec<_> =
            self.delta.adds.range(range.clone()).map(|(k, row)| (*k, *row)).collect();
        let removed: Vec<(u8, u64)> = self.delta.removed.range(range).copied().collect();
        let mut upper = Delta::default();
        for key in removed {
            self.delta.removed.remove(&key);
            upper.removed.insert(key);
        }
        for (key, row) in &adds {
            self.delta.adds.remove(key);
            if row.replaces {
                upper.removed.insert(*key);
            }
        }
        let rows: Vec<Row> = adds.into_iter().map(|(_, row)| row).collect();
        let expiring = rows.iter().filter(|row| row.expiration_ms > 0).count();
        self.forget(band, rows.len() as u64, expiring as u64);
        let before = self.delta.purged.get(&band).copied();
        if before < Some(last) {
            self.delta.purged.insert(band, last);
            if self.bands.contains_key(&band) {
                let next = before.map_or(0, |before| before + 1);
                self.uncounted.push_back(Uncounted { band, next, last, by, upper });
            }
        }
        rows
    }

    /// Counts about `max` rows of the oldest purge that is not counted; returns them, and the file
    /// of its record. None if there is none.
    pub(super) fn count_purged(
        &mut self,
        tree: &Tree,
        number: u32,
        max: usize,
    ) -> Result<Option<(Vec<Row>, u32)>, IndexError> {
        let Some(Uncounted { band, next, last, by, upper }) = self.uncounted.front() else {
            return Ok(None);
        };
        let (band, by, range) = (*band, *by, (*next, *last));
        let (rows, next) = self.rows_under(upper, tree, number, band, range, max)?;
        match (self.uncounted.front_mut(), next) {
            (Some(uncounted), Some(next)) => uncounted.next = next,
            _ => drop(self.uncounted.pop_front()),
        }
        let expiring = rows.values().filter(|row| row.expiration_ms > 0).count();
        self.forget(band, rows.len() as u64, expiring as u64);
        Ok(Some((rows.into_values().collect(), by)))
    }

    /// Rows of a band from `from` to `to`, looking at about `max` of them.
    pub(in crate::store::kahadb) fn slice(
        &self,
        tree: &Tree,
        number: u32,
        band: u8,
        range: (u64, u64),
        max: usize,
    ) -> Result<Slice, IndexError> {
        self.rows_under(&self.delta, tree, number, band, range, max)
    }

    /// The rows that `upper` and what is below the delta make.
    fn rows_under(
        &self,
        upper: &Delta,
        tree: &Tree,
        number: u32,
        band: u8,
        (from, to): (u64, u64),
        max: usize,
    ) -> Result<Slice, IndexError> {
        let (mut found, mut end, mut bad) = (BTreeMap::new(), to, None);
        if from > to {
            return Ok((found, None));
        }
        let frozen = self.frozen.as_deref();
        let hidden = |key| upper.hides(key) || frozen.is_some_and(|frozen| frozen.hides(key));
        // What is purged need not be read.
        let purged = [Some(upper), frozen].into_iter().flatten();
        let purged = purged.filter_map(|delta| delta.purged.get(&band)).max();
        let below_from = purged.map_or(from, |last| from.max(last.saturating_add(1)));
        let mut looked_at = 0;
        let first = rows::message_key(number, band, below_from);
        // The key behind the last one is that key with one byte more.
        let behind = [&rows::message_key(number, band, to)[..], &[0]].concat();
        let mut look = |key: &[u8], value: &[u8]| {
            match (rows::band_and_seq(key), Row::decode(value)) {
                (Ok(key), Ok(row)) => {
                    if !hidden(key) {
                        found.insert(key.1, row);
                    }
                    looked_at += 1;
                    if looked_at < max {
                        return ControlFlow::Continue(());
                    }
                    end = key.1;
                }
                _ => bad = Some(nonsense(Malformed)),
            }
            ControlFlow::Break(())
        };
        if below_from <= to {
            tree.reader.range(tree.version, &first, Some(&behind), &mut look)?;
        }
        if let Some(bad) = bad {
            return Err(bad);
        }
        let layers = [frozen.map(|frozen| &frozen.adds), Some(&upper.adds)];
        for (is_upper, adds) in [false, true].into_iter().zip(layers) {
            let adds = adds.map(|adds| adds.range((band, from)..=(band, end)));
            for (i, (key, row)) in adds.into_iter().flatten().enumerate() {
                if i == max {
                    end = key.1 - 1;
                    break;
                }
                if is_upper || !upper.hides(*key) {
                    found.insert(key.1, *row);
                }
            }
        }
        if end == to {
            return Ok((found, None));
        }
        drop(found.split_off(&(end + 1)));
        Ok((found, Some(end + 1)))
    }
}

/// A row of the index that says nothing that could be true.
pub(in crate::store::kahadb) fn nonsense(_: Malformed) -> IndexError {
    IndexError::Damaged(Damage { file: "db.data", page: None, reason: "a row makes no sense" })
}
