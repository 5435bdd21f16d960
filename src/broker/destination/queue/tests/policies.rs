//! One test per attribute of `<policyEntry>` that queues heed and `rules` has none for.

use super::super::super::fixture::{incoming, message, numbers, take};
use super::bench::Bench;
use crate::broker::dead_letter::Cause;
use crate::broker::destination::commit::{CommittedSend, Decision};
use crate::broker::destination::{Admission, Incoming, Op};
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Item, Outbox, Receipt};
use crate::broker::policy::Policy;
use crate::jms::{AckKind, Destination, Message};
use crate::store::StoreOp;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn dispatch_waits_for_so_many_consumers_to_come() {
    let mut bench = Bench::new(Policy { consumers_before_dispatch: 3, ..Policy::default() });
    bench.send_numbers(0..6);
    let (a, b) = (bench.subscribe(10), bench.subscribe(10));
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![], vec![]));
    let c = bench.subscribe(10);
    let got = [&a, &b, &c].map(|client| numbers(&client.outbox));
    assert_eq!(got, [vec![0, 3], vec![1, 4], vec![2, 5]]);
    for client in [&a, &b, &c] {
        bench.unsubscribe(client, -1);
    }
    let d = bench.subscribe(10);
    assert_eq!(numbers(&d.outbox), [0; 0], "it is a first one again");
}

#[test]
fn consumers_that_do_not_come_are_waited_for_a_second_unless_told() {
    for (told_ms, waits_ms) in [(0, 1000), (300, 300)] {
        let time_before_dispatch = Duration::from_millis(told_ms);
        let mut bench = Bench::new(Policy {
            consumers_before_dispatch: 2,
            time_before_dispatch,
            ..Policy::default()
        });
        bench.send_numbers(0..2);
        let a = bench.subscribe(10);
        let due = bench.clock.at(bench.clock.ms + waits_ms);
        assert_eq!(bench.queue.next_deadline(), Some(due));
        bench.clock.ms += waits_ms - 1;
        bench.run([]);
        assert_eq!(numbers(&a.outbox), [0; 0]);
        bench.clock.ms += 1;
        bench.run([]);
        assert_eq!(numbers(&a.outbox), [0, 1]);
        assert_eq!(bench.queue.next_deadline(), None);
    }
}

#[test]
fn dispatch_waits_for_time_alone_too() {
    let time_before_dispatch = Duration::from_millis(50);
    let mut bench = Bench::new(Policy { time_before_dispatch, ..Policy::default() });
    bench.send_numbers(0..1);
    let (a, b) = (bench.subscribe(1), bench.subscribe(1));
    assert_eq!((numbers(&a.outbox), numbers(&b.outbox)), (vec![], vec![]));
    bench.clock.ms += 50;
    bench.run([]);
    assert_eq!(numbers(&a.outbox), [0]);
    let c = bench.subscribe(1);
    bench.send_numbers(1..3);
    assert_eq!((numbers(&b.outbox), numbers(&c.outbox)), (vec![1], vec![2]), "only once");
}

/// With `maxBrowsePageSize="0"`.
#[test]
fn a_browser_for_which_nothing_is_read_sees_what_consumers_have_had() {
    let mut bench = Bench::new(Policy { browse_page_max: 0, ..Policy::default() });
    bench.send_numbers(0..5);
    let seen = |bench: &mut Bench| {
        numbers(&bench.subscribe_as(10, None, |info| info.browser = true).outbox)
    };
    assert_eq!(seen(&mut bench), [-1]);
    let a = bench.subscribe(3);
    assert_eq!(seen(&mut bench), [0, 1, 2, -1]);
    bench.unsubscribe(&a, -1);
    assert_eq!(seen(&mut bench), [0, 1, 2, -1], "they are back");
}

/// With `sendAdvisoryIfNoConsumers`.
#[test]
fn a_browser_is_somebody_where_it_is_told_that_nobody_is_there() {
    let mut bench = Bench::new(Policy { advisory_if_no_consumers: true, ..Policy::default() });
    let browser = bench.subscribe_as(3, None, |info| info.browser = true);
    bench.send_numbers([0]);
    assert_eq!(bench.out.notices.len(), 0);
    bench.unsubscribe(&browser, -1);
    bench.send_numbers([1]);
    assert_eq!(bench.out.notices.len(), 1);
}

