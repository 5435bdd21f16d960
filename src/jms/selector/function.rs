//! The functions of selectors: `REGEX`, `REPLACE`, `SPLIT`, `INLIST`, `MAKELIST`.
//!
//! Names are upper case only. Patterns and the replacement are string literals and compiled by the
//! parser: a message cannot choose what regular expression runs.

use std::borrow::Cow;

use regex_lite::{Regex, RegexBuilder};

use super::evaluate::{Evaluation, Failure};
use super::expression::Expression;
use super::value::Value;
use super::{SelectorError, Source};

/// Largest compiled regular expression, bytes: some hundred states, each a step per character.
const REGEX_BYTES_MAX: usize = 32 * 1024;
/// Deepest nesting inside a regular expression.
const REGEX_NESTING_MAX: u32 = 32;

#[derive(Debug)]
pub(super) enum Call {
    /// Whether the pattern is found in the text of any value.
    Regex {
        pattern: Regex,
        subject: Expression,
    },
    /// `subject` with every match replaced.
    Replace {
        subject: Expression,
        pattern: Regex,
        replacement: Box<[Piece]>,
    },
    /// The pieces of `subject` between matches.
    Split {
        subject: Expression,
        pattern: Regex,
        limit: Option<Expression>,
    },
    /// Whether `item` is in `list`, of the same kind and value.
    InList {
        list: Expression,
        item: Expression,
    },
    MakeList(Box<[Expression]>),
}

/// A part of what REPLACE puts in place of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(char),
    Group(usize),
    Name(Box<str>),
}

impl Call {
    /// Function `name` on `arguments` (one or more), called at position `at()`.
    pub(super) fn new(
        name: &str,
        arguments: Vec<Expression>,
        at: impl Fn() -> usize,
    ) -> Result<Self, SelectorError> {
        let count = arguments.len();
        let mut rest = arguments.into_iter();
        let next = (rest.next(), rest.next(), rest.next());
        match (name, count, next) {
            ("REGEX", 2, (Some(pattern), Some(subject), _)) => {
                Ok(Self::Regex { pattern: compile(&pattern, &at)?, subject })
            }
            ("REPLACE", 3, (Some(subject), Some(pattern), Some(replacement))) => {
                let pattern = compile(&pattern, &at)?;
                let replacement = parse_replacement(literal(&replacement, &at)?, &pattern)
                    .ok_or_else(|| SelectorError::Expected {
                        at: at(),
                        expected: "a replacement where $ names a group and \\ has a character",
                        found: "a stray $ or \\".to_owned(),
                    })?;
                Ok(Self::Replace { subject, pattern, replacement })
            }
            ("SPLIT", 2..=3, (Some(subject), Some(pattern), limit)) => {
                Ok(Self::Split { subject, pattern: compile(&pattern, &at)?, limit })
            }
            ("INLIST", 2, (Some(list), Some(item), _)) => Ok(Self::InList { list, item }),
            ("MAKELIST", _, (first, second, third)) => {
                let first = [first, second, third].into_iter().flatten();
                Ok(Self::MakeList(first.chain(rest).collect()))
            }
            _ => Err(SelectorError::Expected {
                at: at(),
                expected: "REGEX(re, x), REPLACE(x, re, to), SPLIT(x, re[, n]), INLIST(list, x) \
                           or MAKELIST(x, ...)",
                found: format!("{name} with {count} arguments"),
            }),
        }
    }

    /// Whether it holds a regular expression.
    pub(super) fn has_pattern(&self) -> bool {
        matches!(self, Self::Regex { .. } | Self::Replace { .. } | Self::Split { .. })
    }

    /// Whether the result is always a boolean.
    pub(super) fn is_condition(&self) -> bool {
        matches!(self, Self::Regex { .. } | Self::InList { .. })
    }

    pub(super) fn value<'e, S: Source + ?Sized>(
        &'e self,
        evaluation: &Evaluation<'e, S>,
    ) -> Result<Value<'e>, Failure> {
        match self {
            Self::Regex { pattern, subject } => {
                let text = match evaluation.value(subject)? {
                    Value::Null => return Ok(Value::Boolean(false)),
                    Value::String(text) => text,
                    other => {
                        let mut text = String::new();
                        evaluation.print(&other, &mut text)?;
                        text.into()
                    }
                };
                evaluation.spend(text.len())?;
                Ok(Value::Boolean(pattern.is_match(&text)))
            }
            Self::Replace { subject, pattern, replacement } => {
                let Value::String(text) = evaluation.value(subject)? else {
                    return Err(Failure);
                };
                replace(evaluation, &text, pattern, replacement)
            }
            Self::Split { subject, pattern, limit } => {
                let Value::String(text) = evaluation.value(subject)? else {
                    return Err(Failure);
                };
                let limit = match limit {
                    None => 0,
                    Some(limit) => match evaluation.value(limit)? {
                        Value::Int(limit) => limit,
                        _ => return Err(Failure),
                    },
                };
                match text {
                    Cow::Borrowed(text) => {
                        let pieces = split(evaluation, text, pattern, limit)?;
                        let pieces = pieces.into_iter().map(|piece| Value::String(piece.into()));
                        Ok(Value::List(pieces.collect()))
                    }
                    Cow::Owned(text) => {
                        let pieces = split(evaluation, &text, pattern, limit)?.into_iter();
                        let pieces = pieces.map(|piece| Value::String(piece.to_owned().into()));
                        Ok(Value::List(pieces.collect()))
                    }
                }
            }
            Self::InList { list, item } => {
                let Value::List(list) = evaluation.value(list)? else {
                    return Err(Failure);
                };
                let item = evaluation.value(item)?;
                for candidate in &list {
                    if candidate.is_null() {
                        return Err(Failure);
                    }
                    if candidate.is_same(&item) {
                        return Ok(Value::Boolean(true));
                    }
                }
                Ok(Value::Boolean(false))
            }
            Self::MakeList(items) => {
                evaluation.spend(items.len() * size_of::<Value<'_>>())?;
                let items = items.iter().map(|item| evaluation.value(item));
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
        }
    }
}

