//! What destinations send on: dead letters, notices and scheduled messages, carried by one task of the broker.
//!
//! Destinations push and never wait. The queue needs no bound of its own: a dead letter was a message
//! in memory until the push, so nothing grows by it, notices are pushed only while someone listens, and
//! there is one firing of scheduled messages at a time.

use super::advisory::Notice;
use super::dead_letter::DeadLetter;
use super::scheduler::Firing;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Something on its way to another destination.
#[derive(Debug)]
pub enum Forward {
    DeadLetter(DeadLetter),
    Notice(Notice),
    Fire(Firing),
}

/// The entrance.
#[derive(Clone, Debug)]
pub struct ForwardSender {
    queue: mpsc::UnboundedSender<Forward>,
    /// Consumers that may see notices from destinations.
    listeners: Arc<AtomicUsize>,
}

/// The exit, for the broker's task.
pub type ForwardReceiver = mpsc::UnboundedReceiver<Forward>;

/// A new queue.
pub fn channel() -> (ForwardSender, ForwardReceiver) {
    let (queue, receiver) = mpsc::unbounded_channel();
    (ForwardSender { queue, listeners: Arc::default() }, receiver)
}

impl ForwardSender {
    pub fn push(&self, forward: Forward) {
        if matches!(forward, Forward::Notice(_)) && self.listeners.load(Ordering::Relaxed) == 0 {
            return;
        }
        // After the broker has stopped nobody carries anything any more.
        self.queue.send(forward).unwrap_or_default();
    }

    pub fn listener_added(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub fn listener_removed(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
