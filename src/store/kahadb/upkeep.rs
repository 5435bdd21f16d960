//! What is done beside the index thread, and may wait for the journal: writing checkpoints, dropping
//! and emptying journal files.

use super::collect::Log;
use super::core::{Checkpoint, Core, Shortage};
use super::encode::Encoder;
use super::index::IndexError;
use super::journal::{Journal, JournalError, Operation, Record, Submit, Wish};
use crate::store::StoreError;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
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

/// What one turn of upkeep came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Done,
    /// Another checkpoint may help to drop more files.
    More,
    /// There was no space for the checkpoint; nothing is lost, and the next one has it all.
    NoSpace,
}

impl Upkeep {
    /// Writes a checkpoint and collects files.
    pub(super) fn run(
        &mut self,
        checkpoint: Option<Checkpoint>,
        cleans: bool,
    ) -> Result<Turn, StoreError> {
        let core = self.core.clone();
        let idle = match &checkpoint {
            Some(checkpoint) => checkpoint.idle.clone(),
            // The index has all there is, and nothing becomes live in a sealed file.
            None => core.view.lock().idle_files(&core.files.numbers()),
        };
        if let Some(checkpoint) = checkpoint
            && !self.write_index(checkpoint)?
        {
            return Ok(Turn::NoSpace);
        }
        if !cleans {
            return Ok(Turn::Done);
        }
        let more = if_space(self.tidy(&idle))?;
        Ok(if more { Turn::More } else { Turn::Done })
    }

    /// Drops files and empties others. True if another checkpoint may help to drop more.
    fn tidy(&mut self, idle: &BTreeSet<u32>) -> Result<bool, StoreError> {
        let core = self.core.clone();
        // The log may have come to a new file for what was taken back then. On a full disk nothing
        // else is written there before the file behind it is dropped, which it is not while the log
        // ends in it.
        let ends_in = core.view.lock().applied.lsn.file();
        if ends_in < self.journal.written().file() {
            let mark = Record::Nothing { padding: Bytes::new() };
            self.write(vec![mark.into()], Wish::Written)?;
        }
        let sealed = core.replay_from();
        let mut more = core.collect(idle, sealed, self)?;
        let mut emptied = BTreeSet::new();
        for turn in 0..VICTIMS_MAX {
            if turn >= VICTIMS && core.shortage() < Shortage::Urgent {
                break;
            }
            if self.is_closing.load(Ordering::Acquire)
                || !core.compact(sealed, &mut emptied, self)?
            {
                break;
            }
            more |= core.shortage() > Shortage::None;
        }
        if core.is_worth_leaving() && ends_in == self.journal.written().file() {
            self.journal.begin_file().map_err(|error| core.store_error(&error))?;
            more |= ends_in < self.journal.written().file();
        }
        // A file that the log has left is emptied after a checkpoint that lies behind it.
        let until = core.compacts_until.load(Ordering::Relaxed);
        more |= sealed.file() <= until && until < self.journal.written().file();
        core.is_tidy.store(!more && emptied.is_empty(), Ordering::Release);
        Ok(more)
    }

    /// Writes a checkpoint. False if there was no space, even after what can go without it went.
    fn write_index(&mut self, checkpoint: Checkpoint) -> Result<bool, StoreError> {
        let core = self.core.clone();
        core.fence()?;
        let mut outcome = core.write_checkpoint(&checkpoint);
        if outcome.as_ref().is_err_and(IndexError::is_full) {
            let idle = core.idle.lock().clone();
            if_space(core.collect(&idle, core.replay_from(), self))?;
            core.files.remove_spares().map_err(|error| core.store_error(&error))?;
            outcome = core.write_checkpoint(&checkpoint);
        }
        match outcome {
            Err(error) if error.is_full() && !self.is_closing.load(Ordering::Acquire) => {
                let given_up = core.give_up_checkpoint(checkpoint);
                given_up.map(|()| false).map_err(|error| core.index_failed(&error))
            }
            outcome => outcome.map(|()| true).map_err(|error| core.index_failed(&error)),
        }
    }

    fn journal_error(&self) -> impl FnOnce(Arc<JournalError>) -> StoreError {
        let core = self.core.clone();
        move |error| core.store_error(&error)
    }
}

/// What cannot be done even for want of space can be done when something was removed.
fn if_space(outcome: Result<bool, StoreError>) -> Result<bool, StoreError> {
    match outcome {
        Err(StoreError::NoSpace(_)) => Ok(false),
        outcome => outcome,
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
        if !self.core.options.compacts_all && self.core.shortage() < Shortage::Urgent {
            std::thread::sleep(Duration::from_micros(bytes * 1_000_000 / COMPACTION_RATE));
        }
        true
    }
}

/// Files that are compacted between two checkpoints, at most.
const VICTIMS: usize = 4;
/// The same while space is very short.
const VICTIMS_MAX: usize = 64;
/// How fast live messages are written again, bytes per second, unless space is very short.
const COMPACTION_RATE: u64 = 16 << 20;
/// Records of state that are written at once.
const STATE_RECORDS: usize = 1000;
