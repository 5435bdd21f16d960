//! Section 15: what is announced, and where.

use super::*;
use crate::broker::policy::Policy;
use crate::jms::Described;

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
