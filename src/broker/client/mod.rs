//! One client connection as the broker serves it.
//!
//! A [`Client`] is owned by the task of its connection. It checks that what a command names belongs to
//! this connection, keeps the client's sessions, producers, consumers and open transactions, and hands
//! work to destinations, the operations for one destination together.

mod attached;
mod batch;
mod blocked;
mod closing;
mod consume;
mod destinations;
mod durable;
mod fan_out;
mod parking;
mod pulls;
mod replay;
mod schedule;
mod send;
#[cfg(test)]
mod tests;
mod transact;

pub(super) use self::attached::Attached;
use self::batch::Batch;
pub use self::closing::Closing;
use self::fan_out::Line;
use self::parking::Parking;
use self::pulls::Pulls;
use super::destination::durable::DurableSubscription;
use super::destination::subscription::TopicSubscription;
use super::destination::{DestinationHandle, Effects, Now, Op};
use super::error::BrokerError;
use super::interceptors::Interceptors;
use super::live::Seen;
use super::outbox::{Outbox, SubscriptionKey};
use super::plugins::Event;
use super::registry::{Admission, ConnectionEntry, ProducerEntry};
use super::router::QueueConsumer;
use super::transaction::Transaction;
use super::{Broker, Notice, names};
use crate::jms::info::{ConnectionInfo, ConsumerInfo, ObjectId, ProducerInfo, RemoveInfo};
use crate::jms::{
    ConnectionId, ConsumerId, Destination, ProducerId, SessionId, Text, TransactionId,
};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// What a connection's transport tells the broker.
#[derive(Clone, Debug)]
pub struct Transport {
    /// The peer, such as `tcp://127.0.0.1:51234`.
    pub remote: Text,
    /// The connector's name.
    pub connector: Text,
    /// The connector's published address.
    pub connector_url: Text,
    /// Ends the transport.
    pub stop: Arc<Notify>,
    /// The transport has ended.
    pub closing: Closing,
    pub allow_link_stealing: bool,
    pub producers_max: u32,
    pub consumers_max: u32,
}

/// A connected client.
pub struct Client {
    broker: Arc<Broker>,
    entry: Arc<ConnectionEntry>,
    transport: Transport,
    outbox: Arc<Outbox>,
    /// The peer is a broker.
    network: bool,
    /// Their numbers.
    sessions: HashSet<i64>,
    producers: HashMap<ProducerId, Producer>,
    consumers: HashMap<ConsumerId, Consumer>,
    transactions: HashMap<TransactionId, Transaction>,
    /// Temporary destinations of this connection.
    temporaries: Vec<Destination>,
    /// Destinations used lately.
    routes: HashMap<Destination, Route>,
    batch: Batch,
    parking: Parking,
    line: Line,
    /// The interceptors there were when it sent last.
    interceptors: Seen<Interceptors>,
}

/// The way to a destination.
#[derive(Debug)]
struct Route {
    handle: Arc<DestinationHandle>,
    /// What is sent under its name goes there and nowhere else: the name lists no others, and none of
    /// the [interceptors](Client::interceptors) wants it.
    is_plain: bool,
}

#[derive(Debug)]
struct Producer {
    entry: Arc<ProducerEntry>,
    /// Where it is counted.
    counted: Vec<Arc<DestinationHandle>>,
}

#[derive(Debug)]
struct Consumer {
    key: SubscriptionKey,
    info: Arc<ConsumerInfo>,
    /// Its queues, if it listens to any.
    queues: Option<Arc<QueueConsumer>>,
    topics: Option<Arc<TopicSubscription>>,
    durable: Option<Arc<DurableSubscription>>,
    /// Those of topics, of durable subscriptions and of several queues.
    pulls: Pulls,
    attached: Option<Arc<Attached>>,
}

impl Consumer {
    /// Whether the broker took it off.
    fn is_off(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.is_off())
    }
}

/// Sessions, open transactions and temporary destinations one connection may have, of each: far above
/// what clients use, so that one that opens them without end does not take the broker's memory.
const OBJECTS_MAX: u32 = 65_536;

/// How many destinations a connection remembers the way to.
const ROUTES_MAX: usize = 16_384;

