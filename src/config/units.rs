//! Values as the XML writes them: booleans, numbers, memory sizes, milliseconds.

use std::fmt;
use std::time::Duration;

use super::uri::UriError;

/// Why a text is not the value it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("expected true or false")]
    NotABoolean,
    #[error("expected a whole number")]
    NotAnInteger,
    #[error("expected a number")]
    NotANumber,
    #[error("expected a number from {min} to {max}")]
    OutOfRange { min: i64, max: i64 },
    #[error("expected a memory size such as 64mb, 1 gb or 104857600")]
    NotAMemorySize,
    #[error("expected a time in milliseconds")]
    NotMilliseconds,
    #[error("expected one of {}", .allowed.join(", "))]
    NotOneOf { allowed: &'static [&'static str] },
    #[error("expected queue://NAME or topic://NAME")]
    NotADestination,
    #[error("expected a reference such as #id")]
    NotAReference,
    #[error("expected a value, not a reference to a bean")]
    AReference,
    #[error("expected a map of entries")]
    NotAMap,
    #[error("must not be empty")]
    Empty,
    #[error("not a selector: {0}")]
    NotASelector(String),
    #[error(transparent)]
    Uri(#[from] UriError),
}

/// A number of bytes. Written as digits with an optional unit (b, k, kb, m, mb, g, gb; any case,
/// powers of 1024, no decimals): `64 mb`, `1gb`, `104857600`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize(pub u64);

impl MemorySize {
    pub(crate) const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    pub(crate) const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The size in bytes, at most `i64::MAX`.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit_at);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" => 10,
            "m" | "mb" => 20,
            "g" | "gb" => 30,
            _ => return Err(BadValue::NotAMemorySize),
        };
        let number: i64 = digits.parse().map_err(|_| BadValue::NotAMemorySize)?;
        let bytes = number.checked_mul(1 << shift).ok_or(BadValue::NotAMemorySize)?;
        Ok(Self(bytes.unsigned_abs()))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A password: compared and used, never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A share of something, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl Percent {
    /// That share of `total`, rounded down.
    pub fn of(self, total: u64) -> u64 {
        let share = u128::from(total) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadValue> {
        integer::<u8>(text, 0, 100).map(Self)
    }
}

/// A time written with its unit; only `zkSessionTimeout` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationWithUnit(pub Duration);

/// `true` or `false`, any case. `yes`, `on` and `1` are refused, as ActiveMQ's schema does.
pub(crate) fn boolean(text: &str) -> Result<bool, BadValue> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(BadValue::NotABoolean),
    }
}

/// The booleans of Spring's `<property>` and of URI options: also yes/no, on/off, 1/0.
pub(crate) fn lenient_boolean(text: &str) -> Result<bool, BadValue> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(BadValue::NotABoolean),
    }
}

/// A decimal integer between `min` and `max`.
pub(crate) fn integer<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<T, BadValue> {
    let value: i64 = text.trim().parse().map_err(|_| BadValue::NotAnInteger)?;
    let out_of_range = BadValue::OutOfRange { min, max };
    if value < min || value > max {
        return Err(out_of_range);
    }
    T::try_from(value).map_err(|_| out_of_range)
}

/// A finite decimal number.
pub(crate) fn number(text: &str) -> Result<f64, BadValue> {
    let value: f64 = text.trim().parse().map_err(|_| BadValue::NotANumber)?;
    if value.is_finite() { Ok(value) } else { Err(BadValue::NotANumber) }
}

/// Milliseconds, zero or more.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, BadValue> {
    let ms: u64 = integer(text, 0, i64::MAX).map_err(|_| BadValue::NotMilliseconds)?;
    Ok(Duration::from_millis(ms))
}

/// Milliseconds where any negative number means "never".
pub(crate) fn milliseconds_or_never(text: &str) -> Result<Option<Duration>, BadValue> {
    let ms: i64 = integer(text, i64::MIN, i64::MAX).map_err(|_| BadValue::NotMilliseconds)?;
    Ok(u64::try_from(ms).ok().map(Duration::from_millis))
}

/// `2s`, `500ms`, `3 min`, `1h` or plain milliseconds.
pub(crate) fn duration_with_unit(text: &str) -> Result<Duration, BadValue> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(BadValue::NotMilliseconds),
    };
    let number: u64 = digits.parse().map_err(|_| BadValue::NotMilliseconds)?;
    let ms = number.checked_mul(factor).ok_or(BadValue::NotMilliseconds)?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_sizes() {
        for (text, bytes) in [
            ("64 mb", 64 << 20),
            ("1gb", 1 << 30),
            ("2 g", 2 << 30),
            ("62k", 62 << 10),
            ("62KB", 62 << 10),
            ("10 B", 10),
            (" 104857600 ", 104_857_600),
            ("0", 0),
        ] {
            assert_eq!(MemorySize::parse(text), Ok(MemorySize(bytes)), "{text}");
        }
        for text in ["1 zz", "1.5gb", "", "mb", "-1", "99999999999g", "1 m b", "10 tb"] {
            assert_eq!(MemorySize::parse(text), Err(BadValue::NotAMemorySize), "{text}");
        }
    }

    #[test]
    fn booleans_of_elements_are_stricter_than_those_of_beans() {
        assert_eq!(boolean(" TRUE "), Ok(true));
        assert_eq!(boolean("False"), Ok(false));
        for text in ["yes", "on", "1", ""] {
            assert_eq!(boolean(text), Err(BadValue::NotABoolean));
        }
        assert_eq!(lenient_boolean("On"), Ok(true));
        assert_eq!(lenient_boolean("0"), Ok(false));
        assert_eq!(lenient_boolean("maybe"), Err(BadValue::NotABoolean));
    }

    #[test]
    fn times() {
        assert_eq!(milliseconds("30000"), Ok(Duration::from_secs(30)));
        assert_eq!(milliseconds("-1"), Err(BadValue::NotMilliseconds));
        assert_eq!(milliseconds("30s"), Err(BadValue::NotMilliseconds));
        assert_eq!(milliseconds_or_never("-1"), Ok(None));
        assert_eq!(duration_with_unit("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration_with_unit("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration_with_unit("2 fortnights"), Err(BadValue::NotMilliseconds));
    }

    #[test]
    fn integers_know_their_range() {
        assert_eq!(integer::<u32>("7", 0, 10), Ok(7));
        assert_eq!(integer::<u32>("11", 0, 10), Err(BadValue::OutOfRange { min: 0, max: 10 }));
        assert_eq!(integer::<u32>("1e3", 0, 10), Err(BadValue::NotAnInteger));
        assert_eq!(number("0.5"), Ok(0.5));
        assert_eq!(number("NaN"), Err(BadValue::NotANumber));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,30}") {
            drop(MemorySize::parse(&text));
            drop(boolean(&text));
            drop(milliseconds_or_never(&text));
            drop(duration_with_unit(&text));
            drop(number(&text));
        }

        #[test]
        fn printed_sizes_read_back(bytes in 0..=i64::MAX as u64) {
            let size = MemorySize(bytes);
            prop_assert_eq!(MemorySize::parse(&size.to_string()), Ok(size));
        }
    }
}
