//! `<broker>`: its attributes, its children, and the few of them too small for a file of their own.

use std::path::PathBuf;
use std::time::Duration;

use super::connectors::{self, TransportConnector};
use super::destination::DestinationList;
use super::macros::{choice, element};
use super::network::{self, NetworkConnector, ProxyConnector};
use super::plugins::{self, Plugin, Redelivery};
use super::policy::PolicyMap;
use super::report::{Problem, Remark};
use super::store::{KahaDb, MemoryStore, PersistenceAdapter};
use super::table::Reading;
use super::units::Secret;
use super::usage::SystemUsage;
use super::virtual_destinations::DestinationInterceptors;

element! {
    /// Everything about one broker.
    pub struct BrokerConfig = "broker" {
        name: String = "brokerName", "localhost".to_owned(), active;
        /// Base of the folders that are not named; relative to the working folder.
        data_directory: PathBuf = "dataDirectory" | "dataDirectoryFile",
            PathBuf::from("activemq-data"), active;
        /// false = nothing on disk, whatever the adapter.
        persistent: bool = "persistent", true, active;
        /// false = nothing to manage: console, REST and command line see an empty broker.
        use_jmx: bool = "useJmx", true, active;
        start: bool = "start", true, ignored("the command that reads this starts it");
        use_shutdown_hook: bool = "useShutdownHook", true,
            ignored("SIGTERM and SIGINT always stop the broker cleanly");
        /// Empties the store at start.
        delete_all_messages_on_startup: bool = "deleteAllMessagesOnStartup", false, active;
        advisory_support: bool = "advisorySupport", true, active;
        anonymous_producer_advisory_support: bool =
            "anonymousProducerAdvisorySupport", false, active;
        scheduler_support: bool = "schedulerSupport", false, active;
        /// Unset = `<dataDirectory>/<brokerName>/scheduler`.
        scheduler_directory: Option<PathBuf> =
            "schedulerDirectory" | "schedulerDirectoryFile", None, active;
        /// Unset = `<dataDirectory>/<brokerName>/tmp_storage`.
        tmp_data_directory: Option<PathBuf> = "tmpDataDirectory", None, active;
        max_scheduler_repeat_allowed: u32 = "maxSchedulerRepeatAllowed", 1000, active;
        use_virtual_topics: bool = "useVirtualTopics", true, active;
        use_mirrored_queues: bool = "useMirroredQueues", false, active;
        use_temp_mirrored_queues: bool = "useTempMirroredQueues", true, active;
        use_virtual_dest_subs: bool = "useVirtualDestSubs", false, active;
        use_virtual_dest_subs_on_creation: bool = "useVirtualDestSubsOnCreation", false, active;
        /// JMSXUserID is set to the user of the connection.
        populate_jmsx_user_id: bool = "populateJMSXUserID", false, active;
        use_authenticated_principal_for_jmsx_user_id: bool =
            "useAuthenticatedPrincipalForJMSXUserID", false, active;
        populate_user_name_in_mbeans: bool = "populateUserNameInMBeans", false, active;
        allow_temp_auto_creation_on_send: bool = "allowTempAutoCreationOnSend", false, active;
        cache_temp_destinations: bool = "cacheTempDestinations", false, active;
        time_before_purge_temp_destinations: Duration =
            "timeBeforePurgeTempDestinations", Duration::from_secs(5), active;
        keep_durable_subs_active: bool = "keepDurableSubsActive", true, active;
        /// Unset (-1) = never deleted.
        offline_durable_subscriber_timeout: Option<Duration> =
            "offlineDurableSubscriberTimeout", None, active;
        offline_durable_subscriber_task_schedule: Duration =
            "offlineDurableSubscriberTaskSchedule", Duration::from_secs(300), active;
        expire_on_active_durable_subs: bool =
            "enableMessageExpirationOnActiveDurableSubs", false, active;
        /// 0 = inactive destinations are not looked for.
        schedule_period_for_destination_purge: Duration =
            "schedulePeriodForDestinationPurge", Duration::ZERO, active;
        /// 0 = all.
        max_purged_destinations_per_sweep: u32 = "maxPurgedDestinationsPerSweep", 0, active;
        reject_durable_consumers: bool = "rejectDurableConsumers", false, active;
        enable_statistics: bool = "enableStatistics", true, active;
        monitor_connection_splits: bool = "monitorConnectionSplits", false, active;
        /// The name is that of the host.
        use_local_host_broker_name: bool = "useLocalHostBrokerName", false, active;
        system_exit_on_shutdown: bool = "systemExitOnShutdown", false, active;
        system_exit_on_shutdown_exit_code: i32 = "systemExitOnShutdownExitCode", 0, active;
        /// A broker that has lost the lock of its store starts again, as a slave.
        restart_allowed: bool = "restartAllowed", true, active;
        network_connector_start_async: bool = "networkConnectorStartAsync", false, later;
        split_system_usage: bool =
            "splitSystemUsageForProducersConsumers", false, active;
        producer_system_usage_portion: u32 = "producerSystemUsagePortion", 60, active;
        consumer_system_usage_portion: u32 = "consumerSystemUsagePortion", 40, active;
        /// Limits above what there is are lowered (else: an error).
        adjust_usage_limits: bool = "adjustUsageLimits", true, active;
        /// 0 = disk space is looked at once.
        schedule_period_for_disk_usage_check: Duration =
            "schedulePeriodForDiskUsageCheck", Duration::ZERO, active;
        /// Percent of free space before limits grow again; unset (-1) = any.
        disk_usage_check_regrow_threshold: Option<u32> =
            "diskUsageCheckRegrowThreshold", None, active;
        /// A failing one-way transacted send spoils its transaction.
        rollback_only_on_async_exception: bool = "rollbackOnlyOnAsyncException", true, active;

        transport_connectors: Vec<TransportConnector> = "transportConnectors", Vec::new(), active;
        /// Already part of `transport_connectors`.
        transport_connector_uris: Vec<String> = "transportConnectorURIs", Vec::new(), active;
        network_connectors: Vec<NetworkConnector> = "networkConnectors", Vec::new(), later;
        /// Already part of `network_connectors`.
        network_connector_uris: Vec<String> = "networkConnectorURIs", Vec::new(), later;
        proxy_connectors: Vec<ProxyConnector> = "proxyConnectors", Vec::new(), later;
        destination_policy: PolicyMap = "destinationPolicy", PolicyMap::default(), active;
        system_usage: SystemUsage = "systemUsage" | "memoryManager", SystemUsage::unwritten(), active;
        producer_system_usage: Option<SystemUsage> = "producerSystemUsage", None, active;
        consumer_system_usage: Option<SystemUsage> = "consumerSystemUsage", None, active;
        /// As written; [`BrokerConfig::store`] says which one counts.
        persistence_adapter: Option<PersistenceAdapter> = "persistenceAdapter", None, active;
        persistence_factory: Option<PersistenceAdapter> = "persistenceFactory", None, active;
        plugins: Vec<Plugin> = "plugins", Vec::new(), active;
        destination_interceptors: DestinationInterceptors =
            "destinationInterceptors", DestinationInterceptors::default(), active;
        /// Made at start.
        destinations: DestinationList = "destinations", DestinationList::default(), active;
        management: ManagementContext = "managementContext", ManagementContext::default(), active;
        ssl_context: Option<SslContext> = "sslContext", None, later;
        io_exception_handler: Option<IoExceptionHandler> = "ioExceptionHandler", None, active;
        job_scheduler_store: Option<JobSchedulerStore> = "jobSchedulerStore", None, active;
        temp_data_store: Option<TempDataStore> = "tempDataStore", None, active;
        shutdown_hooks: Vec<ShutdownHook> = "shutdownHooks", Vec::new(), active;
    }
    without_effect {
        "startAsync" = "false", "storeOpenWireVersion" = "11", "waitForSlave" = "false", "waitForSlaveTimeout" = "600000",
        "shutdownOnMasterFailure" = "false", "shutdownOnSlaveFailure" = "false",
        "passiveSlave" = "false", "brokerId", "brokerObjectName", "adminView", "regionBroker",
        "destinationFactory", "messageAuthorizationPolicy", "brokerContext", "startException",
        "dedicatedTaskRunner" = "false", "taskRunnerPriority" = "5",
        "persistenceThreadPriority" = "10", "useLoggingForShutdownErrors" = "false",
        "mbeanInvocationTimeout" = "0", "vmConnectorURI", "jmsBridgeConnectors", "services",
        "persistenceTaskRunnerFactory", "consumerSystemUsageExecutor",
        "supportFailOver" = "false", "masterConnectorURI", "tmpDataStore", "scheduler",
    }
}

