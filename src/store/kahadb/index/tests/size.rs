//! Sizes: full pages, pages used again, memory that does not depend on the batch.

use super::super::storage::Folder;
use super::*;
use crate::store::kahadb::fs::real::RealFilesystem;
use std::sync::Arc;

/// Message rows as the store has them, made one at a time.
struct Rows {
    next: u64,
    end: u64,
    key: [u8; 14],
}

impl Rows {
    fn new(next: u64, end: u64) -> Self {
        let mut rows = Self { next, end, key: [1; 14] };
        rows.make();
        rows
    }

    fn make(&mut self) {
        self.key[6..].copy_from_slice(&self.next.to_be_bytes());
    }
}

impl Changes for Rows {
    fn current(&self) -> Option<Change<'_>> {
        (self.next < self.end).then_some(Change::Put { key: &self.key, value: &[7; 17] })
    }

    fn advance(&mut self) {
        self.next += 1;
        self.make();
    }
}

#[test]
fn many_sorted_inserts_fill_pages_and_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Folder::new(Arc::new(RealFilesystem), folder.path(), true);
    let options = Options { cache_bytes: 1 << 20, ..Options::default() };
    let Opened::Fresh(mut index) = PagedIndex::open(&storage, options).expect("opens") else {
        panic!("fresh")
    };
    let rows = 60_000 * scale();
    index.apply(&mut Rows::new(0, rows / 2), &Record::default()).expect("applied");
    // In small portions too the leaves are left full.
    let mut at = rows / 2;
    while at < rows {
        let end = (at + 1000).min(rows);
        index.apply(&mut Rows::new(at, end), &Record::default()).expect("applied");
        at = end;
    }
    let verdict = index.verify().expect("readable");
    assert_eq!((verdict.damage, verdict.rows, verdict.leaked_pages), (vec![], rows, 0));
    let stats = index.stats();
    assert!(u64::from(stats.pages) * 260 < rows + 2600, "{stats:?}");
    assert!(stats.cached_pages <= 128, "{stats:?}");
    let reader = index.reader();
    let mut seen = 0;
    let count = &mut |_: &[u8], _: &[u8]| {
        seen += 1;
        ControlFlow::Continue(())
    };
    reader.range(reader.version(), &[], None, count).expect("readable");
    assert_eq!(seen, rows);
}

/// Many destinations share the tree, each appends: pages stay well filled.
#[test]
fn appending_to_many_runs_keeps_pages_filled() {
    let disk = Disk::default();
    let mut index = open(&disk, Options { growth_pages: 64, ..Options::default() });
    let row = |destination: u64, n: u64| {
        let mut key = vec![1; 14];
        key[1..5].copy_from_slice(&(destination as u32).to_be_bytes());
        key[6..].copy_from_slice(&n.to_be_bytes());
        Step::Put(key, vec![7; 17])
    };
    for round in 0..60 {
        let batch: Vec<Step> =
            (0..20).flat_map(|d| (0..20).map(move |n| row(d, round * 20 + n))).collect();
        apply(&mut index, &batch, &Record::default()).expect("applied");
    }
    let stats = index.stats();
    assert_eq!(stats.rows, 24_000);
    assert!(stats.pages - stats.free_pages < 24_000 / 280 * 2, "{stats:?}");
}

/// A queue that is filled at one end and emptied at the other does not grow.
#[test]
fn churn_uses_pages_again() {
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let mut random = Random(4);
    let mut most = 0;
    for round in 0..150u64 {
        let (old, new) = (round * 100, round * 100 + 1000);
        let mut steps = vec![Step::Range(key(0), key(old))];
        steps.extend((new..new + 100).map(|n| {
            let bytes = if random.below(20) == 0 { 2000 } else { 17 };
            Step::Put(key(n), vec![1; bytes])
        }));
        apply(&mut index, &steps, &Record::default()).expect("applied");
        index.settle().expect("settled");
        if round == 50 {
            most = disk.file_len("db.data");
        }
    }
    assert!(disk.file_len("db.data") <= most * 3 / 2, "{most} {:?}", index.stats());
    let verdict = index.verify().expect("readable");
    assert_eq!((verdict.damage, verdict.leaked_pages), (vec![], 0));
}

/// Random removal leaves no tree of nearly empty pages behind.
#[test]
fn sparse_pages_are_joined() {
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let all: Vec<Step> = (0..5000).map(|n| Step::Put(key(n), vec![1; 17])).collect();
    apply(&mut index, &all, &Record::default()).expect("applied");
    let full = index.stats().pages;
    let most: Vec<Step> = (0..5000).filter(|n| n % 16 != 0).map(|n| Step::Delete(key(n))).collect();
    apply(&mut index, &most, &Record::default()).expect("applied");
    let stats = index.stats();
    assert!((stats.pages - stats.free_pages) * 3 < full, "{stats:?}");
    assert_eq!(index.verify().expect("readable").damage, []);
}
