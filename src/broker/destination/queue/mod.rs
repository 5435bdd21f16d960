//! A queue: each message goes to one consumer, in order of arrival.
//!
//! Plain state without tasks, channels or clocks. [`Queue::handle`] takes one operation, and after a
//! batch of them [`Queue::settle_batch`] dispatches once. What must happen outside (receipts, store,
//! dead letters) is left in [`Effects`].
//!
//! ```text
//!            admit                  give                    ack
//!  Send --+--------> pending ----------------> in flight -----------> gone
//!         |            ^  |                     |   |
//!         | no room    |  | expired             |   | poison, expired
//!         v            |  v                     |   v
//!       parked         |  dead letter           |   dead letter
//!         |            +------------------------+
//!         +--> pending    consumer gone: back in its place, redeliveries + 1
//! ```
//!
//! Pending messages are ordered by `(priority rank, sequence)`. Each subscription remembers up to where
//! it has looked (`Subscription::scanned`), so that a message that nobody wants is looked at once per
//! subscription and not once per pass.

mod browse;
mod dispatch;
mod settle;
#[cfg(test)]
mod tests;

use super::audit::Audit;
use super::groups::Groups;
use super::in_flight::{Entry, InFlightList, TransactionKey, Window};
use super::parking::Parking;
use super::{Effects, Incoming, Now, Op, QueueCounters};
use crate::broker::advisory::Notice;
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Delivery, Item, Outbox, Receipt, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::selector::Selector;
use crate::jms::{ConsumerInfo, Destination, Message};
use crate::store::{StoreOp, StoredAdd};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

/// Place of a pending message: priority rank (0 unless messages are prioritized), then arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    rank: u8,
    pub(super) sequence: i64,
}

impl Key {
    /// The place of `entry`.
    pub(super) fn of(entry: &Entry, prioritized: bool) -> Self {
        let rank =
            if prioritized { 9 - entry.message.priority.clamp(0, 9).cast_unsigned() } else { 0 };
        Self { rank, sequence: entry.sequence }
    }

    const MIN: Self = Self { rank: 0, sequence: i64::MIN };
    const MAX: Self = Self { rank: u8::MAX, sequence: i64::MAX };

    /// The least key above this one.
    fn next(self) -> Self {
        Self { rank: self.rank, sequence: self.sequence + 1 }
    }
}

/// Open pulls of one consumer. A client waits for the answer to one before it sends the next; of one
/// that does not, the oldest are forgotten.
const PULLS_MAX: usize = 256;

/// A consumer as the queue sees it.
#[derive(Debug)]
pub struct NewSubscription {
    pub key: SubscriptionKey,
    pub info: Arc<ConsumerInfo>,
    pub selector: Option<Selector>,
    pub outbox: Arc<Outbox>,
    pub window: Arc<Window>,
    /// Index of this destination in the consumer's list, for consumers that have several.
    pub source: Option<u16>,
}

#[derive(Debug)]
struct Subscription {
    new: NewSubscription,
    in_flight: InFlightList,
    pulls: VecDeque<Pull>,
    /// No pending message below this key is acceptable.
    scanned: Key,
    /// Deliveries of this pass, pushed to the outbox together.
    staged: Vec<Item>,
    dispatched: u64,
    dequeued: u64,
    /// Still taking part in the dispatch pass that runs.
    open: bool,
}

/// A request for one message by a consumer without prefetch.
#[derive(Debug)]
pub struct Pull {
    /// When to answer that there is nothing; none: never.
    pub deadline: Option<Instant>,
    /// Set by the first destination that answers, for consumers that have several.
    pub answered: Option<Arc<AtomicBool>>,
}

impl Pull {
    fn is_open(&self) -> bool {
        !self.answered.as_ref().is_some_and(|answered| answered.load(Ordering::SeqCst))
    }

    /// Claims the right to answer.
    fn claim(&self) -> bool {
        !self.answered.as_ref().is_some_and(|answered| answered.swap(true, Ordering::SeqCst))
    }
}

