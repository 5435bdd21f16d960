//! Random commands into a queue and into the model; after every batch both must agree.

use super::super::super::fixture::{
    BYTES, Clock, Random, consumer, context, for_seeds, message, take,
};
use super::super::{History, NewSubscription, Pull, Queue};
use super::model::{Browser, Given, Model, Outcome, Sub};
use crate::broker::dead_letter::Cause;
use crate::broker::destination::commit::Decision;
use crate::broker::destination::in_flight::{Ack, AckRange, TransactionKey, Window};
use crate::broker::destination::{Admission, Effects, Incoming, Op};
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Item, Outbox, Receipt, SubscriptionKey};
use crate::broker::policy::{Cursor, GroupMapKind, Policy};
use crate::broker::usage::Usage;
use crate::jms::selector::Selector;
use crate::jms::{AckKind, Destination, Message, MessageId, Throwable};
use crate::store::StoreOp;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Batches per seed; a batch has 2 commands on average.
const BATCHES: usize = 250;
const SEEDS: u64 = 2000;

const CONNECTIONS: [&str; 2] = ["c0", "c1"];
const KINDS: [&str; 2] = ["a", "b"];
const TRANSACTIONS: usize = 3;
const EXPIRE_PERIOD_MS: u64 = 50;

/// A consumer's own side.
struct Client {
    outbox: Arc<Outbox>,
    window: Arc<Window>,
}

struct World {
    random: Random,
    clock: Clock,
    policy: Policy,
    queue: Queue,
    model: Model,
    broker_usage: Arc<Usage>,
    usage: Arc<Usage>,
    own_limit: u64,
    broker_limit: u64,
    /// What other destinations have taken of the broker's memory.
    elsewhere: u64,
    woken: Arc<AtomicBool>,
    out: Effects,
    /// Where receipts are resolved.
    answers: Arc<Outbox>,
    receipts: u64,
    clients: BTreeMap<u64, Client>,
    stored: HashSet<i64>,
    next_key: u64,
    next_number: [i64; 2],
    sent: Vec<MessageId>,
}

fn policy(random: &mut Random) -> Policy {
    Policy {
        prioritized_messages: random.one_in(3),
        use_consumer_priority: !random.one_in(4),
        strict_order_dispatch: random.one_in(4),
        all_consumers_exclusive: random.one_in(8),
        use_prefetch_extension: !random.one_in(4),
        browse_page_max: random.pick(&[3, 400]),
        expire_period: Duration::from_millis(random.pick(&[0, EXPIRE_PERIOD_MS])),
        send_fail_after: Duration::from_millis(random.pick(&[0, 0, 30])),
        audit: random.one_in(2),
        groups: random.pick(&[
            GroupMapKind::Cached { size: 2 },
            GroupMapKind::Simple,
            GroupMapKind::Bucket { count: 2 },
        ]),
        cursor: Cursor::Memory,
        ..Policy::default()
    }
}

impl World {
    fn new(mut random: Random) -> Self {
        let policy = policy(&mut random);
        let broker_limit = random.pick(&[0, 20, 40]) * BYTES;
        let own_limit = random.pick(&[0, 5, 15]) * BYTES;
        let broker_usage = Usage::new(broker_limit, None);
        let usage = Usage::new(own_limit, Some(Arc::clone(&broker_usage)));
        let woken = Arc::new(AtomicBool::new(false));
        let mut context = context(Destination::queue("Q"), policy.clone(), &usage);
        let wake = Arc::clone(&woken);
        context.wake = Arc::new(move || {
            wake.store(true, Ordering::SeqCst);
            true
        });
        Self {
            random,
            clock: Clock::new(),
            model: Model::new(policy.clone()),
            policy,
            queue: Queue::new(context, History::default()),
            broker_usage,
            usage,
            own_limit,
            broker_limit,
            elsewhere: 0,
            woken,
            out: Effects::default(),
            answers: Arc::new(Outbox::default()),
            receipts: 0,
            clients: BTreeMap::new(),
            stored: HashSet::new(),
            next_key: 0,
            next_number: [0; 2],
            sent: Vec::new(),
        }
    }

