//! Transactions: what was sent and acknowledged in them, until they end.
//!
//! Local transactions belong to a connection; XA branches are known to the whole broker, and prepared
//! ones outlive their connection.

use super::destination::DestinationHandle;
use super::destination::durable::DurableSubscription;
use super::destination::in_flight::{RollbackOnly, TransactionKey};
use super::destination::topic_acks::TopicAcks;
use super::error::BrokerError;
use super::usage::Foreseen;
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
    /// Whether it has to be put into a store yet.
    pub unstored: bool,
}

/// A send that is never committed gives its memory back.
impl Drop for PendingSend {
    fn drop(&mut self) {
        self.handle.usage.release(self.bytes);
    }
}

impl PendingSend {
    fn foresee(&self, foreseen: &mut Foreseen) {
        if self.unstored {
            foreseen.add(&self.handle.store_usage, self.bytes);
        }
    }

    /// The message goes on its way and takes its memory along.
    pub fn into_parts(mut self) -> (Arc<DestinationHandle>, Arc<Message>, u64) {
        let bytes = std::mem::take(&mut self.bytes);
        (Arc::clone(&self.handle), Arc::clone(&self.message), bytes)
    }
}

/// Sends of a transaction that wait for room: destinations put them here when they have it.
#[derive(Debug, Default)]
struct Late(Arc<Mutex<LateSends>>);

#[derive(Debug, Default)]
struct LateSends {
    /// The transaction has ended.
    over: bool,
    sends: Vec<PendingSend>,
    foreseen: Foreseen,
}

impl Late {
    fn take(&self, over: bool) -> Vec<PendingSend> {
        let mut late = self.0.lock();
        late.over |= over;
        if over {
            late.foreseen = Foreseen::default();
        }
        std::mem::take(&mut late.sends)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        drop(self.take(true));
    }
}

/// What an open transaction holds.
#[derive(Debug)]
pub struct Transaction {
    pub key: TransactionKey,
    pub sends: Vec<PendingSend>,
    /// As in ActiveMQ, which writes them at once, they count as stored.
    foreseen: Foreseen,
    late: Late,
    /// Queues with messages acknowledged in it.
    pub queues: Vec<Arc<DestinationHandle>>,
    pub durables: Vec<Arc<DurableSubscription>>,
    /// What is acknowledged in it of other subscriptions of topics.
    pub topics: TopicAcks,
    /// The XA branch as the store has it, when it was prepared.
    pub stored: Option<Arc<XaId>>,
    /// None where nothing in it can fail without an answer.
    pub rollback_only: Option<Arc<RollbackOnly>>,
}

impl Transaction {
    fn new(key: TransactionKey, rollback_only: Option<Arc<RollbackOnly>>) -> Self {
        Self {
            key,
            sends: Vec::new(),
            foreseen: Foreseen::default(),
            late: Late::default(),
            queues: Vec::new(),
            durables: Vec::new(),
            topics: TopicAcks::default(),
            stored: None,
            rollback_only,
        }
    }

    /// Keeps what was sent, behind what has waited for room until now.
    pub fn send(&mut self, sends: impl IntoIterator<Item = PendingSend>) {
        self.sends.extend(self.late.take(false));
        for send in sends {
            send.foresee(&mut self.foreseen);
            self.sends.push(send);
        }
    }

    /// For a send that waits for room in `handle`: takes the message when it has its memory. Then it answers
    /// whether it was in time: not when the transaction has ended.
    pub fn when_room(
        &self,
        handle: Arc<DestinationHandle>,
        unstored: bool,
    ) -> impl FnOnce(Arc<Message>, u64) -> bool + Send + Sync + use<> {
        let late = Arc::clone(&self.late.0);
        move |message, bytes| {
            let send = PendingSend { handle, message, bytes, unstored };
            let mut late = late.lock();
            if late.over {
                drop(late);
                drop(send);
                return false;
            }
            send.foresee(&mut late.foreseen);
            late.sends.push(send);
            true
        }
    }

