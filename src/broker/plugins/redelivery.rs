//! `<redeliveryPlugin>`: what would become a dead letter is delivered once more, later.
//!
//! The copy goes through the scheduler. It leaves where it was in the submit that schedules it, so it is in one
//! place whatever happens. How often that was done is its redelivery counter.

use super::{Fate, Passage};
use crate::broker::Broker;
use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::destination::{Incoming, Op};
use crate::broker::scheduler::schedule::{DELAY, JOB_ID};
use crate::jms::properties::{PropertyError, PropertyMap, PropertyValue};
use crate::jms::{Destination, Message, Text};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

/// What the plugin is configured with.
pub struct Redelivery {
    pub policy: PolicyOf,
    /// `fallbackToDeadLetter`: what has no policy becomes a dead letter; else it is dropped.
    pub fallback_to_dead_letter: bool,
    /// `sendToDlqIfMaxRetriesExceeded`: likewise what was tried often enough.
    pub dead_letter_in_the_end: bool,
}

impl std::fmt::Debug for Redelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redelivery")
    }
}

/// Gives a destination its policy, if it has one.
pub type PolicyOf = Box<dyn Fn(&Destination) -> Option<RedeliveryPolicy> + Send + Sync>;

/// `<redeliveryPolicy>`.
#[derive(Clone, Debug, PartialEq)]
pub struct RedeliveryPolicy {
    /// `maximumRedeliveries`; none: no end.
    pub times_max: Option<u32>,
    /// `initialRedeliveryDelay`, ms.
    pub first_delay_ms: i64,
    /// `redeliveryDelay`, ms.
    pub delay_ms: i64,
    /// `backOffMultiplier` with `useExponentialBackOff`.
    pub multiplier: Option<f64>,
    /// `maximumRedeliveryDelay`, ms.
    pub delay_max_ms: Option<i64>,
    /// `collisionAvoidancePercent` with `useCollisionAvoidance`, as a fraction: so much sooner or later.
    pub jitter: Option<f64>,
}

/// Property that tells the delay.
const REDELIVERY_DELAY: &str = "redeliveryDelay";

/// What the broker itself found twice is not delivered a third time.
const DUPLICATE: &str = "duplicate from store for";

impl RedeliveryPolicy {
    /// The delay after `times` redeliveries, ms. `random` is asked for numbers from -1 to 1.
    fn delay(&self, times: i32, mut random: impl FnMut() -> f64) -> i64 {
        let mut delay = self.first_delay_ms;
        for _ in 0..times.min(STEPS_MAX) {
            delay = self.next_delay(delay, &mut random);
        }
        delay
    }

    fn next_delay(&self, before: i64, random: &mut impl FnMut() -> f64) -> i64 {
        let mut delay = match self.multiplier {
            Some(multiplier) if before > 0 && multiplier > 1.0 => {
                let delay = scaled(before, multiplier);
                let limit = self.delay_max_ms.filter(|limit| delay > *limit);
                limit.map_or(delay, |limit| limit.max(self.delay_ms))
            }
            _ => self.delay_ms,
        };
        if let Some(jitter) = self.jitter {
            delay = delay.saturating_add(scaled(delay, jitter * random()));
        }
        delay.max(0)
    }
}

/// Far more than it takes any delay to reach its limit, or that of its type.
const STEPS_MAX: i32 = 1_000;

/// `ms` times `factor`, as far as there are such times.
fn scaled(ms: i64, factor: f64) -> i64 {
    // Precise to the ms for all delays below 285,000 years; what is beyond is cut off.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "see above")]
    {
        (ms as f64 * factor) as i64
    }
}

/// A number from -1 to 1.
pub(super) fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    let bits = u32::try_from(bits).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
}

