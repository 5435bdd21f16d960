//! A batch: what is written with one write and is valid as a whole or not at all.

use super::format::{BATCH_HEADER_BYTES, BatchHeader, Lsn, RECORD_HEADER_BYTES};
use super::ranges::Ranges;
use super::record::Record;
use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;

/// A batch that was written or read.
#[derive(Clone, Debug)]
pub struct Batch {
    pub header: BatchHeader,
    /// The header's CRC, to which the next batch is chained.
    pub crc: u32,
    pub records: Vec<Stored>,
    /// The batch as it is in the file, in pieces.
    pub parts: Vec<Bytes>,
}

/// A record and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub lsn: Lsn,
    /// Bytes.
    pub length: u32,
    pub record: Record,
}

impl Batch {
    /// Where the next batch of this file begins.
    pub fn end(&self) -> Lsn {
        Lsn(self.header.lsn.0 + self.header.total_bytes())
    }
}

/// Collects the records of one batch.
///
/// Removals and acknowledgements of one destination become one record. They move behind the sends
/// of the batch, which changes nothing, but not behind a record of another kind.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Behind the last of `parts`.
    tail: BytesMut,
    parts: Vec<Bytes>,
    /// With the offset in the batch in the place of the LSN.
    records: Vec<Stored>,
    record_bytes: u32,
    headers: crc32fast::Hasher,
    acks: Vec<(AckOf, Ranges)>,
    ack_of: HashMap<AckOf, usize>,
}

/// Whose messages are acknowledged or delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AckOf {
    destination: u32,
    what: Ack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ack {
    Remove,
    By { subscription: u64 },
    Deliver,
}

impl Builder {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.acks.is_empty()
    }

    pub(super) fn push(&mut self, record: Record) {
        match record {
            Record::Remove { destination, seqs } => {
                self.ack(AckOf { destination, what: Ack::Remove }, seqs);
            }
            Record::SubAck { destination, subscription, seqs } => {
                self.ack(AckOf { destination, what: Ack::By { subscription } }, seqs);
            }
            Record::Delivered { destination, seqs } => {
                self.ack(AckOf { destination, what: Ack::Deliver }, seqs);
            }
            Record::Add(_) => self.put(record),
            other => {
                self.put_acks();
                other.split().for_each(|part| self.put(part));
            }
        }
    }

    fn ack(&mut self, of: AckOf, seqs: Ranges) {
        let at = *self.ack_of.entry(of).or_insert(self.acks.len());
        match self.acks.get_mut(at) {
            Some((_, all)) => all.merge(&seqs),
            None => self.acks.push((of, seqs)),
        }
    }

    fn put_acks(&mut self) {
        self.ack_of.clear();
        for (AckOf { destination, what }, seqs) in std::mem::take(&mut self.acks) {
            let record = match what {
                Ack::Remove => Record::Remove { destination, seqs },
                Ack::By { subscription } => Record::SubAck { destination, subscription, seqs },
                Ack::Deliver => Record::Delivered { destination, seqs },
            };
            record.split().for_each(|part| self.put(part));
        }
    }

    fn put(&mut self, record: Record) {
        let start = self.tail.len();
        let head_start = start + RECORD_HEADER_BYTES;
        self.tail.put_bytes(0, RECORD_HEADER_BYTES);
        record.put_head(&mut self.tail);
        let mut header = record.header(self.tail.len() - head_start);
        let encoded = header.encode([&self.tail[head_start..], record.payload()]);
        self.tail[start..head_start].copy_from_slice(&encoded);
        self.headers.update(&encoded);
        if record.payload().len() > COPY_BYTES_MAX {
            self.parts.push(self.tail.split().freeze());
            self.parts.push(record.payload().clone());
        } else {
            self.tail.put_slice(record.payload());
        }
        let lsn = Lsn(BATCH_HEADER_BYTES as u64 + u64::from(self.record_bytes));
        self.records.push(Stored { lsn, length: header.length, record });
        self.record_bytes += header.length;
    }

    /// The batch; `header` says where and when, its sizes and CRC are filled in here.
    pub(super) fn finish(&mut self, mut header: BatchHeader) -> Batch {
        self.put_acks();
        header.record_bytes = std::mem::take(&mut self.record_bytes);
        header.record_count = self.records.len() as u32;
        header.record_headers_crc = std::mem::take(&mut self.headers).finalize();
        let (encoded, crc) = header.encode();
        let mut parts = std::mem::take(&mut self.parts);
        parts.insert(0, Bytes::copy_from_slice(&encoded));
        parts.push(self.tail.split().freeze());
        let mut records = std::mem::take(&mut self.records);
        records.iter_mut().for_each(|stored| stored.lsn.0 += header.lsn.0);
        Batch { header, crc, records, parts }
    }
}

/// Longer payloads are not copied together with what is around them but written from their place.
const COPY_BYTES_MAX: usize = 16 << 10;
