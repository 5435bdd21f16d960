//! How the log is set up: defaults, then the log4j file beside the configuration, then the
//! environment variable `BROKER_LOG`.
//!
//! Of `log4j2.properties`, `log4j.properties` and `logging.properties` the first that exists is
//! read: levels, and path, size, count and daily rotation of the file appenders. Layouts, filters
//! and other appenders have no meaning here.

use super::rotate::FileSettings;
use super::{formats, properties};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{ParseError, Targets};

/// What the log shows and where it goes.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Which events are logged. INFO and above.
    pub(crate) filter: Targets,
    /// `broker.log`, or the name the root logger's file appender gives it.
    pub(crate) file: FileSettings,
    /// `audit.log`.
    pub(crate) audit: FileSettings,
    /// What in the log4j file could not be followed.
    pub(crate) ignored: Vec<Ignored>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read '{path}'")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("BROKER_LOG='{value}' is not a list of TARGET=LEVEL")]
    Filter {
        value: String,
        #[source]
        source: ParseError,
    },
}

/// An entry of the log4j file that has no effect, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    file: PathBuf,
    key: String,
    value: String,
    reason: &'static str,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, value, reason } = self;
        write!(f, "{}: ignored {key}={value}: {reason}", file.display())
    }
}

impl Settings {
    /// Reads the settings of a broker with its configuration in the folder `conf` and its data in
    /// `data`. `variable` resolves the `${name}` of the log4j file; `levels` is `BROKER_LOG`.
    pub(crate) fn read(
        conf: &Path,
        data: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
        levels: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader {
            path: PathBuf::new(),
            entries: BTreeMap::new(),
            variable,
            root: LevelFilter::INFO,
            levels: String::new(),
            file: FileSettings::new(data.join("broker.log")),
            audit: FileSettings::new(data.join("audit.log")),
            ignored: Vec::new(),
        };
        for (name, read) in formats::FORMATS {
            let path = conf.join(name);
            match fs::read(&path) {
                Ok(bytes) => {
                    reader.entries = properties::parse(&String::from_utf8_lossy(&bytes));
                    reader.path = path;
                    read(&mut reader);
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SettingsError::File { path, source }),
            }
        }
        // A later directive for the same target replaces the earlier one.
        let mut directives = format!("{}{}", reader.root, reader.levels);
        for level in levels.unwrap_or_default().split(',').filter(|level| !level.trim().is_empty())
        {
            directives.push(',');
            directives.push_str(level.trim());
        }
        let filter = directives.parse().map_err(|source| SettingsError::Filter {
            value: levels.unwrap_or_default().to_owned(),
            source,
        })?;
        let Reader { file, audit, ignored, .. } = reader;
        Ok(Self { filter, file, audit, ignored })
    }
}

/// A file being read into settings.
pub(super) struct Reader<'a> {
    path: PathBuf,
    pub(super) entries: BTreeMap<String, String>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    root: LevelFilter,
    /// `,target=level` for each logger.
    levels: String,
    file: FileSettings,
    audit: FileSettings,
    ignored: Vec<Ignored>,
}

/// Which of the two logs an appender writes.
#[derive(Clone, Copy)]
pub(super) enum Log {
    Main,
    Audit,
}

impl Reader<'_> {
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let entries = self.entries.iter();
        let rest =
            |(k, v): (&String, &String)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()));
        entries.filter_map(rest).collect()
    }

    fn log(&mut self, log: Log) -> &mut FileSettings {
        match log {
            Log::Main => &mut self.file,
            Log::Audit => &mut self.audit,
        }
    }

    fn ignore(&mut self, key: &str, value: &str, reason: &'static str) {
        let (file, key, value) = (self.path.clone(), key.to_owned(), value.to_owned());
        self.ignored.push(Ignored { file, key, value, reason });
    }

    /// The value at `key` with its `${name}` replaced.
    fn value(&mut self, key: &str) -> Option<String> {
        let value = self.entries.get(key)?.clone();
        let resolved = substitute(&value, self.variable);
        if resolved.is_none() {
            self.ignore(key, &value, "it names a variable that has no value");
        }
        resolved
    }

    /// The level that `key` begins with; the rest of a list are appenders.
    fn level(&mut self, key: &str) -> Option<LevelFilter> {
        let value = self.value(key)?;
        let name = value.split(',').next().unwrap_or_default().trim();
        let level = level(name);
        if level.is_none() && !name.is_empty() {
            self.ignore(key, &value, "not a level");
        }
        level
    }

    pub(super) fn read_root(&mut self, key: &str) {
        if let Some(level) = self.level(key) {
            self.root = level;
        }
    }

    pub(super) fn read_logger(&mut self, name: &str, key: &str) {
        let Some(target) = target(name) else { return }; // says nothing about this program
        if let Some(level) = self.level(key) {
            self.levels.push_str(&format!(",{target}={level}"));
        }
    }

    pub(super) fn read_path(&mut self, log: Log, key: &str) {
        let Some(value) = self.value(key) else { return };
        if value.is_empty() || value.contains('%') {
            self.ignore(key, &value, "patterns in file names are not supported");
        } else {
            self.log(log).path = value.into();
        }
    }

    /// When to rotate. A file that says neither size nor day keeps the defaults.
    pub(super) fn read_policy(&mut self, log: Log, size_key: Option<&str>, daily: bool) {
        let value = size_key.and_then(|key| Some((key, self.value(key)?)));
        let size = value.as_ref().and_then(|(_, value)| bytes(value));
        if let (Some((key, value)), None) = (&value, size) {
            self.ignore(key, value, "not a size");
        } else if size.is_some() || daily {
            let log = self.log(log);
            (log.bytes_max, log.daily) = (size, daily);
        }
    }

    pub(super) fn read_count(&mut self, log: Log, key: &str) {
        let Some(value) = self.value(key) else { return };
        match value.trim().parse::<u32>() {
            Ok(count) => self.log(log).closed_max = count.min(CLOSED_MAX),
            Err(_) => self.ignore(key, &value, "not a number"),
        }
    }
}

