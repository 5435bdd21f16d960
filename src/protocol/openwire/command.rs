//! The commands of OpenWire: those the broker works with are in `jms`, those that exist on the wire
//! only are here. Fields are named and typed as on the wire; which version has which is told by the
//! codec's tables.

use crate::jms::info::{
    BrokerInfo, ConnectionInfo, ConsumerInfo, DestinationInfo, NetworkBridgeFilter, ProducerInfo,
    RemoveInfo, RemoveSubscriptionInfo,
};
use crate::jms::{
    Array, BodyKind, BrokerId, ConnectionId, ConsumerId, Destination, Message, MessageAck,
    MessageId, MessagePull, ProducerId, SessionId, Text, Throwable, TransactionId,
};
use bytes::Bytes;
use std::sync::Arc;

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident($type:ty),)*) => {
        /// One command, or another object that can stand alone in a frame.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Command {
            /// The first frame of either side.
            WireFormatInfo(WireFormatInfo),
            $($(#[$doc])* $variant($type),)*
            /// A message of any kind: made shared, as the broker keeps it.
            Message(Arc<Message>),
            /// What is no command. The store and responses hold such objects.
            Object(Object),
        }

        impl Command {
            /// The sender's number for this command; 0 where there is none.
            pub fn command_id(&self) -> i32 {
                match self {
                    $(Self::$variant(command) => command.command_id,)*
                    Self::Message(message) => message.command_id,
                    Self::WireFormatInfo(_) | Self::Object(_) => 0,
                }
            }

            /// Gives the command its number.
            pub fn set_command_id(&mut self, id: i32) {
                match self {
                    $(Self::$variant(command) => command.command_id = id,)*
                    Self::Message(message) => Arc::make_mut(message).command_id = id,
                    Self::WireFormatInfo(_) | Self::Object(_) => {}
                }
            }

            /// Whether the sender waits for a response.
            pub fn response_required(&self) -> bool {
                match self {
                    $(Self::$variant(command) => command.response_required,)*
                    Self::Message(message) => message.response_required,
                    Self::WireFormatInfo(_) | Self::Object(_) => false,
                }
            }

            /// Says whether the sender waits for a response.
            pub fn set_response_required(&mut self, required: bool) {
                match self {
                    $(Self::$variant(command) => command.response_required = required,)*
                    Self::Message(message) => {
                        Arc::make_mut(message).response_required = required;
                    }
                    Self::WireFormatInfo(_) | Self::Object(_) => {}
                }
            }

            /// The name of the type, as in ActiveMQ.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($variant),)*
                    Self::WireFormatInfo(_) => "WireFormatInfo",
                    Self::Message(message) => message_name(&message.kind),
                    Self::Object(object) => object.name(),
                }
            }
        }

        $(impl From<$type> for Command {
            fn from(command: $type) -> Self {
                Self::$variant(command)
            }
        })*
    };
}

commands! {
    BrokerInfo(Box<BrokerInfo>),
    ConnectionInfo(Box<ConnectionInfo>),
    SessionInfo(SessionInfo),
    ConsumerInfo(Box<ConsumerInfo>),
    ProducerInfo(ProducerInfo),
    TransactionInfo(TransactionInfo),
    DestinationInfo(DestinationInfo),
    RemoveSubscriptionInfo(RemoveSubscriptionInfo),
    KeepAliveInfo(KeepAliveInfo),
    ShutdownInfo(ShutdownInfo),
    RemoveInfo(RemoveInfo),
    ControlCommand(ControlCommand),
    FlushCommand(FlushCommand),
    ConnectionError(ConnectionError),
    ConsumerControl(ConsumerControl),
    ConnectionControl(ConnectionControl),
    ProducerAck(ProducerAck),
    MessagePull(Box<MessagePull>),
    MessageDispatch(MessageDispatch),
    MessageAck(Box<MessageAck>),
    Response(Response),
    ExceptionResponse(ExceptionResponse),
    DataResponse(DataResponse),
    DataArrayResponse(DataArrayResponse),
    IntegerResponse(IntegerResponse),
    ReplayCommand(ReplayCommand),
    MessageDispatchNotification(Box<MessageDispatchNotification>),
    BrokerSubscriptionInfo(BrokerSubscriptionInfo),
}

impl From<Message> for Command {
    fn from(message: Message) -> Self {
        Self::Message(Arc::new(message))
    }
}

