//! The index of the persistent store: what is live, in the order in which it is delivered.
//!
//! It is a view of the journal, never the truth: losing it loses nothing, and every kind of damage
//! ends in the caller building it again. It changes only in checkpoints; a checkpoint applies a
//! sorted batch of changes and a [`Record`], all or nothing, whatever happens to the power.
//!
//! # Files
//!
//! | file | holds | layout |
//! |---|---|---|
//! | `db.data` | pages of 8192 bytes: a meta page and one B+tree | `page.rs`, `meta.rs` |
//! | `db.redo` | the pages of the last checkpoint once more | `redo.rs` |
//! | `db.free` | which pages hold nothing | `free.rs` |
//!
//! One tree holds everything: the caller's keys begin with a kind and a destination, so a hundred
//! thousand small queues share pages, removing a destination is a range, a checkpoint is one pass.
//!
//! ```text
//!                        branch   [ prefix | separators: S1 S2 ... ]
//!                 below S1 /     S1..S2 |      \ from S2 on
//!                         v             v       v
//!  leaf [ key rest, value | ... ]    leaf ...  leaf [ key rest | 0xFFFF | bytes, first page ]
//!                                                                          |
//!                            overflow [ bytes | next ] <-------------------+
//!                                               |
//!                            overflow [ bytes | 0 ]
//! ```
//!
//! Keys are byte strings in the order of `memcmp`. Separators are as short as they can be. Leaves
//! do not know their neighbours, so one can go without touching another; scans keep their path.
//! What is appended, at the end of the tree or of a run of keys inside it, leaves full pages.
//!
//! # A checkpoint
//!
//! ```text
//!              memory                db.redo                  db.data        a crash here finds
//!  apply   1   new pages  ------->   images, free list                       the state before
//!          2                         sync
//!          3                         header, sync = committed                before or after
//!          4   readers see the new version
//!  settle  5                         images  ------------->   pages          the state after, by
//!          6                                                  sync           5 to 7 again
//!          7                                                  meta page,
//!                                                             sync           the state after
//! ```
//!
//! Space in db.data is taken before step 3, so that nothing after the commit can meet a full disk.
//! An error before step 3 leaves the index as it was; a failed sync, or any error from step 3 on,
//! stops it for good ([`IndexError::Stopped`]); what was published stays readable.
//!
//! # Versions
//!
//! Pages are replaced in place, and readers take no lock meanwhile. A [`Version`] names a root;
//! every page carries the number of the checkpoint that wrote it. Between `apply` and `settle` both
//! the new version and the one before can be read. From `settle` on, a reader of an older version
//! either does not meet a page that changed, or it gets [`IndexError::Superseded`] and starts again
//! with the current one. So the caller publishes what belongs to the new version between the two.
//!
//! # Source
//!
//! Names and roles of the files are those of KahaDB; the formats are our own.

mod cache;
mod changes;
mod free;
mod memory;
mod meta;
mod packer;
mod page;
mod paged;
mod pages;
mod pass;
mod read;
mod redo;
pub mod storage;
#[cfg(test)]
mod tests;
mod verify;

pub use changes::{Change, Changes};
pub use memory::{MemoryIndex, MemoryReader};
pub use meta::{Mark, Record};
pub use paged::{PagedIndex, PagedReader};
pub use verify::{DAMAGE_MAX, Verdict};

use std::io;
use std::ops::ControlFlow;

/// The writer's side: one owner, in one thread.
pub trait Index: Send + Sized {
    /// Where it lives.
    type Place;
    type Reader: Reader;

    /// Opens what is there, or an empty index.
    ///
    /// An error is one of the disk or the system; everything wrong with the content is
    /// [`Opened::Damaged`].
    fn open(place: &Self::Place, options: Options) -> Result<Opened<Self>, IndexError>;

    /// A reader that sees every version to come.
    fn reader(&self) -> Self::Reader;

