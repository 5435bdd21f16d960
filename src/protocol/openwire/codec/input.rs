//! Reads the wire types out of one frame, in either encoding.

use super::WireError;
use super::bits::BitReader;
use super::cache::{FromSlot, ReceiverCache, Slot};
use super::types::{Decode, is_marshal_aware};
use crate::jms::throwable::StackFrame;
use crate::jms::{Array, Text, Throwable, mutf8};
use bytes::Bytes;

/// What is left of a frame. Every length is checked against it before memory is taken, and all
/// arrays together have at most as many elements as the frame has bytes, and [`ELEMENTS_MAX`].
///
/// `TIGHT` selects the encoding: flags in a boolean stream in front and compressed longs, or
/// everything plain and in order. The same method reads a wire type in both.
pub(super) struct Input<'a, const TIGHT: bool> {
    rest: &'a [u8],
    flags: BitReader<'a>,
    format: Format,
    cache: Option<&'a mut ReceiverCache>,
    /// Ends where `rest` ends: large byte arrays are slices of it.
    shared: Option<&'a Bytes>,
    depth: u8,
    elements_left: usize,
}

/// What the two sides agreed on, as far as single values depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) version: i32,
    pub(super) stack_trace: bool,
}

impl Format {
    /// Checks that the version has the type `code`.
    #[inline]
    pub(super) fn has_type(self, code: u8, since: i32) -> Result<(), WireError> {
        let version = self.version;
        if version < since { Err(WireError::NotInVersion { code, since, version }) } else { Ok(()) }
    }
}

/// How deep objects may be nested, and causes of exceptions.
pub(super) const DEPTH_MAX: u8 = 64;

/// How many array elements a frame may have. Nulls take next to nothing on the wire, but each takes
/// some ten bytes in memory.
const ELEMENTS_MAX: usize = 1 << 20;

/// Byte arrays up to this size are copied, so that they do not pin what they were read into.
pub(super) const COPIED_MAX: usize = 16 * 1024;

impl<'a, const TIGHT: bool> Input<'a, TIGHT> {
    /// Reads the payload that follows the type code of an object at `depth`.
    pub(super) fn new(
        payload: &'a [u8],
        format: Format,
        cache: Option<&'a mut ReceiverCache>,
        shared: Option<&'a Bytes>,
        depth: u8,
    ) -> Result<Self, WireError> {
        let elements_left = payload.len().min(ELEMENTS_MAX);
        let (flags, rest) = match TIGHT {
            true => BitReader::split_off(payload)?,
            false => (BitReader::default(), payload),
        };
        Ok(Self { rest, flags, format, cache, shared, depth, elements_left })
    }