    fn handle(&mut self, op: Op) {
        self.queue.handle(op, self.clock.now(), &mut self.out);
    }

    /// A receipt, mostly.
    fn receipt(&mut self) -> (Option<u64>, Option<Receipt>) {
        if self.random.one_in(4) {
            return (None, None);
        }
        self.receipts += 1;
        let receipt = Receipt::new(Arc::clone(&self.answers), self.receipts);
        (Some(self.receipts), Some(receipt))
    }

    fn expect(&mut self, receipt: Option<u64>, outcome: Outcome) {
        if let Some(receipt) = receipt {
            assert_eq!(self.model.answers.insert(receipt, outcome), None);
        }
    }

    /// Whether a send would be admitted when the queue holds `size` messages.
    fn room(&self, size: usize) -> bool {
        room(self.own_limit, self.broker_limit, self.elsewhere, size)
    }

    fn message(&mut self) -> Message {
        let from = self.random.below(2);
        self.next_number[from] += 1;
        let mut message = message(CONNECTIONS[from], self.next_number[from]);
        message.persistent = self.random.one_in(2);
        message.priority = self.random.pick(&[4, 4, 4, 0, 9, -3, 12]);
        message.jms_type = self.random.one_in(2).then(|| self.random.pick(&KINDS).into());
        if self.random.one_in(4) {
            message.group_id = Some(self.random.pick(&["p", "q", "r", "s"]).into());
            message.group_sequence = self.random.pick(&[0, 1, 2, 3, 3, 3, -1]);
        }
        if self.random.one_in(6) {
            let left = self.random.pick(&[-1, 10, 100]);
            message.expiration = self.clock.wall_ms() + left;
        }
        if self.random.one_in(20) && !self.sent.is_empty() && self.policy.audit {
            let at = self.random.below(self.sent.len());
            message.message_id = Some(self.sent[at].clone());
            message.producer_id.clone_from(&self.sent[at].producer);
        }
        self.sent.extend(message.message_id.clone());
        message
    }

    fn send(&mut self) {
        if self.model.size() + self.model.parked() > 30 {
            return;
        }
        let message = Arc::new(self.message());
        let admission =
            self.random.pick(&[Admission::Forced, Admission::Credited, Admission::Park]);
        let room = self.room(self.model.size());
        if admission == Admission::Credited {
            // The connection waits for room before it hands the message over.
            assert_eq!(self.usage.try_take(BYTES), room);
            if !room {
                return;
            }
        }
        let connection = self.random.below(2) as u64;
        let (number, receipt) = self.receipt();
        let now = self.clock.ms;
        self.model.send(Arc::clone(&message), admission, connection, number, room, now);
        let incoming = Incoming {
            message,
            bytes: BYTES,
            admission,
            receipt,
            connection,
            of_network: false,
            redeliveries: 0,
            resent: false,
            moved: Vec::new(),
            parked: None,
            joins: None,
        };
        self.handle(Op::Send(incoming));
    }