/// What the queue shares with the rest of the broker.
#[derive(Clone)]
pub struct QueueContext {
    pub destination: Destination,
    pub policy: Arc<Policy>,
    pub usage: Arc<Usage>,
    /// Gives every message its number.
    pub sequence: Arc<AtomicI64>,
    /// Wakes the queue's task; called when there is room for parked sends.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// All a queue knows.
pub struct Queue {
    context: QueueContext,
    pending: BTreeMap<Key, Entry>,
    /// Pending messages that have an end of life: (expiration, place).
    expiring: BTreeSet<(i64, Key)>,
    /// Highest priority first, then order of arrival, rotated as messages are given.
    #[expect(clippy::vec_box, reason = "rotation moves pointers, not subscriptions")]
    subscriptions: Vec<Box<Subscription>>,
    browsers: Vec<browse::Browser>,
    /// Above this key nobody has looked yet.
    scanned_max: Key,
    exclusive: Option<SubscriptionKey>,
    groups: Groups,
    /// The first message that was passed over because its group has an owner.
    kept_for_owner: Option<Key>,
    audit: Option<Audit>,
    parking: Parking,
    /// Messages acknowledged in open transactions whose consumers are gone.
    orphans: Vec<(TransactionKey, Entry)>,
    next_expiry_check: Option<Instant>,
    counters: QueueCounters,
}

impl Queue {
    pub fn new(context: QueueContext) -> Self {
        let policy = &context.policy;
        Self {
            pending: BTreeMap::new(),
            expiring: BTreeSet::new(),
            subscriptions: Vec::new(),
            browsers: Vec::new(),
            scanned_max: Key::MIN,
            exclusive: None,
            groups: Groups::new(policy.groups),
            kept_for_owner: None,
            audit: policy.audit.then(|| Audit::new(policy.audit_depth, policy.audit_producers)),
            parking: Parking::default(),
            orphans: Vec::new(),
            next_expiry_check: None,
            counters: QueueCounters::default(),
            context,
        }
    }

    /// Takes one operation. Deliveries wait for [`Self::settle_batch`].
    pub fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        match op {
            Op::Send(incoming) => self.send(incoming, now, out),
            Op::Ack { ack, receipt } => {
                let result = self.acknowledge(&ack, now, out);
                out.answer(receipt, result, self.outbox_of(ack.subscription));
            }
            Op::Subscribe { new, receipt } => {
                self.subscribe(*new);
                out.resolve(receipt, Ok(()));
            }
            Op::Unsubscribe { key, last_delivered, receipt } => {
                self.unsubscribe(key, last_delivered, now);
                out.resolve(receipt, Ok(()));
            }
            Op::Pull { key, pull } => {
                if let Some(browser) = self.browsers.iter_mut().find(|b| b.key() == key) {
                    browser.pull();
                } else if let Some(subscription) = self.subscription_mut(key) {
                    subscription.pull(pull);
                }
            }
            Op::EndTransaction { transaction, commit, receipt } => {
                self.end_transaction(transaction, commit, now, out);
                out.stored(receipt);
            }
            Op::ConnectionClosed(connection) => self.parking.forget(connection),
            Op::Purge { receipt } => {
                self.purge(out);
                out.stored(receipt);
            }
            Op::Destroy { receipt } => {
                self.purge(out);
                self.parking.clear();
                for browser in &mut self.browsers {
                    browser.finish();
                }
                out.resolve(receipt, Ok(()));
                out.destroyed = true;
            }
            Op::Counters(answer) => answer.send(self.counters()).unwrap_or_default(),
            // A batch was asked for; topics have members instead of subscriptions.
            Op::Wake | Op::Join { .. } | Op::Leave { .. } => {}
        }
    }

