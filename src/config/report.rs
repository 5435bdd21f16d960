//! What is wrong with a configuration, and what is merely worth a line in the log.
//!
//! All errors of a file are collected, so that one start shows everything there is to repair.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::units::BadValue;
use super::uri::UriError;

/// A line of a configuration file. The default, line 0, means "not written anywhere".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named, not made absolute.
    pub file: Arc<Path>,
    /// Counted from 1; 0 for built-in values.
    pub line: u32,
}

impl Place {
    pub(crate) fn new(file: Arc<Path>, line: u32) -> Self {
        Self { file, line }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { file: Path::new("").into(), line: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 if self.file.as_os_str().is_empty() => f.write_str("built-in"),
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a message is about: `attribute 'x' of <y>`, `element <x> of <y>`, `option 'x' of
/// connector 'y'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub kind: SubjectKind,
    pub name: String,
    /// `<policyEntry>` or `connector 'openwire'`; empty if the name says enough.
    pub owner: String,
}

/// How a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// `name="value"` on the element.
    Attribute,
    /// A child element.
    Element,
    /// Spring's `<property name="..">` inside the element.
    Property,
    /// `?name=value` in a URI.
    UriOption,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, owner } = self;
        match kind {
            SubjectKind::Attribute => write!(f, "attribute '{name}' of {owner}"),
            SubjectKind::Element if owner.is_empty() => write!(f, "element <{name}>"),
            SubjectKind::Element => write!(f, "element <{name}> of {owner}"),
            SubjectKind::Property => write!(f, "property '{name}' of {owner}"),
            SubjectKind::UriOption => write!(f, "option '{name}' of {owner}"),
        }
    }
}

/// One reason why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    pub place: Place,
    #[source]
    pub problem: Box<Problem>,
}

impl ConfigError {
    pub(crate) fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem: Box::new(problem) }
    }
}

/// Every way in which a configuration can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot read this file: {0}")]
    Io(#[source] io::Error),
    #[error("not UTF-8 text")]
    NotUtf8,
    #[error("larger than {bytes_max} bytes, which no configuration is")]
    TooLarge { bytes_max: u64 },
    #[error("not well-formed XML: {0}")]
    Xml(#[source] quick_xml::Error),
    #[error("elements are nested deeper than {depth_max} levels")]
    TooDeep { depth_max: usize },
    #[error("the entity '&{name};' is not defined")]
    UnknownEntity { name: String },
    #[error("<{name}> is never closed")]
    NotClosed { name: String },
    #[error("<{name}> stands outside the root element")]
    SecondRoot { name: String },
    #[error("there is no XML element in this file")]
    NoRoot,
    #[error("the root element is <{name}>, not <beans> or <broker>")]
    WrongRoot { name: String },
    #[error("there is no <broker> element")]
    NoBroker,
    #[error("this is the second <broker> (the first is at {first}); start one process for each")]
    SecondBroker { first: Place },
    #[error("files import each other, or more than {max} files are imported")]
    TooManyImports { max: usize },

    #[error("unknown attribute '{name}' on <{element}>{}", DidYouMean(.suggestion))]
    UnknownAttribute { name: String, element: String, suggestion: Option<String> },
    #[error("unknown property '{name}' on <{element}>{}", DidYouMean(.suggestion))]
    UnknownProperty { name: String, element: String, suggestion: Option<String> },
    #[error("unknown element <{name}> in <{parent}>{}", DidYouMean(.suggestion))]
    UnknownElement { name: String, parent: String, suggestion: Option<String> },
    #[error("<{element}> needs the attribute '{name}': {what}")]
    MissingAttribute { name: &'static str, element: String, what: &'static str },
    #[error("<{name}> holds more than one element")]
    MoreThanOne { name: String },
    #[error("text '{text}' in <{element}>, where none belongs")]
    StrayText { text: String, element: String },
    #[error("'{value}' is not a value for {subject}: {reason}")]
    BadValue {
        value: String,
        subject: Subject,
        #[source]
        reason: BadValue,
    },
    #[error("{subject} refers to the bean '{id}', which does not exist")]
    MissingBean { id: String, subject: Subject },
    #[error("beans refer to each other in a circle, or more than {depth_max} deep")]
    CircularBeans { depth_max: usize },
    #[error("beans refer to beans more than {max} times")]
    TooManyReferences { max: usize },
    #[error("<{element}> is not supported: {hint}")]
    Refused { element: String, hint: &'static str },
    #[error("the plugin {class} decides who may do what, and no such class is known")]
    UnknownSecurityPlugin { class: String },
    #[error("the class {class} of bean '{id}' is not a known data source{}",
            DidYouMean(.suggestion))]
    UnknownDataSource { class: String, id: String, suggestion: Option<String> },
    #[error(
        "data source '{id}': database not supported ({database}); MySQL, MariaDB, PostgreSQL \
             and SQLite are"
    )]
    UnsupportedDatabase { id: String, database: String },

    #[error("could not resolve placeholder '{name}' in value \"{value}\"")]
    UnresolvedPlaceholder { name: String, value: String },
    #[error("the placeholders in \"{value}\" refer to each other, or expand without end")]
    CircularPlaceholder { value: String },
    #[error("the value of '{name}' is encrypted, and encrypted values are not supported yet")]
    Encrypted { name: String },
    #[error("cannot read the imported file {}: {source}", .path.display())]
    Import {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the properties file {}: {source}", .path.display())]
    Properties {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("unknown transport scheme '{scheme}' of connector '{connector}'{}",
            DidYouMean(.suggestion))]
    UnknownScheme { scheme: String, connector: String, suggestion: Option<String> },
    #[error("the connector '{connector}' cannot listen: {reason}")]
    NotAnAddress {
        connector: String,
        #[source]
        reason: UriError,
    },
    #[error("unknown discovery scheme '{scheme}' of network connector '{connector}'; {hint}")]
    NetworkScheme { scheme: String, connector: String, hint: &'static str },
    #[error("masterslave: needs at least two addresses")]
    MasterSlaveAddresses,
    #[error("network connector '{name}' needs a prefetchSize above 0")]
    NoNetworkPrefetch { name: String },
    #[error(
        "<redeliveryPolicy> needs initialRedeliveryDelay and redeliveryDelay of 1000 ms or more"
    )]
    RedeliveryTooSoon,
    #[error("'{pattern}' is not a regular expression: {source}")]
    BadPattern {
        pattern: String,
        #[source]
        source: regex_lite::Error,
    },
    #[error("<redeliveryPlugin> needs schedulerSupport=\"true\" on <broker>")]
    RedeliveryNeedsScheduler,
}

/// `; did you mean 'x'?`, or nothing.
struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean '{name}'?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong; never empty. Prints one line per error, in file order.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(crate) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        // A bean that is referred to twice is read twice.
        errors.dedup_by(|a, b| a.place == b.place && a.to_string() == b.to_string());
        Self(errors)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let line_break = if i == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One line for the log about a configuration that is accepted. Prints `file:line: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub place: Place,
    pub remark: Remark,
}

impl Notice {
    /// Whether the line deserves no more than INFO; all others are warnings.
    pub fn is_information(&self) -> bool {
        matches!(self.remark, Remark::LogQuery)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.remark)
    }
}

/// What an accepted configuration says in vain, or otherwise than meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    #[error("{0} is accepted but has no effect")]
    NoEffect(Subject),
    #[error("{subject} is accepted but has no effect: {why}")]
    NoEffectBecause { subject: Subject, why: &'static str },
    #[error("{0} is accepted, not active yet")]
    NotActiveYet(Subject),
    #[error("security plugin <{element}> is accepted, not active yet: it protects nothing")]
    SecurityNotActiveYet { element: String },
    #[error(
        "connector '{connector}' ({scheme}) is accepted, not active yet: nothing listens there"
    )]
    ConnectorNotActiveYet { connector: String, scheme: String },
    #[error("connector '{connector}' ({scheme}) has no meaning here: {why}")]
    ConnectorIgnored { connector: String, scheme: String, why: &'static str },
    #[error("the web console is accepted, not active yet: nothing listens on port {port}")]
    ConsoleNotActiveYet { port: u16 },
    #[error("web application {path} is a Java war and is not run")]
    WebApplication { path: String },
    #[error("unknown option '{name}' of {owner}{}", DidYouMean(.suggestion))]
    UnknownOption { name: String, owner: String, suggestion: Option<String> },
    #[error("bean of class {class} is accepted but has no effect")]
    Bean { class: String },
    #[error("the log query bean is built in")]
    LogQuery,
    #[error("<{name}> is accepted but has no effect")]
    Foreign { name: String },
    #[error("the imported file {resource} is not read: Camel routes are not run")]
    CamelImport { resource: String },
    #[error(
        "brokerName '{given}' is used as '{used}': only letters, digits and . - _ : are allowed"
    )]
    BrokerName { given: String, used: String },
    #[error("network connector '{connector}' has a plain address; taken as static:({uri})")]
    PlainNetworkAddress { connector: String, uri: String },
    #[error(
        "the network connector name '{name}' is used twice (first at {first}); client ids of \
             the bridges will collide"
    )]
    NetworkNameTwice { name: String, first: Place },
    #[error("JDBC driver class {class} is not known; the URL decides")]
    UnknownDriver { class: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_print_one_line_each_in_file_order() {
        let at = |line, problem| {
            ConfigError::new(Place::new(Path::new("conf/activemq.xml").into(), line), problem)
        };
        let unknown = Problem::UnknownAttribute {
            name: "brokername".to_owned(),
            element: "broker".to_owned(),
            suggestion: Some("brokerName".to_owned()),
        };
        let errors = ConfigErrors::new(vec![at(9, Problem::NoBroker), at(2, unknown)]);
        assert_eq!(
            errors.to_string(),
            "conf/activemq.xml:2: unknown attribute 'brokername' on <broker>; did you mean \
             'brokerName'?\nconf/activemq.xml:9: there is no <broker> element"
        );
        assert_eq!(Place::default().to_string(), "built-in");
    }
}
