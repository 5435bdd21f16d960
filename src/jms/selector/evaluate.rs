//! A selector's answer for one message, in three-valued logic.
//!
//! `None` is unknown. A failure (ActiveMQ: a Java exception) is neither: it ends the evaluation
//! unless an earlier operand of AND or OR has decided already.

use std::borrow::Cow;
use std::cell::Cell;

use super::Source;
use super::arithmetic;
use super::compare;
use super::expression::{Between, Expression, Operator, Relation};
use super::value::Value;

/// What one evaluation may build, and scan character by character, bytes. Concatenating, REPLACE
/// and SPLIT could otherwise multiply a message's size, and repeated searches take its square.
const WORK_MAX: usize = 1024 * 1024;

/// The selector cannot be evaluated for this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure;

/// Evaluates against the message behind `source`.
pub(super) fn evaluation<S: Source + ?Sized>(
    source: &S,
    convert_strings: bool,
) -> Evaluation<'_, S> {
    Evaluation { source, convert_strings, work: Cell::new(WORK_MAX) }
}

pub(super) struct Evaluation<'e, S: ?Sized> {
    source: &'e S,
    convert_strings: bool,
    /// What is left of [`WORK_MAX`].
    work: Cell<usize>,
}

impl<'e, S: Source + ?Sized> Evaluation<'e, S> {
    /// Whether `expression` is TRUE. Up to the first NOT or comparison it makes no difference
    /// whether something is FALSE or unknown, so an AND ends at either.
    pub(super) fn matches(&self, expression: &'e Expression) -> Result<bool, Failure> {
        let (operands, decisive) = match expression {
            Expression::And(operands) => (operands, false),
            Expression::Or(operands) => (operands, true),
            other => return Ok(self.condition(other)? == Some(true)),
        };
        for operand in operands {
            if self.matches(operand)? == decisive {
                return Ok(decisive);
            }
        }
        Ok(!decisive)
    }

    /// The truth of `expression`.
    pub(super) fn condition(&self, expression: &'e Expression) -> Result<Option<bool>, Failure> {
        match expression {
            Expression::And(operands) => self.first_of(false, operands),
            Expression::Or(operands) => self.first_of(true, operands),
            Expression::Not(operand) => Ok(self.condition(operand)?.map(|truth| !truth)),
            Expression::IsNull(operand) => Ok(Some(self.value(operand)?.is_null())),
            Expression::Equal(pair) => {
                let [left, right] = &**pair;
                let (left, right) = (self.value(left)?, self.value(right)?);
                compare::equal(&left, &right, self.convert_strings)
            }
            Expression::Compare(relation, pair) => {
                let [left, right] = &**pair;
                self.compare(&self.value(left)?, *relation, right)
            }
            Expression::Between(between) => self.between(between),
            Expression::Like(operand, pattern) => Ok(match self.value(operand)? {
                Value::Null => None,
                Value::String(text) => {
                    if pattern.searches_by_character() {
                        self.spend(text.len())?;
                    }
                    Some(pattern.matches(&text))
                }
                _ => Some(false),
            }),
            Expression::In(name, strings) => Ok(match self.source.value(name) {
                Value::String(text) => Some(strings.contains(&*text)),
                _ => None,
            }),
            _ => Ok(self.value(expression)?.truth()),
        }
    }

    pub(super) fn value(&self, expression: &'e Expression) -> Result<Value<'e>, Failure> {
        match expression {
            Expression::Constant(value) => Ok(borrow(value)),
            Expression::Property(name) => Ok(self.source.value(name)),
            Expression::Arithmetic(operator, pair) => {
                let [left, right] = &**pair;
                let left = self.value(left)?;
                if left.is_null() {
                    return Ok(Value::Null);
                }
                match (left, self.value(right)?) {
                    (_, Value::Null) => Ok(Value::Null),
                    (Value::String(left), right) if *operator == Operator::Add => {
                        self.concatenate(left, &right)
                    }
                    (left, right) => arithmetic::apply(*operator, &left, &right),
                }
            }
            Expression::Negate(operand) => arithmetic::negate(&self.value(operand)?),
            Expression::Call(call) => call.value(self),
            _ => Ok(self.condition(expression)?.into()),
        }
    }

    /// Takes `bytes` from what this evaluation may still build or scan.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Failure> {
        self.work.set(self.work.get().checked_sub(bytes).ok_or(Failure)?);
        Ok(())
    }

    /// Appends `value` as text.
    pub(super) fn print(&self, value: &Value<'_>, out: &mut String) -> Result<(), Failure> {
        value.print(out, &|bytes| self.spend(bytes).ok()).ok_or(Failure)
    }

    /// `decisive` if an operand is that, unknown if one is unknown, else the opposite; operands
    /// after a decisive one are not looked at.
    fn first_of(
        &self,
        decisive: bool,
        operands: &'e [Expression],
    ) -> Result<Option<bool>, Failure> {
        let mut outcome = Some(!decisive);
        for operand in operands {
            match self.condition(operand)? {
                Some(truth) if truth == decisive => return Ok(Some(decisive)),
                Some(_) => {}
                None => outcome = None,
            }
        }
        Ok(outcome)
    }

    /// `left relation right`; `right` is not looked at if `left` is null.
    fn compare(
        &self,
        left: &Value<'_>,
        relation: Relation,
        right: &'e Expression,
    ) -> Result<Option<bool>, Failure> {
        if left.is_null() {
            return Ok(None);
        }
        compare::holds(left, relation, &self.value(right)?, self.convert_strings)
    }

    fn between(&self, between: &'e Between) -> Result<Option<bool>, Failure> {
        let operand = self.value(&between.operand)?;
        let (decisive, low, high) = if between.outside {
            (true, Relation::Less, Relation::Greater)
        } else {
            (false, Relation::GreaterEqual, Relation::LessEqual)
        };
        let low = self.compare(&operand, low, &between.low)?;
        if low == Some(decisive) {
            return Ok(low);
        }
        let high = self.compare(&operand, high, &between.high)?;
        Ok(if high == Some(decisive) { high } else { low.and(high) })
    }

    fn concatenate(&self, left: Cow<'e, str>, right: &Value<'_>) -> Result<Value<'e>, Failure> {
        if matches!(left, Cow::Borrowed(_)) {
            self.spend(left.len())?;
        }
        let mut text = left.into_owned();
        self.print(right, &mut text)?;
        Ok(Value::String(text.into()))
    }
}

fn borrow<'e>(constant: &'e Value<'static>) -> Value<'e> {
    match constant {
        Value::String(text) => Value::String(Cow::Borrowed(text)),
        other => other.clone(),
    }
}
