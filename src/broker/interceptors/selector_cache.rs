//! `virtualSelectorCacheBrokerPlugin`: the selectors of consumers, remembered while they are away.
//!
//! A `selectorAware` virtual topic copies to a queue what one of its consumers selects. With this, also
//! what a consumer selected that is not there at the moment.

use crate::broker::candidate::Candidate;
use crate::jms::selector::Selector;
use crate::jms::{ConsumerInfo, Destination};
use hashbrown::HashMap;
use parking_lot::Mutex;

/// What is remembered, by queue.
#[derive(Debug, Default)]
pub struct SelectorCache {
    options: SelectorCacheOptions,
    state: Mutex<State>,
}

/// Which selectors are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelectorCacheOptions {
    /// `singleSelectorPerDestination`: the last one only; that everything is wanted is remembered beside it.
    pub single: bool,
    /// `ignoreWildcardSelectors`: none with wildcards of `LIKE`.
    pub ignore_wildcards: bool,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<Destination, Vec<Wanted>>,
    changed: bool,
}

/// A selector; none selects everything.
#[derive(Clone, Debug)]
struct Wanted(Option<Selector>);

impl Wanted {
    fn text(&self) -> &str {
        self.0.as_ref().map_or(EVERYTHING, Selector::text)
    }
}

/// A consumer without selector, as it is written.
const EVERYTHING: &str = "TRUE";

/// Selectors remembered of one queue, at most: who makes up a new one for every consumer must not take the
/// broker's memory. The oldest go first.
const SELECTORS_MAX: usize = 1024;

impl SelectorCache {
    pub fn new(options: SelectorCacheOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// A consumer came.
    pub fn note(&self, info: &ConsumerInfo, selector: Option<&Selector>) {
        let queues = info.destination.iter().flat_map(Destination::parts);
        let remembered = |d: &Destination| d.kind().is_queue() && !d.kind().is_temporary();
        for queue in queues.filter(|queue| remembered(queue) && !info.browser) {
            self.add(queue, Wanted(selector.cloned()));
        }
    }

    fn add(&self, queue: Destination, wanted: Wanted) {
        if self.options.ignore_wildcards && wanted.0.as_ref().is_some_and(has_wildcards) {
            return;
        }
        let mut state = self.state.lock();
        let known = state.queues.entry(queue).or_default();
        if known.iter().any(|present| present.text() == wanted.text()) {
            return;
        }
        if self.options.single && wanted.0.is_some() {
            known.retain(|present| present.0.is_none());
        }
        if known.len() >= SELECTORS_MAX {
            known.remove(0);
        }
        known.push(wanted);
        state.changed = true;
    }

    /// A queue was removed: who consumes from it again says again what is wanted.
    pub fn forget(&self, queue: &Destination) {
        let mut state = self.state.lock();
        state.changed |= state.queues.remove(queue).is_some();
    }

    /// Whether a consumer that was at `queue` selects this message.
    pub fn selects(&self, queue: &Destination, candidate: &Candidate<'_>) -> bool {
        // The selectors are shared: the lock is not held while they are evaluated.
        let known = self.state.lock().queues.get(queue).cloned().unwrap_or_default();
        known.iter().any(|wanted| wanted.0.as_ref().is_none_or(|s| s.matches(candidate)))
    }

    /// What is remembered, if it has changed since the last call: a line for each selector, with the
    /// queue's qualified name and a tab before it, both without line ends.
    pub fn take_changes(&self) -> Option<String> {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.changed) {
            return None;
        }
        let mut lines: Vec<String> = Vec::new();
        for (queue, known) in &state.queues {
            let queue = escaped(&queue.to_string());
            lines.extend(
                known.iter().map(|wanted| format!("{queue}\t{}\n", escaped(wanted.text()))),
            );
        }
        lines.sort_unstable();
        Some(lines.concat())
    }

