//! Crossings: submits that lie in several stores, all or nothing whatever happens.
//!
//! ```text
//! submit --> every part holds what comes behind, and makes durable what came before
//!                                                  |
//!                                                  v
//!               in all of them:  txStore: intent, synced
//!                                                  |
//!               decided: answered, and done again after a crash
//!                                                  |
//!                                                  v
//!                                parts: their operations with a mark, synced
//!                                                  |
//!                                                  v
//!               over:            txStore: forget the intent
//! ```
//!
//! Crossings are numbered in the order in which every part gets them. A mark is written with a
//! part's operations as one, so the mark of a store tells exactly which intents it has its part of:
//! at the start those are left out, however much came behind them. Before an intent is written it is
//! refused if a store is short of space; what is decided may use the room that a journal keeps for
//! removals, and if even that is gone the store stops, to go on at the next start.
//!
//! The coordinator is a thread of its own, because the threads of the stores must not wait for each
//! other. It is the only one that lets waiting submits through.

use super::intent::Intent;
use super::part::{Crossings, Part};
use super::shared::Shared;
use crate::store::kahadb::{KahaDb, OpenError};
use crate::store::{Completion, Store, StoreError, StoreOp, StoredSubscription, Submit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// What the coordinator is told.
pub(super) enum Event {
    /// A store is to be opened.
    Open(Arc<Part>),
    Opened(Arc<Part>, Result<Arc<KahaDb>, OpenError>),
    /// The parts hold.
    Begun(u64, Crossing),
    /// What a part, by its name, was given before the crossings that are next is durable.
    Before(String, Result<(), StoreError>),
    /// The intent is on its way.
    Written(u64),
    /// The intent is durable, or was refused.
    Settled(u64, Result<(), StoreError>),
    /// One part is durable.
    Done(u64, Result<(), StoreError>),
    /// A store has failed.
    Failed,
    /// Answer when nothing is under way; nothing new comes any more.
    Close(Sender<()>),
    Quit,
}

/// A submit in several stores, or in one and the `txStore`, which is one of the parts then.
pub(super) struct Crossing {
    pub(super) parts: Vec<Arc<Part>>,
    /// What the `txStore` is to write: the intent, and its own part.
    pub(super) intent: Vec<StoreOp>,
    pub(super) done: Completion,
    /// Subscriptions as they were before, for the case that it is refused.
    pub(super) before: Vec<(u64, Option<StoredSubscription>)>,
}

/// A crossing under way.
struct UnderWay {
    parts: Vec<Arc<Part>>,
    /// Parts that are not ready; then parts that have not done theirs.
    left: usize,
    phase: Phase,
}

enum Phase {
    /// Not all parts are ready.
    Open(Asked, Vec<StoreOp>),
    /// The intent is on its way.
    Written(Asked),
    Decided,
}

/// Who waits, and what was before, until it is decided.
type Asked = (Completion, Vec<(u64, Option<StoredSubscription>)>);

/// Crossings under way, and what the parts need to know of them.
struct UnderWays {
    shared: Arc<Shared>,
    all: BTreeMap<u64, UnderWay>,
}

pub(super) struct Coordinator {
    shared: Arc<Shared>,
    crossings: UnderWays,
    opener: Option<Sender<Arc<Part>>>,
    opener_thread: JoinHandle<()>,
    opening: usize,
    closing: Option<Sender<()>>,
}

impl Coordinator {
    /// Starts the thread, and another one that opens stores.
    pub(super) fn start(
        shared: Arc<Shared>,
        events: Receiver<Event>,
    ) -> std::io::Result<JoinHandle<()>> {
        let (opener, to_open) = channel();
        let opens = shared.clone();
        let opener_thread = std::thread::Builder::new()
            .name("store-opener".into())
            .spawn(move || open(&opens, &to_open))?;
        let crossings = UnderWays { shared: shared.clone(), all: BTreeMap::new() };
        let (opener, closing) = (Some(opener), None);
        let coordinator = Self { shared, crossings, opener, opener_thread, opening: 0, closing };
        let thread = std::thread::Builder::new().name("stores".into());
        thread.spawn(move || coordinator.run(&events))
    }

    fn run(mut self, events: &Receiver<Event>) {
        while let Ok(event) = events.recv() {
            match event {
                Event::Open(part) => {
                    self.opening += 1;
                    if let Some(opener) = &self.opener
                        && opener.send(part).is_err()
                    {
                        self.bug();
                    }
                }
                Event::Opened(part, outcome) => self.opened(&part, outcome),
                Event::Begun(number, crossing) => self.begun(number, crossing),
                Event::Before(name, outcome) => self.durable_before(&name, outcome),
                Event::Written(number) => self.advance_parts(number),
                Event::Settled(number, outcome) => self.settled(number, outcome),
                Event::Done(number, outcome) => self.part_done(number, outcome),
                Event::Failed => self.refuse_open(),
                Event::Close(answer) => self.closing = Some(answer),
                Event::Quit => break,
            }
            if self.closing.is_some()
                && self.is_quiet()
                && let Some(answer) = self.closing.take()
            {
                answer.send(()).unwrap_or_default(); // or nobody waits any more
            }
        }
        self.refuse_all();
        self.opener = None;
        if self.opener_thread.join().is_err() {
            let bug = StoreError::Stopped("a bug ended a thread of the store".into());
            self.shared.told.fail(&bug);
        }
    }

    fn opened(&mut self, part: &Arc<Part>, outcome: Result<Arc<KahaDb>, OpenError>) {
        self.opening -= 1;
        match outcome {
            Ok(store) => {
                part.opened(store);
                part.advance(&mut self.crossings);
            }
            Err(error) => {
                let folder = part.place.options.directory.display();
                tracing::error!(%folder, error = &error as &dyn std::error::Error, "a store cannot be opened");
                let text = format!("the store in {folder} cannot be opened: {error}");
                self.shared.told.fail(&StoreError::Stopped(text.into()));
            }
        }
    }

    fn begun(&mut self, number: u64, crossing: Crossing) {
        let Crossing { parts, intent, done, before } = crossing;
        if let Some(error) = self.shared.told.failure() {
            return done(Err(error));
        }
        let (left, phase) = (parts.len(), Phase::Open((done, before), intent));
        self.crossings.all.insert(number, UnderWay { parts: parts.clone(), left, phase });
        parts.iter().for_each(|part| part.advance(&mut self.crossings));
    }

    fn durable_before(&mut self, name: &str, outcome: Result<(), StoreError>) {
        let Some(part) = self.shared.part_named(name) else { return };
        match outcome {
            Ok(()) => {
                part.durable();
                part.advance(&mut self.crossings);
            }
            Err(error) => self.shared.told.fail(&error),
        }
    }

    fn advance_parts(&mut self, number: u64) {
        let Some(crossing) = self.crossings.all.get(&number) else { return };
        let parts = crossing.parts.clone();
        parts.iter().for_each(|part| part.advance(&mut self.crossings));
    }

    fn settled(&mut self, number: u64, outcome: Result<(), StoreError>) {
        let Some(crossing) = self.crossings.all.get_mut(&number) else { return };
        let Phase::Written((done, before)) = std::mem::replace(&mut crossing.phase, Phase::Decided)
        else {
            return;
        };
        let parts = crossing.parts.clone();
        crossing.left = parts.len();
        if outcome.is_err() {
            self.crossings.all.remove(&number);
            parts.iter().for_each(|part| part.withdraw(number));
            self.shared.restore(before);
        }
        // Whatever waits behind it is answered later.
        done(outcome);
        parts.iter().for_each(|part| part.advance(&mut self.crossings));
    }

    fn part_done(&mut self, number: u64, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            // What is decided cannot be half done: the next start goes on with it.
            return self.shared.told.fail(&error);
        }
        let Some(crossing) = self.crossings.all.get_mut(&number) else { return };
        crossing.left -= 1;
        if crossing.left == 0 {
            self.crossings.all.remove(&number);
            let (ops, done) = (vec![Intent::forget(number)], Box::new(drop));
            self.shared.transactions.submit(Submit { ops, durable: false, done });
        }
    }

    /// After a failure nothing more is decided. An intent that is on its way is answered by the
    /// `txStore`.
    fn refuse_open(&mut self) {
        let Some(error) = self.shared.told.failure() else { return };
        let is_open = |_: &u64, crossing: &mut UnderWay| matches!(crossing.phase, Phase::Open(..));
        let open: Vec<_> = self.crossings.all.extract_if(.., is_open).collect();
        self.refuse(open.into_iter().map(|(_, crossing)| crossing), &error);
    }

    /// Nobody is left waiting, whatever happened.
    fn refuse_all(&mut self) {
        let failed = self.shared.told.failure();
        let error = failed.unwrap_or_else(|| StoreError::Stopped("the store is closed".into()));
        let all = std::mem::take(&mut self.crossings.all);
        self.refuse(all.into_values(), &error);
    }

    fn refuse(&self, crossings: impl Iterator<Item = UnderWay>, error: &StoreError) {
        for crossing in crossings {
            if let Phase::Open((done, _), _) | Phase::Written((done, _)) = crossing.phase {
                done(Err(error.clone()));
            }
        }
        self.shared.parts().iter().for_each(|part| part.refuse(error));
    }

    fn is_quiet(&self) -> bool {
        let is_idle = self.crossings.all.is_empty() && self.opening == 0;
        self.shared.told.failure().is_some()
            || is_idle && self.shared.parts().iter().all(|part| part.is_quiet())
    }

    fn bug(&self) {
        self.shared.told.fail(&StoreError::Stopped("a bug ended a thread of the store".into()));
    }
}

