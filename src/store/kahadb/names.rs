//! How destinations, XA branches and what they hold are written.

use super::fields::{Fields, Malformed, put_bytes, put_varint};
use crate::jms::{Destination, DestinationKind, XaId};
use crate::store::{MessageForm, PreparedBranch};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

pub(super) fn kind_byte(kind: DestinationKind) -> u8 {
    match kind {
        DestinationKind::Queue => 0,
        DestinationKind::Topic => 1,
        DestinationKind::TempQueue => 2,
        DestinationKind::TempTopic => 3,
    }
}

pub(super) fn destination_of(kind: u8, name: &str) -> Result<Destination, Malformed> {
    let kind = match kind {
        0 => DestinationKind::Queue,
        1 => DestinationKind::Topic,
        2 => DestinationKind::TempQueue,
        3 => DestinationKind::TempTopic,
        _ => return Err(Malformed),
    };
    Ok(Destination::new(kind, Some(name.into())))
}

pub(super) fn put_destination(out: &mut BytesMut, destination: &Destination) {
    out.put_u8(kind_byte(destination.kind()));
    put_bytes(out, destination.name().as_bytes());
}

pub(super) fn destination(f: &mut Fields<'_>) -> Result<Destination, Malformed> {
    let kind = f.byte()?;
    destination_of(kind, &f.text()?)
}

/// The key of a branch: format id, then two nullable byte strings.
pub(super) fn encode_xid(xid: &XaId) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, xid.format_id as u32 as u64);
    for part in [&xid.global_transaction_id, &xid.branch_qualifier] {
        put_varint(&mut out, part.as_ref().map_or(0, |bytes| bytes.len() as u64 + 1));
        out.put_slice(part.as_deref().unwrap_or_default());
    }
    out.freeze()
}

fn decode_xid(bytes: &[u8]) -> Result<XaId, Malformed> {
    let mut f = Fields::new(bytes);
    let format_id = f.u32()? as i32;
    let mut part = || f.opt_bytes().map(|bytes| bytes.map(Bytes::copy_from_slice));
    let (global_transaction_id, branch_qualifier) = (part()?, part()?);
    f.end()?;
    Ok(XaId { format_id, global_transaction_id, branch_qualifier })
}

/// xid as text, sends: n x (destination, message as text), removals: n x (destination, seqs),
/// acknowledgements: n x (destination, subscription, seqs).
pub(super) fn encode_branch(branch: &PreparedBranch, form: MessageForm) -> Bytes {
    let (mut out, mut message) = (BytesMut::new(), Vec::new());
    put_bytes(&mut out, &encode_xid(&branch.xid));
    put_varint(&mut out, branch.sends.len() as u64);
    for (destination, sent) in &branch.sends {
        put_destination(&mut out, destination);
        message.clear();
        (form.encode)(sent, &mut message);
        put_bytes(&mut out, &message);
    }
    put_varint(&mut out, branch.removals.len() as u64);
    for (destination, seqs) in &branch.removals {
        put_destination(&mut out, destination);
        put_seqs(&mut out, seqs);
    }
    put_varint(&mut out, branch.acknowledgements.len() as u64);
    for (destination, subscription, seqs) in &branch.acknowledgements {
        put_destination(&mut out, destination);
        put_varint(&mut out, *subscription);
        put_seqs(&mut out, seqs);
    }
    out.freeze()
}

pub(super) fn decode_branch(bytes: &[u8], form: MessageForm) -> Result<PreparedBranch, Malformed> {
    let mut f = Fields::new(bytes);
    let xid = Arc::new(decode_xid(f.bytes()?)?);
    let (mut sends, mut removals, mut acknowledgements) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..f.count(3)? {
        let destination = destination(&mut f)?;
        let message = (form.decode)(Bytes::copy_from_slice(f.bytes()?)).ok_or(Malformed)?;
        sends.push((destination, message));
    }
    for _ in 0..f.count(3)? {
        removals.push((destination(&mut f)?, seqs(&mut f)?));
    }
    for _ in 0..f.count(4)? {
        acknowledgements.push((destination(&mut f)?, f.varint()?, seqs(&mut f)?));
    }
    f.end()?;
    Ok(PreparedBranch { xid, sends, removals, acknowledgements })
}

/// The key of the branch that `encode_branch` wrote.
pub(super) fn xid_of_branch(branch: &Bytes) -> Result<Bytes, Malformed> {
    Fields::new(branch).bytes().map(Bytes::copy_from_slice)
}

/// What `xid_of_branch` needs of a branch.
pub(super) fn only_xid(branch: &Bytes) -> Result<Bytes, Malformed> {
    let xid = xid_of_branch(branch)?;
    let mut out = BytesMut::new();
    put_bytes(&mut out, &xid);
    Ok(out.freeze())
}

fn put_seqs(out: &mut BytesMut, seqs: &[i64]) {
    put_varint(out, seqs.len() as u64);
    seqs.iter().for_each(|seq| put_varint(out, *seq as u64));
}

fn seqs(f: &mut Fields<'_>) -> Result<Vec<i64>, Malformed> {
    (0..f.count(1)?).map(|_| f.varint().map(|seq| seq as i64)).collect()
}
