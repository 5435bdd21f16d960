//! One pass over the tree: what has been found so far, and the words for it.

use std::collections::HashMap;

use super::report::{ConfigError, Notice, Place, Problem, Remark, Subject, SubjectKind};
use super::spelling::nearest;
use super::table::Property;
use super::units::{self, BadValue};
use super::xml::{Element, Namespace};

/// What becomes of a property that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Later,
    Security,
    Ignored(Option<&'static str>),
}

/// A property as the file gives it.
pub(crate) struct Given<'a> {
    pub(crate) kind: SubjectKind,
    pub(crate) name: &'a str,
    /// The element it belongs to; for URI options the connector.
    pub(crate) owner: &'a Element,
    pub(crate) place: &'a Place,
    pub(crate) content: Content<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Text(&'a str),
    /// The id of a bean.
    Reference(&'a str),
    /// The property element: its children are the value.
    Inside(&'a Element),
}

impl<'a> Given<'a> {
    /// What Spring's `<property>` gives.
    pub(super) fn of_property(property: &'a Element, name: &'a str, owner: &'a Element) -> Self {
        let reference = property.attribute("ref").map(Content::Reference);
        let value = property.attribute("value").map(Content::Text);
        let content = reference.or(value).unwrap_or(Content::Inside(property));
        let (kind, place) = (SubjectKind::Property, &property.place);
        Self { kind, name, owner, place, content }
    }

    /// The bean id that is given instead of a value: `ref="id"` or `"#id"`.
    pub(super) fn reference(&self) -> Option<&'a str> {
        match self.content {
            Content::Reference(id) => Some(id),
            Content::Text(text) => text.trim().strip_prefix('#'),
            Content::Inside(_) => None,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        let owner = match self.kind {
            SubjectKind::UriOption => {
                format!("connector '{}'", self.owner.attribute("name").unwrap_or("unnamed"))
            }
            _ => format!("<{}>", self.owner.name),
        };
        Subject { kind: self.kind, name: self.name.to_owned(), owner }
    }
}

/// The state of one pass over the tree: what has been found so far.
pub(crate) struct Reading<'a> {
    beans: HashMap<&'a str, &'a Element>,
    /// The ids that something refers to.
    pub(crate) used: Vec<String>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) notices: Vec<Notice>,
    /// Above zero inside something whose remark has been made as a whole.
    quiet: usize,
    depth: usize,
}

/// Deeper than any XML tree, so that only circular references reach it.
const DEPTH_MAX: usize = 96;

/// More references than this are not followed: beans that refer to many that refer to many.
const REFERENCES_MAX: usize = 10_000;

impl<'a> Reading<'a> {
    pub(crate) fn new(beans: HashMap<&'a str, &'a Element>) -> Self {
        let (used, errors, notices) = (Vec::new(), Vec::new(), Vec::new());
        Self { beans, used, errors, notices, quiet: 0, depth: 0 }
    }

    pub(crate) fn error(&mut self, place: &Place, problem: Problem) {
        self.errors.push(ConfigError::new(place.clone(), problem));
    }

    pub(crate) fn remark(&mut self, place: &Place, remark: Remark) {
        if self.quiet == 0 {
            self.notices.push(Notice { place: place.clone(), remark });
        }
    }

    /// Sets `field` from what the file gives, with the line its state asks for.
    pub(crate) fn fill<P: Property + PartialEq>(
        &mut self,
        field: &mut P,
        given: &Given<'_>,
        state: State,
    ) {
        let value = self.quietly(state != State::Active, |reading| P::read(given, reading));
        if let Some(value) = value {
            if value != *field {
                self.note(given.subject(), given.place, state);
            }
            *field = value;
        }
    }

    /// A property that has no field: its value is looked at only to see whether it is `plain`.
    pub(crate) fn skip(&mut self, given: &Given<'_>, plain: Option<&str>) {
        if let Content::Text(text) = given.content {
            let text = text.trim();
            if plain.is_some_and(|plain| plain.eq_ignore_ascii_case(text)) {
                return;
            }
            let is_switch = plain.is_some_and(|plain| units::boolean(plain).is_ok());
            if let Some(reason) = units::boolean(text).err().filter(|_| is_switch) {
                return self.bad_value(given, text, reason);
            }
        }
        self.note(given.subject(), given.place, State::Ignored(None));
    }

