//! One test per rule.

use super::super::super::fixture::{
    BYTES, consumer, context, deliveries, incoming, message, numbers, take,
};
use super::super::{History, OpenPulls, Pull, Queue};
use super::bench::{Bench, Client};
use crate::broker::dead_letter::Cause;
use crate::broker::destination::in_flight::TransactionKey;
use crate::broker::destination::{Admission, Incoming, Op};
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Delivery, Item, Outbox, Receipt};
use crate::broker::policy::{GroupMapKind, Policy};
use crate::jms::{AckKind, ConsumerInfo, Destination, DestinationKind, Message};
use crate::store::{Cancel, StoreOp};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn in_group(number: i64, group: &str, sequence: i32) -> Message {
    Message { group_id: Some(group.into()), group_sequence: sequence, ..message("c0", number) }
}

fn error(client: &Client) -> String {
    let errors = take(&client.outbox).into_iter().filter_map(|item| match item {
        Item::AsyncError(error) => Some(error.to_string()),
        _ => None,
    });
    errors.collect()
}

// 2.2 Which consumer

#[test]
fn equal_consumers_take_turns() {
    let mut bench = Bench::new(Policy::default());
    let (a, b) = (bench.subscribe(10), bench.subscribe(10));
    bench.send_numbers(0..6);
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![0, 2, 4], vec![1, 3, 5]));
}

#[test]
fn with_strict_order_the_first_consumer_is_filled_first() {
    let mut bench = Bench::new(Policy { strict_order_dispatch: true, ..Policy::default() });
    let (a, b) = (bench.subscribe(2), bench.subscribe(10));
    bench.send_numbers(0..5);
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![0, 1], vec![2, 3, 4]));
}

#[test]
fn the_consumer_of_higher_priority_is_filled_first() {
    let mut bench = Bench::new(Policy::default());
    let low = bench.subscribe(2);
    let high = bench.subscribe_as(2, None, |info| info.priority = 5);
    bench.send_numbers(0..8);
    assert_eq!((numbers(&high.outbox), numbers(&low.outbox)), (vec![0, 1], vec![2, 3]));
    bench.ack(&high, AckKind::Standard, 0, 1);
    assert_eq!(numbers(&high.outbox), [4, 5]);
}

#[test]
fn a_message_nobody_can_take_is_overtaken() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe_as(10, Some("JMSPriority > 4"), |_| {});
    bench.send_numbers([0]);
    bench.send(Message { priority: 9, ..message("c0", 1) });
    assert_eq!(numbers(&a.outbox), [1]);
    let b = bench.subscribe(10);
    assert_eq!(numbers(&b.outbox), [0]);
}

#[test]
fn no_local_keeps_out_what_the_own_connection_sent() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe_as(10, None, |info| info.no_local = true);
    bench.send(message("c1", 1));
    bench.send(message("c0", 2));
    assert_eq!(numbers(&a.outbox), [2]);
}

#[test]
fn the_prefetch_is_the_most_in_flight() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(2);
    bench.send_numbers(0..5);
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.ack(&a, AckKind::Standard, 0, 0);
    assert_eq!(numbers(&a.outbox), [2]);
}

#[test]
fn delivered_acks_extend_the_window_and_ordinary_ones_shrink_it_again() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(2);
    bench.send_numbers(0..9);
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.ack(&a, AckKind::Delivered, 0, 1);
    assert_eq!(numbers(&a.outbox), [2, 3]);
    bench.ack(&a, AckKind::Standard, 0, 1);
    assert_eq!(numbers(&a.outbox), [] as [i64; 0], "2 and 3 fill the window");
    bench.ack(&a, AckKind::Standard, 2, 2);
    assert_eq!(numbers(&a.outbox), [4]);
}

#[test]
fn without_prefetch_extension_delivered_acks_change_nothing() {
    let mut bench = Bench::new(Policy { use_prefetch_extension: false, ..Policy::default() });
    let a = bench.subscribe(1);
    bench.send_numbers(0..3);
    bench.ack(&a, AckKind::Delivered, 0, 0);
    assert_eq!(numbers(&a.outbox), [0]);
}