#[test]
fn a_store_at_its_high_water_mark_keeps_persistent_messages_out() {
    let mut bench = Bench::new(Policy {
        store_high_water_percent: 70,
        send_fail_after: Duration::from_millis(10),
        ..Policy::default()
    });
    let store = Arc::clone(&bench.queue.context.store_usage);
    store.set_limit(1000);
    store.set_used(699);
    let answers = Arc::new(Outbox::default());
    let send = |number: i64| {
        let message = Message { persistent: true, ..message("c0", number) };
        let receipt = Some(Receipt::new(Arc::clone(&answers), number.cast_unsigned()));
        Op::Send(Incoming { admission: Admission::Park, ..incoming(message, receipt) })
    };
    bench.run([send(1)]);
    assert_eq!(bench.queue.report().size, 1);
    store.set_used(700);
    bench.run([send(2)]);
    assert_eq!(bench.queue.report().size, 1);
    bench.clock.ms += 10;
    bench.run([]);
    let Some((_, Err(BrokerError::StoreWaitTimeout { percent, .. }))) = bench.out.receipts.last()
    else {
        panic!("the send must fail: {:?}", bench.out.receipts);
    };
    assert_eq!(*percent, 70);
    bench.run([send(3)]);
    store.set_used(699);
    bench.run([]);
    assert_eq!(bench.queue.report().size, 2, "there is room again");
}

#[test]
fn duplicates_of_what_has_gone_become_dead_letters_when_they_are_to() {
    for duplicates_are_dead_letters in [false, true] {
        let mut bench = Bench::new(Policy { duplicates_are_dead_letters, ..Policy::default() });
        let a = bench.subscribe(10);
        bench.send(persistent(1));
        bench.send(persistent(1));
        assert_eq!(
            (numbers(&a.outbox), causes(&mut bench)),
            (vec![1], vec![]),
            "it is still there"
        );
        bench.ack(&a, AckKind::Standard, 1, 1);
        let replayed = Incoming { resent: true, ..incoming(persistent(1), None) };
        bench.run([Op::Send(replayed)]);
        assert_eq!(causes(&mut bench), [], "a client that reconnects sends again");
        let cause = Cause::Duplicate(Destination::queue("Q"));
        assert_eq!(cause.to_string(), "java.lang.Throwable: duplicate from store for queue://Q");
        let expected = if duplicates_are_dead_letters { vec![cause] } else { vec![] };
        bench.send(persistent(1));
        assert_eq!(causes(&mut bench), expected);
        for outcome in [Err(BrokerError::Stopping), Ok(())] {
            let send = CommittedSend { message: Arc::new(persistent(1)), bytes: 10 };
            let (ops, entries) = bench.queue.vote(None, vec![send], bench.clock.now());
            assert!(ops.is_empty());
            let is_ok = outcome.is_ok();
            let (transaction, receipt) = (None, None);
            let decision = Decision { transaction, outcome, waits_on: false, entries, receipt };
            bench.run([Op::Decide(Box::new(decision))]);
            assert_eq!(causes(&mut bench), if is_ok { expected.clone() } else { vec![] });
        }
        assert_eq!(numbers(&a.outbox), [0; 0]);
    }
}

fn causes(bench: &mut Bench) -> Vec<Cause> {
    let letters = std::mem::take(&mut bench.out.dead_letters).into_iter();
    letters.filter_map(|letter| letter.cause).collect()
}

#[test]
fn what_is_not_persistent_may_come_again_when_it_has_gone() {
    let mut bench = Bench::new(Policy::default());
    let a = bench.subscribe(10);
    bench.send_numbers([1, 1]);
    assert_eq!(numbers(&a.outbox), [1], "it is still there");
    bench.ack(&a, AckKind::Standard, 1, 1);
    bench.send_numbers([1, 1]);
    assert_eq!(numbers(&a.outbox), [1]);
}

