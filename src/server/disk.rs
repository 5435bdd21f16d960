//! How much disk the store and the spill-over of memory may take: limits and shares against what there is.

use super::note::Note;
use crate::config::SystemUsage;
use std::io;
use std::path::Path;

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    /// Free, and not kept back for the superuser.
    pub usable_bytes: u64,
}

impl Space {
    /// The partition of `folder`, or of the nearest folder above it that exists.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let there = folder.ancestors().find(|folder| folder.exists());
        // A relative path ends with the empty one, which means here.
        let there = there.unwrap_or_else(|| Path::new("."));
        let partition = rustix::fs::statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(partition.f_frsize);
        Ok(Self { total_bytes: bytes(partition.f_blocks), usable_bytes: bytes(partition.f_bavail) })
    }
}

/// What is kept in a folder.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub folder: &'a Path,
    pub space: Space,
    /// What it takes already, bytes.
    pub used_bytes: u64,
    /// Length of one of its files, which must fit.
    pub file_bytes: u64,
}

/// The limits, in bytes, of what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    pub store_bytes: u64,
    pub temp_bytes: u64,
}

/// A limit is higher than what is there, and may not be lowered (`adjustUsageLimits`).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TooHigh(String);

/// Whether limits may be lowered to what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    Yes,
    No,
}

/// The limits for a store and for what does not fit into memory, none higher than what is there.
///
/// # Errors
/// When one would have to be lowered, and `adjust` does not allow that.
pub fn limits(
    usage: &SystemUsage,
    store: Kept<'_>,
    temp: Kept<'_>,
    adjust: Adjust,
) -> Result<(DiskLimits, Vec<Note>), TooHigh> {
    let mut notes = Vec::new();
    let wanted = usage.store.limit_bytes(store.space.total_bytes);
    let store_bytes = lowered("Store", "store", wanted, store, adjust, &mut notes)?;
    let wanted = usage.temp.limit_bytes(temp.space.total_bytes);
    let temp_bytes =
        lowered("Temporary Store", "temporary store", wanted, temp, adjust, &mut notes)?;
    Ok((DiskLimits { store_bytes, temp_bytes }, notes))
}

/// The limit or, if that is more or 0, all that is there.
fn lowered(
    name: &str,
    of: &str,
    limit: u64,
    kept: Kept<'_>,
    adjust: Adjust,
    notes: &mut Vec<Note>,
) -> Result<u64, TooHigh> {
    let there = kept.space.usable_bytes.saturating_add(kept.used_bytes);
    if limit == 0 {
        return Ok(there);
    }
    let lowered = limit.min(there);
    if lowered < limit {
        let text = format!(
            "{name} limit is {} mb (current {of} usage is {} mb). The data directory: {} only has {} mb of \
             usable space.",
            mib(limit),
            mib(kept.used_bytes),
            kept.folder.display(),
            mib(there)
        );
        if adjust == Adjust::No {
            return Err(TooHigh(text));
        }
        let reset = "resetting to maximum available disk space";
        notes.push(Note::Warn(format!("{text} - {reset}: {} mb", mib(there))));
    }
    if lowered < kept.file_bytes {
        notes.push(Note::Error(format!(
            "{name} limit is {} mb, whilst the max journal file size for the {of} is {} mb, the {of} will \
             not accept any data when used.",
            mib(lowered),
            mib(kept.file_bytes)
        )));
    }
    Ok(lowered)
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MemorySize, Percent, StoreUsage, TempUsage};

    const GIB: u64 = 1 << 30;

    fn resolved(store: StoreUsage, used_bytes: u64, usable_bytes: u64) -> (DiskLimits, Vec<Note>) {
        let temp = TempUsage { limit: MemorySize(64 << 20), ..TempUsage::default() };
        let usage = SystemUsage { store, temp, ..SystemUsage::default() };
        let space = Space { total_bytes: 100 * GIB, usable_bytes };
        let kept = |used_bytes| Kept {
            folder: Path::new("data"),
            space,
            used_bytes,
            file_bytes: 32 << 20,
        };
        limits(&usage, kept(used_bytes), kept(0), Adjust::Yes).expect("it may be lowered")
    }

    #[test]
    fn a_share_is_one_of_the_partition_or_of_the_total_given() {
        let percent_limit = Some(Percent(70));
        let store = StoreUsage { percent_limit, ..StoreUsage::default() };
        let (limits, notes) = resolved(store.clone(), 0, 80 * GIB);
        assert_eq!((limits.store_bytes, notes), (70 * GIB, vec![]));
        let total = Some(MemorySize(10 * GIB));
        let (limits, notes) = resolved(StoreUsage { total, ..store }, 0, 80 * GIB);
        assert_eq!((limits.store_bytes, notes), (7 * GIB, vec![]));
    }

    #[test]
    fn more_than_there_is_becomes_what_there_is() {
        let (limits, notes) = resolved(StoreUsage::default(), 3 * GIB, 5 * GIB);
        assert_eq!(limits, DiskLimits { store_bytes: 8 * GIB, temp_bytes: 64 << 20 });
        assert_eq!(
            notes,
            [Note::Warn(
                "Store limit is 102400 mb (current store usage is 3072 mb). The data directory: data only \
                 has 8192 mb of usable space. - resetting to maximum available disk space: 8192 mb"
                    .to_owned()
            )]
        );
        let unlimited = StoreUsage { limit: MemorySize(0), ..StoreUsage::default() };
        let (limits, notes) = resolved(unlimited, 0, GIB);
        assert_eq!((limits.store_bytes, notes), (GIB, vec![]));
    }

    #[test]
    fn more_than_there_is_is_refused_where_limits_are_not_adjusted() {
        let space = Space { total_bytes: 100 * GIB, usable_bytes: 5 * GIB };
        let kept = Kept { folder: Path::new("data"), space, used_bytes: 0, file_bytes: 0 };
        let TooHigh(text) =
            limits(&SystemUsage::default(), kept, kept, Adjust::No).expect_err("it is too high");
        assert!(text.ends_with("data only has 5120 mb of usable space."), "{text}");
    }

    #[test]
    fn a_limit_below_one_journal_file_is_an_error() {
        let small = StoreUsage { limit: MemorySize(1 << 20), ..StoreUsage::default() };
        let (limits, notes) = resolved(small, 0, 80 * GIB);
        assert_eq!(limits.store_bytes, 1 << 20);
        let [Note::Error(text)] = &notes[..] else { panic!("{notes:?}") };
        assert!(
            text.starts_with("Store limit is 1 mb, whilst the max journal file size"),
            "{text}"
        );
    }

    #[test]
    fn the_partition_of_a_folder_that_is_still_to_be_made_is_that_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(&folder.path().join("a/b")).unwrap();
        assert!(space.total_bytes > 0 && space.usable_bytes <= space.total_bytes);
        Space::of(Path::new("no/such/folder")).unwrap();
    }
}
