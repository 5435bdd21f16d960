//! Every type of OpenWire, once: its fields in wire order.
//!
//! `wire!` turns a list of fields into the code that reads and writes it, for both encodings.
//! An entry is `field: wire type "nameInActiveMQ"`; the wire type is the name of a method of
//! `Input` and `Output`. `since` and `until` are the versions that have the field; without it, its
//! value is the one after `or`, else the type's default.

mod commands;
mod described;
mod dispatch;
mod ids;
mod message;
mod objects;

pub use dispatch::Dispatch;

use super::WireError;
use super::input::Input;
use super::output::Output;
use std::sync::Arc;

pub(super) use described::{append_stored_form, from_stored_form, to_stored_form};
pub(super) use dispatch::DispatchView;

/// Reads the fields of an object whose type code has been read.
pub(super) trait Decode: Sized {
    /// Refuses a `code` that is not this type's; `field` is where the object was found.
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError>;
}

/// Writes the fields of an object.
pub(super) trait Encode {
    /// The type code to write in front.
    fn code(&self) -> u8;

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError>;
}

/// Types that can come with a frame of their own inside another one: `WireFormatInfo` and messages.
pub(super) fn is_marshal_aware(code: u8) -> bool {
    code == 1 || (23..=29).contains(&code)
}

/// Whether any version has a type with this code.
fn exists(code: u8) -> bool {
    matches!(
        code,
        1..=12 | 14..=34 | 40 | 50 | 52..=55 | 60 | 61 | 65 | 90..=92 | 100..=103 | 110..=112
            | 120..=124
    )
}

#[cold]
fn wrong_type(code: u8, field: &'static str) -> WireError {
    match exists(code) {
        true => WireError::UnexpectedType { field, code },
        false => WireError::UnknownType { field, code },
    }
}

/// Whether a field with these bounds, none or one each, is in `version`.
#[inline]
fn is_in(version: i32, since: &[i32], until: &[i32]) -> bool {
    since.iter().all(|&since| version >= since) && until.iter().all(|&until| version <= until)
}

/// Declares how a type travels: `Name = code, since version, also View => command { fields }`.
///
/// `command` stands for the two fields all commands begin with; views are structs with the same
/// fields, which are only written. A type with several codes says which it reads and which an object
/// has, and `then` how the field that tells them apart is read and written.
macro_rules! wire {
    ($type:ident = $code:literal $($rest:tt)*) => {
        wire! { $type = ($code, _object, $code) $($rest)* }
    };
    (
        $type:ident = $code:tt $(, since $since:literal)? $(, also $view:ident<$life:lifetime>)?
        => command { $($fields:tt)* } $($last:tt)*
    ) => {
        wire! {
            $type = $code $(, since $since)? $(, also $view<$life>)? => {
                command_id: int "commandId",
                response_required: bool "responseRequired",
                $($fields)*
            } $($last)*
        }
    };
    (
        $type:ident = $code:tt, also $view:ident<$life:lifetime>
        => $fields:tt $(then $last:tt)?
    ) => {
        wire! { $type = $code => $fields $(then $last)? }
        wire! { @write $type, $view<$life> $code [] $fields [$($last)?] }
    };
    ($type:ident = $code:tt $(, since $since:literal)? => $fields:tt $(then $last:tt)?) => {
        wire! { @read $type $code [$($since)?] $fields [$($last)?] }
        wire! { @write $type, $type $code [$($since)?] $fields [$($last)?] }
        #[cfg(test)]
        wire! { @json $type $fields [$($last)?] }
    };
    (
        @read $type:ident ($codes:pat, $object:ident, $code:expr) [$($type_since:literal)?]
        {$(
            $field:ident: $wire:ident $name:literal
            $(since $since:literal)? $(until $until:literal)? $(or $absent:literal)?,
        )*}
        [$(($last:ident, $read_last:ident, $write_last:ident))?]
    ) => {
        impl super::Decode for $type {
            fn decode<const TIGHT: bool>(
                code: u8,
                input: &mut super::Input<'_, TIGHT>,
                field: &'static str,
            ) -> Result<Self, super::WireError> {
                if !matches!(code, $codes) {
                    return Err(super::wrong_type(code, field));
                }
                $(input.format().has_type(code, $type_since)?;)?
                $(let $field = if super::is_in(input.format().version, &[$($since)?], &[$($until)?]) {
                    input.$wire(concat!(stringify!($type), ".", $name))?
                } else {
                    wire!(@absent $($absent)?)
                };)*
                $(let $last = $read_last(code, input)?;)?
                Ok(Self { $($field,)* $($last)? })
            }
        }
    };
    (
        @write $type:ident, $view:ident $(<$life:lifetime>)?
        ($codes:pat, $object:ident, $code:expr) [$($type_since:literal)?]
        {$(
            $field:ident: $wire:ident $name:literal
            $(since $since:literal)? $(until $until:literal)? $(or $absent:literal)?,
        )*}
        [$(($last:ident, $read_last:ident, $write_last:ident))?]
    ) => {
        impl super::Encode for $view $(<$life>)? {
            fn code(&self) -> u8 {
                let $object = self;
                $code
            }

            fn encode<const TIGHT: bool>(
                &self,
                out: &mut super::Output<'_, TIGHT>,
            ) -> Result<(), super::WireError> {
                $(out.format().has_type(self.code(), $type_since)?;)?
                $(if super::is_in(out.format().version, &[$($since)?], &[$($until)?]) {
                    out.$wire(&self.$field, concat!(stringify!($type), ".", $name))?;
                })*
                $($write_last(&self.$last, out)?;)?
                Ok(())
            }
        }
    };
    (@absent) => { Default::default() };
    (@absent $absent:literal) => { $absent };
    (
        @json $type:ident
        {$(
            $field:ident: $wire:ident $name:literal
            $(since $since:literal)? $(until $until:literal)? $(or $absent:literal)?,
        )*}
        [$(($last:ident, $read_last:ident, $write_last:ident))?]
    ) => {
        impl crate::protocol::openwire::codec::tests::json::ToJson for $type {
            fn to_json(&self, version: i32) -> serde_json::Value {
                #[allow(unused_imports, reason = "for types with several codes")]
                use crate::protocol::openwire::codec::tests::json::AddToJson as _;
                let mut object = serde_json::Map::new();
                object.insert("$type".to_owned(), stringify!($type).into());
                $(if super::is_in(version, &[$($since)?], &[$($until)?]) {
                    object.insert($name.to_owned(), self.$field.to_json(version));
                })*
                $(self.$last.add_to_json(&mut object);)?
                object.into()
            }
        }
    };
}
use wire;

impl<T: Decode> Decode for Arc<T> {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        T::decode(code, input, field).map(Self::new)
    }
}

impl<T: Encode> Encode for Arc<T> {
    fn code(&self) -> u8 {
        (**self).code()
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        (**self).encode(out)
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode<const TIGHT: bool>(
        code: u8,
        input: &mut Input<'_, TIGHT>,
        field: &'static str,
    ) -> Result<Self, WireError> {
        T::decode(code, input, field).map(Self::new)
    }
}

impl<T: Encode> Encode for Box<T> {
    fn code(&self) -> u8 {
        (**self).code()
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        (**self).encode(out)
    }
}

impl<T: Encode> Encode for &T {
    fn code(&self) -> u8 {
        (**self).code()
    }

    fn encode<const TIGHT: bool>(&self, out: &mut Output<'_, TIGHT>) -> Result<(), WireError> {
        (**self).encode(out)
    }
}