impl Redelivery {
    /// `random` is asked for numbers from -1 to 1.
    pub(super) fn fate(
        &self,
        letter: &DeadLetter,
        now_ms: i64,
        random: impl FnMut() -> f64,
    ) -> Fate {
        let is_duplicate = match &letter.cause {
            Some(Cause::Duplicate(_)) => true,
            Some(Cause::Client(cause)) => {
                cause.message.as_deref().is_some_and(|text| text.contains(DUPLICATE))
            }
            Some(Cause::Expired(_) | Cause::Discarded(_)) | None => false,
        };
        if is_duplicate || letter.message.is_expired(now_ms) {
            return Fate::DeadLetter;
        }
        let or_drop = |stays: bool| if stays { Fate::DeadLetter } else { Fate::Drop };
        let Some(policy) = (self.policy)(&letter.from) else {
            return or_drop(self.fallback_to_dead_letter);
        };
        let times = letter.redeliveries.max(0);
        let is_over =
            policy.times_max.is_some_and(|max| u32::try_from(times).is_ok_and(|t| t >= max));
        if is_over {
            return or_drop(self.dead_letter_in_the_end);
        }
        Fate::Again(policy.delay(times, random))
    }
}

/// The message as it is scheduled.
fn again(letter: &DeadLetter, delay_ms: i64) -> Result<Message, PropertyError> {
    let map = letter.message.properties.as_deref();
    let map = map.map(PropertyMap::decode).transpose()?.unwrap_or_default();
    let kept = map.iter().filter(|(name, _)| ***name != *JOB_ID);
    let mut properties: PropertyMap =
        kept.map(|(name, value)| (Text::clone(name), value.clone())).collect();
    properties.set(REDELIVERY_DELAY, PropertyValue::Long(delay_ms));
    properties.set(DELAY, PropertyValue::Long(delay_ms));
    Ok(Message {
        properties: Some(properties.encode()?),
        transaction_id: None,
        redelivery_counter: letter.redeliveries.max(0).saturating_add(1),
        group_first_for_consumer: false,
        ..(*letter.message).clone()
    })
}

