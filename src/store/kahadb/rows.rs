//! The rows of the index: what their keys and values say.
//!
//! | key, big-endian | value |
//! |---|---|
//! | 1, destination u32, band u8, seq u64 | LSN u64, length u32, flags u8, expiration ms |
//! | 2, destination u32 | LSN, type, name, expiring, n, n x (band, messages) |
//! | 4, subscription u64 | LSN, client id, name, type, destination, selector?, no local |
//! | 5, destination u32, subscription u64, chunk u64 | which of its 4096 seqs are pending |
//! | 6, file u32 | messages, bytes, state records, as-of LSN, end, n, n x target |
//! | 7, producer u64 | connection?, session, value, n, n x (destination, producer seq) |
//! | 10, LSN u64 | length |
//! | 11 | which journal files are gone |
//!
//! Rows of kind 1 are live messages; flags are 1 for one of a topic, 2 for one that was delivered. The LSN in
//! a value is where the record is that says so. Kind 10 are prepared branches. Values are varints
//! and text as in the journal unless a width is given.

use super::fields::{Fields, Malformed, put_bytes, put_opt_text, put_varint};
use super::journal::Lsn;
use super::names::{destination_of, kind_byte};
use crate::jms::{Destination, ProducerId};
use crate::store::StoredSubscription;
use bytes::{Buf, BufMut, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const MESSAGE: u8 = 1;
pub(super) const DESTINATION: u8 = 2;
pub(super) const SUBSCRIPTION: u8 = 4;
pub(super) const PENDING: u8 = 5;
pub(super) const FILE: u8 = 6;
pub(super) const PRODUCER: u8 = 7;
pub(super) const PREPARED: u8 = 10;
pub(super) const GAPS: u8 = 11;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) lsn: Lsn,
    /// Of the record, bytes.
    pub(super) length: u32,
    /// ms since 1970, 0 = never.
    pub(super) expiration_ms: u64,
    pub(super) is_topic: bool,
    pub(super) is_delivered: bool,
    /// It stands in the place of an older row that the tree, or what will become of it, has. Never
    /// stored.
    pub(super) replaces: bool,
}

impl Row {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.lsn.0);
        out.put_u32_le(self.length);
        out.put_u8(u8::from(self.is_topic) | u8::from(self.is_delivered) << 1);
        put_varint(out, self.expiration_ms);
    }

    pub(super) fn decode(mut row: &[u8]) -> Result<Self, Malformed> {
        if row.len() < 14 {
            return Err(Malformed);
        }
        let (lsn, length, flags) = (Lsn(row.get_u64_le()), row.get_u32_le(), row.get_u8());
        let mut fields = Fields::new(row);
        let expiration_ms = fields.varint()?;
        fields.end()?;
        if flags > 3 {
            return Err(Malformed);
        }
        let (is_topic, is_delivered) = (flags & 1 != 0, flags & 2 != 0);
        Ok(Self { lsn, length, expiration_ms, is_topic, is_delivered, replaces: false })
    }
}

pub(super) fn message_key(destination: u32, band: u8, seq: u64) -> [u8; 14] {
    let mut key = [MESSAGE; 14];
    key[1..5].copy_from_slice(&destination.to_be_bytes());
    key[5] = band;
    key[6..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Band and seq in a message's key.
pub(super) fn band_and_seq(key: &[u8]) -> Result<(u8, u64), Malformed> {
    let mut key = key.get(5..).filter(|rest| rest.len() == 9).ok_or(Malformed)?;
    Ok((key.get_u8(), key.get_u64()))
}

/// Keys of kind `kind` begin there ...
pub(super) fn first_of(kind: u8) -> [u8; 1] {
    [kind]
}

/// ... and end before this.
pub(super) fn behind(kind: u8) -> [u8; 1] {
    [kind + 1]
}

pub(super) fn destination_key(destination: u32) -> Vec<u8> {
    [&[DESTINATION], &destination.to_be_bytes()[..]].concat()
}

pub(super) fn subscription_key(subscription: u64) -> Vec<u8> {
    [&[SUBSCRIPTION], &subscription.to_be_bytes()[..]].concat()
}

pub(super) fn pending_key(destination: u32, subscription: u64, chunk: u64) -> Vec<u8> {
    let (destination, subscription) = (destination.to_be_bytes(), subscription.to_be_bytes());
    [&[PENDING], &destination[..], &subscription[..], &chunk.to_be_bytes()[..]].concat()
}

pub(super) fn file_key(file: u32) -> Vec<u8> {
    [&[FILE], &file.to_be_bytes()[..]].concat()
}

pub(super) fn producer_key(producer: u64) -> Vec<u8> {
    [&[PRODUCER], &producer.to_be_bytes()[..]].concat()
}

pub(super) fn prepared_key(lsn: Lsn) -> Vec<u8> {
    [&[PREPARED], &lsn.0.to_be_bytes()[..]].concat()
}

/// The number behind the kind, of four bytes.
pub(super) fn u32_in(key: &[u8]) -> Result<u32, Malformed> {
    let number = key.get(1..5).filter(|_| key.len() == 5).ok_or(Malformed)?;
    Ok((&*number).get_u32())
}

/// The number behind the kind, of eight bytes.
pub(super) fn u64_in(key: &[u8]) -> Result<u64, Malformed> {
    let number = key.get(1..9).filter(|_| key.len() == 9).ok_or(Malformed)?;
    Ok((&*number).get_u64())
}

/// Destination, subscription and chunk.
pub(super) fn pending_in(key: &[u8]) -> Result<(u32, u64, u64), Malformed> {
    let mut key = key.get(1..).filter(|rest| rest.len() == 20).ok_or(Malformed)?;
    Ok((key.get_u32(), key.get_u64(), key.get_u64()))
}

/// What a destination's row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DestinationRow {
    pub(super) lsn: Lsn,
    pub(super) destination: Destination,
    /// Messages that have an expiration.
    pub(super) expiring: u64,
    /// Messages of each band that has any.
    pub(super) bands: BTreeMap<u8, u64>,
}

impl DestinationRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_varint(&mut out, self.lsn.0);
        out.put_u8(kind_byte(self.destination.kind()));
        put_bytes(&mut out, self.destination.name().as_bytes());
        put_varint(&mut out, self.expiring);
        put_varint(&mut out, self.bands.len() as u64);
        for (band, messages) in &self.bands {
            out.put_u8(*band);
            put_varint(&mut out, *messages);
        }
        out.into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut f = Fields::new(row);
        let lsn = Lsn(f.varint()?);
        let destination = destination_of(f.byte()?, &f.text()?)?;
        let expiring = f.varint()?;
        let mut bands = BTreeMap::new();
        for _ in 0..f.count(2)? {
            bands.insert(f.byte()?, f.varint()?);
        }
        f.end()?;
        Ok(Self { lsn, destination, expiring, bands })
    }
}

