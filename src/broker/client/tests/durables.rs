//! Section 4: durable subscriptions.

use super::*;
use crate::broker::policy::{Cursor, Policy};
use crate::jms::info::RemoveSubscriptionInfo;
use crate::store::{Recovered, RecoveredDestination, RecoveredSubscription, StoredSubscription};

const TOPIC: &str = "T";

fn topic() -> Destination {
    Destination::topic(TOPIC)
}

fn named(client: &str, name: &str) -> RemoveSubscriptionInfo {
    RemoveSubscriptionInfo {
        client_id: Some(client.into()),
        subscription_name: Some(name.into()),
        ..RemoveSubscriptionInfo::default()
    }
}

#[tokio::test]
async fn a_subscription_keeps_what_comes_while_it_is_away_and_goes_on_in_order() {
    let broker = broker_with(|_| {}).await;
    let mut sender = Peer::connect(&broker, "sender").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let consumer = peer.subscribe(&topic(), "s", None).await.expect("it is new");
    peer.close(&consumer).await;
    for _ in 0..3 {
        sender.send(&topic()).await.expect("there is room");
    }
    peer.client.close(-1).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
    sender.send(&topic()).await.expect("there is room");
    assert_eq!(peer.takes_numbers(4).await, [1, 2, 3, 4]);
}

/// Section 9: what its consumer says when it ends it decides what counts as delivered.
#[tokio::test]
async fn what_a_consumer_of_a_subscription_delivered_comes_again_with_a_higher_counter() {
    let broker = broker_with(|_| {}).await;
    let mut sender = Peer::connect(&broker, "sender").await;
    let mut peer = Peer::connect(&broker, "c").await;
    // None: it says that the second one was the last.
    let cases =
        [(Some(-2), [1, 1, 1]), (Some(0), [1, 1, 1]), (Some(-1), [0, 0, 0]), (None, [1, 1, 0])];
    for (number, (says, expected)) in cases.into_iter().enumerate() {
        let name = format!("s{number}");
        let consumer = peer.subscribe(&topic(), &name, None).await.expect("it is new");
        for _ in 0..3 {
            sender.send(&topic()).await.expect("there is room");
        }
        let mut sequences = Vec::new();
        for _ in 0..3 {
            let delivery = peer.delivery().await;
            assert_eq!(delivery.redeliveries, 0);
            sequences.push(delivery.sequence);
        }
        let last = says.unwrap_or(sequences[1]);
        peer.client.remove_consumer(&consumer, last).await.expect("it is open");
        let consumer = peer.subscribe(&topic(), &name, None).await.expect("nobody has it");
        let mut counters = Vec::new();
        for _ in 0..3 {
            counters.push(peer.delivery().await.redeliveries);
        }
        assert_eq!(counters, expected, "the last delivered was {last}");
        peer.close(&consumer).await;
        peer.client.forget_durable(named("c", &name)).await.expect("nobody uses it");
    }
}

/// With `keepDurableSubsActive="false"`.
#[tokio::test]
async fn a_subscription_that_is_away_may_be_kept_persistent_messages_only() {
    let broker = broker_with(|options| options.keep_durables_active = false).await;
    let mut sender = Peer::connect(&broker, "sender").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let consumer = peer.subscribe(&topic(), "s", None).await.expect("it is new");
    peer.close(&consumer).await;
    for persistent in [false, true, false] {
        let message = sender.message(&topic());
        let message = Message { persistent, ..message };
        sender.send_message(message).await.expect("there is room");
    }
    peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
    sender.send(&topic()).await.expect("there is room");
    assert_eq!(peer.takes_numbers(2).await, [2, 4]);
}

