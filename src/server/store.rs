//! From a configured `<persistenceAdapter>` to what the file store is opened with.

use super::disk::Space;
use super::note::Note;
use crate::broker::PreparedFate;
use crate::config::{
    AmqStore, BrokerConfig, DiskSync, KahaDb, LevelDb, Locker, MultiKahaDb, PersistenceAdapter,
    PurgeRecoveredXa,
};
use crate::ha::MasterOptions;
use crate::jms::Destination;
use crate::store::kahadb::journal::SyncPolicy;
use crate::store::kahadb::multi::{FilteredStore, MultiOptions};
use crate::store::kahadb::{Fence, KahaDbOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a file store is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    /// Who may open it; none: whoever comes.
    pub lock: Option<LockPlan>,
    /// The folder of the db-N.log files.
    pub directory: PathBuf,
    /// The folder of db.data, db.redo and db.free.
    pub index_directory: PathBuf,
    /// Where journal files go that nobody needs; none: they are deleted.
    pub archive: Option<PathBuf>,
    pub journal_file_bytes: u32,
    pub batch_bytes_max: u32,
    pub sync: SyncPolicy,
    pub index_cache_bytes: usize,
    /// False: a power cut may cost a rebuild of the index.
    pub sync_index: bool,
    /// How often the index reaches the disk; none: at the end, and when too much has come together.
    pub checkpoint_interval: Option<Duration>,
    /// How often journal files nobody needs are removed; none: never.
    pub cleanup_interval: Option<Duration>,
    pub cleanup_on_stop: bool,
    /// Read the whole journal before anything is served.
    pub verify_journal: bool,
    /// Open although journal files are missing or damaged, without what was in them.
    pub accept_loss: bool,
    pub rebuild_index: bool,
    /// Keep the files of an index that is rebuilt because it was damaged.
    pub keep_damaged_index: bool,
    /// How many producers' last sequence numbers are remembered, at least.
    pub producers_min: usize,
    pub prepared: PreparedFate,
    /// Messages of queues go to consumers while they are being stored.
    pub dispatches_early: bool,
    /// Several stores below `directory`; the rest of the plan is for what no filter covers.
    pub several: Option<SeveralPlan>,
}

/// The stores of an `<mKahaDB>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeveralPlan {
    pub filtered: Vec<FilteredPlan>,
    /// The journal of what lies in several stores.
    pub transactions: Box<StorePlan>,
}

/// One `<filteredKahaDB>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredPlan {
    /// None: all that no other filter covers.
    pub filter: Option<Destination>,
    pub per_destination: bool,
    /// What each of its stores may use; 0: no limit of its own.
    pub limit_bytes: u64,
    /// Its `directory` is that of the folders of its stores.
    pub plan: StorePlan,
}

/// How the lock of a store is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockPlan {
    /// The folder of the file `lock`.
    pub directory: PathBuf,
    pub options: MasterOptions,
}

impl StorePlan {
    /// What the store is told. `node` is the broker's name.
    pub fn options(&self, node: &str, lock_generation: u64, fence: &Fence) -> KahaDbOptions {
        KahaDbOptions {
            directory: self.directory.clone(),
            index_directory: Some(self.index_directory.clone()),
            journal_max_file_length: self.journal_file_bytes,
            journal_max_write_batch: self.batch_bytes_max,
            sync: self.sync,
            checkpoint_interval: self.checkpoint_interval.unwrap_or_default(),
            cleanup_interval: self.cleanup_interval.unwrap_or_default(),
            cleanup_on_stop: self.cleanup_on_stop,
            ignore_missing_journal_files: self.accept_loss,
            check_for_corrupt_journal_files: self.verify_journal,
            force_recover_index: self.rebuild_index,
            archive_corrupted_index: self.keep_damaged_index,
            archive_data_logs: self.archive.is_some(),
            directory_archive: self.archive.clone(),
            index_cache_bytes: self.index_cache_bytes,
            enable_index_disk_syncs: self.sync_index,
            lock_generation,
            fence: fence.clone(),
            node: node.to_owned(),
            audit: self.producers_min,
            ..KahaDbOptions::default()
        }
    }

