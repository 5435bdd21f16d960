//! Writes the wire types of one frame, in either encoding.

use super::WireError;
use super::bits::BitWriter;
use super::cache::{Cached, SenderCache};
use super::input::{COPIED_MAX, DEPTH_MAX, Format};
use super::types::{Encode, is_marshal_aware};
use crate::jms::{Text, Throwable, mutf8};
use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::borrow::Cow;

/// A frame in the making: flags go to one place, data to another; loose frames have data only. The
/// same method writes a wire type in both encodings.
pub(super) struct Output<'a, const TIGHT: bool> {
    data: &'a mut WriteBuffer,
    flags: &'a mut BitWriter,
    format: Format,
    cache: Option<&'a mut SenderCache>,
    depth: u8,
}

impl<'a, const TIGHT: bool> Output<'a, TIGHT> {
    pub(super) fn new(
        data: &'a mut WriteBuffer,
        flags: &'a mut BitWriter,
        format: Format,
        cache: Option<&'a mut SenderCache>,
    ) -> Self {
        Self { data, flags, format, cache, depth: 0 }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Whether values pass through a marshal cache.
    pub(super) fn is_cached(&self) -> bool {
        self.cache.is_some()
    }

    /// How deep the object being written is nested.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.data.append(bytes);
    }

    #[inline]
    pub(super) fn bool(&mut self, value: &bool, _: &'static str) -> Result<(), WireError> {
        self.flag(*value);
        Ok(())
    }

    #[inline]
    fn flag(&mut self, value: bool) {
        if TIGHT { self.flags.push(value) } else { self.raw(&[u8::from(value)]) }
    }

    #[inline]
    pub(super) fn byte(&mut self, value: &i8, _: &'static str) -> Result<(), WireError> {
        self.raw(&value.to_be_bytes());
        Ok(())
    }

    #[inline]
    pub(super) fn int(&mut self, value: &i32, _: &'static str) -> Result<(), WireError> {
        self.raw(&value.to_be_bytes());
        Ok(())
    }

    #[inline]
    pub(super) fn long(&mut self, value: &i64, _: &'static str) -> Result<(), WireError> {
        if !TIGHT {
            self.raw(&value.to_be_bytes());
            return Ok(());
        }
        let unsigned = value.cast_unsigned();
        let wide = unsigned > u64::from(u16::MAX);
        self.flag(wide);
        if let Ok(short) = u16::try_from(unsigned) {
            self.flag(short != 0);
            if short != 0 {
                self.raw(&short.to_be_bytes());
            }
        } else if let Ok(int) = u32::try_from(unsigned) {
            self.flag(false);
            self.raw(&int.to_be_bytes());
        } else {
            self.flag(true);
            self.raw(&value.to_be_bytes());
        }
        Ok(())
    }

    pub(super) fn string(
        &mut self,
        value: &Option<Text>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.text(value.as_deref(), field)
    }

    /// Java writes up to 32766 bytes here in tight form, because its reader of ASCII text takes
    /// the length as signed. Longer ASCII text goes as modified UTF-8, where it reads up to 65535.
    pub(super) fn text(
        &mut self,
        value: Option<&str>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.flag(value.is_some());
        let Some(text) = value else { return Ok(()) };
        let ascii = mutf8::is_ascii_without_nul(text);
        let len = if ascii { text.len() } else { mutf8::encoded_len(text) };
        if TIGHT {
            self.flag(ascii && len <= ASCII_MAX);
        }
        let short = u16::try_from(len).map_err(|_| WireError::TooLong { field, len })?;
        self.raw(&short.to_be_bytes());
        if ascii {
            self.raw(text.as_bytes());
        } else {
            mutf8::encode(text, self.data.tail());
        }
        Ok(())
    }

    pub(super) fn bytes(
        &mut self,
        value: &Option<Bytes>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.flag(value.is_some());
        let Some(bytes) = value else { return Ok(()) };
        let len = bytes.len();
        let int = i32::try_from(len).map_err(|_| WireError::TooLong { field, len })?;
        self.raw(&int.to_be_bytes());
        if len > COPIED_MAX {
            self.data.splice(bytes.clone());
        } else {
            self.raw(bytes);
        }
        Ok(())
    }

