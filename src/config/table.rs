//! The one mechanism that turns elements into structs.
//!
//! A table ([`element!`](super::macros::element)) lists, once, for each attribute: Rust field,
//! type, XML name, default and state. Reading, defaults, suggestions for misspelt names and the "no
//! effect" and "not active yet" lines all come from it. A property may be written as an attribute,
//! as a child element or as Spring's `<property>`; the three mean the same.
//! [`choice!`](super::macros::choice) lists the elements of which one can stand in a place.
//!
//! States: `active`, `later` (read, behaviour not there yet), `ignored("why")` (read, never has an
//! effect), `security` (as `later`, for something that protects). A line is written only for what
//! the file says differently from the default, and once for an element, not for its inside.

pub(crate) use super::reading::{Content, Given, Reading, State};
use super::report::{Place, Problem, Remark, SubjectKind};
use super::spelling::nearest;
use super::units::BadValue;
use super::xml::Element;

/// A struct made by [`element!`](super::macros::element).
pub(crate) trait Table: Default {
    /// The names under which the element is known; empty for a table of URI options.
    const ELEMENTS: &'static [&'static str];
    /// Every property, whether it has an effect or not.
    const NAMES: &'static [&'static str];
    /// The properties that must be given, under one of these names, and what they are.
    const REQUIRED: &'static [(&'static [&'static str], &'static str)] = &[];
    /// Takes one property; false if the name is not in the table.
    fn set(&mut self, given: &Given<'_>, reading: &mut Reading<'_>) -> bool;
    fn stands_at(&mut self, place: &Place);
}

/// What can be read from one element.
pub(crate) trait Bean: Sized {
    /// The elements that can stand here, those that are refused or ignored included.
    const ELEMENTS: &'static [&'static str];
    /// `None`: there is nothing to use, and the reason has been noted.
    fn of_element(element: &Element, reading: &mut Reading<'_>) -> Option<Self>;
    /// A Spring `<bean>` in this place that is none of the known classes.
    fn foreign_bean(class: &str, element: &Element, reading: &mut Reading<'_>) {
        let class = class.to_owned();
        reading.remark(&element.place, Remark::Bean { class });
    }
}

/// What can be the value of a property.
pub(crate) trait Property: Sized {
    /// `None`: nothing to set, and the reason has been noted.
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self>;
}

impl<T: Table> Bean for T {
    const ELEMENTS: &'static [&'static str] = T::ELEMENTS;

    fn of_element(element: &Element, reading: &mut Reading<'_>) -> Option<Self> {
        reading.deeper(element, |reading| {
            let mut table = T::default();
            table.stands_at(&element.place);
            reading.no_text(element);
            read_attributes(&mut table, element, reading);
            for child in &element.children {
                read_child(&mut table, element, child, reading);
            }
            for (names, what) in T::REQUIRED {
                if !names.iter().any(|name| is_given(name, element)) {
                    let (name, element_name) = (names.first().unwrap_or(&""), element.name.clone());
                    let missing = Problem::MissingAttribute { name, element: element_name, what };
                    reading.error(&element.place, missing);
                }
            }
            Some(table)
        })
    }
}

fn is_given(name: &str, element: &Element) -> bool {
    let property = |child: &Element| {
        child.name == name || (child.name == "property" && child.attribute("name") == Some(name))
    };
    element.attribute(name).is_some() || element.children.iter().any(property)
}

/// Reads the `<property>` elements of a Spring bean whose class has more of them than `T` knows:
/// those are remarked on, not refused.
pub(crate) fn read_lenient<T: Table>(element: &Element, reading: &mut Reading<'_>) -> T {
    let mut table = T::default();
    table.stands_at(&element.place);
    for child in element.named("property") {
        let Some(name) = child.attribute("name") else {
            continue;
        };
        let given = Given::of_property(child, name, element);
        if !table.set(&given, reading) {
            reading.note(given.subject(), given.place, State::Ignored(None));
        }
    }
    table
}

fn read_attributes<T: Table>(table: &mut T, element: &Element, reading: &mut Reading<'_>) {
    for attribute in &element.attributes {
        let given = Given {
            kind: SubjectKind::Attribute,
            name: &attribute.name,
            owner: element,
            place: &attribute.place,
            content: Content::Text(&attribute.value),
        };
        let spring = SPRING_ATTRIBUTES.contains(&attribute.name.as_str())
            || (element.name == "bean" && attribute.name == "class");
        if !set(table, &given, reading) && !spring {
            let suggestion = nearest(&attribute.name, T::NAMES.iter().copied()).map(str::to_owned);
            let (name, element) = (attribute.name.clone(), element.name.clone());
            let unknown = Problem::UnknownAttribute { name, element, suggestion };
            reading.error(&attribute.place, unknown);
        }
    }
}

/// Hands a property to the table, or passes it over if it is one of Java's.
fn set<T: Table>(table: &mut T, given: &Given<'_>, reading: &mut Reading<'_>) -> bool {
    if table.set(given, reading) {
        return true;
    }
    let java = JAVA_OBJECTS.contains(&given.name);
    if java {
        reading.skip(given, None);
    }
    java
}

