//! Transactions of a client.

use super::super::error::BrokerError;
use super::super::names;
use super::super::outbox::Receipt;
use super::super::plugins::Event;
use super::super::transaction::Transaction;
use super::{Client, OBJECTS_MAX};
use crate::jms::{TransactionId, XaId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
        names::check_transaction(&id)?;
        self.note(&Event::Began(&id));
        match &id {
            TransactionId::Local { .. } => {
                if !self.transactions.contains_key(&id) {
                    self.check_limit("transaction", self.transactions.len(), OBJECTS_MAX)?;
                    let transaction = self.broker.transactions.begin_local(id.clone());
                    self.transactions.insert(id, transaction);
                    self.note_transactions();
                }
            }
            TransactionId::Xa(xid) => {
                if !self.broker.transactions.begin_xa(xid, self.entry.number, OBJECTS_MAX) {
                    self.check_limit("transaction", OBJECTS_MAX as usize, OBJECTS_MAX)?;
                }
            }
        }
        Ok(())
    }

    /// Prepares an XA branch: 0 when it waits for its commit, 3 when there was nothing in it.
    pub async fn prepare(&mut self, id: &TransactionId) -> Result<i32, BrokerError> {
        self.note(&Event::Prepared(id));
        self.flush().await;
        match id {
            TransactionId::Local { .. } => Err(BrokerError::PrepareUnknown(id.to_string().into())),
            TransactionId::Xa(xid) => self.broker.prepare(xid, &self.outbox).await,
        }
    }

    /// XA branches that wait for their second phase.
    pub fn recover(&self) -> Vec<Arc<XaId>> {
        let prepared = self.broker.transactions.prepared();
        self.note(&Event::Recovered(&prepared));
        prepared
    }

    fn take(&mut self, id: &TransactionId, prepared: bool) -> Result<Transaction, BrokerError> {
        match id {
            TransactionId::Local { .. } => {
                let mut taken = self.transactions.remove(id);
                taken.iter_mut().for_each(Transaction::close);
                self.note_transactions();
                taken.ok_or_else(|| BrokerError::TransactionUnknown(id.to_string().into()))
            }
            TransactionId::Xa(xid) => self.broker.transactions.take_xa(xid, prepared),
        }
    }

    /// Whoever looks at the connection sees how many are open.
    fn note_transactions(&self) {
        let open = u32::try_from(self.transactions.len()).unwrap_or(u32::MAX);
        self.entry.transactions.store(open, Ordering::Relaxed);
    }

    /// Commits: what was sent becomes visible, what was acknowledged goes. `receipt` resolves when all
    /// is done. `two_phase` is for prepared XA branches.
    pub async fn commit(
        &mut self,
        id: &TransactionId,
        two_phase: bool,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        self.note(&Event::Committed(id));
        let transaction = self.take(id, two_phase)?;
        self.flush().await;
        self.broker.commit(transaction, &self.outbox, receipt.take()).await;
        Ok(())
    }

    /// Rolls back: what was sent is dropped, what was acknowledged stays with its consumers.
    pub async fn rollback(
        &mut self,
        id: &TransactionId,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        self.note(&Event::RolledBack(id));
        let transaction = self.take(id, false)?;
        self.roll_back(transaction, receipt.take()).await;
        Ok(())
    }

    pub(super) async fn roll_back(&mut self, transaction: Transaction, receipt: Option<Receipt>) {
        self.flush().await;
        self.broker.roll_back(transaction, &self.outbox, receipt).await;
    }
}