#[test]
fn one_pull_is_one_message() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(0);
    bench.send_numbers(0..3);
    assert_eq!(numbers(&a.outbox), [] as [i64; 0]);
    bench.pull(&a, None);
    assert_eq!(numbers(&a.outbox), [0]);
    assert_eq!(a.window.in_flight(), 1);
}

#[test]
fn a_pull_that_does_not_wait_is_answered_at_once() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(0);
    bench.pull(&a, Some(bench.clock.ms));
    assert_eq!(numbers(&a.outbox), [-1]);
}

#[test]
fn a_pull_that_waits_is_answered_after_its_time() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(0);
    let due = bench.clock.ms + 50;
    bench.pull(&a, Some(due));
    assert_eq!(numbers(&a.outbox), [] as [i64; 0]);
    assert_eq!(bench.queue.next_deadline(), Some(bench.clock.at(due)));
    bench.clock.ms = due;
    bench.run([]);
    assert_eq!(numbers(&a.outbox), [-1]);
    bench.send_numbers([0]);
    assert_eq!(numbers(&a.outbox), [] as [i64; 0], "the pull is over");
}

#[test]
fn a_pull_that_another_queue_has_answered_gives_nothing() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(0);
    let (mut pulls, (_, pull)) = open_pull(&a, None);
    bench.run([Op::Pull { key: a.key, pull }]);
    pulls.cancel();
    bench.send_numbers([0]);
    assert_eq!(numbers(&a.outbox), [] as [i64; 0]);
}

/// A pull of a consumer that has several queues, with its ticket.
fn open_pull(client: &Client, deadline: Option<Instant>) -> (OpenPulls, (u64, Pull)) {
    let nothing = Delivery::nothing(client.key, &Arc::new(consumer("c1", client.key.0, 0)));
    let mut pulls = OpenPulls::default();
    let pull = pulls.add(nothing, &client.outbox, deadline);
    (pulls, pull)
}

#[test]
fn several_queues_have_nothing_when_all_of_them_have_said_so() {
    let mut benches = [Bench::new(Policy::default()), Bench::new(Policy::default())];
    let client = benches[0].subscribe(0);
    benches[1].subscribe(0);
    let due = benches[0].clock.ms + 50;
    let (mut pulls, (ticket, pull)) = open_pull(&client, Some(benches[0].clock.at(due)));
    for bench in &mut benches {
        bench.run([Op::Pull { key: client.key, pull: pull.clone() }]);
    }
    drop(pull);
    assert!(pulls.owes(ticket));
    drop(pulls.end(ticket));
    for bench in &mut benches {
        assert_eq!(numbers(&client.outbox), [] as [i64; 0]);
        bench.clock.ms = due;
        bench.run([]);
    }
    assert_eq!(numbers(&client.outbox), [-1]);
}

#[test]
fn a_pull_of_a_consumer_with_prefetch_does_not_open_its_window() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(1);
    bench.send_numbers(0..3);
    bench.pull(&a, None);
    assert_eq!(numbers(&a.outbox), [0]);
}

#[test]
fn the_first_exclusive_consumer_gets_everything_until_it_leaves() {
    let mut bench = Bench::new(Policy::default());
    let shared = bench.subscribe(10);
    let first = bench.subscribe_as(1, None, |info| info.exclusive = true);
    let second = bench.subscribe_as(1, None, |info| info.exclusive = true);
    bench.send_numbers(0..3);
    assert_eq!(numbers(&first.outbox), [0]);
    bench.unsubscribe(&first, -1);
    assert_eq!(numbers(&second.outbox), [0]);
    bench.unsubscribe(&second, -1);
    assert_eq!(numbers(&shared.outbox), [0, 1, 2], "without one, normal dispatch");
}

#[test]
fn an_exclusive_consumer_of_higher_priority_takes_over() {
    let mut bench = Bench::new(Policy::default());
    let first = bench.subscribe_as(10, None, |info| info.exclusive = true);
    let higher = bench.subscribe_as(10, None, |info| (info.exclusive, info.priority) = (true, 1));
    let highest =
        bench.subscribe_as(10, None, |info| (info.exclusive, info.priority) = (true, 127));
    bench.send_numbers([0]);
    assert_eq!(numbers(&highest.outbox), [0]);
    bench.unsubscribe(&highest, -1);
    assert_eq!((numbers(&higher.outbox), numbers(&first.outbox)), (vec![0], vec![]));
}