/// Properties of many classes that hold other objects of the running Java broker.
const JAVA_OBJECTS: [&str; 10] = [
    "adminConnectionContext",
    "broker",
    "brokerService",
    "executor",
    "lockable",
    "next",
    "scheduledThreadPoolExecutor",
    "taskRunnerFactory",
    "transactionIdTransformer",
    "usageManager",
];

/// What Spring lets stand on every bean.
const SPRING_ATTRIBUTES: [&str; 8] = [
    "id",
    "depends-on",
    "destroy-method",
    "init-method",
    "lazy-init",
    "scope",
    "primary",
    "parent",
];

fn read_child<T: Table>(
    table: &mut T,
    element: &Element,
    child: &Element,
    reading: &mut Reading<'_>,
) {
    if child.name != "property" {
        let given = Given {
            kind: SubjectKind::Element,
            name: &child.name,
            owner: element,
            place: &child.place,
            content: Content::Inside(child),
        };
        if !set(table, &given, reading) {
            reading.unknown_element(child, &element.name, T::NAMES);
        }
        return;
    }
    let Some(name) = child.attribute("name") else {
        let element = child.name.clone();
        let what = "the name of the property";
        let missing = Problem::MissingAttribute { name: "name", element, what };
        return reading.error(&child.place, missing);
    };
    let given = Given::of_property(child, name, element);
    if !set(table, &given, reading) {
        let suggestion = nearest(name, T::NAMES.iter().copied()).map(str::to_owned);
        let (name, element) = (name.to_owned(), element.name.clone());
        reading.error(&child.place, Problem::UnknownProperty { name, element, suggestion });
    }
}

/// Reads `element` as a `B`, following `<ref bean="id"/>` and Spring's `<bean class="..">`.
fn read_bean<B: Bean>(
    element: &Element,
    parent: &str,
    given: &Given<'_>,
    reading: &mut Reading<'_>,
) -> Option<B> {
    if B::ELEMENTS.contains(&element.name.as_str()) {
        return B::of_element(element, reading);
    }
    match (element.name.as_str(), element.attribute("class")) {
        ("ref", _) => {
            let id = element.attribute("bean").or_else(|| element.attribute("local")).unwrap_or("");
            let target = reading.bean(id, given)?;
            read_target(target, given, reading)
        }
        ("bean", Some(class)) => match element_of_class(class, B::ELEMENTS) {
            Some(name) => {
                let named = Element { name: name.to_owned(), ..element.clone() };
                let attributes = named.attributes.into_iter().filter(|a| a.name != "class");
                B::of_element(&Element { attributes: attributes.collect(), ..named }, reading)
            }
            None => {
                B::foreign_bean(class, element, reading);
                None
            }
        },
        _ => {
            reading.unknown_element(element, parent, B::ELEMENTS);
            None
        }
    }
}

/// A bean that was referred to by id.
fn read_target<B: Bean>(
    target: &Element,
    given: &Given<'_>,
    reading: &mut Reading<'_>,
) -> Option<B> {
    reading.deeper(target, |reading| read_bean(target, &given.owner.name, given, reading))
}

/// `org.apache.activemq.plugin.StatisticsBrokerPlugin` is `<statisticsBrokerPlugin>`.
fn element_of_class<'e>(class: &str, elements: &'e [&'e str]) -> Option<&'e str> {
    let simple = class.rsplit('.').next()?;
    elements.iter().copied().find(|element| element.eq_ignore_ascii_case(simple))
}

impl<B: Bean> Property for B {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        if let Some(id) = given.reference() {
            let target = reading.bean(id, given)?;
            return read_target(target, given, reading);
        }
        match given.content {
            Content::Text(text) | Content::Reference(text) => {
                reading.bad_value(given, text, BadValue::NotAReference);
                None
            }
            Content::Inside(element) => {
                reading.no_attributes(element);
                reading.no_text(element);
                match element.children.as_slice() {
                    [] => None,
                    [child] => read_bean(child, &element.name, given, reading),
                    [_, second, ..] => {
                        let name = element.name.clone();
                        reading.error(&second.place, Problem::MoreThanOne { name });
                        None
                    }
                }
            }
        }
    }
}

impl<B: Bean> Property for Option<B> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        <B as Property>::read(given, reading).map(Some)
    }
}

impl<B: Bean> Property for Vec<B> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        match given.content {
            Content::Text(_) | Content::Reference(_) => {
                <B as Property>::read(given, reading).map(|bean| vec![bean])
            }
            Content::Inside(element) => {
                reading.no_attributes(element);
                reading.no_text(element);
                let list = match element.children.as_slice() {
                    [list] if list.name == "list" || list.name == "set" => list,
                    _ => element,
                };
                let children = list.children.iter();
                Some(children.filter_map(|c| read_bean(c, &element.name, given, reading)).collect())
            }
        }
    }
}

/// An element without properties.
#[derive(Default)]
pub(crate) struct Bare;

impl Table for Bare {
    const ELEMENTS: &'static [&'static str] = &[];
    const NAMES: &'static [&'static str] = &[];

    fn set(&mut self, _: &Given<'_>, _: &mut Reading<'_>) -> bool {
        false
    }

    fn stands_at(&mut self, _: &Place) {}
}
