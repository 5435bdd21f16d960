//! One test per rule; the fine print is in `recorded.txt`.

use super::super::{DEPTH_MAX, Selector, SelectorError, Source, TEXT_BYTES_MAX, Value};
use super::{Properties, text};

const MESSAGE: Properties = Properties(&[
    ("b", Value::Byte(5)),
    ("h", Value::Short(5)),
    ("i", Value::Int(5)),
    ("l", Value::Long(5)),
    ("f", Value::Float(5.0)),
    ("d", Value::Double(5.0)),
    ("yes", Value::Boolean(true)),
    ("no", Value::Boolean(false)),
    ("c", Value::Char(b'5' as u16)),
    ("s", text("five")),
    ("z", text("zoo")),
    ("n", text("5")),
    ("u", text("True")),
    ("map", Value::Other),
]);

fn error(selector: &str) -> SelectorError {
    Selector::parse(selector).unwrap_err()
}

#[track_caller]
fn all_match(selectors: &[&str]) {
    for selector in selectors {
        let parsed = Selector::parse(selector);
        assert!(parsed.is_ok_and(|parsed| parsed.matches(&MESSAGE)), "{selector}");
    }
}

#[track_caller]
fn none_match(selectors: &[&str]) {
    for selector in selectors {
        assert!(!Selector::parse(selector).unwrap().matches(&MESSAGE), "{selector}");
    }
}

#[track_caller]
fn all_refused(selectors: &[&str]) {
    for selector in selectors {
        assert!(Selector::parse(selector).is_err(), "{selector}");
    }
}

#[test]
fn or_binds_loosest_then_and_then_equality_then_order_then_sums_then_products() {
    all_match(&[
        "yes OR no AND no",
        "no AND no OR yes",
        "yes = 1 < 2",
        "i > 3 = yes",
        "1 + 2 * 3 = 7",
        "2 + 3 > 4",
        "10 - 4 - 3 = 3",
        "8 / 2 / 2 = 2",
        "i BETWEEN 1 + 1 AND 3 * 3 AND yes",
        "-i + 10 = 5",
    ]);
    none_match(&["(yes OR no) AND no"]);
}

#[test]
fn not_binds_tighter_than_comparison() {
    none_match(&["NOT i = 5", "NOT i = 6", "NOT (i = 5)", "NOT s LIKE 'x'"]);
    all_match(&["NOT (i = 6)", "NOT yes = FALSE", "NOT NOT yes"]);
    all_refused(&["NOT i > 6", "NOT s IN ('a')"]);
}

#[test]
fn other_spellings_are_syntax_errors() {
    all_refused(&["i != 5", "i == 5", "s = \"five\"", "a.b = 5", "i = 5;", "yes & yes", "yes,yes"]);
}

#[test]
fn string_literals_double_the_quote() {
    all_match(&["'it''s' <> 'its'", "'''' = ''''", "'' = ''", "'a\nb' = 'a\nb'"]);
    all_refused(&["s = 'five", "s = 'it's'"]);
}

#[test]
fn integer_literals_are_decimal_with_optional_l_hexadecimal_or_octal() {
    all_match(&["5L = 5", "5l = 5", "0x1F = 31", "0XfF = 255", "017 = 15", "0 = 00"]);
    all_match(&["2147483648 > 2147483647", "-9223372036854775808 < 0"]);
    all_refused(&["i = 08", "i = 0L", "i = 0x5L", "i = 0x", "i = 5x", "l = 0x8000000000000000"]);
}

#[test]
fn integer_literals_beyond_64_bits_compare_with_nothing() {
    none_match(&["l < 9223372036854775808", "l > 9223372036854775808", "1 = 99999999999999999999"]);
}

#[test]
fn float_literals_are_doubles() {
    all_match(&["1.5 = 15e-1", ".5 = 0.5", "5. = 5", "1.5e3 = 1500", "1E+1 = 10", "08.5 = 8.5"]);
    all_match(&["1e400 > 1e308"]);
    all_refused(&["d = 1.5f", "d = 1.5.5", "d = .e5"]);
}

#[test]
fn null_is_a_literal_of_is_null_only() {
    all_match(&["missing IS NULL", "i IS NOT NULL", "map IS NOT NULL", "(missing + 1) IS NULL"]);
    all_refused(&["i = NULL", "NULL = NULL", "i <> NULL", "i > NULL"]);
}

