//! What a journal record says: typed fields in its head, opaque bytes as its payload.
//!
//! | kind | record | head | payload |
//! |---|---|---|---|
//! | 1 | Add | seq, band u8, expiration ms, producer, producer seq, [subscriptions], [from LSN] | stored message |
//! | 2 | Remove | ranges of seq | |
//! | 3 | SubAck | subscription, ranges | |
//! | 4 | Purge | last seq | |
//! | 5 | Destination | type u8, name | |
//! | 6 | Deleted | | |
//! | 7 | Subscription | subscription, client id, name, type u8, destination, selector?, no local u8 | |
//! | 8 | Unsubscribed | subscription | |
//! | 9 | Prepare | | branch |
//! | 10 | Forget | | xid |
//! | 11 | Producer | producer, connection?, session, value | |
//! | 12 | JobAdd | job, id, due ms, start ms, cron, delay ms, period ms, repeat | stored message |
//! | 13 | JobMove | job, due ms, repeats done | |
//! | 14 | JobRemove | job | |
//! | 15 | Live | file, as-of LSN | what of the file is live |
//! | 16 | EpochStart | epoch, node, version | |
//! | 17 | DropFile | action u8, 4 counters | gaps |
//! | 18 | Nothing | | padding |
//! | 19 | Delivered | ranges of seq | |
//! | 20 | Share | subscription | |
//!
//! The destination is in the record header. A number is an unsigned LEB128 unless a width is given;
//! text is length and UTF-8, with `?` 0 for none or length + 1 and UTF-8; repeat is zigzag (-1 = for
//! ever). Ranges are n, n x (gap to the number behind the last range, count - 1). In brackets: there
//! if the flag is set. For the payloads see `gaps` here, and `names` and `evidence` of the store.
//!
//! Flags: 2 moved by compaction (from where), 4 subscription list (ranges of numbers: the durable subscriptions
//! that get the message; a message without it is a queue's), 8 delivered before it was moved, 128 may be
//! skipped by who does not know the kind.

use super::Lsn;
use super::format::{RECORD_HEADER_BYTES, RecordHeader};
use super::ranges::{RANGE_BYTES_MAX, Ranges};
use crate::store::kahadb::fields::{Fields, Malformed, put_bytes, put_opt_text, put_varint};
use bytes::{BufMut, Bytes, BytesMut};

/// One change. Destinations, subscriptions, producers and jobs are named by numbers, which the
/// records of kinds 5, 7, 11 and 12 introduce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A message enters a destination.
    Add(Add),
    /// Messages leave their destination: acknowledged, expired.
    Remove {
        destination: u32,
        seqs: Ranges,
    },
    /// A durable subscription is done with messages.
    SubAck {
        destination: u32,
        subscription: u64,
        seqs: Ranges,
    },
    /// All messages up to `last` leave.
    Purge {
        destination: u32,
        last: u64,
    },
    /// A destination is there.
    Destination {
        destination: u32,
        kind: u8,
        name: String,
    },
    /// A destination is gone, with its messages.
    Deleted {
        destination: u32,
    },
    /// A durable subscription is there.
    Subscription(Subscription),
    /// A durable subscription is gone, with its backlog.
    Unsubscribed {
        subscription: u64,
    },
    /// An XA branch is prepared.
    Prepare {
        branch: Bytes,
    },
    /// A prepared branch has ended.
    Forget {
        xid: Bytes,
    },
    Producer {
        producer: u64,
        connection: Option<String>,
        session: u64,
        value: u64,
    },
    JobAdd(Job),
    JobMove {
        job: u64,
        due_ms: u64,
        repeats_done: u64,
    },
    JobRemove {
        job: u64,
    },
    /// What of `file` was live at `as_of`.
    Live {
        file: u32,
        as_of: Lsn,
        set: Bytes,
    },
    EpochStart {
        epoch: u64,
        node: String,
        version: String,
    },
    /// Files are not needed any more.
    DropFile {
        action: DropAction,
        /// What the store counts, for the records that did may be in those files.
        counters: [u64; 4],
        /// All files that are gone so far.
        gaps: Bytes,
    },
    Nothing {
        padding: Bytes,
    },
    /// Messages of a queue are given to consumers.
    Delivered {
        destination: u32,
        seqs: Ranges,
    },
    /// What a topic holds for others is for this durable subscription as well.
    Share {
        destination: u32,
        subscription: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Add {
    pub destination: u32,
    pub seq: u64,
    /// Messages are delivered band by band.
    pub band: u8,
    /// ms since 1970, 0 = never.
    pub expiration_ms: u64,
    /// 0 = unknown.
    pub producer: u64,
    pub producer_seq: u64,
    /// Which durable subscriptions get it; none: it is in a queue.
    pub subscriptions: Option<Ranges>,
    /// Written again by compaction: where it was. Means nothing if it was gone by then.
    pub moved_from: Option<Lsn>,
    /// It was delivered before it was written again.
    pub is_delivered: bool,
    pub message: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub subscription: u64,
    pub client_id: String,
    pub name: String,
    /// Of the destination.
    pub kind: u8,
    pub destination: String,
    pub selector: Option<String>,
    pub no_local: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    pub job: u64,
    pub id: String,
    pub due_ms: u64,
    pub start_ms: u64,
    /// Empty: none.
    pub cron: String,
    pub delay_ms: u64,
    pub period_ms: u64,
    /// -1 = for ever.
    pub repeat: i64,
    pub message: Bytes,
}

/// What becomes of a journal file that nobody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropAction {
    Delete,
    /// Moved to the archive folder.
    Archive,
    /// Written again under another number.
    Recycle,
}

