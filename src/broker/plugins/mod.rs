//! What wraps the broker: `<plugins>` that look at what clients send and do.
//!
//! The last one configured is outermost and sees a message first (semantics.md 1.1). They see it before the broker
//! marks it with anything of its own, and before it is split over destinations. Copies for dead letter queues pass
//! them too; advisories do not.

mod discarding;
pub mod logging;
pub mod redelivery;
pub mod statistics;
mod time_stamping;

pub use self::discarding::DiscardingDlq;
pub use self::logging::{Event, Logging};
pub use self::redelivery::{Redelivery, RedeliveryPolicy};
pub use self::time_stamping::TimeStamping;

use self::statistics::Question;
use super::dead_letter::DeadLetter;
use crate::jms::properties::{self, PropertyValue, ValueRef};
use crate::jms::{Message, Text};

/// One plugin.
#[derive(Debug)]
pub enum Plugin {
    /// Answers questions about counters that are sent as messages.
    Statistics,
    TimeStamping(TimeStamping),
    Logging(Logging),
    /// All messages become persistent, or none.
    ForcePersistency(bool),
    /// Lists the brokers a message came through in the property of this name.
    TraceBrokerPath(Text),
    DiscardingDlq(DiscardingDlq),
    Redelivery(Redelivery),
}

/// The plugins of a broker.
#[derive(Debug, Default)]
pub struct Plugins {
    /// Outermost first.
    list: Vec<Plugin>,
}

/// Why a message passes the plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// A client sends it.
    Sent,
    /// It is the copy of a dead message for a dead letter queue.
    Buried,
}

/// What becomes of a message that nobody could consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    DeadLetter,
    Drop,
    /// It is delivered once more after so many ms.
    Again(i64),
}

impl Plugins {
    /// Plugins in the order in which they are configured.
    pub fn new(configured: Vec<Plugin>) -> Self {
        Self { list: configured.into_iter().rev().collect() }
    }

