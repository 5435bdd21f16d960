//! Which pending message goes to which consumer (semantics.md 2.2 and 2.3).

use super::super::{Effects, Now};
use super::consumers::Choice;
use super::{Entry, Key, Queue, Subscription};
use crate::broker::candidate::Candidate;
use crate::broker::outbox::{Delivery, Item};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Queue {
    /// Gives pending messages to consumers until either runs out.
    pub(super) fn dispatch(&mut self, now: Now, out: &mut Effects) {
        let is_held = self.locked.is_reading() || !self.starting.is_over(now.instant);
        if is_held || self.context.halted.load(Ordering::Relaxed) {
            return;
        }
        self.read_again_for_wanting();
        let Some(mut from) = self.consumers.begin_pass() else { return };
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
            match self.consumers.choose(key, entry, &self.groups) {
                Choice::Give { at, group_first } => {
                    if !self.consumers.at(at).claim() {
                        continue;
                    }
                    from = key.next();
                    let Some(entry) = self.remove(key) else { continue };
                    if self.give(at, key, entry, group_first, now) {
                        from = from.min(self.look_at_kept());
                    }
                }
                Choice::Nobody { kept } => {
                    if kept {
                        self.kept_for_owner = self.kept_for_owner.min(Some(key)).or(Some(key));
                    }
                    from = key.next();
                }
                Choice::AllFull => {
                    from = key;
                    break;
                }
            }
        }
        self.consumers.end_pass(from);
        self.scanned_max = self.scanned_max.max(from);
    }

    /// Notes which consumers are full while messages wait for them.
    pub(super) fn note_pace(&self) {
        let behind = !self.backlog.is_empty();
        for subscription in self.consumers.iter() {
            let pace = &subscription.new.window.pace;
            let waiting = || behind || self.pending.range(subscription.scanned..).next().is_some();
            pace.takes(subscription.staged.len() as u64);
            if !subscription.new.window.is_full() {
                pace.keeps_up();
            } else if !pace.is_behind() && waiting() {
                pace.falls_behind();
            }
        }
    }

    /// Hands `entry` to a consumer. True when some group lost its owner by that.
    fn give(&mut self, at: usize, key: Key, mut entry: Entry, group_first: bool, now: Now) -> bool {
        let (came, redeliveries) = (entry.message.broker_in_time, entry.redeliveries);
        self.mark_delivered(&mut entry);
        let subscription = self.consumers.at(at);
        subscription.new.window.add(1);
        subscription.dispatched += 1;
        let delivery = Item::Delivery(Delivery {
            message: Some(Arc::clone(&entry.message)),
            sequence: entry.sequence,
            redeliveries,
            group_first,
            ..subscription.delivery(&self.context.destination)
        });
        let lost = self.keep_groups(at, &entry, group_first);
        self.consumers.at(at).in_flight.push(entry);
        self.consumers.stage(at, delivery);
        self.counters.now.dispatched += 1;
        self.counters.now.enqueue_ms.add_wait(came, now.wall_ms);
        // Round robin, unless the order is strict.
        let rotates = !self.context.policy.strict_order_dispatch;
        self.consumers.gave(at, key, rotates, &self.groups);
        lost
    }

    /// Keeps the owners of message groups as this delivery changes them. True when some group lost its
    /// owner.
    fn keep_groups(&mut self, at: usize, entry: &Entry, group_first: bool) -> bool {
        let Some(group) = &entry.message.group_id else { return false };
        let owner = self.consumers.at(at).new.key;
        let closes = entry.message.group_sequence < 0;
        let mut loser = None;
        if group_first {
            loser = self.groups.assign(group, owner);
        } else {
            self.groups.touch(group);
        }
        if closes {
            self.groups.close(group);
        }
        if group_first || closes {
            self.consumers.has_other_groups(owner);
        }
        if let Some(loser) = loser {
            self.consumers.has_other_groups(loser);
        }
        closes || loser.is_some()
    }

    /// Messages that were kept for the owners of their groups may go to others now. Returns where they
    /// begin.
    pub(super) fn look_at_kept(&mut self) -> Key {
        let Some(from) = self.kept_for_owner.take() else { return Key::MAX };
        self.consumers.look_from(from);
        from
    }

    /// Tells consumers that pulled and waited long enough that there is nothing: not before that is known.
    pub(super) fn answer_empty_pulls(&mut self, now: Now) {
        if self.is_reading() {
            return;
        }
        for at in 0..self.consumers.len() {
            let subscription = self.consumers.at(at);
            if subscription.pulls.is_empty() {
                continue;
            }
            let mut unanswered = 0;
            subscription.pulls.retain(|pull| {
                if !pull.is_open() {
                    return false;
                }
                let due = pull.deadline.is_some_and(|deadline| deadline <= now.instant);
                // The last one of several queues that lets go of it says so for all.
                unanswered += usize::from(due && pull.shared.is_none());
                !due
            });
            for _ in 0..unanswered {
                let empty = self.consumers.at(at).delivery(&self.context.destination);
                self.consumers.stage(at, Item::Delivery(empty));
            }
        }
    }
}

impl Subscription {
    /// Whether the message at `key` is one it has not judged, and acceptable: selector, noLocal, and the one
    /// consumer a message may be meant for.
    pub(super) fn takes(&self, key: Key, entry: &Entry) -> bool {
        let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
        self.scanned <= key
            && super::super::accepts(&self.new.info, self.new.selector.as_ref(), &candidate)
    }
}
