//! Why the broker refused what a client asked: one variant per cause, the texts ActiveMQ's users know.
//!
//! The core names causes only; each protocol maps them to what its clients expect (OpenWire: a Java
//! exception class).

use crate::jms::{Destination, Text};

/// A request that was refused; the connection that made it stays usable unless its protocol says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("User name [{user}] or password is invalid.")]
    BadCredentials { user: Text },
    #[error("No clientID specified for connection request")]
    ClientIdMissing,
    #[error("Broker: {broker} - Client: {client} already connected from {address}")]
    ClientIdInUse { broker: Text, client: Text, address: Text },
    #[error("Cannot {action} that had not been registered: {id}")]
    NotRegistered { action: &'static str, id: Text },
    #[error("Can't add {what} on connection {connection}: at maximum limit: {limit}")]
    LimitReached { what: &'static str, connection: Text, limit: u32 },
    #[error("The {what} is too long: {bytes} bytes, at most {limit} are allowed")]
    NameTooLong { what: &'static str, bytes: usize, limit: usize },
    #[error("Invalid destination name: a non-empty name is required")]
    DestinationNameEmpty,
    #[error("The destination {0} is the broker's own")]
    DestinationReserved(Destination),
    /// A message cannot be scheduled as it wants.
    #[error("{0}")]
    Schedule(Text),
    #[error("The destination {0} does not exist.")]
    DestinationMissing(Destination),
    #[error("Destination: {destination} still has an active subscription: {consumer}")]
    DestinationInUse { destination: Destination, consumer: Text },
    #[error("Cannot use a temporary destination of another connection: {0}")]
    NotOwner(Destination),
    #[error("{0}")]
    InvalidSelector(Text),
    #[error("Durable consumer is in use for client: {client} and subscriptionName: {name}")]
    DurableInUse { client: Text, name: Text },
    #[error("Durable consumer is in use")]
    DurableActive,
    #[error("No durable subscription exists for clientID: {client} and subscriptionName: {name}")]
    DurableMissing { client: Text, name: Text },
    #[error("Cannot create a durable subscription for an advisory Topic")]
    DurableAdvisory,
    #[error("Cannot create a durable subscription on {0}: only topics have durable subscriptions")]
    DurableNotTopic(Destination),
    #[error(
        "Unmatched acknowledge: {ack}; Expected message count ({expected}) differs from count in \
         dispatched-list ({found})"
    )]
    AckCount { ack: Text, expected: i32, found: usize },
    #[error(
        "Unmatched acknowledge: {ack}; Could not find Message-ID {id} in dispatched-list ({end} of ack)"
    )]
    AckRange { ack: Text, id: Text, end: &'static str },
    #[error("Could not correlate acknowledgment with dispatched message: {ack}")]
    AckUnknown { ack: Text },
    #[error("Poison ack cannot be transacted: {ack}")]
    AckPoisonInTransaction { ack: Text },
    #[error("Invalid acknowledgment: {ack}")]
    AckInvalid { ack: Text },
    #[error("Transaction '{0}' has not been started.")]
    TransactionUnknown(Text),
    #[error("Transaction '{0}' has already been started.")]
    TransactionStarted(Text),
    #[error("Transaction '{id}' has been marked rollback only: {cause}")]
    RollbackOnly { id: Text, cause: Text },
    /// 100 is XA_RBROLLBACK.
    #[error("Transaction '{id}' has been marked rollback only: {cause} xaErrorCode:100")]
    BranchRollbackOnly { id: Text, cause: Text },
    #[error("Transaction '{id}' {reason} xaErrorCode:{code}")]
    Xa { id: Text, reason: &'static str, code: i32 },
    #[error(
        "Cannot prepare a transaction that had not been started or previously returned XA_RDONLY: {0}"
    )]
    PrepareUnknown(Text),
    #[error("Cannot send message to {destination} with invalid (null) producer state")]
    ProducerUnknown { destination: Destination },
    #[error(
        "Usage Manager Memory Limit reached on {0}. See \
         http://activemq.apache.org/producer-flow-control.html for more info"
    )]
    MemoryFull(Destination),
    #[error(
        "Usage Manager Memory Limit Wait Timeout. Stopping producer ({producer}) to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info"
    )]
    MemoryWaitTimeout { producer: Text, destination: Destination },
    #[error(
        "Persistent store is Full, {percent}% of {limit}. Stopping producer ({producer}) to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info"
    )]
    StoreWaitTimeout { percent: u32, limit: u64, producer: Text, destination: Destination },
    #[error(
        "Temp Store is Full ({percent}% of {limit}). Stopping producer ({producer}) to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info"
    )]
    TempWaitTimeout { percent: u64, limit: u64, producer: Text, destination: Destination },
    #[error("1 Consumers was slow too often (>{count_max}) or too long (>{for_ms}): ")]
    ConsumersSlow { count_max: i64, for_ms: i64 },
    #[error("Connection closed, send aborted.")]
    SendAborted,
    #[error("Send transaction completed while waiting for space")]
    SendTooLate,
    #[error(
        "The maxmimum number of destinations allowed ({limit}){of} has already been reached.",
        of = policy.as_ref().map(|policy| format!(" for the policy {policy}")).unwrap_or_default()
    )]
    TooManyDestinations { limit: u32, policy: Option<Destination> },
    #[error("{0} forwards in a circle: the message would be kept nowhere")]
    ForwardCircle(Destination),
    #[error("a {command} needs a {field}")]
    FieldMissing { command: &'static str, field: &'static str },
    #[error("{what}: {value}")]
    Unknown { what: &'static str, value: i64 },
    #[error("Durable Consumers are not allowed")]
    DurablesRejected,
    #[error("the store refused the message: {0}")]
    Store(Text),
    /// The disk is full.
    #[error("the store refused the message: {0}")]
    StoreNoSpace(Text),
    #[error("the broker is stopping")]
    Stopping,
}

impl From<crate::store::StoreError> for BrokerError {
    fn from(error: crate::store::StoreError) -> Self {
        let text = error.to_string().into();
        match error {
            crate::store::StoreError::NoSpace(_) => Self::StoreNoSpace(text),
            _ => Self::Store(text),
        }
    }
}
