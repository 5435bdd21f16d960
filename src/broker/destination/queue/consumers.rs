//! The consumers of a queue, in the order in which they are asked whether they take a message.
//!
//! Higher priority first; among equals who owns fewer message groups, then who was served, or came, longest
//! ago. ActiveMQ has a list that it sorts when a consumer comes and when one was served: a number of groups
//! that changes in between waits until then (`stale`), and sorting keeps the order of equals. Here those
//! that have room stand in a tree, so that a message costs what is asked for it and not what there is; those
//! whose selectors ask for one value stand in a tree of their own, and only who asks for that of the message is
//! compared with the others.

use super::super::groups::Groups;
use super::super::in_flight::Entry;
use super::super::selector_index::ByValue;
use super::judged::{Judged, Pass, Span, join};
use super::{Key, Pull, Subscription};
use crate::broker::candidate::Candidate;
use crate::broker::destination::backlog::Backlog;
use crate::broker::outbox::{Item, SubscriptionKey};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i8>,
    groups: usize,
    turn: u64,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one at this place; the group of the message is new to it.
    Give { at: usize, group_first: bool },
    /// Nobody wants it; later messages may overtake it. `kept`: because its group has an owner.
    Nobody { kept: bool },
    /// Nobody has room for anything.
    AllFull,
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    /// In no order.
    all: Vec<Subscription>,
    places: HashMap<SubscriptionKey, usize>,
    /// Those that are `open`.
    ready: BTreeMap<Rank, usize>,
    /// Those of them that are found `by_value`, who are not in `ready`.
    ready_by_value: BTreeMap<Rank, usize>,
    by_value: ByValue,
    /// Some have other places than `by_value` says.
    moved: bool,
    /// Who may take the message that is asked for.
    candidates: Vec<usize>,
    /// Without `useConsumerPriority` nothing but their turn counts.
    by_turn: bool,
    last_turn: u64,
    /// Whose number of groups has changed since they were sorted.
    stale: Vec<SubscriptionKey>,
    /// Has something in `staged`.
    served: Vec<usize>,
    /// Had no room in their windows when that was looked at last, in this pass.
    full: Vec<usize>,
    /// How many share their windows with other queues.
    sharing: usize,
    /// Some of them may have open requests for a message.
    pulling: bool,
    /// The only one that gets messages.
    exclusive: Option<SubscriptionKey>,
}

impl Consumers {
    pub(super) fn new(use_priority: bool) -> Self {
        Self { by_turn: !use_priority, ..Self::default() }
    }

