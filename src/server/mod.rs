//! The composition root: configuration in, a running broker out. The order of start and stop is here.
//!
//! A broker whose store another one has open is a slave: [`Server::start`] waits for the lock before it opens
//! anything, no port either. The lock is the last thing to go. When it is lost, nothing is confirmed any more
//! (the store asks [`Mastership::check`]), ports and connections close, and [`Server::stopped`] says whether the
//! broker starts again, as a slave. After a failed disk it does not.

pub mod connector;
pub mod disk;
mod endings;
mod interceptors;
mod kept;
mod note;
mod pauses;
mod plan;
mod plugins;
pub mod publish;
mod runtime;
mod scheduler;
mod shares;
mod space;
pub mod store;

pub use endings::{After, after_failed_restart};
pub use kept::Kept;
pub use note::Note;
pub use plan::Plan;

use crate::broker::Broker;
use crate::broker::error::BrokerError;
use crate::broker::plugins::Event;
use crate::broker::usage::Usage;
use crate::config::{BrokerConfig, Config, PersistenceAdapter, TempDataStore};
use crate::ha::{LockError, Mastership, SharedFile, become_master};
use crate::jms::{BrokerId, Text};
use crate::protocol::openwire::MESSAGE_FORM;
use crate::store::fs::real::RealFilesystem;
use crate::store::kahadb::multi::MultiKahaDb;
use crate::store::kahadb::{Fence, KahaDb, OpenError};
use crate::store::memory::MemoryStore;
use crate::store::spool::{Spool, SpoolEvents};
use crate::store::{Store, StoreError, StoreEvents};
use connector::Connector;
use disk::{DiskLimits, TooHigh};
use endings::{Endings, WithoutSpace};
use kept::Keeper;
use pauses::{Connectors, Pauses, Short};
use shares::Shares;
use space::{LimitsError, Space, Watching};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{LockPlan, StorePlan};
use tokio::sync::watch;

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
    #[error(transparent)]
    Limits(TooHigh),
    #[error("the temp store in {directory} could not be opened")]
    TempStore {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Jobs that an ActiveMQ left are not given up in silence.
    #[error(
        "scheduled messages of ActiveMQ are in {0}: this broker does not read them. Let that broker \
         deliver them, or move the folder away to start without them"
    )]
    ForeignJobs(PathBuf),
    #[error("the store in {directory} could not be opened")]
    Store {
        directory: PathBuf,
        #[source]
        source: OpenError,
    },
}

