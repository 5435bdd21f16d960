//! The store on a disk that loses, tears and changes what it was given, beside a model.
//!
//! Most tests drive it without threads, so that a seed is all that a failure has to print.

mod crash;
mod faults;
pub(super) mod model;
mod purge;
mod reading;
mod sharing;
mod threads;

use super::collect::Log;
use super::core::Core;
use super::encode::{Encoder, bodies};
use super::fs::Filesystem;
use super::fs::simulated::{Random, SimulatedDisk};
use super::index;
use super::journal::inline::InlineJournal;
use super::journal::{
    Gaps, Identity, JournalError, Lsn, Operation, Record, Submit as JournalSubmit, SyncPolicy, Wish,
};
use super::open::open;
use super::options::{KahaDbOptions, OpenError};
use crate::jms::{Destination, Message, MessageId, ProducerId, XaId};
use crate::store::{
    Fetch, MessageForm, Page, PageLimit, PreparedBranch, Recovered, StoreError, StoreEvents,
    StoreOp, StoredAdd, StoredSubscription,
};
use bytes::{BufMut, Bytes, BytesMut};
use model::{Held, Mix, Source, State, branch_text};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Messages are their bodies.
pub(super) const FORM: MessageForm = MessageForm {
    version: 12,
    encode: |message, out| out.put_slice(message.content.as_deref().unwrap_or_default()),
    decode: |bytes| Some(Arc::new(Message { content: Some(bytes), ..Message::default() })),
};

/// The message with this sequence number: all of it follows from that.
pub(super) fn message(sequence: i64, body_max: usize) -> Message {
    let mut random = Random(sequence as u64);
    let mut body = BytesMut::new();
    body.put_i64(sequence);
    body.put_bytes(sequence as u8, random.below(body_max));
    let producer = ProducerId {
        connection: Some(format!("ID:client-{}", random.below(3)).into()),
        session: 1,
        value: 1,
    };
    let id =
        MessageId { producer: Some(producer), producer_sequence: sequence, ..MessageId::default() };
    Message {
        message_id: Some(id),
        expiration: if random.below(4) == 0 { sequence } else { 0 },
        content: Some(body.freeze()),
        ..Message::default()
    }
}

pub(super) fn sequence_in(message: &Message, body_max: usize) -> i64 {
    let body: &Bytes = message.content.as_ref().expect("a body");
    let sequence = i64::from_be_bytes(body[..8].try_into().expect("a whole one"));
    assert_eq!(self::message(sequence, body_max).content.as_ref(), Some(body), "as it was sent");
    sequence
}

#[derive(Debug)]
struct Nobody;

impl StoreEvents for Nobody {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, _: &StoreError) {}
}

/// A store without threads.
struct TestStore {
    core: Core,
    encoder: Encoder,
    journal: InlineJournal,
    recovered: Recovered,
    /// Whether compaction found something to do.
    has_moved: bool,
    /// Whether a prepared branch was written again, so that its file could go.
    has_moved_branches: bool,
}

fn options(file_bytes: u32) -> KahaDbOptions {
    KahaDbOptions {
        directory: "store".into(),
        journal_max_file_length: file_bytes,
        ..KahaDbOptions::default()
    }
}

/// Small, so that little makes a tree.
fn sizes() -> index::Options {
    index::Options { page_bytes: 512, cache_bytes: 8 << 10, growth_pages: 8 }
}

impl TestStore {
    fn open(
        disk: &SimulatedDisk,
        options: &KahaDbOptions,
        policy: SyncPolicy,
    ) -> Result<Self, OpenError> {
        let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
        let events: Arc<dyn StoreEvents> = Arc::new(Nobody);
        let opened = open(&fs, options, sizes(), FORM, &events)?;
        let epoch = opened.end.epoch + 1;
        let identity = Identity { store_id: opened.core.store_id, epoch, lock_generation: 1 };
        let batch = u64::from(options.journal_max_write_batch);
        let files = opened.core.files.clone();
        let journal = InlineJournal::open(files, opened.end, identity, batch, policy)?;
        let (core, encoder, recovered) = (opened.core, opened.encoder, opened.recovered);
        let (has_moved, has_moved_branches) = (false, false);
        let mut store = Self { core, encoder, journal, recovered, has_moved, has_moved_branches };
        store.drain()?;
        Ok(store)
    }