impl BrokerConfig {
    /// The store that is to be used: with `persistent="false"` memory, else the adapter or
    /// factory given, else KahaDB in `<dataDirectory>/<brokerName>/KahaDB`.
    pub fn store(&self) -> PersistenceAdapter {
        if !self.persistent {
            return PersistenceAdapter::Memory(MemoryStore::default());
        }
        let given = self.persistence_adapter.as_ref().or(self.persistence_factory.as_ref());
        given.cloned().unwrap_or_else(|| {
            let directory = self.default_store_directory();
            PersistenceAdapter::KahaDb(KahaDb { directory, ..KahaDb::default() })
        })
    }

    /// Where messages are kept if no store is configured.
    pub fn default_store_directory(&self) -> PathBuf {
        self.own_directory().join("KahaDB")
    }

    /// `<dataDirectory>/<brokerName>`: what this broker keeps beside its store.
    pub fn own_directory(&self) -> PathBuf {
        self.data_directory.join(&self.name)
    }
}

/// What can only be seen when everything has been read.
pub(crate) fn finish(broker: &mut BrokerConfig, reading: &mut Reading<'_>) {
    if broker.use_local_host_broker_name {
        let host = rustix::system::uname();
        broker.name = host.nodename().to_string_lossy().into_owned();
    }
    let used: String = broker.name.chars().map(|c| if is_name_char(c) { c } else { '_' }).collect();
    if used != broker.name {
        let given = std::mem::replace(&mut broker.name, used.clone());
        reading.remark(&broker.place, Remark::BrokerName { given, used });
    }
    let short = connectors::of_uris(&broker.transport_connector_uris, &broker.place, reading);
    broker.transport_connectors.extend(short);
    connectors::finish(&mut broker.transport_connectors);
    reading.quietly(true, |reading| {
        let short = network::of_uris(&broker.network_connector_uris, &broker.place, reading);
        broker.network_connectors.extend(short);
    });
    network::check(&mut broker.network_connectors, reading);
    for plugin in &broker.plugins {
        match plugin {
            Plugin::Redelivery(plugin) => {
                check_redelivery(plugin, broker.scheduler_support, reading);
            }
            Plugin::DiscardingDlq(plugin) => plugins::check_patterns(plugin, reading),
            _ => {}
        }
    }
}