    /// Whether their priorities, and their groups, count.
    pub(super) fn use_priority(&mut self, use_priority: bool, groups: &Groups) {
        if self.by_turn == use_priority {
            self.by_turn = !use_priority;
            self.sort(groups);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Subscription> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Subscription> {
        self.all.iter_mut()
    }

    pub(super) fn get(&self, key: SubscriptionKey) -> Option<&Subscription> {
        self.places.get(&key).map(|at| &self.all[*at])
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        self.places.get(&key).map(|at| &mut self.all[*at])
    }

    pub(super) fn at(&mut self, at: usize) -> &mut Subscription {
        &mut self.all[at]
    }

    /// Those that have been found full in this pass.
    pub(super) fn full(&self) -> impl Iterator<Item = &Subscription> {
        self.full.iter().map(|at| &self.all[*at])
    }

    /// Those that something was put aside for.
    pub(super) fn served(&self) -> impl Iterator<Item = &Subscription> {
        self.served.iter().map(|at| &self.all[*at])
    }

    /// Those that share their windows with other queues.
    pub(super) fn sharing(&self) -> impl Iterator<Item = &Subscription> {
        let all = if self.sharing == 0 { &[] } else { &self.all[..] };
        all.iter().filter(|s| s.new.source.is_some())
    }

    /// Those that may have open requests for a message.
    pub(super) fn pulling(&self) -> &[Subscription] {
        if self.pulling { &self.all } else { &[] }
    }

    /// One of them asks for a message.
    pub(super) fn pull(&mut self, key: SubscriptionKey, pull: Pull) {
        if let Some(subscription) = self.get_mut(key) {
            subscription.pull(pull);
            self.pulling = true;
        }
    }

    /// Calls `with` for each that has open requests, with its place. It is to leave those that stay open.
    pub(super) fn each_pulling(&mut self, mut with: impl FnMut(&mut Self, usize)) {
        if !self.pulling {
            return;
        }
        for at in 0..self.all.len() {
            if !self.all[at].pulls.is_empty() {
                with(self, at);
            }
        }
        self.pulling = self.all.iter().any(|s| !s.pulls.is_empty());
    }

    /// Those that would take a message now.
    pub(super) fn hungry(&self) -> impl Iterator<Item = &Subscription> {
        self.all.iter().filter(|s| self.is_eligible(s) && s.wants_more())
    }

    /// The first place that only the store has and somebody has to judge, of those who would take a message
    /// now, if any of them, else of all.
    pub(super) fn unread(&self, backlog: &Backlog, hungry: bool) -> Option<Key> {
        let all = self.all.iter().filter(|s| self.is_eligible(s) && (!hungry || s.wants_more()));
        all.filter_map(|s| s.judged.unread(backlog)).min()
    }

    /// As [`Self::unread`], of those that have had room in this pass so far.
    pub(super) fn barrier(&self, backlog: &Backlog) -> Option<Key> {
        if backlog.is_empty() {
            return None;
        }
        let open = self.ready.values().chain(self.ready_by_value.values());
        let open = open.map(|at| &self.all[*at]);
        open.filter(|s| self.is_eligible(s)).filter_map(|s| s.judged.unread(backlog)).min()
    }

    /// What is before this everybody has judged.
    pub(super) fn judged_by_all(&self) -> Key {
        self.all.iter().map(|s| s.judged.first()).min().unwrap_or(Key::MIN)
    }

    fn is_eligible(&self, subscription: &Subscription) -> bool {
        self.exclusive.is_none_or(|exclusive| exclusive == subscription.new.key)
    }

    /// A consumer comes, behind its equals.
    pub(super) fn insert(&mut self, mut subscription: Subscription, groups: &Groups) {
        if !std::mem::take(&mut self.stale).is_empty() {
            self.sort(groups);
        }
        let turn = self.next_turn();
        subscription.rank = self.rank(&subscription, groups, turn);
        self.sharing += usize::from(subscription.new.source.is_some());
        let at = self.all.len();
        self.places.insert(subscription.new.key, at);
        let selector = subscription.new.selector.as_ref();
        subscription.by_value = selector.is_some_and(|selector| self.by_value.add(at, selector));
        self.all.push(subscription);
    }

    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        let at = self.places.remove(&key)?;
        let gone = self.all.swap_remove(at);
        self.sharing -= usize::from(gone.new.source.is_some());
        self.full.clear();
        if gone.open {
            self.line(gone.by_value).remove(&gone.rank);
        }
        self.moved |= gone.by_value;
        if let Some(moved) = self.all.get(at) {
            let (rank, open, by_value) = (moved.rank, moved.open, moved.by_value);
            self.places.insert(moved.new.key, at);
            if open {
                self.line(by_value).insert(rank, at);
            }
            self.moved |= by_value;
        }
        Some(gone)
    }

    /// Where those with room stand that are found by value, or the others.
    fn line(&mut self, by_value: bool) -> &mut BTreeMap<Rank, usize> {
        if by_value { &mut self.ready_by_value } else { &mut self.ready }
    }

    fn next_turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }

    fn rank(&self, of: &Subscription, groups: &Groups, turn: u64) -> Rank {
        if self.by_turn {
            return Rank { turn, ..Rank::default() };
        }
        let priority = Reverse(of.new.info.priority);
        Rank { priority, groups: groups.count(of.new.key), turn }
    }

