//! Message selectors: the conditions of JMS 1.1 section 3.8.1, as ActiveMQ 5.17 reads them.
//!
//! ```text
//! text -> lexer -> parser -> Expression (checked, depth-bounded) -> evaluate(Source) -> bool
//! ```
//!
//! A selector is parsed once and then evaluated per message: comparison, `LIKE`, `IN` and
//! arithmetic on numbers allocate nothing. Owns the grammar and the rules of evaluation; knows no
//! message, only [`Source`].
//!
//! Invariants:
//! - Evaluation is linear in the message and never backtracks: `LIKE` is compiled (`like`), the
//!   regular expressions are automata (`function`), and one evaluation has a budget for what it
//!   builds and searches (1 MiB, see `evaluate`); past it there is no match.
//! - Text, nesting and depth of the tree are bounded, so neither parsing, evaluating nor dropping
//!   one can exhaust the stack.
//!
//! Where ActiveMQ departs from JMS, so does this: the rules, quirks included, were recorded from
//! ActiveMQ 5.17.2 and are kept in `tests/recorded.txt`. Departures from ActiveMQ, on purpose:
//! - An evaluation that dies of a Java exception there is a plain "no match" here.
//! - `XPATH` and `XQUERY` are refused.
//! - Patterns of `REGEX`, `REPLACE` and `SPLIT` are string literals and checked when parsed. Look
//!   around and back references are refused; `a++` is a plain repetition.
//! - An integer literal beyond 64 bits equals nothing there either, but here it also cannot be
//!   calculated with.

mod arithmetic;
mod compare;
mod evaluate;
mod expression;
mod function;
mod lexer;
mod like;
mod parser;
mod pool;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use expression::Expression;
pub use expression::Required;
pub use pool::SelectorPool;
pub use value::Value;

/// Longest selector text accepted, bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting of parentheses, and deepest tree, accepted. `AND` and `OR` chains are flat.
const DEPTH_MAX: usize = 64;

/// Prefix that makes strings convert to the kind of the other side of a comparison; ActiveMQ puts
/// it before the selectors of STOMP subscriptions.
const CONVERT_PREFIX: &str = "convert_string_expressions:";

/// Where identifiers get their values: the headers and properties of one message.
pub trait Source {
    /// The header or property called `name` (case matters), [`Value::Null`] when there is none.
    fn value(&self, name: &str) -> Value<'_>;
}

/// A parsed selector; a clone shares the parsed form.
#[derive(Clone)]
pub struct Selector {
    parsed: Arc<Parsed>,
}

struct Parsed {
    text: Box<str>,
    condition: Expression,
    convert_strings: bool,
}

impl Selector {
    /// Parses `text`.
    ///
    /// A blank text is an error: callers treat it as "no selector" before they get here.
    ///
    /// # Errors
    /// When `text` is not a selector, is not a condition, or exceeds a limit.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(SelectorError::TooLong { bytes: text.len() });
        }
        let convert_strings = text.starts_with(CONVERT_PREFIX);
        let start = if convert_strings { CONVERT_PREFIX.len() } else { 0 };
        let condition = parser::parse(text, start)?;
        let parsed = Parsed { text: text.into(), condition, convert_strings };
        Ok(Self { parsed: Arc::new(parsed) })
    }

    /// Whether the selector is TRUE for the message behind `source`; neither FALSE nor unknown nor
    /// an evaluation that fails (a string minus a number) is a match.
    pub fn matches(&self, source: &(impl Source + ?Sized)) -> bool {
        let Parsed { condition, convert_strings, .. } = &*self.parsed;
        evaluate::evaluation(source, *convert_strings).matches(condition) == Ok(true)
    }

    /// The same for selectors that share their parsed form.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.parsed).addr()
    }

    /// A header or property, and what it must be equal to wherever this matches. None if that cannot be
    /// said.
    pub fn required(&self) -> Option<(&str, Required<'_>)> {
        let Parsed { condition, convert_strings, .. } = &*self.parsed;
        if *convert_strings { None } else { condition.required() }
    }

    /// The text this was parsed from.
    pub fn text(&self) -> &str {
        &self.parsed.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Selector").field(&self.text()).finish()
    }
}

/// Why a text is not a selector. Positions count characters of the text from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing but blanks and comments.
    #[error("the selector is empty")]
    Empty,
    /// Over 64 KiB.
    #[error("the selector has {bytes} bytes, at most {TEXT_BYTES_MAX} are allowed")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// Over 64 levels of parentheses, of operators applied to results, or of function calls.
    #[error("the selector is nested more than {DEPTH_MAX} levels deep at position {at}")]
    TooDeep {
        /// Where the limit was passed.
        at: usize,
    },
    /// The text breaks the grammar, or an operand has a kind its operator never takes.
    #[error("expected {expected} at position {at}, found {found}")]
    Expected {
        /// Where `found` begins.
        at: usize,
        /// What could have stood there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A part of ActiveMQ's language this broker refuses.
    #[error("{what} are not supported (position {at})")]
    NotSupported {
        /// Where it begins.
        at: usize,
        /// The refused construct, in the plural.
        what: &'static str,
    },
    /// The literal pattern of a function does not compile, is too big, or is one of too many.
    #[error("bad regular expression at position {at}: {reason}")]
    Regex {
        /// Where the function call begins.
        at: usize,
        /// What the regular expression compiler says.
        reason: String,
    },
}
