//! What is in a store, for the operator: read from its files, of which none changes.

use super::fs::Filesystem;
use super::fs::overlay::Overlay;
use super::index::{self, IndexError};
use super::journal::{Files, Lsn, Record, read_record};
use super::open::{Opened, open};
use super::options::{KahaDbOptions, OpenError};
use super::rows::Row;
use super::state::{Contents, View};
use crate::jms::{Message, Text};
use crate::store::{MessageForm, PreparedBranch, StoreError, StoreEvents};
use hashbrown::HashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// All that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    pub directory: PathBuf,
    /// Destinations that exist, by name.
    pub destinations: Vec<DestinationContent>,
    pub subscriptions: Vec<SubscriptionContent>,
    pub prepared: Vec<PreparedContent>,
    /// Journal files, by number.
    pub files: Vec<FileContent>,
    pub index: IndexContent,
    pub totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationContent {
    /// Such as `queue://ORDERS`.
    pub name: String,
    pub messages: u64,
    /// In the journal, bytes.
    pub bytes: u64,
    /// Messages that have an expiration, passed or not.
    pub expiring: u64,
    /// By the order of arrival; none if it is empty.
    pub oldest: Option<MessageSketch>,
    pub newest: Option<MessageSketch>,
}

/// Enough of a message to find it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSketch {
    /// Its number in the destination.
    pub sequence: u64,
    /// File and offset of its record.
    pub file: u32,
    pub offset: u32,
    /// None if the record cannot be read.
    pub id: Option<String>,
    /// When it was sent, by the sender's clock, ms since 1970.
    pub timestamp_ms: Option<i64>,
}

/// A durable subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionContent {
    pub number: u64,
    pub client_id: String,
    pub name: String,
    pub destination: String,
    pub selector: Option<String>,
    pub no_local: bool,
    /// Messages it has not acknowledged.
    pub pending: u64,
    pub oldest: Option<MessageSketch>,
}

/// A prepared XA transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedContent {
    pub xid: String,
    /// Messages it will send, by destination.
    pub sends: BTreeMap<String, u64>,
    /// Messages it has consumed, by destination.
    pub acknowledgements: BTreeMap<String, u64>,
}

/// One `db-N.log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileContent {
    pub number: u32,
    pub role: FileRole,
    pub bytes: u64,
    pub live_messages: u64,
    pub live_bytes: u64,
    pub kept_by: Keepers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FileRole {
    /// Nothing is written to it any more.
    Sealed,
    /// The log ends in it.
    Current,
    /// Prepared, and not begun.
    Spare,
}

/// Why a file is not dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keepers {
    /// Destinations with messages in it, the most bytes first.
    pub destinations: Vec<DestinationShare>,
    /// Destinations that it says exist.
    pub destination_records: u64,
    /// Durable subscriptions that it says exist, `client id:name`.
    pub subscription_records: Vec<String>,
    /// Prepared transactions that are in it.
    pub prepared: Vec<String>,
    /// Files that are only understood with this one, as it says what became of their messages.
    pub acknowledges: Vec<u32>,
    /// A start reads it.
    pub is_replayed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationShare {
    pub name: String,
    pub messages: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexContent {
    /// Length of its files.
    pub bytes: u64,
    pub rows: u64,
    pub pages: u32,
    pub free_pages: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    pub messages: u64,
    pub live_bytes: u64,
    pub journal_files: u64,
    /// Of all journal files.
    pub journal_bytes: u64,
}

/// Looks into the store in `options.directory`, which nobody may be writing. Changes nothing there.
/// Memory: what happened since the last checkpoint; if there is no index, that as well.
///
/// # Errors
/// When the store would not open for a broker either.
pub fn inspect(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    form: MessageForm,
) -> Result<Inspection, OpenError> {
    inspect_with(fs, options, sizes(options), form)
}

pub(super) fn inspect_with(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
) -> Result<Inspection, OpenError> {
    let index_bytes = index_bytes(fs, options);
    let overlay: Arc<dyn Filesystem> = Arc::new(Overlay::new(Arc::clone(fs)));
    let opened = open_quietly(&overlay, options, sizes, form)?;
    let Opened { core, recovered, end, .. } = &opened;
    let (replayed_from, stats) = (core.replay_from().file(), core.index_stats());
    let view = core.view.lock();
    let look = Look { view: &view, files: &core.files, form };
    let (mut shares, mut destinations) = (HashMap::new(), Vec::new());
    for (number, contents) in view.contents.iter().filter(|(_, contents)| contents.exists()) {
        destinations.push(look.destination(*number, contents, &mut shares)?);
    }
    destinations.sort_by(|a, b| a.name.cmp(&b.name));
    let mut subscriptions = Vec::new();
    for number in view.subscriptions.keys() {
        subscriptions.extend(look.subscription(*number)?);
    }
    let prepared: Vec<PreparedContent> = recovered.prepared.iter().map(prepared).collect();
    let files = look.files(shares, &prepared, replayed_from, end.lsn);
    let totals = Totals {
        messages: view.messages(),
        live_bytes: files.iter().map(|file| file.live_bytes).sum(),
        journal_files: files.len() as u64,
        journal_bytes: core.files.bytes(),
    };
    Ok(Inspection {
        directory: options.directory.clone(),
        destinations,
        subscriptions,
        prepared,
        files,
        index: IndexContent {
            bytes: index_bytes,
            rows: stats.rows,
            pages: stats.pages,
            free_pages: stats.free_pages,
        },
        totals,
    })
}

pub(super) fn sizes(options: &KahaDbOptions) -> index::Options {
    let cache_bytes = options.index_cache_bytes;
    index::Options { cache_bytes, ..index::Options::default() }
}

/// Opens a store of which nobody wants to be told anything.
pub(super) fn open_quietly(
    fs: &Arc<dyn Filesystem>,
    options: &KahaDbOptions,
    sizes: index::Options,
    form: MessageForm,
) -> Result<Opened, OpenError> {
    let events: Arc<dyn StoreEvents> = Arc::new(Deaf);
    open(fs, options, sizes, form, &events)
}

/// Who opens a store for itself hears what failed from its calls.
#[derive(Debug)]
pub(super) struct Deaf;

impl StoreEvents for Deaf {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, _: &StoreError) {}
}

