//! Who may be the master of a store: of the brokers that share one, a single one opens it.
//!
//! ```text
//! become_master --- try_lock, again and again ---> Mastership --- look, every keep-alive ---> lost
//!      slave: no port is open, the store neither                 master
//! ```
//!
//! A [`Locker`] is one way to keep the others out. Its calls may block, so one thread of its own makes
//! them all: it waits as a slave, and afterwards watches that the lock stays. [`become_master`] is the
//! async side of that thread.
//!
//! Invariants:
//! - Whoever has a [`Mastership`] had the lock when it was made. The lock goes back when the last clone is
//!   dropped, so the store and the server each keep one until the store is closed.
//! - A lock that is lost once is lost for good: [`Mastership::check`] fails from then on, and
//!   [`Mastership::lost`] resolves. Nothing may be confirmed to a client after that.
//! - A doubt counts as a loss: a check that cannot be made fails.

mod mastership;
mod mount;
pub(crate) mod ofd_lock;
mod read_lock;
mod shared_file;

pub use mastership::{MasterOptions, Mastership, become_master};
pub use read_lock::ReadLock;
pub use shared_file::SharedFile;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A way to be the only broker on a store. Its calls may block.
pub trait Locker: fmt::Debug + Send {
    /// What is locked, as the log names it: `Database data/kahadb/lock`.
    fn name(&self) -> String;

    /// Tries once to get the lock.
    ///
    /// # Errors
    /// When it cannot be told whether somebody has it.
    fn try_lock(&mut self) -> Result<Attempt, LockError>;
}

/// What became of a try.
#[derive(Debug)]
pub enum Attempt {
    /// Another one has it.
    Locked,
    Acquired {
        lock: Box<dyn HeldLock>,
        /// The holder before may still believe in its lock: it needs one keep-alive period to notice.
        settle: bool,
    },
}

/// A lock that is held until it is dropped.
pub trait HeldLock: fmt::Debug + Send + Sync {
    /// Rises with each acquisition, so that what was written under the lock tells by whom.
    fn generation(&self) -> u64;

    /// Looks whether it is still held.
    ///
    /// # Errors
    /// When it is not, or when that cannot be told.
    fn check(&self) -> Result<(), LockError>;
}

/// Why a lock was not had, or is lost.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "{name} is locked by another server, and failIfLocked is set: this broker does not wait"
    )]
    Held { name: String },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the lock file {path} is gone, or is another file than the one that was locked")]
    Replaced { path: PathBuf },
    #[error("another process has locked {path} meanwhile")]
    Taken { path: PathBuf },
    #[error("another broker has written its mark into {path} meanwhile")]
    Overwritten { path: PathBuf },
    #[error("cannot start the thread that watches the lock")]
    Thread(#[source] io::Error),
}