#[test]
fn identifiers_are_case_sensitive_and_keywords_are_not() {
    all_match(&["yes and Not nO IS nULL", "s lIKe 'f%' oR FALSE", "$x iS NuLL", "_a$1 IS NULL"]);
    none_match(&["Yes", "I = 5"]);
    all_refused(&["like = 5", "escape IS NULL", "1a IS NULL", "\u{e9} IS NULL"]);
}

#[test]
fn comments_are_blanks_and_a_line_comment_needs_its_line_end() {
    all_match(&["i /* a ** / */ = 5", "i = 5 -- five\n", "-- first\r i = 5", "\t\x0ci\r\n=5"]);
    none_match(&["i = 5 -- i"]); // 5 minus minus i
    all_refused(&["i = 5 --", "i = 5 /* open", "i = 5 /* /* */ */"]);
}

#[test]
fn null_on_the_left_is_unknown_on_the_right_false() {
    none_match(&["missing = 1", "missing <> 1", "NOT (missing = 1)", "1 = missing"]);
    none_match(&["missing > 1", "1 > missing", "missing > missing2"]);
    all_match(&["1 <> missing", "missing = missing2", "NOT (1 = missing)"]);
}

#[test]
fn and_or_not_are_three_valued() {
    all_match(&["missing OR yes", "NOT (missing AND no)", "(missing AND yes) IS NULL"]);
    all_match(&["(missing OR no) IS NULL", "(NOT missing) IS NULL"]);
    none_match(&["missing OR no", "missing AND yes", "NOT missing"]);
}

#[test]
fn numbers_compare_after_widening() {
    let names = ["b", "h", "i", "l", "f", "d"];
    let never = [("d", "f")];
    for (x, left) in names.iter().enumerate() {
        for (y, right) in names.iter().enumerate() {
            let narrow_right = y < 2 && x > y;
            let expected = !narrow_right && !never.contains(&(left, right));
            let selector = Selector::parse(&format!("{left} = {right}")).unwrap();
            assert_eq!(selector.matches(&MESSAGE), expected, "{selector}");
        }
    }
}

#[test]
fn byte_and_short_work_on_the_left_only() {
    all_match(&["b = 5", "h = 5", "b >= 5.0", "b < h + 1", "b = i", "10 = b + h"]);
    none_match(&["5 = b", "i = b", "l = h", "f >= h", "NOT (5 <> b)"]);
}

#[test]
fn different_kinds_are_not_equal() {
    none_match(&["s = 5", "n = 5", "i = '5'", "yes = 'true'", "u = TRUE", "c = '5'", "map = 5"]);
    none_match(&["s > i", "i < s", "map > 5", "map = map"]);
    all_match(&["s <> 5", "5 <> TRUE", "c = c", "c <> n"]);
    all_refused(&["TRUE = 5", "TRUE <> 'a'"]);
}

#[test]
fn strings_have_an_order_but_string_literals_have_none() {
    all_match(&["s < z", "z >= s", "s + 'x' > s", "s BETWEEN n AND z"]);
    all_refused(&["s > 'a'", "'a' < s", "s BETWEEN 'a' AND 'z'", "yes > TRUE", "(i = 5) > 3"]);
}

#[test]
fn the_prefix_converts_strings_to_the_kind_of_the_other_side() {
    all_match(&[
        "convert_string_expressions:n = 5",
        "convert_string_expressions: 5 = n",
        "convert_string_expressions:n BETWEEN 1 AND 5.5",
        "convert_string_expressions:u = TRUE",
        "convert_string_expressions:' +5.0f ' = d",
        "convert_string_expressions:s <> 5",
    ]);
    none_match(&[
        "convert_string_expressions:s = 5",
        "convert_string_expressions:TRUE = u",
        "convert_string_expressions:u",
        "convert_string_expressions:'inf' = 1e999",
        "convert_string_expressions:n + 1 = 6",
    ]);
    all_refused(&["CONVERT_STRING_EXPRESSIONS:n = 5", " convert_string_expressions:n = 5"]);
}

#[test]
fn like_takes_a_literal_pattern_and_one_escape_character() {
    all_match(&["s LIKE 'f%'", "s LIKE '_iv_'", "s NOT LIKE 'F%'", "'50%' LIKE '50!%' ESCAPE '!'"]);
    none_match(&["s LIKE 'iv'", "'50x' LIKE '50!%' ESCAPE '!'"]);
    all_refused(&["s LIKE z", "s LIKE 5", "s LIKE 'a' ESCAPE ''", "s LIKE 'a' ESCAPE 'ab'"]);
}

