//! A non-durable topic subscription: a window, and what waits for it.
//!
//! Nothing is remembered after it was sent: acknowledgements only open the window (semantics.md
//! section 3). Topics offer messages and the connection acknowledges them from their own tasks, so the
//! state is behind a lock, which also covers the push to the outbox: released before, a message offered
//! later could overtake one offered earlier. The outbox takes no other lock.

use super::counters::SharedCounts;
use super::eviction::evict;
use super::in_flight::Entry;
use super::outlet::Outlet;
use super::pace::{Pace, Seen};
use super::report::SubscriptionReport;
use super::sources::Sources;
use super::spilled::{Answer, Spilled};
use super::{Effects, Now};
use crate::broker::advisory::Notice;
use crate::broker::candidate::Candidate;
use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::outbox::{Delivery, Item, Outbox, SubscriptionKey};
use crate::broker::policy::{PendingLimit, Policy};
use crate::broker::usage::Usage;
use crate::jms::selector::Selector;
use crate::jms::{AckKind, ConsumerInfo, Destination, Text};
use crate::store::spool::Spool;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// A consumer of topics.
#[derive(Debug)]
pub struct TopicSubscription {
    pub key: SubscriptionKey,
    pub info: Arc<ConsumerInfo>,
    selector: Option<Selector>,
    outbox: Arc<Outbox>,
    policy: Arc<Policy>,
    /// Most messages beyond the prefetch.
    pending_max: Option<usize>,
    memory: Memory,
    pace: Pace,
    me: Weak<Self>,
    state: Mutex<State>,
}

/// Where messages are that wait for a topic subscription.
#[derive(Clone, Debug)]
pub struct Memory {
    pub usage: Arc<Usage>,
    /// Takes what does not fit; none: everything stays in memory.
    pub spool: Option<Arc<Spool>>,
    pub outlet: Outlet,
}

/// Pulls of a consumer without prefetch, numbered as they come and answered in that order.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    asked: u64,
    answered: u64,
}

impl Pulls {
    /// One more; returns its ticket.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Whether the pull with this ticket waits.
    pub(super) fn owes(&self, ticket: u64) -> bool {
        self.answered < ticket
    }

    /// Whether any waits.
    pub(super) fn any(&self) -> bool {
        self.answered < self.asked
    }

    pub(super) fn answer(&mut self) {
        self.answered += 1;
    }

    /// Nobody waits any more.
    pub(super) fn forget(&mut self) {
        self.answered = self.asked;
    }
}

#[derive(Debug, Default)]
struct State {
    prefetch: i32,
    extension: i32,
    in_flight: i32,
    pending: VecDeque<Entry>,
    /// Nothing pending expires before this, ms since the epoch; 0: nothing does.
    expires_from: i64,
    /// Those in the temp store, which come after those in memory.
    spilled: Option<Spilled>,
    pulls: Pulls,
    /// The last pull that is to be answered when what is being read has come, whatever it is.
    overdue: u64,
    discarded: u64,
    sources: Sources,
}

impl TopicSubscription {
    pub fn new(
        key: SubscriptionKey,
        info: Arc<ConsumerInfo>,
        selector: Option<Selector>,
        outbox: Arc<Outbox>,
        policy: Arc<Policy>,
        memory: Memory,
    ) -> Arc<Self> {
        let prefetch = info.prefetch_size.max(0);
        let by_policy = match policy.pending_limit {
            PendingLimit::None => None,
            PendingLimit::Constant(limit) => Some(limit as usize),
            PendingLimit::PrefetchRate(rate) => Some((f64::from(prefetch) * rate) as usize),
        };
        let own = usize::try_from(info.maximum_pending_message_limit).ok().filter(|own| *own > 0);
        let pending_max = match (by_policy, own) {
            (Some(policy), Some(own)) => Some(policy.min(own)),
            (policy, own) => policy.or(own),
        };
        let is_network = info.network_subscription;
        let sources = Sources::new(is_network);
        Arc::new_cyclic(|me| Self {
            key,
            info,
            selector,
            outbox,
            policy,
            pending_max,
            memory,
            pace: Pace::default(),
            me: Weak::clone(me),
            state: Mutex::new(State { prefetch, sources, ..State::default() }),
        })
    }

