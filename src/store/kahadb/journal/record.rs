//! What a journal record says: typed fields in its head, opaque bytes as its payload.
//!
//! | kind | record | head | payload |
//! |---|---|---|---|
//! | 1 | Add | [tx] seq, priority u8, expiration ms, producer, producer seq, [subscriptions] | stored message |
//! | 2 | Remove | [tx] ranges of seq | |
//! | 3 | SubAck | [tx] subscription, ranges | |
//! | 4 | Update | seq | stored message |
//! | 5 | Delivered | ranges | |
//! | 6 | Destination | exists u8, type u8, name | options |
//! | 7 | Subscription | subscription, exists u8, client id, name, selector?, no local u8, first seq | SubscriptionInfo |
//! | 8 | Commit | tx, n, n x (destination, first seq) | |
//! | 9 | Rollback | tx | |
//! | 10 | Prepare | tx, xid | |
//! | 11 | Producer | producer, id | |
//! | 12 | JobAdd | job, id, due ms, start ms, cron, delay ms, period ms, repeat | stored message |
//! | 13 | JobMove | job, due ms, repeats done | |
//! | 14 | JobRemove | job | |
//! | 15 | Live | file, as-of LSN, form u8 | set of live Add ordinals |
//! | 16 | State | kind u8, part, parts | rows |
//! | 17 | EpochStart | epoch, node, version | |
//! | 18 | DropFile | action u8, n, n x file | |
//! | 19 | Nothing | | padding |
//!
//! The destination is in the record header. A number is an unsigned LEB128 unless a width is given;
//! text is length and UTF-8, with `?` 0 for none or length + 1 and UTF-8; xid is length and bytes;
//! repeat is zigzag (-1 = for ever). Ranges are n, n x (gap to the number behind the last range,
//! count - 1). In brackets: there if the flag is set.
//!
//! Flags: 1 transactional (tx), 2 moved by compaction, 4 subscription list (ranges of numbers: who
//! gets the message; without it all that were registered), 8 redelivered, 128 may be skipped by who
//! does not know the kind.

use super::Lsn;
use super::fields::{Fields, put_bytes, put_opt_text, put_varint};
use super::format::{RECORD_HEADER_BYTES, RecordHeader};
use super::ranges::{RANGE_BYTES_MAX, Ranges};
use bytes::{BufMut, Bytes, BytesMut};

