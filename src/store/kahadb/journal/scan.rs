//! Reading the log from a known place to its end, and telling its end from damage.
//!
//! ```text
//!  ... valid batch | valid batch | not valid ......... | BTCH, later epoch or the same, durable > P
//!                                ^ P                     ^ found?  P was synced: damage
//!                                                          not found? P is the end
//! ```
//!
//! A power cut can tear only what was not synced. A batch tells up to where everything had been
//! synced when it was written. So if a batch behind the first invalid place P says that P was
//! synced, something is damaged; if none does, what is at P was never confirmed to anybody, and the
//! log ends there. What old batches are left behind the end can say is less than P (they were
//! written before P was), or they are of an older epoch, or another file's.

use super::batch::{Batch, Stored};
use super::error::JournalError;
use super::files::Files;
use super::format::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, FIRST_BATCH, FileHeader, FileStart, Lsn,
    RecordHeader, StoreId,
};
use super::gaps::Gaps;
use super::record::{Decoded, Record};
use crate::store::kahadb::fs::{DiskFile, read_exact_at};
use bytes::Bytes;
use std::sync::Arc;

/// A place between two batches, and what the batch there has to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub lsn: Lsn,
    /// CRC of the header of the batch before, 0 if there was none.
    pub chain: u32,
    /// Epoch of the batch before.
    pub epoch: u64,
}

/// What to do where synced data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// End with an error that names file and offset.
    Refuse,
    /// Go on behind it, and tell in [`Scan::losses`].
    Skip,
}

/// Damaged bytes that a scan left out: from the first one to the batch where it went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub from: Lsn,
    pub to: Lsn,
}

/// Reads one batch after the other. Never holds more in memory than a batch and a window.
#[derive(Debug)]
pub struct Scan {
    files: Arc<Files>,
    store_id: Option<StoreId>,
    on_damage: OnDamage,
    gaps: Gaps,
    /// Reads no other file than this one.
    only: Option<u32>,
    at: Mark,
    /// The scan came here over damage: the file's header may be damaged as well.
    behind_damage: bool,
    losses: Vec<Loss>,
    window: Option<Window>,
}

/// What is at a place.
enum Found {
    Batch(Batch),
    /// No batch that fits. Nothing before `search_from` can be one either.
    Nothing {
        search_from: u64,
    },
}

impl Scan {
    /// From the beginning of the oldest file, across `gaps`.
    pub fn from_start(
        files: Arc<Files>,
        gaps: Gaps,
        on_damage: OnDamage,
    ) -> Result<Self, JournalError> {
        let numbers = files.numbers();
        let first = numbers.first().copied().unwrap_or(1);
        let at = Mark { lsn: Lsn::start_of(first), chain: 0, epoch: 0 };
        let mut scan = Self::at(files, None, at, on_damage);
        scan.gaps = gaps;
        for number in numbers {
            if let Some(header) = scan.file_header(number)? {
                scan.store_id = Some(header.store_id);
                if number == first {
                    (scan.at.chain, scan.at.epoch) = (header.chain, header.epoch);
                }
                break;
            }
        }
        Ok(scan)
    }

    /// What is in one file, whose header is taken for true. None if it has none. Where a batch is
    /// not valid, there are no more.
    pub fn of_file(
        files: Arc<Files>,
        store_id: Option<StoreId>,
        number: u32,
    ) -> Result<Option<Self>, JournalError> {
        let at = Mark { lsn: Lsn::start_of(number), chain: 0, epoch: 0 };
        let mut scan = Self::at(files, store_id, at, OnDamage::Refuse);
        let Some(header) = scan.file_header(number)? else { return Ok(None) };
        (scan.at.chain, scan.at.epoch) = (header.chain, header.epoch);
        (scan.store_id, scan.only) = (Some(header.store_id), Some(number));
        Ok(Some(scan))
    }

