//! Answers on their way to an OpenWire peer.
//!
//! The reading half appends, the writing half takes. An answer that needs a receipt waits aside until the
//! receipt is resolved; others pass it: a send that is parked by flow control must not hold up what its
//! connection asks meanwhile.

use super::command::{Command, ConnectionError, ExceptionResponse};
use super::errors::throwable;
use super::negotiation::Agreement;
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Outbox, Receipt};
use crate::broker::spare::{give_back, lend};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::Notify;

/// What the writing half gets.
#[derive(Debug)]
pub(super) enum Ready {
    Negotiated(Agreement),
    Command(Command),
}

thread_local! {
    static READY: RefCell<Vec<Vec<Ready>>> = const { RefCell::new(Vec::new()) };
}

/// The answers of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    outbox: Arc<Outbox>,
    state: Mutex<State>,
    /// Told when fewer answers wait.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Ready>,
    waiting: HashMap<u64, Waiting>,
    next_receipt: u64,
}

/// An answer that waits for its receipt.
#[derive(Debug)]
struct Waiting {
    /// The command whose sender waits for a response.
    command_id: Option<i32>,
    /// What is sent when all went well.
    then: Command,
}

/// Answers that may wait before the connection is read on: bounds what a peer that sends without
/// reading, or ahead of its receipts, can pile up.
const WAITING_MAX: usize = 4096;

impl Replies {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, state: Mutex::default(), drained: Notify::new() }
    }

    pub(super) fn negotiated(&self, agreement: Agreement) {
        self.push(Ready::Negotiated(agreement));
    }

    pub(super) fn command(&self, command: impl Into<Command>) {
        self.push(Ready::Command(command.into()));
    }

    fn push(&self, ready: Ready) {
        self.state.lock().push(ready);
        self.outbox.wake();
    }

    /// Tells the peer that a command failed: by an `ExceptionResponse` if it waits for one.
    pub(super) fn failure(&self, command_id: Option<i32>, error: &BrokerError) {
        self.push(Ready::Command(failed(command_id, error)));
    }

    /// A receipt on whose resolution `then` is sent; `command_id` is that of a command whose sender
    /// waits for a response.
    pub(super) fn expect(&self, command_id: Option<i32>, then: impl Into<Command>) -> Receipt {
        let mut state = self.state.lock();
        let receipt = state.next_receipt;
        state.next_receipt += 1;
        state.waiting.insert(receipt, Waiting { command_id, then: then.into() });
        Receipt::new(Arc::clone(&self.outbox), receipt)
    }

    /// A receipt was resolved: its answer can go.
    pub(super) fn settle(&self, receipt: u64, outcome: Result<(), BrokerError>) {
        let mut state = self.state.lock();
        let Some(Waiting { command_id, then }) = state.waiting.remove(&receipt) else { return };
        state.push(Ready::Command(match outcome {
            Ok(()) => then,
            Err(error) => failed(command_id, &error),
        }));
    }

    /// Takes the answers that can go. The list is given back with [`Self::written`].
    pub(super) fn take(&self) -> Vec<Ready> {
        let ready = std::mem::take(&mut self.state.lock().ready);
        self.drained.notify_one();
        ready
    }

    /// What was taken has been written.
    pub(super) fn written(ready: Vec<Ready>) {
        give_back(&READY, ready);
    }

    /// Gives back the memory that what waits does not need.
    pub(super) fn trim(&self) {
        self.state.lock().waiting.shrink_to_fit();
    }

    /// Waits while too many answers wait.
    pub(super) async fn room(&self) {
        while self.state.lock().len() >= WAITING_MAX {
            self.drained.notified().await;
        }
    }
}

impl State {
    fn push(&mut self, ready: Ready) {
        lend(&READY, &mut self.ready);
        self.ready.push(ready);
    }

    /// Answers that have not gone yet.
    fn len(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }
}

fn failed(command_id: Option<i32>, error: &BrokerError) -> Command {
    let exception = Some(throwable(error));
    match command_id {
        Some(correlation_id) => {
            ExceptionResponse { correlation_id, exception, ..ExceptionResponse::default() }.into()
        }
        None => ConnectionError { exception, ..ConnectionError::default() }.into(),
    }
}
