//! Which values are equal, and which come first.
//!
//! ActiveMQ decides by the Java classes of the two sides, the left one leading. Numbers compare
//! after widening, with these gaps, all observed:
//!
//! | left | right | |
//! |---|---|---|
//! | Short, Int, Long, Float, Double | Byte | never true |
//! | Int, Long, Float, Double | Short | never true |
//! | Double | Float | fails |
//! | Int, Long | Float, and the reverse | compared as `f32` |

use std::cmp::Ordering;

use super::evaluate::Failure;
use super::expression::Relation;
use super::value::Value;

/// `left = right`. Null equals null; null on the left alone is unknown, on the right alone FALSE.
pub(super) fn equal(
    left: &Value<'_>,
    right: &Value<'_>,
    convert_strings: bool,
) -> Result<Option<bool>, Failure> {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(Some(true)),
        (Value::Null, _) => Ok(None),
        (_, Value::Null) => Ok(Some(false)),
        (Value::String(left), Value::String(right)) => Ok(Some(left == right)),
        (Value::List(_), _) | (_, Value::List(_)) => Ok(Some(left.is_same(right))),
        _ => Ok(Some(order(left, right, convert_strings)? == Some(Ordering::Equal))),
    }
}

/// `left relation right`: unknown if either is null, FALSE for kinds that do not compare.
pub(super) fn holds(
    left: &Value<'_>,
    relation: Relation,
    right: &Value<'_>,
    convert_strings: bool,
) -> Result<Option<bool>, Failure> {
    if left.is_null() || right.is_null() {
        return Ok(None);
    }
    let order = order(left, right, convert_strings)?;
    Ok(Some(order.is_some_and(|order| match relation {
        Relation::Less => order.is_lt(),
        Relation::LessEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::GreaterEqual => order.is_ge(),
    })))
}

/// How two values that are not null compare, `None` if their kinds do not.
fn order(
    left: &Value<'_>,
    right: &Value<'_>,
    convert_strings: bool,
) -> Result<Option<Ordering>, Failure> {
    Ok(match (left, right) {
        // By UTF-16 code units, as Java; only characters beyond U+FFFF make a difference.
        (Value::String(left), Value::String(right)) => {
            Some(left.encode_utf16().cmp(right.encode_utf16()))
        }
        (Value::Boolean(_), Value::String(_)) if convert_strings => return Err(Failure),
        (Value::String(left), right) if convert_strings => {
            parse(left, right).and_then(|left| same_kind_order(&left, right))
        }
        (left, Value::String(right)) if convert_strings => {
            parse(right, left).and_then(|right| same_kind_order(left, &right))
        }
        (Value::List(_), _) | (_, Value::List(_)) => return Err(Failure),
        (Value::Double(_), Value::Float(_)) => return Err(Failure),
        _ => same_kind_order(left, right).or_else(|| widened_order(left, right)),
    })
}

fn same_kind_order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::Byte(left), Value::Byte(right)) => left.cmp(right),
        (Value::Short(left), Value::Short(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Long(left), Value::Long(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => float_order((*left).into(), (*right).into()),
        (Value::Double(left), Value::Double(right)) => float_order(*left, *right),
        (Value::Char(left), Value::Char(right)) => left.cmp(right),
        _ => return None,
    })
}

/// Numbers of different kinds; see the table above for those that do not compare.
fn widened_order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (_, Value::Byte(_)) => None,
        (Value::Byte(left), Value::Short(right)) => Some(i16::from(*left).cmp(right)),
        (_, Value::Short(_)) => None,
        (Value::Double(_), _) | (_, Value::Double(_)) => {
            Some(float_order(left.to_f64()?, right.to_f64()?))
        }
        (Value::Float(_), _) | (_, Value::Float(_)) => {
            Some(float_order(left.to_f32()?.into(), right.to_f32()?.into()))
        }
        _ => Some(left.to_i64()?.cmp(&right.to_i64()?)),
    }
}

/// As `Double.compare`: -0.0 before 0.0, NaN equal to itself and after everything.
fn float_order(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => left.total_cmp(&right),
        (left, right) => left.cmp(&right),
    }
}

/// `text` as a value of the kind of `like`, by the rules of Java's `valueOf`.
fn parse(text: &str, like: &Value<'_>) -> Option<Value<'static>> {
    match like {
        Value::Boolean(_) => Some(Value::Boolean(text.eq_ignore_ascii_case("true"))),
        Value::Byte(_) => text.parse().ok().map(Value::Byte),
        Value::Short(_) => text.parse().ok().map(Value::Short),
        Value::Int(_) => text.parse().ok().map(Value::Int),
        Value::Long(_) => text.parse().ok().map(Value::Long),
        Value::Float(_) => float_text(text)?.parse().ok().map(Value::Float),
        Value::Double(_) => float_text(text)?.parse().ok().map(Value::Double),
        _ => None,
    }
}

/// The part of `text` Rust has to parse where Java accepts a floating point number: Java trims and
/// takes a suffix, Rust takes more names for infinity.
fn float_text(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return Some(text);
    }
    if !unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit()) {
        return None;
    }
    Some(text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text))
}
