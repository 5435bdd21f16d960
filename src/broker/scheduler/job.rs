//! A job: a message that waits, and what is known of its deliveries.
//!
//! It is stored as the message it was sent as, with one more property, big-endian:
//!
//! ```text
//! 'AMQ_SCHEDULED_JOB' = version 1 u8 | number i64 | start i64 | due i64 | left i32 | delivered u32
//!                       | of a cron entry u8 | job id, UTF-8, to the end
//! ```
//!
//! Times are ms since the epoch; `left` is what `AMQ_SCHEDULED_REPEAT` was, less what is over.

use super::schedule::{CRON, DELAY, JOB_ID, PERIOD, REPEAT, Schedule};
use crate::jms::properties::{self, PropertyError, PropertyMap, PropertyValue, ValueRef};
use crate::jms::{Message, MessageId, Text};

/// A message that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The producer's id and `number`.
    pub id: Text,
    /// The sequence number it got when it was scheduled: of all jobs there ever were only this one has it.
    pub number: i64,
    /// When it was scheduled, ms since the epoch.
    pub start_ms: i64,
    /// When it is next delivered, ms since the epoch.
    pub due_ms: i64,
    /// Deliveries after the next one; negative: for ever.
    pub left: i32,
    /// How often it was delivered.
    pub delivered: u32,
    /// It is the deliveries that one time of a cron entry began.
    pub is_series: bool,
    pub schedule: Schedule,
}

const STATE: &str = "AMQ_SCHEDULED_JOB";
const VERSION: u8 = 1;

/// What a job does when it is due.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is delivered, and waits again as this, if at all.
    Deliver(Option<Job>),
    /// It waits again as the first, and begins deliveries of their own. They have no number yet.
    Begin(Option<Job>, Job),
}

impl Job {
    /// The job that `message` becomes when it is sent at `now_ms`.
    pub fn new(message: &Message, schedule: Schedule, number: i64, now_ms: i64) -> Self {
        let producer = message.message_id.as_ref().and_then(|id| id.producer.as_ref());
        let producer = producer.map(ToString::to_string).unwrap_or_default();
        Self {
            id: format!("{producer}:{number}").into(),
            number,
            start_ms: now_ms,
            due_ms: schedule.first(now_ms),
            left: schedule.repeat,
            delivered: 0,
            is_series: false,
            schedule,
        }
    }

    /// The job that a stored message is; none if it is none.
    pub fn of(stored: &Message) -> Option<Self> {
        let map = stored.properties.as_deref()?;
        let Ok(Some(ValueRef::Bytes(state))) = properties::find(map, STATE) else { return None };
        let mut state = State(state);
        if u8::from_be_bytes(state.take()?) != VERSION {
            return None;
        }
        let (number, start_ms) =
            (i64::from_be_bytes(state.take()?), i64::from_be_bytes(state.take()?));
        let (due_ms, left) = (i64::from_be_bytes(state.take()?), i32::from_be_bytes(state.take()?));
        let delivered = u32::from_be_bytes(state.take()?);
        let is_series = u8::from_be_bytes(state.take()?) == 1;
        let id = std::str::from_utf8(state.0).ok()?.into();
        let mut schedule = Schedule::of(stored, u32::MAX).ok()??;
        if is_series {
            schedule.cron = None;
        }
        Some(Self { id, number, start_ms, due_ms, left, delivered, is_series, schedule })
    }

    /// `message` as it is stored.
    ///
    /// # Errors
    /// When its properties are none.
    pub fn stored(&self, message: &Message) -> Result<Message, PropertyError> {
        let mut state = vec![VERSION];
        for part in [self.number, self.start_ms, self.due_ms] {
            state.extend_from_slice(&part.to_be_bytes());
        }
        state.extend_from_slice(&self.left.to_be_bytes());
        state.extend_from_slice(&self.delivered.to_be_bytes());
        state.push(self.is_series.into());
        state.extend_from_slice(self.id.as_bytes());
        let state = PropertyValue::Bytes(state.into());
        let properties = properties::set(message.properties.as_deref(), STATE, &state)?;
        // In which transaction it came is over.
        let transaction_id = None;
        Ok(Message { properties: Some(properties), transaction_id, ..message.clone() })
    }

