//! `useVirtualDestSubs`: who consumes from a queue that a virtual topic or composite feeds is announced as a
//! consumer of that virtual destination, so that bridges bring the messages here.

use super::Broker;
use super::advisory::Notice;
use crate::jms::info::{ObjectId, RemoveInfo};
use crate::jms::{ConsumerId, ConsumerInfo, Destination};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;

/// What is announced on `ActiveMQ.Advisory.VirtualDestination.Consumer.>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualSubscriptions {
    #[default]
    Nothing,
    /// `useVirtualDestSubs`.
    Consumers,
    /// `useVirtualDestSubsOnCreation` as well: that such a queue is there counts as a consumer.
    ConsumersAndQueues,
}

/// What stands for the queues there are.
#[derive(Debug, Default)]
pub(super) struct VirtualDemand {
    /// By the queue: the virtual destination behind it, and its consumer.
    queues: Mutex<HashMap<Destination, Vec<StandIn>>>,
}

/// A virtual destination, and its consumer that stands for a queue.
type StandIn = (Destination, Arc<ConsumerInfo>);

impl VirtualDemand {
    fn add(&self, queue: &Destination, stands_for: StandIn) {
        self.queues.lock().entry(queue.clone()).or_default().push(stands_for);
    }

    fn remove(&self, queue: &Destination) -> Vec<StandIn> {
        self.queues.lock().remove(queue).unwrap_or_default()
    }

    fn all(&self) -> Vec<StandIn> {
        self.queues.lock().values().flatten().cloned().collect()
    }
}

impl Broker {
    /// A consumer of `part` came.
    pub(super) async fn virtual_consumer_added(&self, part: &Destination, info: &ConsumerInfo) {
        for source in self.sources(part) {
            let count = self.consumers_of(&source);
            self.publish(Notice::virtual_consumer_added(&source, info, count)).await;
        }
    }

    /// A consumer of `part` is gone.
    pub(super) async fn virtual_consumer_removed(&self, part: &Destination, id: &ConsumerId) {
        for source in self.sources(part) {
            self.announce_virtual_removal(&source, id).await;
        }
    }

    async fn announce_virtual_removal(&self, source: &Destination, id: &ConsumerId) {
        let object_id = Some(ObjectId::Consumer(id.clone()));
        let info = RemoveInfo { object_id, ..RemoveInfo::default() };
        let count = self.consumers_of(source);
        self.publish(Notice::virtual_consumer_removed(source, info, count)).await;
    }

    /// A destination came into being.
    pub(super) async fn virtual_queue_made(&self, queue: &Destination) {
        if self.options.virtual_subscriptions != VirtualSubscriptions::ConsumersAndQueues {
            return;
        }
        for source in self.sources(queue) {
            let connection = Some(format!("{}-virtual", self.options.id).into());
            let value = self.next_number().cast_signed();
            let info = Arc::new(ConsumerInfo {
                consumer_id: Some(ConsumerId { connection, session: 0, value }),
                destination: Some(source.clone()),
                ..ConsumerInfo::default()
            });
            self.virtual_demand.add(queue, (source.clone(), Arc::clone(&info)));
            let count = self.consumers_of(&source);
            self.publish(Notice::virtual_consumer_added(&source, &info, count)).await;
        }
    }

    /// A destination is gone.
    pub(super) async fn virtual_queue_removed(&self, queue: &Destination) {
        for (source, info) in self.virtual_demand.remove(queue) {
            if let Some(id) = &info.consumer_id {
                self.announce_virtual_removal(&source, id).await;
            }
        }
    }

    /// What a newcomer is told first: all there is at the moment.
    pub(super) fn virtual_consumers(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for info in self.registry.consumers() {
            for part in info.destination.iter().flat_map(Destination::parts) {
                for source in self.sources(&part) {
                    let count = self.consumers_of(&source);
                    notices.push(Notice::virtual_consumer_added(&source, &info, count));
                }
            }
        }
        for (source, info) in self.virtual_demand.all() {
            let count = self.consumers_of(&source);
            notices.push(Notice::virtual_consumer_added(&source, &info, count));
        }
        notices
    }

    /// The virtual destinations behind `destination` that are to be announced.
    fn sources(&self, destination: &Destination) -> Vec<Destination> {
        match self.options.virtual_subscriptions {
            VirtualSubscriptions::Nothing => Vec::new(),
            _ if destination.is_advisory() => Vec::new(),
            _ => self.router.interceptors().get().sources(destination),
        }
    }

    fn consumers_of(&self, source: &Destination) -> u32 {
        self.router.find(source).map_or(0, |handle| handle.gauges.consumers.count())
    }
}
