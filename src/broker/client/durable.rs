//! A client's durable subscriptions: taking, replacing and deleting them.

use super::super::destination::durable::{DurableKey, DurableSubscription, Looking, NewDurable};
use super::super::destination::topic::TopicMember;
use super::super::destination::{DestinationHandle, Op};
use super::super::error::BrokerError;
use super::super::outbox::Receipt;
use super::super::plugins::Event;
use super::super::router::{Listener, matches};
use super::{Client, Consumer, Notice};
use crate::jms::info::{ConsumerInfo, RemoveSubscriptionInfo};
use crate::jms::selector::Selector;
use crate::jms::{Destination, Text};
use crate::store::{StoreOp, StoredSubscription};
use std::collections::HashSet;
use std::sync::Arc;

impl Client {
    /// Takes a durable subscription, creating it or, when it asks for something else than before,
    /// creating it anew.
    pub(super) async fn activate_durable(
        &self,
        consumer: &mut Consumer,
        name: Text,
        destination: &Destination,
        selector: Option<Selector>,
    ) -> Result<(), BrokerError> {
        if self.broker.options.reject_durables {
            return Err(BrokerError::DurablesRejected);
        }
        if destination.is_advisory() {
            return Err(BrokerError::DurableAdvisory);
        }
        let parts = destination.parts();
        if parts.iter().any(|part| part.kind().is_queue()) {
            return Err(BrokerError::DurableNotTopic(destination.clone()));
        }
        let client = self.entry.info.client_id.clone().ok_or(BrokerError::ClientIdMissing)?;
        let owner = DurableKey { client, name };
        let info = &consumer.info;
        if let Some(present) = self.broker.registry.durable(&owner) {
            if present.is_active() {
                let DurableKey { client, name } = owner;
                return Err(BrokerError::DurableInUse { client, name });
            }
            let same = present.destination == *destination
                && blank_is_none(&present.selector_text) == blank_is_none(&info.selector)
                && present.no_local == info.no_local;
            if same {
                let topics = self.with_a_past(info, &parts);
                let looking = (!topics.is_empty()).then(|| present.look_back());
                self.with_effects(|now, out| {
                    present.activate(Arc::clone(info), Arc::clone(&self.outbox), now, out)
                })?;
                consumer.key = present.key;
                consumer.durable = Some(Arc::clone(&present));
                for topic in topics {
                    let (member, past) = (TopicMember::Durable(present.clone()), looking.clone());
                    topic.send(vec![Op::Join { member, receipt: None, past }]).await;
                }
                return Ok(());
            }
            self.broker.destroy_durable(&owner).await?;
        }
        let number = self.broker.next_durable();
        let stored = StoredSubscription {
            number,
            client: Text::clone(&owner.client),
            name: Text::clone(&owner.name),
            destination: destination.clone(),
            selector: info.selector.clone(),
            no_local: info.no_local,
        };
        self.broker.store_now(vec![StoreOp::Subscribe(stored)]).await?;
        let durable = DurableSubscription::new(NewDurable {
            key: consumer.key,
            number,
            owner,
            destination: destination.clone(),
            info: Arc::clone(info),
            selector,
            policy: Arc::new(self.broker.policy(&parts[0])),
            keeps_transient: self.broker.options.keep_durables_active,
            expires_active: self.broker.options.expire_active_durables,
            outlet: self.broker.outlet.clone(),
            usage: Arc::clone(&self.broker.consumer_memory),
            spool: self.broker.options.spool.clone(),
            pending: 0,
        });
        let looking = durable.look_back();
        self.with_effects(|now, out| {
            durable.activate(Arc::clone(info), Arc::clone(&self.outbox), now, out)
        })?;
        self.broker.registry.durable_added(Arc::clone(&durable));
        consumer.durable = Some(Arc::clone(&durable));
        self.join_durable(looking, info, &parts).await
    }

    /// Joins a new durable subscription to its topics. Returns when what it shares of their past is stored.
    async fn join_durable(
        &self,
        looking: Looking,
        info: &ConsumerInfo,
        parts: &[Destination],
    ) -> Result<(), BrokerError> {
        let durable = looking.durable();
        let member = TopicMember::Durable(Arc::clone(durable));
        let (mut shared, mut joined) = (Vec::new(), HashSet::new());
        for part in parts {
            let listener = Listener::Topic(member.clone());
            for topic in self.resolve(durable.key, part, listener, true).await? {
                // Several parts may name it.
                if !joined.insert(topic.destination.clone()) {
                    continue;
                }
                let (receipt, told) = Receipt::waiter();
                let receipt = Some(receipt).filter(|_| info.retroactive);
                let looks = info.retroactive || topic.policy.get().always_retroactive;
                let (member, past) = (member.clone(), looks.then(|| looking.clone()));
                topic.send(vec![Op::Join { member, receipt, past }]).await;
                shared.push(told);
            }
        }
        drop(looking);
        for told in shared {
            told.await.unwrap_or_default();
        }
        Ok(())
    }

    /// The topics whose past is for a consumer of `parts`.
    fn with_a_past(
        &self,
        info: &ConsumerInfo,
        parts: &[Destination],
    ) -> Vec<Arc<DestinationHandle>> {
        let mut topics = self.broker.router.all();
        topics.retain(|topic| {
            (info.retroactive || topic.policy.get().always_retroactive)
                && parts.iter().any(|part| matches(part, &topic.destination))
        });
        topics
    }

    /// Deletes a durable subscription of this client.
    pub async fn forget_durable(
        &mut self,
        info: RemoveSubscriptionInfo,
    ) -> Result<(), BrokerError> {
        let client = info.client_id.clone().unwrap_or_else(|| "null".into());
        let name = info.subscription_name.clone().unwrap_or_else(|| "null".into());
        let owner = DurableKey { client: Text::clone(&client), name: Text::clone(&name) };
        // Only its own client may delete a subscription.
        let own = self.entry.info.client_id.as_ref() == Some(&client);
        let present = self.broker.registry.durable(&owner).filter(|_| own);
        let Some(durable) = present else {
            return Err(BrokerError::DurableMissing { client, name });
        };
        if durable.is_active() {
            return Err(BrokerError::DurableActive);
        }
        self.note(&Event::SubscriptionRemoved(&info));
        self.broker.destroy_durable(&owner).await?;
        for part in durable.destination.parts() {
            let topic = self.broker.router.find(&part);
            let count = topic.map_or(0, |topic| topic.gauges.consumers.count());
            self.announce(Notice::durable_removed(&part, info.clone(), count)).await;
        }
        Ok(())
    }
}

fn blank_is_none(selector: &Option<Text>) -> Option<&str> {
    selector.as_deref().map(str::trim).filter(|text| !text.is_empty())
}