    pub(super) fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// Takes the messages that match; returns how many were sent at once.
    pub fn offer(&self, entries: &[Entry], now: Now, out: &mut Effects) -> u64 {
        self.offer_to(self.selector.as_ref(), entries, now, out)
    }

    /// As [`Self::offer`], for messages its selector is known to match.
    pub(super) fn offer_matching(&self, entries: &[Entry], now: Now, out: &mut Effects) -> u64 {
        self.offer_to(None, entries, now, out)
    }

    fn offer_to(
        &self,
        selector: Option<&Selector>,
        entries: &[Entry],
        now: Now,
        out: &mut Effects,
    ) -> u64 {
        let matches = |entry: &&Entry| {
            let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
            super::accepts(&self.info, selector, &candidate)
        };
        // Selectors are evaluated before the lock is taken.
        let accepted: Vec<&Entry> = entries.iter().filter(matches).collect();
        if accepted.is_empty() {
            return 0;
        }
        let mut items = Vec::with_capacity(accepted.len());
        let mut state = self.state.lock();
        state.sources.enqueued += accepted.len() as u64;
        let mut rest = Vec::new();
        let high = self.policy.cursor_high_water_percent;
        let short = self.pending_max.is_none() && self.memory.usage.is_above(high);
        for entry in accepted {
            let behind = state.spilled.is_some();
            if !behind && state.pending.is_empty() && state.has_room() {
                items.push(self.delivery(&mut state, entry.clone()));
            } else if behind || (short && self.memory.spool.is_some()) {
                rest.push(entry.clone());
            } else {
                state.note_expiration(entry);
                state.pending.push_back(entry.clone());
            }
        }
        if !rest.is_empty() {
            self.spill(&mut state, rest);
            self.send_pending(&mut state, now, out);
        }
        self.limit_pending(&mut state, now, out);
        state.sources.tell();
        let sent = items.len() as u64;
        // Within the lock, as in `send_pending`: who dispatches next does so behind these.
        self.outbox.push_all(&mut items);
        sent
    }

    /// The client has settled (or, with [`AckKind::Delivered`], seen) `count` messages.
    pub fn acknowledge(&self, kind: AckKind, count: i32, now: Now, out: &mut Effects) {
        let count = count.max(0);
        let mut state = self.state.lock();
        match kind {
            AckKind::Delivered => {
                let most = state.in_flight;
                state.extension = state.extension.saturating_add(count).min(most);
            }
            AckKind::Redelivered | AckKind::Unmatched => return,
            AckKind::Standard | AckKind::Individual | AckKind::Expired | AckKind::Poison => {
                self.pace.acknowledged(now.instant);
                let settled = count.min(state.in_flight);
                let expired = kind == AckKind::Expired;
                state.sources.settle(settled.unsigned_abs().into(), expired);
                state.in_flight -= settled;
                state.extension = (state.extension - count).max(0);
            }
        }
        self.send_pending(&mut state, now, out);
    }

    /// The client has settled `count` messages in a transaction, whose end is to bring the rest.
    pub fn acknowledge_later(&self, kind: AckKind, count: i32, now: Now, out: &mut Effects) {
        self.pace.acknowledged(now.instant);
        if kind == AckKind::Individual {
            self.acknowledge(AckKind::Delivered, count, now, out);
        }
    }

    /// The transaction in which the client has settled `count` messages is rolled back.
    pub(super) fn takes_back(&self, count: i32) {
        let mut state = self.state.lock();
        state.extension = (state.extension - count).max(0);
    }

    /// Changes the prefetch.
    pub fn set_prefetch(&self, prefetch: i32, now: Now, out: &mut Effects) {
        let mut state = self.state.lock();
        state.prefetch = prefetch.max(0);
        self.send_pending(&mut state, now, out);
    }

    /// Asks for one message; a ticket for [`Self::end_pull`] when there is none yet.
    pub fn pull(&self, now: Now, out: &mut Effects) -> Option<u64> {
        let mut state = self.state.lock();
        if state.prefetch > 0 {
            return None;
        }
        let ticket = state.pulls.ask();
        self.send_pending(&mut state, now, out);
        state.pulls.owes(ticket).then_some(ticket)
    }

    /// Whether the pull with this ticket has not been answered.
    pub fn owes(&self, ticket: u64) -> bool {
        self.state.lock().pulls.owes(ticket)
    }

