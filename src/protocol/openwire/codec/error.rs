//! What can be wrong with a frame.

use crate::jms::properties::PropertyError;

/// Why a frame could not be read or written. A field is named `Type.field`, as in ActiveMQ.
///
/// Reading errors are the peer's fault and cost the connection; writing errors leave the buffer and
/// the connection as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame of {size} bytes; allowed are 0 to {max}")]
    FrameSize { size: i64, max: u64 },
    #[error("the frame ends within {field}: {wanted} bytes wanted, {left} left")]
    Truncated { field: &'static str, wanted: usize, left: usize },
    #[error("the frame's boolean stream ends before {field}")]
    OutOfFlags { field: &'static str },
    #[error("{0} bytes are left over after the object in a frame")]
    TrailingBytes(usize),
    #[error("{field} has the negative length {len}")]
    NegativeLength { field: &'static str, len: i32 },
    #[error("{field} claims {count} elements, more than its frame can hold")]
    Count { field: &'static str, count: i16 },
    #[error("{field} holds malformed text")]
    Text { field: &'static str },
    #[error("{field} holds the unknown type {code}")]
    UnknownType { field: &'static str, code: u8 },
    #[error("{field} must not hold an object of type {code}")]
    UnexpectedType { field: &'static str, code: u8 },
    #[error("type {code} exists since version {since}, the connection speaks {version}")]
    NotInVersion { code: u8, since: i32, version: i32 },
    #[error("{field} is nested too deep")]
    TooDeep { field: &'static str },
    #[error("{field} holds an object in its own frame, which nobody sends")]
    EmbeddedFrame { field: &'static str },
    #[error("{field} refers to slot {index} of the marshal cache, which holds no such object")]
    CacheSlot { field: &'static str, index: i16 },
    #[error("the peer made the marshal cache grow over {max} bytes")]
    CacheTooLarge { max: usize },
    #[error("{field} has {len} elements or bytes, more than can be written")]
    TooLong { field: &'static str, len: usize },
    #[error("Remote wire format magic is invalid")]
    Magic,
    #[error("wire format version {version} is below the minimum, {min}")]
    Version { version: i32, min: i32 },
    #[error("the wire format's properties: {0}")]
    Properties(#[from] PropertyError),
    #[error("the wire format offers too much: {0}")]
    Offer(&'static str),
}
