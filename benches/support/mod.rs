//! What benches of destinations share: messages, and a destination without tasks and store.

use broker::broker::destination::counters::Gone;
use broker::broker::destination::queue::QueueContext;
use broker::broker::destination::{Incoming, Now, Outlet};
use broker::broker::forward;
use broker::broker::policy::Policy;
use broker::broker::usage::Usage;
use broker::jms::properties::{PropertyMap, PropertyValue};
use broker::jms::{Destination, Message, MessageId, ProducerId};
use broker::store::memory::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// The number in the arguments of the bench, or `default`.
pub(crate) fn count(default: usize) -> Result<usize, std::num::ParseIntError> {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    given.next().map_or(Ok(default), |count| count.parse())
}

pub(crate) fn now() -> Now {
    Now::read()
}

pub(crate) fn context(
    destination: Destination,
    policy: &Arc<Policy>,
    usage: &Arc<Usage>,
) -> QueueContext {
    QueueContext {
        destination,
        policy: Arc::clone(policy),
        usage: Arc::clone(usage),
        store_usage: Usage::new(0, None),
        temp_usage: Usage::new(0, None),
        keeps: false,
        spool: None,
        dispatches_early: true,
        sequence: Arc::new(AtomicI64::new(0)),
        shared: Arc::default(),
        gone: Gone::default(),
        tell: Arc::new(drop),
        wake: Arc::new(|| {}),
    }
}

#[allow(dead_code, reason = "queues need none")]
pub(crate) fn outlet() -> Outlet {
    Outlet { store: Arc::new(MemoryStore), forward: forward::channel().0 }
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
