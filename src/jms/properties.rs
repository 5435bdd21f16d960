//! The primitive map: message properties, map bodies and what peers offer each other (OpenWire
//! section 10).
//!
//! ```text
//! map   = int32 count (-1: null) | count x ( uint16 length, modified UTF-8 name | value )
//! value = byte type | data
//!   0 null      -           5 int     4 bytes     10 bytes       int32 length, bytes
//!   1 boolean   1 byte      6 long    8 bytes     11 map         a map
//!   2 byte      1 byte      7 double  8 bytes     12 list        int32 count, values
//!   3 char      2 bytes     8 float   4 bytes     13 big string  int32 length (-1 null), text
//!   4 short     2 bytes     9 string  uint16 length, modified UTF-8
//! ```
//!
//! A message keeps its map as bytes. [`find`] looks one name up in them; only who needs more
//! decodes. A name may occur twice: the last one counts.

use super::Text;
use super::mutf8::{self, MalformedText};
use bytes::Bytes;
use std::borrow::Cow;

/// A property or an element of a map or stream body.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyValue {
    Null,
    Bool(bool),
    Byte(i8),
    /// A UTF-16 unit.
    Char(u16),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    Float(f32),
    String(Text),
    Bytes(Bytes),
    Map(PropertyMap),
    List(Vec<Self>),
}

/// A value where it lies in the bytes of a map.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Null,
    Bool(bool),
    Byte(i8),
    Char(u16),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    Float(f32),
    /// Borrowed unless the text holds NULs or characters above U+FFFF.
    String(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// A map, still encoded.
    Map(&'a [u8]),
    /// A list, still encoded.
    List(&'a [u8]),
}

/// A decoded primitive map; keeps the order of its entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertyMap {
    entries: Vec<(Text, PropertyValue)>,
}

/// Why bytes are not a primitive map, or a map cannot be written as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    #[error("a property map ends too early")]
    Truncated,
    #[error("{0} bytes are left after a property map")]
    TrailingBytes(usize),
    #[error("a property map claims {0} elements")]
    Count(i32),
    #[error("a property has the unknown type {0}")]
    UnknownType(u8),
    #[error("a property map is nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("a property map holds malformed text")]
    Text(#[from] MalformedText),
    #[error("a property name of {0} bytes is too long")]
    NameTooLong(usize),
}

/// How deep maps and lists may be nested.
pub const DEPTH_MAX: u8 = 8;

/// Java writes strings of this many UTF-16 units and more as big strings.
const BIG_STRING_MIN: usize = 8191;

/// Looks `name` up in an encoded map. Allocates only for a found string that cannot be borrowed.
pub fn find<'a>(map: &'a [u8], name: &str) -> Result<Option<ValueRef<'a>>, PropertyError> {
    let mut scan = Scan(map);
    let mut found = None;
    for _ in 0..scan.map_count()? {
        let key = scan.short_bytes()?;
        let at = scan;
        scan.skip_value(0)?;
        if mutf8::matches(key, name) {
            found = Some(at);
        }
    }
    found.map(|mut at| at.value(0)).transpose()
}

/// The encoded map with `name` set to `value`; an absent map counts as empty.
pub fn set(map: Option<&[u8]>, name: &str, value: &PropertyValue) -> Result<Bytes, PropertyError> {
    let (mut count, mut out) = without(map, name)?;
    encode_name(name, &mut out)?;
    value.encode(&mut out)?;
    count += 1;
    out[..4].copy_from_slice(&length(count)?);
    Ok(out.into())
}

/// The encoded map without `name`; none if nothing is left.
pub fn remove(map: Option<&[u8]>, name: &str) -> Result<Option<Bytes>, PropertyError> {
    let (count, mut out) = without(map, name)?;
    out[..4].copy_from_slice(&length(count)?);
    Ok((count > 0).then(|| out.into()))
}

/// The entries of `map` but for `name`, behind four bytes for their count.
fn without(map: Option<&[u8]>, name: &str) -> Result<(usize, Vec<u8>), PropertyError> {
    let map = map.unwrap_or(&[0; 4]);
    let mut out = Vec::with_capacity(map.len() + name.len() + 16);
    out.extend_from_slice(&[0; 4]);
    let mut scan = Scan(map);
    let mut kept = 0;
    for _ in 0..scan.map_count()? {
        let entry = scan.0;
        let key = scan.short_bytes()?;
        scan.skip_value(0)?;
        if !mutf8::matches(key, name) {
            kept += 1;
            out.extend_from_slice(&entry[..entry.len() - scan.0.len()]);
        }
    }
    Ok((kept, out))
}

