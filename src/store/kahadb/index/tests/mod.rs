//! The index against a map, under power cuts, damage and churn.

mod crash;
mod damage;
mod disk;
mod model;
mod size;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::*;
use disk::{Disk, Random};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A change that owns its bytes.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Range(Vec<u8>, Vec<u8>),
}

impl Step {
    fn as_change(&self) -> Change<'_> {
        match self {
            Self::Put(key, value) => Change::Put { key, value },
            Self::Delete(key) => Change::Delete { key },
            Self::Range(from, to) => Change::DeleteRange { from, to },
        }
    }
}

fn apply_to_model(model: &mut Model, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Put(key, value) => drop(model.insert(key.clone(), value.clone())),
            Step::Delete(key) => drop(model.remove(key)),
            Step::Range(from, to) => model.retain(|key, _| !(from..to).contains(&key)),
        }
    }
}

fn apply<I: Index>(index: &mut I, steps: &[Step], record: &Record) -> Result<Version, IndexError> {
    let changes: Vec<Change<'_>> = steps.iter().map(Step::as_change).collect();
    index.apply(&mut changes.as_slice(), record)
}

/// A sorted batch over a small set of keys, with values up to `value_max` bytes.
fn batch(random: &mut Random, size: u64, keys: u64, value_max: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = random.below(keys);
    for _ in 0..size {
        at += 1 + random.below((keys / size).max(1) * 2);
        if at >= keys {
            break;
        }
        steps.push(match random.below(10) {
            0 => {
                let from = key(at);
                at += random.below(keys / 8 + 1);
                Step::Range(from, key(at))
            }
            1..=3 => Step::Delete(key(at)),
            _ => {
                let bytes = random.below(value_max) as usize;
                Step::Put(key(at), vec![random.next() as u8; bytes])
            }
        });
    }
    steps
}

/// Keys in the shape of the store's: kind, destination, band, number; some are longer.
fn key(n: u64) -> Vec<u8> {
    let mut key = vec![1];
    key.extend_from_slice(&((n / 50) as u32).to_be_bytes());
    key.push((n % 50 / 20) as u8);
    key.extend_from_slice(&n.to_be_bytes());
    key.resize(key.len() + (n % 7 * u64::from(n.is_multiple_of(3))) as usize, 0);
    key
}

fn rows<R: Reader>(reader: &R, at: Version) -> Result<Model, IndexError> {
    let mut rows = Model::new();
    reader.range(at, &[], None, &mut |key, value| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn small_pages() -> Options {
    Options { page_bytes: 1024, cache_bytes: 16 << 10, growth_pages: 16 }
}

fn open(disk: &Disk, options: Options) -> PagedIndex<Disk> {
    match PagedIndex::open(disk, options).expect("a working disk") {
        Opened::Fresh(index) | Opened::Clean(index, _) | Opened::Replay(index, _) => index,
        Opened::Damaged(damage) => panic!("{damage}"),
    }
}

/// Says where a test was when it failed.
struct Case<T: std::fmt::Debug>(T);

impl<T: std::fmt::Debug> Drop for Case<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at {:?}", self.0);
        }
    }
}

/// How much of a test to run: `INDEX_TEST_SCALE` times the usual.
fn scale() -> u64 {
    std::env::var("INDEX_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
