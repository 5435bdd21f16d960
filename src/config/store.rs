//! `<persistenceAdapter>`: where persistent messages are kept, and who may open that place.

use std::path::PathBuf;
use std::time::Duration;

use super::data_source::DataSource;
use super::destination::AppliesTo;
use super::macros::{choice, element, words};
use super::table::{Given, Property, Reading};
use super::units::{DurationWithUnit, MemorySize, Secret};
use super::usage::StoreUsage;

choice! {
    /// The stores.
    pub enum PersistenceAdapter {
        KahaDb(KahaDb) = "kahaDB", active;
        Memory(MemoryStore) = "memoryPersistenceAdapter", active;
        MultiKahaDb(MultiKahaDb) = "mKahaDB", active;
        Jdbc(Jdbc) = "jdbcPersistenceAdapter", later;
        JournaledJdbc(JournaledJdbc) =
            "journalPersistenceAdapterFactory" | "journaledJDBC" | "journalPersistenceAdapter",
            later;
        LevelDb(LevelDb) = "levelDB", active;
        Amq(AmqStore) = "amqPersistenceAdapter" | "amqPersistenceAdapterFactory", active;
        ReplicatedLevelDb(ReplicatedLevelDb) = "replicatedLevelDB", later;
    }
    refused {
        "kahaPersistenceAdapter" => "it was removed in ActiveMQ 5.4; use <kahaDB>",
    }
}

impl Property for Option<Box<PersistenceAdapter>> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        <PersistenceAdapter as Property>::read(given, reading).map(|p| Some(Box::new(p)))
    }
}