/// One change. Destinations, subscriptions, producers, jobs and transactions are named by numbers,
/// which the records of kinds 6, 7, 11, 12 and 10 introduce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A message enters a destination.
    Add(Add),
    /// Messages leave their destination: acknowledged, expired, purged.
    Remove {
        destination: u32,
        transaction: Option<u64>,
        seqs: Ranges,
    },
    /// A durable subscription is done with messages.
    SubAck {
        destination: u32,
        transaction: Option<u64>,
        subscription: u64,
        seqs: Ranges,
    },
    /// A stored message is replaced.
    Update {
        destination: u32,
        seq: u64,
        message: Bytes,
    },
    /// Messages were dispatched at least once.
    Delivered {
        destination: u32,
        seqs: Ranges,
    },
    /// A destination is made or removed.
    Destination {
        destination: u32,
        exists: bool,
        kind: u8,
        name: String,
        options: Bytes,
    },
    /// A durable subscription is made, changed or removed.
    Subscription(Subscription),
    /// A transaction takes effect here; its sends get seqs from `first_seqs` on, per destination.
    Commit {
        transaction: u64,
        first_seqs: Vec<(u32, u64)>,
    },
    Rollback {
        transaction: u64,
    },
    Prepare {
        transaction: u64,
        xid: Bytes,
    },
    Producer {
        producer: u64,
        id: String,
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
    /// Which Adds of `file` were live at `as_of`.
    Live {
        file: u32,
        as_of: Lsn,
        form: u8,
        set: Bytes,
    },
    /// One part of a snapshot of the kind of state that `kind` names.
    State {
        kind: u8,
        part: u32,
        parts: u32,
        rows: Bytes,
    },
    EpochStart {
        epoch: u64,
        node: String,
        version: String,
    },
    DropFile {
        files: Vec<u32>,
        action: DropAction,
    },
    Nothing {
        padding: Bytes,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Add {
    pub destination: u32,
    pub transaction: Option<u64>,
    /// 0 inside a transaction: its Commit tells.
    pub seq: u64,
    pub priority: u8,
    /// ms since 1970, 0 = never.
    pub expiration_ms: u64,
    pub producer: u64,
    pub producer_seq: u64,
    /// Which durable subscriptions get it; none: all that were registered.
    pub subscriptions: Option<Ranges>,
    /// Written again by compaction, at another place.
    pub moved: bool,
    pub redelivered: bool,
    pub message: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    pub destination: u32,
    pub subscription: u64,
    pub exists: bool,
    pub client_id: String,
    pub name: String,
    pub selector: Option<String>,
    pub no_local: bool,
    pub first_seq: u64,
    pub info: Bytes,
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

/// A record whose checksum is right but whose fields are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

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
            | Self::Subscription(Subscription { destination, .. })
            | Self::Remove { destination, .. }
            | Self::SubAck { destination, .. }
            | Self::Update { destination, .. }
            | Self::Delivered { destination, .. }
            | Self::Destination { destination, .. } => *destination,
            _ => 0,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Add(_) => 1,
            Self::Remove { .. } => 2,
            Self::SubAck { .. } => 3,
            Self::Update { .. } => 4,
            Self::Delivered { .. } => 5,
            Self::Destination { .. } => 6,
            Self::Subscription(_) => 7,
            Self::Commit { .. } => 8,
            Self::Rollback { .. } => 9,
            Self::Prepare { .. } => 10,
            Self::Producer { .. } => 11,
            Self::JobAdd(_) => 12,
            Self::JobMove { .. } => 13,
            Self::JobRemove { .. } => 14,
            Self::Live { .. } => 15,
            Self::State { .. } => 16,
            Self::EpochStart { .. } => 17,
            Self::DropFile { .. } => 18,
            Self::Nothing { .. } => 19,
        }
    }

    fn flags(&self) -> u8 {
        let set = |flag: bool, bit: u8| if flag { bit } else { 0 };
        match self {
            Self::Add(add) => {
                set(add.transaction.is_some(), TRANSACTIONAL)
                    | set(add.moved, MOVED)
                    | set(add.subscriptions.is_some(), SUBSCRIPTIONS)
                    | set(add.redelivered, REDELIVERED)
            }
            Self::Remove { transaction: Some(_), .. }
            | Self::SubAck { transaction: Some(_), .. } => TRANSACTIONAL,
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
            | Self::Subscription(Subscription { info: bytes, .. })
            | Self::Update { message: bytes, .. }
            | Self::Destination { options: bytes, .. }
            | Self::Live { set: bytes, .. }
            | Self::State { rows: bytes, .. }
            | Self::Nothing { padding: bytes } => bytes,
            _ => &NONE,
        }
    }

    /// The record in pieces whose heads fit: with very many ranges it becomes several records.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        type Rebuild = Box<dyn Fn(Ranges) -> Record>;
        let (seqs, rebuild): (Ranges, Rebuild) = match self {
            Self::Remove { destination, transaction, seqs } if too_many(&seqs) => {
                (seqs, Box::new(move |seqs| Self::Remove { destination, transaction, seqs }))
            }
            Self::Delivered { destination, seqs } if too_many(&seqs) => {
                (seqs, Box::new(move |seqs| Self::Delivered { destination, seqs }))
            }
            Self::SubAck { destination, transaction, subscription, seqs } if too_many(&seqs) => {
                let part =
                    move |seqs| Self::SubAck { destination, transaction, subscription, seqs };
                (seqs, Box::new(part))
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
                (0, s.client_id.len() + s.name.len() + s.selector.as_ref().map_or(0, String::len))
            }
            Self::Commit { first_seqs, .. } => (0, first_seqs.len() * RANGE_BYTES_MAX),
            Self::Prepare { xid, .. } => (0, xid.len()),
            Self::Producer { id, .. } => (0, id.len()),
            Self::JobAdd(job) => (0, job.id.len() + job.cron.len()),
            Self::EpochStart { node, version, .. } => (0, node.len() + version.len()),
            Self::DropFile { files, .. } => (0, files.len() * 5),
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
            Self::Remove { transaction, seqs, .. } => {
                put_transaction(out, *transaction);
                seqs.encode(out);
            }
            Self::SubAck { transaction, subscription, seqs, .. } => {
                put_transaction(out, *transaction);
                put_varint(out, *subscription);
                seqs.encode(out);
            }
            Self::Update { seq, .. } => put_varint(out, *seq),
            Self::Delivered { seqs, .. } => seqs.encode(out),
            Self::Destination { exists, kind, name, .. } => {
                out.put_u8(u8::from(*exists));
                out.put_u8(*kind);
                put_bytes(out, name.as_bytes());
            }
            Self::Subscription(subscription) => subscription.put_head(out),
            Self::Commit { transaction, first_seqs } => {
                put_varint(out, *transaction);
                put_varint(out, first_seqs.len() as u64);
                for (destination, seq) in first_seqs {
                    put_varint(out, u64::from(*destination));
                    put_varint(out, *seq);
                }
            }
            Self::Rollback { transaction: number } | Self::JobRemove { job: number } => {
                put_varint(out, *number);
            }
            Self::Prepare { transaction, xid } => {
                put_varint(out, *transaction);
                put_bytes(out, xid);
            }
            Self::Producer { producer, id } => {
                put_varint(out, *producer);
                put_bytes(out, id.as_bytes());
            }
            Self::JobAdd(job) => job.put_head(out),
            Self::JobMove { job, due_ms, repeats_done } => {
                [job, due_ms, repeats_done].into_iter().for_each(|n| put_varint(out, *n));
            }
            Self::Live { file, as_of, form, .. } => {
                put_varint(out, u64::from(*file));
                put_varint(out, as_of.0);
                out.put_u8(*form);
            }
            Self::State { kind, part, parts, .. } => {
                out.put_u8(*kind);
                put_varint(out, u64::from(*part));
                put_varint(out, u64::from(*parts));
            }
            Self::EpochStart { epoch, node, version } => {
                put_varint(out, *epoch);
                put_bytes(out, node.as_bytes());
                put_bytes(out, version.as_bytes());
            }
            Self::DropFile { files, action } => {
                out.put_u8(*action as u8);
                put_varint(out, files.len() as u64);
                files.iter().for_each(|file| put_varint(out, u64::from(*file)));
            }
            Self::Nothing { .. } => {}
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
            2 => {
                let transaction = transaction(h, f)?;
                Self::Remove { destination, transaction, seqs: Ranges::decode(f)? }
            }
            3 => Self::SubAck {
                destination,
                transaction: transaction(h, f)?,
                subscription: f.varint()?,
                seqs: Ranges::decode(f)?,
            },
            4 => Self::Update { destination, seq: f.varint()?, message: payload },
            5 => Self::Delivered { destination, seqs: Ranges::decode(f)? },
            6 => {
                let (exists, kind, name) = (f.bool()?, f.byte()?, f.text()?);
                Self::Destination { destination, exists, kind, name, options: payload }
            }
            7 => Self::Subscription(Subscription::decode(destination, f, payload)?),
            8 => {
                let transaction = f.varint()?;
                let count = f.count(2)?;
                let mut first_seqs = Vec::with_capacity(count);
                for _ in 0..count {
                    first_seqs.push((f.u32()?, f.varint()?));
                }
                Self::Commit { transaction, first_seqs }
            }
            9 => Self::Rollback { transaction: f.varint()? },
            10 => {
                Self::Prepare { transaction: f.varint()?, xid: Bytes::copy_from_slice(f.bytes()?) }
            }
            11 => Self::Producer { producer: f.varint()?, id: f.text()? },
            12 => Self::JobAdd(Job::decode(f, payload)?),
            13 => {
                let (job, due_ms, repeats_done) = (f.varint()?, f.varint()?, f.varint()?);
                Self::JobMove { job, due_ms, repeats_done }
            }
            14 => Self::JobRemove { job: f.varint()? },
            15 => {
                let (file, as_of, form) = (f.u32()?, Lsn(f.varint()?), f.byte()?);
                Self::Live { file, as_of, form, set: payload }
            }
            16 => {
                let (kind, part, parts) = (f.byte()?, f.u32()?, f.u32()?);
                Self::State { kind, part, parts, rows: payload }
            }
            17 => Self::EpochStart { epoch: f.varint()?, node: f.text()?, version: f.text()? },
            18 => {
                let action = DropAction::decode(f.byte()?)?;
                let count = f.count(1)?;
                let mut files = Vec::with_capacity(count);
                for _ in 0..count {
                    files.push(f.u32()?);
                }
                Self::DropFile { files, action }
            }
            _ => Self::Nothing { padding: payload },
        };
        Ok(record)
    }
}

