//! When a message wants to be delivered, as its properties say.

use super::cron::{Cron, CronError};
use crate::jms::properties::{self, ValueRef};
use crate::jms::{Message, Text};
use jiff::tz::TimeZone;

/// Wait before the first delivery, ms.
pub const DELAY: &str = "AMQ_SCHEDULED_DELAY";
/// Time between deliveries, ms.
pub const PERIOD: &str = "AMQ_SCHEDULED_PERIOD";
/// Deliveries after the first; -1: for ever.
pub const REPEAT: &str = "AMQ_SCHEDULED_REPEAT";
/// See [`Cron`].
pub const CRON: &str = "AMQ_SCHEDULED_CRON";
/// The job a message was delivered by.
pub const JOB_ID: &str = "scheduledJobId";

/// What all of the above but the last begin with.
const PREFIX: &[u8] = b"AMQ_SCHEDULED_";

/// When a message is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// ms, at least 0.
    pub delay_ms: i64,
    /// ms, at least 0.
    pub period_ms: i64,
    /// Deliveries after the first; negative: for ever.
    pub repeat: i32,
    /// As the message has it.
    pub cron: Option<(Text, Cron)>,
}

/// Why a message cannot be scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("The scheduled repeat value is too large")]
    TooManyRepeats,
    #[error("The property {0} is not a number")]
    NotANumber(&'static str),
    #[error(transparent)]
    Cron(#[from] CronError),
    #[error("the properties of the message cannot be read")]
    Properties,
}

impl Schedule {
    /// The schedule of `message`; none if it is to be delivered at once, or was scheduled before.
    ///
    /// # Errors
    /// When it makes no sense, or wants more than `repeats_max` repetitions.
    pub fn of(message: &Message, repeats_max: u32) -> Result<Option<Self>, ScheduleError> {
        let Some(map) = message.properties.as_deref() else { return Ok(None) };
        // Hardly any message has one.
        if !map.windows(PREFIX.len()).any(|window| window == PREFIX) {
            return Ok(None);
        }
        if value(map, JOB_ID)?.is_some() {
            return Ok(None);
        }
        let (delay, period) = (number(map, DELAY)?, number(map, PERIOD)?);
        let cron = match value(map, CRON)? {
            None => None,
            Some(ValueRef::String(text)) => Some(Text::from(&*text)),
            Some(_) => return Err(CronError::Fields(0, String::new()).into()),
        };
        if delay.is_none() && period.is_none() && cron.is_none() {
            return Ok(None);
        }
        let repeat = number(map, REPEAT)?.unwrap_or(0);
        let repeat = i32::try_from(repeat).map_err(|_| ScheduleError::TooManyRepeats)?;
        if u32::try_from(repeat).is_ok_and(|repeat| repeat > repeats_max) {
            return Err(ScheduleError::TooManyRepeats);
        }
        let cron = cron.filter(|text| !text.is_empty());
        let cron = cron.map(|text| Cron::parse(&text).map(|cron| (text, cron))).transpose()?;
        Ok(Some(Self {
            delay_ms: delay.unwrap_or(0).max(0),
            period_ms: period.unwrap_or(0).max(0),
            repeat,
            cron,
        }))
    }

    /// When a message that was sent at `now_ms` is due for the first time.
    pub fn first(&self, now_ms: i64) -> i64 {
        self.next_cron(now_ms).unwrap_or_else(|| self.first_of_series(now_ms))
    }

    /// When the deliveries that `start_ms` begins begin.
    pub fn first_of_series(&self, start_ms: i64) -> i64 {
        let wait = if self.delay_ms > 0 { self.delay_ms } else { self.period_ms };
        start_ms.saturating_add(wait)
    }

    /// When a message that was due at `due_ms` and is delivered at `now_ms` is due again. What was missed
    /// is not made up for.
    pub fn again(&self, due_ms: i64, now_ms: i64) -> i64 {
        // Without a period it would be due again and again in the same moment.
        let period = self.period_ms.max(1);
        let next = due_ms.saturating_add(period);
        if next > now_ms { next } else { now_ms.saturating_add(period) }
    }

    /// The next time of the cron entry, by the clock of this machine's time zone.
    pub fn next_cron(&self, now_ms: i64) -> Option<i64> {
        self.cron.as_ref().and_then(|(_, cron)| cron.next(now_ms, &TimeZone::system()))
    }

    /// Whether each time of the cron entry begins deliveries of their own.
    pub fn begins_series(&self) -> bool {
        self.cron.is_some() && (self.repeat != 0 || self.delay_ms > 0)
    }
}

/// A property that is there and not null.
pub(super) fn value<'a>(map: &'a [u8], name: &str) -> Result<Option<ValueRef<'a>>, ScheduleError> {
    let found = properties::find(map, name).map_err(|_| ScheduleError::Properties)?;
    Ok(found.filter(|value| *value != ValueRef::Null))
}

