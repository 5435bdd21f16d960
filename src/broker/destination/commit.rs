//! Commits: what a transaction did in several destinations takes effect in the store as one.
//!
//! ```text
//!  client           queue A          topic B          store
//!    |  vote ---------->|               |               |
//!    |  vote -------------------------->|               |
//!    |           ballot |        ballot |               |
//!    |                  +-- the last one submits all -->|
//!    |                  |<--------- decision -----------|
//!    |<---- receipt ----|               |<--------------|
//! ```
//!
//! Between its vote and the decision a destination holds the sends of the transaction back: they have their
//! sequence numbers, and pages read from the store leave them out. What was acknowledged stays with its
//! consumers. When the store refuses, the transaction is rolled back; for want of space only where senders are to be
//! told of that, else all of this lasts until there is some.
//!
//! A message that goes to several destinations at once is such a commit, without a transaction: all of them
//! have it or none.

use super::DestinationHandle;
use super::Effects;
use super::durable::DurableSubscription;
use super::in_flight::{Entry, RollbackOnly, TransactionKey};
use super::patience::Patience;
use super::topic_acks::TopicAcks;
use super::{Now, Op};
use crate::broker::dead_letter::{Leaving, Told};
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Outbox, Receipt};
use crate::broker::scheduler::schedule::JOB_ID;
use crate::jms::{Message, TransactionId, properties};
use crate::store::{Store, StoreError, StoreOp, Submit};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A destination is asked for its part of a commit.
#[derive(Debug)]
pub struct Vote {
    /// None: there is nothing but `sends`.
    pub transaction: Option<TransactionKey>,
    /// What was sent in the transaction; its memory is taken.
    pub sends: Vec<CommittedSend>,
    pub ballot: Ballot,
    pub receipt: Option<Receipt>,
}

/// A message sent in a transaction.
#[derive(Debug)]
pub struct CommittedSend {
    pub message: Arc<Message>,
    /// What it counts in memory.
    pub bytes: u64,
}

/// Whether `message` is of an XA branch, or was scheduled: it may come long after later messages of its
/// producer were stored, so what was seen of that producer says nothing about it. No client sends one twice.
pub(super) fn outlives_its_producer(message: &Message) -> bool {
    let is_scheduled = || {
        let map = message.properties.as_deref();
        map.is_some_and(|map| matches!(properties::find(map, JOB_ID), Ok(Some(_))))
    };
    matches!(message.transaction_id, Some(TransactionId::Xa(_))) || is_scheduled()
}

/// In the place of the sequence of an entry: it came before, and is not taken.
pub(super) const DUPLICATE: i64 = -1;

/// How a commit went, for one destination.
#[derive(Debug)]
pub struct Decision {
    /// As in [`Vote`].
    pub transaction: Option<TransactionKey>,
    pub outcome: Result<(), BrokerError>,
    /// When the store refused: the transaction goes on waiting as it was.
    pub waits_on: bool,
    /// The sends of the transaction, as the destination gave them with its ballot.
    pub entries: Vec<Entry>,
    pub receipt: Option<Receipt>,
}

/// The right to take part in a commit once. Dropped unused it says that there is nothing to do.
#[derive(Debug)]
pub struct Ballot {
    commit: Option<Arc<Commit>>,
    handle: Arc<DestinationHandle>,
}

/// One commit under way.
pub struct Commit {
    transaction: Option<TransactionKey>,
    store: Arc<dyn Store>,
    /// None: it is refused when the store has no space.
    patience: Option<Patience>,
    state: Mutex<State>,
}

struct State {
    /// Ballots not cast.
    open: usize,
    ops: Vec<StoreOp>,
    parts: Vec<Part>,
    after: Option<After>,
    /// Who hears that what came first in `ops` has left the store.
    told: Vec<Told>,
}

/// One destination's.
struct Part {
    handle: Arc<DestinationHandle>,
    decision: Decision,
    /// Where its operations end in those of the commit.
    end: usize,
}

/// What a commit does besides its destinations.
pub struct After {
    /// Durable subscriptions with messages acknowledged in it.
    pub durables: Vec<Arc<DurableSubscription>>,
    /// What it acknowledges of other subscriptions of topics.
    pub topics: TopicAcks,
    /// Of the consumers that acknowledged.
    pub outbox: Arc<Outbox>,
    /// Carries out what the durable subscriptions leave to do.
    pub carry_out: Box<dyn FnOnce(&mut Effects) + Send>,
    /// Resolved when the commit involves no destination.
    pub receipt: Option<Receipt>,
    /// Of a prepared branch: makes it wait again when the store refuses its commit. What it acknowledged
    /// stays acknowledged in it.
    pub refused: Option<Box<dyn FnOnce() + Send>>,
    /// None: it is refused when the store has no space.
    pub patience: Option<Patience>,
    /// When this says so by the time all have voted, the transaction is rolled back.
    pub rollback_only: Option<Arc<RollbackOnly>>,
}

