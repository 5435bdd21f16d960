//! How much is read from the store while consumers drain a backlog.

use super::super::super::fixture::{Clock, consumer, incoming, message};
use super::super::{History, Queue};
use super::paging::{Side, selecting};
use crate::broker::destination::Op;
use crate::broker::destination::in_flight::{Ack, AckRange};
use crate::broker::outbox::SubscriptionKey;
use crate::broker::policy::Policy;
use crate::jms::{AckKind, Message};
use std::time::Duration;

/// Drains what `key` wants, which has a window of one, while others have room for what is not there; how many
/// messages were read for each that was consumed, and the most that was in memory.
fn drain_slowly(
    side: &mut Side,
    key: u64,
    mut behind: impl FnMut(&mut Side, usize),
) -> (f64, usize) {
    let clock = Clock::new();
    let (mut consumed, mut most) = (0, 0);
    let mut seen = side.settle(&clock).remove(&key).expect("it is there");
    while let Some(Some((number, ..))) = seen.pop() {
        let last = message("c0", number).message_id.expect("it has an id");
        let ack = Ack {
            subscription: SubscriptionKey(key),
            kind: AckKind::Standard,
            range: AckRange::Span { first: None, last },
            count: 1,
            transaction: None,
            rollback_only: None,
            cause: None,
        };
        side.handle(Op::Ack { ack: Box::new(ack), receipt: None }, &clock);
        consumed += 1;
        behind(side, consumed);
        seen = side.settle(&clock).remove(&key).expect("it is there");
        most = most.max(side.queue.pending.len());
    }
    (side.read as f64 / consumed as f64, most)
}

#[test]
fn a_backlog_is_read_once_though_a_consumer_has_room_and_wants_nothing_of_it() {
    let clock = Clock::new();
    for use_cache in [true, false] {
        let policy = Policy { page_max: 20, use_cache, ..Policy::default() };
        let mut side = Side::restarted(policy, &["a"; 5000]);
        side.subscribe(1, selecting(1, "b", 100), &clock);
        side.subscribe(2, selecting(2, "a", 1), &clock);
        let (read, most) = drain_slowly(&mut side, 2, |_, _| {});
        assert!(read < 2.5, "{read} messages read for each that is consumed");
        assert!(most <= 1000, "{most} messages in memory");
        assert_eq!(side.queue.report().size, 0);
    }
}

#[test]
fn a_backlog_is_read_once_though_another_consumer_gets_what_comes_behind_it() {
    let clock = Clock::new();
    for use_cache in [true, false] {
        let policy = Policy { page_max: 20, use_cache, ..Policy::default() };
        let mut side = Side::restarted(policy, &["a"; 3000]);
        side.subscribe(1, selecting(1, "b", 10_000), &clock);
        side.subscribe(2, selecting(2, "a", 1), &clock);
        let (read, _) = drain_slowly(&mut side, 2, |side, consumed| {
            let number = 10_000 + i64::try_from(consumed).expect("few");
            let message =
                Message { persistent: true, jms_type: Some("b".into()), ..message("c0", number) };
            side.handle(Op::Send(incoming(message, None)), &clock);
        });
        assert!(read < 5.0, "{read} messages read for each that is consumed");
        assert_eq!(side.queue.report().in_flight, 3000, "the other one has all of its own");
    }
}

#[test]
fn the_backlog_of_a_busy_group_is_read_once_beside_consumers_of_no_group() {
    let clock = Clock::new();
    let policy = Policy { page_max: 20, ..Policy::default() };
    let mut side = Side::restarted(policy, &["a"; 0]);
    for number in 0..3000 {
        let group_id = Some("busy".into());
        let message = Message { persistent: true, group_id, ..message("c0", number) };
        side.handle(Op::Send(incoming(message, None)), &clock);
    }
    side.carry_out(&clock);
    let context = side.queue.context.clone();
    let history = History { bands: vec![(0, 3000)], ..History::default() };
    side.queue = Queue::new(context, history);
    side.subscribe(1, consumer("c1", 1, 1), &clock);
    side.subscribe(2, consumer("c1", 2, 100), &clock);
    let (read, _) = drain_slowly(&mut side, 1, |_, _| {});
    assert!(read < 2.5, "{read} messages read for each that is consumed");
    assert_eq!(side.queue.report().size, 0);
}

#[test]
fn a_message_that_comes_back_does_not_have_the_backlog_read_again() {
    let clock = Clock::new();
    let policy = Policy { page_max: 20, ..Policy::default() };
    let mut side = Side::restarted(policy, &["a"; 3000]);
    side.subscribe(1, selecting(1, "b", 100), &clock);
    side.settle(&clock);
    let before = side.read;
    for key in 2..102 {
        side.subscribe(key, selecting(key, "a", 10), &clock);
        assert_eq!(side.settle(&clock)[&key].len(), 10);
        let key = SubscriptionKey(key);
        side.handle(Op::Unsubscribe { key, last_delivered: -1, receipt: None }, &clock);
        side.settle(&clock);
    }
    let read = side.read - before;
    assert!(read < 100 * 200, "{read} messages read");
}

#[test]
fn a_selector_finds_its_message_behind_any_number_of_others_in_bounded_memory() {
    let clock = Clock::new();
    for lazy_dispatch in [false, true] {
        let mut types = vec!["a"; 20_000];
        types[19_998] = "b";
        let policy = Policy { page_max: 100, lazy_dispatch, ..Policy::default() };
        let mut side = Side::restarted(policy, &types);
        side.subscribe(1, selecting(1, "b", if lazy_dispatch { 500 } else { 1 }), &clock);
        assert_eq!(side.settle(&clock)[&1], [Some((19_998, 0, false))]);
        assert!(side.read <= 20_000, "{} messages read", side.read);
        assert!(side.queue.pending.len() <= 9 * 500, "{}", side.queue.pending.len());
    }
}

#[test]
fn a_dead_message_does_not_come_again_with_a_page_that_was_read_before_it_left() {
    let mut clock = Clock::new();
    let expire_period = Duration::from_millis(1);
    let policy = Policy { page_max: 1, expire_period, ..Policy::default() };
    let mut side = Side::new(policy, true, true, 0);
    // The last ones are in the store only.
    for number in 0..8 {
        let message = message("c0", number);
        let message = Message { persistent: true, expiration: clock.wall_ms() + 5, ..message };
        side.handle(Op::Send(incoming(message, None)), &clock);
    }
    side.settle(&clock);
    assert_eq!(side.queue.report().in_memory, 5);
    clock.ms += 10;
    side.settle(&clock);
    assert_eq!(side.dead, [0, 1, 2, 3, 4, 5, 6, 7]);
}