    /// What the stores are told, if they are several.
    pub fn several(&self, node: &str, generation: u64, fence: &Fence) -> Option<MultiOptions> {
        let several = self.several.as_ref()?;
        let options = |plan: &Self| plan.options(node, generation, fence);
        let filtered = several.filtered.iter().map(|filtered| FilteredStore {
            filter: filtered.filter.clone(),
            per_destination: filtered.per_destination,
            options: options(&filtered.plan),
            limit_bytes: filtered.limit_bytes,
        });
        Some(MultiOptions {
            stores: filtered.collect(),
            rest: options(self),
            transactions: options(&several.transactions),
        })
    }

    /// How the journals are made durable.
    fn syncs(&self) -> Vec<SyncPolicy> {
        let own = self.several.is_none().then_some(self.sync);
        let filtered = self.several.iter().flat_map(|several| &several.filtered);
        own.into_iter().chain(filtered.map(|filtered| filtered.plan.sync)).collect()
    }
}

/// The plan for the configured store, and what an operator should read about it; none if that is not a
/// store in files.
pub fn of_config(broker: &BrokerConfig) -> Option<(StorePlan, Vec<Note>)> {
    let (plan, mut notes) = match broker.store() {
        PersistenceAdapter::KahaDb(kaha) => kaha_db(&kaha),
        PersistenceAdapter::LevelDb(level) => level_db(&level),
        PersistenceAdapter::Amq(amq) => amq_store(&amq, &broker.default_store_directory()),
        PersistenceAdapter::MultiKahaDb(multi) => multi_kaha_db(&multi),
        PersistenceAdapter::Memory(_)
        | PersistenceAdapter::Jdbc(_)
        | PersistenceAdapter::JournaledJdbc(_)
        | PersistenceAdapter::ReplicatedLevelDb(_) => return None,
    };
    for note in plan.syncs().into_iter().filter_map(sync_note) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    if plan.lock.is_none() {
        let directory = plan.directory.display();
        notes.push(Note::Warn(format!(
            "The store in {directory} is not locked: nothing keeps a second broker from destroying it"
        )));
    }
    Some((plan, notes))
}

fn sync_note(sync: SyncPolicy) -> Option<Note> {
    match sync {
        SyncPolicy::Always => None,
        SyncPolicy::Periodic(interval) => Some(Note::Warn(format!(
            "The journal is synced to disk every {} ms: messages that were acknowledged since may be lost \
             when the power fails",
            interval.as_millis()
        ))),
        SyncPolicy::Never => Some(Note::Warn(
            "The journal is not synced to disk: messages that were acknowledged may be lost when the power \
             fails"
                .to_owned(),
        )),
    }
}

