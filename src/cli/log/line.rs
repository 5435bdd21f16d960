//! One event as one line: `2024-01-01 12:00:00,000 | INFO  | message key=value | module | thread`,
//! log4j's pattern `%d | %-5p | %m | %c | %t` as ActiveMQ uses it.
//!
//! Messages and values may come from a peer: control characters are escaped, so that nobody can
//! forge a line or talk to the terminal, and a line ends at [`BODY_BYTES_MAX`].

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::error::Error;
use std::fmt::{self, Write};
use tracing::Level;
use tracing::field::{Field, Visit};

/// Log stamps in local time. Breaking a time down costs more than a line, so the text of the
/// current second is kept.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    second: i64,
    date: Date,
    text: String,
}

/// The time of one event: its day, and `2024-01-01 12:00:00,000`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<'a> {
    pub(super) date: Date,
    second: &'a str,
    millisecond: i64,
}

impl Clock {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, second: i64::MIN, date: Date::ZERO, text: String::new() }
    }

    pub(super) fn stamp(&mut self, now: Timestamp) -> Stamp<'_> {
        let second = now.as_millisecond().div_euclid(1000);
        if second != self.second {
            self.second = second;
            let now: Zoned = now.to_zoned(self.zone.clone());
            self.date = now.date();
            self.text = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        let millisecond = now.as_millisecond().rem_euclid(1000);
        Stamp { date: self.date, second: &self.text, millisecond }
    }
}

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{:03}", self.second, self.millisecond)
    }
}

/// What an event says: its message, then ` key=value` for every other field.
///
/// A value with white space in it stands in double quotes.
#[derive(Debug, Default)]
pub(super) struct Body {
    text: String,
    fields: String,
    value: String,
}

impl Body {
    /// Reads `event`, replacing what was read before.
    pub(super) fn read(&mut self, event: &tracing::Event<'_>) -> &str {
        self.text.clear();
        self.fields.clear();
        event.record(self);
        if self.text.is_empty() {
            self.text.push_str(self.fields.trim_start());
        } else {
            self.text.push_str(&self.fields);
        }
        &self.text
    }

    fn record(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // A `Display` that fails leaves what it has written so far.
        if field.name() == "message" {
            Escaped(&mut self.text).write_fmt(value).ok();
            return;
        }
        self.value.clear();
        Escaped(&mut self.value).write_fmt(value).ok();
        if self.fields.len() + self.value.len() > BODY_BYTES_MAX {
            return;
        }
        let plain = !self.value.is_empty() && !self.value.contains(char::is_whitespace);
        let quote = if plain || self.value.starts_with('"') { "" } else { "\"" };
        self.fields.extend([" ", field.name(), "=", quote, &self.value, quote]);
    }
}

impl Visit for Body {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, format_args!("{value}"));
    }

    /// The whole chain: what failed, why, why that.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record(field, format_args!("{}", Chain(value)));
    }
}

/// An error with its sources: `cannot write db-1.log: No space left on device`.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let sources = std::iter::successors(self.0.source(), |e| (*e).source());
        for source in sources.take(CHAIN_MAX) {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

/// Writes the line of one event, with its newline, to the end of `out`.
pub(super) fn write_line(
    out: &mut String,
    stamp: Stamp<'_>,
    level: Level,
    body: &str,
    target: &str,
) {
    writeln!(out, "{stamp} | {level:<5} | {body} | {target} | {ThreadName}").ok();
}

/// The same for the audit log: pattern `%-5p | %m | %t`.
pub(super) fn write_audit_line(out: &mut String, level: Level, body: &str) {
    writeln!(out, "{level:<5} | {body} | {ThreadName}").ok();
}

/// The name of the current thread, or its number.
struct ThreadName;

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = std::thread::current();
        match thread.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:?}", thread.id()),
        }
    }
}

/// Escapes control characters and those that change a terminal's writing direction.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if self.0.len() >= BODY_BYTES_MAX {
            return Err(fmt::Error);
        }
        let unsafe_to_show = c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if unsafe_to_show {
            self.0.extend(c.escape_default());
        } else {
            self.0.push(c);
        }
        Ok(())
    }
}

/// Messages are cut here; a field that would not fit is left out. Far more than any sentence, and
/// little enough that a peer that is logged often cannot fill the disk with few requests.
const BODY_BYTES_MAX: usize = 16 << 10;

/// How many sources of an error are shown, should a chain not end.
const CHAIN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    #[derive(Clone, Default)]
    struct Bodies(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Bodies {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Body::default().read(event).to_owned());
        }
    }

    fn bodies(log: impl FnOnce()) -> Vec<String> {
        let bodies = Bodies::default();
        let subscriber = tracing_subscriber::registry().with(bodies.clone());
        tracing::subscriber::with_default(subscriber, log);
        bodies.0.lock().unwrap().clone()
    }

    #[test]
    fn stamps_are_local_and_follow_the_clock() {
        let mut clock = Clock::new(TimeZone::fixed(jiff::tz::offset(2)));
        for (at, text) in [
            ("2024-01-01T10:00:00.007Z", "2024-01-01 12:00:00,007"),
            ("2024-01-01T10:00:00.999Z", "2024-01-01 12:00:00,999"),
            ("2024-01-01T22:00:01Z", "2024-01-02 00:00:01,000"),
            ("1969-12-31T23:59:59.5Z", "1970-01-01 01:59:59,500"),
        ] {
            assert_eq!(clock.stamp(at.parse().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn a_line_has_the_columns_of_activemq() {
        let mut clock = Clock::new(TimeZone::UTC);
        let stamp = clock.stamp("2024-01-01T12:00:00Z".parse().unwrap());
        let mut line = String::new();
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("main".to_owned())
                .spawn_scoped(scope, || {
                    write_line(&mut line, stamp, Level::INFO, "Connector openwire started", "a::b");
                    write_audit_line(&mut line, Level::WARN, "admin called purge");
                })
                .unwrap();
        });
        assert_eq!(
            line,
            "2024-01-01 12:00:00,000 | INFO  | Connector openwire started | a::b | main\n\
             WARN  | admin called purge | main\n"
        );
    }

    #[test]
    fn fields_follow_the_message_and_are_quoted_if_needed() {
        let error = io::Error::other("disk full");
        let lines = bodies(|| {
            let queue = "ORDERS";
            tracing::info!(%queue, count = 3, name = "a b", empty = "", "purge of {} messages", 3);
            tracing::info!(error = &error as &(dyn Error + 'static));
        });
        let expected = "purge of 3 messages queue=ORDERS count=3 name=\"a b\" empty=\"\"";
        assert_eq!(lines, [expected, "error=\"disk full\""]);
    }

    #[test]
    fn a_peer_can_neither_forge_a_line_nor_write_an_endless_one() {
        let lines = bodies(|| {
            let id = "x\r\n2024-01-01 12:00:00,000 | ERROR | \u{1b}[2J\u{202e}\u{85}";
            tracing::warn!(client_id = %id, "client said {id}");
            tracing::warn!("{}", "y".repeat(1 << 20));
        });
        assert!(
            lines[0].contains(r"x\r\n2024-01-01 12:00:00,000 | ERROR | \u{1b}[2J\u{202e}\u{85}")
        );
        assert!(!lines[0].contains(char::is_control));
        assert_eq!(lines[1].len(), BODY_BYTES_MAX);
    }
}