impl Add {
    fn put_head(&self, out: &mut BytesMut) {
        put_transaction(out, self.transaction);
        put_varint(out, self.seq);
        out.put_u8(self.priority);
        put_varint(out, self.expiration_ms);
        put_varint(out, self.producer);
        put_varint(out, self.producer_seq);
        if let Some(subscriptions) = &self.subscriptions {
            subscriptions.encode(out);
        }
    }

    fn decode(h: &RecordHeader, f: &mut Fields<'_>, message: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            destination: h.destination,
            transaction: transaction(h, f)?,
            seq: f.varint()?,
            priority: f.byte()?,
            expiration_ms: f.varint()?,
            producer: f.varint()?,
            producer_seq: f.varint()?,
            subscriptions: match h.flags & SUBSCRIPTIONS {
                0 => None,
                _ => Some(Ranges::decode(f)?),
            },
            moved: h.flags & MOVED != 0,
            redelivered: h.flags & REDELIVERED != 0,
            message,
        })
    }
}

impl Subscription {
    fn put_head(&self, out: &mut BytesMut) {
        put_varint(out, self.subscription);
        out.put_u8(u8::from(self.exists));
        put_bytes(out, self.client_id.as_bytes());
        put_bytes(out, self.name.as_bytes());
        put_opt_text(out, self.selector.as_deref());
        out.put_u8(u8::from(self.no_local));
        put_varint(out, self.first_seq);
    }