    /// Whether one of them is to be told of every delivery.
    pub fn hear_deliveries(&self) -> bool {
        self.list.iter().any(|plugin| match plugin {
            Plugin::Logging(logging) => logging.hears_deliveries(),
            _ => false,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Lets `message` pass on its way into the broker called `broker`. A question is not to go any further.
    pub(super) fn pass(
        &self,
        message: &mut Message,
        passage: Passage,
        broker: &Text,
        now_ms: i64,
    ) -> Option<Question> {
        for plugin in &self.list {
            match plugin {
                Plugin::Statistics => {
                    let question = Question::of(message);
                    if question.is_some() {
                        return question;
                    }
                }
                Plugin::TimeStamping(stamping) if passage == Passage::Sent => {
                    stamping.stamp(message, now_ms);
                }
                Plugin::Logging(logging) => logging.note(&Event::Sent(message)),
                Plugin::ForcePersistency(persistent) => message.persistent = *persistent,
                Plugin::TraceBrokerPath(property) => trace(message, property, broker),
                Plugin::TimeStamping(_) | Plugin::DiscardingDlq(_) | Plugin::Redelivery(_) => {}
            }
        }
        None
    }

    /// What becomes of a dead message: the first plugin that keeps it from the dead letter queue decides.
    pub(super) fn fate(&self, letter: &DeadLetter, now_ms: i64) -> Fate {
        let fate = |plugin: &Plugin| match plugin {
            Plugin::Logging(logging) => {
                logging.note(&Event::Dead(&letter.message));
                Fate::DeadLetter
            }
            Plugin::DiscardingDlq(discarding) if discarding.takes(letter) => Fate::Drop,
            Plugin::Redelivery(plugin) => plugin.fate(letter, now_ms, redelivery::random),
            _ => Fate::DeadLetter,
        };
        let mut fates = self.list.iter().map(fate);
        fates.find(|fate| *fate != Fate::DeadLetter).unwrap_or(Fate::DeadLetter)
    }

    /// Something happened.
    pub fn note(&self, event: &Event<'_>) {
        for plugin in &self.list {
            if let Plugin::Logging(logging) = plugin {
                logging.note(event);
            }
        }
    }

    /// Whether some plugin wants to hear what destinations have to tell.
    pub(super) fn hears_notices(&self) -> bool {
        self.list.iter().any(|plugin| matches!(plugin, Plugin::Logging(of) if of.hears_notices()))
    }
}

/// Adds this broker to the comma list in `property`. Properties that are malformed stay as they are.
fn trace(message: &mut Message, property: &str, broker: &str) {
    let map = message.properties.as_deref();
    let before = map.and_then(|map| properties::find(map, property).ok().flatten());
    let path = match before {
        Some(ValueRef::String(before)) => format!("{before},{broker}"),
        _ => broker.to_owned(),
    };
    if let Ok(changed) = properties::set(map, property, &PropertyValue::String(path.into())) {
        message.properties = Some(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(message: &Message) -> Option<String> {
        match properties::find(message.properties.as_deref()?, "BrokerPath") {
            Ok(Some(ValueRef::String(path))) => Some(path.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn trace_broker_path_appends_the_broker_to_a_comma_list() {
        let plugins = Plugins::new(vec![Plugin::TraceBrokerPath("BrokerPath".into())]);
        let mut message = Message::default();
        for (broker, expected) in [("a", "a"), ("b", "a,b")] {
            plugins.pass(&mut message, Passage::Sent, &broker.into(), 1);
            assert_eq!(path(&message).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_last_plugin_configured_sees_a_message_first() {
        let plugins = [Plugin::ForcePersistency(false), Plugin::ForcePersistency(true)];
        let mut message = Message::default();
        Plugins::new(plugins.into()).pass(&mut message, Passage::Sent, &"b".into(), 1);
        assert!(!message.persistent, "the first one configured has the last word");
    }

    #[test]
    fn time_stamping_leaves_dead_letters_their_time() {
        let plugins = Plugins::new(vec![Plugin::TimeStamping(TimeStamping::default())]);
        for (passage, expected) in [(Passage::Sent, 900), (Passage::Buried, 400)] {
            let mut message = Message { timestamp: 400, ..Message::default() };
            plugins.pass(&mut message, passage, &"b".into(), 900);
            assert_eq!(message.timestamp, expected, "{passage:?}");
        }
    }

    fn redelivery() -> Plugin {
        let policy = RedeliveryPolicy {
            times_max: None,
            first_delay_ms: 1_000,
            delay_ms: 1_000,
            multiplier: None,
            delay_max_ms: None,
            jitter: None,
        };
        Plugin::Redelivery(Redelivery {
            policy: Box::new(move |_| Some(policy.clone())),
            fallback_to_dead_letter: true,
            dead_letter_in_the_end: true,
        })
    }

    fn discarding() -> Plugin {
        Plugin::DiscardingDlq(DiscardingDlq {
            drop_all: true,
            drop_temporary_topics: true,
            drop_temporary_queues: true,
            drop_only: Vec::new(),
            report_interval: 0,
            dropped: std::sync::atomic::AtomicU64::new(0),
        })
    }

    #[test]
    fn the_last_plugin_configured_decides_first_about_a_dead_message() {
        let message = std::sync::Arc::new(Message::default());
        let letter = DeadLetter::unstored(message, crate::jms::Destination::queue("Q"), None);
        let fate = |plugins: Vec<Plugin>| Plugins::new(plugins).fate(&letter, 1);
        assert_eq!(fate(vec![discarding(), redelivery()]), Fate::Again(1_000));
        assert_eq!(fate(vec![redelivery(), discarding()]), Fate::Drop);
        assert_eq!(fate(vec![Plugin::Statistics]), Fate::DeadLetter);
    }

    #[test]
    fn force_persistency_mode_changes_every_message() {
        for (persistent, passage) in [(true, Passage::Sent), (false, Passage::Buried)] {
            let plugins = Plugins::new(vec![Plugin::ForcePersistency(persistent)]);
            let mut message = Message { persistent: !persistent, ..Message::default() };
            plugins.pass(&mut message, passage, &"b".into(), 1);
            assert_eq!(message.persistent, persistent);
        }
    }
}