#[test]
fn like_is_false_for_a_non_string_and_unknown_for_null() {
    none_match(&["i LIKE '5'", "c LIKE '5'", "missing LIKE '%'", "missing NOT LIKE '%'"]);
    all_match(&["i NOT LIKE '5'", "(missing LIKE '%') IS NULL"]);
}

#[test]
fn in_takes_a_property_and_string_literals() {
    all_match(&["s IN ('a', 'five')", "s NOT IN ('a')", "(s) IN ('five')"]);
    all_match(&["(i IN ('5')) IS NULL", "(missing NOT IN ('5')) IS NULL"]);
    none_match(&["i IN ('5')", "i NOT IN ('5')", "missing IN ('a')"]);
    all_refused(&["s IN ()", "i IN (5)", "s IN 'a'", "'a' IN ('a')", "s + '' IN ('a')"]);
}

#[test]
fn between_is_greater_or_equal_and_less_or_equal() {
    all_match(&["i BETWEEN 5 AND 5", "d BETWEEN 4.5 AND i", "i NOT BETWEEN 6 AND 9"]);
    none_match(&["i BETWEEN 9 AND 1", "s BETWEEN 1 AND 2", "s NOT BETWEEN 1 AND 2"]);
    none_match(&["missing BETWEEN 1 AND 2", "missing NOT BETWEEN 1 AND 2"]);
}

#[test]
fn arithmetic_gives_integers_except_for_division() {
    all_match(&["i + 1 = 6", "i / 2 = 2.5", "i % 2 = 1", "7 / 2 * 2 = 7", "-5 % 3 = -2"]);
    all_match(&["'' + (i / 5) = '1.0'", "'' + (i % 2) = '1.0'", "'' + i * 2 = '10'"]);
    all_match(&["2147483647 + 1 < 0", "i / 0 > 1e308"]);
}

#[test]
fn plus_on_a_string_concatenates() {
    all_match(&["s + 5 = 'five5'", "'a' + 1.5 + yes = 'a1.5true'", "'a' + (1 + 2) = 'a3'"]);
    all_match(&["(s + missing) IS NULL"]);
}

#[test]
fn failing_arithmetic_matches_nothing() {
    none_match(&["s - 1 = 1", "NOT (s - 1 = 1)", "1 + s = '1five'", "yes + 1 = 2", "-b = -5"]);
    none_match(&["1 + s = '1' OR yes", "missing + 1 = 1"]);
    all_match(&["yes OR 1 + s = '1'"]);
}

#[test]
fn a_bare_identifier_is_true_only_if_boolean_true() {
    all_match(&["yes", "(yes)", "NOT no", "NOT s"]);
    none_match(&["no", "s", "u", "i", "missing", "map"]);
    all_refused(&["5", "'x'", "i + 1", "-yes", "yes AND 5", "'a' OR yes"]);
}

#[test]
fn xpath_and_xquery_are_refused() {
    assert_eq!(
        error("yes AND XPATH '//a'").to_string(),
        "XPATH selectors are not supported (position 9)"
    );
    assert!(matches!(error("xquery 'a'"), SelectorError::NotSupported { at: 1, .. }));
}

#[test]
fn functions_search_replace_split_and_list() {
    all_match(&[
        "REGEX('^f.*e$', s)",
        "REGEX('5', i)",
        "INLIST(MAKELIST('a', 'five'), s)",
        "INLIST(SPLIT('a, five', ', *'), s)",
        "REPLACE(s, '(i)(v)', '$2$0\\$') = 'fviv$e'",
        "REPLACE('5', '(?<x>.)', '${x}${x}') = '55'",
        "NOT REGEX('x', missing)",
    ]);
    none_match(&["INLIST(MAKELIST(5, 6), l)", "REPLACE(i, '5', '6') = '6'", "INLIST(s, s)"]);
    all_refused(&["regex('f', s)", "REGEX('f')", "REGEX()", "UPPER(s)", "REPLACE(s, 'f', 'g')"]);
}

