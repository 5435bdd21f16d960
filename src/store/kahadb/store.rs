//! The store with its threads.
//!
//! ```text
//! submit --> journal writer --batches, then what was asked behind them--> index thread
//!                                                                          |      |
//!                                       readers (2) <---------- fetches ---'      '--> checkpoint
//! ```
//!
//! The index thread is the only one that changes the state. It never waits for the journal, so the
//! journal may wait for it, when too much is under way between them. A checkpoint is written, and
//! files are collected, by a thread of their own, while batches are applied.

use super::core::Core;
use super::encode::{Encoder, bodies};
use super::fs::Filesystem;
use super::index;
use super::journal::{
    Batch, Identity, Journal, JournalOptions, Lead, Record, SpaceWatch, Submit as JournalSubmit,
    Wish,
};
use super::open::open;
use super::options::{KahaDbOptions, OpenError};
use super::upkeep::{Turn, Upkeep};
use super::worker::Worker;
use crate::store::{
    Completion, Fetch, FetchDone, MessageForm, Recovered, Store, StoreError, StoreEvents, StoreOp,
    StoreStatus, Submit,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// A store in files: `<kahaDB>`. Ends as a killed process does when it is dropped unclosed, but
/// loses nothing.
pub struct KahaDb {
    core: Arc<Core>,
    encoder: Arc<Mutex<Encoder>>,
    journal: Arc<Journal>,
    tasks: SyncSender<Task>,
    /// Unparked for what somebody waits for.
    index_thread: Thread,
    recovered: Mutex<Option<Recovered>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_closing: Arc<AtomicBool>,
}

/// What the index thread is asked for.
pub(super) enum Task {
    Batch(Batch),
    Fetch(Fetch, FetchDone),
    /// Everything before is on the disk.
    Synced,
    /// The checkpoint under way is over.
    Written(Result<Turn, StoreError>),
    Close(Sender<Result<(), StoreError>>),
    Quit,
}

pub(super) type Read = (Fetch, FetchDone);

impl KahaDb {
    /// Opens the store in `options.directory`, which the caller has locked. Blocks: as long as up
    /// to 256 MiB of journal take to read, or all of it if the index has to be built again.
    ///
    /// # Errors
    /// When something on the disk is missing, damaged or of somebody else, and `options` do not
    /// say to go on; or when the disk fails.
    pub fn open(
        fs: Arc<dyn Filesystem>,
        options: KahaDbOptions,
        form: MessageForm,
        events: Arc<dyn StoreEvents>,
    ) -> Result<Arc<Self>, OpenError> {
        let cache_bytes = options.index_cache_bytes;
        let sizes = index::Options { cache_bytes, ..index::Options::default() };
        Self::open_with(fs, options, sizes, form, events)
    }

    pub(super) fn open_with(
        fs: Arc<dyn Filesystem>,
        options: KahaDbOptions,
        sizes: index::Options,
        form: MessageForm,
        events: Arc<dyn StoreEvents>,
    ) -> Result<Arc<Self>, OpenError> {
        tracing::info!("KahaDB is version {}", form.version);
        let opened = open(&fs, &options, sizes, form, &events)?;
        let (tasks, received) = sync_channel(BATCHES_MAX);
        let identity = Identity {
            store_id: opened.core.store_id,
            epoch: opened.end.epoch + 1,
            lock_generation: options.lock_generation,
        };
        let core = Arc::new(opened.core);
        if options.compacts_all {
            core.compacts_until.store(opened.end.lsn.file(), Ordering::Relaxed);
        }
        let watched = core.clone();
        let journal_options = JournalOptions {
            identity,
            node: options.node,
            batch_bytes_max: options.journal_max_write_batch,
            sync: options.sync,
            lead_below: LEAD_BELOW,
            space_retry: options.space_retry,
            space: SpaceWatch::new(move |is_short| {
                watched.is_short.store(is_short, Ordering::Relaxed);
                watched.tell_space();
            }),
            fence: options.fence,
        };
        let end = opened.end.lsn;
        let batches = tasks.clone();
        let follower = Box::new(move |batch| {
            // A thread that ended has said why; who submits is refused by then.
            drop(batches.send(Task::Batch(without_bodies(batch))));
        });
        let files = core.files.clone();
        let journal = Arc::new(Journal::open(files, opened.end, journal_options, follower)?);
        if options.compacts_all && core.is_worth_emptying(end) {
            // Else what is in the last file would stay there, for that is written.
            journal.begin_file()?;
        }
        let (reads, to_read) = channel();
        let encoder = Arc::new(Mutex::new(opened.encoder));
        let is_closing = Arc::new(AtomicBool::new(false));
        let upkeep = Upkeep {
            core: core.clone(),
            journal: journal.clone(),
            encoder: encoder.clone(),
            is_closing: is_closing.clone(),
        };
        let worker = Worker::new(upkeep, tasks.clone(), reads);
        let mut threads = Vec::new();
        let io = |source| OpenError::Io {
            action: "start a thread for",
            path: core.options.directory.clone(),
            source,
        };
        let index = std::thread::Builder::new().name("index".into());
        let index = index.spawn(move || worker.run(&received)).map_err(io)?;
        let index_thread = index.thread().clone();
        threads.push(index);
        let to_read = Arc::new(Mutex::new(to_read));
        for _ in 0..READERS {
            let (core, to_read) = (core.clone(), to_read.clone());
            let reader = std::thread::Builder::new().name("store-reader".into());
            threads.push(reader.spawn(move || read(&core, &to_read)).map_err(io)?);
        }
        Ok(Arc::new(Self {
            core,
            encoder,
            journal,
            tasks,
            index_thread,
            recovered: Mutex::new(Some(opened.recovered)),
            threads: Mutex::new(threads),
            is_closing,
        }))
    }

    /// Waits until nothing more can be moved or dropped, looking every `look`.
    pub(super) fn wait_for_compaction(&self, look: Duration) -> Result<(), StoreError> {
        while !self.core.is_tidy.load(Ordering::Acquire) {
            if let Some(error) = self.core.failure() {
                return Err(error);
            }
            if self.core.is_short() {
                let folder = self.core.options.directory.display().to_string();
                return Err(StoreError::NoSpace(folder.into()));
            }
            std::thread::sleep(look);
        }
        Ok(())
    }

    /// Submits what must not be refused any more: the store stops if there is no room for it.
    pub(super) fn submit_decided(&self, ops: Vec<StoreOp>, done: Completion) {
        self.queue(ops, Wish::Decided, done, Lead::Thread);
    }

    /// Whether messages will be refused soon, for want of space.
    pub(super) fn is_short(&self) -> bool {
        self.journal.is_short() || self.core.is_index_behind.load(Ordering::Relaxed)
    }

    fn queue(&self, ops: Vec<StoreOp>, wish: Wish, done: Completion, lead: Lead) {
        if let Some(error) = self.refusal(&ops, wish) {
            return done(Err(error));
        }
        let bodies = bodies(&ops, self.core.form);
        let core = self.core.clone();
        let mut encoder = self.encoder.lock();
        let encoded = encoder.encode(ops, bodies);
        let confirms = encoded.confirms;
        let submit = JournalSubmit {
            operations: encoded.operations,
            wish,
            done: Box::new(move |outcome| match outcome {
                Ok(_) => {
                    confirms.iter().for_each(|c| c.store(true, Ordering::Relaxed));
                    done(Ok(()));
                }
                Err(error) => done(Err(core.store_error(&error))),
            }),
        };
        let offered = self.journal.offer(submit, lead);
        drop(encoder); // whoever is refused may submit at once
        if let Err(refused) = offered {
            refused.tell();
        }
    }

    /// Why `ops` are not taken; none if they are.
    fn refusal(&self, ops: &[StoreOp], wish: Wish) -> Option<StoreError> {
        if self.is_closing.load(Ordering::Acquire) {
            return Some(StoreError::Stopped("the store is closed".into()));
        }
        let grows = |op: &StoreOp| matches!(op, StoreOp::Add(_) | StoreOp::Prepare(_));
        let is_behind = self.core.is_index_behind.load(Ordering::Relaxed);
        let no_space = || StoreError::NoSpace("the index cannot be written".into());
        let refuses = is_behind && wish != Wish::Decided && ops.iter().any(grows);
        self.core.failure().or_else(|| refuses.then(no_space))
    }

    fn end_threads(&self) {
        drop(self.tasks.send(Task::Quit)); // it may have ended
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                self.core.fail(StoreError::Stopped("a bug ended a thread of the store".into()));
            }
        }
    }
}

