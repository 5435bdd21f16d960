//! Properties that hold for any selector: no panic, printing and parsing undo each other.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::Selector;
use super::super::expression::{Expression, Operator, Relation};
use super::super::function::{Call, Piece};
use super::super::value::Value;
use super::recorded::outcome;

/// The tree as a selector: every operator in parentheses.
fn print(expression: &Expression) -> String {
    let pair = |operator: &str, pair: &[Expression; 2]| {
        format!("({} {operator} {})", print(&pair[0]), print(&pair[1]))
    };
    let chain = |operator: &str, operands: &[Expression]| {
        let operands: Vec<_> = operands.iter().map(print).collect();
        format!("({})", operands.join(operator))
    };
    match expression {
        Expression::Constant(value) => print_constant(value),
        Expression::Property(name) => name.to_string(),
        Expression::Or(operands) => chain(" OR ", operands),
        Expression::And(operands) => chain(" AND ", operands),
        Expression::Not(operand) => format!("(NOT {})", print(operand)),
        Expression::IsNull(operand) => format!("({} IS NULL)", print(operand)),
        Expression::Equal(operands) => pair("=", operands),
        Expression::Compare(relation, operands) => match relation {
            Relation::Less => pair("<", operands),
            Relation::LessEqual => pair("<=", operands),
            Relation::Greater => pair(">", operands),
            Relation::GreaterEqual => pair(">=", operands),
        },
        Expression::Between(between) => format!(
            "({} {}BETWEEN {} AND {})",
            print(&between.operand),
            if between.outside { "NOT " } else { "" },
            print(&between.low),
            print(&between.high),
        ),
        Expression::Like(operand, pattern) => {
            format!("({} LIKE {} ESCAPE '!')", print(operand), quote(&pattern.to_string()))
        }
        Expression::In(name, strings) => {
            let strings: Vec<_> = strings.iter().map(|text| quote(text)).collect();
            format!("({name} IN ({}))", strings.join(", "))
        }
        Expression::Arithmetic(operator, operands) => match operator {
            Operator::Add => pair("+", operands),
            Operator::Subtract => pair("-", operands),
            Operator::Multiply => pair("*", operands),
            Operator::Divide => pair("/", operands),
            Operator::Modulo => pair("%", operands),
        },
        Expression::Negate(operand) => format!("(- {})", print(operand)),
        Expression::Call(call) => print_call(call),
    }
}

fn print_constant(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Double(v) if v.is_infinite() => "1e999".to_owned(),
        Value::Double(v) => format!("{v:e}"),
        Value::Other => "99999999999999999999".to_owned(),
        other => {
            let mut out = String::new();
            other.print(&mut out, &|_| Some(())).unwrap();
            out
        }
    }
}

fn print_call(call: &Call) -> String {
    match call {
        Call::Regex { pattern, subject } => {
            format!("REGEX({}, {})", quote(pattern.as_str()), print(subject))
        }
        Call::Replace { subject, pattern, replacement } => {
            let mut to = String::new();
            for piece in replacement {
                match piece {
                    Piece::Text(c) => write!(to, "\\{c}").unwrap(),
                    Piece::Group(group) => write!(to, "${group}").unwrap(),
                    Piece::Name(name) => write!(to, "${{{name}}}").unwrap(),
                }
            }
            format!("REPLACE({}, {}, {})", print(subject), quote(pattern.as_str()), quote(&to))
        }
        Call::Split { subject, pattern, limit } => {
            let limit = limit.as_ref().map_or_else(String::new, |n| format!(", {}", print(n)));
            format!("SPLIT({}, {}{limit})", print(subject), quote(pattern.as_str()))
        }
        Call::InList { list, item } => format!("INLIST({}, {})", print(list), print(item)),
        Call::MakeList(items) => {
            let items: Vec<_> = items.iter().map(print).collect();
            format!("MAKELIST({})", items.join(", "))
        }
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn any_name() -> impl Strategy<Value = &'static str> {
    select(vec!["by", "sh", "i", "l", "f", "d", "t", "s", "n", "u", "c", "list", "missing"])
}

/// Sums, products, literals and functions over the recorded messages' properties.
fn any_operand() -> impl Strategy<Value = String> {
    let literals = vec![
        "0",
        "5",
        "7L",
        "2147483648",
        "-9223372036854775808",
        "99999999999999999999",
        "0x1f",
        "017",
        "0.5",
        ".5",
        "1e3",
        "1e999",
        "'it''s'",
        "''",
        "TRUE",
        "false",
        "NULL",
    ];
    let leaf = prop_oneof![any_name().prop_map(str::to_owned), select(literals).prop_map_into()];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let operators = select(vec!["+", "-", "*", "/", "%"]);
        prop_oneof![
            (inner.clone(), operators, inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("- {a}")),
            inner.clone().prop_map(|a| format!("REPLACE({a}, '(v)|e', '[$1\\$]')")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("MAKELIST({a}, {b})")),
        ]
    })
}

