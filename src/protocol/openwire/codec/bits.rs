//! The boolean stream of a tight frame: one bit per flag, lowest bit of the first byte first.
//!
//! ```text
//! n < 64     byte n            | n bytes
//! n < 256    byte C0, byte n   | n bytes
//! otherwise  byte 80, int16 n  | n bytes       (n <= 32767)
//! ```

use super::WireError;

/// Takes flags out of a received stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    next: usize,
}

/// Collects the flags of a frame to send.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Flags used of the last byte; 0 and 8 both mean a new byte is due.
    used: u8,
}

const FIELD: &str = "the boolean stream";

impl<'a> BitReader<'a> {
    /// Splits `input` into its boolean stream and what follows.
    pub(super) fn split_off(input: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (len, rest) = match input {
            [0xc0, n, rest @ ..] => (usize::from(*n), rest),
            [0x80, high, low, rest @ ..] => {
                let len = i16::from_be_bytes([*high, *low]);
                let negative = || WireError::NegativeLength { field: FIELD, len: len.into() };
                (usize::try_from(len).map_err(|_| negative())?, rest)
            }
            [] | [0xc0 | 0x80, ..] => {
                return Err(WireError::Truncated { field: FIELD, wanted: 3, left: input.len() });
            }
            [n, rest @ ..] => (usize::from(*n), rest),
        };
        let Some((bytes, rest)) = rest.split_at_checked(len) else {
            return Err(WireError::Truncated { field: FIELD, wanted: len, left: rest.len() });
        };
        Ok((Self { bytes, next: 0 }, rest))
    }

    /// The next flag, if there is one.
    pub(super) fn next(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.next / 8)?;
        let bit = byte >> (self.next % 8) & 1;
        self.next += 1;
        Some(bit == 1)
    }
}

impl BitWriter {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.used = 0;
    }

    pub(super) fn push(&mut self, flag: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
            self.used = 0;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(flag) << self.used;
        }
        self.used += 1;
    }

    /// Appends length and flags.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let len = self.bytes.len();
        match len {
            0..64 => out.push(len as u8),
            64..256 => out.extend([0xc0, len as u8]),
            256..=0x7fff => {
                out.push(0x80);
                out.extend((len as u16).to_be_bytes());
            }
            _ => return Err(WireError::TooLong { field: FIELD, len }),
        }
        out.extend_from_slice(&self.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_inverts_writing(flags in prop::collection::vec(any::<bool>(), 0..4000)) {
            let mut writer = BitWriter::default();
            flags.iter().for_each(|&flag| writer.push(flag));
            let mut bytes = Vec::new();
            writer.write(&mut bytes).unwrap();
            bytes.push(7);
            let (mut reader, rest) = BitReader::split_off(&bytes).unwrap();
            prop_assert_eq!(rest, [7]);
            for flag in flags {
                prop_assert_eq!(reader.next(), Some(flag));
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            drop(BitReader::split_off(&bytes));
        }
    }

    #[test]
    fn more_flags_than_a_stream_holds_are_refused() {
        let mut writer = BitWriter::default();
        (0..0x8000 * 8).for_each(|_| writer.push(true));
        assert!(writer.write(&mut Vec::new()).is_err());
    }
}
