//! Opening a store: the state of the index, and the log from there on; or the whole log.

use super::core::{Core, archive_suffix};
use super::encode::Encoder;
use super::fs::Filesystem;
use super::index::storage::Folder;
use super::index::{self, Index, IndexError, Opened as OpenedIndex, PagedIndex, Reader};
use super::journal::{
    DropAction, Files, FilesOptions, Gaps, Loss, Lsn, Mark, OnDamage, Record, Scan, StoreId,
    read_record,
};
use super::names::{decode_branch, xid_of_branch};
use super::options::{KahaDbOptions, OpenError};
use super::rows::Row;
use super::state::{Outline, Tree, View, nonsense};
use crate::jms::ProducerId;
use crate::store::{
    MessageForm, PreparedBranch, Recovered, RecoveredDestination, RecoveredSubscription,
    StoreEvents,
};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names of the files before file `end` that are not there and were not dropped; none if there are none.
pub(super) fn missing_files(files: &Files, gaps: &Gaps, end: u32) -> Option<String> {
    let is_missing = |number: &u32| files.length(*number).is_none() && !gaps.contains(*number);
    let missing = (1..end).filter(is_missing).map(|number| format!("db-{number}.log"));
    let names: Vec<String> = missing.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A store whose threads do not run yet.
pub(super) struct Opened {
    pub(super) core: Core,
    pub(super) encoder: Encoder,
    pub(super) recovered: Recovered,
    /// Where the log ends.
    pub(super) end: Mark,
    /// Damaged parts of the log that were left out.
    pub(super) losses: Vec<Loss>,
}

/// An index, and what it says about itself unless it is empty.
type Found = (PagedIndex<Folder>, Option<index::Record>);

/// Opens what is in the folders that `options` name, which the caller has locked.
pub(super) fn open(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
    events: &Arc<dyn StoreEvents>,
) -> Result<Opened, OpenError> {
    let opening = Opening::new(fs, options, sizes, form)?;
    match open_once(&opening, events) {
        Err(OpenError::Index(IndexError::Damaged(damage))) => {
            tracing::warn!(%damage, "the index is damaged");
            opening.discard()?;
            open_once(&opening, events)
        }
        other => other,
    }
}

fn open_once(opening: &Opening<'_>, events: &Arc<dyn StoreEvents>) -> Result<Opened, OpenError> {
    let (options, form) = (opening.options, opening.form);
    let found = opening.index()?;
    let mut view = opening.view(&found.0);
    if let Some(record) = &found.1 {
        opening.check_form(record)?;
        opening.load(&mut view, record)?;
    }
    let Opening { files, storage, .. } = opening;
    let (mut scan, store_id) = match &found.1 {
        Some(record) => {
            let id = StoreId(record.store_id);
            let mark = view.applied;
            (Scan::from_mark(files.clone(), id, mark, opening.on_damage)?, id)
        }
        None => {
            files.sync_end()?;
            opening.outline(&mut view)?;
            let scan = Scan::from_start(files.clone(), view.gaps.clone(), opening.on_damage)?;
            let id = match scan.store_id() {
                Some(id) => id,
                None => opening.io("make an id for", StoreId::random())?,
            };
            (scan, id)
        }
    };
    files.sync_end()?;
    let core = Core::new(
        view,
        files.clone(),
        form,
        options.clone(),
        store_id,
        storage.clone(),
        found,
        events.clone(),
    );
    opening.replay(&core, &mut scan)?;
    opening.end_drops(&core.view.lock().gaps)?;
    if options.check_for_corrupt_journal_files {
        opening.check_messages(&core)?;
    }
    let end = opening.end(scan.mark());
    let mut view = core.view.lock();
    view.rebuilding = None;
    view.applied = end;
    let encoder = Encoder::new(&view);
    let recovered = opening.recovered(&view)?;
    drop(view);
    Ok(Opened { core, encoder, recovered, end, losses: scan.losses().to_vec() })
}

struct Opening<'a> {
    options: &'a KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
    files: Arc<Files>,
    storage: Folder,
    index_folder: PathBuf,
    on_damage: OnDamage,
}

