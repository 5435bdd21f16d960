//! What a queue should do, said as simply as possible: lists, and a walk from the front for every
//! message that is given.

use super::super::super::fixture::BYTES;
use crate::broker::destination::Admission;
use crate::broker::destination::in_flight::{Ack, AckRange};
use crate::broker::policy::{GroupMapKind, Policy};
use crate::jms::{AckKind, Message, MessageId, Text};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    BadCount,
    BadRange,
    UnknownMessage,
    PoisonInTransaction,
    Timeout,
    Dropped,
}

/// What a consumer is expected to get: sequence (none: nothing there), redeliveries, first of group.
pub(super) type Given = (Option<i64>, i32, bool);

#[derive(Clone, Debug)]
pub(super) struct Msg {
    pub(super) sequence: i64,
    pub(super) message: Arc<Message>,
    redeliveries: i32,
    /// When it became pending, in ms.
    pub(super) since_ms: u64,
}

impl Msg {
    fn id(&self) -> &MessageId {
        self.message.message_id.as_ref().expect("test messages have ids")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) msg: Msg,
    pub(super) transaction: Option<u64>,
    purged: bool,
}

#[derive(Debug)]
pub(super) struct Sub {
    pub(super) key: u64,
    pub(super) priority: i8,
    pub(super) exclusive: bool,
    /// `JMSType = 'x'`
    pub(super) selector: Option<&'static str>,
    /// No messages of this connection.
    pub(super) not_from: Option<&'static str>,
    pub(super) prefetch: i32,
    pub(super) extension: i32,
    pub(super) held: Vec<Held>,
    /// When to answer, in ms.
    pub(super) pulls: VecDeque<Option<u64>>,
    pub(super) dispatched_to: bool,
    pub(super) expects: Vec<Given>,
    /// Errors of acknowledgements that asked for no answer.
    pub(super) errors: usize,
}

impl Sub {
    pub(super) fn new(key: u64, prefetch: i32) -> Self {
        Self {
            key,
            priority: 0,
            exclusive: false,
            selector: None,
            not_from: None,
            prefetch,
            extension: 0,
            held: Vec::new(),
            pulls: VecDeque::new(),
            dispatched_to: false,
            expects: Vec::new(),
            errors: 0,
        }
    }

    fn full(&self) -> bool {
        if self.prefetch == 0 {
            return self.pulls.is_empty();
        }
        self.held.len() as i32 - self.extension >= self.prefetch
    }

    fn wants(&self, message: &Message) -> bool {
        let from = message.producer_id.as_ref().and_then(|p| p.connection.as_deref());
        self.selector.is_none_or(|kind| message.jms_type.as_deref() == Some(kind))
            && (self.not_from.is_none() || self.not_from != from)
    }

    fn at(&self, id: &MessageId) -> Option<usize> {
        self.held.iter().position(|held| held.msg.id() == id)
    }

    fn settled(&mut self, count: usize) {
        self.extension = (self.extension - count as i32).max(0);
    }
}

#[derive(Debug)]
pub(super) struct Browser {
    pub(super) key: u64,
    pub(super) prefetch: i32,
    pub(super) in_flight: i32,
    pub(super) pulls: usize,
    page: VecDeque<Given>,
    finished: bool,
    pub(super) expects: Vec<Given>,
}

#[derive(Debug)]
struct Parked {
    message: Arc<Message>,
    connection: u64,
    receipt: Option<u64>,
    since_ms: u64,
}

#[derive(Debug)]
pub(super) struct Model {
    policy: Policy,
    pub(super) pending: Vec<Msg>,
    pub(super) subs: Vec<Sub>,
    pub(super) browsers: Vec<Browser>,
    orphans: Vec<(u64, Msg)>,
    parked: VecDeque<Parked>,
    exclusive: Option<u64>,
    /// The one used last is at the end.
    groups: Vec<(Text, u64)>,
    seen: Option<HashSet<MessageId>>,
    last_sequence: i64,
    pub(super) now_ms: u64,
    pub(super) answers: BTreeMap<u64, Outcome>,
    pub(super) enqueued: u64,
    pub(super) dequeued: u64,
    pub(super) expired: u64,
    pub(super) dispatched: u64,
    /// Messages given up by clients.
    pub(super) poisoned: Vec<MessageId>,
    pub(super) expired_now: Vec<MessageId>,
}

