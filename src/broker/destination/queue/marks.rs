//! `persistJMSRedelivered`: what a consumer is about to get is marked as delivered in the store first, so that
//! even after a crash it comes back as redelivered.
//!
//! The deliveries of a batch wait until its marks are durable, and those of later batches behind them.

use super::Queue;
use crate::broker::destination::Effects;
use crate::broker::destination::in_flight::Entry;
use crate::broker::outbox::{Item, Outbox, SubscriptionKey};
use crate::store::StoreOp;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Of this batch.
    ops: Vec<StoreOp>,
    /// For each submit of marks that is under way, oldest first.
    waiting: VecDeque<Vec<Held>>,
}

/// Deliveries that wait.
#[derive(Debug)]
struct Held {
    key: SubscriptionKey,
    outbox: Arc<Outbox>,
    items: Vec<Item>,
}

impl Queue {
    /// Notes that `entry` is given to a consumer, which counts as delivered from now on.
    pub(super) fn mark_delivered(&mut self, entry: &mut Entry) {
        if !self.context.policy.persist_redelivered || entry.redeliveries > 0 {
            return;
        }
        entry.redeliveries = 1;
        if self.context.stores(&entry.message) {
            let (destination, sequence) = (self.context.destination.clone(), entry.sequence);
            self.marks.ops.push(StoreOp::Deliver { destination, sequence });
        }
    }

    /// Hands each connection what this batch brought for it, or has it wait for the marks.
    pub(super) fn flush(&mut self, out: &mut Effects) {
        if self.marks.ops.is_empty() && self.marks.waiting.is_empty() {
            self.consumers.each_served(|s| s.new.outbox.push_all(&mut s.staged));
            return;
        }
        let mut held = Vec::new();
        self.consumers.each_served(|s| {
            held.push(Held {
                key: s.new.key,
                outbox: Arc::clone(&s.new.outbox),
                items: std::mem::take(&mut s.staged),
            });
        });
        match self.marks.waiting.back_mut() {
            Some(last) if self.marks.ops.is_empty() => last.append(&mut held),
            _ => {
                self.marks.waiting.push_back(held);
                out.marks.append(&mut self.marks.ops);
            }
        }
    }

    /// The oldest marks are durable, or will never be: their deliveries go out all the same.
    pub(super) fn marked_delivered(&mut self) {
        for mut held in self.marks.waiting.pop_front().into_iter().flatten() {
            held.outbox.push_all(&mut held.items);
        }
    }

    /// A consumer has gone: it gets no more.
    pub(super) fn forget_waiting(&mut self, key: SubscriptionKey) {
        self.marks.waiting.iter_mut().for_each(|batch| batch.retain(|held| held.key != key));
    }
}
