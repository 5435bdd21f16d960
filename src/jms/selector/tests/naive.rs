//! Beside an evaluator that is written down from ActiveMQ's rules as plainly as can be: trees are made first,
//! then printed with no more parentheses than precedence needs, and parsed.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Selector, Source, Value};
use super::recorded::MESSAGES;

#[derive(Clone, Debug)]
enum Tree {
    Int(&'static str, Plain),
    Text(&'static str),
    Truth(bool),
    Name(&'static str),
    Minus(Box<Self>),
    Not(Box<Self>),
    /// One of `+ - * / %`.
    Sum(char, Box<[Self; 2]>),
    /// One of `= <> < <= > >=`.
    Compare(&'static str, Box<[Self; 2]>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    IsNull(Box<Self>, bool),
    Like(Box<Self>, &'static str, bool),
    In(&'static str, [&'static str; 2], bool),
    Between(Box<[Self; 3]>, bool),
}

/// A Java value; numbers have a class from Byte (0) to Double (5).
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Null,
    Truth(bool),
    Text(String),
    Whole(u8, i64),
    Real(u8, f64),
    /// Of a class that compares with nothing here.
    Other,
}

/// Why there is no answer.
enum Stop {
    JavaThrows,
    /// The test does not know how Java prints it.
    Unknown,
}

use Plain::{Null, Real, Text, Truth, Whole};

fn plain(value: Value<'_>) -> Plain {
    match value {
        Value::Null => Null,
        Value::Boolean(v) => Truth(v),
        Value::Byte(v) => Whole(0, v.into()),
        Value::Short(v) => Whole(1, v.into()),
        Value::Int(v) => Whole(2, v.into()),
        Value::Long(v) => Whole(3, v),
        Value::Float(v) => Real(4, v.into()),
        Value::Double(v) => Real(5, v),
        Value::String(v) => Text(v.into_owned()),
        Value::Char(_) | Value::List(_) | Value::Other => Plain::Other,
    }
}

fn number(value: &Plain) -> Option<(u8, f64)> {
    match value {
        Whole(class, v) => Some((*class, *v as f64)),
        Real(class, v) => Some((*class, *v)),
        _ => None,
    }
}

/// `Double.compareTo`.
fn java_order(a: f64, b: f64) -> Ordering {
    let bits = |v: f64| if v.is_nan() { i64::MAX } else { v.to_bits().cast_signed() };
    a.partial_cmp(&b).filter(|order| order.is_ne()).unwrap_or_else(|| bits(a).cmp(&bits(b)))
}

/// How two values compare that are not null; none if their classes do not.
fn order(left: &Plain, right: &Plain) -> Result<Option<Ordering>, Stop> {
    match (left, right) {
        (Truth(a), Truth(b)) => return Ok(Some(a.cmp(b))),
        (Text(a), Text(b)) => return Ok(Some(a.encode_utf16().cmp(b.encode_utf16()))),
        _ => {}
    }
    let (Some((of_left, a)), Some((of_right, b))) = (number(left), number(right)) else {
        return Ok(None);
    };
    if let (Whole(..), Whole(..), true) = (left, right, of_left == of_right)
        && let (Whole(_, a), Whole(_, b)) = (left, right)
    {
        return Ok(Some(a.cmp(b)));
    }
    match (of_left, of_right) {
        (4, 4) | (5, 5) => Ok(Some(java_order(a, b))),
        (1.., 0) | (2.., 1) => Ok(None),
        (5, 4) => Err(Stop::JavaThrows),
        (5, _) | (_, 5) => Ok(Some(java_order(a, b))),
        (4, _) | (_, 4) => {
            let narrow = |value: &Plain| match value {
                Whole(_, v) => f64::from(*v as f32),
                Real(_, v) => *v,
                _ => 0.0,
            };
            Ok(Some(java_order(narrow(left), narrow(right))))
        }
        _ => match (left, right) {
            (Whole(_, a), Whole(_, b)) => Ok(Some(a.cmp(b))),
            _ => Ok(None),
        },
    }
}

fn compared(relation: &str, left: &Plain, right: &Plain) -> Result<Plain, Stop> {
    if relation == "<>" {
        return Ok(negated(compared("=", left, right)?));
    }
    match (relation, left, right) {
        ("=", Null, Null) => return Ok(Truth(true)),
        (_, Null, _) => return Ok(Null),
        ("=", _, Null) => return Ok(Truth(false)),
        (_, _, Null) => return Ok(Null),
        // The tests compare no such value with itself.
        ("=", Plain::Other, Plain::Other) => return Err(Stop::Unknown),
        _ => {}
    }
    let Some(order) = order(left, right)? else { return Ok(Truth(false)) };
    Ok(Truth(match relation {
        "=" => order.is_eq(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

fn negated(value: Plain) -> Plain {
    match value {
        Truth(v) => Truth(!v),
        other => other,
    }
}

fn calculated(operator: char, left: Plain, right: Plain) -> Result<Plain, Stop> {
    if let ('+', Text(left)) = (operator, &left) {
        return match right {
            Text(right) => Ok(Text(format!("{left}{right}"))),
            Whole(_, right) => Ok(Text(format!("{left}{right}"))),
            _ => Err(Stop::Unknown),
        };
    }
    let (Some((of_left, a)), Some((of_right, b))) = (number(&left), number(&right)) else {
        return Err(Stop::JavaThrows);
    };
    let class = of_left.max(of_right);
    if let ('+' | '-' | '*', Whole(_, a), Whole(_, b)) = (operator, &left, &right) {
        let whole = match operator {
            '+' => a.wrapping_add(*b),
            '-' => a.wrapping_sub(*b),
            _ => a.wrapping_mul(*b),
        };
        return Ok(if class == 3 { Whole(3, whole) } else { Whole(2, (whole as i32).into()) });
    }
    Ok(Real(
        5,
        match operator {
            '+' => a + b,
            '-' => a - b,
            '*' => a * b,
            '/' => a / b,
            _ => a % b,
        },
    ))
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|at| like(&text[at..], rest)),
        Some(('!', [escaped @ ('%' | '_' | '!'), rest @ ..])) => {
            text.split_first().is_some_and(|(c, text)| c == escaped && like(text, rest))
        }
        Some((wanted, rest)) => text
            .split_first()
            .is_some_and(|(c, text)| (*wanted == '_' || c == wanted) && like(text, rest)),
    }
}

impl Tree {
    /// As a condition: what is no boolean is FALSE.
    fn truth(&self, message: &dyn Source) -> Result<Option<bool>, Stop> {
        Ok(match self.value(message)? {
            Null => None,
            Truth(truth) => Some(truth),
            _ => Some(false),
        })
    }

    fn value(&self, message: &dyn Source) -> Result<Plain, Stop> {
        let of = |truth: Option<bool>| truth.map_or(Null, Truth);
        Ok(match self {
            Self::Int(_, value) => value.clone(),
            Self::Text(text) => Text((*text).to_owned()),
            Self::Truth(truth) => Truth(*truth),
            Self::Name(name) => plain(message.value(name)),
            Self::Minus(of) => match of.value(message)? {
                Whole(0 | 1, _) => return Err(Stop::JavaThrows),
                Whole(2, v) => Whole(2, (v as i32).wrapping_neg().into()),
                Whole(class, v) => Whole(class, v.wrapping_neg()),
                Real(class, v) => Real(class, -v),
                _ => Null,
            },
            Self::Not(of) => of.truth(message)?.map_or(Null, |truth| Truth(!truth)),
            Self::Sum(operator, sides) => {
                let left = sides[0].value(message)?;
                if left == Null {
                    return Ok(Null);
                }
                match sides[1].value(message)? {
                    Null => Null,
                    right => calculated(*operator, left, right)?,
                }
            }
            Self::Compare(relation, sides) => {
                let left = sides[0].value(message)?;
                if left == Null && !matches!(*relation, "=" | "<>") {
                    return Ok(Null);
                }
                compared(relation, &left, &sides[1].value(message)?)?
            }
            Self::And(sides) => match sides[0].truth(message)? {
                Some(false) => Truth(false),
                Some(true) => of(sides[1].truth(message)?),
                None if sides[1].truth(message)? == Some(false) => Truth(false),
                None => Null,
            },
            Self::Or(sides) => match sides[0].truth(message)? {
                Some(true) => Truth(true),
                Some(false) => of(sides[1].truth(message)?),
                None if sides[1].truth(message)? == Some(true) => Truth(true),
                None => Null,
            },
            Self::IsNull(of, not) => Truth((of.value(message)? == Null) != *not),
            Self::Like(of, pattern, not) => match of.value(message)? {
                Null => Null,
                Text(text) => {
                    let (text, pattern): (Vec<_>, Vec<_>) =
                        (text.chars().collect(), pattern.chars().collect());
                    Truth(like(&text, &pattern) != *not)
                }
                _ => Truth(*not),
            },
            Self::In(name, list, not) => match plain(message.value(name)) {
                Text(text) => Truth(list.contains(&&*text) != *not),
                _ => Null,
            },
            Self::Between(parts, not) => {
                let [of, low, high] = &**parts;
                let part = |relation, side: &Self| {
                    Self::Compare(relation, Box::new([of.clone(), side.clone()]))
                };
                let both = if *not {
                    Self::Or(Box::new([part("<", low), part(">", high)]))
                } else {
                    Self::And(Box::new([part(">=", low), part("<=", high)]))
                };
                both.value(message)?
            }
        })
    }

    /// AND and OR ask their sides this way as long as nothing else is around them.
    fn matches(&self, message: &dyn Source) -> Result<bool, Stop> {
        match self {
            Self::And(sides) => Ok(sides[0].matches(message)? && sides[1].matches(message)?),
            Self::Or(sides) => Ok(sides[0].matches(message)? || sides[1].matches(message)?),
            other => Ok(other.truth(message)? == Some(true)),
        }
    }

    /// How tightly it binds.
    fn level(&self) -> u8 {
        match self {
            Self::Or(_) => 1,
            Self::And(_) => 2,
            Self::Compare("=" | "<>", _) | Self::IsNull(..) => 3,
            Self::Compare(..) | Self::Like(..) | Self::In(..) | Self::Between(..) => 4,
            Self::Sum('+' | '-', _) => 5,
            Self::Sum(..) => 6,
            Self::Minus(_) | Self::Not(_) => 7,
            Self::Int(..) | Self::Text(_) | Self::Truth(_) | Self::Name(_) => 8,
        }
    }

    /// Its text where what binds less than `level` is in parentheses.
    fn print(&self, level: u8) -> String {
        let not = |not: bool| if not { "NOT " } else { "" };
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let own = self.level();
        let pair = |operator: &str, sides: &[Self; 2]| {
            format!("{} {operator} {}", sides[0].print(own), sides[1].print(own + 1))
        };
        let text = match self {
            Self::Int(text, _) => (*text).to_owned(),
            Self::Text(text) => quoted(text),
            Self::Truth(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
            Self::Name(name) => (*name).to_owned(),
            Self::Minus(of) => format!("- {}", of.print(7)),
            Self::Not(of) => format!("NOT {}", of.print(7)),
            Self::Sum(operator, sides) => pair(&operator.to_string(), sides),
            Self::Compare(relation, sides) => pair(relation, sides),
            Self::And(sides) => pair("AND", sides),
            Self::Or(sides) => pair("OR", sides),
            Self::IsNull(of, no) => format!("{} IS {}NULL", of.print(own), not(*no)),
            Self::Like(of, pattern, no) => {
                format!("{} {}LIKE {} ESCAPE '!'", of.print(5), not(*no), quoted(pattern))
            }
            Self::In(name, [a, b], no) => {
                format!("{name} {}IN ( {} , {} )", not(*no), quoted(a), quoted(b))
            }
            Self::Between(parts, no) => {
                let [of, low, high] = &**parts;
                let (of, low, high) = (of.print(5), low.print(5), high.print(5));
                format!("{of} {}BETWEEN {low} AND {high}", not(*no))
            }
        };
        if own < level { format!("({text})") } else { text }
    }
}

fn any_name() -> impl Strategy<Value = &'static str> {
    select(vec!["by", "sh", "i", "l", "f", "d", "t", "fa", "s", "n", "u", "e", "p", "missing"])
}

/// What may stand beside any operator.
fn any_number() -> impl Strategy<Value = Tree> {
    let literals = vec![
        ("0", Whole(2, 0)),
        ("5", Whole(2, 5)),
        ("5L", Whole(2, 5)),
        ("0x1F", Whole(2, 31)),
        ("017", Whole(2, 15)),
        ("2147483647", Whole(2, 2_147_483_647)),
        ("2147483648", Whole(3, 2_147_483_648)),
        ("9223372036854775807", Whole(3, i64::MAX)),
        ("5.", Real(5, 5.0)),
        (".5", Real(5, 0.5)),
        ("1.5e-1", Real(5, 0.15)),
    ];
    let literal = select(literals).prop_map(|(text, value)| Tree::Int(text, value));
    let leaf = prop_oneof![any_name().prop_map(Tree::Name), literal];
    leaf.prop_recursive(2, 8, 2, |inner| {
        let operators = select(vec!['+', '-', '*', '/', '%']);
        prop_oneof![
            3 => (operators, inner.clone(), inner.clone())
                .prop_map(|(operator, a, b)| Tree::Sum(operator, Box::new([a, b]))),
            1 => inner.prop_map(|of| Tree::Minus(Box::new(of))),
        ]
    })
}

fn any_text() -> impl Strategy<Value = &'static str> {
    select(vec!["", "five", "it's", "5", "true", "50%_x", "a.b"])
}

fn any_condition() -> impl Strategy<Value = Tree> {
    let relations = select(vec!["<", "<=", ">", ">="]);
    let equalities = || select(vec!["=", "<>"]);
    let patterns = select(vec!["", "%", "_", "f%e", "%v_", "it's", "50!%!_x", "%!%%", "a_b", "!"]);
    let either = || {
        prop_oneof![
            any_number(),
            any_text().prop_map(Tree::Text),
            any_name().prop_map(Tree::Name),
            any::<bool>().prop_map(Tree::Truth),
        ]
    };
    let leaf =
        prop_oneof![
            any_name().prop_map(Tree::Name),
            any::<bool>().prop_map(Tree::Truth),
            (relations, any_number(), any_number())
                .prop_map(|(relation, a, b)| Tree::Compare(relation, Box::new([a, b]))),
            (equalities(), any_number(), either())
                .prop_map(|(relation, a, b)| Tree::Compare(relation, Box::new([a, b]))),
            (equalities(), any_text(), either()).prop_map(|(relation, a, b)| {
                Tree::Compare(relation, Box::new([Tree::Text(a), b]))
            }),
            (any_number(), any::<bool>()).prop_map(|(of, not)| Tree::IsNull(Box::new(of), not)),
            (either(), patterns, any::<bool>()).prop_map(|(of, pattern, not)| Tree::Like(
                Box::new(of),
                pattern,
                not
            )),
            (any_name(), any_text(), any_text(), any::<bool>())
                .prop_map(|(name, a, b, not)| Tree::In(name, [a, b], not)),
            (any_number(), any_number(), any_number(), any::<bool>())
                .prop_map(|(of, low, high, not)| Tree::Between(Box::new([of, low, high]), not)),
        ];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        let two = || (inner.clone(), inner.clone()).prop_map(|(a, b)| Box::new([a, b]));
        prop_oneof![
            two().prop_map(Tree::And),
            two().prop_map(Tree::Or),
            inner.clone().prop_map(|of| Tree::Not(Box::new(of))),
            (equalities(), two()).prop_map(|(relation, sides)| Tree::Compare(relation, sides)),
            (inner.clone(), any::<bool>()).prop_map(|(of, not)| Tree::IsNull(Box::new(of), not)),
        ]
    })
}

/// A TRUE or FALSE that is written down does not compare with a text or number that is.
fn is_refused(tree: &Tree) -> bool {
    let literal = |side: &Tree| matches!(side, Tree::Int(..) | Tree::Text(_));
    match tree {
        Tree::Compare("=" | "<>", sides) => {
            matches!(sides[0], Tree::Truth(_)) && literal(&sides[1]) || sides.iter().any(is_refused)
        }
        Tree::And(sides) | Tree::Or(sides) => sides.iter().any(is_refused),
        Tree::Not(of) | Tree::IsNull(of, _) => is_refused(of),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_the_rules_written_down_plainly(
        tree in any_condition(),
        blank in select(vec![" ", "\t", " \n ", " /* ' */ ", " -- (\n"]),
        lower: bool,
    ) {
        let mut text = tree.print(0);
        if lower {
            for word in ["AND", "OR", "NOT", "BETWEEN", "LIKE", "IN", "IS", "NULL", "ESCAPE"] {
                text = text.replace(&format!(" {word} "), &format!(" {} ", word.to_lowercase()));
            }
        }
        let text = text.replace(' ', blank);
        let parsed = Selector::parse(&text);
        prop_assert_eq!(parsed.is_err(), is_refused(&tree), "{:?}: {}", parsed, text);
        let Ok(parsed) = parsed else { return Ok(()) };
        for message in &MESSAGES {
            let expected = match tree.matches(message) {
                Ok(matches) => matches,
                Err(Stop::JavaThrows) => false,
                Err(Stop::Unknown) => continue,
            };
            prop_assert_eq!(parsed.matches(message), expected, "{}", text);
        }
    }
}
