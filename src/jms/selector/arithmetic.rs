//! Arithmetic on numbers, as Java does it.
//!
//! With a Float or Double the result is a Double, else with a Long a Long, else an Int; integers
//! wrap. `/` and `%` always give a Double, so division by zero is an infinity or NaN.

use super::evaluate::Failure;
use super::expression::Operator;
use super::value::Value;

/// `left operator right`; neither is null.
pub(super) fn apply(
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Value<'static>, Failure> {
    let is_integer = |value: &Value<'_>| value.to_i64().is_some();
    if is_integer(left) && is_integer(right) {
        let integer: fn(i64, i64) -> i64 = match operator {
            Operator::Add => i64::wrapping_add,
            Operator::Subtract => i64::wrapping_sub,
            Operator::Multiply => i64::wrapping_mul,
            Operator::Divide | Operator::Modulo => return apply_f64(operator, left, right),
        };
        let result = integer(left.to_i64().ok_or(Failure)?, right.to_i64().ok_or(Failure)?);
        return Ok(match (left, right) {
            (Value::Long(_), _) | (_, Value::Long(_)) => Value::Long(result),
            // The low 32 bits of the 64-bit result are the wrapped 32-bit result.
            _ => Value::Int(result as i32),
        });
    }
    apply_f64(operator, left, right)
}

fn apply_f64(
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Value<'static>, Failure> {
    let (left, right) = (left.to_f64().ok_or(Failure)?, right.to_f64().ok_or(Failure)?);
    Ok(Value::Double(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => left % right,
    }))
}

/// `-value`: fails for Byte and Short, is unknown for what is no number (both observed).
pub(super) fn negate(value: &Value<'_>) -> Result<Value<'static>, Failure> {
    Ok(match value {
        Value::Int(v) => Value::Int(v.wrapping_neg()),
        Value::Long(v) => Value::Long(v.wrapping_neg()),
        Value::Float(v) => Value::Float(-v),
        Value::Double(v) => Value::Double(-v),
        Value::Byte(_) | Value::Short(_) => return Err(Failure),
        // An integer literal beyond 64 bits stays beyond.
        Value::Other => Value::Other,
        Value::Null | Value::Boolean(_) | Value::Char(_) | Value::String(_) | Value::List(_) => {
            Value::Null
        }
    })
}

/// Widening; `None` for what is no number, `to_i64` also for a float.
impl Value<'_> {
    pub(super) fn to_i64(&self) -> Option<i64> {
        match self {
            Self::Byte(v) => Some((*v).into()),
            Self::Short(v) => Some((*v).into()),
            Self::Int(v) => Some((*v).into()),
            Self::Long(v) => Some(*v),
            _ => None,
        }
    }

    /// The nearest `f32`; a Double is not narrowed.
    pub(super) fn to_f32(&self) -> Option<f32> {
        match self {
            Self::Float(v) => Some(*v),
            _ => self.to_i64().map(|v| v as f32),
        }
    }

    pub(super) fn to_f64(&self) -> Option<f64> {
        match self {
            Self::Float(v) => Some((*v).into()),
            Self::Double(v) => Some(*v),
            _ => self.to_i64().map(|v| v as f64),
        }
    }
}
