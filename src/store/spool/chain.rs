//! The segments of one channel: written at the end of the last, read in the first.

use super::Spooled;
use super::record::{HEAD_BYTES, Head, Seal};
use super::segments::Segments;
use crate::store::fs::{DiskFile, read_exact_at, write_all_at};
use crate::store::{MessageForm, PageLimit};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// The messages of a channel, and where they are.
#[derive(Debug, Default)]
pub(super) struct Chain {
    segments: VecDeque<Segment>,
}

/// One file.
#[derive(Debug)]
struct Segment {
    number: u64,
    /// The oldest record not yet taken is here or, behind damaged ones, later.
    read_at: u64,
    /// Where the last whole record ends. What is behind it is left of an append that failed.
    end: u64,
    /// Records not yet taken.
    records: u64,
}

/// What reading needs beside the chain.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) form: MessageForm,
    pub(super) seal: Seal,
    pub(super) limit: PageLimit,
    pub(super) window: &'a mut Window,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Spooled>,
    bytes: u64,
    /// Messages that could not be read.
    pub(super) lost: u64,
    /// Bytes of the segments that went.
    pub(super) freed: u64,
}

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Appends whole records, as one: after an error none of them is there.
    pub(super) fn append(
        &mut self,
        files: &mut Segments,
        bytes: &[u8],
        records: u64,
        segment_bytes: u64,
    ) -> io::Result<()> {
        if let Some(last) = self.segments.back_mut().filter(|last| last.end < segment_bytes) {
            let file = files.file(last.number)?;
            write_all_at(&*file, &mut [IoSlice::new(bytes)], last.end)?;
            last.end += bytes.len() as u64;
            last.records += records;
            return Ok(());
        }
        let (number, file) = files.create()?;
        if let Err(e) = write_all_at(&*file, &mut [IoSlice::new(bytes)], 0) {
            files.remove(number);
            return Err(e);
        }
        let end = bytes.len() as u64;
        self.segments.push_back(Segment { number, read_at: 0, end, records });
        Ok(())
    }

    /// Takes the oldest messages out, and removes the segments that have no more.
    ///
    /// # Errors
    /// When a segment that is there cannot be opened and nothing was taken.
    pub(super) fn take(
        &mut self,
        files: &mut Segments,
        reader: &mut Reader<'_>,
    ) -> io::Result<Taken> {
        let mut taken = Taken::default();
        while let Some(first) = self.segments.front_mut() {
            if !taken.has_room(reader.limit) {
                break;
            }
            let read = match files.file(first.number) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return if taken.messages.is_empty() { Err(e) } else { Ok(taken) };
                }
                Err(e) => Err(e),
                Ok(file) => first.read(&*file, reader, &mut taken),
            };
            if read.is_ok() && first.has_more() {
                break; // there is no room for it
            }
            taken.lost += first.records;
            taken.freed += first.end;
            files.remove(first.number);
            self.segments.pop_front();
        }
        Ok(taken)
    }

    /// Drops everything. Returns the bytes it had.
    pub(super) fn clear(&mut self, files: &mut Segments) -> u64 {
        let gone = self.segments.drain(..);
        gone.map(|segment| {
            files.remove(segment.number);
            segment.end
        })
        .sum()
    }
}

impl Segment {
    fn has_more(&self) -> bool {
        self.records > 0 && self.end - self.read_at >= HEAD_BYTES as u64
    }

    /// Reads on while there is room.
    fn read(
        &mut self,
        file: &dyn DiskFile,
        reader: &mut Reader<'_>,
        taken: &mut Taken,
    ) -> io::Result<()> {
        reader.window.forget();
        while self.has_more() && taken.has_room(reader.limit) {
            let head = reader.window.get(file, self.read_at, HEAD_BYTES, self.end)?;
            let rest = self.end - self.read_at - HEAD_BYTES as u64;
            let head = Head::read(head, reader.seal).filter(|head| u64::from(head.length) <= rest);
            let Some(head) = head else {
                self.read_at += 1; // damaged: the next head is somewhere
                continue;
            };
            let (at, length) = (self.read_at + HEAD_BYTES as u64, head.length as usize);
            let body = reader.window.copy(file, at, length, self.end)?;
            self.read_at = at + length as u64;
            if !head.fits(&body) {
                continue;
            }
            let Some(message) = (reader.form.decode)(body) else { continue };
            self.records -= 1;
            taken.bytes += message.size() as u64;
            let (sequence, redeliveries) = (head.sequence, head.redeliveries);
            taken.messages.push(Spooled { sequence, redeliveries, message });
        }
        Ok(())
    }
}

impl Taken {
    fn has_room(&self, limit: PageLimit) -> bool {
        self.messages.is_empty()
            || (self.messages.len() < limit.messages && self.bytes < limit.bytes)
    }
}

/// A piece of a segment, read ahead.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn forget(&mut self) {
        self.bytes.clear();
    }

    /// `length` bytes from `at` on, at most [`WINDOW_BYTES`]; `end` is where there are no more.
    fn get(&mut self, file: &dyn DiskFile, at: u64, length: usize, end: u64) -> io::Result<&[u8]> {
        let offset = at.checked_sub(self.start).filter(|offset| {
            offset.checked_add(length as u64).is_some_and(|end| end <= self.bytes.len() as u64)
        });
        let offset = if let Some(offset) = offset {
            offset as usize
        } else {
            let there = (end - at).min(WINDOW_BYTES as u64) as usize;
            self.start = at;
            self.bytes.resize(there, 0);
            if let Err(e) = read_exact_at(file, &mut self.bytes, at) {
                self.forget();
                return Err(e);
            }
            0
        };
        self.bytes.get(offset..offset + length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The same bytes, any number of them, in memory of their own: a message pins itself only.
    fn copy(&mut self, file: &dyn DiskFile, at: u64, length: usize, end: u64) -> io::Result<Bytes> {
        if length <= WINDOW_BYTES {
            return self.get(file, at, length, end).map(Bytes::copy_from_slice);
        }
        let mut bytes = vec![0; length];
        read_exact_at(file, &mut bytes, at)?;
        Ok(bytes.into())
    }
}

/// What is read at once: enough for many small messages.
const WINDOW_BYTES: usize = 64 * 1024;