    /// Ends a pull that waited long enough: answers that there is nothing, unless it was answered. It goes
    /// on waiting for messages that are being read.
    pub fn end_pull(&self, ticket: u64) {
        let mut state = self.state.lock();
        state.overdue = state.overdue.max(ticket);
        self.end_overdue_pulls(&mut state);
    }

    fn end_overdue_pulls(&self, state: &mut State) {
        if state.spilled.as_ref().is_some_and(|spilled| spilled.is_reading()) {
            return;
        }
        while state.pulls.owes(state.overdue) {
            state.pulls.answer();
            self.outbox.push(Item::Delivery(self.empty()));
        }
    }

    /// How the consumer keeps up.
    pub fn seen(&self) -> Seen {
        let in_flight = self.state.lock().in_flight;
        self.pace.seen(in_flight, Instant::now())
    }

    /// The topics it listens to.
    pub fn topics(&self) -> Vec<Destination> {
        self.state.lock().sources.topics().cloned().collect()
    }

    /// It listens to `topic`, for which it counts.
    pub(super) fn joined(&self, topic: &Destination, counts: &Arc<SharedCounts>) {
        self.state.lock().sources.join(topic, counts);
    }

    pub(super) fn left(&self, topic: &Destination) {
        self.state.lock().sources.leave(topic);
    }

    /// What it tells about itself, and how many messages of the topic with these `counts` it holds.
    pub(super) fn report(&self, counts: &Arc<SharedCounts>) -> (SubscriptionReport, u64) {
        let state = self.state.lock();
        let report = SubscriptionReport {
            key: self.key,
            info: Arc::clone(&self.info),
            durable: None,
            active: true,
            prefetch: state.prefetch,
            enqueued: state.sources.enqueued,
            dispatched: state.sources.dispatched,
            dequeued: state.sources.dequeued,
            in_flight: state.in_flight.unsigned_abs().into(),
            pending: (state.pending.len() + state.spilled()) as u64,
            discarded: state.discarded,
            slow: self.pace.seen(state.in_flight, Instant::now()).slow,
        };
        (report, state.sources.in_flight_of(counts))
    }