impl Model {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            seen: policy.audit.then(HashSet::new),
            policy,
            pending: Vec::new(),
            subs: Vec::new(),
            browsers: Vec::new(),
            orphans: Vec::new(),
            parked: VecDeque::new(),
            exclusive: None,
            groups: Vec::new(),
            last_sequence: 0,
            now_ms: 0,
            answers: BTreeMap::new(),
            enqueued: 0,
            dequeued: 0,
            expired: 0,
            dispatched: 0,
            poisoned: Vec::new(),
            expired_now: Vec::new(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        let held = self.subs.iter().flat_map(|sub| &sub.held);
        held.filter(|held| !held.purged).count() + self.orphans.len()
    }

    /// Messages there.
    pub(super) fn size(&self) -> usize {
        self.pending.len() + self.in_flight()
    }

    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Sequences of all persistent messages there.
    pub(super) fn stored(&self) -> HashSet<i64> {
        let held = self.subs.iter().flat_map(|sub| &sub.held).filter(|held| !held.purged);
        let orphans = self.orphans.iter().map(|(_, msg)| msg);
        let all = self.pending.iter().chain(held.map(|held| &held.msg)).chain(orphans);
        all.filter(|msg| msg.message.persistent).map(|msg| msg.sequence).collect()
    }

    fn answer(&mut self, receipt: Option<u64>, outcome: Outcome) {
        if let Some(receipt) = receipt {
            assert_eq!(self.answers.insert(receipt, outcome), None);
        }
    }

    pub(super) fn send(
        &mut self,
        message: Arc<Message>,
        admission: Admission,
        connection: u64,
        receipt: Option<u64>,
        room: bool,
        now_ms: u64,
    ) {
        if admission == Admission::Park && !(room && self.parked.is_empty()) {
            self.parked.push_back(Parked { message, connection, receipt, since_ms: now_ms });
        } else {
            self.admit(message, receipt, now_ms);
        }
    }

    fn admit(&mut self, message: Arc<Message>, receipt: Option<u64>, now_ms: u64) {
        self.answer(receipt, Outcome::Done);
        let msg = Msg { sequence: self.last_sequence + 1, message, redeliveries: 0, since_ms: 0 };
        if msg.message.is_expired(now_ms.cast_signed()) {
            self.enqueued += 1;
            self.dequeued += 1;
            self.expired += 1;
            self.expired_now.push(msg.id().clone());
            return;
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert(msg.id().clone())
        {
            return;
        }
        self.enqueued += 1;
        self.last_sequence += 1;
        self.insert(msg);
    }

    fn key(&self, msg: &Msg) -> (i8, i64) {
        let rank =
            if self.policy.prioritized_messages { -msg.message.priority.clamp(0, 9) } else { 0 };
        (rank, msg.sequence)
    }

    fn insert(&mut self, mut msg: Msg) {
        msg.since_ms = self.now_ms;
        self.pending.push(msg);
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|msg| self.key(msg));
        self.pending = pending;
    }

    fn forget_id(&mut self, id: &MessageId) {
        if let Some(seen) = &mut self.seen {
            seen.remove(id);
        }
    }

    pub(super) fn subscribe(&mut self, sub: Sub) {
        let key = sub.key;
        self.subs.push(sub);
        self.sort();
        let Some(added) = self.subs.iter().find(|sub| sub.key == key) else { return };
        let holder = self.subs.iter().find(|sub| Some(sub.key) == self.exclusive);
        let takes_over = match holder {
            None => true,
            Some(holder) => added.priority == 127 || added.priority > holder.priority,
        };
        if self.is_exclusive(added) && takes_over {
            self.exclusive = Some(key);
        }
    }

    /// Who has a higher priority comes first, then who owns fewer groups.
    fn sort(&mut self) {
        if self.policy.use_consumer_priority {
            let groups = &self.groups;
            let owned = |key| groups.iter().filter(|(_, owner)| *owner == key).count();
            self.subs.sort_by_key(|sub| (-i16::from(sub.priority), owned(sub.key)));
        }
    }