    fn submit(
        &mut self,
        ops: Vec<StoreOp>,
        wish: Wish,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let bodies = bodies(&ops, FORM);
        let encoded = self.encoder.encode(ops, bodies);
        let confirms = encoded.confirms;
        self.journal.submit(JournalSubmit {
            operations: encoded.operations,
            wish,
            done: Box::new(move |outcome| {
                let outcome = outcome.map_err(|e| StoreError::Stopped(e.to_string().into()));
                if outcome.is_ok() {
                    confirms
                        .iter()
                        .for_each(|c| c.store(true, std::sync::atomic::Ordering::Relaxed));
                }
                done(outcome.map(drop));
            }),
        });
    }

    /// Writes and applies what waits.
    fn drain(&mut self) -> Result<(), JournalError> {
        drain(&mut self.journal, &self.core)
    }

    /// Writes a checkpoint; false if the disk fails.
    fn checkpoint(&mut self, mark: index::Mark) -> bool {
        self.journal.submit(JournalSubmit {
            operations: Vec::new(),
            wish: Wish::Synced,
            done: Box::new(drop),
        });
        if self.drain().is_err() {
            return false;
        }
        match self.core.begin_checkpoint(mark).expect("the index is sound") {
            Some(checkpoint) => self.core.write_checkpoint(&checkpoint).is_ok(),
            None => true,
        }
    }

    /// A checkpoint, and then what makes files go; false if the disk fails.
    fn upkeep(&mut self, compacts: bool) -> bool {
        self.journal.submit(JournalSubmit {
            operations: Vec::new(),
            wish: Wish::Synced,
            done: Box::new(drop),
        });
        if self.drain().is_err() {
            return false;
        }
        let checkpoint = self.core.begin_checkpoint(index::Mark::InUse);
        let Some(checkpoint) = checkpoint.expect("the index is sound") else { return true };
        if self.core.write_checkpoint(&checkpoint).is_err() {
            return false;
        }
        let sealed = self.core.replay_from();
        let Self { core, encoder, journal, has_moved, has_moved_branches, .. } = self;
        let mut log = TestLog { core, encoder, journal, has_moved_branches };
        if core.collect(&checkpoint.idle, sealed, &mut log).is_err() {
            return false;
        }
        let moved =
            if compacts { core.compact(sealed, &mut BTreeSet::new(), &mut log) } else { Ok(false) };
        *has_moved |= moved == Ok(true);
        moved.is_ok()
    }

    fn page(&self, fetch: Fetch) -> Page {
        self.core.fetch(&fetch).expect("readable")
    }

    /// Everything that can be read, page by page.
    fn state(&self, body_max: usize, random: &mut Random) -> State {
        let mut state = State::default();
        let messages = [2, 30, 30, 30][random.below(4)];
        let limit = PageLimit { messages, bytes: 1 + random.below(50_000) as u64 };
        let view = self.core.view.lock();
        let names: Vec<_> = view.numbers.keys().cloned().collect();
        let subscriptions: Vec<_> = view.subscriptions.values().map(|s| s.stored.clone()).collect();
        drop(view);
        for destination in names {
            let name = destination.name().to_owned();
            if !destination.kind().is_queue() {
                state.topics.insert(name, Default::default());
                continue;
            }
            let queue = state.queues.entry(name).or_default();
            for band in 0..3 {
                self.walk(
                    |after| Fetch::Queue { destination: destination.clone(), band, after, limit },
                    |sequence, message| {
                        assert_eq!(sequence_in(message, body_max), sequence);
                        let expiration = self::message(sequence, body_max).expiration;
                        let is_delivered = message.redelivery_counter == 1;
                        let held = Held { expiration, is_delivered };
                        assert_eq!(queue.insert((band, sequence), held), None, "once");
                    },
                );
            }
        }
        for subscription in subscriptions {
            let number = subscription.number;
            self.walk(
                |after| Fetch::Durable { subscription: number, topic: None, after, limit },
                |seq, message| {
                    assert_eq!(sequence_in(message, body_max), seq);
                    let view = self.core.view.lock();
                    let (name, _) = state
                        .topics
                        .keys()
                        .map(|name| (name.clone(), view.of(&Destination::topic(name.as_str()))))
                        .find(|(_, of)| {
                            let pending = of.and_then(|(_, c)| c.pending.get(&number));
                            pending.is_some_and(|pending| pending.contains(seq as u64))
                        })
                        .expect("a topic has it");
                    let topic = state.topics.get_mut(&name).expect("just found");
                    assert!(topic.entry(seq).or_default().insert(number), "once");
                },
            );
            state.subscriptions.insert(number, format!("{subscription:?}"));
        }
        state
    }

