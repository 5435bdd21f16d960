//! `MessageDispatch`, and how one is written from a message that many share.

use super::wire;
use crate::jms::{ConsumerId, Destination, Message, MessageId};
use crate::protocol::openwire::command::MessageDispatch;
use std::ops::Deref;

wire! { MessageDispatch = 21, also DispatchView<'_> => command {
    consumer_id: cached "consumerId",
    destination: cached "destination",
    message: nested "message",
    redelivery_counter: int "redeliveryCounter",
} }

/// A dispatch of a shared message: what differs per delivery stands here and goes out in place of
/// the message's own fields.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'a> {
    pub consumer_id: &'a ConsumerId,
    /// The queue or topic the message is dispatched from; null together with the message.
    pub destination: Option<&'a Destination>,
    /// Null: the end of a browse, or an empty answer to a pull.
    pub message: Option<&'a Message>,
    pub broker_sequence: i64,
    /// Earlier deliveries.
    pub redelivery_counter: i32,
    /// ms since the epoch.
    pub broker_out_time: i64,
    /// Whether the message is the first of its group for the consumer.
    pub group_first: bool,
}

/// The fields of a [`MessageDispatch`] as they are written for a [`Dispatch`].
pub(in super::super) struct DispatchView<'a> {
    command_id: i32,
    response_required: bool,
    consumer_id: Option<&'a ConsumerId>,
    destination: Option<&'a Destination>,
    message: Option<MessageView<'a>>,
    redelivery_counter: i32,
}

/// A message with the fields of one delivery in front of its own.
pub(super) struct MessageView<'a> {
    message: &'a Message,
    pub(super) destination: Option<&'a Destination>,
    pub(super) message_id: Option<MessageIdView<'a>>,
    pub(super) redelivery_counter: i32,
    pub(super) broker_out_time: i64,
    pub(super) group_first_for_consumer: bool,
}

/// A message id with another broker sequence in front of its own.
pub(super) struct MessageIdView<'a> {
    id: &'a MessageId,
    pub(super) broker_sequence: i64,
}

impl<'a> From<&Dispatch<'a>> for DispatchView<'a> {
    fn from(dispatch: &Dispatch<'a>) -> Self {
        let view = |message: &'a Message| MessageView {
            message,
            // Copies for queues of a virtual topic may name the topic.
            destination: message.destination.as_ref().or(dispatch.destination),
            message_id: message
                .message_id
                .as_ref()
                .map(|id| MessageIdView { id, broker_sequence: dispatch.broker_sequence }),
            redelivery_counter: dispatch.redelivery_counter,
            broker_out_time: dispatch.broker_out_time,
            group_first_for_consumer: dispatch.group_first,
        };
        Self {
            command_id: 0,
            response_required: false,
            consumer_id: Some(dispatch.consumer_id),
            destination: dispatch.destination,
            message: dispatch.message.map(view),
            redelivery_counter: dispatch.redelivery_counter,
        }
    }
}

impl Deref for MessageView<'_> {
    type Target = Message;

    fn deref(&self) -> &Message {
        self.message
    }
}

impl Deref for MessageIdView<'_> {
    type Target = MessageId;

    fn deref(&self) -> &MessageId {
        self.id
    }
}
