//! The macros that declare tables, choices and words; [`super::table`] explains them.

/// One struct per element: see the head of this file.
///
/// ```text
/// element! {
///     /// What the element is for.
///     pub struct KahaDb = "kahaDB" {
///         /// What the field means; XML name and default are added.
///         journal_max_file: MemorySize = "journalMaxFileLength", MemorySize::mib(32), active;
///         older: bool = "newName" | "oldName", false, later;
///     }
///     without_effect { "oneThing" = "its default", "another" }
///     required { "directory" = "what it is, for the error" }
/// }
/// ```
macro_rules! element {
    (
        $(#[$meta:meta])*
        $vis:vis struct $Bean:ident = $($element:literal)|* {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty = $($name:literal)|+ , $default:expr ,
                    $state:ident $(($why:literal))? ;
            )*
        }
        $( without_effect { $( $ignored:literal $(= $plain:literal)? ),* $(,)? } )?
        $( required { $( $($required:literal)|+ = $what:literal ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $Bean {
            /// Where it stands; the default if it was not written.
            pub place: $crate::config::report::Place,
            $(
                $(#[$field_meta])*
                #[doc = ""]
                #[doc = concat!(
                    "XML:", $(" `", $name, "`",)+ ", default `", stringify!($default), "`."
                )]
                pub $field: $type,
            )*
        }

        impl Default for $Bean {
            fn default() -> Self {
                Self { place: $crate::config::report::Place::default(), $( $field: $default, )* }
            }
        }

        impl $crate::config::table::Table for $Bean {
            const ELEMENTS: &'static [&'static str] = &[$($element),*];
            const NAMES: &'static [&'static str] = &[$( $($name,)+ )* $( $($ignored,)* )?];
            $( const REQUIRED: &'static [(&'static [&'static str], &'static str)] =
                &[$( (&[$($required),+], $what), )*]; )?

            fn set(
                &mut self,
                given: &$crate::config::table::Given<'_>,
                reading: &mut $crate::config::table::Reading<'_>,
            ) -> bool {
                match given.name {
                    $( $($name)|+ => {
                        let state = $crate::config::macros::state!($state $(($why))?);
                        reading.fill(&mut self.$field, given, state);
                        true
                    } )*
                    $( $( $ignored => {
                        reading.skip(given, $crate::config::macros::plain!($($plain)?));
                        true
                    } )* )?
                    _ => false,
                }
            }

            fn stands_at(&mut self, place: &$crate::config::report::Place) {
                self.place = place.clone();
            }
        }
    };
}

/// An enum with one variant per element that can stand in a place; see [`element!`].
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $Choice:ident {
            $(
                $(#[$variant_meta:meta])*
                $Variant:ident $(($Bean:ty))? = $($name:literal)|+ ,
                    $state:ident $(($why:literal))? ;
            )*
        }
        $( without_effect { $( $ignored:literal ),* $(,)? } )?
        $( refused { $( $($refused:literal)|+ => $hint:literal ),* $(,)? } )?
        $( foreign_bean = $foreign:path; )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "a broker has a handful of them at most")]
        pub enum $Choice {
            $(
                $(#[$variant_meta])*
                #[doc = concat!($("`<", $name, ">` ",)+)]
                $Variant $(($Bean))?,
            )*
        }

        impl $crate::config::table::Bean for $Choice {
            const ELEMENTS: &'static [&'static str] =
                &[$( $($name,)+ )* $( $($ignored,)* )? $( $( $($refused,)+ )* )?];

            fn of_element(
                element: &$crate::config::xml::Element,
                reading: &mut $crate::config::table::Reading<'_>,
            ) -> Option<Self> {
                use $crate::config::macros::state;
                use $crate::config::table::State;
                match element.name.as_str() {
                    $(
                        $($name)|+ => {
                            let state = state!($state $(($why))?);
                            reading.note_element(element, state);
                            reading.quietly(state != State::Active, |reading| {
                                $crate::config::macros::variant!(
                                    Self $Variant $(($Bean))? element reading
                                )
                            })
                        }
                    )*
                    $( $( $ignored => {
                        reading.note_element(element, State::Ignored(None));
                        None
                    } )* )?
                    $( $( $($refused)|+ => {
                        let element_name = element.name.clone();
                        reading.error(&element.place, $crate::config::report::Problem::Refused {
                            element: element_name,
                            hint: $hint,
                        });
                        None
                    } )* )?
                    _ => None,
                }
            }

            $(
                fn foreign_bean(
                    class: &str,
                    element: &$crate::config::xml::Element,
                    reading: &mut $crate::config::table::Reading<'_>,
                ) {
                    $foreign(class, element, reading);
                }
            )?
        }
    };
}

/// Words of an attribute into an enum; case does not matter.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $Word:ident {
            $( $(#[$variant_meta:meta])* $Variant:ident = $($text:literal)|+ ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Word {
            $( $(#[$variant_meta])* #[doc = concat!($("`", $text, "` ",)+)] $Variant, )+
        }

        impl $crate::config::table::Property for $Word {
            fn read(
                given: &$crate::config::table::Given<'_>,
                reading: &mut $crate::config::table::Reading<'_>,
            ) -> Option<Self> {
                reading.scalar(given, |text| {
                    let text = text.trim();
                    $( if $( text.eq_ignore_ascii_case($text) )||+ { return Ok(Self::$Variant); } )+
                    Err($crate::config::units::BadValue::NotOneOf { allowed: &[$( $($text,)+ )+] })
                })
            }
        }
    };
}

macro_rules! state {
    (active) => {
        $crate::config::table::State::Active
    };
    (later) => {
        $crate::config::table::State::Later
    };
    (security) => {
        $crate::config::table::State::Security
    };
    (ignored) => {
        $crate::config::table::State::Ignored(None)
    };
    (ignored($why:literal)) => {
        $crate::config::table::State::Ignored(Some($why))
    };
}

macro_rules! plain {
    () => {
        None
    };
    ($plain:literal) => {
        Some($plain)
    };
}

macro_rules! variant {
    (Self $Variant:ident ($Bean:ty) $element:ident $reading:ident) => {
        <$Bean as $crate::config::table::Bean>::of_element($element, $reading).map(Self::$Variant)
    };
    (Self $Variant:ident $element:ident $reading:ident) => {
        <$crate::config::table::Bare as $crate::config::table::Bean>::of_element($element, $reading)
            .map(|_| Self::$Variant)
    };
}

pub(crate) use {choice, element, plain, state, variant, words};