    /// It ends, or is prepared: what still waits for room comes too late.
    pub fn close(&mut self) {
        self.foreseen = Foreseen::default();
        self.sends.extend(self.late.take(true));
    }

    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.queues.is_empty()
            && self.durables.is_empty()
            && self.topics.is_empty()
    }

    /// Why it cannot be committed.
    pub fn spoilt(&self) -> Option<BrokerError> {
        self.rollback_only.as_ref()?.error()
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
    /// It can only be rolled back.
    Spoilt,
    /// This has to be stored: what is acknowledged in it with these, and these messages.
    Begun {
        key: TransactionKey,
        queues: Vec<Arc<DestinationHandle>>,
        durables: Vec<Arc<DurableSubscription>>,
        sends: Vec<(Destination, Arc<Message>)>,
    },
}

/// Where a prepared branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The store refused it.
    Not,
    /// There is nothing in it that a store keeps.
    InMemory,
    InStore,
}

#[derive(Debug)]
struct Branch {
    transaction: Transaction,
    prepared: bool,
    /// Its preparation is on its way to the disk.
    preparing: bool,
    /// Number of the connection that works in it.
    connection: u64,
}

/// All XA branches.
#[derive(Debug, Default)]
pub struct Transactions {
    next: AtomicU64,
    branches: Mutex<Branches>,
}

#[derive(Debug, Default)]
struct Branches {
    table: HashMap<Arc<XaId>, Branch>,
    /// How many each connection began that have not ended.
    open: HashMap<u64, u32>,
}

impl Branches {
    fn get(&self, id: &Arc<XaId>) -> Option<&Branch> {
        self.table.get(id)
    }

    fn get_mut(&mut self, id: &Arc<XaId>) -> Option<&mut Branch> {
        self.table.get_mut(id)
    }

    fn iter(&self) -> impl Iterator<Item = (&Arc<XaId>, &Branch)> {
        self.table.iter()
    }

    fn insert(&mut self, id: Arc<XaId>, branch: Branch) {
        *self.open.entry(branch.connection).or_default() += 1;
        self.table.insert(id, branch);
    }

    fn remove(&mut self, id: &Arc<XaId>) -> Option<Branch> {
        let branch = self.table.remove(id)?;
        if let Some(open) = self.open.get_mut(&branch.connection) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&branch.connection);
            }
        }
        Some(branch)
    }
}

impl Transactions {
    /// A new local transaction of a client.
    pub fn begin_local(&self, id: TransactionId) -> Transaction {
        Transaction::new(self.next_key(), Some(RollbackOnly::unmarked(id)))
    }

    /// A new transaction of the broker itself.
    pub fn begin_own(&self) -> Transaction {
        Transaction::new(self.next_key(), None)
    }

    /// A transaction known by a key it has already.
    pub(super) fn of_key(&self, key: TransactionKey) -> Transaction {
        Transaction::new(key, None)
    }