impl Client {
    /// Admits a client. Waits for an older connection with the same id to be cleaned up.
    pub async fn connect(
        broker: Arc<Broker>,
        info: ConnectionInfo,
        transport: Transport,
        outbox: Arc<Outbox>,
        network: bool,
    ) -> Result<Self, BrokerError> {
        let accepts = broker.options.authenticator.get();
        if !accepts.accepts(info.user_name.as_deref(), info.password.as_deref()) {
            let user = info.user_name.unwrap_or_else(|| "null".into());
            return Err(BrokerError::BadCredentials { user });
        }
        names::check("connection id", info.connection_id.as_ref().map(ConnectionId::as_str))?;
        names::check("client id", info.client_id.as_deref())?;
        let info = Arc::new(ConnectionInfo { password: None, ..info });
        let number = broker.next_number();
        let entry = loop {
            let name = &broker.options.name;
            let admission = broker.registry.enter(number, &info, &transport, &outbox, name)?;
            match admission {
                Admission::Welcome(entry) => break entry,
                Admission::Wait(gone) => {
                    let waited = transport.closing.unless(gone.closed()).await;
                    waited.ok_or(BrokerError::SendAborted)?;
                }
            }
        };
        let interceptors = Seen::of(broker.router.interceptors());
        let client = Self {
            broker,
            interceptors,
            entry,
            transport,
            outbox,
            network,
            sessions: HashSet::new(),
            producers: HashMap::new(),
            consumers: HashMap::new(),
            transactions: HashMap::new(),
            temporaries: Vec::new(),
            routes: HashMap::new(),
            batch: Batch::default(),
            parking: Parking::default(),
            line: Line::default(),
        };
        client.note(&Event::ConnectionAdded(&client.entry.info));
        client.announce(Notice::connection_added(&client.entry.info)).await;
        Ok(client)
    }

    /// Its peer has said that it is a broker.
    pub fn note_network(&mut self) {
        self.network = true;
    }

    /// The id the client chose.
    pub fn connection_id(&self) -> ConnectionId {
        self.entry.info.connection_id.clone().unwrap_or_default()
    }

    /// How the client introduced itself.
    pub fn info(&self) -> &ConnectionInfo {
        &self.entry.info
    }

