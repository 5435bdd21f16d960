//! XML text into a small tree in which every element and attribute knows its line.
//!
//! Understood: namespaces, comments, CDATA, the five predefined entities and character
//! references. A DOCTYPE is passed over: nothing external is ever fetched, no entity it declares
//! exists. Depth is limited, so that no later walk over the tree can run out of stack.

use std::path::Path;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace as Uri, ResolveResult};
use quick_xml::reader::NsReader;

use super::report::{ConfigError, Place, Problem};

/// One element with everything below it.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    /// The local name: `broker` for `<amq:broker>`.
    pub(crate) name: String,
    pub(crate) namespace: Namespace,
    pub(crate) place: Place,
    /// Without namespace declarations and `xsi:` attributes. Spring's `p:name="value"` is a
    /// `<property>` among the children.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Self>,
    /// All character data directly inside, CDATA included.
    pub(crate) text: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Whose vocabulary an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// `http://activemq.apache.org/schema/core` or none at all (a bare `<broker>`).
    ActiveMq,
    /// `http://www.springframework.org/schema/beans`.
    Beans,
    Other,
}

impl Element {
    /// `<property name="name" value="value"/>`, or with `ref` for a name that ends in `-ref`.
    fn property(name: &str, value: &str, place: &Place) -> Self {
        let (name, kind) = name.strip_suffix("-ref").map_or((name, "value"), |name| (name, "ref"));
        let mut property = Self::with_attribute("property", "name", name, place);
        let (kind, value) = (kind.to_owned(), value.to_owned());
        property.attributes.push(Attribute { name: kind, value, place: place.clone() });
        property
    }

    /// An element that a shorter form stands for.
    pub(crate) fn with_attribute(name: &str, attribute: &str, value: &str, place: &Place) -> Self {
        let (attribute, value) = (attribute.to_owned(), value.to_owned());
        Self {
            name: name.to_owned(),
            namespace: Namespace::ActiveMq,
            place: place.clone(),
            attributes: vec![Attribute { name: attribute, value, place: place.clone() }],
            children: Vec::new(),
            text: String::new(),
        }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name).map(|a| a.value.as_str())
    }

    /// The children of that name.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// This element and all below it, outermost first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }

    /// Every attribute value and text of this element and all below it.
    pub(crate) fn walk_texts(&mut self, visit: &mut dyn FnMut(&mut String, &Place)) {
        for attribute in &mut self.attributes {
            visit(&mut attribute.value, &attribute.place);
        }
        visit(&mut self.text, &self.place);
        for child in &mut self.children {
            child.walk_texts(visit);
        }
    }
}

/// Elements deeper than this are refused; real files stay below 15.
const DEPTH_MAX: usize = 64;

/// The root element of `text`. `file` is used for places only.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Element, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(text, file);
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let (namespace, event) = match reader.read_resolved_event() {
            Ok((resolved, event)) => (namespace_of(&resolved), event),
            Err(error) => {
                let at = usize::try_from(reader.error_position()).unwrap_or(at);
                return Err(lines.error(at, Problem::Xml(error)));
            }
        };
        match event {
            Event::Start(start) => {
                if open.len() == DEPTH_MAX {
                    return Err(lines.error(at, Problem::TooDeep { depth_max: DEPTH_MAX }));
                }
                open.push(element(&start, namespace, at, &lines)?);
            }
            Event::Empty(start) => {
                let element = element(&start, namespace, at, &lines)?;
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open, &mut root)?;
                }
            }
            Event::Text(characters) => append(&mut open, &characters.xml10_content()),
            Event::CData(characters) => append(&mut open, &characters.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => append(&mut open, c.encode_utf8(&mut [0; 4])),
                Ok(None) => match quick_xml::escape::resolve_predefined_entity(&reference) {
                    Some(characters) => append(&mut open, characters),
                    None => {
                        let name = reference.to_string();
                        return Err(lines.error(at, Problem::UnknownEntity { name }));
                    }
                },
                Err(error) => return Err(lines.error(at, Problem::Xml(error))),
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    match (open.pop(), root) {
        (Some(element), _) => {
            Err(ConfigError::new(element.place, Problem::NotClosed { name: element.name }))
        }
        (None, Some(root)) => Ok(root),
        (None, None) => Err(lines.error(text.len(), Problem::NoRoot)),
    }
}

fn namespace_of(resolved: &ResolveResult<'_>) -> Namespace {
    match resolved {
        ResolveResult::Bound(Uri(uri)) if uri.starts_with(SPRING_BEANS) => Namespace::Beans,
        ResolveResult::Bound(Uri(uri)) if uri.starts_with(ACTIVEMQ) => Namespace::ActiveMq,
        ResolveResult::Unbound => Namespace::ActiveMq,
        _ => Namespace::Other,
    }
}

const SPRING_BEANS: &str = "http://www.springframework.org/schema/beans";
/// `.../schema/core`, and `http://activemq.org/config/1.0` of the 4.x files.
const ACTIVEMQ: &str = "http://activemq.";

