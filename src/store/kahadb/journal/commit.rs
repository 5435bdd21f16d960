//! Group commit: what waits becomes one batch, one write and one sync. No threads, no clock.

use super::appender::Appender;
use super::batch::{Batch, Builder};
use super::error::JournalError;
use super::format::{BATCH_HEADER_BYTES, Lsn};
use super::record::Record;
use super::writer::{Done, Operation, Submit, SyncPolicy, Wish};
use std::collections::VecDeque;

/// A submit that waits, and what it can take on disk.
pub(super) struct Waiting {
    operations: Vec<Operation>,
    wish: Wish,
    done: Done,
    /// Bytes in the journal, at most; 0 if there is nothing to write.
    pub(super) bytes_max: u64,
    /// Whether it adds messages, for which there must be more space than for removals.
    grows: bool,
}

impl Waiting {
    /// Gives `done` back with the error if the submit cannot be written at all.
    pub(super) fn new(submit: Submit) -> Result<Self, (Done, JournalError)> {
        let Submit { operations, wish, done } = submit;
        let mut bytes_max = 0_u64;
        for operation in &operations {
            match operation.record.bytes_max() {
                Some(bytes) => bytes_max += bytes,
                None => {
                    let bytes = u64::from(u16::MAX);
                    return Err((done, JournalError::TooLarge { bytes }));
                }
            }
        }
        if bytes_max > SUBMIT_BYTES_MAX {
            return Err((done, JournalError::TooLarge { bytes: bytes_max }));
        }
        let adds = |operation: &Operation| match &operation.record {
            Record::Add(add) => add.moved_from.is_none(),
            Record::JobAdd(_) => true,
            _ => false,
        };
        let grows = wish < Wish::Decided && operations.iter().any(adds);
        Ok(Self { operations, wish, done, bytes_max, grows })
    }

    /// Whether somebody waits for it to be durable.
    pub(super) fn is_awaited(&self) -> bool {
        self.wish > Wish::Written
    }

    /// Whether it wants to be written now. Nobody is the worse when removals that need not be
    /// durable come back after the process was killed.
    pub(super) fn calls(&self) -> bool {
        let removes = |operation: &Operation| {
            matches!(operation.record, Record::Remove { .. } | Record::SubAck { .. })
        };
        self.is_awaited() || self.operations.is_empty() || !self.operations.iter().all(removes)
    }

    pub(super) fn into_done(self) -> Done {
        self.done
    }
}

/// What one step did.
#[derive(Default)]
pub(super) struct Step {
    /// Written now; none if there was nothing to write.
    pub(super) batch: Option<Batch>,
    /// The first submit, if there is no room for it.
    pub(super) refused: Option<(Done, JournalError)>,
    /// How many of those that were taken call for a write.
    pub(super) calling: usize,
    /// Of all submits that left the queue.
    pub(super) bytes_max: u64,
}

/// Turns submits into batches.
pub(super) struct Committer {
    pub(super) appender: Appender,
    builder: Builder,
    batch_bytes_max: u64,
    policy: SyncPolicy,
}

impl Committer {
    pub(super) fn new(appender: Appender, batch_bytes_max: u64, policy: SyncPolicy) -> Self {
        Self { appender, builder: Builder::default(), batch_bytes_max, policy }
    }

    /// Takes as many submits from the front as make a batch, and commits them. Who waits for them
    /// is added to `taken`, also if the step fails, after which there must be no other.
    pub(super) fn step(
        &mut self,
        waiting: &mut VecDeque<Waiting>,
        now_ms: u64,
        taken: &mut Vec<Done>,
    ) -> Result<Step, JournalError> {
        let mut step = Step::default();
        let Some(first) = waiting.front() else { return Ok(step) };
        let header = BATCH_HEADER_BYTES as u64;
        let needed = if first.bytes_max == 0 { 0 } else { header + first.bytes_max };
        let made_room = self.make_room(needed, first.grows);
        if let Err(error) = made_room {
            let refuses =
                matches!(error, JournalError::NoSpace { .. } | JournalError::TooLarge { .. });
            if !refuses || first.wish == Wish::Decided {
                return Err(error);
            }
            step.bytes_max = first.bytes_max;
            step.refused = waiting.pop_front().map(|first| (first.done, error));
            return Ok(step);
        }
        let bytes_max = self.batch_bytes_max.max(needed);
        let (room, room_to_grow) = (self.appender.room(), self.appender.room_to_grow());
        let (mut bytes, mut wish) = (header, Wish::Written);
        while let Some(next) = waiting.front() {
            let room = if next.grows { room_to_grow } else { room };
            if !taken.is_empty() && bytes + next.bytes_max > room.min(bytes_max) {
                break;
            }
            let Some(next) = waiting.pop_front() else { break };
            bytes += next.bytes_max;
            step.bytes_max += next.bytes_max;
            step.calling += usize::from(next.calls());
            wish = wish.max(next.wish);
            taken.push(next.done);
            for operation in next.operations {
                if operation.cancel.is_none_or(|cancel| cancel.take()) {
                    self.builder.push(operation.record);
                }
            }
        }
        if !self.builder.is_empty() {
            step.batch = Some(self.appender.append(&mut self.builder, now_ms)?);
        }
        if wish >= Wish::Synced || wish == Wish::Durable && self.policy == SyncPolicy::Always {
            self.appender.sync()?;
        }
        Ok(step)
    }

    /// Whether all of `waiting` can be written without looking for room.
    pub(super) fn has_room_for(&self, waiting: &VecDeque<Waiting>) -> bool {
        let bytes: u64 = waiting.iter().map(|waiting| waiting.bytes_max).sum();
        let header = BATCH_HEADER_BYTES as u64;
        bytes + header <= self.appender.room_to_grow().min(self.batch_bytes_max)
    }

    /// Goes on in the next file if this one has no room.
    fn make_room(&mut self, needed: u64, grows: bool) -> Result<(), JournalError> {
        if needed > self.appender.room() {
            self.appender.roll_over(needed)?;
        }
        if grows && needed > self.appender.room_to_grow() {
            self.appender.wait_to_grow()?;
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Lsn {
        self.appender.at()
    }
}

/// The largest record that a file can hold, bytes, with room to spare for the headers.
const SUBMIT_BYTES_MAX: u64 = u32::MAX as u64 - (64 << 10);
