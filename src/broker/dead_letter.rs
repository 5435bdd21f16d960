//! Messages that nobody could consume, and the copies of them that go to the dead letter queue.

use super::destination::audit::Audit;
use super::destination::durable::DurableKey;
use super::outbox::Receipt;
use super::policy::{DeadLetterStrategy, DeadLetterTarget};
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::{Destination, DestinationKind, Message, Text, Throwable};
use crate::store::StoreOp;
use hashbrown::HashMap;
use std::sync::Arc;

/// Why a message is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The consumer gave it up.
    Client(Throwable),
    /// Past this expiration, ms since the epoch.
    Expired(i64),
    /// A topic subscription (by its consumer id) had no room for it.
    Discarded(Text),
    /// It was sent to this destination before.
    Duplicate(Destination),
}

/// Text of the property `dlqDeliveryFailureCause`.
impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(cause) => cause.fmt(f),
            Self::Expired(at) => {
                write!(f, "java.lang.Throwable: Message Expired. Expiration:{at}")
            }
            Self::Discarded(consumer) => {
                write!(f, "java.lang.Throwable: TopicSubDiscard. ID:{consumer}")
            }
            Self::Duplicate(destination) => {
                write!(f, "java.lang.Throwable: duplicate from store for {destination}")
            }
        }
    }
}

/// What takes a message out of the store, and who hears of it.
#[derive(Debug)]
pub struct Leaving {
    pub op: StoreOp,
    pub told: Told,
}

/// Told once whether a message has left; when it is dropped, that it has not.
pub struct Told(Option<Box<dyn FnOnce(bool) + Send + Sync>>);

