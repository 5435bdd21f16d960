//! What is due enters its destinations.

use super::super::destination::commit::{After, Commit, CommittedSend, Vote};
use super::super::destination::{DestinationHandle, Op};
use super::super::error::BrokerError;
use super::super::outbox::{Outbox, Receipt};
use super::super::router::VIRTUAL_TOPIC_PREFIX;
use super::{Broker, Firing, JobsOp, Shot, Tell};
use crate::jms::{Destination, DestinationKind, Message};
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
            outbox: Arc::new(Outbox::default()),
            carry_out: Box::new(|_| ()),
            receipt,
            refused: None,
        };
        let key = self.transactions.begin_local().key;
        let store = Arc::clone(&self.outlet.store);
        let handles = parts.iter().map(|(handle, _)| Arc::clone(handle)).collect();
        let ballots = Commit::begin(key, store, handles, ops, after);
        for ((handle, sends), ballot) in parts.into_iter().zip(ballots) {
            let vote = Vote { transaction: key, sends, ballot, receipt: receipts.pop() };
            handle.send(vec![Op::Vote(Box::new(vote))]).await;
        }
    }

    /// Where `message` goes, with its memory taken there. To nowhere if that went with its connection.
    async fn deliveries(
        &self,
        message: Message,
    ) -> Result<Vec<(Arc<DestinationHandle>, CommittedSend)>, BrokerError> {
        let Some(destination) = message.destination.clone() else { return Ok(Vec::new()) };
        let mut handles = Vec::new();
        for target in self.targets(&destination) {
            if target.kind().is_temporary() {
                handles.extend(self.router.find(&target));
            } else {
                handles.push(self.destination(&target, None).await?);
            }
        }
        if handles.is_empty() {
            tracing::warn!(%destination, "a scheduled message is dropped: its destination is gone");
        }
        let sends = handles.into_iter().map(|handle| {
            let message = if handle.destination == destination {
                message.clone()
            } else {
                Message {
                    destination: Some(handle.destination.clone()),
                    original_destination: Some(destination.clone()),
                    ..message.clone()
                }
            };
            let bytes = (message.size() as u64).max(handle.policy.minimum_message_bytes);
            // It is the broker's own message: limits do not hold it up.
            handle.usage.take(bytes);
            (handle, CommittedSend { message: Arc::new(message), bytes })
        });
        Ok(sends.collect())
    }

    /// The destinations that a message sent to `destination` enters.
    fn targets(&self, destination: &Destination) -> Vec<Destination> {
        let mut targets = Vec::new();
        let is_virtual = self.options.virtual_topics
            && destination.kind() == DestinationKind::Topic
            && destination.name().starts_with(VIRTUAL_TOPIC_PREFIX);
        if is_virtual {
            let queues = self.router.fed_by(destination.name());
            targets.extend(queues.iter().map(|queue| queue.destination.clone()));
        }
        targets.push(destination.clone());
        targets
    }
}