/// A broker with its connectors.
pub struct Server {
    broker: Arc<Broker>,
    connectors: Arc<Connectors>,
    store: Arc<dyn Store>,
    store_failed: watch::Receiver<bool>,
    pauses: Option<Pauses>,
    runtime: Option<runtime::Watching>,
    endings: Endings,
    label: String,
    started: Instant,
    keepers: Vec<Keeper>,
    space: Option<Watching>,
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
        scheduler::prepare_directory(&config.broker)?;
        let (mut plan, notes) = plan::of_config(config, id);
        for note in notes {
            tracing::info!("{note}");
        }
        let Some((store_plan, notes)) = store::of_config(&config.broker) else {
            if !matches!(config.broker.store(), PersistenceAdapter::Memory(_)) {
                tracing::warn!(
                    "the configured store is not active yet: messages are held in memory and lost when \
                     the broker stops"
                );
            }
            // Without persistence nothing goes to the disk: producers wait for memory.
            if config.broker.persistent {
                open_spool(config, &mut plan)?;
            }
            let policies = Arc::clone(&plan.policies);
            let mut server = Self::run(plan, &host, Opened::nothing()).await?;
            server.runtime = runtime::watch(config, &server.broker, policies);
            return Ok(server);
        };
        notes.iter().for_each(Note::log);
        let mut mastership = None;
        if let Some(lock) = &store_plan.lock {
            mastership = Some(locked(lock, on_wait).await?);
        }
        let store_usage = Arc::clone(&plan.broker.store_usage);
        plan.broker.prepared_fate = store_plan.prepared;
        plan.broker.dispatches_early = store_plan.dispatches_early;
        let name = Text::clone(&plan.broker.name);
        let without_space = WithoutSpace::of_config(config.broker.io_exception_handler.as_ref());
        let shares = Arc::new(Shares::new(Arc::clone(&store_usage)));
        if let Some(several) = store_plan.several(&name, 0, &Fence::default()) {
            let shares = Arc::clone(&shares);
            plan.broker.store_share =
                Some(Box::new(move |destination| shares.of_destination(destination, &several)));
        }
        let opened =
            open(&store_plan, &name, mastership, store_usage, shares, without_space).await?;
        let (store_usage, temp_usage) =
            (Arc::clone(&plan.broker.store_usage), Arc::clone(&plan.broker.temp_usage));
        let space = Space::of_config(config, &store_plan);
        let used = DiskLimits { store_bytes: opened.store.status().bytes_used, temp_bytes: 0 };
        match space.limits(used, true) {
            Ok(limits) => {
                store_usage.set_limit(limits.store_bytes);
                opened.store.set_limit(limits.store_bytes);
                temp_usage.set_limit(limits.temp_bytes);
            }
            Err(LimitsError::TooHigh(error)) => return Err(StartError::Limits(error)),
            Err(LimitsError::Io(error)) => {
                tracing::warn!(
                    %error,
                    "the space on disk is not known: limits of the store are not checked"
                );
            }
        }
        open_spool(config, &mut plan)?;
        let policies = Arc::clone(&plan.policies);
        let (failed, short) = (opened.failed.clone(), opened.short.clone());
        let mut server = Self::run(plan, &host, opened).await?;
        if let WithoutSpace::Pauses(period) = without_space {
            let connectors = Arc::clone(&server.connectors);
            server.pauses = Some(Pauses::begin(connectors, short, period, failed));
        }
        server.runtime = runtime::watch(config, &server.broker, policies);
        server.endings = Endings::of_config(&config.broker);
        server.space = Some(space.watch(store_usage, temp_usage, Arc::clone(&server.store)));
        Ok(server)
    }

    /// Starts a broker from options.
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub async fn start_plan(plan: Plan, host: &str) -> Result<Self, StartError> {
        Self::run(plan, host, Opened::nothing()).await
    }

    async fn run(mut plan: Plan, host: &str, opened: Opened) -> Result<Self, StartError> {
        let Opened { store, failed, mastership, .. } = opened;
        let store_failed = failed.subscribe();
        let started = Instant::now();
        let label = format!(
            "Broker {} ({}, {})",
            env!("CARGO_PKG_VERSION"),
            plan.broker.name,
            plan.broker.id
        );
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
        plan.broker.addresses =
            bound.iter().map(|(connector, _)| connector.address_and_scheme()).collect();
        if let Some((connector, _)) = bound.first() {
            plan.broker.default_url = Text::clone(connector.published());
        }
        let selectors = plan.broker.interceptors.selector_cache.clone().zip(plan.kept.selectors);
        if let Some((cache, (file, _))) = &selectors {
            kept::restore_selectors(cache, file);
        }
        if let Some(file) = &plan.kept.destinations {
            plan.destinations.extend(kept::listed_destinations(file));
        }
        let broker =
            Broker::start(plan.broker, Arc::clone(&store)).await.map_err(StartError::Recovery)?;
        for destination in &plan.destinations {
            if let Err(error) = broker.destination(destination, None).await {
                tracing::error!(%destination, %error, "a configured destination was not created");
            }
        }
        let selectors =
            selectors.map(|(cache, (file, every))| kept::keep_selectors(cache, file, every));
        let listed = plan.kept.destinations.map(|file| kept::keep_destinations(&broker, file));
        let keepers = selectors.into_iter().chain(listed).collect();
        let mut connectors = Vec::new();
        for (connector, listener) in bound {
            connector.serve(listener, Arc::clone(&broker));
            connectors.push(connector);
        }
        let connectors = Connectors::new(Arc::clone(&broker), host, connectors);
        tracing::info!("{label} started in {} ms", started.elapsed().as_millis());
        let (space, pauses, runtime) = (None, None, None);
        let endings = Endings::default();
        Ok(Self {
            broker,
            connectors,
            store,
            store_failed,
            pauses,
            runtime,
            endings,
            label,
            started,
            keepers,
            space,
            mastership,
        })
    }

    /// The broker itself, for programs that embed it.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Resolves when the broker cannot go on; it is still to be stopped then.
    pub async fn stopped(&self) -> After {
        let lost = async {
            match &self.mastership {
                Some(mastership) => drop(mastership.lost().await),
                None => std::future::pending().await,
            }
        };
        let mut store_failed = self.store_failed.clone();
        let failed = async {
            if store_failed.wait_for(|failed| *failed).await.is_err() {
                // Nobody is there to tell: a store in memory does not fail.
                std::future::pending().await
            }
        };
        tokio::select! {
            () = lost => self.endings.lost_lock,
            () = failed => self.endings.store_failed,
        }
    }

    /// The connectors with the addresses they listen at.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.connectors.all().iter().map(|c| (c.name().to_owned(), c.address)).collect()
    }

    /// Stops: all ports close, connections end, messages that must survive are stored, and at last the
    /// store is free for another broker.
    pub async fn stop(self) {
        tracing::info!("{} is shutting down", self.label);
        self.broker.halt();
        drop((self.pauses, self.runtime));
        self.connectors.close(STOP_PATIENCE).await;
        let options = &self.broker.options;
        options.plugins.note(&Event::Stopping(&options.name));
        self.broker.scheduler.stop().await;
        for keeper in self.keepers {
            keeper.finish().await;
        }
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the store was not closed cleanly"),
            Err(error) => tracing::error!(%error, "closing the store ended early"),
        }
        if let Some(spool) = self.broker.options.spool.clone()
            && let Err(error) = tokio::task::spawn_blocking(move || spool.close()).await
        {
            tracing::error!(%error, "closing the temp store ended early");
        }
        let up = self.started.elapsed().as_secs();
        tracing::info!("{} uptime {}", self.label, uptime(up));
        tracing::info!("{} is shutdown", self.label);
        drop(self.mastership);
    }
}