pub(super) fn encode_subscription(lsn: Lsn, subscription: &StoredSubscription) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_varint(&mut out, lsn.0);
    put_bytes(&mut out, subscription.client.as_bytes());
    put_bytes(&mut out, subscription.name.as_bytes());
    out.put_u8(kind_byte(subscription.destination.kind()));
    put_bytes(&mut out, subscription.destination.name().as_bytes());
    put_opt_text(&mut out, subscription.selector.as_deref());
    out.put_u8(u8::from(subscription.no_local));
    out.into()
}

pub(super) fn decode_subscription(
    number: u64,
    row: &[u8],
) -> Result<(Lsn, StoredSubscription), Malformed> {
    let mut f = Fields::new(row);
    let lsn = Lsn(f.varint()?);
    let subscription = StoredSubscription {
        number,
        client: f.text()?.into(),
        name: f.text()?.into(),
        destination: destination_of(f.byte()?, &f.text()?)?,
        selector: f.opt_text()?.map(Into::into),
        no_local: f.bool()?,
    };
    f.end()?;
    Ok((lsn, subscription))
}

/// What is known of one journal file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileRow {
    /// Live ones whose record is here.
    pub(super) messages: u64,
    /// Of these records.
    pub(super) bytes: u64,
    /// Records here that say what destination, subscription or prepared branch there is.
    pub(super) state: u64,
    /// When the newest Live record of it was made; zero if there is none.
    pub(super) live_as_of: Lsn,
    /// Where its last batch ends, once there is a later file; bytes.
    pub(super) end: u32,
    /// Files in which something is only to be understood with this one, unless a later Live record
    /// of them says it again: records here have ended records there, or tell what is live there.
    pub(super) targets: BTreeSet<u32>,
}

impl FileRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = BytesMut::new();
        let numbers = [self.messages, self.bytes, self.state, self.live_as_of.0];
        numbers.iter().for_each(|n| put_varint(&mut out, *n));
        put_varint(&mut out, self.end.into());
        put_varint(&mut out, self.targets.len() as u64);
        let mut last = 0;
        for target in &self.targets {
            put_varint(&mut out, u64::from(target - last));
            last = *target;
        }
        out.into()
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut f = Fields::new(row);
        let (messages, bytes, state) = (f.varint()?, f.varint()?, f.varint()?);
        let (live_as_of, end) = (Lsn(f.varint()?), f.u32()?);
        let (mut targets, mut last) = (BTreeSet::new(), 0_u32);
        for _ in 0..f.count(1)? {
            last = last.checked_add(f.u32()?).ok_or(Malformed)?;
            targets.insert(last);
        }
        f.end()?;
        Ok(Self { messages, bytes, state, live_as_of, end, targets })
    }
}

pub(super) fn encode_producer(id: &ProducerId, marks: &BTreeMap<u32, i64>) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_opt_text(&mut out, id.connection.as_deref());
    put_varint(&mut out, id.session as u64);
    put_varint(&mut out, id.value as u64);
    put_varint(&mut out, marks.len() as u64);
    for (destination, seq) in marks {
        put_varint(&mut out, u64::from(*destination));
        put_varint(&mut out, *seq as u64);
    }
    out.into()
}

pub(super) fn decode_producer(row: &[u8]) -> Result<(ProducerId, BTreeMap<u32, i64>), Malformed> {
    let mut f = Fields::new(row);
    let connection = f.opt_text()?.map(Into::into);
    let id = ProducerId { connection, session: f.varint()? as i64, value: f.varint()? as i64 };
    let mut marks = BTreeMap::new();
    for _ in 0..f.count(2)? {
        marks.insert(f.u32()?, f.varint()? as i64);
    }
    f.end()?;
    Ok((id, marks))
}

pub(super) fn encode_number(number: u64) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_varint(&mut out, number);
    out.into()
}

pub(super) fn decode_u32(row: &[u8]) -> Result<u32, Malformed> {
    let mut fields = Fields::new(row);
    let number = fields.u32()?;
    fields.end()?;
    Ok(number)
}
