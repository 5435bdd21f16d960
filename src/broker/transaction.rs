//! Transactions: what was sent and acknowledged in them, until they end.
//!
//! Local transactions belong to a connection; XA branches are known to the whole broker, and prepared
//! ones outlive their connection.

use super::destination::DestinationHandle;
use super::destination::durable::DurableSubscription;
use super::destination::in_flight::TransactionKey;
use super::error::BrokerError;
use crate::jms::{Destination, Message, Text, TransactionId, XaId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A message sent in a transaction; its memory is taken.
#[derive(Debug)]
pub struct PendingSend {
    pub handle: Arc<DestinationHandle>,
    pub message: Arc<Message>,
    pub bytes: u64,
}

/// A send that is never committed gives its memory back.
impl Drop for PendingSend {
    fn drop(&mut self) {
        self.handle.usage.release(self.bytes);
    }
}

impl PendingSend {
    /// The message goes on its way and takes its memory along.
    pub fn into_parts(mut self) -> (Arc<DestinationHandle>, Arc<Message>, u64) {
        let bytes = std::mem::take(&mut self.bytes);
        (Arc::clone(&self.handle), Arc::clone(&self.message), bytes)
    }
}

/// What an open transaction holds.
#[derive(Debug)]
pub struct Transaction {
    pub key: TransactionKey,
    pub sends: Vec<PendingSend>,
    /// Queues with messages acknowledged in it.
    pub queues: Vec<Arc<DestinationHandle>>,
    pub durables: Vec<Arc<DurableSubscription>>,
    /// The XA branch as the store has it, when it was prepared.
    pub stored: Option<Arc<XaId>>,
    /// A send in it failed without an answer: it can only be rolled back.
    pub rollback_only: Option<Text>,
}

impl Transaction {
    fn new(key: TransactionKey) -> Self {
        Self {
            key,
            sends: Vec::new(),
            queues: Vec::new(),
            durables: Vec::new(),
            stored: None,
            rollback_only: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.queues.is_empty() && self.durables.is_empty()
    }

    /// Notes that `queue` has messages acknowledged in this transaction.
    pub fn touch_queue(&mut self, queue: &Arc<DestinationHandle>) {
        if !self.queues.iter().any(|present| Arc::ptr_eq(present, queue)) {
            self.queues.push(Arc::clone(queue));
        }
    }

    pub fn touch_durable(&mut self, durable: &Arc<DurableSubscription>) {
        if !self.durables.iter().any(|present| Arc::ptr_eq(present, durable)) {
            self.durables.push(Arc::clone(durable));
        }
    }
}

/// XA results (javax.transaction.xa.XAException).
pub const XAER_NOTA: i32 = -4;
const XAER_PROTO: i32 = -6;

/// What preparing a branch takes.
pub enum Preparation {
    /// There was nothing in it; it is over.
    ReadOnly,
    /// It was prepared before.
    Done,
    /// This has to be stored: what is acknowledged in it with these, and these messages.
    Begun {
        key: TransactionKey,
        queues: Vec<Arc<DestinationHandle>>,
        durables: Vec<Arc<DurableSubscription>>,
        sends: Vec<(Destination, Arc<Message>)>,
    },
}

#[derive(Debug)]
struct Branch {
    transaction: Transaction,
    prepared: bool,
    /// Number of the connection that works in it.
    connection: u64,
}

/// All XA branches.
#[derive(Debug, Default)]
pub struct Transactions {
    next: AtomicU64,
    branches: Mutex<HashMap<Arc<XaId>, Branch>>,
}

impl Transactions {
    /// A new local transaction.
    pub fn begin_local(&self) -> Transaction {
        Transaction::new(self.next_key())
    }

    fn next_key(&self) -> TransactionKey {
        TransactionKey(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Begins a branch; one that is known already is left alone.
    pub fn begin_xa(&self, id: &Arc<XaId>, connection: u64) {
        let key = self.next_key();
        self.branches.lock().entry(Arc::clone(id)).or_insert_with(|| Branch {
            transaction: Transaction::new(key),
            prepared: false,
            connection,
        });
    }

    /// Runs `work` on an unprepared branch.
    pub fn with_xa<R>(
        &self,
        id: &Arc<XaId>,
        work: impl FnOnce(&mut Transaction) -> R,
    ) -> Result<R, BrokerError> {
        let mut branches = self.branches.lock();
        match branches.get_mut(id) {
            Some(branch) if !branch.prepared => Ok(work(&mut branch.transaction)),
            _ => Err(BrokerError::TransactionUnknown(shown(id))),
        }
    }

    /// From now on the branch can only be ended; says what has to be stored of it.
    pub fn prepare(&self, id: &Arc<XaId>) -> Result<Preparation, BrokerError> {
        let mut branches = self.branches.lock();
        let Some(branch) = branches.get_mut(id) else {
            return Err(BrokerError::PrepareUnknown(shown(id)));
        };
        if branch.transaction.is_empty() {
            branches.remove(id);
            return Ok(Preparation::ReadOnly);
        }
        if std::mem::replace(&mut branch.prepared, true) {
            return Ok(Preparation::Done);
        }
        let Transaction { key, queues, durables, sends, .. } = &branch.transaction;
        let (queues, durables) = (queues.clone(), durables.clone());
        Ok(Preparation::Begun { key: *key, queues, durables, sends: persistent(sends) })
    }

    /// The store has the prepared branch, or could not take it: then it is as it was before.
    pub fn prepared_in_store(&self, id: &Arc<XaId>, stored: bool) {
        if let Some(branch) = self.branches.lock().get_mut(id) {
            branch.prepared = stored;
            branch.transaction.stored = stored.then(|| Arc::clone(id));
        }
    }

    /// A branch that was prepared before the broker's last start.
    pub fn restore(&self, id: Arc<XaId>, transaction: Transaction) {
        let branch = Branch { transaction, prepared: true, connection: 0 };
        self.branches.lock().insert(id, branch);
    }

    /// Takes a branch out to end it. A two-phase commit needs a prepared one.
    pub fn take_xa(
        &self,
        id: &Arc<XaId>,
        needs_prepared: bool,
    ) -> Result<Transaction, BrokerError> {
        let mut branches = self.branches.lock();
        let reason = match branches.get(id) {
            None => Some(("has not been started.", XAER_NOTA)),
            Some(branch) if needs_prepared && !branch.prepared => {
                Some(("has not been prepared.", XAER_PROTO))
            }
            Some(_) => None,
        };
        if let Some((reason, code)) = reason {
            return Err(BrokerError::Xa { id: shown(id), reason, code });
        }
        match branches.remove(id) {
            Some(branch) => Ok(branch.transaction),
            None => Err(BrokerError::TransactionUnknown(shown(id))),
        }
    }

    /// Branches that wait for their second phase.
    pub fn prepared(&self) -> Vec<Arc<XaId>> {
        let branches = self.branches.lock();
        branches
            .iter()
            .filter(|(_, branch)| branch.prepared)
            .map(|(id, _)| Arc::clone(id))
            .collect()
    }

    /// What a connection that is gone leaves unprepared.
    pub fn abandon(&self, connection: u64) -> Vec<Transaction> {
        let gone = |_: &Arc<XaId>, branch: &mut Branch| {
            branch.connection == connection && !branch.prepared
        };
        self.branches.lock().extract_if(gone).map(|(_, branch)| branch.transaction).collect()
    }
}

/// What of `sends` a store keeps.
fn persistent(sends: &[PendingSend]) -> Vec<(Destination, Arc<Message>)> {
    let kept = sends
        .iter()
        .filter(|send| send.message.persistent && !send.handle.destination.kind().is_temporary());
    kept.map(|send| (send.handle.destination.clone(), Arc::clone(&send.message))).collect()
}

/// As error texts name a transaction.
pub fn shown(id: &Arc<XaId>) -> Text {
    TransactionId::Xa(Arc::clone(id)).to_string().into()
}