    fn is_exclusive(&self, sub: &Sub) -> bool {
        sub.exclusive || self.policy.all_consumers_exclusive
    }

    pub(super) fn unsubscribe(&mut self, key: u64, last_delivered: i64) {
        self.browsers.retain(|browser| browser.key != key);
        let Some(at) = self.subs.iter().position(|sub| sub.key == key) else { return };
        let gone = self.subs.remove(at);
        let seen = match last_delivered {
            -2 => gone.held.len(),
            ..=0 => 0,
            last => gone.held.iter().position(|h| h.msg.sequence == last).map_or(0, |at| at + 1),
        };
        for (at, mut held) in gone.held.into_iter().enumerate() {
            held.msg.redeliveries += i32::from(at < seen);
            match held.transaction {
                _ if held.purged => {}
                Some(transaction) => self.orphans.push((transaction, held.msg)),
                None => self.insert(held.msg),
            }
        }
        self.groups.retain(|(_, owner)| *owner != key);
        if self.exclusive == Some(key) {
            let all = self.subs.iter().filter(|sub| self.is_exclusive(sub));
            self.exclusive = all.min_by_key(|sub| -i16::from(sub.priority)).map(|sub| sub.key);
        }
    }

    /// The answer to `ack`.
    pub(super) fn acknowledge(&mut self, ack: &Ack) -> Outcome {
        let key = ack.subscription.0;
        if let Some(browser) = self.browsers.iter_mut().find(|browser| browser.key == key) {
            browser.in_flight = (browser.in_flight - ack.count.max(0)).max(0);
            return Outcome::Done;
        }
        let Some(sub) = self.subs.iter_mut().find(|sub| sub.key == key) else {
            return Outcome::Done;
        };
        if !sub.dispatched_to || ack.kind == AckKind::Unmatched {
            return Outcome::Done;
        }
        let (ids, span) = match &ack.range {
            AckRange::Exactly(ids) => (ids.clone(), false),
            AckRange::Span { last, .. } => (vec![last.clone()], true),
        };
        let last = ids.last().and_then(|id| sub.at(id));
        let extend = self.policy.use_prefetch_extension && sub.prefetch > 0;
        if ack.kind == AckKind::Delivered {
            let Some(last) = last else { return Outcome::UnknownMessage };
            if extend {
                sub.extension = sub.extension.max(last as i32 + 1);
            }
            return Outcome::Done;
        }
        if ack.kind == AckKind::Poison && ack.transaction.is_some() {
            return Outcome::PoisonInTransaction;
        }
        let mut positions: Vec<usize> = match &ack.range {
            _ if ack.kind == AckKind::Individual => last.into_iter().collect(),
            AckRange::Exactly(ids) => ids.iter().filter_map(|id| sub.at(id)).collect(),
            AckRange::Span { first, .. } => {
                let first = match first {
                    Some(first) => sub.at(first),
                    None => Some(0),
                };
                match (first, last) {
                    (Some(first), Some(last)) if first <= last => (first..=last).collect(),
                    _ => return Outcome::BadRange,
                }
            }
        };
        if ack.kind == AckKind::Redelivered {
            return Outcome::Done;
        }
        let counts = ack.kind == AckKind::Standard && ack.transaction.is_none() && span;
        if counts && ack.count != positions.len() as i32 {
            return Outcome::BadCount;
        }
        positions.sort_unstable();
        positions.dedup();
        if let Some(transaction) = ack.transaction {
            for &at in &positions {
                sub.held[at].transaction = Some(transaction.0);
            }
            if let (true, Some(last)) = (extend, positions.last()) {
                sub.extension = sub.extension.max(*last as i32 + 1);
            }
            return Outcome::Done;
        }
        let mut gone = Vec::new();
        for at in positions.iter().rev() {
            gone.push(sub.held.remove(*at));
        }
        sub.settled(gone.len());
        for held in gone.into_iter().filter(|held| !held.purged) {
            self.dequeued += 1;
            let id = held.msg.id().clone();
            match ack.kind {
                AckKind::Poison => {
                    self.forget_id(&id);
                    self.poisoned.push(id);
                }
                AckKind::Expired => {
                    self.expired += 1;
                    self.forget_id(&id);
                    self.expired_now.push(id);
                }
                _ => self.consumed(&held.msg),
            }
        }
        Outcome::Done
    }