/// Replaces `${name}`, `${sys:name}`, `${env:NAME}` and their `:-default`. None if one has no value.
fn substitute(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let name = name.strip_prefix("sys:").or_else(|| name.strip_prefix("env:")).unwrap_or(name);
        out.push_str(before);
        out.push_str(&variable(name).or_else(|| default.map(str::to_owned))?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Levels of log4j and of `java.util.logging`, any case.
fn level(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "FATAL" | "ERROR" | "SEVERE" => LevelFilter::ERROR,
        "WARN" | "WARNING" => LevelFilter::WARN,
        "INFO" | "CONFIG" => LevelFilter::INFO,
        "DEBUG" | "FINE" => LevelFilter::DEBUG,
        "TRACE" | "ALL" | "FINER" | "FINEST" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// log4j's file sizes: digits and an optional KB, MB or GB. None if zero or not a size.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// The module that does here what the Java package or class `name` does there. Only exact names:
/// a level for one Java class must not silence a whole module.
fn target(name: &str) -> Option<&str> {
    let ours = name.split("::").next() == Some(CRATE)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_'));
    if ours {
        return Some(name);
    }
    TARGETS.iter().find(|(java, _)| *java == name).map(|(_, target)| *target)
}

const CRATE: &str = "broker";

pub(super) const AUDIT_LOGGER: &str = "org.apache.activemq.audit";

const TARGETS: [(&str, &str); 26] = [
    ("org.apache.activemq", "broker"),
    (AUDIT_LOGGER, super::AUDIT),
    ("org.apache.activemq.advisory", "broker::broker::advisory"),
    ("org.apache.activemq.broker", "broker::broker"),
    ("org.apache.activemq.broker.BrokerService", "broker::server"),
    ("org.apache.activemq.broker.TransportConnection", "broker::protocol"),
    ("org.apache.activemq.broker.TransportConnector", "broker::transport"),
    ("org.apache.activemq.broker.jmx", "broker::console"),
    ("org.apache.activemq.broker.region", "broker::broker::destination"),
    ("org.apache.activemq.broker.scheduler", "broker::broker::scheduler"),
    ("org.apache.activemq.broker.util.LoggingBrokerPlugin", "broker::broker::plugins::logging"),
    ("org.apache.activemq.jaas", "broker::security"),
    ("org.apache.activemq.network", "broker::network"),
    ("org.apache.activemq.openwire", "broker::protocol::openwire"),
    ("org.apache.activemq.security", "broker::security"),
    ("org.apache.activemq.store", "broker::store"),
    ("org.apache.activemq.store.jdbc", "broker::store::jdbc"),
    ("org.apache.activemq.store.kahadb", "broker::store::kahadb"),
    ("org.apache.activemq.store.memory", "broker::store::memory"),
    ("org.apache.activemq.transaction", "broker::broker::transaction"),
    ("org.apache.activemq.transport", "broker::transport"),
    ("org.apache.activemq.transport.amqp", "broker::protocol::amqp"),
    ("org.apache.activemq.transport.discovery", "broker::network::discovery"),
    ("org.apache.activemq.transport.mqtt", "broker::protocol::mqtt"),
    ("org.apache.activemq.transport.stomp", "broker::protocol::stomp"),
    ("org.apache.activemq.web", "broker::console"),
];

/// Each rotation renames every closed file.
const CLOSED_MAX: u32 = 1000;

#[cfg(test)]
mod tests;
