//! Several stores that are one: `<mKahaDB>`.
//!
//! ```text
//!                       +--> part: KahaDb in queue#3a#2f#2fORDERS.#3e
//! submit --> [shared] --+--> part: KahaDb in #210
//!               |       +--> ...
//!               |                 ^ what they do in a submit that lies in several
//!               +--> txStore -- [coordinator]
//! ```
//!
//! - `folder`, `options`: what stores there are, which destinations are whose.
//! - `open`: finds and opens them, and makes one history of what they have.
//! - `shared`: which store a submit is for. `part`: one store, and what waits before it.
//! - `intent`, `coordinator`: submits in several stores. `merge`: reading from several.
//!
//! A submit in one store goes there as it is, and stores never wait for each other but for submits
//! that lie in several.
//!
//! Invariants:
//! - A submit takes effect in all its stores or in none, also after a crash in the middle.
//! - A destination is in one store. It stays there as long as it has messages, whatever a changed
//!   configuration says.
//! - Every store that may have messages for a durable subscription knows it.
//! - When one store has failed, all have.
//!
//! Names of folders and of options are those of ActiveMQ.

mod coordinator;
mod folder;
mod intent;
mod merge;
mod open;
mod options;
mod part;
mod shared;
#[cfg(test)]
mod tests;
mod told;

pub use options::{FilteredStore, MultiOptions};

use super::fs::Filesystem;
use super::options::OpenError;
use crate::store::{
    Fetch, FetchDone, MessageForm, Page, Recovered, Store, StoreError, StoreEvents, StoreStatus,
    Submit,
};
use coordinator::{Coordinator, Event};
use merge::Merge;
use parking_lot::Mutex;
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use told::Told;

/// A store of stores. Dropped unclosed it loses nothing.
pub struct MultiKahaDb {
    shared: Arc<Shared>,
    recovered: Mutex<Option<Recovered>>,
    coordinator: Mutex<Option<JoinHandle<()>>>,
    is_closed: AtomicBool,
}