fn element(
    start: &BytesStart<'_>,
    namespace: Namespace,
    at: usize,
    lines: &Lines<'_>,
) -> Result<Element, ConfigError> {
    let (mut attributes, mut children) = (Vec::new(), Vec::new());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| lines.error(at, Problem::Xml(e.into())))?;
        let place = lines.place(lines.offset_of(attribute.key.0).unwrap_or(at));
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|e| ConfigError::new(place.clone(), Problem::Xml(e)))?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        match attribute.key.0.split_once(':') {
            Some(("xsi" | "xml", _)) => {}
            Some(("p", name)) => children.push(Element::property(name, &value, &place)),
            _ => {
                let (name, value) = (attribute.key.0.to_owned(), value.into_owned());
                attributes.push(Attribute { name, value, place });
            }
        }
    }
    Ok(Element {
        name: start.local_name().as_ref().to_owned(),
        namespace,
        place: lines.place(at),
        attributes,
        children,
        text: String::new(),
    })
}

fn close(
    element: Element,
    open: &mut [Element],
    root: &mut Option<Element>,
) -> Result<(), ConfigError> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => {
            let place = element.place.clone();
            return Err(ConfigError::new(place, Problem::SecondRoot { name: element.name }));
        }
    }
    Ok(())
}

fn append(open: &mut [Element], characters: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(characters);
    }
}

/// Byte offsets to lines.
struct Lines<'a> {
    text: &'a str,
    file: Arc<Path>,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, file: &Path) -> Self {
        let after_breaks =
            text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { text, file: file.into(), starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        Place::new(self.file.clone(), u32::try_from(line).unwrap_or(u32::MAX))
    }

    fn error(&self, offset: usize, problem: Problem) -> ConfigError {
        ConfigError::new(self.place(offset), problem)
    }

    /// Where `part` lies in the text, if it is a slice of it (the reader borrows, never copies).
    fn offset_of(&self, part: &str) -> Option<usize> {
        let offset = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (offset < self.text.len()).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(text: &str) -> Element {
        parse(text, Path::new("a.xml")).unwrap()
    }

    fn error(text: &str) -> String {
        parse(text, Path::new("a.xml")).unwrap_err().to_string()
    }

    #[test]
    fn elements_and_attributes_know_their_lines() {
        let root = tree("<?xml version='1.0'?>\n<a\n  b='1'\n\n  c='2'>\n<d/>\r\n<e>x</e></a>\n");
        assert_eq!(root.place.to_string(), "a.xml:2");
        assert_eq!(root.attributes[0].place.to_string(), "a.xml:3");
        assert_eq!(root.attributes[1].place.to_string(), "a.xml:5");
        assert_eq!(root.children[0].place.to_string(), "a.xml:6");
        assert_eq!(root.children[1].place.to_string(), "a.xml:7");
        assert_eq!(root.children[1].text, "x");
    }

    #[test]
    fn entities_cdata_comments_and_namespaces() {
        let root = tree(concat!(
            "<!DOCTYPE beans SYSTEM 'http://example.org/x.dtd'>",
            "<beans xmlns='http://www.springframework.org/schema/beans' ",
            "xmlns:amq='http://activemq.apache.org/schema/core' ",
            "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='x y'>",
            "<!-- <no/> --><amq:broker brokerName='a&amp;b&#x41;'>1&lt;2<![CDATA[<&]]>&#66;</amq:broker>",
            "<x:y xmlns:x='urn:z'/></beans>",
        ));
        assert_eq!(root.namespace, Namespace::Beans);
        assert!(root.attributes.is_empty());
        let broker = &root.children[0];
        assert_eq!((broker.name.as_str(), broker.namespace), ("broker", Namespace::ActiveMq));
        assert_eq!(broker.attribute("brokerName"), Some("a&bA"));
        assert_eq!(broker.text, "1<2<&B");
        assert_eq!(root.children[1].namespace, Namespace::Other);
    }

    #[test]
    fn damaged_files_name_file_and_line() {
        for (text, expected) in [
            ("<a>\n<b></a>", "a.xml:2: "),
            ("<a>\n<b>", "a.xml:2: <b> is never closed"),
            ("\n\n", "a.xml:3: there is no XML element in this file"),
            ("<a/>\n<b/>", "a.xml:2: <b> stands outside the root element"),
            ("<a>\n\n&nope;</a>", "a.xml:3: the entity '&nope;' is not defined"),
            ("<a\nb='&nope;'/>", "a.xml:2: "),
            ("<a b='1'\n b='2'/>", "a.xml:"),
        ] {
            let error = error(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let deep = "<a>".repeat(1000);
        assert_eq!(error(&deep), "a.xml:1: elements are nested deeper than 64 levels");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[<>&;/a-c='\" \\n!\\[\\]-]{0,60}") {
            drop(parse(&text, Path::new("a.xml")));
        }
    }
}
