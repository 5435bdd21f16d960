//! The values selectors compute with, and their text as Java prints it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The value of a header, a property or a part of a selector. The kinds are Java's, because
/// ActiveMQ compares by class: a `Byte` on the right equals no `Int`.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Absent, or unknown.
    Null,
    /// `Boolean`.
    Boolean(bool),
    /// `Byte`.
    Byte(i8),
    /// `Short`.
    Short(i16),
    /// `Integer`.
    Int(i32),
    /// `Long`.
    Long(i64),
    /// `Float`.
    Float(f32),
    /// `Double`.
    Double(f64),
    /// `Character`, one UTF-16 code unit: comparable with its like only, never with a string.
    Char(u16),
    /// `String`.
    String(Cow<'a, str>),
    /// A list property, or what `MAKELIST` and `SPLIT` give.
    List(Vec<Self>),
    /// Anything else a message can hold (a map): not null, equal to nothing.
    Other,
}

impl<'a> From<Option<bool>> for Value<'a> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Boolean)
    }
}

impl Value<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The number, if it is whole and exact: of kinds that compare as more than a `Float`.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Double(v) if v.fract() == 0.0 => Some(*v as i64),
            _ => self.to_i64(),
        }
    }

    /// The value as a condition: TRUE only if it is the boolean TRUE, unknown (`None`) if null.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Null => None,
            Self::Boolean(truth) => Some(*truth),
            _ => Some(false),
        }
    }

    /// Java's `equals`: the same class and the same value, NaN being itself.
    pub(super) fn is_same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Boolean(a), Value::Boolean(b)) => a == b,
            (Self::Byte(a), Value::Byte(b)) => a == b,
            (Self::Short(a), Value::Short(b)) => a == b,
            (Self::Int(a), Value::Int(b)) => a == b,
            (Self::Long(a), Value::Long(b)) => a == b,
            (Self::Float(a), Value::Float(b)) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            (Self::Double(a), Value::Double(b)) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            (Self::Char(a), Value::Char(b)) => a == b,
            (Self::String(a), Value::String(b)) => a == b,
            (Self::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            _ => false,
        }
    }

    /// Appends the text Java's `toString` gives. `spend` is asked before each string is added and
    /// may stop it. `None` if it did, and for [`Value::Other`], whose text is not known here.
    pub(super) fn print(
        &self,
        out: &mut String,
        spend: &dyn Fn(usize) -> Option<()>,
    ) -> Option<()> {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(v) => out.push_str(if *v { "true" } else { "false" }),
            Self::Byte(v) => write!(out, "{v}").ok()?,
            Self::Short(v) => write!(out, "{v}").ok()?,
            Self::Int(v) => write!(out, "{v}").ok()?,
            Self::Long(v) => write!(out, "{v}").ok()?,
            Self::Float(v) => print_float(&format!("{v:e}"), f64::from(*v), out)?,
            Self::Double(v) => print_float(&format!("{v:e}"), *v, out)?,
            Self::Char(v) => {
                out.push(char::from_u32((*v).into()).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Self::String(v) => {
                spend(v.len())?;
                out.push_str(v);
            }
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    item.print(out, spend)?;
                }
                out.push(']');
            }
            Self::Other => return None,
        }
        Some(())
    }
}

/// Writes a number as `Double.toString` does. `scientific` is its shortest form `d.ddde-x`; Java
/// writes 10^-3 up to 10^7 plainly, the rest as `d.dddE-x`, and always a digit after the point.
fn print_float(scientific: &str, value: f64, out: &mut String) -> Option<()> {
    if value.is_nan() {
        out.push_str("NaN");
        return Some(());
    }
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
        return Some(());
    }
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let digits = match mantissa.strip_prefix('-') {
        Some(digits) => {
            out.push('-');
            digits
        }
        None => mantissa,
    };
    let (first, rest) = digits.split_once('.').unwrap_or((digits, ""));
    match exponent {
        0..7 => {
            let whole = usize::try_from(exponent).ok()?;
            out.push_str(first);
            out.extend(rest.chars().chain(std::iter::repeat('0')).take(whole));
            out.push('.');
            match rest.get(whole..) {
                Some(fraction) if !fraction.is_empty() => out.push_str(fraction),
                _ => out.push('0'),
            }
        }
        -3..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', usize::try_from(-exponent - 1).ok()?));
            out.push_str(first);
            out.push_str(rest);
        }
        _ => {
            let fraction = if rest.is_empty() { "0" } else { rest };
            write!(out, "{first}.{fraction}E{exponent}").ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: Value<'_>) -> String {
        let mut out = String::new();
        assert_eq!(value.print(&mut out, &|_| Some(())), Some(()));
        out
    }

    #[test]
    fn floats_print_as_java_prints_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (100.0, "100.0"),
            (1_234_567.25, "1234567.25"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456_789.5, "1.234567895E8"),
            (0.001, "0.001"),
            (0.0125, "0.0125"),
            (0.000_1, "1.0E-4"),
            (-1.5e-5, "-1.5E-5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(printed(Value::Double(value)), text);
        }
        assert_eq!(printed(Value::Float(0.1)), "0.1");
        assert_eq!(printed(Value::Float(16_777_216.0)), "1.6777216E7");
    }

    #[test]
    fn lists_print_as_java_prints_them() {
        let list = vec![Value::String("a".into()), Value::Int(5), Value::Null, Value::Char(0xe9)];
        assert_eq!(printed(Value::List(list)), "[a, 5, null, \u{e9}]");
        let other = Value::List(vec![Value::Other]);
        assert_eq!(other.print(&mut String::new(), &|_| Some(())), None);
    }
}