impl PropertyMap {
    /// Reads a whole map; a null map reads as an empty one.
    pub fn decode(map: &[u8]) -> Result<Self, PropertyError> {
        let mut scan = Scan(map);
        let decoded = scan.map(0)?;
        scan.finish()?;
        Ok(decoded)
    }

    /// Writes the map.
    pub fn encode(&self) -> Result<Bytes, PropertyError> {
        let mut out = Vec::new();
        self.encode_to(&mut out)?;
        Ok(out.into())
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&PropertyValue> {
        self.entries.iter().rev().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Gives `name` the value `value`.
    pub fn set(&mut self, name: impl Into<Text>, value: PropertyValue) {
        let name = name.into();
        self.entries.retain(|(key, _)| *key != name);
        self.entries.push((name, value));
    }

    /// All names with their values, as they were written; of equal names the last one counts.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &PropertyValue)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn encode_to(&self, out: &mut Vec<u8>) -> Result<(), PropertyError> {
        out.extend_from_slice(&length(self.entries.len())?);
        for (name, value) in &self.entries {
            encode_name(name, out)?;
            value.encode(out)?;
        }
        Ok(())
    }
}

impl FromIterator<(Text, PropertyValue)> for PropertyMap {
    fn from_iter<I: IntoIterator<Item = (Text, PropertyValue)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl PropertyValue {
    /// Reads the values of a stream body.
    pub fn decode_stream(mut content: &[u8]) -> Result<Vec<Self>, PropertyError> {
        let mut values = Vec::new();
        while !content.is_empty() {
            let mut scan = Scan(content);
            values.push(scan.owned(0)?);
            content = scan.0;
        }
        Ok(values)
    }

    /// Appends the value with its type, as a map, list or stream body holds it.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), PropertyError> {
        fn put<const N: usize>(out: &mut Vec<u8>, kind: u8, data: [u8; N]) {
            out.push(kind);
            out.extend_from_slice(&data);
        }
        match self {
            Self::Null => out.push(0),
            Self::Bool(value) => put(out, 1, [u8::from(*value)]),
            Self::Byte(value) => put(out, 2, value.to_be_bytes()),
            Self::Char(value) => put(out, 3, value.to_be_bytes()),
            Self::Short(value) => put(out, 4, value.to_be_bytes()),
            Self::Int(value) => put(out, 5, value.to_be_bytes()),
            Self::Long(value) => put(out, 6, value.to_be_bytes()),
            Self::Double(value) => put(out, 7, value.to_be_bytes()),
            Self::Float(value) => put(out, 8, value.to_be_bytes()),
            Self::String(text) => {
                let len = mutf8::encoded_len(text);
                match u16::try_from(len) {
                    Ok(len) if mutf8::utf16_len(text) < BIG_STRING_MIN => {
                        put(out, 9, len.to_be_bytes());
                    }
                    _ => put(out, 13, length(len)?),
                }
                mutf8::encode(text, out);
            }
            Self::Bytes(bytes) => {
                put(out, 10, length(bytes.len())?);
                out.extend_from_slice(bytes);
            }
            Self::Map(map) => {
                out.push(11);
                map.encode_to(out)?;
            }
            Self::List(values) => {
                put(out, 12, length(values.len())?);
                for value in values {
                    value.encode(out)?;
                }
            }
        }
        Ok(())
    }
}

fn length(len: usize) -> Result<[u8; 4], PropertyError> {
    i32::try_from(len).map(i32::to_be_bytes).map_err(|_| PropertyError::Count(i32::MAX))
}

fn encode_name(name: &str, out: &mut Vec<u8>) -> Result<(), PropertyError> {
    let len = mutf8::encoded_len(name);
    let short = u16::try_from(len).map_err(|_| PropertyError::NameTooLong(len))?;
    out.extend_from_slice(&short.to_be_bytes());
    mutf8::encode(name, out);
    Ok(())
}

/// What is left of an encoded map.
#[derive(Clone, Copy)]
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PropertyError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(PropertyError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PropertyError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(PropertyError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, PropertyError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn int(&mut self) -> Result<i32, PropertyError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Bytes behind their uint16 length.
    fn short_bytes(&mut self) -> Result<&'a [u8], PropertyError> {
        let len = self.array().map(u16::from_be_bytes)?;
        self.take(len.into())
    }

    /// Bytes behind their int32 length; none for -1.
    fn long_bytes(&mut self) -> Result<Option<&'a [u8]>, PropertyError> {
        match self.int()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| PropertyError::Count(len))?;
                self.take(len).map(Some)
            }
        }
    }

    /// A count of elements that take at least `element_min` bytes each; 0 for the null map.
    fn count(&mut self, element_min: usize) -> Result<usize, PropertyError> {
        let count = self.int()?;
        if count == -1 {
            return Ok(0);
        }
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.0.len() / element_min)
            .ok_or(PropertyError::Count(count))
    }

    fn map_count(&mut self) -> Result<usize, PropertyError> {
        self.count(3)
    }

    fn finish(self) -> Result<(), PropertyError> {
        if self.0.is_empty() { Ok(()) } else { Err(PropertyError::TrailingBytes(self.0.len())) }
    }

    /// Passes over a value whose container is `depth` deep.
    fn skip_value(&mut self, depth: u8) -> Result<(), PropertyError> {
        let fixed = match self.byte()? {
            0 => 0,
            1 | 2 => 1,
            3 | 4 => 2,
            5 | 8 => 4,
            6 | 7 => 8,
            9 => return self.short_bytes().map(drop),
            10 | 13 => return self.long_bytes().map(drop),
            11 => {
                let depth = deeper(depth)?;
                for _ in 0..self.map_count()? {
                    self.short_bytes()?;
                    self.skip_value(depth)?;
                }
                return Ok(());
            }
            12 => {
                let depth = deeper(depth)?;
                for _ in 0..self.count(1)? {
                    self.skip_value(depth)?;
                }
                return Ok(());
            }
            kind => return Err(PropertyError::UnknownType(kind)),
        };
        self.take(fixed).map(drop)
    }

    /// The value whose container is `depth` deep.
    fn value(&mut self, depth: u8) -> Result<ValueRef<'a>, PropertyError> {
        let whole = *self;
        Ok(match self.byte()? {
            0 => ValueRef::Null,
            1 => ValueRef::Bool(self.byte()? != 0),
            2 => ValueRef::Byte(self.array().map(i8::from_be_bytes)?),
            3 => ValueRef::Char(self.array().map(u16::from_be_bytes)?),
            4 => ValueRef::Short(self.array().map(i16::from_be_bytes)?),
            5 => ValueRef::Int(self.int()?),
            6 => ValueRef::Long(self.array().map(i64::from_be_bytes)?),
            7 => ValueRef::Double(self.array().map(f64::from_be_bytes)?),
            8 => ValueRef::Float(self.array().map(f32::from_be_bytes)?),
            9 => ValueRef::String(mutf8::decode(self.short_bytes()?)?),
            10 => self.long_bytes()?.map_or(ValueRef::Null, ValueRef::Bytes),
            13 => match self.long_bytes()? {
                Some(bytes) => ValueRef::String(mutf8::decode(bytes)?),
                None => ValueRef::Null,
            },
            kind @ (11 | 12) => {
                let encoded = self.0;
                *self = whole;
                self.skip_value(depth)?;
                let encoded = &encoded[..encoded.len() - self.0.len()];
                if kind == 11 { ValueRef::Map(encoded) } else { ValueRef::List(encoded) }
            }
            kind => return Err(PropertyError::UnknownType(kind)),
        })
    }

    fn owned(&mut self, depth: u8) -> Result<PropertyValue, PropertyError> {
        let mut nested = Self(self.0);
        Ok(match nested.byte()? {
            11 => {
                let map = nested.map(deeper(depth)?)?;
                *self = nested;
                PropertyValue::Map(map)
            }
            12 => {
                let depth = deeper(depth)?;
                let count = nested.count(1)?;
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    values.push(nested.owned(depth)?);
                }
                *self = nested;
                PropertyValue::List(values)
            }
            _ => match self.value(depth)? {
                ValueRef::Null | ValueRef::Map(_) | ValueRef::List(_) => PropertyValue::Null,
                ValueRef::Bool(value) => PropertyValue::Bool(value),
                ValueRef::Byte(value) => PropertyValue::Byte(value),
                ValueRef::Char(value) => PropertyValue::Char(value),
                ValueRef::Short(value) => PropertyValue::Short(value),
                ValueRef::Int(value) => PropertyValue::Int(value),
                ValueRef::Long(value) => PropertyValue::Long(value),
                ValueRef::Double(value) => PropertyValue::Double(value),
                ValueRef::Float(value) => PropertyValue::Float(value),
                ValueRef::String(value) => PropertyValue::String(value.into()),
                ValueRef::Bytes(value) => PropertyValue::Bytes(Bytes::copy_from_slice(value)),
            },
        })
    }

    fn map(&mut self, depth: u8) -> Result<PropertyMap, PropertyError> {
        let count = self.map_count()?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let name = mutf8::decode(self.short_bytes()?)?.into();
            entries.push((name, self.owned(depth)?));
        }
        Ok(PropertyMap { entries })
    }
}