/// The store a broker runs on, and what says that it must not any more.
struct Opened {
    store: Arc<dyn Store>,
    failed: watch::Sender<bool>,
    short: watch::Receiver<Short>,
    mastership: Option<Mastership>,
}

impl Opened {
    /// Messages are in memory only.
    fn nothing() -> Self {
        let (failed, short) = (watch::Sender::new(false), watch::channel(Short::new()).1);
        Self { store: Arc::new(MemoryStore), failed, short, mastership: None }
    }
}

/// Hears what the store has to tell.
struct Watch {
    usage: Arc<Usage>,
    shares: Arc<Shares>,
    failed: watch::Sender<bool>,
    short: watch::Sender<Short>,
    without_space: WithoutSpace,
}

impl Watch {
    /// Holds back whoever needs room in `usage`, which is that of `part`.
    fn note_space(&self, part: &str, usage: &Usage, is_short: bool) {
        if is_short && self.without_space == WithoutSpace::Stops {
            tracing::error!("the store has no space left: the broker stops");
            self.failed.send_replace(true);
        }
        usage.set_blocked(is_short);
        self.short.send_if_modified(|short| match is_short {
            true => short.insert(part.to_owned()),
            false => short.remove(part),
        });
    }
}

impl StoreEvents for Watch {
    fn bytes_used(&self, bytes: u64) {
        self.usage.set_used(bytes);
    }

    fn no_space(&self, is_short: bool) {
        self.note_space("", &self.usage, is_short);
    }

    fn part_bytes_used(&self, part: &str, bytes: u64) {
        self.shares.of_part(part).set_used(bytes);
    }

    fn part_no_space(&self, part: &str, is_short: bool) {
        self.note_space(part, &self.shares.of_part(part), is_short);
    }

    fn failed(&self, error: &StoreError) {
        tracing::error!(%error, "the store has failed: the broker stops");
        self.failed.send_replace(true);
    }
}

