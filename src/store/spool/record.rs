//! One message in a segment.
//!
//! ```text
//! 0   u32  length of the message, bytes
//! 4   i64  sequence
//! 12  i32  redeliveries
//! 16  u32  CRC-32 of the message
//! 20  u32  CRC-32 of the seal and bytes 0 to 19
//! 24       message, as its form writes it
//! ```
//!
//! Little-endian. The head has a checksum of its own, so that a damaged message can be stepped over, and
//! the next head can be looked for when one is damaged itself. The seal keeps bytes of another channel or
//! run, or records inside of a message, from being taken for one.

use super::Spooled;
use crate::store::{MessageForm, StoreError};
use std::hash::{BuildHasher, RandomState};

/// Bytes before the message.
pub(super) const HEAD_BYTES: usize = 24;

/// Goes into the checksum of every head of a channel, and is written nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(u32);

impl Seal {
    pub(super) fn new(salt: u64, channel: u64) -> Self {
        Self(crc32fast::hash(&[salt.to_le_bytes(), channel.to_le_bytes()].concat()))
    }

    /// A salt that no sender of messages can know.
    pub(super) fn salt() -> u64 {
        RandomState::new().hash_one(0)
    }

    fn check(self, fields: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new_with_initial(self.0);
        crc.update(fields);
        crc.finalize()
    }
}

/// What is known of a message before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) sequence: i64,
    pub(super) redeliveries: i32,
    crc: u32,
}

impl Head {
    /// None if `bytes` are no head, or not one of the channel.
    pub(super) fn read(bytes: &[u8], seal: Seal) -> Option<Self> {
        let (fields, rest) = bytes.split_at_checked(HEAD_BYTES - 4)?;
        if *rest.first_chunk()? != seal.check(fields).to_le_bytes() {
            return None;
        }
        let (length, fields) = fields.split_first_chunk()?;
        let (sequence, fields) = fields.split_first_chunk()?;
        let (redeliveries, fields) = fields.split_first_chunk()?;
        Some(Self {
            length: u32::from_le_bytes(*length),
            sequence: i64::from_le_bytes(*sequence),
            redeliveries: i32::from_le_bytes(*redeliveries),
            crc: u32::from_le_bytes(*fields.first_chunk()?),
        })
    }

    /// Whether these bytes are the message.
    pub(super) fn fits(&self, message: &[u8]) -> bool {
        message.len() == self.length as usize && crc32fast::hash(message) == self.crc
    }
}

/// Appends the record of `spooled`.
pub(super) fn put(
    spooled: &Spooled,
    form: &MessageForm,
    seal: Seal,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let start = out.len();
    out.resize(start + HEAD_BYTES, 0);
    (form.encode)(&spooled.message, out);
    let (head, message) = out[start..].split_at_mut(HEAD_BYTES);
    let length = u32::try_from(message.len()).map_err(|_| {
        StoreError::TooLarge(format!("a message of {} bytes", message.len()).into())
    })?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..12].copy_from_slice(&spooled.sequence.to_le_bytes());
    head[12..16].copy_from_slice(&spooled.redeliveries.to_le_bytes());
    head[16..20].copy_from_slice(&crc32fast::hash(message).to_le_bytes());
    let check = seal.check(&head[..20]);
    head[20..].copy_from_slice(&check.to_le_bytes());
    Ok(())
}
