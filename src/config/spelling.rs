//! The nearest known name to a misspelt one.

/// The name out of `known` that `given` most likely meant, if one is near enough to be offered.
///
/// Near means: at most a third of the letters wrong (and never more than four), case apart.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let given: Vec<char> = given.chars().take(LENGTH_MAX + 1).collect();
    if given.len() > LENGTH_MAX {
        return None;
    }
    let allowed = (given.len() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (distance(&given, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Longer words are not compared: the work is quadratic and nobody misspells those.
const LENGTH_MAX: usize = 64;

/// Levenshtein distance over lower-case letters, with a transposition counted once.
fn distance(given: &[char], known: &str) -> usize {
    let lower = |c: &char| c.to_ascii_lowercase();
    let a: Vec<char> = given.iter().map(lower).collect();
    let b: Vec<char> = known.chars().map(|c| lower(&c)).collect();
    let mut two_above = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j - 1] + swap).min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two_above[j - 2] + 1);
            }
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_was_meant_and_nothing_far_off() {
        let known = ["brokerName", "useJmx", "auto+nio", "auto", "persistent", "queuePrefetch"];
        for (given, meant) in [
            ("brokername", Some("brokerName")),
            ("borkerName", Some("brokerName")),
            ("useJMX", Some("useJmx")),
            ("autotnio", Some("auto+nio")),
            ("persistant", Some("persistent")),
            ("queuePrefetsh", Some("queuePrefetch")),
            ("fooBar", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
