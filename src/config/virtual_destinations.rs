//! `<destinationInterceptors>`: virtual topics, composite destinations, mirrored queues.

use super::destination::{AppliesTo, DestinationName};
use super::macros::{choice, element};
use super::report::{Problem, Subject, SubjectKind};
use super::table::{Bean, Given, Property, Reading};
use super::units::BadValue;
use super::xml::Element;
use crate::jms::selector::Selector;

/// `<destinationInterceptors>`, if it is there: even an empty one takes the place of the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationInterceptors(pub Option<Vec<DestinationInterceptor>>);

impl Property for DestinationInterceptors {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        Vec::read(given, reading).map(|list| Self(Some(list)))
    }
}

choice! {
    pub enum DestinationInterceptor {
        Virtual(VirtualDestinations) = "virtualDestinationInterceptor", active;
        Mirrored(MirroredQueue) = "mirroredQueue", active;
    }
}

element! {
    pub struct VirtualDestinations = "virtualDestinationInterceptor" {
        destinations: Vec<VirtualDestination> = "virtualDestinations", Vec::new(), active;
    }
}

choice! {
    pub enum VirtualDestination {
        Topic(VirtualTopic) = "virtualTopic", active;
        CompositeQueue(Composite) = "compositeQueue", active;
        CompositeTopic(Composite) = "compositeTopic", active;
    }
}

element! {
    /// A topic whose messages are copied into a queue for each application.
    pub struct VirtualTopic = "virtualTopic" {
        /// A pattern.
        name: String = "name", ">".to_owned(), active;
        prefix: String = "prefix", "Consumer.*.".to_owned(), active;
        postfix: String = "postfix", String::new(), active;
        /// Copy only what a consumer of the queue selects.
        selector_aware: bool = "selectorAware", false, active;
        /// Do not copy what came over a network.
        local: bool = "local", false, active;
        concurrent_send: bool = "concurrentSend", false, active;
        transacted_send: bool = "transactedSend", false, active;
        /// A full queue does not fail the send.
        drop_on_resource_limit: bool = "dropOnResourceLimit", false, active;
        set_original_destination: bool = "setOriginalDestination", true, active;
    }
}

element! {
    /// A name whose messages go to other destinations.
    pub struct Composite = "compositeQueue" | "compositeTopic" {
        name: String = "name", String::new(), active;
        forward_to: Vec<ForwardTarget> = "forwardTo", Vec::new(), active;
        /// Nothing is kept under the name itself.
        forward_only: bool = "forwardOnly", true, active;
        concurrent_send: bool = "concurrentSend", false, active;
        /// Keep under the name what no filter matched.
        send_when_not_matched: bool = "sendWhenNotMatched", false, active;
    }
    without_effect { "copyMessage" = "true" }
    required { "name" = "the destination that producers send to" }
}

/// Where a composite forwards to.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardTarget {
    pub destination: DestinationName,
    /// Only what it selects is forwarded.
    pub selector: Option<String>,
}

element! {
    /// `<filteredDestination selector=".." queue="..">`.
    pub struct FilteredDestination = "filteredDestination" {
        applies_to: AppliesTo = "queue" | "topic" | "destination", AppliesTo::default(), active;
        selector: Option<String> = "selector", None, active;
    }
}

impl Bean for ForwardTarget {
    const ELEMENTS: &'static [&'static str] =
        &["queue", "topic", "tempQueue", "tempTopic", "filteredDestination"];

    fn of_element(element: &Element, reading: &mut Reading<'_>) -> Option<Self> {
        if element.name == "filteredDestination" {
            let filtered = FilteredDestination::of_element(element, reading)?;
            let selector = filtered.selector.filter(|text| !text.trim().is_empty());
            if let Some(Err(error)) = selector.as_deref().map(Selector::parse) {
                let (kind, name) = (SubjectKind::Attribute, "selector".to_owned());
                let subject = Subject { kind, name, owner: format!("<{}>", element.name) };
                let value = selector.unwrap_or_default();
                let reason = BadValue::NotASelector(error.to_string());
                reading.error(&filtered.place, Problem::BadValue { value, subject, reason });
                return None;
            }
            return filtered.applies_to.0.map(|destination| Self { destination, selector });
        }
        let destination = DestinationName::of_element(element, reading)?;
        Some(Self { destination, selector: None })
    }
}

element! {
    /// Each message of a queue is copied to a topic.
    pub struct MirroredQueue = "mirroredQueue" {
        prefix: String = "prefix", "VirtualTopic.Mirror.".to_owned(), active;
        postfix: String = "postfix", String::new(), active;
    }
    without_effect { "copyMessage" = "true" }
}
