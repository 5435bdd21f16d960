//! Line by line against what ActiveMQ answered.

use std::fmt::Write as _;

use super::super::evaluate::{Failure, evaluation};
use super::super::{Parsed, Selector, Value};
use super::{Properties, text};

/// The messages behind the four letters of each line of `recorded.txt`.
pub(super) static MESSAGES: [Properties; 4] = [
    Properties(&[
        ("by", Value::Byte(5)),
        ("sh", Value::Short(5)),
        ("i", Value::Int(5)),
        ("l", Value::Long(5)),
        ("f", Value::Float(5.0)),
        ("d", Value::Double(5.0)),
        ("t", Value::Boolean(true)),
        ("fa", Value::Boolean(false)),
        ("s", text("five")),
        ("n", text("5")),
        ("u", text("true")),
        ("c", Value::Char(b'5' as u16)),
        ("e", text("")),
        ("p", text("50%_x")),
        ("list", text("a,b,c")),
        ("nl", text("a\nb")),
    ]),
    Properties(&[
        ("by", Value::Byte(-128)),
        ("sh", Value::Short(300)),
        ("i", Value::Int(i32::MAX)),
        ("l", Value::Long(i64::MAX)),
        ("f", Value::Float(0.1)),
        ("d", Value::Double(0.1)),
        ("t", Value::Boolean(false)),
        ("fa", Value::Boolean(true)),
        ("s", text("it's")),
        ("n", text("2147483648")),
        ("u", text("TRUE")),
        ("c", Value::Char(b'x' as u16)),
        ("e", text(" 7 ")),
        ("p", text("a.b")),
        ("list", text("x")),
        ("nl", text("Five")),
    ]),
    Properties(&[
        ("d", Value::Double(f64::NAN)),
        ("f", Value::Float(-0.0)),
        ("l", Value::Long(0)),
        ("i", Value::Int(0)),
        ("n", text("2.5")),
        ("s", text("")),
        ("t", Value::Boolean(true)),
        ("u", text("abc")),
        ("list", text(",a,,b,")),
    ]),
    Properties(&[
        ("i", Value::Int(16_777_217)),
        ("f", Value::Float(16_777_216.0)),
        ("l", Value::Long(9_007_199_254_740_993)),
        ("d", Value::Double(9_007_199_254_740_992.0)),
        ("sh", Value::Short(-1)),
        ("by", Value::Byte(-1)),
        ("s", text("\u{1f600}")),
        ("n", text("\u{fffd}")),
        ("u", text("True")),
        ("c", Value::Char(0xe9)),
    ]),
];

/// `T` TRUE, `F` FALSE, `N` unknown, `E` failed, for each of [`MESSAGES`]; `err` if refused.
pub(super) fn outcome(selector: &str) -> String {
    let Ok(selector) = Selector::parse(selector) else {
        return "err".to_owned();
    };
    let Parsed { condition, convert_strings, .. } = &*selector.parsed;
    let letter = |message| {
        let evaluation = evaluation(message, *convert_strings);
        if evaluation.matches(condition) == Ok(true) {
            return 'T';
        }
        match evaluation.condition(condition) {
            Ok(Some(true)) => 't', // the two must agree
            Ok(Some(false)) => 'F',
            Ok(None) => 'N',
            Err(Failure) => 'E',
        }
    };
    MESSAGES.iter().map(letter).collect()
}

/// Every line of the table gives what ActiveMQ 5.17.2 gave.
#[test]
fn agrees_with_what_activemq_was_seen_to_do() {
    let mut wrong = String::new();
    let mut count = 0;
    for line in include_str!("recorded.txt").lines() {
        let Some((expected, escaped)) = line.split_once('\t') else {
            continue; // a heading
        };
        let selector = escaped
            .replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace("\\r", "\r")
            .replace("\\f", "\x0c");
        let got = outcome(&selector);
        count += 1;
        if got != expected {
            writeln!(wrong, "{escaped}: expected {expected}, got {got}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 1000, "only {count} lines");
}
