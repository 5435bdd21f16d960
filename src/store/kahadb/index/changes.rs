//! What goes into a checkpoint: changes in key order.

use super::{IndexError, VALUE_BYTES_MAX};

/// One change to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Inserts a row, or replaces its value.
    Put { key: &'a [u8], value: &'a [u8] },
    /// Removes a row; no effect if there is none.
    Delete { key: &'a [u8] },
    /// Removes all rows from `from` up to `to`, exclusive.
    DeleteRange { from: &'a [u8], to: &'a [u8] },
}

impl<'a> Change<'a> {
    /// The first key concerned.
    pub fn begin(&self) -> &'a [u8] {
        match *self {
            Self::Put { key, .. } | Self::Delete { key } | Self::DeleteRange { from: key, .. } => {
                key
            }
        }
    }
}

/// Changes in ascending order: each begins above the key, or not before the end of the range, of
/// the one before. They may be made one at a time.
pub trait Changes {
    /// The change at hand; `None` when they are over. Asked several times for each.
    fn current(&self) -> Option<Change<'_>>;

    /// Goes to the next one.
    fn advance(&mut self);
}

impl Changes for &[Change<'_>] {
    fn current(&self) -> Option<Change<'_>> {
        self.first().copied()
    }

    fn advance(&mut self) {
        *self = self.get(1..).unwrap_or_default();
    }
}

/// Changes whose order and sizes are checked on the way.
pub(super) struct Sorted<'a> {
    changes: &'a mut dyn Changes,
    key_bytes_max: usize,
    /// Where the last change ended: the lowest key that is still allowed.
    floor: Vec<u8>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(changes: &'a mut dyn Changes, key_bytes_max: usize) -> Self {
        Self { changes, key_bytes_max, floor: Vec::new() }
    }

    /// Whether there is a change for keys below `upper`; `None` is above all.
    pub(super) fn begin_before(&self, upper: Option<&[u8]>) -> Result<bool, IndexError> {
        Ok(self.current_before(upper)?.is_some())
    }

    /// The change at hand if it concerns keys below `upper`.
    pub(super) fn current_before(
        &self,
        upper: Option<&[u8]>,
    ) -> Result<Option<Change<'_>>, IndexError> {
        let Some(change) = self.changes.current() else { return Ok(None) };
        if upper.is_some_and(|upper| change.begin() >= upper) {
            return Ok(None);
        }
        self.check(&change)?;
        Ok(Some(change))
    }

    pub(super) fn advance(&mut self) {
        self.floor.clear();
        match self.changes.current() {
            Some(Change::Put { key, .. } | Change::Delete { key }) => {
                self.floor.extend_from_slice(key);
                self.floor.push(0); // the next key there can be
            }
            Some(Change::DeleteRange { to, .. }) => self.floor.extend_from_slice(to),
            None => {}
        }
        self.changes.advance();
    }

    /// After the last leaf nothing can be left.
    pub(super) fn must_be_over(&self) -> Result<(), IndexError> {
        match self.changes.current() {
            None => Ok(()),
            Some(_) => Err(IndexError::Unsorted),
        }
    }

    fn check(&self, change: &Change<'_>) -> Result<(), IndexError> {
        let backwards = matches!(*change, Change::DeleteRange { from, to } if from > to);
        if change.begin() < self.floor.as_slice() || backwards {
            return Err(IndexError::Unsorted);
        }
        if let Change::Put { key, value } = *change {
            if key.len() > self.key_bytes_max {
                return Err(IndexError::TooLong { bytes: key.len(), max: self.key_bytes_max });
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(IndexError::TooLong { bytes: value.len(), max: VALUE_BYTES_MAX });
            }
        }
        Ok(())
    }
}
