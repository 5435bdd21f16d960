//! Section 1: destinations come and go.

use super::*;
use crate::broker::interceptors::expand::Expansion;
use crate::broker::interceptors::{Interceptors, Layer, VirtualTopic};
use crate::broker::policy::Policy;
use crate::jms::DestinationKind;

/// One of this connection's.
pub(super) fn temporary(connection: &str) -> Destination {
    Destination::new(DestinationKind::TempQueue, Some(format!("{connection}:1").into()))
}

#[tokio::test]
async fn a_destination_comes_with_its_first_producer_consumer_or_send() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    assert!(names(&broker).is_empty());
    let info = ProducerInfo {
        producer_id: Some(peer.producer(2)),
        destination: Some(Destination::queue("PRODUCED")),
        ..ProducerInfo::default()
    };
    peer.client.add_producer(info).await.expect("it is let in");
    peer.consume(&Destination::topic("CONSUMED")).await.expect("it is let in");
    peer.send(&Destination::queue("SENT")).await.expect("there is room");
    assert_eq!(names(&broker), ["queue://PRODUCED", "queue://SENT", "topic://CONSUMED"]);
}

#[tokio::test]
async fn an_empty_name_is_refused() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let empty = Destination::queue(" ");
    assert_eq!(peer.send(&empty).await, Err(BrokerError::DestinationNameEmpty));
    assert_eq!(peer.consume(&empty).await, Err(BrokerError::DestinationNameEmpty));
}

#[tokio::test]
async fn a_send_to_a_pattern_makes_a_destination_of_that_name() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.create(&Destination::queue("A.B")).await.expect("no limit");
    peer.send(&Destination::queue("A.*")).await.expect("there is room");
    assert_eq!(names(&broker), ["queue://A.*", "queue://A.B"]);
    peer.consume(&Destination::queue("A.B")).await.expect("it is let in");
    peer.has_no_more(&broker).await;
}

#[tokio::test]
async fn parts_of_a_composite_name_are_a_set_and_each_gets_a_copy_that_knows_its_origin() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let parts = ["A", "B"].map(Destination::queue);
    for part in &parts {
        peer.consume(part).await.expect("it is let in");
    }
    let topic = Destination::topic("C");
    peer.consume(&topic).await.expect("it is let in");
    let composite = Destination::queue("A,B,A,topic://C");
    peer.send(&composite).await.expect("there is room");
    let mut reached = Vec::new();
    for _ in 0..3 {
        let message = peer.takes().await;
        assert_eq!(message.original_destination.as_ref(), Some(&composite));
        reached.push(message.destination.as_ref().map(ToString::to_string).unwrap_or_default());
    }
    reached.sort();
    assert_eq!(reached, ["queue://A", "queue://B", "topic://C"]);
    peer.has_no_more(&broker).await;
}

#[tokio::test]
async fn a_consumer_of_a_composite_name_is_fed_by_each_part() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&Destination::queue("A,topic://B")).await.expect("it is let in");
    for part in [Destination::queue("A"), Destination::topic("B")] {
        peer.send(&part).await.expect("there is room");
    }
    let mut numbers = peer.takes_numbers(2).await;
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_policy_limits_the_number_of_its_destinations() {
    let broker = broker_with(|options| {
        let limited = |of: &Destination| {
            let few = of.name().starts_with("FEW");
            Policy {
                applies_to: few.then(|| Destination::queue("FEW.>")),
                destinations_max: few.then_some(1),
                ..Policy::default()
            }
        };
        options.policy = Box::new(limited);
    })
    .await;
    let mut peer = Peer::connect(&broker, "c").await;
    for name in ["FEW.a", "MANY.a", "MANY.b", "FEW.a"] {
        peer.send(&Destination::queue(name)).await.expect("it is allowed");
    }
    let refused = peer.send(&Destination::queue("FEW.b")).await.expect_err("one too many");
    assert!(matches!(refused, BrokerError::TooManyDestinations { limit: 1, .. }), "{refused}");
}

