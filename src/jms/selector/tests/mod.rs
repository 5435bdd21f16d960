//! Selectors against messages made of a few properties.

mod naive;
mod random;
mod recorded;
mod rules;

use std::borrow::Cow;

use super::{Source, Value};

/// A message: names and values.
struct Properties(&'static [(&'static str, Value<'static>)]);

impl Source for Properties {
    fn value(&self, name: &str) -> Value<'_> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(Value::Null, |(_, value)| match value {
            Value::String(text) => Value::String(Cow::Borrowed(text)),
            other => other.clone(),
        })
    }
}

const fn text(text: &'static str) -> Value<'static> {
    Value::String(Cow::Borrowed(text))
}
