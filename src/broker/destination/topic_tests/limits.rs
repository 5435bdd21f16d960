//! What happens to subscribers that do not keep up (semantics.md section 7).

use super::super::fixture::numbers;
use super::bench::{Bench, with};
use crate::broker::dead_letter::Cause;
use crate::broker::destination::{Op, PageOf};
use crate::broker::policy::{Eviction, PendingLimit, Policy};
use crate::jms::properties::PropertyValue;
use crate::jms::{AckKind, Message};
use crate::store::{Page, StoredMessage};
use std::sync::Arc;

/// The numbers of the messages that became dead letters since the last call.
fn dead(bench: &mut Bench) -> Vec<i64> {
    let letters = std::mem::take(&mut bench.out.dead_letters).into_iter();
    letters
        .map(|letter| letter.message.message_id.as_ref().expect("an id").producer_sequence)
        .collect()
}

#[test]
fn pending_messages_are_limited_by_number_or_by_share_of_the_prefetch() {
    for (pending_limit, own, kept) in [
        (PendingLimit::None, 0, 18),
        (PendingLimit::Constant(5), 0, 5),
        (PendingLimit::Constant(0), 0, 0),
        (PendingLimit::PrefetchRate(2.5), 0, 5),
        (PendingLimit::PrefetchRate(0.5), 0, 1),
        // The consumer's own limit counts if it is lower.
        (PendingLimit::None, 3, 3),
        (PendingLimit::Constant(5), 3, 3),
        (PendingLimit::Constant(5), 7, 5),
    ] {
        let mut bench = Bench::new(Policy { pending_limit, ..Policy::default() });
        let outbox = Arc::default();
        let subscription =
            bench.subscribe_as(2, &outbox, |info| info.maximum_pending_message_limit = own);
        bench.send_numbers(0..20);
        assert_eq!(subscription.backlog(), (kept, 18 - kept as u64), "{pending_limit:?}, {own}");
        assert_eq!(dead(&mut bench), (2..20 - kept as i64).collect::<Vec<_>>(), "the oldest go");
        assert_eq!(numbers(&outbox), [0, 1]);
    }
}

#[test]
fn what_goes_over_the_limit_is_a_dead_letter_with_its_cause() {
    let pending_limit = PendingLimit::Constant(1);
    let mut bench = Bench::new(Policy { pending_limit, ..Policy::default() });
    let (subscription, _) = bench.subscribe(1);
    bench.send_numbers(0..3);
    let consumer = subscription.info.consumer_id.as_ref().expect("an id").to_string();
    let causes: Vec<_> = bench.out.dead_letters.iter().map(|letter| letter.cause.clone()).collect();
    assert_eq!(causes, [Some(Cause::Discarded(consumer.into()))]);
}

#[test]
fn the_oldest_with_the_lowest_priority_goes_first() {
    let mut bench = Bench::new(Policy {
        pending_limit: PendingLimit::Constant(3),
        eviction: Eviction::OldestWithLowestPriority,
        ..Policy::default()
    });
    bench.subscribe(1);
    for (number, priority) in [(0, 4), (1, 4), (2, 9), (3, 2), (4, 2), (5, 4), (6, 0)] {
        bench.send(Message { priority, ..bench.message(number) });
    }
    assert_eq!(dead(&mut bench), [3, 4, 6]);
}

#[test]
fn of_each_value_of_a_property_the_newest_survives() {
    let mut bench = Bench::new(Policy {
        pending_limit: PendingLimit::Constant(3),
        eviction: Eviction::UniqueProperty("STOCK".into()),
        ..Policy::default()
    });
    let (subscription, outbox) = bench.subscribe(1);
    let send = |bench: &mut Bench, number, stock: Option<&str>| {
        let message = Message { timestamp: number, ..bench.message(number) };
        let value = stock.map(|stock| PropertyValue::String(stock.into()));
        bench.send(match value {
            Some(value) => with(message, "STOCK", value),
            None => message,
        });
    };
    for (number, stock) in [(0, None), (1, Some("a")), (2, Some("b")), (3, Some("a"))] {
        send(&mut bench, number, stock);
    }
    assert_eq!(dead(&mut bench), [0; 0], "not over the limit");
    send(&mut bench, 4, Some("a"));
    assert_eq!(dead(&mut bench), [1, 3], "all but the newest");
    send(&mut bench, 5, Some("c"));
    send(&mut bench, 6, None);
    assert_eq!(dead(&mut bench), [6], "it has no value");
    send(&mut bench, 7, Some("d"));
    assert_eq!(dead(&mut bench), [2], "the oldest, when all are different");
    numbers(&outbox);
    let now = bench.clock.now();
    subscription.acknowledge(AckKind::Standard, 1, now, &mut bench.out);
    assert_eq!(numbers(&outbox), [4]);
}

#[test]
fn expired_messages_go_first_and_without_a_limit_in_sight() {
    for (limit, evict_expired_from) in [(2, 1000), (50, 2)] {
        let mut bench = Bench::new(Policy {
            pending_limit: PendingLimit::Constant(limit),
            evict_expired_from,
            ..Policy::default()
        });
        let (subscription, _) = bench.subscribe(1);
        let expiration = bench.clock.wall_ms() + 10;
        bench.send_numbers([0, 1]);
        bench.send(Message { expiration, ..bench.message(2) });
        bench.clock.ms += 11;
        assert_eq!(dead(&mut bench), [0; 0], "nobody looks before there are many");
        bench.send_numbers([3]);
        let causes = bench.out.dead_letters.iter().map(|letter| letter.cause.clone());
        assert_eq!(causes.collect::<Vec<_>>(), [Some(Cause::Expired(expiration))]);
        assert_eq!(subscription.backlog(), (2, 0));
    }
}

#[test]
fn an_expired_message_is_dead_once_though_a_page_was_read_before_it_left() {
    let mut bench = Bench::new(Policy::default());
    let message = Message { persistent: true, expiration: 1, ..bench.message(7) };
    let stored = StoredMessage { sequence: 3, message: Arc::new(message) };
    let page = || Page { messages: vec![stored.clone()], end: true, ..Page::default() };
    let paged = || Op::Paged { of: PageOf::Expired, page: Ok(page()) };
    bench.run([paged()]);
    bench.clock.ms +=
        1 + u64::try_from(Policy::default().expire_period.as_millis()).expect("short");
    bench.run([]);
    assert!(matches!(bench.out.fetches[..], [(PageOf::Expired, _)]), "{:?}", bench.out.fetches);
    bench.run([Op::Buried { sequence: 3, gone: true }, paged()]);
    assert_eq!(dead(&mut bench), [7]);
}
