//! Streams of bytes: what lies between a socket and a protocol.

pub mod listener;
pub mod write_buffer;

pub use write_buffer::WriteBuffer;
