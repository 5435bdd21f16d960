//! Where pending messages are kept (`<pendingQueuePolicy>`, semantics.md section 6).

use super::super::super::fixture::{
    BYTES, Clock, consumer, deliveries, incoming, message, numbers, spool,
};
use super::super::super::{Op, SpoolJob};
use super::bench::{Bench, Client};
use super::paging::Side;
use crate::broker::policy::{Cursor, Policy};
use crate::jms::{AckKind, Message};
use std::sync::mpsc::channel;

/// A queue with memory for ten messages and a temp store.
fn bench(policy: Policy) -> Bench {
    let mut bench = Bench::with_limit(policy, 10 * BYTES);
    bench.queue.context.spool = Some(spool());
    bench
}

/// Does what the task does with the temp store. Returns how often something was written and read there.
fn carry_out(bench: &mut Bench) -> (usize, usize) {
    let (mut written, mut read) = (0, 0);
    while !bench.out.spool.is_empty() {
        for job in std::mem::take(&mut bench.out.spool) {
            match job {
                SpoolJob::Append { channel: of, messages, holds, .. } => {
                    let (done, outcome) = channel();
                    let done = move |result| done.send(result).expect("it is awaited");
                    of.append(messages, Box::new(done));
                    outcome.recv().expect("an answer").expect("there is room");
                    drop(holds);
                    written += 1;
                }
                SpoolJob::Take { channel: of, band, limit } => {
                    let (done, outcome) = channel();
                    let done = move |messages| done.send(messages).expect("it is awaited");
                    of.take(limit, Box::new(done));
                    let messages = outcome.recv().expect("an answer");
                    let channel = of.number();
                    bench.run([Op::Unspooled { channel, band, messages }]);
                    read += 1;
                }
            }
        }
    }
    (written, read)
}

/// Takes and acknowledges all there is, one message after the other.
fn drain(bench: &mut Bench, client: &Client) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        carry_out(bench);
        let got = numbers(&client.outbox);
        if got.is_empty() {
            return all;
        }
        got.iter().for_each(|number| bench.ack(client, AckKind::Standard, *number, *number));
        all.extend(got);
    }
}

#[test]
fn transient_messages_spill_to_the_temp_store_when_memory_is_short_and_come_back_in_order() {
    let policy = Policy { page_max: 1, minimum_message_bytes: 1, ..Policy::default() };
    let mut bench = bench(policy);
    for number in 0..30 {
        bench.send_numbers([number]);
        carry_out(&mut bench);
    }
    let report = bench.queue.report();
    assert_eq!((report.size, report.in_memory), (30, 6), "the seventh would fill 70 % of memory");
    assert_eq!(bench.usage.used(), 6 * BYTES);
    let client = bench.subscribe(1);
    assert_eq!(drain(&mut bench, &client), (0..30).collect::<Vec<i64>>());
    assert_eq!((bench.queue.report().size, bench.usage.used()), (0, 0));
    bench.send_numbers(30..32);
    assert_eq!(carry_out(&mut bench), (0, 0), "there is memory again");
    assert_eq!(drain(&mut bench, &client), [30, 31]);
}

#[test]
fn what_comes_while_others_are_in_the_temp_store_goes_behind_them() {
    let mut bench = bench(Policy { minimum_message_bytes: 1, ..Policy::default() });
    bench.send_numbers(0..12);
    carry_out(&mut bench);
    bench.usage.set_limit(100 * BYTES);
    bench.send_numbers([12]);
    carry_out(&mut bench);
    assert_eq!(bench.queue.report().in_memory, 6, "there is memory, but others come first");
    let client = bench.subscribe(100);
    assert_eq!(drain(&mut bench, &client), (0..13).collect::<Vec<i64>>());
}