    /// Remembers what [`Self::take_changes`] wrote; lines that cannot be understood are passed over, and
    /// counted in the result.
    pub fn restore(&self, text: &str) -> usize {
        let mut skipped = 0;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let parts = line
                .split_once('\t')
                .and_then(|(queue, selector)| Some((unescaped(queue)?, unescaped(selector)?)));
            let wanted = parts.and_then(|(queue, selector)| {
                let queue = Destination::parse(&queue, crate::jms::DestinationKind::Queue);
                let wanted = match selector.as_str() {
                    EVERYTHING => Wanted(None),
                    text => Wanted(Some(Selector::parse(text).ok()?)),
                };
                Some((queue, wanted))
            });
            match wanted {
                Some((queue, wanted)) => self.add(queue, wanted),
                None => skipped += 1,
            }
        }
        self.state.lock().changed = false;
        skipped
    }
}

/// Whether a `LIKE` in the selector has a wildcard in its pattern.
fn has_wildcards(selector: &Selector) -> bool {
    let upper = selector.text().to_ascii_uppercase();
    let mut rest = upper.as_str();
    while let Some((_, behind)) = rest.split_once("LIKE") {
        let pattern = behind.split('\'').nth(1).unwrap_or("");
        if pattern.contains(['%', '_']) {
            return true;
        }
        rest = behind;
    }
    false
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(text: &str) -> Option<String> {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next()? {
                '\\' => '\\',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::Message;

    fn note(cache: &SelectorCache, queue: &str, selector: Option<&str>) {
        let selector = selector.map(|text| Selector::parse(text).expect("a selector"));
        let destination = Some(Destination::queue(queue));
        let info = ConsumerInfo { destination, ..ConsumerInfo::default() };
        cache.note(&info, selector.as_ref());
    }

    fn selects(cache: &SelectorCache, queue: &str, jms_type: &str) -> bool {
        let message = Message { jms_type: Some(jms_type.into()), ..Message::default() };
        cache.selects(&Destination::queue(queue), &Candidate { message: &message, redeliveries: 0 })
    }

    #[test]
    fn selectors_are_remembered_until_the_queue_goes() {
        let cache = SelectorCache::default();
        assert!(!selects(&cache, "Q", "a"));
        note(&cache, "Q", Some("JMSType = 'a'"));
        note(&cache, "Q", Some("JMSType = 'b'"));
        assert!(selects(&cache, "Q", "a") && selects(&cache, "Q", "b"));
        assert!(!selects(&cache, "Q", "c") && !selects(&cache, "R", "a"));
        note(&cache, "Q", None);
        assert!(selects(&cache, "Q", "c"));
        cache.forget(&Destination::queue("Q"));
        assert!(!selects(&cache, "Q", "a"));
    }

    #[test]
    fn a_single_selector_is_the_last_one_beside_everything() {
        let options = SelectorCacheOptions { single: true, ignore_wildcards: true };
        let cache = SelectorCache::new(options);
        note(&cache, "Q", Some("JMSType = 'a'"));
        note(&cache, "Q", Some("JMSType = 'b'"));
        note(&cache, "Q", Some("JMSType LIKE 'c%'"));
        assert!(
            !selects(&cache, "Q", "a") && selects(&cache, "Q", "b") && !selects(&cache, "Q", "c")
        );
        note(&cache, "Q", None);
        note(&cache, "Q", Some("JMSType = 'a'"));
        assert!(selects(&cache, "Q", "z"), "everything stays");
    }

    #[test]
    fn what_is_written_is_understood_and_nothing_else() {
        let cache = SelectorCache::default();
        assert_eq!(cache.take_changes(), None);
        note(&cache, "Q\tx\\", Some("JMSType = '\n'"));
        note(&cache, "R", None);
        let text = cache.take_changes().expect("it has changed");
        assert_eq!(cache.take_changes(), None);
        let again = SelectorCache::default();
        let damaged = format!("{text}no tab\nqueue://S\tnot a selector\nqueue://S\\x\tTRUE\n");
        assert_eq!(again.restore(&damaged), 3);
        assert!(selects(&again, "Q\tx\\", "\n") && selects(&again, "R", "a"));
        assert!(!selects(&again, "S", "a"));
        assert_eq!(again.take_changes(), None, "it is in the file");
    }
}