    /// From a place that is known to have been synced, of a store that is known.
    pub fn from_mark(
        files: Arc<Files>,
        store_id: StoreId,
        mark: Mark,
        on_damage: OnDamage,
    ) -> Result<Self, JournalError> {
        let number = mark.lsn.file();
        let mut scan = Self::at(files, Some(store_id), mark, on_damage);
        let reaches = scan.files.length(number).is_some_and(|l| l >= mark.lsn.offset().into());
        if !reaches && on_damage == OnDamage::Refuse {
            return Err(scan.corrupt(mark.lsn, "the file is missing or too short"));
        }
        if mark.lsn.offset() > FIRST_BATCH && reaches && scan.file_header(number)?.is_none() {
            match on_damage {
                OnDamage::Refuse => {
                    return Err(scan.corrupt(Lsn::new(number, 0), "the file header is not valid"));
                }
                OnDamage::Skip => scan.behind_damage = true,
            }
        }
        Ok(scan)
    }

    fn at(files: Arc<Files>, store_id: Option<StoreId>, at: Mark, on_damage: OnDamage) -> Self {
        let (behind_damage, losses, window) = (false, Vec::new(), None);
        let (gaps, only) = (Gaps::default(), None);
        Self { files, store_id, on_damage, gaps, only, at, behind_damage, losses, window }
    }

