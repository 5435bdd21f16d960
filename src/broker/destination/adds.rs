//! Messages on their way into the store, together, and who hears what became of them.

use super::Op;
use super::in_flight::Entry;
use super::task::DestinationHandle;
use crate::broker::dead_letter::Told;
use crate::broker::outbox::Receipt;
use crate::broker::usage::Credit;
use crate::store::{Store, StoreError, StoreOp, StoredAdd, Submit};
use std::sync::{Arc, Weak};

/// One submit: messages, each with what leaves another place with it.
#[derive(Debug, Default)]
pub struct Adds {
    pub(super) ops: Vec<StoreOp>,
    /// Each with the number of `ops` up to and with its own.
    pub(super) receipts: Vec<(usize, Receipt)>,
    /// Likewise.
    pub(super) told: Vec<(usize, Told)>,
    /// Messages the destination waits for.
    pub(super) awaited: Vec<Entry>,
    /// Memory that is taken until all are stored.
    pub(super) holds: Vec<Arc<Credit>>,
    /// The destination takes back what the store has no room for ([`Op::NoRoom`]).
    pub(super) waits: bool,
}

impl Adds {
    /// Gives them to the store; `from` hears what concerns it. Of messages that are too large together
    /// each is given by itself, so that one that is too large alone takes no other with it.
    pub(super) fn submit(
        self,
        store: &Arc<dyn Store>,
        to: fn(&dyn Store, Submit),
        from: Option<Weak<DestinationHandle>>,
    ) {
        let sequences: Vec<i64> = self.ops.iter().filter_map(added).collect();
        let durable = !self.receipts.is_empty() || !self.awaited.is_empty();
        let mut adds = self;
        // References only: the messages themselves are shared.
        let waits = adds.waits && adds.told.is_empty();
        let again = if waits || sequences.len() > 1 { adds.ops.clone() } else { Vec::new() };
        let ops = std::mem::replace(&mut adds.ops, again);
        let behind = Arc::clone(store);
        let done = Box::new(move |result: Result<(), StoreError>| {
            let is_short = waits && matches!(result, Err(StoreError::NoSpace(_)));
            let back = from.as_ref().filter(|_| is_short).and_then(Weak::upgrade);
            match (result, back) {
                (Err(StoreError::TooLarge(_)), _) if sequences.len() > 1 => {
                    for part in adds.split() {
                        part.submit(&behind, Store::submit, from.clone());
                    }
                }
                (_, Some(back)) => back.tell(Op::NoRoom(Box::new(adds))),
                (result, None) => adds.settle(&result, &sequences, from),
            }
        });
        to(&**store, Submit { ops, durable, done });
    }

    /// Tells everybody how it went for the messages `sequences`.
    pub(super) fn settle(
        self,
        result: &Result<(), StoreError>,
        sequences: &[i64],
        from: Option<Weak<DestinationHandle>>,
    ) {
        let Self { receipts, told, awaited, holds, .. } = self;
        drop(holds);
        told.into_iter().for_each(|(_, told)| told.tell(result.is_ok()));
        if let Some(from) = from.and_then(|from| from.upgrade()) {
            if result.is_err() {
                from.tell(Op::Refused { sequences: sequences.to_vec() });
            }
            if !awaited.is_empty() {
                from.tell(Op::Stored { entries: awaited, stored: result.is_ok() });
            }
        }
        for (_, receipt) in receipts {
            receipt.resolve(result.clone().map_err(Into::into));
        }
    }

    /// Each message that was to be added, with its receipt, and those of them that the destination waited for.
    pub(super) fn into_sends(self) -> (Vec<(StoredAdd, Option<Receipt>)>, Vec<Entry>) {
        let Self { ops, receipts, awaited, .. } = self;
        let mut receipts: Vec<_> = receipts.into_iter().rev().collect();
        let mut sends = Vec::with_capacity(ops.len());
        for (at, op) in ops.into_iter().enumerate() {
            let own = receipts.pop_if(|(end, _)| *end <= at + 1);
            if let StoreOp::Add(add) = op {
                sends.push((add, own.map(|(_, receipt)| receipt)));
            }
        }
        (sends, awaited)
    }