    pub(super) fn end_transaction(&mut self, transaction: u64, commit: bool) {
        let mut consumed = Vec::new();
        for sub in &mut self.subs {
            if commit {
                let before = sub.held.len();
                let mine = |held: &Held| held.transaction == Some(transaction);
                let left = sub.held.iter().filter(|h| mine(h) && !h.purged);
                consumed.extend(left.map(|held| held.msg.clone()));
                self.dequeued += sub.held.iter().filter(|h| mine(h) && !h.purged).count() as u64;
                sub.held.retain(|held| !mine(held));
                sub.settled(before - sub.held.len());
            } else {
                for held in sub.held.iter_mut().filter(|h| h.transaction == Some(transaction)) {
                    held.transaction = None;
                }
            }
        }
        let (mine, others) = self.orphans.drain(..).partition(|(holder, _)| *holder == transaction);
        self.orphans = others;
        let mine: Vec<(u64, Msg)> = mine;
        for (_, msg) in mine {
            if commit {
                self.dequeued += 1;
                consumed.push(msg);
            } else {
                self.insert(msg);
            }
        }
        consumed.iter().for_each(|msg| self.consumed(msg));
    }

    /// What is not persistent may come again.
    fn consumed(&mut self, msg: &Msg) {
        if !msg.message.persistent {
            self.forget_id(msg.id());
        }
    }

    pub(super) fn purge(&mut self) {
        self.dequeued += self.size() as u64;
        self.pending.clear();
        self.orphans.clear();
        for held in self.subs.iter_mut().flat_map(|sub| &mut sub.held) {
            held.purged = true;
        }
    }

    pub(super) fn close_connection(&mut self, connection: u64) {
        let (gone, stay) = self.parked.drain(..).partition(|p| p.connection == connection);
        self.parked = stay;
        let gone: VecDeque<Parked> = gone;
        for parked in gone {
            self.answer(parked.receipt, Outcome::Dropped);
        }
    }

    pub(super) fn browse(&mut self, key: u64, prefetch: i32, selector: Option<&'static str>) {
        let late = |msg: &&Msg| msg.message.is_expired(self.now_ms.cast_signed());
        let late: Vec<_> = self.pending.iter().filter(late).map(|msg| msg.id().clone()).collect();
        late.iter().for_each(|id| self.expire(id, self.now_ms));
        self.expired_now.extend(late);
        let filter = Sub { selector, ..Sub::new(0, 0) };
        let held = self.subs.iter().flat_map(|sub| &sub.held);
        let held = held.filter(|held| held.transaction.is_none() && !held.purged);
        let pending = self.pending.iter().take(self.policy.browse_page_max);
        let mut all: Vec<&Msg> = held.map(|held| &held.msg).chain(pending).collect();
        all.sort_by_key(|msg| self.key(msg));
        let page = all.into_iter().filter(|msg| filter.wants(&msg.message));
        let page = page.take(self.policy.browse_page_max);
        let page = page.map(|msg| (Some(msg.sequence), msg.redeliveries, false)).collect();
        self.browsers.push(Browser {
            key,
            prefetch,
            in_flight: 0,
            pulls: 0,
            page,
            finished: false,
            expects: Vec::new(),
        });
    }

    /// Parked sends that fit get in; those that waited too long fail. `room` says how many bytes may be
    /// passed before the limit is reached.
    pub(super) fn admit_parked(&mut self, mut room: impl FnMut(usize) -> bool, now_ms: u64) {
        let patience = u64::try_from(self.policy.send_fail_after.as_millis()).expect("short");
        while let Some(oldest) = self.parked.front() {
            if room(self.size()) {
                let Some(parked) = self.parked.pop_front() else { return };
                self.admit(parked.message, parked.receipt, now_ms);
            } else if patience > 0 && now_ms >= oldest.since_ms + patience {
                let Some(parked) = self.parked.pop_front() else { return };
                self.answer(parked.receipt, Outcome::Timeout);
            } else {
                return;
            }
        }
    }