impl After {
    fn spoilt(&self) -> Option<BrokerError> {
        self.rollback_only.as_ref()?.error()
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}

impl Commit {
    /// A commit of which `handles` are part; the ballots are in their order. `ops` come first in the
    /// submit. Without any part it is submitted at once.
    pub fn begin(
        transaction: TransactionKey,
        store: Arc<dyn Store>,
        handles: Vec<Arc<DestinationHandle>>,
        ops: Vec<StoreOp>,
        mut after: After,
    ) -> Vec<Ballot> {
        let patience = after.patience.take();
        let (open, after, parts) = (handles.len(), Some(after), Vec::new());
        let state = State { open, ops, parts, after, told: Vec::new() };
        Self::open(Some(transaction), store, patience, handles, state)
    }

    /// Copies of one message for `handles`, of which none may be there twice; `moved` leaves the store with
    /// the submit that brings them.
    pub fn of_copies(
        store: Arc<dyn Store>,
        handles: Vec<Arc<DestinationHandle>>,
        moved: Vec<Leaving>,
    ) -> Vec<Ballot> {
        let moved_is_empty = moved.is_empty();
        let (ops, told) = moved.into_iter().map(|Leaving { op, told }| (op, told)).unzip();
        let parts = Vec::with_capacity(handles.len());
        // What has a place in the store can stay there.
        let patience = if moved_is_empty { Patience::of(&handles) } else { None };
        let state = State { open: handles.len(), ops, parts, after: None, told };
        Self::open(None, store, patience, handles, state)
    }

    fn open(
        transaction: Option<TransactionKey>,
        store: Arc<dyn Store>,
        patience: Option<Patience>,
        handles: Vec<Arc<DestinationHandle>>,
        state: State,
    ) -> Vec<Ballot> {
        let commit = Arc::new(Self { transaction, store, patience, state: Mutex::new(state) });
        if handles.is_empty() {
            commit.submit(Store::submit);
            return Vec::new();
        }
        let ballot = |handle| Ballot { commit: Some(Arc::clone(&commit)), handle };
        handles.into_iter().map(ballot).collect()
    }

    /// Everybody has voted.
    fn submit(self: &Arc<Self>, to: fn(&dyn Store, Submit)) {
        let (ops, spoilt) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.ops), state.after.as_ref().and_then(After::spoilt))
        };
        if let Some(error) = spoilt {
            self.decide(Err(error));
            return;
        }
        if ops.is_empty() {
            self.decide(Ok(()));
            return;
        }
        self.give(ops, to);
    }

    fn give(self: &Arc<Self>, ops: Vec<StoreOp>, to: fn(&dyn Store, Submit)) {
        let commit = Arc::clone(self);
        // References only: the messages themselves are shared.
        let splits = self.transaction.is_none();
        let again = if splits || self.patience.is_some() { ops.clone() } else { Vec::new() };
        let done = Box::new(move |result: Result<(), StoreError>| match result {
            Err(StoreError::TooLarge(_)) if splits => commit.submit_apart(again),
            Err(StoreError::NoSpace(text)) if commit.patience.is_some() => {
                commit.wait(again, StoreError::NoSpace(text));
            }
            result => commit.decide(result.map_err(Into::into)),
        });
        to(&*self.store, Submit { ops, durable: true, done });
    }

    /// There is no space for `ops`, as `error` says.
    fn wait(self: &Arc<Self>, ops: Vec<StoreOp>, error: StoreError) {
        let Some(patience) = &self.patience else { return self.decide(Err(error.into())) };
        tracing::debug!(transaction = ?self.transaction, "waits for space in the store");
        let commit = Arc::clone(self);
        patience.wait(move |in_time| match in_time {
            true => commit.give(ops, Store::submit),
            false => commit.decide(Err(error.into())),
        });
    }

    /// The copies are too large together: each goes by itself. What was to leave with them leaves when all
    /// of them are there.
    fn submit_apart(self: &Arc<Self>, mut ops: Vec<StoreOp>) {
        let (parts, told) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.parts), std::mem::take(&mut state.told))
        };
        let own = ops.split_off(told.len());
        let mut own = own.into_iter();
        let (mut at, count) = (told.len(), parts.len());
        let departure = Arc::new(Departure {
            store: Arc::clone(&self.store),
            state: Mutex::new(DepartureState {
                open: count,
                failed: false,
                left: Some((ops, told)),
            }),
        });
        for Part { handle, mut decision, end } in parts {
            let ops = own.by_ref().take(end - at).collect();
            at = end;
            let departure = Arc::clone(&departure);
            let done = Box::new(move |result: Result<(), StoreError>| {
                departure.arrived(result.is_ok());
                decision.outcome = result.map_err(Into::into);
                handle.tell(Op::Decide(Box::new(decision)));
            });
            self.store.submit(Submit { ops, durable: true, done });
        }
    }

    fn decide(&self, outcome: Result<(), BrokerError>) {
        let (parts, mut after, told) = {
            let mut state = self.state.lock();
            let told = std::mem::take(&mut state.told);
            (std::mem::take(&mut state.parts), state.after.take(), told)
        };
        told.into_iter().for_each(|told| told.tell(outcome.is_ok()));
        let refused = after.as_mut().and_then(|after| after.refused.take());
        let waits_on = refused.is_some() && outcome.is_err();
        if let Some(After { durables, topics, outbox, carry_out, receipt, .. }) = after {
            let (now, mut effects) = (Now::read(), Effects::default());
            if let Some(transaction) = self.transaction.filter(|_| !waits_on) {
                let commit = outcome.is_ok();
                outbox.end_transaction(transaction, commit);
                for durable in durables {
                    durable.end_transaction(transaction, commit, now, &mut effects);
                }
                topics.end(commit, now, &mut effects);
            }
            carry_out(&mut effects);
            if let Some(receipt) = receipt {
                receipt.resolve(outcome.clone());
            }
        }
        if let Some(refused) = refused.filter(|_| waits_on) {
            refused();
        }
        for Part { handle, mut decision, .. } in parts {
            decision.outcome = outcome.clone();
            decision.waits_on = waits_on;
            handle.tell(Op::Decide(Box::new(decision)));
        }
    }
}

