//! The store without its threads: state, files, checkpoints, failure.

use super::index::storage::Folder;
use super::index::{self, Index, IndexError, PagedIndex};
use super::journal::{Batch, Files, JournalError, Lsn, StoreId};
use super::options::KahaDbOptions;
use super::state::{Frozen, View};
use crate::store::{MessageForm, StoreError, StoreEvents, StoreStatus};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What the threads share.
pub(super) struct Core {
    pub(super) view: Mutex<View>,
    pub(super) files: Arc<Files>,
    pub(super) form: MessageForm,
    pub(super) options: KahaDbOptions,
    pub(super) store_id: StoreId,
    pub(super) storage: Folder,
    pub(super) events: Arc<dyn StoreEvents>,
    /// The disk has no room for another journal file.
    pub(super) is_short: AtomicBool,
    /// The last file that is emptied even if that saves little; 0: none.
    pub(super) compacts_until: AtomicU32,
    /// When files were collected last, there was nothing more to do.
    pub(super) is_tidy: AtomicBool,
    /// Held while a checkpoint is written.
    index: Mutex<Writer>,
    /// Files in which nothing was live at the last checkpoint on the disk.
    pub(super) idle: Mutex<BTreeSet<u32>>,
    /// So much waits for a checkpoint, which finds no space, that no more messages are taken.
    pub(super) is_index_behind: AtomicBool,
    /// `storeUsage`, bytes; `u64::MAX` is none.
    pub(super) limit: AtomicU64,
    /// Why nothing is stored any more.
    failed: Mutex<Option<StoreError>>,
    /// Places of damaged records that were logged.
    damaged: Mutex<BTreeSet<Lsn>>,
}

struct Writer {
    index: PagedIndex<Folder>,
    /// What the last checkpoint said.
    record: Option<index::Record>,
}

/// How short the store is of what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shortage {
    None,
    /// Time to move live messages together.
    Short,
    /// That goes before all else on the disk.
    Urgent,
}

