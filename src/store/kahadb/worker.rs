//! The index thread: applies what was written, and says when a checkpoint is due.

use super::core::Shortage;
use super::index;
use super::journal::{Batch, Lsn, Submit as JournalSubmit, Wish};
use super::open::CHECKPOINT_RECORDS;
use super::store::{Read, Task};
use super::upkeep::{Turn, Upkeep};
use crate::store::StoreError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The index thread's own.
pub(super) struct Worker {
    upkeep: Upkeep,
    tasks: SyncSender<Task>,
    reads: Sender<Read>,
    /// Records of the journal since the last checkpoint.
    records: usize,
    /// Those in the checkpoint under way.
    frozen_records: usize,
    /// The last checkpoint found no space; it is tried again then.
    retry_at: Option<Instant>,
    replay_from: Lsn,
    next_checkpoint: Option<Instant>,
    next_cleanup: Option<Instant>,
    /// A checkpoint is asked for or under way.
    is_busy: bool,
    checkpoint: Option<JoinHandle<()>>,
    /// There may be files to drop.
    is_untidy: bool,
    /// Purged messages are still to be counted.
    is_counting: bool,
    /// Batches were applied: nobody waits for the next ones, unless the thread is unparked.
    may_rest: bool,
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
    /// The last one is under way.
    is_ending: bool,
}