    /// What happens at `now_ms`, when it is due.
    pub fn step(&self, now_ms: i64) -> Step {
        if self.schedule.cron.is_none() {
            let again = (self.left != 0).then(|| Self {
                due_ms: self.schedule.again(self.due_ms, now_ms),
                left: if self.left > 0 { self.left - 1 } else { self.left },
                delivered: self.delivered.saturating_add(1),
                ..self.clone()
            });
            return Step::Deliver(again);
        }
        let delivered = self.delivered.saturating_add(1);
        let next = self.schedule.next_cron(now_ms);
        let next = next.map(|due_ms| Self { due_ms, delivered, ..self.clone() });
        if !self.schedule.begins_series() {
            return Step::Deliver(next);
        }
        let due_ms = self.schedule.first_of_series(self.due_ms);
        let due_ms = if due_ms > now_ms { due_ms } else { self.schedule.first_of_series(now_ms) };
        let series = Self {
            start_ms: now_ms,
            due_ms,
            left: self.schedule.repeat,
            delivered: 0,
            is_series: true,
            schedule: Schedule { cron: None, ..self.schedule.clone() },
            ..self.clone()
        };
        Step::Begin(next, series)
    }

    /// Whether deliveries need message ids of their own.
    fn needs_ids(&self) -> bool {
        self.is_series || self.schedule.repeat != 0 || self.schedule.cron.is_some()
    }

    /// The message as it is delivered at `now_ms`; `new_id` is asked for an id if it needs one.
    pub fn delivery(
        &self,
        stored: &Message,
        now_ms: i64,
        new_id: impl FnOnce() -> MessageId,
    ) -> Message {
        let mut message = stored.clone();
        message.properties = self.properties(stored, &[DELAY, PERIOD, REPEAT, CRON]);
        message.original_transaction_id = None;
        if self.needs_ids() {
            message.message_id = Some(new_id());
        }
        let life = message.expiration.saturating_sub(message.timestamp);
        if message.timestamp > 0 && message.expiration > 0 && life > 0 {
            message.timestamp = now_ms;
            message.expiration = now_ms.saturating_add(life);
        }
        message.broker_in_time = now_ms;
        message
    }

    /// The properties it was sent with, but for `without`, and the id of the job.
    pub fn properties(&self, stored: &Message, without: &[&str]) -> Option<bytes::Bytes> {
        let map = stored.properties.as_deref()?;
        let of_message = |name: &Text| **name != *STATE && !without.contains(&&**name);
        let id = PropertyValue::String(Text::clone(&self.id));
        let encoded = PropertyMap::decode(map).and_then(|map| {
            let kept = map.iter().filter(|(name, _)| of_message(name));
            let kept = kept.map(|(name, value)| (Text::clone(name), value.clone()));
            let mut properties: PropertyMap = kept.collect();
            properties.set(JOB_ID, id);
            properties.encode()
        });
        // They were read before: an error cannot come.
        encoded.ok().or_else(|| stored.properties.clone())
    }
}

struct State<'a>(&'a [u8]);