    /// Makes `changes` and `record` durable as the next version, which `reader`s see on return.
    ///
    /// Settles the version before first, if nobody did. Without any change nothing is written.
    fn apply(&mut self, changes: &mut dyn Changes, record: &Record) -> Result<Version, IndexError>;

    /// Ends the reign of the version before the current one: its pages are overwritten.
    fn settle(&mut self) -> Result<(), IndexError>;

    fn stats(&self) -> Stats;
}

/// The readers' side: any number, in any thread.
pub trait Reader: Clone + Send + Sync + 'static {
    /// The newest version.
    fn version(&self) -> Version;

    /// The value of `key`.
    fn get(&self, at: Version, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Shows `visit` the rows from `from` on in key order, up to `to` exclusive, until it breaks.
    ///
    /// On [`IndexError::Superseded`] what was shown so far is still true of `at`.
    fn range(
        &self,
        at: Version,
        from: &[u8],
        to: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), IndexError>;
}

/// Called with key and value of one row after the other, until it breaks.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// What `open` found.
#[derive(Debug)]
pub enum Opened<I> {
    /// No index was ever here. If there is a journal, it was lost: rebuild.
    Fresh(I),
    /// Left by a clean stop; complete if the journal ends where the record says.
    Clean(I, Record),
    /// Complete up to the replay position of the record.
    Replay(I, Record),
    /// Worth nothing: `discard` it, open again and rebuild.
    Damaged(Damage),
}

/// A state of the tree, as one checkpoint left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    checkpoint: u64,
    root: u32,
    height: u8,
}

impl Version {
    /// Rises with every checkpoint; 0 = none yet.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoint
    }
}

/// Sizes of the index.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A power of two from 512 to 32768. The same for the life of the files. 8192.
    pub page_bytes: usize,
    /// `indexCacheSize` in bytes: pages kept in memory by readers. While a checkpoint is made a
    /// quarter of it comes on top. 64 MiB.
    pub cache_bytes: usize,
    /// db.data grows by so many pages at a time. 2048 (16 MiB).
    pub growth_pages: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { page_bytes: 8192, cache_bytes: 64 << 20, growth_pages: 2048 }
    }
}

/// Counts for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of the last checkpoint.
    pub checkpoint: u64,
    pub rows: u64,
    /// Levels of the tree; 0 = empty.
    pub height: u8,
    /// Pages in use or free, the meta page included.
    pub pages: u32,
    pub free_pages: u32,
    pub page_bytes: usize,
    pub cached_pages: usize,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Page images since opening.
    pub written_pages: u64,
    /// Length of all three files.
    pub file_bytes: u64,
}

/// What is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{} is damaged: {reason}", at_page(.page))]
pub struct Damage {
    pub file: &'static str,
    pub page: Option<u32>,
    pub reason: &'static str,
}

fn at_page(page: &Option<u32>) -> String {
    page.map_or_else(String::new, |page| format!(" page {page}"))
}

/// Why the index could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Later checkpoints have gone over that version: read the current one.
    #[error("a later checkpoint has replaced that version of the index")]
    Superseded,
    /// The disk did not keep what was written: rebuild.
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("cannot {action} {file}")]
    Io {
        action: &'static str,
        file: &'static str,
        #[source]
        source: io::Error,
    },
    /// A sync or a write after the commit failed earlier; nothing more is written.
    #[error("the index stopped after an earlier I/O error")]
    Stopped,
    /// The caller's changes are not in order.
    #[error("the changes are not in ascending order")]
    Unsorted,
    #[error("a key or value of {bytes} bytes is longer than {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("the index has no more page numbers")]
    Full,
}

impl IndexError {
    /// Whether there was no space and nothing was changed: the same can be tried again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }
}

const DATA: &str = "db.data";
const REDO: &str = "db.redo";
const FREE: &str = "db.free";

/// Longest key, bytes; smaller pages allow a sixteenth of a page.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest value, bytes. Those above a quarter page lie in pages of their own.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