/// A whole number, of whatever type.
pub(super) fn number(map: &[u8], name: &'static str) -> Result<Option<i64>, ScheduleError> {
    let Some(value) = value(map, name)? else { return Ok(None) };
    let number = match value {
        ValueRef::Byte(value) => Some(value.into()),
        ValueRef::Short(value) => Some(value.into()),
        ValueRef::Int(value) => Some(value.into()),
        ValueRef::Long(value) => Some(value),
        ValueRef::String(text) => text.parse().ok(),
        _ => None,
    };
    number.map(Some).ok_or(ScheduleError::NotANumber(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::properties::{PropertyMap, PropertyValue};

    fn message(properties: &[(&str, PropertyValue)]) -> Message {
        let map: PropertyMap =
            properties.iter().map(|(name, value)| (Text::from(*name), value.clone())).collect();
        Message { properties: Some(map.encode().expect("a map")), ..Message::default() }
    }

    fn of(properties: &[(&str, PropertyValue)]) -> Result<Option<Schedule>, ScheduleError> {
        Schedule::of(&message(properties), 1000)
    }

    #[test]
    fn a_message_without_delay_period_or_cron_is_not_scheduled() {
        let text = |text: &str| PropertyValue::String(text.into());
        assert_eq!(Schedule::of(&Message::default(), 1000), Ok(None));
        assert_eq!(of(&[("color", text("red"))]), Ok(None));
        assert_eq!(of(&[(REPEAT, PropertyValue::Int(3))]), Ok(None));
        assert_eq!(of(&[(DELAY, PropertyValue::Null)]), Ok(None));
        let delay = PropertyValue::Long(5);
        assert_eq!(of(&[(DELAY, delay), (JOB_ID, text("ID:a:1"))]), Ok(None), "it was before");
    }

    #[test]
    fn numbers_may_have_any_whole_type_or_be_texts() {
        let text = |text: &str| PropertyValue::String(text.into());
        let read =
            of(&[(DELAY, text("5")), (PERIOD, PropertyValue::Short(7)), (REPEAT, text("2"))]);
        let expected = Schedule { delay_ms: 5, period_ms: 7, repeat: 2, cron: None };
        assert_eq!(read, Ok(Some(expected)));
        assert_eq!(of(&[(DELAY, text("soon"))]), Err(ScheduleError::NotANumber(DELAY)));
        assert_eq!(
            of(&[(DELAY, PropertyValue::Bool(true))]),
            Err(ScheduleError::NotANumber(DELAY))
        );
    }

    #[test]
    fn more_repetitions_than_allowed_are_refused() {
        let with = |repeat| of(&[(DELAY, PropertyValue::Long(1)), (REPEAT, repeat)]);
        assert!(with(PropertyValue::Int(1000)).is_ok());
        assert_eq!(with(PropertyValue::Int(1001)), Err(ScheduleError::TooManyRepeats));
        assert_eq!(with(PropertyValue::Long(1 << 40)), Err(ScheduleError::TooManyRepeats));
        assert!(with(PropertyValue::Int(-1)).is_ok_and(|s| s.is_some_and(|s| s.repeat == -1)));
    }

    #[test]
    fn the_first_delivery_is_after_the_delay_or_else_after_a_period() {
        let schedule =
            |delay_ms, period_ms| Schedule { delay_ms, period_ms, ..Schedule::default() };
        assert_eq!(schedule(5, 100).first(1000), 1005);
        assert_eq!(schedule(0, 100).first(1000), 1100);
        assert_eq!(schedule(0, 0).first(1000), 1000);
        assert_eq!(schedule(i64::MAX, 0).first(1000), i64::MAX);
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let schedule = Schedule { period_ms: 100, repeat: 5, ..Schedule::default() };
        assert_eq!(schedule.again(1000, 1003), 1100, "no drift");
        assert_eq!(schedule.again(1000, 5003), 5103);
        let without = Schedule { repeat: -1, ..Schedule::default() };
        assert_eq!(without.again(1000, 1000), 1001);
    }
}
