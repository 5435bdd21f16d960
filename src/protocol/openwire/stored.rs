//! The form in which stores keep messages: OpenWire version 12, loose, without cache and without a size.

use super::codec::{decode_object, encode_stored_message};
use super::command::Command;
use crate::jms::Message;
use crate::store::MessageForm;
use crate::transport::WriteBuffer;
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::sync::Arc;

/// Messages as the store has them; the same bytes in the journal, a database and on the wire.
pub const MESSAGE_FORM: MessageForm = MessageForm { version: 12, encode, decode };

thread_local! {
    /// Where a message is put together: it goes into the caller's bytes whole or not at all.
    static SCRATCH: RefCell<WriteBuffer> = RefCell::default();
}

fn encode(message: &Message, out: &mut BytesMut) {
    SCRATCH.with_borrow_mut(|scratch| {
        match encode_stored_message(message, scratch) {
            Ok(()) => scratch.pieces().for_each(|piece| out.extend_from_slice(piece)),
            // It came in a frame or was made here, so each of its fields can be written.
            Err(error) => {
                tracing::error!(%error, "a message cannot be written in the stored form");
            }
        }
        scratch.clear();
    });
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
            let mut stored = BytesMut::from("before".as_bytes());
            encode(&message, &mut stored);
            assert_eq!(stored.split_to(6), "before");
            let stored = stored.freeze();
            let back = decode(stored.clone()).unwrap();
            assert_eq!(*back, message);
            let body = back.content.as_ref().unwrap().as_ptr_range();
            let is_slice = stored.as_ptr_range().contains(&body.start);
            assert_eq!(is_slice, size > 16 << 10);
        }
    }
}
