//! What a million scheduled messages cost: to add, in memory, to find at the next start, to deliver.
//!
//! `cargo bench --bench scheduler -- [messages]`: messages of 200 bytes, sent by 4 connections that do not
//! wait, to a broker of its own in a temporary folder. Compare ratios of one run, not numbers of two.

mod support;

use broker::client::{Connection, ConsumerOptions, Options, bytes_message, set_property};
use broker::jms::properties::PropertyValue;
use broker::jms::{AckKind, Destination};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use support::Outcome;
use support::process::Usage;

const BODY_BYTES: usize = 200;
const CONNECTIONS: usize = 4;
/// Sends under way per connection.
const WINDOW: usize = 200;
/// They are all due that long after the bench began to send.
const DELAY: Duration = Duration::from_secs(75);

fn main() -> Outcome<()> {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let jobs: usize = given.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(jobs))
}

/// A broker process, which ends with this.
struct Broker {
    child: Child,
    _output: BufReader<ChildStdout>,
    port: u16,
}

impl Broker {
    fn start(folder: &Path) -> Outcome<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_broker"))
            .arg("start")
            .arg("--config")
            .arg(folder.join("activemq.xml"))
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().ok_or("the broker has no output")?;
        let mut output = BufReader::new(output);
        loop {
            let mut line = String::new();
            if output.read_line(&mut line)? == 0 {
                return Err("the broker did not start".into());
            }
            if let Some((_, rest)) = line.split_once("Connector openwire listens at ") {
                let port = rest.trim().rsplit(':').next().unwrap_or_default();
                let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
                return Ok(Self { child, _output: output, port: digits.parse()? });
            }
        }
    }

    /// Memory of the process, MiB.
    fn memory(&self) -> u64 {
        Usage::of(self.child.id()).resident_bytes >> 20
    }

    async fn connect(&self) -> Outcome<Connection> {
        Ok(Connection::connect(&Options::new("127.0.0.1", self.port)).await?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn run(jobs: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("activemq.xml"), CONFIG)?;
    let broker = Broker::start(folder.path())?;
    let before = broker.memory();
    let start = Instant::now();
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = broker.connect().await?;
        senders.push(tokio::spawn(send(connection, jobs / CONNECTIONS, start)));
    }
    for sender in senders {
        sender.await??;
    }
    report("added", jobs, start.elapsed());
    let after = broker.memory();
    println!("memory: {before} MiB before, {after} MiB with them");
    drop(broker);
    let began = Instant::now();
    let broker = Broker::start(folder.path())?;
    println!("started again in {} ms", began.elapsed().as_millis());
    let connection = broker.connect().await?;
    let session = connection.session().await?;
    let options = ConsumerOptions::default();
    let mut consumer = session.consumer(Destination::queue("BENCH"), options).await?;
    let (mut got, mut first) = (0, None);
    let mut batch = Vec::new();
    while got < jobs / CONNECTIONS * CONNECTIONS {
        consumer.receive_all(&mut batch).await?;
        if first.is_none() {
            println!("memory: {} MiB when the first one is due", broker.memory());
            first = Some(Instant::now());
        }
        got += batch.len();
        if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
            let count = i32::try_from(batch.len())?;
            consumer.acknowledge(AckKind::Standard, first, last, count, false).await?;
        }
        batch.clear();
    }
    report("delivered", got, first.map_or(Duration::ZERO, |first| first.elapsed()));
    Ok(())
}

async fn send(connection: Connection, jobs: usize, start: Instant) -> Outcome<()> {
    let session = connection.session().await?;
    let mut producer = session.producer(Destination::queue("BENCH")).await?;
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..jobs {
        let left = DELAY.saturating_sub(start.elapsed()).as_millis();
        let delay = PropertyValue::Long(i64::try_from(left)?.max(1));
        let mut message = bytes_message(vec![7; BODY_BYTES]);
        set_property(&mut message, "AMQ_SCHEDULED_DELAY", &delay)?;
        under_way.push_back(producer.submit(&mut message).await?);
        if under_way.len() >= WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.done().await?;
        }
    }
    for receipt in under_way {
        receipt.done().await?;
    }
    connection.close().await?;
    Ok(())
}

fn report(what: &str, messages: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a million is exact")]
    let per_second = messages as f64 / took.as_secs_f64();
    println!("{what} {messages} in {:.1} s: {per_second:.0} a second", took.as_secs_f64());
}

const CONFIG: &str = r#"<beans xmlns="http://www.springframework.org/schema/beans">
  <broker xmlns="http://activemq.apache.org/schema/core" schedulerSupport="true" dataDirectory="data">
    <persistenceAdapter><kahaDB directory="data/kahadb"/></persistenceAdapter>
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:0"/>
    </transportConnectors>
  </broker>
</beans>
"#;
