//! Whether a store is what was written: everything is read, nothing is believed, nothing changed.
//!
//! 1. The index by itself: every page, every checksum, the order of keys.
//! 2. The journal by itself, from its first byte: every batch and record. It is applied to an empty
//!    state, in memory.
//! 3. The store as a broker would open it: every message is looked up in the journal.
//! 4. If all that is sound: the states of 2 and 3 must be the same.

use super::fs::Filesystem;
use super::fs::overlay::Overlay;
use super::index::storage::Folder;
use super::index::{self, Damage, Index, Opened as OpenedIndex, PagedIndex, Reader};
use super::inspect::{SLICE, each_slice, open_quietly, sizes};
use super::journal::{JournalError, Loss, Lsn, Record, read_records};
use super::open::{Opened, missing_files};
use super::options::{KahaDbOptions, OpenError};
use super::rows::{self, Row, behind, first_of};
use super::state::{Contents, View};
use crate::store::MessageForm;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub journal_files: u64,
    /// Of the journal up to its end.
    pub journal_bytes: u64,
    /// Pages of the index that can be read.
    pub index_pages: u32,
    pub index_rows: u64,
    /// Messages whose records can be read.
    pub messages: u64,
    /// The first thousand findings.
    pub damage: Vec<Finding>,
    /// What is no damage, but worth knowing.
    pub notes: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub file: PathBuf,
    pub offset: Option<u64>,
    pub what: String,
    /// What is lost by it.
    pub lost: String,
}

/// Verifies the store in `options.directory`, which nobody may be writing. Memory: an index of the
/// whole store, about 50 bytes for each message.
///
/// # Errors
/// When it cannot be told: the disk fails, or the files are another program's or version's.
pub fn verify(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    form: MessageForm,
) -> Result<Verification, OpenError> {
    verify_with(fs, options, sizes(options), form)
}

pub(super) fn verify_with(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
) -> Result<Verification, OpenError> {
    let mut check = Check {
        fs,
        options,
        sizes,
        form,
        verdict: Verification::default(),
        knows_missing_files: false,
    };
    let pages = check.index()?;
    let overlay = check.overlay();
    let rebuilding = KahaDbOptions {
        force_recover_index: true,
        ignore_missing_journal_files: true,
        ..check.plain()
    };
    let rebuilt = open_quietly(&overlay, &rebuilding, sizes, form)?;
    check.verdict.journal_bytes = rebuilt.core.files.bytes_before(rebuilt.end.lsn.file())
        + u64::from(rebuilt.end.lsn.offset());
    let numbers = rebuilt.core.files.numbers().into_iter();
    let used = numbers.filter(|number| *number <= rebuilt.end.lsn.file());
    check.verdict.journal_files = used.count() as u64;
    let mut losses = rebuilt.losses.clone();
    let as_is = match pages {
        Some(_) => Some(check.as_a_broker()?),
        None => None,
    };
    if let (Some(as_is), Some(pages)) = (&as_is, &pages) {
        let (end, known) = (rebuilt.end.lsn, pages.replayed_from);
        if end < known {
            losses.push(Loss { from: end, to: known });
        }
        check.losses(&losses, as_is, pages)?;
        check.missing_files(as_is, "nothing that is still needed");
    } else {
        check.missing_files(&rebuilt, NO_INDEX);
        check.unknown_losses(&losses);
        let view = rebuilt.core.view.lock();
        check.messages(&rebuilt, &view, &mut Vec::new())?;
    }
    if let Some(as_is) = as_is.filter(|_| check.verdict.damage.is_empty()) {
        check.compare(&as_is.core.view.lock(), &rebuilt.core.view.lock())?;
    }
    check.verdict.damage.truncate(DAMAGE_MAX);
    Ok(check.verdict)
}

/// What the index says by itself.
struct Pages {
    /// Everything before is in the index.
    replayed_from: Lsn,
    /// Records of prepared transactions.
    prepared: Vec<Lsn>,
}

/// A part of the journal that cannot be read, and how many messages of which destination are lost.
struct Lost {
    loss: Loss,
    messages: BTreeMap<String, u64>,
}

struct Check<'a> {
    fs: &'a Arc<dyn Filesystem>,
    options: &'a KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
    verdict: Verification,
    /// The index told of them.
    knows_missing_files: bool,
}

