//! Ids of connections and of the objects on them, as OpenWire section 12 writes them.

use super::Text;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A broker, for loop protection and advisories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BrokerId {
    pub value: Option<Text>,
}

/// One client connection; opaque text made by the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub value: Option<Text>,
}

/// A session of a connection; -1 is the session every connection has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionId {
    pub connection: Option<Text>,
    pub value: i64,
}

/// The broker-wide name of one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConsumerId {
    pub connection: Option<Text>,
    pub session: i64,
    pub value: i64,
}

/// The broker-wide name of one producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerId {
    pub connection: Option<Text>,
    pub session: i64,
    pub value: i64,
}

/// The id a producer gave a message. Two ids are equal when producer and sequence are: the text view
/// (ids of foreign protocols) and the broker's sequence are carried along only.
#[derive(Clone, Debug, Default)]
pub struct MessageId {
    pub text_view: Option<Text>,
    pub producer: Option<ProducerId>,
    pub producer_sequence: i64,
    /// Assigned when the message enters a destination; rises over the whole broker.
    pub broker_sequence: i64,
}

impl ConnectionId {
    /// An id with this text.
    pub fn new(value: impl Into<Text>) -> Self {
        Self { value: Some(value.into()) }
    }

    /// The text, empty when the peer sent none.
    pub fn as_str(&self) -> &str {
        self.value.as_deref().unwrap_or("")
    }
}

impl BrokerId {
    /// An id with this text.
    pub fn new(value: impl Into<Text>) -> Self {
        Self { value: Some(value.into()) }
    }
}

impl SessionId {
    /// The connection this session is on.
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId { value: self.connection.clone() }
    }
}

impl ConsumerId {
    /// The session this consumer is on.
    pub fn session_id(&self) -> SessionId {
        SessionId { connection: self.connection.clone(), value: self.session }
    }
}

impl ProducerId {
    /// The session this producer is on.
    pub fn session_id(&self) -> SessionId {
        SessionId { connection: self.connection.clone(), value: self.session }
    }
}

impl PartialEq for MessageId {
    fn eq(&self, other: &Self) -> bool {
        self.producer_sequence == other.producer_sequence && self.producer == other.producer
    }
}

impl Eq for MessageId {}

impl Hash for MessageId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.producer.hash(state);
        self.producer_sequence.hash(state);
    }
}

fn text(value: &Option<Text>) -> &str {
    value.as_deref().unwrap_or("null")
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(&self.value))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(&self.value))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", text(&self.connection), self.value)
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", text(&self.connection), self.session, self.value)
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", text(&self.connection), self.session, self.value)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.text_view, &self.producer) {
            (Some(view), _) if view.starts_with("ID:") => f.write_str(view),
            (Some(view), _) => write!(f, "ID:{view}"),
            (None, Some(producer)) => write!(f, "{producer}:{}", self.producer_sequence),
            (None, None) => write!(f, "null:{}", self.producer_sequence),
        }
    }
}
