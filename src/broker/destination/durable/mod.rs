//! A durable subscription: it keeps what its topics bring while its client is away.
//!
//! It outlives connections. Like [`TopicSubscription`](super::subscription::TopicSubscription) it is
//! shared by topics and one connection, with the push to the outbox under its lock, for the same reason.

mod dead;
mod expiry;
mod past;
mod pulls;
mod report;
mod spill;

pub use past::{Again, Looking, Past};

use super::backlog::{Backlog, Place};
use super::in_flight::{Ack, Entry, InFlightList, TransactionKey, Window};
use super::outlet::Outlet;
use super::pace::Seen;
use super::queue::Key;
use super::sources::Sources;
use super::spilled::Spilled;
use super::subscription::Pulls;
use super::{Effects, Now};
use crate::broker::advisory::Notice;
use crate::broker::candidate::Candidate;
use crate::broker::dead_letter::Cause;
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Delivery, Item, Outbox, Receipt, SubscriptionKey};
use crate::broker::policy::{Cursor, Policy};
use crate::broker::usage::{Credit, Usage};
use crate::jms::selector::Selector;
use crate::jms::{AckKind, ConsumerInfo, Destination, Text};
use crate::store::spool::Spool;
use crate::store::{Fetch, Page, PageLimit, StoreError, StoreOp, StoredMessage};
use expiry::Left;
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// Who a durable subscription belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurableKey {
    pub client: Text,
    pub name: Text,
}

/// One durable subscription.
#[derive(Debug)]
pub struct DurableSubscription {
    pub key: SubscriptionKey,
    /// Its number in the store.
    pub number: u64,
    pub owner: DurableKey,
    /// The topic, pattern or composite it listens to.
    pub destination: Destination,
    /// As its consumer asked for it when it was created.
    pub selector_text: Option<Text>,
    pub no_local: bool,
    /// Whether it keeps non-persistent messages while nobody has it.
    keeps_transient: bool,
    /// Whether messages expire while they wait for a consumer that has it.
    expires_active: bool,
    selector: Option<Selector>,
    policy: Arc<Policy>,
    outlet: Outlet,
    /// Memory for what is read from the store.
    usage: Arc<Usage>,
    /// Takes what does not fit there and is in no store.
    spool: Option<Arc<Spool>>,
    me: Weak<Self>,
    state: Mutex<State>,
}

/// What a durable subscription begins with.
pub struct NewDurable {
    pub key: SubscriptionKey,
    pub number: u64,
    pub owner: DurableKey,
    pub destination: Destination,
    pub info: Arc<ConsumerInfo>,
    pub selector: Option<Selector>,
    pub policy: Arc<Policy>,
    pub keeps_transient: bool,
    /// Whether messages expire while they wait for a consumer that has it.
    pub expires_active: bool,
    pub outlet: Outlet,
    pub usage: Arc<Usage>,
    pub spool: Option<Arc<Spool>>,
    /// Messages the store has for it.
    pub pending: u64,
}

#[derive(Debug)]
struct State {
    active: Option<Active>,
    /// It was deleted.
    ended: bool,
    /// The consumer that was active last, for noLocal and descriptions.
    info: Arc<ConsumerInfo>,
    pending: BTreeMap<Key, Entry>,
    /// Pending messages that only the store has.
    backlog: Backlog,
    spilled: Option<Spilled>,
    /// Messages that a topic is about to bring, or that a prepared transaction has acknowledged.
    expected: HashSet<i64>,
    /// Dead messages on their way out of the store: no page brings them again.
    dying: HashSet<i64>,
    left: Left,
    in_flight: InFlightList,
    /// Acknowledged in a transaction that is open, by a consumer that has gone.
    orphans: Vec<(TransactionKey, Entry)>,
    offline_since: Option<Instant>,
    pulls: Pulls,
    /// The last pull that is to be answered when the page that is being read has come, whatever it has.
    overdue: u64,
    /// Pasts of topics that it waits for.
    looking: usize,
    sources: Sources,
}

#[derive(Debug)]
struct Active {
    outbox: Arc<Outbox>,
    window: Window,
}

