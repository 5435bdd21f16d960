//! What a message of a topic costs with many subscriptions that have selectors.
//!
//! `cargo bench --bench selectors -- [messages]`: for 100 and 10,000 subscriptions, once each with a
//! selector of its own that one message matches, and once with one that has to be evaluated. Compare the
//! ratios of one run, not numbers of two.

mod support;

use broker::broker::destination::{Effects, Op};
use broker::broker::policy::Policy;
use broker::broker::usage::Usage;
use broker::jms::Destination;
use broker::jms::selector::SelectorPool;
use std::sync::Arc;
use std::time::Instant;
use support::Outcome;
use support::destination::{incoming, message, now, topic};

fn main() -> Outcome<()> {
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
) -> Outcome<()> {
    let (policy, usage) = (Arc::new(Policy::default()), Usage::new(0, None));
    let (mut out, pool) = (Effects::default(), SelectorPool::default());
    let start = Instant::now();
    let selectors = (0..subscriptions).map(|number| pool.parse(&text(number)));
    let selectors = selectors.map(|parsed| parsed.map(Some)).collect::<Result<Vec<_>, _>>()?;
    let (mut topic, _) = topic(&policy, &usage, selectors);
    let destination = Destination::topic("T");
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
