//! A topic: each message goes to every subscription.
//!
//! The topic numbers messages and keeps the list of members; windows, pending messages and limits belong
//! to the members, because one subscription may listen to many topics.

use super::audit::Audit;
use super::durable::DurableSubscription;
use super::in_flight::Entry;
use super::parking::Parking;
use super::queue::QueueContext;
use super::recovery::Recovery;
use super::subscription::TopicSubscription;
use super::{Effects, Incoming, Now, Op, QueueCounters};
use crate::broker::advisory::Notice;
use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::outbox::SubscriptionKey;
use crate::broker::usage::Credit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A subscription of a topic.
#[derive(Clone, Debug)]
pub enum TopicMember {
    Plain(Arc<TopicSubscription>),
    Durable(Arc<DurableSubscription>),
}

impl TopicMember {
    fn key(&self) -> SubscriptionKey {
        match self {
            Self::Plain(subscription) => subscription.key,
            Self::Durable(subscription) => subscription.key,
        }
    }
}

/// All a topic knows.
pub struct Topic {
    context: QueueContext,
    members: Vec<TopicMember>,
    audit: Option<Audit>,
    parking: Parking,
    recovery: Recovery,
    /// Messages of this batch.
    arrived: Vec<Entry>,
    counters: QueueCounters,
}

impl Topic {
    pub fn new(context: QueueContext) -> Self {
        let policy = &context.policy;
        Self {
            audit: policy.audit.then(|| Audit::new(policy.audit_depth, policy.audit_producers)),
            members: Vec::new(),
            parking: Parking::default(),
            recovery: Recovery::new(policy.recovery),
            arrived: Vec::new(),
            counters: QueueCounters::default(),
            context,
        }
    }

    /// Takes one operation. Messages wait for [`Self::settle_batch`], or for a change of members.
    pub fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        match op {
            Op::Send(incoming) => {
                if let Some(incoming) = self.parking.enter(incoming, &self.context, 0, now, out) {
                    self.admit(incoming, now, out);
                }
            }
            Op::Join { member, receipt } => {
                self.fan_out(now, out);
                let key = member.key();
                if !self.members.iter().any(|present| present.key() == key) {
                    self.catch_up(&member, now, out);
                    self.members.push(member);
                }
                out.resolve(receipt, Ok(()));
            }
            Op::Leave { key, receipt } => {
                self.fan_out(now, out);
                self.members.retain(|member| member.key() != key);
                out.resolve(receipt, Ok(()));
            }
            Op::ConnectionClosed(connection) => self.parking.forget(connection),
            Op::Destroy { receipt } => {
                self.parking.clear();
                self.arrived.clear();
                out.resolve(receipt, Ok(()));
                out.destroyed = true;
            }
            Op::Counters(answer) => {
                let counters =
                    QueueCounters { consumers: self.members.len() as u64, ..self.counters.clone() };
                answer.send(counters).unwrap_or_default();
            }
            Op::Purge { receipt } => out.resolve(receipt, Ok(())),
            // Subscriptions of topics are acknowledged and pulled without their topics.
            Op::Ack { receipt, .. }
            | Op::Subscribe { receipt, .. }
            | Op::Unsubscribe { receipt, .. }
            | Op::EndTransaction { receipt, .. } => out.resolve(receipt, Ok(())),
            Op::Wake | Op::Pull { .. } => {}
        }
    }

    /// Ends a batch: parked sends get in, members get what arrived.
    pub fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        loop {
            self.fan_out(now, out);
            let Some(incoming) = self.parking.next(&self.context, now, out) else { return };
            self.admit(incoming, now, out);
        }
    }

    /// When the topic has something to do though nobody asks.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.parking.deadline(&self.context)
    }

    fn admit(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let Incoming { message, bytes, receipt, redeliveries, .. } = incoming;
        let hold = Some(Arc::new(Credit::taken(Arc::clone(&self.context.usage), bytes)));
        out.resolve(receipt, Ok(()));
        if let (Some(audit), Some(id)) = (&mut self.audit, &message.message_id)
            && audit.is_duplicate(id)
        {
            tracing::debug!(destination = %self.context.destination, %id, "duplicate message dropped");
            return;
        }
        self.counters.enqueued += 1;
        let destination = &self.context.destination;
        let policy = &self.context.policy;
        if message.is_expired(now.wall_ms) {
            self.counters.expired += 1;
            out.notice(Notice::expired(destination, &message));
            let cause = Some(Cause::Expired(message.expiration));
            let from = destination.clone();
            out.dead_letter(DeadLetter { message, from, cause, subscriber: None });
            return;
        }
        if policy.advisory_for_delivery {
            out.notice(Notice::delivered(destination, &message));
        }
        if policy.advisory_if_no_consumers && !message.persistent && self.members.is_empty() {
            out.notice(Notice::no_consumer(destination, &message));
        }
        let sequence = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Entry { message, sequence, bytes, redeliveries, hold };
        self.recovery.note(&entry, now);
        self.arrived.push(entry);
    }

    /// A retroactive subscription first gets what was kept; a durable one only when it has nothing of
    /// its own.
    fn catch_up(&mut self, member: &TopicMember, now: Now, out: &mut Effects) {
        let always = self.context.policy.always_retroactive;
        match member {
            TopicMember::Plain(plain) if always || plain.info.retroactive => {
                plain.offer(&self.recovery.kept(now), now, out);
            }
            TopicMember::Durable(durable)
                if (always || durable.retroactive) && durable.size() == 0 =>
            {
                durable.offer(&self.recovery.kept(now), now, out);
            }
            TopicMember::Plain(_) | TopicMember::Durable(_) => {}
        }
    }

    fn fan_out(&mut self, now: Now, out: &mut Effects) {
        if self.arrived.is_empty() {
            return;
        }
        for member in &self.members {
            self.counters.dispatched += match member {
                TopicMember::Plain(subscription) => subscription.offer(&self.arrived, now, out),
                TopicMember::Durable(subscription) => subscription.offer(&self.arrived, now, out),
            };
        }
        self.arrived.clear();
    }
}