element! {
    /// Messages in files: a journal and an index.
    pub struct KahaDb = "kahaDB" {
        /// Holds the journal files, the index and the lock; relative to the working folder.
        directory: PathBuf = "directory", PathBuf::from("KahaDB"), active;
        /// Unset = `directory`.
        index_directory: Option<PathBuf> = "indexDirectory", None, active;
        /// A db-N.log is closed before it grows past this.
        journal_max_file_length: MemorySize = "journalMaxFileLength", MemorySize::mib(32), active;
        journal_max_write_batch: MemorySize = "journalMaxWriteBatchSize", MemorySize::mib(4), active;
        /// Pages.
        index_write_batch_size: u32 = "indexWriteBatchSize", 1000,
            ignored("a checkpoint writes all changed pages at once");
        /// Pages.
        index_cache_size: u32 = "indexCacheSize", 10_000, active;
        /// How often the index reaches the disk; 0 = only at the end.
        checkpoint_interval: Duration = "checkpointInterval", Duration::from_secs(5), active;
        /// How often journal files nobody needs are deleted; 0 = never.
        cleanup_interval: Duration = "cleanupInterval", Duration::from_secs(30), active;
        cleanup_on_stop: bool = "cleanupOnStop", true, active;
        journal_disk_sync_strategy: DiskSync =
            "journalDiskSyncStrategy", DiskSync::Always, active;
        /// For `periodic`.
        journal_disk_sync_interval: Duration =
            "journalDiskSyncInterval", Duration::from_secs(1), active;
        /// The older switch: false = never.
        enable_journal_disk_syncs: bool = "enableJournalDiskSyncs", true, active;
        enable_index_disk_syncs: bool = "enableIndexDiskSyncs", true, active;
        enable_index_page_caching: bool = "enableIndexPageCaching", true,
            ignored("the size of the page cache is indexCacheSize");
        enable_index_recovery_file: bool = "enableIndexRecoveryFile", true,
            ignored("pages always go through db.redo first");
        enable_index_write_async: bool = "enableIndexWriteAsync", false,
            ignored("the index always has a thread of its own");
        checksum_journal_files: bool = "checksumJournalFiles", true,
            ignored("every record is always checked");
        /// Read the whole journal at start; damaged records are skipped.
        check_for_corrupt_journal_files: bool = "checkForCorruptJournalFiles", false, active;
        /// Start although journal files are missing.
        ignore_missing_journal_files: bool = "ignoreMissingJournalfiles", false, active;
        force_recover_index: bool = "forceRecoverIndex", false, active;
        archive_corrupted_index: bool = "archiveCorruptedIndex", false, active;
        archive_data_logs: bool = "archiveDataLogs", false, active;
        /// Unset = `data-archive` in `directory`.
        directory_archive: Option<PathBuf> = "directoryArchive", None, active;
        preallocation_scope: PreallocationScope =
            "preallocationScope", PreallocationScope::EntireJournal,
            ignored("journal files are always written once before use");
        preallocation_strategy: PreallocationStrategy =
            "preallocationStrategy", PreallocationStrategy::SparseFile,
            ignored("journal files are always written once before use");
        /// Dispatch while the write is under way; an ack that comes first cancels the write.
        concurrent_store_and_dispatch_queues: bool =
            "concurrentStoreAndDispatchQueues", true, active;
        concurrent_store_and_dispatch_topics: bool =
            "concurrentStoreAndDispatchTopics", false,
            ignored("dispatching never waits for the disk where that is safe");
        max_async_jobs: u32 = "maxAsyncJobs", 10_000,
            ignored("what waits to be written is bounded by its bytes");
        failover_producers_audit_depth: u32 = "failoverProducersAuditDepth", 2048,
            ignored("the last sequence number of a producer is all that is needed");
        /// At least.
        max_failover_producers_to_track: u32 = "maxFailoverProducersToTrack", 64, active;
        enable_ack_compaction: bool = "enableAckCompaction", true,
            ignored("acknowledgements never keep a journal file");
        compact_acks_after_no_gc: u32 = "compactAcksAfterNoGC", 10,
            ignored("acknowledgements never keep a journal file");
        compact_acks_ignores_store_growth: bool = "compactAcksIgnoresStoreGrowth", false,
            ignored("acknowledgements never keep a journal file");
        enable_subscription_statistics: bool = "enableSubscriptionStatistics", false,
            ignored("they are always kept, at no cost");
        purge_recovered_xa: PurgeRecoveredXa =
            "purgeRecoveredXATransactionStrategy", PurgeRecoveredXa::Never, active;
        use_lock: bool = "useLock", true, active;
        /// How often a master looks whether the lock is still its own; 0 = every 5 s.
        lock_keep_alive_period: Duration = "lockKeepAlivePeriod", Duration::ZERO, active;
        /// How often a slave tries, at least twice a second; a `locker` has its own.
        database_locked_wait_delay: Duration =
            "databaseLockedWaitDelay", Duration::from_secs(10), active;
        stop_on_error: bool = "stopOnError", false,
            ignored("a failed write or sync always stops the store and the broker");
        locker: Option<Locker> = "locker", None, active;
    }
    without_effect {
        "useIndexLFRUEviction" = "false", "indexLFUEvictionFactor" = "0.2",
        "brokerName",         "rewriteOnRedelivery" = "false", "forceRecoverIndexOnStart" = "false",
    }
}

element! {
    /// The store before `<kahaDB>`, up to ActiveMQ 5.7; kept in our own store, with its sizes.
    pub struct AmqStore = "amqPersistenceAdapter" | "amqPersistenceAdapterFactory" {
        /// Unset = as if no store was configured.
        directory: Option<PathBuf> = "directory" | "dataDirectory", None, active;
        max_file_length: MemorySize = "maxFileLength", MemorySize::mib(32), active;
        /// Unset is true here: it is the default of this broker, not that of the old store.
        sync_on_write: Option<bool> = "syncOnWrite", None, active;
        checkpoint_interval: Duration = "checkpointInterval", Duration::from_secs(5), active;
        cleanup_interval: Duration = "cleanupInterval", Duration::from_secs(30), active;
        archive_data_logs: bool = "archiveDataLogs", false, active;
        directory_archive: Option<PathBuf> = "directoryArchive", None, active;
        disable_locking: bool = "disableLocking", false, active;
    }
    without_effect {
        "asyncDataManager", "brokerName", "directoryPath", "forceRecoverReferenceStore",
        "indexBinSize", "indexKeySize", "indexLoadFactor", "indexMaxBinSize", "indexPageSize",
        "journalThreadPriority", "maxCheckpointMessageAddSize", "maxReferenceFileLength",
        "persistentIndex" = "true", "recoverReferenceStore" = "true", "referenceStoreAdapter",
        "syncOnTransaction" = "true", "useDedicatedTaskRunner" = "true", "useNio" = "true",
        "wireFormat",
    }
}

