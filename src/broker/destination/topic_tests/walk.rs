//! Random commands into a topic with one plain and one durable subscription, beside lists of what
//! each should see.

use super::super::durable::{DurableKey, DurableSubscription, NewDurable};
use super::super::fixture::{
    BYTES, Clock, Random, consumer, context, for_seeds, incoming, message, numbers,
};
use super::super::in_flight::{Ack, AckRange, TransactionKey};
use super::super::queue::History;
use super::super::subscription::{Memory, TopicSubscription};
use super::super::topic::{Topic, TopicMember};
use super::super::{Effects, Op, Outlet, PageOf};
use crate::broker::forward::channel;
use crate::broker::outbox::{Outbox, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::{AckKind, ConsumerInfo, Destination, Message};
use crate::store::memory::MemoryStore;
use crate::store::{Page, StoredMessage};
use std::collections::VecDeque;
use std::sync::Arc;

/// Steps per seed.
const STEPS: usize = 400;
const SEEDS: u64 = 150;

struct World {
    clock: Clock,
    usage: Arc<Usage>,
    out: Effects,
    topic: Topic,
    plain: Arc<TopicSubscription>,
    plain_outbox: Arc<Outbox>,
    durable: Arc<DurableSubscription>,
    durable_outbox: Option<Arc<Outbox>>,
}

/// A consumer's window and what it should get.
#[derive(Debug, Default)]
struct Model {
    prefetch: usize,
    extension: usize,
    pending: VecDeque<i64>,
    /// With what a transaction holds.
    held: Vec<(i64, bool)>,
    expects: Vec<i64>,
}

impl Model {
    fn send(&mut self) {
        while self.held.len() < self.prefetch + self.extension {
            let Some(number) = self.pending.pop_front() else { return };
            self.held.push((number, false));
            self.expects.push(number);
        }
    }

    fn settled(&mut self, count: usize) {
        self.extension = self.extension.saturating_sub(count);
        self.send();
    }
}

/// A persistent message that is past its time.
fn stored(sequence: i64, connection: &str) -> StoredMessage {
    let message = Message { persistent: true, expiration: 1, ..message(connection, sequence) };
    StoredMessage { sequence, message: Arc::new(message) }
}

fn info(prefetch: i32) -> Arc<ConsumerInfo> {
    let destination = Some(Destination::topic("T"));
    Arc::new(ConsumerInfo { destination, ..consumer("c1", 1, prefetch) })
}

fn world(policy: Policy, prefetch: i32) -> World {
    world_with(policy, prefetch, false)
}

fn world_with(policy: Policy, prefetch: i32, expires_active: bool) -> World {
    world_of(policy, prefetch, |new| new.expires_active = expires_active)
}

/// `change` is made to the durable subscription.
fn world_of(policy: Policy, prefetch: i32, change: impl FnOnce(&mut NewDurable)) -> World {
    let usage = Usage::new(0, None);
    let (clock, mut out) = (Clock::new(), Effects::default());
    let policy_of_members = Arc::new(policy.clone());
    let mut topic =
        Topic::new(context(Destination::topic("T"), policy, &usage), History::default());
    let plain_outbox = Arc::new(Outbox::default());
    let outlet =
        Outlet { store: Arc::new(MemoryStore), forward: channel().0, halted: Arc::default() };
    let memory = Memory { usage: Arc::clone(&usage), spool: None, outlet: outlet.clone() };
    let plain = TopicSubscription::new(
        SubscriptionKey(1),
        info(prefetch),
        None,
        Arc::clone(&plain_outbox),
        Arc::clone(&policy_of_members),
        memory,
    );
    let mut new = NewDurable {
        key: SubscriptionKey(2),
        number: 1,
        owner: DurableKey { client: "C".into(), name: "S".into() },
        destination: Destination::topic("T"),
        info: info(prefetch),
        selector: None,
        policy: policy_of_members,
        keeps_transient: true,
        expires_active: false,
        outlet,
        usage: Arc::clone(&usage),
        spool: None,
        pending: 0,
    };
    change(&mut new);
    let durable = DurableSubscription::new(new);
    for member in
        [TopicMember::Plain(Arc::clone(&plain)), TopicMember::Durable(Arc::clone(&durable))]
    {
        topic.handle(Op::Join { member, receipt: None, past: None }, clock.now(), &mut out);
    }
    World { clock, usage, out, topic, plain, plain_outbox, durable, durable_outbox: None }
}

impl World {
    fn send(&mut self, number: i64) {
        let message =
            Message { destination: Some(Destination::topic("T")), ..message("c0", number) };
        let now = self.clock.now();
        self.topic.handle(Op::Send(incoming(message, None)), now, &mut self.out);
    }

    fn settle(&mut self) {
        self.topic.settle_batch(self.clock.now(), &mut self.out);
        for (durable, entries) in std::mem::take(&mut self.out.offers) {
            durable.offer(entries, self.clock.now(), &mut self.out);
        }
    }

    fn activate(&mut self, prefetch: i32) {
        let outbox = Arc::new(Outbox::default());
        self.durable_outbox = Some(Arc::clone(&outbox));
        let activated =
            self.durable.activate(info(prefetch), outbox, self.clock.now(), &mut self.out);
        activated.expect("it was inactive");
    }

    fn ack(&mut self, kind: AckKind, first: i64, last: i64, count: usize, tx: Option<u64>) {
        let id = |number| message("c0", number).message_id.expect("it has an id");
        let ack = Ack {
            subscription: SubscriptionKey(2),
            kind,
            range: AckRange::Span { first: Some(id(first)), last: id(last) },
            count: i32::try_from(count).expect("few"),
            transaction: tx.map(TransactionKey),
            rollback_only: None,
            cause: None,
        };
        let answer = self.durable.acknowledge(&ack, &mut None, self.clock.now(), &mut self.out);
        assert_eq!(answer, Ok(()));
        assert!(self.out.removals.is_empty(), "nothing of it is stored");
    }
}

#[test]
fn subscriptions_of_a_topic_do_what_the_model_does() {
    for_seeds(SEEDS, |random| walk(random, STEPS));
}

fn walk(mut random: Random, steps: usize) {
    let prefetch = random.pick(&[1, 2, 7]);
    let mut world = world(Policy::default(), i32::try_from(prefetch).expect("small"));
    let mut plain = Model { prefetch, ..Model::default() };
    let mut durable = Model::default();
    let mut online = false;
    let mut next = 0;
    for _ in 0..steps {
        match random.below(10) {
            0..4 if durable.pending.len() + plain.pending.len() < 60 => {
                for _ in 0..=random.below(3) {
                    world.send(next);
                    plain.pending.push_back(next);
                    durable.pending.push_back(next);
                    next += 1;
                }
                world.settle();
            }
            4 | 5 => {
                let count = random.below(plain.held.len() + 2);
                let kind = random.pick(&[AckKind::Standard, AckKind::Delivered]);
                let now = world.clock.now();
                let many = i32::try_from(count).expect("few");
                world.plain.acknowledge(kind, many, now, &mut world.out);
                if kind == AckKind::Delivered {
                    plain.extension = (plain.extension + count).min(plain.held.len());
                } else {
                    plain.held.drain(..count.min(plain.held.len()));
                    plain.settled(count);
                }
            }
            6 | 7 if online && !durable.held.is_empty() => {
                let first = random.below(durable.held.len());
                let last = first + random.below(durable.held.len() - first);
                let (a, b) = (durable.held[first].0, durable.held[last].0);
                let count = last - first + 1;
                match random.below(3) {
                    0 => {
                        world.ack(AckKind::Delivered, a, b, count, None);
                        durable.extension = durable.extension.max(last + 1);
                    }
                    1 => {
                        world.ack(AckKind::Standard, a, b, count, Some(1));
                        durable.held[first..=last].iter_mut().for_each(|held| held.1 = true);
                        durable.extension = durable.extension.max(last + 1);
                    }
                    _ => {
                        world.ack(AckKind::Standard, a, b, count, None);
                        durable.held.drain(first..=last);
                        durable.settled(count);
                    }
                }
            }
            8 => {
                let commit = random.one_in(2);
                let now = world.clock.now();
                world.durable.end_transaction(TransactionKey(1), commit, now, &mut world.out);
                let before = durable.held.len();
                durable.held.retain(|held| !(commit && held.1));
                durable.held.iter_mut().for_each(|held| held.1 = false);
                durable.settled(before - durable.held.len());
            }
            // While a transaction holds messages its consumer stays.
            9 if durable.held.iter().all(|held| !held.1) => {
                if online {
                    world.durable.deactivate(-2);
                    let back: Vec<i64> = durable.held.drain(..).map(|held| held.0).collect();
                    durable.pending.extend(back);
                    durable.pending.make_contiguous().sort_unstable();
                    durable.prefetch = 0;
                    durable.extension = 0;
                } else {
                    world.activate(i32::try_from(prefetch).expect("small"));
                    durable.prefetch = prefetch;
                }
                online = !online;
            }
            _ => {}
        }
        plain.send();
        durable.send();
        assert_eq!(numbers(&world.plain_outbox), std::mem::take(&mut plain.expects));
        let received = world.durable_outbox.as_ref().map(|outbox| numbers(outbox));
        assert_eq!(received.unwrap_or_default(), std::mem::take(&mut durable.expects));
        assert_eq!(world.plain.backlog().0, plain.pending.len());
        assert_eq!(world.durable.size(), durable.pending.len() + durable.held.len());
        // A message is in memory as long as one of them has it; the plain one only until it is sent.
        let mut there: Vec<i64> = plain.pending.iter().chain(&durable.pending).copied().collect();
        there.extend(durable.held.iter().map(|held| held.0));
        there.sort_unstable();
        there.dedup();
        assert_eq!(world.usage.used(), there.len() as u64 * BYTES);
    }
    let World { topic, plain, durable, usage, out, .. } = world;
    drop((topic, plain, durable, out));
    assert_eq!(usage.used(), 0);
}

#[test]
fn a_pull_that_was_answered_does_not_end_the_next_one() {
    let mut world = world(Policy::default(), 0);
    let now = world.clock.now();
    let first = world.plain.pull(now, &mut world.out).expect("nothing is there");
    world.send(0);
    world.settle();
    let second = world.plain.pull(now, &mut world.out).expect("nothing is there");
    world.plain.end_pull(first);
    assert_eq!(numbers(&world.plain_outbox), [0]);
    world.plain.end_pull(second);
    assert_eq!(numbers(&world.plain_outbox), [-1]);

    world.activate(0);
    assert_eq!(world.durable.pull(now, &mut world.out), None, "the message is there");
    let old = world.durable.pull(now, &mut world.out).expect("nothing is there");
    world.durable.deactivate(-1);
    world.activate(0);
    assert_eq!(world.durable.pull(now, &mut world.out), None, "it came back");
    world.durable.pull(now, &mut world.out).expect("nothing is there");
    world.durable.end_pull(old);
    let outbox = world.durable_outbox.as_ref().expect("it is active");
    assert_eq!(numbers(outbox), [0]);
}

#[test]
fn a_topic_counts_what_its_subscriptions_get_and_settle() {
    let mut world = world(Policy::default(), 2);
    for number in 1..=3 {
        world.send(number);
    }
    world.settle();
    let report = |world: &mut World| {
        let (answer, mut report) = tokio::sync::oneshot::channel();
        world.topic.handle(Op::Report(answer), world.clock.now(), &mut world.out);
        report.try_recv().expect("it answers at once")
    };
    let before = report(&mut world);
    assert_eq!((before.own.enqueued, before.own.dispatched, before.in_flight), (3, 2, 2));
    world.plain.acknowledge(AckKind::Standard, 2, world.clock.now(), &mut world.out);
    let after = report(&mut world);
    assert_eq!((after.own.dispatched, after.own.dequeued, after.in_flight), (3, 2, 1));
    let plain = &after.subscriptions[0];
    assert_eq!((plain.enqueued, plain.dispatched, plain.dequeued, plain.pending), (3, 3, 2, 0));
    let durable = &after.subscriptions[1];
    assert_eq!((durable.active, durable.enqueued, durable.pending), (false, 3, 3));
}

#[test]
fn pending_messages_of_active_durables_expire_only_if_that_is_configured() {
    for expires_active in [false, true] {
        let mut world = world_with(Policy::default(), 1, expires_active);
        world.activate(1);
        world.send(1);
        world.send(2);
        world.settle();
        assert!(world.durable.holds(1), "it is with the consumer");
        assert_eq!(world.durable.holds(2), !expires_active);
        if expires_active {
            world.durable.expire(&stored(2, "c0"));
            assert_eq!(world.durable.size(), 1);
        }
    }
}

/// An answer to who reads expired messages.
fn expired_page(messages: Vec<StoredMessage>) -> Op {
    let page = Page { messages, end: true, ..Page::default() };
    Op::Paged { of: PageOf::Expired, page: Ok(page) }
}

/// Message 1 is with the durable subscriber, and the topic reads expired messages.
fn world_that_reads_expired() -> World {
    let mut world = world(Policy::default(), 1);
    world.activate(1);
    world.send(1);
    world.settle();
    world.topic.handle(expired_page(Vec::new()), world.clock.now(), &mut world.out);
    world.clock.ms +=
        1 + u64::try_from(Policy::default().expire_period.as_millis()).expect("short");
    world.settle();
    assert!(matches!(world.out.fetches[..], [(PageOf::Expired, _)]), "{:?}", world.out.fetches);
    world
}

#[test]
fn what_is_consumed_while_a_page_of_expired_messages_is_read_does_not_expire() {
    let mut world = world_that_reads_expired();
    world.ack(AckKind::Standard, 1, 1, 1, None);
    let page = expired_page(vec![stored(1, "c0")]);
    world.topic.handle(page, world.clock.now(), &mut world.out);
    assert!(world.out.dead_letters.is_empty(), "{:?}", world.out.dead_letters);
    assert_eq!(world.durable.size(), 0);
    assert!(!world.durable.holds(1), "nothing is read any more");
}

#[test]
fn a_topic_that_is_left_or_ends_while_it_reads_expired_messages_leaves_nothing_behind() {
    for end in [Op::Leave { key: SubscriptionKey(2), receipt: None }, Op::Destroy { receipt: None }]
    {
        let mut world = world_that_reads_expired();
        world.topic.handle(end, world.clock.now(), &mut world.out);
        world.out.removals.clear();
        world.ack(AckKind::Standard, 1, 1, 1, None);
        assert!(!world.durable.holds(1), "it would be noted for ever");
    }
}

#[test]
fn what_expires_counts_for_the_durable_subscriptions_that_have_it() {
    let world = world_of(Policy::default(), 1, |new| {
        new.pending = 2;
        new.info = Arc::new(ConsumerInfo { no_local: true, ..(*info(1)).clone() });
    });
    world.durable.expire(&stored(1, "c1"));
    assert_eq!(world.durable.size(), 2, "it sent that itself");
    world.durable.expire(&stored(2, "c0"));
    assert_eq!(world.durable.size(), 1);
}
