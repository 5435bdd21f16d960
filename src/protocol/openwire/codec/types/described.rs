//! `Message.dataStructure`: the object an advisory message carries.
//!
//! Objects the broker itself describes are decoded; any other is kept in the form the store has:
//! version 12, loose, without cache, with stack traces. Where the frame is in this form already,
//! the bytes are only copied, so that objects in objects do not multiply the work.

use super::{Decode, Encode, Input, Output, WireError};
use crate::jms::Described;
use crate::protocol::openwire::codec::bits::BitWriter;
use crate::protocol::openwire::codec::input::Format;
use crate::protocol::openwire::command::Command;
use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::sync::Arc;

/// The version and options of stored objects.
const STORED: Format = Format { version: 12, stack_trace: true };

impl Decode for Arc<Described> {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        let start = input.rest();
        let object = Command::decode(code, input, field)?;
        Ok(Self::new(match object {
            Command::BrokerInfo(info) => Described::Broker(*info),
            Command::ConnectionInfo(info) => Described::Connection(*info),
            Command::ConsumerInfo(info) => Described::Consumer(*info),
            Command::ProducerInfo(info) => Described::Producer(info),
            Command::DestinationInfo(info) => Described::Destination(info),
            Command::RemoveInfo(info) => Described::Remove(info),
            Command::RemoveSubscriptionInfo(info) => Described::RemoveSubscription(info),
            Command::Message(message) => Described::Message(message),
            _ if !TIGHT && !input.is_cached() && input.format() == STORED => {
                let fields = &start[..start.len() - input.rest().len()];
                Described::Other([&[code], fields].concat().into())
            }
            other => Described::Other(to_stored_form(&other)?),
        }))
    }
}

impl Encode for Arc<Described> {
    fn code(&self) -> u8 {
        match &**self {
            Described::Broker(info) => info.code(),
            Described::Connection(info) => info.code(),
            Described::Consumer(info) => info.code(),
            Described::Producer(info) => info.code(),
            Described::Destination(info) => info.code(),
            Described::Remove(info) => info.code(),
            Described::RemoveSubscription(info) => info.code(),
            Described::Message(message) => message.code(),
            Described::Other(object) => object.first().copied().unwrap_or(0),
        }
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        match &**self {
            Described::Broker(info) => info.encode(out),
            Described::Connection(info) => info.encode(out),
            Described::Consumer(info) => info.encode(out),
            Described::Producer(info) => info.encode(out),
            Described::Destination(info) => info.encode(out),
            Described::Remove(info) => info.encode(out),
            Described::RemoveSubscription(info) => info.encode(out),
            Described::Message(message) => message.encode(out),
            Described::Other(object) => {
                if !TIGHT && !out.is_cached() && out.format() == STORED {
                    out.raw(object.get(1..).unwrap_or_default());
                    return Ok(());
                }
                from_stored_form(object, out.depth())?.encode(out)
            }
        }
    }
}

/// Type code and fields of an object, loose, version 12.
pub(in super::super) fn to_stored_form(object: &impl Encode) -> Result<Bytes, WireError> {
    let mut data = WriteBuffer::default();
    append_stored_form(object, &mut data)?;
    Ok(data.into_bytes())
}

/// The same at the end of `data`; on an error some of it may be there.
pub(in super::super) fn append_stored_form(
    object: &impl Encode,
    data: &mut WriteBuffer,
) -> Result<(), WireError> {
    let mut flags = BitWriter::default();
    data.append(&[object.code()]);
    object.encode(&mut Output::<false>::new(data, &mut flags, STORED, None))
}

/// Reads what [`to_stored_form`] wrote; `depth` is how deep the object will be nested. Large byte arrays
/// become slices of `object`.
pub(in super::super) fn from_stored_form(object: &Bytes, depth: u8) -> Result<Command, WireError> {
    let field = "Message.dataStructure";
    let truncated = || WireError::Truncated { field, wanted: 1, left: 0 };
    let (&code, fields) = object.split_first().ok_or_else(truncated)?;
    let mut input = Input::<false>::new(fields, STORED, None, Some(object), depth)?;
    let object = Command::decode(code, &mut input, field)?;
    input.finish()?;
    Ok(object)
}
