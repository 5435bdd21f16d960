//! Messages of all kinds, and their ids.

use super::dispatch::{MessageIdView, MessageView};
use super::{Input, Output, WireError, wire};
use crate::jms::message::Blob;
use crate::jms::{BodyKind, Message, MessageId};

wire! { Message = (23..=29, message, kind_code(&message.kind)), also MessageView<'_> => command {
    producer_id: cached "producerId",
    destination: cached "destination",
    transaction_id: cached "transactionId",
    original_destination: cached "originalDestination",
    message_id: nested "messageId",
    original_transaction_id: cached "originalTransactionId",
    group_id: string "groupID",
    group_sequence: int "groupSequence",
    correlation_id: string "correlationId",
    persistent: bool "persistent",
    expiration: long "expiration",
    priority: byte "priority",
    reply_to: nested "replyTo",
    timestamp: long "timestamp",
    jms_type: string "type",
    content: bytes "content",
    properties: bytes "marshalledProperties",
    described: nested "dataStructure",
    target_consumer_id: cached "targetConsumerId",
    compressed: bool "compressed",
    redelivery_counter: int "redeliveryCounter",
    broker_path: objects "brokerPath",
    arrival: long "arrival",
    user_id: string "userID",
    received_by_df_bridge: bool "receivedByDFBridge",
    droppable: bool "droppable" since 2,
    cluster: objects "cluster" since 3,
    broker_in_time: long "brokerInTime" since 3,
    broker_out_time: long "brokerOutTime" since 3,
    group_first_for_consumer: bool "jmsxGroupFirstForConsumer" since 10,
} then (kind, read_kind, write_kind) }

wire! { MessageId = 110, also MessageIdView<'_> => {
    text_view: string "textView" since 10,
    producer: cached "producerId",
    producer_sequence: long "producerSequenceId",
    broker_sequence: long "brokerSequenceId",
} }

fn kind_code(kind: &BodyKind) -> u8 {
    match kind {
        BodyKind::Message => 23,
        BodyKind::Bytes => 24,
        BodyKind::Map => 25,
        BodyKind::Object => 26,
        BodyKind::Stream => 27,
        BodyKind::Text => 28,
        BodyKind::Blob(_) => 29,
    }
}

/// A blob message has three fields more than the others.
fn read_kind<const TIGHT: bool>(
    code: u8,
    input: &mut Input<'_, TIGHT>,
) -> Result<BodyKind, WireError> {
    Ok(match code {
        24 => BodyKind::Bytes,
        25 => BodyKind::Map,
        26 => BodyKind::Object,
        27 => BodyKind::Stream,
        28 => BodyKind::Text,
        29 => {
            input.format().has_type(code, BLOB_SINCE)?;
            BodyKind::Blob(Box::new(Blob {
                remote_url: input.string("ActiveMQBlobMessage.remoteBlobUrl")?,
                mime_type: input.string("ActiveMQBlobMessage.mimeType")?,
                deleted_by_broker: input.bool("ActiveMQBlobMessage.deletedByBroker")?,
            }))
        }
        _ => BodyKind::Message,
    })
}

fn write_kind<const TIGHT: bool>(
    kind: &BodyKind,
    out: &mut Output<'_, TIGHT>,
) -> Result<(), WireError> {
    let BodyKind::Blob(blob) = kind else { return Ok(()) };
    out.format().has_type(kind_code(kind), BLOB_SINCE)?;
    out.string(&blob.remote_url, "ActiveMQBlobMessage.remoteBlobUrl")?;
    out.string(&blob.mime_type, "ActiveMQBlobMessage.mimeType")?;
    out.bool(&blob.deleted_by_broker, "ActiveMQBlobMessage.deletedByBroker")
}

const BLOB_SINCE: i32 = 3;