#[test]
fn all_consumers_are_exclusive_where_the_policy_says_so() {
    let mut bench = Bench::new(Policy { all_consumers_exclusive: true, ..Policy::default() });
    let (first, second) = (bench.subscribe(10), bench.subscribe(10));
    bench.send_numbers(0..3);
    assert_eq!((numbers(&first.outbox), numbers(&second.outbox)), (vec![0, 1, 2], vec![]));
}

#[test]
fn consumer_priorities_count_only_where_they_are_used() {
    for (used, second) in [(true, vec![0, 1]), (false, vec![1])] {
        let mut bench = Bench::new(Policy { use_consumer_priority: used, ..Policy::default() });
        bench.subscribe(10);
        let higher = bench.subscribe_as(10, None, |info| info.priority = 5);
        bench.send_numbers(0..2);
        assert_eq!(numbers(&higher.outbox), second);
    }
}

#[test]
fn an_exclusive_consumer_takes_over_from_an_equal_one_only_with_the_highest_priority_there_is() {
    for (priority, takes_over) in [(126, false), (127, true)] {
        let mut bench = Bench::new(Policy::default());
        let exclusive = |info: &mut ConsumerInfo| {
            (info.exclusive, info.priority) = (true, priority);
        };
        let first = bench.subscribe_as(10, None, exclusive);
        let second = bench.subscribe_as(10, None, exclusive);
        bench.send_numbers([0]);
        assert_eq!(numbers(&first.outbox).is_empty(), takes_over);
        assert_eq!(numbers(&second.outbox).is_empty(), !takes_over);
    }
}

#[test]
fn a_queue_that_is_removed_gives_its_part_of_the_windows_back() {
    let mut bench = Bench::new(Policy::default());
    let client = bench.subscribe(2);
    bench.send_numbers(0..3);
    assert_eq!(numbers(&client.outbox), [0, 1]);
    assert!(!client.window.has_room());
    bench.run([Op::Destroy { receipt: None }]);
    assert!(client.window.has_room());
    client.window.add(1);
    assert!(client.window.has_room(), "both places are free");
}

#[test]
fn a_browser_sees_what_is_there_and_then_the_end() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(1);
    bench.send_numbers(0..4);
    let browser = bench.subscribe_as(3, None, |info| info.browser = true);
    assert_eq!(numbers(&browser.outbox), [0, 1, 2]);
    bench.ack(&browser, AckKind::Standard, 0, 0);
    assert_eq!(numbers(&browser.outbox), [3, -1]);
    assert_eq!(numbers(&a.outbox), [0], "it takes nothing");
    assert_eq!(bench.queue.report().size, 4);
    let empty = Bench::new(Policy::default()).subscribe_as(3, None, |info| info.browser = true);
    assert_eq!(numbers(&empty.outbox), [-1]);
}

#[test]
fn a_browser_without_prefetch_pulls() {
    let mut bench = Bench::new(Policy::default());
    bench.send_numbers(0..2);
    let browser = bench.subscribe_as(0, None, |info| info.browser = true);
    bench.pull(&browser, None);
    assert_eq!(numbers(&browser.outbox), [0]);
    bench.pull(&browser, None);
    bench.pull(&browser, None);
    assert_eq!(numbers(&browser.outbox), [1, -1, -1], "the end, and the answer");
}

#[test]
fn what_a_lost_consumer_held_returns_in_its_original_place() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(3);
    bench.send_numbers(0..5);
    bench.unsubscribe(&a, -2);
    let b = bench.subscribe(10);
    let got: Vec<_> = deliveries(&b.outbox).iter().map(|d| (d.sequence, d.redeliveries)).collect();
    assert_eq!(got, [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]);
}

// 2.3 Message groups