    /// Exactly `N` bytes.
    pub(super) fn constant<const N: usize>(
        &mut self,
        value: &[u8; N],
        _: &'static str,
    ) -> Result<(), WireError> {
        self.raw(value);
        Ok(())
    }

    pub(super) fn nested<T: Encode>(
        &mut self,
        value: &Option<T>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.flag(value.is_some());
        let Some(object) = value else { return Ok(()) };
        let code = object.code();
        self.raw(&[code]);
        if TIGHT && is_marshal_aware(code) {
            self.flag(false);
        }
        if self.depth >= DEPTH_MAX {
            return Err(WireError::TooDeep { field });
        }
        self.depth += 1;
        object.encode(self)?;
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn cached<T: Encode + Cached>(
        &mut self,
        value: &Option<T>,
        field: &'static str,
    ) -> Result<(), WireError> {
        let Some(cache) = &mut self.cache else { return self.nested(value, field) };
        if let Some(index) = cache.find(value) {
            self.flag(false);
            self.raw(&index.to_be_bytes());
            return Ok(());
        }
        // Where a cached value holds another one, loose gives the outer its slot first and tight
        // the inner, as Java does.
        let mut index = if TIGHT { -1 } else { cache.add(value) };
        self.flag(true);
        let mark = self.data.mark();
        self.raw(&index.to_be_bytes());
        self.nested(value, field)?;
        if TIGHT && let Some(cache) = &mut self.cache {
            index = cache.add(value);
            self.data.patch(mark, index.to_be_bytes());
        }
        Ok(())
    }

    pub(super) fn objects<T: Encode>(
        &mut self,
        value: &Option<Vec<Option<T>>>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.flag(value.is_some());
        let Some(objects) = value else { return Ok(()) };
        self.count(objects.len(), field)?;
        for object in objects {
            self.nested(object, field)?;
        }
        Ok(())
    }

    fn count(&mut self, len: usize, field: &'static str) -> Result<(), WireError> {
        let short = i16::try_from(len).map_err(|_| WireError::TooLong { field, len })?;
        self.raw(&short.to_be_bytes());
        Ok(())
    }

    pub(super) fn throwable(
        &mut self,
        value: &Option<Throwable>,
        field: &'static str,
    ) -> Result<(), WireError> {
        self.exception(value.as_ref(), field, 0)
    }

    fn exception(
        &mut self,
        value: Option<&Throwable>,
        field: &'static str,
        depth: u8,
    ) -> Result<(), WireError> {
        self.flag(value.is_some());
        let Some(throwable) = value else { return Ok(()) };
        self.text(throwable.class.as_deref(), field)?;
        let message = throwable.message.as_deref();
        if matches!(self.format.version, 1 | 10) {
            // Java's marshallers of these versions cannot write a null, and cut.
            self.text(Some(&cut(message.unwrap_or(""))), field)?;
        } else {
            self.text(message, field)?;
        }
        if !self.format.stack_trace {
            return Ok(());
        }
        self.count(throwable.frames.len(), field)?;
        for frame in &throwable.frames {
            self.string(&frame.class, field)?;
            self.string(&frame.method, field)?;
            self.string(&frame.file, field)?;
            self.int(&frame.line, field)?;
        }
        let cause = throwable.cause.as_deref().filter(|_| depth < DEPTH_MAX);
        self.exception(cause, field, depth + 1)
    }
}

/// The longest ASCII text in tight form.
const ASCII_MAX: usize = 32766;

/// A message of at most 1024 UTF-16 units.
fn cut(message: &str) -> Cow<'_, str> {
    if mutf8::utf16_len(message) <= 1024 {
        return Cow::Borrowed(message);
    }
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= 1021
    };
    Cow::Owned(message.chars().take_while(fits).chain("...".chars()).collect())
}
