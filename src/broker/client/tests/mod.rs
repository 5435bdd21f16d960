//! Rules of semantics.md that are decided for a client, without sockets: sections 1, 4, 7, 8, 12, 15, 17, 19 and 22.

mod advisories;
mod connections;
mod destinations;
mod durables;
mod flow;
mod slow;
mod statistics;
mod stored;
mod transactions;

use super::{Client, Transport};
use crate::broker::destination::fixture;
use crate::broker::error::BrokerError;
use crate::broker::fixture::transport;
use crate::broker::outbox::{Delivery, Item, Outbox, Receipt};
use crate::broker::{Broker, BrokerOptions, fixture as broker};
use crate::jms::info::{ConnectionInfo, DestinationInfo, ProducerInfo};
use crate::jms::{
    AckKind, ConnectionId, ConsumerId, ConsumerInfo, Destination, Message, MessageAck, ProducerId,
    SessionId, TransactionId,
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Ends a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn broker_with(change: impl FnOnce(&mut BrokerOptions)) -> Arc<Broker> {
    let mut options = broker::options();
    change(&mut options);
    broker::start(options).await
}

/// Returns when every destination has done what it was asked to.
async fn settled(broker: &Broker) {
    for handle in broker.router.all() {
        handle.report().await;
    }
}

/// The destinations there are, sorted.
fn names(broker: &Broker) -> Vec<String> {
    let all = broker.router.all();
    let mut names: Vec<String> = all.iter().map(|handle| handle.destination.to_string()).collect();
    names.sort();
    names
}

/// How a connection introduces itself.
fn introduction(connection: &str, client: Option<&str>) -> ConnectionInfo {
    ConnectionInfo {
        connection_id: Some(ConnectionId::new(connection)),
        client_id: client.map(Into::into),
        ..ConnectionInfo::default()
    }
}

/// A client with one session and an anonymous producer, and what the broker writes to it.
struct Peer {
    client: Client,
    outbox: Arc<Outbox>,
    taken: VecDeque<Item>,
    name: &'static str,
    sent: i64,
    consumers: i64,
}

impl Peer {
    /// Its connection and its client id have this name.
    async fn connect(broker: &Arc<Broker>, name: &'static str) -> Self {
        let info = introduction(name, Some(name));
        Self::admitted(broker, name, info, transport()).await.expect("nobody has its name")
    }

    /// As [`Self::connect`], by the connector at `url`.
    async fn through(broker: &Arc<Broker>, name: &'static str, url: &str) -> Self {
        let transport = Transport { connector_url: url.into(), ..transport() };
        let info = introduction(name, Some(name));
        Self::admitted(broker, name, info, transport).await.expect("nobody has its name")
    }

    async fn admitted(
        broker: &Arc<Broker>,
        name: &'static str,
        info: ConnectionInfo,
        transport: Transport,
    ) -> Result<Self, BrokerError> {
        let (broker, outbox) = (Arc::clone(broker), Arc::<Outbox>::default());
        let mut client =
            Client::connect(broker, info, transport, Arc::clone(&outbox), false).await?;
        client.add_session(SessionId { connection: Some(name.into()), value: 1 })?;
        let mut peer = Self { client, outbox, taken: VecDeque::new(), name, sent: 0, consumers: 0 };
        let anonymous = ProducerInfo { producer_id: Some(peer.producer(1)), ..Default::default() };
        peer.client.add_producer(anonymous).await?;
        Ok(peer)
    }

    fn producer(&self, value: i64) -> ProducerId {
        ProducerId { connection: Some(self.name.into()), session: 1, value }
    }

    /// Its next message, numbered from 1.
    fn message(&mut self, to: &Destination) -> Message {
        self.sent += 1;
        let destination = Some(to.clone());
        Message { destination, ..fixture::message(self.name, self.sent) }
    }

    /// Begins a send; the result comes when the message is in.
    async fn begin_send(
        &mut self,
        message: Message,
    ) -> Result<oneshot::Receiver<Result<(), BrokerError>>, BrokerError> {
        let (sender, told) = oneshot::channel();
        let tell = move |result| sender.send(result).unwrap_or_default();
        let mut receipt = Some(Receipt::telling(tell));
        let sent = self.client.send(Arc::new(message), 0, &mut receipt).await;
        self.client.flush().await;
        sent.map(|()| told)
    }

    async fn send_message(&mut self, message: Message) -> Result<(), BrokerError> {
        let told = self.begin_send(message).await?;
        told.await.expect("every send is answered")
    }

    /// Sends its next message.
    async fn send(&mut self, to: &Destination) -> Result<(), BrokerError> {
        let message = self.message(to);
        self.send_message(message).await
    }

    /// A consumer that is still to be opened.
    fn consumer(&mut self, of: &Destination) -> ConsumerInfo {
        self.consumers += 1;
        let consumer_id =
            ConsumerId { connection: Some(self.name.into()), session: 1, value: self.consumers };
        ConsumerInfo {
            consumer_id: Some(consumer_id),
            destination: Some(of.clone()),
            prefetch_size: 100,
            ..ConsumerInfo::default()
        }
    }

    /// Opens a consumer.
    async fn consume(&mut self, of: &Destination) -> Result<ConsumerId, BrokerError> {
        let info = self.consumer(of);
        self.open(info).await
    }

    async fn open(&mut self, info: ConsumerInfo) -> Result<ConsumerId, BrokerError> {
        let id = info.consumer_id.clone().unwrap_or_default();
        self.client.add_consumer(info).await.map(|()| id)
    }

    async fn subscribe(
        &mut self,
        topic: &Destination,
        name: &str,
        selector: Option<&str>,
    ) -> Result<ConsumerId, BrokerError> {
        let info = self.consumer(topic);
        let (subscription_name, selector) = (Some(name.into()), selector.map(Into::into));
        self.open(ConsumerInfo { subscription_name, selector, ..info }).await
    }

    async fn close(&mut self, consumer: &ConsumerId) {
        self.client.remove_consumer(consumer, -1).await.expect("it is open");
    }

    async fn create(&mut self, destination: &Destination) -> Result<(), BrokerError> {
        self.client.add_destination(of(destination)).await
    }

    async fn remove(&mut self, destination: &Destination) -> Result<(), BrokerError> {
        self.client.remove_destination(of(destination)).await
    }

    async fn next(&mut self) -> Item {
        if self.taken.is_empty() {
            let mut items = Vec::new();
            let take = poll_fn(|cx| self.outbox.poll_take(cx, &mut items, usize::MAX));
            tokio::time::timeout(PATIENCE, take).await.expect("something comes");
            self.taken.extend(items);
        }
        self.taken.pop_front().expect("a wake-up brings something")
    }

    async fn delivery(&mut self) -> Delivery {
        loop {
            if let Item::Delivery(delivery) = self.next().await {
                return delivery;
            }
        }
    }

    /// The next `count` deliveries.
    async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for _ in 0..count {
            deliveries.push(self.delivery().await);
        }
        deliveries
    }

    /// Acknowledges a range of messages, and returns when that is done.
    async fn acknowledge(
        &mut self,
        kind: AckKind,
        range: &[Delivery],
        transaction: Option<&TransactionId>,
    ) -> Result<(), BrokerError> {
        let [first, ..] = range else { return Ok(()) };
        let id = |of: &Delivery| of.message.as_ref().and_then(|m| m.message_id.clone());
        let ack = MessageAck {
            destination: Some(first.destination.clone()),
            transaction_id: transaction.cloned(),
            consumer_id: first.consumer.consumer_id.clone(),
            ack_type: kind.code(),
            first_message_id: id(first),
            last_message_id: range.last().and_then(id),
            message_count: i32::try_from(range.len()).expect("few"),
            ..MessageAck::default()
        };
        let (sender, told) = oneshot::channel();
        let tell = move |result| sender.send(result).unwrap_or_default();
        let mut receipt = Some(Receipt::telling(tell));
        self.client.acknowledge(ack, &mut receipt).await?;
        self.client.flush().await;
        told.await.expect("every acknowledgement is answered")
    }

    /// The next message.
    async fn takes(&mut self) -> Arc<Message> {
        self.delivery().await.message.expect("a message")
    }

    /// The numbers of the next `count` messages.
    async fn takes_numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let message = self.takes().await;
            numbers.push(message.message_id.as_ref().expect("an id").producer_sequence);
        }
        numbers
    }

    /// Nothing more was dispatched to it.
    async fn has_no_more(&self, broker: &Broker) {
        settled(broker).await;
        assert!(self.taken.is_empty() && self.outbox.deliveries() == 0, "there is more");
    }
}

fn of(destination: &Destination) -> DestinationInfo {
    DestinationInfo { destination: Some(destination.clone()), ..DestinationInfo::default() }
}
