//! Queues that one producer goes round, and one consumer of all of them.

use crate::support::Outcome;
use crate::support::flow::{Effort, Flow};
use crate::support::table::Table;
use broker::client::{Connection, bytes_message};
use broker::jms::Destination;

/// Messages that are sent to all queues together, at least.
const MESSAGES: u64 = 100_000;

pub(crate) async fn table(sizes: Vec<u64>) -> Outcome<()> {
    let title = "queues: made by a first message of 100 bytes each, sent to in turn, then drained through one wildcard";
    let mut table = Table::new(
        title,
        "send us",
        &["queues", "made/s", "KiB each", "send/s", "send us", "drain/s", "drain us"],
    );
    for queues in sizes {
        let broker = crate::start();
        let connection = Connection::open(&broker.uri("")).await?;
        let mut producer = connection.session().await?.producer(None).await?;
        let mut message = bytes_message(vec![7; 100]);
        message.persistent = false;
        let mut send = async |count: u64| {
            for number in 0..count {
                message.destination =
                    Some(Destination::queue(format!("GROWTH.{}", number % queues)));
                // The last one is answered behind all others.
                producer.send(&mut message, number + 1 == count).await?;
            }
            Outcome::Ok(())
        };
        let before = broker.resident_bytes();
        let ((), made) = Effort::of(broker.pid(), send(queues)).await?;
        let grown = broker.resident_bytes().saturating_sub(before);
        let count = MESSAGES.max(queues);
        let ((), sent) = Effort::of(broker.pid(), send(count)).await?;
        let (flow, all) = (Flow::default(), queues + count);
        let drain = async {
            flow.receive(&connection, Destination::queue("GROWTH.>"), None).await?;
            flow.reaches(all).await;
            Outcome::Ok(())
        };
        let ((), drained) = Effort::of(broker.pid(), drain).await?;
        table.row(&[
            queues as f64,
            queues as f64 / made.seconds,
            grown as f64 / 1024.0 / queues as f64,
            count as f64 / sent.seconds,
            sent.cpu_us / count as f64,
            all as f64 / drained.seconds,
            drained.cpu_us / all as f64,
        ]);
        connection.close().await?;
    }
    Ok(())
}