    /// Messages waiting beyond the window, and messages discarded so far.
    pub fn backlog(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.pending.len() + state.spilled(), state.discarded)
    }

    fn send_pending(&self, state: &mut State, now: Now, out: &mut Effects) {
        let mut items = Vec::new();
        while state.has_room()
            && let Some(entry) = state.pending.pop_front()
        {
            if entry.message.is_expired(now.wall_ms) {
                self.expired(&state.sources, &entry, out);
            } else {
                items.push(self.delivery(state, entry));
            }
        }
        if state.pending.is_empty() && state.spilled.is_none() {
            self.pace.keeps_up();
        }
        state.sources.tell();
        self.outbox.push_all(&mut items);
        self.read_on(state);
    }

    /// Messages go to the temp store.
    fn spill(&self, state: &mut State, entries: Vec<Entry>) {
        let Some(spool) = &self.memory.spool else {
            entries.iter().for_each(|entry| state.note_expiration(entry));
            return state.pending.extend(entries);
        };
        let spilled = state.spilled.get_or_insert_with(|| Spilled::new(spool));
        spilled.put(entries, self.taking());
    }

    /// Reads on in the temp store when memory has little left for the consumer.
    fn read_on(&self, state: &mut State) {
        if let Some(spilled) = &mut state.spilled {
            spilled.read(state.pending.len(), &self.policy, self.taking());
        }
    }

    /// Takes what the temp store answers.
    fn taking(&self) -> impl FnOnce(u64, Answer) + Send + 'static {
        let me = Weak::clone(&self.me);
        move |channel, answer| {
            if let Some(me) = me.upgrade() {
                me.take(channel, answer);
            }
        }
    }

    fn take(&self, channel: u64, answer: Answer) {
        let (now, mut out) = (Now::read(), Effects::default());
        {
            let mut state = self.state.lock();
            let goes_on = !matches!(answer, Answer::Unread);
            let usage = &self.memory.usage;
            for entry in Spilled::take(&mut state.spilled, channel, answer, usage, &self.policy) {
                state.note_expiration(&entry);
                state.pending.push_back(entry);
            }
            if goes_on {
                self.send_pending(&mut state, now, &mut out);
            }
            self.end_overdue_pulls(&mut state);
        }
        self.memory.outlet.run(&mut out, None);
    }

    fn delivery(&self, state: &mut State, entry: Entry) -> Item {
        if state.prefetch == 0 {
            state.pulls.answer();
        }
        state.in_flight = state.in_flight.saturating_add(1);
        state.sources.give(entry.message.destination.as_ref());
        let destination = entry.message.destination.clone();
        Item::Delivery(Delivery {
            destination: destination.unwrap_or_else(|| Destination::topic("")),
            message: Some(entry.message),
            sequence: entry.sequence,
            redeliveries: entry.redeliveries,
            hold: entry.hold,
            ..self.empty()
        })
    }

    fn empty(&self) -> Delivery {
        let destination = self.info.destination.clone();
        Delivery {
            subscription: self.key,
            consumer: Arc::clone(&self.info),
            destination: destination.unwrap_or_else(|| Destination::topic("")),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: None,
        }
    }

    /// A message in the backlog went past its time.
    fn expired(&self, sources: &Sources, entry: &Entry, out: &mut Effects) {
        sources.expire(entry.message.destination.as_ref());
        let Some(from) = entry.message.destination.clone() else { return };
        out.notice(Notice::expired(&from, &entry.message));
        let cause = Some(Cause::Expired(entry.message.expiration));
        let message = Arc::clone(&entry.message);
        out.dead_letter(DeadLetter::unstored(message, from, cause));
    }

    /// Marks a consumer that falls behind, and evicts what is over its limit.
    fn limit_pending(&self, state: &mut State, now: Now, out: &mut Effects) {
        let behind = i32::try_from(state.pending.len() + state.spilled()).unwrap_or(i32::MAX);
        if state.prefetch > 1 && behind > state.prefetch && self.pace.falls_behind() {
            tracing::warn!(
                consumer = %Text::from(self.consumer()),
                "has twice its prefetch limit pending, without an ack; it appears to be slow"
            );
            if self.policy.advisory_for_slow_consumers {
                let topics = state.sources.topics().filter(|topic| !topic.is_advisory());
                topics.for_each(|topic| out.notice(Notice::slow_consumer(topic, &self.info)));
            }
        }
        let Some(max) = self.pending_max else { return };
        let many = state.pending.len() > max.min(self.policy.evict_expired_from);
        if many && state.expires_from > 0 && now.wall_ms > state.expires_from {
            self.evict_expired(state, now, out);
        }
        let mut gone = Vec::new();
        while state.pending.len() > max {
            evict(&self.policy.eviction, &mut state.pending, &mut gone);
        }
        for entry in gone {
            state.discarded += 1;
            self.discarded(&entry, state.discarded, out);
        }
    }

    fn evict_expired(&self, state: &mut State, now: Now, out: &mut Effects) {
        let mut pending = std::mem::take(&mut state.pending);
        state.expires_from = 0;
        pending.retain(|entry| {
            let expired = entry.message.is_expired(now.wall_ms);
            if expired {
                self.expired(&state.sources, entry, out);
            } else {
                state.note_expiration(entry);
            }
            !expired
        });
        state.pending = pending;
    }

    fn consumer(&self) -> String {
        self.info.consumer_id.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn discarded(&self, entry: &Entry, count: u64, out: &mut Effects) {
        let Some(from) = entry.message.destination.clone() else { return };
        // An advisory about it would come here too where the subscription is to a pattern, and so on.
        if from.is_advisory() {
            return;
        }
        if self.policy.advisory_for_discarding {
            out.notice(Notice::discarded(&from, &entry.message, &self.info, count));
        }
        let cause = Some(Cause::Discarded(self.consumer().into()));
        let message = Arc::clone(&entry.message);
        out.dead_letter(DeadLetter::unstored(message, from, cause));
    }
}

impl State {
    fn note_expiration(&mut self, entry: &Entry) {
        let expiration = entry.message.expiration;
        if expiration > 0 && (self.expires_from == 0 || expiration < self.expires_from) {
            self.expires_from = expiration;
        }
    }

    /// Messages that are not in `pending`.
    fn spilled(&self) -> usize {
        let spilled = self.spilled.as_ref().map_or(0, Spilled::len);
        usize::try_from(spilled).unwrap_or(usize::MAX)
    }

    fn has_room(&self) -> bool {
        if self.prefetch == 0 {
            return self.pulls.any();
        }
        self.in_flight < self.prefetch.saturating_add(self.extension)
    }
}