impl Crossings for UnderWays {
    fn happens(&self, number: u64) -> bool {
        self.all.get(&number).is_some_and(|crossing| matches!(crossing.phase, Phase::Decided))
    }

    fn ready(&mut self, number: u64) -> bool {
        let Some(crossing) = self.all.get_mut(&number) else { return false };
        crossing.left -= 1;
        if crossing.left > 0 {
            return true;
        }
        match std::mem::replace(&mut crossing.phase, Phase::Decided) {
            Phase::Open(asked, ops) => {
                crossing.phase = Phase::Written(asked);
                let events = self.shared.events.clone();
                let done = move |outcome| drop(events.send(Event::Settled(number, outcome)));
                let done = Box::new(done);
                self.shared.transactions.submit(Submit { ops, durable: true, done });
                drop(self.shared.events.send(Event::Written(number))); // it is read by us
            }
            other => crossing.phase = other,
        }
        true
    }

    fn is_written(&self, number: u64) -> bool {
        let crossing = self.all.get(&number);
        crossing.is_some_and(|crossing| !matches!(crossing.phase, Phase::Open(..)))
    }

    fn cross(&self, store: &KahaDb, number: u64, ops: Vec<StoreOp>) {
        let events = self.shared.events.clone();
        let done = move |outcome| drop(events.send(Event::Done(number, outcome)));
        match ops.is_empty() {
            true => done(Ok(())), // it came with the intent
            false => store.submit_decided(ops, Box::new(done)),
        }
    }

    fn ask(&self, part: &Part, store: &KahaDb) {
        // Not the part itself: a store must not be dropped by a thread of its own.
        let (events, name) = (self.shared.events.clone(), part.place.name.clone());
        let done = move |outcome| drop(events.send(Event::Before(name, outcome)));
        store.submit(Submit { ops: Vec::new(), durable: true, done: Box::new(done) });
    }
}

/// Opens stores, one after the other, until there will be no more.
fn open(shared: &Shared, to_open: &Receiver<Arc<Part>>) {
    while let Ok(part) = to_open.recv() {
        let outcome = shared.open(&part);
        drop(shared.events.send(Event::Opened(part, outcome))); // it may have ended
    }
}
