//! The form in which stores keep messages: OpenWire version 12, loose, without cache and without a size.

use super::codec::{decode_object, encode_stored_message};
use super::command::Command;
use crate::jms::Message;
use crate::store::MessageForm;
use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::sync::Arc;

/// Messages as the store has them; the same bytes in the journal, a database and on the wire.
pub const MESSAGE_FORM: MessageForm = MessageForm { version: 12, encode, decode };

fn encode(message: &Message, out: &mut Vec<u8>) {
    let mut buffer = WriteBuffer::from(std::mem::take(out));
    let start = buffer.mark();
    if let Err(error) = encode_stored_message(message, &mut buffer) {
        // It came in a frame or was made here, so each of its fields can be written.
        tracing::error!(%error, "a message cannot be written in the stored form");
        buffer.roll_back(start); // whole or not at all
    }
    *out = buffer.into_vec();
}

fn decode(bytes: Bytes) -> Option<Arc<Message>> {
    match decode_object(&bytes) {
        Ok(Command::Message(message)) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_its_large_body_is_not_copied() {
        for size in [0, 100, 64 << 10] {
            let content = Some(Bytes::from(vec![7; size]));
            let message = Message { content, priority: 4, ..Message::default() };
            let mut stored = b"before".to_vec();
            encode(&message, &mut stored);
            let mut stored = Bytes::from(stored);
            assert_eq!(stored.split_to(6), "before");
            let back = decode(stored.clone()).unwrap();
            assert_eq!(*back, message);
            let body = back.content.as_ref().unwrap().as_ptr_range();
            let is_slice = stored.as_ptr_range().contains(&body.start);
            assert_eq!(is_slice, size > 16 << 10);
        }
    }
}