impl MultiKahaDb {
    /// Opens all stores of `options`, whose folder the caller has locked. Blocks as
    /// [`KahaDb::open`](super::KahaDb::open) does.
    ///
    /// # Errors
    /// When one of them does not open, or two of them have messages of the same destination.
    pub fn open(
        fs: Arc<dyn Filesystem>,
        options: MultiOptions,
        form: MessageForm,
        events: Arc<dyn StoreEvents>,
    ) -> Result<Arc<Self>, OpenError> {
        let directory = options.rest.directory.clone();
        let (sender, receiver) = channel();
        let told = Told::new(events, sender.clone());
        let opened = open::open(&fs, &options, form, &told)?;
        let shared = Arc::new(Shared {
            fs,
            options,
            form,
            told,
            events: sender,
            transactions: opened.transactions,
            own: opened.own,
            table: opened.table.into(),
            order: opened.order.into(),
        });
        let coordinator = Coordinator::start(shared.clone(), receiver);
        let coordinator = coordinator.map_err(|source| OpenError::Io {
            action: "start a thread for",
            path: directory,
            source,
        })?;
        Ok(Arc::new(Self {
            shared,
            recovered: Mutex::new(Some(opened.recovered)),
            coordinator: Mutex::new(Some(coordinator)),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Why nothing is taken any more; none while it is.
    fn refusal(&self) -> Option<StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Some(StoreError::Stopped("the store is closed".into()));
        }
        self.shared.told.failure()
    }

    /// Waits for what is under way.
    fn come_to_rest(&self) {
        self.shared.order.lock().is_closed = true;
        let (answer, answered) = channel();
        drop(self.shared.events.send(Event::Close(answer)));
        if answered.recv().is_err() {
            tracing::debug!("the coordinator has ended before");
        }
    }

    fn end_coordinator(&self) {
        drop(self.shared.events.send(Event::Quit));
        if let Some(thread) = self.coordinator.lock().take()
            && thread.join().is_err()
        {
            let bug = StoreError::Stopped("a bug ended a thread of the store".into());
            self.shared.told.fail(&bug);
        }
    }
}

impl Store for MultiKahaDb {
    fn name(&self) -> String {
        let directory = self.shared.options.rest.directory.display();
        format!("MultiKahaDBPersistenceAdapter[{directory}]")
    }

    fn keeps(&self) -> bool {
        true
    }

    fn recovered(&self) -> Recovered {
        self.recovered.lock().take().unwrap_or_default()
    }

    fn submit(&self, submit: Submit) {
        if let Some(error) = self.refusal() {
            return (submit.done)(Err(error));
        }
        match self.shared.only_part(&submit.ops) {
            Some(part) => part.submit(submit),
            None => self.shared.spread(submit),
        }
    }

    fn fetch(&self, fetch: Fetch, done: FetchDone) {
        if let Some(error) = self.refusal() {
            return done(Err(error));
        }
        let mut parts = match &fetch {
            Fetch::Queue { destination, .. }
            | Fetch::Expired { destination, .. }
            | Fetch::Exactly { destination, .. }
            | Fetch::Durable { topic: Some(destination), .. } => {
                self.shared.part_of(destination).into_iter().collect()
            }
            Fetch::Durable { subscription, topic: None, .. } => {
                self.shared.parts_for(*subscription)
            }
        };
        match (parts.len(), &fetch) {
            (0, _) => done(Ok(Page { end: true, ..Page::default() })),
            (count, Fetch::Durable { limit, .. }) if count > 1 => {
                let merge = Merge::of(count, *limit, done);
                for part in parts {
                    let merge = merge.clone();
                    part.fetch(fetch.clone(), Box::new(move |page| merge.page(page)));
                }
            }
            _ => {
                if let Some(part) = parts.pop() {
                    part.fetch(fetch, done);
                }
            }
        }
    }

    fn status(&self) -> StoreStatus {
        let parts = self.shared.parts();
        let stores = parts.iter().filter_map(|part| part.store());
        let mut sum = StoreStatus::default();
        for status in stores.map(|store| store.status()) {
            sum.bytes_used += status.bytes_used;
            sum.journal_files += status.journal_files;
            sum.messages += status.messages;
        }
        sum
    }

    /// Each may use what the others leave of it, and no more than its own limit.
    fn set_limit(&self, bytes: u64) {
        let parts = self.shared.parts();
        let stores = parts.iter().filter_map(|part| Some((part.place.limit_bytes, part.store()?)));
        let stores: Vec<_> = stores.collect();
        let used: Vec<u64> = stores.iter().map(|(_, store)| store.status().bytes_used).collect();
        for ((own, store), limit) in stores.iter().zip(limits(bytes, &used)) {
            let both = [limit, *own].into_iter().filter(|limit| *limit > 0);
            store.set_limit(both.min().unwrap_or(0));
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return self.shared.told.failure().map_or(Ok(()), Err);
        }
        self.come_to_rest();
        let mut outcome = self.shared.told.failure().map_or(Ok(()), Err);
        // The `txStore` is the last one: it must not forget what another did not keep.
        for part in self.shared.parts() {
            if let Some(store) = part.store() {
                let closed = store.close();
                outcome = outcome.and(closed);
            }
        }
        self.end_coordinator();
        outcome
    }
}

/// What each of several stores may use of `limit` if the others stay as they are; bytes, 0 is no
/// limit.
fn limits(limit: u64, used: &[u64]) -> impl Iterator<Item = u64> {
    let all: u64 = used.iter().sum();
    used.iter().map(move |used| match limit {
        0 => 0,
        _ => limit.saturating_sub(all - used).max(1),
    })
}

impl fmt::Debug for MultiKahaDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = &self.shared.options.rest.directory;
        f.debug_struct("MultiKahaDb").field("directory", directory).finish_non_exhaustive()
    }
}

impl Drop for MultiKahaDb {
    fn drop(&mut self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.come_to_rest();
            self.end_coordinator();
        }
    }
}
