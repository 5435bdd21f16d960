//! The store's state: what the journal says, up to where it was applied.
//!
//! [`View`] is changed by records, in the order of the log, and by nothing else; so whoever applies
//! the same log comes to the same state. It holds nothing for each message but what happened since
//! the last checkpoint; the rest is in the tree of the index.
//!
//! - `contents`: the messages of one destination.
//! - `apply`: what each record does; `subscriptions`: to what durable subscriptions have.
//! - `evidence`: what a rebuild knows before it begins.
//! - `freeze`: what goes into a checkpoint; `load`: taking it up again.

mod apply;
mod contents;
mod evidence;
mod freeze;
mod load;
mod rebuild;
mod subscriptions;

pub(super) use contents::{Contents, Search, Tree, nonsense};
pub(super) use evidence::{Evidence, LiveSet};
pub(super) use freeze::Frozen;
pub(super) use rebuild::Outline;

use super::journal::{Gaps, Lsn, Mark};
use super::rows::FileRow;
use crate::jms::{Destination, ProducerId};
use crate::store::StoredSubscription;
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// All of it, behind one lock. Only the thread of the index changes it.
pub(super) struct View {
    pub(super) tree: Tree,
    /// With those that are gone but whose rows are still in the tree.
    pub(super) contents: HashMap<u32, Contents>,
    /// Those that exist.
    pub(super) numbers: HashMap<Destination, u32>,
    pub(super) subscriptions: BTreeMap<u64, Subscription>,
    /// By xid.
    pub(super) prepared: HashMap<Bytes, Prepared>,
    /// Prepared branches as the index has them, until their records are read.
    pub(super) unread: Vec<Prepared>,
    pub(super) producers: HashMap<u64, Producer>,
    producer_numbers: HashMap<ProducerId, u64>,
    producers_max: usize,
    producer_clock: u64,
    pub(super) files: BTreeMap<u32, FileRow>,
    pub(super) counters: Counters,
    /// Behind the last batch that was applied.
    pub(super) applied: Mark,
    /// Bytes of the index's files, when they were last looked at.
    pub(super) index_bytes: u64,
    /// Files of the journal that were dropped.
    pub(super) gaps: Gaps,
    /// There while the log is read from its start, which may not be where it once began, nor
    /// whole. Destinations, subscriptions and prepared branches are as at its end by then.
    pub(super) rebuilding: Option<Evidence>,
    changed: Changed,
    /// Destinations with purged messages that are not counted yet.
    uncounted: BTreeSet<u32>,
}

/// What is numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) last_sequence: u64,
    pub(super) last_subscription: u64,
    pub(super) last_destination: u32,
    pub(super) last_producer: u64,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) stored: StoredSubscription,
    pub(super) lsn: Lsn,
    /// Where it has something pending.
    pub(super) topics: BTreeSet<u32>,
}

/// Where the record of a prepared branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) lsn: Lsn,
    /// Bytes.
    pub(super) length: u32,
}

#[derive(Debug)]
pub(super) struct Producer {
    pub(super) id: ProducerId,
    /// Highest sequence number in each destination.
    pub(super) marks: BTreeMap<u32, i64>,
    used: u64,
}

/// What is not as the tree, or the checkpoint under way, has it.
#[derive(Debug, Default)]
struct Changed {
    contents: BTreeSet<u32>,
    subscriptions: BTreeSet<u64>,
    producers: BTreeSet<u64>,
    files: BTreeSet<u32>,
    /// Other rows: put, or gone.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Counters {
    pub(super) fn to_array(self) -> [u64; 4] {
        let destination = u64::from(self.last_destination);
        [self.last_sequence, self.last_subscription, destination, self.last_producer]
    }

    fn raise(&mut self, [sequence, subscription, destination, producer]: [u64; 4]) {
        self.last_sequence = self.last_sequence.max(sequence);
        self.last_subscription = self.last_subscription.max(subscription);
        self.last_destination = self.last_destination.max(destination as u32);
        self.last_producer = self.last_producer.max(producer);
    }
}

impl View {
    pub(super) fn new(tree: Tree, producers_max: usize) -> Self {
        Self {
            tree,
            contents: HashMap::new(),
            numbers: HashMap::new(),
            subscriptions: BTreeMap::new(),
            prepared: HashMap::new(),
            unread: Vec::new(),
            producers: HashMap::new(),
            producer_numbers: HashMap::new(),
            producers_max: producers_max.max(PRODUCERS_MIN),
            producer_clock: 0,
            files: BTreeMap::new(),
            counters: Counters::default(),
            applied: Mark::default(),
            index_bytes: 0,
            gaps: Gaps::default(),
            rebuilding: None,
            changed: Changed::default(),
            uncounted: BTreeSet::new(),
        }
    }

    /// The number and contents of a destination that exists.
    pub(super) fn of(&self, destination: &Destination) -> Option<(u32, &Contents)> {
        let number = *self.numbers.get(destination)?;
        Some((number, self.contents.get(&number)?))
    }

    /// The contents of a destination that exists.
    pub(super) fn of_mut(&mut self, destination: &Destination) -> Option<&mut Contents> {
        self.contents.get_mut(self.numbers.get(destination)?)
    }

    pub(super) fn messages(&self) -> u64 {
        self.contents.values().map(Contents::messages).sum()
    }
}

/// Producers whose marks are kept, at least.
const PRODUCERS_MIN: usize = 1024;
