//! The end of durable subscriptions: asked for by their client, or because nobody comes back for them.

use super::Broker;
use super::destination::Op;
use super::destination::durable::DurableKey;
use super::error::BrokerError;
use super::outbox::SubscriptionKey;
use crate::jms::Destination;
use crate::store::StoreOp;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long durable subscriptions wait for their clients.
#[derive(Clone, Copy, Debug)]
pub struct OfflineDurables {
    /// `offlineDurableSubscriberTimeout`; none: for ever.
    pub timeout: Option<Duration>,
    /// `offlineDurableSubscriberTaskSchedule`: how often that is looked at.
    pub check_every: Duration,
}

/// Starts to look for durable subscriptions that nobody comes back for, if they are to end.
pub(super) fn watch(broker: &Arc<Broker>) {
    let OfflineDurables { timeout: Some(timeout), check_every } = broker.options.offline_durables
    else {
        return;
    };
    tokio::spawn(end_abandoned(Arc::downgrade(broker), timeout, check_every));
}

async fn end_abandoned(broker: Weak<Broker>, timeout: Duration, check_every: Duration) {
    loop {
        tokio::time::sleep(check_every.max(SHORTEST_CHECK)).await;
        let Some(broker) = broker.upgrade() else { return };
        for durable in broker.registry.durables() {
            if durable.offline_since().is_none_or(|since| since.elapsed() < timeout) {
                continue;
            }
            let DurableKey { client, name } = &durable.owner;
            tracing::info!(
                "Destroying durable subscriber due to inactivity: client id {client}, subscription {name}"
            );
            if let Err(error) = broker.destroy_durable(&durable.owner).await {
                tracing::error!(%client, %name, %error, "the durable subscription was not deleted");
                continue;
            }
        }
    }
}

/// A schedule of zero would never rest.
const SHORTEST_CHECK: Duration = Duration::from_millis(100);

impl Broker {
    /// Removes a durable subscription with its backlog, from its topics and from the store.
    pub(super) async fn destroy_durable(&self, owner: &DurableKey) -> Result<(), BrokerError> {
        let Some(durable) = self.registry.durable(owner) else { return Ok(()) };
        if !durable.end() {
            return Err(BrokerError::DurableActive);
        }
        self.registry.durable_removed(owner);
        self.leave(durable.key, &durable.destination).await;
        let subscription = durable.number;
        Ok(self.store_now(vec![StoreOp::Unsubscribe { subscription }]).await?)
    }

    /// Takes a subscription off the topics that `destination` names.
    pub(super) async fn leave(&self, key: SubscriptionKey, destination: &Destination) {
        let handles = self.router.unlisten(key, destination);
        for handle in handles.iter().filter(|handle| !handle.destination.kind().is_queue()) {
            handle.send(vec![Op::Leave { key, receipt: None }]).await;
        }
    }
}
