//! What is done beside the index thread, and may wait for the journal: writing checkpoints, dropping
//! and emptying journal files.

use super::collect::Log;
use super::core::{Checkpoint, Core};
use super::encode::Encoder;
use super::journal::{Journal, JournalError, Operation, Record, Submit, Wish};
use crate::store::StoreError;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The parts of the store it needs.
#[derive(Clone)]
pub(super) struct Upkeep {
    pub(super) core: Arc<Core>,
    pub(super) journal: Arc<Journal>,
    pub(super) encoder: Arc<Mutex<Encoder>>,
    pub(super) is_closing: Arc<AtomicBool>,
}

impl Upkeep {
    /// Writes a checkpoint and collects files. True if another checkpoint may help to drop more.
    pub(super) fn run(
        &mut self,
        checkpoint: Option<&Checkpoint>,
        cleans: bool,
    ) -> Result<bool, StoreError> {
        if let Some(checkpoint) = checkpoint {
            self.write_index(checkpoint)?;
        }
        if !cleans {
            return Ok(false);
        }
        match self.tidy(checkpoint) {
            // Not even for this; when something is removed there will be another time.
            Err(StoreError::NoSpace(_)) => Ok(false),
            outcome => outcome,
        }
    }

    /// Drops files and empties others, after a checkpoint if there was anything to write.
    fn tidy(&mut self, checkpoint: Option<&Checkpoint>) -> Result<bool, StoreError> {
        let core = self.core.clone();
        let idle = match checkpoint {
            Some(checkpoint) => checkpoint.idle.clone(),
            // The index has all there is, and nothing becomes live in a sealed file.
            None => core.view.lock().idle_files(&core.files.numbers()),
        };
        // The log may have come to a new file for what was taken back then. On a full disk nothing
        // else is written there before the file behind it is dropped, which it is not while the log
        // ends in it.
        let ends_in = core.view.lock().applied.lsn.file();
        if ends_in < self.journal.written().file() {
            let mark = Record::Nothing { padding: Bytes::new() };
            self.write(vec![mark.into()], Wish::Written)?;
        }
        let sealed = core.replay_from();
        let more = core.collect(&idle, sealed, self)?;
        let mut has_moved = false;
        for _ in 0..VICTIMS {
            if self.is_closing.load(Ordering::Acquire) || !core.compact(sealed, self)? {
                break;
            }
            has_moved = true;
        }
        core.is_tidy.store(!more && !has_moved, Ordering::Release);
        Ok(more)
    }

    /// Writes a checkpoint; while the disk is full, again and again.
    fn write_index(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let (core, mut is_told) = (&self.core, false);
        loop {
            core.fence()?;
            match core.write_checkpoint(checkpoint) {
                Err(error) if error.is_full() && !self.is_closing.load(Ordering::Acquire) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let folder = core.options.directory.display();
                        tracing::error!(%folder, "no space for the index; trying again");
                    }
                    std::thread::sleep(core.options.space_retry.min(SPACE_RETRY_MAX));
                }
                outcome => return outcome.map_err(|error| core.index_failed(&error)),
            }
        }
    }

    fn journal_error(&self) -> impl FnOnce(Arc<JournalError>) -> StoreError {
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
            self.journal.submit(Submit {
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
        if self.core.options.compacts_all {
            return true;
        }
        std::thread::sleep(Duration::from_micros(bytes * 1_000_000 / COMPACTION_RATE));
        true
    }
}

/// How long to wait for space before looking again, at most; a close has to wait for it.
const SPACE_RETRY_MAX: Duration = Duration::from_secs(1);
/// Files that are compacted between two checkpoints, at most.
const VICTIMS: usize = 4;
/// How fast live messages are written again, bytes per second.
const COMPACTION_RATE: u64 = 16 << 20;
/// Records of state that are written at once.
const STATE_RECORDS: usize = 1000;