    /// One for each message.
    fn split(self) -> Vec<Self> {
        let (mut parts, mut starts): (Vec<Self>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, op) in self.ops.into_iter().enumerate() {
            if parts.is_empty() || added(&op).is_some() {
                parts.push(Self { waits: self.waits, ..Self::default() });
                starts.push(at);
            }
            if let Some(part) = parts.last_mut() {
                part.ops.push(op);
            }
        }
        let part = |end: usize| starts.partition_point(|start| *start < end).saturating_sub(1);
        for (end, receipt) in self.receipts {
            parts[part(end)].receipts.push((end, receipt));
        }
        for (end, told) in self.told {
            parts[part(end)].told.push((end, told));
        }
        for entry in self.awaited {
            let own =
                |part: &&mut Self| part.ops.iter().any(|op| added(op) == Some(entry.sequence));
            if let Some(part) = parts.iter_mut().find(own) {
                part.awaited.push(entry);
            }
        }
        if let Some(last) = parts.last_mut() {
            last.holds = self.holds;
        }
        parts
    }
}

/// The sequence of the message that `op` adds.
fn added(op: &StoreOp) -> Option<i64> {
    match op {
        StoreOp::Add(add) => Some(add.sequence),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::message;
    use super::*;
    use crate::broker::error::BrokerError;
    use crate::broker::outbox::{Item, Outbox};
    use crate::jms::{Destination, Message};
    use crate::store::{Fetch, FetchDone, Recovered, StoreStatus};
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Takes one message at a time, and none that has a type.
    #[derive(Debug, Default)]
    struct Narrow(Mutex<Vec<Vec<StoreOp>>>);

    impl Store for Narrow {
        fn name(&self) -> String {
            "narrow".into()
        }

        fn keeps(&self) -> bool {
            true
        }

        fn recovered(&self) -> Recovered {
            Recovered::default()
        }

        fn submit(&self, submit: Submit) {
            let typed = |op: &StoreOp| match op {
                StoreOp::Add(add) => add.message.jms_type.is_some(),
                _ => false,
            };
            let adds = submit.ops.iter().filter_map(added).count();
            if adds > 1 || submit.ops.iter().any(typed) {
                return (submit.done)(Err(StoreError::TooLarge("it is".into())));
            }
            self.0.lock().push(submit.ops);
            (submit.done)(Ok(()));
        }

        fn fetch(&self, _: Fetch, done: FetchDone) {
            done(Err(StoreError::Stopped("nothing is read".into())));
        }

        fn status(&self) -> StoreStatus {
            StoreStatus::default()
        }

        fn close(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_alone() {
        let (outbox, narrow) = (Arc::new(Outbox::default()), Arc::new(Narrow::default()));
        let left = Arc::new(AtomicUsize::new(0));
        let mut adds = Adds::default();
        for sequence in 1..=4 {
            let large = (sequence == 2).then(|| "large".into());
            let message = Message { jms_type: large, ..message("c", sequence) };
            adds.ops.push(StoreOp::Add(StoredAdd {
                destination: Destination::queue("Q"),
                sequence,
                band: 0,
                message: Arc::new(message),
                subscribers: Vec::new(),
                cancel: None,
            }));
            if sequence == 3 {
                let destination = Destination::queue("DEAD");
                adds.ops.push(StoreOp::Remove { destination, sequence });
                let left = Arc::clone(&left);
                let told = Told::new(move |gone| {
                    left.fetch_add(usize::from(gone), Ordering::SeqCst);
                });
                adds.told.push((adds.ops.len(), told));
            }
            let receipt = Receipt::new(Arc::clone(&outbox), sequence.cast_unsigned());
            adds.receipts.push((adds.ops.len(), receipt));
        }
        let store: Arc<dyn Store> = narrow.clone();
        adds.submit(&store, Store::submit, None);
        let settled = super::super::fixture::take(&outbox).into_iter().map(|item| match item {
            Item::Settled { receipt, result } => (receipt, result),
            other => panic!("nobody asked for {other:?}"),
        });
        let refused = BrokerError::Store("too large for the store: it is".into());
        let expected = vec![(1, Ok(())), (2, Err(refused)), (3, Ok(())), (4, Ok(()))];
        assert_eq!(settled.collect::<Vec<_>>(), expected);
        let stored = narrow.0.lock().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(stored, [1, 2, 1], "what leaves goes with the message that moves");
        assert_eq!(left.load(Ordering::SeqCst), 1);
    }
}
