//! The file store: a journal that is the truth, and an index that can be rebuilt from it.
//!
//! ```text
//! submit -> journal/writer -> db-N.log        one write and one sync for all that waits
//!               |
//!               +-> index -> db.data          follows the journal, checkpoint by checkpoint
//! ```
//!
//! - [`fs`]: the few calls on files that the store makes, so that a test can cut the power.
//! - [`journal`]: the `db-N.log` files: format, writer, recovery scan, which files there are.
//! - [`index`]: `db.data` with `db.redo` and `db.free`: pages, the B+tree, checkpoints.
//!
//! Destinations do not use it yet: the broker starts with [`super::memory`].
//!
//! Invariants:
//! - What was answered as durable was written and synced before.
//! - The journal alone tells the whole truth; the index is never ahead of its synced part.
//! - A failed write or sync stops the store for good. Nothing is retried: after a failed sync
//!   the kernel may have dropped the data and marked the pages clean.
//! - Nothing read from disk is believed before its checksum, and no length before it was compared
//!   with the bytes that are there.
//!
//! All integers in files are little-endian.

pub mod fs;
pub mod index;
pub mod journal;
