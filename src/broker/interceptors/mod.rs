//! `destinationInterceptors`: what is sent to one destination goes to others, too.
//!
//! | kind | a message sent to | also goes to |
//! |---|---|---|
//! | virtual topic | a topic of the pattern | the queues there are that are called prefix + topic + postfix |
//! | composite | its name or pattern | the destinations listed, each with or without a filter |
//! | mirror | a queue | the topic prefix + queue + postfix |
//!
//! This module knows the rules, [`expand`] follows them for one message, [`fed`] keeps the queues of
//! virtual topics, [`selector_cache`] the selectors of consumers that are away. The sending itself is
//! the client's ([`super::client`]) and, for the broker's own messages, [`Broker::deliver`].
//!
//! Interceptors wrap a destination in layers, in the order in which they are configured: the last layer
//! sees a message first and says whether the layer below gets it as well.
//!
//! [`Broker::deliver`]: super::Broker::deliver

pub mod expand;
pub mod fed;
mod naming;
pub mod selector_cache;

pub use self::naming::Naming;
use self::selector_cache::SelectorCache;
use crate::jms::selector::Selector;
use crate::jms::{Destination, DestinationKind, Text};
use std::sync::Arc;

/// Everything that is configured; the default is nothing.
#[derive(Debug, Default)]
pub struct Interceptors {
    /// The last one is the outermost.
    pub layers: Vec<Layer>,
    pub virtual_topics: Vec<VirtualTopic>,
    /// Remembers what absent consumers of `selectorAware` virtual topics want.
    pub selector_cache: Option<Arc<SelectorCache>>,
}

/// One element of `<destinationInterceptors>`.
#[derive(Debug)]
pub enum Layer {
    /// `<virtualDestinationInterceptor>`.
    Virtual(Vec<Rule>),
    Mirror(Mirror),
}

/// One element of `<virtualDestinations>`.
#[derive(Debug)]
pub enum Rule {
    /// By its place in [`Interceptors::virtual_topics`].
    Topic(usize),
    Composite(Composite),
}

/// `<virtualTopic>`.
#[derive(Debug)]
pub struct VirtualTopic {
    /// Pattern of the topics that are virtual.
    pub name: Text,
    /// How their queues are called.
    pub naming: Naming,
    /// `selectorAware`: a queue gets what one of its consumers selects.
    pub selector_aware: bool,
    /// `local`: messages from other brokers are not copied.
    pub local: bool,
    /// `dropOnResourceLimit`: a queue that is full is passed over.
    pub drop_on_resource_limit: bool,
    /// `setOriginalDestination`: false = copies name the topic as their destination.
    pub set_original_destination: bool,
}

/// `<compositeQueue>` or `<compositeTopic>`.
#[derive(Debug)]
pub struct Composite {
    /// Name or pattern.
    pub name: Destination,
    pub forward_to: Vec<Forward>,
    /// `forwardOnly`: nothing stays under the name itself.
    pub forward_only: bool,
    /// `sendWhenNotMatched`: under the name itself stays what goes nowhere else, and only that.
    pub keep_unmatched: bool,
}

/// Where a composite forwards to.
#[derive(Debug)]
pub struct Forward {
    pub destination: Destination,
    /// Only what it selects.
    pub selector: Option<Selector>,
}

/// `<mirroredQueue>`.
#[derive(Debug)]
pub struct Mirror {
    pub prefix: Text,
    pub postfix: Text,
    /// `useTempMirroredQueues`: temporary queues as well.
    pub temporaries: bool,
}

impl Interceptors {
    /// What there is without `<destinationInterceptors>`: virtual topics `VirtualTopic.>` with queues
    /// `Consumer.*.VirtualTopic.>`.
    pub fn default_virtual_topics() -> Self {
        let mut interceptors = Self::default();
        let rule = interceptors.add_virtual_topic(VirtualTopic::default());
        interceptors.layers.push(Layer::Virtual(vec![rule]));
        interceptors
    }

    /// Adds a virtual topic; it works when the rule is part of a layer.
    pub fn add_virtual_topic(&mut self, topic: VirtualTopic) -> Rule {
        self.virtual_topics.push(topic);
        Rule::Topic(self.virtual_topics.len() - 1)
    }