fn literal(argument: &Expression, at: impl Fn() -> usize) -> Result<&str, SelectorError> {
    match argument {
        Expression::Constant(Value::String(text)) => Ok(text),
        other => Err(SelectorError::Expected {
            at: at(),
            expected: "a string literal as regular expression and as replacement",
            found: other.kind().name().to_owned(),
        }),
    }
}

fn compile(pattern: &Expression, at: impl Fn() -> usize) -> Result<Regex, SelectorError> {
    RegexBuilder::new(literal(pattern, &at)?)
        .size_limit(REGEX_BYTES_MAX)
        .nest_limit(REGEX_NESTING_MAX)
        .build()
        .map_err(|error| SelectorError::Regex { at: at(), reason: error.to_string() })
}

/// Reads a replacement as Java's `Matcher.replaceAll`: `$1` (as many digits as name a group),
/// `${name}`, `\` before a character taken as it is. `None` if it names no group or ends early.
fn parse_replacement(text: &str, pattern: &Regex) -> Option<Box<[Piece]>> {
    let digit = |c: char| c.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
    let mut pieces = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '\\' => Piece::Text(chars.next()?),
            '$' if chars.next_if_eq(&'{').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                pattern.capture_names().flatten().find(|known| *known == name)?;
                Piece::Name(name.into())
            }
            '$' => {
                let mut group = chars.next().and_then(digit)?;
                if group >= pattern.captures_len() {
                    return None;
                }
                while let Some(longer) = chars.peek().copied().and_then(digit) {
                    let longer = group * 10 + longer;
                    if longer >= pattern.captures_len() {
                        break;
                    }
                    group = longer;
                    chars.next();
                }
                Piece::Group(group)
            }
            c => Piece::Text(c),
        });
    }
    Some(pieces.into())
}

fn replace<'e, S: Source + ?Sized>(
    evaluation: &Evaluation<'e, S>,
    text: &str,
    pattern: &Regex,
    replacement: &[Piece],
) -> Result<Value<'e>, Failure> {
    // Each search may scan to the end of the text: that is what is paid for.
    evaluation.spend(text.len())?;
    let mut out = String::new();
    let mut end = 0;
    for found in pattern.captures_iter(text) {
        let whole = found.get(0).ok_or(Failure)?;
        out.push_str(text.get(end..whole.start()).ok_or(Failure)?);
        for piece in replacement {
            let group = match piece {
                Piece::Text(c) => {
                    evaluation.spend(c.len_utf8())?;
                    out.push(*c);
                    continue;
                }
                Piece::Group(group) => found.get(*group),
                Piece::Name(name) => found.name(name),
            };
            let group = group.map_or("", |group| group.as_str());
            evaluation.spend(group.len())?;
            out.push_str(group);
        }
        end = whole.end();
        evaluation.spend(text.len() - end)?;
    }
    out.push_str(text.get(end..).ok_or(Failure)?);
    Ok(Value::String(out.into()))
}

/// Splits as Java's `String.split`: at most `limit` pieces if that is positive; without trailing
/// empty pieces if it is 0; no empty first piece for a match of nothing at the start.
fn split<'t, S: Source + ?Sized>(
    evaluation: &Evaluation<'_, S>,
    text: &'t str,
    pattern: &Regex,
    limit: i32,
) -> Result<Vec<&'t str>, Failure> {
    evaluation.spend(text.len())?;
    let most = usize::try_from(limit).unwrap_or(0);
    let mut pieces = Vec::new();
    let mut end = 0;
    for found in pattern.find_iter(text) {
        if most > 0 && pieces.len() + 1 == most {
            break;
        }
        if found.end() == 0 {
            continue;
        }
        pieces.push(text.get(end..found.start()).ok_or(Failure)?);
        end = found.end();
        evaluation.spend(size_of::<Value<'_>>() + text.len() - end)?;
    }
    pieces.push(text.get(end..).ok_or(Failure)?);
    if limit == 0 && pieces.len() > 1 {
        while pieces.last().is_some_and(|piece| piece.is_empty()) {
            pieces.pop();
        }
    }
    Ok(pieces)
}