    fn walk(&self, fetch: impl Fn(i64) -> Fetch, mut show: impl FnMut(i64, &Message)) {
        let mut after = 0;
        loop {
            let page = self.page(fetch(after));
            assert!(page.damaged.is_empty());
            for stored in &page.messages {
                assert!(stored.sequence > after, "in order");
                after = stored.sequence;
                show(after, &stored.message);
            }
            if page.end {
                return;
            }
            assert_eq!(page.last, Some(after));
        }
    }

    /// The state as it was recovered, with counts that fit.
    fn recovered_state(&self, body_max: usize, random: &mut Random) -> State {
        let mut state = self.state(body_max, random);
        for branch in &self.recovered.prepared {
            state.prepared.insert(branch.xid.format_id, branch_text(branch));
        }
        for there in &self.recovered.destinations {
            let name = there.destination.name();
            if let Some(queue) = state.queues.get(name) {
                for band in 0..3 {
                    let counted = there.bands.iter().find(|(b, _)| *b == band).map_or(0, |b| b.1);
                    let found = queue.keys().filter(|(b, _)| *b == band).count() as u64;
                    assert_eq!(counted, found, "{name} {band}");
                }
                assert_eq!(there.expiring, queue.values().any(|held| held.expiration > 0));
            } else {
                let counted: u64 = there.bands.iter().map(|(_, n)| n).sum();
                assert_eq!(counted, state.topics[name].len() as u64);
            }
        }
        let destinations = state.queues.len() + state.topics.len();
        assert_eq!(self.recovered.destinations.len(), destinations);
        for subscription in &self.recovered.subscriptions {
            let number = subscription.subscription.number;
            let topics = state.topics.values().flat_map(|topic| topic.values());
            let pending = topics.filter(|wanted| wanted.contains(&number)).count() as u64;
            assert_eq!(subscription.pending, pending);
        }
        state
    }
}

fn drain(journal: &mut InlineJournal, core: &Core) -> Result<(), JournalError> {
    while journal.has_work() {
        let step = journal.step(|batch| core.apply(&batch).expect("the index is sound"));
        step.map_err(JournalError::Stopped)?;
    }
    Ok(())
}

/// Writes at once.
struct TestLog<'a> {
    core: &'a Core,
    encoder: &'a Encoder,
    journal: &'a mut InlineJournal,
    has_moved_branches: &'a mut bool,
}

impl Log for TestLog<'_> {
    fn write(&mut self, operations: Vec<Operation>, wish: Wish) -> Result<(), StoreError> {
        self.journal.submit(JournalSubmit { operations, wish, done: Box::new(drop) });
        drain(self.journal, self.core).map_err(|error| self.core.store_error(&error))
    }

    fn write_state(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let records = records.into_iter().filter(|record| self.encoder.is_true(record));
        let records: Vec<Record> = records.collect();
        *self.has_moved_branches |= records.iter().any(|r| matches!(r, Record::Prepare { .. }));
        let operations = records.into_iter().map(Operation::from).collect();
        self.write(operations, Wish::Written)
    }

    fn rest(&mut self, _: u64) -> bool {
        true
    }
}

fn remove_index(disk: &SimulatedDisk) {
    for file in ["db.data", "db.redo", "db.free"] {
        disk.remove(&Path::new("store").join(file)).expect("it is there");
    }
}
