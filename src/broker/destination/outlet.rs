//! What destinations and durable subscriptions leave to do, carried out: receipts, store, forwards.

use super::adds::Adds;
use super::task::DestinationHandle;
use super::{Effects, Now, Op, SpoolJob};
use crate::broker::forward::{Forward, ForwardSender};
use crate::broker::outbox::Receipt;
use crate::store::{Store, StoreError, Submit};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// The way out of a destination. Nothing here waits.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub store: Arc<dyn Store>,
    pub forward: ForwardSender,
    /// The broker stops: what closed consumers of a queue return goes to no other one.
    pub halted: Arc<AtomicBool>,
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
        self.mark(effects, from);
        let removed = std::mem::take(&mut effects.removed);
        let told = std::mem::take(&mut effects.told_removed);
        if effects.removals.is_empty() {
            removed.into_iter().for_each(|receipt| receipt.resolve(Ok(())));
        } else {
            let ops = std::mem::take(&mut effects.removals);
            let durable = !removed.is_empty();
            let done = Box::new(move |result: Result<(), StoreError>| {
                told.into_iter().for_each(|told| told.tell(result.is_ok()));
                resolve_all(removed, &result);
            });
            self.store.submit(Submit { ops, durable, done });
        }
        let flushed = std::mem::take(&mut effects.flushed);
        if !flushed.is_empty() {
            let done = Box::new(move |result| resolve_all(flushed, &result));
            self.store.submit(Submit { ops: Vec::new(), durable: true, done });
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
        for firing in effects.firings.drain(..) {
            self.forward.push(Forward::Fire(firing));
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
        for past in effects.pasts.drain(..) {
            let (fetch, outlet) = (past.fetch(), self.clone());
            let done = move |page| {
                let mut after = Effects::default();
                let looking = past.settle(page, &mut after);
                outlet.run(&mut after, None);
                looking.end(Now::read(), &mut after);
                outlet.run(&mut after, None);
            };
            self.store.fetch(fetch, Box::new(done));
        }
    }

    fn mark(&self, effects: &mut Effects, from: Option<&Weak<DestinationHandle>>) {
        let Some(from) = from.filter(|_| !effects.marks.is_empty()).map(Weak::clone) else {
            return;
        };
        let done = Box::new(move |_| {
            if let Some(from) = from.upgrade() {
                from.tell(Op::MarkedDelivered);
            }
        });
        self.store.submit(Submit { ops: std::mem::take(&mut effects.marks), durable: true, done });
    }

    fn add(&self, effects: &mut Effects, from: Option<&Weak<DestinationHandle>>) {
        let adds = Adds {
            ops: std::mem::take(&mut effects.adds),
            receipts: std::mem::take(&mut effects.added),
            told: std::mem::take(&mut effects.told_added),
            awaited: std::mem::take(&mut effects.awaited),
            holds: std::mem::take(&mut effects.holds),
            waits: std::mem::take(&mut effects.adds_wait),
        };
        if adds.ops.is_empty() {
            adds.settle(&Ok(()), &[], None);
        } else {
            let to = if from.is_some() { Store::submit_leading } else { Store::submit };
            adds.submit(&self.store, to, from.map(Weak::clone));
        }
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
            let (kept, number) = (messages.clone(), channel.number());
            let done = move |result: Result<(), StoreError>| {
                drop(holds);
                if let Err(error) = result {
                    tracing::warn!(%error, "the temp store has no room: messages stay in memory");
                    tell(Op::Unspoolable { channel: number, band, messages: kept });
                }
            };
            channel.append(messages, Box::new(done));
        }
        SpoolJob::Take { channel, band, limit } => {
            let number = channel.number();
            let done = move |messages| tell(Op::Unspooled { channel: number, band, messages });
            channel.take(limit, Box::new(done));
        }
    }
}

fn resolve_all(receipts: Vec<Receipt>, result: &Result<(), StoreError>) {
    for receipt in receipts {
        receipt.resolve(result.clone().map_err(Into::into));
    }
}
