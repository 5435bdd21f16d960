//! What retroactive subscribers get of the past (semantics.md section 5).

use super::super::fixture::{deliveries, numbers};
use super::bench::{Bench, with};
use crate::broker::candidate::Candidate;
use crate::broker::outbox::Outbox;
use crate::broker::policy::{Policy, RecoveryKind};
use crate::jms::properties::PropertyValue;
use crate::jms::selector::Value;
use crate::jms::{ConsumerInfo, Message};
use crate::store::StoreOp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

fn bench(recovery: RecoveryKind) -> Bench {
    Bench::new(Policy { recovery, minimum_message_bytes: 1, ..Policy::default() })
}

fn retroactive(info: &mut ConsumerInfo) {
    info.retroactive = true;
}

/// The numbers a new retroactive subscriber gets.
fn past(bench: &mut Bench) -> Vec<i64> {
    let outbox = Arc::default();
    bench.subscribe_as(100, &outbox, retroactive);
    numbers(&outbox)
}

#[test]
fn what_is_kept_depends_on_the_policy() {
    for (recovery, kept) in [
        (RecoveryKind::None, vec![]),
        (RecoveryKind::Count(1), vec![5]),
        (RecoveryKind::Count(3), vec![3, 4, 5]),
        // Every test message counts for 10 bytes.
        (RecoveryKind::Bytes(29), vec![4, 5]),
        (RecoveryKind::Time(Duration::from_millis(20)), vec![3, 4, 5]),
    ] {
        let mut bench = bench(recovery);
        for number in 1..=5 {
            bench.send_numbers([number]);
            bench.clock.ms += 10;
        }
        bench.clock.ms -= 10;
        assert_eq!(past(&mut bench), kept, "{recovery:?}");
        let (_, plain) = bench.subscribe(10);
        assert_eq!(numbers(&plain), [0; 0], "who does not ask gets nothing");
    }
}

#[test]
fn the_past_comes_before_the_present_and_without_what_has_expired() {
    let mut bench = bench(RecoveryKind::Count(10));
    let expiration = bench.clock.wall_ms() + 10;
    bench.send(Message { expiration, ..bench.message(1) });
    bench.send_numbers([2]);
    bench.clock.ms += 11;
    let outbox = Arc::default();
    bench.subscribe_as(100, &outbox, retroactive);
    bench.send_numbers([3]);
    assert_eq!(numbers(&outbox), [2, 3]);
}

#[test]
fn always_retroactive_asks_for_everybody() {
    let mut bench = Bench::new(Policy {
        recovery: RecoveryKind::Count(1),
        always_retroactive: true,
        ..Policy::default()
    });
    bench.send_numbers([1, 2]);
    assert_eq!(numbers(&bench.subscribe(10).1), [2]);
    assert_eq!(numbers(&bench.subscribe_durably("c", |_| {}).1), [2]);
}

/// Numbers, and whether the message is marked as retained, or still asks for it.
fn marks(outbox: &Outbox) -> Vec<(i64, bool, bool)> {
    let mark = |message: &Message| {
        let has = |name| {
            let candidate = Candidate { message, redeliveries: 0 };
            matches!(candidate.property(name), Value::Boolean(true))
        };
        let id = message.message_id.as_ref().expect("it has an id");
        (id.producer_sequence, has("ActiveMQ.Retained"), has("ActiveMQ.Retain"))
    };
    let messages = deliveries(outbox).into_iter().filter_map(|delivery| delivery.message);
    messages.map(|message| mark(&message)).collect()
}

#[test]
fn a_message_is_retained_whatever_the_policy_keeps_until_an_empty_one_comes() {
    for (recovery, kept) in [(RecoveryKind::None, vec![]), (RecoveryKind::Count(1), vec![2])] {
        let mut bench = bench(recovery);
        let retain = |number, content, bench: &Bench| {
            let message = Message { content, ..bench.message(number) };
            with(message, "ActiveMQ.Retain", PropertyValue::Bool(true))
        };
        let (_, plain) = bench.subscribe(10);
        let (_, durable) = bench.subscribe_durably("c", |_| {});
        bench.send(retain(1, Some(Bytes::from_static(b"body")), &bench));
        bench.send_numbers([2]);
        for outbox in [plain, durable] {
            assert_eq!(marks(&outbox), [(1, false, false), (2, false, false)]);
        }
        let outbox = Arc::default();
        bench.subscribe_as(10, &outbox, retroactive);
        let kept = kept.into_iter().map(|number| (number, false, false));
        let expected: Vec<_> = [(1, true, false)].into_iter().chain(kept).collect();
        assert_eq!(marks(&outbox), expected);
        bench.send(retain(3, Some(Bytes::from_static(b"other")), &bench));
        bench.subscribe_as(10, &outbox, retroactive);
        let first = marks(&outbox).into_iter().find(|(_, retained, _)| *retained);
        assert_eq!(first, Some((3, true, false)), "the last one is");
        bench.send(retain(4, None, &bench));
        let outbox = Arc::default();
        bench.subscribe_as(10, &outbox, retroactive);
        assert!(marks(&outbox).iter().all(|(_, retained, _)| !retained));
    }
}

