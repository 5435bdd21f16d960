//! A message: headers decoded, body and properties kept as the bytes they came in.

use super::info::{
    BrokerInfo, ConnectionInfo, ConsumerInfo, DestinationInfo, ProducerInfo, RemoveInfo,
    RemoveSubscriptionInfo,
};
use super::{
    Array, BrokerId, ConsumerId, Destination, MessageId, ProducerId, Text, TransactionId, mutf8,
};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// A JMS message with the fields of OpenWire section 13. Shared and never changed once it is in a
/// destination: what differs per delivery (broker sequence, redelivery counter) travels beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub command_id: i32,
    pub response_required: bool,
    pub kind: BodyKind,
    pub producer_id: Option<ProducerId>,
    pub destination: Option<Destination>,
    pub transaction_id: Option<TransactionId>,
    pub original_destination: Option<Destination>,
    pub message_id: Option<MessageId>,
    pub original_transaction_id: Option<TransactionId>,
    pub group_id: Option<Text>,
    pub group_sequence: i32,
    pub correlation_id: Option<Text>,
    pub persistent: bool,
    /// ms since the epoch, 0 never.
    pub expiration: i64,
    pub priority: i8,
    pub reply_to: Option<Destination>,
    /// ms since the epoch, by the sender's clock.
    pub timestamp: i64,
    pub jms_type: Option<Text>,
    /// The body, encoded as OpenWire section 11 says.
    pub content: Option<Bytes>,
    /// A primitive map (OpenWire section 10), as it came.
    pub properties: Option<Bytes>,
    /// What an advisory describes.
    pub described: Option<Arc<Described>>,
    /// The only consumer that may see this message: an advisory replayed to a newcomer.
    pub target_consumer_id: Option<ConsumerId>,
    pub compressed: bool,
    pub redelivery_counter: i32,
    /// Brokers this message has left on its way through a network.
    pub broker_path: Array<BrokerId>,
    pub arrival: i64,
    pub user_id: Option<Text>,
    pub received_by_df_bridge: bool,
    pub droppable: bool,
    pub cluster: Array<BrokerId>,
    /// ms since the epoch when the broker received it.
    pub broker_in_time: i64,
    /// ms since the epoch when the broker dispatched it.
    pub broker_out_time: i64,
    pub group_first_for_consumer: bool,
}

/// The JMS type of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    #[default]
    Message,
    Bytes,
    Map,
    Object,
    Stream,
    Text,
    Blob(Box<Blob>),
}

/// Where the body of a blob message is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob {
    pub remote_url: Option<Text>,
    pub mime_type: Option<Text>,
    pub deleted_by_broker: bool,
}

/// The object an advisory message carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Described {
    Broker(BrokerInfo),
    Connection(ConnectionInfo),
    Consumer(ConsumerInfo),
    Producer(ProducerInfo),
    Destination(DestinationInfo),
    Remove(RemoveInfo),
    RemoveSubscription(RemoveSubscriptionInfo),
    Message(Arc<Message>),
    /// Any other object: its OpenWire form, version 12, loose, without cache.
    Other(Bytes),
}

impl Message {
    /// The bytes this message counts for in memory limits, before the policy's minimum:
    /// 1024 + body + properties, as ActiveMQ counts.
    pub fn size(&self) -> usize {
        let body = self.content.as_ref().map_or(0, Bytes::len);
        let properties = self.properties.as_ref().map_or(0, Bytes::len);
        1024 + body + properties
    }

    /// The text of an uncompressed text message; none for other messages and malformed bodies.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        if self.kind != BodyKind::Text || self.compressed {
            return None;
        }
        let (len, text) = self.content.as_ref()?.split_first_chunk()?;
        mutf8::decode(text.get(..u32::from_be_bytes(*len) as usize)?).ok()
    }

    /// Whether the message has an end of life and it is before `now_ms` (ms since the epoch).
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expiration > 0 && now_ms > self.expiration
    }
}
