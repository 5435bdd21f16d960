//! A topic to try rules on, without tasks and clocks.

use super::super::durable::{DurableKey, DurableSubscription, NewDurable};
use super::super::fixture::{Clock, consumer, context, incoming, message};
use super::super::queue::{History, QueueContext};
use super::super::subscription::{Memory, TopicSubscription};
use super::super::topic::{Topic, TopicMember};
use super::super::{Effects, Op, Outlet};
use crate::broker::forward::channel;
use crate::broker::outbox::{Outbox, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::selector::Selector;
use crate::jms::{ConsumerInfo, Destination, Message};
use crate::store::memory::MemoryStore;
use crate::store::{Fetch, Page, StoreOp, StoredAdd};
use hashbrown::HashMap;
use std::sync::Arc;

pub(super) struct Bench {
    pub(super) topic: Topic,
    pub(super) clock: Clock,
    pub(super) out: Effects,
    policy: Arc<Policy>,
    usage: Arc<Usage>,
    name: &'static str,
    subscriptions: u64,
    /// A message that the store has for a durable subscription, if it asks for the first one.
    pub(super) holds: HashMap<u64, i64>,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        Self::named("T", policy)
    }

    pub(super) fn named(name: &'static str, policy: Policy) -> Self {
        Self::with_store(name, policy, true)
    }

    /// `keeps`: whether there is a store.
    pub(super) fn with_store(name: &'static str, policy: Policy, keeps: bool) -> Self {
        let usage = Usage::new(0, None);
        let context = context(Destination::topic(name), policy.clone(), &usage);
        let context = QueueContext { keeps, ..context };
        Self {
            topic: Topic::new(context, History::default()),
            clock: Clock::new(),
            out: Effects::default(),
            policy: Arc::new(policy),
            usage,
            name,
            subscriptions: 0,
            holds: HashMap::new(),
        }
    }

    /// One batch.
    pub(super) fn run(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.topic.handle(op, self.clock.now(), &mut self.out);
        }
        self.topic.settle_batch(self.clock.now(), &mut self.out);
        for (durable, entries) in std::mem::take(&mut self.out.offers) {
            durable.offer(entries, self.clock.now(), &mut self.out);
        }
        for past in std::mem::take(&mut self.out.pasts) {
            let Fetch::Durable { subscription, .. } = past.fetch() else { continue };
            let last = self.holds.get(&subscription).copied();
            let page = Page { last, end: true, ..Page::default() };
            let looking = past.settle(Ok(page), &mut self.out);
            looking.end(self.clock.now(), &mut self.out);
        }
    }

    pub(super) fn message(&self, number: i64) -> Message {
        Message { destination: Some(Destination::topic(self.name)), ..message("c0", number) }
    }

    pub(super) fn send(&mut self, message: Message) {
        self.run([Op::Send(incoming(message, None))]);
    }

    /// Sends messages with these numbers as one batch.
    pub(super) fn send_numbers(&mut self, numbers: impl IntoIterator<Item = i64>) {
        let message = |number| Op::Send(incoming(self.message(number), None));
        let ops: Vec<Op> = numbers.into_iter().map(message).collect();
        self.run(ops);
    }

    pub(super) fn subscribe(&mut self, prefetch: i32) -> (Arc<TopicSubscription>, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::default());
        (self.subscribe_as(prefetch, &outbox, |_| {}), outbox)
    }

    /// A subscription that writes to `outbox`; `change` says what its consumer asks for.
    pub(super) fn subscribe_as(
        &mut self,
        prefetch: i32,
        outbox: &Arc<Outbox>,
        change: impl Fn(&mut ConsumerInfo),
    ) -> Arc<TopicSubscription> {
        let key = self.next_key();
        let memory = Memory { usage: Arc::clone(&self.usage), spool: None, outlet: outlet() };
        let info = self.info(key, prefetch, change);
        let selector = info.selector.as_ref().map(|text| Selector::parse(text).expect("valid"));
        let plain = TopicSubscription::new(
            key,
            Arc::new(info),
            selector,
            Arc::clone(outbox),
            Arc::clone(&self.policy),
            memory,
        );
        let member = TopicMember::Plain(Arc::clone(&plain));
        self.run([Op::Join { member, receipt: None, past: None }]);
        plain
    }

    /// A durable subscription of `client`, with a consumer from the start.
    pub(super) fn subscribe_durably(
        &mut self,
        client: &str,
        change: impl Fn(&mut ConsumerInfo),
    ) -> (Arc<DurableSubscription>, Arc<Outbox>) {
        let key = self.next_key();
        let info = self.info(key, 100, &change);
        let selector = info.selector.as_ref().map(|text| Selector::parse(text).expect("valid"));
        let durable = DurableSubscription::new(NewDurable {
            key,
            number: key.0,
            owner: DurableKey { client: client.into(), name: "S".into() },
            destination: Destination::topic(self.name),
            info: Arc::new(info),
            selector,
            policy: Arc::clone(&self.policy),
            keeps_transient: true,
            expires_active: false,
            outlet: outlet(),
            usage: Arc::clone(&self.usage),
            spool: None,
            pending: 0,
        });
        let outbox = self.activate(&durable, change);
        (durable, outbox)
    }

    pub(super) fn activate(
        &mut self,
        durable: &Arc<DurableSubscription>,
        change: impl Fn(&mut ConsumerInfo),
    ) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::default());
        let info = Arc::new(self.info(durable.key, 100, change));
        let looks = info.retroactive || self.policy.always_retroactive;
        let past = looks.then(|| durable.look_back());
        let activated =
            durable.activate(info, Arc::clone(&outbox), self.clock.now(), &mut self.out);
        activated.expect("nobody has it");
        let member = TopicMember::Durable(Arc::clone(durable));
        self.run([Op::Join { member, receipt: None, past }]);
        outbox
    }

    fn next_key(&mut self) -> SubscriptionKey {
        self.subscriptions += 1;
        SubscriptionKey(self.subscriptions)
    }

    fn info(
        &self,
        key: SubscriptionKey,
        prefetch: i32,
        change: impl Fn(&mut ConsumerInfo),
    ) -> ConsumerInfo {
        let destination = Some(Destination::topic(self.name));
        let mut info = ConsumerInfo { destination, ..consumer("c1", key.0, prefetch) };
        change(&mut info);
        info
    }

    /// What the store was asked to keep since the last call: producer's numbers and for whom.
    pub(super) fn stored(&mut self) -> Vec<(i64, Vec<u64>)> {
        let added = |op| match op {
            StoreOp::Add(StoredAdd { message, subscribers, .. }) => {
                let id = message.message_id.as_ref().expect("it has an id");
                Some((id.producer_sequence, subscribers))
            }
            _ => None,
        };
        std::mem::take(&mut self.out.adds).into_iter().filter_map(added).collect()
    }
}

fn outlet() -> Outlet {
    Outlet { store: Arc::new(MemoryStore), forward: channel().0, halted: Arc::default() }
}

/// `message` with a property.
pub(super) fn with(message: Message, name: &str, value: PropertyValue) -> Message {
    let mut properties = PropertyMap::default();
    properties.set(name, value);
    Message { properties: properties.encode().ok(), ..message }
}
