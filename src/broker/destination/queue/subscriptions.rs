//! The consumers of a queue: how they come and go, which one is exclusive, what they ask for.

use super::consumers::Rank;
use super::judged::{Judged, Span, join};
use super::{Key, Pull, Queue};
use crate::broker::destination::in_flight::{InFlightList, Window};
use crate::broker::destination::report::SubscriptionReport;
use crate::broker::destination::{Effects, Now};
use crate::broker::outbox::{Delivery, Item, Outbox, SubscriptionKey};
use crate::jms::selector::Selector;
use crate::jms::{ConsumerInfo, Destination};
use std::collections::VecDeque;
use std::sync::Arc;

/// A consumer as the queue sees it.
#[derive(Debug)]
pub struct NewSubscription {
    pub key: SubscriptionKey,
    pub info: Arc<ConsumerInfo>,
    pub selector: Option<Selector>,
    pub outbox: Arc<Outbox>,
    pub window: Arc<Window>,
    /// The number of this destination among those of the consumer, for consumers that have several.
    pub source: Option<u32>,
}

impl NewSubscription {
    /// What it is and how many messages it was given, has settled and holds. What the queue has not given it is
    /// the queue's.
    pub(super) fn report(
        &self,
        dispatched: u64,
        dequeued: u64,
        in_flight: u64,
    ) -> SubscriptionReport {
        SubscriptionReport {
            key: self.key,
            info: Arc::clone(&self.info),
            durable: None,
            active: true,
            prefetch: self.window.prefetch(),
            enqueued: dispatched,
            dispatched,
            dequeued,
            in_flight,
            pending: 0,
            discarded: 0,
            slow: false,
        }
    }
}

/// The queue may have been woken for room in a window that others share.
impl Drop for NewSubscription {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.window.pass_on();
        }
    }
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) new: NewSubscription,
    pub(super) in_flight: InFlightList,
    pub(super) pulls: VecDeque<Pull>,
    pub(super) judged: Judged,
    /// Deliveries of this pass, pushed to the outbox together.
    pub(super) staged: Vec<Item>,
    pub(super) dispatched: u64,
    pub(super) dequeued: u64,
    /// It is found by the value that its selector asks for.
    pub(super) by_value: bool,
    /// It had room when that was looked at last.
    pub(super) open: bool,
    pub(super) rank: Rank,
    /// It owns more or fewer groups than its rank says.
    pub(super) stale: bool,
}

impl Queue {
    pub(super) fn subscribe(&mut self, new: NewSubscription, now: Now, out: &mut Effects) {
        if new.info.browser {
            self.expire_pending(now, out);
            self.browse(new);
            return;
        }
        let key = new.key;
        let first = self.consumers.is_empty();
        self.starting.consumer_added(first, &self.context.policy, now.instant);
        let subscription = Subscription {
            new,
            in_flight: InFlightList::default(),
            pulls: VecDeque::new(),
            judged: Judged::NOTHING,
            staged: Vec::new(),
            dispatched: 0,
            dequeued: 0,
            by_value: false,
            open: false,
            rank: Rank::default(),
            stale: false,
        };
        self.consumers.insert(subscription, &self.groups);
        self.choose_exclusive(Some(key));
    }

    /// Decides who is the exclusive consumer after `added` came (or someone left).
    fn choose_exclusive(&mut self, added: Option<SubscriptionKey>) {
        if self.consumers.choose_exclusive(added, self.context.policy.all_consumers_exclusive) {
            self.look_again();
        }
    }

    /// What was not acceptable may be so now.
    pub(super) fn look_again(&mut self) {
        self.consumers.look_again();
        self.scanned_max = Key::MIN;
    }

    pub(super) fn unsubscribe(&mut self, key: SubscriptionKey, last_delivered: i64, now: Now) {
        self.browsers.retain(|browser| browser.key() != key);
        let Some(mut gone) = self.consumers.remove(key) else { return };
        self.forget_waiting(key);
        let held = gone.in_flight.take_back(last_delivered);
        gone.new.window.settle(i32::try_from(held.len()).unwrap_or(i32::MAX));
        let mut returned = None;
        for held in held {
            match held.transaction {
                _ if held.purged => {}
                Some(transaction) => self.orphans.push((transaction, held.entry)),
                None => {
                    returned = join(returned, Some(Span::of(Key::of(&held.entry))));
                    self.put(held.entry, now);
                }
            }
        }
        self.choose_exclusive(None);
        let kept = self.groups.release(key);
        for span in returned.into_iter().chain(kept) {
            self.look_at(span);
        }
    }
}

impl Subscription {
    pub(super) fn report(&self) -> SubscriptionReport {
        self.new.report(self.dispatched, self.dequeued, self.in_flight.len() as u64)
    }

    pub(super) fn wants_more(&self) -> bool {
        match self.new.window.prefetch() {
            0 => self.pulls.iter().any(Pull::is_open),
            _ => self.new.window.has_room(),
        }
    }

    /// How many messages it could take now.
    pub(super) fn room(&self) -> usize {
        match self.new.window.prefetch() {
            0 => self.pulls.iter().filter(|pull| pull.is_open()).count(),
            _ => self.new.window.room(),
        }
    }

    /// Notes that the consumer asks for a message. Only a consumer without prefetch may.
    pub(super) fn pull(&mut self, pull: Pull) {
        if self.new.window.prefetch() == 0 {
            if self.pulls.len() >= PULLS_MAX {
                self.pulls.pop_front();
            }
            self.pulls.push_back(pull);
        }
    }

    /// Takes the right to give it one message: always there in a window, else the oldest pull that no
    /// other destination has answered.
    pub(super) fn claim(&mut self) -> bool {
        if self.new.window.prefetch() > 0 {
            return true;
        }
        while let Some(pull) = self.pulls.pop_front() {
            if pull.claim() {
                return true;
            }
        }
        false
    }

    pub(super) fn delivery(&self, destination: &Destination) -> Delivery {
        Delivery {
            subscription: self.new.key,
            consumer: Arc::clone(&self.new.info),
            destination: destination.clone(),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: self.new.source,
        }
    }
}

/// Open pulls of one consumer. A client waits for the answer to one before it sends the next; of one
/// that does not, the oldest are forgotten.
const PULLS_MAX: usize = 256;
