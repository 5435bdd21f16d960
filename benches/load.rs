//! Loads a whole broker over OpenWire and tells rates, latencies and what the broker used.
//!
//! `cargo bench --bench load -- --help`. It runs against any OpenWire broker:
//!
//! ```text
//! cargo bench --bench load -- --url tcp://localhost:61616 --pid 4711 --producers 8 --persistent
//! cargo bench --bench load -- --producers 0 --consumers 1 --count 1000000          drains a backlog
//! ```
//!
//! Latencies are from the moment a message was due, not from the moment it could be sent at last: with
//! `--rate` a broker that stalls pays for all that should have been sent meanwhile.

mod support;

use broker::client::{Connection, ConsumerOptions, bytes_message};
use broker::jms::{AckKind, Destination};
use bytes::BytesMut;
use clap::Parser;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::Outcome;
use support::process::Usage;
use tokio::task::JoinSet;

/// As the broker itself has it: what the clients take is not to be the limit.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Loads an OpenWire broker.
#[derive(Clone, Debug, Parser)]
struct Args {
    #[arg(long, default_value = "tcp://127.0.0.1:61616")]
    url: String,
    /// Process of the broker: its CPU time and memory are told as well
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, default_value = "LOAD")]
    destination: String,
    /// A topic instead of a queue
    #[arg(long)]
    topic: bool,
    /// Consumers are durable subscribers
    #[arg(long)]
    durable: bool,
    /// Each producer, and consumer, has a destination of its own
    #[arg(long)]
    own: bool,
    /// Each producer goes round so many destinations
    #[arg(long, default_value_t = 1)]
    destinations: u64,
    /// Connections that send
    #[arg(long, default_value_t = 1)]
    producers: u64,
    /// Connections that receive
    #[arg(long, default_value_t = 0)]
    consumers: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 1024)]
    size: usize,
    #[arg(long)]
    persistent: bool,
    /// Sends without waiting for an answer, at most so many that are not received yet; 0: each send waits
    #[arg(long, default_value_t = 0)]
    window: u64,
    /// Sends so many in a transaction
    #[arg(long, default_value_t = 0)]
    transaction: u64,
    #[arg(long, default_value_t = 1000)]
    prefetch: i32,
    /// Messages a producer sends in a second; 0: as many as it can
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Ends after so many messages, all of them measured, instead of a time
    #[arg(long)]
    count: Option<u64>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all tasks share.
struct Run {
    args: Args,
    measuring: AtomicBool,
    over: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    /// Sent and received since the start, for the window and the count.
    sent_ever: AtomicU64,
    received_ever: AtomicU64,
}

/// Latencies in microseconds.
#[derive(Default)]
struct Latencies(Vec<u32>);

impl Latencies {
    fn note(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    fn tell(mut self, what: &str) {
        if self.0.is_empty() {
            return;
        }
        self.0.sort_unstable();
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize];
        println!(
            "{what:9} p50 {:>7} us   p99 {:>7} us   p99.9 {:>7} us   max {:>7} us",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load(args))
}

async fn load(args: Args) -> Outcome<()> {
    let run = Arc::new(Run {
        measuring: AtomicBool::new(args.count.is_some()),
        over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        sent_ever: AtomicU64::new(0),
        received_ever: AtomicU64::new(0),
        args: args.clone(),
    });
    let mut consumers = JoinSet::new();
    for number in 0..args.consumers {
        let consumer = Receiving::open(Arc::clone(&run), number).await?;
        consumers.spawn(consumer.run());
    }
    let mut producers = JoinSet::new();
    for number in 0..args.producers {
        producers.spawn(produce(Arc::clone(&run), number));
    }
    if args.count.is_none() {
        tokio::time::sleep(Duration::from_secs(args.warmup)).await;
        run.measuring.store(true, Ordering::Relaxed);
    }
    let (start, before) = (Instant::now(), args.pid.map(Usage::of));
    if args.count.is_none() {
        tokio::time::sleep(Duration::from_secs(args.seconds)).await;
        run.measuring.store(false, Ordering::Relaxed);
        run.over.store(true, Ordering::Relaxed);
    }
    let mut send_latencies = Latencies::default();
    while let Some(latencies) = producers.join_next().await {
        send_latencies.0.extend(latencies??.0);
    }
    let mut latencies = Latencies::default();
    if args.count.is_some() {
        while let Some(of_one) = consumers.join_next().await {
            latencies.0.extend(of_one??.0);
        }
    }
    let (seconds, after) = (start.elapsed().as_secs_f64(), args.pid.map(Usage::of));
    let seconds = if args.count.is_none() { args.seconds as f64 } else { seconds };
    while let Some(of_one) = consumers.join_next().await {
        latencies.0.extend(of_one??.0);
    }
    let (sent, received) = (run.sent.load(Ordering::Relaxed), run.received.load(Ordering::Relaxed));
    println!("sent      {:10.0} messages/s", sent as f64 / seconds);
    if args.consumers > 0 {
        println!("received  {:10.0} messages/s", received as f64 / seconds);
    }
    send_latencies.tell(if args.transaction > 0 { "commit" } else { "send" });
    latencies.tell("delivery");
    if let (Some(before), Some(after)) = (before, after) {
        let cpu_us = after.cpu_us - before.cpu_us;
        let messages = sent.max(received).max(1);
        println!(
            "broker    {:10.2} us CPU/message   {} MiB resident",
            cpu_us / messages as f64,
            after.resident_bytes >> 20
        );
    }
    Ok(())
}

fn destination(args: &Args, number: u64) -> Destination {
    let name = match args.own {
        true => format!("{}.{number}", args.destination),
        false => args.destination.clone(),
    };
    if args.topic || args.durable { Destination::topic(name) } else { Destination::queue(name) }
}

fn wall_us() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)
}