/// Opens the planned store, which is locked.
async fn open(
    plan: &StorePlan,
    node: &str,
    mastership: Option<Mastership>,
    usage: Arc<Usage>,
    shares: Arc<Shares>,
    without_space: WithoutSpace,
) -> Result<Opened, StartError> {
    let (failed, short) = (watch::Sender::new(false), watch::Sender::new(Short::new()));
    let generation = mastership.as_ref().map_or(0, Mastership::generation);
    let fence = mastership.as_ref().map(fence).unwrap_or_default();
    let options = plan.options(node, generation, &fence);
    let several = plan.several(node, generation, &fence);
    let directory = plan.directory.clone();
    let (tell_failed, is_short) = (failed.clone(), short.subscribe());
    let events = Arc::new(Watch { usage, shares, failed: tell_failed, short, without_space });
    let opening = tokio::task::spawn_blocking(move || {
        let disk = Arc::new(RealFilesystem);
        Ok(match several {
            None => KahaDb::open(disk, options, MESSAGE_FORM, events)? as Arc<dyn Store>,
            Some(several) => MultiKahaDb::open(disk, several, MESSAGE_FORM, events)?,
        })
    });
    match opening.await {
        Ok(Ok(store)) => Ok(Opened { store, failed, short: is_short, mastership }),
        Ok(Err(source)) => Err(StartError::Store { directory, source }),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Closes when this broker is no longer the master.
fn fence(mastership: &Mastership) -> Fence {
    Fence::new(mastership.asker())
}

/// Opens the temp store. What an earlier broker left there goes, so the lock comes before.
fn open_spool(config: &Config, plan: &mut Plan) -> Result<(), StartError> {
    let folder = temp_folder(&config.broker);
    let events = Arc::new(TempWatch(Arc::clone(&plan.broker.temp_usage)));
    let disk = Arc::new(RealFilesystem);
    let spool = Spool::open(disk, folder.clone(), SPOOL_SEGMENT_BYTES, MESSAGE_FORM, events);
    plan.broker.spool =
        Some(spool.map_err(|source| StartError::TempStore { directory: folder, source })?);
    Ok(())
}

/// Where the temp store is: as configured, or `tmp_storage` beside the broker's other files.
fn temp_folder(broker: &BrokerConfig) -> PathBuf {
    let of_store = broker.temp_data_store.as_ref().and_then(|TempDataStore::PList(store)| {
        // It is for the temp store alone.
        store.directory.clone()
    });
    let configured = of_store.or_else(|| broker.tmp_data_directory.clone());
    configured.unwrap_or_else(|| broker.own_directory().join("tmp_storage"))
}

/// A file of the temp store is removed when all of it was read: 4 MiB bound what is kept in vain.
const SPOOL_SEGMENT_BYTES: u32 = 4 << 20;

struct TempWatch(Arc<Usage>);

impl SpoolEvents for TempWatch {
    fn bytes_used(&self, bytes: u64) {
        self.0.set_used(bytes);
    }
}

/// Waits until no other broker has the store.
async fn locked(lock: &LockPlan, on_wait: impl FnOnce()) -> Result<Mastership, LockError> {
    let locker = Box::new(SharedFile::new(&lock.directory));
    become_master(locker, lock.options, on_wait).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PListStore;
    use std::path::Path;

    #[test]
    fn the_temp_store_is_where_it_is_configured() {
        let folder = |broker: BrokerConfig| temp_folder(&broker);
        let plain = BrokerConfig { name: "b".into(), ..BrokerConfig::default() };
        assert_eq!(folder(plain.clone()), Path::new("activemq-data/b/tmp_storage"));
        let named = BrokerConfig { tmp_data_directory: Some("tmp".into()), ..plain };
        assert_eq!(folder(named.clone()), Path::new("tmp"));
        let store = PListStore { directory: Some("own".into()), ..PListStore::default() };
        let temp_data_store = Some(TempDataStore::PList(store));
        assert_eq!(folder(BrokerConfig { temp_data_store, ..named }), Path::new("own"));
    }
}
