//! The file store: a journal that is the truth, and an index that can be rebuilt from it.
//!
//! ```text
//! submit -> encode -> journal/writer -> db-N.log      one write and one sync for all that waits
//!                         |
//!                         +-> state (in memory) -> index -> db.data    checkpoint by checkpoint
//!                               ^                   ^
//! fetch ------------------------+-------------------+---> journal: bodies
//! ```
//!
//! - [`journal`]: the `db-N.log` files: format, writer, recovery scan, which files there are.
//! - [`index`]: `db.data` with `db.redo` and `db.free`: pages, the B+tree, checkpoints.
//! - `encode`, `names`: what the broker submits, as records. `rows`: what the index has of them.
//! - `state`: what the records said so far; the newest part in memory, the rest in the index.
//! - `collect`: which journal files can go, and what has to be written again before.
//! - [`multi`]: several such stores as one.
//! - `open`: the state at the start. `fetch`: reading messages. `core`: the store as it is without
//!   threads. `store`: [`KahaDb`]; `worker`, `upkeep`: its threads.
//! - `inspect`: what an operator can be told of a store that nobody has open; `verify`:
//!   whether it is what was written; `compact`: all garbage goes.
//!
//! Invariants:
//! - What was answered as durable was written and synced before.
//! - The journal alone tells the whole truth; the index is never ahead of its synced part.
//! - A failed write or sync stops the store for good. Nothing is retried: after a failed sync
//!   the kernel may have dropped the data and marked the pages clean.
//! - Nothing is written after the [`Fence`] closed: somebody else may write there.
//! - Nothing read from disk is believed before its checksum, and no length before it was compared
//!   with the bytes that are there.
//!
//! All integers in files are little-endian.

mod collect;
mod compact;
mod core;
mod encode;
mod fence;
mod fetch;
mod fields;
pub mod index;
mod inspect;
pub mod journal;
pub mod multi;
mod names;
mod open;
mod options;
mod pending;
mod rows;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;
mod worker;

pub use super::fs;
pub use compact::{CompactError, Compaction, Size, compact};
pub use fence::Fence;
pub use inspect::{
    DestinationContent, FileContent, FileRole, Inspection, MessageSketch, PreparedContent,
    SubscriptionContent, inspect,
};
pub use options::{KahaDbOptions, OpenError};
pub use store::KahaDb;
pub use verify::{Finding, Verification, verify};
