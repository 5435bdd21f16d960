//! Subscribers of one topic, with and without selectors, and messages of all sizes through one queue.

use crate::support::Outcome;
use crate::support::flow::{Effort, Flow};
use crate::support::table::Table;
use broker::client::{Connection, bytes_message, set_property};
use broker::jms::Destination;
use broker::jms::properties::PropertyValue;

/// Deliveries that are measured, at least.
const DELIVERIES: u64 = 200_000;

/// Connections that all subscribers share.
const CONNECTIONS: u64 = 20;

pub(crate) async fn plain(sizes: Vec<u64>) -> Outcome<()> {
    let mut table = Table::new(
        "subscribers of one topic, messages of 1 KiB",
        "us/delivery",
        &["subscribers", "joined/s", "KiB each", "deliveries/s", "us/delivery"],
    );
    for subscribers in sizes {
        let broker = crate::start();
        let connections = open(&broker.uri(""), subscribers).await?;
        let (flow, topic) = (Flow::default(), Destination::topic("GROWTH"));
        let before = broker.resident_bytes();
        let join = async {
            for number in 0..subscribers {
                let connection = &connections[(number % CONNECTIONS) as usize % connections.len()];
                flow.receive(connection, topic.clone(), None).await?;
            }
            Outcome::Ok(())
        };
        let ((), joined) = Effort::of(broker.pid(), join).await?;
        let grown = broker.resident_bytes().saturating_sub(before);
        let mut producer = connections[0].session().await?.producer(topic).await?;
        let mut message = bytes_message(vec![7; 1024]);
        message.persistent = false;
        let count = (DELIVERIES / subscribers).max(10);
        flow.send(&mut producer, &mut message, count / 10, subscribers).await?;
        let work = flow.send(&mut producer, &mut message, count, subscribers);
        let ((), worked) = Effort::of(broker.pid(), work).await?;
        let deliveries = (count * subscribers) as f64;
        table.row(&[
            subscribers as f64,
            subscribers as f64 / joined.seconds,
            grown as f64 / 1024.0 / subscribers as f64,
            deliveries / worked.seconds,
            worked.cpu_us / deliveries,
        ]);
    }
    Ok(())
}

/// How each of many consumers says which messages it wants: its own text, whether on a queue.
type Wish = (&'static str, fn(u64) -> String, bool);

const WISHES: [Wish; 3] = [
    ("on a topic, id = 'N'", |n| format!("id = '{n}'"), false),
    ("on a topic, number BETWEEN N AND N", |n| format!("number BETWEEN {n} AND {n}"), false),
    ("on a queue, id = 'N'", |n| format!("id = '{n}'"), true),
];

pub(crate) async fn selecting(sizes: Vec<u64>) -> Outcome<()> {
    for (wish, text, on_queue) in WISHES {
        let mut table = Table::new(
            &format!("selectors, each another one: {wish}; each message is for one of them"),
            "us/message",
            &["selectors", "joined/s", "KiB each", "messages/s", "us/message"],
        );
        for selectors in &sizes {
            table.row(&select(*selectors, text, on_queue).await?);
        }
    }
    Ok(())
}

async fn select(selectors: u64, text: fn(u64) -> String, on_queue: bool) -> Outcome<[f64; 5]> {
    let broker = crate::start();
    let connections = open(&broker.uri(""), selectors).await?;
    let flow = Flow::default();
    let destination =
        if on_queue { Destination::queue("GROWTH") } else { Destination::topic("GROWTH") };
    let before = broker.resident_bytes();
    let join = async {
        for number in 0..selectors {
            let connection = &connections[(number % CONNECTIONS) as usize % connections.len()];
            flow.receive(connection, destination.clone(), Some(&text(number))).await?;
        }
        Outcome::Ok(())
    };
    let ((), joined) = Effort::of(broker.pid(), join).await?;
    let grown = broker.resident_bytes().saturating_sub(before);
    let mut producer = connections[0].session().await?.producer(destination).await?;
    // As many as take a second or so where each selector has to be asked.
    let count = (10_000_000 / selectors).clamp(2000, 50_000);
    let work = async {
        for number in 0..count {
            let mut message = bytes_message(vec![7; 100]);
            message.persistent = false;
            let wanted = number * 7919 % selectors;
            set_property(&mut message, "id", &PropertyValue::String(wanted.to_string().into()))?;
            set_property(&mut message, "number", &PropertyValue::Long(wanted.cast_signed()))?;
            flow.reaches((number + 1).saturating_sub(1000)).await;
            producer.send(&mut message, false).await?;
        }
        flow.reaches(count).await;
        Outcome::Ok(())
    };
    let ((), worked) = Effort::of(broker.pid(), work).await?;
    Ok([
        selectors as f64,
        selectors as f64 / joined.seconds,
        grown as f64 / 1024.0 / selectors as f64,
        count as f64 / worked.seconds,
        worked.cpu_us / count as f64,
    ])
}

async fn open(uri: &str, subscribers: u64) -> Outcome<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..subscribers.min(CONNECTIONS) {
        connections.push(Connection::open(uri).await?);
    }
    Ok(connections)
}

pub(crate) async fn sizes(sizes: Vec<u64>) -> Outcome<()> {
    let mut table = Table::new(
        "bytes of a message, through one queue",
        "us/message",
        &["bytes", "messages/s", "MB/s", "us/message", "us/MB", "MiB resident"],
    );
    for bytes in sizes {
        let broker = crate::start();
        let connections = open(&broker.uri(""), 2).await?;
        let (flow, queue) = (Flow::default(), Destination::queue("GROWTH"));
        flow.receive(&connections[1], queue.clone(), None).await?;
        let mut producer = connections[0].session().await?.producer(queue).await?;
        let mut message = bytes_message(vec![7; usize::try_from(bytes)?]);
        message.persistent = false;
        // 2 GB at most.
        let count = (2_000_000_000 / bytes).clamp(20, 200_000);
        let under_way = (100_000_000 / bytes).clamp(1, 2000);
        let work = async {
            for _ in 0..count.div_ceil(under_way) {
                flow.send(&mut producer, &mut message, under_way, 1).await?;
            }
            Outcome::Ok(())
        };
        let ((), worked) = Effort::of(broker.pid(), work).await?;
        let count = count.next_multiple_of(under_way) as f64;
        let megabytes = count * bytes as f64 / 1e6;
        table.row(&[
            bytes as f64,
            count / worked.seconds,
            megabytes / worked.seconds,
            worked.cpu_us / count,
            worked.cpu_us / megabytes,
            (broker.resident_bytes() >> 20) as f64,
        ]);
    }
    Ok(())
}