#[tokio::test]
async fn a_destination_with_a_subscription_is_not_removed_and_one_without_goes_with_its_messages() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let queue = Destination::queue("Q");
    let consumer = peer.consume(&queue).await.expect("it is let in");
    let refused = peer.remove(&queue).await.expect_err("it is in use").to_string();
    assert_eq!(
        refused,
        format!("Destination: queue://Q still has an active subscription: {consumer}")
    );
    peer.close(&consumer).await;
    let info = ConsumerInfo { browser: true, ..peer.consumer(&queue) };
    let browser = peer.open(info).await.expect("it is let in");
    let refused = peer.remove(&queue).await.expect_err("it is in use").to_string();
    assert!(refused.ends_with(&format!("an active subscription: {browser}")), "{refused}");
    peer.close(&browser).await;
    peer.send(&queue).await.expect("there is room");
    peer.remove(&queue).await.expect("nobody uses it");
    assert!(names(&broker).is_empty());
    peer.consume(&queue).await.expect("it is let in");
    peer.has_no_more(&broker).await;
    peer.remove(&Destination::queue("UNKNOWN")).await.expect("it does not exist");
    let topic = Destination::topic("A.b");
    peer.create(&topic).await.expect("no limit");
    let durable = peer.subscribe(&Destination::topic("A.>"), "s", None).await.expect("it is new");
    let refused = peer.remove(&topic).await.expect_err("it is in use").to_string();
    assert!(refused.ends_with(&format!("an active subscription: {durable}")), "{refused}");
    peer.close(&durable).await;
    let refused = peer.remove(&topic).await.expect_err("it is in use").to_string();
    assert!(refused.ends_with("an active subscription: c:s"), "{refused}");
}

#[tokio::test]
async fn a_temporary_destination_is_consumed_and_removed_by_its_connection_only() {
    let broker = broker_with(|_| {}).await;
    let mut owner = Peer::connect(&broker, "owner").await;
    let mut other = Peer::connect(&broker, "other").await;
    let own = temporary("owner");
    assert_eq!(other.create(&own).await, Err(BrokerError::NotOwner(own.clone())));
    owner.create(&own).await.expect("it is its own");
    other.send(&own).await.expect("anybody may send");
    assert_eq!(other.consume(&own).await, Err(BrokerError::NotOwner(own.clone())));
    assert_eq!(other.remove(&own).await, Err(BrokerError::NotOwner(own.clone())));
    owner.consume(&own).await.expect("it is its own");
    assert_eq!(owner.takes_numbers(1).await, [1]);
    owner.client.close(-1).await;
    assert_eq!(other.send(&own).await, Err(BrokerError::DestinationMissing(own)));
}

/// With `cacheTempDestinations`.
#[tokio::test(start_paused = true)]
async fn a_temporary_destination_that_comes_again_in_time_has_its_messages_and_else_it_is_gone() {
    let time = Duration::from_secs(5);
    for (away, kept) in [(time / 2, true), (time * 2, false)] {
        let broker = broker_with(|options| options.keep_temporaries = Some(time)).await;
        let mut owner = Peer::connect(&broker, "owner").await;
        let mut other = Peer::connect(&broker, "other").await;
        let own = temporary("owner");
        owner.create(&own).await.expect("it is its own");
        other.send(&own).await.expect("anybody may send");
        owner.client.close(-2).await;
        let refused = other.send(&own).await;
        assert_eq!(refused, Err(BrokerError::DestinationMissing(own.clone())));
        tokio::time::sleep(away).await;
        assert_eq!(broker.memory.used() > 0, kept, "away for {away:?}");
        let mut owner = Peer::connect(&broker, "owner").await;
        owner.create(&own).await.expect("it is its own");
        owner.consume(&own).await.expect("it is its own");
        // Beyond the time for which it was kept.
        tokio::time::sleep(time * 2).await;
        other.send(&own).await.expect("it is there again");
        let expected: &[i64] = if kept { &[1, 3] } else { &[3] };
        assert_eq!(owner.takes_numbers(expected.len()).await, expected, "away for {away:?}");
        owner.has_no_more(&broker).await;
    }
}

/// With `allowTempAutoCreationOnSend`.
#[tokio::test]
async fn a_send_makes_a_temporary_destination_where_that_is_allowed() {
    let broker = broker_with(|options| options.create_temporaries_on_send = true).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&temporary("gone")).await.expect("it is made");
    assert_eq!(names(&broker), ["temp-queue://gone:1"]);
}

#[tokio::test]
async fn a_wildcard_consumer_gets_what_is_there_and_what_comes_later() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&Destination::queue("A.b")).await.expect("there is room");
    peer.consume(&Destination::queue("A.*")).await.expect("it is let in");
    peer.send(&Destination::queue("A.c")).await.expect("there is room");
    peer.send(&Destination::queue("A.c.d")).await.expect("there is room");
    assert_eq!(peer.takes_numbers(2).await, [1, 2]);
    peer.create(&Destination::topic("A.b")).await.expect("no limit");
    peer.consume(&Destination::topic("A.>")).await.expect("it is let in");
    for topic in ["A.b", "A", "A.c.d", "B"] {
        peer.send(&Destination::topic(topic)).await.expect("there is room");
    }
    assert_eq!(peer.takes_numbers(3).await, [4, 5, 6]);
    peer.has_no_more(&broker).await;
}