#[test]
fn spilled_messages_keep_their_priority_and_how_often_they_were_delivered() {
    let policy =
        Policy { prioritized_messages: true, minimum_message_bytes: 1, ..Policy::default() };
    let mut bench = bench(policy);
    bench.usage.take(7 * BYTES);
    for (number, priority) in [(0, 4), (1, 9), (2, 0), (3, 9)] {
        let message = Message { priority, ..message("c0", number) };
        let redeliveries = i32::try_from(number).expect("small");
        let message = Message { redelivery_counter: redeliveries, ..message };
        let incoming = incoming(message, None);
        bench.run([Op::Send(super::super::super::Incoming { redeliveries, ..incoming })]);
    }
    carry_out(&mut bench);
    assert_eq!(bench.queue.report().in_memory, 0);
    let client = bench.subscribe(1);
    let mut got = Vec::new();
    for _ in 0..4 {
        carry_out(&mut bench);
        let [delivery] = &deliveries(&client.outbox)[..] else { panic!("one is dispatched") };
        let message = delivery.message.as_ref().expect("a message");
        let number = message.message_id.as_ref().expect("it has an id").producer_sequence;
        got.push((number, i64::from(delivery.redeliveries)));
        bench.ack(&client, AckKind::Standard, number, number);
    }
    assert_eq!(got, [(1, 1), (3, 3), (0, 0), (2, 2)]);
}

#[test]
fn a_purge_drops_what_is_in_the_temp_store_too() {
    let mut bench = bench(Policy::default());
    bench.send_numbers(0..12);
    carry_out(&mut bench);
    bench.run([Op::Purge { receipt: None }]);
    let report = bench.queue.report();
    assert_eq!((report.size, report.own.dequeued), (0, 12));
    let client = bench.subscribe(100);
    bench.send_numbers([12]);
    assert_eq!(drain(&mut bench, &client), [12]);
}

#[test]
fn with_a_vm_cursor_transient_messages_stay_in_memory_however_many_there_are() {
    let mut bench = bench(Policy { cursor: Cursor::Memory, ..Policy::default() });
    bench.send_numbers(0..30);
    assert_eq!(carry_out(&mut bench), (0, 0));
    let report = bench.queue.report();
    assert_eq!((report.size, report.in_memory), (30, 30));
    assert_eq!(bench.usage.used(), 30 * BYTES, "they count against the limit");
}

#[test]
fn with_a_vm_cursor_stored_messages_stay_in_memory_and_are_not_read_again() {
    for (cursor, in_memory) in [(Cursor::Memory, 30), (Cursor::Store, 6)] {
        let clock = Clock::new();
        let policy = Policy { cursor, ..Policy::default() };
        let mut side = Side::new(policy, true, true, 10 * BYTES);
        for number in 0..30 {
            let message = Message { persistent: true, ..message("c0", number) };
            side.handle(Op::Send(incoming(message, None)), &clock);
            side.settle(&clock);
        }
        let report = side.queue.report();
        assert_eq!((report.size, report.in_memory), (30, in_memory), "{cursor:?}");
        side.subscribe(1, consumer("c1", 1, 100), &clock);
        let seen = side.settle(&clock)[&1].clone();
        let all: Vec<_> = (0..30).map(|number| Some((number, 0, false))).collect();
        assert_eq!(seen, all, "{cursor:?}");
        assert_eq!(side.read == 0, cursor == Cursor::Memory, "{cursor:?}");
    }
}

/// With `useCache="false"`.
#[test]
fn without_a_cache_stored_messages_wait_in_the_store_alone() {
    for (use_cache, in_memory) in [(true, 3), (false, 0)] {
        let clock = Clock::new();
        let mut side = Side::new(Policy { use_cache, ..Policy::default() }, true, true, 0);
        for number in 0..3 {
            let message = Message { persistent: true, ..message("c0", number) };
            side.handle(Op::Send(incoming(message, None)), &clock);
            side.settle(&clock);
        }
        let report = side.queue.report();
        assert_eq!((report.size, report.in_memory), (3, in_memory), "{use_cache}");
    }
}
