//! Configuration: `activemq.xml` and what it imports, into typed structs with ActiveMQ's names and
//! defaults.
//!
//! Text becomes a tree that knows its lines (`xml`), placeholders are replaced, then tables
//! (`table`) turn elements into the structs below. All errors of a file come at once, each with
//! file and line; what is accepted without effect is listed in [`Config::warnings`].
//!
//! Nothing here opens a socket, a store or a database. Uses `jms` for wildcards only.

mod broker;
mod changes;
mod connectors;
mod console;
mod data_source;
mod destination;
mod macros;
mod network;
mod options;
mod placeholders;
mod plugins;
mod policy;
mod reading;
mod report;
mod spelling;
mod spring;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod uri;
mod usage;
mod values;
mod virtual_destinations;
mod xml;

use std::path::{Path, PathBuf};

pub use broker::{
    BrokerConfig, IoExceptionHandler, IoExceptions, JobSchedulerStore, KahaDbJobs,
    LeaseIoExceptions, ManagementContext, PListStore, ShutdownHook, SslContext, TempDataStore,
};
pub use changes::Difference;
pub use connectors::{Listen, Protocol, PublishedAddressPolicy, PublishedHost, TransportConnector};
pub use console::{ConsoleConfig, ConsoleTls};
pub use data_source::{DataSource, DataSourceProperties, Database};
pub use destination::{AppliesTo, DestinationKind, DestinationList, DestinationName};
pub use network::{NetworkConnector, ProxyConnector, Reconnect};
pub use options::*;
pub use placeholders::Variables;
pub use plugins::*;
pub use policy::*;
pub use report::{ConfigError, ConfigErrors, Notice, Place, Problem, Remark, Subject, SubjectKind};
pub use store::*;
pub use units::{BadValue, DurationWithUnit, MemorySize, Percent, Secret};
pub use uri::{BrokerUri, UriError, UriOption, UriTarget};
pub use usage::{JobSchedulerUsage, MemoryUsage, StoreUsage, SystemUsage, TempUsage};
pub use virtual_destinations::*;

use changes::Origin;
use placeholders::Names;
use spring::Documents;
use table::{Bean as _, Reading};

/// A configuration that can be started.
#[derive(Clone, Debug)]
pub struct Config {
    /// The main file.
    pub file: PathBuf,
    pub broker: BrokerConfig,
    /// Only where jetty.xml is imported.
    pub console: Option<ConsoleConfig>,
    /// For the log, in file order.
    pub warnings: Vec<Notice>,
    /// `-Xmx` of ACTIVEMQ_OPTS_MEMORY or ACTIVEMQ_OPTS, bytes: what `percentOfJvmHeap` is a share
    /// of, if it was set.
    pub jvm_heap_bytes: Option<u64>,
    origin: Origin,
}

/// Reads the configuration at `location`: a path, `xbean:PATH`, `xbean:file:/PATH`, or `xbean:NAME`
/// for a file in the conf folder.
///
/// # Errors
/// Everything that is wrong with the file and those it imports.
pub fn load(location: &str, variables: Variables) -> Result<Config, ConfigErrors> {
    let file = file_of(location, &variables);
    let text = spring::read_text(&file)?;
    parse(&text, &file, variables)
}

fn file_of(location: &str, variables: &Variables) -> PathBuf {
    let Some(name) = location.strip_prefix("xbean:") else {
        return PathBuf::from(location);
    };
    if let Some(path) = name.strip_prefix("file:") {
        return PathBuf::from(path);
    }
    let in_conf = variables.conf_folder().join(name);
    if in_conf.exists() { in_conf } else { PathBuf::from(name) }
}

/// Reads `text` as the content of `file`, which decides where imports and properties files are
/// looked for, and which need not exist.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file: &Path, variables: Variables) -> Result<Config, ConfigErrors> {
    let given = variables.clone();
    let mut names = Names::new(file, variables);
    let mut documents = Documents::read(text, file, &names);
    documents.replace_placeholders(&mut names);

    let mut reading = Reading::new(documents.beans());
    let broker = documents.broker(file, &mut reading).and_then(|element| {
        let mut broker = BrokerConfig::of_element(element, &mut reading)?;
        broker::finish(&mut broker, &mut reading);
        Some((broker, Origin { variables: given, broker: element.clone() }))
    });
    let beans: Vec<_> = documents.elements.iter().filter(|e| e.name == "bean").collect();
    let console = console::read(&beans, names.variables(), &mut reading);
    documents.remark_on_the_rest(&mut reading);

    let Reading { mut errors, mut notices, .. } = reading;
    // A value whose placeholder could not be replaced has been reported already.
    errors.retain(
        |e| !matches!(&*e.problem, Problem::BadValue { value, .. } if value.contains("${")),
    );
    errors.append(&mut documents.errors);
    notices.append(&mut documents.notices);
    notices.sort_by(|a, b| a.place.cmp(&b.place));
    match broker {
        Some((broker, origin)) if errors.is_empty() => Ok(Config {
            file: file.to_owned(),
            broker,
            origin,
            console,
            warnings: notices,
            jvm_heap_bytes: names.variables().jvm_heap_bytes(),
        }),
        _ => Err(ConfigErrors::new(errors)),
    }
}