#[test]
fn acknowledgements_extend_the_window_only_if_they_may() {
    for (use_prefetch_extension, more) in [(true, vec![2, 3]), (false, vec![])] {
        let mut bench = Bench::new(Policy { use_prefetch_extension, ..Policy::default() });
        let client = bench.subscribe(2);
        bench.send_numbers(0..6);
        assert_eq!(numbers(&client.outbox), [0, 1]);
        bench.ack_in(&client, AckKind::Standard, 0, 1, Some(1));
        assert_eq!(numbers(&client.outbox), more);
    }
}

#[test]
fn without_an_audit_a_message_sent_twice_is_two() {
    for (audit, messages) in [(true, 1), (false, 2)] {
        let mut bench = Bench::new(Policy { audit, ..Policy::default() });
        bench.send_numbers([1, 1]);
        assert_eq!(bench.queue.report().size, messages);
    }
}

#[test]
fn the_audit_remembers_as_many_messages_and_producers_as_it_is_told() {
    let mut bench = Bench::new(Policy { queue_audit_depth: 64, ..Policy::default() });
    bench.send_numbers([1, 65, 1, 66, 66]);
    assert_eq!(bench.queue.report().size, 4, "1 is forgotten when 65 is 64 ahead, 66 is not");
    let mut bench = Bench::new(Policy { audit_producers: 1, ..Policy::default() });
    for connection in ["c0", "c1", "c0", "c0"] {
        bench.send(message(connection, 1));
    }
    assert_eq!(bench.queue.report().size, 3, "c0 is forgotten when c1 sends");
}

fn marking() -> Bench {
    Bench::new(Policy { persist_redelivered: true, ..Policy::default() })
}

fn persistent(number: i64) -> Message {
    Message { persistent: true, ..message("c0", number) }
}

/// Sequences of what is to be marked in the store.
fn marks(bench: &mut Bench) -> Vec<i64> {
    let sequence = |op: StoreOp| match op {
        StoreOp::Deliver { sequence, .. } => sequence,
        op => panic!("{op:?} is no mark"),
    };
    std::mem::take(&mut bench.out.marks).into_iter().map(sequence).collect()
}

#[test]
fn a_delivery_waits_until_the_store_has_marked_it_and_later_ones_behind_it() {
    let mut bench = marking();
    bench.send(persistent(0));
    let a = bench.subscribe(10);
    assert_eq!(marks(&mut bench), [1]);
    bench.send(message("c0", 1));
    assert_eq!(marks(&mut bench), [0; 0], "what is not persistent is not marked");
    bench.send(persistent(2));
    assert_eq!(marks(&mut bench), [3]);
    assert_eq!(numbers(&a.outbox), [0; 0]);
    bench.run([Op::MarkedDelivered]);
    assert_eq!(numbers(&a.outbox), [0, 1]);
    bench.run([Op::MarkedDelivered]);
    assert_eq!(numbers(&a.outbox), [2]);
    bench.ack(&a, AckKind::Standard, 0, 2);
    bench.send(message("c0", 3));
    assert_eq!(numbers(&a.outbox), [3], "nothing is held up any more");
}

#[test]
fn what_was_given_counts_as_delivered_if_the_store_is_told() {
    let mut bench = marking();
    bench.send(persistent(0));
    bench.send(message("c0", 1));
    for (last_delivered, expected) in [(-1, [0, 0]), (-2, [1, 1]), (-1, [2, 2]), (-1, [2, 2])] {
        let client = bench.subscribe(10);
        bench.run([Op::MarkedDelivered]);
        let given: Vec<i32> = take(&client.outbox).iter().map(redeliveries).collect();
        assert_eq!(given, expected);
        bench.unsubscribe(&client, last_delivered);
    }
    assert_eq!(marks(&mut bench), [1], "once");
}

fn redeliveries(item: &Item) -> i32 {
    let Item::Delivery(delivery) = item else { panic!("{item:?} is no delivery") };
    delivery.redeliveries
}

#[test]
fn a_consumer_that_goes_meanwhile_gets_nothing() {
    let mut bench = marking();
    bench.send(persistent(0));
    let (a, b) = (bench.subscribe(10), bench.subscribe(10));
    bench.unsubscribe(&a, -1);
    bench.run([Op::MarkedDelivered]);
    assert_eq!(numbers(&a.outbox), [0; 0]);
    assert_eq!(numbers(&b.outbox), [0]);
}