impl State<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::{Destination, ProducerId};
    use proptest::prelude::*;

    fn message(properties: &[(&str, PropertyValue)]) -> Message {
        let map: PropertyMap =
            properties.iter().map(|(name, value)| (Text::from(*name), value.clone())).collect();
        let producer = ProducerId { connection: Some("ID:a".into()), session: 1, value: 2 };
        Message {
            properties: Some(map.encode().expect("a map")),
            message_id: Some(MessageId {
                producer: Some(producer),
                producer_sequence: 7,
                ..MessageId::default()
            }),
            destination: Some(Destination::queue("Q")),
            ..Message::default()
        }
    }

    fn job(message: &Message) -> Job {
        let schedule = Schedule::of(message, 1000).expect("it is right").expect("it has one");
        Job::new(message, schedule, 42, 10_000)
    }

    fn long(value: i64) -> PropertyValue {
        PropertyValue::Long(value)
    }

    #[test]
    fn a_job_is_the_producers_id_and_a_number() {
        assert_eq!(&*job(&message(&[(DELAY, long(5))])).id, "ID:a:1:2:42");
    }

    #[test]
    fn a_job_is_delivered_once_more_than_it_repeats() {
        let message = message(&[(PERIOD, long(100)), (REPEAT, PropertyValue::Int(2))]);
        let mut waiting = Some(job(&message));
        let mut times = Vec::new();
        while let Some(job) = waiting {
            times.push(job.due_ms);
            waiting = match job.step(job.due_ms) {
                Step::Deliver(next) => next,
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(times, [10_100, 10_200, 10_300]);
    }

    #[test]
    fn a_negative_repeat_has_no_end() {
        let message = message(&[(PERIOD, long(100)), (REPEAT, PropertyValue::Int(-1))]);
        let Step::Deliver(Some(next)) = job(&message).step(10_100) else { panic!() };
        assert_eq!((next.left, next.delivered), (-1, 1));
    }

    #[test]
    fn each_time_of_a_cron_entry_begins_deliveries_of_its_own() {
        let every = PropertyValue::String("* * * * *".into());
        let repeat = PropertyValue::Int(1);
        let both = message(&[(CRON, every.clone()), (PERIOD, long(100)), (REPEAT, repeat)]);
        let at = job(&both);
        assert_eq!(at.due_ms, 60_000);
        let Step::Begin(Some(next), series) = at.step(60_000) else { panic!() };
        assert_eq!((next.due_ms, next.schedule.cron.is_some()), (120_000, true));
        assert_eq!((series.due_ms, series.left, series.is_series), (60_100, 1, true));
        let stored = series.stored(&both).expect("a map");
        assert_eq!(Job::of(&stored), Some(series));
        let alone = job(&message(&[(CRON, every)]));
        let Step::Deliver(Some(next)) = alone.step(65_000) else { panic!() };
        assert_eq!(next.due_ms, 120_000);
    }

    #[test]
    fn what_is_delivered_has_the_job_instead_of_the_schedule() {
        let sent = message(&[(DELAY, long(5)), ("color", PropertyValue::Byte(3))]);
        let job = job(&sent);
        let stored = job.stored(&sent).expect("a map");
        let delivered = job.delivery(&stored, 20_000, || panic!("it keeps its own"));
        let map =
            PropertyMap::decode(delivered.properties.as_deref().expect("some")).expect("a map");
        let id = PropertyValue::String(Text::clone(&job.id));
        assert_eq!((map.len(), map.get(JOB_ID)), (2, Some(&id)));
        assert_eq!(map.get("color"), Some(&PropertyValue::Byte(3)));
        assert_eq!(delivered.message_id, sent.message_id);
    }

    #[test]
    fn what_is_delivered_more_than_once_has_new_ids() {
        let sent = message(&[(DELAY, long(5)), (REPEAT, PropertyValue::Int(1))]);
        let job = job(&sent);
        let new = MessageId { producer_sequence: 1, ..MessageId::default() };
        let delivered = job.delivery(&job.stored(&sent).expect("a map"), 20_000, || new.clone());
        assert_eq!(delivered.message_id, Some(new));
    }

    #[test]
    fn the_time_to_live_begins_with_the_delivery() {
        let sent = message(&[(DELAY, long(5))]);
        let sent = Message { timestamp: 1_000, expiration: 1_500, ..sent };
        let job = job(&sent);
        let delivered = job.delivery(&sent, 20_000, MessageId::default);
        assert_eq!((delivered.timestamp, delivered.expiration), (20_000, 20_500));
        let timeless = Message { expiration: 0, ..sent };
        let delivered = job.delivery(&timeless, 20_000, MessageId::default);
        assert_eq!((delivered.timestamp, delivered.expiration), (1_000, 0));
    }

    proptest! {
        #[test]
        fn a_stored_job_comes_back_and_survives_damage(
            number: i64, start_ms: i64, due_ms: i64, left: i32, delivered: u32, flip: u8,
            at: prop::sample::Index,
        ) {
            let sent = message(&[(DELAY, long(5))]);
            let job = Job { number, start_ms, due_ms, left, delivered, ..job(&sent) };
            let mut stored = job.stored(&sent).expect("a map");
            prop_assert_eq!(Job::of(&stored), Some(job));
            prop_assert_eq!(Job::of(&sent), None);
            let mut map = stored.properties.as_deref().expect("some").to_vec();
            let at = at.index(map.len());
            map[at] ^= flip;
            stored.properties = Some(map.into());
            drop(Job::of(&stored)); // any answer, no panic
        }
    }
}