impl Told {
    pub fn new(tell: impl FnOnce(bool) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// The message has left, or could not.
    pub fn tell(mut self, gone: bool) {
        if let Some(tell) = self.0.take() {
            tell(gone);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(false);
        }
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// A message that leaves its destination for the dead letter queue.
#[derive(Debug)]
pub struct DeadLetter {
    pub message: Arc<Message>,
    pub from: Destination,
    /// None when the client gave no reason.
    pub cause: Option<Cause>,
    /// The durable subscription it was for.
    pub subscriber: Option<DurableKey>,
    /// The connection of the consumer that gave it up.
    pub by: Option<Text>,
    /// How often it was delivered again.
    pub redeliveries: i32,
    /// What takes it out of the store, where it is in it, in the submit that brings it to the queue.
    pub leaves: Option<Leaving>,
    /// Of who waits until it is out of there.
    pub receipt: Option<Receipt>,
}

impl DeadLetter {
    /// A message that no store has.
    pub fn unstored(message: Arc<Message>, from: Destination, cause: Option<Cause>) -> Self {
        let redeliveries = message.redelivery_counter;
        let (subscriber, by, leaves, receipt) = (None, None, None, None);
        Self { message, from, cause, subscriber, by, redeliveries, leaves, receipt }
    }
}

impl DeadLetterStrategy {
    /// Where `letter` goes; none when it is dropped.
    pub fn destination(&self, letter: &DeadLetter, now_ms: i64) -> Option<Destination> {
        // Whatever it was given up for.
        let expired = letter.message.is_expired(now_ms);
        if (!letter.message.persistent && !self.process_non_persistent)
            || (expired && !self.process_expired)
        {
            return None;
        }
        let target = match &self.target {
            DeadLetterTarget::Discard => return None,
            DeadLetterTarget::Shared(destination) => destination.clone(),
            DeadLetterTarget::Individual {
                queue_prefix,
                queue_suffix,
                topic_prefix,
                topic_suffix,
                queue_for_queue,
                queue_for_topic,
                per_durable_subscriber,
            } => {
                let from = &letter.from;
                let (prefix, suffix, queue) = if from.kind().is_queue() {
                    (queue_prefix, queue_suffix, *queue_for_queue)
                } else {
                    (topic_prefix, topic_suffix, *queue_for_topic)
                };
                let subscriber = letter.subscriber.as_ref().filter(|_| *per_durable_subscriber);
                let subscriber = subscriber
                    .map(|key| format!(".{}:{}", key.client, key.name))
                    .unwrap_or_default();
                let name = format!("{prefix}{}{subscriber}{suffix}", from.name());
                let kind = if queue { DestinationKind::Queue } else { DestinationKind::Topic };
                Destination::new(kind, Some(name.into()))
            }
        };
        (target != letter.from).then_some(target)
    }

    /// The copy that goes to `destination` (semantics.md section 10).
    pub fn copy(&self, letter: &DeadLetter, destination: &Destination, now_ms: i64) -> Message {
        let mut message = (*letter.message).clone();
        let mut properties = message
            .properties
            .as_ref()
            .and_then(|map| PropertyMap::decode(map).ok())
            .unwrap_or_default();
        message.original_destination = Some(letter.from.clone());
        message.destination = Some(destination.clone());
        if self.expiration_ms > 0 {
            message.expiration = now_ms + self.expiration_ms;
        } else {
            if properties.get("originalExpiration").is_none() {
                properties.set("originalExpiration", PropertyValue::Long(message.expiration));
            }
            message.expiration = 0;
        }
        if !message.persistent {
            message.persistent = true;
            let mode = PropertyValue::String("NON_PERSISTENT".into());
            properties.set("originalDeliveryMode", mode);
        }
        if let Some(cause) = &letter.cause {
            let cause = PropertyValue::String(cause.to_string().into());
            properties.set("dlqDeliveryFailureCause", cause);
        }
        // Only a property name that no frame can carry fails to encode.
        message.properties = properties.encode().ok().or(message.properties);
        message.original_transaction_id =
            message.transaction_id.take().or(message.original_transaction_id);
        message.redelivery_counter = 0;
        message.group_first_for_consumer = false;
        message
    }
}

/// What has become a dead letter, by where those went: a message does so once.
#[derive(Debug, Default)]
pub(super) struct Buried {
    audits: HashMap<Destination, Audit>,
}

impl Buried {
    /// Notes that `letter` goes to `at`. False: it has gone there before, and `strategy` remembers that.
    pub(super) fn is_new(
        &mut self,
        strategy: &DeadLetterStrategy,
        letter: &DeadLetter,
        at: &Destination,
    ) -> bool {
        let id = letter.message.message_id.as_ref().filter(|_| strategy.audit);
        let Some(id) = id else { return true };
        let new = || Audit::new(strategy.audit_depth, strategy.audit_producers);
        !self.audits.entry(at.clone()).or_insert_with(new).is_duplicate(id)
    }

    /// The destination is gone.
    pub(super) fn forget(&mut self, at: &Destination) {
        self.audits.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::{MessageId, ProducerId};

    fn letter(producer: &str, number: i64) -> DeadLetter {
        let producer = ProducerId { connection: Some(producer.into()), ..ProducerId::default() };
        let message_id = Some(MessageId {
            producer: Some(producer),
            producer_sequence: number,
            ..MessageId::default()
        });
        let message = Arc::new(Message { message_id, ..Message::default() });
        DeadLetter::unstored(message, Destination::queue("Q"), None)
    }

    /// Where a persistent message from there goes, as text.
    fn target(strategy: &DeadLetterStrategy, from: Destination) -> Option<String> {
        let message = Arc::new(Message { persistent: true, ..Message::default() });
        let letter = DeadLetter::unstored(message, from, None);
        strategy.destination(&letter, 0).map(|target| target.to_string())
    }

    fn individual(change: impl FnOnce(&mut IndividualNames)) -> DeadLetterStrategy {
        let mut names = IndividualNames::default();
        change(&mut names);
        let target = DeadLetterTarget::Individual {
            queue_prefix: "Q.".into(),
            queue_suffix: ".q".into(),
            topic_prefix: "T.".into(),
            topic_suffix: ".t".into(),
            queue_for_queue: !names.queues_to_topics,
            queue_for_topic: !names.topics_to_topics,
            per_durable_subscriber: names.per_subscriber,
        };
        DeadLetterStrategy { target, ..DeadLetterStrategy::default() }
    }

    #[derive(Default)]
    struct IndividualNames {
        queues_to_topics: bool,
        topics_to_topics: bool,
        per_subscriber: bool,
    }

    #[test]
    fn the_dead_letter_queue_is_shared_or_named_after_the_destination() {
        let shared = DeadLetterStrategy::default();
        let dead = Some("queue://ActiveMQ.DLQ".to_owned());
        assert_eq!(target(&shared, Destination::queue("A")), dead);
        assert_eq!(target(&shared, Destination::topic("A")), dead);
        let own = individual(|_| {});
        assert_eq!(target(&own, Destination::queue("A")).as_deref(), Some("queue://Q.A.q"));
        assert_eq!(target(&own, Destination::topic("A")).as_deref(), Some("queue://T.A.t"));
        let topics =
            individual(|names| (names.queues_to_topics, names.topics_to_topics) = (true, true));
        assert_eq!(target(&topics, Destination::queue("A")).as_deref(), Some("topic://Q.A.q"));
        assert_eq!(target(&topics, Destination::topic("A")).as_deref(), Some("topic://T.A.t"));
    }

    #[test]
    fn a_durable_subscription_may_have_a_dead_letter_queue_of_its_own() {
        let subscriber = DurableKey { client: "c".into(), name: "s".into() };
        for (own, expected) in [(true, "queue://T.A.c:s.t"), (false, "queue://T.A.t")] {
            let strategy = individual(|names| names.per_subscriber = own);
            let message = Arc::new(Message { persistent: true, ..Message::default() });
            let letter = DeadLetter {
                subscriber: Some(subscriber.clone()),
                ..DeadLetter::unstored(message, Destination::topic("A"), None)
            };
            let target = strategy.destination(&letter, 0).map(|target| target.to_string());
            assert_eq!(target.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_the_strategy_does_not_want_is_dropped() {
        let now_ms = 1_000;
        let goes = |strategy: &DeadLetterStrategy, persistent, expiration, from| {
            let message = Arc::new(Message { persistent, expiration, ..Message::default() });
            let letter = DeadLetter::unstored(message, Destination::queue(from), None);
            strategy.destination(&letter, now_ms).is_some()
        };
        let usual = DeadLetterStrategy::default();
        let all = DeadLetterStrategy { process_non_persistent: true, ..usual.clone() };
        let fresh = DeadLetterStrategy { process_expired: false, ..usual.clone() };
        let none = DeadLetterStrategy { target: DeadLetterTarget::Discard, ..usual.clone() };
        assert!(goes(&usual, true, 0, "A") && goes(&usual, true, now_ms - 1, "A"));
        assert!(!goes(&usual, false, 0, "A") && goes(&all, false, 0, "A"));
        assert!(goes(&fresh, true, 0, "A") && !goes(&fresh, true, now_ms - 1, "A"));
        assert!(!goes(&none, true, 0, "A"));
        assert!(!goes(&usual, true, 0, "ActiveMQ.DLQ"), "it is there already");
    }

    /// The copy of `message`, and the properties it has.
    fn copied(strategy: &DeadLetterStrategy, message: Message) -> (Message, PropertyMap) {
        let cause = Some(Cause::Expired(7));
        let letter = DeadLetter::unstored(Arc::new(message), Destination::queue("A"), cause);
        let copy = strategy.copy(&letter, &Destination::queue("DEAD"), 1_000);
        let properties = copy.properties.as_ref().expect("it has some");
        let properties = PropertyMap::decode(properties).expect("they are well formed");
        (copy, properties)
    }

    #[test]
    fn the_copy_says_where_it_was_and_why_it_is_dead() {
        let sent = Message {
            expiration: 5,
            redelivery_counter: 3,
            timestamp: 4,
            destination: Some(Destination::queue("A")),
            ..Message::default()
        };
        let (copy, properties) = copied(&DeadLetterStrategy::default(), sent);
        assert_eq!(copy.destination, Some(Destination::queue("DEAD")));
        assert_eq!(copy.original_destination, Some(Destination::queue("A")));
        assert_eq!((copy.expiration, copy.redelivery_counter, copy.timestamp), (0, 0, 4));
        assert!(copy.persistent);
        let text = |value: &str| PropertyValue::String(value.into());
        let expected = [
            ("originalExpiration", PropertyValue::Long(5)),
            ("originalDeliveryMode", text("NON_PERSISTENT")),
            ("dlqDeliveryFailureCause", text("java.lang.Throwable: Message Expired. Expiration:7")),
        ];
        for (name, value) in expected {
            assert_eq!(properties.get(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn the_copy_keeps_the_first_original_expiration_and_expires_as_the_strategy_says() {
        let first: PropertyMap =
            [(Text::from("originalExpiration"), PropertyValue::Long(1))].into_iter().collect();
        let sent = Message {
            expiration: 5,
            persistent: true,
            properties: first.encode().ok(),
            ..Message::default()
        };
        let (_, properties) = copied(&DeadLetterStrategy::default(), sent.clone());
        assert_eq!(properties.get("originalExpiration"), Some(&PropertyValue::Long(1)));
        assert_eq!(properties.get("originalDeliveryMode"), None, "it was persistent");
        let strategy = DeadLetterStrategy { expiration_ms: 60, ..DeadLetterStrategy::default() };
        let (copy, properties) = copied(&strategy, Message { properties: None, ..sent });
        assert_eq!((copy.expiration, properties.get("originalExpiration")), (1_060, None));
    }

    #[test]
    fn causes_have_the_texts_of_the_original() {
        let text = |cause: Cause| cause.to_string();
        assert_eq!(
            text(Cause::Discarded("c:1:1".into())),
            "java.lang.Throwable: TopicSubDiscard. ID:c:1:1"
        );
        assert_eq!(
            text(Cause::Duplicate(Destination::queue("A"))),
            "java.lang.Throwable: duplicate from store for queue://A"
        );
    }

    #[test]
    fn a_message_is_a_dead_letter_once_in_each_dead_letter_queue() {
        let (mut buried, strategy) = (Buried::default(), DeadLetterStrategy::default());
        let (dead, other) = (Destination::queue("DEAD"), Destination::queue("OTHER"));
        let mut is_new = |at| buried.is_new(&strategy, &letter("p", 1), at);
        assert_eq!([&dead, &dead, &other].map(&mut is_new), [true, false, true]);
        buried.forget(&dead);
        assert!(buried.is_new(&strategy, &letter("p", 1), &dead), "the queue is another one");
    }

    #[test]
    fn a_strategy_remembers_as_many_dead_letters_and_producers_as_it_is_told() {
        let dead = Destination::queue("DEAD");
        let depth = DeadLetterStrategy { audit_depth: 64, ..DeadLetterStrategy::default() };
        let mut buried = Buried::default();
        let new = [1, 65, 1, 65].map(|n| buried.is_new(&depth, &letter("p", n), &dead));
        assert_eq!(new, [true, true, true, false], "1 is forgotten when 65 is 64 ahead");
        let one = DeadLetterStrategy { audit_producers: 1, ..DeadLetterStrategy::default() };
        let mut buried = Buried::default();
        let new = ["p", "q", "p", "p"].map(|p| buried.is_new(&one, &letter(p, 1), &dead));
        assert_eq!(new, [true, true, true, false], "p is forgotten when q comes");
    }

    #[test]
    fn without_an_audit_a_message_is_a_dead_letter_each_time() {
        let strategy = DeadLetterStrategy { audit: false, ..DeadLetterStrategy::default() };
        let (mut buried, dead) = (Buried::default(), Destination::queue("DEAD"));
        assert_eq!([1, 1].map(|n| buried.is_new(&strategy, &letter("p", n), &dead)), [true; 2]);
    }
}
