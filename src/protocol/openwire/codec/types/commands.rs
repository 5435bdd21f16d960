//! The commands, but for messages.

use super::{Decode, Encode, Input, Output, WireError, wire};
use crate::jms::info::{
    BrokerInfo, ConnectionInfo, ConsumerInfo, DestinationInfo, ProducerInfo, RemoveInfo,
    RemoveSubscriptionInfo,
};
use crate::jms::{MessageAck, MessagePull};
use crate::protocol::openwire::command::*;

wire! { WireFormatInfo = 1 => {
    magic: constant "magic",
    version: int "version",
    properties: bytes "marshalledProperties",
} }

wire! { BrokerInfo = 2 => command {
    broker_id: cached "brokerId",
    broker_url: string "brokerURL",
    peer_broker_infos: objects "peerBrokerInfos",
    broker_name: string "brokerName",
    slave_broker: bool "slaveBroker",
    master_broker: bool "masterBroker",
    fault_tolerant_configuration: bool "faultTolerantConfiguration",
    duplex_connection: bool "duplexConnection" since 2,
    network_connection: bool "networkConnection" since 2,
    connection_id: long "connectionId" since 2,
    broker_upload_url: string "brokerUploadUrl" since 3,
    network_properties: string "networkProperties" since 3,
} }

wire! { ConnectionInfo = 3 => command {
    connection_id: cached "connectionId",
    client_id: string "clientId",
    password: string "password",
    user_name: string "userName",
    broker_path: objects "brokerPath",
    broker_master_connector: bool "brokerMasterConnector",
    manageable: bool "manageable",
    client_master: bool "clientMaster" since 2 or true,
    fault_tolerant: bool "faultTolerant" since 6,
    failover_reconnect: bool "failoverReconnect" since 6,
    client_ip: string "clientIp" since 8,
} }

wire! { SessionInfo = 4 => command {
    session_id: cached "sessionId",
} }

wire! { ConsumerInfo = 5 => command {
    consumer_id: cached "consumerId",
    browser: bool "browser",
    destination: cached "destination",
    prefetch_size: int "prefetchSize",
    maximum_pending_message_limit: int "maximumPendingMessageLimit",
    dispatch_async: bool "dispatchAsync",
    selector: string "selector",
    client_id: string "clientId" since 10,
    subscription_name: string "subscriptionName",
    no_local: bool "noLocal",
    exclusive: bool "exclusive",
    retroactive: bool "retroactive",
    priority: byte "priority",
    broker_path: objects "brokerPath",
    additional_predicate: nested "additionalPredicate",
    network_subscription: bool "networkSubscription",
    optimized_acknowledge: bool "optimizedAcknowledge",
    no_range_acks: bool "noRangeAcks",
    network_consumer_path: objects "networkConsumerPath" since 4,
} }

wire! { ProducerInfo = 6 => command {
    producer_id: cached "producerId",
    destination: cached "destination",
    broker_path: objects "brokerPath",
    dispatch_async: bool "dispatchAsync" since 2,
    window_size: int "windowSize" since 3,
} }

wire! { TransactionInfo = 7 => command {
    connection_id: cached "connectionId",
    transaction_id: cached "transactionId",
    kind: byte "type",
} }

wire! { DestinationInfo = 8 => command {
    connection_id: cached "connectionId",
    destination: cached "destination",
    operation_type: byte "operationType",
    timeout: long "timeout",
    broker_path: objects "brokerPath",
} }

wire! { RemoveSubscriptionInfo = 9 => command {
    connection_id: cached "connectionId",
    subscription_name: string "subscriptionName",
    client_id: string "clientId",
} }

wire! { KeepAliveInfo = 10 => command {} }

wire! { ShutdownInfo = 11 => command {} }

wire! { RemoveInfo = 12 => command {
    object_id: cached "objectId",
    last_delivered_sequence_id: long "lastDeliveredSequenceId" since 5 or -2,
} }

wire! { ControlCommand = 14 => command {
    command: string "command",
} }

wire! { FlushCommand = 15 => command {} }

wire! { ConnectionError = 16 => command {
    exception: throwable "exception",
    connection_id: nested "connectionId",
} }

wire! { ConsumerControl = 17 => command {
    destination: nested "destination" since 6,
    close: bool "close",
    consumer_id: nested "consumerId",
    prefetch: int "prefetch",
    flush: bool "flush" since 2,
    start: bool "start" since 2,
    stop: bool "stop" since 2,
} }

