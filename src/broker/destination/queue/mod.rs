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
//! Pending messages are ordered by `(priority rank, sequence)`. Each subscription remembers what it has
//! looked at (`Judged`), so that a message that nobody wants is looked at once per subscription and not
//! once per pass, and read from the store only for those who have not.

mod browse;
mod consumers;
mod context;
mod dispatch;
mod judged;
mod locked;
mod marks;
mod paging;
mod pending;
mod pull;
mod room;
mod settle;
mod spill;
mod starting;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transact;

use self::consumers::Consumers;
pub(crate) use self::context::Shortage;
pub use self::context::{History, QueueContext, TempShortage};
pub(super) use self::judged::{Span, join};
use self::locked::Locked;
use self::marks::Marks;
use self::pending::Pending;
pub use self::pull::{OpenPulls, Pull};
use self::room::Late;
use self::spill::Spill;
use self::starting::Starting;
pub use self::subscriptions::NewSubscription;
use self::subscriptions::Subscription;
use super::audit::{Audit, Seen};
use super::backlog::{Backlog, Place};
use super::commit::Vote;
use super::counters::Ledger;
use super::groups::Groups;
use super::in_flight::{Entry, TransactionKey};
use super::parking::Parking;
use super::report::Report;
use super::{Effects, Incoming, Now, Op};
use crate::broker::advisory::Notice;
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Item, Outbox, Receipt, SubscriptionKey};
use crate::broker::policy::Cursor;
use crate::broker::usage::Credit;
use crate::jms::Message;
use crate::store::{Cancel, StoreOp, StoredAdd};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Place of a pending message: priority rank (0 unless messages are prioritized), then arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    rank: u8,
    pub(super) sequence: i64,
}

impl Key {
    /// The place of `entry`.
    pub(super) fn of(entry: &Entry) -> Self {
        Self { rank: entry.band, sequence: entry.sequence }
    }

    /// The place of message `sequence` in `band`.
    fn at(band: u8, sequence: i64) -> Self {
        Self { rank: band, sequence }
    }

    const MIN: Self = Self { rank: 0, sequence: i64::MIN };
    const MAX: Self = Self { rank: u8::MAX, sequence: i64::MAX };

    /// The least key above this one.
    fn next(self) -> Self {
        Self { rank: self.rank, sequence: self.sequence + 1 }
    }
}

/// What a consumer held counts as seen by nobody, see `InFlightList::take_back`.
const NONE_DELIVERED: i64 = -1;

/// All a queue knows.
pub struct Queue {
    context: QueueContext,
    pending: Pending,
    /// Pending messages that only the store has.
    backlog: Backlog,
    /// Messages in the temp store.
    spill: Spill,
    /// Stored messages that come, or came, by another way than the pages that have them.
    withheld: HashSet<i64>,
    /// Dead messages that are on their way out of the store, with their bands: no page brings them again.
    dying: HashMap<i64, u8>,
    /// There may be more expired messages than the last page had.
    more_expired: bool,
    /// Messages that left while a page was read that may still have them.
    left: HashSet<i64>,
    /// Acknowledged in transactions that were prepared before the broker's start.
    locked: Locked,
    /// Those of `withheld` that were purged before they came.
    purged: HashSet<i64>,
    /// Commits voted on and not decided.
    votes: usize,
    /// The end that was asked for meanwhile, and who waits for it.
    ending: Option<Option<Receipt>>,
    /// After a read that failed: when to try again.
    retry_at: Option<Instant>,
    /// Some of the backlog may have an end of life.
    backlog_expires: bool,
    /// Expired messages of the backlog are being read.
    reading_expired: bool,
    /// They are to be read when the page has come that is on its way.
    expiry_waits: bool,
    /// Pending messages that have an end of life: (expiration, place).
    expiring: BTreeSet<(i64, Key)>,
    consumers: Consumers,
    browsers: Vec<browse::Browser>,
    /// Above this key nobody has looked yet.
    scanned_max: Key,
    /// The last key of those that were handed to consumers.
    given_max: Key,
    /// What is in memory before this cannot be dropped.
    dropped_to: Key,
    /// How many messages in memory could not be dropped when all were tried.
    undroppable: usize,
    starting: Starting,
    groups: Groups,
    audit: Option<Audit>,
    parking: Parking,
    marks: Marks,
    /// Messages acknowledged in open transactions whose consumers are gone.
    orphans: Vec<(TransactionKey, Entry)>,
    /// Messages that are to be stored when there is room.
    late: Vec<Late>,
    next_expiry_check: Option<Instant>,
    counters: Ledger,
}

