//! The form in which stores keep messages: OpenWire version 12, loose, without cache and without a size.

use super::codec::{decode_object, encode_stored_message};
use super::command::Command;
use crate::jms::Message;
use crate::store::MessageForm;
use bytes::{Bytes, BytesMut};

/// Messages as the store has them; the same bytes in the journal, a database and on the wire.
pub const MESSAGE_FORM: MessageForm = MessageForm { version: 12, encode, decode };

fn encode(message: &Message, out: &mut BytesMut) {
    match encode_stored_message(message) {
        Ok(bytes) => out.extend_from_slice(&bytes),
        // It came in a frame or was made here, so each of its fields can be written.
        Err(error) => tracing::error!(%error, "a message cannot be written in the stored form"),
    }
}

fn decode(bytes: Bytes) -> Option<Message> {
    match decode_object(&bytes) {
        Ok(Command::Message(message)) => Some(std::sync::Arc::unwrap_or_clone(message)),
        _ => None,
    }
}
