//! Section 17: what the statistics plugin answers.

use super::*;
use crate::broker::plugins::{Plugin, Plugins};
use crate::broker::usage::Usage;
use crate::jms::properties::{PropertyMap, PropertyValue, PropertyValue::*};
use crate::jms::{BodyKind, BrokerId, Text};
use std::collections::BTreeMap;

/// Room for so many messages without body and properties, each of which counts for [`BYTES`].
const ROOM: u64 = 10;
const BYTES: i64 = 1024;
/// Messages come that far apart, long ago: what they wait differs, however fast the test runs.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

type Fields = BTreeMap<Text, PropertyValue>;

async fn counting() -> Arc<Broker> {
    broker_with(|options| {
        options.plugins = Plugins::new(vec![Plugin::Statistics]);
        options.id = BrokerId { value: Some("ID:test".into()) };
        options.memory_limit_bytes = ROOM * BYTES.unsigned_abs();
        options.store_usage = Usage::new(1_000, None);
        options.store_usage.set_used(250);
        options.temp_usage = Usage::new(2_000, None);
        options.temp_usage.set_used(1_500);
        let addresses = [("tcp", "tcp://b:1"), ("stomp", "stomp://b:2"), ("ssl", "ssl://b:3")];
        options.addresses = addresses.map(|(scheme, url)| (scheme.into(), url.into())).to_vec();
        options.data_directory = "data".into();
    })
    .await
}

/// A client that has sent five messages to `queue`, was dispatched three, holds two and acknowledged one.
async fn worker(broker: &Arc<Broker>, queue: &Destination) -> Peer {
    let mut worker = Peer::connect(broker, "worker").await;
    let info = ProducerInfo {
        producer_id: Some(worker.producer(2)),
        destination: Some(queue.clone()),
        ..ProducerInfo::default()
    };
    worker.client.add_producer(info).await.expect("it is let in");
    let info = ConsumerInfo {
        prefetch_size: 2,
        selector: Some("JMSPriority = 4".into()),
        exclusive: true,
        ..worker.consumer(queue)
    };
    worker.open(info).await.expect("it is let in");
    for number in 1..=5 {
        let message = Arc::new(worker.message(queue));
        worker.client.send(message, number * DAY_MS, &mut None).await.expect("there is room");
        worker.client.flush().await;
    }
    let held = worker.deliveries(2).await;
    worker.acknowledge(AckKind::Standard, &held[..1], None).await.expect("it holds it");
    assert_eq!(worker.takes_numbers(1).await, [3]);
    worker
}

/// A client that can be answered.
async fn asker(broker: &Arc<Broker>) -> Peer {
    let mut asker = Peer::connect(broker, "asker").await;
    asker.consume(&answers()).await.expect("it is its own");
    asker
}

fn answers() -> Destination {
    destinations::temporary("asker")
}

impl Peer {
    /// Sends a question with these properties.
    async fn ask(&mut self, about: &Destination, properties: &[&str]) {
        let set: PropertyMap =
            properties.iter().map(|name| (Text::from(*name), Bool(true))).collect();
        let question = Message {
            reply_to: Some(answers()),
            correlation_id: Some("asked".into()),
            properties: set.encode().ok(),
            ..self.message(about)
        };
        self.send_message(question).await.expect("it is answered");
    }

    /// What the next answer has in its map, and its correlation id.
    async fn answer(&mut self) -> (Fields, Option<Text>) {
        let message = self.takes().await;
        assert_eq!(
            (&message.kind, message.jms_type.as_deref()),
            (&BodyKind::Map, Some("Advisory"))
        );
        let map = PropertyMap::decode(message.content.as_deref().expect("a map")).expect("sound");
        let fields = map.iter().map(|(name, value)| (Text::clone(name), value.clone()));
        (fields.collect(), message.correlation_id.clone())
    }

