//! The journal, the index and the store above them, on files of the system's temporary folder.

use crate::support::Outcome;
use crate::support::instructions::{Case, Run};
use crate::support::store::{self, BODY_BYTES, PAGE, add, feed, fetch};
use broker::jms::Destination;
use broker::store::StoreOp;
use broker::store::kahadb::fs::real::RealFilesystem;
use broker::store::kahadb::index::storage::Folder;
use broker::store::kahadb::index::{
    Change, Changes, Index, Opened, Options, PagedIndex, Reader, Record as State,
};
use broker::store::kahadb::journal::{Add, Record, Submit, Wish};
use bytes::Bytes;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use tempfile::tempdir;

pub(crate) const CASES: &[Case] = &[
    Case { name: "journal: a record of 1 KiB appended", operations: 6400, ready: journal },
    Case { name: "store: added and, later, removed", operations: 6400, ready: add_and_remove },
    Case { name: "index: a row put, in order", operations: 20_000, ready: put },
    Case { name: "index: a row found", operations: 2000, ready: get },
    Case { name: "index: a row visited", operations: 50_000, ready: visit },
    Case { name: "store: a message paged in, 200 at a time", operations: 10_000, ready: page },
];

/// Submits at a time: all of them usually share a write and a sync.
const WINDOW: usize = 64;

/// Whoever started this process removes it.
fn folder() -> Outcome<PathBuf> {
    Ok(tempdir()?.keep())
}

fn journal(_: usize) -> Outcome<Run> {
    let journal = store::journal(&folder()?)?;
    let message = Bytes::from(vec![7; BODY_BYTES]);
    Ok(Box::new(move |operations| {
        let (done, answers) = mpsc::channel();
        for first in (0..operations as u64).step_by(WINDOW) {
            for seq in first..first + WINDOW as u64 {
                let add = Add { seq, message: message.clone(), ..Add::default() };
                let done = done.clone();
                journal.submit(Submit {
                    operations: vec![Record::Add(add).into()],
                    wish: Wish::Durable,
                    done: Box::new(move |end| done.send(end.is_ok()).unwrap_or(())),
                });
            }
            if !answers.iter().take(WINDOW).all(|stored| stored) {
                return Err("not stored".into());
            }
        }
        Ok(())
    }))
}

/// Each submit adds some messages and removes those that were added ten submits before.
fn add_and_remove(_: usize) -> Outcome<Run> {
    let store = store::open(&folder()?)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; BODY_BYTES]));
    Ok(Box::new(move |operations| {
        let (mut sequence, some) = (0, WINDOW as i64);
        feed(&store, || {
            let mut ops: Vec<_> = (1..=some).map(|n| add(&queue, sequence + n, &body)).collect();
            let gone = (sequence - 10 * some + 1..).take(WINDOW).filter(|gone| *gone > 0);
            ops.extend(
                gone.map(|sequence| StoreOp::Remove { destination: queue.clone(), sequence }),
            );
            sequence += some;
            (sequence <= operations as i64).then_some(ops)
        })
    }))
}

fn page(messages: usize) -> Outcome<Run> {
    let store = store::open(&folder()?)?;
    let (queue, body) = (Destination::queue("Q"), Bytes::from(vec![7; BODY_BYTES]));
    let mut sequences = 1..=messages as i64;
    feed(&store, || {
        let ops: Vec<_> = sequences.by_ref().take(WINDOW).map(|n| add(&queue, n, &body)).collect();
        (!ops.is_empty()).then_some(ops)
    })?;
    Ok(Box::new(move |operations| {
        let mut after = 0;
        for _ in 0..operations / PAGE {
            let page = fetch(&store, &queue, after)?;
            after = page.last.unwrap_or(0);
            black_box(page);
        }
        Ok(())
    }))
}

/// Rows as the store has one for each message: a key of 14 bytes, a value of 14.
struct Rows {
    next: u64,
    end: u64,
    key: [u8; 14],
}

impl Rows {
    fn new(next: u64, end: u64) -> Self {
        Self { next, end, key: key(next) }
    }
}

fn key(number: u64) -> [u8; 14] {
    let mut key = [1; 14];
    key[6..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Changes for Rows {
    fn current(&self) -> Option<Change<'_>> {
        (self.next < self.end).then_some(Change::Put { key: &self.key, value: &[7; 14] })
    }

    fn advance(&mut self) {
        *self = Self::new(self.next + 1, self.end);
    }
}

/// Rows of one checkpoint.
const CHECKPOINT: usize = 10_000;

fn index() -> Outcome<PagedIndex<Folder>> {
    let place = Folder::new(Arc::new(RealFilesystem), folder()?, true);
    match PagedIndex::open(&place, Options::default())? {
        Opened::Fresh(index) => Ok(index),
        _ => Err("the folder is not empty".into()),
    }
}

fn put(_: usize) -> Outcome<Run> {
    let mut index = index()?;
    Ok(Box::new(move |operations| {
        for first in (0..operations).step_by(CHECKPOINT) {
            let mut rows = Rows::new(first as u64, (first + CHECKPOINT) as u64);
            index.apply(&mut rows, &State::default())?;
            index.settle()?;
        }
        Ok(())
    }))
}

/// An index with this many rows.
fn filled(rows: usize) -> Outcome<PagedIndex<Folder>> {
    let mut index = index()?;
    index.apply(&mut Rows::new(0, rows as u64), &State::default())?;
    index.settle()?;
    Ok(index)
}

/// Far from each other, in pages that are in memory.
fn get(rows: usize) -> Outcome<Run> {
    let all = rows * 50;
    let index = filled(all)?;
    Ok(Box::new(move |operations| {
        let reader = index.reader();
        for number in 0..operations {
            let key = key((number * 7919 % all) as u64);
            if black_box(reader.get(reader.version(), &key)?).is_none() {
                return Err("a row is missing".into());
            }
        }
        Ok(())
    }))
}

fn visit(rows: usize) -> Outcome<Run> {
    let index = filled(rows)?;
    Ok(Box::new(move |operations| {
        let (reader, mut seen) = (index.reader(), 0);
        reader.range(
            reader.version(),
            &key(0),
            Some(&key(operations as u64)),
            &mut |_, value| {
                seen += value.len() / 14;
                ControlFlow::Continue(())
            },
        )?;
        if seen == operations { Ok(()) } else { Err("rows are missing".into()) }
    }))
}
