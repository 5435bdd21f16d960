//! The store that keeps nothing: `<memoryPersistenceAdapter/>` and `persistent="false"`.
//!
//! Destinations hold their messages in memory anyway; with this store nothing else does, and everything
//! is gone with the process.

use super::{Fetch, FetchDone, Page, Recovered, Store, StoreError, StoreStatus, Submit};

/// Confirms everything at once.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn name(&self) -> String {
        "MemoryPersistenceAdapter".into()
    }

    fn keeps(&self) -> bool {
        false
    }

    fn recovered(&self) -> Recovered {
        Recovered::default()
    }

    fn submit(&self, submit: Submit) {
        (submit.done)(Ok(()));
    }

    fn fetch(&self, _: Fetch, done: FetchDone) {
        done(Ok(Page { end: true, ..Page::default() }));
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