#[test]
fn patterns_of_functions_are_checked_literals() {
    assert!(matches!(error("REGEX('[', s)"), SelectorError::Regex { at: 1, .. }));
    assert!(matches!(error("REGEX('a(?=b)', s)"), SelectorError::Regex { .. }));
    assert!(matches!(error("REGEX('.{1000}{1000}', s)"), SelectorError::Regex { .. }));
    all_refused(&["REGEX(s, s)", "REPLACE(s, 'a', z) = s", "REPLACE(s, 'a', '$1') = s"]);
    all_refused(&["REPLACE(s, 'a', '$') = s", "REPLACE(s, 'a', '\\') = s"]);
}

#[test]
fn errors_name_the_position_and_what_was_expected() {
    for (selector, message) in [
        ("", "the selector is empty"),
        (" /* */ ", "the selector is empty"),
        ("i = ", "expected a value at position 5, found the end"),
        ("s = '\u{e9}' i = 5", "expected an operator or the end at position 9, found i"),
        ("i ! 5", "expected a value or an operator at position 3, found '!'"),
        ("yes AND 5", "expected a condition at position 9, found a number"),
        ("i > 'a'", "expected a property, a number or arithmetic at position 5, found a string"),
        ("i = NULL", "expected a value other than NULL (use IS NULL) at position 5, found NULL"),
        ("s = 'x", "expected the closing quote of a string at position 7, found the end"),
    ] {
        assert_eq!(error(selector).to_string(), message, "{selector}");
    }
}

#[test]
fn length_and_depth_are_limited() {
    let long = format!("s = '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(error(&long), SelectorError::TooLong { bytes: long.len() });

    let nested = |depth| format!("{}yes{}", "(".repeat(depth), ")".repeat(depth));
    all_match(&[&nested(DEPTH_MAX)]);
    assert!(matches!(error(&nested(DEPTH_MAX + 1)), SelectorError::TooDeep { .. }));
    for hostile in ["(", "NOT ", "- ", "+", "REGEX('a',", "1 + (", "yes = ("] {
        let hostile = hostile.repeat(TEXT_BYTES_MAX / hostile.len());
        assert!(matches!(error(&hostile), SelectorError::TooDeep { .. }));
    }
    for tall in ["i = 1", "yes IS NULL", "s LIKE 'a'", "yes = yes"] {
        let (first, link) = tall.split_once(' ').unwrap();
        let tall = format!("{first}{}", format!(" {link}").repeat(1000));
        assert!(matches!(error(&tall), SelectorError::TooDeep { .. }));
    }
}

#[test]
fn chains_of_and_and_or_are_not_deep() {
    all_match(&[&format!("yes{}", " AND yes".repeat(5000))]);
    all_match(&[&format!("no{} OR yes", " OR i = 6".repeat(5000))]);
}

/// A message whose `s` is 100 000 characters long.
struct Long;

impl Source for Long {
    fn value(&self, name: &str) -> Value<'_> {
        if name == "s" { Value::String("a".repeat(100_000).into()) } else { Value::Null }
    }
}

#[test]
fn what_one_evaluation_builds_is_limited() {
    let parse = |text: &str| Selector::parse(text).unwrap();
    assert!(parse("s + s <> s").matches(&Long));
    assert!(!parse(&format!("s{} <> s", " + s".repeat(60))).matches(&Long));
    assert!(!parse("INLIST(SPLIT(s, ''), 'a')").matches(&Long));
    assert!(!parse("REPLACE(s, 'a', 'b') <> s").matches(&Long));
    let list = format!("'' + MAKELIST(s{}) <> s", ", s".repeat(1000));
    assert!(!parse(&list).matches(&Long));
    assert!(!parse(&format!("s LIKE '%a_a%'{}", " AND s LIKE '%a_a%'".repeat(20))).matches(&Long));
    assert!(parse(&format!("s LIKE '%aaa%'{}", " AND s LIKE 'a_%a'".repeat(20))).matches(&Long));
    let huge = format!("REPLACE(s, 'a+', '{}') <> s", "$0".repeat(10_000));
    assert!(!parse(&huge).matches(&Long));
}

#[test]
fn a_selector_keeps_its_text_and_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let selector = Selector::parse(" i = 5 ").unwrap();
    shared(&selector);
    assert_eq!(selector.text(), " i = 5 ");
    assert_eq!(selector.to_string(), " i = 5 ");
    assert_eq!(format!("{selector:?}"), "Selector(\" i = 5 \")");
    let source: &dyn Source = &MESSAGE;
    assert!(selector.clone().matches(source));
}
