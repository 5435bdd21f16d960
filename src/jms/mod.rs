//! The vocabulary of JMS as ActiveMQ speaks it: a leaf that knows no other module.
//!
//! Destinations, ids, messages, acknowledgements and the descriptions of a client's objects are
//! plain data. Nullable fields are `Option`s, because peers may send nulls anywhere and a codec must
//! give back what it was given; whoever needs a value checks for it and answers the sender.

pub mod ack;
pub mod destination;
pub mod ids;
pub mod info;
pub mod message;
pub mod mutf8;
pub mod properties;
pub mod selector;
pub mod throwable;
pub mod transaction;
pub mod wildcard;

pub use ack::{AckKind, MessageAck, MessagePull};
pub use destination::{Destination, DestinationKind};
pub use ids::{BrokerId, ConnectionId, ConsumerId, MessageId, ProducerId, SessionId};
pub use info::ConsumerInfo;
pub use message::{BodyKind, Described, Message};
pub use throwable::Throwable;
pub use transaction::{TransactionId, XaId};

/// Text that is shared, not copied: names and ids travel with every message.
pub type Text = std::sync::Arc<str>;

/// An array on the wire: the array and each element may be null.
pub type Array<T> = Option<Vec<Option<T>>>;
