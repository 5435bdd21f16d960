//! What benches of destinations share: messages, and a destination without tasks and store.

use broker::broker::destination::counters::Gone;
use broker::broker::destination::in_flight::Window;
use broker::broker::destination::queue::{History, NewSubscription, Queue, QueueContext};
use broker::broker::destination::subscription::{Memory, TopicSubscription};
use broker::broker::destination::topic::{Topic, TopicMember};
use broker::broker::destination::{Effects, Incoming, Now, Op, Outlet};
use broker::broker::forward;
use broker::broker::outbox::{Outbox, SubscriptionKey};
use broker::broker::policy::Policy;
use broker::broker::usage::Usage;
use broker::jms::properties::{PropertyMap, PropertyValue};
use broker::jms::selector::Selector;
use broker::jms::{
    BodyKind, ConsumerId, ConsumerInfo, Destination, Message, MessageId, ProducerId,
};
use broker::store::memory::MemoryStore;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

pub(crate) fn now() -> Now {
    Now::read()
}

/// A queue with so many consumers, all behind one outbox.
pub(crate) fn queue(
    policy: &Arc<Policy>,
    usage: &Arc<Usage>,
    consumers: u64,
    prefetch: i32,
) -> (Queue, Arc<Outbox>) {
    let destination = Destination::queue("Q");
    let mut queue = Queue::new(context(destination.clone(), policy, usage), History::default());
    let (mut out, outbox) = (Effects::default(), Arc::new(Outbox::default()));
    for number in 0..consumers {
        let new = Box::new(NewSubscription {
            key: SubscriptionKey(number),
            info: consumer(&destination, number, prefetch),
            selector: None,
            outbox: Arc::clone(&outbox),
            window: Arc::new(Window::new(prefetch)),
            source: None,
        });
        queue.handle(Op::Subscribe { new, receipt: None }, now(), &mut out);
    }
    (queue, outbox)
}

/// A topic with a subscription for each of `selectors`, all behind one outbox, whose consumers never
/// have enough.
pub(crate) fn topic(
    policy: &Arc<Policy>,
    usage: &Arc<Usage>,
    selectors: impl IntoIterator<Item = Option<Selector>>,
) -> (Topic, Arc<Outbox>) {
    let destination = Destination::topic("T");
    let mut topic = Topic::new(context(destination.clone(), policy, usage), History::default());
    let (mut out, outbox) = (Effects::default(), Arc::new(Outbox::default()));
    for (number, selector) in (0..).zip(selectors) {
        let subscription = TopicSubscription::new(
            SubscriptionKey(number),
            consumer(&destination, number, i32::MAX),
            selector,
            Arc::clone(&outbox),
            Arc::clone(policy),
            Memory { usage: Arc::clone(usage), spool: None, outlet: outlet() },
        );
        let member = TopicMember::Plain(subscription);
        topic.handle(Op::Join { member, receipt: None }, now(), &mut out);
    }
    (topic, outbox)
}

fn consumer(destination: &Destination, number: u64, prefetch: i32) -> Arc<ConsumerInfo> {
    Arc::new(ConsumerInfo {
        consumer_id: Some(ConsumerId {
            connection: Some("ID:bench".into()),
            session: 1,
            value: number.cast_signed(),
        }),
        destination: Some(destination.clone()),
        prefetch_size: prefetch,
        ..ConsumerInfo::default()
    })
}

fn context(destination: Destination, policy: &Arc<Policy>, usage: &Arc<Usage>) -> QueueContext {
    QueueContext {
        destination,
        policy: Arc::clone(policy),
        usage: Arc::clone(usage),
        store_usage: Usage::new(0, None),
        temp_usage: Usage::new(0, None),
        keeps: false,
        spool: None,
        dispatches_early: true,
        halted: Arc::default(),
        sequence: Arc::new(AtomicI64::new(0)),
        shared: Arc::default(),
        gone: Gone::default(),
        tell: Arc::new(drop),
        wake: Arc::new(|| true),
    }
}

fn outlet() -> Outlet {
    Outlet { store: Arc::new(MemoryStore), forward: forward::channel().0, halted: Arc::default() }
}

/// Message `number` with a body of so many bytes.
pub(crate) fn with_body(destination: &Destination, number: usize, bytes: usize) -> Message {
    Message {
        kind: BodyKind::Bytes,
        content: Some(Bytes::from(vec![7; bytes])),
        timestamp: 1 << 40,
        priority: 4,
        ..message(destination, number, "x")
    }
}

/// Message `number` with a few properties, one of which is `id`.
pub(crate) fn message(destination: &Destination, number: usize, id: &str) -> Message {
    let producer = ProducerId { connection: Some("ID:bench".into()), session: 1, value: 1 };
    let mut properties = PropertyMap::default();
    properties.set("region", PropertyValue::String("north".into()));
    properties.set("size", PropertyValue::Int(7));
    properties.set("id", PropertyValue::String(id.into()));
    properties.set("number", PropertyValue::Int((number % 100) as i32));
    properties.set("other", PropertyValue::Long(1 << 40));
    Message {
        message_id: Some(MessageId {
            producer: Some(producer.clone()),
            producer_sequence: number as i64 + 1,
            ..MessageId::default()
        }),
        producer_id: Some(producer),
        destination: Some(destination.clone()),
        properties: properties.encode().ok(),
        ..Message::default()
    }
}

pub(crate) fn incoming(message: Message) -> Incoming {
    Incoming::of_broker(Arc::new(message), 1024)
}
