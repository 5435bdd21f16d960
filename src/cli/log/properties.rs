//! Java properties files: `key = value` lines, as `java.util.Properties.load` reads them.

use std::collections::BTreeMap;

/// The entries of a properties file. Of a key that comes twice the last value counts.
///
/// Never fails: a malformed `\u` escape stands for itself.
pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        entries.insert(unescape(key), unescape(value));
    }
    entries
}

/// An odd number of backslashes: an even one is a text of half as many.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or white space that no backslash protects.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim())
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits = chars.as_str().get(..4);
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        out.push(c);
                        chars = chars.as_str().get(4..).unwrap_or_default().chars();
                    }
                    None => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! comment\n  a = 1 \nb:2\nc 3\nd\\ e = f\\\n   g\npath=C:\\\\x\\u0041\\t\n\
                    empty=\nalone\na=last\nhalf\\u00=x\nend=\\";
        let expected = [
            ("a", "last"),
            ("alone", ""),
            ("b", "2"),
            ("c", "3"),
            ("d e", "fg"),
            ("empty", ""),
            ("end", ""),
            ("halfu00", "x"),
            ("path", "C:\\xA\t"),
        ];
        let parsed = parse(text);
        let parsed: Vec<_> = parsed.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(parsed, expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[a\\\\u0=: \n#\u{e9}]{0,60}") {
            drop(parse(&text));
        }
    }
}
