//! Cron entries: five fields `minute hour day-of-month month day-of-week`, in a time zone.
//!
//! A field is `*` (or `?`), a number, a list `a,b`, a range `a-b`, or one of these with `/n`, which leaves the
//! values that `n` divides: `10-30/7` is 14, 21 and 28. Sunday is 0. There are no names.
//!
//! If both days are restricted, either will do. An entry with hours fires once at each of them, though clocks
//! are changed: a time that is skipped is one hour later, one that comes twice counts the first time. An entry
//! for every hour goes on with the clock.
//!
//! ActiveMQ takes numbers that no clock shows, passes over days that it should not if both are restricted, and
//! fires on the first of March for a 29th of February that does not come; the rest is as there.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What a message's `AMQ_SCHEDULED_CRON` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: Values,
    hours: Values,
    days: Values,
    months: Values,
    weekdays: Values,
}

/// The values of one field, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Values(u64);

/// Why an entry is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("Not a valid cron entry - wrong number of tokens({0}): {1}")]
    Fields(usize, String),
    #[error("Invalid token: {token} in the {field} field of a cron entry")]
    Token { field: &'static str, token: String },
    #[error("Unable to compute next scheduled execution time of cron entry {0}")]
    Never(String),
}

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
}

const MINUTES: Field = Field { name: "minutes", first: 0, last: 59 };
const HOURS: Field = Field { name: "hours", first: 0, last: 23 };
const DAYS: Field = Field { name: "day of month", first: 1, last: 31 };
const MONTHS: Field = Field { name: "month", first: 1, last: 12 };
const WEEKDAYS: Field = Field { name: "day of week", first: 0, last: 6 };

impl Cron {
    /// Reads an entry.
    ///
    /// # Errors
    /// When it is none, or there is no such day.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let tokens: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = tokens.as_slice() else {
            return Err(CronError::Fields(tokens.len(), text.to_owned()));
        };
        let cron = Self {
            minutes: MINUTES.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days: DAYS.parse(days)?,
            months: MONTHS.parse(months)?,
            weekdays: WEEKDAYS.parse(weekdays)?,
        };
        let leap_year = Date::constant(2024, 1, 1);
        let mut days = std::iter::successors(Some(leap_year), |day| day.tomorrow().ok());
        match days.by_ref().take(366).any(|day| cron.has_day(day)) {
            true => Ok(cron),
            false => Err(CronError::Never(text.to_owned())),
        }
    }

    /// The first time after `after_ms`, ms since the epoch, on a clock in `zone`. None when no clock
    /// reaches so far.
    pub fn next(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        let next = if self.hours.is_all(&HOURS) {
            self.next_by_minutes(after, zone)
        } else {
            self.next_by_clock(after, zone)
        };
        next.map(Timestamp::as_millisecond)
    }

    /// Looks at one minute after the other, as they pass.
    fn next_by_minutes(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) + 1;
        let mut at = Timestamp::from_second(minute * 60).ok()?;
        for _ in 0..STEPS_MAX {
            let clock = zone.to_datetime(at);
            if !self.has_day(clock.date()) {
                let day = self.day_from(clock.date().tomorrow().ok()?)?;
                let start = zone.to_timestamp(day.to_datetime(Time::midnight())).ok()?;
                at = start.max(at.checked_add(Span::new().minutes(1)).ok()?);
            } else if !self.minutes.has(clock.minute()) {
                at = at.checked_add(Span::new().minutes(1)).ok()?;
            } else {
                return Some(at);
            }
        }
        None
    }

    /// Looks at the clock's times of day, whenever they are.
    fn next_by_clock(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let clock = zone.to_datetime(after);
        let mut from = clock.with().second(0).subsec_nanosecond(0).build().ok()?;
        for _ in 0..STEPS_MAX {
            from = self.clock_from(from.checked_add(Span::new().minutes(1)).ok()?)?;
            // The first of two, and what comes instead of none.
            let at = zone.to_timestamp(from).ok()?;
            if at > after {
                return Some(at);
            }
        }
        None
    }

    /// The first time of the entry that is not before `from`.
    fn clock_from(&self, from: DateTime) -> Option<DateTime> {
        let mut day = self.day_from(from.date())?;
        let mut earliest = if day == from.date() { from.time() } else { Time::midnight() };
        loop {
            let hours = (earliest.hour()..24).filter(|hour| self.hours.has(*hour));
            for hour in hours {
                let first = if hour == earliest.hour() { earliest.minute() } else { 0 };
                if let Some(minute) = (first..60).find(|minute| self.minutes.has(*minute)) {
                    return Some(day.at(hour, minute, 0, 0));
                }
            }
            day = self.day_from(day.tomorrow().ok()?)?;
            earliest = Time::midnight();
        }
    }

    /// The first day of the entry that is not before `from`.
    fn day_from(&self, from: Date) -> Option<Date> {
        let days = std::iter::successors(Some(from), |day| day.tomorrow().ok());
        days.take(DAYS_MAX).find(|day| self.has_day(*day))
    }

    fn has_day(&self, day: Date) -> bool {
        let by_number = self.days.has(day.day());
        let by_name = self.weekdays.has(day.weekday().to_sunday_zero_offset());
        let any = !self.days.is_all(&DAYS) && !self.weekdays.is_all(&WEEKDAYS);
        let is_one = if any { by_number || by_name } else { by_number && by_name };
        is_one && self.months.has(day.month())
    }
}

