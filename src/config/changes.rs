//! What a changed file says otherwise than the one before.

use super::placeholders::Variables;
use super::xml::Element;
use super::{Config, ConfigErrors, parse, spring};
use std::collections::BTreeSet;
use std::fmt;

/// What a configuration was made of, to read its file again and to compare.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) variables: Variables,
    /// `<broker>`, placeholders replaced.
    pub(super) broker: Element,
}

/// It holds passwords.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

/// A part of `<broker>` that two configurations do not have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    Attribute(String),
    /// A child.
    Element(String),
    /// A child of `<plugins>`.
    Plugin(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute '{name}' of <broker>"),
            Self::Element(name) => write!(f, "<{name}>"),
            Self::Plugin(name) => write!(f, "<{name}> of <plugins>"),
        }
    }
}

impl Config {
    /// What its file says now, with the variables it was read with.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn reload(&self) -> Result<Self, ConfigErrors> {
        let text = spring::read_text(&self.file)?;
        parse(&text, &self.file, self.origin.variables.clone())
    }

    /// What `changed` says otherwise, wherever it stands in its file.
    pub fn differences(&self, changed: &Self) -> BTreeSet<Difference> {
        let (old, new) = (&self.origin.broker, &changed.origin.broker);
        let all = old.attributes.iter().chain(&new.attributes);
        let attributes = all.filter(|a| old.attribute(&a.name) != new.attribute(&a.name));
        let attributes = attributes.map(|a| Difference::Attribute(a.name.clone()));
        let mut differences: BTreeSet<Difference> = attributes.collect();
        for name in different_children(old, new) {
            match name.as_str() {
                "plugins" => {
                    let none = Element { children: Vec::new(), ..old.clone() };
                    let plugins = |of: &Element| of.named("plugins").next().cloned();
                    let (old, new) = (plugins(old), plugins(new));
                    let (old, new) = (old.as_ref().unwrap_or(&none), new.as_ref().unwrap_or(&none));
                    differences.extend(different_children(old, new).map(Difference::Plugin));
                }
                _ => {
                    differences.insert(Difference::Element(name));
                }
            }
        }
        differences
    }
}

/// The names of the children that are not the same in both.
fn different_children<'a>(
    old: &'a Element,
    new: &'a Element,
) -> impl Iterator<Item = String> + use<'a> {
    let names: BTreeSet<&str> =
        old.children.iter().chain(&new.children).map(|child| child.name.as_str()).collect();
    let differ = move |name: &&str| {
        let (old, new): (Vec<_>, Vec<_>) = (old.named(name).collect(), new.named(name).collect());
        old.len() != new.len() || old.iter().zip(new).any(|(old, new)| !is_same(old, new))
    };
    names.into_iter().filter(differ).map(str::to_owned)
}

/// Whether both say the same, wherever they stand.
fn is_same(a: &Element, b: &Element) -> bool {
    let attributes = |of: &Element| {
        of.attributes.iter().map(|a| (a.name.clone(), a.value.clone())).collect::<BTreeSet<_>>()
    };
    a.name == b.name
        && a.text.trim() == b.text.trim()
        && attributes(a) == attributes(b)
        && a.children.len() == b.children.len()
        && a.children.iter().zip(&b.children).all(|(a, b)| is_same(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn of(attributes: &str, content: &str) -> Config {
        let text = format!("<broker {attributes}>{content}</broker>");
        parse(&text, Path::new("a.xml"), Variables::default()).expect("it is right")
    }

    #[test]
    fn differences_are_told_by_the_part_they_are_in_and_not_by_lines() {
        let old = of(
            "brokerName='a' useJmx='false'",
            "<plugins><statisticsBrokerPlugin/><simpleAuthenticationPlugin><users/>\
             </simpleAuthenticationPlugin></plugins><destinations><queue physicalName='A'/></destinations>",
        );
        let moved = of(
            "useJmx='false'\n brokerName='a'",
            "\n<destinations>\n<queue physicalName='A'/></destinations><!-- x --><plugins>\
             <statisticsBrokerPlugin/><simpleAuthenticationPlugin>\n<users/>\n\
             </simpleAuthenticationPlugin></plugins>",
        );
        assert!(old.differences(&moved).is_empty());
        let new = of(
            "brokerName='b'",
            "<plugins><statisticsBrokerPlugin/><simpleAuthenticationPlugin anonymousUser='x'><users/>\
             </simpleAuthenticationPlugin></plugins><destinations><queue physicalName='B'/></destinations>",
        );
        let told: Vec<String> = old.differences(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "attribute 'brokerName' of <broker>",
                "attribute 'useJmx' of <broker>",
                "<destinations>",
                "<simpleAuthenticationPlugin> of <plugins>",
            ]
        );
    }
}