/// Conditions; some are refused because of an operand.
fn any_selector() -> impl Strategy<Value = String> {
    let relations = select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        any_name().prop_map(str::to_owned),
        (any_operand(), relations, any_operand()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (any_operand(), any_operand(), any_operand())
            .prop_map(|(a, b, c)| format!("{a} NOT BETWEEN {b} AND {c}")),
        (any_operand(), "[a5!%_']{0,5}")
            .prop_map(|(a, p)| format!("{a} LIKE {} ESCAPE '!'", quote(&p))),
        any_name().prop_map(|a| format!("{a} NOT IN ('five', 'it''s', '5')")),
        any_operand().prop_map(|a| format!("{a} IS NOT NULL")),
        any_operand().prop_map(|a| format!("REGEX('^[5f].*$', {a})")),
        any_operand().prop_map(|a| format!("INLIST(SPLIT({a}, ',', 2), 'a')")),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("NOT ({a})")),
            vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" AND "))),
            vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" OR "))),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) = ({b})")),
        ]
    })
}

fn any_token() -> impl Strategy<Value = &'static str> {
    select(vec![
        "NOT",
        "AND",
        "OR",
        "BETWEEN",
        "LIKE",
        "ESCAPE",
        "IN",
        "IS",
        "TRUE",
        "FALSE",
        "NULL",
        "XPATH",
        "XQUERY",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "(",
        ")",
        ",",
        "5",
        "0x",
        "08",
        "1.",
        "1e",
        "9999999999999999999999",
        "'a'",
        "'",
        "''",
        "i",
        "s",
        "missing",
        "REGEX",
        "REPLACE",
        "SPLIT",
        "INLIST",
        "MAKELIST",
        "--",
        "\n",
        "/*",
        "*/",
        ".",
        "\u{e9}",
    ])
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(selector in any::<String>()) {
        outcome(&selector);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(tokens in vec(any_token(), 0..40), spaced: bool) {
        outcome(&tokens.join(if spaced { " " } else { "" }));
    }

    /// The printed tree parses to the same tree, which gives the same answers.
    #[test]
    fn parsing_undoes_printing(selector in any_selector()) {
        let Ok(parsed) = Selector::parse(&selector) else {
            return Ok(());
        };
        let printed = print(&parsed.parsed.condition);
        let again = Selector::parse(&printed);
        prop_assert!(again.is_ok(), "{:?} for {}", again, printed);
        prop_assert_eq!(&print(&again.unwrap().parsed.condition), &printed);
        prop_assert_eq!(outcome(&printed), outcome(&selector));
    }

    /// Damage to a selector is an error or another selector, never a panic.
    #[test]
    fn damage_is_survived(selector in any_selector(), at: prop::sample::Index, c: char) {
        let mut damaged: Vec<char> = selector.chars().collect();
        let at = at.index(damaged.len());
        damaged[at] = c;
        outcome(&damaged.iter().collect::<String>());
        outcome(&damaged[..at].iter().collect::<String>());
    }
}