/// What a sound record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Record(Record),
    /// Of a kind that this version does not know and may skip.
    Skipped,
    /// Of a kind that this version does not know and must not skip.
    Newer,
}

impl Record {
    /// 0 if the record is about no destination.
    pub fn destination(&self) -> u32 {
        match self {
            Self::Add(Add { destination, .. })
            | Self::Remove { destination, .. }
            | Self::SubAck { destination, .. }
            | Self::Purge { destination, .. }
            | Self::Destination { destination, .. }
            | Self::Delivered { destination, .. }
            | Self::Share { destination, .. }
            | Self::Deleted { destination } => *destination,
            _ => 0,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Add(_) => 1,
            Self::Remove { .. } => 2,
            Self::SubAck { .. } => 3,
            Self::Purge { .. } => 4,
            Self::Destination { .. } => 5,
            Self::Deleted { .. } => 6,
            Self::Subscription(_) => 7,
            Self::Unsubscribed { .. } => 8,
            Self::Prepare { .. } => 9,
            Self::Forget { .. } => 10,
            Self::Producer { .. } => 11,
            Self::JobAdd(_) => 12,
            Self::JobMove { .. } => 13,
            Self::JobRemove { .. } => 14,
            Self::Live { .. } => 15,
            Self::EpochStart { .. } => 16,
            Self::DropFile { .. } => 17,
            Self::Nothing { .. } => 18,
            Self::Delivered { .. } => 19,
            Self::Share { .. } => 20,
        }
    }

    fn flags(&self) -> u8 {
        let set = |flag: bool, bit: u8| if flag { bit } else { 0 };
        match self {
            Self::Add(add) => {
                set(add.moved_from.is_some(), MOVED)
                    | set(add.subscriptions.is_some(), SUBSCRIPTIONS)
                    | set(add.is_delivered, DELIVERED)
            }
            Self::Nothing { .. } => SKIPPABLE,
            _ => 0,
        }
    }

    /// The opaque part, stored as it is.
    pub fn payload(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match self {
            Self::Add(Add { message: bytes, .. })
            | Self::JobAdd(Job { message: bytes, .. })
            | Self::Prepare { branch: bytes }
            | Self::Forget { xid: bytes }
            | Self::Live { set: bytes, .. }
            | Self::DropFile { gaps: bytes, .. }
            | Self::Nothing { padding: bytes } => bytes,
            _ => &NONE,
        }
    }

