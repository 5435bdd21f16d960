//! What one destination holds: the tree, and on it what happened since it was written.
//!
//! ```text
//! delta    what was applied since the last checkpoint began      looked at first
//! frozen   what the checkpoint under way is writing              then
//! tree     what checkpoints have written                         then
//! ```
//!
//! A message that comes and goes within one delta never reaches the tree.

use crate::jms::Destination;
use crate::store::kahadb::fields::Malformed;
use crate::store::kahadb::index::storage::Folder;
use crate::store::kahadb::index::{Damage, IndexError, PagedReader, Reader, Version};
use crate::store::kahadb::journal::Lsn;
use crate::store::kahadb::pending::Pending;
use crate::store::kahadb::rows::{self, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The tree, as of the last checkpoint that was published.
pub(in crate::store::kahadb) struct Tree {
    pub(in crate::store::kahadb) reader: PagedReader<Folder>,
    pub(in crate::store::kahadb) version: Version,
}

/// Changes to the messages of a destination.
#[derive(Debug, Default)]
pub(in crate::store::kahadb) struct Delta {
    /// By band and seq.
    pub(super) adds: BTreeMap<(u8, u64), Row>,
    /// Those below that are gone.
    pub(super) removed: BTreeSet<(u8, u64)>,
    /// Up to which seq all below are gone, by band.
    pub(super) purged: BTreeMap<u8, u64>,
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
    /// No message expires before, ms since 1970.
    pub(in crate::store::kahadb) expires_from: u64,
    /// Topics: what each durable subscription has not acknowledged.
    pub(in crate::store::kahadb) pending: BTreeMap<u64, Pending>,
    pub(super) delta: Delta,
    pub(super) frozen: Option<Arc<Delta>>,
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
            pending: BTreeMap::new(),
            delta: Delta::default(),
            frozen: None,
        }
    }

    pub(in crate::store::kahadb) fn messages(&self) -> u64 {
        self.bands.values().sum()
    }

    pub(in crate::store::kahadb) fn exists(&self) -> bool {
        self.lsn.is_some()
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

    /// Takes away all of a band up to `last`, which `messages` and `expiring` count.
    pub(super) fn purge(&mut self, band: u8, last: u64, messages: u64, expiring: u64) {
        let gone = self.delta.adds.range((band, 0)..=(band, last));
        let gone: Vec<(u8, u64)> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.delta.adds.remove(&key);
        }
        self.delta.removed.retain(|key| key.0 != band || key.1 > last);
        let purged = self.delta.purged.entry(band).or_default();
        *purged = last.max(*purged);
        self.forget(band, messages, expiring);
    }

    /// Rows of a band from `from` to `to`, looking at about `max` of them.
    pub(in crate::store::kahadb) fn slice(
        &self,
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
        let hidden = |key| self.delta.hides(key) || frozen.is_some_and(|frozen| frozen.hides(key));
        let mut looked_at = 0;
        let first = rows::message_key(number, band, from);
        // The key behind the last one is that key with one byte more.
        let behind = [&rows::message_key(number, band, to)[..], &[0]].concat();
        tree.reader.range(tree.version, &first, Some(&behind), &mut |key, value| {
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
        })?;
        if let Some(bad) = bad {
            return Err(bad);
        }
        let deltas = [frozen.map(|frozen| &frozen.adds), Some(&self.delta.adds)];
        for (is_delta, adds) in [false, true].into_iter().zip(deltas) {
            let adds = adds.map(|adds| adds.range((band, from)..=(band, end)));
            for (i, (key, row)) in adds.into_iter().flatten().enumerate() {
                if i == max {
                    end = key.1 - 1;
                    break;
                }
                if is_delta || !self.delta.hides(*key) {
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
