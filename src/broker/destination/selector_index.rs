//! Which subscriptions of a topic may want a message, without asking each of them.
//!
//! A selector such as `region = 'north' AND price > 5` can only be true where `region` is `'north'`:
//! subscriptions stand under the name and text they ask for, and a message is looked up once for each
//! name. With thousands of such subscriptions a message costs as much as those it is for.

use crate::broker::candidate::Candidate;
use crate::jms::selector::{Selector, Source, Value};
use hashbrown::HashMap;

type ByText = HashMap<Box<str>, Vec<usize>>;

/// Places of subscriptions, by what their selectors ask for.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    names: Vec<(Box<str>, ByText)>,
    /// Those that have to be asked.
    others: Vec<usize>,
}

impl SelectorIndex {
    pub(super) fn add(&mut self, place: usize, selector: Option<&Selector>) {
        let Some((name, text)) = selector.and_then(Selector::required_text) else {
            return self.others.push(place);
        };
        let at = match self.names.iter().position(|(known, _)| **known == *name) {
            Some(at) => at,
            None if self.names.len() < NAMES_MAX => {
                self.names.push((name.into(), ByText::new()));
                self.names.len() - 1
            }
            None => return self.others.push(place),
        };
        self.names[at].1.entry(text.into()).or_default().push(place);
    }

    /// Those that may want any message.
    pub(super) fn others(&self) -> &[usize] {
        &self.others
    }

    /// Calls `with` for each of the rest that may want `candidate`.
    pub(super) fn each_for(&self, candidate: &Candidate<'_>, mut with: impl FnMut(usize)) {
        for (name, texts) in &self.names {
            if let Value::String(text) = candidate.value(name)
                && let Some(places) = texts.get(&*text)
            {
                places.iter().for_each(|place| with(*place));
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
    fn who_asks_for_a_text_is_found_by_it_and_the_others_are_asked() {
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
        for (place, text) in selectors.into_iter().enumerate() {
            let selector = text.map(|text| Selector::parse(text).expect("valid"));
            index.add(place, selector.as_ref());
        }
        assert_eq!(index.others(), [1, 3, 5, 6, 7]);
        let found = |jms_type: &str, correlation_id: Option<&str>| {
            let message = Message {
                jms_type: Some(jms_type.into()),
                correlation_id: correlation_id.map(Into::into),
                ..Message::default()
            };
            let mut found = Vec::new();
            let candidate = Candidate { message: &message, redeliveries: 0 };
            index.each_for(&candidate, |place| found.push(place));
            found
        };
        assert_eq!(found("a", None), [0]);
        assert_eq!(found("b", None), [2]);
        assert_eq!(found("a", Some("c")), [0, 4]);
        assert_eq!(found("d", None), [0; 0]);
    }
}
