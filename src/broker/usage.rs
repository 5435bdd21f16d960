//! Memory limits: who may take how much, and who waits until some is given back.
//!
//! A limit is a node in a tree: what a destination takes counts for the broker too. As in ActiveMQ a
//! message is admitted while its node and all above are below their limits, so a limit can be passed
//! by one message.

use crate::jms::Text;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

/// One limit, in bytes; 0 is no limit of its own.
#[derive(Debug)]
pub struct Usage {
    /// What advisories call it; empty for that of a destination.
    name: Text,
    limit: AtomicU64,
    used: AtomicU64,
    /// What of it is on its way to the temp store.
    leaving: AtomicU64,
    /// What open transactions will put here; it counts as used.
    foreseen: AtomicU64,
    /// Nothing can be taken, whatever the limit is.
    blocked: AtomicBool,
    parent: Option<Arc<Self>>,
    waiting: AtomicBool,
    waiters: Mutex<Vec<Waiter>>,
}

/// Memory of producers or of consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// That of the broker.
    Broker,
    /// So many bytes of it (`splitSystemUsageForProducersConsumers`).
    Part(u64),
    /// So many bytes apart from it, and the name of that (`<producerSystemUsage>`, `<consumerSystemUsage>`).
    Own(u64, Text),
}

impl MemoryShare {
    /// The limit of the `side`, `Producer` or `Consumer`, of what `broker` limits.
    pub(super) fn usage(&self, side: &str, broker: &Arc<Usage>) -> Arc<Usage> {
        match self {
            Self::Broker => Arc::clone(broker),
            Self::Part(bytes) => Usage::named(side.into(), *bytes, Some(Arc::clone(broker))),
            Self::Own(bytes, name) => Usage::named(Text::clone(name), *bytes, None),
        }
    }
}

/// Who is told when there is room again.
enum Waiter {
    /// A task, and the call it waits in.
    Task(Arc<()>, Waker),
    /// A destination with parked sends.
    Destination(Box<dyn Fn() + Send>),
}

impl Waiter {
    /// Whether it is of the call that `call` names.
    fn is_of(&self, call: &Arc<()>) -> bool {
        matches!(self, Self::Task(of, _) if Arc::ptr_eq(of, call))
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Task(..) => "Task",
            Self::Destination(_) => "Destination",
        })
    }
}

impl Usage {
    /// A limit of `limit` bytes below `parent`.
    pub fn new(limit: u64, parent: Option<Arc<Self>>) -> Arc<Self> {
        Self::named(Text::default(), limit, parent)
    }