    pub(super) fn note(&mut self, subject: Subject, place: &Place, state: State) {
        let remark = match state {
            State::Active => return,
            State::Later => Remark::NotActiveYet(subject),
            State::Security => Remark::SecurityNotActiveYet { element: subject.name },
            State::Ignored(None) => Remark::NoEffect(subject),
            State::Ignored(Some(why)) => Remark::NoEffectBecause { subject, why },
        };
        self.remark(place, remark);
    }

    /// The line for an element that stands for itself in a list or choice.
    pub(crate) fn note_element(&mut self, element: &Element, state: State) {
        let (kind, name, owner) = (SubjectKind::Element, element.name.clone(), String::new());
        self.note(Subject { kind, name, owner }, &element.place, state);
    }

    /// Runs `read` without remarks if `quiet`; errors count all the same.
    pub(crate) fn quietly<T>(&mut self, quiet: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        self.quiet += usize::from(quiet);
        let value = read(self);
        self.quiet -= usize::from(quiet);
        value
    }

    /// Runs `read` one level deeper, or reports that the beans at `element` go in circles.
    pub(super) fn deeper<T>(
        &mut self,
        element: &Element,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if self.depth == DEPTH_MAX {
            self.error(&element.place, Problem::CircularBeans { depth_max: DEPTH_MAX });
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    pub(crate) fn bad_value(&mut self, given: &Given<'_>, value: &str, reason: BadValue) {
        let (value, subject) = (value.to_owned(), given.subject());
        self.error(given.place, Problem::BadValue { value, subject, reason });
    }

    /// A value that is one text: of the attribute, or inside the element or its `<value>`.
    pub(crate) fn scalar<T>(
        &mut self,
        given: &Given<'_>,
        parse: impl FnOnce(&str) -> Result<T, BadValue>,
    ) -> Option<T> {
        let text = match given.content {
            Content::Text(text) => text,
            Content::Reference(id) => {
                self.bad_value(given, id, BadValue::AReference);
                return None;
            }
            Content::Inside(element) => match element.children.as_slice() {
                [] => element.text.trim(),
                [value] if value.name == "value" || value.name == "null" => value.text.trim(),
                [other, ..] => {
                    self.unknown_element(other, &element.name, &["value"]);
                    return None;
                }
            },
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.bad_value(given, text, reason);
                None
            }
        }
    }

    pub(crate) fn unknown_element(&mut self, element: &Element, parent: &str, known: &[&str]) {
        let suggestion = nearest(&element.name, known.iter().copied()).map(str::to_owned);
        let (name, parent) = (element.name.clone(), parent.to_owned());
        self.error(&element.place, Problem::UnknownElement { name, parent, suggestion });
    }

    /// The bean of that id, or an error in the name of `given`.
    pub(super) fn bean(&mut self, id: &str, given: &Given<'_>) -> Option<&'a Element> {
        if self.used.len() == REFERENCES_MAX {
            self.error(given.place, Problem::TooManyReferences { max: REFERENCES_MAX });
            return None;
        }
        let found = self.beans.get(id).copied();
        self.used.push(id.to_owned());
        if found.is_none() {
            let (id, subject) = (id.to_owned(), given.subject());
            self.error(given.place, Problem::MissingBean { id, subject });
        }
        found
    }

    /// Refuses attributes on an element that only wraps others.
    pub(super) fn no_attributes(&mut self, element: &Element) {
        let spring = element.namespace == Namespace::Beans || element.name == "property";
        for attribute in element.attributes.iter().filter(|a| a.name != "id" && !spring) {
            let (name, element) = (attribute.name.clone(), element.name.clone());
            let unknown = Problem::UnknownAttribute { name, element, suggestion: None };
            self.error(&attribute.place, unknown);
        }
    }

    pub(super) fn no_text(&mut self, element: &Element) {
        let text: String = element.text.trim().chars().take(40).collect();
        if !text.is_empty() {
            let element_name = element.name.clone();
            self.error(&element.place, Problem::StrayText { text, element: element_name });
        }
    }
}
