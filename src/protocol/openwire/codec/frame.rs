//! One connection's reader and writer of frames.

use super::WireError;
use super::bits::BitWriter;
use super::cache::{MAX_SLOTS, ReceiverCache, SenderCache};
use super::input::{Format, Input};
use super::output::Output;
use super::types::{
    Decode, Dispatch, DispatchView, Encode, append_stored_form, from_stored_form, to_stored_form,
};
use crate::jms::Message;
use crate::protocol::openwire::command::Command;
use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::cell::RefCell;

/// How frames are encoded: what two sides agreed on, or what a store uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 1 to 12.
    pub version: i32,
    /// Tight encoding instead of loose.
    pub tight: bool,
    /// Slots of the marshal cache, in each direction; none without cache.
    pub cache_size: Option<u16>,
    /// Whether exceptions travel with stack trace and causes.
    pub stack_trace: bool,
    /// The largest frame, in bytes without the size in front.
    pub max_frame_size: u64,
}

impl Settings {
    /// What holds until both sides have introduced themselves: the newest version, loose, no cache.
    pub fn before_negotiation(max_frame_size: u64) -> Self {
        Self { version: 12, tight: false, cache_size: None, stack_trace: false, max_frame_size }
    }

    /// The form of messages in a store.
    pub fn stored() -> Self {
        Self { stack_trace: true, ..Self::before_negotiation(i32::MAX as u64) }
    }

    fn format(&self) -> Format {
        Format { version: self.version, stack_trace: self.stack_trace }
    }

    fn slots(&self) -> Option<u16> {
        self.cache_size.map(|size| if size == 0 { MAX_SLOTS } else { size.min(MAX_SLOTS) })
    }
}

/// Reads what one peer sends.
#[derive(Debug)]
pub struct Decoder {
    settings: Settings,
    cache: Option<ReceiverCache>,
}

/// Bytes of the size in front of a frame.
const SIZE_BYTES: usize = 4;

impl Decoder {
    /// A reader of frames up to `max_frame_size` bytes, before negotiation.
    pub fn new(max_frame_size: u64) -> Self {
        Self { settings: Settings::before_negotiation(max_frame_size), cache: None }
    }

    /// Reads as `settings` say from the next frame on, with an empty cache.
    pub fn apply(&mut self, settings: &Settings) {
        self.settings = *settings;
        self.cache = settings.slots().map(ReceiverCache::new);
    }

    /// Changes the limit only: a peer that is not known yet gets a low one.
    pub fn set_max_frame_size(&mut self, max_frame_size: u64) {
        self.settings.max_frame_size = max_frame_size;
    }

    /// How many bytes the frame at the beginning of `input` has, its size included; none if `input`
    /// is too short to tell. Refuses frames over the limit.
    pub fn frame_length(&self, input: &[u8]) -> Result<Option<usize>, WireError> {
        let Some((size, _)) = input.split_first_chunk() else { return Ok(None) };
        let (size, max) = (i32::from_be_bytes(*size), self.settings.max_frame_size);
        match usize::try_from(size) {
            Ok(len) if len as u64 <= max => Ok(Some(SIZE_BYTES + len)),
            _ => Err(WireError::FrameSize { size: size.into(), max }),
        }
    }

    /// Reads one whole frame, as long as [`Self::frame_length`] told; none for the null object.
    ///
    /// Bodies and property maps over 16 KiB become slices of `shared` where it is given: the same
    /// bytes as `frame`. Smaller ones are copied, so that they do not pin what was read.
    pub fn decode(
        &mut self,
        frame: &[u8],
        shared: Option<&Bytes>,
    ) -> Result<Option<Command>, WireError> {
        let Some(body) = frame.get(SIZE_BYTES..) else {
            let left = frame.len();
            return Err(WireError::Truncated { field: "the size", wanted: SIZE_BYTES, left });
        };
        let Some((&code, payload)) = body.split_first() else {
            return Err(WireError::Truncated { field: "the type", wanted: 1, left: 0 });
        };
        if code == 0 {
            return if payload.is_empty() { Ok(None) } else { Err(trailing(payload)) };
        }
        let shared = shared.filter(|shared| shared.len() == frame.len());
        if self.settings.tight {
            self.object::<true>(code, payload, shared).map(Some)
        } else {
            self.object::<false>(code, payload, shared).map(Some)
        }
    }