/// Section 6: what is not in the store needs no memory either.
#[tokio::test]
async fn what_waits_for_a_subscription_spills_to_the_temp_store_unless_its_cursor_is_vm() {
    const MESSAGES: i64 = 60;
    let limit = 10 * 1024;
    for durable_cursor in [Cursor::Store, Cursor::Memory] {
        let broker = broker_with(|options| {
            options.memory_limit_bytes = limit;
            options.spool = Some(fixture::spool());
            options.policy = Box::new(move |_| Policy {
                producer_flow_control: false,
                // What is read back is little.
                page_max: 2,
                durable_cursor,
                ..Policy::default()
            });
        })
        .await;
        let mut sender = Peer::connect(&broker, "sender").await;
        let mut peer = Peer::connect(&broker, "c").await;
        let consumer = peer.subscribe(&topic(), "s", None).await.expect("it is new");
        peer.close(&consumer).await;
        for _ in 0..MESSAGES {
            sender.send(&topic()).await.expect("it is let in");
        }
        settled(&broker).await;
        if durable_cursor == Cursor::Memory {
            assert!(broker.memory.used() > 2 * limit, "all is in memory");
        } else {
            let written = async {
                while broker.memory.used() > limit {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, written).await.expect("the rest is on disk");
        }
        let durable = broker.registry.durables()[0].size();
        assert_eq!(i64::try_from(durable), Ok(MESSAGES));
        let info = ConsumerInfo { prefetch_size: 3, ..peer.consumer(&topic()) };
        peer.open(ConsumerInfo { subscription_name: Some("s".into()), ..info })
            .await
            .expect("nobody has it");
        sender.send(&topic()).await.expect("it is let in");
        let mut got = Vec::new();
        for _ in 0..=MESSAGES {
            let next = peer.deliveries(1).await;
            let message = next[0].message.as_ref().expect("a message");
            got.push(message.message_id.as_ref().expect("it has an id").producer_sequence);
            peer.acknowledge(AckKind::Standard, &next, None).await.expect("it is held");
        }
        assert_eq!(got, (1..=MESSAGES + 1).collect::<Vec<i64>>(), "{durable_cursor:?}");
        peer.has_no_more(&broker).await;
    }
}

#[tokio::test]
async fn a_subscription_is_its_clients_and_has_one_consumer() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let mut other = Peer::connect(&broker, "d").await;
    peer.subscribe(&topic(), "s", None).await.expect("it is new");
    other.subscribe(&topic(), "s", None).await.expect("it is another one");
    let refused = peer.subscribe(&topic(), "s", None).await.expect_err("it is in use").to_string();
    assert_eq!(refused, "Durable consumer is in use for client: c and subscriptionName: s");
}

#[tokio::test]
async fn a_changed_selector_or_topic_or_no_local_starts_anew_without_backlog() {
    let broker = broker_with(|_| {}).await;
    let mut sender = Peer::connect(&broker, "sender").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let name: Option<crate::jms::Text> = Some("s".into());
    let changes: [(&str, Option<&str>, bool, usize); 6] = [
        (TOPIC, None, false, 0),
        (TOPIC, Some(" "), false, 1),
        (TOPIC, Some("JMSPriority = 4"), false, 0),
        (TOPIC, Some("JMSPriority = 4"), true, 0),
        ("OTHER", Some("JMSPriority = 4"), true, 0),
        ("OTHER", Some("JMSPriority = 4"), true, 1),
    ];
    for (number, (to, selector, no_local, backlog)) in changes.into_iter().enumerate() {
        let info = ConsumerInfo {
            subscription_name: name.clone(),
            selector: selector.map(Into::into),
            no_local,
            ..peer.consumer(&Destination::topic(to))
        };
        let consumer = peer.open(info).await.expect("nobody has it");
        for _ in 0..backlog {
            peer.takes().await;
        }
        peer.close(&consumer).await;
        assert_eq!(peer.outbox.deliveries(), 0, "change {number}");
        // The next one finds it, unless it asks for something else.
        sender.send(&Destination::topic(to)).await.expect("there is room");
        settled(&broker).await;
    }
}

#[tokio::test]
async fn only_its_client_ends_a_subscription_and_not_while_it_is_used() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let mut other = Peer::connect(&broker, "d").await;
    let consumer = peer.subscribe(&topic(), "s", None).await.expect("it is new");
    let busy = peer.client.forget_durable(named("c", "s")).await;
    assert_eq!(busy, Err(BrokerError::DurableActive));
    peer.close(&consumer).await;
    let missing = |client: &str, name: &str| BrokerError::DurableMissing {
        client: client.into(),
        name: name.into(),
    };
    let foreign = other.client.forget_durable(named("c", "s")).await;
    assert_eq!(foreign, Err(missing("c", "s")));
    let unknown = peer.client.forget_durable(named("c", "x")).await;
    assert_eq!(unknown, Err(missing("c", "x")));
    peer.send(&topic()).await.expect("there is room");
    peer.client.forget_durable(named("c", "s")).await.expect("nobody uses it");
    peer.subscribe(&topic(), "s", None).await.expect("it is new");
    peer.has_no_more(&broker).await;
}

