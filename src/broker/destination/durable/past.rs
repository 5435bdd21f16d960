//! What a durable subscription gets of the past of its topics when a retroactive consumer takes it.
//!
//! A new subscription gets what a topic still holds for others; the store adds it to what it has for the
//! subscription. Where a topic has nothing for the subscription then, it gives what its recovery policy kept.

use super::{DurableSubscription, State};
use crate::broker::candidate::Candidate;
use crate::broker::destination::in_flight::Entry;
use crate::broker::destination::{Effects, Now, accepts};
use crate::jms::Destination;
use crate::store::{Fetch, Page, PageLimit, StoreError, StoreOp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A topic's past is on its way: while there is one of these, the subscription sends nothing.
#[derive(Debug)]
pub struct Looking {
    durable: Arc<DurableSubscription>,
    ended: bool,
}

/// What a topic has of the past for a durable subscription.
#[derive(Debug)]
pub struct Past {
    pub looking: Looking,
    pub topic: Destination,
    /// What was sent before has a lower number.
    pub before: i64,
    /// The subscription is new: the store was asked to share with it.
    pub shared: bool,
    /// Subscriptions that share what they hold in memory, because no store has it.
    pub others: Vec<Arc<DurableSubscription>>,
    /// What the topic was asked to retain.
    pub retained: Option<Again>,
    /// What its policy kept, for a subscription that has nothing else of the topic.
    pub kept: Vec<Again>,
}

/// A message of the past under a new number, so that it can be stored for one subscription though others are
/// done with it.
#[derive(Debug)]
pub struct Again {
    pub entry: Entry,
    /// What stores it, if it is to be.
    pub add: Option<StoreOp>,
}

impl DurableSubscription {
    /// Has the subscription wait for the past.
    pub fn look_back(self: &Arc<Self>) -> Looking {
        self.state.lock().looking += 1;
        Looking { durable: Arc::clone(self), ended: false }
    }

    /// A past has come, or will not.
    fn looked(&self, now: Now, out: &mut Effects) {
        let mut state = self.state.lock();
        state.looking -= 1;
        self.send_pending(&mut state, now, out);
        self.end_overdue_pulls(&mut state);
    }

    /// Persistent messages of `topic` it has in memory, below number `before`.
    fn held_of(&self, topic: &Destination, before: i64) -> Vec<Entry> {
        let state = self.state.lock();
        let held = state.memory().filter(|entry| is_of(entry, topic, before));
        held.filter(|entry| entry.message.persistent).cloned().collect()
    }

    pub(super) fn wants(&self, state: &State, entry: &Entry) -> bool {
        let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
        accepts(&state.info, self.selector.as_ref(), &candidate)
    }
}

impl State {
    fn memory(&self) -> impl Iterator<Item = &Entry> {
        let held = self.in_flight.iter().map(|held| &held.entry);
        let orphans = self.orphans.iter().map(|(_, entry)| entry);
        self.pending.values().chain(held).chain(orphans)
    }
}

impl Clone for Looking {
    fn clone(&self) -> Self {
        self.durable.look_back()
    }
}

impl Looking {
    /// The past has come; the same as dropping this.
    pub fn end(mut self, now: Now, out: &mut Effects) {
        self.ended = true;
        self.durable.looked(now, out);
    }

    pub fn durable(&self) -> &Arc<DurableSubscription> {
        &self.durable
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.ended {
            let mut out = Effects::default();
            self.durable.looked(Now::read(), &mut out);
            self.durable.outlet.run(&mut out, None);
        }
    }
}

impl Past {
    /// Asks the store for the first message it has of the topic for the subscription.
    pub fn fetch(&self) -> Fetch {
        let limit = PageLimit { messages: 1, bytes: 1 };
        let (subscription, topic) = (self.looking.durable.number, Some(self.topic.clone()));
        Fetch::Durable { subscription, topic, after: 0, limit }
    }

    /// Gives the subscription what is for it, as the store's answer to [`Self::fetch`] says. What is returned
    /// is to end when `out` has been carried out.
    pub fn settle(self, page: Result<Page, StoreError>, out: &mut Effects) -> Looking {
        let Self { looking, topic, before, shared, others, retained, kept } = self;
        let durable = Arc::clone(&looking.durable);
        let stored = match page {
            Ok(page) => {
                page.last.filter(|last| *last < before).map(|_| 1 + page.behind.unwrap_or(0))
            }
            Err(error) => {
                let (client, name) = (&durable.owner.client, &durable.owner.name);
                tracing::error!(%client, %name, %topic, %error, "the past cannot be read from the store");
                Some(1)
            }
        };
        let held = others.iter().flat_map(|other| other.held_of(&topic, before));
        let held: BTreeMap<i64, Entry> = held.map(|entry| (entry.sequence, entry)).collect();
        let mut state = durable.state.lock();
        if let Some(count) = stored.filter(|_| shared) {
            state.backlog.skip_all(0, 1, before - 1, count);
            state.backlog.rewind();
        }
        let has_more = stored.is_some()
            || !held.is_empty()
            || state.memory().any(|entry| is_of(entry, &topic, before));
        let kept = if has_more { Vec::new() } else { kept };
        for Again { entry, add } in retained.into_iter().chain(kept) {
            if durable.wants(&state, &entry) {
                out.holds.extend(entry.hold.clone().filter(|_| add.is_some()));
                out.adds.extend(add);
                durable.take(&mut state, entry);
            }
        }
        for (_, entry) in held {
            if durable.wants(&state, &entry) {
                let redeliveries = entry.message.redelivery_counter;
                durable.take(&mut state, Entry { redeliveries, ..entry });
            }
        }
        drop(state);
        looking
    }
}

fn is_of(entry: &Entry, topic: &Destination, before: i64) -> bool {
    entry.sequence < before && entry.message.destination.as_ref() == Some(topic)
}