    /// The record in pieces whose heads fit: with very many ranges it becomes several records.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        type Rebuild = Box<dyn Fn(Ranges) -> Record>;
        let (seqs, rebuild): (Ranges, Rebuild) = match self {
            Self::Remove { destination, seqs } if too_many(&seqs) => {
                (seqs, Box::new(move |seqs| Self::Remove { destination, seqs }))
            }
            Self::SubAck { destination, subscription, seqs } if too_many(&seqs) => {
                (seqs, Box::new(move |seqs| Self::SubAck { destination, subscription, seqs }))
            }
            Self::Delivered { destination, seqs } if too_many(&seqs) => {
                (seqs, Box::new(move |seqs| Self::Delivered { destination, seqs }))
            }
            other => return Some(other).into_iter().chain(Vec::new()),
        };
        let pieces: Vec<Self> = seqs.split(RANGES_MAX).map(rebuild).collect();
        None.into_iter().chain(pieces)
    }

    /// Bytes in the journal, at most; none if the head cannot be written.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        let (ranges, rest) = match self {
            Self::Remove { seqs, .. }
            | Self::SubAck { seqs, .. }
            | Self::Delivered { seqs, .. } => (seqs.as_slice().len(), 0),
            Self::Add(add) => {
                (0, add.subscriptions.as_ref().map_or(0, |s| s.as_slice().len() * RANGE_BYTES_MAX))
            }
            Self::Destination { name, .. } => (0, name.len()),
            Self::Subscription(s) => {
                let selector = s.selector.as_ref().map_or(0, String::len);
                (0, s.client_id.len() + s.name.len() + s.destination.len() + selector)
            }
            Self::Producer { connection, .. } => (0, connection.as_ref().map_or(0, String::len)),
            Self::JobAdd(job) => (0, job.id.len() + job.cron.len()),
            Self::EpochStart { node, version, .. } => (0, node.len() + version.len()),
            _ => (0, 0),
        };
        if FIXED_FIELDS_MAX + rest > usize::from(u16::MAX) {
            return None;
        }
        let records = ranges / RANGES_MAX + 1;
        let fixed = records * (RECORD_HEADER_BYTES + FIXED_FIELDS_MAX);
        Some((fixed + ranges * RANGE_BYTES_MAX + rest + self.payload().len()) as u64)
    }

    pub(super) fn put_head(&self, out: &mut BytesMut) {
        match self {
            Self::Add(add) => add.put_head(out),
            Self::Remove { seqs, .. } | Self::Delivered { seqs, .. } => seqs.encode(out),
            Self::SubAck { subscription, seqs, .. } => {
                put_varint(out, *subscription);
                seqs.encode(out);
            }
            Self::Purge { last: number, .. }
            | Self::Unsubscribed { subscription: number }
            | Self::Share { subscription: number, .. }
            | Self::JobRemove { job: number } => put_varint(out, *number),
            Self::Destination { kind, name, .. } => {
                out.put_u8(*kind);
                put_bytes(out, name.as_bytes());
            }
            Self::Subscription(subscription) => subscription.put_head(out),
            Self::Producer { producer, connection, session, value } => {
                put_varint(out, *producer);
                put_opt_text(out, connection.as_deref());
                put_varint(out, *session);
                put_varint(out, *value);
            }
            Self::JobAdd(job) => job.put_head(out),
            Self::JobMove { job, due_ms, repeats_done } => {
                [job, due_ms, repeats_done].into_iter().for_each(|n| put_varint(out, *n));
            }
            Self::Live { file, as_of, .. } => {
                put_varint(out, u64::from(*file));
                put_varint(out, as_of.0);
            }
            Self::EpochStart { epoch, node, version } => {
                put_varint(out, *epoch);
                put_bytes(out, node.as_bytes());
                put_bytes(out, version.as_bytes());
            }
            Self::DropFile { action, counters, .. } => {
                out.put_u8(*action as u8);
                counters.iter().for_each(|counter| put_varint(out, *counter));
            }
            Self::Deleted { .. }
            | Self::Prepare { .. }
            | Self::Forget { .. }
            | Self::Nothing { .. } => {}
        }
    }

    /// The header for this record with a head of `head_length` bytes; its CRC is still missing.
    pub(super) fn header(&self, head_length: usize) -> RecordHeader {
        let length = RECORD_HEADER_BYTES + head_length + self.payload().len();
        RecordHeader {
            length: u32::try_from(length).expect("its size was looked at when it was submitted"),
            kind: self.kind(),
            flags: self.flags(),
            head_length: u16::try_from(head_length).expect("see `bytes_max`"),
            destination: self.destination(),
            crc: 0,
        }
    }

    /// Reads a sound record; `record` begins with `header`.
    pub(super) fn decode(header: &RecordHeader, record: &Bytes) -> Result<Decoded, Malformed> {
        if header.kind == 0 || header.kind > KIND_MAX {
            let skippable = header.flags & SKIPPABLE != 0;
            return Ok(if skippable { Decoded::Skipped } else { Decoded::Newer });
        }
        let payload_start = RECORD_HEADER_BYTES + usize::from(header.head_length);
        let head = record.get(RECORD_HEADER_BYTES..payload_start).ok_or(Malformed)?;
        if record.len() < header.length as usize {
            return Err(Malformed);
        }
        let payload = record.slice(payload_start..header.length as usize);
        let mut fields = Fields::new(head);
        let record = Self::decode_fields(header, &mut fields, payload)?;
        fields.end()?;
        Ok(Decoded::Record(record))
    }

    fn decode_fields(
        h: &RecordHeader,
        f: &mut Fields<'_>,
        payload: Bytes,
    ) -> Result<Self, Malformed> {
        let destination = h.destination;
        let record = match h.kind {
            1 => Self::Add(Add::decode(h, f, payload)?),
            2 => Self::Remove { destination, seqs: Ranges::decode(f)? },
            3 => {
                let (subscription, seqs) = (f.varint()?, Ranges::decode(f)?);
                Self::SubAck { destination, subscription, seqs }
            }
            4 => Self::Purge { destination, last: f.varint()? },
            5 => Self::Destination { destination, kind: f.byte()?, name: f.text()? },
            6 => Self::Deleted { destination },
            7 => Self::Subscription(Subscription::decode(f)?),
            8 => Self::Unsubscribed { subscription: f.varint()? },
            9 => Self::Prepare { branch: payload },
            10 => Self::Forget { xid: payload },
            11 => {
                let (producer, connection) = (f.varint()?, f.opt_text()?);
                let (session, value) = (f.varint()?, f.varint()?);
                Self::Producer { producer, connection, session, value }
            }
            12 => Self::JobAdd(Job::decode(f, payload)?),
            13 => {
                let (job, due_ms, repeats_done) = (f.varint()?, f.varint()?, f.varint()?);
                Self::JobMove { job, due_ms, repeats_done }
            }
            14 => Self::JobRemove { job: f.varint()? },
            15 => Self::Live { file: f.u32()?, as_of: Lsn(f.varint()?), set: payload },
            16 => Self::EpochStart { epoch: f.varint()?, node: f.text()?, version: f.text()? },
            17 => {
                let action = DropAction::decode(f.byte()?)?;
                let counters = [f.varint()?, f.varint()?, f.varint()?, f.varint()?];
                Self::DropFile { action, counters, gaps: payload }
            }
            18 => Self::Nothing { padding: payload },
            19 => Self::Delivered { destination, seqs: Ranges::decode(f)? },
            _ => Self::Share { destination, subscription: f.varint()? },
        };
        Ok(record)
    }
}