    /// Ends a batch: parked sends get in, messages go out, pulls are answered.
    pub fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        while let Some(incoming) = self.parking.next(&self.context, now, out) {
            self.admit(incoming, now, out);
        }
        self.expire_due(now, out);
        self.dispatch(now, out);
        self.answer_empty_pulls(now);
        self.page_browsers();
        self.flush();
    }

    /// When the queue has something to do though nobody asks.
    pub fn next_deadline(&self) -> Option<Instant> {
        let pulls = self.subscriptions.iter().flat_map(|s| &s.pulls).filter_map(|p| p.deadline);
        pulls.chain(self.parking.deadline(&self.context)).chain(self.next_expiry_check).min()
    }

    pub fn counters(&self) -> QueueCounters {
        let in_flight: usize = self.subscriptions.iter().map(|s| s.in_flight.len()).sum();
        let in_flight = in_flight + self.orphans.len();
        QueueCounters {
            in_flight: in_flight as u64,
            size: (self.pending.len() + in_flight) as u64,
            consumers: self.subscriptions.len() as u64,
            ..self.counters.clone()
        }
    }

    fn subscription_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().map(|s| &mut **s).find(|s| s.new.key == key)
    }

    fn outbox_of(&self, key: SubscriptionKey) -> Option<&Arc<Outbox>> {
        self.subscriptions.iter().find(|s| s.new.key == key).map(|s| &s.new.outbox)
    }

    fn send(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let size = self.pending.len() as u64;
        if let Some(incoming) = self.parking.enter(incoming, &self.context, size, now, out) {
            self.admit(incoming, now, out);
        }
    }

    /// A message whose memory is taken enters the queue.
    fn admit(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let Incoming { message, bytes, receipt, redeliveries, .. } = incoming;
        if message.is_expired(now.wall_ms) {
            self.counters.enqueued += 1;
            let entry = Entry { message, sequence: 0, bytes, redeliveries, hold: None };
            self.expired(entry, out);
            out.resolve(receipt, Ok(()));
            return;
        }
        if let (Some(audit), Some(id)) = (&mut self.audit, &message.message_id)
            && audit.is_duplicate(id)
        {
            tracing::debug!(destination = %self.context.destination, %id, "duplicate message dropped");
            self.context.usage.release(bytes);
            out.resolve(receipt, Ok(()));
            return;
        }
        let sequence = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.counters.enqueued += 1;
        let policy = &self.context.policy;
        if policy.advisory_for_delivery {
            out.notice(Notice::delivered(&self.context.destination, &message));
        }
        if policy.advisory_if_no_consumers && !message.persistent && self.subscriptions.is_empty() {
            out.notice(Notice::no_consumer(&self.context.destination, &message));
        }
        if self.is_stored(&message) {
            out.store.push(StoreOp::Add(StoredAdd {
                destination: self.context.destination.clone(),
                sequence,
                band: 0,
                message: Arc::clone(&message),
                subscribers: Vec::new(),
                cancel: None,
            }));
            out.stored(receipt);
        } else {
            out.resolve(receipt, Ok(()));
        }
        self.insert(Entry { message, sequence, bytes, redeliveries, hold: None }, now);
    }

    /// Whether a message of this queue is in the store.
    fn is_stored(&self, message: &Message) -> bool {
        message.persistent && !self.context.destination.kind().is_temporary()
    }

    /// Puts an entry in its place among the pending ones.
    fn insert(&mut self, entry: Entry, now: Now) {
        let key = self.key(&entry);
        if key < self.scanned_max {
            for subscription in &mut self.subscriptions {
                subscription.scanned = subscription.scanned.min(key);
            }
        }
        if entry.message.expiration > 0 {
            self.expiring.insert((entry.message.expiration, key));
            let period = self.context.policy.expire_period;
            if self.next_expiry_check.is_none() && !period.is_zero() {
                self.next_expiry_check = Some(now.instant + period);
            }
        }
        self.pending.insert(key, entry);
    }

    fn key(&self, entry: &Entry) -> Key {
        Key::of(entry, self.context.policy.prioritized_messages)
    }

    /// Takes a pending entry out.
    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.pending.remove(&key)?;
        if entry.message.expiration > 0 {
            self.expiring.remove(&(entry.message.expiration, key));
        }
        Some(entry)
    }

    fn subscribe(&mut self, new: NewSubscription) {
        if new.info.browser {
            self.browse(new);
            return;
        }
        let subscription = Subscription {
            new,
            in_flight: InFlightList::default(),
            pulls: VecDeque::new(),
            scanned: Key::MIN,
            staged: Vec::new(),
            dispatched: 0,
            dequeued: 0,
            open: false,
        };
        let priority = self.priority(&subscription);
        let at = self
            .subscriptions
            .iter()
            .position(|other| self.priority(other) < priority)
            .unwrap_or(self.subscriptions.len());
        self.subscriptions.insert(at, Box::new(subscription));
        self.choose_exclusive(Some(self.subscriptions[at].new.key));
    }

    fn priority(&self, subscription: &Subscription) -> i8 {
        if self.context.policy.use_consumer_priority { subscription.new.info.priority } else { 0 }
    }

    fn is_exclusive(&self, subscription: &Subscription) -> bool {
        subscription.new.info.exclusive || self.context.policy.all_consumers_exclusive
    }

    /// Decides who is the exclusive consumer after `added` came (or someone left).
    fn choose_exclusive(&mut self, added: Option<SubscriptionKey>) {
        let holder = self.exclusive.and_then(|key| {
            self.subscriptions.iter().find(|subscription| subscription.new.key == key)
        });
        let best = match (holder, added) {
            (Some(holder), Some(added)) => {
                let rival = self.subscriptions.iter().find(|s| s.new.key == added);
                rival.filter(|rival| {
                    self.is_exclusive(rival)
                        && (self.priority(rival) > self.priority(holder)
                            || rival.new.info.priority == i8::MAX)
                })
            }
            (Some(_), None) => None,
            // The list is in order of priority, then arrival.
            (None, _) => self.subscriptions.iter().find(|s| self.is_exclusive(s)),
        };
        let chosen = best.or(holder).map(|subscription| subscription.new.key);
        if chosen != self.exclusive {
            self.exclusive = chosen;
            self.look_again();
        }
    }

    /// What was not acceptable may be so now.
    fn look_again(&mut self) {
        for subscription in &mut self.subscriptions {
            subscription.scanned = Key::MIN;
        }
        self.scanned_max = Key::MIN;
    }

    fn unsubscribe(&mut self, key: SubscriptionKey, last_delivered: i64, now: Now) {
        self.browsers.retain(|browser| browser.key() != key);
        let Some(at) = self.subscriptions.iter().position(|s| s.new.key == key) else { return };
        let mut gone = self.subscriptions.remove(at);
        let held = gone.in_flight.take_back(last_delivered);
        gone.new.window.settle(i32::try_from(held.len()).unwrap_or(i32::MAX));
        for held in held {
            match held.transaction {
                _ if held.purged => {}
                Some(transaction) => self.orphans.push((transaction, held.entry)),
                None => self.insert(held.entry, now),
            }
        }
        if self.exclusive == Some(key) {
            self.choose_exclusive(None);
        }
        if self.groups.release(key) {
            self.look_at_kept();
        }
    }

    /// Hands each connection what this batch brought for it.
    fn flush(&mut self) {
        for subscription in &mut self.subscriptions {
            if !subscription.staged.is_empty() {
                subscription.new.outbox.push_all(&mut subscription.staged);
            }
        }
    }
}