/// Length of the index's files that are there.
fn index_bytes(fs: &Arc<dyn Filesystem>, options: &KahaDbOptions) -> u64 {
    let folder = options.index_directory.as_ref().unwrap_or(&options.directory);
    let entries = fs.list(folder).unwrap_or_default();
    let names = ["db.data", "db.redo", "db.free"];
    entries.iter().filter(|e| names.contains(&e.name.as_str())).map(|e| e.length).sum()
}

/// Messages and bytes of a destination in a file, by both numbers.
type Shares = HashMap<(u32, u32), (u64, u64)>;

struct Look<'a> {
    view: &'a View,
    files: &'a Files,
    form: MessageForm,
}

impl Look<'_> {
    fn destination(
        &self,
        number: u32,
        contents: &Contents,
        shares: &mut Shares,
    ) -> Result<DestinationContent, OpenError> {
        let (mut bytes, mut oldest, mut newest) = (0, None::<(u64, Row)>, None::<(u64, Row)>);
        each_slice(self.view, number, contents, |rows| {
            for (seq, row) in rows.iter().map(|(seq, row)| (*seq, *row)) {
                bytes += u64::from(row.length);
                let share = shares.entry((row.lsn.file(), number)).or_default();
                *share = (share.0 + 1, share.1 + u64::from(row.length));
                if oldest.is_none_or(|(first, _)| seq < first) {
                    oldest = Some((seq, row));
                }
                if newest.is_none_or(|(last, _)| seq > last) {
                    newest = Some((seq, row));
                }
            }
        })?;
        let sketch = |found: Option<(u64, Row)>| found.map(|(seq, row)| self.sketch(seq, &row));
        Ok(DestinationContent {
            name: contents.destination.to_string(),
            messages: contents.messages(),
            bytes,
            expiring: contents.expiring,
            oldest: sketch(oldest),
            newest: sketch(newest),
        })
    }

    fn sketch(&self, sequence: u64, row: &Row) -> MessageSketch {
        let message = self.message(row);
        MessageSketch {
            sequence,
            file: row.lsn.file(),
            offset: row.lsn.offset(),
            id: message.as_ref().and_then(|m| m.message_id.as_ref()).map(ToString::to_string),
            timestamp_ms: message.map(|message| message.timestamp),
        }
    }

    fn message(&self, row: &Row) -> Option<Arc<Message>> {
        match read_record(self.files, row.lsn, row.length) {
            Ok(Record::Add(add)) => (self.form.decode)(add.message),
            _ => None,
        }
    }

    fn subscription(&self, number: u64) -> Result<Option<SubscriptionContent>, OpenError> {
        let Some(subscription) = self.view.subscriptions.get(&number) else { return Ok(None) };
        let (mut pending, mut oldest) = (0, None::<(u64, Row)>);
        for topic in &subscription.topics {
            let Some(contents) = self.view.contents.get(topic) else { continue };
            let Some(here) = contents.pending.get(&number) else { continue };
            pending += here.count();
            if let Some(seq) = here.range(0, u64::MAX).next()
                && oldest.is_none_or(|(first, _)| seq < first)
                && let Some((_, row)) = contents.find(&self.view.tree, *topic, seq)?
            {
                oldest = Some((seq, row));
            }
        }
        let stored = &subscription.stored;
        Ok(Some(SubscriptionContent {
            number,
            client_id: stored.client.to_string(),
            name: stored.name.to_string(),
            destination: stored.destination.to_string(),
            selector: stored.selector.as_ref().map(Text::to_string),
            no_local: stored.no_local,
            pending,
            oldest: oldest.map(|(seq, row)| self.sketch(seq, &row)),
        }))
    }

    /// `prepared` are in the order of the log. `replayed_from` is the first file that a start
    /// reads; the log ends at `end`.
    fn files(
        &self,
        shares: Shares,
        prepared: &[PreparedContent],
        replayed_from: u32,
        end: Lsn,
    ) -> Vec<FileContent> {
        let mut keepers: BTreeMap<u32, Keepers> = BTreeMap::new();
        for ((file, destination), (messages, bytes)) in shares {
            let name = self.view.contents.get(&destination);
            let name = name.map_or_else(String::new, |c| c.destination.to_string());
            let share = DestinationShare { name, messages, bytes };
            keepers.entry(file).or_default().destinations.push(share);
        }
        for lsn in self.view.contents.values().filter_map(|contents| contents.lsn) {
            keepers.entry(lsn.file()).or_default().destination_records += 1;
        }
        for subscription in self.view.subscriptions.values() {
            let name = format!("{}:{}", subscription.stored.client, subscription.stored.name);
            let file = keepers.entry(subscription.lsn.file()).or_default();
            file.subscription_records.push(name);
        }
        let mut places: Vec<Lsn> = self.view.prepared.values().map(|place| place.lsn).collect();
        places.sort_unstable();
        for (lsn, prepared) in places.into_iter().zip(prepared) {
            keepers.entry(lsn.file()).or_default().prepared.push(prepared.xid.clone());
        }
        let numbers = self.files.numbers().into_iter();
        let file = |number| {
            let mut kept_by = keepers.remove(&number).unwrap_or_default();
            kept_by.destinations.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
            kept_by.acknowledges = self.acknowledges(number);
            kept_by.is_replayed = (replayed_from..=end.file()).contains(&number);
            let role = match number.cmp(&end.file()) {
                std::cmp::Ordering::Less => FileRole::Sealed,
                std::cmp::Ordering::Equal => FileRole::Current,
                std::cmp::Ordering::Greater => FileRole::Spare,
            };
            FileContent {
                number,
                role,
                bytes: self.files.length(number).unwrap_or(0),
                live_messages: kept_by.destinations.iter().map(|d| d.messages).sum(),
                live_bytes: kept_by.destinations.iter().map(|d| d.bytes).sum(),
                kept_by,
            }
        };
        numbers.map(file).collect()
    }

    /// Files of which no later record says what is live.
    fn acknowledges(&self, number: u32) -> Vec<u32> {
        let row = |number| self.view.files.get(&number);
        let is_told =
            |target: u32| row(target).is_some_and(|row| row.live_as_of.file() > target.max(number));
        let targets = row(number).into_iter().flat_map(|row| row.targets.iter().copied());
        targets.filter(|n| self.files.length(*n).is_some() && !is_told(*n)).collect()
    }
}