impl From<WireFormatInfo> for Command {
    fn from(info: WireFormatInfo) -> Self {
        Self::WireFormatInfo(info)
    }
}

/// The name of a message type, as in ActiveMQ.
pub fn message_name(kind: &BodyKind) -> &'static str {
    match kind {
        BodyKind::Message => "ActiveMQMessage",
        BodyKind::Bytes => "ActiveMQBytesMessage",
        BodyKind::Map => "ActiveMQMapMessage",
        BodyKind::Object => "ActiveMQObjectMessage",
        BodyKind::Stream => "ActiveMQStreamMessage",
        BodyKind::Text => "ActiveMQTextMessage",
        BodyKind::Blob(_) => "ActiveMQBlobMessage",
    }
}

/// An object that is no command.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    DiscoveryEvent(DiscoveryEvent),
    JournalTopicAck(Box<JournalTopicAck>),
    JournalQueueAck(Box<JournalQueueAck>),
    JournalTrace(JournalTrace),
    JournalTransaction(JournalTransaction),
    SubscriptionInfo(Box<SubscriptionInfo>),
    PartialCommand(PartialCommand),
    NetworkBridgeFilter(NetworkBridgeFilter),
    Destination(Destination),
    MessageId(MessageId),
    TransactionId(TransactionId),
    ConnectionId(ConnectionId),
    SessionId(SessionId),
    ConsumerId(ConsumerId),
    ProducerId(ProducerId),
    BrokerId(BrokerId),
}

impl Object {
    /// The name of the type, as in ActiveMQ.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DiscoveryEvent(_) => "DiscoveryEvent",
            Self::JournalTopicAck(_) => "JournalTopicAck",
            Self::JournalQueueAck(_) => "JournalQueueAck",
            Self::JournalTrace(_) => "JournalTrace",
            Self::JournalTransaction(_) => "JournalTransaction",
            Self::SubscriptionInfo(_) => "SubscriptionInfo",
            Self::PartialCommand(part) if part.last => "LastPartialCommand",
            Self::PartialCommand(_) => "PartialCommand",
            Self::NetworkBridgeFilter(_) => "NetworkBridgeFilter",
            Self::Destination(_) => "ActiveMQDestination",
            Self::MessageId(_) => "MessageId",
            Self::TransactionId(_) => "TransactionId",
            Self::ConnectionId(_) => "ConnectionId",
            Self::SessionId(_) => "SessionId",
            Self::ConsumerId(_) => "ConsumerId",
            Self::ProducerId(_) => "ProducerId",
            Self::BrokerId(_) => "BrokerId",
        }
    }
}

/// `WireFormatInfo`: which version and options a side offers; see `negotiation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireFormatInfo {
    /// "ActiveMQ".
    pub magic: [u8; 8],
    pub version: i32,
    /// A primitive map of options.
    pub properties: Option<Bytes>,
}

/// `SessionInfo`: opens a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub session_id: Option<SessionId>,
}

/// `TransactionInfo`: begins, ends or recovers transactions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransactionInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub connection_id: Option<ConnectionId>,
    pub transaction_id: Option<TransactionId>,
    /// 0 begin, 1 prepare, 2 commit in one phase, 3 commit in two phases, 4 rollback, 5 recover,
    /// 6 forget, 7 end.
    pub kind: i8,
}

/// `KeepAliveInfo`: shows that the sender is alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeepAliveInfo {
    pub command_id: i32,
    pub response_required: bool,
}

/// `ShutdownInfo`: announces the end of the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShutdownInfo {
    pub command_id: i32,
    pub response_required: bool,
}

/// `ControlCommand`: unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlCommand {
    pub command_id: i32,
    pub response_required: bool,
    pub command: Option<Text>,
}

/// `FlushCommand`: unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlushCommand {
    pub command_id: i32,
    pub response_required: bool,
}

/// `ConnectionError`: reports what went wrong with a command nobody waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionError {
    pub command_id: i32,
    pub response_required: bool,
    pub exception: Option<Throwable>,
    pub connection_id: Option<ConnectionId>,
}

/// `ConsumerControl`: changes a consumer's prefetch, or closes the consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerControl {
    pub command_id: i32,
    pub response_required: bool,
    pub destination: Option<Destination>,
    pub close: bool,
    pub consumer_id: Option<ConsumerId>,
    pub prefetch: i32,
    pub flush: bool,
    pub start: bool,
    pub stop: bool,
}

