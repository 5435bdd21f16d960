//! Random commands into a topic with many subscriptions of all kinds, beside a list of what each should
//! see: plain ones with limits and evictions, retroactive ones, durable ones that come and go, all with and
//! without selectors, and messages that expire.

use super::super::Op;
use super::super::durable::DurableSubscription;
use super::super::fixture::{Random, for_seeds, numbers};
use super::super::in_flight::{Ack, AckRange};
use super::super::subscription::TopicSubscription;
use super::bench::{Bench, with};
use crate::broker::outbox::{Outbox, SubscriptionKey};
use crate::broker::policy::{Eviction, PendingLimit, Policy, RecoveryKind};
use crate::jms::properties::PropertyValue;
use crate::jms::{AckKind, ConsumerInfo, Message};
use std::collections::VecDeque;
use std::sync::Arc;

const SEEDS: u64 = 2500;
const STEPS: usize = 400;
const CONNECTIONS: [&str; 2] = ["c0", "c1"];

/// A message as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Msg {
    /// Unlike any other's: its producer's number is this.
    number: i64,
    priority: i8,
    from: usize,
    /// Value of a property, unless it has none.
    color: Option<i32>,
    timestamp: i64,
    /// ms since the epoch; 0: never.
    expiration: i64,
    /// Its place among the messages of a durable subscription.
    order: i64,
}

impl Msg {
    fn is_expired(&self, now: i64) -> bool {
        self.expiration > 0 && now > self.expiration
    }
}

enum Kind {
    Plain(Arc<TopicSubscription>),
    /// With the outbox of its consumer, while it has one.
    Durable {
        subscription: Arc<DurableSubscription>,
        online: bool,
    },
}

/// What a selector asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Only {
    All,
    Color(i32),
    Above(i8),
}

impl Only {
    fn selector(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Color(color) => Some(format!("color = {color}.0")),
            Self::Above(priority) => Some(format!("JMSPriority > {priority}")),
        }
    }

    fn wants(self, msg: &Msg) -> bool {
        match self {
            Self::All => true,
            Self::Color(color) => msg.color == Some(color),
            Self::Above(priority) => msg.priority > priority,
        }
    }
}

/// A subscription, and what it should have.
struct Sub {
    key: SubscriptionKey,
    kind: Kind,
    outbox: Arc<Outbox>,
    prefetch: usize,
    /// Wants no messages of this connection.
    not_from: Option<usize>,
    only: Only,
    limit: Option<usize>,
    pending: VecDeque<Msg>,
    held: Vec<Msg>,
    extension: usize,
    discarded: u64,
    expects: Vec<i64>,
}

impl Sub {
    fn wants(&self, msg: &Msg) -> bool {
        self.not_from != Some(msg.from) && self.only.wants(msg)
    }

    fn is_online(&self) -> bool {
        match self.kind {
            Kind::Plain(_) => true,
            Kind::Durable { online, .. } => online,
        }
    }

    fn send(&mut self, now: i64) {
        while self.is_online() && self.held.len() < self.prefetch + self.extension {
            let Some(msg) = self.pending.pop_front() else { return };
            if !msg.is_expired(now) {
                self.held.push(msg);
                self.expects.push(msg.number);
            }
        }
    }

    /// One batch of messages.
    fn take(&mut self, messages: &[Msg], policy: &Policy, now: i64) {
        let wanted: Vec<Msg> = messages.iter().filter(|msg| self.wants(msg)).copied().collect();
        self.pending.extend(&wanted);
        self.send(now);
        let Some(limit) = self.limit.filter(|_| !wanted.is_empty()) else { return };
        if self.pending.len() > limit.min(policy.evict_expired_from) {
            self.pending.retain(|msg| !msg.is_expired(now));
        }
        while self.pending.len() > limit {
            let before = self.pending.len();
            self.evict(&policy.eviction);
            self.discarded += (before - self.pending.len()) as u64;
        }
    }

