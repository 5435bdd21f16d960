//! The least that a persistent message can take on this machine: what limits any broker, and this one.
//!
//! `cargo bench --bench floor [folder]`: a program receives 1 KiB with the headers of a message, writes all that has
//! come past the page cache, syncs, and answers each sender; beside it one that only answers, one that answers every
//! hundred messages as to a commit, and a bare loop of writes and syncs. No wire format, no queue, no index. The journal's files go to a temporary folder in `folder`, by
//! default the system's.

mod support;

use broker::store::fs::real::RealFilesystem;
use broker::store::fs::{Access, DiskFile, Filesystem, write_all_at};
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Outcome;
use support::process::Usage;
use tokio::sync::Notify;

const MESSAGE_BYTES: usize = 1024 + 120;
const ANSWER: [u8; 20] = [0; 20];
const FILE_BYTES: u64 = 32 << 20;
const ROUND: Duration = Duration::from_secs(3);
/// Arguments of the process that answers: with the folder it writes to, or at once, and to so many messages each time.
const STORE: &str = "--store=";
const ECHO: &str = "--echo";
const MESSAGES: &str = "--messages=";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    if let Some(messages) = value(MESSAGES) {
        let log = value(STORE).map(|folder| Log::create(Path::new(folder))).transpose()?;
        return answer(log, messages.parse()?);
    }
    let base = arguments.iter().find(|argument| !argument.starts_with('-'));
    let folder = tempfile::tempdir_in(base.map_or_else(std::env::temp_dir, PathBuf::from))?;
    let mut log = Log::create(folder.path())?;
    for messages in [1, 4, 100] {
        let syncs = bare(&mut log, messages)?;
        println!(
            "written and synced, {messages:3} messages at a time: {syncs:6.0}/s, {:4.0} us",
            1e6 / syncs
        );
    }
    println!(
        "{:24} {:>9} {:>8} {:>8} {:>14}",
        "received and answered", "/s", "p50 us", "p99 us", "CPU us/message"
    );
    measure("1 sender, only answered", ECHO, 1, 1)?;
    let store = format!("{STORE}{}", folder.path().display());
    for senders in [1, 8, 32] {
        measure(&format!("{senders} senders"), &store, senders, 1)?;
    }
    measure("1 sender, 100 each time", &store, 1, 100)?;
    Ok(())
}

/// A file of written blocks, gone round.
struct Log {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Log {
    fn create(folder: &Path) -> Outcome<Self> {
        let name = format!("log-{}", std::process::id());
        let file = RealFilesystem.open_log(&folder.join(name), Access::Create)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            write_all_at(&*file, &mut [IoSlice::new(&zeros)], offset)?;
        }
        file.sync()?;
        Ok(Self { file, at: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        if self.at + bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        write_all_at(&*self.file, &mut [IoSlice::new(bytes)], self.at)?;
        self.at += bytes.len() as u64;
        Ok(self.file.sync()?)
    }
}

/// Times in a second that so many messages are written and synced.
fn bare(log: &mut Log, messages: usize) -> Outcome<f64> {
    let bytes = vec![1; messages * MESSAGE_BYTES];
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < ROUND / 3 {
        log.append(&bytes)?;
        count += 1;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// Answers whoever connects, until the process is ended.
fn answer(log: Option<Log>, messages: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(commit(log, Arc::clone(&waiting)));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(receive(Arc::new(stream), messages, Arc::clone(&waiting)));
        }
    })
}

/// Messages that came, and who sent them.
#[derive(Default)]
struct Waiting {
    messages: Mutex<(Vec<u8>, Vec<Arc<tokio::net::TcpStream>>)>,
    came: Notify,
}

async fn receive(stream: Arc<tokio::net::TcpStream>, messages: usize, waiting: Arc<Waiting>) {
    let (mut buffer, mut filled) = (vec![0; messages * MESSAGE_BYTES], 0);
    loop {
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stream.readable().await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
        if filled == buffer.len() {
            filled = 0;
            let mut messages = waiting.messages.lock();
            messages.0.extend_from_slice(&buffer);
            messages.1.push(Arc::clone(&stream));
            waiting.came.notify_one();
        }
    }
}

/// Group commit: what has come is written and synced together, then all are answered.
async fn commit(mut log: Option<Log>, waiting: Arc<Waiting>) {
    loop {
        waiting.came.notified().await;
        let (bytes, senders) = std::mem::take(&mut *waiting.messages.lock());
        if log.as_mut().is_some_and(|log| log.append(&bytes).is_err()) {
            return;
        }
        for sender in senders {
            // Twenty bytes find room while nobody is owed more than one answer.
            drop(sender.try_write(&ANSWER));
        }
    }
}

/// The process that answers; ends with this.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(argument: &str, messages: usize) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(argument).arg(format!("{MESSAGES}{messages}"));
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// `messages` are sent and answered at a time.
fn measure(what: &str, argument: &str, senders: usize, messages: usize) -> Outcome<()> {
    let server = Server::start(argument, messages)?;
    let before = Usage::of(server.process.id());
    let address = server.address;
    let sending: Vec<_> =
        (0..senders).map(|_| std::thread::spawn(move || send(address, messages))).collect();
    let mut latencies = Vec::new();
    for thread in sending {
        latencies.extend(
            thread.join().map_err(|_| "a sender panicked")?.map_err(|error| error.to_string())?,
        );
    }
    let cpu_us = Usage::of(server.process.id()).cpu_us - before.cpu_us;
    latencies.sort_unstable();
    let sent = (latencies.len() * messages) as f64;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{what:24} {:9.0} {:8} {:8} {:14.1}",
        sent / ROUND.as_secs_f64(),
        at(0.5).as_micros(),
        at(0.99).as_micros(),
        cpu_us / sent
    );
    Ok(())
}

/// Sends so many messages, and the next ones when they were answered.
fn send(address: SocketAddr, messages: usize) -> Result<Vec<Duration>, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (bytes, mut answer) = (vec![1; messages * MESSAGE_BYTES], ANSWER);
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    while begin.elapsed() < ROUND {
        let sent = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut answer)?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