words! {
    pub enum DiskSync { Always = "always", Periodic = "periodic", Never = "never" }
}

words! {
    /// Which journal files get their space in advance.
    pub enum PreallocationScope {
        EntireJournal = "entire_journal",
        EntireJournalAsync = "entire_journal_async",
        None = "none",
    }
}

words! {
    pub enum PreallocationStrategy {
        SparseFile = "sparse_file",
        OsKernelCopy = "os_kernel_copy",
        Zeros = "zeros",
        ChunkedZeros = "chunked_zeros",
    }
}

words! {
    /// What happens at start to prepared transactions nobody ended.
    pub enum PurgeRecoveredXa { Never = "NEVER", Commit = "COMMIT", Rollback = "ROLLBACK" }
}

element! {
    /// Nothing on disk.
    pub struct MemoryStore = "memoryPersistenceAdapter" { }
    without_effect { "createTransactionStore" = "false", "brokerName", "directory",
        "useExternalMessageReferences" = "false" }
}

element! {
    /// Several KahaDB stores, chosen by destination.
    pub struct MultiKahaDb = "mKahaDB" {
        directory: PathBuf = "directory", PathBuf::from("mKahaDB"), active;
        journal_max_file_length: MemorySize = "journalMaxFileLength", MemorySize::mib(32), active;
        journal_write_batch: MemorySize = "journalWriteBatchSize", MemorySize::mib(4), active;
        journal_cleanup_interval: Duration =
            "journalCleanupInterval", Duration::from_secs(30), active;
        check_for_corruption: bool = "checkForCorruption", true,
            ignored("every record is always checked");
        use_lock: bool = "useLock", true, active;
        lock_keep_alive_period: Duration = "lockKeepAlivePeriod", Duration::ZERO, active;
        locker: Option<Locker> = "locker", None, active;
        stop_on_error: bool = "stopOnError", false,
            ignored("a failed write or sync always stops the store and the broker");
        filtered: Vec<FilteredKahaDb> = "filteredPersistenceAdapters", Vec::new(), active;
    }
    without_effect { "brokerName", "transactionStore" }
}

element! {
    /// One store of an `<mKahaDB>`; without a destination it takes the rest.
    pub struct FilteredKahaDb = "filteredKahaDB" {
        applies_to: AppliesTo = "queue" | "topic" | "tempQueue" | "tempTopic" | "destination",
            AppliesTo::default(), active;
        /// A store for each matching destination.
        per_destination: bool = "perDestination", false, active;
        adapter: Option<Box<PersistenceAdapter>> = "persistenceAdapter" | "adapter", None, active;
        /// Of each of its stores; all of them count for the broker's.
        usage: Option<StoreUsage> = "usage", None, active;
    }
}

element! {
    /// Messages in a database.
    pub struct Jdbc = "jdbcPersistenceAdapter" {
        data_source: Option<DataSource> = "dataSource", None, active;
        data_directory: Option<PathBuf> = "dataDirectory" | "dataDirectoryFile" | "directory", None, active;
        adapter: Option<JdbcAdapter> = "adapter", None, active;
        statements: Statements = "statements", Statements::default(), active;
        create_tables_on_startup: bool = "createTablesOnStartup", true, active;
        use_lock: bool = "useLock" | "useDatabaseLock", true, active;
        lock_keep_alive_period: Duration = "lockKeepAlivePeriod", Duration::from_secs(30), active;
        /// 0 = never.
        cleanup_period: Duration = "cleanupPeriod", Duration::from_secs(300), active;
        max_rows: u32 = "maxRows", 32_767, active;
        enable_audit: bool = "enableAudit", false, active;
        max_audit_depth: u32 = "maxAuditDepth", 1000, active;
        max_producers_to_audit: u32 = "maxProducersToAudit", 1024, active;
        audit_recovery_depth: u32 = "auditRecoveryDepth", 1024, active;
        /// JDBC's number; 0 = the driver's default.
        transaction_isolation: u32 = "transactionIsolation", 0, active;
        change_auto_commit_allowed: bool = "changeAutoCommitAllowed", true, active;
        /// Seconds; unset (-1) = no limit.
        query_timeout_secs: Option<u32> = "queryTimeout", None, active;
        network_timeout: Option<Duration> = "networkTimeout", None, active;
        lock_data_source: Option<DataSource> = "lockDataSource", None, active;
        /// An older name for the locker's interval.
        lock_acquire_sleep_interval: Duration =
            "lockAcquireSleepInterval", Duration::from_secs(10), active;
        locker: Option<Locker> = "locker" | "databaseLocker", None, active;
        stop_on_error: bool = "stopOnError", false, active;
    }
    without_effect {
        "useExternalMessageReferences" = "false", "brokerName", "wireFormat",
        "usePrefetchForLock",
    }
    required { "dataSource" = "without one ActiveMQ starts Apache Derby, which is not supported" }
}