    /// As [`Self::new`], for a limit that advisories name.
    pub fn named(name: Text, limit: u64, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            name,
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            foreseen: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            parent,
            waiting: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        })
    }

    /// The names from the broker's limit down to this, as advisories spell them: `Main:memory`.
    pub fn path(&self) -> String {
        let above = self.parent.as_ref().map(|parent| parent.path());
        match (above, &*self.name) {
            (Some(above), "") => above,
            (Some(above), name) => format!("{above}:{name}:memory"),
            (None, "") => String::new(),
            (None, name) => format!("{name}:memory"),
        }
    }

    /// Changes the limit, bytes; 0 is none.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
        self.tell_waiters();
    }

    /// Bytes taken now, and those foreseen.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst).saturating_add(self.foreseen.load(Ordering::SeqCst))
    }

    /// The limit in bytes that binds here: its own, or the parent's.
    pub fn limit(&self) -> u64 {
        match (self.limit.load(Ordering::Relaxed), &self.parent) {
            (0, Some(parent)) => parent.limit(),
            (limit, _) => limit,
        }
    }

    /// Used share of the limit in whole percent.
    pub fn percent(&self) -> u64 {
        match self.limit() {
            0 => 0,
            limit => self.used().saturating_mul(100) / limit,
        }
    }

    /// Whether this node or one above uses `percent` of its limit or more.
    pub fn is_above(&self, percent: u32) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let here = limit > 0 && self.used().saturating_mul(100) / limit >= u64::from(percent);
        here || self.parent.as_ref().is_some_and(|parent| parent.is_above(percent))
    }

    /// What is used is known from elsewhere, such as the size of files.
    pub fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::SeqCst);
        self.tell_waiters();
    }

    /// Whether there is less room than the limit says: none, as on a full disk.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::SeqCst);
        if !blocked {
            self.tell_waiters();
        }
    }

    /// The node, here or above, that is at its limit.
    pub fn full(&self) -> Option<&Self> {
        self.full_at(100)
    }

    /// The node, here or above, that is at `percent` of its limit, or blocked.
    pub fn full_at(&self, percent: u32) -> Option<&Self> {
        if self.is_full_at(percent) {
            return Some(self);
        }
        self.parent.as_deref().and_then(|parent| parent.full_at(percent))
    }

    /// Whether this node is at its own limit, or blocked.
    pub fn is_full(&self) -> bool {
        self.is_full_at(100)
    }

    fn is_full_at(&self, percent: u32) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let full_at = match percent {
            100 => limit,
            _ => (u128::from(limit) * u128::from(percent) / 100) as u64,
        };
        limit > 0 && self.used() >= full_at || self.blocked.load(Ordering::SeqCst)
    }

    /// Takes `bytes` whatever the limits say.
    pub fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.take(bytes);
        }
    }

    /// Takes `bytes` if no limit is reached.
    pub fn try_take(&self, bytes: u64) -> bool {
        let free = self.full().is_none();
        if free {
            self.take(bytes);
        }
        free
    }

    /// Gives back `bytes` and wakes who waits for room.
    pub fn release(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        self.tell_waiters();
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }

    /// Whether the node that is full has something that is on its way to the temp store, and leaves room behind.
    pub fn is_leaving(&self) -> bool {
        self.full().is_some_and(|full| full.leaving.load(Ordering::SeqCst) > 0)
    }

    /// Waits while [`Self::is_leaving`].
    pub async fn left(&self) {
        self.wait_until(100, || !self.is_leaving()).await;
    }

    fn leave(&self, bytes: u64) {
        self.leaving.fetch_add(bytes, Ordering::SeqCst);
        if let Some(parent) = &self.parent {
            parent.leave(bytes);
        }
    }

    fn has_left(&self, bytes: u64) {
        self.leaving.fetch_sub(bytes, Ordering::SeqCst);
        self.tell_waiters();
        if let Some(parent) = &self.parent {
            parent.has_left(bytes);
        }
    }

    fn foresee(&self, bytes: u64) {
        self.foreseen.fetch_add(bytes, Ordering::SeqCst);
        if let Some(parent) = &self.parent {
            parent.foresee(bytes);
        }
    }

    fn unforesee(&self, bytes: u64) {
        self.foreseen.fetch_sub(bytes, Ordering::SeqCst);
        self.tell_waiters();
        if let Some(parent) = &self.parent {
            parent.unforesee(bytes);
        }
    }

    fn tell_waiters(&self) {
        // SeqCst pairs with `wait`: either it sees the room, or we see it waiting.
        if self.waiting.load(Ordering::SeqCst) {
            let waiters = {
                let mut waiters = self.waiters.lock();
                self.waiting.store(false, Ordering::SeqCst);
                std::mem::take(&mut *waiters)
            };
            for waiter in waiters {
                match waiter {
                    Waiter::Task(_, waker) => waker.wake(),
                    Waiter::Destination(tell) => tell(),
                }
            }
        }
    }

    /// Waits until `bytes` could be taken, and takes them. Nothing is left behind when nobody waits for
    /// that any more.
    pub async fn acquire(&self, bytes: u64) {
        self.wait_until(100, || self.try_take(bytes)).await;
    }

    /// Waits until less than `percent` of the limit is used.
    pub async fn below(&self, percent: u32) {
        self.wait_until(percent, || self.full_at(percent).is_none()).await;
    }

    async fn wait_until(&self, percent: u32, is_done: impl Fn() -> bool) {
        let mut waiting = Waiting { usage: self, call: None };
        poll_fn(|cx| {
            while !is_done() {
                let call = waiting.call.get_or_insert_default();
                let waiter = || Waiter::Task(Arc::clone(call), cx.waker().clone());
                if self.wait(percent, waiter) {
                    // It may have been done, and be full again, before the waiter was there.
                    return if is_done() { Poll::Ready(()) } else { Poll::Pending };
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Nobody waits in `call` any more.
    fn forget(&self, call: &Arc<()>) {
        self.waiters.lock().retain(|waiter| !waiter.is_of(call));
        if let Some(parent) = &self.parent {
            parent.forget(call);
        }
    }

    /// Calls `tell` when there may be room again; at once when there is.
    pub fn when_room(&self, tell: impl Fn() + Send + Clone + 'static) {
        self.when_below(100, tell);
    }

    /// Calls `tell` when less than `percent` of the limit may be used; at once when it is.
    pub fn when_below(&self, percent: u32, tell: impl Fn() + Send + Clone + 'static) {
        if !self.wait(percent, || Waiter::Destination(Box::new(tell.clone()))) {
            tell();
        }
    }

    /// As [`Self::when_room`], whatever the nodes above have.
    pub fn when_room_here(&self, tell: impl Fn() + Send + Clone + 'static) {
        if !self.wait_here(100, Waiter::Destination(Box::new(tell.clone()))) {
            tell();
        }
    }

    /// Leaves a waiter with the node that is full at `percent`. False when none is: then nobody may be
    /// told.
    fn wait(&self, percent: u32, waiter: impl Fn() -> Waiter) -> bool {
        while let Some(full) = self.full_at(percent) {
            if full.wait_here(percent, waiter()) {
                return true;
            }
        }
        false
    }

    /// Leaves a waiter with this node. False when it has room: then nobody may be told.
    fn wait_here(&self, percent: u32, waiter: Waiter) -> bool {
        {
            let mut waiters = self.waiters.lock();
            // A task that waits is polled for other reasons too.
            let present = match &waiter {
                Waiter::Task(call, _) => waiters.iter_mut().find(|other| other.is_of(call)),
                Waiter::Destination(_) => None,
            };
            match present {
                Some(present) => *present = waiter,
                None => waiters.push(waiter),
            }
            self.waiting.store(true, Ordering::SeqCst);
        }
        // What was given back before the waiter was there has woken nobody.
        self.is_full_at(percent)
    }
}

/// A call of [`Usage::acquire`] that has not come to its end.
struct Waiting<'a> {
    usage: &'a Usage,
    /// Names the call among the waiters, if it ever had to wait.
    call: Option<Arc<()>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            self.usage.forget(call);
        }
    }
}

/// Memory taken from a [`Usage`], given back on drop.
#[derive(Debug)]
pub struct Credit {
    usage: Arc<Usage>,
    bytes: u64,
}

impl Credit {
    /// Wraps `bytes` that were taken from `usage`.
    pub fn taken(usage: Arc<Usage>, bytes: u64) -> Self {
        Self { usage, bytes }
    }

    /// Marks it as on its way to the temp store, until the mark is dropped.
    pub fn spilling(&self) -> Spilling {
        self.usage.leave(self.bytes);
        Spilling { usage: Arc::clone(&self.usage), bytes: self.bytes }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.usage.release(self.bytes);
    }
}

/// Says of memory that it is on its way to the temp store.
#[derive(Debug)]
pub struct Spilling {
    usage: Arc<Usage>,
    bytes: u64,
}

impl Drop for Spilling {
    fn drop(&mut self) {
        self.usage.has_left(self.bytes);
    }
}

/// Room in stores that messages will take, by store; it counts as used until this is dropped.
#[derive(Debug, Default)]
pub struct Foreseen(Vec<(Arc<Usage>, u64)>);

impl Foreseen {
    /// `bytes` more will be in the store with this usage.
    pub fn add(&mut self, usage: &Arc<Usage>, bytes: u64) {
        usage.foresee(bytes);
        match self.0.iter_mut().find(|(present, _)| Arc::ptr_eq(present, usage)) {
            Some((_, sum)) => *sum += bytes,
            None => self.0.push((Arc::clone(usage), bytes)),
        }
    }
}

impl Drop for Foreseen {
    fn drop(&mut self) {
        for (usage, bytes) in self.0.drain(..) {
            usage.unforesee(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_counts_for_its_parent_and_both_limits_bind() {
        let broker = Usage::new(100, None);
        let a = Usage::new(0, Some(Arc::clone(&broker)));
        let b = Usage::new(30, Some(Arc::clone(&broker)));
        assert!(b.try_take(30));
        assert!(!b.try_take(1), "b is at its own limit");
        assert!(a.try_take(80), "the last message may pass the limit");
        assert!(!a.try_take(1), "the broker is at its limit");
        a.release(80);
        assert_eq!((broker.used(), a.used(), b.used()), (30, 0, 30));
    }

    #[test]
    fn a_task_that_is_polled_while_it_waits_leaves_one_waiter() {
        let usage = Usage::new(10, None);
        usage.take(10);
        let mut waiting = Box::pin(usage.acquire(5));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(usage.waiters.lock().len(), 1);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_no_waiter() {
        let broker = Usage::new(10, None);
        let usage = Usage::new(0, Some(Arc::clone(&broker)));
        usage.take(10);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let mut other = Box::pin(usage.acquire(5));
        for _ in 0..3 {
            let mut waiting = Box::pin(usage.acquire(5));
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            assert!(other.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(broker.waiters.lock().len(), 1, "the one that still waits");
        usage.release(10);
        assert!(other.as_mut().poll(&mut cx).is_ready());
    }

    /// The destination's own limit has room when its broker's has none, and the other way round.
    #[test]
    fn who_waits_is_told_by_whichever_limit_was_full() {
        let broker = Usage::new(100, None);
        let usage = Usage::new(30, Some(Arc::clone(&broker)));
        let told = Arc::new(AtomicU64::new(0));
        let tell = {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::SeqCst);
            }
        };
        usage.when_room(tell.clone());
        assert_eq!(told.load(Ordering::SeqCst), 1, "there is room");
        broker.take(100);
        usage.when_room(tell.clone());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        broker.release(100);
        assert_eq!(told.load(Ordering::SeqCst), 2);
        usage.take(30);
        usage.when_room(tell);
        usage.release(1);
        assert_eq!(told.load(Ordering::SeqCst), 3);
    }

    /// Many tasks, two limits, little room: everybody gets through.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost_between_two_limits() {
        let broker = Usage::new(2, None);
        let tasks: Vec<_> = (0..8)
            .map(|at| {
                let usage = Usage::new(1 + at % 2, Some(Arc::clone(&broker)));
                tokio::spawn(async move {
                    for _ in 0..2_000 {
                        usage.acquire(1).await;
                        if at % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        usage.release(1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the task ends");
        }
        assert_eq!(broker.used(), 0);
    }

    #[tokio::test]
    async fn a_waiter_gets_room_when_some_is_given_back() {
        let usage = Usage::new(10, None);
        usage.take(10);
        let waiter = tokio::spawn({
            let usage = Arc::clone(&usage);
            async move { usage.acquire(5).await }
        });
        tokio::task::yield_now().await;
        usage.release(10);
        waiter.await.expect("the waiter ends");
        assert_eq!(usage.used(), 5);
    }

    #[test]
    fn split_memory_is_limited_by_its_part_and_by_the_whole() {
        let broker = Usage::named("Main".into(), 100, None);
        let producers = MemoryShare::Part(60).usage("Producer", &broker);
        let consumers = MemoryShare::Part(40).usage("Consumer", &broker);
        assert!(producers.try_take(60) && !producers.try_take(1));
        assert!(consumers.try_take(40) && !consumers.try_take(1));
        let own = MemoryShare::Own(10, "mine".into()).usage("Producer", &broker);
        assert!(own.try_take(5), "it is not of the broker's memory");
        assert_eq!(broker.used(), 100);
        let destination = Usage::new(0, Some(producers));
        let paths = [&broker, &destination, &own].map(|usage| usage.path());
        assert_eq!(paths, ["Main:memory", "Main:memory:Producer:memory", "mine:memory"]);
    }
}
