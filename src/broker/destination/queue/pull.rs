//! Requests for one message, by consumers without prefetch.

use crate::broker::outbox::{Delivery, Item, Outbox};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A request as one queue knows it.
#[derive(Clone, Debug)]
pub struct Pull {
    /// When to answer that there is nothing; none: never.
    pub deadline: Option<Instant>,
    /// Of a consumer that may have several queues: what they share.
    pub shared: Option<Arc<SharedPull>>,
}

/// A request to all queues of a consumer: the first one that has a message answers. When everybody who might
/// still answer has let go of it, there is nothing.
#[derive(Debug)]
pub struct SharedPull {
    answered: AtomicBool,
    /// What is said then.
    nothing: Delivery,
    outbox: Arc<Outbox>,
    /// Whether that is to be said.
    ends: bool,
}

impl SharedPull {
    pub(super) fn new(nothing: Delivery, outbox: Arc<Outbox>, ends: bool) -> Self {
        Self { answered: AtomicBool::new(false), nothing, outbox, ends }
    }

    fn is_open(&self) -> bool {
        !self.answered.load(Ordering::SeqCst)
    }

    /// Claims the right to answer.
    fn claim(&self) -> bool {
        !self.answered.swap(true, Ordering::SeqCst)
    }
}

impl Drop for SharedPull {
    fn drop(&mut self) {
        if self.ends && self.is_open() {
            self.outbox.push(Item::Delivery(self.nothing.clone()));
        }
    }
}

/// The requests of a consumer that may have several queues, oldest first, until they are answered or their time
/// is over: a queue that comes meanwhile is asked as well.
#[derive(Debug, Default)]
pub struct OpenPulls {
    /// With their tickets.
    waiting: VecDeque<(u64, Pull)>,
    last_ticket: u64,
}

impl OpenPulls {
    /// A new request; `nothing` is the answer when there is nothing.
    pub fn add(
        &mut self,
        nothing: Delivery,
        outbox: &Arc<Outbox>,
        deadline: Option<Instant>,
    ) -> (u64, Pull) {
        if self.waiting.len() >= PULLS_MAX {
            self.waiting.pop_front();
        }
        let shared = SharedPull::new(nothing, Arc::clone(outbox), deadline.is_some());
        let pull = Pull { deadline, shared: Some(Arc::new(shared)) };
        self.last_ticket += 1;
        self.waiting.push_back((self.last_ticket, pull.clone()));
        (self.last_ticket, pull)
    }

    /// Whether a request waits for an answer.
    pub fn owes(&self, ticket: u64) -> bool {
        self.waiting.iter().any(|(of, pull)| *of == ticket && pull.is_open())
    }

    /// Those that wait.
    pub fn open(&mut self) -> Vec<Pull> {
        self.waiting.retain(|(_, pull)| pull.is_open());
        self.waiting.iter().map(|(_, pull)| pull.clone()).collect()
    }

    /// The time of a request is over: no other queue will be asked. To be dropped without a lock: there may
    /// be nothing now.
    pub fn end(&mut self, ticket: u64) -> Option<Pull> {
        let at = self.waiting.iter().position(|(of, _)| *of == ticket)?;
        self.waiting.remove(at).map(|(_, pull)| pull)
    }

    /// Nobody waits for answers any more.
    pub fn cancel(&mut self) {
        for (_, pull) in self.waiting.drain(..) {
            pull.claim();
        }
    }
}

/// Requests that are remembered. A client waits for the answer to one before it sends the next.
const PULLS_MAX: usize = 256;

impl Pull {
    pub(super) fn is_open(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.is_open())
    }

    /// Claims the right to answer.
    pub(super) fn claim(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.claim())
    }
}