    /// Checks that nothing is left over.
    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes(self.rest.len())) }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Whether values pass through a marshal cache.
    pub(super) fn is_cached(&self) -> bool {
        self.cache.is_some()
    }

    /// The bytes not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool, WireError> {
        if TIGHT {
            self.flags.next().ok_or(WireError::OutOfFlags { field })
        } else {
            self.array::<1>(field).map(|[byte]| byte != 0)
        }
    }

    #[inline]
    pub(super) fn byte(&mut self, field: &'static str) -> Result<i8, WireError> {
        self.array(field).map(i8::from_be_bytes)
    }

    #[inline]
    fn short(&mut self, field: &'static str) -> Result<i16, WireError> {
        self.array(field).map(i16::from_be_bytes)
    }

    #[inline]
    pub(super) fn int(&mut self, field: &'static str) -> Result<i32, WireError> {
        self.array(field).map(i32::from_be_bytes)
    }

    #[inline]
    pub(super) fn long(&mut self, field: &'static str) -> Result<i64, WireError> {
        if !TIGHT {
            return self.array(field).map(i64::from_be_bytes);
        }
        match (self.bool(field)?, self.bool(field)?) {
            (false, false) => Ok(0),
            (false, true) => self.array(field).map(|bytes| u16::from_be_bytes(bytes).into()),
            (true, false) => self.array(field).map(|bytes| u32::from_be_bytes(bytes).into()),
            (true, true) => self.array(field).map(i64::from_be_bytes),
        }
    }

    #[inline]
    pub(super) fn string(&mut self, field: &'static str) -> Result<Option<Text>, WireError> {
        if self.bool(field)? { self.text(field).map(Some) } else { Ok(None) }
    }

    fn text(&mut self, field: &'static str) -> Result<Text, WireError> {
        let ascii = TIGHT && self.bool(field)?;
        let len = self.array(field).map(u16::from_be_bytes)?;
        let bytes = self.take(len.into(), field)?;
        match mutf8::decode(bytes) {
            Ok(text) if !ascii || text.is_ascii() => Ok(Text::from(&*text)),
            _ => Err(WireError::Text { field }),
        }
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, WireError> {
        if !self.bool(field)? {
            return Ok(None);
        }
        let len = self.int(field)?;
        let len = usize::try_from(len).map_err(|_| WireError::NegativeLength { field, len })?;
        let bytes = self.take(len, field)?;
        Ok(Some(match self.shared {
            Some(shared) if len > COPIED_MAX => {
                let end = shared.len() - self.rest.len();
                shared.slice(end - len..end)
            }
            _ => Bytes::copy_from_slice(bytes),
        }))
    }

    /// Exactly `N` bytes.
    pub(super) fn constant<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], WireError> {
        self.array(field)
    }

    #[inline]
    pub(super) fn nested<T: Decode>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<T>, WireError> {
        if self.bool(field)? { self.object(field).map(Some) } else { Ok(None) }
    }

    fn object<T: Decode>(&mut self, field: &'static str) -> Result<T, WireError> {
        let [code] = self.array(field)?;
        if TIGHT && is_marshal_aware(code) && self.bool(field)? {
            return Err(WireError::EmbeddedFrame { field });
        }
        self.enter(field)?;
        let object = T::decode(code, self, field)?;
        self.depth -= 1;
        Ok(object)
    }

    fn enter(&mut self, field: &'static str) -> Result<(), WireError> {
        if self.depth >= DEPTH_MAX {
            return Err(WireError::TooDeep { field });
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn cached<T: Decode + FromSlot>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<T>, WireError> {
        if self.cache.is_none() {
            return self.nested(field);
        }
        let new = self.bool(field)?;
        let index = self.short(field)?;
        if new {
            let value: Option<T> = self.nested(field)?;
            if let Some(cache) = &mut self.cache {
                cache.store(index, super::cache::Cached::to_slot(&value), field)?;
            }
            return Ok(value);
        }
        match self.cache.as_deref().and_then(|cache| cache.get(index)) {
            Some(Slot::Null) => Ok(None),
            slot => {
                let value = slot.and_then(T::from_slot);
                value.map(Some).ok_or(WireError::CacheSlot { field, index })
            }
        }
    }

    pub(super) fn objects<T: Decode>(
        &mut self,
        field: &'static str,
    ) -> Result<Array<T>, WireError> {
        if !self.bool(field)? {
            return Ok(None);
        }
        let count = self.short(field)?;
        let count = self.elements(count, field)?;
        let mut objects = Vec::with_capacity(count);
        for _ in 0..count {
            objects.push(self.nested(field)?);
        }
        Ok(Some(objects))
    }

    /// Takes `count` array elements off what the frame may have.
    fn elements(&mut self, count: i16, field: &'static str) -> Result<usize, WireError> {
        match usize::try_from(count) {
            Ok(elements) if elements <= self.elements_left => {
                self.elements_left -= elements;
                Ok(elements)
            }
            _ => Err(WireError::Count { field, count }),
        }
    }

    pub(super) fn throwable(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Throwable>, WireError> {
        if !self.bool(field)? {
            return Ok(None);
        }
        let mut throwable = Throwable {
            class: self.string(field)?,
            message: self.string(field)?,
            ..Throwable::default()
        };
        if self.format.stack_trace {
            let count = self.short(field)?;
            let count = self.elements(count, field)?;
            throwable.frames.reserve_exact(count);
            for _ in 0..count {
                throwable.frames.push(StackFrame {
                    class: self.string(field)?,
                    method: self.string(field)?,
                    file: self.string(field)?,
                    line: self.int(field)?,
                });
            }
            self.enter(field)?;
            throwable.cause = self.throwable(field)?.map(Box::new);
            self.depth -= 1;
        }
        Ok(Some(throwable))
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(self.truncated(N, field));
        };
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.truncated(len, field));
        };
        self.rest = rest;
        Ok(head)
    }

    #[cold]
    fn truncated(&self, wanted: usize, field: &'static str) -> WireError {
        WireError::Truncated { field, wanted, left: self.rest.len() }
    }
}
