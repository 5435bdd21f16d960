//! The core: queues, topics, subscriptions and transactions, without any protocol.
//!
//! A protocol session opens a [`Client`](client::Client) per connection and talks to the broker through it; what comes
//! back waits in the connection's [`Outbox`](outbox::Outbox). The calls are few: connect, add and remove producer and
//! consumer, send, acknowledge, pull, transaction, destination, forget durable, close.
//!
//! Invariants: one task per destination, waiting for its mailbox only; producers take memory before the
//! mailbox; destinations send on (dead letters, notices) through [`forward`].

pub mod advisory;
pub mod candidate;
pub mod client;
mod coordinator;
pub mod dead_letter;
mod deliver;
mod departed;
pub mod destination;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod forward;
mod inactive;
pub mod interceptors;
mod joined_queues;
pub mod live;
mod names;
mod offline;
pub mod outbox;
pub mod plugins;
pub mod policy;
mod recovery;
pub mod registry;
pub mod router;
pub mod scheduler;
mod slow_consumers;
pub mod snapshot;
pub(crate) mod spare;
mod splits;
pub mod transaction;
pub mod usage;
mod virtual_demand;

use self::advisory::{Announcer, Notice};
use self::dead_letter::{Buried, DeadLetter};
use self::departed::Departed;
use self::destination::counters::Gone;
use self::destination::queue::History;
use self::destination::{
    DestinationHandle, Effects, Incoming, NewDestination, Now, Op, Outlet, spawn,
};
use self::error::BrokerError;
use self::forward::{Forward, ForwardReceiver};
pub use self::inactive::InactiveSweeps;
use self::interceptors::Interceptors;
use self::live::Live;
pub use self::offline::OfflineDurables;
use self::outbox::{Receipt, SubscriptionKey};
use self::plugins::{Event, Fate, Passage, Plugins};
use self::policy::Policy;
pub use self::recovery::PreparedFate;
use self::registry::Registry;
use self::router::{Ending, Listener, Router};
use self::scheduler::{Scheduler, SchedulerOptions};
use self::splits::Splits;
use self::transaction::Transactions;
use self::usage::{MemoryShare, Usage};
use self::virtual_demand::VirtualDemand;
pub use self::virtual_demand::VirtualSubscriptions;
use crate::jms::info::DestinationInfo;
use crate::jms::selector::SelectorPool;
use crate::jms::{BrokerId, ConnectionId, ConsumerId, Destination, Text};
use crate::security::Authenticator;
use crate::store::spool::Spool;
use crate::store::{Store, StoreOp};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Tells which part of the store's space the messages of a destination take.
pub type StoreShare = Box<dyn Fn(&Destination) -> Arc<Usage> + Send + Sync>;

/// What a broker is started with.
pub struct BrokerOptions {
    pub name: Text,
    pub id: BrokerId,
    /// Gives each destination its policy.
    pub policy: Box<dyn Fn(&Destination) -> Policy + Send + Sync>,
    /// What advisories call `systemUsage`.
    pub memory_name: Text,
    /// `memoryUsage`, bytes.
    pub memory_limit_bytes: u64,
    /// Memory of what is in destinations.
    pub producer_memory: MemoryShare,
    /// Memory of what waits for subscriptions of topics.
    pub consumer_memory: MemoryShare,
    pub advisories: bool,
    /// Virtual topics, composite destinations and mirrored queues at the start; later those of the router.
    pub interceptors: Arc<Interceptors>,
    pub virtual_subscriptions: VirtualSubscriptions,
    /// `destinationPathSeparatorPlugin`: stands for a dot in what clients name.
    pub path_separator: Option<Text>,
    pub user_id: UserId,
    /// `populateUserNameInMBeans`.
    pub shows_users: bool,
    /// `anonymousProducerAdvisorySupport`.
    pub anonymous_producer_advisories: bool,
    /// `allowTempAutoCreationOnSend`.
    pub create_temporaries_on_send: bool,
    /// `keepDurableSubsActive`: offline durable subscriptions keep non-persistent messages too.
    pub keep_durables_active: bool,
    /// `enableMessageExpirationOnActiveDurableSubs`.
    pub expire_active_durables: bool,
    /// `cacheTempDestinations`: temporary destinations can come again for so long after they went.
    pub keep_temporaries: Option<Duration>,
    /// `rollbackOnlyOnAsyncException`.
    pub rollback_only_on_async_failure: bool,
    /// `monitorConnectionSplits`: consumers of networks go when the clients they stand for have come here.
    pub monitors_splits: bool,
    /// `rejectDurableConsumers`.
    pub reject_durables: bool,
    /// `enableStatistics`: what is counted is shown.
    pub statistics: bool,
    pub authenticator: Live<Authenticator>,
    /// Disk space of the store; the store says how much is used.
    pub store_usage: Arc<Usage>,
    /// The part of it that messages of a destination take, where the store is several.
    pub store_share: Option<StoreShare>,
    /// Disk space of the temp store.
    pub temp_usage: Arc<Usage>,
    /// Takes non-persistent messages that do not fit into memory.
    pub spool: Option<Arc<Spool>>,
    /// `concurrentStoreAndDispatchQueues`: a persistent message may be with a consumer before it is stored.
    pub dispatches_early: bool,
    pub prepared_fate: PreparedFate,
    /// `deleteAllMessagesOnStartup`.
    pub deletes_all: bool,
    pub offline_durables: OfflineDurables,
    pub inactive_sweeps: InactiveSweeps,
    pub scheduler: SchedulerOptions,
    pub plugins: Plugins,
    /// Addresses of the connectors, by their schemes.
    pub addresses: Vec<(Text, Text)>,
    /// `dataDirectory`, for those who ask.
    pub data_directory: Text,
    /// The address clients are told in advisories when the event came through no connector.
    pub default_url: Text,
}

