//! The bytes of a `db-N.log` file: file header, batch headers, record headers.
//!
//! ```text
//! 0          68     4096            4160                           next batch, no gap
//! +-----------+------+---------------+--------+------+---------+----+---------------+--
//! |file header| zero | batch header  | record | head | payload | ...| batch header  |
//! |           |      | 64 bytes      | header |      |         |    |               |
//! |           |      |               | 16     |      |         |    |               |
//! +-----------+------+---------------+--------+------+---------+----+---------------+--
//!    written together with the first batch            behind the last batch: zeros, or
//!    of the file; all zero: the file is unused        whatever a recycled file held
//! ```
//!
//! File header, 68 bytes used of the first 4096:
//!
//! | offset | field |
//! |---|---|
//! | 0 | 8 bytes 89 4D 51 4A 0D 0A 1A 0A |
//! | 8 | u16 format version, 1; 10: u16 flags, 0 |
//! | 12 | u32 file number |
//! | 16 | 16 bytes store id, random, the same on all replicas |
//! | 32 | u64 epoch when the file was begun |
//! | 40 | u64 then, ms since 1970 |
//! | 48 | u64 generation of the store's lock |
//! | 56 | u32 chain: header CRC of the last batch before this file, 0 = none |
//! | 60 | u32 reserved, 0 |
//! | 64 | u32 CRC-32 of bytes 0-63 |
//!
//! Batch header, 64 bytes, at its LSN:
//!
//! | offset | field |
//! |---|---|
//! | 0 | u32 magic 0x48435442, `BTCH` |
//! | 4 | u32 CRC-32 of bytes 8-63 |
//! | 8 | u32 bytes of records that follow |
//! | 12 | u32 number of records |
//! | 16 | u64 LSN of this header |
//! | 24 | u64 epoch, never less than in the batch before |
//! | 32 | u64 durable LSN: everything before it was synced when this batch was written |
//! | 40 | u64 commit LSN; where nothing is replicated, the durable LSN |
//! | 48 | u32 CRC-32 of all record headers of the batch, one after the other |
//! | 52 | u32 chain: the CRC at offset 4 of the batch before, 0 = none |
//! | 56 | u64 wall clock, ms since 1970 |
//!
//! Record header, 16 bytes:
//!
//! | offset | field |
//! |---|---|
//! | 0 | u32 length of the record, header included |
//! | 4 | u8 kind; 5: u8 flags (see `record`) |
//! | 6 | u16 bytes of the head |
//! | 8 | u32 destination number, 0 = none |
//! | 12 | u32 CRC-32 of bytes 0-11 and of everything behind the header |
//!
//! Each batch vouches for its position (LSN), its predecessor (chain), its headers, and through
//! them for every byte: one that was left behind by an earlier use of the file, written to the
//! wrong place or cut off by an earlier recovery does not fit, and neither does part of one.
//! CRC-32 is the IEEE one; integers are little-endian.

use bytes::Buf;
use rustix::rand::GetRandomFlags;
use std::{fmt, io};

/// A position in the journal: file number in the upper half, offset in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    pub const fn new(file: u32, offset: u32) -> Self {
        Self((file as u64) << 32 | offset as u64)
    }

    /// Where the first batch of a file is.
    pub const fn start_of(file: u32) -> Self {
        Self::new(file, FIRST_BATCH)
    }

    pub const fn file(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.offset())
    }
}

/// Random, given to a store when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// A new one.
    pub fn random() -> io::Result<Self> {
        let mut id = [0; 16];
        rustix::rand::getrandom(&mut id, GetRandomFlags::empty())?;
        Ok(Self(id))
    }
}

/// What the first bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileStart {
    /// The first block is zero: nothing was written yet.
    Unused,
    Ours(FileHeader),
    /// Our file, but of a format that this version does not know.
    Newer,
    /// Damaged, torn, or not a file of ours.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) number: u32,
    pub(super) store_id: StoreId,
    pub(super) epoch: u64,
    pub(super) created_ms: u64,
    pub(super) lock_generation: u64,
    pub(super) chain: u32,
}

