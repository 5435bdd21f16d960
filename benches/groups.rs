//! What a message of a queue costs when it belongs to one of many message groups.
//!
//! `cargo bench --bench groups -- [messages]`: no groups, then 10, 1,000 and 100,000 of them, with 10 and
//! 100 consumers, each of which acknowledges what it gets. Compare the ratios of one run.

mod support;

use broker::broker::destination::in_flight::{Ack, AckRange};
use broker::broker::destination::{Effects, Op};
use broker::broker::outbox::Item;
use broker::broker::policy::{GroupMapKind, Policy};
use broker::broker::usage::Usage;
use broker::jms::{AckKind, Destination, Message};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;
use support::Outcome;
use support::destination::{incoming, message, now, queue};

/// Messages sent, and then acknowledged, at a time.
const BATCH: usize = 64;

fn main() -> Outcome<()> {
    let messages = support::count(200_000)?;
    println!("consumers  groups  per message");
    for consumers in [10, 100] {
        for groups in [0, 10, 1000, 100_000] {
            run(consumers, groups, messages)?;
        }
    }
    Ok(())
}

fn run(consumers: u64, groups: usize, messages: usize) -> Outcome<()> {
    let usage = Usage::new(0, None);
    let policy = Arc::new(Policy { groups: GroupMapKind::Simple, ..Policy::default() });
    let destination = Destination::queue("Q");
    let (mut queue, outbox) = queue(&policy, &usage, consumers, 1000);
    let mut out = Effects::default();
    let group = |number: usize| (groups > 0).then(|| format!("g{}", number % groups).into());
    let mut ready: Vec<_> = (0..messages)
        .map(|n| incoming(Message { group_id: group(n), ..message(&destination, n, "x") }))
        .collect();
    let start = Instant::now();
    let mut taken = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while !ready.is_empty() {
        for incoming in ready.drain(..BATCH.min(ready.len())) {
            queue.handle(Op::Send(incoming), now(), &mut out);
        }
        queue.settle_batch(now(), &mut out);
        if outbox.poll_take(&mut cx, &mut taken, usize::MAX).is_pending() {
            return Err("nothing was dispatched".into());
        }
        for item in taken.drain(..) {
            let Item::Delivery(delivery) = item else { continue };
            let id = delivery.message.as_ref().and_then(|message| message.message_id.clone());
            let Some(last) = id else { continue };
            let ack = Box::new(Ack {
                subscription: delivery.subscription,
                kind: AckKind::Individual,
                range: AckRange::Span { first: None, last },
                count: 1,
                transaction: None,
                rollback_only: None,
                cause: None,
            });
            queue.handle(Op::Ack { ack, receipt: None }, now(), &mut out);
        }
        queue.settle_batch(now(), &mut out);
        out = Effects::default();
    }
    let each = start.elapsed() / u32::try_from(messages)?;
    println!("{consumers:>9}  {groups:>6}  {each:>11.1?}");
    Ok(())
}
