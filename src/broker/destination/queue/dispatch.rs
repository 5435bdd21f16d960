//! Which pending message goes to which consumer (semantics.md 2.2 and 2.3).

use super::super::{Effects, Now};
use super::{Entry, Key, Queue, Subscription};
use crate::broker::candidate::Candidate;
use crate::broker::outbox::{Delivery, Item};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the walk over the consumers found for one message.
enum Choice {
    /// This one, by index; the group of the message is new to it.
    Give { index: usize, group_first: bool },
    /// Nobody wants it; later messages may overtake it.
    Nobody,
    /// Nobody has room for anything.
    AllFull,
}

impl Queue {
    /// Gives pending messages to consumers until either runs out.
    pub(super) fn dispatch(&mut self, now: Now, out: &mut Effects) {
        let is_held = self.locked.is_reading() || !self.starting.is_over(now.instant);
        if is_held || self.context.halted.load(Ordering::Relaxed) {
            return;
        }
        self.read_again_for_wanting();
        let mut start = None;
        for subscription in &mut self.subscriptions {
            subscription.open = subscription.wants_more();
            if subscription.open {
                start = start.min(Some(subscription.scanned)).or(Some(subscription.scanned));
            }
        }
        let Some(mut from) = start else { return };
        // What is still in the store goes before all that is behind it.
        let barrier = self.backlog.barrier().map_or(Key::MAX, |(band, after)| Key::at(band, after));
        while let Some((&key, entry)) = self.pending.range(from..).next() {
            if key > barrier {
                break;
            }
            if entry.message.is_expired(now.wall_ms) {
                if let Some(entry) = self.remove(key) {
                    self.expired(entry, None, out);
                }
                continue;
            }
            let entry = entry.clone();
            match self.choose(key, &entry) {
                Choice::Give { index, group_first } => {
                    if !self.subscriptions[index].claim() {
                        continue;
                    }
                    self.remove(key);
                    from = key.next();
                    if self.give(index, entry, group_first, now) {
                        from = from.min(self.look_at_kept());
                    }
                }
                Choice::Nobody => from = key.next(),
                Choice::AllFull => {
                    from = key;
                    break;
                }
            }
        }
        for subscription in self.subscriptions.iter_mut().filter(|s| s.open) {
            subscription.scanned = subscription.scanned.max(from);
        }
        self.scanned_max = self.scanned_max.max(from);
    }

    /// Notes which consumers are full while messages wait for them.
    pub(super) fn note_pace(&self) {
        let behind = !self.backlog.is_empty();
        for subscription in &self.subscriptions {
            let pace = &subscription.new.window.pace;
            let waiting = || behind || self.pending.range(subscription.scanned..).next().is_some();
            pace.takes(subscription.staged.len() as u64);
            if !subscription.new.window.is_full() {
                pace.keeps_up();
            } else if waiting() {
                pace.falls_behind();
            }
        }
    }

    fn choose(&mut self, key: Key, entry: &Entry) -> Choice {
        let group = entry.message.group_id.as_ref();
        let starts_group = group.is_some() && entry.message.group_sequence == 1;
        let owner = group.filter(|_| !starts_group).and_then(|group| self.groups.owner(group));
        let by_groups = group.is_some() && owner.is_none();
        let use_priority = self.context.policy.use_consumer_priority;
        let mut room = false;
        let mut chosen: Option<(usize, i8, usize)> = None;
        let mut kept = false;
        for (index, subscription) in self.subscriptions.iter_mut().enumerate() {
            if !subscription.open {
                continue;
            }
            if !subscription.wants_more() {
                // Full from here on in this pass: what comes at `key` it has not judged.
                subscription.open = false;
                subscription.scanned = subscription.scanned.max(key);
                continue;
            }
            room = true;
            if owner.is_some_and(|owner| owner != subscription.new.key) {
                kept = true;
                continue;
            }
            let allowed = subscription.scanned <= key
                && self.exclusive.is_none_or(|exclusive| exclusive == subscription.new.key)
                && subscription.accepts(entry);
            if !allowed {
                continue;
            }
            // A new group goes to the one with the fewest among equals; else the first one takes it.
            let priority = if use_priority { subscription.new.info.priority } else { 0 };
            let groups = if by_groups { self.groups.count(subscription.new.key) } else { 0 };
            let better = chosen.is_none_or(|(_, best_priority, fewest)| {
                best_priority == priority && groups < fewest
            });
            if better {
                chosen = Some((index, priority, groups));
            }
            if !by_groups {
                break;
            }
        }
        match chosen {
            Some((index, ..)) => Choice::Give { index, group_first: by_groups },
            None if room => {
                if kept {
                    self.kept_for_owner = self.kept_for_owner.min(Some(key)).or(Some(key));
                }
                Choice::Nobody
            }
            None => Choice::AllFull,
        }
    }