    fn subscribe(&mut self) {
        if self.clients.len() > 5 {
            return;
        }
        self.next_key += 1;
        let key = self.next_key;
        let prefetch = self.random.pick(&[0, 1, 2, 5, 1000]);
        let mut info = consumer(self.random.pick(&CONNECTIONS), key, prefetch);
        let selector = self.random.one_in(3).then(|| self.random.pick(&KINDS));
        info.browser = self.random.one_in(5);
        if info.browser {
            self.model.browse(key, prefetch, selector);
        } else {
            info.priority = self.random.pick(&[0, 0, 0, -5, 7, 127]);
            info.exclusive = self.random.one_in(6);
            info.no_local = self.random.one_in(8);
            let connection = info.consumer_id.as_ref().and_then(|id| id.connection.clone());
            let connection = CONNECTIONS.into_iter().find(|c| Some(*c) == connection.as_deref());
            self.model.subscribe(Sub {
                priority: info.priority,
                exclusive: info.exclusive,
                selector,
                not_from: connection.filter(|_| info.no_local),
                ..Sub::new(key, prefetch)
            });
        }
        let client =
            Client { outbox: Arc::default(), window: Arc::new(Window::new(info.prefetch_size)) };
        let new = Box::new(NewSubscription {
            key: SubscriptionKey(key),
            info: Arc::new(info),
            selector: selector.map(|kind| {
                Selector::parse(&format!("JMSType = '{kind}'")).expect("a valid selector")
            }),
            outbox: Arc::clone(&client.outbox),
            window: Arc::clone(&client.window),
            source: None,
        });
        self.clients.insert(key, client);
        let (number, receipt) = self.receipt();
        self.expect(number, Outcome::Done);
        self.handle(Op::Subscribe { new, receipt });
    }

    /// One of the consumers, or one that has never been.
    fn any_key(&mut self) -> u64 {
        let keys: Vec<u64> = self.clients.keys().copied().collect();
        if keys.is_empty() || self.random.one_in(50) { 999_999 } else { self.random.pick(&keys) }
    }

    fn unsubscribe(&mut self) {
        let key = self.any_key();
        let held = self.model.subs.iter().find(|sub| sub.key == key).map(|sub| &sub.held);
        let sequences: Vec<i64> =
            held.into_iter().flatten().map(|held| held.msg.sequence).collect();
        let last_delivered = match self.random.below(5) {
            0 => -2,
            1 => -1,
            2 => 0,
            3 => 1_000_000,
            _ if sequences.is_empty() => 1,
            _ => self.random.pick(&sequences),
        };
        self.model.unsubscribe(key, last_delivered);
        self.clients.remove(&key);
        let (number, receipt) = self.receipt();
        self.expect(number, Outcome::Done);
        self.handle(Op::Unsubscribe { key: SubscriptionKey(key), last_delivered, receipt });
    }

    fn acknowledge(&mut self) {
        let key = self.any_key();
        let held = self.model.subs.iter().find(|sub| sub.key == key).map(|sub| &sub.held);
        let ids: Vec<MessageId> = held
            .into_iter()
            .flatten()
            .filter_map(|held| held.msg.message.message_id.clone())
            .collect();
        let wrong = message("nobody", 1).message_id.expect("it has an id");
        let at = |random: &mut Random| {
            if ids.is_empty() || random.one_in(20) { None } else { Some(random.below(ids.len())) }
        };
        let (mut a, mut b) = (at(&mut self.random), at(&mut self.random));
        if a > b && !self.random.one_in(10) {
            std::mem::swap(&mut a, &mut b);
        }
        let id = |at: Option<usize>| at.map_or_else(|| wrong.clone(), |at| ids[at].clone());
        let from_start = self.random.one_in(3);
        let first = if from_start { Some(0) } else { a };
        let mut count = first.zip(b).map_or(1, |(a, b)| b as i32 - a as i32 + 1);
        if self.random.one_in(10) {
            count += self.random.pick(&[-1, 1, i32::MIN / 2, i32::MAX / 2]);
        }
        let range = if self.random.one_in(6) {
            AckRange::Exactly([b, a, None].into_iter().take(self.random.below(4)).map(id).collect())
        } else {
            AckRange::Span { first: (!from_start).then(|| id(a)), last: id(b) }
        };
        let kind = self.random.pick(&[
            AckKind::Standard,
            AckKind::Standard,
            AckKind::Standard,
            AckKind::Individual,
            AckKind::Individual,
            AckKind::Delivered,
            AckKind::Poison,
            AckKind::Redelivered,
            AckKind::Unmatched,
            AckKind::Expired,
        ]);
        let transaction =
            self.random.one_in(3).then(|| TransactionKey(self.random.below(TRANSACTIONS) as u64));
        let cause = (kind == AckKind::Poison).then(|| Box::new(Throwable::default()));
        let subscription = SubscriptionKey(key);
        let rollback_only = None;
        let ack = Ack { subscription, kind, range, count, transaction, rollback_only, cause };
        let outcome = self.model.acknowledge(&ack);
        let (number, receipt) = self.receipt();
        if number.is_none()
            && outcome != Outcome::Done
            && let Some(sub) = self.model.subs.iter_mut().find(|sub| sub.key == key)
        {
            sub.errors += 1;
        }
        self.expect(number, outcome);
        self.handle(Op::Ack { ack: Box::new(ack), receipt });
    }