impl Add {
    fn put_head(&self, out: &mut BytesMut) {
        put_varint(out, self.seq);
        out.put_u8(self.band);
        put_varint(out, self.expiration_ms);
        put_varint(out, self.producer);
        put_varint(out, self.producer_seq);
        if let Some(subscriptions) = &self.subscriptions {
            subscriptions.encode(out);
        }
        if let Some(from) = self.moved_from {
            put_varint(out, from.0);
        }
    }

    fn decode(h: &RecordHeader, f: &mut Fields<'_>, message: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            destination: h.destination,
            seq: f.varint()?,
            band: f.byte()?,
            expiration_ms: f.varint()?,
            producer: f.varint()?,
            producer_seq: f.varint()?,
            subscriptions: match h.flags & SUBSCRIPTIONS {
                0 => None,
                _ => Some(Ranges::decode(f)?),
            },
            moved_from: match h.flags & MOVED {
                0 => None,
                _ => Some(Lsn(f.varint()?)),
            },
            is_delivered: h.flags & DELIVERED != 0,
            message,
        })
    }
}

impl Subscription {
    fn put_head(&self, out: &mut BytesMut) {
        put_varint(out, self.subscription);
        put_bytes(out, self.client_id.as_bytes());
        put_bytes(out, self.name.as_bytes());
        out.put_u8(self.kind);
        put_bytes(out, self.destination.as_bytes());
        put_opt_text(out, self.selector.as_deref());
        out.put_u8(u8::from(self.no_local));
    }

    fn decode(f: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            subscription: f.varint()?,
            client_id: f.text()?,
            name: f.text()?,
            kind: f.byte()?,
            destination: f.text()?,
            selector: f.opt_text()?,
            no_local: f.bool()?,
        })
    }
}

impl Job {
    fn put_head(&self, out: &mut BytesMut) {
        put_varint(out, self.job);
        put_bytes(out, self.id.as_bytes());
        put_varint(out, self.due_ms);
        put_varint(out, self.start_ms);
        put_bytes(out, self.cron.as_bytes());
        put_varint(out, self.delay_ms);
        put_varint(out, self.period_ms);
        put_varint(out, (self.repeat << 1 ^ self.repeat >> 63) as u64);
    }

    fn decode(f: &mut Fields<'_>, message: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            job: f.varint()?,
            id: f.text()?,
            due_ms: f.varint()?,
            start_ms: f.varint()?,
            cron: f.text()?,
            delay_ms: f.varint()?,
            period_ms: f.varint()?,
            repeat: {
                let zigzag = f.varint()?;
                (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
            },
            message,
        })
    }
}

impl DropAction {
    fn decode(byte: u8) -> Result<Self, Malformed> {
        [Self::Delete, Self::Archive, Self::Recycle]
            .get(usize::from(byte))
            .copied()
            .ok_or(Malformed)
    }
}

fn too_many(seqs: &Ranges) -> bool {
    seqs.as_slice().len() > RANGES_MAX
}

const MOVED: u8 = 2;
const SUBSCRIPTIONS: u8 = 4;
const DELIVERED: u8 = 8;
const SKIPPABLE: u8 = 128;

const KIND_MAX: u8 = 20;
/// The fields of a head that are not text, ranges or lists; none has more than nine numbers.
const FIXED_FIELDS_MAX: usize = 100;
/// With the fixed fields they stay below 64 KiB, the most that a head can have.
pub const RANGES_MAX: usize = 3000;

#[cfg(test)]
mod tests;