    /// Hands `entry` to a consumer. True when some group lost its owner by that.
    fn give(&mut self, index: usize, mut entry: Entry, group_first: bool, now: Now) -> bool {
        let lost = self.keep_groups(index, &entry, group_first);
        let equals = self
            .subscriptions
            .iter()
            .skip(index + 1)
            .take_while(|other| self.priority(other) == self.priority(&self.subscriptions[index]))
            .count();
        let destination = self.context.destination.clone();
        let (came, redeliveries) = (entry.message.broker_in_time, entry.redeliveries);
        self.mark_delivered(&mut entry);
        let subscription = &mut self.subscriptions[index];
        subscription.new.window.add(1);
        subscription.dispatched += 1;
        subscription.staged.push(Item::Delivery(Delivery {
            message: Some(Arc::clone(&entry.message)),
            sequence: entry.sequence,
            redeliveries,
            group_first,
            ..subscription.delivery(&destination)
        }));
        subscription.in_flight.push(entry);
        self.counters.now.dispatched += 1;
        self.counters.now.enqueue_ms.add_wait(came, now.wall_ms);
        let exclusive = self.exclusive == Some(self.subscriptions[index].new.key);
        if equals > 0 && !self.context.policy.strict_order_dispatch && !exclusive {
            // Round robin: behind its equals.
            self.subscriptions[index..=index + equals].rotate_left(1);
        }
        lost
    }

    /// Keeps the owners of message groups as this delivery changes them. True when some group lost its
    /// owner.
    fn keep_groups(&mut self, index: usize, entry: &Entry, group_first: bool) -> bool {
        let Some(group) = &entry.message.group_id else { return false };
        let mut lost = false;
        if group_first {
            lost = self.groups.assign(group, self.subscriptions[index].new.key);
        } else {
            self.groups.touch(group);
        }
        if entry.message.group_sequence < 0 {
            self.groups.close(group);
            lost = true;
        }
        lost
    }

    /// Messages that were kept for the owners of their groups may go to others now. Returns where they
    /// begin.
    pub(super) fn look_at_kept(&mut self) -> Key {
        let Some(from) = self.kept_for_owner.take() else { return Key::MAX };
        for subscription in &mut self.subscriptions {
            subscription.scanned = subscription.scanned.min(from);
        }
        from
    }

    /// Tells consumers that pulled and waited long enough that there is nothing: not before that is known.
    pub(super) fn answer_empty_pulls(&mut self, now: Now) {
        if self.is_reading() {
            return;
        }
        let destination = &self.context.destination;
        for subscription in &mut self.subscriptions {
            if subscription.pulls.is_empty() {
                continue;
            }
            let mut waiting = std::mem::take(&mut subscription.pulls);
            waiting.retain(|pull| {
                if !pull.is_open() {
                    return false;
                }
                let due = pull.deadline.is_some_and(|deadline| deadline <= now.instant);
                // The last one of several queues that lets go of it says so for all.
                if due && pull.shared.is_none() {
                    let empty = subscription.delivery(destination);
                    subscription.staged.push(Item::Delivery(empty));
                }
                !due
            });
            subscription.pulls = waiting;
        }
    }
}

impl Subscription {
    /// Selector, noLocal, and the one consumer a message may be meant for.
    fn accepts(&self, entry: &Entry) -> bool {
        super::super::accepts(
            &self.new.info,
            self.new.selector.as_ref(),
            &Candidate { message: &entry.message, redeliveries: entry.redeliveries },
        )
    }
}
