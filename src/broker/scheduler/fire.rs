//! What is due enters its destinations.

use super::super::destination::commit::{After, Commit, CommittedSend, Vote};
use super::super::destination::topic_acks::TopicAcks;
use super::super::destination::{DestinationHandle, Op};
use super::super::error::BrokerError;
use super::super::outbox::{Outbox, Receipt};
use super::{Broker, Firing, JobsOp, Shot, Tell};
use crate::jms::Message;
use std::sync::Arc;

impl Broker {
    /// Commits a firing: what the jobs become, and what they deliver, as one.
    pub(in crate::broker) async fn fire(&self, firing: Firing) {
        let Firing { shots, tell: Tell(tell) } = firing;
        let mut parts: Vec<(Arc<DestinationHandle>, Vec<CommittedSend>)> = Vec::new();
        let (mut ops, mut committed, mut unreachable) = (Vec::new(), Vec::new(), Vec::new());
        for mut shot in shots {
            let deliveries = match shot.message.take() {
                Some(message) => self.deliveries(message).await,
                None => Ok(Vec::new()),
            };
            match deliveries {
                Ok(deliveries) => {
                    for (handle, send) in deliveries {
                        match parts.iter_mut().find(|(present, _)| Arc::ptr_eq(present, &handle)) {
                            Some((_, sends)) => sends.push(send),
                            None => parts.push((handle, vec![send])),
                        }
                    }
                    ops.append(&mut shot.ops);
                    committed.push(shot);
                }
                Err(error) => {
                    let Shot { number, .. } = shot;
                    tracing::error!(number, %error, "Failed to send scheduled message: it waits");
                    unreachable.push(number);
                }
            }
        }
        let told = Receipt::telling(move |outcome| {
            tell(Op::Jobs(Box::new(JobsOp::Fired { shots: committed, outcome, unreachable })));
        });
        let (mut receipts, receipt) = match parts.len() {
            0 => (Vec::new(), Some(told)),
            parts => (told.split(parts), None),
        };
        let after = After {
            durables: Vec::new(),
            topics: TopicAcks::default(),
            patience: None,
            outbox: Arc::new(Outbox::default()),
            carry_out: Box::new(|_| ()),
            receipt,
            refused: None,
            rollback_only: None,
        };
        let key = self.transactions.begin_own().key;
        let store = Arc::clone(&self.outlet.store);
        let handles = parts.iter().map(|(handle, _)| Arc::clone(handle)).collect();
        let ballots = Commit::begin(key, store, handles, ops, after);
        for ((handle, sends), ballot) in parts.into_iter().zip(ballots) {
            let vote = Vote { transaction: Some(key), sends, ballot, receipt: receipts.pop() };
            handle.send(vec![Op::Vote(Box::new(vote))]).await;
        }
    }

    /// Where `message` goes, with its memory taken there. To nowhere if that went with its connection.
    async fn deliveries(
        &self,
        message: Message,
    ) -> Result<Vec<(Arc<DestinationHandle>, CommittedSend)>, BrokerError> {
        let gone = message.destination.as_ref().filter(|destination| {
            destination.kind().is_temporary() && self.router.find(destination).is_none()
        });
        if let Some(destination) = gone {
            tracing::warn!(%destination, "a scheduled message is dropped: its destination is gone");
            return Ok(Vec::new());
        }
        let copies = self.addressed(&Arc::new(message)).await?;
        let sends = copies.into_iter().map(|(handle, message)| {
            let bytes = (message.size() as u64).max(handle.policy.get().minimum_message_bytes);
            // It is the broker's own message: limits do not hold it up.
            handle.usage.take(bytes);
            (handle, CommittedSend { message, bytes })
        });
        Ok(sends.collect())
    }
}
