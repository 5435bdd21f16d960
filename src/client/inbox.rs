//! What has come for one consumer and was not received yet. Bounded by the consumer's prefetch, which
//! the broker keeps.

use super::ClientError;
use crate::protocol::openwire::command::MessageDispatch;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// The queue between the connection's task and a consumer.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dispatches: VecDeque<MessageDispatch>,
    waker: Option<Waker>,
    ended: Option<ClientError>,
}

impl Inbox {
    /// Adds dispatches in order and wakes the consumer once.
    pub(super) fn extend(&self, dispatches: impl Iterator<Item = MessageDispatch>) {
        let waker = {
            let mut state = self.state.lock();
            state.dispatches.extend(dispatches);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nothing more will come; what has come can still be received.
    pub(super) fn end(&self, error: ClientError) {
        let waker = {
            let mut state = self.state.lock();
            state.ended.get_or_insert(error);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Swaps what there is with the empty `into`.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<MessageDispatch>,
    ) -> Poll<Result<(), ClientError>> {
        let mut state = self.state.lock();
        if !state.dispatches.is_empty() {
            std::mem::swap(&mut state.dispatches, into);
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.ended {
            return Poll::Ready(Err(error.clone()));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// As [`Self::poll_take`], without waiting.
    pub(super) fn take(&self, into: &mut VecDeque<MessageDispatch>) {
        std::mem::swap(&mut self.state.lock().dispatches, into);
    }
}