fn kaha_db(kaha: &KahaDb) -> (StorePlan, Vec<Note>) {
    let mut notes = Vec::new();
    let directory = &kaha.directory;
    let archive = || kaha.directory_archive.clone().unwrap_or_else(|| archive_in(directory));
    let sync = match kaha.journal_disk_sync_strategy {
        _ if !kaha.enable_journal_disk_syncs => SyncPolicy::Never,
        DiskSync::Never => SyncPolicy::Never,
        DiskSync::Periodic => {
            every(kaha.journal_disk_sync_interval).map_or(SyncPolicy::Always, SyncPolicy::Periodic)
        }
        DiskSync::Always => SyncPolicy::Always,
    };
    let lock = kaha.use_lock.then(|| {
        let keep_alive = kaha.lock_keep_alive_period;
        let retry = kaha.database_locked_wait_delay;
        lock(directory, kaha.locker.as_ref(), retry, keep_alive, &mut notes)
    });
    let plan = StorePlan {
        lock,
        directory: directory.clone(),
        index_directory: kaha.index_directory.clone().unwrap_or_else(|| directory.clone()),
        archive: kaha.archive_data_logs.then(archive),
        journal_file_bytes: limited(kaha.journal_max_file_length.bytes()),
        batch_bytes_max: limited(kaha.journal_max_write_batch.bytes()),
        sync,
        index_cache_bytes: (kaha.index_cache_size as usize).saturating_mul(JAVA_PAGE_BYTES),
        sync_index: kaha.enable_index_disk_syncs,
        checkpoint_interval: every(kaha.checkpoint_interval),
        cleanup_interval: every(kaha.cleanup_interval),
        cleanup_on_stop: kaha.cleanup_on_stop,
        verify_journal: kaha.check_for_corrupt_journal_files,
        accept_loss: kaha.ignore_missing_journal_files,
        rebuild_index: kaha.force_recover_index,
        keep_damaged_index: kaha.archive_corrupted_index,
        producers_min: kaha.max_failover_producers_to_track as usize,
        dispatches_early: kaha.concurrent_store_and_dispatch_queues,
        several: None,
        prepared: match kaha.purge_recovered_xa {
            PurgeRecoveredXa::Never => PreparedFate::Wait,
            PurgeRecoveredXa::Commit => PreparedFate::Commit,
            PurgeRecoveredXa::Rollback => PreparedFate::RollBack,
        },
    };
    (plan, notes)
}

fn multi_kaha_db(multi: &MultiKahaDb) -> (StorePlan, Vec<Note>) {
    let mut notes = Vec::new();
    let mut filtered = Vec::new();
    for store in &multi.filtered {
        let of = store.applies_to.0.as_ref();
        let filter = of.map(|of| Destination::new(of.kind, Some(of.name.as_str().into())));
        let name = filter.as_ref().map_or_else(|| "the rest".to_owned(), ToString::to_string);
        let kaha = match store.adapter.as_deref() {
            Some(PersistenceAdapter::KahaDb(kaha)) => kaha.clone(),
            None => KahaDb::default(),
            Some(_) => {
                notes.push(Note::Warn(format!(
                    "The <filteredKahaDB> of {name} is kept in a <kahaDB> with default options: it can \
                     have no other store"
                )));
                KahaDb::default()
            }
        };
        let own = kaha.directory != KahaDb::default().directory;
        let directory = if own { kaha.directory.clone() } else { multi.directory.clone() };
        // The one lock is that of all.
        let kaha = KahaDb { directory, use_lock: false, ..kaha };
        let (plan, of_store) = kaha_db(&kaha);
        notes.extend(of_store);
        let limit_bytes = store.usage.as_ref().map_or(0, |usage| {
            let space = Space::of(&plan.directory);
            usage.limit_bytes(space.map_or(0, |space| space.total_bytes))
        });
        let per_destination = store.per_destination;
        filtered.push(FilteredPlan { filter, per_destination, limit_bytes, plan });
    }
    let rest = KahaDb { directory: multi.directory.clone(), use_lock: false, ..KahaDb::default() };
    let transactions = KahaDb {
        journal_max_file_length: multi.journal_max_file_length,
        journal_max_write_batch: multi.journal_write_batch,
        cleanup_interval: multi.journal_cleanup_interval,
        ..rest.clone()
    };
    let lock = multi.use_lock.then(|| {
        let (locker, keep_alive) = (multi.locker.as_ref(), multi.lock_keep_alive_period);
        lock(&multi.directory, locker, RETRY, keep_alive, &mut notes)
    });
    let fates = filtered.iter().map(|filtered| filtered.plan.prepared);
    let prepared = fates.reduce(|a, b| if a == PreparedFate::Wait { b } else { a });
    let dispatches_early = filtered.iter().all(|filtered| filtered.plan.dispatches_early);
    let transactions = Box::new(kaha_db(&transactions).0);
    let plan = StorePlan {
        lock,
        prepared: prepared.unwrap_or_default(),
        dispatches_early,
        several: Some(SeveralPlan { filtered, transactions }),
        ..kaha_db(&rest).0
    };
    (plan, notes)
}

