//! What waits to be written to one connection.
//!
//! Destinations push, the connection's task drains; pushing never waits. The bound: a consumer has at
//! most its prefetch in flight, a producer's open receipts are limited by its session, and control
//! items come one per consumer.

use super::destination::in_flight::TransactionKey;
use super::error::BrokerError;
use crate::jms::{ConsumerInfo, Destination, Message, MessageId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Names one subscription of one consumer for as long as the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey(pub u64);

/// One message for one consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub subscription: SubscriptionKey,
    pub consumer: Arc<ConsumerInfo>,
    /// The concrete destination the message comes from.
    pub destination: Destination,
    /// None: nothing there (end of a browse, empty pull).
    pub message: Option<Arc<Message>>,
    /// The broker's sequence number of the message.
    pub sequence: i64,
    /// Deliveries before this one.
    pub redeliveries: i32,
    /// First message of its group for this consumer.
    pub group_first: bool,
    /// Memory that stays taken until the message is written.
    pub hold: Option<Arc<super::usage::Credit>>,
    /// The number of the destination among those of the consumer, for consumers that have several.
    pub source: Option<u32>,
}

impl Delivery {
    /// There is nothing for `consumer`.
    pub fn nothing(subscription: SubscriptionKey, consumer: &Arc<ConsumerInfo>) -> Self {
        Self {
            subscription,
            consumer: Arc::clone(consumer),
            destination: consumer.destination.clone().unwrap_or_else(|| Destination::queue("")),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: None,
        }
    }
}

/// What a connection's task takes out.
#[derive(Debug)]
pub enum Item {
    Delivery(Delivery),
    /// A receipt was resolved.
    Settled {
        receipt: u64,
        result: Result<(), BrokerError>,
    },
    /// The consumer's prefetch is now this.
    Prefetch {
        consumer: Arc<ConsumerInfo>,
        prefetch: i32,
    },
    /// The broker closes the consumer (a slow one, or its destination went away).
    CloseConsumer(Arc<ConsumerInfo>),
    /// Something that needed no answer failed.
    AsyncError(BrokerError),
}

impl Item {
    /// Bytes, about: as its message counts in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Delivery(Delivery { message: Some(message), .. }) => message.size(),
            _ => CONTROL_BYTES,
        }
    }
}

/// What an item without message counts.
const CONTROL_BYTES: usize = 256;
/// For how many items an empty outbox keeps the memory.
const KEPT_ITEMS: usize = 256;

/// A message a consumer of several destinations holds.
#[derive(Debug)]
struct Dispatched {
    id: MessageId,
    /// The number of its destination among those of the consumer.
    source: u32,
    /// Acknowledged in this transaction, which has not ended.
    transaction: Option<TransactionKey>,
}

/// What taking a range does to the list of what a consumer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeUse {
    /// Nothing: the consumer keeps the messages.
    Look,
    /// They are settled.
    Remove,
    /// They are settled when this transaction commits.
    Mark(TransactionKey),
}

/// The queue towards one connection. Its lock is the innermost there is: what is dropped, which may free memory
/// that others wait for, is dropped outside, and wakers are called there.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    waker: Option<Waker>,
    woken: bool,
    closed: bool,
    /// Order of dispatch for consumers with several destinations, whose range acks span them.
    order: HashMap<SubscriptionKey, VecDeque<Dispatched>>,
}