impl<'a> Opening<'a> {
    fn new(
        fs: &Arc<dyn Filesystem>,
        options: &'a KahaDbOptions,
        sizes: index::Options,
        form: MessageForm,
    ) -> Result<Self, OpenError> {
        let folder = options.directory.clone();
        let archive = options.directory_archive.clone();
        let archive = archive.unwrap_or_else(|| folder.join("data-archive"));
        let file_bytes = options.journal_max_file_length;
        let index_folder = options.index_folder().to_owned();
        let files = FilesOptions { folder, file_bytes, archive, sync: options.sync };
        let files = Arc::new(Files::open(fs.clone(), files)?);
        let storage = Folder::new(fs.clone(), &index_folder, options.enable_index_disk_syncs);
        let gives_up =
            options.ignore_missing_journal_files || options.check_for_corrupt_journal_files;
        let on_damage = if gives_up { OnDamage::Skip } else { OnDamage::Refuse };
        let opening = Self { options, sizes, form, files, storage, index_folder, on_damage };
        opening.io("create", fs.create_folder(&opening.index_folder))?;
        Ok(opening)
    }

    fn io<T>(&self, action: &'static str, outcome: std::io::Result<T>) -> Result<T, OpenError> {
        let path = self.index_folder.clone();
        outcome.map_err(|source| OpenError::Io { action, path, source })
    }

    fn index(&self) -> Result<Found, OpenError> {
        if self.options.force_recover_index {
            tracing::info!("The index is built again, as forceRecoverIndex says.");
            self.discard()?;
        }
        match PagedIndex::open(&self.storage, self.sizes)? {
            OpenedIndex::Fresh(index) => Ok((index, None)),
            OpenedIndex::Clean(index, record) | OpenedIndex::Replay(index, record) => {
                Ok((index, Some(record)))
            }
            OpenedIndex::Damaged(damage) => {
                tracing::warn!(%damage, "the index is damaged");
                self.discard()?;
                match PagedIndex::open(&self.storage, self.sizes)? {
                    OpenedIndex::Fresh(index) => Ok((index, None)),
                    _ => Err(IndexError::Damaged(damage).into()),
                }
            }
        }
    }

    /// Puts the index away; the next one is built from the journal.
    fn discard(&self) -> Result<(), OpenError> {
        let suffix = self.options.archive_corrupted_index.then(archive_suffix);
        Ok(PagedIndex::discard(&self.storage, suffix.as_deref())?)
    }

    fn view(&self, index: &PagedIndex<Folder>) -> View {
        let reader = index.reader();
        let version = reader.version();
        View::new(Tree { reader, version }, self.options.audit)
    }

    fn check_form(&self, record: &index::Record) -> Result<(), OpenError> {
        let (found, expected) = (record.openwire_version, self.form.version);
        if found == expected {
            return Ok(());
        }
        Err(OpenError::Form { index: self.index_folder.clone(), found, expected })
    }

