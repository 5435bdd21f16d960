//! Which subscriptions may want a message, without asking each of them.
//!
//! A selector such as `region = 'north' AND price > 5` can only be true where `region` is `'north'`:
//! subscriptions stand under the name and the text or whole number they ask for, and a message is looked
//! up once for each name. With thousands of such subscriptions a message costs as much as those it is for. Any other
//! selector of a topic's subscriptions is evaluated once for all that share it; those of a queue are asked in their
//! order.

use crate::broker::candidate::Candidate;
use crate::jms::selector::{Required, Selector, Source, Value};
use hashbrown::HashMap;

/// Those that ask for one name, by what it is to be.
#[derive(Debug, Default)]
struct Wanted {
    texts: HashMap<Box<str>, Vec<usize>>,
    numbers: HashMap<i64, Vec<usize>>,
}

/// Places of subscriptions whose selectors can be true for one value only, by that.
#[derive(Debug, Default)]
pub(super) struct ByValue {
    names: Vec<(Box<str>, Wanted)>,
}

/// Places of subscriptions, by what their selectors ask for.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    by_value: ByValue,
    /// Selectors that have to be evaluated, each once for all that share it.
    shared: Vec<(Selector, Vec<usize>)>,
    /// Where they are among those, by identity.
    known: HashMap<usize, usize>,
}

/// What is known of a subscription that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Its selector is true.
    Sure,
    /// Its selector may be.
    Possible,
}

impl ByValue {
    /// False if `selector` asks for no value under which it could stand.
    pub(super) fn add(&mut self, place: usize, selector: &Selector) -> bool {
        let Some((name, required)) = selector.required() else { return false };
        let at = match self.names.iter().position(|(known, _)| **known == *name) {
            Some(at) => at,
            None if self.names.len() < NAMES_MAX => {
                self.names.push((name.into(), Wanted::default()));
                self.names.len() - 1
            }
            None => return false,
        };
        let wanted = &mut self.names[at].1;
        match required {
            Required::Text(text) => wanted.texts.entry(text.into()).or_default().push(place),
            Required::Number(number) => wanted.numbers.entry(number).or_default().push(place),
        }
        true
    }

    /// Calls `with` for each whose selector may be true for `candidate`.
    pub(super) fn each_for(&self, candidate: &Candidate<'_>, mut with: impl FnMut(usize)) {
        for (name, Wanted { texts, numbers }) in &self.names {
            let places = match candidate.value(name) {
                Value::String(text) => texts.get(&*text),
                // It is compared with what other numbers are as a `Float`.
                Value::Float(_) => {
                    numbers.values().flatten().for_each(|place| with(*place));
                    continue;
                }
                value => value.whole().and_then(|number| numbers.get(&number)),
            };
            places.into_iter().flatten().for_each(|place| with(*place));
        }
    }
}

impl SelectorIndex {
    pub(super) fn add(&mut self, place: usize, selector: &Selector) {
        if self.by_value.add(place, selector) {
            return;
        }
        let next = self.shared.len();
        let at = *self.known.entry(selector.identity()).or_insert(next);
        if at == next {
            self.shared.push((selector.clone(), Vec::new()));
        }
        self.shared[at].1.push(place);
    }

    /// Calls `with` for each that may want `candidate`.
    pub(super) fn each_for(&self, candidate: &Candidate<'_>, mut with: impl FnMut(usize, Match)) {
        self.by_value.each_for(candidate, |place| with(place, Match::Possible));
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
    use crate::jms::properties::{PropertyMap, PropertyValue};

    #[test]
    fn who_asks_for_a_text_is_found_by_it_and_other_selectors_are_evaluated() {
        let mut index = SelectorIndex::default();
        let selectors = [
            "JMSType = 'a'",
            "JMSPriority > 9",
            "JMSPriority > 3 AND 'b' = JMSType",
            "JMSType = 'a' OR JMSPriority > 3",
            "JMSCorrelationID = 'c' AND JMSType = 'a'",
            "NOT (JMSType = 'a')",
            "convert_string_expressions:JMSType = 'a'",
            "JMSPriority + 0 = 4",
        ];
        let shared = Selector::parse("JMSPriority < 1").expect("valid");
        for (place, text) in selectors.into_iter().enumerate() {
            index.add(place, &Selector::parse(text).expect("valid"));
        }
        index.add(8, &shared);
        index.add(9, &shared.clone());
        assert_eq!(index.shared.len(), 6, "the last one is shared");
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

    /// Whatever kinds the numbers are of: who is not found would not have matched.
    #[test]
    fn who_asks_for_a_number_is_found_by_it() {
        let texts = [
            "n = 5",
            "5 = n",
            "n = 5.0",
            "n = -5",
            "n = 5.5",
            "n = 0",
            "n = -0.0",
            "n = 16777217",
            "n = 9007199254740992",
            "n = 9007199254740993",
            "n = 9223372036854775807",
            "n = 1e300",
            "n = '5'",
            "n = 5 AND n > 4",
        ];
        let selectors = texts.map(|text| Selector::parse(text).expect("valid"));
        let mut index = SelectorIndex::default();
        for (place, selector) in selectors.iter().enumerate() {
            index.add(place, selector);
        }
        assert_eq!(index.shared.len(), 5, "5.5 and what is too large");
        let floats = [5.0, -5.0, 5.5, 0.0, -0.0, 16_777_216.0, 9_007_199_254_740_992.0, 1e300];
        let floats = floats.into_iter().chain([f64::NAN, f64::INFINITY, i64::MAX as f64]);
        let whole = [5, -5, 0, 16_777_217, 1 << 53, (1 << 53) + 1, i64::MAX];
        let whole = whole.into_iter().flat_map(|n| {
            let narrow = [PropertyValue::Byte(n as i8), PropertyValue::Short(n as i16)];
            [PropertyValue::Long(n), PropertyValue::Int(n as i32)].into_iter().chain(narrow)
        });
        let floats =
            floats.flat_map(|n| [PropertyValue::Double(n), PropertyValue::Float(n as f32)]);
        let others = [PropertyValue::String("5".into()), PropertyValue::Bool(true)];
        for value in whole.chain(floats).chain(others) {
            let mut properties = PropertyMap::default();
            properties.set("n", value.clone());
            let message = Message { properties: properties.encode().ok(), ..Message::default() };
            let candidate = Candidate { message: &message, redeliveries: 0 };
            let mut found = Vec::new();
            index.each_for(&candidate, |place, _| {
                found.extend(selectors[place].matches(&candidate).then_some(place));
            });
            found.sort_unstable();
            let matching = selectors.iter().enumerate().filter(|(_, s)| s.matches(&candidate));
            let matching: Vec<usize> = matching.map(|(place, _)| place).collect();
            assert_eq!(found, matching, "{value:?}");
        }
    }
}