wire! { ConnectionControl = 18 => command {
    close: bool "close",
    exit: bool "exit",
    fault_tolerant: bool "faultTolerant",
    resume: bool "resume",
    suspend: bool "suspend",
    connected_brokers: string "connectedBrokers" since 6,
    reconnect_to: string "reconnectTo" since 6,
    rebalance_connection: bool "rebalanceConnection" since 6,
    token: bytes "token" since 8,
} }

wire! { ProducerAck = 19, since 3 => command {
    producer_id: nested "producerId",
    size: int "size",
} }

wire! { MessagePull = 20, since 2 => command {
    consumer_id: cached "consumerId",
    destination: cached "destination",
    timeout: long "timeout",
    correlation_id: string "correlationId" since 3,
    message_id: nested "messageId" since 3,
} }

wire! { MessageAck = 22 => command {
    destination: cached "destination",
    transaction_id: cached "transactionId",
    consumer_id: cached "consumerId",
    ack_type: byte "ackType",
    first_message_id: nested "firstMessageId",
    last_message_id: nested "lastMessageId",
    message_count: int "messageCount",
    poison_cause: throwable "poisonCause" since 7,
} }

wire! { Response = 30 => command {
    correlation_id: int "correlationId",
} }

wire! { ExceptionResponse = 31 => command {
    correlation_id: int "correlationId",
    exception: throwable "exception",
} }

wire! { DataResponse = 32 => command {
    correlation_id: int "correlationId",
    data: nested "data",
} }

wire! { DataArrayResponse = 33 => command {
    correlation_id: int "correlationId",
    data: objects "data",
} }

wire! { IntegerResponse = 34 => command {
    correlation_id: int "correlationId",
    result: int "result",
} }

wire! { ReplayCommand = 65 => command {
    first_nak_number: int "firstNakNumber",
    last_nak_number: int "lastNakNumber",
} }

wire! { MessageDispatchNotification = 90 => command {
    consumer_id: cached "consumerId",
    destination: cached "destination",
    delivery_sequence_id: long "deliverySequenceId",
    message_id: nested "messageId",
} }

wire! { BrokerSubscriptionInfo = 92, since 12 => command {
    broker_id: nested "brokerId",
    broker_name: string "brokerName",
    subscription_infos: objects "subscriptionInfos",
} }

/// Reads and writes whatever stands behind a type code.
macro_rules! any_type {
    ($($code:pat => $variant:ident,)*) => {
        impl Decode for Command {
            fn decode<const TIGHT: bool>(
                code: u8,
                input: &mut Input<'_, TIGHT>,
                field: &'static str,
            ) -> Result<Self, WireError> {
                match code {
                    $($code => Decode::decode(code, input, field).map(Self::$variant),)*
                    _ => Decode::decode(code, input, field).map(Self::Object),
                }
            }
        }

        impl Encode for Command {
            fn code(&self) -> u8 {
                match self {
                    $(Self::$variant(command) => command.code(),)*
                    Self::Object(object) => object.code(),
                }
            }

            fn encode<const TIGHT: bool>(
                &self,
                out: &mut Output<'_, TIGHT>,
            ) -> Result<(), WireError> {
                match self {
                    $(Self::$variant(command) => command.encode(out),)*
                    Self::Object(object) => object.encode(out),
                }
            }
        }
    };
}

any_type! {
    1 => WireFormatInfo,
    2 => BrokerInfo,
    3 => ConnectionInfo,
    4 => SessionInfo,
    5 => ConsumerInfo,
    6 => ProducerInfo,
    7 => TransactionInfo,
    8 => DestinationInfo,
    9 => RemoveSubscriptionInfo,
    10 => KeepAliveInfo,
    11 => ShutdownInfo,
    12 => RemoveInfo,
    14 => ControlCommand,
    15 => FlushCommand,
    16 => ConnectionError,
    17 => ConsumerControl,
    18 => ConnectionControl,
    19 => ProducerAck,
    20 => MessagePull,
    21 => MessageDispatch,
    22 => MessageAck,
    23..=29 => Message,
    30 => Response,
    31 => ExceptionResponse,
    32 => DataResponse,
    33 => DataArrayResponse,
    34 => IntegerResponse,
    65 => ReplayCommand,
    90 => MessageDispatchNotification,
    92 => BrokerSubscriptionInfo,
}