#[test]
fn a_group_has_one_owner_until_it_leaves() {
    let mut bench = Bench::new(Policy::default());
    let (a, b) = (bench.subscribe(1), bench.subscribe(10));
    bench.send(in_group(0, "g", 0));
    bench.send(in_group(1, "g", 0));
    let first = deliveries(&a.outbox);
    assert!(first.len() == 1 && first[0].group_first);
    assert_eq!(numbers(&b.outbox), [] as [i64; 0], "it waits for its owner");
    bench.unsubscribe(&a, -1);
    let got: Vec<_> = deliveries(&b.outbox).iter().map(|d| (d.sequence, d.group_first)).collect();
    assert_eq!(got, [(1, true), (2, false)]);
}

#[test]
fn sequence_1_assigns_the_group_anew_and_the_rest_follows() {
    let mut bench = Bench::new(Policy::default());
    let (a, b) = (bench.subscribe(1), bench.subscribe(10));
    bench.send(in_group(0, "g", 0));
    bench.send(in_group(1, "g", 2));
    bench.send(in_group(2, "g", 1));
    assert_eq!(numbers(&a.outbox), [0]);
    assert_eq!(numbers(&b.outbox), [2, 1], "what waited for the old owner goes to the new one");
}

#[test]
fn a_negative_sequence_closes_the_group() {
    let mut bench = Bench::new(Policy::default());
    let (a, b) = (bench.subscribe(2), bench.subscribe(10));
    for (number, sequence) in [(0, 0), (1, 0), (2, -1), (3, 0)] {
        bench.send(in_group(number, "g", sequence));
    }
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.ack(&a, AckKind::Standard, 0, 0);
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![2], vec![3]));
}

#[test]
fn a_new_group_goes_to_the_consumer_with_the_fewest() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send(in_group(0, "g", 0));
    bench.send(in_group(1, "h", 0));
    let b = bench.subscribe(10);
    bench.send(in_group(2, "i", 0));
    bench.send_numbers([3]);
    bench.send(in_group(4, "j", 0));
    bench.send(in_group(5, "k", 0));
    let got = (numbers(&a.outbox), numbers(&b.outbox));
    assert_eq!(got, (vec![0, 1, 5], vec![2, 3, 4]), "what has no group, too");
}

#[test]
fn with_strict_order_groups_count_when_a_consumer_comes() {
    let mut bench = Bench::new(Policy { strict_order_dispatch: true, ..Policy::default() });
    let (a, b) = (bench.subscribe(10), bench.subscribe(10));
    bench.send(in_group(0, "g", 0));
    bench.send(in_group(1, "h", 0));
    let c = bench.subscribe(10);
    bench.send(in_group(2, "i", 0));
    bench.send(in_group(3, "j", 0));
    let got = (numbers(&a.outbox), numbers(&b.outbox), numbers(&c.outbox));
    assert_eq!(got, (vec![0, 1], vec![2, 3], vec![]));
}

#[test]
fn groups_beyond_the_cache_are_assigned_anew() {
    let groups = GroupMapKind::Cached { size: 1 };
    let mut bench = Bench::new(Policy { groups, ..Policy::default() });
    let (a, b) = (bench.subscribe(1), bench.subscribe(10));
    bench.send(in_group(0, "g", 0));
    bench.send(in_group(1, "g", 0));
    bench.send(in_group(2, "h", 0));
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![0], vec![2, 1]));
}

#[test]
fn the_simple_map_forgets_no_group() {
    let mut bench = Bench::new(Policy { groups: GroupMapKind::Simple, ..Policy::default() });
    let (a, b) = (bench.subscribe(3000), bench.subscribe(3000));
    let group = |number: i64| in_group(number, &format!("g{}", number % 1500), 0);
    for number in 0..3000 {
        bench.send(group(number));
    }
    for outbox in [a.outbox, b.outbox] {
        let got = numbers(&outbox);
        let (first, again) = got.split_at(got.len() / 2);
        let once_more: Vec<i64> = first.iter().map(|number| number + 1500).collect();
        assert_eq!(again, once_more, "each group is still with who had it");
    }
}

// 2.4 Priority