impl Outbox {
    /// Adds `items` in order and wakes the connection. Leaves `items` empty.
    pub fn push_all(&self, items: &mut Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let waker = {
            let mut state = self.state.lock();
            if !state.closed {
                state.note_order(items);
                state.items.extend(items.drain(..));
            }
            state.waker.take()
        };
        // Still there if the outbox is closed.
        items.clear();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds one item.
    pub fn push(&self, item: Item) {
        self.push_all(&mut vec![item]);
    }

    /// Adds what the peer has to know before it gets an answer that is still to come: ahead of all that waits.
    pub fn push_first(&self, item: Item) {
        let waker = {
            let mut state = self.state.lock();
            if !state.closed {
                state.items.push_front(item);
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the connection's task though there is nothing new here.
    pub fn wake(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.woken = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many messages wait to be written.
    pub fn deliveries(&self) -> usize {
        let state = self.state.lock();
        state.items.iter().filter(|item| matches!(item, Item::Delivery(_))).count()
    }

    /// Moves the oldest items behind those of `into`: as many as messages of `bytes_max` bytes are, and at
    /// least one. Pending until there is something or [`Self::wake`] was called.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<Item>,
        bytes_max: usize,
    ) -> Poll<()> {
        let mut state = self.state.lock();
        if state.items.is_empty() && !state.woken {
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        state.woken = false;
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(item) = state.items.pop_front()
        {
            bytes += item.bytes();
            into.push(item);
        }
        if state.items.is_empty() {
            state.items.shrink_to(KEPT_ITEMS);
        }
        Poll::Ready(())
    }

    /// Gives back the memory that what waits does not need.
    pub fn trim(&self) {
        self.state.lock().items.shrink_to_fit();
    }

    /// Drops what is waiting and everything that comes later.
    pub fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            state.order.clear();
            state.waker = None;
            std::mem::take(&mut state.items)
        };
        drop(dropped);
    }

    /// Drops deliveries to a subscription that has ended.
    pub fn forget(&self, subscription: SubscriptionKey) {
        let is_its = |item: &Item| matches!(item, Item::Delivery(delivery) if delivery.subscription == subscription);
        let forgotten: VecDeque<Item> = {
            let mut state = self.state.lock();
            state.order.remove(&subscription);
            if !state.items.iter().any(is_its) {
                return;
            }
            let (its, others) = std::mem::take(&mut state.items).into_iter().partition(is_its);
            state.items = others;
            its
        };
        drop(forgotten);
    }

    /// Starts keeping the order of dispatch of a consumer that has several destinations.
    pub fn track_order(&self, subscription: SubscriptionKey) {
        self.state.lock().order.insert(subscription, VecDeque::new());
    }

    /// The messages of `subscription` from `first` (none: the oldest) to `last` in order of dispatch,
    /// with the number of each one's destination.
    pub fn range(
        &self,
        subscription: SubscriptionKey,
        first: Option<&MessageId>,
        last: &MessageId,
        what: RangeUse,
    ) -> Option<Vec<(MessageId, u32)>> {
        let mut state = self.state.lock();
        let order = state.order.get_mut(&subscription)?;
        let end = order.iter().position(|held| held.id == *last)?;
        let start = match first {
            Some(first) => order.iter().position(|held| held.id == *first)?,
            None => 0,
        };
        if start > end {
            return None;
        }
        let pair = |held: &Dispatched| (held.id.clone(), held.source);
        Some(match what {
            RangeUse::Look => order.range(start..=end).map(pair).collect(),
            RangeUse::Remove => order.drain(start..=end).map(|held| pair(&held)).collect(),
            RangeUse::Mark(transaction) => {
                let marked = order.range_mut(start..=end);
                marked
                    .map(|held| {
                        held.transaction = Some(transaction);
                        pair(held)
                    })
                    .collect()
            }
        })
    }

    /// A transaction has ended: after a commit its messages are off the lists, after a rollback their
    /// consumers hold them as before.
    pub fn end_transaction(&self, transaction: TransactionKey, commit: bool) {
        for order in self.state.lock().order.values_mut() {
            if commit {
                order.retain(|held| held.transaction != Some(transaction));
                continue;
            }
            for held in order.iter_mut().filter(|held| held.transaction == Some(transaction)) {
                held.transaction = None;
            }
        }
    }
}

impl State {
    fn note_order(&mut self, items: &[Item]) {
        if self.order.is_empty() {
            return;
        }
        for item in items {
            let Item::Delivery(Delivery {
                subscription,
                message: Some(message),
                source: Some(source),
                ..
            }) = item
            else {
                continue;
            };
            if let (Some(order), Some(id)) =
                (self.order.get_mut(subscription), message.message_id.clone())
            {
                order.push_back(Dispatched { id, source: *source, transaction: None });
            }
        }
    }
}

/// A promise to the sender of a command: resolved once, when what was asked is done and durable.
#[derive(Debug)]
pub struct Receipt {
    to: Option<Holder>,
}

#[derive(Debug)]
enum Holder {
    /// A connection, which knows the receipt by this number.
    Outbox(Arc<Outbox>, u64),
    /// A receipt for several things, resolved when all are done.
    Shared(Arc<Shared>),
    /// Somebody who waits.
    Waiter(tokio::sync::oneshot::Sender<()>),
    Telling(Telling),
}

/// What to call with how it went.
struct Telling(Box<dyn FnOnce(Result<(), BrokerError>) + Send + Sync>);

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telling")
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<SharedState>,
}

#[derive(Debug)]
struct SharedState {
    open: usize,
    failed: Option<BrokerError>,
    receipt: Option<Receipt>,
}

impl Receipt {
    /// A receipt that the connection behind `outbox` knows as `id`.
    pub fn new(outbox: Arc<Outbox>, id: u64) -> Self {
        Self { to: Some(Holder::Outbox(outbox, id)) }
    }

    /// A receipt, and what resolves with it.
    pub fn waiter() -> (Self, tokio::sync::oneshot::Receiver<()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Self { to: Some(Holder::Waiter(sender)) }, receiver)
    }

    /// A receipt that calls `tell` with how it went.
    pub fn telling(tell: impl FnOnce(Result<(), BrokerError>) + Send + Sync + 'static) -> Self {
        Self { to: Some(Holder::Telling(Telling(Box::new(tell)))) }
    }

    /// `count` receipts that together resolve this one: with the first failure, or well. None of them
    /// resolves it at once.
    pub fn split(self, count: usize) -> Vec<Self> {
        if count == 0 {
            self.resolve(Ok(()));
            return Vec::new();
        }
        let state = SharedState { open: count, failed: None, receipt: Some(self) };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let part = || Self { to: Some(Holder::Shared(Arc::clone(&shared))) };
        (0..count).map(|_| part()).collect()
    }

    /// Tells the connection how it went.
    pub fn resolve(mut self, result: Result<(), BrokerError>) {
        self.settle(result);
    }

    fn settle(&mut self, result: Result<(), BrokerError>) {
        match self.to.take() {
            None => {}
            Some(Holder::Telling(Telling(tell))) => tell(result),
            Some(Holder::Waiter(waiter)) => waiter.send(()).unwrap_or_default(),
            Some(Holder::Outbox(outbox, id)) => outbox.push(Item::Settled { receipt: id, result }),
            Some(Holder::Shared(shared)) => {
                let done = {
                    let mut state = shared.state.lock();
                    state.open -= 1;
                    if let Err(error) = result {
                        state.failed.get_or_insert(error);
                    }
                    let last = state.open == 0;
                    last.then(|| (state.receipt.take(), state.failed.take()))
                };
                if let Some((Some(receipt), failed)) = done {
                    receipt.resolve(failed.map_or(Ok(()), Err));
                }
            }
        }
    }
}

/// A receipt that is dropped on the way (its destination is gone) must not leave its sender waiting.
impl Drop for Receipt {
    fn drop(&mut self) {
        self.settle(Err(BrokerError::Stopping));
    }
}
