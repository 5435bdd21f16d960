//! What a virtual topic costs with 1, 10 and 100 queues.
//!
//! `cargo bench --bench virtual` (`-- --persistent`: with a store). Each line is a broker of its own, one sender and
//! no consumers: all copies stay, so that the bytes per copy say what copies do not share.

#[path = "../tests/harness/mod.rs"]
mod harness;
mod support;

use broker::client::{Connection, bytes_message};
use broker::jms::Destination;
use harness::Broker;
use std::time::Instant;
use support::Outcome;
use support::process::Usage;

const BODY_BYTES: usize = 1024;

/// Copies made with each number of queues.
const COPIES: u64 = 200_000;

/// Nothing waits for room.
const ROOM: &str = "<systemUsage><systemUsage><memoryUsage><memoryUsage limit='8 gb'/></memoryUsage>\
    </systemUsage></systemUsage>";

const STORE: &str =
    "<persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>";

fn main() -> Outcome<()> {
    let persistent = std::env::args().any(|argument| argument == "--persistent");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("queues  messages/s    copies/s  CPU us/message  CPU us/copy  bytes/copy");
    for queues in [1, 10, 100] {
        runtime.block_on(measure(queues, persistent))?;
    }
    Ok(())
}

async fn measure(queues: u64, persistent: bool) -> Outcome<()> {
    let broker = match persistent {
        true => Broker::start_persistent(&format!("{STORE}{ROOM}")),
        false => Broker::start_with(ROOM),
    };
    let connection = Connection::open(&broker.uri("")).await?;
    let session = connection.session().await?;
    for number in 0..queues {
        let queue = Destination::queue(format!("Consumer.{number}.VirtualTopic.BENCH"));
        // Whoever opens a producer makes the queue.
        session.producer(Some(queue)).await?.close().await?;
    }
    let mut producer = session.producer(Destination::topic("VirtualTopic.BENCH")).await?;
    let body = vec![b'x'; BODY_BYTES];
    let send = async |producer: &mut broker::client::Producer, count: u64| {
        for number in 1..=count {
            let mut message = bytes_message(body.clone());
            message.persistent = persistent;
            // The last one is answered behind all others.
            producer.send(&mut message, number == count).await?;
        }
        Outcome::Ok(())
    };
    let messages = COPIES / queues;
    send(&mut producer, messages / 10).await?;
    let (before, start) = (Usage::of(broker.pid()), Instant::now());
    send(&mut producer, messages).await?;
    let seconds = start.elapsed().as_secs_f64();
    let after = Usage::of(broker.pid());
    let cpu_us = after.cpu_us - before.cpu_us;
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    println!(
        "{queues:6} {:11.0} {:11.0} {:15.2} {:12.2} {:11}",
        messages as f64 / seconds,
        COPIES as f64 / seconds,
        cpu_us / messages as f64,
        cpu_us / COPIES as f64,
        grown / COPIES
    );
    connection.close().await?;
    Ok(())
}
