//! Decoded objects in the form the recorded vectors have them in.

use crate::jms::info::ObjectId;
use crate::jms::message::Blob;
use crate::jms::{
    BodyKind, Described, Destination, DestinationKind, Text, Throwable, TransactionId,
};
use crate::protocol::openwire::codec::decode_object;
use crate::protocol::openwire::command::{Command, Object, message_name};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Implemented by the tables for every type: the fields `version` has, under ActiveMQ's names.
pub(in super::super) trait ToJson {
    fn to_json(&self, version: i32) -> Value;
}

/// What tells apart types that share a table.
pub(in super::super) trait AddToJson {
    fn add_to_json(&self, object: &mut Map<String, Value>);
}

impl AddToJson for bool {
    fn add_to_json(&self, object: &mut Map<String, Value>) {
        let name = if *self { "LastPartialCommand" } else { "PartialCommand" };
        object.insert("$type".to_owned(), name.into());
    }
}

impl AddToJson for BodyKind {
    fn add_to_json(&self, object: &mut Map<String, Value>) {
        object.insert("$type".to_owned(), message_name(self).into());
        if let Self::Blob(blob) = self {
            let Blob { remote_url, mime_type, deleted_by_broker } = &**blob;
            object.insert("remoteBlobUrl".to_owned(), json!(remote_url.as_deref()));
            object.insert("mimeType".to_owned(), json!(mime_type.as_deref()));
            object.insert("deletedByBroker".to_owned(), json!(deleted_by_broker));
        }
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl ToJson for $type {
            fn to_json(&self, _: i32) -> Value {
                json!(self)
            }
        }
    )*};
}
plain!(bool, i8, i32, i64);

impl ToJson for Text {
    fn to_json(&self, _: i32) -> Value {
        json!(&**self)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ToJson for Bytes {
    fn to_json(&self, _: i32) -> Value {
        json!({ "$bytes": hex(self) })
    }
}

impl<const N: usize> ToJson for [u8; N] {
    fn to_json(&self, _: i32) -> Value {
        json!({ "$bytes": hex(self) })
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, version: i32) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.to_json(version))
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, version: i32) -> Value {
        self.iter().map(|value| value.to_json(version)).collect()
    }
}

impl<T: ToJson> ToJson for Box<T> {
    fn to_json(&self, version: i32) -> Value {
        (**self).to_json(version)
    }
}

impl ToJson for Throwable {
    fn to_json(&self, version: i32) -> Value {
        let frame = |f: &crate::jms::throwable::StackFrame| {
            json!([f.class.as_deref(), f.method.as_deref(), f.file.as_deref(), f.line])
        };
        json!({
            "$type": "Throwable",
            "class": self.class.as_deref(),
            "message": self.message.as_deref(),
            "stack": self.frames.iter().map(frame).collect::<Vec<_>>(),
            "cause": self.cause.to_json(version),
        })
    }
}

impl ToJson for Destination {
    fn to_json(&self, _: i32) -> Value {
        let name = match self.kind() {
            DestinationKind::Queue => "ActiveMQQueue",
            DestinationKind::Topic => "ActiveMQTopic",
            DestinationKind::TempQueue => "ActiveMQTempQueue",
            DestinationKind::TempTopic => "ActiveMQTempTopic",
        };
        json!({ "$type": name, "physicalName": self.name_text().map(|text| &**text) })
    }
}

impl ToJson for TransactionId {
    fn to_json(&self, version: i32) -> Value {
        match self {
            Self::Local { value, connection } => json!({
                "$type": "LocalTransactionId",
                "value": value,
                "connectionId": connection.to_json(version),
            }),
            Self::Xa(id) => {
                let mut object = id.to_json(version);
                object["$type"] = "XATransactionId".into();
                object
            }
        }
    }
}

impl ToJson for ObjectId {
    fn to_json(&self, version: i32) -> Value {
        match self {
            Self::Connection(id) => id.to_json(version),
            Self::Session(id) => id.to_json(version),
            Self::Consumer(id) => id.to_json(version),
            Self::Producer(id) => id.to_json(version),
            Self::Broker(id) => id.to_json(version),
        }
    }
}

impl ToJson for Arc<Described> {
    fn to_json(&self, version: i32) -> Value {
        match &**self {
            Described::Broker(info) => info.to_json(version),
            Described::Connection(info) => info.to_json(version),
            Described::Consumer(info) => info.to_json(version),
            Described::Producer(info) => info.to_json(version),
            Described::Destination(info) => info.to_json(version),
            Described::Remove(info) => info.to_json(version),
            Described::RemoveSubscription(info) => info.to_json(version),
            Described::Message(message) => message.to_json(version),
            Described::Other(bytes) => decode_object(bytes).unwrap().to_json(version),
        }
    }
}

macro_rules! any_of {
    ($type:ident: $($variant:ident)*) => {
        impl ToJson for $type {
            fn to_json(&self, version: i32) -> Value {
                match self {
                    $(Self::$variant(object) => object.to_json(version),)*
                }
            }
        }
    };
}

any_of!(Command: WireFormatInfo BrokerInfo ConnectionInfo SessionInfo ConsumerInfo ProducerInfo
    TransactionInfo DestinationInfo RemoveSubscriptionInfo KeepAliveInfo ShutdownInfo RemoveInfo
    ControlCommand FlushCommand ConnectionError ConsumerControl ConnectionControl ProducerAck
    MessagePull MessageDispatch MessageAck Message Response ExceptionResponse DataResponse
    DataArrayResponse IntegerResponse ReplayCommand MessageDispatchNotification
    BrokerSubscriptionInfo Object);

any_of!(Object: DiscoveryEvent JournalTopicAck JournalQueueAck JournalTrace JournalTransaction
    SubscriptionInfo PartialCommand NetworkBridgeFilter Destination MessageId TransactionId
    ConnectionId SessionId ConsumerId ProducerId BrokerId);