impl Store for KahaDb {
    fn name(&self) -> String {
        format!("KahaDBPersistenceAdapter[{}]", self.core.options.directory.display())
    }

    fn keeps(&self) -> bool {
        true
    }

    fn recovered(&self) -> Recovered {
        self.recovered.lock().take().unwrap_or_default()
    }

    fn submit(&self, submit: Submit) {
        let Submit { ops, durable, done } = submit;
        self.queue(ops, wish(durable), done, Lead::Thread);
    }

    fn submit_leading(&self, submit: Submit) {
        let Submit { ops, durable, done } = submit;
        self.queue(ops, wish(durable), done, if durable { Lead::Own } else { Lead::Thread });
    }

    fn awaits_lead(&self) -> bool {
        self.journal.awaits_lead()
    }

    fn lead(&self) {
        self.journal.lead();
    }

    fn fetch(&self, fetch: Fetch, done: FetchDone) {
        let (core, tasks) = (self.core.clone(), self.tasks.clone());
        let index = self.index_thread.clone();
        self.journal.submit(JournalSubmit {
            operations: Vec::new(),
            wish: Wish::Written,
            done: Box::new(move |outcome| match outcome {
                Ok(_) => {
                    if let Err(refused) = tasks.send(Task::Fetch(fetch, done))
                        && let Task::Fetch(_, done) = refused.0
                    {
                        done(Err(StoreError::Stopped("the store is closed".into())));
                    }
                    index.unpark();
                }
                Err(error) => done(Err(core.store_error(&error))),
            }),
        });
    }

