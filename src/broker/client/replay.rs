//! What a new watcher of advisories is told first: the state as it is now.

use super::super::advisory::Notice;
use super::super::destination::{Gauge, Gauges};
use super::Client;
use crate::jms::info::{ConsumerInfo, DestinationInfo};
use crate::jms::{Destination, DestinationKind};

impl Client {
    /// Replays to a new consumer what its advisory topics would have told (advisory.md).
    pub(super) async fn replay_advisories(&self, info: &ConsumerInfo, parts: &[Destination]) {
        let told = self.broker.options.advisories;
        let Some(target) = info.consumer_id.as_ref().filter(|_| told) else { return };
        let topics: Vec<&str> = parts
            .iter()
            .filter(|part| part.kind() == DestinationKind::Topic)
            .filter_map(|part| part.name().strip_prefix(Destination::ADVISORY_PREFIX))
            .collect();
        for topic in &topics {
            let notices = match *topic {
                "Connection" => self.connections(),
                "Queue" => self.destinations(DestinationKind::Queue),
                "Topic" => self.destinations(DestinationKind::Topic),
                "TempQueue" => self.destinations(DestinationKind::TempQueue),
                "TempTopic" => self.destinations(DestinationKind::TempTopic),
                "MasterBroker" | ">" => vec![Notice::master_broker()],
                name if name.starts_with("Consumer.") => self.consumers(),
                name if name.starts_with("VirtualDestination.") => self.broker.virtual_consumers(),
                name if name.starts_with("Producer.") => self.producers(),
                _ => Vec::new(),
            };
            for notice in notices {
                let topic = notice.topic();
                if parts.iter().any(|part| super::super::router::matches(part, &topic)) {
                    self.broker.replay(&notice, target.clone()).await;
                }
            }
        }
    }

    fn connections(&self) -> Vec<Notice> {
        let all = self.broker.registry.connections();
        all.iter().map(|entry| Notice::connection_added(&entry.info)).collect()
    }

    fn destinations(&self, kind: DestinationKind) -> Vec<Notice> {
        let all = self.broker.router.all().into_iter();
        all.filter(|handle| handle.destination.kind() == kind && !handle.destination.is_advisory())
            .map(|handle| {
                Notice::destination(DestinationInfo {
                    connection_id: handle.creator.clone(),
                    destination: Some(handle.destination.clone()),
                    ..DestinationInfo::default()
                })
            })
            .collect()
    }

    fn consumers(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for info in self.broker.registry.consumers() {
            for part in info.destination.iter().flat_map(Destination::parts) {
                if !part.is_advisory() {
                    let count = self.count(&part, |gauges| &gauges.consumers);
                    notices.push(Notice::consumer_added(&part, &info, count));
                }
            }
        }
        notices
    }

    fn producers(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for info in self.broker.registry.producers() {
            if info.destination.is_none() && self.broker.options.anonymous_producer_advisories {
                notices.push(Notice::anonymous_producer_added(&info));
            }
            for part in info.destination.iter().flat_map(Destination::parts) {
                if !part.is_advisory() {
                    let count = self.count(&part, |gauges| &gauges.producers);
                    notices.push(Notice::producer_added(&part, &info, count));
                }
            }
        }
        notices
    }

    fn count(&self, destination: &Destination, gauge: impl Fn(&Gauges) -> &Gauge) -> u32 {
        let handle = self.broker.router.find(destination);
        handle.map_or(0, |handle| gauge(&handle.gauges).count())
    }
}
