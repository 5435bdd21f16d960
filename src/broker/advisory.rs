//! Advisory messages: what happens in the broker, told on topics `ActiveMQ.Advisory.*`.
//!
//! A [`Notice`] says what happened; [`Announcer`] makes a message of it. Spelling of `orignalMessageId`
//! and `orignalDestination` is as clients know it.

use super::destination::Now;
use super::usage::Usage;
use crate::jms::info::ConsumerInfo;
use crate::jms::info::{
    ConnectionInfo, DestinationInfo, ProducerInfo, RemoveInfo, RemoveSubscriptionInfo,
};
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::{
    BodyKind, BrokerId, ConsumerId, Described, Destination, DestinationKind, Message, MessageId,
    ProducerId, Text,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The topic below `ActiveMQ.Advisory.`.
    suffix: String,
    /// The destination whose policy decides whether bodies are included.
    pub subject: Option<Destination>,
    /// The connection it came about through, if that is known.
    pub cause: Option<Text>,
    payload: Payload,
    properties: Vec<(&'static str, PropertyValue)>,
}

#[derive(Clone, Debug)]
enum Payload {
    Nothing,
    Described(Box<Described>),
    /// A message, described without its body unless the policy wants it.
    Message(Arc<Message>),
    /// The message itself goes to the advisory topic.
    Itself(Arc<Message>),
}

/// `Queue` or `Topic`, whether temporary or not.
fn family(destination: &Destination) -> &'static str {
    if destination.kind().is_queue() { "Queue" } else { "Topic" }
}

fn text(value: impl ToString) -> PropertyValue {
    PropertyValue::String(value.to_string().into())
}

