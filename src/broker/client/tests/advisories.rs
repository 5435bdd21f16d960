//! Section 15: what is announced, and where.

use super::*;
use crate::broker::VirtualSubscriptions;
use crate::broker::interceptors::Interceptors;
use crate::broker::policy::{PendingLimit, Policy};
use crate::jms::Described;
use crate::jms::properties::{PropertyMap, PropertyValue};

async fn announcing() -> Arc<Broker> {
    broker_with(|options| options.advisories = true).await
}

fn watched(suffix: &str) -> Destination {
    Destination::topic(format!("{}{suffix}", Destination::ADVISORY_PREFIX))
}

impl Peer {
    async fn watch(&mut self, suffix: &str) {
        self.consume(&watched(suffix)).await.expect("it is let in");
    }

    /// What the next advisory says: its topic below the prefix, and what it describes.
    async fn told(&mut self) -> (String, Option<Described>) {
        let message = self.takes().await;
        assert_eq!(message.jms_type.as_deref(), Some("Advisory"));
        assert!(!message.persistent && message.priority == 0 && message.timestamp == 0);
        let topic = message.destination.as_ref().expect("a topic").name();
        let suffix = topic.strip_prefix(Destination::ADVISORY_PREFIX).expect("an advisory");
        (suffix.into(), message.described.as_deref().cloned())
    }

    /// The connectors that the next advisories name.
    async fn origins(&mut self, count: usize) -> Vec<String> {
        let mut origins = Vec::new();
        for _ in 0..count {
            let message = self.takes().await;
            let properties = message.properties.as_ref().expect("advisories have some");
            let properties = PropertyMap::decode(properties).expect("they are well formed");
            match properties.get("originBrokerURL") {
                Some(PropertyValue::String(url)) => origins.push(url.to_string()),
                other => panic!("it is no text: {other:?}"),
            }
        }
        origins
    }

    async fn topics_told(&mut self, count: usize) -> Vec<String> {
        let mut topics = Vec::new();
        for _ in 0..count {
            topics.push(self.told().await.0);
        }
        topics
    }
}

#[tokio::test]
async fn what_comes_and_goes_is_announced_on_its_topic() {
    let broker = announcing().await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.watch(">").await;
    assert_eq!(watcher.topics_told(1).await, ["MasterBroker"]);
    let mut peer = Peer::connect(&broker, "c").await;
    assert_eq!(watcher.topics_told(1).await, ["Connection"]);
    let consumer = peer.consume(&Destination::queue("Q")).await.expect("it is let in");
    assert_eq!(watcher.topics_told(2).await, ["Queue", "Consumer.Queue.Q"]);
    let info = ProducerInfo {
        producer_id: Some(peer.producer(2)),
        destination: Some(Destination::topic("T")),
        ..ProducerInfo::default()
    };
    peer.client.add_producer(info).await.expect("it is let in");
    assert_eq!(watcher.topics_told(2).await, ["Topic", "Producer.Topic.T"]);
    peer.create(&destinations::temporary("c")).await.expect("it is its own");
    assert_eq!(watcher.topics_told(1).await, ["TempQueue"]);
    peer.close(&consumer).await;
    assert_eq!(watcher.topics_told(1).await, ["Consumer.Queue.Q"]);
    peer.remove(&Destination::queue("Q")).await.expect("nobody uses it");
    assert_eq!(watcher.topics_told(1).await, ["Queue"]);
    peer.client.close(-1).await;
    assert_eq!(watcher.topics_told(3).await, ["Producer.Topic.T", "TempQueue", "Connection"]);
}

#[tokio::test]
async fn who_comes_late_is_told_of_what_is_there_and_nobody_else_is() {
    let broker = announcing().await;
    let mut early = Peer::connect(&broker, "early").await;
    early.watch("Consumer.Queue.>").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let consumer = peer.consume(&Destination::queue("Q")).await.expect("it is let in");
    assert_eq!(early.topics_told(1).await, ["Consumer.Queue.Q"]);
    let mut late = Peer::connect(&broker, "late").await;
    late.watch("Consumer.Queue.Q").await;
    let (topic, described) = late.told().await;
    assert_eq!(topic, "Consumer.Queue.Q");
    let Some(Described::Consumer(info)) = described else { panic!("{described:?}") };
    assert_eq!(info.consumer_id, Some(consumer));
    early.has_no_more(&broker).await;
    for (suffix, count) in [("Connection", 3), ("Queue", 1)] {
        late.watch(suffix).await;
        assert_eq!(late.topics_told(count).await, vec![suffix; count]);
    }
}

