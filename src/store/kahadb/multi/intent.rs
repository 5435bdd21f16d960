//! What the stores of an `<mKahaDB>` keep for themselves: intents and marks.
//!
//! Both are prepared branches with an xid of a format that is reserved here. A branch of a client
//! with that format gets another xid inside the stores, so no client can make one up.
//!
//! | xid | where | says |
//! |---|---|---|
//! | `i`, number | `txStore` | the parts of a crossing, as the content of one message |
//! | `m` | every store | the number of the last crossing that the store has its part of |
//! | `x`, 0 or 1 and the client's global id | any | a branch of a client |
//!
//! Parts are n x (folder as text, m x operation); an operation is a kind byte and its fields, as in
//! [`put_op`]. Numbers are unsigned LEB128.

use crate::jms::{Destination, Message, XaId};
use crate::store::kahadb::fields::{Fields, Malformed, put_bytes, put_opt_text, put_varint};
use crate::store::kahadb::names::{decode_branch, destination, encode_branch, put_destination};
use crate::store::{MessageForm, PreparedBranch, StoreOp, StoredAdd, StoredSubscription};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// A crossing that is certain to happen.
#[derive(Debug)]
pub(super) struct Intent {
    pub(super) number: u64,
    /// The folder of each store, and what it is to do.
    pub(super) parts: Vec<(String, Vec<StoreOp>)>,
}

/// What a prepared branch found in a store is.
pub(super) enum Found {
    Intent(Intent),
    /// The store has its part of all crossings up to this number.
    Mark(u64),
    Branch(PreparedBranch),
}

impl Intent {
    /// As it is kept in the `txStore`.
    pub(super) fn encode(&self, form: MessageForm) -> StoreOp {
        let mut out = BytesMut::new();
        put_varint(&mut out, self.parts.len() as u64);
        for (folder, ops) in &self.parts {
            put_bytes(&mut out, folder.as_bytes());
            put_varint(&mut out, ops.len() as u64);
            ops.iter().for_each(|op| put_op(&mut out, op, form));
        }
        let message = Message { content: Some(out.freeze()), ..Message::default() };
        let mut branch = nothing(intent_xid(self.number));
        branch.sends.push((Destination::queue("intent"), Arc::new(message)));
        StoreOp::Prepare(branch)
    }

    fn decode(number: u64, branch: &PreparedBranch, form: MessageForm) -> Result<Self, Malformed> {
        let [(_, message)] = &branch.sends[..] else { return Err(Malformed) };
        let mut f = Fields::new(message.content.as_deref().ok_or(Malformed)?);
        let mut parts = Vec::new();
        for _ in 0..f.count(2)? {
            let folder = f.text()?;
            let ops = (0..f.count(2)?).map(|_| op(&mut f, form)).collect::<Result<_, _>>()?;
            parts.push((folder, ops));
        }
        f.end()?;
        Ok(Self { number, parts })
    }

    /// It is done in all stores.
    pub(super) fn forget(number: u64) -> StoreOp {
        StoreOp::Forget { xid: intent_xid(number) }
    }
}

/// Goes with a store's part of a crossing. Replaces the mark before.
pub(super) fn mark(number: u64) -> StoreOp {
    let mut branch = nothing(reserved(b"m", None));
    branch.removals.push((Destination::queue("mark"), vec![number as i64]));
    StoreOp::Prepare(branch)
}

/// The xid of a client's branch inside the stores.
pub(super) fn stored_xid(xid: &Arc<XaId>) -> Arc<XaId> {
    if xid.format_id != RESERVED {
        return xid.clone();
    }
    let mut global = BytesMut::new();
    global.put_u8(b'x');
    global.put_u8(xid.global_transaction_id.is_some().into());
    global.put_slice(xid.global_transaction_id.as_deref().unwrap_or_default());
    Arc::new(XaId { global_transaction_id: Some(global.freeze()), ..XaId::clone(xid) })
}