impl Worker {
    pub(super) fn new(upkeep: Upkeep, tasks: SyncSender<Task>, reads: Sender<Read>) -> Self {
        let options = &upkeep.core.options;
        Self {
            tasks,
            reads,
            records: 0,
            frozen_records: 0,
            retry_at: None,
            replay_from: upkeep.core.replay_from(),
            next_checkpoint: next(options.checkpoint_interval),
            next_cleanup: next(options.cleanup_interval),
            is_busy: false,
            checkpoint: None,
            is_untidy: true,
            is_counting: false,
            may_rest: false,
            closing: None,
            bytes_told: 0,
            told_at: Lsn::default(),
            upkeep,
        }
    }

    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
        self.tell_bytes();
        loop {
            if self.is_counting {
                // Nothing is applied while the store stops.
                self.is_counting = self.upkeep.core.count_purged() == Ok(true);
            }
            let due = self.next_checkpoint.filter(|_| !self.is_busy && self.closing.is_none());
            let wait = due.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = if self.closing.is_some() { Some(FAILURE_LOOK) } else { wait };
            let wait = if self.is_counting { Some(Duration::ZERO) } else { wait };
            let task = match tasks.try_recv() {
                Ok(task) => Ok(task),
                Err(_) if std::mem::take(&mut self.may_rest) && wait != Some(Duration::ZERO) => {
                    std::thread::park_timeout(REST);
                    continue;
                }
                Err(_) => match wait {
                    Some(wait) => tasks.recv_timeout(wait),
                    None => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
                },
            };
            match task {
                Ok(Task::Batch(batch)) => {
                    self.apply(&batch);
                    self.may_rest = self.closing.is_none();
                }
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
                    let is_last = !cleans;
                    self.closing = Some(Closing { answer, rounds, is_last, is_ending: false });
                    if !self.is_busy {
                        self.ask_for_checkpoint();
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.is_counting => {}
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
        if self.records > CHECKPOINT_RECORDS
            && self.retry_at.is_some()
            && !core.is_index_behind.swap(true, Ordering::Relaxed)
        {
            core.tell_space();
        }
        self.is_untidy = true;
        self.is_counting |= core.view.lock().has_uncounted();
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
        if self.is_counting && self.closing.is_none() {
            return; // it would have to wait, and all that is asked for behind it
        }
        let is_early = self.retry_at.is_some_and(|at| at > Instant::now());
        if is_early && self.closing.is_none() {
            return;
        }
        let core = &self.upkeep.core;
        self.next_checkpoint = next(core.options.checkpoint_interval);
        let applied = core.view.lock().applied.lsn;
        let nothing_to_do = applied == self.replay_from
            && self.closing.is_none()
            && !(self.may_be_untidy() && self.is_cleanup_due());
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

    fn is_cleanup_due(&self) -> bool {
        let core = &self.upkeep.core;
        let is_short = || core.is_short() || core.shortage() > Shortage::None;
        self.next_cleanup.is_some_and(|at| at <= Instant::now() || is_short())
    }

    /// Whether there may be files to drop. Where space is short always: the log may have gone on to another file
    /// for a message that was refused then, which is no news of the log, and what was purged is counted later.
    fn may_be_untidy(&self) -> bool {
        let core = &self.upkeep.core;
        self.is_untidy || core.is_short() || core.shortage() > Shortage::None
    }

    fn start_checkpoint(&mut self) {
        let is_last = self.closing.as_mut().is_some_and(|closing| {
            closing.is_ending = closing.is_last;
            closing.is_last
        });
        let mark = if is_last { index::Mark::Clean } else { index::Mark::InUse };
        let core = &self.upkeep.core;
        let checkpoint = match core.begin_checkpoint(mark) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return drop(core.index_failed(&error)),
        };
        self.frozen_records = std::mem::take(&mut self.records);
        self.replay_from = core.view.lock().applied.lsn;
        let cleans = if self.closing.is_some() { !is_last } else { self.is_cleanup_due() };
        if cleans {
            self.next_cleanup = next(core.options.cleanup_interval);
            self.is_untidy = false;
        }
        let (mut upkeep, tasks) = (self.upkeep.clone(), self.tasks.clone());
        let thread = std::thread::Builder::new().name("index-checkpoint".into());
        let written = thread.spawn(move || {
            let outcome = upkeep.run(checkpoint, cleans);
            drop(tasks.send(Task::Written(outcome))); // the store may have been closed
        });
        match written {
            Ok(thread) => self.checkpoint = Some(thread),
            Err(error) => drop(core.fail(StoreError::Stopped(error.to_string().into()))),
        }
    }

    fn checkpoint_over(&mut self, outcome: &Result<Turn, StoreError>) {
        self.join();
        self.is_busy = outcome.is_err();
        if let Ok(turn) = outcome {
            self.note_space(*turn == Turn::NoSpace);
        }
        self.tell_bytes();
        let Some(closing) = &mut self.closing else {
            if outcome == &Ok(Turn::More) && self.upkeep.core.shortage() > Shortage::None {
                // What was moved lets files go, but only with another checkpoint.
                self.next_cleanup = Some(Instant::now());
                self.is_untidy = true;
            }
            return;
        };
        match outcome {
            Ok(_) if closing.is_ending => return self.answer(Ok(())),
            Ok(Turn::More) if closing.rounds > 0 => closing.rounds -= 1,
            Ok(_) => closing.is_last = true,
            Err(error) => {
                let error = error.clone();
                return self.answer(Err(error));
            }
        }
        self.ask_for_checkpoint();
    }

    /// Sees to it that a checkpoint that found no space is tried again, if this one did not.
    fn note_space(&mut self, is_short: bool) {
        let core = &self.upkeep.core;
        let folder = core.options.index_folder().display();
        if is_short {
            if self.retry_at.is_none() {
                tracing::error!(%folder, "no space for the index; trying again");
            }
            self.records += self.frozen_records;
            self.replay_from = core.replay_from();
            let retry_at = Instant::now() + core.options.space_retry;
            (self.retry_at, self.next_checkpoint) = (Some(retry_at), Some(retry_at));
        } else if self.retry_at.take().is_some() {
            tracing::info!(%folder, "space for the index again");
            if core.is_index_behind.swap(false, Ordering::Relaxed) {
                core.tell_space();
            }
        }
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

fn next(interval: Duration) -> Option<Instant> {
    (!interval.is_zero()).then(|| Instant::now() + interval)
}

/// How often who closes looks whether the store has failed.
const FAILURE_LOOK: Duration = Duration::from_millis(100);
/// Checkpoints at a close that may help to drop files.
const CLOSING_ROUNDS: u32 = 3;
/// Bytes of journal that a start may have to read.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Changes below it are not told, bytes.
const BYTES_TOLD: u64 = 64 << 10;

/// How long batches may wait for each other: a wake-up for each would cost more than all the rest of the
/// work. Less than it takes to fill the queue towards this thread.
const REST: Duration = Duration::from_millis(10);
