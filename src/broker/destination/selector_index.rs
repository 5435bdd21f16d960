//! Which subscriptions of a topic may want a message, without asking each of them.
//!
//! A selector such as `region = 'north' AND price > 5` can only be true where `region` is `'north'`:
//! subscriptions stand under the name and text they ask for, and a message is looked up once for each
//! name. With thousands of such subscriptions a message costs as much as those it is for. Any other selector
//! is evaluated once for all subscriptions that share it.

use crate::broker::candidate::Candidate;
use crate::jms::selector::{Selector, Source, Value};
use hashbrown::HashMap;

type ByText = HashMap<Box<str>, Vec<usize>>;

/// Places of subscriptions, by what their selectors ask for.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    names: Vec<(Box<str>, ByText)>,
    /// Selectors that have to be evaluated, each once for all that share it.
    shared: Vec<(Selector, Vec<usize>)>,
    /// Where they are among those, by identity.
    known: HashMap<usize, usize>,
    /// Those without selector.
    others: Vec<usize>,
}

/// What is known of a subscription that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Its selector is true.
    Sure,
    /// Its selector may be.
    Possible,
}

impl SelectorIndex {
    pub(super) fn add(&mut self, place: usize, selector: Option<&Selector>) {
        let Some(selector) = selector else { return self.others.push(place) };
        let Some((name, text)) = selector.required_text() else {
            return self.share(place, selector);
        };
        let at = match self.names.iter().position(|(known, _)| **known == *name) {
            Some(at) => at,
            None if self.names.len() < NAMES_MAX => {
                self.names.push((name.into(), ByText::new()));
                self.names.len() - 1
            }
            None => return self.share(place, selector),
        };
        self.names[at].1.entry(text.into()).or_default().push(place);
    }

    fn share(&mut self, place: usize, selector: &Selector) {
        let next = self.shared.len();
        let at = *self.known.entry(selector.identity()).or_insert(next);
        if at == next {
            self.shared.push((selector.clone(), Vec::new()));
        }
        self.shared[at].1.push(place);
    }

    /// Those that may want any message.
    pub(super) fn others(&self) -> &[usize] {
        &self.others
    }

    /// Calls `with` for each of the rest that may want `candidate`.
    pub(super) fn each_for(&self, candidate: &Candidate<'_>, mut with: impl FnMut(usize, Match)) {
        for (name, texts) in &self.names {
            if let Value::String(text) = candidate.value(name)
                && let Some(places) = texts.get(&*text)
            {
                places.iter().for_each(|place| with(*place, Match::Possible));
            }
        }
        for (selector, places) in &self.shared {
            if selector.matches(candidate) {
                places.iter().for_each(|place| with(*place, Match::Sure));
            }
        }
    }
}

/// Each name is looked up in each message.
const NAMES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::Message;

    #[test]
    fn who_asks_for_a_text_is_found_by_it_and_other_selectors_are_evaluated() {
        let mut index = SelectorIndex::default();
        let selectors = [
            Some("JMSType = 'a'"),
            None,
            Some("JMSPriority > 3 AND 'b' = JMSType"),
            Some("JMSType = 'a' OR JMSPriority > 3"),
            Some("JMSCorrelationID = 'c' AND JMSType = 'a'"),
            Some("NOT (JMSType = 'a')"),
            Some("convert_string_expressions:JMSType = 'a'"),
            Some("JMSPriority = 4"),
        ];
        let shared = Selector::parse("JMSPriority = 0").expect("valid");
        for (place, text) in selectors.into_iter().enumerate() {
            let selector = text.map(|text| Selector::parse(text).expect("valid"));
            index.add(place, selector.as_ref());
        }
        index.add(8, Some(&shared));
        index.add(9, Some(&shared.clone()));
        assert_eq!(index.others(), [1]);
        assert_eq!(index.shared.len(), 5, "the last one is shared");
        let found = |jms_type: &str, correlation_id: Option<&str>| {
            let message = Message {
                jms_type: Some(jms_type.into()),
                correlation_id: correlation_id.map(Into::into),
                ..Message::default()
            };
            let mut found = Vec::new();
            let candidate = Candidate { message: &message, redeliveries: 0 };
            index.each_for(&candidate, |place, is| found.push((place, is == Match::Sure)));
            found
        };
        let always = [(8, true), (9, true)];
        let and_always = |found: &[(usize, bool)]| [found, &always].concat();
        assert_eq!(found("a", None), and_always(&[(0, false), (3, true), (6, true)]));
        assert_eq!(found("b", None), and_always(&[(2, false), (5, true)]));
        let with_c = [(0, false), (4, false), (3, true), (6, true)];
        assert_eq!(found("a", Some("c")), and_always(&with_c));
        assert_eq!(found("d", None), and_always(&[(5, true)]));
    }
}
