//! Commands and events as text, the way people know it from ActiveMQ's logs.

use super::Event;
use crate::broker::outbox::Delivery;
use crate::jms::info::{ConnectionInfo, DestinationInfo, ProducerInfo, RemoveSubscriptionInfo};
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::{Array, BodyKind, ConsumerInfo, Destination, Message};
use std::fmt::{self, Display, Formatter};

impl Display for Event<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionAdded(info) => write!(f, "Adding Connection: {}", connection(info)),
            Self::ConnectionRemoved(info) => write!(f, "Removing Connection: {}", connection(info)),
            Self::SessionAdded(id) => write!(f, "Adding Session: {}", session(id)),
            Self::SessionRemoved(id) => write!(f, "Removing Session: {}", session(id)),
            Self::ConsumerAdded(info) => write!(f, "Adding Consumer: {}", consumer(info)),
            Self::ConsumerRemoved(info) => write!(f, "Removing Consumer: {}", consumer(info)),
            Self::SubscriptionRemoved(info) => {
                write!(f, "Removing subscription: {}", subscription(info))
            }
            Self::ProducerAdded(info) => write!(f, "Adding Producer: {}", producer(info, 0)),
            Self::ProducerRemoved(info, sent) => {
                write!(f, "Removing Producer: {}", producer(info, *sent))
            }
            Self::Sent(message) => write!(f, "Sending message: {}", Shown(message)),
            Self::Acknowledged(client, ack) => {
                write!(f, "Acknowledging message for client ID: {}", Or(client))?;
                match (&ack.first_message_id, &ack.last_message_id) {
                    (_, Some(last)) if ack.message_count == 1 => write!(f, ", {last}"),
                    (first, last) => write!(
                        f,
                        "Message count: {}, First Message Id: {}, Last Message Id: {}",
                        ack.message_count,
                        Or(first),
                        Or(last)
                    ),
                }
            }
            Self::Pulled(pull) => {
                let destination = pull.destination.as_ref().map(Destination::name);
                write!(f, "Message Pull from: {} on {}", Or(&pull.consumer_id), Or(&destination))
            }
            Self::Began(id) => write!(f, "Beginning transaction: {id}"),
            Self::Prepared(id) => write!(f, "Preparing transaction: {id}"),
            Self::Committed(id) => write!(f, "Committing transaction: {id}"),
            Self::RolledBack(id) => write!(f, "Rolling back Transaction: {id}"),
            Self::Forgot(id) => write!(f, "Forgetting transaction: {id}"),
            Self::Recovered(branches) => {
                let branches: Vec<String> = branches.iter().map(ToString::to_string).collect();
                write!(f, "Prepared transactions: {}", branches.join(","))
            }
            Self::DestinationAdded(of) => write!(f, "Adding destination: {}", titled(of)),
            Self::DestinationRemoved(of) => write!(f, "Removing destination: {}", titled(of)),
            Self::DestinationInfoAdded(info) => {
                write!(f, "Adding destination info: {}", destination(info))
            }
            Self::DestinationInfoRemoved(info) => {
                write!(f, "Removing destination info: {}", destination(info))
            }
            Self::Dead(message) => write!(f, "Sending to DLQ: {}", Shown(message)),
            Self::Dispatching(of) => write!(f, "preProcessDispatch: {}", delivery(of)),
            Self::Dispatched(of) => write!(f, "postProcessDispatch: {}", delivery(of)),
            Self::Started(broker) => write!(f, "Starting {broker}"),
            Self::Stopping(broker) => write!(f, "Stopping {broker}"),
            Self::Noticed(notice) => {
                let subject = notice.about_what();
                let message = notice.described_message();
                let shown = message.map(|message| Shown(message).to_string()).unwrap_or_default();
                match notice.what() {
                    "MessageConsumed" => write!(f, "Message consumed: {shown}"),
                    "MessageDelivered" => write!(f, "Message delivered: {shown}"),
                    "MessageDiscarded" => write!(f, "Message discarded: {shown}"),
                    "Expired" => write!(f, "Message has expired: {shown}"),
                    "SlowConsumer" => write!(f, "Detected slow consumer on {subject}"),
                    "FastProducer" => write!(f, "Fast Producer: {subject}"),
                    _ => write!(f, "Destination is full: {subject}"),
                }
            }
        }
    }
}

/// A value that may be absent.
struct Or<'a, T>(&'a Option<T>);

impl<T: Display> Display for Or<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// `Name {field = value, ..}`.
struct Fields(String);