#[test]
fn prioritized_messages_overtake_and_are_clipped() {
    let mut bench = Bench::new(Policy { prioritized_messages: true, ..Policy::default() });
    let a = bench.subscribe(1);
    for (number, priority) in [(0, 4), (1, -7), (2, 0), (3, 9), (4, 100), (5, 5)] {
        bench.send(Message { priority, ..message("c0", number) });
    }
    assert_eq!(numbers(&a.outbox), [0]);
    bench.unsubscribe(&a, -1);
    let b = bench.subscribe(10);
    assert_eq!(numbers(&b.outbox), [3, 4, 5, 0, 1, 2]);
}

#[test]
fn without_prioritized_messages_priority_changes_nothing() {
    let mut bench = Bench::new(Policy::default());
    bench.send(message("c0", 0));
    bench.send(Message { priority: 9, ..message("c0", 1) });
    let a = bench.subscribe(10);
    assert_eq!(numbers(&a.outbox), [0, 1]);
}

// 8 Flow control

#[test]
fn a_send_that_waits_for_its_answer_is_parked_until_there_is_room() {
    let mut bench = Bench::with_limit(Policy::default(), 2 * BYTES);
    let answers = Arc::new(Outbox::default());
    let park = |number: i64| {
        let receipt = Receipt::new(Arc::clone(&answers), number.cast_unsigned());
        let incoming = incoming(message("c0", number), Some(receipt));
        Op::Send(Incoming { admission: Admission::Park, ..incoming })
    };
    bench.run([park(0), park(1), park(2)]);
    assert_eq!((bench.queue.report().size, bench.out.receipts.len()), (2, 2));
    let a = bench.subscribe(1);
    bench.ack(&a, AckKind::Standard, 0, 0);
    assert_eq!((bench.queue.report().size, bench.out.receipts.len()), (2, 3));
    bench.run([park(3)]);
    bench.run([Op::ConnectionClosed(1)]);
    let refused = |item: &Item| {
        matches!(item, Item::Settled { receipt: 3, result: Err(BrokerError::Stopping) })
    };
    assert!(take(&answers).iter().any(refused));
}

#[test]
fn a_parked_send_fails_when_it_has_waited_long_enough() {
    let send_fail_after = Duration::from_millis(20);
    let mut bench = Bench::with_limit(Policy { send_fail_after, ..Policy::default() }, BYTES);
    let answers = Arc::new(Outbox::default());
    for number in 0..2 {
        let receipt = Receipt::new(Arc::clone(&answers), 1);
        let incoming = incoming(message("c0", number), Some(receipt));
        bench.run([Op::Send(Incoming { admission: Admission::Park, ..incoming })]);
    }
    bench.clock.ms += 20;
    bench.run([]);
    let failed = &bench.out.receipts[1].1;
    assert!(matches!(failed, Err(BrokerError::MemoryWaitTimeout { .. })), "{failed:?}");
}

#[test]
fn what_expires_while_it_waits_for_room_is_a_dead_letter() {
    let mut bench = Bench::with_limit(Policy::default(), BYTES);
    let answers = Arc::new(Outbox::default());
    bench.run([Op::Send(incoming(message("c0", 0), None))]);
    let brief = Message { expiration: bench.clock.wall_ms() + 5, ..message("c0", 1) };
    let receipt = Some(Receipt::new(answers, 1));
    let parked = Incoming { admission: Admission::Park, ..incoming(brief, receipt) };
    bench.run([Op::Send(parked)]);
    bench.clock.ms += 10;
    assert_eq!(bench.queue.report().own.expired, 0);
    bench.run([Op::Purge { receipt: None }]);
    let report = bench.queue.report();
    assert_eq!((report.own.expired, report.size, bench.out.dead_letters.len()), (1, 0, 1));
}

// 9 Acknowledgement and redelivery

#[test]
fn an_individual_ack_takes_its_last_message_only_and_a_redelivered_one_none() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers(0..3);
    bench.ack(&a, AckKind::Redelivered, 0, 2);
    assert_eq!(bench.queue.report().in_flight, 3);
    bench.ack(&a, AckKind::Individual, 0, 1);
    assert_eq!(bench.queue.report().in_flight, 2);
    bench.unsubscribe(&a, -1);
    let b = bench.subscribe(10);
    assert_eq!(numbers(&b.outbox), [0, 2]);
}

