//! How transactions end: the work of commit, prepare and rollback in destinations and store.

use super::Broker;
use super::destination::commit::{After, Commit, CommittedSend, Vote};
use super::destination::durable::DurableSubscription;
use super::destination::patience::Patience;
use super::destination::{DestinationHandle, Effects, Op};
use super::error::BrokerError;
use super::outbox::{Outbox, Receipt};
use super::transaction::{PendingSend, Preparation, Prepared, Transaction, shown};
use crate::jms::XaId;
use crate::store::{PreparedBranch, StoreError, StoreOp, Submit};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Broker {
    /// Commits: in the store as one, then in every destination. `outbox` is of the connection that does.
    pub(super) async fn commit(
        &self,
        mut transaction: Transaction,
        outbox: &Arc<Outbox>,
        receipt: Option<Receipt>,
    ) {
        let key = transaction.key;
        let mut parts: Vec<(Arc<DestinationHandle>, Vec<CommittedSend>)> =
            transaction.queues.drain(..).map(|queue| (queue, Vec::new())).collect();
        for send in transaction.sends.drain(..) {
            let (mut handle, message, bytes) = send.into_parts();
            if handle.is_gone() && !handle.destination.kind().is_temporary() {
                // It was removed meanwhile: as with any send, there is one again.
                if let Ok(again) = self.destination(&handle.destination, None).await {
                    handle.usage.release(bytes);
                    again.usage.take(bytes);
                    handle = again;
                }
            }
            let send = CommittedSend { message, bytes };
            match parts.iter_mut().find(|(present, _)| Arc::ptr_eq(present, &handle)) {
                Some((_, sends)) => sends.push(send),
                None => parts.push((handle, vec![send])),
            }
        }
        let durables = std::mem::take(&mut transaction.durables);
        let mut ops: Vec<StoreOp> = durables.iter().flat_map(|d| d.marked(key)).collect();
        let stored = transaction.stored.take();
        ops.extend(stored.clone().map(|xid| StoreOp::Forget { xid }));
        let again = stored.map(|xid| self.prepared_again(xid, &transaction, &parts, &durables));
        let alone = parts.is_empty();
        let (mut receipts, receipt) = match receipt {
            Some(receipt) if !alone => (receipt.split(parts.len()), None),
            receipt => (Vec::new(), receipt),
        };
        let handles: Vec<_> = parts.iter().map(|(handle, _)| Arc::clone(handle)).collect();
        let outlet = self.outlet.clone();
        let after = After {
            durables,
            topics: std::mem::take(&mut transaction.topics),
            outbox: Arc::clone(outbox),
            carry_out: Box::new(move |effects: &mut Effects| outlet.run(effects, None)),
            receipt,
            refused: again,
            patience: Patience::of(&handles),
            rollback_only: transaction.rollback_only.take(),
        };
        let store = Arc::clone(&self.outlet.store);
        let ballots = Commit::begin(key, store, handles, ops, after);
        for ((handle, sends), ballot) in parts.into_iter().zip(ballots) {
            let vote = Vote { transaction: Some(key), sends, ballot, receipt: receipts.pop() };
            handle.send(vec![Op::Vote(Box::new(vote))]).await;
        }
    }

    /// What makes a prepared branch wait again when its commit was refused.
    fn prepared_again(
        &self,
        xid: Arc<XaId>,
        transaction: &Transaction,
        parts: &[(Arc<DestinationHandle>, Vec<CommittedSend>)],
        durables: &[Arc<DurableSubscription>],
    ) -> Box<dyn FnOnce() + Send> {
        let mut branch = self.transactions.of_key(transaction.key);
        branch.queues = parts.iter().map(|(handle, _)| Arc::clone(handle)).collect();
        branch.durables = durables.to_vec();
        branch.topics = transaction.topics.clone();
        branch.stored = Some(Arc::clone(&xid));
        let sends: Vec<_> = parts
            .iter()
            .flat_map(|(handle, sends)| sends.iter().map(move |send| (handle, send)))
            .map(|(handle, send)| (Arc::clone(handle), Arc::clone(&send.message), send.bytes))
            .collect();
        let transactions = Arc::clone(&self.transactions);
        Box::new(move || {
            for (handle, message, bytes) in sends {
                handle.usage.take(bytes);
                branch.sends.push(PendingSend { handle, message, bytes, unstored: false });
            }
            transactions.restore(xid, branch);
        })
    }

    /// Rolls back: what was sent is dropped, what was acknowledged stays with its consumers.
    pub(super) async fn roll_back(
        &self,
        mut transaction: Transaction,
        outbox: &Arc<Outbox>,
        receipt: Option<Receipt>,
    ) {
        let queues = std::mem::take(&mut transaction.queues);
        let stored = transaction.stored.take();
        let count = queues.len() + usize::from(stored.is_some());
        let mut receipts = receipt.map(|r| r.split(count)).unwrap_or_default();
        let mut effects = Effects::default();
        if let Some(xid) = stored {
            effects.removals.push(StoreOp::Forget { xid });
            effects.when_removed(receipts.pop());
        }
        let key = transaction.key;
        for queue in queues {
            let receipt = receipts.pop();
            queue.send(vec![Op::RollBack { transaction: key, receipt }]).await;
        }
        outbox.end_transaction(key, false);
        let now = super::Now::read();
        for durable in std::mem::take(&mut transaction.durables) {
            durable.end_transaction(key, false, now, &mut effects);
        }
        std::mem::take(&mut transaction.topics).end(false, now, &mut effects);
        self.outlet.run(&mut effects, None);
    }

    /// Prepares an XA branch: 0 (XA_OK) when it waits for its commit, 3 (XA_RDONLY) when there was nothing
    /// in it. `outbox` is of the connection that does.
    pub(super) async fn prepare(
        &self,
        xid: &Arc<XaId>,
        outbox: &Arc<Outbox>,
    ) -> Result<i32, BrokerError> {
        let (key, queues, durables, sends) = match self.transactions.prepare(xid)? {
            Preparation::ReadOnly => return Ok(3),
            Preparation::Done => return Ok(0),
            Preparation::Spoilt => return self.give_up(xid, outbox).await,
            Preparation::Begun { key, queues, durables, sends } => (key, queues, durables, sends),
        };
        let mut branch = PreparedBranch {
            xid: Arc::clone(xid),
            sends,
            removals: Vec::new(),
            acknowledgements: Vec::new(),
        };
        for queue in queues {
            let (answer, answered) = oneshot::channel();
            queue.send(vec![Op::Marked { transaction: key, answer }]).await;
            // A queue that is gone has nothing that could be removed.
            let sequences = answered.await.unwrap_or_default();
            if !sequences.is_empty() {
                branch.removals.push((queue.destination.clone(), sequences));
            }
        }
        // By now each queue has taken what was acknowledged in it, or refused it.
        if self.transactions.is_spoilt(xid) {
            self.transactions.end_preparing(xid, Prepared::Not);
            return self.give_up(xid, outbox).await;
        }
        for durable in durables {
            for op in durable.marked(key) {
                let StoreOp::Acknowledge { destination, subscription, sequence } = op else {
                    continue;
                };
                let present = branch.acknowledgements.iter_mut();
                match present.into_iter().find(|(d, s, _)| *d == destination && *s == subscription)
                {
                    Some((_, _, sequences)) => sequences.push(sequence),
                    None => {
                        branch.acknowledgements.push((destination, subscription, vec![sequence]));
                    }
                }
            }
        }
        let empty = branch.sends.is_empty()
            && branch.removals.is_empty()
            && branch.acknowledgements.is_empty();
        if empty || !self.outlet.store.keeps() {
            self.transactions.end_preparing(xid, Prepared::InMemory);
            return Ok(0);
        }
        let stored = self.store_now(vec![StoreOp::Prepare(branch)]).await;
        let outcome = if stored.is_ok() { Prepared::InStore } else { Prepared::Not };
        self.transactions.end_preparing(xid, outcome);
        stored.map(|()| 0).map_err(Into::into)
    }

    /// Rolls a branch back that cannot be committed, and says why.
    async fn give_up(&self, xid: &Arc<XaId>, outbox: &Arc<Outbox>) -> Result<i32, BrokerError> {
        let transaction = self.transactions.take_xa(xid, false)?;
        let error = transaction.spoilt();
        self.roll_back(transaction, outbox, None).await;
        Err(error.unwrap_or_else(|| BrokerError::TransactionUnknown(shown(xid))))
    }

    /// Submits and waits until it is durable.
    pub(super) async fn store_now(&self, ops: Vec<StoreOp>) -> Result<(), StoreError> {
        let (sender, outcome) = oneshot::channel();
        let done = Box::new(move |result| sender.send(result).unwrap_or_default());
        self.outlet.store.submit(Submit { ops, durable: true, done });
        outcome.await.unwrap_or_else(|_| Err(StoreError::Stopped("it was closed".into())))
    }
}
