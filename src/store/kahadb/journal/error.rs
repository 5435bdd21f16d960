//! Why the journal could not do what it was asked.

use super::Lsn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// What is on disk is not what was written and synced. The file is kept, never deleted.
    #[error("{path} is damaged at offset {offset}: {reason}; see `broker store verify`")]
    Corrupt { path: PathBuf, offset: u64, reason: &'static str },
    /// Written by a version that knows more than this one.
    #[error("{path} was written by a newer version (at offset {offset})")]
    Newer { path: PathBuf, offset: u64 },
    /// The folder is the KahaDB of an ActiveMQ; nothing in it was touched.
    #[error(
        "{folder} holds a KahaDB store of ActiveMQ ({file}); take it over with \
             `broker store import --from {folder}`"
    )]
    JavaStore { folder: PathBuf, file: String },
    /// The files are those of another store.
    #[error("{path} belongs to another store")]
    OtherStore { path: PathBuf },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// There is no room for more messages. Removals are still taken.
    #[error("no space left for the journal in {folder}")]
    NoSpace { folder: PathBuf },
    /// Larger than the format can say, which is the caller's to prevent.
    #[error("a submit of {bytes} bytes, or one of its fields, is too large for the journal")]
    TooLarge { bytes: u64 },
    /// Somebody else may write here now.
    #[error("the store is no longer this broker's: {0}")]
    Fenced(String),
    /// A write or sync failed earlier; nothing more is accepted.
    #[error("the journal stopped after an earlier error: {0}")]
    Stopped(Arc<Self>),
    /// The writer or its follower panicked.
    #[error("a bug ended the thread that writes the journal")]
    Panicked,
    #[error("the journal is closed")]
    Closed,
    /// A file number or offset beyond what an LSN can hold.
    #[error("the journal has used up its file numbers at {0}")]
    Exhausted(Lsn),
}

impl JournalError {
    /// For `map_err`: tells what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether the disk is full, as far as this error tells.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
            || matches!(self, Self::Io { source, .. } if matches!(source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }
}