/// Minutes of a day twice: more are never looked at, because days are passed over whole.
const STEPS_MAX: usize = 2 * 24 * 60;

/// The 29th of February comes again after eight years at the latest.
const DAYS_MAX: usize = 9 * 366;

impl Values {
    /// Negative values are in no field.
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| value < 64 && self.0 >> value & 1 == 1)
    }

    fn is_all(self, field: &Field) -> bool {
        self == field.all()
    }
}

impl Field {
    fn all(&self) -> Values {
        Values((self.first..=self.last).fold(0, |bits, value| bits | 1 << value))
    }

    fn parse(&self, token: &str) -> Result<Values, CronError> {
        let values = match token.split_once('/') {
            None => self.values(token),
            Some((of, step)) => self.values(of).zip(number(step)).and_then(|(of, step)| {
                let left =
                    |value: &u32| of.0 >> value & 1 == 1 && value.checked_rem(step) == Some(0);
                (step > 0).then(|| {
                    let left = (self.first..=self.last).filter(left);
                    Values(left.fold(0, |bits, value| bits | 1 << value))
                })
            }),
        };
        let wrong = || CronError::Token { field: self.name, token: token.to_owned() };
        values.filter(|values| values.0 != 0).ok_or_else(wrong)
    }

    fn values(&self, token: &str) -> Option<Values> {
        if token == "*" || token == "?" {
            return Some(self.all());
        }
        let mut bits = 0;
        for part in token.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first < self.first || last > self.last || first > last {
                return None;
            }
            bits |= (first..=last).fold(0, |bits, value| bits | 1 << value);
        }
        Some(Values(bits))
    }
}