/// The plugin redelivers through the scheduler, whose clock ticks in seconds.
fn check_redelivery(plugin: &Redelivery, scheduler: bool, reading: &mut Reading<'_>) {
    if !scheduler {
        reading.error(&plugin.place, Problem::RedeliveryNeedsScheduler);
    }
    for policy in plugin.policies.entries.iter().chain(&plugin.policies.default_entry) {
        let delays = [policy.initial_redelivery_delay, policy.redelivery_delay];
        if delays.iter().any(|delay| *delay < Duration::from_secs(1)) {
            reading.error(&policy.place, Problem::RedeliveryTooSoon);
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-:".contains(c)
}

element! {
    /// How the broker appears in management.
    pub struct ManagementContext = "managementContext" {
        create_connector: bool = "createConnector", false,
            ignored("remote JMX (RMI) is not offered; use Jolokia over HTTP");
        /// The beginning of all object names.
        jmx_domain_name: String = "jmxDomainName", "org.apache.activemq".to_owned(), active;
        allow_remote_address: bool = "allowRemoteAddressInMBeanNames", true, later;
        /// Patterns of objects that do not appear, `endpoint=Consumer,connectionName=*`.
        suppress_mbean: Vec<String> = "suppressMBean", Vec::new(), later;
    }
    without_effect {
        "connectorPort" = "1099", "connectorHost" = "localhost", "connectorPath" = "/jmxrmi",
        "rmiServerPort" = "0", "useMBeanServer" = "true", "createMBeanServer" = "true",
        "findTigerMbeanServer" = "true", "environment", "MBeanServer", "brokerName", "server",
    }
}

element! {
    /// Keys and certificates for TLS. Locations: `file:PATH` or a path.
    pub struct SslContext = "sslContext" {
        key_store: Option<PathBuf> = "keyStore", None, active;
        key_store_password: Option<Secret> = "keyStorePassword", None, active;
        /// Unset = `key_store_password`.
        key_store_key_password: Option<Secret> = "keyStoreKeyPassword", None, active;
        /// Only a hint: the file's first bytes decide.
        key_store_type: String = "keyStoreType", "jks".to_owned(), active;
        trust_store: Option<PathBuf> = "trustStore", None, active;
        trust_store_password: Option<Secret> = "trustStorePassword", None, active;
        trust_store_type: String = "trustStoreType", "jks".to_owned(), active;
        protocol: String = "protocol", "TLS".to_owned(), active;
        crl_path: Option<PathBuf> = "crlPath", None, active;
    }
    without_effect {
        "keyStoreAlgorithm" = "SunX509", "trustStoreAlgorithm" = "PKIX", "provider",
        "secureRandomAlgorithm", "secureRandom", "keyManagers", "trustManagers", "SSLContext",
    }
}

choice! {
    /// What happens when the store cannot read or write.
    pub enum IoExceptionHandler {
        Default(IoExceptions) = "defaultIOExceptionHandler", active;
        LeaseLocker(LeaseIoExceptions) =
            "leaseLockerIOExceptionHandler" | "jDBCIOExceptionHandler", active;
    }
}

element! {
    pub struct IoExceptions = "defaultIOExceptionHandler" {
        /// A store that failed is opened again.
        ignore_all_errors: bool = "ignoreAllErrors", false, active;
        ignore_no_space_errors: bool = "ignoreNoSpaceErrors", true, active;
        ignore_sql_exceptions: bool = "ignoreSQLExceptions", true, later;
        /// Connectors stop while the store has no space (unless that is ignored), and start again.
        stop_start_connectors: bool = "stopStartConnectors", false, active;
        resume_check_sleep_period: Duration =
            "resumeCheckSleepPeriod", Duration::from_secs(5), active;
        /// With `systemExitOnShutdownExitCode` of the broker.
        system_exit_on_shutdown: bool = "systemExitOnShutdown", false, active;
    }
    without_effect { "noSpaceMessage" = "space", "sqlExceptionMessage" }
}

element! {
    pub struct LeaseIoExceptions = "leaseLockerIOExceptionHandler" | "jDBCIOExceptionHandler" {
        /// A store that failed is opened again.
        ignore_all_errors: bool = "ignoreAllErrors", false, active;
        ignore_no_space_errors: bool = "ignoreNoSpaceErrors", true, active;
        ignore_sql_exceptions: bool = "ignoreSQLExceptions", false, later;
        stop_start_connectors: bool = "stopStartConnectors", true, active;
        resume_check_sleep_period: Duration =
            "resumeCheckSleepPeriod", Duration::from_secs(5), active;
        /// With `systemExitOnShutdownExitCode` of the broker.
        system_exit_on_shutdown: bool = "systemExitOnShutdown", false, active;
    }
    without_effect { "noSpaceMessage" = "space", "sqlExceptionMessage" }
}

choice! {
    /// Where ActiveMQ keeps scheduled messages; here they are in the store, with all others.
    pub enum JobSchedulerStore {
        KahaDb(KahaDbJobs) = "kahaDBJobScheduler" | "jobSchedulerStoreImpl", active;
        Memory = "inMemoryJobSchedulerStore", active;
    }
}

element! {
    pub struct KahaDbJobs = "kahaDBJobScheduler" | "jobSchedulerStoreImpl" {
        /// Only looked at for jobs that an ActiveMQ left.
        directory: Option<PathBuf> = "directory", None, active;
    }
    without_effect {
        "journalMaxFileLength" = "32mb", "checkpointInterval" = "5000", "cleanupInterval" = "30000",
        "journalMaxWriteBatchSize", "enableIndexWriteAsync", "indexWriteBatchSize", "maxAsyncJobs",
        "checksumJournalFiles", "checkForCorruptJournalFiles", "ignoreMissingJournalfiles",
        "archiveDataLogs", "directoryArchive", "failIfDatabaseIsLocked", "useLock", "locker",
        "lockKeepAlivePeriod", "indexCacheSize", "enableIndexDiskSyncs", "enableJournalDiskSyncs",
    }
}

choice! {
    /// Where non-persistent messages go that do not fit into memory.
    pub enum TempDataStore {
        PList(PListStore) = "pListStoreImpl" | "pListStore", active;
    }
}

element! {
    pub struct PListStore = "pListStoreImpl" | "pListStore" {
        /// What an earlier run left there is removed.
        directory: Option<PathBuf> = "directory", None, active;
    }
    without_effect {
        "lazyInit" = "true", "failIfDatabaseIsLocked" = "false", "journalMaxFileLength" = "32mb",
        "journalMaxWriteBatchSize" = "4mb", "indexPageSize" = "4096", "indexCacheSize" = "100",
        "cleanupInterval" = "30000", "indexDirectory", "enableIndexWriteAsync",
        "indexEnablePageCaching", "brokerName", "indexWriteBatchSize", "scheduler",
    }
}

choice! {
    /// The hook of the shipped files stops the console, which needs no help here.
    pub enum ShutdownHook {
        SpringContext = "springContextHook", active;
    }
}