    /// The queue found that the message `id` expired while it was pending.
    pub(super) fn expire(&mut self, id: &MessageId, now_ms: u64) {
        let at = self.pending.iter().position(|msg| msg.id() == id);
        let msg = self.pending.remove(at.expect("what expires is pending"));
        assert!(msg.message.is_expired(now_ms.cast_signed()));
        self.dequeued += 1;
        self.expired += 1;
        self.forget_id(id);
    }

    pub(super) fn dispatch(&mut self, now_ms: u64) {
        while self.give_one(now_ms) {}
        for sub in &mut self.subs {
            let due = |deadline: &Option<u64>| deadline.is_some_and(|at| at <= now_ms);
            let count = sub.pulls.iter().filter(|deadline| due(deadline)).count();
            sub.pulls.retain(|deadline| !due(deadline));
            sub.expects.extend(std::iter::repeat_n((None, 0, false), count));
        }
        for browser in &mut self.browsers {
            while browser.in_flight < browser.prefetch || browser.pulls > 0 {
                let Some(given) = browser.page.pop_front() else { break };
                browser.pulls = browser.pulls.saturating_sub(1);
                browser.in_flight += 1;
                self.dispatched += 1;
                browser.expects.push(given);
            }
            let end = usize::from(!browser.finished);
            if browser.page.is_empty() {
                browser.finished = true;
                let answers = end.max(std::mem::take(&mut browser.pulls));
                browser.expects.extend(std::iter::repeat_n((None, 0, false), answers));
            }
        }
    }

    /// Gives the first message that somebody may have.
    fn give_one(&mut self, now_ms: u64) -> bool {
        for at in 0..self.pending.len() {
            let message = Arc::clone(&self.pending[at].message);
            if message.is_expired(now_ms.cast_signed()) {
                continue;
            }
            let group = message.group_id.as_ref().map(|group| self.group_key(group));
            let owner = group.as_ref().and_then(|group| self.owner(group));
            let owner = owner.filter(|_| message.group_sequence != 1);
            let may = |sub: &&Sub| {
                !sub.full()
                    && sub.wants(&message)
                    && self.exclusive.is_none_or(|key| key == sub.key)
                    && owner.is_none_or(|key| key == sub.key)
            };
            let Some(key) = self.subs.iter().find(may).map(|sub| sub.key) else { continue };
            let new_group = group.is_some() && owner.is_none();
            self.give(at, key, group, new_group);
            return true;
        }
        false
    }

    fn give(&mut self, at: usize, key: u64, group: Option<Text>, new_group: bool) {
        let msg = self.pending.remove(at);
        if let Some(group) = group {
            if new_group || matches!(self.policy.groups, GroupMapKind::Cached { .. }) {
                self.groups.retain(|(name, _)| *name != group);
                self.groups.push((Text::clone(&group), key));
            }
            if let GroupMapKind::Cached { size } = self.policy.groups
                && self.groups.len() > size
            {
                self.groups.remove(0);
            }
            if msg.message.group_sequence < 0 {
                self.groups.retain(|(name, _)| *name != group);
            }
        }
        let place = self.subs.iter().position(|sub| sub.key == key).expect("it was chosen");
        let sub = &mut self.subs[place];
        if sub.prefetch == 0 {
            sub.pulls.pop_front();
        }
        sub.dispatched_to = true;
        sub.expects.push((Some(msg.sequence), msg.redeliveries, new_group));
        sub.held.push(Held { msg, transaction: None, purged: false });
        self.dispatched += 1;
        if !self.policy.strict_order_dispatch && self.exclusive != Some(key) {
            let sub = self.subs.remove(place);
            self.subs.push(sub);
            self.sort();
        }
    }

    fn owner(&self, group: &Text) -> Option<u64> {
        self.groups.iter().find(|(name, _)| name == group).map(|(_, owner)| *owner)
    }

    fn group_key(&self, group: &Text) -> Text {
        let GroupMapKind::Bucket { count } = self.policy.groups else { return Text::clone(group) };
        // The test's groups have one letter: their hash code is its code point.
        let code = group.chars().next().map_or(0, u32::from);
        (code % count).to_string().into()
    }

    /// Bytes taken by messages that are in.
    pub(super) fn bytes(&self) -> u64 {
        self.size() as u64 * BYTES
    }
}
