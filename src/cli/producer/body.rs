//! What the messages of `broker producer` say.

use crate::cli::traffic::TrafficError;
use crate::client::{bytes_message, text_message};
use crate::jms::Message;
use std::fs;
use std::path::Path;

/// The options that choose a body.
#[derive(Debug, clap::Args)]
#[command(rename_all = "camelCase")]
#[group(id = "bodyChoice", multiple = false)]
pub(super) struct Choice {
    /// The text of each message
    #[arg(long, value_name = "TEXT", alias = "payload", allow_hyphen_values = true)]
    message: Option<String>,
    /// A file with the body of each message: a path or a file: URL. Text if it is UTF-8, else bytes
    #[arg(long, value_name = "FILE")]
    payload_url: Option<String>,
    /// Messages of so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=SIZE_MAX))]
    message_size: Option<u32>,
    /// Messages with so many characters of text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=SIZE_MAX))]
    text_message_size: Option<u32>,
}

/// Java counts sizes in 31 bits.
const SIZE_MAX: i64 = i32::MAX as i64;

/// The body of all messages.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Each says its number.
    Numbered,
    Same(Box<Message>),
}

impl Choice {
    /// Makes the body.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn load(&self) -> Result<Body, TrafficError> {
        let same = |message| Ok(Body::Same(Box::new(message)));
        if let Some(text) = &self.message {
            return same(text_message(text));
        }
        if let Some(url) = &self.payload_url {
            return same(read(url)?);
        }
        match (self.message_size, self.text_message_size) {
            (Some(bytes), _) if bytes > 0 => same(bytes_message(vec![b'.'; bytes as usize])),
            (_, Some(characters)) if characters > 0 => {
                let text: String = LOREM_IPSUM.chars().cycle().take(characters as usize).collect();
                same(text_message(&text))
            }
            _ => Ok(Body::Numbered),
        }
    }
}

impl Body {
    /// Message `number`, counted from 0.
    pub(super) fn message(&self, number: u64) -> Message {
        match self {
            Self::Numbered => text_message(&format!("test message: {number}")),
            Self::Same(message) => Message::clone(message),
        }
    }
}

fn read(url: &str) -> Result<Message, TrafficError> {
    let path = match url.split_once(':') {
        Some(("file", path)) => path.strip_prefix("//").unwrap_or(path),
        Some((scheme, rest)) if rest.starts_with("//") && !scheme.contains('/') => {
            return Err(TrafficError::PayloadScheme { url: url.to_owned() });
        }
        _ => url,
    };
    let content = fs::read(Path::new(path))
        .map_err(|source| TrafficError::Payload { what: format!("'{path}'"), source })?;
    Ok(match String::from_utf8(content) {
        Ok(text) => text_message(&text),
        Err(other) => bytes_message(other.into_bytes()),
    })
}

/// Filler as printers have used it for ages.
const LOREM_IPSUM: &str = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod \
tempor incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation \
ullamco laboris nisi ut aliquip ex ea commodo consequat. Duis aute irure dolor in reprehenderit in \
voluptate velit esse cillum dolore eu fugiat nulla pariatur. Excepteur sint occaecat cupidatat non \
proident, sunt in culpa qui officia deserunt mollit anim id est laborum. ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::body_text;
    use crate::jms::BodyKind;

    fn choice() -> Choice {
        Choice { message: None, payload_url: None, message_size: None, text_message_size: None }
    }

    fn text(choice: &Choice, number: u64) -> Option<String> {
        body_text(&choice.load().unwrap().message(number))
    }

    #[test]
    fn each_message_says_its_number_unless_told_otherwise() {
        assert_eq!(text(&choice(), 7).as_deref(), Some("test message: 7"));
        let zero = Choice { message_size: Some(0), ..choice() };
        assert_eq!(text(&zero, 7).as_deref(), Some("test message: 7"));
        let told = Choice { message: Some("hello".to_owned()), ..choice() };
        assert_eq!(text(&told, 7).as_deref(), Some("hello"));
    }

    #[test]
    fn sizes_are_kept() {
        let long = Choice { text_message_size: Some(1000), ..choice() };
        assert_eq!(text(&long, 0).unwrap().len(), 1000);
        let bytes = Choice { message_size: Some(20), ..choice() }.load().unwrap().message(0);
        assert_eq!((bytes.kind, bytes.content.unwrap().len()), (BodyKind::Bytes, 20));
    }

    #[test]
    fn a_file_is_text_if_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        let load = |url: String| Choice { payload_url: Some(url), ..choice() }.load();
        fs::write(&path, "caf\u{e9}").unwrap();
        for url in [path.display().to_string(), format!("file:{}", path.display())] {
            assert_eq!(body_text(&load(url).unwrap().message(0)).unwrap(), "caf\u{e9}");
        }
        fs::write(&path, b"\xff\xfe").unwrap();
        let message = load(format!("file://{}", path.display())).unwrap().message(0);
        assert_eq!(message.content.as_deref(), Some(b"\xff\xfe".as_slice()));
        assert!(matches!(
            load("http://h/body".to_owned()),
            Err(TrafficError::PayloadScheme { .. })
        ));
        assert!(matches!(load("/nowhere/body".to_owned()), Err(TrafficError::Payload { .. })));
    }
}
