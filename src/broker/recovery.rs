//! The start on a store with a history: destinations, durable subscriptions and prepared transactions come
//! back before the first client is served.

use super::Broker;
use super::destination::Op;
use super::destination::durable::{DurableKey, DurableSubscription, NewDurable};
use super::destination::queue::History;
use super::destination::topic::TopicMember;
use super::error::BrokerError;
use super::outbox::{Outbox, Receipt};
use super::router::Listener;
use super::scheduler;
use super::transaction::{PendingSend, Transaction};
use crate::jms::{ConsumerInfo, Destination, Text};
use crate::store::{
    PreparedBranch, Recovered, RecoveredDestination, RecoveredSubscription, StoreError, StoreOp,
    Submit,
};
use std::sync::Arc;

/// What happens to prepared transactions found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreparedFate {
    /// They wait for their transaction manager.
    #[default]
    Wait,
    Commit,
    RollBack,
}

impl Broker {
    /// Brings back what the store has. Before anything else is asked of this broker.
    ///
    /// # Errors
    /// When a policy does not allow a destination that is there.
    pub(super) async fn recover(self: &Arc<Self>, found: Recovered) -> Result<(), BrokerError> {
        if self.options.deletes_all {
            return self.forget(found).await;
        }
        let Recovered { destinations, subscriptions, prepared, .. } = found;
        for RecoveredDestination { destination, bands, expiring, producers } in destinations {
            if destination == scheduler::jobs_queue() {
                continue;
            }
            self.enter(&destination, None, History { bands, expiring, producers })?;
        }
        for RecoveredSubscription { subscription, pending } in subscriptions {
            let info = Arc::new(ConsumerInfo {
                client_id: Some(Text::clone(&subscription.client)),
                subscription_name: Some(Text::clone(&subscription.name)),
                destination: Some(subscription.destination.clone()),
                selector: subscription.selector.clone(),
                no_local: subscription.no_local,
                ..ConsumerInfo::default()
            });
            // It was understood when the subscription was made; one that is not any more matches nothing
            // by itself, and its consumer is told when it comes back.
            let selector =
                subscription.selector.as_ref().and_then(|text| self.selectors.parse(text).ok());
            let parts = subscription.destination.parts();
            let first = parts.first().unwrap_or(&subscription.destination);
            let durable = DurableSubscription::new(NewDurable {
                key: self.next_subscription(),
                number: subscription.number,
                owner: DurableKey { client: subscription.client, name: subscription.name },
                destination: subscription.destination.clone(),
                info,
                selector,
                policy: Arc::new(self.policy(first)),
                keeps_transient: self.options.keep_durables_active,
                expires_active: self.options.expire_active_durables,
                outlet: self.outlet.clone(),
                usage: Arc::clone(&self.consumer_memory),
                spool: self.options.spool.clone(),
                pending,
            });
            self.registry.durable_added(Arc::clone(&durable));
            self.rejoin(&durable, &parts).await?;
        }
        for branch in prepared {
            self.restore(branch).await?;
        }
        Ok(())
    }

    /// Takes all that the store has out of it, but for scheduled messages (`deleteAllMessagesOnStartup`).
    async fn forget(&self, found: Recovered) -> Result<(), BrokerError> {
        let Recovered { destinations, subscriptions, prepared, .. } = found;
        let subscriptions = subscriptions.into_iter().map(|known| known.subscription.number);
        let unsubscribe = |subscription| StoreOp::Unsubscribe { subscription };
        let jobs = scheduler::jobs_queue();
        let destinations = destinations.into_iter().map(|known| known.destination);
        let delete = |destination| StoreOp::Delete { destination };
        let forget = |branch: PreparedBranch| StoreOp::Forget { xid: branch.xid };
        let ops = subscriptions.map(unsubscribe);
        let ops = ops.chain(prepared.into_iter().map(forget));
        let ops = ops.chain(destinations.filter(|known| *known != jobs).map(delete));
        let mut ops: Vec<StoreOp> = ops.collect();
        if !ops.is_empty() {
            tracing::warn!("All messages are deleted, as deleteAllMessagesOnStartup says");
        }
        while !ops.is_empty() {
            let ops = ops.split_off(ops.len().saturating_sub(FORGOTTEN_AT_ONCE));
            let (done, answer) = tokio::sync::oneshot::channel();
            // Who waits for the answer is here until it comes.
            let done = Box::new(move |outcome| drop(done.send(outcome)));
            self.outlet.store.submit(Submit { ops, durable: true, done });
            answer.await.unwrap_or_else(|_| Err(StoreError::Stopped("it ended".into())))?;
        }
        Ok(())
    }

    /// Joins a durable subscription to its topics.
    async fn rejoin(
        &self,
        durable: &Arc<DurableSubscription>,
        parts: &[Destination],
    ) -> Result<(), BrokerError> {
        let member = TopicMember::Durable(Arc::clone(durable));
        for part in parts {
            let listener = Listener::Topic(member.clone());
            for handle in self.listen(durable.key, part, listener, None).await? {
                let member = member.clone();
                handle.send(vec![Op::Join { member, receipt: None, past: None }]).await;
            }
        }
        Ok(())
    }

    /// A prepared branch goes on waiting: its sends are kept, what it acknowledged is locked.
    async fn restore(&self, branch: PreparedBranch) -> Result<(), BrokerError> {
        let PreparedBranch { xid, sends, removals, acknowledgements } = branch;
        let mut transaction = self.transactions.begin_own();
        let mut locks = Vec::new();
        for (destination, message) in sends {
            let handle = if destination == scheduler::jobs_queue() {
                Arc::clone(&self.scheduler.handle)
            } else {
                self.destination(&destination, None).await?
            };
            let bytes = (message.size() as u64).max(handle.policy.get().minimum_message_bytes);
            handle.usage.take(bytes);
            transaction.sends.push(PendingSend { handle, message, bytes, unstored: false });
        }
        for (destination, sequences) in removals {
            let handle = self.destination(&destination, None).await?;
            transaction.touch_queue(&handle);
            handle.send(vec![Op::Lock { transaction: transaction.key, sequences }]).await;
        }
        for (topic, number, sequences) in acknowledgements {
            let durables = self.registry.durables();
            if let Some(durable) = durables.iter().find(|durable| durable.number == number) {
                transaction.touch_durable(durable);
                let (receipt, locked) = Receipt::waiter();
                durable.lock(transaction.key, topic, sequences, receipt);
                locks.push(locked);
            }
        }
        for locked in locks {
            locked.await.unwrap_or_default();
        }
        transaction.stored = Some(Arc::clone(&xid));
        match self.options.prepared_fate {
            PreparedFate::Wait => {
                tracing::info!("Recovered prepared transaction {xid}");
                self.transactions.restore(xid, transaction);
            }
            fate => self.purge(fate, &xid, transaction).await,
        }
        Ok(())
    }

    async fn purge(&self, fate: PreparedFate, xid: &crate::jms::XaId, transaction: Transaction) {
        let nobody = Arc::new(Outbox::default());
        if fate == PreparedFate::Commit {
            tracing::warn!("Committing recovered prepared transaction {xid}, as configured");
            self.commit(transaction, &nobody, None).await;
        } else {
            tracing::warn!("Rolling back recovered prepared transaction {xid}, as configured");
            self.roll_back(transaction, &nobody, None).await;
        }
    }
}

/// Destinations and the like in one submit when all are deleted.
const FORGOTTEN_AT_ONCE: usize = 100;
