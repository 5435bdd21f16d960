//! Stores keep what must survive the broker: persistent messages, their acknowledgements, durable
//! subscriptions and prepared transactions.
//!
//! A store is data in, data out. One [`Store::submit`] is atomic, submits take effect in order, and
//! each is answered when it is as durable as the store makes it. Sequence numbers are the broker's: they
//! rise within a destination and name a message there.

pub mod kahadb;
pub mod memory;

use crate::jms::{Destination, Message, Text};
use std::sync::Arc;

/// A change to what is stored.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// A message enters a destination.
    Add { destination: Destination, sequence: i64, message: Arc<Message> },
    /// A message leaves its destination for good.
    Remove { destination: Destination, sequence: i64 },
}

/// Why a store refused or stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store stopped after an earlier error: {0}")]
    Stopped(Text),
}

/// Called once with the outcome of a submit; must not block.
pub type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Where messages are kept.
pub trait Store: Send + Sync + 'static {
    /// As the start log names it, such as `KahaDBPersistenceAdapter[data/kahadb]`.
    fn name(&self) -> String;

    /// Applies `ops` as one: all or nothing. Never waits; `done` is called when they are durable.
    fn submit(&self, ops: Vec<StoreOp>, done: Completion);

    /// The highest sequence number ever used, so that the broker goes on above it.
    fn last_sequence(&self) -> i64;

    /// Bytes taken on disk.
    fn bytes_used(&self) -> u64;
}