/// `ConnectionControl`: tells clients of the cluster, or the broker of failover.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionControl {
    pub command_id: i32,
    pub response_required: bool,
    pub close: bool,
    pub exit: bool,
    pub fault_tolerant: bool,
    pub resume: bool,
    pub suspend: bool,
    /// Comma separated URIs.
    pub connected_brokers: Option<Text>,
    pub reconnect_to: Option<Text>,
    pub rebalance_connection: bool,
    pub token: Option<Bytes>,
}

/// `ProducerAck`: opens a producer's window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProducerAck {
    pub command_id: i32,
    pub response_required: bool,
    pub producer_id: Option<ProducerId>,
    /// Bytes, as `Message::size` counts them.
    pub size: i32,
}

/// `MessageDispatch`: hands a message to a consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageDispatch {
    pub command_id: i32,
    pub response_required: bool,
    pub consumer_id: Option<ConsumerId>,
    pub destination: Option<Destination>,
    /// Null: the end of a browse, or an empty answer to a pull.
    pub message: Option<Box<Message>>,
    /// Earlier deliveries.
    pub redelivery_counter: i32,
}

/// `MessageDispatchNotification`: tells a slave what was dispatched; unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageDispatchNotification {
    pub command_id: i32,
    pub response_required: bool,
    pub consumer_id: Option<ConsumerId>,
    pub destination: Option<Destination>,
    pub delivery_sequence_id: i64,
    pub message_id: Option<MessageId>,
}

/// `Response`: done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub command_id: i32,
    pub response_required: bool,
    pub correlation_id: i32,
}

/// `ExceptionResponse`: failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExceptionResponse {
    pub command_id: i32,
    pub response_required: bool,
    pub correlation_id: i32,
    pub exception: Option<Throwable>,
}

/// `DataResponse`: done, with an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataResponse {
    pub command_id: i32,
    pub response_required: bool,
    pub correlation_id: i32,
    pub data: Option<Box<Command>>,
}

/// `DataArrayResponse`: done, with objects: the prepared transactions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataArrayResponse {
    pub command_id: i32,
    pub response_required: bool,
    pub correlation_id: i32,
    pub data: Array<Box<Command>>,
}

/// `IntegerResponse`: done, with a number: the vote of a prepared transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerResponse {
    pub command_id: i32,
    pub response_required: bool,
    pub correlation_id: i32,
    pub result: i32,
}

/// `ReplayCommand`: asks for lost datagrams; unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplayCommand {
    pub command_id: i32,
    pub response_required: bool,
    pub first_nak_number: i32,
    pub last_nak_number: i32,
}

/// `BrokerSubscriptionInfo`: a broker's durable subscriptions, for bridges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSubscriptionInfo {
    pub command_id: i32,
    pub response_required: bool,
    pub broker_id: Option<BrokerId>,
    pub broker_name: Option<Text>,
    pub subscription_infos: Array<Box<ConsumerInfo>>,
}

/// `DiscoveryEvent`: unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryEvent {
    pub service_name: Option<Text>,
    pub broker_name: Option<Text>,
}

/// `JournalTopicAck`: of ActiveMQ's old journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalTopicAck {
    pub destination: Option<Destination>,
    pub message_id: Option<MessageId>,
    pub message_sequence_id: i64,
    pub subscription_name: Option<Text>,
    pub client_id: Option<Text>,
    pub transaction_id: Option<TransactionId>,
}

/// `JournalQueueAck`: of ActiveMQ's old journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalQueueAck {
    pub destination: Option<Destination>,
    pub message_ack: Option<MessageAck>,
}

/// `JournalTrace`: of ActiveMQ's old journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalTrace {
    pub message: Option<Text>,
}

/// `JournalTransaction`: of ActiveMQ's old journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalTransaction {
    pub transaction_id: Option<TransactionId>,
    pub kind: i8,
    pub was_prepared: bool,
}

/// `SubscriptionInfo`: a durable subscription, as stores keep it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscriptionInfo {
    pub client_id: Option<Text>,
    pub destination: Option<Destination>,
    pub selector: Option<Text>,
    pub subscription_name: Option<Text>,
    pub subscribed_destination: Option<Destination>,
    pub no_local: bool,
}

/// `PartialCommand`: a piece of a command in a datagram; unused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialCommand {
    pub command_id: i32,
    pub data: Option<Bytes>,
    /// Whether it is a `LastPartialCommand`.
    pub last: bool,
}
