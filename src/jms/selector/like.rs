//! `LIKE` patterns, compiled so that matching is linear in the text.
//!
//! `%` splits a pattern into segments. The first and the last are anchored; the ones between are
//! searched for from left to right, each where it first fits, which never needs to be revised.

/// Longest segment between two `%` that may contain `_`, characters. A segment without `_` is found
/// in linear time whatever its length; this bounds the factor of the plain search for the others.
const SEARCHED_CHARS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct LikePattern {
    /// What the text begins with; all of it if there is no `rest`.
    first: Segment,
    /// Present if the pattern has a `%`.
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    middle: Vec<Segment>,
    last: Segment,
}

#[derive(Debug)]
enum Segment {
    Literal(Box<str>),
    /// `None` is `_`: any one character.
    Mixed(Box<[Option<char>]>),
}

impl LikePattern {
    /// Compiles `pattern`. `escape` before `%`, `_` or itself makes that character literal, and is
    /// an ordinary character elsewhere. `None` if a segment exceeds [`SEARCHED_CHARS_MAX`].
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Option<Self> {
        let mut segments = Vec::new();
        let mut units = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let escapes = escape == Some(c);
            match chars.next_if(|next| escapes && (matches!(next, '%' | '_') || *next == c)) {
                Some(literal) => units.push(Some(literal)),
                None if c == '%' => segments.push(Segment::new(&std::mem::take(&mut units))),
                None if c == '_' => units.push(None),
                None => units.push(Some(c)),
            }
        }
        let last = Segment::new(&units);
        if segments.is_empty() {
            return Some(Self { first: last, rest: None });
        }
        let first = segments.remove(0);
        segments.retain(|segment| !segment.is_empty());
        if segments.iter().any(Segment::is_too_long_to_search) {
            return None;
        }
        Some(Self { first, rest: Some(Rest { middle: segments, last }) })
    }

    /// Whether a part between two `%` has a `_`: up to [`SEARCHED_CHARS_MAX`] steps per character
    /// of the text, where all else takes about one.
    pub(super) fn searches_by_character(&self) -> bool {
        let mut middle = self.rest.iter().flat_map(|rest| &rest.middle);
        middle.any(|segment| matches!(segment, Segment::Mixed(_)))
    }

    /// Whether all of `text` fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(mut text) = self.first.strip_start(text) else {
            return false;
        };
        let Some(Rest { middle, last }) = &self.rest else {
            return text.is_empty();
        };
        match last.strip_end(text) {
            Some(between) => text = between,
            None => return false,
        }
        for segment in middle {
            match segment.strip_through(text) {
                Some(after) => text = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
impl std::fmt::Display for LikePattern {
    /// A pattern that compiles to this one with `!` as escape.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut segments = vec![&self.first];
        if let Some(rest) = &self.rest {
            segments.extend(rest.middle.iter().chain([&rest.last]));
        }
        for (i, segment) in segments.into_iter().enumerate() {
            if i > 0 {
                f.write_str("%")?;
            }
            let units = match segment {
                Segment::Literal(literal) => literal.chars().map(Some).collect(),
                Segment::Mixed(units) => units.to_vec(),
            };
            for unit in units {
                match unit {
                    None => f.write_str("_")?,
                    Some(c @ ('%' | '_' | '!')) => write!(f, "!{c}")?,
                    Some(c) => write!(f, "{c}")?,
                }
            }
        }
        Ok(())
    }
}

impl Segment {
    fn new(units: &[Option<char>]) -> Self {
        match units.iter().copied().collect::<Option<String>>() {
            Some(literal) => Self::Literal(literal.into()),
            None => Self::Mixed(units.into()),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Literal(literal) if literal.is_empty())
    }

    fn is_too_long_to_search(&self) -> bool {
        matches!(self, Self::Mixed(units) if units.len() > SEARCHED_CHARS_MAX)
    }

    /// What follows the segment at the start of `text`.
    fn strip_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(&**literal),
            Self::Mixed(units) => {
                let mut chars = text.chars();
                units.iter().all(|unit| fits(*unit, chars.next())).then_some(chars.as_str())
            }
        }
    }

    /// What precedes the segment at the end of `text`.
    fn strip_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_suffix(&**literal),
            Self::Mixed(units) => {
                let mut chars = text.chars();
                let mut units = units.iter().rev();
                units.all(|unit| fits(*unit, chars.next_back())).then_some(chars.as_str())
            }
        }
    }

    /// What follows the first place in `text` where the segment fits.
    fn strip_through<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.split_once(&**literal).map(|(_, after)| after),
            Self::Mixed(_) => {
                let mut from = text.chars();
                loop {
                    if let Some(after) = self.strip_start(from.as_str()) {
                        return Some(after);
                    }
                    from.next()?;
                }
            }
        }
    }
}

fn fits(unit: Option<char>, c: Option<char>) -> bool {
    c.is_some_and(|c| unit.is_none_or(|unit| unit == c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
        LikePattern::new(pattern, escape).unwrap().matches(text)
    }

    /// The definition, spelled out: a table of which pattern prefixes match which text prefixes.
    fn reference(text: &str, pattern: &str, escape: Option<char>) -> bool {
        let mut units = Vec::new(); // (is `%`, what else)
        let chars: Vec<char> = pattern.chars().collect();
        let mut i = 0;
        while i < chars.len() {
            let next = chars.get(i + 1).copied();
            if Some(chars[i]) == escape
                && next.is_some_and(|n| n == '%' || n == '_' || Some(n) == escape)
            {
                units.push((false, next));
                i += 1;
            } else {
                units.push((chars[i] == '%', (chars[i] != '_').then_some(chars[i])));
            }
            i += 1;
        }
        let text: Vec<char> = text.chars().collect();
        let mut reachable = vec![false; text.len() + 1];
        reachable[0] = true;
        for (is_run, unit) in units {
            let before = reachable.clone();
            for end in 0..=text.len() {
                reachable[end] = if is_run {
                    before[..=end].contains(&true)
                } else {
                    end > 0 && before[end - 1] && unit.is_none_or(|unit| unit == text[end - 1])
                };
            }
        }
        reachable[text.len()]
    }

    #[test]
    fn percent_is_any_run_and_underscore_one_character() {
        assert!(like("", "%", None));
        assert!(!like("", "_", None));
        assert!(like("aXbXc", "a%X%c", None));
        assert!(like("abab", "%ab", None));
        assert!(!like("aba", "ab%ba", None));
        assert!(like("a\u{1f600}c", "a_c", None));
        assert!(like("a\nb", "a%b", None));
    }

    #[test]
    fn pattern_characters_of_regular_expressions_are_ordinary() {
        for text in ["a.b", "[a-c]", "^a$", "a+", "a{2}", "(a)", "\\", "\\E", "a|b"] {
            assert!(like(text, text, None));
        }
        assert!(!like("b", "[a-c]", None));
    }

    #[test]
    fn hostile_patterns_stay_linear() {
        let text = "a".repeat(200_000);
        let pattern = format!("{}b", "%a".repeat(20_000));
        assert!(!like(&text, &pattern, None));
        assert!(LikePattern::new(&format!("%{}%", "a_".repeat(200)), None).is_none());
        assert!(LikePattern::new(&"a_".repeat(200), None).is_some());
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            text in "[ab!%_\u{e9}]{0,12}",
            pattern in "[ab!%_\u{e9}]{0,8}",
            escape in proptest::option::of(prop::sample::select(vec!['!', '%', '_', 'a'])),
        ) {
            prop_assert_eq!(like(&text, &pattern, escape), reference(&text, &pattern, escape));
        }
    }
}