    fn evict(&mut self, eviction: &Eviction) {
        let pending = &mut self.pending;
        match eviction {
            Eviction::Oldest => drop(pending.pop_front()),
            Eviction::OldestWithLowestPriority => {
                let lowest = pending.iter().map(|msg| msg.priority).min();
                let at = pending.iter().position(|msg| Some(msg.priority) == lowest);
                pending.remove(at.expect("there are some"));
            }
            Eviction::UniqueProperty(_) => {
                let all = pending.clone();
                let rank = |msg: &Msg| (msg.timestamp, -msg.number);
                let is_newest = |msg: &Msg| {
                    let same = all.iter().filter(|other| other.color == msg.color);
                    msg.color.is_some() && same.map(rank).max() == Some(rank(msg))
                };
                pending.retain(is_newest);
                if pending.is_empty() || pending.len() == all.len() {
                    *pending = all;
                    pending.pop_front();
                }
            }
        }
    }

    fn size(&self) -> usize {
        self.pending.len() + self.held.len()
    }
}

struct World {
    random: Random,
    policy: Policy,
    bench: Bench,
    subs: Vec<Sub>,
    kept: VecDeque<Msg>,
    next: i64,
    order: i64,
}

fn policy(random: &mut Random) -> Policy {
    Policy {
        pending_limit: random.pick(&[
            PendingLimit::None,
            PendingLimit::Constant(0),
            PendingLimit::Constant(3),
            PendingLimit::PrefetchRate(1.5),
        ]),
        eviction: match random.below(3) {
            0 => Eviction::Oldest,
            1 => Eviction::OldestWithLowestPriority,
            _ => Eviction::UniqueProperty("color".into()),
        },
        evict_expired_from: random.pick(&[1, 1000]),
        recovery: random.pick(&[
            RecoveryKind::None,
            RecoveryKind::Count(1),
            RecoveryKind::Count(4),
        ]),
        always_retroactive: random.one_in(6),
        ..Policy::default()
    }
}

impl World {
    fn new(mut random: Random) -> Self {
        let policy = policy(&mut random);
        let bench = Bench::new(policy.clone());
        Self { random, policy, bench, subs: Vec::new(), kept: VecDeque::new(), next: 0, order: 0 }
    }

    fn send(&mut self) {
        let (mut ops, mut batch) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(6) {
            self.next += 1;
            self.order += 1;
            let from = self.random.below(2);
            let priority = self.random.pick(&[4, 4, 0, 9]);
            let (number, order) = (self.next, self.order);
            let color = self.random.pick(&[None, Some(0), Some(1), Some(2)]);
            let timestamp = self.now() + self.random.below(3) as i64;
            let ends = self.random.one_in(4);
            let expiration = if ends { self.now() + self.random.below(40) as i64 } else { 0 };
            batch.push(Msg { number, priority, from, color, timestamp, expiration, order });
            let message = super::super::fixture::message(CONNECTIONS[from], number);
            let destination = self.bench.message(number).destination;
            let message = Message { destination, timestamp, expiration, ..message };
            let message = Message { priority, persistent: true, ..message };
            let message = match color {
                Some(color) => with(message, "color", PropertyValue::Int(color)),
                None => message,
            };
            ops.push(Op::Send(super::super::fixture::incoming(message, None)));
        }
        self.bench.run(ops);
        let stored = self.bench.stored();
        let mut expected = Vec::new();
        for msg in &batch {
            let durable = |sub: &&Sub| matches!(sub.kind, Kind::Durable { .. }) && sub.wants(msg);
            let mut wanted: Vec<u64> =
                self.subs.iter().filter(durable).map(|sub| sub.key.0).collect();
            wanted.sort_unstable();
            if !wanted.is_empty() {
                expected.push((msg.number, wanted));
            }
        }
        assert_eq!(stored, expected, "what is stored, and for whom");
        let now = self.now();
        for sub in &mut self.subs {
            sub.take(&batch, &self.policy, now);
        }
        let RecoveryKind::Count(most) = self.policy.recovery else { return };
        self.kept.extend(batch);
        while self.kept.len() > most {
            self.kept.pop_front();
        }
    }

    fn now(&self) -> i64 {
        self.bench.clock.wall_ms()
    }