#[test]
fn a_range_must_be_held_and_its_count_must_agree() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers(0..3);
    assert_eq!(numbers(&a.outbox), [0, 1, 2]);
    bench.ack(&a, AckKind::Standard, 7, 8);
    assert!(error(&a).ends_with("in dispatched-list (start of ack)"));
    bench.ack(&a, AckKind::Standard, 1, 8);
    assert!(error(&a).ends_with("in dispatched-list (end of ack)"));
    bench.ack(&a, AckKind::Individual, 1, 1);
    bench.ack(&a, AckKind::Standard, 0, 2);
    let text = "Expected message count (3) differs from count in dispatched-list (2)";
    assert!(error(&a).ends_with(text));
    assert_eq!(bench.queue.report().in_flight, 2, "nothing was removed");
}

#[test]
fn a_poison_ack_sends_to_the_dead_letter_queue_and_is_never_transacted() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers(0..2);
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.ack_in(&a, AckKind::Poison, 0, 0, Some(1));
    assert!(error(&a).starts_with("Poison ack cannot be transacted"));
    bench.ack(&a, AckKind::Poison, 0, 0);
    assert_eq!((bench.out.dead_letters.len(), bench.queue.report().size), (1, 1));
}

#[test]
fn a_dead_message_may_be_sent_again() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers([0, 0]);
    assert_eq!(numbers(&a.outbox), [0], "a duplicate");
    bench.ack(&a, AckKind::Poison, 0, 0);
    bench.send_numbers([0]);
    assert_eq!(numbers(&a.outbox), [0]);
}

#[test]
fn the_last_delivered_sequence_says_what_counts_as_redelivered() {
    let cases = [(-2, [1, 1, 1]), (-1, [0, 0, 0]), (0, [0, 0, 0]), (2, [1, 1, 0]), (9, [0, 0, 0])];
    for (last_delivered, expected) in cases {
        let mut bench = Bench::new(Policy::default());
        let a = bench.subscribe(10);
        bench.send_numbers(0..3);
        bench.unsubscribe(&a, last_delivered);
        let b = bench.subscribe(10);
        let got: Vec<i32> = deliveries(&b.outbox).iter().map(|d| d.redeliveries).collect();
        assert_eq!(got, expected, "last delivered {last_delivered}");
    }
}

#[test]
fn an_ack_before_the_first_dispatch_is_stale_and_ignored() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.ack(&a, AckKind::Standard, 0, 5);
    assert_eq!(error(&a), "");
}

#[test]
fn acks_of_purged_messages_only_open_the_window() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(2);
    bench.send_numbers(0..3);
    bench.run([Op::Purge { receipt: None }]);
    assert_eq!((bench.queue.report().size, bench.usage.used()), (0, 0));
    bench.send_numbers(3..5);
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.ack(&a, AckKind::Standard, 0, 1);
    assert_eq!(numbers(&a.outbox), [3, 4]);
    assert_eq!(bench.queue.report().own.dequeued, 3);
}

// 11 Expiry

#[test]
fn expired_messages_leave_on_arrival_at_dispatch_before_a_browser_and_in_time() {
    let mut bench = Bench::new(Policy::default());
    let until = |bench: &Bench, ms| bench.clock.wall_ms() + ms;
    bench.send(Message { expiration: until(&bench, -1), ..message("c0", 0) });
    assert_eq!(bench.queue.report().own.expired, 1);
    bench.send(Message { expiration: until(&bench, 0), ..message("c0", 1) });
    assert_eq!(bench.queue.report().own.expired, 1, "not before its last millisecond is over");
    bench.clock.ms += 1;
    let a = bench.subscribe(10);
    assert_eq!((numbers(&a.outbox), bench.queue.report().own.expired), (vec![], 2));
    bench.unsubscribe(&a, -1);
    bench.send(Message { expiration: until(&bench, 0), ..message("c0", 2) });
    bench.clock.ms += 1;
    let browser = bench.subscribe_as(3, None, |info| info.browser = true);
    assert_eq!((numbers(&browser.outbox), bench.queue.report().own.expired), (vec![-1], 3));
    bench.send(Message { expiration: until(&bench, 5), ..message("c0", 3) });
    bench.clock.ms += 30_001;
    bench.run([]);
    assert_eq!((bench.queue.report().own.expired, bench.queue.report().size), (4, 0));
    let late = |letter: &crate::broker::dead_letter::DeadLetter| {
        matches!(letter.cause, Some(Cause::Expired(_)))
    };
    assert!(bench.out.dead_letters.iter().all(late));
    assert_eq!(bench.out.dead_letters.len(), 4);
}