/// What leaves the store when all copies of a message have come into it, each by itself.
struct Departure {
    store: Arc<dyn Store>,
    state: Mutex<DepartureState>,
}

struct DepartureState {
    /// Copies on their way.
    open: usize,
    failed: bool,
    left: Option<(Vec<StoreOp>, Vec<Told>)>,
}

impl Departure {
    fn arrived(&self, well: bool) {
        let (left, failed) = {
            let mut state = self.state.lock();
            state.open -= 1;
            state.failed |= !well;
            let last = state.open == 0;
            (last.then(|| state.left.take()).flatten(), state.failed)
        };
        let Some((ops, told)) = left else { return };
        let tell = move |gone: bool| told.into_iter().for_each(|told| told.tell(gone));
        if failed || ops.is_empty() {
            tell(!failed);
        } else {
            let done = Box::new(move |result: Result<(), StoreError>| tell(result.is_ok()));
            self.store.submit(Submit { ops, durable: false, done });
        }
    }
}

impl Ballot {
    /// The destination's part: what the store has to do, and what it gets back with the decision. Called by
    /// the destination's task.
    pub fn cast(mut self, ops: Vec<StoreOp>, entries: Vec<Entry>, receipt: Option<Receipt>) {
        if let Some(commit) = self.settle(ops, entries, receipt) {
            commit.submit(Store::submit_leading);
        }
    }

    /// The destination has ended, and has no part in it.
    pub fn abstain(mut self, receipt: Option<Receipt>) {
        if let Some(commit) = self.settle(Vec::new(), Vec::new(), receipt) {
            commit.submit(Store::submit);
        }
    }

    /// Returns the commit if this was the last ballot.
    fn settle(
        &mut self,
        ops: Vec<StoreOp>,
        entries: Vec<Entry>,
        receipt: Option<Receipt>,
    ) -> Option<Arc<Commit>> {
        let commit = self.commit.take()?;
        let last = {
            let mut state = commit.state.lock();
            state.ops.extend(ops);
            let transaction = commit.transaction;
            let (outcome, waits_on) = (Ok(()), false);
            let decision = Decision { transaction, outcome, waits_on, entries, receipt };
            let (handle, end) = (Arc::clone(&self.handle), state.ops.len());
            state.parts.push(Part { handle, decision, end });
            state.open -= 1;
            state.open == 0
        };
        last.then_some(commit)
    }
}

impl Drop for Ballot {
    fn drop(&mut self) {
        if let Some(commit) = self.settle(Vec::new(), Vec::new(), None) {
            commit.submit(Store::submit);
        }
    }
}
