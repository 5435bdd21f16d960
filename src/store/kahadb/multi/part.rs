//! One store of an `<mKahaDB>`, and what waits before it.
//!
//! Nothing does, and submits go straight through, but while the store is being opened, and between
//! the submit of a [crossing](super::coordinator) and the time when it is certain to happen: what
//! comes behind it must not overtake it. Nor must it be decided while what came before it may still
//! be lost: once a crossing is the next one, the store is asked whether all before it is durable.

use super::options::Place;
use super::told::Told;
use crate::store::kahadb::KahaDb;
use crate::store::{Fetch, FetchDone, Store, StoreError, StoreOp, Submit};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub(super) struct Part {
    pub(super) place: Place,
    store: OnceLock<Arc<KahaDb>>,
    /// The store is open, and nothing waits.
    is_clear: AtomicBool,
    queue: Mutex<Queue>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    before: Before,
}

/// Whether what the store was given before the first one that waits is durable.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Unknown,
    Asked,
    Durable,
}

/// What waits.
enum Item {
    Submit(Submit),
    Fetch(Fetch, FetchDone),
    Crossing(Crossed),
}

/// The part of a crossing.
struct Crossed {
    number: u64,
    ops: Vec<StoreOp>,
    /// It was told that all before is durable.
    is_ready: bool,
}

/// What the coordinator knows and does.
pub(super) trait Crossings {
    /// Whether a crossing happens; false while that is open.
    fn happens(&self, number: u64) -> bool;

    /// One more store is ready for a crossing; false if that has only begun and is not known.
    fn ready(&mut self, number: u64) -> bool;

    /// Whether the intent of a crossing is on its way, so that the next one may follow.
    fn is_written(&self, number: u64) -> bool;

    /// Submits a part of a crossing.
    fn cross(&self, store: &KahaDb, number: u64, ops: Vec<StoreOp>);

    /// Finds out whether all that the store was given is durable, and calls [`Part::durable`].
    fn ask(&self, part: &Part, store: &KahaDb);
}

impl Item {
    fn refuse(self, error: StoreError) {
        match self {
            Self::Submit(submit) => (submit.done)(Err(error)),
            Self::Fetch(_, done) => done(Err(error)),
            Self::Crossing(_) => {} // the next start sees to it
        }
    }
}

impl Part {
    /// Without `store` it is yet to be opened.
    pub(super) fn new(place: Place, told: Arc<Told>, store: Option<Arc<KahaDb>>) -> Arc<Self> {
        let (is_clear, queue) = (AtomicBool::new(store.is_some()), Mutex::default());
        let store = store.map_or_else(OnceLock::new, OnceLock::from);
        Arc::new(Self { place, store, is_clear, queue, told })
    }

    /// None while it is being opened.
    pub(super) fn store(&self) -> Option<&Arc<KahaDb>> {
        self.store.get()
    }

    /// It is open; what waits is let through by [`Part::advance`].
    pub(super) fn opened(&self, store: Arc<KahaDb>) {
        assert!(self.store.set(store).is_ok(), "a store is opened once");
    }

    pub(super) fn submit(&self, submit: Submit) {
        match self.clear_store() {
            Some(store) => store.submit(submit),
            None => self.push(Item::Submit(submit)),
        }
    }

    pub(super) fn fetch(&self, fetch: Fetch, done: FetchDone) {
        match self.clear_store() {
            Some(store) => store.fetch(fetch, done),
            None => self.push(Item::Fetch(fetch, done)),
        }
    }

    fn clear_store(&self) -> Option<&Arc<KahaDb>> {
        self.store.get().filter(|_| self.is_clear.load(Ordering::Acquire))
    }

    /// From now on everything waits until the crossing is decided.
    pub(super) fn hold(&self, number: u64, ops: Vec<StoreOp>) {
        let mut queue = self.queue.lock();
        if self.is_clear.swap(false, Ordering::AcqRel) {
            queue.before = Before::Unknown;
        }
        queue.waiting.push_back(Item::Crossing(Crossed { number, ops, is_ready: false }));
    }

    fn push(&self, item: Item) {
        let mut queue = self.queue.lock();
        if !self.is_clear.load(Ordering::Acquire) {
            match self.told.failure() {
                None => queue.waiting.push_back(item),
                Some(error) => {
                    drop(queue);
                    item.refuse(error);
                }
            }
            return;
        }
        drop(queue);
        match item {
            Item::Submit(submit) => self.submit(submit),
            Item::Fetch(fetch, done) => self.fetch(fetch, done),
            Item::Crossing(Crossed { number, ops, .. }) => self.hold(number, ops),
        }
    }

    /// The crossing does not happen.
    pub(super) fn withdraw(&self, number: u64) {
        let is_other =
            |item: &Item| !matches!(item, Item::Crossing(crossed) if crossed.number == number);
        self.queue.lock().waiting.retain(is_other);
    }

    /// All that the store was given before the crossings that are next is durable.
    pub(super) fn durable(&self) {
        self.queue.lock().before = Before::Durable;
    }

    /// Lets through what need not wait any longer. Called by one thread only.
    pub(super) fn advance(&self, crossings: &mut impl Crossings) {
        let Some(store) = self.store.get() else { return };
        while let Some(item) = self.next(store, crossings) {
            match item {
                Item::Submit(submit) => store.submit(submit),
                Item::Fetch(fetch, done) => store.fetch(fetch, done),
                Item::Crossing(Crossed { number, ops, .. }) => crossings.cross(store, number, ops),
            }
        }
    }

    /// What need not wait; none if that is nothing.
    fn next(&self, store: &KahaDb, crossings: &mut impl Crossings) -> Option<Item> {
        let mut queue = self.queue.lock();
        let Queue { waiting, before } = &mut *queue;
        match waiting.front() {
            None => {
                self.is_clear.store(true, Ordering::Release);
                return None;
            }
            Some(Item::Crossing(crossed)) if !crossings.happens(crossed.number) => {}
            Some(Item::Submit(_)) => {
                *before = Before::Unknown;
                return waiting.pop_front();
            }
            Some(_) => return waiting.pop_front(),
        }
        match *before {
            Before::Unknown => {
                *before = Before::Asked;
                drop(queue);
                crossings.ask(self, store);
            }
            Before::Asked => {}
            Before::Durable => {
                // The intents of those that follow each other can be under way together.
                for item in waiting.iter_mut() {
                    let Item::Crossing(crossed) = item else { break };
                    if !crossed.is_ready {
                        crossed.is_ready = crossings.ready(crossed.number);
                    }
                    if !crossings.is_written(crossed.number) {
                        break;
                    }
                }
            }
        }
        None
    }

    /// Refuses what waits, after all has failed.
    pub(super) fn refuse(&self, error: &StoreError) {
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        waiting.into_iter().for_each(|item| item.refuse(error.clone()));
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.place.name).finish_non_exhaustive()
    }
}