    /// The only answer, which names the question.
    async fn answered(&mut self, about: &Destination, properties: &[&str]) -> Fields {
        self.ask(about, properties).await;
        let (fields, correlation_id) = self.answer().await;
        assert_eq!(correlation_id.as_deref(), Some("asked"));
        fields
    }
}

/// Takes out of an answer how long messages waited, which differs from run to run but for its order.
fn without_times(mut fields: Fields) -> Fields {
    let mut time = |name| match fields.remove(name) {
        Some(Double(ms)) => ms,
        other => panic!("{name}: {other:?}"),
    };
    let [min, average, max] =
        ["minEnqueueTime", "averageEnqueueTime", "maxEnqueueTime"].map(&mut time);
    assert!(0.0 < min && min < average && average < max, "{min} {average} {max}");
    fields
}

fn fields<const N: usize>(list: [(&str, PropertyValue); N]) -> Fields {
    list.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

fn text(text: &str) -> PropertyValue {
    String(text.into())
}

fn about(what: &str) -> Destination {
    Destination::queue(format!("ActiveMQ.Statistics.{what}"))
}

#[tokio::test]
async fn a_question_about_a_destination_is_answered_with_its_counters() {
    let broker = counting().await;
    let _worker = worker(&broker, &Destination::queue("Q")).await;
    let mut asker = asker(&broker).await;
    let told = without_times(asker.answered(&about("Destination.Q"), &[]).await);
    let expected = fields([
        ("brokerName", text("test")),
        ("brokerId", text("ID:test")),
        ("destinationName", text("queue://Q")),
        ("size", Long(4)),
        ("enqueueCount", Long(5)),
        ("dequeueCount", Long(1)),
        ("dispatchCount", Long(3)),
        ("expiredCount", Long(0)),
        ("inflightCount", Long(2)),
        ("messagesCached", Long(0)),
        ("averageMessageSize", Long(BYTES)),
        ("memoryPercentUsage", Int(40)),
        ("memoryUsage", Long(4 * BYTES)),
        ("memoryLimit", Long(ROOM as i64 * BYTES)),
        ("consumerCount", Long(1)),
        ("producerCount", Long(1)),
    ]);
    assert_eq!(told, expected);
    let first = "ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp";
    let mut told = without_times(asker.answered(&about("Destination.Q"), &[first]).await);
    let time = told.remove("firstMessageTimestamp");
    assert_eq!(time, Some(Long(2 * DAY_MS)), "the first one was acknowledged");
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_question_with_a_pattern_is_answered_for_each_destination_of_its_kind() {
    let broker = counting().await;
    let mut asker = asker(&broker).await;
    for queue in ["A.a", "A.b", "B"] {
        asker.create(&Destination::queue(queue)).await.expect("no limit");
    }
    for topic in ["A.c", "A.d"] {
        asker.create(&Destination::topic(topic)).await.expect("no limit");
    }
    let ends = "ActiveMQ.Statistics.Destination.List.End.With.Null";
    let queues = about("Destination.A.*");
    let topics = Destination::topic(queues.name());
    for (about, expected) in
        [(queues, ["queue://A.a", "queue://A.b"]), (topics, ["topic://A.c", "topic://A.d"])]
    {
        asker.ask(&about, &[ends]).await;
        for name in expected {
            let (told, _) = asker.answer().await;
            assert_eq!(told["destinationName"], text(name));
        }
        assert_eq!(asker.answer().await, (Fields::new(), Some("asked".into())));
        asker.ask(&about, &[]).await;
        asker.deliveries(2).await;
        asker.has_no_more(&broker).await;
    }
}

#[tokio::test]
async fn a_question_about_the_broker_is_answered_with_the_counters_of_all_destinations() {
    let broker = counting().await;
    let mut worker = worker(&broker, &Destination::queue("Q")).await;
    worker.send(&Destination::queue("R")).await.expect("there is room");
    let mut asker = asker(&broker).await;
    let told = without_times(asker.answered(&about("Broker"), &[]).await);
    let expected = fields([
        ("brokerName", text("test")),
        ("brokerId", text("ID:test")),
        ("size", Long(5)),
        ("enqueueCount", Long(6)),
        ("dequeueCount", Long(1)),
        ("dispatchCount", Long(3)),
        ("expiredCount", Long(0)),
        ("inflightCount", Long(2)),
        ("messagesCached", Long(0)),
        ("averageMessageSize", Long(BYTES)),
        ("memoryPercentUsage", Int(50)),
        ("memoryUsage", Long(5 * BYTES)),
        ("memoryLimit", Long(ROOM as i64 * BYTES)),
        ("storePercentUsage", Int(25)),
        ("storeUsage", Long(250)),
        ("storeLimit", Long(1_000)),
        ("tempPercentUsage", Int(75)),
        ("tempUsage", Long(1_500)),
        ("tempLimit", Long(2_000)),
        ("consumerCount", Long(2)),
        ("producerCount", Long(1)),
        ("openwire", text("tcp://b:1")),
        ("stomp", text("stomp://b:2")),
        ("ssl", text("ssl://b:3")),
        ("stomp+ssl", text("")),
        ("vm", text("vm://test")),
        ("dataDirectory", text("data")),
    ]);
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_counters_of_the_broker_begin_anew_when_that_is_asked_for() {
    let broker = counting().await;
    let _worker = worker(&broker, &Destination::queue("Q")).await;
    let mut asker = asker(&broker).await;
    let reset = "ActiveMQ.Statistics.Broker.Reset";
    let told = asker.answered(&about("Broker"), &[reset]).await;
    for counter in ["enqueueCount", "dequeueCount", "dispatchCount"] {
        assert_eq!(told[counter], Long(0), "{counter}");
    }
    assert_eq!((&told["size"], &told["inflightCount"]), (&Long(4), &Long(2)));
    let told = asker.answered(&about("Destination.Q"), &[]).await;
    assert_eq!(told["enqueueCount"], Long(5), "those of destinations go on");
}

#[tokio::test]
async fn a_question_about_subscriptions_is_answered_for_each_without_naming_the_question() {
    let broker = counting().await;
    let mut worker = worker(&broker, &Destination::queue("Q")).await;
    let info = ConsumerInfo {
        retroactive: true,
        maximum_pending_message_limit: 7,
        ..worker.consumer(&Destination::topic("T"))
    };
    worker.open(info).await.expect("it is let in");
    let mut asker = asker(&broker).await;
    asker.ask(&about("Subscription"), &[]).await;
    let (of_queue, correlation_id) = asker.answer().await;
    let expected = fields([
        ("brokerName", text("test")),
        ("brokerId", text("ID:test")),
        ("destinationName", text("Q")),
        ("clientId", text("worker")),
        ("connectionId", text("worker")),
        ("sessionId", Long(1)),
        ("selector", text("JMSPriority = 4")),
        ("enqueueCounter", Long(3)),
        ("dequeueCounter", Long(1)),
        ("dispatchedCounter", Long(3)),
        ("dispatchedQueueSize", Long(2)),
        ("prefetchSize", Int(2)),
        ("maximumPendingMessageLimit", Int(0)),
        ("exclusive", Bool(true)),
        ("retroactive", Bool(false)),
        ("slowConsumer", Bool(false)),
    ]);
    assert_eq!((of_queue, correlation_id), (expected, None));
    let (of_topic, _) = asker.answer().await;
    for (name, value) in fields([
        ("destinationName", text("T")),
        ("selector", Null),
        ("prefetchSize", Int(100)),
        ("maximumPendingMessageLimit", Int(7)),
        ("exclusive", Bool(false)),
        ("retroactive", Bool(true)),
    ]) {
        assert_eq!(of_topic[&name], value, "{name}");
    }
    asker.has_no_more(&broker).await;
}