fn deeper(depth: u8) -> Result<u8, PropertyError> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(PropertyError::TooDeep) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = PropertyValue> {
        let leaf = prop_oneof![
            Just(PropertyValue::Null),
            any::<bool>().prop_map(PropertyValue::Bool),
            any::<i8>().prop_map(PropertyValue::Byte),
            any::<u16>().prop_map(PropertyValue::Char),
            any::<i16>().prop_map(PropertyValue::Short),
            any::<i32>().prop_map(PropertyValue::Int),
            any::<i64>().prop_map(PropertyValue::Long),
            any::<f64>().prop_map(PropertyValue::Double),
            any::<f32>().prop_map(PropertyValue::Float),
            any::<String>().prop_map(|text| PropertyValue::String(text.into())),
            vec(any::<u8>(), 0..20).prop_map(|bytes| PropertyValue::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 20, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(PropertyValue::List),
                vec((any::<String>(), inner), 0..5)
                    .prop_map(|entries| PropertyValue::Map(map_of(entries))),
            ]
        })
    }

    fn map_of(entries: Vec<(String, PropertyValue)>) -> PropertyMap {
        entries.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn any_map() -> impl Strategy<Value = PropertyMap> {
        vec(("[a-c\u{e9}\u{1f600}]{0,2}", any_value()), 0..6).prop_map(map_of)
    }

    #[test]
    fn a_string_of_8191_units_is_a_big_one() {
        for (len, kind) in [(8190, 9), (8191, 13)] {
            let mut out = Vec::new();
            PropertyValue::String("s".repeat(len).into()).encode(&mut out).unwrap();
            assert_eq!(out[0], kind);
        }
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let map = map_of(vec![
            ("k".to_owned(), PropertyValue::Int(1)),
            ("k".to_owned(), PropertyValue::Int(2)),
        ]);
        let bytes = map.encode().unwrap();
        assert_eq!(find(&bytes, "k"), Ok(Some(ValueRef::Int(2))));
        assert_eq!(map.get("k"), Some(&PropertyValue::Int(2)));
        assert_eq!(remove(Some(&bytes), "k"), Ok(None));
    }

    #[test]
    fn counts_and_lengths_beyond_the_bytes_are_refused_before_memory_is_taken() {
        for bytes in [
            &b"\x7f\xff\xff\xff"[..],
            b"\0\0\0\x02\0\0\0",
            b"\0\0\0\x01\0\x01k\x0a\x7f\xff\xff\xff",
            b"\0\0\0\x01\0\x01k\x0c\x7f\xff\xff\xff",
            b"\0\0\0\x01\0\x01k\x0b\x80\0\0\0",
            b"\0\0\0\x01\xff\xffk\0",
        ] {
            assert!(PropertyMap::decode(bytes).is_err(), "{bytes:x?}");
            assert!(find(bytes, "k").is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| {
            let mut bytes = b"\0\0\0\x01\0\x01k".to_vec();
            bytes.extend(b"\x0c\0\0\0\x01".repeat(depth));
            bytes.push(0);
            bytes
        };
        let fits = nested(DEPTH_MAX.into());
        assert!(PropertyMap::decode(&fits).is_ok());
        assert!(matches!(find(&fits, "k"), Ok(Some(ValueRef::List(_)))));
        let beyond = nested(100_000);
        assert_eq!(PropertyMap::decode(&beyond), Err(PropertyError::TooDeep));
        assert_eq!(find(&beyond, "k"), Err(PropertyError::TooDeep));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode_and_survives_damage(
            map in any_map(), cut: prop::sample::Index, flip: u8,
        ) {
            let mut bytes = map.encode().unwrap().to_vec();
            let again = PropertyMap::decode(&bytes).unwrap();
            prop_assert_eq!(again.encode().unwrap(), &bytes);
            let at = cut.index(bytes.len());
            prop_assert!(PropertyMap::decode(&bytes[..at]).is_err());
            bytes[at] ^= flip;
            drop(PropertyMap::decode(&bytes));
            drop(find(&bytes, "a"));
            drop(set(Some(&bytes), "a", &PropertyValue::Null));
        }

        #[test]
        fn find_set_and_remove_agree_with_the_decoded_map(map in any_map(), value in -5..5) {
            let value = PropertyValue::Int(value);
            let bytes = map.encode().unwrap();
            for name in ["a", "b", "\u{e9}", "\u{1f600}", ""] {
                prop_assert_eq!(find(&bytes, name).unwrap().is_some(), map.get(name).is_some());
                let changed = PropertyMap::decode(&set(Some(&bytes), name, &value).unwrap()).unwrap();
                prop_assert_eq!(changed.get(name), Some(&value));
                let left = remove(Some(&bytes), name).unwrap();
                if let Some(left) = &left {
                    prop_assert_eq!(find(left, name).unwrap(), None);
                }
                let others = map.iter().filter(|(key, _)| &***key != name).count();
                let left = left.map_or(0, |left| PropertyMap::decode(&left).unwrap().len());
                prop_assert_eq!(left, others);
            }
        }
    }
}