#[test]
fn a_durable_subscription_gets_the_past_stored_for_it_alone() {
    let mut bench = bench(RecoveryKind::Count(3));
    let (_, other) = bench.subscribe_durably("other", |_| {});
    for number in 1..=4 {
        bench.send(Message { persistent: number != 3, ..bench.message(number) });
    }
    assert_eq!(bench.stored(), [(1, vec![1]), (2, vec![1]), (4, vec![1])]);
    assert_eq!(numbers(&other), [1, 2, 3, 4]);
    let (durable, outbox) = bench.subscribe_durably("late", retroactive);
    assert_eq!(bench.stored(), [(2, vec![2]), (4, vec![2])], "what is persistent");
    let got = deliveries(&outbox);
    let sequences: Vec<i64> = got.iter().map(|delivery| delivery.sequence).collect();
    assert!(sequences.is_sorted() && sequences[0] > 4, "under new numbers: {sequences:?}");
    assert_eq!(got.len(), 3);
    bench.send_numbers([5]);
    assert_eq!(numbers(&outbox), [5]);
    durable.deactivate(-1);
    let again = bench.activate(&durable, retroactive);
    assert_eq!(numbers(&again), [2, 3, 4, 5], "only its own: it has some");
}

#[test]
fn a_durable_subscription_without_backlog_gets_the_past_whenever_a_retroactive_consumer_comes() {
    let mut bench = bench(RecoveryKind::Count(3));
    let (durable, outbox) = bench.subscribe_durably("c", |_| {});
    durable.deactivate(-1);
    assert_eq!(numbers(&outbox), [0; 0]);
    let kept = bench.subscribe_durably("d", |_| {}).1;
    bench.run([super::super::Op::Leave { key: durable.key, receipt: None }]);
    bench.send_numbers([1, 2]);
    assert_eq!(numbers(&kept), [1, 2]);
    let outbox = bench.activate(&durable, |_| {});
    assert_eq!(numbers(&outbox), [0; 0]);
    durable.deactivate(-1);
    let outbox = bench.activate(&durable, retroactive);
    assert_eq!(numbers(&outbox), [1, 2]);
}

/// Whom the store was asked to share with since the last call.
fn shared(bench: &mut Bench) -> Vec<u64> {
    let share = |op| match op {
        StoreOp::Share { subscription, .. } => Some(subscription),
        _ => None,
    };
    std::mem::take(&mut bench.out.removals).into_iter().filter_map(share).collect()
}

#[test]
fn only_a_new_retroactive_durable_subscription_shares_what_the_store_has() {
    let mut bench = bench(RecoveryKind::Count(3));
    bench.send_numbers([1]);
    let (one, _) = bench.subscribe_durably("one", |_| {});
    assert_eq!(shared(&mut bench), [0; 0]);
    one.deactivate(-1);
    bench.activate(&one, retroactive);
    assert_eq!(shared(&mut bench), [0; 0]);
    let (two, _) = bench.subscribe_durably("two", retroactive);
    assert_eq!(shared(&mut bench), [two.number]);
}

#[test]
fn what_the_store_has_of_the_past_comes_instead_of_what_was_kept() {
    for (first, kept) in [(1, vec![]), (1000, vec![1, 2])] {
        let mut bench = bench(RecoveryKind::Count(3));
        bench.send_numbers([1, 2]);
        // The first subscription of the bench has number 1.
        bench.holds.insert(1, first);
        let (_, outbox) = bench.subscribe_durably("c", retroactive);
        assert_eq!(numbers(&outbox), kept, "a number above what came before is of the present");
    }
}

#[test]
fn without_a_store_others_share_what_they_hold() {
    let policy = Policy { recovery: RecoveryKind::Count(1), ..Policy::default() };
    let mut bench = Bench::with_store("T", policy, false);
    let (one, outbox) = bench.subscribe_durably("one", |_| {});
    bench.send(Message { persistent: true, ..bench.message(1) });
    let (_two, _) = bench.subscribe_durably("two", |_| {});
    for (number, persistent) in [(2, true), (3, false), (4, true)] {
        bench.send(Message { persistent, ..bench.message(number) });
    }
    one.deactivate(-1);
    assert_eq!(numbers(&outbox), [1, 2, 3, 4]);
    let outbox = bench
        .subscribe_durably("late", |info| {
            info.retroactive = true;
            info.selector = Some("JMSPriority > 0".into());
        })
        .1;
    bench.send_numbers([5]);
    assert_eq!(numbers(&outbox), [1, 2, 4, 5], "each once");
}

#[test]
fn a_durable_subscription_sends_nothing_while_it_looks_for_the_past() {
    let mut bench = bench(RecoveryKind::Count(3));
    let (durable, _) = bench.subscribe_durably("c", |_| {});
    durable.deactivate(-1);
    let (one, two) = (durable.look_back(), durable.look_back());
    let outbox = bench.activate(&durable, |_| {});
    bench.send_numbers([1]);
    drop(one);
    assert_eq!(numbers(&outbox), [0; 0]);
    drop(two);
    assert_eq!(numbers(&outbox), [1]);
}
