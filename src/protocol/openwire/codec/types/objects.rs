//! What is no command and has no place of its own.

use super::{Decode, Encode, Input, Output, WireError, wire};
use crate::jms::info::NetworkBridgeFilter;
use crate::protocol::openwire::command::{
    DiscoveryEvent, JournalQueueAck, JournalTopicAck, JournalTrace, JournalTransaction, Object,
    PartialCommand, SubscriptionInfo,
};

wire! { DiscoveryEvent = 40 => {
    service_name: string "serviceName",
    broker_name: string "brokerName",
} }

wire! { JournalTopicAck = 50 => {
    destination: nested "destination",
    message_id: nested "messageId",
    message_sequence_id: long "messageSequenceId",
    subscription_name: string "subscriptionName",
    client_id: string "clientId",
    transaction_id: nested "transactionId",
} }

wire! { JournalQueueAck = 52 => {
    destination: nested "destination",
    message_ack: nested "messageAck",
} }

wire! { JournalTrace = 53 => {
    message: string "message",
} }

wire! { JournalTransaction = 54 => {
    transaction_id: nested "transactionId",
    kind: byte "type",
    was_prepared: bool "wasPrepared",
} }

wire! { SubscriptionInfo = 55 => {
    client_id: string "clientId",
    destination: cached "destination",
    selector: string "selector",
    subscription_name: string "subscriptionName",
    subscribed_destination: nested "subscribedDestination" since 3,
    no_local: bool "noLocal" since 11,
} }

wire! { NetworkBridgeFilter = 91 => {
    network_ttl: int "networkTTL" until 9,
    network_broker_id: cached "networkBrokerId",
    message_ttl: int "messageTTL" since 10,
    consumer_ttl: int "consumerTTL" since 10,
} }

wire! { PartialCommand = (60 | 61, part, if part.last { 61 } else { 60 }) => {
    command_id: int "commandId",
    data: bytes "data",
} then (last, read_last, write_last) }

fn read_last<const TIGHT: bool>(code: u8, _: &mut Input<'_, TIGHT>) -> Result<bool, WireError> {
    Ok(code == 61)
}

fn write_last<const TIGHT: bool>(_: &bool, _: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
    Ok(())
}

macro_rules! any_object {
    ($($code:pat => $variant:ident,)* ; $last:ident) => {
        impl Decode for Object {
            fn decode<const TIGHT: bool>(
                code: u8,
                input: &mut Input<'_, TIGHT>,
                field: &'static str,
            ) -> Result<Self, WireError> {
                match code {
                    $($code => Decode::decode(code, input, field).map(Self::$variant),)*
                    _ => Decode::decode(code, input, field).map(Self::$last),
                }
            }
        }

        impl Encode for Object {
            fn code(&self) -> u8 {
                match self {
                    $(Self::$variant(object) => object.code(),)*
                    Self::$last(object) => object.code(),
                }
            }

            fn encode<const TIGHT: bool>(
                &self,
                out: &mut Output<'_, TIGHT>,
            ) -> Result<(), WireError> {
                match self {
                    $(Self::$variant(object) => object.encode(out),)*
                    Self::$last(object) => object.encode(out),
                }
            }
        }
    };
}

any_object! {
    40 => DiscoveryEvent,
    50 => JournalTopicAck,
    52 => JournalQueueAck,
    53 => JournalTrace,
    54 => JournalTransaction,
    55 => SubscriptionInfo,
    60 | 61 => PartialCommand,
    91 => NetworkBridgeFilter,
    100..=103 => Destination,
    110 => MessageId,
    111 | 112 => TransactionId,
    120 => ConnectionId,
    121 => SessionId,
    122 => ConsumerId,
    123 => ProducerId,
    ; BrokerId
}