    fn end_transaction(&mut self) {
        let (transaction, commit) = (self.random.below(TRANSACTIONS) as u64, self.random.one_in(2));
        self.model.end_transaction(transaction, commit);
        let (number, receipt) = self.receipt();
        self.expect(number, Outcome::Done);
        let transaction = TransactionKey(transaction);
        if commit {
            let (ops, entries) = self.queue.vote(Some(transaction), Vec::new(), self.clock.now());
            self.out.removals.extend(ops);
            let decision = Decision {
                transaction: Some(transaction),
                outcome: Ok(()),
                waits_on: false,
                entries,
                receipt,
            };
            self.handle(Op::Decide(Box::new(decision)));
        } else {
            self.handle(Op::RollBack { transaction, receipt });
        }
    }

    fn pull(&mut self) {
        let key = self.any_key();
        let deadline = match self.random.below(3) {
            0 => None,
            1 => Some(self.clock.ms),
            _ => Some(self.clock.ms + 20),
        };
        if let Some(sub) = self.model.subs.iter_mut().find(|sub| sub.key == key)
            && sub.prefetch == 0
        {
            sub.pulls.push_back(deadline);
        }
        if let Some(browser) = self.model.browsers.iter_mut().find(|browser| browser.key == key)
            && browser.prefetch == 0
        {
            browser.pulls += 1;
        }
        let deadline = deadline.map(|at| self.clock.at(at));
        let pull = Pull { deadline, shared: None };
        self.handle(Op::Pull { key: SubscriptionKey(key), pull });
    }

    fn set_prefetch(&mut self) {
        let key = self.any_key();
        let prefetch = self.random.pick(&[-1, 0, 1, 3, i32::MAX]);
        if let Some(sub) = self.model.subs.iter_mut().find(|sub| sub.key == key)
            && let Some(client) = self.clients.get(&key)
        {
            sub.prefetch = prefetch.max(0);
            client.window.set_prefetch(prefetch);
        }
        self.handle(Op::Wake);
    }

    /// Other destinations take memory or give it back.
    fn elsewhere(&mut self) {
        if self.elsewhere > 0 {
            self.broker_usage.release(std::mem::take(&mut self.elsewhere));
        } else {
            self.elsewhere = self.random.below(30) as u64 * BYTES;
            self.broker_usage.take(self.elsewhere);
        }
    }

    fn step(&mut self) {
        self.model.now_ms = self.clock.ms;
        match self.random.below(100) {
            0..35 => self.send(),
            35..43 => self.subscribe(),
            43..48 => self.unsubscribe(),
            48..75 => self.acknowledge(),
            75..80 => self.end_transaction(),
            80..88 => self.pull(),
            88..91 => self.set_prefetch(),
            91..94 => self.elsewhere(),
            94..98 => self.clock.ms += self.random.pick(&[1, 15, 60]),
            98 => {
                let connection = self.random.below(2) as u64;
                self.model.close_connection(connection);
                self.handle(Op::ConnectionClosed(connection));
            }
            _ if self.random.one_in(4) => {
                self.model.purge();
                let (number, receipt) = self.receipt();
                self.expect(number, Outcome::Done);
                self.handle(Op::Purge { receipt });
            }
            _ => {}
        }
    }