impl Fields {
    fn of(name: &str, command_id: i32, response_required: bool) -> Self {
        Self(format!("{name} {{commandId = {command_id}, responseRequired = {response_required}"))
    }

    fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push_str(&format!(", {name} = {value}"));
        self
    }

    fn maybe(self, name: &str, value: &Option<impl Display>) -> Self {
        self.with(name, Or(value))
    }

    fn list<T: Display>(self, name: &str, values: &Array<T>) -> Self {
        let texts = values.as_ref().map(|values| {
            let texts: Vec<String> = values.iter().map(|value| Or(value).to_string()).collect();
            format!("[{}]", texts.join(", "))
        });
        self.maybe(name, &texts)
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Parts of a composite destination say themselves what they are.
fn named(destination: &Destination) -> String {
    match destination.is_composite() {
        true => destination.name().to_owned(),
        false => destination.to_string(),
    }
}

fn titled(destination: &Destination) -> String {
    format!("{}:{}", destination.kind().title(), destination.name())
}

fn session(id: &impl Display) -> String {
    Fields::of("SessionInfo", 0, false).with("sessionId", id).end()
}

fn connection(info: &ConnectionInfo) -> String {
    Fields::of("ConnectionInfo", info.command_id, info.response_required)
        .maybe("connectionId", &info.connection_id)
        .maybe("clientId", &info.client_id)
        .maybe("clientIp", &info.client_ip)
        .maybe("userName", &info.user_name)
        .with("password", "*****")
        .list("brokerPath", &info.broker_path)
        .with("brokerMasterConnector", info.broker_master_connector)
        .with("manageable", info.manageable)
        .with("clientMaster", info.client_master)
        .with("faultTolerant", info.fault_tolerant)
        .with("failoverReconnect", info.failover_reconnect)
        .end()
}

fn consumer(info: &ConsumerInfo) -> String {
    let predicate = info.additional_predicate.as_ref().map(|_| "NetworkBridgeFilter");
    Fields::of("ConsumerInfo", info.command_id, info.response_required)
        .maybe("consumerId", &info.consumer_id)
        .maybe("destination", &info.destination.as_ref().map(named))
        .with("prefetchSize", info.prefetch_size)
        .with("maximumPendingMessageLimit", info.maximum_pending_message_limit)
        .with("browser", info.browser)
        .with("dispatchAsync", info.dispatch_async)
        .maybe("selector", &info.selector)
        .maybe("clientId", &info.client_id)
        .maybe("subscriptionName", &info.subscription_name)
        .with("noLocal", info.no_local)
        .with("exclusive", info.exclusive)
        .with("retroactive", info.retroactive)
        .with("priority", info.priority)
        .list("brokerPath", &info.broker_path)
        .with("optimizedAcknowledge", info.optimized_acknowledge)
        .with("noRangeAcks", info.no_range_acks)
        .maybe("additionalPredicate", &predicate)
        .list("networkConsumerIds", &info.network_consumer_path)
        .end()
}

fn subscription(info: &RemoveSubscriptionInfo) -> String {
    Fields::of("RemoveSubscriptionInfo", info.command_id, info.response_required)
        .maybe("connectionId", &info.connection_id)
        .maybe("clientId", &info.client_id)
        .maybe("subscriptionName", &info.subscription_name)
        .end()
}

fn producer(info: &ProducerInfo, sent: u64) -> String {
    Fields::of("ProducerInfo", info.command_id, info.response_required)
        .maybe("producerId", &info.producer_id)
        .maybe("destination", &info.destination.as_ref().map(named))
        .list("brokerPath", &info.broker_path)
        .with("dispatchAsync", info.dispatch_async)
        .with("windowSize", info.window_size)
        .with("sentCount", sent)
        .end()
}

fn destination(info: &DestinationInfo) -> String {
    Fields::of("DestinationInfo", info.command_id, info.response_required)
        .maybe("connectionId", &info.connection_id)
        .maybe("destination", &info.destination.as_ref().map(named))
        .with("operationType", info.operation_type)
        .with("timeout", info.timeout)
        .list("brokerPath", &info.broker_path)
        .end()
}

fn delivery(of: &Delivery) -> String {
    let message = of.message.as_deref();
    Fields::of("MessageDispatch", 0, false)
        .maybe("consumerId", &of.consumer.consumer_id)
        .maybe("destination", &message.map(|_| named(&of.destination)))
        .maybe("message", &message.map(Shown))
        .with("redeliveryCounter", of.redeliveries)
        .end()
}

/// A message; bodies and properties by their size, but for texts and decoded properties.
struct Shown<'a>(&'a Message);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let message = self.0;
        let name = match message.kind {
            BodyKind::Message => "ActiveMQMessage",
            BodyKind::Bytes => "ActiveMQBytesMessage",
            BodyKind::Map => "ActiveMQMapMessage",
            BodyKind::Object => "ActiveMQObjectMessage",
            BodyKind::Stream => "ActiveMQStreamMessage",
            BodyKind::Text => "ActiveMQTextMessage",
            BodyKind::Blob(_) => "ActiveMQBlobMessage",
        };
        let bytes = |of: &Option<bytes::Bytes>| of.as_ref().map(|of| format!("{} bytes", of.len()));
        let fields = Fields::of(name, message.command_id, message.response_required)
            .maybe("messageId", &message.message_id)
            .maybe("originalDestination", &message.original_destination.as_ref().map(named))
            .maybe("originalTransactionId", &message.original_transaction_id)
            .maybe("producerId", &message.producer_id)
            .maybe("destination", &message.destination.as_ref().map(named))
            .maybe("transactionId", &message.transaction_id)
            .with("expiration", message.expiration)
            .with("timestamp", message.timestamp)
            .with("arrival", message.arrival)
            .with("brokerInTime", message.broker_in_time)
            .with("brokerOutTime", message.broker_out_time)
            .maybe("correlationId", &message.correlation_id)
            .maybe("replyTo", &message.reply_to.as_ref().map(named))
            .with("persistent", message.persistent)
            .maybe("type", &message.jms_type)
            .with("priority", message.priority)
            .maybe("groupID", &message.group_id)
            .with("groupSequence", message.group_sequence)
            .maybe("targetConsumerId", &message.target_consumer_id)
            .with("compressed", message.compressed)
            .maybe("userID", &message.user_id)
            .maybe("content", &bytes(&message.content))
            .maybe("marshalledProperties", &bytes(&message.properties))
            .with("redeliveryCounter", message.redelivery_counter)
            .with("size", message.size())
            .maybe("properties", &properties(message))
            .with("droppable", message.droppable)
            .with("jmsXGroupFirstForConsumer", message.group_first_for_consumer);
        let fields = match message.text() {
            Some(text) => fields.with("text", shortened(&text)),
            None => fields,
        };
        f.write_str(&fields.end())
    }
}

