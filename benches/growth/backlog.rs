//! Persistent messages that wait in one queue, through a `kill -9`.

use crate::harness::Broker;
use crate::support::Outcome;
use crate::support::flow::{Effort, Flow};
use crate::support::table::Table;
use broker::client::{Connection, bytes_message};
use broker::jms::Destination;
use std::time::Instant;
use tokio::task::JoinSet;

const BODY_BYTES: usize = 1024;
const PRODUCERS: u64 = 4;
const TRANSACTION: u64 = 100;

/// Messages that are drained.
const DRAINED_MAX: u64 = 200_000;

const ELEMENTS: &str = "<persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>\
    <systemUsage><systemUsage><memoryUsage><memoryUsage limit='256 mb'/></memoryUsage></systemUsage></systemUsage>";

pub(crate) async fn table(sizes: Vec<u64>) -> Outcome<()> {
    let mut table = Table::new(
        "backlog: persistent messages of 1 KiB on one queue, kill -9, start, the first 200,000 drained",
        "drain us",
        &[
            "messages",
            "fill/s",
            "fill us",
            "MiB then",
            "start ms",
            "drain/s",
            "drain us",
            "MiB after",
        ],
    );
    for messages in sizes.into_iter().filter(|size| *size >= PRODUCERS * TRANSACTION) {
        let messages = messages / (PRODUCERS * TRANSACTION) * (PRODUCERS * TRANSACTION);
        let mut broker = Broker::start_persistent(ELEMENTS);
        let ((), filled) = Effort::of(broker.pid(), fill(broker.uri(""), messages)).await?;
        let resident = broker.resident_bytes() >> 20;
        broker.kill9();
        let start = Instant::now();
        broker.restart();
        let start_ms = start.elapsed().as_secs_f64() * 1e3;
        let (flow, drained) = (Flow::default(), messages.min(DRAINED_MAX));
        let connection = Connection::open(&broker.uri("")).await?;
        let drain = async {
            flow.receive(&connection, Destination::queue("GROWTH"), None).await?;
            flow.reaches(drained).await;
            Outcome::Ok(())
        };
        let ((), drain) = Effort::of(broker.pid(), drain).await?;
        table.row(&[
            messages as f64,
            messages as f64 / filled.seconds,
            filled.cpu_us / messages as f64,
            resident as f64,
            start_ms,
            drained as f64 / drain.seconds,
            drain.cpu_us / drained as f64,
            (broker.resident_bytes() >> 20) as f64,
        ]);
    }
    Ok(())
}

async fn fill(uri: String, messages: u64) -> Outcome<()> {
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        producers.spawn(produce(uri.clone(), messages / PRODUCERS));
    }
    while let Some(produced) = producers.join_next().await {
        produced??;
    }
    Ok(())
}

async fn produce(uri: String, messages: u64) -> Outcome<()> {
    let connection = Connection::open(&uri).await?;
    let session = connection.session().await?;
    let mut producer = session.producer(Destination::queue("GROWTH")).await?;
    let mut message = bytes_message(vec![7; BODY_BYTES]);
    for _ in 0..messages / TRANSACTION {
        session.begin().await?;
        for _ in 0..TRANSACTION {
            producer.send(&mut message, false).await?;
        }
        session.commit().await?;
    }
    connection.close().await?;
    Ok(())
}
