//! What can go wrong for a client.

use crate::jms::Text;
use crate::jms::properties::PropertyError;
use crate::protocol::Ended;
use crate::protocol::openwire::WireError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why the client could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{uri} is no address of a broker: {reason}")]
    Address { uri: String, reason: &'static str },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: Arc<io::Error> },
    /// The broker's answer: an exception of this Java class. The connection stays usable.
    #[error("{class}: {message}")]
    Refused { class: Text, message: Text },
    /// The command cannot be written as it was agreed with this broker; nothing was sent.
    #[error("cannot be sent: {0}")]
    Encoding(#[from] WireError),
    #[error("the property cannot be encoded: {0}")]
    Property(#[from] PropertyError),
    /// The broker answered with what does not fit the request.
    #[error("the broker answered with {0}")]
    Unexpected(&'static str),
    /// The broker closed this consumer.
    #[error("the consumer was closed by the broker")]
    ConsumerClosed,
    /// There is no transaction to work in, or there is one already.
    #[error("the session is {0} a transaction")]
    TransactionState(&'static str),
    #[error("the connection ended: {0}")]
    Lost(Arc<Ended>),
    /// The connection was closed or aborted on this side.
    #[error("the connection was closed")]
    Closed,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}
