//! How fast the store is, and how much memory a backlog takes.
//!
//! `cargo bench --bench store -- [folder] [messages]`: messages of 1 KiB each; a million unless
//! told, for ten million there must be 12 GB of space. Compare ratios of one run, not numbers of
//! two.

use broker::jms::{Destination, Message, MessageId, ProducerId};
use broker::store::kahadb::fs::real::RealFilesystem;
use broker::store::kahadb::{KahaDb, KahaDbOptions};
use broker::store::{
    Fetch, MessageForm, Page, PageLimit, Store, StoreError, StoreEvents, StoreOp, StoredAdd, Submit,
};
use bytes::{BufMut, Bytes};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Bytes of a stored message.
const MESSAGE_BYTES: usize = 1024;
/// Messages of one submit, and submits under way, of a producer that does not wait.
const SUBMIT: i64 = 50;
const WINDOW: usize = 64;
const PAGE: usize = 200;

struct Nobody;

impl StoreEvents for Nobody {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, error: &StoreError) {
        eprintln!("{error}");
    }
}

const FORM: MessageForm = MessageForm {
    version: 12,
    encode: |message, out| out.put_slice(message.content.as_deref().unwrap_or_default()),
    decode: |bytes| Some(Message { content: Some(bytes), ..Message::default() }),
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let base = given.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let backlog: i64 = given.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let folder = tempfile::tempdir_in(base)?;
    add_and_remove(&folder.path().join("flow"))?;
    with_backlog(&folder.path().join("backlog"), backlog)
}

fn open(folder: &Path) -> Result<Arc<KahaDb>, Box<dyn Error>> {
    let options = KahaDbOptions { directory: folder.into(), ..KahaDbOptions::default() };
    Ok(KahaDb::open(Arc::new(RealFilesystem), options, FORM, Arc::new(Nobody))?)
}

fn add(destination: &Destination, sequence: i64, body: &Bytes) -> StoreOp {
    let producer = ProducerId { connection: Some("ID:bench".into()), session: 1, value: 1 };
    let id =
        MessageId { producer: Some(producer), producer_sequence: sequence, ..MessageId::default() };
    let message =
        Message { message_id: Some(id), content: Some(body.clone()), ..Message::default() };
    let (message, subscribers) = (Arc::new(message), Vec::new());
    let destination = destination.clone();
    StoreOp::Add(StoredAdd { destination, sequence, band: 0, message, subscribers, cancel: None })
}

/// Submits what `ops` makes, `WINDOW` at a time, until it makes nothing more.
fn feed(
    store: &KahaDb,
    mut ops: impl FnMut() -> Option<Vec<StoreOp>>,
) -> Result<(), Box<dyn Error>> {
    let (done, answers) = mpsc::channel();
    let mut waiting = 0;
    loop {
        let next = ops();
        let limit = if next.is_some() { WINDOW } else { 1 };
        while waiting >= limit {
            answers.recv()??;
            waiting -= 1;
        }
        let Some(ops) = next else { return Ok(()) };
        let done = done.clone();
        let done = Box::new(move |outcome| done.send(outcome).unwrap_or(()));
        store.submit(Submit { ops, durable: true, done });
        waiting += 1;
    }
}

/// Messages that are removed soon after they came never reach the index.
fn add_and_remove(folder: &Path) -> Result<(), Box<dyn Error>> {
    let store = open(folder)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; MESSAGE_BYTES]));
    let (started, mut sequence) = (Instant::now(), 0);
    feed(&store, || {
        if started.elapsed() > Duration::from_secs(4) {
            return None;
        }
        let mut ops: Vec<StoreOp> =
            (1..=SUBMIT).map(|n| add(&queue, sequence + n, &body)).collect();
        let gone = (sequence - 10 * SUBMIT + 1..).take(SUBMIT as usize).filter(|gone| *gone > 0);
        ops.extend(gone.map(|sequence| StoreOp::Remove { destination: queue.clone(), sequence }));
        sequence += SUBMIT;
        Some(ops)
    })?;
    let rate = sequence as f64 / started.elapsed().as_secs_f64();
    println!("added, durable, and removed:   {rate:9.0} messages/s");
    store.close()?;
    Ok(())
}

fn with_backlog(folder: &Path, count: i64) -> Result<(), Box<dyn Error>> {
    let store = open(folder)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; MESSAGE_BYTES]));
    let (before, started, mut sequence) = (resident_bytes()?, Instant::now(), 0);
    feed(&store, || {
        let portion = SUBMIT.min(count - sequence);
        let ops = (1..=portion).map(|n| add(&queue, sequence + n, &body)).collect();
        sequence += portion;
        (portion > 0).then_some(ops)
    })?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("backlog of {count}:    {rate:9.0} messages/s");
    let grown = resident_bytes()?.saturating_sub(before) >> 20;
    println!("memory for it:                 {grown:9} MiB");

    let (started, mut after, mut bytes) = (Instant::now(), 0, 0);
    while started.elapsed() < Duration::from_secs(4) {
        let page = fetch(&store, &queue, after)?;
        let sizes = page.messages.iter().filter_map(|stored| stored.message.content.as_ref());
        bytes += sizes.map(Bytes::len).sum::<usize>();
        after = if page.end { 0 } else { page.last.unwrap_or(0) };
    }
    let rate = bytes as f64 / started.elapsed().as_secs_f64() / 1e6;
    println!("paged in:                      {rate:9.0} MB/s");

    drop(store); // as a killed process leaves it
    let started = Instant::now();
    let store = open(folder)?;
    let first = fetch(&store, &queue, 0)?.messages.len();
    println!("start after a kill, {first} read: {:9.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    store.close()?;
    println!("close:                         {:9.0} ms", started.elapsed().as_secs_f64() * 1e3);

    let started = Instant::now();
    let store = open(folder)?;
    feed(&store, {
        let mut left = Some(StoreOp::Purge { destination: queue.clone(), last: count });
        move || left.take().map(|op| vec![op])
    })?;
    let rest = fetch(&store, &queue, 0)?.messages.len();
    println!("purge, {rest} left:               {:9.0} ms", started.elapsed().as_secs_f64() * 1e3);
    store.close()?;
    Ok(())
}

fn fetch(store: &KahaDb, queue: &Destination, after: i64) -> Result<Page, Box<dyn Error>> {
    let (done, page) = mpsc::channel();
    let limit = PageLimit { messages: PAGE, bytes: 1 << 20 };
    let done = Box::new(move |answer| done.send(answer).unwrap_or(()));
    store.fetch(Fetch::Queue { destination: queue.clone(), band: 0, after, limit }, done);
    Ok(page.recv()??)
}

/// Of this process, without shared pages of files.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no RssAnon")?;
    Ok(kib.parse::<u64>()? << 10)
}
