//! Ids, destinations and transactions.

use super::{Decode, Encode, Input, Output, WireError, wire, wrong_type};
use crate::jms::info::ObjectId;
use crate::jms::{
    BrokerId, ConnectionId, ConsumerId, Destination, DestinationKind, ProducerId, SessionId,
    TransactionId, XaId,
};

wire! { BrokerId = 124 => {
    value: string "value",
} }

wire! { ConnectionId = 120 => {
    value: string "value",
} }

wire! { SessionId = 121 => {
    connection: string "connectionId",
    value: long "value",
} }

wire! { ConsumerId = 122 => {
    connection: string "connectionId",
    session: long "sessionId",
    value: long "value",
} }

wire! { ProducerId = 123 => {
    connection: string "connectionId",
    value: long "value",
    session: long "sessionId",
} }

/// The types `ActiveMQQueue`, `ActiveMQTopic`, `ActiveMQTempQueue` and `ActiveMQTempTopic`.
impl Decode for Destination {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        let kind = match code {
            100 => DestinationKind::Queue,
            101 => DestinationKind::Topic,
            102 => DestinationKind::TempQueue,
            103 => DestinationKind::TempTopic,
            _ => return Err(wrong_type(code, field)),
        };
        Ok(Self::new(kind, input.string("ActiveMQDestination.physicalName")?))
    }
}

impl Encode for Destination {
    fn code(&self) -> u8 {
        match self.kind() {
            DestinationKind::Queue => 100,
            DestinationKind::Topic => 101,
            DestinationKind::TempQueue => 102,
            DestinationKind::TempTopic => 103,
        }
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        out.text(self.name_text().map(|name| &**name), "ActiveMQDestination.physicalName")
    }
}

wire! { XaId = 112 => {
    format_id: int "formatId",
    global_transaction_id: bytes "globalTransactionId",
    branch_qualifier: bytes "branchQualifier",
} }

/// `LocalTransactionId` and `XATransactionId`.
impl Decode for TransactionId {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        if code != 111 {
            return XaId::decode(code, input, field).map(|id| Self::Xa(id.into()));
        }
        let value = input.long("LocalTransactionId.value")?;
        let connection = input.cached("LocalTransactionId.connectionId")?;
        Ok(Self::Local { value, connection })
    }
}

impl Encode for TransactionId {
    fn code(&self) -> u8 {
        match self {
            Self::Local { .. } => 111,
            Self::Xa(id) => id.code(),
        }
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        match self {
            Self::Local { value, connection } => {
                out.long(value, "LocalTransactionId.value")?;
                out.cached(connection, "LocalTransactionId.connectionId")
            }
            Self::Xa(id) => id.encode(out),
        }
    }
}

impl Decode for ObjectId {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        match code {
            120 => ConnectionId::decode(code, input, field).map(Self::Connection),
            121 => SessionId::decode(code, input, field).map(Self::Session),
            122 => ConsumerId::decode(code, input, field).map(Self::Consumer),
            123 => ProducerId::decode(code, input, field).map(Self::Producer),
            _ => BrokerId::decode(code, input, field).map(Self::Broker),
        }
    }
}

impl Encode for ObjectId {
    fn code(&self) -> u8 {
        match self {
            Self::Connection(id) => id.code(),
            Self::Session(id) => id.code(),
            Self::Consumer(id) => id.code(),
            Self::Producer(id) => id.code(),
            Self::Broker(id) => id.code(),
        }
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        match self {
            Self::Connection(id) => id.encode(out),
            Self::Session(id) => id.encode(out),
            Self::Consumer(id) => id.encode(out),
            Self::Producer(id) => id.encode(out),
            Self::Broker(id) => id.encode(out),
        }
    }
}