    fn load(&self, view: &mut View, record: &index::Record) -> Result<(), OpenError> {
        view.load(record)?;
        let missing: BTreeSet<u32> = view
            .files
            .iter()
            .filter(|(number, file)| {
                file.messages + file.state > 0 && self.files.length(**number).is_none()
            })
            .map(|(number, _)| *number)
            .collect();
        if !missing.is_empty() {
            let messages = missing.iter().map(|number| view.files[number].messages).sum();
            let names: Vec<String> = missing.iter().map(|n| format!("db-{n}.log")).collect();
            let files = names.join(", ");
            if !self.options.ignore_missing_journal_files {
                let index = self.index_folder.clone();
                return Err(OpenError::MissingFiles { index, files, messages });
            }
            let lost = view.forget_files(&missing)?;
            tracing::error!(files, messages = lost, "journal files are missing; messages are lost");
        }
        for prepared in std::mem::take(&mut view.unread) {
            match read_record(&self.files, prepared.lsn, prepared.length) {
                Ok(Record::Prepare { branch }) => {
                    let xid = xid_of_branch(&branch).map_err(nonsense)?;
                    view.prepared.insert(xid, prepared);
                }
                Ok(_) => return Err(OpenError::Nonsense(self.options.directory.clone())),
                Err(error) if self.on_damage == OnDamage::Skip => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "a prepared transaction is lost");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The first reading of a log that has to be read from its start.
    fn outline(&self, view: &mut View) -> Result<(), OpenError> {
        let (mut outline, mut store_id) = (Outline::default(), None);
        for number in self.files.numbers() {
            let Some(mut scan) = Scan::of_file(self.files.clone(), store_id, number)? else {
                continue;
            };
            store_id = scan.store_id();
            outline.evidence.files.insert(number);
            while let Some(batch) = scan.next_batch()? {
                for stored in batch.records {
                    outline.add(stored)?;
                }
            }
        }
        if store_id.is_none() {
            return Ok(()); // nothing was ever written
        }
        if let Some(gaps) = &outline.gaps {
            view.gaps = Gaps::decode(gaps).map_err(nonsense)?;
            self.end_drops(&view.gaps)?;
            outline.without(&view.gaps);
        }
        // Behind the last one that was written there may be some that were prepared.
        let last = outline.evidence.files.last().copied().unwrap_or(0);
        if let Some(files) = missing_files(&self.files, &view.gaps, last) {
            if !self.options.ignore_missing_journal_files {
                let folder = self.options.directory.clone();
                return Err(OpenError::UnknownFiles { folder, files });
            }
            tracing::error!(files, "journal files are missing; what was said there is lost");
        }
        Ok(view.begin_rebuild(outline)?)
    }

    /// Drops the files whose dropping was interrupted.
    fn end_drops(&self, gaps: &Gaps) -> Result<(), OpenError> {
        let numbers = self.files.numbers().into_iter();
        let left: Vec<u32> = numbers.filter(|number| gaps.contains(*number)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let archive = self.options.archive_data_logs;
        let action = if archive { DropAction::Archive } else { DropAction::Delete };
        Ok(self.files.drop_files(&left, action)?)
    }

    /// Applies the log from where the scan is.
    fn replay(&self, core: &Core, scan: &mut Scan) -> Result<(), OpenError> {
        let (started, from, rebuilding) =
            (Instant::now(), scan.mark().lsn, core.view.lock().rebuilding.is_some());
        let mut progress = Progress::new(self, from, started);
        let (mut operations, mut waiting, mut losses) = (0_u64, 0, 0);
        if rebuilding {
            tracing::info!("Rebuilding the index from the journal.");
        }
        while let Some(batch) = scan.next_batch()? {
            if operations == 0 {
                let (file, offset) = (from.file(), from.offset());
                tracing::info!("Recovering from the journal @db-{file}.log:{offset}");
            }
            core.view.lock().apply(&batch)?;
            operations += batch.records.len() as u64;
            waiting += batch.records.len();
            if waiting > CHECKPOINT_RECORDS {
                waiting = 0;
                let mark = if rebuilding { index::Mark::Building } else { index::Mark::InUse };
                self.options.fence.check()?;
                if let Some(checkpoint) = core.begin_checkpoint(mark)? {
                    core.write_checkpoint(&checkpoint)?;
                }
            }
            for loss in &scan.losses()[losses..] {
                tracing::error!(from = %loss.from, to = %loss.to, "part of the journal is damaged and lost");
            }
            losses = scan.losses().len();
            progress.tell(batch.end());
        }
        while core.view.lock().count_purged(CHECKPOINT_RECORDS)? {}
        if operations > 0 {
            let seconds = started.elapsed().as_secs_f32();
            tracing::info!(
                "Recovery replayed {operations} operations from the journal in {seconds} seconds."
            );
        }
        Ok(())
    }

    /// Reads every message and drops the rows of those that are damaged.
    fn check_messages(&self, core: &Core) -> Result<(), OpenError> {
        tracing::info!("Looking for damaged messages in the journal.");
        let mut view = core.view.lock();
        let is_lost = |row: &Row| read_record(&self.files, row.lsn, row.length).is_err();
        let lost = view.forget_messages(&is_lost)?;
        if lost > 0 {
            tracing::error!(messages = lost, "damaged messages were dropped");
        }
        Ok(())
    }

    /// Where to write on: at the end of the log, unless its file is lost.
    fn end(&self, mark: Mark) -> Mark {
        let is_there = self.files.length(mark.lsn.file()).is_some();
        if is_there || mark.lsn.offset() == Lsn::start_of(1).offset() {
            return mark;
        }
        let last = self.files.numbers().last().copied().unwrap_or(0).max(mark.lsn.file());
        Mark { lsn: Lsn::start_of(last + 1), ..mark }
    }

    fn recovered(&self, view: &View) -> Result<Recovered, OpenError> {
        let mut marks: HashMap<u32, Vec<(ProducerId, i64)>> = HashMap::new();
        for producer in view.producers.values() {
            for (destination, seq) in &producer.marks {
                marks.entry(*destination).or_default().push((producer.id.clone(), *seq));
            }
        }
        let destinations = view.numbers.iter().filter_map(|(destination, number)| {
            let contents = view.contents.get(number)?;
            Some(RecoveredDestination {
                destination: destination.clone(),
                bands: contents.bands.iter().map(|(band, messages)| (*band, *messages)).collect(),
                expiring: contents.expiring > 0,
                producers: marks.remove(number).unwrap_or_default(),
            })
        });
        let mut destinations: Vec<RecoveredDestination> = destinations.collect();
        destinations.sort_by(|a, b| a.destination.name().cmp(b.destination.name()));
        let subscriptions = view.subscriptions.iter().map(|(number, subscription)| {
            let topics = subscription.topics.iter().filter_map(|t| view.contents.get(t));
            let pending = topics.filter_map(|contents| contents.pending.get(number));
            let pending = pending.map(super::pending::Pending::count).sum();
            RecoveredSubscription { subscription: subscription.stored.clone(), pending }
        });
        let mut prepared = Vec::new();
        let mut places: Vec<_> = view.prepared.values().copied().collect();
        places.sort_unstable_by_key(|place| place.lsn);
        for place in places {
            prepared.push(self.branch(place.lsn, place.length)?);
        }
        Ok(Recovered {
            destinations,
            subscriptions: subscriptions.collect(),
            prepared,
            last_sequence: view.counters.last_sequence as i64,
            last_subscription: view.counters.last_subscription,
        })
    }

    fn branch(&self, lsn: Lsn, length: u32) -> Result<PreparedBranch, OpenError> {
        match read_record(&self.files, lsn, length)? {
            Record::Prepare { branch } => decode_branch(&branch, self.form)
                .map_err(|_| OpenError::Nonsense(self.options.directory.clone())),
            _ => Err(OpenError::Nonsense(self.options.directory.clone())),
        }
    }
}

/// Tells how far a replay is, if it takes long.
struct Progress {
    files: Arc<Files>,
    from: u64,
    total: u64,
    next: Instant,
}

impl Progress {
    fn new(opening: &Opening<'_>, from: Lsn, now: Instant) -> Self {
        let files = opening.files.clone();
        let start = files.bytes_before(from.file()) + u64::from(from.offset());
        let total = files.bytes().saturating_sub(start).max(1);
        Self { files, from: start, total, next: now + PROGRESS_EVERY }
    }

    fn tell(&mut self, at: Lsn) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + PROGRESS_EVERY;
            let read = self.files.bytes_before(at.file()) + u64::from(at.offset()) - self.from;
            let percent = (read * 100 / self.total).min(100);
            tracing::info!("@{at}, {percent}% of the journal replayed.");
        }
    }
}

const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Records that are applied before the index is written, at most.
pub(super) const CHECKPOINT_RECORDS: usize = 500_000;