async fn produce(run: Arc<Run>, number: u64) -> Outcome<Latencies> {
    let args = &run.args;
    let connection = Connection::open(&args.url).await?;
    let session = connection.session().await?;
    let fixed = (args.destinations == 1).then(|| destination(args, number));
    let mut producer = session.producer(fixed).await?;
    let mut message = bytes_message(vec![b'x'; args.size.max(8)]);
    message.persistent = args.persistent;
    let waits = args.window == 0 && args.transaction == 0;
    let mut latencies = Latencies::default();
    let start = Instant::now();
    let mut mine = 0_u64;
    let last = args.count.map(|count| count / args.producers.max(1));
    while !run.over.load(Ordering::Relaxed) && last.is_none_or(|last| mine < last) {
        let due = match args.rate {
            0 => waits.then(Instant::now),
            rate => Some(start + Duration::from_secs_f64(mine as f64 / rate as f64)),
        };
        if let (1.., Some(due)) = (args.rate, due) {
            tokio::time::sleep_until(due.into()).await;
        }
        while args.window > 0
            && args.consumers > 0
            && !run.over.load(Ordering::Relaxed)
            && run.sent_ever.load(Ordering::Relaxed) * fan_out(args)
                >= run.received_ever.load(Ordering::Relaxed) + args.window * fan_out(args)
        {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        if args.transaction > 0 && mine.is_multiple_of(args.transaction) {
            session.begin().await?;
        }
        if args.consumers > 0 {
            // The memory of the last one, unless that still waits to be written.
            let mut body = match message.content.take().unwrap_or_default().try_into_mut() {
                Ok(body) => body,
                Err(written) => BytesMut::from(&written[..]),
            };
            body[..8].copy_from_slice(&wall_us().to_le_bytes());
            message.content = Some(body.freeze());
        }
        if args.destinations > 1 {
            let name = format!("{}.{}", args.destination, mine % args.destinations);
            message.destination = Some(Destination::queue(name));
        }
        producer.send(&mut message, waits).await?;
        mine += 1;
        let ends = args.transaction > 0 && mine.is_multiple_of(args.transaction);
        let begin = if ends { Some(Instant::now()) } else { due };
        if ends {
            session.commit().await?;
        }
        run.sent_ever.fetch_add(1, Ordering::Relaxed);
        if run.measuring.load(Ordering::Relaxed) {
            run.sent.fetch_add(1, Ordering::Relaxed);
            if let (true, Some(begin)) = (waits || ends, begin) {
                latencies.note(begin.elapsed());
            }
        }
    }
    connection.close().await?;
    Ok(latencies)
}

/// How many consumers get each message.
fn fan_out(args: &Args) -> u64 {
    if args.topic || args.durable { args.consumers.max(1) } else { 1 }
}

struct Receiving {
    run: Arc<Run>,
    connection: Connection,
    consumer: broker::client::Consumer,
}

impl Receiving {
    async fn open(run: Arc<Run>, number: u64) -> Outcome<Self> {
        let args = &run.args;
        let mut options = broker::client::Options::parse(&args.url)?;
        if args.durable {
            options.client_id = Some(format!("load-{number}").into());
        }
        let connection = Connection::connect(&options).await?;
        let session = connection.session().await?;
        let durable = args.durable.then(|| "load".into());
        let wanted = ConsumerOptions { prefetch: args.prefetch, durable, ..Default::default() };
        let consumer = session.consumer(destination(args, number), wanted).await?;
        Ok(Self { run, connection, consumer })
    }

    async fn run(mut self) -> Outcome<Latencies> {
        let (run, mut latencies, mut batch) = (self.run, Latencies::default(), Vec::new());
        let all = run.args.count.map(|count| count * fan_out(&run.args));
        loop {
            let wait = tokio::time::timeout(POLL, self.consumer.receive_all(&mut batch));
            match wait.await {
                Ok(came) => came?,
                Err(_) if run.over.load(Ordering::Relaxed) => break,
                Err(_)
                    if all.is_some_and(|all| run.received_ever.load(Ordering::Relaxed) >= all) =>
                {
                    break;
                }
                Err(_) => continue,
            }
            // As the Java client does with its default prefetch: half a window at a time.
            let at_once = usize::try_from(run.args.prefetch / 2).unwrap_or(1).max(1);
            for part in batch.chunks(at_once) {
                let [first, .., last] = part else {
                    self.consumer.ack(&part[0]).await?;
                    continue;
                };
                let count = i32::try_from(part.len()).unwrap_or(i32::MAX);
                self.consumer.acknowledge(AckKind::Standard, first, last, count, false).await?;
            }
            run.received_ever.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if run.measuring.load(Ordering::Relaxed) {
                run.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
                let now = wall_us();
                for dispatch in &batch {
                    let content = dispatch.message.as_ref().and_then(|m| m.content.as_ref());
                    if let Some(at) = content.and_then(|content| content.first_chunk()) {
                        let latency = now.saturating_sub(u64::from_le_bytes(*at));
                        latencies.note(Duration::from_micros(latency));
                    }
                }
            }
            batch.clear();
            if all.is_some_and(|all| run.received_ever.load(Ordering::Relaxed) >= all) {
                break;
            }
        }
        self.connection.close().await?;
        Ok(latencies)
    }
}

/// How often a consumer that gets nothing looks whether it is over.
const POLL: Duration = Duration::from_millis(100);