/// Shows the rows of a destination, some at a time.
pub(super) fn each_slice(
    view: &View,
    number: u32,
    contents: &Contents,
    mut show: impl FnMut(&BTreeMap<u64, Row>),
) -> Result<(), IndexError> {
    for band in contents.bands.keys() {
        let mut from = Some(0);
        while let Some(first) = from {
            let range = (first, u64::MAX);
            let (rows, next) = contents.slice(&view.tree, number, *band, range, SLICE)?;
            show(&rows);
            from = next;
        }
    }
    Ok(())
}

fn prepared(branch: &PreparedBranch) -> PreparedContent {
    let (mut sends, mut acknowledgements) = (BTreeMap::new(), BTreeMap::new());
    for (destination, _) in &branch.sends {
        *sends.entry(destination.to_string()).or_default() += 1;
    }
    let removals = branch.removals.iter().map(|(destination, seqs)| (destination, seqs.len()));
    let acks = branch.acknowledgements.iter().map(|(topic, _, seqs)| (topic, seqs.len()));
    for (destination, count) in removals.chain(acks) {
        *acknowledgements.entry(destination.to_string()).or_default() += count as u64;
    }
    PreparedContent { xid: branch.xid.to_string(), sends, acknowledgements }
}

/// Rows at once.
pub(super) const SLICE: usize = 4096;
