//! The end of the log: the file that is written, where, and what was synced of it.

use super::batch::{Batch, Builder};
use super::error::JournalError;
use super::files::{FILE_BYTES_MAX, FILE_NUMBER_MAX, Files, Prepared};
use super::format::{BLOCK_BYTES, BatchHeader, FIRST_BATCH, FileHeader, Lsn, StoreId};
use super::scan::Mark;
use crate::store::kahadb::fs::write_all_at;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

/// Where new files come from.
pub(super) trait Supply: fmt::Debug + Send {
    /// Waits for the prepared file of this number and takes it; `NoSpace` if there cannot be one
    /// now. The one after it will be prepared next.
    fn take(&mut self, number: u32) -> Result<Prepared, JournalError>;

    /// Waits like `take`, but leaves the file there.
    fn wait_for(&mut self, number: u32) -> Result<(), JournalError>;

    /// Whether `take` would have the file without waiting.
    fn has(&self, number: u32) -> bool;

    /// A commit is over, and the file that is written has come so far, of so many bytes: for a moment
    /// the disk has nothing to do.
    fn committed(&self, at: u64, length: u64);

    /// Returns when no more files are made. What is asked for later is refused.
    fn end(&mut self);
}

/// What all files and batches of a run say.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub store_id: StoreId,
    /// Higher than that of every run before.
    pub epoch: u64,
    /// Of the store's lock, so that a file tells who wrote it.
    pub lock_generation: u64,
}

#[derive(Debug)]
pub(super) struct Appender {
    files: Arc<Files>,
    supply: Box<dyn Supply>,
    identity: Identity,
    file: Prepared,
    /// Taken from the supply but not long enough for what was asked.
    next: Option<Prepared>,
    at: Lsn,
    chain: u32,
    durable: Lsn,
}

impl Appender {
    /// Goes on behind `end`, which a scan found; everything before it is synced first, for what a
    /// killed process wrote may still be in memory only.
    pub(super) fn open(
        files: Arc<Files>,
        mut supply: Box<dyn Supply>,
        identity: Identity,
        end: Mark,
    ) -> Result<Self, JournalError> {
        let number = end.lsn.file();
        let is_new = end.lsn.offset() == FIRST_BATCH;
        let file = match files.length(number) {
            Some(length) if !is_new => Prepared { number, file: files.writer(number)?, length },
            _ => supply.take(number)?,
        };
        file.file.sync().map_err(JournalError::io("sync", &files.path(number)))?;
        let (at, chain, durable) = (end.lsn, end.chain, end.lsn);
        Ok(Self { files, supply, identity, file, next: None, at, chain, durable })
    }

    /// From now on nobody makes files but who opens the journal next.
    pub(super) fn end_supply(&mut self) {
        self.supply.end();
    }

    /// A commit is over, and who waited for it was told.
    pub(super) fn committed(&self) {
        self.supply.committed(self.at.offset().into(), self.file.length);
    }

    /// Where the next batch goes.
    pub(super) fn at(&self) -> Lsn {
        self.at
    }

    /// Everything before it is on the disk.
    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) fn epoch(&self) -> u64 {
        self.identity.epoch
    }

    /// Bytes left in the file.
    pub(super) fn room(&self) -> u64 {
        self.file.length.saturating_sub(u64::from(self.at.offset()))
    }

    /// Goes on in the next file, which then has room for `bytes`. After `NoSpace` and `TooLarge`
    /// nothing has changed; other errors are final.
    pub(super) fn roll_over(&mut self, bytes: u64) -> Result<(), JournalError> {
        let length = (u64::from(FIRST_BATCH) + bytes).next_multiple_of(BLOCK_BYTES as u64);
        if length > FILE_BYTES_MAX {
            return Err(JournalError::TooLarge { bytes });
        }
        let number = self.at.file() + 1;
        if number > FILE_NUMBER_MAX {
            return Err(JournalError::Exhausted(self.at));
        }
        let mut next = match self.next.take() {
            Some(next) => next,
            None => self.supply.take(number)?,
        };
        if next.length < length
            && let Err(error) = self.files.lengthen(&mut next, length)
        {
            self.next = Some(next);
            return Err(error);
        }
        // Nothing of a file is in the log before all of the file before it.
        self.sync()?;
        self.file = next;
        self.at = Lsn::start_of(number);
        Ok(())
    }

    /// Bytes left in the file for messages. The last part of it is for removals, with which
    /// consumers make room again, until it is certain that there will be another file.
    pub(super) fn room_to_grow(&self) -> u64 {
        match self.next.is_some() || self.supply.has(self.at.file() + 1) {
            true => self.room(),
            false => self.room().saturating_sub(self.file.length / RESERVE_SHARE),
        }
    }

    /// Waits until [`Appender::room_to_grow`] is all of the file; `NoSpace` if it will not be.
    pub(super) fn wait_to_grow(&mut self) -> Result<(), JournalError> {
        if self.next.is_some() { Ok(()) } else { self.supply.wait_for(self.at.file() + 1) }
    }

    /// Writes a batch, which fits. After an error nothing may be written any more.
    pub(super) fn append(
        &mut self,
        builder: &mut Builder,
        now_ms: u64,
    ) -> Result<Batch, JournalError> {
        let batch = builder.finish(BatchHeader {
            record_bytes: 0,
            record_count: 0,
            lsn: self.at,
            epoch: self.identity.epoch,
            durable: self.durable,
            commit: self.durable,
            record_headers_crc: 0,
            chain: self.chain,
            written_ms: now_ms,
        });
        assert!(batch.header.total_bytes() <= self.room(), "a batch stays inside its file");
        let mut block;
        let mut parts = Vec::with_capacity(batch.parts.len() + 1);
        let mut offset = u64::from(self.at.offset());
        if self.at.offset() == FIRST_BATCH {
            let header = self.file_header(now_ms).encode();
            block = [0; BLOCK_BYTES];
            block[..header.len()].copy_from_slice(&header);
            parts.push(IoSlice::new(&block));
            offset = 0;
        }
        parts.extend(batch.parts.iter().map(|part| IoSlice::new(part)));
        write_all_at(&*self.file.file, &mut parts, offset).map_err(self.failed("write"))?;
        self.at = batch.end();
        self.chain = batch.crc;
        Ok(batch)
    }

    /// Whether something was written that was not synced yet.
    pub(super) fn has_unsynced(&self) -> bool {
        self.durable < self.at && self.at != Lsn::start_of(self.at.file())
    }

    /// Makes everything written durable; no call to the disk if it is. An error is final.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if self.has_unsynced() {
            self.file.file.sync().map_err(self.failed("sync"))?;
            self.durable = self.at;
        }
        Ok(())
    }

    fn file_header(&self, now_ms: u64) -> FileHeader {
        FileHeader {
            number: self.file.number,
            store_id: self.identity.store_id,
            epoch: self.identity.epoch,
            created_ms: now_ms,
            lock_generation: self.identity.lock_generation,
            chain: self.chain,
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
        move |source| {
            let path = self.files.path(self.file.number);
            JournalError::Io { action, path, source }
        }
    }
}

/// One part in so many of a file is for removals only as long as there is no other file.
const RESERVE_SHARE: u64 = 4;