    /// What a consumer asks for.
    fn wishes(&mut self) -> (usize, Wish, bool, i32) {
        let not_from = self.random.one_in(4).then(|| self.random.below(2));
        let only = self.random.pick(&[
            Only::All,
            Only::All,
            Only::Color(0),
            Only::Color(1),
            Only::Above(4),
        ]);
        (
            self.random.pick(&[1, 2, 7]),
            (not_from, only),
            self.random.one_in(3),
            self.random.pick(&[0, 0, 2]),
        )
    }

    fn subscribe(&mut self) {
        let (prefetch, wishes, retroactive, own) = self.wishes();
        let outbox = Arc::new(Outbox::default());
        let wish = |info: &mut ConsumerInfo| ask(info, wishes, retroactive, own);
        let plain = self.bench.subscribe_as(i32::try_from(prefetch).expect("small"), &outbox, wish);
        let by_policy = match self.policy.pending_limit {
            PendingLimit::None => None,
            PendingLimit::Constant(limit) => Some(limit as usize),
            PendingLimit::PrefetchRate(rate) => Some((prefetch as f64 * rate) as usize),
        };
        let own = usize::try_from(own).ok().filter(|own| *own > 0);
        let mut sub = Sub {
            key: plain.key,
            kind: Kind::Plain(plain),
            outbox,
            prefetch,
            not_from: wishes.0,
            only: wishes.1,
            limit: by_policy.into_iter().chain(own).min(),
            pending: VecDeque::new(),
            held: Vec::new(),
            extension: 0,
            discarded: 0,
            expects: Vec::new(),
        };
        if retroactive || self.policy.always_retroactive {
            let kept = self.kept.iter().filter(|msg| !msg.is_expired(self.now()));
            let kept: Vec<Msg> = kept.copied().collect();
            sub.take(&kept, &self.policy, self.now());
        }
        self.subs.push(sub);
    }

    fn subscribe_durably(&mut self) {
        let (_, wishes, retroactive, _) = self.wishes();
        let name = format!("client{}", self.next);
        let wish = |info: &mut ConsumerInfo| ask(info, wishes, retroactive, 0);
        let (subscription, outbox) = self.bench.subscribe_durably(&name, wish);
        let mut sub = Sub {
            key: subscription.key,
            kind: Kind::Durable { subscription, online: true },
            outbox,
            prefetch: 100,
            not_from: wishes.0,
            only: wishes.1,
            limit: None,
            pending: VecDeque::new(),
            held: Vec::new(),
            extension: 0,
            discarded: 0,
            expects: Vec::new(),
        };
        self.catch_up(&mut sub, retroactive);
        self.subs.push(sub);
    }

    /// A durable subscription gets what was kept, if it has nothing.
    fn catch_up(&mut self, sub: &mut Sub, retroactive: bool) {
        let stored = self.bench.stored();
        if !(retroactive || self.policy.always_retroactive) || sub.size() > 0 {
            assert_eq!(stored, []);
            return;
        }
        let mut past = Vec::new();
        let now = self.now();
        for msg in self.kept.iter().filter(|msg| !msg.is_expired(now)) {
            self.order += 1;
            if sub.wants(msg) {
                past.push(Msg { order: self.order, ..*msg });
            }
        }
        let expected: Vec<_> = past.iter().map(|msg| (msg.number, vec![sub.key.0])).collect();
        assert_eq!(stored, expected, "the past is stored for it alone");
        sub.take(&past, &self.policy, now);
    }

    /// A durable subscription loses its consumer, or gets one.
    fn toggle(&mut self, at: usize) {
        let (mut sub, now) = (self.subs.swap_remove(at), self.now());
        if let Kind::Durable { subscription, online } = &mut sub.kind {
            let subscription = Arc::clone(subscription);
            *online = !*online;
            if *online {
                let retroactive = self.random.one_in(3);
                let wishes = (sub.not_from, sub.only);
                let wish = |info: &mut ConsumerInfo| ask(info, wishes, retroactive, 0);
                sub.outbox = self.bench.activate(&subscription, wish);
                let empty = sub.size() == 0;
                sub.send(now);
                if empty {
                    self.catch_up(&mut sub, retroactive);
                } else {
                    assert_eq!(self.bench.stored(), []);
                }
            } else {
                subscription.deactivate(-1);
                sub.pending.extend(sub.held.drain(..));
                sub.pending.make_contiguous().sort_by_key(|msg| msg.order);
                sub.extension = 0;
            }
        }
        self.subs.push(sub);
    }

