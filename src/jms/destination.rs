//! Names of queues and topics.
//!
//! Text forms: `queue://N`, `topic://N`, `temp-queue://N`, `temp-topic://N`; a comma makes a name
//! composite, each part taking the outer kind unless it says otherwise.

use super::Text;
use std::fmt;

/// What kind of destination a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DestinationKind {
    Queue,
    Topic,
    TempQueue,
    TempTopic,
}

/// A queue or topic by name. The name may be a pattern (`A.*`, `A.>`) or composite (`A,topic://B`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    kind: DestinationKind,
    /// Null only when a peer sent a null.
    name: Option<Text>,
}

impl DestinationKind {
    /// The prefix in qualified names, without `://`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
            Self::TempQueue => "temp-queue",
            Self::TempTopic => "temp-topic",
        }
    }

    /// Queue or temporary queue.
    pub fn is_queue(self) -> bool {
        matches!(self, Self::Queue | Self::TempQueue)
    }

    /// Temporary queue or topic.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::TempQueue | Self::TempTopic)
    }

    /// As in advisory topics: `Queue`, `Topic`, `TempQueue`, `TempTopic`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Topic => "Topic",
            Self::TempQueue => "TempQueue",
            Self::TempTopic => "TempTopic",
        }
    }
}

impl Destination {
    /// A destination of `kind`; a null name is what a codec may have read.
    pub fn new(kind: DestinationKind, name: Option<Text>) -> Self {
        Self { kind, name }
    }

    /// The queue `name`.
    pub fn queue(name: impl Into<Text>) -> Self {
        Self { kind: DestinationKind::Queue, name: Some(name.into()) }
    }

    /// The topic `name`.
    pub fn topic(name: impl Into<Text>) -> Self {
        Self { kind: DestinationKind::Topic, name: Some(name.into()) }
    }

    pub fn kind(&self) -> DestinationKind {
        self.kind
    }

    /// The name; empty when the peer sent none.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }

    /// The name as it is shared, null when the peer sent none.
    pub fn name_text(&self) -> Option<&Text> {
        self.name.as_ref()
    }

    /// Reads `queue://N` and its like; text without prefix is of `outer` kind.
    pub fn parse(text: &str, outer: DestinationKind) -> Self {
        let text = text.trim();
        const KINDS: [DestinationKind; 4] = [
            DestinationKind::Queue,
            DestinationKind::Topic,
            DestinationKind::TempQueue,
            DestinationKind::TempTopic,
        ];
        for kind in KINDS {
            let rest = text.strip_prefix(kind.prefix()).and_then(|rest| rest.strip_prefix("://"));
            if let Some(name) = rest {
                return Self { kind, name: Some(name.into()) };
            }
        }
        Self { kind: outer, name: Some(text.into()) }
    }

    /// Whether the name lists several destinations.
    pub fn is_composite(&self) -> bool {
        self.name().as_bytes().contains(&b',')
    }

    /// The parts of a composite name, trimmed, without empty ones and duplicates; of any other name
    /// just itself.
    pub fn parts(&self) -> Vec<Self> {
        if !self.is_composite() {
            return vec![self.clone()];
        }
        let mut parts: Vec<Self> = Vec::new();
        for part in self.name().split(',') {
            let part = Self::parse(part, self.kind);
            if !part.name().is_empty() && !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts
    }

    /// Whether the name is a pattern for several destinations: has a level `*` or `>`.
    pub fn is_pattern(&self) -> bool {
        !self.is_composite() && self.name().split('.').any(|level| level == "*" || level == ">")
    }

    /// The prefix of all advisory topics.
    pub const ADVISORY_PREFIX: &'static str = "ActiveMQ.Advisory.";

    /// Whether this is an advisory topic, or composite with one.
    pub fn is_advisory(&self) -> bool {
        if self.is_composite() {
            return self.parts().iter().any(Self::is_advisory);
        }
        self.kind == DestinationKind::Topic && self.name().starts_with(Self::ADVISORY_PREFIX)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.prefix(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_parts_take_the_outer_kind_unless_they_say_otherwise() {
        let parts = Destination::queue("A, topic://B,,A,temp-queue://C").parts();
        let text: Vec<String> = parts.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["queue://A", "topic://B", "temp-queue://C"]);
    }

    #[test]
    fn only_whole_levels_are_wildcards() {
        assert!(Destination::queue("A.*.B").is_pattern());
        assert!(Destination::topic("A.>").is_pattern());
        assert!(!Destination::queue("A*.B>").is_pattern());
    }
}