impl FileHeader {
    /// The used part of the first block.
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut out = Out::<FILE_HEADER_BYTES>::default();
        out.put(&FILE_MAGIC);
        out.put(&FORMAT_VERSION.to_le_bytes());
        out.put(&0_u16.to_le_bytes());
        out.put(&self.number.to_le_bytes());
        out.put(&self.store_id.0);
        out.put(&self.epoch.to_le_bytes());
        out.put(&self.created_ms.to_le_bytes());
        out.put(&self.lock_generation.to_le_bytes());
        out.put(&self.chain.to_le_bytes());
        out.put(&0_u32.to_le_bytes());
        out.put(&crc32fast::hash(&out.bytes[..64]).to_le_bytes());
        out.bytes
    }

    /// Reads the start of a file from its first block, or as much of it as there is.
    pub(super) fn decode(block: &[u8]) -> FileStart {
        if *block == [0; BLOCK_BYTES][..block.len().min(BLOCK_BYTES)] {
            return FileStart::Unused;
        }
        let Some(header) = block.get(..FILE_HEADER_BYTES) else { return FileStart::Unknown };
        let (mut covered, mut crc) = header.split_at(64);
        if !covered.starts_with(&FILE_MAGIC) || crc32fast::hash(covered) != crc.get_u32_le() {
            return FileStart::Unknown;
        }
        covered.advance(FILE_MAGIC.len());
        let (version, flags) = (covered.get_u16_le(), covered.get_u16_le());
        if version != FORMAT_VERSION || flags != 0 {
            return FileStart::Newer;
        }
        let number = covered.get_u32_le();
        let mut store_id = StoreId([0; 16]);
        covered.copy_to_slice(&mut store_id.0);
        FileStart::Ours(Self {
            number,
            store_id,
            epoch: covered.get_u64_le(),
            created_ms: covered.get_u64_le(),
            lock_generation: covered.get_u64_le(),
            chain: covered.get_u32_le(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Bytes behind the header.
    pub record_bytes: u32,
    pub record_count: u32,
    pub lsn: Lsn,
    pub epoch: u64,
    pub durable: Lsn,
    pub commit: Lsn,
    pub record_headers_crc: u32,
    pub chain: u32,
    pub written_ms: u64,
}

impl BatchHeader {
    /// The header and its CRC, to which the next batch is chained.
    pub(super) fn encode(&self) -> ([u8; BATCH_HEADER_BYTES], u32) {
        let mut out = Out::<BATCH_HEADER_BYTES>::default();
        out.put(&BATCH_MAGIC);
        out.put(&[0; 4]);
        out.put(&self.record_bytes.to_le_bytes());
        out.put(&self.record_count.to_le_bytes());
        out.put(&self.lsn.0.to_le_bytes());
        out.put(&self.epoch.to_le_bytes());
        out.put(&self.durable.0.to_le_bytes());
        out.put(&self.commit.0.to_le_bytes());
        out.put(&self.record_headers_crc.to_le_bytes());
        out.put(&self.chain.to_le_bytes());
        out.put(&self.written_ms.to_le_bytes());
        let crc = crc32fast::hash(&out.bytes[8..]);
        out.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (out.bytes, crc)
    }

    /// The header and its CRC; none unless it is sound in itself. Whether it belongs where it was
    /// found is another question.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let mut r = bytes.get(..BATCH_HEADER_BYTES)?.strip_prefix(&BATCH_MAGIC)?;
        let crc = r.get_u32_le();
        if crc32fast::hash(r) != crc {
            return None;
        }
        let header = Self {
            record_bytes: r.get_u32_le(),
            record_count: r.get_u32_le(),
            lsn: Lsn(r.get_u64_le()),
            epoch: r.get_u64_le(),
            durable: Lsn(r.get_u64_le()),
            commit: Lsn(r.get_u64_le()),
            record_headers_crc: r.get_u32_le(),
            chain: r.get_u32_le(),
            written_ms: r.get_u64_le(),
        };
        (header.durable <= header.lsn).then_some((header, crc))
    }

    /// Header and records.
    pub fn total_bytes(&self) -> u64 {
        BATCH_HEADER_BYTES as u64 + u64::from(self.record_bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Bytes of the record, this header included.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Bytes of the head, which follows.
    pub(super) head_length: u16,
    pub(super) destination: u32,
    pub(super) crc: u32,
}

impl RecordHeader {
    /// The header with the CRC over itself and what follows it, given in pieces.
    pub(super) fn encode(&mut self, rest: [&[u8]; 2]) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = Out::<RECORD_HEADER_BYTES>::default();
        out.put(&self.length.to_le_bytes());
        out.put(&[self.kind, self.flags]);
        out.put(&self.head_length.to_le_bytes());
        out.put(&self.destination.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&out.bytes[..12]);
        rest.iter().for_each(|piece| hasher.update(piece));
        self.crc = hasher.finalize();
        out.put(&self.crc.to_le_bytes());
        out.bytes
    }

    /// The header at the start of `record`; none unless its lengths fit into `record`, which may
    /// be longer. [`RecordHeader::is_sound`] looks at the CRC.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let mut r = record.get(..RECORD_HEADER_BYTES)?;
        let header = Self {
            length: r.get_u32_le(),
            kind: r.get_u8(),
            flags: r.get_u8(),
            head_length: r.get_u16_le(),
            destination: r.get_u32_le(),
            crc: r.get_u32_le(),
        };
        let fits = header.length as usize <= record.len()
            && RECORD_HEADER_BYTES + usize::from(header.head_length) <= header.length as usize;
        fits.then_some(header)
    }

    /// Whether `record`, header and all, is what was written.
    pub(super) fn is_sound(&self, record: &[u8]) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&record[..12]);
        hasher.update(&record[RECORD_HEADER_BYTES..self.length as usize]);
        hasher.finalize() == self.crc
    }
}