#[tokio::test]
async fn a_connection_is_announced_without_its_password() {
    let broker = announcing().await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.watch("Connection").await;
    watcher.told().await;
    let info = ConnectionInfo {
        user_name: Some("user".into()),
        password: Some("secret".into()),
        ..introduction("c", Some("c"))
    };
    Peer::admitted(&broker, "c", info, transport()).await.expect("it is let in");
    let Some(Described::Connection(told)) = watcher.told().await.1 else { panic!("no connection") };
    assert_eq!((told.user_name.as_deref(), told.password.as_deref()), (Some("user"), Some("")));
}

#[tokio::test]
async fn a_composite_name_is_announced_part_by_part() {
    let broker = announcing().await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.watch("Consumer.Queue.>").await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&Destination::queue("A,B")).await.expect("it is let in");
    let mut topics = watcher.topics_told(2).await;
    topics.sort();
    assert_eq!(topics, ["Consumer.Queue.A", "Consumer.Queue.B"]);
}

#[tokio::test]
async fn advisories_are_not_announced_themselves() {
    let broker = announcing().await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.watch("Consumer.>").await;
    watcher.watch("Topic").await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.watch("Queue").await;
    watcher.has_no_more(&broker).await;
}

/// With `advisorySupport="false"`.
#[tokio::test]
async fn nothing_is_announced_where_advisories_are_switched_off() {
    let broker = broker_with(|_| {}).await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    for suffix in [">", "Connection", "MasterBroker"] {
        watcher.watch(suffix).await;
    }
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&Destination::queue("Q")).await.expect("there is room");
    watcher.has_no_more(&broker).await;
}

#[tokio::test]
async fn a_full_queue_and_its_producer_are_announced_once_where_the_policy_says_so() {
    let broker = broker_with(|options| {
        options.advisories = true;
        options.policy = Box::new(|of| Policy {
            memory_limit_bytes: if of.name() == "Q" { 1024 } else { 0 },
            advisory_when_full: true,
            advisory_for_fast_producers: true,
            ..Policy::default()
        });
    })
    .await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.watch("FULL.>").await;
    watcher.watch("FastProducer.>").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let queue = Destination::queue("Q");
    peer.send(&queue).await.expect("there is room");
    watcher.has_no_more(&broker).await;
    let mut parked = Vec::new();
    for _ in 0..3 {
        let message = peer.message(&queue);
        parked.push(peer.begin_send(message).await.expect("it waits"));
    }
    let mut topics = watcher.topics_told(2).await;
    topics.sort();
    assert_eq!(topics, ["FULL.Queue.Q", "FastProducer.Queue.Q"]);
    watcher.has_no_more(&broker).await;
}

impl Peer {
    /// Topics of the next `count` messages below the prefix, sorted: what is told of one message may come
    /// in any order.
    async fn topics_of(&mut self, count: usize) -> Vec<String> {
        let mut topics = Vec::new();
        for _ in 0..count {
            let message = self.takes().await;
            let topic = message.destination.as_ref().expect("a topic").name();
            topics.push(topic.strip_prefix(Destination::ADVISORY_PREFIX).expect("one").to_owned());
        }
        topics.sort();
        topics
    }
}