    /// Whether what is sent to `destination`, a name, may go elsewhere or be kept from it.
    pub fn intercept(&self, destination: &Destination) -> bool {
        self.layers.iter().any(|layer| match layer {
            Layer::Virtual(rules) => rules.iter().any(|rule| self.applies(rule, destination)),
            Layer::Mirror(mirror) => mirror.topic(destination).is_some(),
        })
    }

    /// Whether a composite forwards advisories: then somebody always hears them.
    pub fn forward_advisories(&self) -> bool {
        let rules = self.layers.iter().filter_map(|layer| match layer {
            Layer::Virtual(rules) => Some(rules),
            Layer::Mirror(_) => None,
        });
        rules.flatten().any(|rule| match rule {
            Rule::Composite(composite) => {
                let name = &composite.name;
                name.kind() == DestinationKind::Topic && (name.is_advisory() || name.is_pattern())
            }
            Rule::Topic(_) => false,
        })
    }

    fn applies(&self, rule: &Rule, destination: &Destination) -> bool {
        match rule {
            Rule::Topic(at) => self.virtual_topics[*at].covers(destination),
            Rule::Composite(composite) => composite.covers(destination),
        }
    }

    /// Whether virtual topics feed this queue.
    pub fn feed(&self, queue: &Destination) -> bool {
        self.virtual_topics.iter().any(|topic| topic.fed_part(queue).is_some())
    }

    /// Whether a consumer of this pattern makes a queue of that very name, which is fed by all virtual
    /// topics that the pattern covers.
    pub fn make_queue_of(&self, pattern: &Destination) -> bool {
        pattern.kind() == DestinationKind::Queue
            && pattern.is_pattern()
            && self.virtual_topics.iter().any(|t| t.naming.topic_of(pattern.name()).is_some())
    }

    /// The virtual destinations whose messages a consumer of `destination` gets.
    pub fn sources(&self, destination: &Destination) -> Vec<Destination> {
        let topics = self.virtual_topics.iter().filter_map(|topic| topic.fed_part(destination));
        let rules = self.layers.iter().filter_map(|layer| match layer {
            Layer::Virtual(rules) => Some(rules),
            Layer::Mirror(_) => None,
        });
        let composites = rules.flatten().filter_map(|rule| match rule {
            Rule::Composite(composite) => Some(composite),
            Rule::Topic(_) => None,
        });
        let composites = composites
            .filter(|composite| composite.forward_to.iter().any(|f| f.destination == *destination))
            .map(|composite| composite.name.clone());
        topics.map(Destination::topic).chain(composites).collect()
    }
}

impl Default for VirtualTopic {
    fn default() -> Self {
        Self {
            name: "VirtualTopic.>".into(),
            naming: Naming::new("Consumer.*.", ""),
            selector_aware: false,
            local: false,
            drop_on_resource_limit: false,
            set_original_destination: true,
        }
    }
}

impl VirtualTopic {
    /// Whether `topic` is a virtual one. Advisories never are.
    pub fn covers(&self, topic: &Destination) -> bool {
        topic.kind() == DestinationKind::Topic
            && !topic.is_advisory()
            && crate::jms::wildcard::matches(&self.name, topic.name())
    }

    /// The topic, or the pattern of topics, that feeds `queue`; none if none does.
    pub fn fed_part<'a>(&self, queue: &'a Destination) -> Option<&'a str> {
        if queue.kind() != DestinationKind::Queue {
            return None;
        }
        let topic = self.naming.topic_of(queue.name())?;
        let is_fed = crate::jms::wildcard::is_pattern(topic)
            || crate::jms::wildcard::matches(&self.name, topic);
        is_fed.then_some(topic)
    }
}

impl Composite {
    fn covers(&self, destination: &Destination) -> bool {
        super::router::matches(&self.name, destination)
    }
}

impl Mirror {
    /// The topic that mirrors `queue`.
    pub fn topic(&self, queue: &Destination) -> Option<Destination> {
        let mirrored = match queue.kind() {
            DestinationKind::Queue => true,
            DestinationKind::TempQueue => self.temporaries,
            DestinationKind::Topic | DestinationKind::TempTopic => false,
        };
        let topic = || format!("{}{}{}", self.prefix, queue.name(), self.postfix);
        mirrored.then(|| Destination::topic(topic()))
    }
}

#[cfg(test)]
mod tests;