    /// Ends a batch, and those that it causes.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 100, "one wake-up causes another, for ever");
            self.woken.store(false, Ordering::SeqCst);
            let now = self.clock.now();
            self.model.now_ms = self.clock.ms;
            self.queue.settle_batch(now, &mut self.out);
            let (own, all) = (self.own_limit, self.broker_limit);
            let elsewhere = self.elsewhere;
            self.model.admit_parked(|size| room(own, all, elsewhere, size), self.clock.ms);
            self.carry_out();
            self.model.dispatch(self.clock.ms);
            self.compare();
            if !self.woken.load(Ordering::SeqCst) {
                break;
            }
        }
        assert!(self.model.parked() == 0 || !self.room(self.model.size()), "a wake-up was lost");
        let next = self.queue.next_deadline();
        assert!(next.is_none_or(|at| at > self.clock.now().instant), "a deadline was not handled");
    }

    /// What the destination's task does with the effects.
    fn carry_out(&mut self) {
        let out = std::mem::take(&mut self.out);
        for (receipt, result) in out.receipts {
            receipt.resolve(result);
        }
        let leaves = out
            .dead_letters
            .iter()
            .filter_map(|l| l.leaves.as_ref())
            .map(|leaves| leaves.op.clone());
        // A purge of the same batch may have taken what a letter took before.
        for op in out.adds.into_iter().chain(leaves).chain(out.removals) {
            match op {
                StoreOp::Add(add) => {
                    if add.cancel.is_none_or(|cancel| cancel.take()) {
                        assert!(self.stored.insert(add.sequence));
                    }
                }
                StoreOp::Remove { sequence, .. } => assert!(self.stored.remove(&sequence)),
                StoreOp::Purge { last, .. } => self.stored.retain(|sequence| *sequence > last),
                other => panic!("a queue does not ask for {other:?}"),
            }
        }
        for receipt in
            out.added.into_iter().map(|(_, receipt)| receipt).chain(out.removed).chain(out.flushed)
        {
            receipt.resolve(Ok(()));
        }
        // Those the model knows of: expired on arrival, or acknowledged as expired.
        let mut known = std::mem::take(&mut self.model.expired_now);
        let mut poisoned = std::mem::take(&mut self.model.poisoned);
        for mut letter in out.dead_letters {
            if let Some(receipt) = letter.receipt.take() {
                receipt.resolve(Ok(()));
            }
            let id = letter.message.message_id.clone().expect("it has an id");
            let list = match letter.cause {
                Some(Cause::Expired(_)) => &mut known,
                _ => &mut poisoned,
            };
            match list.iter().position(|of| *of == id) {
                Some(at) => drop(list.remove(at)),
                None => self.model.expire(&id, self.clock.ms),
            }
        }
        assert!(known.is_empty() && poisoned.is_empty(), "dead letters are missing");
    }

    fn compare(&mut self) {
        let mut answers = BTreeMap::new();
        for item in take(&self.answers) {
            let Item::Settled { receipt, result } = item else { panic!("only receipts here") };
            assert_eq!(answers.insert(receipt, outcome(result)), None, "answered twice");
        }
        assert_eq!(answers, std::mem::take(&mut self.model.answers));
        for sub in &self.model.subs {
            let client = &self.clients[&sub.key];
            let (given, failures) = received(&client.outbox);
            if (&given, failures) != (&sub.expects, sub.errors) {
                panic!("{} got {given:?} and {failures} errors, not as {:#?}", sub.key, self.model);
            }
            assert_eq!(client.window.in_flight(), sub.held.len() as i32);
        }
        for sub in &mut self.model.subs {
            sub.expects.clear();
            sub.errors = 0;
        }
        for Browser { key, expects, .. } in &mut self.model.browsers {
            let (given, failures) = received(&self.clients[key].outbox);
            assert_eq!((given, failures), (std::mem::take(expects), 0), "browser {key}");
        }
        let model = &self.model;
        assert_eq!(self.stored, model.stored());
        assert_eq!(self.usage.used(), model.bytes());
        assert_eq!(self.broker_usage.used(), model.bytes() + self.elsewhere);
        let counters = self.queue.report();
        assert_eq!(counters.size, model.size() as u64);
        let shown: u64 = model.browsers.iter().map(|b| u64::from(b.in_flight.unsigned_abs())).sum();
        assert_eq!(counters.in_flight, model.in_flight() as u64 + shown);
        assert_eq!(counters.consumers, model.subs.len() as u64);
        assert_eq!(counters.own.enqueued, model.enqueued);
        assert_eq!(counters.own.dequeued, model.dequeued);
        assert_eq!(counters.own.expired, model.expired);
        assert_eq!(counters.own.dispatched, model.dispatched);
        if !self.policy.expire_period.is_zero() {
            for msg in &model.pending {
                let expiration = msg.message.expiration;
                let late = self.clock.wall_ms() - expiration.max(msg.since_ms.cast_signed());
                assert!(expiration == 0 || late <= EXPIRE_PERIOD_MS.cast_signed());
            }
        }
    }

    /// Everybody leaves; what is left is consumed by one more consumer.
    fn finish(mut self) {
        for transaction in 0..TRANSACTIONS as u64 {
            self.model.end_transaction(transaction, false);
            let transaction = TransactionKey(transaction);
            self.handle(Op::RollBack { transaction, receipt: None });
        }
        for key in self.clients.keys().copied().collect::<Vec<_>>() {
            self.model.unsubscribe(key, -2);
            let key = SubscriptionKey(key);
            self.handle(Op::Unsubscribe { key, last_delivered: -2, receipt: None });
        }
        self.clients.clear();
        self.settle();
        for connection in 0..2 {
            self.model.close_connection(connection);
            self.handle(Op::ConnectionClosed(connection));
        }
        self.broker_usage.release(std::mem::take(&mut self.elsewhere));
        self.settle();
        self.model.purge();
        self.handle(Op::Purge { receipt: None });
        self.settle();
        assert_eq!((self.usage.used(), self.broker_usage.used()), (0, 0));
        assert!(self.stored.is_empty());
    }
}