#[tokio::test]
async fn what_becomes_of_the_messages_of_a_queue_is_announced_where_the_policy_says_so() {
    for all in [true, false] {
        let broker = broker_with(|options| {
            options.advisories = true;
            options.policy = Box::new(move |of| Policy {
                advisory_for_consumed: all && of.name() == "Q",
                advisory_for_delivery: all && of.name() == "Q",
                advisory_if_no_consumers: all && of.name() == "Q",
                ..Policy::default()
            });
        })
        .await;
        let mut watcher = Peer::connect(&broker, "watcher").await;
        for suffix in ["MessageDelivered.>", "MessageConsumed.>", "MessageDLQd.>"] {
            watcher.watch(suffix).await;
        }
        for suffix in ["Expired.>", "NoConsumer.>"] {
            watcher.watch(suffix).await;
        }
        let mut peer = Peer::connect(&broker, "c").await;
        let queue = Destination::queue("Q");
        peer.send(&queue).await.expect("there is room");
        let told: &[&str] =
            if all { &["MessageDelivered.Queue.Q", "NoConsumer.Queue.Q"] } else { &[] };
        assert_eq!(watcher.topics_of(told.len()).await, told);
        peer.consume(&queue).await.expect("it is let in");
        let got = peer.deliveries(1).await;
        peer.acknowledge(AckKind::Standard, &got, None).await.expect("it is held");
        let told: &[&str] = if all { &["MessageConsumed.Queue.Q"] } else { &[] };
        assert_eq!(watcher.topics_of(told.len()).await, told);
        let message = Message { persistent: true, ..peer.message(&queue) };
        peer.send_message(message).await.expect("there is room");
        let got = peer.deliveries(1).await;
        peer.acknowledge(AckKind::Poison, &got, None).await.expect("it is held");
        let told: &[&str] = match all {
            true => &["MessageDLQd.Queue.Q", "MessageDelivered.Queue.Q"],
            false => &["MessageDLQd.Queue.Q"],
        };
        assert_eq!(watcher.topics_of(told.len()).await, told);
        let late = Message { expiration: 1, ..peer.message(&queue) };
        peer.send_message(late).await.expect("it is taken");
        let told: &[&str] = match all {
            true => &["Expired.Queue.Q", "MessageConsumed.Queue.Q"],
            false => &["Expired.Queue.Q"],
        };
        assert_eq!(watcher.topics_of(told.len()).await, told);
        watcher.has_no_more(&broker).await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_of_a_topic_and_what_it_loses_are_announced_where_the_policy_says_so() {
    for all in [true, false] {
        let broker = broker_with(|options| {
            options.advisories = true;
            options.policy = Box::new(move |_| Policy {
                pending_limit: PendingLimit::Constant(3),
                advisory_for_discarding: all,
                advisory_for_slow_consumers: all,
                ..Policy::default()
            });
        })
        .await;
        let mut watcher = Peer::connect(&broker, "watcher").await;
        for suffix in ["MessageDiscarded.>", "SlowConsumer.>"] {
            watcher.watch(suffix).await;
        }
        let mut peer = Peer::connect(&broker, "c").await;
        let topic = Destination::topic("T");
        let info = ConsumerInfo { prefetch_size: 2, ..peer.consumer(&topic) };
        peer.open(info).await.expect("it is let in");
        for _ in 0..6 {
            peer.send(&topic).await.expect("there is room");
        }
        let told: &[&str] =
            if all { &["MessageDiscarded.Topic.T", "SlowConsumer.Topic.T"] } else { &[] };
        assert_eq!(watcher.topics_of(told.len()).await, told);
        watcher.has_no_more(&broker).await;
    }
}

/// It would lose the advisories about that too, and so on without end.
#[tokio::test]
async fn what_a_slow_subscriber_loses_of_advisories_is_not_announced() {
    let broker = broker_with(|options| {
        options.advisories = true;
        options.policy = Box::new(|_| Policy {
            pending_limit: PendingLimit::Constant(3),
            advisory_for_discarding: true,
            advisory_for_slow_consumers: true,
            ..Policy::default()
        });
    })
    .await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    for suffix in ["MessageDiscarded.>", "SlowConsumer.>"] {
        watcher.watch(suffix).await;
    }
    let mut slow = Peer::connect(&broker, "slow").await;
    let all = Destination::topic(">");
    let info = ConsumerInfo { prefetch_size: 2, ..slow.consumer(&all) };
    slow.open(info).await.expect("it is let in");
    for number in 0..10 {
        slow.send(&Destination::queue(format!("Q{number}"))).await.expect("there is room");
    }
    watcher.has_no_more(&broker).await;
}

/// With `anonymousProducerAdvisorySupport`.
#[tokio::test]
async fn producers_without_destination_are_announced_where_that_is_wanted() {
    for wanted in [true, false] {
        let broker = broker_with(|options| {
            options.advisories = true;
            options.anonymous_producer_advisories = wanted;
        })
        .await;
        let mut watcher = Peer::connect(&broker, "watcher").await;
        watcher.watch("Producer.>").await;
        // The first one is the watcher's own.
        let count = usize::from(wanted);
        assert_eq!(watcher.topics_told(count).await, vec!["Producer.Anonymous"; count]);
        let mut peer = Peer::connect(&broker, "c").await;
        peer.client.close(-1).await;
        assert_eq!(watcher.topics_told(2 * count).await, vec!["Producer.Anonymous"; 2 * count]);
        watcher.has_no_more(&broker).await;
    }
}

/// With `useVirtualDestSubs`.
#[tokio::test]
async fn consumers_of_queues_of_virtual_topics_are_announced_as_theirs_where_that_is_wanted() {
    for wanted in [VirtualSubscriptions::Consumers, VirtualSubscriptions::Nothing] {
        let broker = broker_with(|options| {
            options.advisories = true;
            options.virtual_subscriptions = wanted;
            options.interceptors = Arc::new(Interceptors::default_virtual_topics());
        })
        .await;
        let mut watcher = Peer::connect(&broker, "watcher").await;
        watcher.watch("VirtualDestination.>").await;
        let mut peer = Peer::connect(&broker, "c").await;
        let queue = Destination::queue("Consumer.A.VirtualTopic.T");
        let consumer = peer.consume(&queue).await.expect("it is let in");
        peer.close(&consumer).await;
        let count = if wanted == VirtualSubscriptions::Consumers { 2 } else { 0 };
        let topic = "VirtualDestination.Consumer.Topic.VirtualTopic.T";
        assert_eq!(watcher.topics_told(count).await, vec![topic; count]);
        watcher.has_no_more(&broker).await;
    }
}

/// Each advisory names the connector that its cause came through; what is told to somebody who comes, the one of
/// that.
#[tokio::test]
async fn origin_broker_url_is_of_the_connector_of_the_sender_of_the_consumer_or_of_who_watches() {
    for transacted in [false, true] {
        let broker = broker_with(|options| {
            options.advisories = true;
            options.policy = Box::new(|of| Policy {
                advisory_for_consumed: of.name() == "Q",
                advisory_for_delivery: of.name() == "Q",
                ..Policy::default()
            });
        })
        .await;
        let mut watcher = Peer::through(&broker, "watcher", "tcp://watchers").await;
        for what in ["MasterBroker", "MessageDelivered.>", "MessageConsumed.>", "MessageDLQd.>"] {
            watcher.watch(what).await;
        }
        let mut other = Peer::through(&broker, "other", "tcp://others").await;
        other.watch("Queue").await;
        assert_eq!(watcher.origins(1).await, ["tcp://watchers"]);
        let mut sender = Peer::through(&broker, "sender", "tcp://senders").await;
        let mut consumer = Peer::through(&broker, "consumer", "tcp://consumers").await;
        let queue = Destination::queue("Q");
        sender.send(&queue).await.expect("there is room");
        assert_eq!(watcher.origins(1).await, ["tcp://senders"]);
        assert_eq!(other.origins(1).await, ["tcp://senders"], "it made the queue");
        consumer.consume(&queue).await.expect("it is let in");
        let got = consumer.deliveries(1).await;
        let id = transacted.then(|| transactions::local("consumer", 1));
        if let Some(id) = &id {
            consumer.client.begin(id.clone()).expect("no limit");
        }
        consumer.acknowledge(AckKind::Standard, &got, id.as_ref()).await.expect("it is held");
        if let Some(id) = &id {
            consumer.commit(id, false).await.expect("it is open");
        }
        assert_eq!(watcher.origins(1).await, ["tcp://consumers"]);
        let message = Message { persistent: true, ..sender.message(&queue) };
        sender.send_message(message).await.expect("there is room");
        assert_eq!(watcher.origins(1).await, ["tcp://senders"]);
        let got = consumer.deliveries(1).await;
        consumer.acknowledge(AckKind::Poison, &got, None).await.expect("it is held");
        assert_eq!(watcher.origins(1).await, ["tcp://consumers"]);
    }
}
