//! Destinations as the XML names them: `<queue physicalName="A"/>`, `queue="A.>"`, `queue://A`.

use super::macros::element;
use super::report::Place;
use super::table::{Bean, Content, Given, Property, Reading};
use super::units::BadValue;
use super::xml::Element;
use crate::jms::Destination;
pub use crate::jms::DestinationKind;
use crate::jms::wildcard;

/// By the word used for elements and attributes: `queue`, `topic`, `tempQueue`, `tempTopic`.
fn kind_of_word(word: &str) -> Option<DestinationKind> {
    match word {
        "queue" => Some(DestinationKind::Queue),
        "topic" => Some(DestinationKind::Topic),
        "tempQueue" => Some(DestinationKind::TempQueue),
        "tempTopic" => Some(DestinationKind::TempTopic),
        _ => None,
    }
}

/// A destination or, where a list allows it, a pattern for many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationName {
    pub place: Place,
    pub kind: DestinationKind,
    /// As written, options such as `?forceDurable=true` included; wildcards not interpreted.
    pub name: String,
}

/// `name` without its options.
fn without_options(name: &str) -> &str {
    name.split('?').next().unwrap_or(name).trim()
}

impl DestinationName {
    /// Whether this, taken as a pattern, covers the destination `name` of `kind`. A composite
    /// `A,B.>` covers what any of its parts covers.
    pub fn covers(&self, kind: DestinationKind, name: &str) -> bool {
        self.kind == kind && self.parts().any(|part| wildcard::matches(part, name))
    }

    /// The parts of a composite, without options; the name itself if it is none.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.name.split(',').map(without_options)
    }

    /// The destinations it names: one for each part, without options.
    pub fn destinations(&self) -> Vec<Destination> {
        let parts = self.parts().collect::<Vec<_>>().join(",");
        Destination::new(self.kind, Some(parts.into())).parts()
    }

    fn of_text(text: &str, place: &Place) -> Result<Self, BadValue> {
        let text = text.trim();
        let (kind, name) = match text.split_once("://") {
            None => (DestinationKind::Queue, text),
            Some(("queue", name)) => (DestinationKind::Queue, name),
            Some(("topic", name)) => (DestinationKind::Topic, name),
            Some(("temp-queue", name)) => (DestinationKind::TempQueue, name),
            Some(("temp-topic", name)) => (DestinationKind::TempTopic, name),
            Some(_) => return Err(BadValue::NotADestination),
        };
        if name.is_empty() {
            return Err(BadValue::Empty);
        }
        Ok(Self { place: place.clone(), kind, name: name.to_owned() })
    }
}

element! {
    /// What stands inside `<queue physicalName="A"/>`.
    struct PhysicalName = {
        name: String = "physicalName", String::new(), active;
    }
    without_effect { "compositeDestinations", "properties" }
    required { "physicalName" = "the name of the destination" }
}

impl Bean for DestinationName {
    const ELEMENTS: &'static [&'static str] = &["queue", "topic", "tempQueue", "tempTopic"];

    fn of_element(element: &Element, reading: &mut Reading<'_>) -> Option<Self> {
        let kind = kind_of_word(&element.name)?;
        let PhysicalName { name, place } = PhysicalName::of_element(element, reading)?;
        Some(Self { place, kind, name: name.trim().to_owned() }).filter(|d| !d.name.is_empty())
    }
}

/// Which destinations an entry of a map is for: one of the attributes `queue`, `topic`,
/// `tempQueue="true"`, `tempTopic="true"`, or a nested `<destination>`.
///
/// Temporaries have names nobody knows, so one entry covers all of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliesTo(pub Option<DestinationName>);

impl AppliesTo {
    /// See [`DestinationName::covers`]; an entry without a destination covers nothing.
    pub fn covers(&self, kind: DestinationKind, name: &str) -> bool {
        self.0.as_ref().is_some_and(|pattern| pattern.covers(kind, name))
    }

    /// The most specific part that covers the destination.
    pub(crate) fn best_part(&self, kind: DestinationKind, name: &str) -> Option<&str> {
        let pattern = self.0.as_ref().filter(|pattern| pattern.kind == kind)?;
        let covering = pattern.parts().filter(|part| wildcard::matches(part, name));
        covering.max_by(|a, b| wildcard::by_specificity(a, b))
    }
}

impl Property for AppliesTo {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        match kind_of_word(given.name) {
            Some(kind @ (DestinationKind::TempQueue | DestinationKind::TempTopic)) => {
                let all = bool::read(given, reading)?;
                let (place, name) = (given.place.clone(), ">".to_owned());
                Some(Self(all.then_some(DestinationName { place, kind, name })))
            }
            Some(kind) => {
                let name = reading.scalar(given, |text| match text.trim() {
                    "" => Err(BadValue::Empty),
                    name => Ok(name.to_owned()),
                })?;
                Some(Self(Some(DestinationName { place: given.place.clone(), kind, name })))
            }
            None => match given.content {
                Content::Text(_) if given.reference().is_none() => {
                    let parse = |text: &str| DestinationName::of_text(text, given.place);
                    reading.scalar(given, parse).map(|name| Self(Some(name)))
                }
                _ => <DestinationName as Property>::read(given, reading).map(|n| Self(Some(n))),
            },
        }
    }
}

/// Several destinations: child elements, or `queue://A,topic://B` in an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationList(pub Vec<DestinationName>);

impl DestinationList {
    /// Whether one of the patterns covers the destination.
    pub fn covers(&self, kind: DestinationKind, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.covers(kind, name))
    }
}

impl Property for DestinationList {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        match given.content {
            Content::Inside(_) => Vec::<DestinationName>::read(given, reading).map(Self),
            _ => reading
                .scalar(given, |text| {
                    let names = text.split(',').filter(|name| !name.trim().is_empty());
                    names
                        .map(|name| DestinationName::of_text(name, given.place))
                        .collect::<Result<_, _>>()
                })
                .map(Self),
        }
    }
}