    fn status(&self) -> StoreStatus {
        self.core.status()
    }

    /// From 70 % of it on live messages are moved together, above 90 % as fast as it can be done.
    fn set_limit(&self, bytes: u64) {
        self.core.set_limit(bytes);
    }

    fn close(&self) -> Result<(), StoreError> {
        if self.is_closing.swap(true, Ordering::AcqRel) {
            return self.core.failure().map_or(Ok(()), Err);
        }
        let synced = self.journal.submit_and_wait(Vec::new(), Wish::Synced);
        let outcome = synced.map_err(|error| self.core.store_error(&error)).and_then(|_| {
            let (answer, answered) = channel();
            drop(self.tasks.send(Task::Close(answer)));
            self.index_thread.unpark();
            let gone = |_| Err(StoreError::Stopped("a bug ended a thread of the store".into()));
            answered.recv().unwrap_or_else(gone)
        });
        let closed = self.journal.close().map_err(|error| self.core.store_error(&error));
        self.end_threads();
        outcome.and(closed)
    }
}

impl fmt::Debug for KahaDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KahaDb").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Drop for KahaDb {
    fn drop(&mut self) {
        if !self.is_closing.swap(true, Ordering::AcqRel) {
            drop(self.journal.close());
            self.end_threads();
        }
    }
}

fn wish(durable: bool) -> Wish {
    if durable { Wish::Durable } else { Wish::Written }
}

/// Reads for those who fetch, until nobody is left who asks.
fn read(core: &Core, fetches: &Mutex<Receiver<Read>>) {
    loop {
        let next = fetches.lock().recv();
        let Ok((fetch, done)) = next else { return };
        done(core.failure().map_or_else(|| core.fetch(&fetch), Err));
    }
}

/// What is applied needs no bodies; they would only take memory on their way.
fn without_bodies(mut batch: Batch) -> Batch {
    batch.parts = Vec::new();
    for stored in &mut batch.records {
        if let Record::Add(add) = &mut stored.record {
            add.message = Bytes::new();
        }
    }
    batch
}

/// Batches on their way to the index thread.
const BATCHES_MAX: usize = 256;
const READERS: usize = 2;
/// Less than that a thread of the broker may wait for the disk.
const LEAD_BELOW: Duration = Duration::from_millis(1);
