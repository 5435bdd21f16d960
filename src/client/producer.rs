//! A producer.

use super::ClientError;
use super::link::{Outgoing, Receipt};
use super::session::Context;
use crate::jms::info::{ObjectId, ProducerInfo, RemoveInfo};
use crate::jms::{Destination, Message, MessageId, ProducerId};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// An open producer. Dropping it leaves it open until its session or connection closes.
#[derive(Debug)]
pub struct Producer {
    context: Arc<Context>,
    id: ProducerId,
    destination: Option<Destination>,
    last_sequence: i64,
}

impl Producer {
    pub(super) async fn open(
        context: &Arc<Context>,
        destination: Option<Destination>,
    ) -> Result<Self, ClientError> {
        let context = Arc::clone(context);
        let id = ProducerId {
            connection: context.id.connection.clone(),
            session: context.id.value,
            value: context.connection.next_object(),
        };
        let info = ProducerInfo {
            producer_id: Some(id.clone()),
            destination: destination.clone(),
            ..ProducerInfo::default()
        };
        context.connection.link.request(info).await?;
        Ok(Self { context, id, destination, last_sequence: 0 })
    }

    /// The producer's id.
    pub fn id(&self) -> &ProducerId {
        &self.id
    }

    /// Goes on behind message number `sequence`: for a producer that has come back with its connection
    /// (`Options::connection_id`, `Options::failover_reconnect`) and sends again what was not answered.
    /// A broker that has a message of that number already drops the second.
    pub fn resume(&mut self, sequence: i64) {
        self.last_sequence = sequence;
    }

    /// Sends `message`; with `wait`, returns when the broker has taken it over (a persistent one is
    /// on disk then). Without, the messages of many calls go out in one write; a refusal comes as a
    /// `ConnectionError` event.
    ///
    /// Sets the headers that sending sets: ids, transaction, timestamp, and the destination if the
    /// producer has one. The same message can be sent again.
    ///
    /// # Errors
    /// The broker's refusal, if it is waited for; a message that cannot be encoded; the end of the
    /// connection.
    pub async fn send(&mut self, message: &mut Message, wait: bool) -> Result<(), ClientError> {
        if wait {
            return self.submit(message).await?.done().await;
        }
        self.address(message);
        self.context.connection.link.tell(Outgoing::Message(message)).await
    }

    /// Sends `message`; the receipt tells when the broker has taken it over. Many can be under way.
    ///
    /// # Errors
    /// When the message cannot be encoded or the connection has ended.
    pub async fn submit(&mut self, message: &mut Message) -> Result<Receipt, ClientError> {
        self.address(message);
        self.context.connection.link.submit(Outgoing::Message(message)).await
    }

    fn address(&mut self, message: &mut Message) {
        self.last_sequence += 1;
        if message.producer_id.as_ref() != Some(&self.id) {
            message.producer_id = Some(self.id.clone());
        }
        match &mut message.message_id {
            Some(id) if id.text_view.is_none() && id.producer.as_ref() == Some(&self.id) => {
                id.producer_sequence = self.last_sequence;
                id.broker_sequence = 0;
            }
            id => {
                *id = Some(MessageId {
                    producer: Some(self.id.clone()),
                    producer_sequence: self.last_sequence,
                    ..MessageId::default()
                });
            }
        }
        if self.destination.is_some() && message.destination != self.destination {
            message.destination = self.destination.clone();
        }
        message.transaction_id = self.context.transaction();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        message.timestamp = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    }

    /// Closes the producer.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn close(self) -> Result<(), ClientError> {
        let info = RemoveInfo {
            object_id: Some(ObjectId::Producer(self.id)),
            last_delivered_sequence_id: -2,
            ..RemoveInfo::default()
        };
        self.context.connection.link.request(info).await.map(drop)
    }
}
