//! Java's modified UTF-8: UTF-16 code units, each written alone in one to three bytes.
//!
//! NUL is C0 80 and a character above U+FFFF is two surrogates of three bytes. Reading also takes
//! the standard four-byte form, which some clients write. A surrogate without its partner has no
//! place in a Rust string and reads as U+FFFD; the bytes of bodies and property maps, which nobody
//! decodes on the way, keep theirs.

use std::borrow::Cow;

/// Bytes that are not modified UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed modified UTF-8")]
pub struct MalformedText;

/// Reads text; borrows `bytes` unless they hold NULs or surrogates.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, MalformedText> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => Characters(bytes).collect::<Result<String, _>>().map(Cow::Owned),
    }
}

/// Whether `bytes` read as `text`; does not allocate.
pub fn matches(bytes: &[u8], text: &str) -> bool {
    if is_standard(text) {
        return bytes == text.as_bytes();
    }
    let mut wanted = text.chars();
    Characters(bytes).all(|c| c.is_ok() && c.ok() == wanted.next()) && wanted.next().is_none()
}

/// Bytes [`encode`] writes for `text`.
pub fn encoded_len(text: &str) -> usize {
    text.bytes().fold(text.len(), |len, b| len + usize::from(b == 0) + 2 * usize::from(b >= 0xf0))
}

/// Appends `text`.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    if is_standard(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        let mut units = [0; 2];
        for &unit in c.encode_utf16(&mut units).iter() {
            encode_unit(unit, out);
        }
    }
}

/// Whether every UTF-16 unit of `text` is in 0x01-0x7F, so that its bytes are its characters.
pub fn is_ascii_without_nul(text: &str) -> bool {
    text.bytes().fold(true, |plain, b| plain & (b.wrapping_sub(1) < 0x7f))
}

/// The length of `text` as Java counts it, in UTF-16 units.
pub fn utf16_len(text: &str) -> usize {
    text.bytes().fold(0, |len, b| len + usize::from(b & 0xc0 != 0x80) + usize::from(b >= 0xf0))
}

/// Whether modified and standard UTF-8 of `text` are the same.
fn is_standard(text: &str) -> bool {
    text.bytes().fold(true, |standard, b| standard & (b.wrapping_sub(1) < 0xef))
}

fn encode_unit(unit: u16, out: &mut Vec<u8>) {
    let continuation = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
    match unit {
        0x01..=0x7f => out.push(unit as u8),
        0 | 0x80..=0x7ff => out.extend([0xc0 | (unit >> 6) as u8, continuation(0)]),
        0x800.. => out.extend([0xe0 | (unit >> 12) as u8, continuation(6), continuation(0)]),
    }
}

/// The characters of modified UTF-8; ends after the first error.
struct Characters<'a>(&'a [u8]);

impl Iterator for Characters<'_> {
    type Item = Result<char, MalformedText>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((first, rest)) = code_unit(self.0) else {
            self.0 = &[];
            return Some(Err(MalformedText));
        };
        self.0 = rest;
        if (0xd800..0xdc00).contains(&first)
            && let Some((second @ 0xdc00..0xe000, rest)) = code_unit(self.0)
        {
            self.0 = rest;
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code).map(Ok);
        }
        Some(Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

/// The first code unit of `bytes`, or the character when it is in the standard four-byte form.
fn code_unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let (bits, more) = match first {
        0x00..=0x7f => (first, 0),
        0xc0..=0xdf => (first & 0x1f, 1),
        0xe0..=0xef => (first & 0x0f, 2),
        0xf0..=0xf4 => (first & 0x07, 3),
        _ => return None,
    };
    let mut code = u32::from(bits);
    for _ in 0..more {
        let (&next, after) = rest.split_first()?;
        if next & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(next & 0x3f);
        rest = after;
    }
    (more < 3 || (0x1_0000..0x11_0000).contains(&code)).then_some((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        out
    }

    #[test]
    fn nul_takes_two_bytes_and_an_emoji_two_surrogates() {
        assert_eq!(encoded("a\0\u{1f600}"), b"a\xc0\x80\xed\xa0\xbd\xed\xb8\x80");
        assert_eq!(decode(b"a\xc0\x80\xed\xa0\xbd\xed\xb8\x80").unwrap(), "a\0\u{1f600}");
    }

    #[test]
    fn the_standard_four_byte_form_is_read_too() {
        assert_eq!(decode("\u{1f600}".as_bytes()).unwrap(), "\u{1f600}");
        assert_eq!(decode(b"\xc0\x80\xf0\x9f\x98\x80").unwrap(), "\0\u{1f600}");
    }

    #[test]
    fn a_lone_surrogate_reads_as_the_replacement_character() {
        assert_eq!(decode(b"\xed\xa0\xbdx").unwrap(), "\u{fffd}x");
        assert_eq!(decode(b"\xed\xb8\x80").unwrap(), "\u{fffd}");
    }

    #[test]
    fn cut_and_stray_bytes_are_malformed() {
        for bytes in [&b"\xc3"[..], b"\x80", b"\xe4\xb8", b"\xff", b"\xc3\x41", b"\xf4\xbf\xbf\xbf"]
        {
            assert_eq!(decode(bytes), Err(MalformedText), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(text in any::<String>(), other in any::<String>()) {
            let bytes = encoded(&text);
            prop_assert_eq!(bytes.len(), encoded_len(&text));
            prop_assert_eq!(decode(&bytes).unwrap(), text.as_str());
            prop_assert!(matches(&bytes, &text));
            prop_assert_eq!(matches(&bytes, &other), text == other);
            prop_assert_eq!(utf16_len(&text), text.encode_utf16().count());
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
            drop(decode(&bytes));
        }
    }
}
