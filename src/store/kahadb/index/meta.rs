//! The meta page: where the tree begins and what the store wants to find again.
//!
//! ```text
//! page 0, behind the page header (little-endian); all of it lies in the first 512 bytes
//!  24  8  89 4D 51 49 0D 0A 1A 0A       80  u64 rows
//!  32  u32 format version (2)           88  u64 replay LSN
//!  36  u32 page size                    96  u32 chain value there; 100 u32 openWire version
//!  40  16 bytes store id               104  u64 epoch
//!  56  u32 root, 0 = empty tree        112  u64 commit LSN
//!  60  u8 height; 61 u8 mark; 62 u16 0 120  8 x u64 counters
//!  64  u32 pages in use (with page 0)  184
//!  68  u32 CRC-32 of the free list
//!  72  u64 0
//! ```
//!
//! The checkpoint number is the one in the page header.

use super::page::{Kind, Page, PageBuilder, PageNumber, array_at, u32_at, u64_at};

/// What the store keeps with each checkpoint; the index stores it and reads none of it but `mark`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The same in all files of one store and on all its replicas.
    pub store_id: [u8; 16],
    pub mark: Mark,
    /// Journal position from which recovery replays: everything before is in the tree.
    pub replay_lsn: u64,
    /// Checksum of the last batch before that position.
    pub chain: u32,
    /// Epoch of the journal at that position.
    pub epoch: u64,
    /// Replicated stores: what a majority has. Others: `replay_lsn`.
    pub commit_lsn: u64,
    /// In which OpenWire version messages are stored.
    pub openwire_version: u32,
    /// What the store numbers; it knows which is which.
    pub counters: [u64; 8],
}

/// What the index is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Complete up to the replay position; the journal goes on behind it.
    #[default]
    InUse = 0,
    /// The same, and nothing was written behind it: the last checkpoint of a clean stop. The caller
    /// compares with the end of the journal all the same.
    Clean = 1,
    /// A rebuild is under way; if it does not end, the tree is worth nothing.
    Building = 2,
}

/// The whole meta page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) checkpoint: u64,
    pub(super) root: PageNumber,
    /// Levels of the tree; 0 = empty.
    pub(super) height: u8,
    pub(super) page_count: u32,
    pub(super) free_crc: u32,
    pub(super) rows: u64,
    pub(super) record: Record,
}

impl Meta {
    /// The state before the first checkpoint.
    pub(super) fn fresh() -> Self {
        Self {
            checkpoint: 0,
            root: 0,
            height: 0,
            page_count: 1,
            free_crc: 0,
            rows: 0,
            record: Record::default(),
        }
    }

    pub(super) fn encode(&self, page_bytes: usize) -> Page {
        let record = &self.record;
        let mut out = Vec::with_capacity(PAYLOAD_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(page_bytes as u32).to_le_bytes());
        out.extend_from_slice(&record.store_id);
        out.extend_from_slice(&self.root.to_le_bytes());
        out.extend_from_slice(&[self.height, record.mark as u8, 0, 0]);
        out.extend_from_slice(&self.page_count.to_le_bytes());
        out.extend_from_slice(&self.free_crc.to_le_bytes());
        out.extend_from_slice(&0u64.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&record.replay_lsn.to_le_bytes());
        out.extend_from_slice(&record.chain.to_le_bytes());
        out.extend_from_slice(&record.openwire_version.to_le_bytes());
        out.extend_from_slice(&record.epoch.to_le_bytes());
        out.extend_from_slice(&record.commit_lsn.to_le_bytes());
        for counter in record.counters {
            out.extend_from_slice(&counter.to_le_bytes());
        }
        let mut page = PageBuilder::new(page_bytes, Kind::Meta, &[]);
        page.payload(&out);
        page.finish(0, self.checkpoint)
    }

    /// Reads a checked page, or says what does not fit.
    pub(super) fn decode(page: &Page, page_bytes: usize) -> Result<Self, &'static str> {
        let bytes = page.payload();
        if page.kind() != Kind::Meta || bytes.len() != PAYLOAD_BYTES || !bytes.starts_with(&MAGIC) {
            return Err("not a meta page");
        }
        if u32_at(bytes, 8) != FORMAT_VERSION {
            return Err("written in another format version");
        }
        if u32_at(bytes, 12) as usize != page_bytes {
            return Err("written with another page size");
        }
        let (root, height, page_count) = (u32_at(bytes, 32), bytes[36], u32_at(bytes, 40));
        let empty = root == 0 && height == 0;
        let grown = (1..page_count).contains(&root) && (1..=HEIGHT_MAX).contains(&height);
        if !empty && !grown || page_count == 0 {
            return Err("the tree cannot begin there");
        }
        let mut counters = [0; 8];
        for (i, counter) in counters.iter_mut().enumerate() {
            *counter = u64_at(bytes, 96 + 8 * i);
        }
        Ok(Self {
            checkpoint: page.checkpoint(),
            root,
            height,
            page_count,
            free_crc: u32_at(bytes, 44),
            rows: u64_at(bytes, 56),
            record: Record {
                store_id: array_at(bytes, 16),
                mark: match bytes[37] {
                    0 => Mark::InUse,
                    1 => Mark::Clean,
                    2 => Mark::Building,
                    _ => return Err("unknown mark"),
                },
                replay_lsn: u64_at(bytes, 64),
                chain: u32_at(bytes, 72),
                openwire_version: u32_at(bytes, 76),
                epoch: u64_at(bytes, 80),
                commit_lsn: u64_at(bytes, 88),
                counters,
            },
        })
    }
}

const MAGIC: [u8; 8] = *b"\x89MQI\r\n\x1a\n";
const FORMAT_VERSION: u32 = 2;
const PAYLOAD_BYTES: usize = 160;

/// More levels than 2^32 pages can fill; bounds every recursion over the tree.
pub(super) const HEIGHT_MAX: u8 = 32;