/// With `dropOnResourceLimit`.
#[tokio::test]
async fn a_virtual_topic_may_pass_over_queues_that_are_full() {
    for drops in [true, false] {
        let broker = broker_with(|options| {
            let mut interceptors = Interceptors::default();
            let topic = VirtualTopic { drop_on_resource_limit: drops, ..VirtualTopic::default() };
            let rule = interceptors.add_virtual_topic(topic);
            interceptors.layers.push(Layer::Virtual(vec![rule]));
            options.interceptors = Arc::new(interceptors);
            options.policy = Box::new(|of| Policy {
                memory_limit_bytes: if of.name().starts_with("Consumer.A") { 1 } else { 0 },
                send_fail_if_no_space: true,
                ..Policy::default()
            });
        })
        .await;
        let mut peer = Peer::connect(&broker, "c").await;
        for queue in ["Consumer.A.VirtualTopic.T", "Consumer.B.VirtualTopic.T"] {
            peer.create(&Destination::queue(queue)).await.expect("no limit");
        }
        let topic = Destination::topic("VirtualTopic.T");
        peer.send(&topic).await.expect("there is room");
        assert_eq!(peer.send(&topic).await.is_ok(), drops);
        peer.consume(&Destination::queue("Consumer.B.VirtualTopic.T")).await.expect("it is let in");
        assert_eq!(
            peer.takes_numbers(if drops { 2 } else { 1 }).await.len(),
            1 + usize::from(drops)
        );
        peer.has_no_more(&broker).await;
    }
}

/// A consumer's queue may be removed after the message was on its way to it.
#[tokio::test]
async fn a_virtual_topic_does_not_make_a_queue_again_that_was_just_removed() {
    let broker = broker_with(|options| {
        options.interceptors = Arc::new(Interceptors::default_virtual_topics());
    })
    .await;
    let mut peer = Peer::connect(&broker, "c").await;
    let [removed, stays] =
        ["Consumer.A.VirtualTopic.T", "Consumer.B.VirtualTopic.T"].map(Destination::queue);
    peer.create(&removed).await.expect("no limit");
    peer.consume(&stays).await.expect("it is let in");
    let message = Arc::new(peer.message(&Destination::topic("VirtualTopic.T")));
    let interceptors = broker.router.interceptors().get();
    let mut expansion = Expansion::new(&interceptors, &broker.router, &message);
    expansion.send_to(&Destination::topic("VirtualTopic.T"), None);
    let targets = expansion.finish().expect("no circle");
    let found: Vec<_> = targets.targets.iter().map(|target| target.at.to_string()).collect();
    assert!(found.contains(&removed.to_string()), "{found:?}");
    peer.remove(&removed).await.expect("nobody uses it");
    let (receipt, told) = Receipt::waiter();
    let sent = peer.client.fan_out(message, targets, &mut Some(receipt)).await;
    peer.client.flush().await;
    assert!(sent.is_ok() && told.await.is_ok(), "{sent:?}");
    assert_eq!(peer.takes_numbers(1).await, [1]);
    let there = names(&broker);
    assert!(!there.contains(&removed.to_string()), "{there:?}");
}

#[tokio::test]
async fn the_prefetch_of_the_policy_replaces_that_of_clients_without_a_wish() {
    let broker = broker_with(|options| {
        options.policy = Box::new(|_| Policy { queue_prefetch: Some(3), ..Policy::default() });
    })
    .await;
    let mut peer = Peer::connect(&broker, "c").await;
    for (asked, told) in [(1000, Some(3)), (7, None)] {
        let info = ConsumerInfo { prefetch_size: asked, ..peer.consumer(&Destination::queue("Q")) };
        peer.open(info).await.expect("it is let in");
        let changed = match told {
            Some(_) => Some(peer.next().await),
            None => None,
        };
        let prefetch = changed.map(|item| match item {
            Item::Prefetch { prefetch, .. } => prefetch,
            other => panic!("{other:?}"),
        });
        assert_eq!(prefetch, told, "asked for {asked}");
    }
    for number in 1..9 {
        peer.send(&Destination::queue("Q")).await.expect("there is room");
        let next = peer.next().await;
        assert!(matches!(next, Item::Delivery(_)), "{number}: {next:?}");
    }
}
