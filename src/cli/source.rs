//! Which configuration a command works on, and where its broker keeps its files.

use super::log::Settings;
use super::{CliError, terminal};
use crate::config::{self, Config, Variables};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The arguments that choose a configuration.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Source {
    /// Configuration file [default: broker.xml or activemq.xml in $ACTIVEMQ_CONF, else in conf]
    #[arg(short, long, value_name = "FILE")]
    config: Option<String>,
    /// The same in ActiveMQ's form: xbean:file:/path/activemq.xml, xbean:activemq.xml
    #[arg(value_name = "CONFIG", conflicts_with = "config")]
    uri: Option<String>,
    /// Gives ${NAME} in the configuration a value; may be repeated
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    definitions: Vec<Definition>,
}

/// `name=value`; `name` alone has the empty value, as for Java.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Definition {
    name: String,
    value: String,
}

#[derive(Debug, thiserror::Error)]
#[error("a name is missing before '='")]
struct UnnamedDefinition;

impl FromStr for Definition {
    type Err = UnnamedDefinition;

    fn from_str(text: &str) -> Result<Self, UnnamedDefinition> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(UnnamedDefinition);
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl Source {
    /// The configuration as it was given, else the default one.
    pub(super) fn location(&self) -> Result<String, CliError> {
        if let Some(location) = self.config.as_ref().or(self.uri.as_ref()) {
            return Ok(location.clone());
        }
        let conf = self.variable("activemq.conf").map(PathBuf::from);
        let folders = conf.into_iter().chain([PathBuf::from("conf")]);
        let candidates: Vec<_> =
            folders.flat_map(|f| [f.join("broker.xml"), f.join("activemq.xml")]).collect();
        match candidates.iter().find(|path| path.exists()) {
            Some(path) => Ok(path.to_string_lossy().into_owned()),
            None => Err(CliError::NoConfiguration { candidates }),
        }
    }

    pub(super) fn load(&self) -> Result<Config, CliError> {
        let location = self.location()?;
        let mut variables = Variables::from_environment();
        for Definition { name, value } in &self.definitions {
            variables.define(name, value);
        }
        config::load(&location, variables)
            .map_err(|errors| CliError::Configuration { path: location, errors })
    }

    /// Like [`load`](Self::load), and shows the warnings.
    pub(super) fn load_loudly(&self) -> Result<Config, CliError> {
        let config = self.load()?;
        for warning in &config.warnings {
            let level = if warning.is_information() { "INFO" } else { "WARN" };
            terminal::error(format_args!("{level}: {warning}"));
        }
        Ok(config)
    }

    /// Where a broker on this configuration keeps its pid file. Also found while the configuration
    /// has errors: whoever broke it must still be able to stop the broker.
    pub(super) fn pid_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = pid_path_from_environment() {
            return Ok(path);
        }
        match self.load() {
            Ok(config) => Ok(pid_path(&config)),
            Err(e) => {
                let data = self.variable("activemq.data").ok_or(e)?;
                terminal::error(format_args!(
                    "WARN: the configuration has errors; looking for the pid file in '{data}'"
                ));
                Ok(pid_path_in(Path::new(&data)))
            }
        }
    }

    pub(super) fn log_settings(&self, config: &Config) -> Result<Settings, CliError> {
        let levels = env::var("BROKER_LOG").ok();
        let conf = config.file.parent().unwrap_or_else(|| Path::new(""));
        let variable = |name: &str| {
            self.variable(name)
                .or_else(|| self.default_place(name, config))
                .or_else(|| env::var(name).ok())
        };
        let data = &config.broker.data_directory;
        Ok(Settings::read(conf, data, &variable, levels.as_deref())?)
    }

    /// These arguments once more, for another process.
    pub(super) fn to_arguments(&self) -> Vec<OsString> {
        let config = self.config.iter().map(|file| format!("--config={file}"));
        let definitions = self.definitions.iter().map(|d| format!("-D{}={}", d.name, d.value));
        // After `--`, as a location may begin with a hyphen.
        let uri = self.uri.iter().flat_map(|uri| ["--".to_owned(), uri.clone()]);
        config.chain(definitions).chain(uri).map(OsString::from).collect()
    }

    /// The value of a `-D` option or, for ActiveMQ's own places, of their environment variable.
    fn variable(&self, name: &str) -> Option<String> {
        // As for Java, the last of two definitions counts.
        let defined = self.definitions.iter().rev().find(|definition| definition.name == name);
        defined.map(|definition| definition.value.clone()).or_else(|| {
            let (_, variable) = PLACES.iter().find(|(place, _)| *place == name)?;
            env::var(variable).ok()
        })
    }

    /// What ActiveMQ's places are if nothing names them.
    fn default_place(&self, name: &str, config: &Config) -> Option<String> {
        let conf = config.file.parent().unwrap_or_else(|| Path::new(""));
        let path = match name {
            "activemq.conf" => conf.to_owned(),
            "activemq.base" => conf.join(".."),
            "activemq.home" => {
                return self
                    .variable("activemq.base")
                    .or_else(|| self.default_place("activemq.base", config));
            }
            "activemq.data" => config.broker.data_directory.clone(),
            _ => return None,
        };
        Some(path.to_string_lossy().into_owned())
    }
}

/// Where a broker on `config` keeps its pid file.
pub(super) fn pid_path(config: &Config) -> PathBuf {
    pid_path_from_environment().unwrap_or_else(|| pid_path_in(&config.broker.data_directory))
}

/// Where a broker whose data directory is `data` keeps it, unless told otherwise.
pub(super) fn pid_path_in(data: &Path) -> PathBuf {
    data.join(PID_FILE)
}

fn pid_path_from_environment() -> Option<PathBuf> {
    env::var_os("ACTIVEMQ_PIDFILE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

const PID_FILE: &str = "broker.pid";

const PLACES: [(&str, &str); 4] = [
    ("activemq.home", "ACTIVEMQ_HOME"),
    ("activemq.base", "ACTIVEMQ_BASE"),
    ("activemq.conf", "ACTIVEMQ_CONF"),
    ("activemq.data", "ACTIVEMQ_DATA"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_read_as_java_reads_them() {
        let read = |text: &str| text.parse::<Definition>().map(|d| (d.name, d.value)).ok();
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("a.b=c=d"), pair("a.b", "c=d"));
        assert_eq!(read("a"), pair("a", ""));
        assert_eq!(read("=x"), None);
    }

    #[test]
    fn arguments_survive_being_passed_on() {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            source: Source,
        }
        let parse = |arguments: Vec<OsString>| {
            let program = [OsString::from("broker")];
            <Only as clap::Parser>::try_parse_from(program.into_iter().chain(arguments)).unwrap()
        };
        for line in ["--config=-x.xml -Da=b -Dc", "-Da=b=c xbean:file:/x", "-Da=1 -Da=2 -- -y.xml"]
        {
            let first = parse(line.split(' ').map(OsString::from).collect()).source;
            let again = parse(first.to_arguments()).source;
            assert_eq!(again.location().unwrap(), first.location().unwrap());
            assert_eq!(again.definitions, first.definitions);
        }
    }
}
