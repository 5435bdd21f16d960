//! What the broker takes from the heap for a message, in the steady state.
//!
//! `cargo bench --bench heap`: a broker in this process; the threads of the clients are left out of the count.

mod support;

use broker::client::{Connection, bytes_message, set_property};
use broker::config::{self, Variables};
use broker::jms::properties::PropertyValue;
use broker::jms::{Destination, Message};
use broker::server::Server;
use support::Outcome;
use support::allocations::{Counting, Heap};
use support::flow::Flow;
use tempfile::tempdir;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static HEAP: Counting = Counting;

const MESSAGES: u64 = 50_000;

struct Work {
    name: &'static str,
    destination: fn() -> Destination,
    consumers: u64,
    persistent: bool,
    properties: bool,
}

const QUEUE: Work = Work {
    name: "queue",
    destination: || Destination::queue("HEAP"),
    consumers: 1,
    persistent: false,
    properties: false,
};

const WORK: [Work; 5] = [
    QUEUE,
    Work { name: "queue, with properties", properties: true, ..QUEUE },
    Work { name: "queue, persistent", persistent: true, ..QUEUE },
    Work { name: "topic, 1 subscriber", destination: || Destination::topic("HEAP"), ..QUEUE },
    Work {
        name: "topic, 10 subscribers",
        destination: || Destination::topic("HEAP"),
        consumers: 10,
        ..QUEUE
    },
];

fn main() -> Outcome<()> {
    Heap::leave_out_thread();
    println!(
        "{:28} {:>20} {:>14}",
        "1 KiB, not waited for", "allocations/message", "bytes/message"
    );
    for work in WORK {
        let folder = tempdir()?;
        let text = CONFIG.replace("DATA", &folder.path().display().to_string());
        let file = folder.path().join("activemq.xml");
        let config = config::parse(&text, &file, Variables::from_pairs([]))?;
        let broker = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let server = broker.block_on(Server::start(&config, || {}))?;
        let port = server.addresses().first().ok_or("no connector")?.1.port();
        let clients = Builder::new_current_thread().enable_all().build()?;
        let taken = clients.block_on(measure(&work, port))?;
        println!(
            "{:28} {:>20.2} {:>14.0}",
            work.name,
            taken.allocations as f64 / MESSAGES as f64,
            taken.bytes as f64 / MESSAGES as f64
        );
        drop(clients);
        stop(&broker, server);
    }
    Ok(())
}

fn stop(broker: &Runtime, server: Server) {
    broker.block_on(server.stop());
}

async fn measure(work: &Work, port: u16) -> Outcome<Heap> {
    let uri = format!("tcp://127.0.0.1:{port}");
    let (flow, destination) = (Flow::default(), (work.destination)());
    let mut consumers = Vec::new();
    for _ in 0..work.consumers {
        let connection = Connection::open(&uri).await?;
        flow.receive(&connection, destination.clone(), None).await?;
        consumers.push(connection);
    }
    let connection = Connection::open(&uri).await?;
    let mut producer = connection.session().await?.producer(destination).await?;
    let mut message = Message { persistent: work.persistent, ..bytes_message(vec![7; 1024]) };
    if work.properties {
        for name in ["region", "customer"] {
            set_property(&mut message, name, &PropertyValue::String("north".into()))?;
        }
    }
    flow.send(&mut producer, &mut message, MESSAGES / 5, work.consumers).await?;
    let before = Heap::taken();
    flow.send(&mut producer, &mut message, MESSAGES, work.consumers).await?;
    Ok(Heap::taken() - before)
}

const CONFIG: &str = r#"<beans xmlns="http://www.springframework.org/schema/beans">
  <broker xmlns="http://activemq.apache.org/schema/core" dataDirectory="DATA/data">
    <persistenceAdapter><kahaDB directory="DATA/data/kahadb"/></persistenceAdapter>
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:0"/>
    </transportConnectors>
  </broker>
</beans>
"#;
