//! How long a request waits for its reply, how soon a broker is there, and what it takes when idle.
//!
//! `cargo bench --bench request -- [requests]`: requests of 1 KiB over a queue, replies over a temporary queue,
//! one requester and one responder in this process; in turn with the same bytes to and fro between this process
//! and one that sends back what comes. A reply passes four sockets, an echo two: two echoes are the least a reply
//! can take.

#[path = "../tests/harness/mod.rs"]
mod harness;
mod support;

use broker::client::{Connection, Consumer, ConsumerOptions, Producer, bytes_message};
use broker::jms::{Destination, Message};
use harness::Broker;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Outcome;
use support::process::Usage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const BODY_BYTES: usize = 1024;
/// Requests and echoes alternate in so many rounds.
const ROUNDS: usize = 5;
/// Argument of the process that sends back.
const ECHO: &str = "--echo";

fn main() -> Outcome<()> {
    if std::env::args().any(|argument| argument == ECHO) {
        return runtime()?.block_on(echo());
    }
    let requests = support::count(10_000)?;
    runtime()?.block_on(run(requests / ROUNDS))
}

fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

async fn run(requests: usize) -> Outcome<()> {
    let started = Instant::now();
    let broker = Broker::start();
    let start = started.elapsed();
    let idle = Usage::of(broker.pid()).resident_bytes;
    println!("started in {:.1} ms, {:.1} MiB resident", start.as_secs_f64() * 1e3, mib(idle));
    let mut requester = Requester::open(&broker.uri("")).await?;
    serve(&broker.uri("")).await?;
    let mut echo = Echo::start()?;
    let mut stream = TcpStream::connect(echo.address).await?;
    stream.set_nodelay(true)?;
    let (mut replies, mut echoes, mut cpu_us) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..=ROUNDS {
        let before = Usage::of(broker.pid());
        for _ in 0..requests {
            let sent = Instant::now();
            requester.request().await?;
            replies.push(sent.elapsed());
        }
        cpu_us += Usage::of(broker.pid()).cpu_us - before.cpu_us;
        for _ in 0..requests {
            let sent = Instant::now();
            ping(&mut stream).await?;
            echoes.push(sent.elapsed());
        }
        if round == 0 {
            // Everything was new to everybody.
            replies.clear();
            echoes.clear();
            cpu_us = 0.0;
        }
    }
    let each = cpu_us / replies.len() as f64;
    tell("bare echo", &mut echoes);
    tell("request and reply", &mut replies);
    println!("broker: {each:.1} us CPU for each reply");
    println!("p50 of a reply is {:.2} times that of an echo", ratio(&replies, &echoes));
    echo.child.kill()?;
    echo.child.wait()?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn at(latencies: &[Duration], share: f64) -> Duration {
    latencies[((latencies.len() - 1) as f64 * share) as usize]
}

fn tell(what: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| at(latencies, share));
    let rate = 1.0 / (latencies.iter().sum::<Duration>().as_secs_f64() / latencies.len() as f64);
    println!("{what:18} p50 {p50:>9.1?}   p99 {p99:>9.1?}   p99.9 {p999:>9.1?}   {rate:>7.0}/s");
}

fn ratio(replies: &[Duration], echoes: &[Duration]) -> f64 {
    at(replies, 0.5).as_secs_f64() / at(echoes, 0.5).as_secs_f64()
}

struct Requester {
    _connection: Connection,
    producer: Producer,
    replies: Consumer,
    request: Message,
}

impl Requester {
    async fn open(uri: &str) -> Outcome<Self> {
        let connection = Connection::open(uri).await?;
        let session = connection.session().await?;
        let reply_to = connection.temporary_queue().await?;
        let replies = session.consumer(reply_to.clone(), ConsumerOptions::default()).await?;
        let producer = session.producer(Destination::queue("REQUEST")).await?;
        let request = Message {
            persistent: false,
            reply_to: Some(reply_to),
            ..bytes_message(vec![7; BODY_BYTES])
        };
        Ok(Self { _connection: connection, producer, replies, request })
    }

    async fn request(&mut self) -> Outcome<()> {
        self.producer.send(&mut self.request, false).await?;
        let reply = self.replies.receive().await?;
        Ok(self.replies.ack(&reply).await?)
    }
}

/// Answers each request, in a task.
async fn serve(uri: &str) -> Outcome<()> {
    let connection = Connection::open(uri).await?;
    let session = connection.session().await?;
    let destination = Destination::queue("REQUEST");
    let mut requests = session.consumer(destination, ConsumerOptions::default()).await?;
    let mut producer = session.producer(None).await?;
    tokio::spawn(async move {
        let _connection = connection;
        let mut reply = Message { persistent: false, ..bytes_message(vec![7; BODY_BYTES]) };
        while let Ok(request) = requests.receive().await {
            reply.destination = request.message.as_ref().and_then(|m| m.reply_to.clone());
            if producer.send(&mut reply, false).await.is_err()
                || requests.ack(&request).await.is_err()
            {
                return;
            }
        }
    });
    Ok(())
}

/// The process that sends back what comes.
struct Echo {
    child: Child,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(ECHO).stdout(Stdio::piped()).spawn()?;
        let mut port = [0; 2];
        child.stdout.take().ok_or("no output")?.read_exact(&mut port)?;
        Ok(Self { child, address: ([127, 0, 0, 1], u16::from_be_bytes(port)).into() })
    }
}

async fn echo() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    std::io::stdout().write_all(&listener.local_addr()?.port().to_be_bytes())?;
    std::io::stdout().flush()?;
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; BODY_BYTES];
    while stream.read_exact(&mut bytes).await.is_ok() {
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

async fn ping(stream: &mut TcpStream) -> Outcome<()> {
    let mut bytes = [7; BODY_BYTES];
    stream.write_all(&bytes).await?;
    stream.read_exact(&mut bytes).await?;
    Ok(())
}
