//! Wildcards in destination names: `.` separates levels, `*` is exactly one level, `>` is this
//! level and everything below it, including nothing. A `>` before the end still ends the pattern.
//!
//! Names are compared as they are: case matters, and a wildcard in a *name* is an ordinary level.

use std::cmp::Ordering;

/// Whether `name` is one of those `pattern` stands for.
///
/// Time is linear in the shorter of the two; nothing is allocated.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut levels = name.split('.');
    for expected in pattern.split('.') {
        if expected == ">" {
            return true;
        }
        match levels.next() {
            Some(level) if expected == "*" || expected == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether `pattern` contains a wildcard level, that is whether it can match other names.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.split('.').any(|level| level == "*" || level == ">")
}

/// Orders patterns by how much they say: `Greater` means that `a` is more specific than `b`.
///
/// Level by level a literal beats `*` and `*` beats `>`; among equals the longer pattern wins.
/// Of several patterns that match a name, the greatest is the one whose settings apply.
pub fn by_specificity(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (Some(l), Some(r)) => precision(l).cmp(&precision(r)),
            // `W` and `W.>` both match `W`: the one that ends says more than the one that opens.
            (Some(level), None) => return end_against(level),
            (None, Some(level)) => return end_against(level).reverse(),
            (None, None) => return Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// How a pattern that goes on with `level` compares to one that ends there.
fn end_against(level: &str) -> Ordering {
    if level == ">" { Ordering::Less } else { Ordering::Greater }
}

fn precision(level: &str) -> u8 {
    match level {
        ">" => 0,
        "*" => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_level_and_all_levels() {
        for (pattern, name, expected) in [
            (">", "A", true),
            (">", "A.B.C", true),
            ("W.>", "W", true),
            ("W.>", "W.B", true),
            ("W.>", "W.B.C", true),
            ("W.>", "X", false),
            ("W.>", "WX.B", false),
            ("W.*", "W.B", true),
            ("W.*", "W", false),
            ("W.*", "W.B.C", false),
            ("*.B.>", "W.B", true),
            ("*.B.>", "W.B.C", true),
            ("*.B.>", "W.C", false),
            ("A.>.B", "A.x.y", true),
            ("A.B", "A.B", true),
            ("a.b", "A.B", false),
            ("A*", "AB", false),
            ("*", "A", true),
            ("", "A", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn literal_beats_star_beats_everything_below() {
        for (more, less) in [
            ("A.B", "A.*"),
            ("A.*", "A.>"),
            ("A.B.>", "A.>"),
            ("A.>", ">"),
            ("A.>", "*.B"),
            ("A.*.C", "A.*"),
            ("W", "W.>"),
            ("*.*", "*.>"),
        ] {
            assert_eq!(by_specificity(more, less), Ordering::Greater, "{more} {less}");
            assert_eq!(by_specificity(less, more), Ordering::Less, "{less} {more}");
        }
        assert_eq!(by_specificity("A.*", "B.*"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_is_its_most_specific_pattern(
            name in "[A-C]{1,2}(\\.[A-C]{1,2}){0,3}",
            pattern in "([A-C]|\\*|>)(\\.([A-C]|\\*|>)){0,3}",
        ) {
            prop_assert!(matches(&name, &name));
            if matches(&pattern, &name) {
                prop_assert_ne!(by_specificity(&name, &pattern), Ordering::Less);
            }
        }
    }
}
