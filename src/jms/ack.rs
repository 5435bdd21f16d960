//! What a consumer says about messages it was given: acknowledgements, and pulls for more.

use super::{ConsumerId, Destination, MessageId, Text, Throwable, TransactionId};

/// What an acknowledgement says; the numbers are OpenWire's `ackType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// 0: handed to the application; opens the window, the messages stay in flight.
    Delivered,
    /// 1: given up by the consumer: to the dead letter queue.
    Poison,
    /// 2: a range is done.
    Standard,
    /// 3: rolled back in the client, which delivers it again itself.
    Redelivered,
    /// 4: only the last message of the range is done.
    Individual,
    /// 5: filtered out by the subscriber.
    Unmatched,
    /// 6: found expired by the consumer.
    Expired,
}

impl AckKind {
    /// OpenWire's number of this kind.
    pub fn code(self) -> i8 {
        match self {
            Self::Delivered => 0,
            Self::Poison => 1,
            Self::Standard => 2,
            Self::Redelivered => 3,
            Self::Individual => 4,
            Self::Unmatched => 5,
            Self::Expired => 6,
        }
    }

    /// The kind with OpenWire's number `code`.
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Delivered,
            1 => Self::Poison,
            2 => Self::Standard,
            3 => Self::Redelivered,
            4 => Self::Individual,
            5 => Self::Unmatched,
            6 => Self::Expired,
            _ => return None,
        })
    }
}

/// `MessageAck`: a range of one consumer's dispatched messages, in dispatch order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageAck {
    pub command_id: i32,
    pub response_required: bool,
    pub destination: Option<Destination>,
    pub transaction_id: Option<TransactionId>,
    pub consumer_id: Option<ConsumerId>,
    /// OpenWire's number; see [`AckKind::from_code`].
    pub ack_type: i8,
    /// First of the range; null: from the beginning of what is in flight.
    pub first_message_id: Option<MessageId>,
    pub last_message_id: Option<MessageId>,
    pub message_count: i32,
    pub poison_cause: Option<Throwable>,
}

/// `MessagePull`: a consumer with prefetch 0 asks for one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessagePull {
    pub command_id: i32,
    pub response_required: bool,
    pub consumer_id: Option<ConsumerId>,
    pub destination: Option<Destination>,
    /// ms to wait; 0 for ever, -1 not at all.
    pub timeout: i64,
    pub correlation_id: Option<Text>,
    pub message_id: Option<MessageId>,
}