element! {
    /// A database with a journal before it: commands move over at each checkpoint.
    pub struct JournaledJdbc =
        "journalPersistenceAdapterFactory" | "journaledJDBC" | "journalPersistenceAdapter" {
        data_source: Option<DataSource> = "dataSource", None, active;
        /// The journal is in `journal` below.
        data_directory: Option<PathBuf> = "dataDirectory" | "dataDirectoryFile", None, active;
        journal_log_files: u32 = "journalLogFiles", 2, active;
        journal_log_file_size: MemorySize =
            "journalLogFileSize" | "journalLogFilesize", MemorySize::mib(20), active;
        use_journal: bool = "useJournal", true, active;
        use_quick_journal: bool = "useQuickJournal", false, active;
        checkpoint_interval: Duration = "checkpointInterval", Duration::from_secs(300), active;
        journal_archive_directory: Option<PathBuf> = "journalArchiveDirectory", None, active;
        create_tables_on_startup: bool = "createTablesOnStartup", true, active;
        adapter: Option<JdbcAdapter> = "adapter", None, active;
        statements: Statements = "statements", Statements::default(), active;
        use_lock: bool = "useLock" | "useDatabaseLock", true, active;
        lock_keep_alive_period: Duration = "lockKeepAlivePeriod", Duration::from_secs(30), active;
        locker: Option<Locker> = "locker" | "databaseLocker", None, active;
    }
    without_effect {
        "journalThreadPriority" = "10", "useDedicatedTaskRunner" = "true", "brokerName",
        "journal", "persistenceAdapter", "stopOnError" = "false",
        "directory", "longTermPersistence", "maxCheckpointMessageAddSize", "maxCheckpointWorkers",
        "useExternalMessageReferences" = "false", "jdbcAdapter",
    }
    required { "dataSource" = "without one ActiveMQ starts Apache Derby, which is not supported" }
}

choice! {
    /// The SQL dialect; chosen by the data source unless given.
    pub enum JdbcAdapter {
        MySql(MySqlAdapter) = "mysql-jdbc-adapter", active;
        PostgreSql(PostgreSqlAdapter) = "postgresql-jdbc-adapter", active;
    }
    refused {
        "oracleJDBCAdapter" | "oracleBlobJDBCAdapter" | "sqlServerJDBCAdapter" | "db2JDBCAdapter" | "sqlserver-jdbc-adapter"
            | "sybase-jdbc-adapter" | "hsqldb-jdbc-adapter" | "informixJDBCAdapter"
            | "maxdb-jdbc-adapter" | "axionJDBCAdapter" | "blobJDBCAdapter" | "bytesJDBCAdapter"
            | "defaultJDBCAdapter" | "imageBasedJDBCAdaptor" | "streamJDBCAdapter"
            | "transact-jdbc-adapter" | "derby-jdbc-adapter" => "database not supported",
    }
}

element! {
    pub struct MySqlAdapter = "mysql-jdbc-adapter" {
        engine_type: String = "engineType", "INNODB".to_owned(), active;
        type_statement: String = "typeStatement", "ENGINE".to_owned(), active;
    }
    without_effect { "statements", "batchStatements", "batchStatments", "maxRows", "useExternalMessageReferences" }
}

element! {
    pub struct PostgreSqlAdapter = "postgresql-jdbc-adapter" {
        acks_primary_key_name: String = "acksPkName", "activemq_acks_pkey".to_owned(), active;
    }
    without_effect { "statements", "batchStatements", "batchStatments", "maxRows", "useExternalMessageReferences" }
}

