//! The journal: the `db-N.log` files and the one thread that writes them.
//!
//! ```text
//! submit --> queue --> writer thread, or who leads -------> follower (index), then whoever waits
//!                        |  commit: one batch of all that waits
//!                        |  batch: encode, merge acks
//!                        |  appender: one write past the page cache, one sync
//!                        |                                  <-- keeper thread: next file, zeroed piece by piece
//!                        v
//!                      db-1.log  db-2.log  db-3.log (unused yet)
//!                        |
//! start: scan <----------+
//! ```
//!
//! - `format`: every byte of a file; `record`: what records say.
//! - [`Files`]: which files there are, their making and dropping.
//! - [`Scan`]: reads the log at start, finds its end or its damage.
//! - [`Journal`]: takes submits.
//!
//! A start is: [`Files::open`]; [`Scan`] until there is no more batch; [`Journal::open`] at
//! [`Scan::mark`] with an epoch higher than its. The store's lock is held throughout.
//!
//! Invariants:
//! - A submit lies in one batch, a batch in one file, and a batch is valid as a whole or not at all.
//! - The order of submits, of batches, of answers and of what the follower gets is one order.
//! - Nothing of a file is in the log before all of the file before it was synced.
//! - After an error of a write or sync, or when the fence has closed, nothing is written, and nobody is told "done", any more.
//! - Appending changes no metadata of a file, unless one record is longer than a file.
//!
//! The source of the sizes and of the format is the store's design, sections 3 to 6: files of
//! `journalMaxFileLength`, batches of at most `journalMaxWriteBatchSize`.

mod appender;
mod batch;
mod commit;
mod error;
mod files;
mod format;
mod gaps;
#[cfg(test)]
pub(super) mod inline;
mod keeper;
mod pace;
mod ranges;
mod read;
mod record;
mod scan;
mod writer;

#[cfg(test)]
mod tests;

pub use appender::Identity;
pub use batch::{Batch, Stored};
pub use error::JournalError;
pub(in crate::store::kahadb) use files::JAVA_STOPPER;
pub use files::{Files, FilesOptions};
pub use format::{BatchHeader, Lsn, StoreId};
pub use gaps::Gaps;
pub use ranges::{Range, Ranges};
pub use read::{read_record, read_records};
pub use record::{Add, DropAction, Job, RANGES_MAX, Record, Subscription};
pub use scan::{Loss, Mark, OnDamage, Scan};
pub(super) use writer::Lead;
pub use writer::{
    Done, Follower, Journal, JournalOptions, Operation, SpaceWatch, Submit, SyncPolicy, Wish,
};
