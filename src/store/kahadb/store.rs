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

use super::collect::Log;
use super::core::{Checkpoint, Core};
use super::encode::{Encoder, bodies};
use super::fs::Filesystem;
use super::index;
use super::journal::{
    Batch, Identity, Journal, JournalOptions, Lsn, Operation, Record, Submit as JournalSubmit, Wish,
};
use super::open::{CHECKPOINT_RECORDS, open};
use super::options::{KahaDbOptions, OpenError};
use crate::store::{
    Fetch, FetchDone, MessageForm, Recovered, Store, StoreError, StoreEvents, StoreStatus, Submit,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A store in files: `<kahaDB>`. Ends as a killed process does when it is dropped unclosed, but
/// loses nothing.
pub struct KahaDb {
    core: Arc<Core>,
    encoder: Arc<Mutex<Encoder>>,
    journal: Arc<Journal>,
    tasks: SyncSender<Task>,
    recovered: Mutex<Option<Recovered>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_closing: Arc<AtomicBool>,
}

/// What the index thread is asked for.
enum Task {
    Batch(Batch),
    Fetch(Fetch, FetchDone),
    /// Everything before is on the disk.
    Synced,
    /// The checkpoint under way is over; true if another one may help to drop files.
    Written(Result<bool, StoreError>),
    Close(Sender<Result<(), StoreError>>),
    Quit,
}

type Read = (Fetch, FetchDone);

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
        let journal_options = JournalOptions {
            identity,
            node: options.node,
            batch_bytes_max: options.journal_max_write_batch,
            sync: options.sync,
            space_retry: options.space_retry,
            fence: options.fence,
        };
        let batches = tasks.clone();
        let follower = Box::new(move |batch| {
            // A thread that ended has said why; who submits is refused by then.
            drop(batches.send(Task::Batch(without_bodies(batch))));
        });
        let core = Arc::new(opened.core);
        let files = core.files.clone();
        let journal = Arc::new(Journal::open(files, opened.end, journal_options, follower)?);
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
        threads.push(index.spawn(move || worker.run(&received)).map_err(io)?);
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
            recovered: Mutex::new(Some(opened.recovered)),
            threads: Mutex::new(threads),
            is_closing,
        }))
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
        if self.is_closing.load(Ordering::Acquire) {
            return done(Err(StoreError::Stopped("the store is closed".into())));
        }
        if let Some(error) = self.core.failure() {
            return done(Err(error));
        }
        let bodies = bodies(&ops, self.core.form);
        let wish = if durable { Wish::Durable } else { Wish::Written };
        let core = self.core.clone();
        let mut encoder = self.encoder.lock();
        let encoded = encoder.encode(ops, bodies);
        let confirms = encoded.confirms;
        self.journal.submit(JournalSubmit {
            operations: encoded.operations,
            wish,
            done: Box::new(move |outcome| match outcome {
                Ok(_) => {
                    confirms.iter().for_each(|c| c.store(true, Ordering::Relaxed));
                    done(Ok(()));
                }
                Err(error) => done(Err(core.store_error(&error))),
            }),
        });
    }

    fn fetch(&self, fetch: Fetch, done: FetchDone) {
        let (core, tasks) = (self.core.clone(), self.tasks.clone());
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
                }
                Err(error) => done(Err(core.store_error(&error))),
            }),
        });
    }

    fn status(&self) -> StoreStatus {
        self.core.status()
    }

    fn close(&self) -> Result<(), StoreError> {
        if self.is_closing.swap(true, Ordering::AcqRel) {
            return self.core.failure().map_or(Ok(()), Err);
        }
        let synced = self.journal.submit_and_wait(Vec::new(), Wish::Synced);
        let outcome = synced.map_err(|error| self.core.store_error(&error)).and_then(|_| {
            let (answer, answered) = channel();
            drop(self.tasks.send(Task::Close(answer)));
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

/// The index thread's own.
struct Worker {
    upkeep: Upkeep,
    tasks: SyncSender<Task>,
    reads: Sender<Read>,
    /// Records of the journal since the last checkpoint.
    records: usize,
    replay_from: Lsn,
    next_checkpoint: Option<Instant>,
    next_cleanup: Option<Instant>,
    /// A checkpoint is asked for or under way.
    is_busy: bool,
    checkpoint: Option<JoinHandle<()>>,
    closing: Option<Closing>,
    bytes_told: u64,
    told_at: Lsn,
}

/// How far a close is.
struct Closing {
    answer: Sender<Result<(), StoreError>>,
    /// How often files may still be collected; then comes the last checkpoint.
    rounds: u32,
    is_last: bool,
}

impl Worker {
    fn new(upkeep: Upkeep, tasks: SyncSender<Task>, reads: Sender<Read>) -> Self {
        let options = &upkeep.core.options;
        Self {
            tasks,
            reads,
            records: 0,
            replay_from: upkeep.core.replay_from(),
            next_checkpoint: next(options.checkpoint_interval),
            next_cleanup: next(options.cleanup_interval),
            is_busy: false,
            checkpoint: None,
            closing: None,
            bytes_told: 0,
            told_at: Lsn::default(),
            upkeep,
        }
    }

    fn run(mut self, tasks: &Receiver<Task>) {
        self.tell_bytes();
        loop {
            let due = self.next_checkpoint.filter(|_| !self.is_busy && self.closing.is_none());
            let wait = due.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = if self.closing.is_some() { Some(FAILURE_LOOK) } else { wait };
            let task = match wait {
                Some(wait) => tasks.recv_timeout(wait),
                None => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match task {
                Ok(Task::Batch(batch)) => self.apply(&batch),
                Ok(Task::Fetch(fetch, done)) => {
                    if let Err(refused) = self.reads.send((fetch, done)) {
                        (refused.0.1)(Err(StoreError::Stopped("the store is closed".into())));
                    }
                }
                Ok(Task::Synced) => self.start_checkpoint(),
                Ok(Task::Written(outcome)) => self.checkpoint_over(&outcome),
                Ok(Task::Close(answer)) => {
                    let cleans = self.upkeep.core.options.cleanup_on_stop;
                    let rounds = if cleans { CLOSING_ROUNDS } else { 0 };
                    self.closing = Some(Closing { answer, rounds, is_last: !cleans });
                    if !self.is_busy {
                        self.ask_for_checkpoint();
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.closing.is_none() => {
                    self.ask_for_checkpoint();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Task::Quit) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.closing.is_some()
                && let Some(error) = self.upkeep.core.failure()
            {
                self.answer(Err(error));
            }
        }
        self.join();
    }

    fn apply(&mut self, batch: &Batch) {
        let core = &self.upkeep.core;
        if core.failure().is_some() || core.apply(batch).is_err() {
            return;
        }
        self.records += batch.records.len();
        let written = batch.end().0 - self.told_at.0;
        let files = u64::from(batch.end().file().saturating_sub(self.replay_from.file()));
        let bytes = files * u64::from(core.options.journal_max_file_length);
        if self.records > CHECKPOINT_RECORDS || bytes > JOURNAL_BYTES_MAX {
            self.ask_for_checkpoint();
        }
        if written > BYTES_TOLD {
            self.tell_bytes();
        }
    }

    /// A checkpoint holds nothing that is not on the disk: first comes a sync.
    fn ask_for_checkpoint(&mut self) {
        let core = &self.upkeep.core;
        self.next_checkpoint = next(core.options.checkpoint_interval);
        let nothing_to_do =
            core.view.lock().applied.lsn == self.replay_from && self.closing.is_none();
        if self.is_busy || nothing_to_do || core.failure().is_some() {
            return;
        }
        self.is_busy = true;
        let (core, tasks) = (core.clone(), self.tasks.clone());
        self.upkeep.journal.submit(JournalSubmit {
            operations: Vec::new(),
            wish: Wish::Synced,
            done: Box::new(move |outcome| match outcome {
                Ok(_) => drop(tasks.send(Task::Synced)),
                Err(error) => drop(core.store_error(&error)),
            }),
        });
    }

    fn start_checkpoint(&mut self) {
        let is_last = self.closing.as_ref().is_some_and(|closing| closing.is_last);
        let mark = if is_last { index::Mark::Clean } else { index::Mark::InUse };
        let core = &self.upkeep.core;
        let checkpoint = core.begin_checkpoint(mark);
        self.records = 0;
        self.replay_from = core.view.lock().applied.lsn;
        let due = self.next_cleanup.is_some_and(|at| at <= Instant::now());
        let cleans = if self.closing.is_some() { !is_last } else { due };
        if due {
            self.next_cleanup = next(core.options.cleanup_interval);
        }
        let (mut upkeep, tasks) = (self.upkeep.clone(), self.tasks.clone());
        let thread = std::thread::Builder::new().name("index-checkpoint".into());
        let written = thread.spawn(move || {
            let outcome = upkeep.run(checkpoint.as_ref(), cleans);
            drop(tasks.send(Task::Written(outcome))); // the store may have been closed
        });
        match written {
            Ok(thread) => self.checkpoint = Some(thread),
            Err(error) => drop(core.fail(StoreError::Stopped(error.to_string().into()))),
        }
    }

    fn checkpoint_over(&mut self, outcome: &Result<bool, StoreError>) {
        self.join();
        self.is_busy = outcome.is_err();
        self.tell_bytes();
        let Some(closing) = &mut self.closing else { return };
        match outcome {
            Ok(_) if closing.is_last => return self.answer(Ok(())),
            Ok(true) if closing.rounds > 0 => closing.rounds -= 1,
            Ok(_) => closing.is_last = true,
            Err(error) => {
                let error = error.clone();
                return self.answer(Err(error));
            }
        }
        self.ask_for_checkpoint();
    }

    fn answer(&mut self, outcome: Result<(), StoreError>) {
        if let Some(closing) = self.closing.take() {
            drop(closing.answer.send(outcome)); // who closes waits for it
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.checkpoint.take()
            && thread.join().is_err()
        {
            let bug = StoreError::Stopped("a bug ended a thread of the store".into());
            self.upkeep.core.fail(bug);
        }
    }

    fn tell_bytes(&mut self) {
        let core = &self.upkeep.core;
        let current = core.view.lock().applied.lsn;
        let bytes = core.bytes_used(current);
        self.told_at = current;
        if bytes.abs_diff(self.bytes_told) >= BYTES_TOLD {
            self.bytes_told = bytes;
            core.events.bytes_used(bytes);
        }
    }
}

/// What is done beside the index thread, and may wait for the journal.
#[derive(Clone)]
struct Upkeep {
    core: Arc<Core>,
    journal: Arc<Journal>,
    encoder: Arc<Mutex<Encoder>>,
    is_closing: Arc<AtomicBool>,
}

impl Upkeep {
    /// Writes a checkpoint and collects files. True if another checkpoint may help to drop more.
    fn run(&mut self, checkpoint: Option<&Checkpoint>, cleans: bool) -> Result<bool, StoreError> {
        let core = self.core.clone();
        let Some(checkpoint) = checkpoint else { return Ok(false) };
        core.write_checkpoint(checkpoint)?;
        if !cleans {
            return Ok(false);
        }
        let sealed = core.replay_from();
        let more = core.collect(&checkpoint.idle, sealed, self)?;
        for _ in 0..VICTIMS {
            if self.is_closing.load(Ordering::Acquire) || !core.compact(sealed, self)? {
                break;
            }
        }
        Ok(more)
    }

    fn journal_error(&self) -> impl FnOnce(Arc<super::journal::JournalError>) -> StoreError {
        let core = self.core.clone();
        move |error| core.store_error(&error)
    }
}

impl Log for Upkeep {
    fn write(&mut self, operations: Vec<Operation>, wish: Wish) -> Result<(), StoreError> {
        let written = self.journal.submit_and_wait(operations, wish);
        written.map(drop).map_err(self.journal_error())
    }

    fn write_state(&mut self, mut records: Vec<Record>) -> Result<(), StoreError> {
        while !records.is_empty() {
            let portion = records.split_off(records.len().saturating_sub(STATE_RECORDS));
            let (done, answer) = channel();
            // The lock is held until they are queued: nothing that ends them can come between.
            let encoder = self.encoder.lock();
            let true_ones = portion.into_iter().filter(|record| encoder.is_true(record));
            self.journal.submit(JournalSubmit {
                operations: true_ones.map(Operation::from).collect(),
                wish: Wish::Written,
                done: Box::new(move |outcome| drop(done.send(outcome))),
            });
            drop(encoder);
            if let Ok(Err(error)) = answer.recv() {
                return Err(self.core.store_error(&error));
            }
        }
        Ok(())
    }

    fn rest(&mut self, bytes: u64) -> bool {
        if self.is_closing.load(Ordering::Acquire) {
            return false;
        }
        std::thread::sleep(Duration::from_micros(bytes * 1_000_000 / COMPACTION_RATE));
        true
    }
}

fn next(interval: Duration) -> Option<Instant> {
    (!interval.is_zero()).then(|| Instant::now() + interval)
}

/// How often who closes looks whether the store has failed.
const FAILURE_LOOK: Duration = Duration::from_millis(100);
/// Checkpoints at a close that may help to drop files.
const CLOSING_ROUNDS: u32 = 3;
/// Files that are compacted between two checkpoints, at most.
const VICTIMS: usize = 4;
/// How fast live messages are written again, bytes per second.
const COMPACTION_RATE: u64 = 16 << 20;
/// Records of state that are written at once.
const STATE_RECORDS: usize = 1000;
/// Batches on their way to the index thread.
const BATCHES_MAX: usize = 256;
const READERS: usize = 2;
/// Bytes of journal that a start may have to read.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Changes below it are not told, bytes.
const BYTES_TOLD: u64 = 64 << 10;