impl Queue {
    /// A queue that holds what `history` says.
    pub fn new(context: QueueContext, history: History) -> Self {
        let policy = &context.policy;
        let mut backlog = Backlog::default();
        for (band, messages) in history.bands {
            backlog.recovered(band, messages);
        }
        let mut audit =
            policy.audit.then(|| Audit::new(policy.queue_audit_depth, policy.audit_producers));
        if let Some(audit) = &mut audit {
            for (producer, highest) in history.producers {
                audit.seen_up_to(producer, highest);
            }
        }
        let expires = history.expiring && !policy.expire_period.is_zero();
        Self {
            pending: Pending::default(),
            backlog,
            spill: Spill::default(),
            withheld: HashSet::new(),
            dying: HashMap::new(),
            more_expired: false,
            left: HashSet::new(),
            locked: Locked::default(),
            purged: HashSet::new(),
            votes: 0,
            ending: None,
            retry_at: None,
            backlog_expires: history.expiring,
            reading_expired: false,
            expiry_waits: false,
            expiring: BTreeSet::new(),
            consumers: Consumers::new(policy.use_consumer_priority),
            browsers: Vec::new(),
            scanned_max: Key::MIN,
            given_max: Key::MIN,
            dropped_to: Key::MIN,
            undroppable: 0,
            starting: Starting::default(),
            groups: Groups::new(policy.groups),
            audit,
            parking: Parking::default(),
            marks: Marks::default(),
            orphans: Vec::new(),
            late: Vec::new(),
            next_expiry_check: expires.then(Instant::now),
            counters: Ledger::default(),
            context,
        }
    }