impl Broker {
    /// Schedules a message once more, as if it was sent. Returns what is to become a dead letter all the
    /// same.
    pub(in crate::broker) async fn deliver_again(
        &self,
        letter: DeadLetter,
        delay_ms: i64,
        now_ms: i64,
    ) -> Option<DeadLetter> {
        let mut message = match again(&letter, delay_ms) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(from = %letter.from, %error, "a message cannot be delivered again");
                return Some(letter);
            }
        };
        let options = &self.options;
        // It is no question.
        drop(options.plugins.pass(&mut message, Passage::Sent, &options.name, now_ms));
        let bytes = message.size() as u64;
        let (receipt, moved) = (letter.receipt, letter.leaves.into_iter().collect());
        let incoming = Incoming { receipt, moved, ..Incoming::of_broker(Arc::new(message), bytes) };
        self.scheduler.handle.send(vec![Op::Send(incoming)]).await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::Throwable;

    fn policy() -> RedeliveryPolicy {
        RedeliveryPolicy {
            times_max: Some(2),
            first_delay_ms: 1_000,
            delay_ms: 3_000,
            multiplier: None,
            delay_max_ms: None,
            jitter: None,
        }
    }

    fn plugin(policy: RedeliveryPolicy) -> Redelivery {
        let policy = move |of: &Destination| (of.name() == "A").then(|| policy.clone());
        Redelivery {
            policy: Box::new(policy),
            fallback_to_dead_letter: true,
            dead_letter_in_the_end: true,
        }
    }

    fn letter(from: &str, redeliveries: i32, cause: Option<Cause>) -> DeadLetter {
        let message = Arc::new(Message::default());
        let letter = DeadLetter::unstored(message, Destination::queue(from), cause);
        DeadLetter { redeliveries, ..letter }
    }

    fn delays(policy: &RedeliveryPolicy, random: impl Fn() -> f64) -> Vec<i64> {
        (0..5).map(|times| policy.delay(times, &random)).collect()
    }

    #[test]
    fn the_first_delay_is_one_of_its_own() {
        assert_eq!(delays(&policy(), || 0.0), [1_000, 3_000, 3_000, 3_000, 3_000]);
    }

    #[test]
    fn delays_grow_up_to_their_limit() {
        let policy = RedeliveryPolicy { multiplier: Some(2.0), ..policy() };
        assert_eq!(delays(&policy, || 0.0), [1_000, 2_000, 4_000, 8_000, 16_000]);
        let limited = RedeliveryPolicy { delay_max_ms: Some(5_000), ..policy.clone() };
        assert_eq!(delays(&limited, || 0.0), [1_000, 2_000, 4_000, 5_000, 5_000]);
        let below = RedeliveryPolicy { delay_max_ms: Some(1_500), ..policy.clone() };
        assert_eq!(delays(&below, || 0.0)[1], 3_000, "the delay itself is not limited");
        assert_eq!(policy.delay(i32::MAX, || 0.0), i64::MAX);
    }

    #[test]
    fn collisions_are_avoided_from_the_second_delay_on() {
        let policy = RedeliveryPolicy { jitter: Some(0.15), ..policy() };
        assert_eq!(delays(&policy, || 1.0)[..2], [1_000, 3_450]);
        assert_eq!(delays(&policy, || -1.0)[..2], [1_000, 2_550]);
        assert!((0..1_000).all(|_| (-1.0..=1.0).contains(&random())));
    }

    #[test]
    fn what_was_tried_often_enough_is_a_dead_letter() {
        let plugin = plugin(policy());
        let fate = |times| plugin.fate(&letter("A", times, None), 9, || 0.0);
        let fates = [fate(0), fate(1), fate(2)];
        assert_eq!(fates, [Fate::Again(1_000), Fate::Again(3_000), Fate::DeadLetter]);
        let dropping = Redelivery { dead_letter_in_the_end: false, ..plugin };
        assert_eq!(dropping.fate(&letter("A", 2, None), 9, || 0.0), Fate::Drop);
        let endless = self::plugin(RedeliveryPolicy { times_max: None, ..policy() });
        assert_eq!(endless.fate(&letter("A", 99, None), 9, || 0.0), Fate::Again(3_000));
    }

    #[test]
    fn what_has_no_policy_is_a_dead_letter_or_dropped() {
        let plugin = plugin(policy());
        assert_eq!(plugin.fate(&letter("B", 0, None), 9, || 0.0), Fate::DeadLetter);
        let dropping = Redelivery { fallback_to_dead_letter: false, ..plugin };
        assert_eq!(dropping.fate(&letter("B", 0, None), 9, || 0.0), Fate::Drop);
    }

    #[test]
    fn what_is_expired_or_was_found_twice_is_not_delivered_again() {
        let plugin = plugin(policy());
        let cause = |text: &str| Some(Cause::Client(Throwable::new("java.lang.Throwable", text)));
        for (cause, fate) in [
            (cause("duplicate from store for queue://A"), Fate::DeadLetter),
            (cause("Delivery[1] exceeds redelivery policy limit"), Fate::Again(1_000)),
        ] {
            assert_eq!(plugin.fate(&letter("A", 0, cause), 9, || 0.0), fate);
        }
        let message = Arc::new(Message { expiration: 5, ..Message::default() });
        let expiring = DeadLetter { message, ..letter("A", 0, None) };
        assert_eq!(plugin.fate(&expiring, 5, || 0.0), Fate::Again(1_000));
        assert_eq!(plugin.fate(&expiring, 6, || 0.0), Fate::DeadLetter);
    }

    #[test]
    fn the_copy_tells_its_delay_and_counts() {
        let job = PropertyMap::from_iter([(Text::from(JOB_ID), PropertyValue::Byte(1))]);
        let properties = Some(job.encode().expect("a map"));
        let message = Arc::new(Message { properties, ..Message::default() });
        let letter = DeadLetter { message, ..letter("A", 3, None) };
        let copy = again(&letter, 1_500).expect("a map");
        let map = PropertyMap::decode(copy.properties.as_deref().expect("some")).expect("a map");
        let delay = Some(&PropertyValue::Long(1_500));
        assert_eq!(
            (map.get(REDELIVERY_DELAY), map.get(DELAY), map.get(JOB_ID)),
            (delay, delay, None)
        );
        assert_eq!(copy.redelivery_counter, 4);
    }
}
