//! Transactions of a client.

use super::super::destination::{Admission, Incoming, Op};
use super::super::error::BrokerError;
use super::super::outbox::Receipt;
use super::super::transaction::Transaction;
use super::{Client, OBJECTS_MAX};
use crate::jms::{TransactionId, XaId};
use std::sync::Arc;

impl Client {
    /// Runs `work` on an open transaction.
    pub(super) fn in_transaction<R>(
        &mut self,
        id: &TransactionId,
        work: impl FnOnce(&mut Transaction) -> R,
    ) -> Result<R, BrokerError> {
        match id {
            TransactionId::Local { .. } => match self.transactions.get_mut(id) {
                Some(transaction) => Ok(work(transaction)),
                None => Err(BrokerError::TransactionUnknown(id.to_string().into())),
            },
            TransactionId::Xa(xid) => self.broker.transactions.with_xa(xid, work),
        }
    }

    /// Begins a transaction; a repeated begin is ignored (failover replays it).
    pub fn begin(&mut self, id: TransactionId) -> Result<(), BrokerError> {
        match &id {
            TransactionId::Local { .. } => {
                if !self.transactions.contains_key(&id) {
                    self.check_limit("transaction", self.transactions.len(), OBJECTS_MAX)?;
                    self.transactions.insert(id, self.broker.transactions.begin_local());
                }
            }
            TransactionId::Xa(xid) => self.broker.transactions.begin_xa(xid, self.entry.number),
        }
        Ok(())
    }

    /// Prepares an XA branch: 0 when it waits for its commit, 3 when there was nothing in it.
    pub async fn prepare(&mut self, id: &TransactionId) -> Result<i32, BrokerError> {
        self.flush().await;
        match id {
            TransactionId::Local { .. } => Err(BrokerError::PrepareUnknown(id.to_string().into())),
            TransactionId::Xa(xid) => self.broker.transactions.prepare(xid),
        }
    }

    /// XA branches that wait for their second phase.
    pub fn recover(&self) -> Vec<Arc<XaId>> {
        self.broker.transactions.prepared()
    }

    fn take(&mut self, id: &TransactionId, prepared: bool) -> Result<Transaction, BrokerError> {
        match id {
            TransactionId::Local { .. } => self
                .transactions
                .remove(id)
                .ok_or_else(|| BrokerError::TransactionUnknown(id.to_string().into())),
            TransactionId::Xa(xid) => self.broker.transactions.take_xa(xid, prepared),
        }
    }

    /// Commits: what was sent becomes visible, what was acknowledged goes. `receipt` resolves when all
    /// is done. `two_phase` is for prepared XA branches.
    pub async fn commit(
        &mut self,
        id: &TransactionId,
        two_phase: bool,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let mut transaction = self.take(id, two_phase)?;
        if let Some(cause) = transaction.rollback_only.take() {
            self.roll_back(transaction, None).await;
            return Err(BrokerError::RollbackOnly { id: id.to_string().into(), cause });
        }
        let count = transaction.queues.len() + transaction.sends.len();
        let mut receipts = receipt.take().map(|r| r.split(count)).unwrap_or_default();
        for queue in std::mem::take(&mut transaction.queues) {
            let (transaction, receipt) = (transaction.key, receipts.pop());
            self.hand(&queue, Op::EndTransaction { transaction, commit: true, receipt }).await;
        }
        self.end_acknowledged(&mut transaction, true);
        for send in std::mem::take(&mut transaction.sends) {
            let (handle, message, bytes) = send.into_parts();
            let incoming = Incoming {
                redeliveries: message.redelivery_counter,
                message,
                bytes,
                admission: Admission::Credited,
                receipt: receipts.pop(),
                connection: self.entry.number,
            };
            self.hand(&handle, Op::Send(incoming)).await;
        }
        self.flush().await;
        Ok(())
    }

    /// Rolls back: what was sent is dropped, what was acknowledged stays with its consumers.
    pub async fn rollback(
        &mut self,
        id: &TransactionId,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let transaction = self.take(id, false)?;
        self.roll_back(transaction, receipt.take()).await;
        Ok(())
    }

    pub(super) async fn roll_back(
        &mut self,
        mut transaction: Transaction,
        receipt: Option<Receipt>,
    ) {
        let mut receipts = receipt.map(|r| r.split(transaction.queues.len())).unwrap_or_default();
        for queue in std::mem::take(&mut transaction.queues) {
            let (transaction, receipt) = (transaction.key, receipts.pop());
            self.hand(&queue, Op::EndTransaction { transaction, commit: false, receipt }).await;
        }
        self.end_acknowledged(&mut transaction, false);
        self.flush().await;
    }

    fn end_acknowledged(&self, transaction: &mut Transaction, commit: bool) {
        self.outbox.end_transaction(transaction.key, commit);
        for durable in std::mem::take(&mut transaction.durables) {
            self.with_effects(|now, out| {
                durable.end_transaction(transaction.key, commit, now, out);
            });
        }
    }
}
