//! The broker's own messages on their way to a destination, and to whatever its interceptors make of it.

use super::Broker;
use super::dead_letter::Leaving;
use super::destination::commit::{Commit, CommittedSend, Vote};
use super::destination::{DestinationHandle, Effects, Incoming, Op};
use super::error::BrokerError;
use super::interceptors::expand::{Expansion, Target};
use super::outbox::Receipt;
use crate::jms::{Destination, Message};
use std::sync::Arc;

impl Broker {
    /// Delivers a message that no client sends, to where its header says; it is let in whatever the limits
    /// say and counts `bytes_min` at least. `moved` leaves the store in the submit that brings it; `receipt`
    /// resolves when it is in.
    ///
    /// # Errors
    /// When a destination could not be made, or composites forward in a circle: nothing was delivered then,
    /// what was to move stays, and `receipt` has resolved with the error.
    pub(super) async fn deliver(
        &self,
        message: Arc<Message>,
        bytes_min: u64,
        moved: Option<Leaving>,
        receipt: Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let bytes = (message.size() as u64).max(bytes_min);
        let mut copies = match self.addressed(&message).await {
            Ok(copies) => copies,
            Err(error) => {
                if let Some(receipt) = receipt {
                    receipt.resolve(Err(error.clone()));
                }
                return Err(error);
            }
        };
        let together = message.persistent && self.outlet.store.keeps();
        if let ([_], _) | (_, false) = (&copies[..], together) {
            let mut receipts = receipt.map(|r| r.split(copies.len())).unwrap_or_default();
            let mut moved: Vec<Leaving> = moved.into_iter().collect();
            if copies.len() != 1 {
                self.depart(std::mem::take(&mut moved), None);
            }
            for (handle, copy) in copies {
                let (moved, receipt) = (std::mem::take(&mut moved), receipts.pop());
                let incoming = Incoming::of_broker(copy, bytes);
                handle.send(vec![Op::Send(Incoming { moved, receipt, ..incoming })]).await;
            }
            return Ok(());
        }
        if copies.is_empty() {
            self.depart(moved, receipt);
            return Ok(());
        }
        let mut receipts = receipt.map(|r| r.split(copies.len())).unwrap_or_default();
        let handles = copies.iter().map(|(handle, _)| Arc::clone(handle)).collect();
        let store = Arc::clone(&self.outlet.store);
        let ballots = Commit::of_copies(store, handles, moved.into_iter().collect());
        for ((handle, message), ballot) in copies.drain(..).zip(ballots) {
            handle.usage.take(bytes);
            let sends = vec![CommittedSend { message, bytes }];
            let vote = Vote { transaction: None, sends, ballot, receipt: receipts.pop() };
            handle.send(vec![Op::Vote(Box::new(vote))]).await;
        }
        Ok(())
    }

    /// Who gets `message`, each with its copy.
    pub(super) async fn addressed(
        &self,
        message: &Arc<Message>,
    ) -> Result<Vec<(Arc<DestinationHandle>, Arc<Message>)>, BrokerError> {
        let destination = message.destination.as_ref().ok_or(BrokerError::DestinationNameEmpty)?;
        let mut copies = Vec::new();
        for target in self.targets(destination, message)? {
            // Boxed: creating a destination may itself be announced.
            let handle = Box::pin(self.destination(&target.at, None)).await?;
            copies.push((handle, target.address(message)));
        }
        Ok(copies)
    }

    fn targets(
        &self,
        destination: &Destination,
        message: &Message,
    ) -> Result<Vec<Target>, BrokerError> {
        let original = message.original_destination.clone();
        let interceptors = self.router.interceptors().get();
        if !interceptors.intercept(destination) {
            return Ok(vec![Target::new(destination.clone(), original)]);
        }
        let mut expansion = Expansion::new(&interceptors, &self.router, message);
        expansion.send_to(destination, original);
        Ok(expansion.finish()?.targets)
    }

    /// What leaves the store leaves it by itself; `receipt` resolves when it has.
    pub(super) fn depart(
        &self,
        moved: impl IntoIterator<Item = Leaving>,
        receipt: Option<Receipt>,
    ) {
        let mut effects = Effects::default();
        effects.leave(moved);
        effects.when_removed(receipt);
        self.outlet.run(&mut effects, None);
    }
}