/// Digits only; Rust's own reading takes a sign too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str, zone: &TimeZone) -> i64 {
        let civil: DateTime = text.parse().expect("a date");
        zone.to_timestamp(civil).expect("in range").as_millisecond()
    }

    fn shown(ms: i64, zone: &TimeZone) -> String {
        zone.to_datetime(Timestamp::from_millisecond(ms).expect("in range")).to_string()
    }

    fn next_in(entry: &str, after: &str, zone: &TimeZone) -> String {
        let cron = Cron::parse(entry).expect("an entry");
        shown(cron.next(ms(after, zone), zone).expect("there is one"), zone)
    }

    /// As any calendar, and CronParser of ActiveMQ 5.17.2, which only takes the first of March 2025 for
    /// the next 29th of February.
    #[test]
    fn the_next_time_is_the_first_that_the_entry_names() {
        for (entry, after, next) in [
            ("* * * * *", "2024-02-28T23:59:30", "2024-02-29T00:00:00"),
            ("* * * * *", "2024-02-28T23:59:00", "2024-02-29T00:00:00"),
            ("0 * * * *", "2024-03-01T10:00:00", "2024-03-01T11:00:00"),
            ("*/15 * * * *", "2024-03-01T10:50:01", "2024-03-01T11:00:00"),
            ("10-30/7 * * * *", "2024-03-01T10:15:00", "2024-03-01T10:21:00"),
            ("5,35 9-17 * * *", "2024-03-01T17:35:00", "2024-03-02T09:05:00"),
            ("0 12 * * 1-5", "2024-03-01T12:00:00", "2024-03-04T12:00:00"),
            ("0 0 * * 0", "2024-03-01T12:00:00", "2024-03-03T00:00:00"),
            ("0 0 31 * *", "2024-03-31T00:00:00", "2024-05-31T00:00:00"),
            ("30 6 1 1 *", "2024-01-01T06:30:00", "2025-01-01T06:30:00"),
            ("0 0 29 2 *", "2024-03-01T00:00:00", "2028-02-29T00:00:00"),
            ("0 0 1 ? *", "2024-12-31T23:59:59", "2025-01-01T00:00:00"),
        ] {
            assert_eq!(next_in(entry, after, &TimeZone::UTC), next, "{entry} after {after}");
        }
    }

    #[test]
    fn if_both_days_are_restricted_either_will_do() {
        let utc = TimeZone::UTC;
        assert_eq!(next_in("0 0 15 * 1", "2024-03-08T12:00:00", &utc), "2024-03-11T00:00:00");
        assert_eq!(next_in("0 0 15 * 1", "2024-03-11T00:00:00", &utc), "2024-03-15T00:00:00");
    }

    #[test]
    fn an_hour_that_is_named_comes_once_though_clocks_are_changed() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        // 02:30 is skipped on 31 March and comes twice on 27 October.
        assert_eq!(next_in("30 2 * * *", "2024-03-30T12:00:00", &zone), "2024-03-31T03:30:00");
        assert_eq!(next_in("30 2 * * *", "2024-03-31T12:00:00", &zone), "2024-04-01T02:30:00");
        let cron = Cron::parse("30 2 * * *").expect("an entry");
        let first = cron.next(ms("2024-10-27T01:00:00", &zone), &zone).expect("there is one");
        assert_eq!(shown(first, &zone), "2024-10-27T02:30:00");
        let then = cron.next(first, &zone).expect("there is one");
        assert_eq!(shown(then, &zone), "2024-10-28T02:30:00");
    }

    #[test]
    fn every_half_hour_goes_on_though_clocks_are_changed() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let cron = Cron::parse("*/30 * * * *").expect("an entry");
        for day in ["2024-03-31T00:00:00", "2024-10-27T00:00:00"] {
            let mut at = ms(day, &zone);
            for _ in 0..12 {
                let next = cron.next(at, &zone).expect("there is one");
                assert_eq!(next - at, 30 * 60_000);
                at = next;
            }
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for entry in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 7",
            "a * * * *",
            "*/0 * * * *",
            "5/10 * * * *",
            "5-1 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            ", * * * *",
            "1-10/2,30 * * * *",
            "* * * JAN *",
            "0 0 30 2 *",
            "99999999999999999999 * * * *",
            "*/99999999999 * * * *",
        ] {
            assert!(Cron::parse(entry).is_err(), "{entry}");
        }
        let error = Cron::parse("* * * *").expect_err("four fields").to_string();
        assert_eq!(error, "Not a valid cron entry - wrong number of tokens(4): * * * *");
    }
}