fn level_db(level: &LevelDb) -> (StorePlan, Vec<Note>) {
    let mut notes = vec![Note::Info(
        "<levelDB> is taken as <kahaDB> with the same directory and sizes; files of a LevelDB store are not \
         read"
            .to_owned(),
    )];
    let defaults = KahaDb {
        directory: level.log_directory.clone().unwrap_or_else(|| level.directory.clone()),
        index_directory: Some(level.directory.clone()),
        journal_max_file_length: level.log_size,
        enable_journal_disk_syncs: level.sync,
        use_lock: false,
        ..KahaDb::default()
    };
    let (mut plan, _) = kaha_db(&defaults);
    plan.lock = level.use_lock.then(|| {
        let keep_alive = level.lock_keep_alive_period;
        lock(&level.directory, level.locker.as_ref(), RETRY, keep_alive, &mut notes)
    });
    if let Some(cache) = level.index_cache {
        plan.index_cache_bytes = usize::try_from(cache.bytes()).unwrap_or(usize::MAX);
    }
    (plan, notes)
}

fn amq_store(amq: &AmqStore, default: &Path) -> (StorePlan, Vec<Note>) {
    let note = "<amqPersistenceAdapter> is taken as <kahaDB> with the same directory and sizes; files of \
                the old store are not read";
    let kaha = KahaDb {
        directory: amq.directory.clone().unwrap_or_else(|| default.to_owned()),
        journal_max_file_length: amq.max_file_length,
        enable_journal_disk_syncs: amq.sync_on_write.unwrap_or(true),
        checkpoint_interval: amq.checkpoint_interval,
        cleanup_interval: amq.cleanup_interval,
        archive_data_logs: amq.archive_data_logs,
        directory_archive: amq.directory_archive.clone(),
        use_lock: !amq.disable_locking,
        ..KahaDb::default()
    };
    let (plan, mut notes) = kaha_db(&kaha);
    notes.insert(0, Note::Info(note.to_owned()));
    (plan, notes)
}

/// `retry` and `keep_alive` are those of the store; a locker has its own `retry`.
fn lock(
    store: &Path,
    locker: Option<&Locker>,
    retry: Duration,
    keep_alive: Duration,
    notes: &mut Vec<Note>,
) -> LockPlan {
    let own = store.to_owned();
    let (directory, retry, fail_if_locked) = match locker {
        None => (own, retry, false),
        Some(Locker::SharedFile(file)) => {
            let directory = file.directory.clone().unwrap_or(own);
            (directory, file.acquire_sleep_interval, file.fail_if_locked)
        }
        Some(Locker::Database(database)) => {
            notes.push(Note::Warn(NO_DATABASE.to_owned()));
            (own, database.acquire_sleep_interval, database.fail_if_locked)
        }
        Some(Locker::Lease(lease)) => {
            notes.push(Note::Warn(NO_DATABASE.to_owned()));
            (own, lease.acquire_sleep_interval, lease.fail_if_locked)
        }
    };
    let options = MasterOptions {
        retry: retry.min(RETRY_MAX),
        fail_if_locked,
        keep_alive: every(keep_alive).unwrap_or(KEEP_ALIVE),
    };
    LockPlan { directory, options }
}

const NO_DATABASE: &str = "A lock in a database is not active yet: the store is locked by the file 'lock' \
                           in its directory instead";

/// A master's death is found within this time, however long the configured interval is: a try costs
/// two system calls.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// `lockAcquireSleepInterval` unless configured.
const RETRY: Duration = Duration::from_secs(10);

/// `lockKeepAlivePeriod` where it is 0, with which ActiveMQ never looks: then a lock file that
/// somebody deletes makes two masters.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// `indexCacheSize` counts pages of this size.
const JAVA_PAGE_BYTES: usize = 4096;

fn archive_in(directory: &Path) -> PathBuf {
    directory.join("data-archive")
}

fn every(interval: Duration) -> Option<Duration> {
    Some(interval).filter(|interval| !interval.is_zero())
}