    /// The next batch; none at the end of the log. After an error the scan is over.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, JournalError> {
        loop {
            let search_from = match self.batch_at(self.at)? {
                Found::Batch(batch) => return Ok(Some(self.take(batch))),
                Found::Nothing { search_from } => search_from,
            };
            if self.only.is_some() {
                return Ok(None);
            }
            let mut damaged = self.at.lsn;
            if let Some(next) = self.files.next_after(damaged.file())
                && let Some(chain) = self.chain_into(next)?
            {
                let start = Mark { lsn: Lsn::start_of(next), chain, ..self.at };
                if let Found::Batch(batch) = self.batch_at(start)? {
                    return Ok(Some(self.take(batch)));
                }
                damaged = start.lsn;
            }
            let Some(witness) = self.witness(search_from)? else { return Ok(None) };
            if self.on_damage == OnDamage::Refuse {
                return Err(
                    self.corrupt(damaged, "the log breaks off here, but what follows was synced")
                );
            }
            self.losses.push(Loss { from: damaged, to: witness.lsn });
            self.at = Mark { lsn: witness.lsn, chain: witness.chain, epoch: self.at.epoch };
            self.behind_damage = true;
        }
    }

    /// Whether the log, read up to its mark, goes on in the next file.
    pub fn goes_on(&mut self, gaps: &Gaps) -> Result<bool, JournalError> {
        self.gaps = gaps.clone();
        match self.files.next_after(self.at.lsn.file()) {
            Some(next) => Ok(self.chain_into(next)?.is_some()),
            None => Ok(false),
        }
    }

    /// Behind the last batch that was read; when there is no more, the end of the log.
    pub fn mark(&self) -> Mark {
        self.at
    }

    /// As the files say; none if there is no file that says it.
    pub fn store_id(&self) -> Option<StoreId> {
        self.store_id
    }

    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    fn take(&mut self, batch: Batch) -> Batch {
        self.at = Mark { lsn: batch.end(), chain: batch.crc, epoch: batch.header.epoch };
        self.behind_damage = false;
        batch
    }

    /// The header of a file, if it is one of this store and number.
    fn file_header(&self, number: u32) -> Result<Option<FileHeader>, JournalError> {
        let path = || self.files.path(number);
        match FileHeader::decode(&self.files.first_block(number)?) {
            FileStart::Newer => Err(JournalError::Newer { path: path(), offset: 0 }),
            FileStart::Ours(header) if self.store_id.is_some_and(|id| id != header.store_id) => {
                Err(JournalError::OtherStore { path: path() })
            }
            FileStart::Ours(header) => Ok((header.number == number).then_some(header)),
            FileStart::Unused | FileStart::Unknown => Ok(None),
        }
    }

    /// The chain value with which the log, having come to its mark, goes on in this file. None if
    /// it does not.
    fn chain_into(&self, number: u32) -> Result<Option<u32>, JournalError> {
        let Some(header) = self.file_header(number)? else { return Ok(None) };
        let behind = self.gaps.chain_between(self.at.lsn.file(), number);
        let fits = behind.unwrap_or(header.chain) == self.at.chain;
        Ok(fits.then_some(header.chain))
    }

    /// Whether the header of this file fits a log that ends with `chain`.
    fn begins_with(&self, number: u32, chain: u32) -> Result<bool, JournalError> {
        Ok(self.file_header(number)?.is_some_and(|header| header.chain == chain))
    }

    /// The batch at `mark`, if there is one that fits.
    fn batch_at(&mut self, mark: Mark) -> Result<Found, JournalError> {
        let (lsn, number, offset) = (mark.lsn, mark.lsn.file(), u64::from(mark.lsn.offset()));
        let nothing = |search_from| Ok(Found::Nothing { search_from });
        let Some(length) = self.files.length(number) else { return nothing(offset) };
        let enters = offset == u64::from(FIRST_BATCH) && !self.behind_damage;
        if enters && !self.begins_with(number, mark.chain)? {
            return nothing(offset);
        }
        if offset + BATCH_HEADER_BYTES as u64 > length {
            return nothing(offset);
        }
        let fits = |(header, _): &(BatchHeader, u32)| {
            header.lsn == lsn
                && header.epoch >= mark.epoch
                && header.chain == mark.chain
                && offset + header.total_bytes() <= length
        };
        let start = self.read(number, offset, BATCH_HEADER_BYTES as u64)?;
        let Some((header, crc)) = BatchHeader::decode(&start).filter(fits) else {
            return nothing(offset);
        };
        let bytes = self.read(number, offset, header.total_bytes())?;
        let Some(records) = self.records(&header, &bytes)? else {
            return nothing(offset + header.total_bytes());
        };
        Ok(Found::Batch(Batch { header, crc, records, parts: vec![bytes] }))
    }

    /// The records of a batch; none unless all of them are what was written.
    fn records(
        &self,
        header: &BatchHeader,
        batch: &Bytes,
    ) -> Result<Option<Vec<Stored>>, JournalError> {
        let (mut found, mut at) = (Vec::new(), BATCH_HEADER_BYTES);
        let mut headers = crc32fast::Hasher::new();
        while at < batch.len() {
            let Some(record) = RecordHeader::decode(&batch[at..]) else { return Ok(None) };
            headers.update(&batch[at..at + super::format::RECORD_HEADER_BYTES]);
            if !record.is_sound(&batch[at..]) {
                return Ok(None);
            }
            found.push((at, record));
            at += record.length as usize;
        }
        if headers.finalize() != header.record_headers_crc
            || found.len() != header.record_count as usize
        {
            return Ok(None);
        }
        let mut records = Vec::with_capacity(found.len());
        for (at, record_header) in found {
            let lsn = Lsn(header.lsn.0 + at as u64);
            let bytes = batch.slice(at..at + record_header.length as usize);
            match Record::decode(&record_header, &bytes) {
                Ok(Decoded::Record(record)) => {
                    records.push(Stored { lsn, length: record_header.length, record });
                }
                Ok(Decoded::Skipped) => {}
                Ok(Decoded::Newer) => {
                    let path = self.files.path(lsn.file());
                    return Err(JournalError::Newer { path, offset: lsn.offset().into() });
                }
                Err(_) => return Err(self.corrupt(lsn, "a record's fields make no sense")),
            }
        }
        Ok(Some(records))
    }

    /// A batch header behind the mark whose batch was written when the mark had been synced.
    fn witness(&mut self, search_from: u64) -> Result<Option<BatchHeader>, JournalError> {
        let mut file = Some(self.at.lsn.file());
        let mut from = search_from;
        while let Some(number) = file {
            if let Some(length) = self.files.length(number)
                && let Some(header) = self.witness_in(number, from, length)?
            {
                return Ok(Some(header));
            }
            (file, from) = (self.files.next_after(number), u64::from(FIRST_BATCH));
        }
        Ok(None)
    }

    fn witness_in(
        &mut self,
        number: u32,
        from: u64,
        length: u64,
    ) -> Result<Option<BatchHeader>, JournalError> {
        let fits = |header: &BatchHeader, offset: u64| {
            header.lsn.0 == u64::from(number) << 32 | offset
                && header.durable > self.at.lsn
                && header.epoch >= self.at.epoch
        };
        let file = self.files.reader(number)?;
        let mut window = Window::new(number, file, length);
        let mut start = from;
        while start + BATCH_HEADER_BYTES as u64 <= length {
            let bytes = window
                .read(start, SEARCH_BYTES.min(length - start))
                .map_err(JournalError::io("read", &self.files.path(number)))?;
            for at in magics(&bytes) {
                if let Some((header, _)) = BatchHeader::decode(&bytes[at..])
                    && fits(&header, start + at as u64)
                {
                    return Ok(Some(header));
                }
            }
            // A header may lie across the end of what was read.
            start += (bytes.len() - (BATCH_HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    fn read(&mut self, number: u32, offset: u64, bytes: u64) -> Result<Bytes, JournalError> {
        let length = self.files.length(number).unwrap_or(0);
        let window = match &mut self.window {
            Some(window) if window.number == number => window,
            stale => stale.insert(Window::new(number, self.files.reader(number)?, length)),
        };
        window.read(offset, bytes).map_err(JournalError::io("read", &self.files.path(number)))
    }

    fn corrupt(&self, lsn: Lsn, reason: &'static str) -> JournalError {
        let path = self.files.path(lsn.file());
        JournalError::Corrupt { path, offset: lsn.offset().into(), reason }
    }
}

/// Where the magic of a batch is in `bytes`, ascending.
fn magics(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // Most of what is searched was never written.
    let blocks = bytes.chunks(ZEROS.len()).enumerate().filter(|(_, b)| **b != ZEROS[..b.len()]);
    let starts = blocks.flat_map(|(i, block)| {
        let first = i * ZEROS.len();
        let firsts = block.iter().enumerate().filter(|(_, byte)| **byte == BATCH_MAGIC[0]);
        firsts.map(move |(at, _)| first + at)
    });
    starts.filter(|at| bytes[*at..].starts_with(&BATCH_MAGIC))
}

/// A piece of a file, read ahead.
#[derive(Debug)]
struct Window {
    number: u32,
    file: Arc<dyn DiskFile>,
    length: u64,
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn new(number: u32, file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self { number, file, length, start: 0, bytes: Bytes::new() }
    }

    /// `offset + bytes` is not behind the end of the file.
    fn read(&mut self, offset: u64, bytes: u64) -> std::io::Result<Bytes> {
        let inside = offset >= self.start && offset + bytes <= self.start + self.bytes.len() as u64;
        if !inside {
            let ahead = bytes.max(WINDOW_BYTES).min(self.length - offset);
            let mut into = vec![0; ahead as usize];
            read_exact_at(&*self.file, &mut into, offset)?;
            (self.start, self.bytes) = (offset, into.into());
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.slice(at..at + bytes as usize))
    }
}

const ZEROS: [u8; 512] = [0; 512];
/// How much is read at once, bytes, unless a batch is longer.
const WINDOW_BYTES: u64 = 256 << 10;
/// How much is searched at once, bytes; more than a batch header.
const SEARCH_BYTES: u64 = 256 << 10;
