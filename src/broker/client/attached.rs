//! What a consumer is joined to: its connection takes it off, or the broker does when it is too slow.

use super::super::Broker;
use super::super::destination::durable::DurableSubscription;
use super::super::destination::pace::Seen;
use super::super::destination::subscription::TopicSubscription;
use super::super::destination::{DestinationHandle, Op};
use super::super::outbox::{Outbox, SubscriptionKey};
use super::super::router::QueueConsumer;
use super::Notice;
use crate::jms::info::{ConsumerInfo, ObjectId, RemoveInfo};
use crate::jms::{Destination, Text};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A consumer where it is joined.
#[derive(Debug)]
pub(in crate::broker) struct Attached {
    pub(in crate::broker) key: SubscriptionKey,
    pub(in crate::broker) info: Arc<ConsumerInfo>,
    pub(in crate::broker) outbox: Arc<Outbox>,
    /// Its queues, if it listens to any.
    pub(super) queues: Option<Arc<QueueConsumer>>,
    pub(super) topics: Option<Arc<TopicSubscription>>,
    pub(super) durable: Option<Arc<DurableSubscription>>,
    /// The connector its connection came through.
    pub(super) connector_url: Text,
    /// It was taken off.
    pub(super) off: AtomicBool,
}

impl Attached {
    /// Whether it was taken off.
    pub(in crate::broker) fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    /// How it keeps up; none when there is nothing to see.
    pub(in crate::broker) fn seen(&self) -> Option<Seen> {
        match (&self.queues, &self.topics, &self.durable) {
            (Some(queues), ..) => Some(queues.window.seen()),
            (None, Some(topics), _) => Some(topics.seen()),
            (None, None, Some(durable)) => durable.seen(),
            (None, None, None) => None,
        }
    }

    /// The queues and topics it listens to.
    pub(in crate::broker) fn destinations(&self) -> Vec<Destination> {
        let queues = self.queues.iter().flat_map(|queues| queues.queues.lock().all());
        let mut all: Vec<_> = queues.map(|queue| queue.destination.clone()).collect();
        all.extend(self.topics.iter().flat_map(|topics| topics.topics()));
        all.extend(self.durable.iter().flat_map(|durable| durable.topics()));
        all
    }

    /// Whether those who watch were told that it is slow, when it is. Of consumers of queues only a
    /// strategy tells.
    pub(in crate::broker) fn is_told_slow(&self, seen: Seen) -> bool {
        seen.slow && self.queues.is_none()
    }

    /// Takes the consumer off its destinations and tells who watches. `last_delivered` as in `RemoveInfo`.
    /// The second call does nothing.
    pub(in crate::broker) async fn take_off(&self, broker: &Broker, last_delivered: i64) {
        if self.off.swap(true, Ordering::AcqRel) {
            return;
        }
        let info = &self.info;
        let parts = info.destination.iter().flat_map(Destination::parts).collect::<Vec<_>>();
        broker.withdraw(self, last_delivered).await;
        if let Some(durable) = &self.durable {
            durable.deactivate(last_delivered);
        }
        let Some(id) = &info.consumer_id else { return };
        broker.registry.consumer_removed(id);
        if super::consume::hears_notices(&parts) {
            broker.outlet.forward.listener_removed();
        }
        for part in parts.iter().filter(|part| !part.is_advisory()) {
            // A durable subscription counts until it is deleted.
            let count = broker.consumers_at(part);
            let removed = RemoveInfo {
                object_id: Some(ObjectId::Consumer(id.clone())),
                response_required: info.response_required,
                ..RemoveInfo::default()
            };
            let notice = Notice::consumer_removed(part, removed, count);
            broker.publish_from(notice, Some(&self.connector_url)).await;
            broker.virtual_consumer_removed(part, id).await;
        }
    }
}

impl Broker {
    /// How many consumers there are where `part`, a name or a pattern, leads.
    pub(super) fn consumers_at(&self, part: &Destination) -> u32 {
        let count = |handle: &Arc<DestinationHandle>| handle.gauges.consumers.count();
        match self.router.find(part) {
            Some(handle) => count(&handle),
            None if part.is_pattern() => {
                let all = self.router.all();
                all.iter().filter(|h| self.router.reads(part, &h.destination)).map(count).sum()
            }
            None => 0,
        }
    }

    /// Takes a consumer off its queues and topics.
    pub(super) async fn withdraw(&self, consumer: &Attached, last_delivered: i64) {
        let key = consumer.key;
        let Some(destination) = &consumer.info.destination else { return };
        if let Some(joined) = &consumer.queues {
            self.router.unlisten(key, destination);
            joined.pulls.lock().cancel();
            let queues = std::mem::take(&mut *joined.queues.lock());
            for queue in queues.all() {
                queue.send(vec![Op::Unsubscribe { key, last_delivered, receipt: None }]).await;
            }
        }
        if consumer.topics.is_some() {
            self.leave(key, destination).await;
        }
        consumer.outbox.forget(key);
    }
}
