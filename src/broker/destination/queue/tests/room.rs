//! The store refuses what it was to have room for.

use super::super::super::adds::Adds;
use super::super::super::fixture::{BYTES, incoming, message, numbers};
use super::bench::Bench;
use crate::broker::destination::{Admission, Incoming, Op};
use crate::broker::outbox::{Outbox, Receipt};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::{AckKind, Message};
use crate::store::StoreOp;
use std::sync::Arc;

fn send(bench: &mut Bench, outbox: &Arc<Outbox>, number: i64) {
    let receipt = Receipt::new(Arc::clone(outbox), number.cast_unsigned());
    let message = Message { persistent: true, ..message("c0", number) };
    let incoming = incoming(message, Some(receipt));
    bench.run([Op::Send(Incoming { admission: Admission::Park, ..incoming })]);
}

/// The store has had no room for what was sent.
fn refuse(bench: &mut Bench) -> Arc<Usage> {
    assert!(bench.out.adds_wait);
    let out = std::mem::take(&mut bench.out);
    let (ops, receipts, awaited, holds) = (out.adds, out.added, out.awaited, out.holds);
    let adds = Adds { ops, receipts, awaited, holds, waits: true, ..Adds::default() };
    let store = Arc::clone(&bench.queue.context.store_usage);
    store.set_blocked(true);
    bench.run([Op::NoRoom(Box::new(adds))]);
    store
}

/// The numbers of the messages on their way to the store.
fn added(bench: &Bench) -> Vec<i64> {
    let number = |op: &StoreOp| match op {
        StoreOp::Add(add) => {
            add.message.message_id.as_ref().expect("it has an id").producer_sequence
        }
        other => panic!("{other:?}"),
    };
    bench.out.adds.iter().map(number).collect()
}

#[test]
fn senders_wait_for_room_in_their_order() {
    for dispatches_early in [true, false] {
        let mut bench = Bench::new(Policy::default());
        bench.queue.context.dispatches_early = dispatches_early;
        let outbox = Arc::new(Outbox::default());
        (0..2).for_each(|number| send(&mut bench, &outbox, number));
        assert_eq!((added(&bench), bench.usage.used()), (vec![0, 1], 2 * BYTES));
        let store = refuse(&mut bench);
        send(&mut bench, &outbox, 2);
        assert_eq!((added(&bench), bench.queue.report().size), (vec![], 0));
        assert_eq!((bench.out.receipts.len(), bench.usage.used()), (0, 0), "nobody is told");
        store.set_blocked(false);
        bench.run(None);
        assert_eq!((added(&bench), bench.out.added.len()), (vec![0, 1, 2], 3));
        let late = refuse(&mut bench);
        late.set_blocked(false);
        bench.run(None);
        assert_eq!(added(&bench), [0, 1, 2], "once more");
    }
}

#[test]
fn what_a_consumer_has_is_stored_later_or_not_at_all() {
    let mut bench = Bench::new(Policy::default());
    let consumer = bench.subscribe(10);
    let outbox = Arc::new(Outbox::default());
    (0..2).for_each(|number| send(&mut bench, &outbox, number));
    assert_eq!(numbers(&consumer.outbox), [0, 1]);
    let store = refuse(&mut bench);
    bench.ack(&consumer, AckKind::Standard, 0, 0);
    assert_eq!((added(&bench), bench.out.receipts.len()), (vec![], 0));
    store.set_blocked(false);
    bench.run(None);
    assert_eq!((added(&bench), bench.out.added.len()), (vec![1], 1));
    let [(_, result)] = &bench.out.receipts[..] else { panic!("{:?}", bench.out.receipts) };
    assert_eq!(result, &Ok(()), "what was consumed needs no room");
    assert_eq!(numbers(&consumer.outbox), [] as [i64; 0], "nothing comes twice");
}
