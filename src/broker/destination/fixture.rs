//! What the tests of destinations share: messages, a clock that is passed on, the reading side of an
//! outbox, and random numbers that a seed repeats.

use super::counters::Gone;
use super::queue::{History, QueueContext};
use super::{Admission, DestinationHandle, Incoming, NewDestination, Now, Outlet, spawn};
use crate::broker::forward;
use crate::broker::outbox::{Delivery, Item, Outbox, Receipt};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::{ConsumerId, ConsumerInfo, Destination, Message, MessageId, ProducerId};
use crate::store::MessageForm;
use crate::store::fs::simulated::SimulatedDisk;
use crate::store::memory::MemoryStore;
use crate::store::spool::{Spool, SpoolEvents};
use bytes::{Buf, BufMut};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Bytes every test message counts for.
pub(super) const BYTES: u64 = 10;

/// A message of producer 1 on connection `connection`, number `number` there.
pub(in crate::broker) fn message(connection: &str, number: i64) -> Message {
    let producer = ProducerId { connection: Some(connection.into()), session: 1, value: 1 };
    Message {
        message_id: Some(MessageId {
            producer: Some(producer.clone()),
            producer_sequence: number,
            ..MessageId::default()
        }),
        producer_id: Some(producer),
        destination: Some(Destination::queue("Q")),
        priority: 4,
        ..Message::default()
    }
}

/// `message` with its memory taken by nobody yet.
pub(super) fn incoming(message: Message, receipt: Option<Receipt>) -> Incoming {
    Incoming {
        message: Arc::new(message),
        bytes: BYTES,
        admission: Admission::Forced,
        receipt,
        connection: 1,
        of_network: false,
        redeliveries: 0,
        resent: false,
        moved: Vec::new(),
        parked: None,
        joins: None,
    }
}

/// A consumer `value` of connection `connection`.
pub(in crate::broker) fn consumer(connection: &str, value: u64, prefetch: i32) -> ConsumerInfo {
    ConsumerInfo {
        consumer_id: Some(ConsumerId {
            connection: Some(connection.into()),
            session: 1,
            value: value.cast_signed(),
        }),
        destination: Some(Destination::queue("Q")),
        prefetch_size: prefetch,
        ..ConsumerInfo::default()
    }
}

pub(in crate::broker) fn context(
    destination: Destination,
    policy: Policy,
    usage: &Arc<Usage>,
) -> QueueContext {
    QueueContext {
        destination,
        policy: Arc::new(policy),
        usage: Arc::clone(usage),
        store_usage: Usage::new(0, None),
        temp_usage: Usage::new(0, None),
        keeps: true,
        spool: None,
        dispatches_early: true,
        sequence: Arc::new(AtomicI64::new(0)),
        tell: Arc::new(drop),
        wake: Arc::new(|| true),
        halted: Arc::default(),
        shared: Arc::default(),
        gone: Gone::default(),
    }
}

/// A destination at work, with nothing in it.
pub(in crate::broker) fn handle(destination: Destination) -> Arc<DestinationHandle> {
    let free = || Usage::new(0, None);
    let new = NewDestination {
        destination,
        policy: Arc::new(Policy::default()),
        usage: free(),
        store_usage: free(),
        temp_usage: free(),
        spool: None,
        dispatches_early: true,
        creator: None,
        sequence: Arc::default(),
        history: History::default(),
        gone: Gone::default(),
    };
    spawn(
        new,
        Outlet {
            store: Arc::new(MemoryStore),
            forward: forward::channel().0,
            halted: Arc::default(),
        },
    )
}

/// A temp store in memory, for what [`message`] makes: it comes back with its priority and the name of its
/// connection.
pub(in crate::broker) fn spool() -> Arc<Spool> {
    struct Unheard;
    impl SpoolEvents for Unheard {
        fn bytes_used(&self, _: u64) {}
    }
    let form = MessageForm {
        version: 1,
        encode: |message, out| {
            let id = message.message_id.as_ref().expect("it has an id");
            let producer = id.producer.as_ref().expect("it has a producer");
            out.put_i64(id.producer_sequence);
            out.put_i8(message.priority);
            out.put_slice(producer.connection.as_deref().unwrap_or_default().as_bytes());
        },
        decode: |mut body| {
            let (number, priority) = (body.try_get_i64().ok()?, body.try_get_i8().ok()?);
            let connection = std::str::from_utf8(&body).ok()?;
            Some(Arc::new(Message { priority, ..message(connection, number) }))
        },
    };
    let disk = Arc::new(SimulatedDisk::new(1));
    Spool::open(disk, "tmp".into(), 1 << 20, form, Arc::new(Unheard)).expect("an empty disk")
}

/// Time that passes when a test says so.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
    pub(super) ms: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), ms: 1_000_000 }
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    pub(super) fn wall_ms(&self) -> i64 {
        self.ms.cast_signed()
    }

    pub(super) fn now(&self) -> Now {
        Now { instant: self.at(self.ms), wall_ms: self.wall_ms() }
    }
}

/// Everything that waits in `outbox`.
pub(super) fn take(outbox: &Outbox) -> Vec<Item> {
    let mut items = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    match outbox.poll_take(&mut cx, &mut items, usize::MAX) {
        Poll::Ready(()) | Poll::Pending => items,
    }
}

/// The deliveries that wait in `outbox`.
pub(super) fn deliveries(outbox: &Outbox) -> Vec<Delivery> {
    let delivery = |item| match item {
        Item::Delivery(delivery) => Some(delivery),
        _ => None,
    };
    take(outbox).into_iter().filter_map(delivery).collect()
}

/// The producer's numbers of the messages that wait in `outbox`; -1 for a delivery without message.
pub(super) fn numbers(outbox: &Outbox) -> Vec<i64> {
    let number = |delivery: Delivery| {
        let id = delivery.message.as_ref().and_then(|message| message.message_id.as_ref());
        id.map_or(-1, |id| id.producer_sequence)
    };
    deliveries(outbox).into_iter().map(number).collect()
}

/// Random numbers (splitmix64).
pub(in crate::broker) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n - 1`.
    pub(in crate::broker) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below a usize")
    }

    /// True once in `n` times.
    pub(in crate::broker) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Runs `walk` for many seeds. `BROKER_MODEL_SEEDS` sets how many, `BROKER_MODEL_SEED` repeats one.
pub(in crate::broker) fn for_seeds(count: u64, walk: impl Fn(Random)) {
    /// Names the seed of a walk that panics.
    struct Walk(u64);
    impl Drop for Walk {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with BROKER_MODEL_SEED={}", self.0);
            }
        }
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seeds = match number("BROKER_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BROKER_MODEL_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        let walking = Walk(seed);
        walk(Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
        drop(walking);
    }
}
