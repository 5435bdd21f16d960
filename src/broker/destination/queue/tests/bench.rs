//! A queue to try rules on, without tasks and clocks.

use super::super::super::fixture::{Clock, consumer, context, incoming, message};
use super::super::{History, NewSubscription, Pull, Queue};
use crate::broker::destination::commit::Decision;
use crate::broker::destination::in_flight::{Ack, AckRange, TransactionKey, Window};
use crate::broker::destination::{Effects, Op};
use crate::broker::outbox::{Outbox, Receipt, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::selector::Selector;
use crate::jms::{AckKind, ConsumerInfo, Destination, Message};
use crate::store::StoreOp;
use std::sync::Arc;

pub(super) struct Bench {
    pub(super) queue: Queue,
    pub(super) usage: Arc<Usage>,
    pub(super) clock: Clock,
    pub(super) out: Effects,
    pub(super) consumers: u64,
}

/// A consumer's own side.
pub(super) struct Client {
    pub(super) key: SubscriptionKey,
    pub(super) outbox: Arc<Outbox>,
    pub(super) window: Arc<Window>,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        Self::with_limit(policy, 0)
    }

    pub(super) fn with_limit(policy: Policy, limit: u64) -> Self {
        let usage = Usage::new(limit, None);
        let queue =
            Queue::new(context(Destination::queue("Q"), policy, &usage), History::default());
        Self { queue, usage, clock: Clock::new(), out: Effects::default(), consumers: 0 }
    }

    /// One batch.
    pub(super) fn run(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.queue.handle(op, self.clock.now(), &mut self.out);
        }
        self.queue.settle_batch(self.clock.now(), &mut self.out);
    }

    pub(super) fn send(&mut self, message: Message) {
        self.run([Op::Send(incoming(message, None))]);
    }

    pub(super) fn send_numbers(&mut self, numbers: impl IntoIterator<Item = i64>) {
        let ops = numbers.into_iter().map(|n| Op::Send(incoming(message("c0", n), None)));
        self.run(ops.collect::<Vec<_>>());
    }

    pub(super) fn subscribe(&mut self, prefetch: i32) -> Client {
        self.subscribe_as(prefetch, None, |_| {})
    }

    pub(super) fn subscribe_as(
        &mut self,
        prefetch: i32,
        selector: Option<&str>,
        change: impl Fn(&mut ConsumerInfo),
    ) -> Client {
        self.consumers += 1;
        let mut info = consumer("c1", self.consumers, prefetch);
        change(&mut info);
        let client = Client {
            key: SubscriptionKey(self.consumers),
            outbox: Arc::default(),
            window: Arc::new(Window::new(prefetch)),
        };
        let new = Box::new(NewSubscription {
            key: client.key,
            info: Arc::new(info),
            selector: selector.map(|text| Selector::parse(text).expect("a valid selector")),
            outbox: Arc::clone(&client.outbox),
            window: Arc::clone(&client.window),
            source: None,
        });
        self.run([Op::Subscribe { new, receipt: None }]);
        client
    }

    pub(super) fn unsubscribe(&mut self, client: &Client, last_delivered: i64) {
        self.run([Op::Unsubscribe { key: client.key, last_delivered, receipt: None }]);
    }

    /// Acknowledges from the message with number `first` to the one with number `last`.
    pub(super) fn ack(&mut self, client: &Client, kind: AckKind, first: i64, last: i64) {
        self.ack_in(client, kind, first, last, None);
    }

    pub(super) fn ack_in(
        &mut self,
        client: &Client,
        kind: AckKind,
        first: i64,
        last: i64,
        tx: Option<u64>,
    ) {
        let id = |number| message("c0", number).message_id.expect("it has an id");
        let ack = Box::new(Ack {
            subscription: client.key,
            kind,
            range: AckRange::Span { first: Some(id(first)), last: id(last) },
            count: i32::try_from(last - first + 1).expect("few"),
            transaction: tx.map(TransactionKey),
            rollback_only: None,
            cause: None,
        });
        self.run([Op::Ack { ack, receipt: None }]);
    }

    pub(super) fn end(&mut self, transaction: u64, commit: bool) {
        let transaction = TransactionKey(transaction);
        if commit {
            self.commit(transaction, None);
        } else {
            self.run([Op::RollBack { transaction, receipt: None }]);
        }
    }

    pub(super) fn commit(
        &mut self,
        transaction: TransactionKey,
        receipt: Option<Receipt>,
    ) -> Vec<StoreOp> {
        let (ops, entries) = self.queue.vote(Some(transaction), Vec::new(), self.clock.now());
        let transaction = Some(transaction);
        let decision = Decision { transaction, outcome: Ok(()), waits_on: false, entries, receipt };
        self.run([Op::Decide(Box::new(decision))]);
        ops
    }

    pub(super) fn pull(&mut self, client: &Client, deadline_ms: Option<u64>) {
        let deadline = deadline_ms.map(|ms| self.clock.at(ms));
        self.run([Op::Pull { key: client.key, pull: Pull { deadline, shared: None } }]);
    }
}