element! {
    /// Names of tables and column types.
    pub struct Statements = "statements" {
        table_prefix: String = "tablePrefix", String::new(), active;
        message_table: String = "messageTableName", "ACTIVEMQ_MSGS".to_owned(), active;
        durable_sub_acks_table: String =
            "durableSubAcksTableName", "ACTIVEMQ_ACKS".to_owned(), active;
        lock_table: String = "lockTableName", "ACTIVEMQ_LOCK".to_owned(), active;
        binary_data_type: Option<String> = "binaryDataType", None, active;
        container_name_data_type: String =
            "containerNameDataType", "VARCHAR(250)".to_owned(), active;
        message_id_data_type: String = "msgIdDataType", "VARCHAR(250)".to_owned(), active;
        sequence_data_type: Option<String> = "sequenceDataType", None, active;
        long_data_type: Option<String> = "longDataType", None, active;
        string_id_data_type: Option<String> = "stringIdDataType", None, active;
    }
    without_effect {
        "addMessageStatement", "clearXidFlagStatement", "createLockSchemaStatements",
        "removeMessageStatment", "updateDurableLastAckWithPriorityInTxStatement", "clearDurableLastAckInTxStatement", "createDurableSubStatement",
        "createSchemaStatements", "currentDateTimeStatement", "deleteOldMessagesStatement",
        "deleteOldMessagesStatementWithPriority", "deleteSubscriptionStatement",
        "destinationMessageCountStatement", "dropAckPKAlterStatementEnd",
        "dropSchemaStatements", "durableSubscriberMessageCountStatement",
        "durableSubscriberMessageCountStatementWithPriority", "findAcksPendingOutcomeStatement",
        "findAllDestinationsStatement", "findAllDurableSubMessagesStatement",
        "findAllDurableSubsStatement", "findAllMessageIdsStatement", "findAllMessagesStatement",
        "findDurableSubMessagesByPriorityStatement", "findDurableSubMessagesStatement",
        "findDurableSubStatement", "findLastSequenceIdInAcksStatement",
        "findLastSequenceIdInMsgsStatement", "findMessageByIdStatement",
        "findMessageSequenceIdStatement", "findMessageStatement",
        "findNextMessagesByPriorityStatement",
        "findNextMessagesStatement", "findOpsPendingOutcomeStatement", "findXidByIdStatement",
        "insertDurablePriorityAckStatement", "lastAckedDurableSubscriberMessageStatement",
        "lastProducerSequenceIdStatement", "leaseObtainStatement", "leaseOwnerStatement",
        "leaseUpdateStatement", "lockCreateStatement", "lockUpdateStatement",
        "nextDurableSubscriberMessageStatement", "removeAllMessagesStatement",
        "removeAllSubscriptionsStatement", "removeMessageStatement",
        "selectDurablePriorityAckStatement",
        "updateDurableLastAckInTxStatement", "updateDurableLastAckStatement",
        "updateDurableLastAckWithPriorityStatement",
        "updateLastPriorityAckRowOfDurableSubStatement",
        "updateMessageStatement", "updateXidFlagStatement", "useExternalMessageReferences",
        "useLockCreateWhereClause",
    }
}

