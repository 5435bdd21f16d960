//! The journal on a disk that loses, tears and changes what it was given.

mod crash;
mod damage;
mod edges;
mod threads;

use super::appender::Appender;
use super::commit::{Committer, Waiting};
use super::inline::Inline;
use super::*;
use crate::store::kahadb::fs::simulated::{Random, SimulatedDisk};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

const STORE: StoreId = StoreId(*b"the store's name");

fn open_files(disk: &SimulatedDisk, file_bytes: u32) -> Result<Arc<Files>, JournalError> {
    let options = FilesOptions {
        folder: "store".into(),
        file_bytes,
        archive: "archive".into(),
        sync: SyncPolicy::Always,
    };
    Files::open(Arc::new(disk.clone()), options).map(Arc::new)
}

fn path(number: u32) -> PathBuf {
    format!("store/db-{number}.log").into()
}

fn open_appender(files: &Arc<Files>, end: Mark) -> Result<Appender, JournalError> {
    let supply = Inline::new(files.clone());
    let identity = Identity { store_id: STORE, epoch: end.epoch + 1, lock_generation: 1 };
    Appender::open(files.clone(), Box::new(supply), identity, end)
}

/// All batches, and where they end.
fn read(files: &Arc<Files>) -> Result<(Vec<Batch>, Mark), JournalError> {
    let mut scan = Scan::from_start(files.clone(), Gaps::default(), OnDamage::Refuse)?;
    let batches = rest_of(&mut scan)?;
    Ok((batches, scan.mark()))
}

fn rest_of(scan: &mut Scan) -> Result<Vec<Batch>, JournalError> {
    std::iter::from_fn(|| scan.next_batch().transpose()).collect()
}

/// What a test submits: messages whose bytes follow from their number, and a removal that
/// names the submit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    id: u64,
    adds: u64,
    removes: bool,
}

impl Sent {
    fn random(id: u64, random: &mut Random) -> Self {
        Self { id, adds: random.below(4) as u64, removes: random.below(2) == 0 }
    }

    fn operations(&self, body_max: usize) -> Vec<Operation> {
        let add = |n| Record::Add(self.add(n, body_max));
        let mut records: Vec<Record> = (0..self.adds).map(add).collect();
        if self.removes {
            let seqs = Ranges::one(self.id, self.id);
            records.push(Record::Remove { destination: 2, seqs });
        }
        records.into_iter().map(Operation::from).collect()
    }

    fn add(&self, n: u64, body_max: usize) -> Add {
        let length = Random(self.id * 7 + n).below(body_max);
        let body: Vec<u8> = (0..length).map(|at| (at as u64 ^ self.id ^ n << 4) as u8).collect();
        Add {
            destination: 1,
            seq: n,
            band: self.adds as u8,
            producer: self.id,
            message: Bytes::from(body),
            ..Add::default()
        }
    }
}

/// What is in the log, submit by submit; panics if one is there in part, twice, or changed.
/// The submits have the ids that `sent` says, which are consecutive.
fn submits_in(batches: &[Batch], sent: &[Sent], body_max: usize) -> Vec<Sent> {
    let mut found: Vec<Sent> = Vec::new();
    for batch in batches {
        let mut removed = Ranges::default();
        let mut adds: Vec<&Add> = Vec::new();
        for stored in &batch.records {
            match &stored.record {
                Record::Add(add) => adds.push(add),
                Record::Remove { seqs, .. } => removed.merge(seqs),
                Record::EpochStart { .. } => {}
                other => panic!("nobody wrote {other:?}"),
            }
        }
        // A submit is in the batch if its adds or its removal are.
        let ids: Ranges = adds.iter().map(|add| add.producer).chain(removed.iter()).collect();
        let mut adds = adds.into_iter();
        for id in ids.iter() {
            let sent = sent.iter().find(|s| s.id == id).expect("somebody sent it");
            assert!(found.last().is_none_or(|last| last.id < id), "in order, once");
            for n in 0..sent.adds {
                assert_eq!(adds.next(), Some(&sent.add(n, body_max)), "whole, in order");
            }
            assert_eq!(removed.contains(id), sent.removes);
            found.push(sent.clone());
        }
        assert_eq!(adds.next(), None);
    }
    found
}

fn waiting(operations: Vec<Operation>, wish: Wish) -> Waiting {
    let done: Done = Box::new(drop);
    Waiting::new(Submit { operations, wish, done }).map_err(|(_, e)| e).unwrap()
}

/// A log of one batch per submit, each vouching for the one before.
fn write_log(disk: &SimulatedDisk, file_bytes: u32, sent: &[Sent], body_max: usize) -> Vec<Batch> {
    let files = open_files(disk, file_bytes).unwrap();
    let appender = open_appender(&files, Mark { lsn: Lsn::start_of(1), ..Mark::default() });
    let mut committer = Committer::new(appender.unwrap(), 1 << 20, SyncPolicy::Always);
    let write = |sent: &Sent| {
        let mut queue = VecDeque::from([waiting(sent.operations(body_max), Wish::Durable)]);
        committer.step(&mut queue, 1, &mut Vec::new()).unwrap().batch
    };
    sent.iter().filter_map(write).collect()
}
