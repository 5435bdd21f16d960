//! The index as a map in memory: the reference in tests, and an index for those who rebuild it at
//! every start.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::changes::{Change, Changes, Sorted};
use super::meta::Record;
use super::{Index, IndexError, KEY_BYTES_MAX, Opened, Options, Reader, Stats, Version, Visit};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Nothing of it survives.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    shared: Arc<RwLock<Versions>>,
}

/// Reads a [`MemoryIndex`] from any thread.
#[derive(Clone, Debug)]
pub struct MemoryReader {
    shared: Arc<RwLock<Versions>>,
}

#[derive(Debug, Default)]
struct Versions {
    checkpoint: u64,
    rows: Arc<Rows>,
    /// Readable until `settle`.
    before: Option<Arc<Rows>>,
}

impl Index for MemoryIndex {
    type Place = PhantomData<Infallible>;
    type Reader = MemoryReader;

    fn open(_: &Self::Place, _: Options) -> Result<Opened<Self>, IndexError> {
        Ok(Opened::Fresh(Self::default()))
    }

    fn reader(&self) -> MemoryReader {
        MemoryReader { shared: Arc::clone(&self.shared) }
    }

    fn apply(&mut self, changes: &mut dyn Changes, _: &Record) -> Result<Version, IndexError> {
        let before = Arc::clone(&self.shared.read().rows);
        let mut rows = Rows::clone(&before);
        let mut changes = Sorted::new(changes, KEY_BYTES_MAX);
        while let Some(change) = changes.current_before(None)? {
            match change {
                Change::Put { key, value } => {
                    rows.insert(key.to_vec(), value.to_vec());
                }
                Change::Delete { key } => {
                    rows.remove(key);
                }
                Change::DeleteRange { from, to } => {
                    rows.retain(|key, _| !(from..to).contains(&key.as_slice()));
                }
            }
            changes.advance();
        }
        let mut versions = self.shared.write();
        versions.checkpoint += 1;
        versions.rows = Arc::new(rows);
        versions.before = Some(before);
        Ok(versions.current())
    }

    fn settle(&mut self) -> Result<(), IndexError> {
        self.shared.write().before = None;
        Ok(())
    }

    fn stats(&self) -> Stats {
        let versions = self.shared.read();
        let (checkpoint, rows) = (versions.checkpoint, versions.rows.len() as u64);
        Stats { checkpoint, rows, ..Stats::default() }
    }
}

impl Versions {
    fn current(&self) -> Version {
        Version { checkpoint: self.checkpoint, root: 0, height: 0 }
    }

    fn rows(&self, at: Version) -> Result<Arc<Rows>, IndexError> {
        let age = self.checkpoint - at.checkpoint;
        match &self.before {
            _ if age == 0 => Ok(Arc::clone(&self.rows)),
            Some(before) if age == 1 => Ok(Arc::clone(before)),
            _ => Err(IndexError::Superseded),
        }
    }
}

impl Reader for MemoryReader {
    fn version(&self) -> Version {
        self.shared.read().current()
    }

    fn get(&self, at: Version, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let rows = self.shared.read().rows(at)?;
        Ok(rows.get(key).cloned())
    }

    fn range(
        &self,
        at: Version,
        from: &[u8],
        to: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), IndexError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let rows = self.shared.read().rows(at)?;
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in rows.range::<[u8], _>((Bound::Included(from), to)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
