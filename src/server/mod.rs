//! The composition root: configuration in, a running broker out. The order of start and stop is here.
//!
//! A broker whose store another one has open is a slave: [`Server::start`] waits for the lock before it opens
//! anything, no port either. The lock is the last thing to go. When it is lost, nothing is confirmed any more
//! (the store asks [`Mastership::check`]), ports and connections close, and the process ends.

pub mod connector;
pub mod disk;
mod note;
mod plan;
pub mod store;

pub use note::Note;
pub use plan::Plan;

use crate::broker::Broker;
use crate::broker::error::BrokerError;
use crate::config::{Config, PersistenceAdapter};
use crate::ha::{LockError, Mastership, SharedFile, become_master};
use crate::jms::{BrokerId, Text};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use connector::Connector;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{LockPlan, StorePlan};

/// The ActiveMQ release whose behaviour clients can count on; told where a protocol has a field for it.
pub const COMPATIBLE_VERSION: &str = "5.17.2";

/// Why a broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "Transport Connector {name} could not be opened: failed to bind to server socket: {uri} due to: {source}"
    )]
    Bind { name: Text, uri: String, source: std::io::Error },
    /// What is in the store does not go with the configuration.
    #[error("the store could not be brought back")]
    Recovery(#[source] BrokerError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// A broker with its connectors.
pub struct Server {
    broker: Arc<Broker>,
    connectors: Vec<Connector>,
    label: String,
    started: Instant,
    /// Dropped last: whoever waits for it opens the store at once.
    mastership: Option<Mastership>,
}

/// How long connections may take to end when the broker stops.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// Starts what `config` describes, as soon as no other broker has its store open. `on_wait` is called
    /// once if one has. Dropping the future while it waits leaves nothing behind.
    ///
    /// # Errors
    /// When a port cannot be opened or the store not be locked.
    pub async fn start(config: &Config, on_wait: impl FnOnce()) -> Result<Self, StartError> {
        let host = host_name();
        let id = broker_id(&host);
        tracing::info!("Data directory: {}", config.broker.data_directory.display());
        let mut mastership = None;
        if let Some((plan, notes)) = store::of_config(&config.broker) {
            notes.iter().for_each(Note::log);
            if let Some(lock) = &plan.lock {
                mastership = Some(locked(lock, on_wait).await?);
            }
            check_space(config, &plan);
        }
        if !matches!(config.broker.store(), PersistenceAdapter::Memory(_)) {
            tracing::warn!(
                "the configured store is not active yet: messages are held in memory and lost when the \
                 broker stops"
            );
        }
        let (plan, notes) = plan::of_config(config, id);
        for note in notes {
            tracing::info!("{note}");
        }
        Self::run(plan, &host, mastership).await
    }

    /// Starts a broker from options.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub async fn start_plan(plan: Plan, host: &str) -> Result<Self, StartError> {
        Self::run(plan, host, None).await
    }

    async fn run(
        mut plan: Plan,
        host: &str,
        mastership: Option<Mastership>,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        let label = format!(
            "Broker {} ({}, {})",
            env!("CARGO_PKG_VERSION"),
            plan.broker.name,
            plan.broker.id
        );
        let store: Arc<dyn Store> = Arc::new(MemoryStore);
        tracing::info!("Using Persistence Adapter: {}", store.name());
        tracing::info!("{label} is starting");
        // All ports are opened before anything is served: a broker that cannot have one of them serves nobody.
        let mut bound = Vec::new();
        for options in plan.connectors {
            let (name, uri) = (
                Text::clone(&options.name),
                format!("{}://{}:{}", options.scheme, options.host, options.port),
            );
            match Connector::bind(options, host) {
                Ok(connector) => bound.push(connector),
                Err(source) => return Err(StartError::Bind { name, uri, source }),
            }
        }
        if let Some((connector, _)) = bound.first() {
            plan.broker.default_url = Text::clone(connector.published());
        }
        let broker = Broker::start(plan.broker, store).await.map_err(StartError::Recovery)?;
        for destination in &plan.destinations {
            if let Err(error) = broker.destination(destination, None).await {
                tracing::error!(%destination, %error, "a configured destination was not created");
            }
        }
        let mut connectors = Vec::new();
        for (connector, listener) in bound {
            connector.serve(listener, Arc::clone(&broker));
            connectors.push(connector);
        }
        tracing::info!("{label} started in {} ms", started.elapsed().as_millis());
        Ok(Self { broker, connectors, label, started, mastership })
    }

    /// The broker itself, for programs that embed it.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Resolves with the exit code when the broker cannot go on; it is still to be stopped then.
    pub async fn stopped(&self) -> i32 {
        match &self.mastership {
            Some(mastership) => {
                mastership.lost().await;
                LOST_LOCK_CODE
            }
            None => std::future::pending().await,
        }
    }

    /// The connectors with the addresses they listen at.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.connectors.iter().map(|c| (c.name().to_owned(), c.address)).collect()
    }

    /// Stops: all ports close, connections end, messages that must survive are stored, and at last the
    /// store is free for another broker.
    pub async fn stop(self) {
        tracing::info!("{} is shutting down", self.label);
        // First all of them: who has lost its lock must not serve on one while another one closes.
        self.connectors.iter().for_each(Connector::close);
        for connector in &self.connectors {
            connector.closed(STOP_PATIENCE).await;
        }
        let up = self.started.elapsed().as_secs();
        tracing::info!("{} uptime {}", self.label, uptime(up));
        tracing::info!("{} is shutdown", self.label);
        drop(self.mastership);
    }
}

/// Exit code of a broker that is no longer the master of its store.
const LOST_LOCK_CODE: i32 = 1;

/// Waits until no other broker has the store.
async fn locked(lock: &LockPlan, on_wait: impl FnOnce()) -> Result<Mastership, LockError> {
    let locker = Box::new(SharedFile::new(&lock.directory));
    become_master(locker, lock.options, on_wait).await
}

/// Tells where the limits of store and temporary store are above what the disk has.
fn check_space(config: &Config, plan: &StorePlan) {
    let temp = config.broker.own_directory().join("tmp_storage");
    let kept = |folder, file_bytes| {
        let space = disk::Space::of(folder)?;
        Ok::<_, std::io::Error>(disk::Kept { folder, space, used_bytes: 0, file_bytes })
    };
    match (kept(&plan.directory, plan.journal_file_bytes.into()), kept(&temp, 0)) {
        (Ok(store), Ok(temp)) => {
            let (_, notes) = disk::limits(&config.broker.system_usage, store, temp);
            notes.iter().for_each(Note::log);
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the space on disk is not known: limits of the store are not checked");
        }
    }
}

/// A time the way ActiveMQ tells it: `1 hour 3 minutes`.
pub fn uptime(seconds: u64) -> String {
    let part = |count: u64, unit: &str| match count {
        0 => None,
        1 => Some(format!("1 {unit}")),
        _ => Some(format!("{count} {unit}s")),
    };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let parts = if days > 0 {
        [part(days, "day"), part(hours, "hour")]
    } else if hours > 0 {
        [part(hours, "hour"), part(minutes, "minute")]
    } else if minutes > 0 {
        [part(minutes, "minute"), part(seconds % 60, "second")]
    } else {
        [Some(part(seconds, "second").unwrap_or_else(|| "0 seconds".into())), None]
    };
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The name of this machine.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".into() } else { name }
}

/// A new id for a broker on `host`: unique by process and time.
fn broker_id(host: &str) -> BrokerId {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    BrokerId::new(format!("ID:{host}-{}-{}-0:1", std::process::id(), now.as_millis()))
}