/// Tells what is ours and what a client's, whose branch gets its own xid back.
pub(super) fn found(mut branch: PreparedBranch, form: MessageForm) -> Result<Found, Malformed> {
    if branch.xid.format_id != RESERVED {
        return Ok(Found::Branch(branch));
    }
    let global = branch.xid.global_transaction_id.clone().ok_or(Malformed)?;
    match &global[..] {
        b"i" => {
            let number = branch.xid.branch_qualifier.as_deref().ok_or(Malformed)?;
            let number = u64::from_be_bytes(number.try_into().map_err(|_| Malformed)?);
            Intent::decode(number, &branch, form).map(Found::Intent)
        }
        b"m" => match &branch.removals[..] {
            [(_, numbers)] if numbers.len() == 1 => Ok(Found::Mark(numbers[0] as u64)),
            _ => Err(Malformed),
        },
        [b'x', is_there, ..] => {
            let own = (*is_there == 1).then(|| global.slice(2..));
            let xid = XaId { global_transaction_id: own, ..XaId::clone(&branch.xid) };
            branch.xid = Arc::new(xid);
            Ok(Found::Branch(branch))
        }
        _ => Err(Malformed),
    }
}

fn intent_xid(number: u64) -> Arc<XaId> {
    reserved(b"i", Some(Bytes::copy_from_slice(&number.to_be_bytes())))
}

fn reserved(what: &'static [u8], branch_qualifier: Option<Bytes>) -> Arc<XaId> {
    let global_transaction_id = Some(Bytes::from_static(what));
    Arc::new(XaId { format_id: RESERVED, global_transaction_id, branch_qualifier })
}

fn nothing(xid: Arc<XaId>) -> PreparedBranch {
    let (sends, removals, acknowledgements) = (Vec::new(), Vec::new(), Vec::new());
    PreparedBranch { xid, sends, removals, acknowledgements }
}

fn put_op(out: &mut BytesMut, op: &StoreOp, form: MessageForm) {
    match op {
        StoreOp::Create { destination } => {
            out.put_u8(1);
            put_destination(out, destination);
        }
        StoreOp::Delete { destination } => {
            out.put_u8(2);
            put_destination(out, destination);
        }
        StoreOp::Add(add) => {
            out.put_u8(3);
            put_destination(out, &add.destination);
            put_varint(out, add.sequence as u64);
            out.put_u8(add.band);
            put_varint(out, add.subscribers.len() as u64);
            add.subscribers.iter().for_each(|number| put_varint(out, *number));
            let mut message = Vec::with_capacity(add.message.size());
            (form.encode)(&add.message, &mut message);
            put_bytes(out, &message);
        }
        StoreOp::Remove { destination, sequence } => {
            out.put_u8(4);
            put_destination(out, destination);
            put_varint(out, *sequence as u64);
        }
        StoreOp::Deliver { destination, sequence } => {
            out.put_u8(11);
            put_destination(out, destination);
            put_varint(out, *sequence as u64);
        }
        StoreOp::Acknowledge { destination, subscription, sequence } => {
            out.put_u8(5);
            put_destination(out, destination);
            put_varint(out, *subscription);
            put_varint(out, *sequence as u64);
        }
        StoreOp::Purge { destination, last } => {
            out.put_u8(6);
            put_destination(out, destination);
            put_varint(out, *last as u64);
        }
        StoreOp::Subscribe(subscription) => {
            out.put_u8(7);
            put_varint(out, subscription.number);
            put_bytes(out, subscription.client.as_bytes());
            put_bytes(out, subscription.name.as_bytes());
            put_destination(out, &subscription.destination);
            put_opt_text(out, subscription.selector.as_deref());
            out.put_u8(subscription.no_local.into());
        }
        StoreOp::Unsubscribe { subscription } => {
            out.put_u8(8);
            put_varint(out, *subscription);
        }
        StoreOp::Prepare(branch) => {
            out.put_u8(9);
            put_bytes(out, &encode_branch(branch, form));
        }
        StoreOp::Forget { xid } => {
            // A branch without content is its xid.
            out.put_u8(10);
            put_bytes(out, &encode_branch(&nothing(xid.clone()), form));
        }
        StoreOp::Share { destination, subscription } => {
            out.put_u8(12);
            put_destination(out, destination);
            put_varint(out, *subscription);
        }
    }
}