/// Long texts by their beginning and end.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count < TEXT_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(TEXT_START).collect();
    let end: String = text.chars().skip(count - TEXT_END).collect();
    format!("{start}...{end}")
}

/// Characters from which on a text is shortened, and how many of it are shown then.
const TEXT_MAX: usize = 64;
const TEXT_START: usize = 45;
const TEXT_END: usize = 12;

fn properties(message: &Message) -> Option<String> {
    let map = PropertyMap::decode(message.properties.as_ref()?).ok()?;
    let entries: Vec<String> =
        map.iter().map(|(name, value)| format!("{name}={}", Value(value))).collect();
    Some(format!("{{{}}}", entries.join(", ")))
}

struct Value<'a>(&'a PropertyValue);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            PropertyValue::Null => f.write_str("null"),
            PropertyValue::Bool(value) => value.fmt(f),
            PropertyValue::Byte(value) => value.fmt(f),
            PropertyValue::Char(unit) => {
                char::from_u32((*unit).into()).unwrap_or(char::REPLACEMENT_CHARACTER).fmt(f)
            }
            PropertyValue::Short(value) => value.fmt(f),
            PropertyValue::Int(value) => value.fmt(f),
            PropertyValue::Long(value) => value.fmt(f),
            PropertyValue::Double(value) => write!(f, "{value:?}"),
            PropertyValue::Float(value) => write!(f, "{value:?}"),
            PropertyValue::String(value) => value.fmt(f),
            PropertyValue::Bytes(value) => write!(f, "{} bytes", value.len()),
            PropertyValue::Map(value) => write!(f, "a map of {}", value.len()),
            PropertyValue::List(value) => write!(f, "a list of {}", value.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shortened_in_the_middle() {
        assert_eq!(shortened(&"a".repeat(63)), "a".repeat(63));
        let text = format!("{}{}", "b".repeat(60), "c".repeat(60));
        assert_eq!(shortened(&text), format!("{}...{}", "b".repeat(45), "c".repeat(12)));
    }
}