fn limited(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MemorySize, SharedFileLocker};

    fn planned(store: PersistenceAdapter) -> (StorePlan, Vec<Note>) {
        let broker = BrokerConfig { persistence_adapter: Some(store), ..BrokerConfig::default() };
        of_config(&broker).unwrap()
    }

    fn kaha(kaha: KahaDb) -> (StorePlan, Vec<Note>) {
        planned(PersistenceAdapter::KahaDb(kaha))
    }

    #[test]
    fn defaults_are_those_of_activemq() {
        let (plan, notes) = kaha(KahaDb::default());
        assert_eq!(notes, []);
        let directory = PathBuf::from("KahaDB");
        let options = MasterOptions {
            retry: Duration::from_millis(500),
            fail_if_locked: false,
            keep_alive: Duration::from_secs(5),
        };
        let expected = StorePlan {
            lock: Some(LockPlan { directory: directory.clone(), options }),
            index_directory: directory.clone(),
            directory,
            archive: None,
            journal_file_bytes: 32 << 20,
            batch_bytes_max: 4 << 20,
            sync: SyncPolicy::Always,
            index_cache_bytes: 10_000 * 4096,
            sync_index: true,
            checkpoint_interval: Some(Duration::from_secs(5)),
            cleanup_interval: Some(Duration::from_secs(30)),
            cleanup_on_stop: true,
            verify_journal: false,
            accept_loss: false,
            rebuild_index: false,
            keep_damaged_index: false,
            producers_min: 64,
            prepared: PreparedFate::Wait,
            dispatches_early: true,
            several: None,
        };
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_sync_policy_that_can_lose_messages_is_warned_of() {
        let periodic =
            KahaDb { journal_disk_sync_strategy: DiskSync::Periodic, ..KahaDb::default() };
        let off = KahaDb { enable_journal_disk_syncs: false, ..periodic.clone() };
        let at_once = KahaDb { journal_disk_sync_interval: Duration::ZERO, ..periodic.clone() };
        let second = SyncPolicy::Periodic(Duration::from_secs(1));
        for (store, policy, warned) in [
            (periodic, second, true),
            (off, SyncPolicy::Never, true),
            (at_once, SyncPolicy::Always, false),
        ] {
            let (plan, notes) = kaha(store);
            assert_eq!(plan.sync, policy);
            let warns =
                |note: &Note| matches!(note, Note::Warn(text) if text.contains("may be lost"));
            assert_eq!(notes.iter().any(warns), warned, "{notes:?}");
        }
    }

    #[test]
    fn directories_and_intervals_of_zero() {
        let (plan, _) = kaha(KahaDb {
            directory: "a".into(),
            index_directory: Some("b".into()),
            archive_data_logs: true,
            checkpoint_interval: Duration::ZERO,
            cleanup_interval: Duration::ZERO,
            journal_max_file_length: MemorySize(u64::MAX),
            ..KahaDb::default()
        });
        assert_eq!(plan.index_directory, Path::new("b"));
        assert_eq!(plan.archive.as_deref(), Some(Path::new("a/data-archive")));
        assert_eq!((plan.checkpoint_interval, plan.cleanup_interval), (None, None));
        assert_eq!(plan.journal_file_bytes, u32::MAX);
    }

    #[test]
    fn a_locker_says_where_and_how_the_lock_is_had() {
        let file = SharedFileLocker {
            acquire_sleep_interval: Duration::from_millis(100),
            fail_if_locked: true,
            directory: Some("locks".into()),
            ..SharedFileLocker::default()
        };
        let (plan, notes) = kaha(KahaDb {
            locker: Some(Locker::SharedFile(file)),
            lock_keep_alive_period: Duration::from_secs(1),
            ..KahaDb::default()
        });
        let options = MasterOptions {
            retry: Duration::from_millis(100),
            fail_if_locked: true,
            keep_alive: Duration::from_secs(1),
        };
        assert_eq!(plan.lock, Some(LockPlan { directory: "locks".into(), options }));
        assert_eq!(notes, []);

        let (plan, notes) = kaha(KahaDb { use_lock: false, ..KahaDb::default() });
        assert_eq!(plan.lock, None);
        assert!(matches!(&notes[..], [Note::Warn(text)] if text.contains("is not locked")));
    }

    #[test]
    fn older_stores_are_taken_as_kahadb_and_say_so() {
        let level =
            LevelDb { log_directory: Some("logs".into()), sync: false, ..LevelDb::default() };
        let (plan, notes) = planned(PersistenceAdapter::LevelDb(level));
        assert_eq!(plan.directory, Path::new("logs"));
        assert_eq!(plan.index_directory, Path::new("LevelDB"));
        assert_eq!(plan.lock.unwrap().directory, Path::new("LevelDB"));
        assert_eq!((plan.sync, plan.journal_file_bytes), (SyncPolicy::Never, 100 << 20));
        assert!(matches!(&notes[..], [Note::Info(_), Note::Warn(_)]), "{notes:?}");

        let (plan, notes) = planned(PersistenceAdapter::Amq(AmqStore::default()));
        let default = BrokerConfig::default().default_store_directory();
        assert_eq!((plan.directory, plan.sync), (default, SyncPolicy::Always));
        assert!(matches!(&notes[..], [Note::Info(_)]), "{notes:?}");
    }

    #[test]
    fn several_stores_have_one_lock_and_options_of_their_own() {
        let text = r#"<beans><broker dataDirectory="d"><persistenceAdapter>
          <mKahaDB directory="m" journalMaxFileLength="64mb">
            <filteredPersistenceAdapters>
              <filteredKahaDB queue="A.>">
                <usage><storeUsage limit="4mb"/></usage>
                <persistenceAdapter>
                  <kahaDB journalMaxFileLength="1mb" journalDiskSyncStrategy="never"/>
                </persistenceAdapter>
              </filteredKahaDB>
              <filteredKahaDB perDestination="true">
                <persistenceAdapter>
                  <kahaDB directory="own" archiveDataLogs="true"
                          purgeRecoveredXATransactionStrategy="COMMIT"/>
                </persistenceAdapter>
              </filteredKahaDB>
            </filteredPersistenceAdapters>
          </mKahaDB>
        </persistenceAdapter></broker></beans>"#;
        let variables = crate::config::Variables::default();
        let config = crate::config::parse(text, Path::new("a.xml"), variables).unwrap();
        let (plan, notes) = of_config(&config.broker).unwrap();
        assert!(matches!(&notes[..], [Note::Warn(text)] if text.contains("is not synced")));
        assert_eq!(plan.lock.as_ref().unwrap().directory, Path::new("m"));
        assert_eq!(plan.prepared, PreparedFate::Commit);
        let options = plan.several("here", 7, &Fence::default()).unwrap();
        assert_eq!(options.part_for(&Destination::queue("A.b")).1, 4 << 20);
        assert_eq!(options.part_for(&Destination::queue("B")), ("queue#3a#2f#2fB".into(), 0));
        let [a, each] = &options.stores[..] else { panic!("{options:?}") };
        assert_eq!((&a.filter, a.per_destination), (&Some(Destination::queue("A.>")), false));
        assert_eq!(
            (a.options.sync, a.options.journal_max_file_length),
            (SyncPolicy::Never, 1 << 20)
        );
        assert_eq!(a.options.directory, Path::new("m"));
        assert_eq!((&each.filter, each.per_destination), (&None, true));
        assert_eq!(each.options.directory, Path::new("own"));
        assert_eq!(each.options.directory_archive.as_deref(), Some(Path::new("own/data-archive")));
        assert_eq!(options.rest.directory, Path::new("m"));
        let transactions = &options.transactions;
        assert_eq!(
            (transactions.sync, transactions.journal_max_file_length),
            (SyncPolicy::Always, 64 << 20)
        );
        assert_eq!((transactions.lock_generation, &*transactions.node), (7, "here"));
    }
}
