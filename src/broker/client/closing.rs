//! The end of a connection, told to what it is doing.
//!
//! A command that was begun is carried out to its end, for it may have changed half of what it changes:
//! only its waits for something that the end of the connection makes pointless are cut short.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Known to a connection's transport, which ends it, and to its client.
#[derive(Clone, Debug, Default)]
pub struct Closing(Arc<State>);

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    changed: Notify,
}

impl Closing {
    /// The connection ends.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Whether the connection has ended, or ends.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) {
        let mut changed = pin!(self.0.changed.notified());
        // Before the flag is looked at: who closes after that wakes us.
        changed.as_mut().enable();
        if !self.is_closed() {
            changed.await;
        }
    }

    /// Waits for `work`, or for the end of the connection: then there is no result.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            result = work => Some(result),
            () = self.closed() => None,
        }
    }
}
