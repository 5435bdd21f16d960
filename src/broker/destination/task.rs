//! The task of a destination and the handle to it.

use super::queue::Queue;
use super::topic::Topic;
use super::{Admission, Effects, Incoming, Now, Op};
use crate::broker::forward::{Forward, ForwardSender};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::{ConnectionId, Destination};
use crate::store::{Store, Submit};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::mpsc;

/// How many batches one wake-up takes: bounds latency, amortises dispatch.
const BATCHES_MAX: usize = 64;

/// Batches a mailbox holds; senders wait beyond that. With at most a read's worth of messages each this
/// bounds what is under way.
const MAILBOX_MAX: usize = 64;

/// Numbers that others need at once; written by connections when they add and remove things.
#[derive(Debug, Default)]
pub struct Gauges {
    pub consumers: AtomicU32,
    pub producers: AtomicU32,
}

/// The way to a destination: its mailbox and what may be known without asking.
#[derive(Debug)]
pub struct DestinationHandle {
    pub destination: Destination,
    pub policy: Arc<Policy>,
    pub usage: Arc<Usage>,
    pub gauges: Gauges,
    /// The connection whose use created it; none: the broker itself.
    pub creator: Option<ConnectionId>,
    mailbox: mpsc::Sender<Vec<Op>>,
    /// The destination was removed: look it up again.
    gone: AtomicBool,
    /// The producers in flow control have been told about.
    pub fast_producer_told: Mutex<Option<crate::jms::ProducerId>>,
}

impl DestinationHandle {
    /// Hands `ops` to the destination; waits while its mailbox is full.
    pub async fn send(&self, ops: Vec<Op>) {
        // Usually there is room, and asking costs less than waiting.
        let Some(ops) = self.try_send(ops) else { return };
        if let Err(mpsc::error::SendError(ops)) = self.mailbox.send(ops).await {
            discard(ops, &self.usage);
        }
    }

    /// Hands over `ops` if there is room now; else gives them back.
    pub fn try_send(&self, ops: Vec<Op>) -> Option<Vec<Op>> {
        match self.mailbox.try_send(ops) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Closed(ops)) => {
                discard(ops, &self.usage);
                None
            }
            Err(mpsc::error::TrySendError::Full(ops)) => Some(ops),
        }
    }

    /// Asks for a pass over what is pending. When the mailbox is full one will come anyway.
    pub fn wake(&self) {
        drop(self.try_send(vec![Op::Wake]));
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Marks the destination as removed.
    pub fn retire(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// What a destination's task works with.
pub struct TaskIo {
    pub store: Arc<dyn Store>,
    pub forward: ForwardSender,
}

impl TaskIo {
    /// Carries out what a batch left to do. Never waits.
    fn run(&self, effects: &mut Effects) {
        for (receipt, result) in effects.receipts.drain(..) {
            receipt.resolve(result);
        }
        if !effects.store.is_empty() {
            let receipts = std::mem::take(&mut effects.durable);
            self.store.submit(Submit {
                ops: std::mem::take(&mut effects.store),
                durable: !receipts.is_empty(),
                done: Box::new(move |result| {
                    for receipt in receipts {
                        receipt.resolve(result.clone().map_err(Into::into));
                    }
                }),
            });
        }
        for receipt in effects.durable.drain(..) {
            receipt.resolve(Ok(()));
        }
        for letter in effects.dead_letters.drain(..) {
            self.forward.push(Forward::DeadLetter(letter));
        }
        for notice in effects.notices.drain(..) {
            self.forward.push(Forward::Notice(notice));
        }
    }
}

/// Drops operations for a destination that has ended: their receipts answer, and the memory their
/// messages have taken is given back.
fn discard(ops: impl IntoIterator<Item = Op>, usage: &Usage) {
    for op in ops {
        if let Op::Send(Incoming { admission: Admission::Credited, bytes, .. }) = op {
            usage.release(bytes);
        }
    }
}

/// State that a destination's task owns.
trait Logic: Send + 'static {
    fn handle(&mut self, op: Op, now: Now, out: &mut Effects);
    fn settle_batch(&mut self, now: Now, out: &mut Effects);
    fn next_deadline(&self) -> Option<std::time::Instant>;
}

impl Logic for Queue {
    fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        Self::handle(self, op, now, out);
    }
    fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        Self::settle_batch(self, now, out);
    }
    fn next_deadline(&self) -> Option<std::time::Instant> {
        Self::next_deadline(self)
    }
}

impl Logic for Topic {
    fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        Self::handle(self, op, now, out);
    }
    fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        Self::settle_batch(self, now, out);
    }
    fn next_deadline(&self) -> Option<std::time::Instant> {
        Self::next_deadline(self)
    }
}

/// The only code that touches a destination's state.
async fn run(
    mut logic: impl Logic,
    mut mailbox: mpsc::Receiver<Vec<Op>>,
    usage: Arc<Usage>,
    io: TaskIo,
) {
    let mut batches = Vec::with_capacity(4);
    let mut effects = Effects::default();
    loop {
        match logic.next_deadline() {
            Some(deadline) => {
                let timer = tokio::time::sleep_until(deadline.into());
                tokio::select! {
                    biased;
                    received = mailbox.recv_many(&mut batches, BATCHES_MAX) => {
                        if received == 0 {
                            return;
                        }
                    }
                    () = timer => {}
                }
            }
            None => {
                if mailbox.recv_many(&mut batches, BATCHES_MAX).await == 0 {
                    return;
                }
            }
        }
        let now = Now::read();
        let mut ops = batches.drain(..).flatten();
        while !effects.destroyed
            && let Some(op) = ops.next()
        {
            logic.handle(op, now, &mut effects);
        }
        discard(ops, &usage);
        logic.settle_batch(now, &mut effects);
        io.run(&mut effects);
        if effects.destroyed {
            mailbox.close();
            while let Some(ops) = mailbox.recv().await {
                discard(ops, &usage);
            }
            return;
        }
    }
}

/// Starts the task of a destination, a queue or a topic by its kind.
pub fn spawn(
    destination: Destination,
    policy: Arc<Policy>,
    usage: Arc<Usage>,
    creator: Option<ConnectionId>,
    sequence: Arc<std::sync::atomic::AtomicI64>,
    io: TaskIo,
) -> Arc<DestinationHandle> {
    let (mailbox, receiver) = mpsc::channel(MAILBOX_MAX);
    let handle = Arc::new(DestinationHandle {
        destination,
        policy,
        usage: Arc::clone(&usage),
        gauges: Gauges::default(),
        creator,
        mailbox,
        gone: AtomicBool::new(false),
        fast_producer_told: Mutex::new(None),
    });
    let context = super::queue::QueueContext {
        destination: handle.destination.clone(),
        policy: Arc::clone(&handle.policy),
        usage: Arc::clone(&usage),
        sequence,
        wake: waker(&handle),
    };
    if handle.destination.kind().is_queue() {
        tokio::spawn(run(Queue::new(context), receiver, usage, io));
    } else {
        tokio::spawn(run(Topic::new(context), receiver, usage, io));
    }
    handle
}

/// Wakes the destination without keeping it alive.
fn waker(handle: &Arc<DestinationHandle>) -> Arc<dyn Fn() + Send + Sync> {
    let handle = Arc::downgrade(handle);
    Arc::new(move || {
        if let Some(handle) = handle.upgrade() {
            handle.wake();
        }
    })
}
