//! Messages as an application makes and reads them.

use super::ClientError;
use crate::jms::properties::{self, PropertyValue};
use crate::jms::{BodyKind, Message, mutf8};
use bytes::Bytes;
use std::borrow::Cow;

/// JMS's priority of a message that asks for none.
const PRIORITY: i8 = 4;

/// A persistent text message.
pub fn text_message(text: &str) -> Message {
    let mut content = vec![0; 4];
    mutf8::encode(text, &mut content);
    // Longer text than a frame can hold fails when it is sent.
    let len = u32::try_from(content.len() - 4).unwrap_or(u32::MAX);
    content[..4].copy_from_slice(&len.to_be_bytes());
    new(BodyKind::Text, Some(content.into()))
}

/// A persistent message with a body of bytes.
pub fn bytes_message(content: impl Into<Bytes>) -> Message {
    new(BodyKind::Bytes, Some(content.into()))
}

fn new(kind: BodyKind, content: Option<Bytes>) -> Message {
    Message { kind, content, persistent: true, priority: PRIORITY, ..Message::default() }
}

/// Sets a property of `message`.
///
/// # Errors
/// When the value is too long to be encoded, or the message has properties that are malformed.
pub fn set_property(
    message: &mut Message,
    name: &str,
    value: &PropertyValue,
) -> Result<(), ClientError> {
    message.properties = Some(properties::set(message.properties.as_deref(), name, value)?);
    Ok(())
}

/// The text of an uncompressed text message; none for other messages and malformed bodies.
pub fn body_text(message: &Message) -> Option<String> {
    message.text().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_whatever_characters_it_has() {
        for text in ["", "plain", "\0 \u{e9} \u{20ac} \u{1f600}"] {
            assert_eq!(body_text(&text_message(text)).as_deref(), Some(text));
        }
        assert_eq!(text_message("one").content.as_deref(), Some(b"\0\0\0\x03one".as_slice()));
    }

    #[test]
    fn what_is_no_text_has_none() {
        assert_eq!(body_text(&bytes_message("abc")), None);
        let cut =
            Message { content: Some(Bytes::from_static(b"\0\0\0\x09abc")), ..text_message("") };
        assert_eq!(body_text(&cut), None);
    }

    #[test]
    fn properties_add_up() {
        let mut message = text_message("");
        set_property(&mut message, "a", &PropertyValue::Int(1)).unwrap();
        set_property(&mut message, "b", &PropertyValue::Bool(true)).unwrap();
        set_property(&mut message, "a", &PropertyValue::Int(2)).unwrap();
        let map = properties::PropertyMap::decode(&message.properties.unwrap()).unwrap();
        assert_eq!((map.len(), map.get("a")), (2, Some(&PropertyValue::Int(2))));
    }
}