/// Where JMSXUserID of a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserId {
    /// From its sender (`populateJMSXUserID` is off).
    AsSent,
    /// It is the user name its connection gave.
    User,
    /// It is who that turned out to be (`useAuthenticatedPrincipalForJMSXUserID`).
    Principal,
}

/// A running broker.
pub struct Broker {
    pub options: BrokerOptions,
    pub router: Router,
    pub registry: Registry,
    pub transactions: Arc<Transactions>,
    pub memory: Arc<Usage>,
    /// What consumers ask for, parsed.
    pub selectors: SelectorPool,
    pub scheduler: Scheduler,
    producer_memory: Arc<Usage>,
    consumer_memory: Arc<Usage>,
    sequence: Arc<AtomicI64>,
    outlet: Outlet,
    announcer: Announcer,
    /// Temporary destinations that may come again.
    departed: Departed,
    /// Counters of destinations that were removed.
    gone: Gone,
    /// What each dead letter queue got recently.
    buried: Mutex<Buried>,
    virtual_demand: VirtualDemand,
    splits: Splits,
    next_number: AtomicU64,
    /// Number of the durable subscription made last.
    last_durable: AtomicU64,
}

impl Broker {
    /// Starts a broker on `store` and brings back what is there.
    ///
    /// # Errors
    /// When a policy does not allow what the store has.
    pub async fn start(
        options: BrokerOptions,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Self>, BrokerError> {
        let found = store.recovered();
        let (forward, receiver) = forward::channel();
        let connection = format!("{}-broker", options.id);
        let announcer =
            Announcer::new(Text::clone(&options.name), options.id.clone(), connection.into());
        let sequence = Arc::new(AtomicI64::new(found.last_sequence));
        let outlet = Outlet { store, forward, halted: Arc::default() };
        let memory =
            Usage::named(Text::clone(&options.memory_name), options.memory_limit_bytes, None);
        let broker = Arc::new(Self {
            router: Router::new(Arc::clone(&options.interceptors)),
            registry: Registry::default(),
            transactions: Arc::default(),
            producer_memory: options.producer_memory.usage("Producer", &memory),
            consumer_memory: options.consumer_memory.usage("Consumer", &memory),
            memory,
            selectors: SelectorPool::default(),
            scheduler: Scheduler::start(&options, &sequence, &outlet),
            sequence,
            outlet,
            announcer,
            departed: Departed::default(),
            gone: Gone::default(),
            buried: Mutex::default(),
            virtual_demand: VirtualDemand::default(),
            splits: Splits::default(),
            next_number: AtomicU64::new(1),
            last_durable: AtomicU64::new(found.last_subscription),
            options,
        });
        if broker.options.plugins.hears_notices() {
            broker.outlet.forward.listener_added();
        }
        broker.options.plugins.note(&Event::Started(&broker.options.name));
        if broker.options.interceptors.forward_advisories() {
            broker.outlet.forward.listener_added();
        }
        broker.recover(found).await?;
        // Not before: what expires meanwhile goes to a queue that may be there and not be back yet.
        tokio::spawn(carry(Arc::downgrade(&broker), receiver));
        for present in broker.router.all() {
            broker.virtual_queue_made(&present.destination).await;
        }
        offline::watch(&broker);
        inactive::watch(&broker);
        Ok(broker)
    }

    /// From now on queues give nothing to anybody: consumers that are closed one after the other would
    /// hand their messages on to each other.
    pub fn halt(&self) {
        self.outlet.halted.store(true, Ordering::Relaxed);
    }

    /// A number that no durable subscription had before.
    fn next_durable(&self) -> u64 {
        self.last_durable.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number that no connection or subscription of this broker had before.
    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn next_subscription(&self) -> SubscriptionKey {
        SubscriptionKey(self.next_number())
    }

    /// The policy of `destination`.
    pub fn policy(&self, destination: &Destination) -> Policy {
        let policy = (self.options.policy)(destination);
        if !destination.is_advisory() {
            return policy;
        }
        // An advisory about an advisory would have one of its own, and so on without end.
        Policy {
            advisory_for_consumed: false,
            advisory_for_delivery: false,
            advisory_for_discarding: false,
            advisory_for_fast_producers: false,
            advisory_for_slow_consumers: false,
            advisory_when_full: false,
            advisory_if_no_consumers: false,
            ..policy
        }
    }

    /// Gives every destination the policy it has by now.
    pub async fn apply_policies(&self) {
        for handle in self.router.all() {
            let new = self.policy(&handle.destination);
            let policy = Arc::new(handle.policy.get().replaced_by(new));
            handle.usage.set_limit(policy.memory_limit_bytes);
            handle.policy.set(Arc::clone(&policy));
            handle.send(vec![Op::Policy(policy)]).await;
        }
    }

    /// From now on destinations are intercepted so. What is remembered of selectors stays.
    pub fn apply_interceptors(&self, interceptors: Interceptors) {
        let selector_cache = self.options.interceptors.selector_cache.clone();
        let interceptors = Interceptors { selector_cache, ..interceptors };
        let heard = |of: &Interceptors| of.forward_advisories();
        let (before, now) = (heard(&self.router.interceptors().get()), heard(&interceptors));
        if now && !before {
            self.outlet.forward.listener_added();
        }
        self.router.set_interceptors(Arc::new(interceptors));
    }

    /// The destination, created if need be on behalf of `creator`.
    pub async fn destination(
        &self,
        destination: &Destination,
        creator: Option<&ConnectionId>,
    ) -> Result<Arc<DestinationHandle>, BrokerError> {
        if let Some(present) = self.router.find(destination) {
            return Ok(present);
        }
        if destination.name().trim().is_empty() {
            return Err(BrokerError::DestinationNameEmpty);
        }
        if *destination == scheduler::jobs_queue() {
            return Err(BrokerError::DestinationReserved(destination.clone()));
        }
        self.router.ended(destination).await;
        let (handle, made) = self.enter(destination, creator, History::default())?;
        if made && !destination.is_advisory() {
            tracing::debug!(%destination, "destination created");
            self.options.plugins.note(&Event::DestinationAdded(destination));
            if !destination.kind().is_temporary() {
                let ops = vec![StoreOp::Create { destination: destination.clone() }];
                self.outlet.run(&mut Effects { removals: ops, ..Effects::default() }, None);
            }
            self.announce_destination(destination, creator, 0).await;
            self.virtual_queue_made(destination).await;
        }
        Ok(handle)
    }

    /// The destinations that a name or pattern stands for; the listener is joined to those that come later,
    /// its own name again too. Created, if need be, on behalf of `creator`.
    async fn listen(
        &self,
        key: SubscriptionKey,
        part: &Destination,
        listener: Listener,
        creator: Option<&ConnectionId>,
    ) -> Result<Vec<Arc<DestinationHandle>>, BrokerError> {
        if part.is_pattern() {
            if self.router.interceptors().get().make_queue_of(part) {
                self.destination(part, creator).await?;
            }
            return Ok(self.router.listen(key, part.clone(), listener));
        }
        self.destination(part, creator).await?;
        Ok(self.router.listen_by_name(key, part, listener).into_iter().collect())
    }

    /// The destination, entered into the table with `history` if it is not there; true when it was not.
    fn enter(
        &self,
        destination: &Destination,
        creator: Option<&ConnectionId>,
        history: History,
    ) -> Result<(Arc<DestinationHandle>, bool), BrokerError> {
        self.router.find_or_insert(destination, |present| {
            if let Some(back) = self.departed.take(destination) {
                return Ok(back);
            }
            let policy = Arc::new(self.policy(destination));
            policy.allows_another(destination, present)?;
            let usage =
                Usage::new(policy.memory_limit_bytes, Some(Arc::clone(&self.producer_memory)));
            let new = NewDestination {
                destination: destination.clone(),
                policy,
                usage,
                store_usage: match &self.options.store_share {
                    Some(share) => share(destination),
                    None => Arc::clone(&self.options.store_usage),
                },
                temp_usage: Arc::clone(&self.options.temp_usage),
                spool: self.options.spool.clone(),
                dispatches_early: self.options.dispatches_early,
                creator: creator.cloned(),
                sequence: Arc::clone(&self.sequence),
                history,
                gone: self.gone.clone(),
            };
            Ok(spawn(new, self.outlet.clone()))
        })
    }

    async fn announce_destination(
        &self,
        destination: &Destination,
        creator: Option<&ConnectionId>,
        operation_type: i8,
    ) {
        let info = DestinationInfo {
            connection_id: creator.cloned(),
            destination: Some(destination.clone()),
            operation_type,
            ..DestinationInfo::default()
        };
        let mut notice = Notice::destination(info);
        notice.cause = creator.and_then(|id| id.value.clone());
        let topic = notice.topic();
        let is_heard =
            self.router.interceptors().get().intercept(&topic) || self.router.has_listener(&topic);
        if !self.options.advisories || !is_heard {
            return;
        }
        // Clients refuse to send to a temporary destination they have not heard of: whoever learns of
        // it from a message must have been told before. And whoever is told of a consumer or producer knows
        // the destination it has.
        let (receipt, told) = Receipt::waiter();
        let receipt = (destination.kind().is_temporary() || operation_type == 0).then_some(receipt);
        let waits = receipt.is_some();
        self.send_notice(&notice, &topic, None, None, receipt).await;
        if waits {
            // A topic that is gone told everybody it could.
            told.await.unwrap_or_default();
        }
    }

    /// Removes a destination with all it holds. Unknown ones are fine.
    pub async fn remove_destination(&self, destination: &Destination, by: Option<&ConnectionId>) {
        let Some((handle, ending)) = self.router.remove(destination) else { return };
        self.end_destination(&handle, ending, by).await;
    }

    /// Ends a destination that is out of the table, and its advisory topics.
    async fn end_destination(
        &self,
        handle: &Arc<DestinationHandle>,
        ending: Ending<'_>,
        by: Option<&ConnectionId>,
    ) {
        let destination = &handle.destination;
        match self.options.keep_temporaries.filter(|_| destination.kind().is_temporary()) {
            Some(time) => self.departed.keep(Arc::clone(handle), time),
            None => {
                let (receipt, gone) = Receipt::waiter();
                handle.send(vec![Op::Destroy { receipt: Some(receipt) }]).await;
                gone.await.unwrap_or_default();
            }
        }
        self.buried.lock().forget(destination);
        if let Some(cache) = &self.options.interceptors.selector_cache {
            cache.forget(destination);
        }
        drop(ending);
        tracing::debug!(%destination, "destination removed");
        self.options.plugins.note(&Event::DestinationRemoved(destination));
        if !destination.is_advisory() {
            self.announce_destination(destination, by, 1).await;
            self.virtual_queue_removed(destination).await;
            let name = destination.name();
            let (family, kind) = (
                if destination.kind().is_queue() { "Queue" } else { "Topic" },
                destination.kind().title(),
            );
            for (what, kind) in [
                ("Consumer", family),
                ("Producer", family),
                ("Expired", family),
                ("NoConsumer", family),
                ("SlowConsumer", kind),
                ("FastProducer", kind),
                ("MessageDiscarded", kind),
                ("MessageDelivered", kind),
                ("MessageConsumed", kind),
                ("MessageDLQd", kind),
                ("FULL", kind),
            ] {
                let topic = format!("{}{what}.{kind}.{name}", Destination::ADVISORY_PREFIX);
                let topic = Destination::topic(topic);
                if let Some(idle) = self.router.find(&topic)
                    && idle.gauges.consumers.count() == 0
                    && let Some((handle, _ending)) = self.router.remove(&topic)
                {
                    handle.send(vec![Op::Destroy { receipt: None }]).await;
                }
            }
        }
    }

    /// Publishes a notice if somebody listens to its topic.
    pub async fn publish(&self, notice: Notice) {
        self.publish_from(notice, None).await;
    }

    /// As [`Self::publish`], naming the connector the event came through.
    pub async fn publish_from(&self, notice: Notice, origin_url: Option<&str>) {
        self.options.plugins.note(&Event::Noticed(&notice));
        if !self.options.advisories {
            return;
        }
        let topic = notice.topic();
        let intercepts = self.router.interceptors().get().intercept(&topic);
        if intercepts || self.router.has_listener(&topic) {
            self.send_notice(&notice, &topic, origin_url, None, None).await;
        }
    }

    /// Sends a notice to one consumer, whether or not it is published.
    async fn replay(&self, notice: &Notice, target: ConsumerId) {
        self.send_notice(notice, &notice.topic(), None, Some(target), None).await;
    }

    async fn send_notice(
        &self,
        notice: &Notice,
        topic: &Destination,
        origin_url: Option<&str>,
        target: Option<ConsumerId>,
        receipt: Option<Receipt>,
    ) {
        let body = notice.subject.as_ref().is_some_and(|of| self.policy(of).advisory_includes_body);
        let watcher = target.as_ref().and_then(|watcher| watcher.connection.as_ref());
        let cause = self.registry.connection(watcher.or(notice.cause.as_ref()));
        let url = match (origin_url, &cause) {
            (Some(url), _) => url,
            (None, Some(connection)) => &connection.connector_url,
            (None, None) => &self.options.default_url,
        };
        let message = self.announcer.message(notice, topic, url, body, target.clone());
        if target.is_none() && self.router.interceptors().get().intercept(topic) {
            // Boxed: what it goes to may come into being, and that is announced.
            let delivered = Box::pin(self.deliver(Arc::new(message), 0, None, receipt)).await;
            return delivered.unwrap_or_else(|error| {
                tracing::warn!(%topic, %error, "an advisory was not delivered");
            });
        }
        // Boxed: creating the topic may itself be announced, though never for advisory topics.
        let Ok(handle) = Box::pin(self.destination(topic, None)).await else { return };
        let bytes = message.size() as u64;
        let incoming = Incoming::of_broker(Arc::new(message), bytes);
        handle.send(vec![Op::Send(Incoming { receipt, ..incoming })]).await;
    }

    /// Moves a message to its dead letter queue, as the policy of its destination says. It leaves where it
    /// was in the submit that brings it here.
    async fn bury(&self, letter: DeadLetter) {
        let (now_ms, from) = (Now::read().wall_ms, letter.from.clone());
        let letter = match self.options.plugins.fate(&letter, now_ms) {
            Fate::DeadLetter => Some(letter),
            Fate::Drop => {
                tracing::debug!(%from, "a dead message is dropped by a plugin");
                return self.depart(letter.leaves, letter.receipt);
            }
            Fate::Again(delay_ms) => self.deliver_again(letter, delay_ms, now_ms).await,
        };
        let Some(mut letter) = letter else { return };
        let policy = self.policy(&letter.from);
        let strategy = &policy.dead_letter;
        let (leaves, receipt) = (letter.leaves.take(), letter.receipt.take());
        let target = strategy.destination(&letter, now_ms);
        let target = target.filter(|at| self.buried.lock().is_new(strategy, &letter, at));
        let Some(target) = target else { return self.depart(leaves, receipt) };
        let mut message = strategy.copy(&letter, &target, now_ms);
        let plugins = &self.options.plugins;
        // A dead letter is no question.
        drop(plugins.pass(&mut message, Passage::Buried, &self.options.name, now_ms));
        let bytes_min = policy.minimum_message_bytes;
        if let Err(error) = self.deliver(Arc::new(message), bytes_min, leaves, receipt).await {
            let destination = target;
            tracing::error!(%destination, %error, "a dead message could not be moved");
            return;
        }
        self.publish(Notice::dead(&letter.from, &letter.message, letter.by)).await;
    }
}

/// The broker's task for what destinations send on.
async fn carry(broker: std::sync::Weak<Broker>, mut receiver: ForwardReceiver) {
    while let Some(forward) = receiver.recv().await {
        let Some(broker) = broker.upgrade() else { return };
        match forward {
            Forward::DeadLetter(letter) => broker.bury(letter).await,
            Forward::Notice(notice) => broker.publish(notice).await,
            Forward::Fire(firing) => broker.fire(firing).await,
        }
    }
}
