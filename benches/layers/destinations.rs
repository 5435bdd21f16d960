//! Selectors, queues, topics and outboxes, without tasks and without a store.

use crate::support::Outcome;
use crate::support::destination::{incoming, message, now, queue, topic};
use crate::support::instructions::{Case, Run};
use broker::broker::candidate::Candidate;
use broker::broker::destination::in_flight::{Ack, AckRange};
use broker::broker::destination::{Effects, Op};
use broker::broker::outbox::{Item, Outbox};
use broker::broker::policy::Policy;
use broker::broker::usage::Usage;
use broker::jms::selector::Selector;
use broker::jms::{AckKind, Destination};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Waker};

pub(crate) const CASES: &[Case] = &[
    Case { name: "selector: parsed", operations: 1000, ready: |_| parse() },
    Case {
        name: "selector: evaluated, properties at both ends",
        operations: 2000,
        ready: |_| evaluate(),
    },
    Case {
        name: "queue: sent, dispatched, acknowledged",
        operations: 6400,
        ready: |max| through(max, 1),
    },
    Case {
        name: "queue: the same, 100 consumers",
        operations: 6400,
        ready: |max| through(max, 100),
    },
    Case {
        name: "topic: sent and dispatched, 1 subscriber",
        operations: 6400,
        ready: |max| fan_out(max, 1),
    },
    Case {
        name: "topic: sent and dispatched, 10 subscribers",
        operations: 6400,
        ready: |max| fan_out(max, 10),
    },
    Case {
        name: "topic: sent and dispatched, 1000 subscribers",
        operations: 128,
        ready: |max| fan_out(max, 1000),
    },
    Case { name: "outbox: an item pushed and taken", operations: 6400, ready: |_| outbox() },
];

/// Operations at a time, as one read of a connection brings them.
const BATCH: usize = 64;

const SELECTOR: &str =
    "region = 'north' AND (size BETWEEN 3 AND 9 OR name LIKE 'a%') AND other > 3";

fn parse() -> Outcome<Run> {
    Ok(Box::new(|operations| {
        for _ in 0..operations {
            black_box(Selector::parse(black_box(SELECTOR))?);
        }
        Ok(())
    }))
}

fn evaluate() -> Outcome<Run> {
    let selector = Selector::parse(SELECTOR)?;
    let message = message(&Destination::queue("Q"), 1, "x");
    Ok(Box::new(move |operations| {
        for _ in 0..operations {
            let candidate = Candidate { message: black_box(&message), redeliveries: 0 };
            if !selector.matches(&candidate) {
                return Err("it should match".into());
            }
        }
        Ok(())
    }))
}

fn through(messages: usize, consumers: u64) -> Outcome<Run> {
    let (policy, usage) = (Arc::new(Policy::default()), Usage::new(0, None));
    let (mut queue, outbox) = queue(&policy, &usage, consumers, 1000);
    let destination = Destination::queue("Q");
    let ready: Vec<_> = (0..messages).map(|n| incoming(message(&destination, n, "x"))).collect();
    let mut ready = ready.into_iter();
    Ok(Box::new(move |operations| {
        let (mut out, mut taken) = (Effects::default(), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..operations / BATCH {
            for incoming in ready.by_ref().take(BATCH) {
                queue.handle(Op::Send(incoming), now(), &mut out);
            }
            queue.settle_batch(now(), &mut out);
            if outbox.poll_take(&mut cx, &mut taken, usize::MAX).is_pending() {
                return Err("nothing was dispatched".into());
            }
            for ack in acknowledgements(&taken, consumers) {
                queue.handle(Op::Ack { ack: Box::new(ack), receipt: None }, now(), &mut out);
            }
            taken.clear();
            queue.settle_batch(now(), &mut out);
        }
        Ok(())
    }))
}

/// One for all that a consumer got.
fn acknowledgements(taken: &[Item], consumers: u64) -> Vec<Ack> {
    let deliveries = taken.iter().filter_map(|item| match item {
        Item::Delivery(delivery) => Some((delivery.subscription, delivery.message.as_ref()?)),
        _ => None,
    });
    let mut acks: Vec<Ack> = Vec::new();
    for (subscription, message) in deliveries {
        let Some(last) = message.message_id.clone() else { continue };
        let range = AckRange::Span { first: None, last };
        match acks.iter_mut().find(|ack| consumers == 1 || ack.subscription == subscription) {
            Some(ack) => (ack.range, ack.count) = (range, ack.count + 1),
            None => acks.push(Ack {
                subscription,
                kind: AckKind::Standard,
                range,
                count: 1,
                transaction: None,
                rollback_only: None,
                cause: None,
            }),
        }
    }
    acks
}

fn fan_out(messages: usize, subscribers: usize) -> Outcome<Run> {
    let (policy, usage) = (Arc::new(Policy::default()), Usage::new(0, None));
    let (mut topic, outbox) = topic(&policy, &usage, std::iter::repeat_n(None, subscribers));
    let destination = Destination::topic("T");
    let ready: Vec<_> = (0..messages).map(|n| incoming(message(&destination, n, "x"))).collect();
    let mut ready = ready.into_iter();
    Ok(Box::new(move |operations| {
        let (mut out, mut taken) = (Effects::default(), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..operations / BATCH {
            for incoming in ready.by_ref().take(BATCH) {
                topic.handle(Op::Send(incoming), now(), &mut out);
            }
            topic.settle_batch(now(), &mut out);
            if outbox.poll_take(&mut cx, &mut taken, usize::MAX).is_pending() {
                return Err("nothing was dispatched".into());
            }
            taken.clear();
        }
        Ok(())
    }))
}

fn outbox() -> Outcome<Run> {
    Ok(Box::new(|operations| {
        let outbox = Arc::new(Outbox::default());
        let (mut items, mut taken) = (Vec::new(), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..operations / BATCH {
            items.extend((0..BATCH).map(|n| Item::Settled { receipt: n as u64, result: Ok(()) }));
            outbox.push_all(&mut items);
            if outbox.poll_take(&mut cx, &mut taken, usize::MAX).is_pending() {
                return Err("nothing was there".into());
            }
            taken.clear();
        }
        Ok(())
    }))
}