    fn object<const TIGHT: bool>(
        &mut self,
        code: u8,
        payload: &[u8],
        shared: Option<&Bytes>,
    ) -> Result<Command, WireError> {
        let cache = self.cache.as_mut();
        let mut input = Input::<TIGHT>::new(payload, self.settings.format(), cache, shared, 0)?;
        let command = Command::decode(code, &mut input, "a frame")?;
        input.finish()?;
        Ok(command)
    }
}

fn trailing(bytes: &[u8]) -> WireError {
    WireError::TrailingBytes(bytes.len())
}

/// Writes what one peer is sent.
///
/// A command that cannot be written leaves the buffer and the cache as they were; the connection
/// goes on without it.
#[derive(Debug)]
pub struct Encoder {
    settings: Settings,
    cache: Option<SenderCache>,
}

thread_local! {
    /// Flags and data of a tight frame, until the flags are complete.
    static SCRATCH: RefCell<(BitWriter, WriteBuffer)> = RefCell::default();
}

impl Encoder {
    /// A writer for `settings`, with an empty cache.
    pub fn new(settings: &Settings) -> Self {
        Self { settings: *settings, cache: settings.slots().map(SenderCache::new) }
    }

    /// Writes as `settings` say from the next frame on, with an empty cache.
    pub fn apply(&mut self, settings: &Settings) {
        *self = Self::new(settings);
    }

    /// Appends a frame with `command`.
    pub fn encode(&mut self, command: &Command, out: &mut WriteBuffer) -> Result<(), WireError> {
        self.frame(command, out)
    }

    /// Appends a frame with `message` itself.
    pub fn encode_message(
        &mut self,
        message: &Message,
        out: &mut WriteBuffer,
    ) -> Result<(), WireError> {
        self.frame(message, out)
    }

    /// Appends a `MessageDispatch` of a shared message.
    pub fn encode_dispatch(
        &mut self,
        dispatch: &Dispatch<'_>,
        out: &mut WriteBuffer,
    ) -> Result<(), WireError> {
        self.frame(&DispatchView::from(dispatch), out)
    }

    fn frame(&mut self, object: &impl Encode, out: &mut WriteBuffer) -> Result<(), WireError> {
        if let Some(cache) = &mut self.cache {
            cache.begin_frame();
        }
        let mark = out.mark();
        out.append(&[0; SIZE_BYTES]);
        out.append(&[object.code()]);
        let written = match self.settings.tight {
            true => self.tight(object, out),
            false => self.loose(object, out),
        };
        let size = out.len_since(mark) - SIZE_BYTES;
        let max = self.settings.max_frame_size;
        let finished = written.and_then(|()| match i32::try_from(size) {
            Ok(int) if size as u64 <= max => Ok(int),
            _ => Err(WireError::FrameSize { size: size as i64, max }),
        });
        match finished {
            Ok(size) => {
                out.patch(mark, size.to_be_bytes());
                Ok(())
            }
            Err(error) => {
                out.roll_back(mark);
                if let Some(cache) = &mut self.cache {
                    cache.abandon_frame();
                }
                Err(error)
            }
        }
    }

    fn loose(&mut self, object: &impl Encode, out: &mut WriteBuffer) -> Result<(), WireError> {
        let format = self.settings.format();
        let cache = self.cache.as_mut();
        object.encode(&mut Output::<false>::new(out, &mut BitWriter::default(), format, cache))
    }

    fn tight(&mut self, object: &impl Encode, out: &mut WriteBuffer) -> Result<(), WireError> {
        let (format, cache) = (self.settings.format(), self.cache.as_mut());
        SCRATCH.with_borrow_mut(|(flags, data)| {
            flags.clear();
            let encoded = object.encode(&mut Output::<true>::new(data, flags, format, cache));
            if let Err(error) = encoded.and_then(|()| flags.write(out.tail())) {
                data.clear();
                return Err(error);
            }
            out.append_buffer(data);
            Ok(())
        })
    }
}

/// An object in the form stores have it in: type code and fields, version 12, loose, no size. A
/// `jms::Described::Other` holds such bytes.
pub fn encode_object(object: &Command) -> Result<Bytes, WireError> {
    to_stored_form(object)
}

/// Appends a message in the form stores have it in; on an error some of it may be there.
pub fn encode_stored_message(message: &Message, out: &mut WriteBuffer) -> Result<(), WireError> {
    append_stored_form(message, out)
}

/// Reads what [`encode_object`] wrote. Bodies and property maps over 16 KiB become slices of it.
pub fn decode_object(object: &Bytes) -> Result<Command, WireError> {
    from_stored_form(object, 0)
}
