//! How fast the store is, and how much memory a backlog takes.
//!
//! `cargo bench --bench store -- [folder] [messages]`: messages of 1 KiB each; a million unless
//! told, for ten million there must be 12 GB of space. Compare ratios of one run, not numbers of
//! two.

mod support;

use broker::jms::Destination;
use broker::store::{Store, StoreOp};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::Outcome;
use support::process::own_memory_bytes;
use support::store::{BODY_BYTES, add, feed, fetch, open};

/// Messages of one submit.
const SUBMIT: i64 = 50;

fn main() -> Outcome<()> {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let base = given.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let backlog: i64 = given.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let folder = tempfile::tempdir_in(base)?;
    add_and_remove(&folder.path().join("flow"))?;
    with_backlog(&folder.path().join("backlog"), backlog)
}

/// Messages that are removed soon after they came never reach the index.
fn add_and_remove(folder: &Path) -> Outcome<()> {
    let store = open(folder)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; BODY_BYTES]));
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

fn with_backlog(folder: &Path, count: i64) -> Outcome<()> {
    let store = open(folder)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; BODY_BYTES]));
    let (before, started, mut sequence) = (own_memory_bytes(), Instant::now(), 0);
    feed(&store, || {
        let portion = SUBMIT.min(count - sequence);
        let ops = (1..=portion).map(|n| add(&queue, sequence + n, &body)).collect();
        sequence += portion;
        (portion > 0).then_some(ops)
    })?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("backlog of {count}:    {rate:9.0} messages/s");
    let grown = own_memory_bytes().saturating_sub(before) >> 20;
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
