//! Which subscriptions of a topic get a message, and in which order (semantics.md section 3).

use super::super::fixture::{deliveries, numbers};
use super::bench::{Bench, with};
use crate::broker::outbox::Outbox;
use crate::broker::policy::{Policy, TopicDispatch};
use crate::jms::properties::PropertyValue;
use crate::jms::{ConsumerId, Message};
use std::sync::Arc;

fn bench(topic_dispatch: TopicDispatch) -> Bench {
    Bench::new(Policy { topic_dispatch, ..Policy::default() })
}

/// Who was served, in the order in which it was.
fn served(outbox: &Outbox) -> Vec<u64> {
    deliveries(outbox).into_iter().map(|delivery| delivery.subscription.0).collect()
}

#[test]
fn every_subscriber_sees_the_same_order() {
    let mut bench = bench(TopicDispatch::Simple);
    let subscribers = [(); 3].map(|()| bench.subscribe(10).1);
    bench.send_numbers([3, 1, 2]);
    bench.send_numbers([5, 4]);
    for outbox in subscribers {
        assert_eq!(numbers(&outbox), [3, 1, 2, 5, 4]);
    }
}

#[test]
fn a_message_goes_to_its_subscribers_in_the_order_in_which_they_came() {
    let (mut bench, outbox) = (bench(TopicDispatch::Simple), Arc::default());
    let selectors = [None, Some("JMSPriority > 0"), None, Some("JMSType = 'a'"), Some("TRUE")];
    for selector in selectors {
        bench.subscribe_as(10, &outbox, |info| info.selector = selector.map(Into::into));
    }
    bench.subscribe_as(10, &outbox, |_| {});
    bench.send(Message { jms_type: Some("a".into()), ..bench.message(1) });
    assert_eq!(served(&outbox), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn round_robin_begins_each_message_with_another_subscriber() {
    let (mut bench, outbox) = (bench(TopicDispatch::RoundRobin), Arc::default());
    for _ in 0..3 {
        bench.subscribe_as(10, &outbox, |_| {});
    }
    bench.send_numbers(0..2);
    bench.send_numbers(2..4);
    assert_eq!(served(&outbox), [1, 2, 3, 2, 3, 1, 3, 1, 2, 1, 2, 3]);
}

#[test]
fn by_priority_the_highest_is_served_first() {
    for (policy, order) in [
        (TopicDispatch::Priority, [2, 4, 1, 3]),
        // It tells consumers of networks apart, and serves in the order in which they came.
        (TopicDispatch::PriorityNetwork, [1, 2, 3, 4]),
    ] {
        let (mut bench, outbox) = (bench(policy), Arc::default());
        for priority in [0, 7, -3, 7] {
            bench.subscribe_as(10, &outbox, |info| info.priority = priority);
        }
        bench.send_numbers([1]);
        assert_eq!(served(&outbox), order);
    }
}

#[test]
fn of_network_subscribers_for_one_consumer_the_one_of_highest_priority_is_served() {
    let remote = |value| {
        let id = ConsumerId { connection: Some("far".into()), session: 1, value };
        Some(vec![Some(id)])
    };
    let subscribed = |policy| {
        let (mut bench, outbox) = (bench(policy), Arc::default());
        for (priority, value, network) in [(0, 1, true), (5, 1, true), (0, 2, true), (0, 1, false)]
        {
            bench.subscribe_as(10, &outbox, |info| {
                info.priority = priority;
                info.network_consumer_path = remote(value);
                info.network_subscription = network;
            });
        }
        (bench, outbox)
    };
    let (mut bench, outbox) = subscribed(TopicDispatch::Priority);
    bench.send_numbers([1]);
    assert_eq!(served(&outbox), [2, 1, 3, 4]);
    let (mut bench, outbox) = subscribed(TopicDispatch::PriorityNetwork);
    bench.send_numbers([1]);
    assert_eq!(served(&outbox), [2, 3, 4]);
    bench.run([super::super::Op::Leave {
        key: crate::broker::outbox::SubscriptionKey(2),
        receipt: None,
    }]);
    bench.send_numbers([2]);
    assert_eq!(served(&outbox), [1, 3, 4], "the other one takes its place");
}

#[test]
fn a_message_that_names_a_client_goes_to_that_one_only() {
    let policy = Policy {
        topic_dispatch: TopicDispatch::ClientId { property: "FOR".into(), suffix: ".PTP".into() },
        ..Policy::default()
    };
    let addressed = |bench: &Bench, number, client: &str| {
        with(bench.message(number), "FOR", PropertyValue::String(client.into()))
    };
    for (name, filters) in [("T.PTP", true), ("T", false)] {
        let mut bench = Bench::named(name, policy.clone());
        let [a, b] = ["a", "b"].map(|client| {
            let outbox = Arc::default();
            bench.subscribe_as(10, &outbox, |info| info.client_id = Some(client.into()));
            outbox
        });
        let (_, durable) = bench.subscribe_durably("a", |_| {});
        for (number, client) in [(1, "a"), (2, "b"), (3, "A")] {
            bench.send(addressed(&bench, number, client));
        }
        bench.send_numbers([4]);
        let got = [&a, &b, &durable].map(|outbox| numbers(outbox));
        if filters {
            assert_eq!(got, [vec![1, 4], vec![2, 4], vec![1, 4]]);
        } else {
            assert_eq!(got, [(); 3].map(|()| vec![1, 2, 3, 4]));
        }
    }
}

#[test]
fn a_persistent_message_is_stored_only_for_durable_subscriptions() {
    let mut bench = Bench::new(Policy::default());
    bench.subscribe(10);
    bench.send(Message { persistent: true, ..bench.message(1) });
    assert!(bench.stored().is_empty(), "nobody has to have it after a restart");
    let (durable, _) = bench.subscribe_durably("c", |_| {});
    bench.send(Message { persistent: true, ..bench.message(2) });
    bench.send(Message { persistent: false, ..bench.message(3) });
    assert_eq!(bench.stored(), [(2, vec![durable.number])]);
}
