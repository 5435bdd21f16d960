//! A message as selectors see it: headers and properties by name (semantics.md section 18).

use crate::jms::properties::{self, ValueRef};
use crate::jms::selector::{Source, Value};
use crate::jms::{BrokerId, Destination, Message, TransactionId};
use std::borrow::Cow;

/// A message that may be delivered, and how often it was before.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub message: &'a Message,
    pub redeliveries: i32,
}

impl Candidate<'_> {
    /// A property of the message; null when it has none or its property map is damaged.
    pub fn property(&self, name: &str) -> Value<'_> {
        let Some(map) = &self.message.properties else { return Value::Null };
        match properties::find(map, name) {
            Ok(Some(value)) => from_property(value),
            Ok(None) | Err(_) => Value::Null,
        }
    }
}

fn from_property(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Bool(value) => Value::Boolean(value),
        ValueRef::Byte(value) => Value::Byte(value),
        ValueRef::Char(value) => Value::Char(value),
        ValueRef::Short(value) => Value::Short(value),
        ValueRef::Int(value) => Value::Int(value),
        ValueRef::Long(value) => Value::Long(value),
        ValueRef::Float(value) => Value::Float(value),
        ValueRef::Double(value) => Value::Double(value),
        ValueRef::String(text) => Value::String(text),
        ValueRef::Bytes(_) | ValueRef::Map(_) | ValueRef::List(_) => Value::Other,
    }
}

fn text(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Null, |text| Value::String(Cow::Borrowed(text)))
}

fn shown<'a>(value: Option<impl ToString>) -> Value<'a> {
    value.map_or(Value::Null, |value| Value::String(Cow::Owned(value.to_string())))
}

impl Source for Candidate<'_> {
    fn value(&self, name: &str) -> Value<'_> {
        let message = self.message;
        if !name.starts_with("JMS") {
            return self.property(name);
        }
        match name {
            "JMSDestination" => {
                let original: Option<&Destination> = message.original_destination.as_ref();
                shown(original.or(message.destination.as_ref()))
            }
            "JMSReplyTo" => shown(message.reply_to.as_ref()),
            "JMSType" => text(message.jms_type.as_deref()),
            "JMSDeliveryMode" => {
                text(Some(if message.persistent { "PERSISTENT" } else { "NON_PERSISTENT" }))
            }
            "JMSPriority" => Value::Int(i32::from(message.priority)),
            "JMSMessageID" => shown(message.message_id.as_ref()),
            "JMSTimestamp" => Value::Long(message.timestamp),
            "JMSCorrelationID" => text(message.correlation_id.as_deref()),
            "JMSExpiration" => Value::Long(message.expiration),
            "JMSRedelivered" => Value::Boolean(self.redeliveries > 0),
            "JMSXDeliveryCount" => Value::Int(self.redeliveries.saturating_add(1)),
            "JMSXGroupID" => text(message.group_id.as_deref()),
            "JMSXGroupSeq" => Value::Int(message.group_sequence),
            "JMSXUserID" => match &message.user_id {
                Some(user) => text(Some(user)),
                None => self.property(name),
            },
            "JMSXProducerTXID" => {
                let id: Option<&TransactionId> = message.original_transaction_id.as_ref();
                shown(id.or(message.transaction_id.as_ref()))
            }
            "JMSActiveMQBrokerInTime" => Value::Long(message.broker_in_time),
            "JMSActiveMQBrokerOutTime" => Value::Long(message.broker_out_time),
            "JMSActiveMQBrokerPath" => Value::String(match &message.broker_path {
                // As Java prints an array: that there is none is a text, too.
                None => Cow::Borrowed("null"),
                Some(path) => {
                    let name = |id: &Option<_>| {
                        id.as_ref().map_or_else(|| "null".into(), BrokerId::to_string)
                    };
                    let names: Vec<String> = path.iter().map(name).collect();
                    Cow::Owned(format!("[{}]", names.join(", ")))
                }
            }),
            "JMSXGroupFirstForConsumer" => Value::Boolean(message.group_first_for_consumer),
            _ => self.property(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::selector::Selector;
    use crate::jms::{ConnectionId, MessageId, ProducerId};

    #[test]
    fn headers_are_seen_by_their_names() {
        let producer = ProducerId { connection: Some("c".into()), session: 1, value: 2 };
        let message = Message {
            message_id: Some(MessageId {
                producer: Some(producer),
                producer_sequence: 3,
                ..MessageId::default()
            }),
            destination: Some(Destination::queue("A")),
            reply_to: Some(Destination::topic("B")),
            jms_type: Some("t".into()),
            correlation_id: Some("id".into()),
            group_id: Some("g".into()),
            group_sequence: 5,
            user_id: Some("u".into()),
            persistent: true,
            priority: 7,
            timestamp: 11,
            expiration: 12,
            broker_in_time: 13,
            broker_out_time: 14,
            transaction_id: Some(TransactionId::Local {
                value: 1,
                connection: Some(ConnectionId::new("c")),
            }),
            ..Message::default()
        };
        let candidate = Candidate { message: &message, redeliveries: 1 };
        for selector in [
            "JMSDestination = 'queue://A'",
            "JMSReplyTo = 'topic://B'",
            "JMSType = 't'",
            "JMSDeliveryMode = 'PERSISTENT'",
            "JMSPriority = 7",
            "JMSMessageID = 'c:1:2:3'",
            "JMSTimestamp = 11",
            "JMSCorrelationID = 'id'",
            "JMSExpiration = 12",
            "JMSRedelivered",
            "JMSXDeliveryCount = 2",
            "JMSXGroupID = 'g'",
            "JMSXGroupSeq = 5",
            "JMSXUserID = 'u'",
            "JMSXProducerTXID = 'TX:c:1'",
            "JMSActiveMQBrokerInTime = 13",
            "JMSActiveMQBrokerOutTime = 14",
            "JMSActiveMQBrokerPath = 'null'",
            "JMSXGroupFirstForConsumer = FALSE",
            "jmstype IS NULL",
            "JMSNothing IS NULL",
        ] {
            let parsed = Selector::parse(selector).expect("it is valid");
            assert!(parsed.matches(&candidate), "{selector}");
        }
        let origin = Some(Destination::queue("ORIGIN"));
        let moved = Message { original_destination: origin, ..message };
        let candidate = Candidate { message: &moved, redeliveries: 0 };
        let parsed = Selector::parse("JMSDestination = 'queue://ORIGIN'").expect("it is valid");
        assert!(parsed.matches(&candidate));
    }
}
