//! Protocols, and the one connection loop they share.
//!
//! A protocol turns bytes into calls of [`Client`](crate::broker::client::Client) and what waits in the
//! outbox into bytes. Its two halves run in one task and never wait for each other: see [`drive`].

pub mod drive;
pub mod openwire;

use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer said goodbye.
    #[error("closed by the peer")]
    Goodbye,
    /// What the peer sent cannot be understood or is not allowed.
    #[error("{0}")]
    Protocol(String),
    /// The peer was refused; the answer is on its way and it should close by itself.
    #[error("refused")]
    Refused,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Nothing came for too long.
    #[error("the peer was silent for {0:?}")]
    Inactive(Duration),
    /// The peer takes nothing of what is written to it.
    #[error("the peer took nothing for {0:?}")]
    Blocked(Duration),
    /// The peer connected and did not introduce itself.
    #[error("nothing that could be understood came within {0:?}")]
    NoHandshake(Duration),
    /// A frame was begun and not finished in time.
    #[error("a frame of {0} bytes did not arrive in time")]
    SlowFrame(usize),
    /// The broker closes it.
    #[error("closed by the broker")]
    Stopped,
}

/// When the two sides check each other for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Checks begin after this.
    pub initial_delay: Duration,
    /// The peer is given up when nothing came between two checks this far apart.
    pub read_check: Duration,
    /// We send something at least this often.
    pub write_check: Duration,
}

/// The half of a protocol that reads.
pub trait Ingress: Send {
    /// How many bytes the next frame has; none if `input` is too short to tell.
    fn frame_length(&self, input: &[u8]) -> Result<Option<usize>, Ended>;

    /// Decodes one frame and keeps what it says for [`Self::handle`]. `shared` is the same frame
    /// where bodies may be sliced out of it. False: handle what there is before the next frame.
    fn frame(&mut self, frame: &[u8], shared: Option<&Bytes>) -> Result<bool, Ended>;

    /// Whether the peer has introduced itself.
    fn established(&self) -> bool;

    /// Carries out what was decoded.
    fn handle(&mut self) -> impl Future<Output = Result<(), Ended>> + Send;

    /// The connection has ended: cleans up.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// The half of a protocol that writes.
pub trait Egress: Send {
    /// Takes what waits; pending until there is something.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Encodes what was taken.
    fn encode(&mut self, out: &mut WriteBuffer) -> Result<(), Ended>;

    /// Encodes a sign of life.
    fn keep_alive(&mut self, out: &mut WriteBuffer) -> Result<(), Ended>;

    /// How life is checked, once that is agreed.
    fn liveness(&self) -> Option<Liveness>;
}