impl DurableSubscription {
    pub fn new(new: NewDurable) -> Arc<Self> {
        let mut backlog = Backlog::default();
        backlog.recovered(0, new.pending);
        Arc::new_cyclic(|me| Self {
            key: new.key,
            number: new.number,
            owner: new.owner,
            destination: new.destination,
            selector_text: new.info.selector.clone(),
            no_local: new.info.no_local,
            keeps_transient: new.keeps_transient,
            expires_active: new.expires_active,
            selector: new.selector,
            policy: new.policy,
            outlet: new.outlet,
            usage: new.usage,
            spool: new.spool,
            me: Weak::clone(me),
            state: Mutex::new(State {
                active: None,
                ended: false,
                info: new.info,
                pending: BTreeMap::new(),
                backlog,
                spilled: None,
                expected: HashSet::new(),
                dying: HashSet::new(),
                left: Left::default(),
                in_flight: InFlightList::default(),
                orphans: Vec::new(),
                offline_since: Some(Instant::now()),
                pulls: Pulls::default(),
                overdue: 0,
                looking: 0,
                sources: Sources::default(),
            }),
        })
    }

    /// A consumer takes the subscription; refused while another has it.
    pub fn activate(
        &self,
        info: Arc<ConsumerInfo>,
        outbox: Arc<Outbox>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BrokerError> {
        let mut state = self.state.lock();
        if state.active.is_some() || state.ended {
            return Err(BrokerError::DurableInUse {
                client: Text::clone(&self.owner.client),
                name: Text::clone(&self.owner.name),
            });
        }
        state.active = Some(Active { outbox, window: Window::new(info.prefetch_size) });
        state.sources.is_network = info.network_subscription;
        state.info = info;
        state.offline_since = None;
        self.send_pending(&mut state, now, out);
        Ok(())
    }

    /// What its consumer, or the last one it had, asked for.
    pub fn info(&self) -> Arc<ConsumerInfo> {
        Arc::clone(&self.state.lock().info)
    }

    /// How its consumer keeps up; none while it has none.
    pub fn seen(&self) -> Option<Seen> {
        self.state.lock().active.as_ref().map(|active| active.window.seen())
    }

    /// The topics it listens to.
    pub fn topics(&self) -> Vec<Destination> {
        self.state.lock().sources.topics().cloned().collect()
    }

    /// The subscription is deleted: nobody can take it any more. False while somebody has it.
    pub fn end(&self) -> bool {
        let mut state = self.state.lock();
        state.ended |= state.active.is_none();
        state.ended
    }

    pub fn is_active(&self) -> bool {
        self.state.lock().active.is_some()
    }

    /// Since when nobody has the subscription.
    pub fn offline_since(&self) -> Option<Instant> {
        self.state.lock().offline_since
    }

    /// Messages kept for the subscriber: pending and in flight.
    pub fn size(&self) -> usize {
        let state = self.state.lock();
        let stored = state.backlog.len() + state.spilled();
        let stored = usize::try_from(stored).unwrap_or(usize::MAX);
        state.pending.len() + state.in_flight.len() + state.orphans.len() + stored
    }

    /// The consumer goes: what it had in flight is pending again.
    pub fn deactivate(&self, last_delivered: i64) {
        let mut state = self.state.lock();
        state.active = None;
        state.sources.forget_held();
        state.pulls.forget();
        state.offline_since = Some(Instant::now());
        // Durable topics count everything as delivered when the client does not say (0 or -2).
        let last_delivered = if last_delivered == 0 { -2 } else { last_delivered };
        for held in state.in_flight.take_back(last_delivered) {
            match held.transaction {
                Some(transaction) => state.orphans.push((transaction, held.entry)),
                None => {
                    state.pending.insert(Key::of(&held.entry), held.entry);
                }
            }
        }
        state.in_flight = InFlightList::default();
        // What nobody waits for need not stay in memory.
        let State { pending, backlog, .. } = &mut *state;
        pending.retain(|_, entry| {
            let stays = entry.came_back() || !self.stores(entry);
            if !stays {
                backlog.skip(0, entry.sequence);
            }
            stays
        });
        backlog.rewind();
    }

    /// Whether the subscriber wants `entry`, which its topic then brings with [`Self::offer`].
    pub fn expect(&self, entry: &Entry) -> bool {
        let mut state = self.state.lock();
        let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
        let keeps = entry.message.persistent || self.keeps_transient || state.active.is_some();
        let wanted = keeps && super::accepts(&state.info, self.selector.as_ref(), &candidate);
        if wanted {
            state.expected.insert(entry.sequence);
        }
        wanted
    }

    /// Whether a topic is about to bring message `sequence`.
    pub fn expects(&self, sequence: i64) -> bool {
        self.state.lock().expected.contains(&sequence)
    }

    /// Message `sequence` will not come.
    pub fn forget(&self, sequence: i64) {
        self.state.lock().expected.remove(&sequence);
    }

    /// Takes messages it expects, which are in the store if they are to be.
    pub fn offer(&self, entries: Vec<Entry>, now: Now, out: &mut Effects) {
        let mut state = self.state.lock();
        for entry in entries {
            state.expected.remove(&entry.sequence);
            self.take(&mut state, entry);
        }
        self.send_pending(&mut state, now, out);
    }

    /// A message comes, which is in the store if it is to be.
    fn take(&self, state: &mut State, entry: Entry) {
        state.sources.enqueued += 1;
        if !self.stores(&entry) {
            return self.keep(state, entry);
        }
        let above = self.usage.is_above(self.policy.cursor_high_water_percent);
        let short =
            self.policy.durable_cursor == Cursor::Store && (state.active.is_none() || above);
        if state.backlog.place(0, entry.sequence, short) == Place::Memory {
            state.pending.insert(Key::of(&entry), entry);
        }
    }

    /// Whether the store has `entry` for this subscription.
    fn stores(&self, entry: &Entry) -> bool {
        self.outlet.store.keeps() && entry.message.persistent && entry.sequence != 0
    }

    /// Messages have come from the store.
    pub fn paged(&self, page: Result<Page, StoreError>) {
        let (now, mut out) = (Now::read(), Effects::default());
        {
            let mut state = self.state.lock();
            let wanted = state.backlog.arrived();
            let left = state.left.page_came();
            match page {
                Ok(page) if wanted => self.take_page(&mut state, page, &left, &mut out),
                Ok(_) => {}
                Err(error) => {
                    let (client, name) = (&self.owner.client, &self.owner.name);
                    tracing::error!(%client, %name, %error, "messages cannot be read from the store");
                    self.end_overdue_pulls(&mut state);
                    return;
                }
            }
            self.send_pending(&mut state, now, &mut out);
            self.end_overdue_pulls(&mut state);
        }
        self.outlet.run(&mut out, None);
    }

    fn take_page(&self, state: &mut State, page: Page, left: &HashSet<i64>, out: &mut Effects) {
        let held = state.in_flight.iter().map(|held| held.entry.sequence);
        let orphans = state.orphans.iter().map(|(_, entry)| entry.sequence);
        let pending = state.pending.keys().map(|key| key.sequence);
        let known: HashSet<i64> = held.chain(orphans).chain(pending).collect();
        let mut taken = page.damaged.len() as u64;
        for stored in page.messages {
            let sequence = stored.sequence;
            let apart = [&state.expected, &state.dying, left];
            let apart = apart.iter().any(|set| set.contains(&sequence));
            if !known.contains(&sequence) && !apart {
                taken += 1;
                let entry = self.stored_entry(stored);
                // What was stored for others may not be for this one.
                if self.wants(state, &entry) {
                    state.pending.insert(Key::of(&entry), entry);
                } else {
                    out.removals.extend(self.removal(&entry));
                }
            }
        }
        state.backlog.page(0, taken, page.last, page.end);
    }

    fn stored_entry(&self, stored: StoredMessage) -> Entry {
        let bytes = (stored.message.size() as u64).max(self.policy.minimum_message_bytes);
        self.usage.take(bytes);
        let hold = Some(Arc::new(Credit::taken(Arc::clone(&self.usage), bytes)));
        let prioritized = self.policy.prioritized_messages;
        Entry { hold, ..Entry::new(stored.message, stored.sequence, bytes, prioritized) }
    }

    /// These were acknowledged in a transaction that was prepared before the broker's last start. `receipt`
    /// is resolved when they are locked: until then the transaction must not end.
    pub fn lock(
        &self,
        transaction: TransactionKey,
        topic: Destination,
        sequences: Vec<i64>,
        receipt: Receipt,
    ) {
        self.state.lock().expected.extend(sequences.iter().copied());
        let me = Weak::clone(&self.me);
        let fetch = Fetch::Exactly { destination: topic, sequences };
        let done = Box::new(move |page: Result<Page, StoreError>| {
            if let (Some(me), Ok(page)) = (me.upgrade(), page) {
                let mut state = me.state.lock();
                for stored in page.messages {
                    if state.expected.remove(&stored.sequence) {
                        state.backlog.gone(0);
                        state.orphans.push((transaction, me.stored_entry(stored)));
                    }
                }
            }
            receipt.resolve(Ok(()));
        });
        self.outlet.store.fetch(fetch, done);
    }

    /// Applies an acknowledgement. `receipt` is to wait for what it takes out of the store, unless it is
    /// taken here.
    pub fn acknowledge(
        &self,
        ack: &Ack,
        receipt: &mut Option<Receipt>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BrokerError> {
        let mut state = self.state.lock();
        let State { active: Some(active), info, in_flight, backlog, left, dying, sources, .. } =
            &mut *state
        else {
            return Ok(());
        };
        let settled = in_flight.settle(ack, &active.window, self.policy.use_prefetch_extension)?;
        active.window.pace.acknowledged(now.instant);
        let by = self.policy.witness(info);
        sources.settle(settled.removed.len() as u64, ack.kind == AckKind::Expired);
        settled.removed.iter().for_each(|entry| left.note(entry.sequence, backlog));
        let letters = match ack.kind {
            AckKind::Poison | AckKind::Expired => settled.removed.len(),
            _ => 0,
        };
        let mut receipts = match (letters, receipt.is_some()) {
            (1.., true) => receipt.take().map(|r| r.split(letters)).unwrap_or_default(),
            _ => Vec::new(),
        };
        for entry in settled.removed {
            match ack.kind {
                AckKind::Poison => {
                    let cause = ack.cause.as_deref().map(|cause| Cause::Client(cause.clone()));
                    self.dead(dying, entry, cause, info.connection(), receipts.pop(), out);
                }
                // By the client's clock, which may be ahead of ours: it has not consumed the message.
                AckKind::Expired => self.expired(dying, entry, receipts.pop(), out),
                _ => {
                    out.removals.extend(self.removal(&entry));
                    self.consumed(&entry, by.as_ref(), out);
                }
            }
        }
        self.send_pending(&mut state, now, out);
        Ok(())
    }

    /// What takes `entry` out of the store for this subscription, if it is in it.
    fn removal(&self, entry: &Entry) -> Option<StoreOp> {
        let destination = entry.message.destination.clone().filter(|_| self.stores(entry))?;
        let (subscription, sequence) = (self.number, entry.sequence);
        Some(StoreOp::Acknowledge { destination, subscription, sequence })
    }

    /// What the store has to do when `transaction` is committed.
    pub fn marked(&self, transaction: TransactionKey) -> Vec<StoreOp> {
        let state = self.state.lock();
        let orphans = state.orphans.iter().filter(|(holder, _)| *holder == transaction);
        let orphans = orphans.map(|(_, entry)| entry);
        let marked = state.in_flight.marked(transaction).chain(orphans);
        marked.filter_map(|entry| self.removal(entry)).collect()
    }

    /// Ends a transaction this subscription's acknowledgements were part of.
    pub fn end_transaction(
        &self,
        transaction: TransactionKey,
        commit: bool,
        now: Now,
        out: &mut Effects,
    ) {
        let mut state = self.state.lock();
        let none = Window::new(0);
        let State { active, info, in_flight, orphans, pending, backlog, left, sources, .. } =
            &mut *state;
        let by = self.policy.witness(info);
        let window = active.as_ref().map_or(&none, |active| &active.window);
        for entry in in_flight.end_transaction(transaction, commit, window) {
            sources.settle(1, false);
            left.note(entry.sequence, backlog);
            self.consumed(&entry, by.as_ref(), out);
        }
        let (mine, others) =
            std::mem::take(orphans).into_iter().partition(|(holder, _)| *holder == transaction);
        *orphans = others;
        for (_, entry) in mine {
            if commit {
                left.note(entry.sequence, backlog);
                self.consumed(&entry, None, out);
            } else {
                pending.insert(Key::of(&entry), entry);
            }
        }
        self.send_pending(&mut state, now, out);
    }

    pub fn set_prefetch(&self, prefetch: i32, now: Now, out: &mut Effects) {
        let mut state = self.state.lock();
        if let Some(active) = &state.active {
            active.window.set_prefetch(prefetch);
        }
        self.send_pending(&mut state, now, out);
    }

    fn send_pending(&self, state: &mut State, now: Now, out: &mut Effects) {
        if state.looking > 0 {
            return;
        }
        let State {
            active: Some(active),
            pending,
            backlog,
            dying,
            left,
            in_flight,
            info,
            pulls,
            spilled,
            sources,
            ..
        } = state
        else {
            return;
        };
        let mut items = Vec::new();
        let pulled = active.window.prefetch() == 0;
        let wants = |pulls: &Pulls| if pulled { pulls.any() } else { active.window.has_room() };
        // By priority: what only the store has may go first, so it is read before anything goes.
        let gathers = self.policy.prioritized_messages
            && backlog.first().is_some()
            && pending.len() < GATHERED_MAX
            && !self.usage.is_above(self.policy.cursor_high_water_percent);
        // In order of arrival: what is in memory waits for what came before and only the store has. By
        // priority there is no such order to keep.
        let barrier = backlog.barrier().filter(|_| !self.policy.prioritized_messages);
        let barrier = barrier.map_or(i64::MAX, |(_, after)| after);
        while !gathers
            && wants(pulls)
            && pending.first_key_value().is_some_and(|(key, _)| key.sequence <= barrier)
            && let Some((_, entry)) = pending.pop_first()
        {
            if entry.message.is_expired(now.wall_ms) {
                left.note(entry.sequence, backlog);
                sources.expire(entry.message.destination.as_ref());
                self.expired(dying, entry, None, out);
                continue;
            }
            if pulled {
                pulls.answer();
            }
            active.window.add(1);
            let destination = entry.message.destination.clone();
            sources.give(destination.as_ref());
            items.push(Item::Delivery(Delivery {
                destination: destination.unwrap_or_else(|| self.destination.clone()),
                message: Some(Arc::clone(&entry.message)),
                sequence: entry.sequence,
                redeliveries: entry.redeliveries,
                ..self.empty(info)
            }));
            in_flight.push(entry);
        }
        active.window.pace.takes(items.len() as u64);
        sources.tell();
        active.outbox.push_all(&mut items);
        let waiting = !pending.is_empty() || !backlog.is_empty() || spilled.is_some();
        if !active.window.is_full() {
            active.window.pace.keeps_up();
        } else if waiting
            && active.window.pace.falls_behind()
            && self.policy.advisory_for_slow_consumers
        {
            let topics = sources.topics().filter(|topic| !topic.is_advisory());
            topics.for_each(|topic| out.notice(Notice::slow_consumer(topic, info)));
        }
        let page = PageLimit { messages: self.policy.page_max.max(1), bytes: PAGE_BYTES };
        if (wants(pulls) || pending.len() < page.messages / 2)
            && let Some((_, after)) = backlog.read()
            && let Some(me) = self.me.upgrade()
        {
            let subscription = self.number;
            let fetch = Fetch::Durable { subscription, topic: None, after, limit: page };
            out.reads.push((me, fetch));
        }
        self.read_spilled(state);
    }

    fn empty(&self, info: &Arc<ConsumerInfo>) -> Delivery {
        Delivery {
            subscription: self.key,
            consumer: Arc::clone(info),
            destination: self.destination.clone(),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: None,
        }
    }
}

/// Pending messages that are put in the order of their priorities; of a longer backlog the oldest ones.
const GATHERED_MAX: usize = 10_000;

/// Bytes read at a time.
const PAGE_BYTES: u64 = 1 << 20;
