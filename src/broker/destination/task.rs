//! The task of a destination and the handle to it.

use super::commit::{CommittedSend, Decision, Vote};
use super::counters::{Gone, SharedCounts};
use super::gauge::Gauges;
use super::in_flight::Entry;
use super::outlet::Outlet;
use super::queue::{History, Queue, QueueContext};
use super::topic::Topic;
use super::waiting::Wake;
use super::{Admission, Effects, Incoming, Now, Op};
use crate::broker::live::Live;
use crate::broker::policy::Policy;
use crate::broker::scheduler::Jobs;
use crate::broker::spare::give_back;
use crate::broker::usage::Usage;
use crate::jms::{ConnectionId, Destination};
use crate::store::spool::Spool;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

thread_local! {
    /// The memory of operations that were carried out.
    pub(in crate::broker) static OPS: RefCell<Vec<Vec<Op>>> = const { RefCell::new(Vec::new()) };
}

/// How many batches one wake-up takes: bounds latency, amortises dispatch.
const BATCHES_MAX: usize = 64;

/// Batches a mailbox holds; senders wait beyond that. With at most a read's worth of messages each this
/// bounds what is under way.
const MAILBOX_MAX: usize = 64;

/// The way to a destination: its mailbox and what may be known without asking.
#[derive(Debug)]
pub struct DestinationHandle {
    pub destination: Destination,
    pub policy: Live<Policy>,
    pub usage: Arc<Usage>,
    /// Disk space of the store its messages are in.
    pub store_usage: Arc<Usage>,
    pub gauges: Gauges,
    /// What others count for it.
    pub shared: Arc<SharedCounts>,
    /// The connection whose use created it; none: the broker itself.
    pub creator: Option<ConnectionId>,
    mailbox: mpsc::Sender<Vec<Op>>,
    /// Answers to what the destination asked, which must not wait for room in the mailbox. One per page
    /// read, commit or refused submit under way.
    answers: Answers,
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
            Err(TrySendError::Closed(ops)) => {
                discard(ops, &self.usage);
                None
            }
            Err(TrySendError::Full(ops)) => Some(ops),
        }
    }

    /// Answers what the destination asked. Never waits.
    pub fn tell(&self, op: Op) {
        let mut is_first = false;
        let refused = match &mut *self.answers.lock() {
            Some(answers) => {
                is_first = answers.is_empty();
                answers.push(op);
                None
            }
            None => Some(op),
        };
        if let Some(op) = refused {
            discard([op], &self.usage);
        } else if is_first {
            // Behind an answer that is there already comes the pass that it asked for.
            self.wake();
        }
    }

    /// Asks for a pass over what is pending; false if the destination has ended. When the mailbox is full one
    /// will come anyway.
    pub fn wake(&self) -> bool {
        !matches!(self.mailbox.try_send(vec![Op::Wake]), Err(TrySendError::Closed(_)))
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Consumers that do not keep an inactive destination.
    pub fn ignored_consumers(&self) -> u32 {
        match self.policy.get().gc_with_network_consumers {
            true => self.gauges.network_consumers.count(),
            false => 0,
        }
    }

    /// The destination is there again.
    pub fn reinstate(&self) {
        self.gone.store(false, Ordering::Release);
    }

    /// Marks the destination as removed.
    pub fn retire(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// What a destination is told apart from its mailbox; none when it has ended.
type Answers = Arc<Mutex<Option<Vec<Op>>>>;

/// Drops operations for a destination that has ended: their receipts answer, and the memory their
/// messages have taken is given back. A commit goes on without it.
fn discard(ops: impl IntoIterator<Item = Op>, usage: &Usage) {
    for op in ops {
        match op {
            Op::Send(Incoming { admission: Admission::Credited, bytes, .. }) => {
                usage.release(bytes)
            }
            Op::Vote(vote) => {
                let Vote { sends, ballot, receipt, .. } = *vote;
                sends.iter().for_each(|CommittedSend { bytes, .. }| usage.release(*bytes));
                ballot.abstain(receipt);
            }
            Op::Decide(decision) => {
                let Decision { outcome, entries, receipt, .. } = *decision;
                release(&entries, usage);
                if let Some(receipt) = receipt {
                    receipt.resolve(outcome);
                }
            }
            Op::Stored { entries, .. } => release(&entries, usage),
            Op::NoRoom(adds) => release(&adds.into_sends().1, usage),
            _ => {}
        }
    }
}

/// Gives back what queued messages have taken; those of topics do it themselves.
fn release(entries: &[Entry], usage: &Usage) {
    entries
        .iter()
        .filter(|entry| entry.hold.is_none())
        .for_each(|entry| usage.release(entry.bytes));
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

impl Logic for Jobs {
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
    answers: Answers,
    usage: Arc<Usage>,
    outlet: Outlet,
    handle: Weak<DestinationHandle>,
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
        let answered = answers.lock().as_mut().map(std::mem::take).unwrap_or_default();
        for mut ops in std::iter::once(answered).chain(batches.drain(..)) {
            for op in ops.drain(..) {
                match effects.destroyed {
                    true => discard([op], &usage),
                    false => logic.handle(op, now, &mut effects),
                }
            }
            give_back(&OPS, ops);
        }
        logic.settle_batch(now, &mut effects);
        outlet.run(&mut effects, Some(&handle));
        if outlet.store.awaits_lead() {
            // Others who are ready may have something for it as well.
            tokio::task::yield_now().await;
            outlet.store.lead();
        }
        if effects.destroyed {
            mailbox.close();
            let answered = answers.lock().take();
            discard(answered.unwrap_or_default(), &usage);
            while let Some(ops) = mailbox.recv().await {
                discard(ops, &usage);
            }
            return;
        }
    }
}

/// What a destination starts with.
pub struct NewDestination {
    pub destination: Destination,
    pub policy: Arc<Policy>,
    pub usage: Arc<Usage>,
    /// Disk space of the store.
    pub store_usage: Arc<Usage>,
    /// Disk space of the temp store.
    pub temp_usage: Arc<Usage>,
    pub spool: Option<Arc<Spool>>,
    /// `concurrentStoreAndDispatchQueues`.
    pub dispatches_early: bool,
    pub creator: Option<ConnectionId>,
    pub sequence: Arc<AtomicI64>,
    pub history: History,
    /// Where its counters go when it ends.
    pub gone: Gone,
}

/// Starts the task of a destination, a queue or a topic by its kind.
pub fn spawn(new: NewDestination, outlet: Outlet) -> Arc<DestinationHandle> {
    if new.destination.kind().is_queue() {
        spawn_logic(new, outlet, Queue::new)
    } else {
        spawn_logic(new, outlet, Topic::new)
    }
}

/// Starts the task of the scheduler's jobs.
pub fn spawn_jobs(
    new: NewDestination,
    outlet: Outlet,
    make: impl FnOnce(QueueContext) -> Jobs,
) -> Arc<DestinationHandle> {
    spawn_logic(new, outlet, |context, _| make(context))
}

fn spawn_logic<L: Logic>(
    new: NewDestination,
    outlet: Outlet,
    make: impl FnOnce(QueueContext, History) -> L,
) -> Arc<DestinationHandle> {
    let NewDestination { destination, policy, usage, store_usage, temp_usage, .. } = new;
    let NewDestination { spool, dispatches_early, creator, sequence, history, gone, .. } = new;
    let (mailbox, receiver) = mpsc::channel(MAILBOX_MAX);
    let answers: Answers = Arc::new(Mutex::new(Some(Vec::new())));
    let handle = Arc::new(DestinationHandle {
        destination,
        policy: Live::new(Arc::clone(&policy)),
        usage: Arc::clone(&usage),
        store_usage: Arc::clone(&store_usage),
        gauges: Gauges::default(),
        shared: Arc::default(),
        creator,
        mailbox,
        answers: Arc::clone(&answers),
        gone: AtomicBool::new(false),
        fast_producer_told: Mutex::new(None),
    });
    let context = QueueContext {
        destination: handle.destination.clone(),
        policy,
        usage: Arc::clone(&usage),
        store_usage,
        temp_usage,
        spool,
        dispatches_early,
        keeps: outlet.store.keeps(),
        sequence,
        tell: teller(&handle),
        wake: waker(&handle),
        halted: Arc::clone(&outlet.halted),
        shared: Arc::clone(&handle.shared),
        gone,
    };
    let weak = Arc::downgrade(&handle);
    tokio::spawn(run(make(context, history), receiver, answers, usage, outlet, weak));
    handle
}

/// Tells the destination without keeping it alive.
fn teller(handle: &Arc<DestinationHandle>) -> Arc<dyn Fn(Op) + Send + Sync> {
    let handle = Arc::downgrade(handle);
    Arc::new(move |op| {
        if let Some(handle) = handle.upgrade() {
            handle.tell(op);
        }
    })
}

/// Wakes the destination without keeping it alive.
fn waker(handle: &Arc<DestinationHandle>) -> Wake {
    let handle = Arc::downgrade(handle);
    Arc::new(move || handle.upgrade().is_some_and(|handle| handle.wake()))
}