    /// Takes one operation. Deliveries wait for [`Self::settle_batch`].
    pub fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        match op {
            Op::Send(incoming) => self.send(incoming, now, out),
            Op::Ack { ack, mut receipt } => {
                let result = self.acknowledge(&ack, &mut receipt, now, out);
                if let (Err(error), Some(rollback_only)) = (&result, &ack.rollback_only) {
                    rollback_only.mark(error);
                }
                out.answer(receipt, result, self.outbox_of(ack.subscription));
            }
            Op::Subscribe { new, receipt } => {
                self.subscribe(*new, now, out);
                out.resolve(receipt, Ok(()));
            }
            Op::Unsubscribe { key, last_delivered, receipt } => {
                self.unsubscribe(key, last_delivered, now);
                out.resolve(receipt, Ok(()));
            }
            Op::Pull { key, pull } => {
                if let Some(browser) = self.browsers.iter_mut().find(|b| b.key() == key) {
                    browser.pull();
                } else {
                    self.consumers.pull(key, pull);
                }
            }
            Op::Vote(vote) => {
                let Vote { transaction, sends, ballot, receipt } = *vote;
                let (ops, entries) = self.vote(transaction, sends, now);
                ballot.cast(ops, entries, receipt);
            }
            Op::Decide(decision) => {
                self.votes -= 1;
                self.decide(*decision, now, out);
                if let (0, Some(receipt)) = (self.votes, self.ending.take()) {
                    self.handle(Op::Destroy { receipt }, now, out);
                }
            }
            Op::RollBack { transaction, receipt } => {
                self.roll_back(transaction, now);
                out.resolve(receipt, Ok(()));
            }
            Op::Marked { transaction, answer } => {
                // Who asks may have gone.
                answer.send(self.marked(transaction)).unwrap_or_default();
            }
            Op::Lock { transaction, sequences } => self.lock(transaction, sequences),
            Op::Paged { of, page } => self.paged(of, page, now, out),
            Op::Refused { sequences } => self.take_back(&sequences),
            Op::NoRoom(adds) => self.wait_for_room(*adds, now, out),
            Op::Buried { sequence, gone } => self.buried(sequence, gone, now, out),
            Op::MarkedDelivered => self.marked_delivered(),
            Op::Stored { entries, stored } => self.stored(entries, stored, now, out),
            Op::Unspooled { channel, band, messages } => {
                self.unspool(channel, band, messages, now);
            }
            Op::Unspoolable { channel, band, messages } => {
                self.keep_after_all(channel, band, messages, now);
            }
            Op::ConnectionClosed(connection) => self.parking.forget(connection),
            Op::Purge { receipt } => {
                self.purge(out);
                out.when_removed(receipt);
            }
            // What a commit brings must not come into the store behind the end.
            Op::Destroy { receipt } if self.votes > 0 => self.ending = Some(receipt),
            Op::Destroy { receipt } => {
                self.clear();
                if self.context.keeps && !self.context.destination.kind().is_temporary() {
                    let destination = self.context.destination.clone();
                    out.removals.push(StoreOp::Delete { destination });
                }
                self.parking.clear();
                // Other queues may share these windows.
                for subscription in self.consumers.iter_mut() {
                    let held = subscription.in_flight.take_back(NONE_DELIVERED).len();
                    subscription.new.window.settle(i32::try_from(held).unwrap_or(i32::MAX));
                }
                for browser in &mut self.browsers {
                    browser.finish();
                }
                self.counters.fetch(&self.context.shared);
                self.context.gone.add(&self.counters.broker());
                out.when_removed(receipt);
                out.destroyed = true;
            }
            Op::Report(answer) => {
                self.counters.fetch(&self.context.shared);
                answer.send(self.report()).unwrap_or_default();
            }
            Op::ResetCounters(whose) => {
                self.counters.fetch(&self.context.shared);
                self.counters.reset(whose);
            }
            Op::Policy(policy) => {
                self.consumers.use_priority(policy.use_consumer_priority, &self.groups);
                self.context.policy = policy;
            }
            // A batch was asked for; topics have members instead of subscriptions; jobs are elsewhere.
            Op::Wake | Op::Join { .. } | Op::Leave { .. } | Op::Jobs(_) => {}
        }
    }

    /// Ends a batch: parked sends get in, messages go out, pulls are answered.
    pub fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        self.store_late(out);
        while let Some(incoming) = self.parking.next(&self.context, now, out) {
            self.admit(incoming, now, out);
        }
        out.adds_wait = !self.context.policy.send_fail_if_no_space;
        self.retry_at = self.retry_at.filter(|at| now.instant < *at);
        self.expire_due(now, out);
        self.dispatch(now, out);
        self.share_windows();
        self.read_unlocked(out);
        self.page_in(out);
        self.spill(out);
        self.answer_empty_pulls(now);
        self.page_browsers(out);
        self.flush(out);
    }

    /// When the queue has something to do though nobody asks.
    pub fn next_deadline(&self) -> Option<Instant> {
        // While messages are on their way, their coming ends the wait.
        let pulling = if self.is_reading() { &[] } else { self.consumers.pulling() };
        let pulls = pulling.iter().flat_map(|s| &s.pulls).filter_map(|p| p.deadline);
        let waits = self.parking.deadline(&self.context).into_iter().chain(self.next_expiry_check);
        pulls.chain(waits).chain(self.retry_at).chain(self.starting.deadline()).min()
    }

    /// What there is now and what came and went.
    pub fn report(&self) -> Report {
        let in_flight: usize = self.consumers.iter().map(|s| s.in_flight.len()).sum();
        let in_flight = in_flight + self.orphans.len();
        let in_memory = (self.pending.len() + in_flight + self.locked.len()) as u64;
        let shown: u64 = self.browsers.iter().map(browse::Browser::in_flight).sum();
        let held = self.consumers.iter().filter_map(|s| s.in_flight.iter().next());
        let first = self.pending.values().next().into_iter();
        let first = first.chain(held.map(|held| &held.entry));
        let browsers = self.browsers.iter().map(browse::Browser::report);
        Report {
            own: self.counters.own(),
            broker: self.counters.broker(),
            in_flight: in_flight as u64 + shown,
            size: in_memory - self.locked.held() as u64 + self.backlog.len() + self.spill.len(),
            in_memory,
            consumers: self.consumers.len() as u64,
            oldest_ms: first.map(|entry| entry.message.broker_in_time).min(),
            subscriptions: self.consumers.iter().map(|s| s.report()).chain(browsers).collect(),
        }
    }

    fn outbox_of(&self, key: SubscriptionKey) -> Option<&Arc<Outbox>> {
        self.consumers.get(key).map(|s| &s.new.outbox)
    }

    fn send(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let size = self.pending.len() as u64 + self.backlog.len();
        if let Some(incoming) = self.parking.enter(incoming, &self.context, size, now, out) {
            self.admit(incoming, now, out);
        }
    }

    /// A message whose memory is taken enters the queue.
    fn admit(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let Incoming { message, bytes, receipt, redeliveries, moved, resent, .. } = incoming;
        if message.is_expired(now.wall_ms) {
            self.count_arrival(bytes);
            out.leave(moved);
            let entry = self.entry(message, 0, bytes);
            self.expired(entry, receipt, out);
            return;
        }
        let seen = self.note(&message);
        if seen != Seen::New {
            self.counters.now.duplicates += u64::from(seen == Seen::Gone);
            self.context.usage.release(bytes);
            out.leave(moved);
            let is_dead = seen == Seen::Gone && !resent;
            self.context.drop_duplicate(message, is_dead, receipt, out);
            return;
        }
        let mut entry = Entry { redeliveries, ..self.numbered(message, bytes) };
        self.note_arrival(&entry, out);
        if !self.context.stores(&entry.message) {
            out.leave(moved);
            out.resolve(receipt, Ok(()));
            self.keep_unstored(entry, now);
            return;
        }
        if !self.context.dispatches_early {
            self.withheld.insert(entry.sequence);
            out.adds.push(self.add_op(&entry));
            out.move_along(moved);
            out.awaited.push(entry);
            out.when_added(receipt);
            return;
        }
        let place = self.place(&entry);
        if place == Place::Memory {
            entry.cancel = Some(Cancel::default());
        }
        out.adds.push(self.add_op(&entry));
        out.move_along(moved);
        out.when_added(receipt);
        match place {
            Place::Memory => self.put(entry, now),
            Place::Store => {
                self.leave_in_store(&entry, now);
                let hold = Credit::taken(Arc::clone(&self.context.usage), bytes);
                out.holds.push(Arc::new(hold));
            }
        }
    }

    /// What is known of a message that comes, and is noted.
    fn note(&mut self, message: &Message) -> Seen {
        let Some(audit) = &mut self.audit else { return Seen::New };
        let seen = message.message_id.as_ref().map_or(Seen::New, |id| audit.note(id));
        if let (Seen::There | Seen::Gone, Some(id)) = (seen, &message.message_id) {
            tracing::debug!(destination = %self.context.destination, %id, "duplicate message dropped");
        }
        seen
    }

    fn entry(&self, message: Arc<Message>, sequence: i64, bytes: u64) -> Entry {
        Entry::new(message, sequence, bytes, self.context.policy.prioritized_messages)
    }

    /// An entry with the next sequence number.
    fn numbered(&self, message: Arc<Message>, bytes: u64) -> Entry {
        let sequence = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.entry(message, sequence, bytes)
    }

    fn add_op(&self, entry: &Entry) -> StoreOp {
        StoreOp::Add(StoredAdd {
            destination: self.context.destination.clone(),
            sequence: entry.sequence,
            band: entry.band,
            message: Arc::clone(&entry.message),
            subscribers: Vec::new(),
            cancel: entry.cancel.clone(),
        })
    }

    /// Counts a message that came, and tells who watches.
    fn note_arrival(&mut self, entry: &Entry, out: &mut Effects) {
        self.count_arrival(entry.bytes);
        let (policy, message) = (&self.context.policy, &entry.message);
        if policy.advisory_for_delivery {
            out.notice(Notice::delivered(&self.context.destination, message));
        }
        let is_alone = self.consumers.is_empty() && self.browsers.is_empty();
        if policy.advisory_if_no_consumers && !message.persistent && is_alone {
            out.notice(Notice::no_consumer(&self.context.destination, message));
        }
    }

    pub(super) fn count_arrival(&mut self, bytes: u64) {
        self.counters.now.enqueued += 1;
        self.counters.now.message_bytes.add(bytes);
    }

    /// A message that is, or will be, in the store becomes pending: where it is to be.
    fn place(&mut self, entry: &Entry) -> Place {
        self.look_at(Span::of(Key::of(entry)));
        let stays_out = self.is_unwanted() || self.context.is_short();
        self.backlog.place(entry.band, entry.sequence, stays_out)
    }

    /// Whether nobody is there to take a stored message, and memory has what the next consumer begins with: more
    /// would only fill it.
    fn is_unwanted(&self) -> bool {
        self.context.keeps
            && self.context.policy.cursor == Cursor::Store
            && self.consumers.is_empty()
            && self.pending.len() >= self.page_limit().messages
    }

    /// A message becomes pending, again or for the first time.
    fn insert(&mut self, entry: Entry, now: Now) {
        self.look_at(Span::of(Key::of(&entry)));
        self.put(entry, now);
    }

    /// Puts an entry in its place among the pending ones.
    fn put(&mut self, entry: Entry, now: Now) {
        let key = Key::of(&entry);
        if entry.message.expiration > 0 {
            self.expiring.insert((entry.message.expiration, key));
            self.watch_expiry(now);
        }
        self.dropped_to = self.dropped_to.min(key);
        self.pending.insert(entry);
    }

    /// A message that is in the backlog needs no more than to be noticed when it expires.
    fn leave_in_store(&mut self, entry: &Entry, now: Now) {
        if entry.message.expiration > 0 {
            self.backlog_expires = true;
            self.watch_expiry(now);
        }
    }

    pub(super) fn watch_expiry(&mut self, now: Now) {
        let period = self.context.policy.expire_period;
        if self.next_expiry_check.is_none() && !period.is_zero() {
            self.next_expiry_check = Some(now.instant + period);
        }
    }

    /// Takes a pending entry out.
    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.pending.remove(key)?;
        if entry.message.expiration > 0 {
            self.expiring.remove(&(entry.message.expiration, key));
        }
        Some(entry)
    }
}

/// Receipts of operations that name a subscription.
impl Effects {
    /// Answers an acknowledgement: by its receipt, or, when it failed and none was asked for, by an
    /// asynchronous error.
    fn answer(
        &mut self,
        receipt: Option<Receipt>,
        result: Result<(), BrokerError>,
        outbox: Option<&Arc<Outbox>>,
    ) {
        match (receipt, result) {
            (receipt @ Some(_), Ok(())) => self.when_removed(receipt),
            (receipt @ Some(_), result) => self.resolve(receipt, result),
            (None, Err(error)) => {
                if let Some(outbox) = outbox {
                    outbox.push(Item::AsyncError(error));
                }
            }
            (None, Ok(())) => {}
        }
    }
}