fn room(own_limit: u64, broker_limit: u64, elsewhere: u64, size: usize) -> bool {
    let used = size as u64 * BYTES;
    (own_limit == 0 || used < own_limit) && (broker_limit == 0 || used + elsewhere < broker_limit)
}

fn outcome(result: Result<(), BrokerError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(BrokerError::AckCount { .. }) => Outcome::BadCount,
        Err(BrokerError::AckRange { .. }) => Outcome::BadRange,
        Err(BrokerError::AckUnknown { .. }) => Outcome::UnknownMessage,
        Err(BrokerError::AckPoisonInTransaction { .. }) => Outcome::PoisonInTransaction,
        Err(BrokerError::MemoryWaitTimeout { .. }) => Outcome::Timeout,
        Err(BrokerError::Stopping) => Outcome::Dropped,
        Err(other) => panic!("unexpected: {other}"),
    }
}

/// What a consumer received, and how many errors.
fn received(outbox: &Outbox) -> (Vec<Given>, usize) {
    let (mut given, mut failures) = (Vec::new(), 0);
    for item in take(outbox) {
        match item {
            Item::Delivery(delivery) => {
                let sequence = delivery.message.as_ref().map(|_| delivery.sequence);
                given.push((sequence, delivery.redeliveries, delivery.group_first));
            }
            Item::AsyncError(_) => failures += 1,
            other => panic!("unexpected: {other:?}"),
        }
    }
    (given, failures)
}

#[test]
fn a_queue_does_what_the_model_does() {
    for_seeds(SEEDS, |random| {
        let mut world = World::new(random);
        for _ in 0..BATCHES {
            for _ in 0..=world.random.below(3) {
                world.step();
            }
            world.settle();
        }
        world.finish();
    });
}