fn op(f: &mut Fields<'_>, form: MessageForm) -> Result<StoreOp, Malformed> {
    Ok(match f.byte()? {
        1 => StoreOp::Create { destination: destination(f)? },
        2 => StoreOp::Delete { destination: destination(f)? },
        3 => {
            let (destination, sequence, band) = (destination(f)?, f.varint()? as i64, f.byte()?);
            let subscribers = (0..f.count(1)?).map(|_| f.varint()).collect::<Result<_, _>>()?;
            let message = (form.decode)(Bytes::copy_from_slice(f.bytes()?)).ok_or(Malformed)?;
            let cancel = None;
            StoreOp::Add(StoredAdd { destination, sequence, band, message, subscribers, cancel })
        }
        4 => StoreOp::Remove { destination: destination(f)?, sequence: f.varint()? as i64 },
        5 => StoreOp::Acknowledge {
            destination: destination(f)?,
            subscription: f.varint()?,
            sequence: f.varint()? as i64,
        },
        6 => StoreOp::Purge { destination: destination(f)?, last: f.varint()? as i64 },
        7 => StoreOp::Subscribe(StoredSubscription {
            number: f.varint()?,
            client: f.text()?.into(),
            name: f.text()?.into(),
            destination: destination(f)?,
            selector: f.opt_text()?.map(Into::into),
            no_local: f.bool()?,
        }),
        8 => StoreOp::Unsubscribe { subscription: f.varint()? },
        9 => StoreOp::Prepare(decode_branch(f.bytes()?, form)?),
        10 => StoreOp::Forget { xid: decode_branch(f.bytes()?, form)?.xid },
        11 => StoreOp::Deliver { destination: destination(f)?, sequence: f.varint()? as i64 },
        12 => StoreOp::Share { destination: destination(f)?, subscription: f.varint()? },
        _ => return Err(Malformed),
    })
}

/// Format id of the xids that are ours: `mKah`.
const RESERVED: i32 = 0x6d4b_6168;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::kahadb::fs::simulated::Random;
    use crate::store::kahadb::tests::FORM;
    use crate::store::kahadb::tests::model::{Mix, Source, State};
    use proptest::prelude::*;

    fn intent(seed: u64) -> Intent {
        let (last_sequence, last_subscription, body_max) = (50, 3, 100);
        let random = Random(seed);
        let mut source = Source {
            mix: Mix::Any,
            random,
            last_sequence,
            last_subscription,
            body_max,
            next: None,
        };
        let mut state = State::default();
        let mut part = |folder: &str| {
            let ops: Vec<StoreOp> = (0..12).flat_map(|_| source.ops(&state)).collect();
            ops.iter().for_each(|op| state.apply(op));
            (folder.to_owned(), ops)
        };
        Intent { number: seed, parts: vec![part("A"), part("B"), part("C")] }
    }

    fn branch(op: StoreOp) -> PreparedBranch {
        let StoreOp::Prepare(branch) = op else { panic!("{op:?}") };
        branch
    }

    /// Content and names; the form of these tests keeps no more of a message.
    fn text(parts: &[(String, Vec<StoreOp>)]) -> String {
        let mut out = BytesMut::new();
        parts.iter().flat_map(|(_, ops)| ops).for_each(|op| put_op(&mut out, op, FORM));
        format!("{:?} {out:?}", parts.iter().map(|(folder, _)| folder).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn an_intent_comes_back_and_survives_damage(seed: u64, at: usize, flip: u8) {
            let intent = intent(seed);
            let mut branch = branch(intent.encode(FORM));
            match found(branch.clone(), FORM) {
                Ok(Found::Intent(back)) => {
                    prop_assert_eq!(back.number, seed);
                    prop_assert_eq!(text(&back.parts), text(&intent.parts));
                }
                _ => prop_assert!(false),
            }
            let mut bytes = branch.sends[0].1.content.as_deref().unwrap().to_vec();
            let at = at % bytes.len();
            let cut = Message { content: Some(bytes[..at].to_vec().into()), ..Message::default() };
            bytes[at] ^= flip;
            let message = Message { content: Some(bytes.into()), ..Message::default() };
            branch.sends[0].1 = Arc::new(message);
            drop(found(branch.clone(), FORM)); // any answer, no panic
            branch.sends[0].1 = Arc::new(cut);
            prop_assert!(found(branch, FORM).is_err());
        }
    }

    #[test]
    fn no_client_can_make_up_what_is_ours() {
        assert!(matches!(found(branch(mark(7)), FORM), Ok(Found::Mark(7))));
        for global in
            [None, Some(Bytes::new()), Some("m".into()), Some("i".into()), Some("x".into())]
        {
            for format_id in [RESERVED, 5] {
                let (global_transaction_id, branch_qualifier) = (global.clone(), Some("b".into()));
                let xid = Arc::new(XaId { format_id, global_transaction_id, branch_qualifier });
                match found(nothing(stored_xid(&xid)), FORM) {
                    Ok(Found::Branch(back)) => assert_eq!(back.xid, xid),
                    _ => panic!("{xid}"),
                }
            }
        }
    }
}