    fn decode(destination: u32, f: &mut Fields<'_>, info: Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            destination,
            subscription: f.varint()?,
            exists: f.bool()?,
            client_id: f.text()?,
            name: f.text()?,
            selector: f.opt_text()?,
            no_local: f.bool()?,
            first_seq: f.varint()?,
            info,
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

fn put_transaction(out: &mut BytesMut, transaction: Option<u64>) {
    if let Some(number) = transaction {
        put_varint(out, number);
    }
}

fn transaction(h: &RecordHeader, f: &mut Fields<'_>) -> Result<Option<u64>, Malformed> {
    if h.flags & TRANSACTIONAL == 0 { Ok(None) } else { f.varint().map(Some) }
}

fn too_many(seqs: &Ranges) -> bool {
    seqs.as_slice().len() > RANGES_MAX
}

const TRANSACTIONAL: u8 = 1;
const MOVED: u8 = 2;
const SUBSCRIPTIONS: u8 = 4;
const REDELIVERED: u8 = 8;
const SKIPPABLE: u8 = 128;

const KIND_MAX: u8 = 19;
/// The fields of a head that are not text, ranges or lists; none has more than nine numbers.
const FIXED_FIELDS_MAX: usize = 100;
/// With the fixed fields they stay below 64 KiB, the most that a head can have.
const RANGES_MAX: usize = 3000;

#[cfg(test)]
mod tests;