    /// Whether this connection has more to hand over.
    pub fn has_batch(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Hands over what is gathered.
    pub async fn flush(&mut self) {
        let mut parts = self.batch.take();
        for (handle, ops) in parts.drain(..) {
            handle.send(ops).await;
        }
        Batch::give_back(parts);
    }

    /// Adds an operation for `handle` to the batch; one that is full goes first.
    async fn hand(&mut self, handle: &Arc<DestinationHandle>, op: Op) {
        if self.batch.is_full() {
            self.flush().await;
        }
        self.batch.push(handle, op);
    }

    /// A destination this client names, created if need be.
    async fn destination(
        &self,
        destination: &Destination,
    ) -> Result<Arc<DestinationHandle>, BrokerError> {
        names::check("destination name", Some(destination.name()))?;
        self.broker.destination(destination, Some(&self.connection_id())).await
    }

    /// Tells the plugins what happened.
    fn note(&self, event: &Event<'_>) {
        self.broker.options.plugins.note(event);
    }

    async fn announce(&self, notice: Notice) {
        self.broker.publish_from(notice, Some(&self.transport.connector_url)).await;
    }

    /// Runs `work`, which leaves effects, and carries them out.
    fn with_effects<R>(&self, work: impl FnOnce(Now, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = work(Now::read(), &mut effects);
        self.broker.outlet.run(&mut effects, None);
        result
    }

    /// Opens a session; one that is open already is fine.
    pub fn add_session(&mut self, id: SessionId) -> Result<(), BrokerError> {
        self.check_limit("session", self.sessions.len(), OBJECTS_MAX)?;
        self.note(&Event::SessionAdded(&id));
        self.sessions.insert(id.value);
        Ok(())
    }

    /// Refuses one more of what there are `count` already.
    fn check_limit(&self, what: &'static str, count: usize, limit: u32) -> Result<(), BrokerError> {
        if count < limit as usize {
            return Ok(());
        }
        let connection = self.connection_id().to_string().into();
        Err(BrokerError::LimitReached { what, connection, limit })
    }

    /// Sessions of this connection; -1 is always there.
    fn knows_session(&self, id: &SessionId) -> bool {
        id.value == -1 || self.sessions.contains(&id.value)
    }

    /// Closes a session with its producers and consumers.
    pub async fn remove_session(
        &mut self,
        id: &SessionId,
        last_delivered: i64,
    ) -> Result<(), BrokerError> {
        if id.value != -1 && !self.sessions.remove(&id.value) {
            let action = "remove session";
            return Err(BrokerError::NotRegistered { action, id: id.to_string().into() });
        }
        let consumers: Vec<ConsumerId> = self
            .consumers
            .keys()
            .filter(|consumer| consumer.session_id() == *id)
            .cloned()
            .collect();
        for consumer in consumers {
            self.remove_consumer(&consumer, last_delivered).await?;
        }
        let producers: Vec<ProducerId> = self
            .producers
            .keys()
            .filter(|producer| producer.session_id() == *id)
            .cloned()
            .collect();
        for producer in producers {
            self.remove_producer(&producer).await?;
        }
        self.note(&Event::SessionRemoved(id));
        Ok(())
    }

    /// Opens a producer; one that is open already is fine.
    pub async fn add_producer(&mut self, mut info: ProducerInfo) -> Result<(), BrokerError> {
        names::resolve(&mut info.destination, self.broker.options.path_separator.as_deref());
        let field = || BrokerError::FieldMissing { command: "ProducerInfo", field: "producerId" };
        let id = info.producer_id.clone().ok_or_else(field)?;
        if !self.knows_session(&id.session_id()) {
            let action = "add a producer to a session";
            let id = id.session_id().to_string().into();
            return Err(BrokerError::NotRegistered { action, id });
        }
        if self.producers.contains_key(&id) {
            return Ok(());
        }
        self.check_limit("producer", self.producers.len(), self.transport.producers_max)?;
        let mut counted = Vec::new();
        for part in info.destination.iter().flat_map(Destination::parts) {
            if part.kind().is_temporary() && self.broker.router.find(&part).is_none() {
                // Its owner may come back later than who answers there. ActiveMQ refuses the producer.
                continue;
            }
            let handle = self.destination(&part).await?;
            let count = handle.gauges.producers.add();
            if !part.is_advisory() {
                self.announce(Notice::producer_added(&part, &info, count)).await;
            }
            counted.push(handle);
        }
        if info.destination.is_none() && self.broker.options.anonymous_producer_advisories {
            self.announce(Notice::anonymous_producer_added(&info)).await;
        }
        self.note(&Event::ProducerAdded(&info));
        let entry = ProducerEntry::new(info);
        self.broker.registry.producer_added(id.clone(), Arc::clone(&entry));
        self.producers.insert(id, Producer { entry, counted });
        Ok(())
    }

    /// Whether `id` is a producer of this client that sends ahead of acknowledgements.
    pub fn has_window(&self, id: &ProducerId) -> bool {
        self.producers.get(id).is_some_and(|producer| producer.entry.info.window_size > 0)
    }

    /// Closes a producer.
    pub async fn remove_producer(&mut self, id: &ProducerId) -> Result<(), BrokerError> {
        let Some(producer) = self.producers.remove(id) else {
            let (action, id) = match self.knows_session(&id.session_id()) {
                true => ("remove a producer", id.to_string()),
                false => ("remove a producer from a session", id.session_id().to_string()),
            };
            return Err(BrokerError::NotRegistered { action, id: id.into() });
        };
        let sent = producer.entry.snapshot().sent;
        self.note(&Event::ProducerRemoved(&producer.entry.info, sent));
        self.broker.registry.producer_removed(id);
        let info = &producer.entry.info;
        let removed = || RemoveInfo {
            object_id: Some(ObjectId::Producer(id.clone())),
            response_required: info.response_required,
            ..RemoveInfo::default()
        };
        if info.destination.is_none() && self.broker.options.anonymous_producer_advisories {
            self.announce(Notice::anonymous_producer_removed(removed())).await;
        }
        for handle in producer.counted {
            let count = handle.gauges.producers.remove();
            if !handle.destination.is_advisory() {
                let notice = Notice::producer_removed(&handle.destination, removed(), count);
                self.announce(notice).await;
            }
        }
        Ok(())
    }

    /// Ends everything of this connection. `last_delivered` is -2 when the connection was lost.
    pub async fn close(&mut self, last_delivered: i64) {
        self.flush().await;
        for handle in self.parking.take_lots() {
            handle.send(vec![Op::ConnectionClosed(self.entry.number)]).await;
        }
        let consumers: Vec<ConsumerId> = self.consumers.keys().cloned().collect();
        for id in consumers {
            self.drop_consumer(&id, last_delivered).await;
        }
        let producers: Vec<ProducerId> = self.producers.keys().cloned().collect();
        for id in producers {
            // Known: the id is from the table.
            drop(self.remove_producer(&id).await);
        }
        let sessions = std::mem::take(&mut self.sessions);
        // Every connection has one that nobody opened.
        for value in sessions.into_iter().filter(|value| *value != -1).chain([-1]) {
            let connection = self.connection_id().value;
            self.note(&Event::SessionRemoved(&SessionId { connection, value }));
        }
        let own = std::mem::take(&mut self.transactions).into_values();
        let abandoned = self.broker.transactions.abandon(self.entry.number);
        for transaction in own.chain(abandoned) {
            self.roll_back(transaction, None).await;
        }
        for destination in std::mem::take(&mut self.temporaries) {
            self.broker.remove_destination(&destination, Some(&self.connection_id())).await;
        }
        self.note(&Event::ConnectionRemoved(&self.entry.info));
        self.broker.registry.leave(&self.entry);
        let info = RemoveInfo {
            object_id: Some(ObjectId::Connection(self.connection_id())),
            ..RemoveInfo::default()
        };
        self.announce(Notice::connection_removed(info)).await;
    }
}