    /// Gives everybody a new place; equals keep their order.
    fn sort(&mut self, groups: &Groups) {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|at| self.all[*at].rank);
        order.sort_by_key(|at| self.rank(&self.all[*at], groups, 0));
        self.ready.clear();
        self.ready_by_value.clear();
        for at in order {
            let turn = self.next_turn();
            let rank = self.rank(&self.all[at], groups, turn);
            let subscription = &mut self.all[at];
            subscription.rank = rank;
            subscription.stale = false;
            let (open, by_value) = (subscription.open, subscription.by_value);
            if open {
                self.line(by_value).insert(rank, at);
            }
        }
    }

    /// Puts the consumer at `at` behind its equals.
    fn put_behind(&mut self, at: usize, groups: &Groups) {
        let turn = self.next_turn();
        let rank = self.rank(&self.all[at], groups, turn);
        let subscription = &mut self.all[at];
        let before = std::mem::replace(&mut subscription.rank, rank);
        let (open, by_value) = (subscription.open, subscription.by_value);
        if open {
            let line = self.line(by_value);
            line.remove(&before);
            line.insert(rank, at);
        }
    }

    /// The consumer has another number of groups: that counts when they are sorted the next time.
    pub(super) fn has_other_groups(&mut self, key: SubscriptionKey) {
        if self.by_turn {
            return;
        }
        if let Some(subscription) = self.get_mut(key)
            && !std::mem::replace(&mut subscription.stale, true)
        {
            self.stale.push(key);
        }
    }

    /// A dispatch pass begins; none if nobody has room.
    pub(super) fn begin_pass(&mut self) -> Option<Pass> {
        let (mut again, mut from) = (None, None);
        self.full.clear();
        for at in 0..self.all.len() {
            let open = self.all[at].wants_more();
            match self.all[at].new.window.is_full() {
                true => self.full.push(at),
                false => self.all[at].new.window.pace.keeps_up(),
            }
            let subscription = &mut self.all[at];
            if open != subscription.open {
                subscription.open = open;
                let (rank, by_value) = (subscription.rank, subscription.by_value);
                if open {
                    self.line(by_value).insert(rank, at);
                } else {
                    self.line(by_value).remove(&rank);
                }
            }
            let subscription = &self.all[at];
            if open && self.is_eligible(subscription) {
                let judged = &subscription.judged;
                again = join(again, judged.again());
                let up_to = judged.up_to();
                from = Some(from.map_or(up_to, |from: Key| from.min(up_to)));
            }
        }
        Some(Pass::new(again, from?))
    }

    /// The pass has come to `from`: all that still have room have judged what is before.
    pub(super) fn end_pass(&mut self, from: Key) {
        // In the order in which they are in memory.
        for subscription in self.all.iter_mut().filter(|s| s.open) {
            subscription.judged.advance(from);
        }
    }

    /// It has no room any more in this pass: what comes at `key` it has not judged.
    fn close(&mut self, at: usize, key: Key) {
        let subscription = &mut self.all[at];
        subscription.open = false;
        subscription.judged.advance(key);
        let (rank, by_value) = (subscription.rank, subscription.by_value);
        self.line(by_value).remove(&rank);
        self.full.push(at);
    }

    /// Who gets the message at `key`.
    pub(super) fn choose(&mut self, key: Key, entry: &Entry, groups: &Groups) -> Choice {
        let group = entry.message.group_id.as_ref();
        let starts_group = entry.message.group_sequence == 1;
        let owner = group.filter(|_| !starts_group).and_then(|group| groups.owner(group));
        let group_first = group.is_some() && owner.is_none();
        let found = match (owner, self.exclusive) {
            (Some(owner), Some(exclusive)) if owner != exclusive => None,
            (Some(only), _) | (None, Some(only)) => self.ask_one(only, key, entry),
            (None, None) => self.ask_all(key, entry),
        };
        match found {
            Some(at) => Choice::Give { at, group_first },
            None if !self.is_any_open() => Choice::AllFull,
            None => Choice::Nobody { kept: owner.is_some() },
        }
    }

    /// Whether anybody may still be given something in this pass.
    pub(super) fn is_any_open(&self) -> bool {
        match self.exclusive {
            Some(only) => self.get(only).is_some_and(|subscription| subscription.open),
            None => !self.ready.is_empty() || !self.ready_by_value.is_empty(),
        }
    }

    fn ask_one(&mut self, only: SubscriptionKey, key: Key, entry: &Entry) -> Option<usize> {
        let at = self.places.get(&only).copied()?;
        let subscription = &self.all[at];
        if subscription.open && !subscription.wants_more() {
            self.close(at, key);
            return None;
        }
        (subscription.open && subscription.takes(key, entry)).then_some(at)
    }

    fn ask_all(&mut self, key: Key, entry: &Entry) -> Option<usize> {
        let (mut found, mut full) = (None, Vec::new());
        let mut candidates = std::mem::take(&mut self.candidates);
        self.find_by_value(entry, &mut candidates);
        for at in candidates.drain(..) {
            let subscription = &self.all[at];
            if !subscription.wants_more() {
                full.push(at);
            } else if subscription.takes(key, entry) {
                found = Some(at);
                break;
            }
        }
        self.candidates = candidates;
        let before = found.map(|at| self.all[at].rank);
        for (rank, at) in &self.ready {
            let (at, subscription) = (*at, &self.all[*at]);
            if before.is_some_and(|before| *rank > before) {
                break;
            }
            if !subscription.wants_more() {
                full.push(at);
            } else if subscription.takes(key, entry) {
                found = Some(at);
                break;
            }
        }
        for at in full {
            self.close(at, key);
        }
        found
    }

    /// Adds those of `ready_by_value` to `into` that may take `entry`, in their order.
    fn find_by_value(&mut self, entry: &Entry, into: &mut Vec<usize>) {
        if self.ready_by_value.is_empty() {
            return;
        }
        if std::mem::take(&mut self.moved) {
            self.by_value = ByValue::default();
            for (at, subscription) in self.all.iter().enumerate().filter(|(_, s)| s.by_value) {
                // No more names than before are asked for.
                subscription.new.selector.iter().for_each(|selector| {
                    self.by_value.add(at, selector);
                });
            }
        }
        let all = &self.all;
        let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
        self.by_value.each_for(&candidate, |at| into.extend(all[at].open.then_some(at)));
        into.sort_unstable_by_key(|at| all[*at].rank);
    }

    /// The consumer at `at` was given the message at `key`. `rotates`: it goes behind its equals.
    pub(super) fn gave(&mut self, at: usize, key: Key, rotates: bool, groups: &Groups) {
        if rotates && !self.is_exclusive(at) {
            self.regroup(groups, at);
            self.put_behind(at, groups);
        }
        if !self.all[at].wants_more() {
            self.close(at, key.next());
        }
    }

    /// Those with fewer groups than before come behind their new equals, in the order they had. That it has
    /// more only happens to one that is served.
    fn regroup(&mut self, groups: &Groups, served: usize) {
        let places = self.stale.drain(..).filter_map(|key| self.places.get(&key).copied());
        let all = &mut self.all;
        let mut others: Vec<usize> =
            places.inspect(|at| all[*at].stale = false).filter(|at| *at != served).collect();
        others.sort_unstable_by_key(|at| self.all[*at].rank);
        for at in others {
            self.put_behind(at, groups);
        }
    }

    fn is_exclusive(&self, at: usize) -> bool {
        self.exclusive == Some(self.all[at].new.key)
    }

    /// Puts something aside for the one at `at`.
    pub(super) fn stage(&mut self, at: usize, item: Item) {
        let staged = &mut self.all[at].staged;
        if staged.is_empty() {
            self.served.push(at);
        }
        staged.push(item);
    }

    /// Calls `with` for each that something was put aside for since this was called last.
    pub(super) fn each_served(&mut self, mut with: impl FnMut(&mut Subscription)) {
        for at in self.served.drain(..) {
            with(&mut self.all[at]);
        }
    }

    /// Decides who is the exclusive consumer after `added` came (or someone left). True when it is another
    /// one than before.
    pub(super) fn choose_exclusive(&mut self, added: Option<SubscriptionKey>, all: bool) -> bool {
        let is_exclusive = |s: &&Subscription| s.new.info.exclusive || all;
        let holder = self.exclusive.and_then(|key| self.get(key));
        let best = match (holder, added) {
            (Some(holder), Some(added)) => self.get(added).filter(is_exclusive).filter(|rival| {
                let priority = rival.new.info.priority;
                priority > holder.new.info.priority || priority == i8::MAX
            }),
            (Some(_), None) => None,
            (None, _) => {
                let all = self.all.iter().filter(is_exclusive);
                all.min_by_key(|s| (Reverse(s.new.info.priority), s.rank))
            }
        };
        let chosen = best.or(holder).map(|subscription| subscription.new.key);
        std::mem::replace(&mut self.exclusive, chosen) != chosen
    }

    /// What is in `span` may be acceptable now.
    pub(super) fn look_at(&mut self, span: Span) {
        for subscription in &mut self.all {
            subscription.judged.look_at(span);
        }
    }

    /// Everything may be.
    pub(super) fn look_again(&mut self) {
        for subscription in &mut self.all {
            subscription.judged = Judged::NOTHING;
        }
    }
}