/// The properties of both LevelDB stores.
macro_rules! level_db {
    ($(#[$meta:meta])* pub struct $Store:ident = $element:literal { $($own:tt)* }) => {
        element! {
            $(#[$meta])*
            pub struct $Store = $element {
                $($own)*
                directory: PathBuf = "directory", PathBuf::from("LevelDB"), active;
                log_directory: Option<PathBuf> = "logDirectory", None, active;
                log_size: MemorySize = "logSize", MemorySize::mib(100), active;
                /// Unset = as much as `<kahaDB>` has.
                index_cache: Option<MemorySize> = "indexCacheSize", None, active;
                use_lock: bool = "useLock", true, active;
                lock_keep_alive_period: Duration = "lockKeepAlivePeriod", Duration::ZERO, active;
                locker: Option<Locker> = "locker", None, active;
            }
            without_effect {
                "paranoidChecks" = "false", "indexMaxOpenFiles" = "1000",
                "indexBlockRestartInterval" = "16", "indexCompression" = "snappy",
                "logCompression" = "none", "flushDelay" = "0", "monitorStats" = "false",
                "verifyChecksums" = "false", "indexWriteBufferSize" = "6mb",
                "indexBlockSize" = "4kb", "asyncBufferSize" = "4mb",
                "autoCompactionRatio" = "250", "indexFactory", "brokerName",
                "failoverProducersAuditDepth", "maxFailoverProducersToTrack", "logWriteBufferSize",
            }
        }
    };
}

level_db! {
    /// ActiveMQ 5.15 only; kept in our own store, with its sizes.
    pub struct LevelDb = "levelDB" {
        sync: bool = "sync", true, active;
    }
}

level_db! {
    /// ActiveMQ 5.15 only: a store kept on several machines, the master elected by ZooKeeper.
    pub struct ReplicatedLevelDb = "replicatedLevelDB" {
        /// Half of them and one more must agree.
        replicas: u32 = "replicas", 3, active;
        bind: String = "bind", "tcp://0.0.0.0:61619".to_owned(), active;
        /// What the others connect to; unset = the machine's name.
        hostname: Option<String> = "hostname", None, active;
        zk_address: String = "zkAddress", "127.0.0.1:2181".to_owned(), active;
        zk_password: Option<Secret> = "zkPassword", None, active;
        zk_path: String = "zkPath", "/default".to_owned(), active;
        zk_session_timeout: DurationWithUnit =
            "zkSessionTimeout" | "zkSessionTmeout",
            DurationWithUnit(Duration::from_secs(2)), active;
        /// Out of local_mem, local_disk, remote_mem, remote_disk, quorum_mem, quorum_disk.
        sync: Vec<String> = "sync", vec!["quorum_mem".to_owned()], active;
        /// The heavier of two candidates that know as much wins.
        weight: u32 = "weight", 1, active;
        security_token: Option<Secret> = "securityToken", None, active;
        container: Option<String> = "container", None, active;
        connect_url: Option<String> = "connectUrl", None, active;
    }
}

choice! {
    /// How a broker makes sure that it is the only one on its store.
    pub enum Locker {
        SharedFile(SharedFileLocker) = "shared-file-locker", active;
        Database(DatabaseLocker) = "database-locker", active;
        Lease(LeaseDatabaseLocker) = "lease-database-locker", active;
    }
    refused { "transact-database-locker" => "it is for SQL Server, which is not supported" }
}

element! {
    pub struct SharedFileLocker = "shared-file-locker" {
        /// How often a slave tries.
        acquire_sleep_interval: Duration =
            "lockAcquireSleepInterval", Duration::from_secs(10), active;
        /// End instead of waiting as a slave.
        fail_if_locked: bool = "failIfLocked", false, active;
        /// Unset = that of the store.
        directory: Option<PathBuf> = "directory", None, active;
    }
    without_effect { "name" }
}

element! {
    pub struct DatabaseLocker = "database-locker" {
        acquire_sleep_interval: Duration =
            "lockAcquireSleepInterval", Duration::from_secs(10), active;
        fail_if_locked: bool = "failIfLocked", false, active;
        /// Seconds; unset (-1) = no limit.
        query_timeout_secs: Option<u32> = "queryTimeout", None, active;
        data_source: Option<DataSource> = "dataSource", None, active;
        statements: Statements = "statements", Statements::default(), active;
        create_tables_on_startup: bool = "createTablesOnStartup", true, active;
    }
    without_effect { "name", "exceptionHandler" }
}

element! {
    pub struct LeaseDatabaseLocker = "lease-database-locker" {
        /// Unset = the broker's name.
        lease_holder_id: Option<String> = "leaseHolderId", None, active;
        /// How often a slave tries, and how long a lease is valid.
        acquire_sleep_interval: Duration =
            "lockAcquireSleepInterval", Duration::from_secs(10), active;
        fail_if_locked: bool = "failIfLocked", false, active;
        query_timeout_secs: Option<u32> = "queryTimeout", None, active;
        /// Clocks that differ more are compensated; 0 = always.
        max_allowable_diff_from_db_time: Duration =
            "maxAllowableDiffFromDBTime", Duration::ZERO, active;
        handle_start_exception: bool = "handleStartException", false, active;
        data_source: Option<DataSource> = "dataSource", None, active;
        statements: Statements = "statements", Statements::default(), active;
        create_tables_on_startup: bool = "createTablesOnStartup", true, active;
    }
    without_effect { "name" }
}
