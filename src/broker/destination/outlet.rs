//! What destinations and durable subscriptions leave to do, carried out: receipts, store, forwards.

use super::task::DestinationHandle;
use super::{Effects, Now, Op, SpoolJob};
use crate::broker::forward::{Forward, ForwardSender};
use crate::broker::outbox::Receipt;
use crate::store::{Store, StoreError, StoreOp, Submit};
use std::sync::{Arc, Weak};

/// The way out of a destination. Nothing here waits.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub store: Arc<dyn Store>,
    pub forward: ForwardSender,
}

impl Outlet {
    /// Carries out what `from` (none: a durable subscription) left to do.
    ///
    /// The store gets messages and removals as two submits, because there can be room for removals only.
    /// What follows from them comes behind: what is read and offered then is in the store's queue.
    pub fn run(&self, effects: &mut Effects, from: Option<&Weak<DestinationHandle>>) {
        for (receipt, result) in effects.receipts.drain(..) {
            receipt.resolve(result);
        }
        self.add(effects, from);
        let removed = std::mem::take(&mut effects.removed);
        if effects.removals.is_empty() {
            removed.into_iter().for_each(|receipt| receipt.resolve(Ok(())));
        } else {
            let ops = std::mem::take(&mut effects.removals);
            let durable = !removed.is_empty();
            let done = Box::new(move |result| resolve_all(removed, &result));
            self.store.submit(Submit { ops, durable, done });
        }
        for (of, fetch) in effects.fetches.drain(..) {
            let Some(from) = from.map(Weak::clone) else { continue };
            let done = Box::new(move |page| {
                if let Some(from) = from.upgrade() {
                    from.tell(Op::Paged { of, page });
                }
            });
            self.store.fetch(fetch, done);
        }
        for job in effects.spool.drain(..) {
            spool(job, from);
        }
        for letter in effects.dead_letters.drain(..) {
            self.forward.push(Forward::DeadLetter(letter));
        }
        for notice in effects.notices.drain(..) {
            self.forward.push(Forward::Notice(notice));
        }
        let offers = std::mem::take(&mut effects.offers);
        if !offers.is_empty() {
            let (now, mut after) = (Now::read(), Effects::default());
            for (durable, entries) in offers {
                durable.offer(entries, now, &mut after);
            }
            self.run(&mut after, None);
        }
        for (durable, fetch) in effects.reads.drain(..) {
            self.store.fetch(fetch, Box::new(move |page| durable.paged(page)));
        }
    }

    fn add(&self, effects: &mut Effects, from: Option<&Weak<DestinationHandle>>) {
        let (receipts, holds) =
            (std::mem::take(&mut effects.added), std::mem::take(&mut effects.holds));
        if effects.adds.is_empty() {
            return resolve_all(receipts, &Ok(()));
        }
        let ops = std::mem::take(&mut effects.adds);
        let sequence = |op: &StoreOp| match op {
            StoreOp::Add(add) => Some(add.sequence),
            _ => None,
        };
        let sequences: Vec<i64> = ops.iter().filter_map(sequence).collect();
        let from = from.map(Weak::clone);
        let awaited = std::mem::take(&mut effects.awaited);
        let durable = !receipts.is_empty() || !awaited.is_empty();
        let done = Box::new(move |result: Result<(), StoreError>| {
            drop(holds);
            if let Some(from) = from.and_then(|from| from.upgrade()) {
                if result.is_err() {
                    from.tell(Op::Refused { sequences });
                }
                if !awaited.is_empty() {
                    from.tell(Op::Stored { entries: awaited, stored: result.is_ok() });
                }
            }
            resolve_all(receipts, &result);
        });
        self.store.submit(Submit { ops, durable, done });
    }
}

fn spool(job: SpoolJob, from: Option<&Weak<DestinationHandle>>) {
    let from = from.map(Weak::clone);
    let tell = move |op: Op| {
        if let Some(from) = from.and_then(|from| from.upgrade()) {
            from.tell(op);
        }
    };
    match job {
        SpoolJob::Append { channel, band, messages, holds } => {
            let kept = messages.clone();
            let done = move |result: Result<(), StoreError>| {
                drop(holds);
                if let Err(error) = result {
                    tracing::warn!(%error, "the temp store has no room: messages stay in memory");
                    tell(Op::Unspoolable { band, messages: kept });
                }
            };
            channel.append(messages, Box::new(done));
        }
        SpoolJob::Take { channel, band, limit } => {
            channel.take(limit, Box::new(move |messages| tell(Op::Unspooled { band, messages })));
        }
    }
}

fn resolve_all(receipts: Vec<Receipt>, result: &Result<(), StoreError>) {
    for receipt in receipts {
        receipt.resolve(result.clone().map_err(Into::into));
    }
}