impl Subscription {
    fn wants_more(&self) -> bool {
        match self.new.window.prefetch() {
            0 => self.pulls.iter().any(Pull::is_open),
            _ => self.new.window.has_room(),
        }
    }

    /// Notes that the consumer asks for a message. Only a consumer without prefetch may.
    fn pull(&mut self, pull: Pull) {
        if self.new.window.prefetch() == 0 {
            if self.pulls.len() >= PULLS_MAX {
                self.pulls.pop_front();
            }
            self.pulls.push_back(pull);
        }
    }

    /// Takes the right to give it one message: always there in a window, else the oldest pull that no
    /// other destination has answered.
    fn claim(&mut self) -> bool {
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

    fn delivery(&self, destination: &Destination) -> Delivery {
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

/// Receipts of operations that name a subscription.
impl Effects {
    /// Answers an acknowledgement: by its receipt, or, when it failed and none was asked for, by an
    /// asynchronous error.
    fn answer(
        &mut self,
        receipt: Option<Receipt>,
        result: Result<bool, BrokerError>,
        outbox: Option<&Arc<Outbox>>,
    ) {
        match (receipt, result) {
            (Some(receipt), Ok(true)) => self.stored(Some(receipt)),
            (receipt @ Some(_), result) => self.resolve(receipt, result.map(|_| ())),
            (None, Err(error)) => {
                if let Some(outbox) = outbox {
                    outbox.push(Item::AsyncError(error));
                }
            }
            (None, Ok(_)) => {}
        }
    }
}
