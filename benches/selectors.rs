//! What a message of a topic costs with many subscriptions that have selectors.
//!
//! `cargo bench --bench selectors -- [messages]`: for 100 and 10,000 subscriptions, once each with a
//! selector of its own that one message matches, and once with one that has to be evaluated. Compare the
//! ratios of one run, not numbers of two.

mod support;

use broker::broker::destination::queue::History;
use broker::broker::destination::subscription::{Memory, TopicSubscription};
use broker::broker::destination::topic::{Topic, TopicMember};
use broker::broker::destination::{Effects, Op};
use broker::broker::outbox::{Outbox, SubscriptionKey};
use broker::broker::policy::Policy;
use broker::broker::usage::Usage;
use broker::jms::selector::SelectorPool;
use broker::jms::{ConsumerInfo, Destination};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use support::{context, incoming, message, now, outlet};

fn main() -> Result<(), Box<dyn Error>> {
    let messages = support::count(20_000)?;
    println!("subscriptions  selectors                      per message  parsed in");
    for subscriptions in [100, 10_000] {
        for (name, text) in [
            (
                "id = 'N', one each",
                (|n| format!("id = 'c{n}' AND size > 3")) as fn(usize) -> String,
            ),
            ("number = N, one each", |n| format!("number = {n} AND size > 3")),
            ("other < N, one each", |n| format!("other < {n}")),
            ("other < 0, all the same", |_| "other < 0".into()),
        ] {
            run(subscriptions, name, text, messages)?;
        }
    }
    Ok(())
}

fn run(
    subscriptions: usize,
    name: &str,
    text: fn(usize) -> String,
    messages: usize,
) -> Result<(), Box<dyn Error>> {
    let usage = Usage::new(0, None);
    let policy = Arc::new(Policy::default());
    let destination = Destination::topic("T");
    let mut topic = Topic::new(context(destination.clone(), &policy, &usage), History::default());
    let (mut out, pool, outbox) = (Effects::default(), SelectorPool::default(), Arc::default());
    let start = Instant::now();
    for number in 0..subscriptions {
        let info = ConsumerInfo {
            destination: Some(destination.clone()),
            prefetch_size: i32::MAX,
            ..ConsumerInfo::default()
        };
        let selector = Some(pool.parse(&text(number))?);
        let memory = Memory { usage: Arc::clone(&usage), spool: None, outlet: outlet() };
        let key = SubscriptionKey(number as u64);
        let outbox: &Arc<Outbox> = &outbox;
        let plain = TopicSubscription::new(
            key,
            Arc::new(info),
            selector,
            Arc::clone(outbox),
            Arc::clone(&policy),
            memory,
        );
        topic.handle(
            Op::Join { member: TopicMember::Plain(plain), receipt: None },
            now(),
            &mut out,
        );
    }
    let joined = start.elapsed();
    // As many as make a run of about a second where each has to be asked.
    let messages = if name.contains(" = ") { messages } else { messages * 100 / subscriptions };
    let messages = messages.max(10);
    let ready: Vec<_> = (0..messages)
        .map(|n| incoming(message(&destination, n, &format!("c{}", n % subscriptions))))
        .collect();
    let start = Instant::now();
    for incoming in ready {
        topic.handle(Op::Send(incoming), now(), &mut out);
        topic.settle_batch(now(), &mut out);
    }
    let each = start.elapsed() / u32::try_from(messages)?;
    println!("{subscriptions:>13}  {name:<29}  {each:>11.1?}  {joined:.1?}");
    Ok(())
}
