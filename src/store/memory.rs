//! The store that keeps nothing: `<memoryPersistenceAdapter/>` and `persistent="false"`.
//!
//! Destinations hold their messages in memory anyway; with this store nothing else does, and everything
//! is gone with the process.

use super::{Completion, Store, StoreOp};

/// Confirms everything at once.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn name(&self) -> String {
        "MemoryPersistenceAdapter".into()
    }

    fn submit(&self, ops: Vec<StoreOp>, done: Completion) {
        drop(ops);
        done(Ok(()));
    }

    fn last_sequence(&self) -> i64 {
        0
    }

    fn bytes_used(&self) -> u64 {
        0
    }
}