    fn acknowledge(&mut self, at: usize) {
        let now = self.bench.clock.now();
        let sub = &mut self.subs[at];
        if sub.held.is_empty() || !sub.is_online() {
            return;
        }
        let kind = self.random.pick(&[AckKind::Standard, AckKind::Standard, AckKind::Delivered]);
        let (first, count) = match (&sub.kind, kind) {
            (Kind::Durable { .. }, AckKind::Standard) => {
                let first = self.random.below(sub.held.len());
                (first, 1 + self.random.below(sub.held.len() - first))
            }
            _ => (0, 1 + self.random.below(sub.held.len())),
        };
        match &sub.kind {
            Kind::Plain(plain) => {
                let many = i32::try_from(count).expect("few");
                plain.acknowledge(kind, many, now, &mut self.bench.out);
            }
            Kind::Durable { subscription, .. } => {
                let id = |msg: &Msg| {
                    let message = super::super::fixture::message(CONNECTIONS[msg.from], msg.number);
                    message.message_id.expect("it has an id")
                };
                let (a, b) = (&sub.held[first], &sub.held[first + count - 1]);
                let ack = Ack {
                    subscription: sub.key,
                    kind,
                    range: AckRange::Span { first: Some(id(a)), last: id(b) },
                    count: i32::try_from(count).expect("few"),
                    transaction: None,
                    rollback_only: None,
                    cause: None,
                };
                let answer = subscription.acknowledge(&ack, &mut None, now, &mut self.bench.out);
                assert_eq!(answer, Ok(()));
            }
        }
        match (kind, &sub.kind) {
            (AckKind::Delivered, Kind::Plain(_)) => {
                sub.extension = (sub.extension + count).min(sub.held.len());
            }
            (AckKind::Delivered, _) => sub.extension = sub.extension.max(count),
            _ => {
                sub.held.drain(first..first + count);
                sub.extension = sub.extension.saturating_sub(count);
            }
        }
        sub.send(now.wall_ms);
    }

    fn leave(&mut self, at: usize) {
        let sub = self.subs.swap_remove(at);
        self.bench.run([Op::Leave { key: sub.key, receipt: None }]);
    }

    fn step(&mut self) {
        let there = self.subs.len();
        match self.random.below(20) {
            0..6 => self.send(),
            6 => self.bench.clock.ms += self.random.below(20) as u64,
            7 | 8 if there < 6 => self.subscribe(),
            9 if there < 6 => self.subscribe_durably(),
            10..16 if there > 0 => {
                let at = self.random.below(there);
                self.acknowledge(at);
            }
            16..19 if there > 0 => {
                let at = self.random.below(there);
                self.toggle(at);
            }
            19 if there > 2 => {
                let at = self.random.below(there);
                self.leave(at);
            }
            _ => {}
        }
    }

    fn compare(&mut self) {
        for sub in &mut self.subs {
            assert_eq!(numbers(&sub.outbox), std::mem::take(&mut sub.expects), "{:?}", sub.key);
            match &sub.kind {
                Kind::Plain(plain) => {
                    assert_eq!(plain.backlog(), (sub.pending.len(), sub.discarded));
                }
                Kind::Durable { subscription, .. } => {
                    assert_eq!(subscription.size(), sub.size());
                }
            }
        }
    }
}

/// Whose messages a consumer does not want, and which it does.
type Wish = (Option<usize>, Only);

fn ask(info: &mut ConsumerInfo, (not_from, only): Wish, retroactive: bool, own_limit: i32) {
    info.selector = only.selector().map(Into::into);
    info.retroactive = retroactive;
    info.maximum_pending_message_limit = own_limit;
    if let Some(id) = info.consumer_id.as_mut() {
        id.connection = not_from.map(|from| CONNECTIONS[from].into());
    }
    info.no_local = not_from.is_some();
}

#[test]
fn every_subscription_of_a_topic_gets_what_it_should() {
    for_seeds(SEEDS, |random| {
        let mut world = World::new(random);
        for _ in 0..STEPS {
            world.step();
            world.compare();
        }
    });
}