    fn next_key(&self) -> TransactionKey {
        TransactionKey(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Begins a branch, if `connection` has less than `most` that have not ended; one that is known already
    /// is left alone. False when it has too many.
    pub fn begin_xa(&self, id: &Arc<XaId>, connection: u64, most: u32) -> bool {
        let mut branches = self.branches.lock();
        if branches.get(id).is_some() {
            return true;
        }
        if branches.open.get(&connection).is_some_and(|open| *open >= most) {
            return false;
        }
        let rollback_only = RollbackOnly::unmarked(TransactionId::Xa(Arc::clone(id)));
        let transaction = Transaction::new(self.next_key(), Some(rollback_only));
        let (prepared, preparing) = (false, false);
        let branch = Branch { transaction, prepared, preparing, connection };
        branches.insert(Arc::clone(id), branch);
        true
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
        if branch.transaction.spoilt().is_some() {
            return Ok(Preparation::Spoilt);
        }
        branch.transaction.close();
        if branch.transaction.is_empty() {
            branches.remove(id);
            return Ok(Preparation::ReadOnly);
        }
        if std::mem::replace(&mut branch.prepared, true) {
            return Ok(Preparation::Done);
        }
        branch.preparing = true;
        let Transaction { key, queues, durables, sends, .. } = &branch.transaction;
        let (queues, durables) = (queues.clone(), durables.clone());
        Ok(Preparation::Begun { key: *key, queues, durables, sends: persistent(sends) })
    }

    /// Whether the branch can only be rolled back.
    pub fn is_spoilt(&self, id: &Arc<XaId>) -> bool {
        let branches = self.branches.lock();
        branches.get(id).is_some_and(|branch| branch.transaction.spoilt().is_some())
    }

    /// How preparing a branch ended. When it failed the branch is as it was before.
    pub fn end_preparing(&self, id: &Arc<XaId>, outcome: Prepared) {
        if let Some(branch) = self.branches.lock().get_mut(id) {
            branch.prepared = outcome != Prepared::Not;
            branch.preparing = false;
            branch.transaction.stored = (outcome == Prepared::InStore).then(|| Arc::clone(id));
        }
    }

    /// A branch that was prepared before the broker's last start.
    pub fn restore(&self, id: Arc<XaId>, transaction: Transaction) {
        let branch = Branch { transaction, prepared: true, preparing: false, connection: 0 };
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
            Some(branch) if branch.preparing => Some(("is being prepared.", XAER_PROTO)),
            Some(_) => None,
        };
        if let Some((reason, code)) = reason {
            return Err(BrokerError::Xa { id: shown(id), reason, code });
        }
        match branches.remove(id) {
            Some(mut branch) => {
                branch.transaction.close();
                Ok(branch.transaction)
            }
            None => Err(BrokerError::TransactionUnknown(shown(id))),
        }
    }

    /// Branches that wait for their second phase.
    pub fn prepared(&self) -> Vec<Arc<XaId>> {
        let branches = self.branches.lock();
        branches
            .iter()
            .filter(|(_, branch)| branch.prepared && !branch.preparing)
            .map(|(id, _)| Arc::clone(id))
            .collect()
    }

    /// What a connection that is gone leaves unprepared.
    pub fn abandon(&self, connection: u64) -> Vec<Transaction> {
        let mut branches = self.branches.lock();
        let gone = |(_, branch): &(&Arc<XaId>, &Branch)| {
            branch.connection == connection && !branch.prepared
        };
        let gone: Vec<Arc<XaId>> =
            branches.iter().filter(gone).map(|(id, _)| Arc::clone(id)).collect();
        gone.iter().filter_map(|id| Some(branches.remove(id)?.transaction)).collect()
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

#[cfg(test)]
mod tests {
    use super::super::destination::fixture::handle;
    use super::*;

    fn xid(number: i32) -> Arc<XaId> {
        Arc::new(XaId { format_id: number, ..XaId::default() })
    }

    #[tokio::test]
    async fn what_gets_room_after_the_end_of_its_transaction_is_dropped() {
        let handle = handle(Destination::queue("A"));
        let mut transaction = Transactions::default().begin_own();
        let waiting = [(); 2].map(|()| transaction.when_room(Arc::clone(&handle), false));
        let [first, second] = waiting;
        let message = Arc::new(Message::default());
        handle.usage.take(2);
        assert!(first(Arc::clone(&message), 1));
        transaction.close();
        assert_eq!(transaction.sends.len(), 1);
        assert!(!second(message, 1));
        assert_eq!(handle.usage.used(), 1, "its memory is given back");
    }

    #[test]
    fn a_connection_has_so_many_branches_and_no_more() {
        let transactions = Transactions::default();
        assert!(transactions.begin_xa(&xid(1), 7, 2) && transactions.begin_xa(&xid(2), 7, 2));
        assert!(!transactions.begin_xa(&xid(3), 7, 2));
        assert!(transactions.begin_xa(&xid(2), 7, 2), "it is there");
        assert!(transactions.begin_xa(&xid(3), 8, 2), "another connection's");
        assert!(transactions.take_xa(&xid(1), false).is_ok());
        assert!(transactions.begin_xa(&xid(4), 7, 2));
        assert_eq!(transactions.abandon(7).len(), 2);
        assert!(transactions.begin_xa(&xid(5), 7, 1));
    }
}