impl Notice {
    fn new(suffix: String, payload: Payload) -> Self {
        Self { suffix, subject: None, cause: None, payload, properties: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: PropertyValue) -> Self {
        self.properties.push((name, value));
        self
    }

    fn message(name: &str, destination: &Destination, message: &Arc<Message>) -> Self {
        let kind = destination.kind().title();
        let suffix = format!("{name}.{kind}.{}", destination.name());
        let mut notice = Self::new(suffix, Payload::Message(Arc::clone(message)));
        notice.subject = Some(destination.clone());
        notice
    }

    fn with_origin(self, destination: &Destination, message: &Message) -> Self {
        let id = message.message_id.as_ref().map(ToString::to_string).unwrap_or_default();
        self.with("orignalMessageId", text(id)).with("orignalDestination", text(destination))
    }

    pub fn delivered(destination: &Destination, message: &Arc<Message>) -> Self {
        let cause = message.producer_id.as_ref().and_then(|sender| sender.connection.clone());
        let notice = Self::message("MessageDelivered", destination, message);
        Self { cause, ..notice.with_origin(destination, message) }
    }

    /// `by` is the connection of the consumer.
    pub fn consumed(destination: &Destination, message: &Arc<Message>, by: Option<&Text>) -> Self {
        let notice = Self::message("MessageConsumed", destination, message);
        Self { cause: by.cloned(), ..notice.with_origin(destination, message) }
    }

    /// `by` is the connection of the consumer that gave the message up.
    pub fn dead(destination: &Destination, message: &Arc<Message>, by: Option<Text>) -> Self {
        Self { cause: by, ..Self::message("MessageDLQd", destination, message) }
    }

    pub fn discarded(
        destination: &Destination,
        message: &Arc<Message>,
        consumer: &ConsumerInfo,
        count: u64,
    ) -> Self {
        let id = consumer.consumer_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let notice = Self::message("MessageDiscarded", destination, message)
            .with_origin(destination, message)
            .with("consumerId", text(id))
            .with("discardedCount", PropertyValue::Int(count));
        Self { cause: consumer.connection().cloned(), ..notice }
    }

    pub fn expired(destination: &Destination, message: &Arc<Message>) -> Self {
        let id = message.message_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let suffix = format!("Expired.{}.{}", family(destination), destination.name());
        let mut notice = Self::new(suffix, Payload::Message(Arc::clone(message)));
        notice.subject = Some(destination.clone());
        notice.with("orignalMessageId", text(id))
    }

    pub fn no_consumer(destination: &Destination, message: &Arc<Message>) -> Self {
        let suffix = format!("NoConsumer.{}.{}", family(destination), destination.name());
        Self::new(suffix, Payload::Itself(Arc::clone(message)))
    }

    pub fn slow_consumer(destination: &Destination, consumer: &ConsumerInfo) -> Self {
        let id = consumer.consumer_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let kind = destination.kind().title();
        let described = Described::Consumer(consumer.clone());
        let notice = Self::new(
            format!("SlowConsumer.{kind}.{}", destination.name()),
            Payload::Described(Box::new(described)),
        )
        .with("consumerId", text(id));
        Self { cause: consumer.connection().cloned(), ..notice }
    }

    pub fn fast_producer(destination: &Destination, producer: &ProducerId) -> Self {
        let kind = destination.kind().title();
        let info = ProducerInfo {
            producer_id: Some(producer.clone()),
            destination: Some(destination.clone()),
            ..ProducerInfo::default()
        };
        Self::new(
            format!("FastProducer.{kind}.{}", destination.name()),
            Payload::Described(Box::new(Described::Producer(info))),
        )
        .with("producerId", text(producer))
    }

    pub fn full(destination: &Destination, usage: &Usage) -> Self {
        let kind = destination.kind().title();
        let used = i64::try_from(usage.used()).unwrap_or(i64::MAX);
        Self::new(format!("FULL.{kind}.{}", destination.name()), Payload::Nothing)
            .with("usageName", text(format!("{}:{destination}:memory", usage.path())))
            .with("usageCount", PropertyValue::Long(used))
    }

    pub fn connection_added(info: &ConnectionInfo) -> Self {
        let info = ConnectionInfo { password: Some("".into()), ..info.clone() };
        Self::new("Connection".into(), Payload::Described(Box::new(Described::Connection(info))))
    }

    pub fn connection_removed(info: RemoveInfo) -> Self {
        Self::new("Connection".into(), Payload::Described(Box::new(removed(info))))
    }

    /// A destination was created (operation 0) or removed (1).
    pub fn destination(info: DestinationInfo) -> Self {
        let kind = info.destination.as_ref().map_or(DestinationKind::Queue, Destination::kind);
        Self::new(kind.title().into(), Payload::Described(Box::new(Described::Destination(info))))
    }

    fn about(what: &str, destination: &Destination, described: Described) -> Self {
        let name = destination.name().replace(',', "&sbquo;");
        let suffix = format!("{what}.{}.{name}", family(destination));
        Self::new(suffix, Payload::Described(Box::new(described)))
    }

    pub fn consumer_added(destination: &Destination, info: &ConsumerInfo, count: u32) -> Self {
        Self::about("Consumer", destination, Described::Consumer(info.clone()))
            .with("consumerCount", number(count))
    }

    pub fn consumer_removed(destination: &Destination, info: RemoveInfo, count: u32) -> Self {
        Self::about("Consumer", destination, removed(info)).with("consumerCount", number(count))
    }

    /// A consumer gets what is sent to the virtual `source`, by way of another destination.
    pub fn virtual_consumer_added(source: &Destination, info: &ConsumerInfo, count: u32) -> Self {
        let info = ConsumerInfo { destination: Some(source.clone()), ..info.clone() };
        Self::about("VirtualDestination.Consumer", source, Described::Consumer(info))
            .with("consumerCount", number(count))
    }

    pub fn virtual_consumer_removed(source: &Destination, info: RemoveInfo, count: u32) -> Self {
        Self::about("VirtualDestination.Consumer", source, removed(info))
            .with("consumerCount", number(count))
    }

    pub fn durable_removed(
        destination: &Destination,
        info: RemoveSubscriptionInfo,
        count: u32,
    ) -> Self {
        Self::about("Consumer", destination, Described::RemoveSubscription(info))
            .with("consumerCount", number(count))
    }

    pub fn producer_added(destination: &Destination, info: &ProducerInfo, count: u32) -> Self {
        Self::about("Producer", destination, Described::Producer(info.clone()))
            .with("producerCount", number(count))
    }

    /// A producer without destination came; they are not counted.
    pub fn anonymous_producer_added(info: &ProducerInfo) -> Self {
        let described = Payload::Described(Box::new(Described::Producer(info.clone())));
        Self::new(ANONYMOUS_PRODUCER.into(), described).with("producerCount", number(0))
    }

    pub fn anonymous_producer_removed(info: RemoveInfo) -> Self {
        let described = Payload::Described(Box::new(removed(info)));
        Self::new(ANONYMOUS_PRODUCER.into(), described).with("producerCount", number(0))
    }

    pub fn producer_removed(destination: &Destination, info: RemoveInfo, count: u32) -> Self {
        Self::about("Producer", destination, removed(info)).with("producerCount", number(count))
    }

    pub fn master_broker() -> Self {
        Self::new("MasterBroker".into(), Payload::Nothing)
    }

    /// The kind of thing that happened, as in the name of the topic.
    pub fn what(&self) -> &str {
        self.suffix.split_once('.').map_or(&*self.suffix, |(what, _)| what)
    }

    /// What it happened to, as in the name of the topic.
    pub fn about_what(&self) -> &str {
        self.suffix.split_once('.').map_or("", |(_, about)| about)
    }

    /// The message it is about.
    pub fn described_message(&self) -> Option<&Message> {
        match &self.payload {
            Payload::Message(message) | Payload::Itself(message) => Some(message),
            Payload::Nothing | Payload::Described(_) => None,
        }
    }

    /// The advisory topic.
    pub fn topic(&self) -> Destination {
        Destination::topic(format!("{}{}", Destination::ADVISORY_PREFIX, self.suffix))
    }
}

const ANONYMOUS_PRODUCER: &str = "Producer.Anonymous";

fn number(count: u32) -> PropertyValue {
    PropertyValue::Int(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Advisories do not tell what the last delivered message was.
fn removed(info: RemoveInfo) -> Described {
    Described::Remove(RemoveInfo { last_delivered_sequence_id: -2, ..info })
}

/// Makes messages of notices.
#[derive(Debug)]
pub struct Announcer {
    broker_name: Text,
    broker_id: BrokerId,
    producer: ProducerId,
    next: AtomicI64,
}

impl Announcer {
    pub fn new(broker_name: Text, broker_id: BrokerId, connection: Text) -> Self {
        let producer = ProducerId { connection: Some(connection), session: 0, value: 0 };
        Self { broker_name, broker_id, producer, next: AtomicI64::new(0) }
    }

    /// An id for a message of the broker's own.
    pub fn next_id(&self) -> MessageId {
        MessageId {
            producer: Some(self.producer.clone()),
            producer_sequence: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            ..MessageId::default()
        }
    }

    /// The message for `topic`, perhaps for one consumer only.
    pub fn message(
        &self,
        notice: &Notice,
        topic: &Destination,
        origin_url: &str,
        include_body: bool,
        target: Option<ConsumerId>,
    ) -> Message {
        if let Payload::Itself(message) = &notice.payload {
            return Message { destination: Some(topic.clone()), ..(**message).clone() };
        }
        let mut properties = PropertyMap::default();
        properties.set("originBrokerName", text(&self.broker_name));
        properties.set("originBrokerId", text(&self.broker_id));
        properties.set("originBrokerURL", text(origin_url));
        for (name, value) in &notice.properties {
            properties.set(*name, value.clone());
        }
        let described = match &notice.payload {
            Payload::Nothing | Payload::Itself(_) => None,
            Payload::Described(described) => Some(Arc::new((**described).clone())),
            Payload::Message(message) if include_body => {
                Some(Arc::new(Described::Message(Arc::clone(message))))
            }
            Payload::Message(message) => {
                let bare = Message { content: None, ..(**message).clone() };
                Some(Arc::new(Described::Message(Arc::new(bare))))
            }
        };
        Message {
            kind: BodyKind::Message,
            producer_id: Some(self.producer.clone()),
            message_id: Some(self.next_id()),
            destination: Some(topic.clone()),
            jms_type: Some("Advisory".into()),
            properties: properties.encode().ok(),
            described,
            target_consumer_id: target,
            broker_in_time: Now::read().wall_ms,
            ..Message::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Arc<Message> {
        Arc::new(Message {
            message_id: Some(MessageId { producer_sequence: 9, ..MessageId::default() }),
            destination: Some(Destination::queue("A")),
            content: Some("body".into()),
            ..Message::default()
        })
    }

    fn announced(notice: &Notice, include_body: bool) -> (Message, PropertyMap) {
        let announcer = Announcer::new("b".into(), BrokerId::default(), "c".into());
        let told = announcer.message(notice, &notice.topic(), "tcp://b", include_body, None);
        let properties = told.properties.as_ref().map(|map| PropertyMap::decode(map));
        (told, properties.map(|map| map.expect("it is well formed")).unwrap_or_default())
    }

    /// The topic of a notice below the prefix, and its own properties.
    fn shown(notice: &Notice) -> (String, Vec<String>) {
        let (told, properties) = announced(notice, false);
        let topic = told.destination.expect("a topic");
        let suffix = topic.name().strip_prefix(Destination::ADVISORY_PREFIX).expect("an advisory");
        let mut names: Vec<String> = notice.properties.iter().map(|(n, _)| (*n).into()).collect();
        assert!(names.iter().all(|name| properties.get(name).is_some()));
        names.sort();
        (suffix.into(), names)
    }

    #[test]
    fn each_notice_has_its_topic_and_properties() {
        let (queue, topic) = (Destination::queue("A"), Destination::topic("A"));
        let temporary = Destination::new(DestinationKind::TempQueue, Some("A".into()));
        let (consumer, producer) = (ConsumerInfo::default(), ProducerInfo::default());
        let made = |destination: &Destination| {
            let destination = Some(destination.clone());
            Notice::destination(DestinationInfo { destination, ..DestinationInfo::default() })
        };
        let gone = RemoveInfo::default;
        let origin = ["orignalDestination", "orignalMessageId"];
        let all: Vec<(Notice, &str, Vec<&str>)> = vec![
            (Notice::connection_added(&ConnectionInfo::default()), "Connection", vec![]),
            (Notice::connection_removed(gone()), "Connection", vec![]),
            (made(&queue), "Queue", vec![]),
            (made(&topic), "Topic", vec![]),
            (made(&temporary), "TempQueue", vec![]),
            (
                Notice::producer_added(&queue, &producer, 1),
                "Producer.Queue.A",
                vec!["producerCount"],
            ),
            (
                Notice::producer_removed(&topic, gone(), 0),
                "Producer.Topic.A",
                vec!["producerCount"],
            ),
            (
                Notice::anonymous_producer_added(&producer),
                "Producer.Anonymous",
                vec!["producerCount"],
            ),
            (
                Notice::consumer_added(&topic, &consumer, 1),
                "Consumer.Topic.A",
                vec!["consumerCount"],
            ),
            (
                Notice::consumer_removed(&queue, gone(), 0),
                "Consumer.Queue.A",
                vec!["consumerCount"],
            ),
            (
                Notice::virtual_consumer_added(&topic, &consumer, 1),
                "VirtualDestination.Consumer.Topic.A",
                vec!["consumerCount"],
            ),
            (Notice::expired(&queue, &message()), "Expired.Queue.A", vec!["orignalMessageId"]),
            (Notice::slow_consumer(&topic, &consumer), "SlowConsumer.Topic.A", vec!["consumerId"]),
            (
                Notice::fast_producer(&queue, &ProducerId::default()),
                "FastProducer.Queue.A",
                vec!["producerId"],
            ),
            (
                Notice::discarded(&topic, &message(), &consumer, 1),
                "MessageDiscarded.Topic.A",
                vec!["consumerId", "discardedCount", origin[0], origin[1]],
            ),
            (Notice::delivered(&queue, &message()), "MessageDelivered.Queue.A", origin.to_vec()),
            (
                Notice::consumed(&queue, &message(), None),
                "MessageConsumed.Queue.A",
                origin.to_vec(),
            ),
            (
                Notice::full(&queue, &Usage::new(0, None)),
                "FULL.Queue.A",
                vec!["usageCount", "usageName"],
            ),
            (Notice::master_broker(), "MasterBroker", vec![]),
        ];
        for (notice, topic, properties) in all {
            let (shown, names) = shown(&notice);
            assert_eq!(shown, topic);
            assert_eq!(names, properties, "{topic}");
        }
        assert_eq!(shown(&Notice::dead(&queue, &message(), None)).0, "MessageDLQd.Queue.A");
    }

    #[test]
    fn an_advisory_has_bare_headers_and_names_its_broker() {
        let (told, properties) = announced(&Notice::master_broker(), false);
        assert_eq!(told.jms_type.as_deref(), Some("Advisory"));
        assert!(!told.persistent && told.content.is_none());
        assert_eq!((told.priority, told.timestamp, told.expiration), (0, 0, 0));
        for name in ["originBrokerId", "originBrokerName", "originBrokerURL"] {
            assert!(properties.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn bodies_are_told_only_where_they_are_to_be() {
        for (included, body) in [(false, None), (true, Some("body".into()))] {
            let (told, _) =
                announced(&Notice::expired(&Destination::queue("A"), &message()), included);
            let Some(Described::Message(copy)) = told.described.as_deref() else {
                panic!("{:?}", told.described)
            };
            assert_eq!(copy.content, body);
        }
    }

    #[test]
    fn a_message_without_consumer_is_told_itself() {
        let (told, _) =
            announced(&Notice::no_consumer(&Destination::queue("A"), &message()), false);
        assert_eq!(
            told.destination,
            Some(Destination::topic("ActiveMQ.Advisory.NoConsumer.Queue.A"))
        );
        assert_eq!((told.jms_type, told.content), (None, Some("body".into())));
        assert_eq!(told.message_id, message().message_id);
    }
}
