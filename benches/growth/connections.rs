//! Connections that do nothing, beside one that sends and one that receives.

use crate::support::Outcome;
use crate::support::flow::{Effort, Flow};
use crate::support::table::Table;
use broker::client::{Connection, bytes_message};
use broker::jms::Destination;
use std::time::Duration;
use tokio::task::JoinSet;

const MESSAGES: u64 = 100_000;

/// Connections opened at the same time.
const OPENING: usize = 50;

/// How long nothing is done: until every connection has been found idle once.
const IDLE: Duration = Duration::from_secs(25);

pub(crate) async fn table(sizes: Vec<u64>) -> Outcome<()> {
    let mut table = Table::new(
        "connections: idle ones, beside a sender and a receiver of 1 KiB messages through a queue",
        "us/message",
        &[
            "connections",
            "opened/s",
            "KiB each",
            "KiB idle",
            "idle CPU %",
            "messages/s",
            "us/message",
        ],
    );
    for connections in sizes {
        let broker = crate::start();
        let (from, to) = (open(broker.uri("")).await?, open(broker.uri("")).await?);
        let before = broker.resident_bytes();
        let (idle, opened) =
            Effort::of(broker.pid(), open_all(broker.uri(""), connections)).await?;
        let opened_bytes = broker.resident_bytes().saturating_sub(before);
        let rest = async {
            tokio::time::sleep(IDLE).await;
            Outcome::Ok(())
        };
        let ((), rested) = Effort::of(broker.pid(), rest).await?;
        let idle_bytes = broker.resident_bytes().saturating_sub(before);
        let (flow, queue) = (Flow::default(), Destination::queue("GROWTH"));
        flow.receive(&to, queue.clone(), None).await?;
        let mut producer = from.session().await?.producer(queue).await?;
        let mut message = bytes_message(vec![7; 1024]);
        message.persistent = false;
        flow.send(&mut producer, &mut message, MESSAGES / 10, 1).await?;
        let work = flow.send(&mut producer, &mut message, MESSAGES, 1);
        let ((), worked) = Effort::of(broker.pid(), work).await?;
        table.row(&[
            connections as f64,
            connections as f64 / opened.seconds,
            opened_bytes as f64 / 1024.0 / connections as f64,
            idle_bytes as f64 / 1024.0 / connections as f64,
            rested.cpu_us / 1e4 / rested.seconds,
            MESSAGES as f64 / worked.seconds,
            worked.cpu_us / MESSAGES as f64,
        ]);
        drop(idle);
    }
    Ok(())
}

/// A connection with a session, which is open as long as the connection is.
async fn open(uri: String) -> Outcome<Connection> {
    let connection = Connection::open(&uri).await?;
    drop(connection.session().await?);
    Ok(connection)
}

async fn open_all(uri: String, count: u64) -> Outcome<Vec<Connection>> {
    let (mut opening, mut open_ones) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        if opening.len() >= OPENING
            && let Some(opened) = opening.join_next().await
        {
            open_ones.push(opened??);
        }
        opening.spawn(open(uri.clone()));
    }
    while let Some(opened) = opening.join_next().await {
        open_ones.push(opened??);
    }
    Ok(open_ones)
}
