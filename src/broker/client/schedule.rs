//! Messages from a client that are delivered later, and what it asks the scheduler.

use super::super::destination::{Admission, Incoming, Op};
use super::super::error::BrokerError;
use super::super::outbox::Receipt;
use super::super::scheduler::jobs_queue;
use super::super::transaction::PendingSend;
use super::Client;
use crate::jms::{Destination, Message};
use std::sync::Arc;

impl Client {
    /// Schedules a message for each part of `destination`.
    pub(super) async fn schedule(
        &mut self,
        message: Arc<Message>,
        destination: &Destination,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let parts = destination.parts();
        if parts.is_empty() {
            return Err(BrokerError::DestinationNameEmpty);
        }
        if let Some(own) = parts.iter().find(|part| **part == jobs_queue()) {
            return Err(BrokerError::DestinationReserved(own.clone()));
        }
        if !destination.is_composite() {
            return self.schedule_one(message, receipt).await;
        }
        let mut receipts = receipt.take().map(|r| r.split(parts.len())).unwrap_or_default();
        for part in parts {
            let copy = Message {
                destination: Some(part),
                original_destination: Some(destination.clone()),
                ..(*message).clone()
            };
            let mut receipt = receipts.pop();
            if let Err(error) = self.schedule_one(Arc::new(copy), &mut receipt).await {
                let waiting = receipts.into_iter().chain(receipt);
                let answers: usize =
                    waiting.map(|receipt| receipt.resolve(Err(error.clone()))).count();
                return if answers > 0 { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }

    /// Hands a message to the scheduler, or keeps it in its transaction. Waits for room.
    async fn schedule_one(
        &mut self,
        message: Arc<Message>,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let bytes = message.size() as u64;
        self.room_for_job(&message, bytes).await?;
        let handle = Arc::clone(&self.broker.scheduler.handle);
        if let Some(id) = message.transaction_id.clone() {
            let send = PendingSend { handle, message, bytes, unstored: false };
            self.in_transaction(&id, move |transaction| transaction.send([send]))?;
            if let Some(receipt) = receipt.take() {
                receipt.resolve(Ok(()));
            }
            return Ok(());
        }
        let incoming = Incoming {
            admission: Admission::Credited,
            receipt: receipt.take(),
            connection: self.entry.number,
            ..Incoming::of_broker(message, bytes)
        };
        self.hand(&handle, Op::Send(incoming)).await;
        Ok(())
    }

    /// Takes `bytes` of `jobSchedulerUsage`, and waits until the store has room too. As in the original a
    /// send waits for as long as it takes, whatever the policies say.
    async fn room_for_job(&mut self, message: &Message, bytes: u64) -> Result<(), BrokerError> {
        let jobs = Arc::clone(&self.broker.scheduler.handle.usage);
        let store = self.broker.outlet.store.keeps();
        let store = store.then(|| Arc::clone(&self.broker.options.store_usage));
        let is_store_full = store.as_ref().is_some_and(|store| store.full().is_some());
        if !is_store_full && jobs.try_take(bytes) {
            return Ok(());
        }
        let producer = message.producer_id.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(
            "Job Scheduler Store is Full ({}% of {}). Stopping producer ({producer}) to prevent \
             flooding of the job scheduler store. See \
             http://activemq.apache.org/producer-flow-control.html for more info",
            jobs.percent(),
            jobs.limit()
        );
        // What this connection sent before must get in, or it would wait for itself.
        self.flush().await;
        let room = async {
            if let Some(store) = &store {
                store.acquire(0).await;
            }
            jobs.acquire(bytes).await;
        };
        self.transport.closing.unless(room).await.ok_or(BrokerError::SendAborted)
    }

    /// Does what a message to the scheduler's topic asks.
    pub(super) async fn ask_scheduler(
        &mut self,
        message: &Message,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        // What was scheduled before is there.
        self.flush().await;
        self.broker.manage_jobs(message, receipt).await
    }
}
