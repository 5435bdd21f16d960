//! Consumers of networks that stand for clients which have come here themselves (`monitorConnectionSplits`).
//!
//! When the connection of a client breaks, it may find this broker before the other one knows that it is gone. Then
//! its messages would still go to the other broker, which has nobody for them.

use super::Broker;
use super::client::Attached;
use crate::jms::ConsumerId;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// The consumers of networks.
#[derive(Debug, Default)]
pub(super) struct Splits {
    network: Mutex<Vec<Bridged>>,
}

#[derive(Debug)]
struct Bridged {
    /// The clients' consumers it stands for that have not come here.
    behind: Vec<ConsumerId>,
    consumer: Weak<Attached>,
}

impl Splits {
    /// Notes a consumer that has come; returns those of networks that stand for nobody else.
    fn came(&self, consumer: &Arc<Attached>) -> Vec<Arc<Attached>> {
        let info = &consumer.info;
        let mut network = self.network.lock();
        network.retain(|bridged| bridged.consumer.strong_count() > 0);
        if info.network_subscription {
            let behind = info.network_consumer_path.iter().flatten().flatten().cloned();
            let (behind, consumer) = (behind.collect(), Arc::downgrade(consumer));
            network.push(Bridged { behind, consumer });
            return Vec::new();
        }
        let Some(id) = &info.consumer_id else { return Vec::new() };
        let mut stale = Vec::new();
        network.retain_mut(|bridged| {
            let before = bridged.behind.len();
            bridged.behind.retain(|behind| behind != id);
            let is_stale = bridged.behind.is_empty() && before > 0;
            stale.extend(bridged.consumer.upgrade().filter(|_| is_stale));
            !is_stale
        });
        stale
    }
}

impl Broker {
    /// Takes off the consumers of networks that stood for the client of `consumer` alone.
    pub(super) async fn end_splits(&self, consumer: &Arc<Attached>) {
        for stale in self.splits.came(consumer) {
            let id = stale.info.consumer_id.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("Removed stale network consumer {id}");
            stale.take_off(self, super::slow_consumers::NOT_TOLD).await;
        }
    }
}