/// Fills an array from the front.
struct Out<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Default for Out<N> {
    fn default() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }
}

impl<const N: usize> Out<N> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.filled..self.filled + field.len()].copy_from_slice(field);
        self.filled += field.len();
    }
}

/// First byte not ASCII, line ends and a DOS end of file, so that a text transfer spoils it
/// (as PNG does); unlike Java's 00 00 00 1C 02 `WRITE BATCH`.
pub(super) const FILE_MAGIC: [u8; 8] = [0x89, b'M', b'Q', b'J', b'\r', b'\n', 0x1A, b'\n'];
pub(super) const BATCH_MAGIC: [u8; 4] = *b"BTCH";
const FORMAT_VERSION: u16 = 1;
/// The used part of a file's first block, bytes.
pub(super) const FILE_HEADER_BYTES: usize = 68;
/// The size of disk pages that files are made of, bytes.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Offset of a file's first batch.
pub(super) const FIRST_BATCH: u32 = BLOCK_BYTES as u32;
pub(super) const BATCH_HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_header() -> FileHeader {
        FileHeader {
            number: 7,
            store_id: StoreId(*b"0123456789abcdef"),
            epoch: 3,
            created_ms: 0x0102_0304_0506,
            lock_generation: 9,
            chain: 0xDEAD_BEEF,
        }
    }

    fn batch_header() -> BatchHeader {
        BatchHeader {
            record_bytes: 100,
            record_count: 2,
            lsn: Lsn::new(7, 4096),
            epoch: 3,
            durable: Lsn::new(6, 9000),
            commit: Lsn::new(6, 8000),
            record_headers_crc: 0x1111_2222,
            chain: 0x3333_4444,
            written_ms: 5,
        }
    }

    #[test]
    fn headers_are_laid_out_as_documented() {
        let file = file_header().encode();
        assert_eq!(file[..8], [0x89, 0x4D, 0x51, 0x4A, 0x0D, 0x0A, 0x1A, 0x0A]);
        assert_eq!(file[8..16], [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(&file[16..32], b"0123456789abcdef");
        assert_eq!((file[32], file[40], file[45], file[48]), (3, 6, 1, 9));
        assert_eq!(file[56..64], [0xEF, 0xBE, 0xAD, 0xDE, 0, 0, 0, 0]);
        assert_eq!(FileHeader::decode(&file), FileStart::Ours(file_header()));
        assert_eq!(FileHeader::decode(&[0; BLOCK_BYTES]), FileStart::Unused);
        assert_eq!(FileHeader::decode(&file[..67]), FileStart::Unknown);

        let (batch, crc) = batch_header().encode();
        assert_eq!(batch[..4], 0x4843_5442_u32.to_le_bytes());
        assert_eq!(batch[4..8], crc.to_le_bytes());
        assert_eq!((batch[8], batch[12]), (100, 2));
        assert_eq!(batch[16..24], [0, 16, 0, 0, 7, 0, 0, 0]);
        assert_eq!((batch[24], batch[36], batch[44], batch[56]), (3, 6, 6, 5));
        assert_eq!((batch[48], batch[52]), (0x22, 0x44));
        assert_eq!(BatchHeader::decode(&batch), Some((batch_header(), crc)));

        let mut header =
            RecordHeader { length: 19, kind: 2, flags: 1, head_length: 2, destination: 5, crc: 0 };
        let mut record = header.encode([&[8, 9], &[10]]).to_vec();
        record.extend([8, 9, 10]);
        assert_eq!(record[..12], [19, 0, 0, 0, 2, 1, 2, 0, 5, 0, 0, 0]);
        assert_eq!(RecordHeader::decode(&record), Some(header));
        assert!(header.is_sound(&record));
    }

    proptest! {
        #[test]
        fn no_header_survives_a_flipped_byte(at: prop::sample::Index, flip in 1..=255_u8) {
            let mut file = file_header().encode();
            file[at.index(FILE_HEADER_BYTES)] ^= flip;
            prop_assert_eq!(FileHeader::decode(&file), FileStart::Unknown);
            let mut batch = batch_header().encode().0;
            batch[at.index(BATCH_HEADER_BYTES)] ^= flip;
            prop_assert_eq!(BatchHeader::decode(&batch), None);
            let mut header =
                RecordHeader { length: 19, kind: 2, flags: 1, head_length: 2, destination: 5, crc: 0 };
            let mut record = header.encode([&[8, 9], &[10]]).to_vec();
            record.extend([8, 9, 10]);
            record[at.index(19)] ^= flip;
            let read = RecordHeader::decode(&record);
            prop_assert!(read.is_none_or(|header| !header.is_sound(&record)));
        }
    }
}
