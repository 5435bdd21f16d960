//! Where one message goes.

use super::{Composite, Interceptors, Layer, Rule};
use crate::broker::candidate::Candidate;
use crate::broker::destination::{DestinationHandle, accepts};
use crate::broker::error::BrokerError;
use crate::broker::router::Router;
use crate::jms::{Destination, Message};
use hashbrown::HashSet;
use std::sync::Arc;

/// A destination that gets a message, and how the message is addressed there.
#[derive(Clone, Debug)]
pub struct Target {
    pub at: Destination,
    /// The way there, where it is known already.
    pub handle: Option<Arc<DestinationHandle>>,
    /// The destination in the header of the copy.
    pub destination: Destination,
    pub original_destination: Option<Destination>,
    /// The send does not fail when there is no room here.
    pub may_be_dropped: bool,
}

/// All who get a message.
#[derive(Debug)]
pub struct Targets {
    pub targets: Vec<Target>,
    /// Another message to the same destination may go elsewhere.
    pub varies: bool,
}

impl Target {
    /// A message for `at` itself.
    pub fn new(at: Destination, original_destination: Option<Destination>) -> Self {
        let destination = at.clone();
        Self { at, handle: None, destination, original_destination, may_be_dropped: false }
    }

    /// The copy of `message` for this destination; the message itself if they are the same.
    pub fn address(&self, message: &Arc<Message>) -> Arc<Message> {
        let same = message.destination.as_ref() == Some(&self.destination)
            && message.original_destination == self.original_destination;
        if same {
            return Arc::clone(message);
        }
        Arc::new(Message {
            destination: Some(self.destination.clone()),
            original_destination: self.original_destination.clone(),
            ..(**message).clone()
        })
    }
}

/// Follows the interceptors. Every destination is reached once: so a circle of them ends, and of several
/// ways to one destination the first counts.
pub struct Expansion<'a> {
    interceptors: &'a Interceptors,
    router: &'a Router,
    message: &'a Message,
    reached: HashSet<Destination>,
    found: Targets,
    /// A composite without filter forwards to where the message has been.
    closes_circle: Option<Destination>,
    /// A filter or a missing consumer kept the message from somewhere.
    was_filtered: bool,
}

impl<'a> Expansion<'a> {
    pub fn new(interceptors: &'a Interceptors, router: &'a Router, message: &'a Message) -> Self {
        Self {
            interceptors,
            router,
            message,
            reached: HashSet::new(),
            found: Targets { targets: Vec::new(), varies: false },
            closes_circle: None,
            was_filtered: false,
        }
    }

    /// Adds those who get a message that is sent to `destination`, a name.
    pub fn send_to(&mut self, destination: &Destination, original: Option<Destination>) {
        self.reach(Target::new(destination.clone(), original));
    }

    /// All who get the message.
    ///
    /// # Errors
    /// When composites forward in a circle, and none of them keeps anything.
    pub fn finish(self) -> Result<Targets, BrokerError> {
        match self.closes_circle {
            Some(destination) if self.found.targets.is_empty() && !self.was_filtered => {
                Err(BrokerError::ForwardCircle(destination))
            }
            _ => Ok(self.found),
        }
    }

    fn reach(&mut self, target: Target) {
        let interceptors = self.interceptors;
        if !self.reached.insert(target.at.clone()) {
            self.closes_circle.get_or_insert(target.at);
            return;
        }
        self.pass(&interceptors.layers, target);
    }

    /// Through `layers`, the outermost first, to the destination itself.
    fn pass(&mut self, layers: &'a [Layer], target: Target) {
        let Some((outer, below)) = layers.split_last() else {
            self.found.targets.push(target);
            return;
        };
        let goes_on = match outer {
            Layer::Mirror(mirror) => {
                if let Some(topic) = mirror.topic(&target.at) {
                    self.reach(Target::new(topic, target.original_destination.clone()));
                }
                true
            }
            Layer::Virtual(rules) => self.follow(rules, &target),
        };
        if goes_on {
            self.pass(below, target);
        }
    }

    /// What the rules make of a message for `target`; whether it goes there as well.
    fn follow(&mut self, rules: &'a [Rule], target: &Target) -> bool {
        let interceptors = self.interceptors;
        let (mut applied, mut kept) = (false, false);
        for rule in rules.iter().filter(|rule| interceptors.applies(rule, &target.at)) {
            applied = true;
            match rule {
                Rule::Topic(at) => {
                    self.feed(*at, target);
                    kept = true;
                }
                Rule::Composite(composite) => kept |= self.forward(composite, target),
            }
        }
        kept || !applied
    }

    fn feed(&mut self, rule: usize, topic: &Target) {
        let virtual_topic = &self.interceptors.virtual_topics[rule];
        let is_foreign = self.message.broker_path.as_ref().is_some_and(|path| !path.is_empty());
        if virtual_topic.local && is_foreign {
            return;
        }
        self.found.varies |= virtual_topic.selector_aware;
        for handle in self.router.fed_by(self.interceptors, rule, topic.at.name()) {
            let at = handle.destination.clone();
            if virtual_topic.selector_aware && !self.is_wanted(&at) {
                self.was_filtered = true;
                continue;
            }
            let (destination, original_destination) = match virtual_topic.set_original_destination {
                true => (at.clone(), Some(topic.destination.clone())),
                false => (topic.destination.clone(), topic.original_destination.clone()),
            };
            self.reach(Target {
                at,
                handle: Some(handle),
                destination,
                original_destination,
                may_be_dropped: virtual_topic.drop_on_resource_limit,
            });
        }
    }

    /// Whether a consumer of `queue` selects the message, or one that is away did.
    fn is_wanted(&self, queue: &Destination) -> bool {
        let candidate = Candidate { message: self.message, redeliveries: 0 };
        let consumers = self.router.consumers_of(queue);
        let cache = self.interceptors.selector_cache.as_ref();
        consumers.iter().any(|of| accepts(&of.info, of.selector.as_ref(), &candidate))
            || cache.is_some_and(|cache| cache.selects(queue, &candidate))
    }

    fn forward(&mut self, composite: &Composite, from: &Target) -> bool {
        let candidate = Candidate { message: self.message, redeliveries: 0 };
        let mut matched = false;
        for forward in &composite.forward_to {
            if let Some(selector) = &forward.selector {
                self.found.varies = true;
                if !selector.matches(&candidate) {
                    self.was_filtered = true;
                    continue;
                }
            }
            matched = true;
            let original = Some(from.destination.clone());
            self.reach(Target::new(forward.destination.clone(), original));
        }
        match composite.keep_unmatched {
            true => !matched,
            false => !composite.forward_only,
        }
    }
}
