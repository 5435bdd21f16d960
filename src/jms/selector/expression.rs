//! The tree of a parsed selector.
//!
//! The parser bounds its depth, so the recursive walks over it (evaluation, drop) are safe.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::function::Call;
use super::like::LikePattern;
use super::value::Value;

#[derive(Debug)]
pub(super) enum Expression {
    /// A literal. [`Value::Other`] is an integer beyond 64 bits, which equals nothing.
    Constant(Value<'static>),
    /// A header or property; equal names of one selector share their text.
    Property(Arc<str>),
    /// Two or more conditions.
    Or(Vec<Self>),
    /// Two or more conditions.
    And(Vec<Self>),
    Not(Box<Self>),
    IsNull(Box<Self>),
    Equal(Box<[Self; 2]>),
    Compare(Relation, Box<[Self; 2]>),
    Between(Box<Between>),
    Like(Box<Self>, LikePattern),
    In(Arc<str>, BTreeSet<Box<str>>),
    Arithmetic(Operator, Box<[Self; 2]>),
    Negate(Box<Self>),
    Call(Box<Call>),
}

/// `operand [NOT] BETWEEN low AND high`.
#[derive(Debug)]
pub(super) struct Between {
    pub(super) operand: Expression,
    pub(super) low: Expression,
    pub(super) high: Expression,
    /// `NOT BETWEEN` is `< low OR > high`: unlike NOT, it is FALSE for a string and two numbers.
    pub(super) outside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// What the parser must know of an operand to accept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TRUE, FALSE or unknown by construction.
    Condition,
    /// A literal TRUE or FALSE.
    Boolean,
    /// The literal NULL.
    Null,
    /// A string literal.
    Text,
    /// A number literal.
    Number,
    /// Known only from the message.
    Property,
    /// Arithmetic, or a function that gives no boolean.
    Computed,
}

impl Kind {
    /// Whether it may stand where a condition is needed.
    pub(super) fn is_condition(self) -> bool {
        matches!(self, Self::Condition | Self::Boolean | Self::Null | Self::Property)
    }

    /// Whether it may stand beside `<`, `>` or in BETWEEN.
    pub(super) fn has_order(self) -> bool {
        matches!(self, Self::Number | Self::Property | Self::Computed)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Condition => "a condition",
            Self::Boolean => "TRUE or FALSE",
            Self::Null => "NULL",
            Self::Text => "a string",
            Self::Number => "a number",
            Self::Property => "a property",
            Self::Computed => "a computed value",
        }
    }
}

/// What a header or property is equal to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Required<'a> {
    Text(&'a str),
    /// A number of any kind with this value: see [`Value::whole`].
    Number(i64),
}

/// From here on whole numbers that differ may be the same `Double`.
const WHOLE_MAX: u64 = 1 << 53;

impl Expression {
    /// A name, and what it must be equal to for this to be true.
    pub(super) fn required(&self) -> Option<(&str, Required<'_>)> {
        match self {
            Self::And(operands) => operands.iter().find_map(Self::required),
            Self::Equal(pair) => match &**pair {
                [Self::Property(name), other] | [other, Self::Property(name)] => {
                    let required = match other {
                        Self::Constant(Value::String(text)) => Required::Text(text),
                        number => Required::Number(number.whole()?),
                    };
                    Some((name, required))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The whole number that this always is, if a `Double` has room for it.
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Constant(value) => value.whole().filter(|n| n.unsigned_abs() < WHOLE_MAX),
            Self::Negate(operand) => operand.whole().map(|n| -n),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Constant(Value::Null) => Kind::Null,
            Self::Constant(Value::Boolean(_)) => Kind::Boolean,
            Self::Constant(Value::String(_)) => Kind::Text,
            Self::Constant(_) => Kind::Number,
            Self::Property(_) => Kind::Property,
            Self::Arithmetic(..) | Self::Negate(_) => Kind::Computed,
            Self::Call(call) if !call.is_condition() => Kind::Computed,
            _ => Kind::Condition,
        }
    }
}