#[tokio::test]
async fn advisories_and_queues_have_no_durable_subscriptions() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let advisory = Destination::topic("ActiveMQ.Advisory.Connection");
    assert_eq!(peer.subscribe(&advisory, "s", None).await, Err(BrokerError::DurableAdvisory));
    let queue = Destination::queue("Q");
    let refused = peer.subscribe(&queue, "s", None).await;
    assert_eq!(refused, Err(BrokerError::DurableNotTopic(queue)));
}

/// With `rejectDurableConsumers`.
#[tokio::test]
async fn durable_subscriptions_are_refused_where_the_broker_is_to_do_so() {
    let broker = broker_with(|options| options.reject_durables = true).await;
    let mut peer = Peer::connect(&broker, "c").await;
    assert_eq!(peer.subscribe(&topic(), "s", None).await, Err(BrokerError::DurablesRejected));
    peer.consume(&topic()).await.expect("it is not durable");
}

#[tokio::test]
async fn a_wildcard_subscription_is_of_present_and_later_topics() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let present = Destination::topic("A.b");
    peer.create(&present).await.expect("no limit");
    let pattern = Destination::topic("A.*");
    let consumer = peer.subscribe(&pattern, "s", None).await.expect("it is new");
    peer.close(&consumer).await;
    for topic in [present, Destination::topic("A.c"), Destination::topic("B.c")] {
        peer.send(&topic).await.expect("there is room");
    }
    peer.subscribe(&pattern, "s", None).await.expect("nobody has it");
    assert_eq!(peer.takes_numbers(2).await, [1, 2]);
    peer.has_no_more(&broker).await;
}

/// With `offlineDurableSubscriberTimeout`.
#[tokio::test]
async fn a_subscription_that_nobody_comes_back_for_ends_and_one_in_use_does_not() {
    let timeout = Some(Duration::from_millis(1));
    let broker = broker_with(|options| options.offline_durables.timeout = timeout).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.subscribe(&topic(), "used", None).await.expect("it is new");
    let consumer = peer.subscribe(&topic(), "left", None).await.expect("it is new");
    peer.close(&consumer).await;
    let ended = async {
        while broker.registry.durables().len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    let left: Vec<_> = broker.registry.durables().iter().map(|d| d.owner.name.clone()).collect();
    assert_eq!(left, ["used".into()]);
    peer.client.forget_durable(named("c", "left")).await.expect_err("it is gone");
}

#[tokio::test]
async fn what_the_store_has_is_there_again_at_the_start() {
    let queue = Destination::queue("Q");
    let subscription = StoredSubscription {
        number: 3,
        client: "c".into(),
        name: "s".into(),
        destination: topic(),
        selector: Some("JMSPriority = 4".into()),
        no_local: false,
    };
    let stored = |destination| RecoveredDestination {
        destination,
        bands: Vec::new(),
        expiring: false,
        producers: Vec::new(),
    };
    let recovered = Recovered {
        destinations: vec![stored(queue), stored(topic())],
        subscriptions: vec![RecoveredSubscription { subscription, pending: 0 }],
        last_subscription: 3,
        ..Recovered::default()
    };
    let broker = broker::restart(broker::options(), recovered).await;
    assert_eq!(names(&broker), ["queue://Q", "topic://T"]);
    let mut peer = Peer::connect(&broker, "c").await;
    for priority in [4, 5] {
        let message = Message { priority, ..peer.message(&topic()) };
        peer.send_message(message).await.expect("there is room");
    }
    peer.subscribe(&topic(), "s", Some("JMSPriority = 4")).await.expect("nobody has it");
    assert_eq!(peer.takes_numbers(1).await, [1], "it was there while its client was away");
    peer.has_no_more(&broker).await;
}
