//! Frames in, commands out, and back.
//!
//! ```text
//! frame = int32 size | byte type | fields                    loose
//! frame = int32 size | byte type | boolean stream | fields   tight
//! ```
//!
//! `types` lists every type with its fields once; `Input` and `Output` know the wire types in both
//! encodings; `cache` holds what travels by reference. Nothing here knows sockets or waits.
//!
//! Numbers and orders are those of OpenWire versions 1 to 12, checked against frames of ActiveMQ
//! 5.17.2.

mod bits;
mod cache;
mod error;
mod frame;
mod input;
mod output;
#[cfg(test)]
mod tests;
mod types;

pub use error::WireError;
pub use frame::{Decoder, Encoder, Settings, decode_object, encode_object, encode_stored_message};
pub use types::Dispatch;