impl Check<'_> {
    fn overlay(&self) -> Arc<dyn Filesystem> {
        Arc::new(Overlay::new(Arc::clone(self.fs)))
    }

    /// What the store is opened with: nothing that changes what is found.
    fn plain(&self) -> KahaDbOptions {
        KahaDbOptions {
            ignore_missing_journal_files: false,
            check_for_corrupt_journal_files: false,
            force_recover_index: false,
            archive_corrupted_index: false,
            ..self.options.clone()
        }
    }

    fn index_folder(&self) -> &PathBuf {
        self.options.index_directory.as_ref().unwrap_or(&self.options.directory)
    }

    fn found(&mut self, file: PathBuf, offset: Option<u64>, what: String, lost: String) {
        if self.verdict.damage.len() < DAMAGE_MAX {
            self.verdict.damage.push(Finding { file, offset, what, lost });
        }
    }

    fn found_in_index(&mut self, damage: Damage, page_bytes: usize) {
        let offset = damage.page.map(|page| u64::from(page) * page_bytes as u64);
        let file = self.index_folder().join(damage.file);
        let lost = "nothing: the next start builds the index again from the journal";
        self.found(file, offset, damage.reason.to_owned(), lost.to_owned());
    }

    /// Looks at every page. None if there is no index, or none that can be used.
    fn index(&mut self) -> Result<Option<Pages>, OpenError> {
        let overlay = self.overlay();
        let folder = self.index_folder().clone();
        let created = overlay.create_folder(&folder);
        created.map_err(|source| OpenError::Io { action: "list", path: folder.clone(), source })?;
        let sizes = self.sizes;
        let (mut index, record) =
            match PagedIndex::open(&Folder::new(overlay, &folder, false), sizes)? {
                OpenedIndex::Clean(index, record) | OpenedIndex::Replay(index, record) => {
                    (index, record)
                }
                OpenedIndex::Fresh(_) => {
                    let note = "there is no index: the next start builds it from the journal";
                    self.verdict.notes.push(note.to_owned());
                    return Ok(None);
                }
                OpenedIndex::Damaged(damage) => {
                    self.found_in_index(damage, sizes.page_bytes);
                    return Ok(None);
                }
            };
        let verdict = index.verify()?;
        self.verdict.index_pages = verdict.pages;
        self.verdict.index_rows = verdict.rows;
        if verdict.leaked_pages > 0 {
            let pages = verdict.leaked_pages;
            self.verdict.notes.push(format!("{pages} pages of the index are not used again"));
        }
        if !verdict.damage.is_empty() {
            verdict.damage.into_iter().for_each(|d| self.found_in_index(d, sizes.page_bytes));
            return Ok(None);
        }
        let (reader, mut prepared) = (index.reader(), Vec::new());
        let (from, to) = (first_of(rows::PREPARED), behind(rows::PREPARED));
        reader.range(reader.version(), &from, Some(&to), &mut |key, _| {
            prepared.extend(rows::u64_in(key).map(Lsn));
            ControlFlow::Continue(())
        })?;
        Ok(Some(Pages { replayed_from: Lsn(record.replay_lsn), prepared }))
    }

    /// Opens the store as the next start would, over damage if need be.
    fn as_a_broker(&mut self) -> Result<Opened, OpenError> {
        let plain = self.plain();
        let over_damage = KahaDbOptions { ignore_missing_journal_files: true, ..plain.clone() };
        match open_quietly(&self.overlay(), &plain, self.sizes, self.form) {
            Err(OpenError::MissingFiles { files, messages, .. }) => {
                let lost = format!("{messages} messages");
                let what = format!("journal files are missing: {files}");
                self.knows_missing_files = true;
                self.found(self.options.directory.clone(), None, what, lost);
            }
            // Where and what, the scan of the whole journal tells.
            Err(
                OpenError::Journal(JournalError::Corrupt { .. }) | OpenError::UnknownFiles { .. },
            ) => {}
            other => return other,
        }
        open_quietly(&self.overlay(), &over_damage, self.sizes, self.form)
    }

    /// Tells of the damaged parts of the journal, and which messages were there.
    fn losses(&mut self, losses: &[Loss], as_is: &Opened, pages: &Pages) -> Result<(), OpenError> {
        let lost = losses.iter().map(|loss| Lost { loss: *loss, messages: BTreeMap::new() });
        let mut lost: Vec<Lost> = lost.collect();
        self.messages(as_is, &as_is.core.view.lock(), &mut lost)?;
        for Lost { loss, messages } in lost {
            let mut parts: Vec<String> = messages
                .iter()
                .map(|(name, count)| format!("{count} messages of {name}"))
                .collect();
            let is_in = |lsn: &&Lsn| (loss.from..loss.to).contains(*lsn);
            let prepared = pages.prepared.iter().filter(is_in).count();
            if prepared > 0 {
                parts.push(format!("{prepared} prepared transactions"));
            }
            if loss.to > pages.replayed_from {
                parts.push("what was done there after the last checkpoint".to_owned());
            }
            if parts.is_empty() {
                parts.push("nothing that is still needed".to_owned());
            }
            self.damaged_part(as_is, loss, parts.join(", "));
        }
        Ok(())
    }

    fn damaged_part(&mut self, opened: &Opened, loss: Loss, lost: String) {
        let (from, to) = (loss.from, loss.to);
        let until = match from.file() == to.file() {
            true => format!("offset {}", to.offset()),
            false => format!("db-{}.log offset {}", to.file(), to.offset()),
        };
        let what = format!("what is here up to {until} is not what was written");
        self.found(opened.core.files.path(from.file()), Some(from.offset().into()), what, lost);
    }

    /// Tells of files that were neither dropped nor are there, unless that is known.
    fn missing_files(&mut self, opened: &Opened, lost: &str) {
        let (files, view) = (&opened.core.files, opened.core.view.lock());
        let Some(names) = missing_files(files, &view.gaps, opened.end.lsn.file()) else { return };
        if self.knows_missing_files {
            return;
        }
        let what = format!("journal files are missing: {names}");
        self.found(self.options.directory.clone(), None, what, lost.to_owned());
    }

    fn unknown_losses(&mut self, losses: &[Loss]) {
        for loss in losses {
            let file = self.options.directory.join(format!("db-{}.log", loss.from.file()));
            let what = format!("what is here up to {} is not what was written", loss.to);
            self.found(file, Some(loss.from.offset().into()), what, NO_INDEX.to_owned());
        }
    }

    /// Reads every message. Those that cannot be read are counted in the part of `lost` they lie
    /// in, or are findings of their own.
    fn messages(
        &mut self,
        opened: &Opened,
        view: &View,
        lost: &mut [Lost],
    ) -> Result<(), OpenError> {
        for (number, contents) in view.contents.iter().filter(|(_, contents)| contents.exists()) {
            let name = contents.destination.to_string();
            each_slice(view, *number, contents, |rows| {
                let mut places: Vec<_> =
                    rows.iter().map(|(seq, row)| (row.lsn, row.length, *seq)).collect();
                places.sort_unstable();
                let spots: Vec<_> = places.iter().map(|(lsn, length, _)| (*lsn, *length)).collect();
                read_records(&opened.core.files, &spots, |i, record| {
                    let (lsn, _, seq) = places[i];
                    let what = match record {
                        Ok(Record::Add(add)) if add.destination == *number && add.seq == seq => {
                            self.verdict.messages += 1;
                            return;
                        }
                        Ok(_) => "another record than the index says".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    let here = lost.iter_mut().find(|l| (l.loss.from..l.loss.to).contains(&lsn));
                    match here {
                        Some(here) => *here.messages.entry(name.clone()).or_default() += 1,
                        None => self.found(
                            opened.core.files.path(lsn.file()),
                            Some(lsn.offset().into()),
                            what,
                            format!("message {seq} of {name}"),
                        ),
                    }
                });
            })?;
        }
        Ok(())
    }

    fn differs(&mut self, what: String) {
        let file = self.index_folder().join("db.data");
        let lost = "nothing with forceRecoverIndex=\"true\", which builds the index again";
        self.found(file, None, what, lost.to_owned());
    }

    /// Compares what the index says with what the journal says.
    fn compare(&mut self, index: &View, journal: &View) -> Result<(), OpenError> {
        let names = |view: &View| -> BTreeMap<String, u32> {
            view.numbers.iter().map(|(name, number)| (name.to_string(), *number)).collect()
        };
        let (of_index, of_journal) = (names(index), names(journal));
        let all: BTreeSet<&String> = of_index.keys().chain(of_journal.keys()).collect();
        for name in all {
            let numbers = (of_index.get(name), of_journal.get(name));
            let (Some(number), Some(other)) = numbers else {
                self.differs(format!("{name} is known to {} only", one_of(numbers.0.is_some())));
                continue;
            };
            match (index.contents.get(number), journal.contents.get(other)) {
                (Some(a), Some(b)) if number == other => {
                    self.compare_contents(name, *number, (index, a), (journal, b))?;
                }
                _ => self.differs(format!("{name} has number {number}, in the journal {other}")),
            }
        }
        let subscriptions = |view: &View| -> BTreeMap<u64, _> {
            view.subscriptions.iter().map(|(n, s)| (*n, s.stored.clone())).collect()
        };
        let (a, b) = (subscriptions(index), subscriptions(journal));
        let all: BTreeSet<&u64> = a.keys().chain(b.keys()).collect();
        for number in all.into_iter().filter(|number| a.get(number) != b.get(number)) {
            if let Some(known) = a.get(number).or_else(|| b.get(number)) {
                let (client, name) = (&known.client, &known.name);
                self.differs(format!("subscription {client}:{name} is not as in the journal"));
            }
        }
        let prepared = |view: &View| -> BTreeSet<_> { view.prepared.keys().cloned().collect() };
        let differing = prepared(index).symmetric_difference(&prepared(journal)).count();
        if differing > 0 {
            self.differs(format!("{differing} prepared transactions are not as in the journal"));
        }
        Ok(())
    }

    fn compare_contents(
        &mut self,
        name: &str,
        number: u32,
        (index, a): (&View, &Contents),
        (journal, b): (&View, &Contents),
    ) -> Result<(), OpenError> {
        let bands: BTreeSet<u8> = a.bands.keys().chain(b.bands.keys()).copied().collect();
        for band in bands {
            let counted = |contents: &Contents| contents.bands.get(&band).copied().unwrap_or(0);
            let (mut from, mut count) = (Some(0), 0);
            while let Some(first) = from {
                let range = (first, u64::MAX);
                let (mut in_index, next) = a.slice(&index.tree, number, band, range, SLICE)?;
                let (mut in_journal, other) = b.slice(&journal.tree, number, band, range, SLICE)?;
                // Each looks at as many rows as it likes.
                let until = next.into_iter().chain(other).min();
                if let Some(until) = until {
                    drop((in_index.split_off(&until), in_journal.split_off(&until)));
                }
                count += in_index.len() as u64;
                self.compare_rows(name, &in_index, &in_journal);
                from = until;
            }
            if counted(a) != count {
                let said = counted(a);
                self.differs(format!("{name} has {count} messages of band {band}, not {said}"));
            }
        }
        let subscriptions: BTreeSet<u64> =
            a.pending.keys().chain(b.pending.keys()).copied().collect();
        for subscription in subscriptions {
            let pending = |contents: &Contents| -> BTreeSet<u64> {
                let pending = contents.pending.get(&subscription);
                pending.map(|pending| pending.range(0, u64::MAX).collect()).unwrap_or_default()
            };
            let differing = pending(a).symmetric_difference(&pending(b)).count();
            if differing > 0 {
                self.differs(format!(
                    "{name}: {differing} messages of subscription {subscription} are pending only \
                     in the index or only in the journal"
                ));
            }
        }
        Ok(())
    }

    fn compare_rows(&mut self, name: &str, a: &BTreeMap<u64, Row>, b: &BTreeMap<u64, Row>) {
        let all: BTreeSet<&u64> = a.keys().chain(b.keys()).collect();
        for seq in all {
            match (a.get(seq), b.get(seq)) {
                (Some(a), Some(b)) if a.expiration_ms != b.expiration_ms => {
                    self.differs(format!("message {seq} of {name} has another expiration"));
                }
                (Some(a), Some(b)) if a.is_delivered != b.is_delivered => {
                    let known = one_of(a.is_delivered);
                    self.differs(format!(
                        "only {known} knows that message {seq} of {name} was delivered"
                    ));
                }
                (Some(_), Some(_)) => {}
                (index, _) => {
                    let known = one_of(index.is_some());
                    self.differs(format!("message {seq} of {name} is known to {known} only"));
                }
            }
        }
    }
}

fn one_of(is_index: bool) -> &'static str {
    if is_index { "the index" } else { "the journal" }
}

const NO_INDEX: &str = "all that was said there: no index knows it";

/// More findings than this are not listed.
const DAMAGE_MAX: usize = 1000;
