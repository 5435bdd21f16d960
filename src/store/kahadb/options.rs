//! Options of `<kahaDB>` as the store takes them, and why it does not open.

use super::fence::Fence;
use super::index::IndexError;
use super::journal::{JournalError, SyncPolicy};
use crate::store::StoreError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names and defaults as in ActiveMQ.
#[derive(Clone, Debug)]
pub struct KahaDbOptions {
    /// `directory`: the journal, the index and the lock.
    pub directory: PathBuf,
    /// `indexDirectory`; none = `directory`.
    pub index_directory: Option<PathBuf>,
    /// `journalMaxFileLength`, bytes: a db-N.log is closed before it grows past this. 32 MiB.
    pub journal_max_file_length: u32,
    /// `journalMaxWriteBatchSize`, bytes. 4 MiB.
    pub journal_max_write_batch: u32,
    /// `journalDiskSyncStrategy` with `journalDiskSyncInterval`. Always.
    pub sync: SyncPolicy,
    /// `checkpointInterval`: how often the index reaches the disk. 5 s; zero = only at the close,
    /// and when very much has changed.
    pub checkpoint_interval: Duration,
    /// `cleanupInterval`: how often journal files nobody needs are dropped. 30 s; zero = never.
    pub cleanup_interval: Duration,
    /// `cleanupOnStop`: also at the close. True.
    pub cleanup_on_stop: bool,
    /// `ignoreMissingJournalfiles`: start although journal files are missing or damaged; what was
    /// in them is lost. False.
    pub ignore_missing_journal_files: bool,
    /// `checkForCorruptJournalFiles`: read every stored message at the start and drop those that
    /// are damaged. False.
    pub check_for_corrupt_journal_files: bool,
    /// `forceRecoverIndex`: build the index again at the start. False.
    pub force_recover_index: bool,
    /// `archiveCorruptedIndex`: keep the files of a damaged index. False.
    pub archive_corrupted_index: bool,
    /// `archiveDataLogs`: move journal files that nobody needs instead of deleting them. False.
    pub archive_data_logs: bool,
    /// `directoryArchive`; none = `data-archive` in `directory`.
    pub directory_archive: Option<PathBuf>,
    /// `indexCacheSize` in bytes. 64 MiB.
    pub index_cache_bytes: usize,
    /// `enableIndexDiskSyncs`; without, a power cut may cost a rebuild of the index. True.
    pub enable_index_disk_syncs: bool,
    /// Empty every journal file that has something dead, and at full speed. False.
    pub compacts_all: bool,
    /// Generation of the lock that the caller holds; written into journal files.
    pub lock_generation: u64,
    /// Asked before every write to the journal or the index. Always open.
    pub fence: Fence,
    /// Name of the broker; written into the journal.
    pub node: String,
    /// How long to wait for disk space before looking again. 1 s.
    pub space_retry: Duration,
    /// `maxFailoverProducersToTrack`: producers whose last message is remembered, at least. 64; the
    /// store remembers 1024 anyway.
    pub audit: usize,
}

impl KahaDbOptions {
    /// Where db.data is.
    pub(super) fn index_folder(&self) -> &Path {
        self.index_directory.as_ref().unwrap_or(&self.directory)
    }
}

impl Default for KahaDbOptions {
    fn default() -> Self {
        Self {
            directory: "KahaDB".into(),
            index_directory: None,
            journal_max_file_length: 32 << 20,
            journal_max_write_batch: 4 << 20,
            sync: SyncPolicy::Always,
            checkpoint_interval: Duration::from_secs(5),
            cleanup_interval: Duration::from_secs(30),
            cleanup_on_stop: true,
            ignore_missing_journal_files: false,
            check_for_corrupt_journal_files: false,
            force_recover_index: false,
            archive_corrupted_index: false,
            archive_data_logs: false,
            directory_archive: None,
            index_cache_bytes: 64 << 20,
            enable_index_disk_syncs: true,
            compacts_all: false,
            lock_generation: 0,
            fence: Fence::default(),
            node: "localhost".into(),
            space_retry: Duration::from_secs(1),
            audit: 64,
        }
    }
}

/// Why a store does not open. Nothing was changed that was not damaged before.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Files that hold messages are not there; `ignoreMissingJournalfiles` gives them up.
    #[error(
        "Detected missing/corrupt journal files referenced by:[{index}] {messages} messages \
         affected: {files}"
    )]
    MissingFiles { index: PathBuf, files: String, messages: u64 },
    /// The same, and no index says what they hold.
    #[error(
        "Detected missing/corrupt journal files: {files}. No index says what {folder} had in them; \
         ignoreMissingJournalfiles=\"true\" starts without"
    )]
    UnknownFiles { folder: PathBuf, files: String },
    /// Messages are stored in a form that this version does not write.
    #[error("messages in {index} have the form {found}, not {expected}")]
    Form { index: PathBuf, found: u32, expected: u32 },
    /// One destination, or one folder, is in two places, and neither can be left out.
    #[error("{what} is in {first} and in {second}")]
    Twice { what: String, first: PathBuf, second: PathBuf },
    /// What was decided before could not be done.
    #[error("a transaction in several stores cannot be ended")]
    Decided(#[source] StoreError),
    /// The disk says things that pass every checksum and make no sense.
    #[error("the journal in {0} says what it cannot mean")]
    Nonsense(PathBuf),
}