/// A checkpoint that is to be written.
pub(super) struct Checkpoint {
    /// Files in which nothing will be live.
    pub(super) idle: BTreeSet<u32>,
    frozen: Frozen,
    record: index::Record,
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "the parts of a store, put together once")]
    pub(super) fn new(
        view: View,
        files: Arc<Files>,
        form: MessageForm,
        options: KahaDbOptions,
        store_id: StoreId,
        storage: Folder,
        index: (PagedIndex<Folder>, Option<index::Record>),
        events: Arc<dyn StoreEvents>,
    ) -> Self {
        let index = Mutex::new(Writer { index: index.0, record: index.1 });
        let (failed, damaged) = (Mutex::default(), Mutex::default());
        Self {
            view: Mutex::new(view),
            files,
            form,
            options,
            store_id,
            storage,
            events,
            is_short: AtomicBool::new(false),
            compacts_until: AtomicU32::new(0),
            is_tidy: AtomicBool::new(false),
            index,
            idle: Mutex::default(),
            is_index_behind: AtomicBool::new(false),
            limit: AtomicU64::new(u64::MAX),
            failed,
            damaged,
        }
    }

    /// Applies the next batch of the log.
    pub(super) fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.view.lock().apply(batch).map_err(|error| self.index_failed(&error))
    }

    /// Takes some of what was purged from the figures, under a lock for a moment. False if there is
    /// no more of it.
    pub(super) fn count_purged(&self) -> Result<bool, StoreError> {
        let more = self.view.lock().count_purged(PURGED_AT_ONCE);
        more.map_err(|error| self.index_failed(&error))
    }

    /// Takes what a checkpoint has to write; everything that was applied must be durable. None if
    /// there is nothing to write.
    pub(super) fn begin_checkpoint(
        &self,
        mark: index::Mark,
    ) -> Result<Option<Checkpoint>, IndexError> {
        let last = self.index.lock().record.clone();
        let mut view = self.view.lock();
        while view.count_purged(PURGED_AT_ONCE)? {
            MutexGuard::bump(&mut view); // others do not wait for all of it
        }
        let mut counters = [0; 8];
        counters[..4].copy_from_slice(&view.counters.to_array());
        let record = index::Record {
            store_id: self.store_id.0,
            mark,
            replay_lsn: view.applied.lsn.0,
            chain: view.applied.chain,
            epoch: view.applied.epoch,
            commit_lsn: view.applied.lsn.0,
            openwire_version: self.form.version,
            counters,
        };
        if view.is_unchanged() && last.as_ref() == Some(&record) {
            return Ok(None);
        }
        let idle = view.idle_files(&self.files.numbers());
        Ok(Some(Checkpoint { idle, frozen: view.freeze(), record }))
    }

    /// Writes it; takes as long as the disk does.
    pub(super) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let Checkpoint { frozen, record, idle } = checkpoint;
        let mut writer = self.index.lock();
        let outcome = writer.index.apply(&mut frozen.changes(), record).and_then(|version| {
            self.view.lock().publish(version, frozen);
            writer.index.settle()
        });
        if outcome.is_ok() {
            writer.record = Some(record.clone());
            self.idle.lock().clone_from(idle);
        }
        outcome
    }

    /// Tells the broker whether messages are refused for want of space.
    pub(super) fn tell_space(&self) {
        let is_refusing = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        self.events.no_space(is_refusing(&self.is_short) || is_refusing(&self.is_index_behind));
    }

    /// Gives up a checkpoint that found no space. What it holds goes into the next one, which may
    /// need less: some of what came has gone since.
    pub(super) fn give_up_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), IndexError> {
        let mut view = self.view.lock();
        while view.count_purged(PURGED_AT_ONCE)? {
            MutexGuard::bump(&mut view);
        }
        view.thaw(checkpoint.frozen);
        Ok(())
    }

    /// Whether the files are still ours. The store has failed if not.
    pub(super) fn fence(&self) -> Result<(), StoreError> {
        self.options.fence.check().map_err(|error| self.store_error(&error))
    }

    /// Where the log has to be read from after a crash now.
    pub(super) fn replay_from(&self) -> Lsn {
        self.index.lock().record.as_ref().map_or_else(Lsn::default, |r| Lsn(r.replay_lsn))
    }

    pub(super) fn index_stats(&self) -> index::Stats {
        self.index.lock().index.stats()
    }

    /// Puts the index away, which cannot be trusted any more; the next start builds a new one.
    pub(super) fn index_failed(&self, error: &IndexError) -> StoreError {
        let text = error.to_string();
        let failed = self.fail(StoreError::Stopped(text.as_str().into()));
        // A full disk is no reason to distrust what is there.
        let is_suspect = !matches!(error, IndexError::Io { .. } | IndexError::Stopped);
        // Nor is an index that somebody else has changed.
        if is_suspect && self.options.fence.check().is_ok() {
            let suffix = self.options.archive_corrupted_index.then(archive_suffix);
            if let Err(error) = PagedIndex::discard(&self.storage, suffix.as_deref()) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot put the index away"
                );
            }
        }
        failed
    }

    /// The error to answer with, which is the first one; tells the broker about that.
    pub(super) fn fail(&self, error: StoreError) -> StoreError {
        let mut failed = self.failed.lock();
        if let Some(first) = &*failed {
            return first.clone();
        }
        *failed = Some(error.clone());
        drop(failed);
        tracing::error!(error = %error, "the store stops for good");
        self.events.failed(&error);
        error
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failed.lock().clone()
    }

    /// What the journal's error means for who submitted.
    pub(super) fn store_error(&self, error: &JournalError) -> StoreError {
        match error {
            JournalError::NoSpace { .. } => StoreError::NoSpace(error.to_string().into()),
            JournalError::TooLarge { .. } => StoreError::TooLarge(error.to_string().into()),
            JournalError::Closed => StoreError::Stopped(error.to_string().into()),
            other => self.fail(StoreError::Stopped(other.to_string().into())),
        }
    }

    /// Says once for each place that a record cannot be read.
    pub(super) fn tell_damage(&self, lsn: Lsn, error: &JournalError) {
        let mut told = self.damaged.lock();
        if told.len() < DAMAGE_MAX && told.insert(lsn) {
            let (file, offset) = (self.files.path(lsn.file()), lsn.offset());
            let error = error as &dyn std::error::Error;
            tracing::error!(file = %file.display(), offset, error, "a message cannot be read");
        }
    }

    pub(super) fn status(&self) -> StoreStatus {
        let (messages, current) = {
            let view = self.view.lock();
            (view.messages(), view.applied.lsn)
        };
        let numbers = self.files.numbers();
        let journal_files = numbers.iter().filter(|n| **n <= current.file()).count() as u64;
        StoreStatus { bytes_used: self.bytes_used(current), journal_files, messages }
    }

    /// From now on so many bytes may be used; 0 is no limit.
    pub(super) fn set_limit(&self, bytes: u64) {
        self.limit.store(if bytes == 0 { u64::MAX } else { bytes }, Ordering::Relaxed);
    }

    /// Whether the disk has no space for another journal file.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// How much of what may be used is used.
    pub(super) fn shortage(&self) -> Shortage {
        let limit = self.limit.load(Ordering::Relaxed);
        let current = self.view.lock().applied.lsn;
        let used = self.bytes_used(current);
        match limit {
            u64::MAX => Shortage::None,
            _ if used > limit / 100 * URGENT_PERCENT => Shortage::Urgent,
            _ if used > limit / 100 * SHORT_PERCENT => Shortage::Short,
            _ => Shortage::None,
        }
    }

    /// Bytes of the journal up to `current`, and of the pages of the index: what is prepared for
    /// later does not count, or a small limit would be reached from the start.
    pub(super) fn bytes_used(&self, current: Lsn) -> u64 {
        // A checkpoint holds the lock for long; the index has nearly the same length before it.
        let pages = |stats: index::Stats| u64::from(stats.pages) * stats.page_bytes as u64;
        let index = self.index.try_lock().map(|writer| pages(writer.index.stats()));
        let index = match index {
            Some(bytes) => {
                self.view.lock().index_bytes = bytes;
                bytes
            }
            None => self.view.lock().index_bytes,
        };
        self.files.bytes_before(current.file()) + u64::from(current.offset()) + index
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("directory", &self.options.directory).finish_non_exhaustive()
    }
}

/// What the files of a damaged index are called from now on.
pub(super) fn archive_suffix() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    format!("corrupt-{now}")
}

/// Purged messages that are counted under one lock.
const PURGED_AT_ONCE: usize = if cfg!(test) { 3 } else { 4096 };
/// Of the limit, from where on the store is short ...
const SHORT_PERCENT: u64 = 70;
/// ... and very short.
const URGENT_PERCENT: u64 = 90;
/// How many damaged places are logged.
const DAMAGE_MAX: usize = 1000;