#[test]
fn an_expired_ack_is_an_expiry_though_the_broker_sees_none() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send(Message { expiration: bench.clock.wall_ms() + 5, ..message("c0", 0) });
    bench.send_numbers([1]);
    bench.ack(&a, AckKind::Expired, 0, 1);
    let counters = bench.queue.report();
    assert_eq!((counters.own.expired, counters.size, bench.out.dead_letters.len()), (2, 0, 2));
}

// 12 Transactions

#[test]
fn acks_take_effect_at_commit_and_stay_with_the_consumer_at_rollback() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers(0..2);
    bench.ack_in(&a, AckKind::Standard, 0, 1, Some(1));
    assert_eq!(bench.queue.report().in_flight, 2);
    bench.end(1, false);
    assert_eq!(numbers(&a.outbox), [0, 1], "nothing is sent again");
    bench.ack_in(&a, AckKind::Standard, 0, 1, Some(2));
    bench.end(2, true);
    assert_eq!((bench.queue.report().size, bench.usage.used()), (0, 0));
}

#[test]
fn what_a_transaction_holds_waits_for_it_though_the_consumer_is_gone() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers(0..2);
    bench.ack_in(&a, AckKind::Standard, 0, 0, Some(1));
    bench.unsubscribe(&a, -2);
    let b = bench.subscribe(10);
    assert_eq!(numbers(&b.outbox), [1]);
    bench.end(1, false);
    assert_eq!(numbers(&b.outbox), [0]);
}

#[test]
fn a_commit_stores_its_removals_and_is_answered_when_it_is_decided() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send(Message { persistent: true, ..message("c0", 0) });
    bench.ack_in(&a, AckKind::Standard, 0, 0, Some(1));
    let receipt = Some(Receipt::new(Arc::default(), 1));
    let ops = bench.commit(TransactionKey(1), receipt);
    assert!(matches!(ops[..], [StoreOp::Remove { sequence: 1, .. }]));
    assert_eq!((bench.out.receipts.len(), bench.out.removals.len()), (1, 0));
}

// 2.1 Message path

#[test]
fn persistent_messages_enter_and_leave_the_store_but_not_those_of_temporary_queues() {
    for (destination, ops) in [
        (Destination::queue("Q"), 1),
        (Destination::new(DestinationKind::TempQueue, Some("T".into())), 0),
    ] {
        let mut bench = Bench::new(Policy::default());
        let context = context(destination, Policy::default(), &bench.usage);
        bench.queue = Queue::new(context, History::default());
        let a = bench.subscribe(10);
        bench.send(Message { persistent: true, ..message("c0", 0) });
        bench.send(message("c0", 1));
        let added = bench.out.adds.len();
        if let Some(StoreOp::Add(add)) = bench.out.adds.first() {
            assert!(add.cancel.as_ref().is_some_and(|cancel| cancel.take()), "it is written");
        }
        bench.ack(&a, AckKind::Standard, 0, 1);
        assert_eq!((added, bench.out.removals.len()), (ops, ops));
    }
}

#[test]
fn a_message_consumed_before_it_was_written_is_not_written() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send(Message { persistent: true, ..message("c0", 0) });
    bench.ack(&a, AckKind::Standard, 0, 0);
    assert!(bench.out.removals.is_empty());
    let Some(StoreOp::Add(add)) = bench.out.adds.first() else { panic!("it was to be stored") };
    assert!(add.cancel.as_ref().is_some_and(Cancel::cancel), "it was taken back");
}
