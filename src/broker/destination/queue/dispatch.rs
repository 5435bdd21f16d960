//! Which pending message goes to which consumer (semantics.md 2.2 and 2.3).

use super::super::{Effects, Now};
use super::consumers::Choice;
use super::judged::{Pass, Span, join};
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
        if let Some(pass) = self.consumers.begin_pass() {
            self.run(pass, now, out);
        }
        self.note_pace();
    }

    fn run(&mut self, mut pass: Pass, now: Now, out: &mut Effects) {
        // What only the store has goes before all that is behind it.
        let mut barrier = self.barrier();
        while self.consumers.is_any_open() {
            let Some((key, entry)) = self.pending.range(pass.at()).next() else {
                self.end_of_pending(&mut pass);
                break;
            };
            if key > barrier {
                // Those who have yet to judge what is there may be full by now.
                barrier = self.barrier();
                if key > barrier {
                    break;
                }
            }
            if pass.leaps_before(key) {
                continue;
            }
            if entry.message.is_expired(now.wall_ms) {
                if let Some(entry) = self.remove(key) {
                    self.expired(entry, None, out);
                }
                continue;
            }
            pass.go_on(key);
            match self.consumers.choose(key, entry, &self.groups) {
                Choice::Give { at, group_first } => {
                    if !self.consumers.at(at).claim() {
                        continue;
                    }
                    pass.go_on(key.next());
                    let Some(entry) = self.remove(key) else { continue };
                    if let Some(span) = self.give(at, key, entry, group_first, now) {
                        self.consumers.look_at(span);
                        pass.go_back(span);
                        barrier = self.barrier();
                    }
                }
                Choice::Nobody { kept } => {
                    if let (true, Some(group)) = (kept, &entry.message.group_id) {
                        self.groups.keep(group, key);
                    }
                    pass.go_on(key.next());
                }
                Choice::AllFull => break,
            }
        }
        self.consumers.end_pass(pass.at());
        self.scanned_max = self.scanned_max.max(pass.farthest());
    }

    /// Up to where what those with room have to judge is in memory.
    fn barrier(&self) -> Key {
        self.consumers.barrier(&self.backlog).unwrap_or(Key::MAX)
    }

    /// Nothing more is pending in memory: all have judged what there is up to what only the store has.
    fn end_of_pending(&self, pass: &mut Pass) {
        pass.finish(self.consumers.barrier(&self.backlog).map_or(Key::MAX, Key::next));
    }

    /// Notes which consumers are full while messages wait for them.
    fn note_pace(&self) {
        for subscription in self.consumers.served() {
            subscription.new.window.pace.takes(subscription.staged.len() as u64);
        }
        for subscription in self.consumers.full() {
            let pace = &subscription.new.window.pace;
            if !subscription.new.window.is_full() {
                pace.keeps_up();
            } else if !pace.is_behind() && self.has_more_for(subscription) {
                pace.falls_behind();
            }
        }
    }

    /// Where other queues share a consumer's window: waits for room there, or leaves what there is to them.
    pub(super) fn share_windows(&self) {
        for subscription in self.consumers.sharing() {
            let window = &subscription.new.window;
            if !window.is_full() {
                window.pass_on();
            } else if self.has_more_for(subscription) {
                window.wait(&self.context.wake);
            }
        }
    }

    /// Whether messages wait that the consumer has not judged.
    fn has_more_for(&self, subscription: &Subscription) -> bool {
        let judged = &subscription.judged;
        self.pending.range(judged.first()).next().is_some()
            || judged.unread(&self.backlog).is_some()
            || self.spill.len() > 0
    }

    /// Hands `entry` to a consumer. Returns where messages are that were kept for the owners of groups which
    /// have lost them by that.
    fn give(
        &mut self,
        at: usize,
        key: Key,
        mut entry: Entry,
        group_first: bool,
        now: Now,
    ) -> Option<Span> {
        let (came, redeliveries) = (entry.message.broker_in_time, entry.redeliveries);
        self.given_max = self.given_max.max(key);
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

    /// Keeps the owners of message groups as this delivery changes them. Returns where messages are that were
    /// kept for owners who have lost their groups.
    fn keep_groups(&mut self, at: usize, entry: &Entry, group_first: bool) -> Option<Span> {
        let group = entry.message.group_id.as_ref()?;
        let owner = self.consumers.at(at).new.key;
        let closes = entry.message.group_sequence < 0;
        let mut kept = None;
        if group_first {
            if let Some(lost) = self.groups.assign(group, owner) {
                self.consumers.has_other_groups(lost.owner);
                kept = lost.kept;
            }
        } else {
            self.groups.touch(group);
        }
        if closes {
            kept = join(kept, self.groups.close(group));
        }
        if group_first || closes {
            self.consumers.has_other_groups(owner);
        }
        kept
    }

    /// What is in `span` may be acceptable to consumers that have judged it.
    pub(super) fn look_at(&mut self, span: Span) {
        if span.from < self.scanned_max {
            self.consumers.look_at(span);
        }
    }

    /// Tells consumers that pulled and waited long enough that there is nothing: not before that is known.
    pub(super) fn answer_empty_pulls(&mut self, now: Now) {
        if self.is_reading() {
            return;
        }
        let destination = &self.context.destination;
        self.consumers.each_pulling(|consumers, at| {
            let subscription = consumers.at(at);
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
                let empty = consumers.at(at).delivery(destination);
                consumers.stage(at, Item::Delivery(empty));
            }
        });
    }
}

impl Subscription {
    /// Whether the message at `key` is one it has not judged, and acceptable: selector, noLocal, and the one
    /// consumer a message may be meant for.
    pub(super) fn takes(&self, key: Key, entry: &Entry) -> bool {
        let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
        !self.judged.has(key)
            && super::super::accepts(&self.new.info, self.new.selector.as_ref(), &candidate)
    }
}
