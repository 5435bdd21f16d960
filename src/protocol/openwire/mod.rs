//! OpenWire, versions 1 to 12: the protocol of ActiveMQ's own clients and of its brokers among
//! themselves.
//!
//! [`codec`] turns frames into commands and back; [`ingress`] carries out commands, [`egress`] writes
//! answers and deliveries. Both halves share the outbox and the ordered list of replies.

pub mod codec;
pub mod command;
pub mod egress;
mod errors;
pub mod ingress;
pub mod negotiation;
mod replies;
mod stored;
#[cfg(test)]
mod tests;

pub use codec::{Decoder, Dispatch, Encoder, Settings, WireError};
pub use command::{Command, Object};
pub use stored::MESSAGE_FORM;

use self::egress::OpenWireEgress;
use self::ingress::OpenWireIngress;
use self::negotiation::Offer;
use self::replies::Replies;
use crate::broker::Broker;
use crate::broker::client::Transport;
use crate::broker::outbox::Outbox;
use crate::jms::Text;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How an OpenWire connector talks.
#[derive(Clone, Debug)]
pub struct OpenWireOptions {
    /// What we offer (`wireFormat.*`).
    pub offer: Offer,
    /// `minmumWireFormatVersion`.
    pub version_min: i32,
    /// `transport.useInactivityMonitor`.
    pub inactivity_monitor: bool,
    /// `transport.useKeepAlive`.
    pub keep_alive: bool,
    /// `trace`: logs every command.
    pub trace: bool,
}

impl Default for OpenWireOptions {
    fn default() -> Self {
        Self {
            offer: Offer::default(),
            version_min: 1,
            inactivity_monitor: true,
            keep_alive: true,
            trace: false,
        }
    }
}

/// What the two halves of a connection share.
#[derive(Debug)]
struct Shared {
    outbox: Arc<Outbox>,
    replies: Replies,
    /// The peer, for logs.
    remote: Text,
    /// Whether life is checked.
    monitored: AtomicBool,
}

/// The two halves for a connection that was accepted.
pub fn session(
    broker: &Arc<Broker>,
    options: &Arc<OpenWireOptions>,
    transport: Transport,
) -> (OpenWireIngress, OpenWireEgress) {
    let outbox = Arc::new(Outbox::default());
    let shared = Arc::new(Shared {
        replies: Replies::new(Arc::clone(&outbox)),
        outbox,
        remote: Text::clone(&transport.remote),
        monitored: AtomicBool::new(options.inactivity_monitor),
    });
    let egress =
        OpenWireEgress::new(broker, Arc::clone(&shared), options.keep_alive, options.trace);
    let ingress = OpenWireIngress::new(Arc::clone(broker), Arc::clone(options), transport, shared);
    (ingress, egress)
}
