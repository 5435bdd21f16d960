//! Dropping journal files that nobody needs, and moving what keeps the others from going.
//!
//! A file goes when the index, as it is on the disk, has nothing that points into it, and when
//! everything it says about other files is said again behind it (see `state/evidence.rs`). So
//! neither a message nor its acknowledgement keeps more than its own file, for a while: what stands
//! in the way is written again, and the file goes in the next round.
//!
//! The order of a drop: checkpoint on the disk; DropFile record on the disk; files. After a crash
//! in between, the start reads the record and goes on.

use super::core::{Core, Shortage};
use super::encode::{cover, subscription_record};
use super::journal::{
    Add, DropAction, JournalError, Lsn, Operation, Ranges, Record, Scan, Stored, Wish, read_record,
};
use super::names::kind_byte;
use super::rows::{FileRow, Row};
use super::state::{Contents, LiveSet, View};
use crate::store::StoreError;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// The journal, for who collects. Waits.
pub(super) trait Log {
    /// Submits and waits until it is as durable as it wishes.
    fn write(&mut self, operations: Vec<Operation>, wish: Wish) -> Result<(), StoreError>;

    /// Submits those records about destinations, subscriptions and branches that are still true.
    fn write_state(&mut self, records: Vec<Record>) -> Result<(), StoreError>;

    /// Takes a rest after so many bytes were written; false: it is time to stop.
    fn rest(&mut self, bytes: u64) -> bool;
}

/// What can be done about files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    drop: BTreeSet<u32>,
    /// Need a Live record.
    lives: BTreeSet<u32>,
    /// Have nothing but records of state.
    state: BTreeSet<u32>,
}

impl Core {
    /// Drops what can go. `idle` are files in which nothing was live at the last checkpoint, which
    /// begins at `sealed`. True if another round, after a checkpoint, may drop more.
    pub(super) fn collect(
        &self,
        idle: &BTreeSet<u32>,
        sealed: Lsn,
        log: &mut dyn Log,
    ) -> Result<bool, StoreError> {
        let there: BTreeSet<u32> = self.files.numbers().into_iter().collect();
        let plan = self.view.lock().plan(&there, idle, sealed.file());
        let mut more = false;
        if !plan.drop.is_empty() {
            self.drop_files(&plan.drop, log)?;
        }
        for number in plan.state {
            let records = self.state_in(number)?;
            more |= !records.is_empty();
            log.write_state(records)?;
        }
        for number in plan.lives.into_iter().take(LIVES_MAX) {
            if let Some(live) = self.live_record(number)? {
                log.write(vec![live.into()], Wish::Written)?;
                more = true;
            }
        }
        Ok(more)
    }

    fn drop_files(&self, numbers: &BTreeSet<u32>, log: &mut dyn Log) -> Result<(), StoreError> {
        let (mut gaps, counters) = {
            let view = self.view.lock();
            (view.gaps.clone(), view.counters.to_array())
        };
        let mut gone = Vec::new();
        for number in numbers {
            if let Some(chain) = self.files.chain_of(*number).map_err(|e| self.store_error(&e))? {
                gaps.insert(*number, chain);
                gone.push(*number);
            }
        }
        let archive = self.options.archive_data_logs;
        let action = match self.options.compacts_all {
            _ if archive => DropAction::Archive,
            true => DropAction::Delete,
            false => DropAction::Recycle,
        };
        let record = Record::DropFile { action, counters, gaps: gaps.encode() };
        log.write(vec![record.into()], Wish::Synced)?;
        self.files.drop_files(&gone, action).map_err(|error| self.store_error(&error))?;
        tracing::debug!(files = ?gone, "journal files that nobody needs were dropped");
        Ok(())
    }

    /// What says which destinations, subscriptions and branches there are, and lies in this file.
    fn state_in(&self, number: u32) -> Result<Vec<Record>, StoreError> {
        let view = self.view.lock();
        let mut records = Vec::new();
        for (destination, contents) in &view.contents {
            if contents.lsn.is_some_and(|lsn| lsn.file() == number) {
                records.push(Record::Destination {
                    destination: *destination,
                    kind: kind_byte(contents.destination.kind()),
                    name: contents.destination.name().to_owned(),
                });
            }
        }
        let subscriptions = view.subscriptions.values().filter(|s| s.lsn.file() == number);
        records.extend(subscriptions.map(|s| subscription_record(&s.stored)));
        let prepared = view.prepared.values().filter(|p| p.lsn.file() == number);
        let prepared: Vec<_> = prepared.copied().collect();
        drop(view);
        for place in prepared {
            match read_record(&self.files, place.lsn, place.length) {
                Ok(record) => records.push(record),
                // The file stays, as the only one that has it.
                Err(error) => self.tell_damage(place.lsn, &error),
            }
        }
        Ok(records)
    }

    /// What of a file is live. None if the file cannot be read to its end.
    fn live_record(&self, number: u32) -> Result<Option<Record>, StoreError> {
        let as_of = self.view.lock().applied.lsn;
        let mut set = LiveSet::default();
        let is_whole = self.read_file(number, |view, stored| {
            view.judge(stored, &mut set).map_err(|error| self.index_failed(&error))
        })?;
        let set = set.encode();
        Ok(is_whole.then_some(Record::Live { file: number, as_of, set }))
    }

    /// Shows the records of a sealed file, with the state. False if some cannot be read.
    fn read_file(
        &self,
        number: u32,
        mut show: impl FnMut(&View, &Stored) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let damaged = |error: &JournalError| {
            self.tell_damage(Lsn::start_of(number), error);
            Ok(false)
        };
        let scan = Scan::of_file(self.files.clone(), Some(self.store_id), number);
        let mut scan = match scan {
            Ok(Some(scan)) => scan,
            Ok(None) => return Ok(false),
            Err(error) => return damaged(&error),
        };
        loop {
            match scan.next_batch() {
                Ok(Some(batch)) => {
                    let view = self.view.lock();
                    for stored in &batch.records {
                        show(&view, stored)?;
                    }
                }
                Ok(None) => break,
                Err(error) => return damaged(&error),
            }
        }
        let gaps = self.view.lock().gaps.clone();
        scan.goes_on(&gaps).or_else(|error| damaged(&error))
    }

    /// Writes again what is live in a file that is mostly dead, if too much of the disk is, or the
    /// store is short of what it may use. True if there was one.
    ///
    /// `emptied` are the files for which this was done since the last checkpoint: what was written
    /// may not be applied yet, and would be written once more.
    pub(super) fn compact(
        &self,
        sealed: Lsn,
        emptied: &mut BTreeSet<u32>,
        log: &mut dyn Log,
    ) -> Result<bool, StoreError> {
        let Some(number) = self.victim(sealed.file(), emptied) else { return Ok(false) };
        emptied.insert(number);
        // A portion is written as one, and leaves what it does not fit into empty.
        let portion = PORTION_BYTES.min(u64::from(self.options.journal_max_file_length) / 16);
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        let mut failed = None;
        let mut portions: Vec<(Vec<Operation>, u64)> = Vec::new();
        self.read_file(number, |view, stored| {
            match view.moved(stored) {
                Ok(operations) if operations.is_empty() => {}
                Ok(operations) => {
                    bytes += u64::from(stored.length);
                    waiting.extend(operations);
                    if bytes >= portion {
                        portions.push((std::mem::take(&mut waiting), std::mem::take(&mut bytes)));
                    }
                }
                Err(error) => failed = Some(error),
            }
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(self.index_failed(&error));
        }
        portions.push((waiting, bytes));
        tracing::debug!(file = number, "live messages are moved out of a journal file");
        for (operations, bytes) in portions {
            if !operations.is_empty() {
                log.write(operations, Wish::Written)?;
            }
            if !log.rest(bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the file in which the journal ended, at `end`, has garbage enough to move the rest out of it.
    pub(super) fn is_worth_emptying(&self, end: Lsn) -> bool {
        self.live_share(end) < SHARE_ALL
    }

    /// Whether the file that is written keeps a good part of what may be used, being mostly dead: where less
    /// may be used than a file has, no other one does.
    pub(super) fn is_worth_leaving(&self) -> bool {
        let end = self.view.lock().applied.lsn;
        let live = self.live_share(end);
        let dead = f64::from(end.offset()) * (1.0 - live);
        let limit = self.limit.load(Ordering::Relaxed) as f64;
        self.shortage() == Shortage::Urgent && live < SHARE_LEFT && dead > limit * SHARE_WON
    }

    /// How much of what was written to the file of `end`, before it, is live.
    fn live_share(&self, end: Lsn) -> f64 {
        let live = self.view.lock().files.get(&end.file()).map_or(0, |file| file.bytes);
        let written = end.offset() - Lsn::start_of(end.file()).offset();
        live as f64 / f64::from(written.max(1))
    }

    /// The file that is best compacted, if it is time to.
    fn victim(&self, sealed: u32, emptied: &BTreeSet<u32>) -> Option<u32> {
        let is_short = self.shortage() > Shortage::None;
        let view = self.view.lock();
        let live: u64 = view.files.values().map(|file| file.bytes).sum();
        let file_bytes = u64::from(self.options.journal_max_file_length);
        let is_scattered = self.files.bytes_before(sealed) > 2 * live + SPARE_FILES * file_bytes;
        let until = self.compacts_until.load(Ordering::Relaxed);
        // On a full disk every file counts.
        let is_short = is_short || self.is_short();
        if !is_scattered && until == 0 && !is_short {
            return None;
        }
        // What was moved already is not moved again.
        let end = if until == 0 { sealed } else { sealed.min(until.saturating_add(1)) };
        let share_max = if until == 0 { SHARE_MAX } else { SHARE_ALL };
        let candidates = view
            .files
            .range(..end)
            .filter(|(number, file)| file.messages > 0 && !emptied.contains(number));
        let worth = candidates.filter_map(|(number, file)| {
            // What a file has behind its last batch is not won by moving the rest.
            let written = u64::from(file.end).min(self.files.length(*number)?).max(1);
            let share = file.bytes as f64 / written as f64;
            let age = f64::from(sealed - number);
            (share < share_max).then_some((*number, (1.0 - share) * age / (1.0 + share)))
        });
        worth.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(number, _)| number)
    }
}

impl View {
    /// Files in which nothing is live now.
    pub(super) fn idle_files(&self, there: &[u32]) -> BTreeSet<u32> {
        let is_idle = |number: &u32| {
            self.files.get(number).is_none_or(|file| file.messages == 0 && file.state == 0)
        };
        there.iter().copied().filter(is_idle).collect()
    }

    fn plan(&self, there: &BTreeSet<u32>, idle: &BTreeSet<u32>, sealed: u32) -> Plan {
        let none = FileRow::default();
        let row = |number: u32| self.files.get(&number).unwrap_or(&none);
        let is_sealed = |number: &u32| *number < sealed && there.contains(number);
        let mut plan =
            Plan { drop: idle.iter().copied().filter(is_sealed).collect(), ..Plan::default() };
        let dead = |number: &u32| row(*number).messages == 0;
        plan.state = there.range(..sealed).copied().filter(dead).collect();
        plan.state.retain(|number| row(*number).state > 0);
        // A file that stays may keep others from going.
        loop {
            let lacks = |number: u32, target: u32| {
                there.contains(&target)
                    && !plan.drop.contains(&target)
                    && row(target).live_as_of.file() <= target.max(number)
            };
            let mut kept = Vec::new();
            for number in &plan.drop {
                let targets = &row(*number).targets;
                let lacking = targets.iter().copied().filter(|target| lacks(*number, *target));
                let lacking: Vec<u32> = lacking.collect();
                if !lacking.is_empty() {
                    kept.push((*number, lacking));
                }
            }
            if kept.is_empty() {
                // Those that will go soon need none.
                plan.lives.retain(|number| *number < sealed && !idle.contains(number));
                return plan;
            }
            for (number, lacking) in kept {
                plan.drop.remove(&number);
                plan.lives.extend(lacking);
            }
        }
    }

    /// Adds to `set` what became of a record.
    fn judge(&self, stored: &Stored, set: &mut LiveSet) -> Result<(), super::index::IndexError> {
        let lsn = stored.lsn;
        let is_here = match &stored.record {
            Record::Add(add) => {
                if let Some((row, wanted)) = self.wanted(add)? {
                    set.insert(lsn, row.lsn == lsn, wanted);
                    if row.is_delivered {
                        set.deliver(lsn);
                    }
                }
                false
            }
            Record::Destination { destination, .. } => {
                self.contents.get(destination).is_some_and(|contents| contents.lsn == Some(lsn))
            }
            Record::Subscription(subscription) => {
                let known = self.subscriptions.get(&subscription.subscription);
                known.is_some_and(|known| known.lsn == lsn)
            }
            Record::Prepare { .. } => self.prepared.values().any(|prepared| prepared.lsn == lsn),
            _ => false,
        };
        if is_here {
            set.insert(lsn, true, [0]);
        }
        Ok(())
    }

    /// The row of a message, and who wants it: 0 for a queue.
    fn wanted(&self, add: &Add) -> Result<Option<(Row, Vec<u64>)>, super::index::IndexError> {
        let contents = self.contents.get(&add.destination).filter(|contents| contents.exists());
        let Some(contents) = contents else { return Ok(None) };
        let found = contents.find(&self.tree, add.destination, add.seq)?;
        let found = found.filter(|(_, row)| contents.is_wanted(add.seq, row));
        Ok(found.map(|(_, row)| (row, wanted_by(contents, add))))
    }

    /// What writes a message again; nothing if the record is not where it is.
    fn moved(&self, stored: &Stored) -> Result<Vec<Operation>, super::index::IndexError> {
        let Record::Add(add) = &stored.record else { return Ok(Vec::new()) };
        let Some((row, wanted)) = self.wanted(add)? else { return Ok(Vec::new()) };
        if row.lsn != stored.lsn {
            return Ok(Vec::new());
        }
        let (mut subscriptions, mut acks) = (None, Vec::new());
        if add.subscriptions.is_some() {
            let (listed, excluded) = cover(&wanted, self.subscriptions.keys().copied());
            subscriptions = Some(listed);
            acks = excluded;
        }
        // Its own bytes, not those of all that was read with it.
        let message = bytes::Bytes::copy_from_slice(&add.message);
        let (moved_from, is_delivered) = (Some(row.lsn), row.is_delivered);
        let again = Add { subscriptions, moved_from, is_delivered, message, ..add.clone() };
        let (destination, seqs) = (add.destination, Ranges::one(add.seq, add.seq));
        let acks = acks.into_iter().map(|subscription| {
            Record::SubAck { destination, subscription, seqs: seqs.clone() }.into()
        });
        Ok(std::iter::once(Record::Add(again).into()).chain(acks).collect())
    }
}

fn wanted_by(contents: &Contents, add: &Add) -> Vec<u64> {
    if add.subscriptions.is_none() {
        return vec![0];
    }
    let pending = contents.pending.iter().filter(|(_, pending)| pending.contains(add.seq));
    pending.map(|(subscription, _)| *subscription).collect()
}

/// Live records that one round writes; each costs reading a file.
const LIVES_MAX: usize = 8;
/// Files that may be dead beside half of the disk space, before something is moved. Tests have
/// stores of a few files.
const SPARE_FILES: u64 = if cfg!(test) { 1 } else { 8 };
/// Of a file of which more is live nothing is moved.
const SHARE_MAX: f64 = 0.8;
/// Nor of such a one if all garbage is to go: the rest is what any file has beside messages.
const SHARE_ALL: f64 = 0.95;
/// Of the file that is written less must be live before another one is begun for want of space.
const SHARE_LEFT: f64 = 0.5;
/// And so much of what may be used is to be won.
const SHARE_WON: f64 = 0.1;
/// What is moved at once, bytes, unless files are small.
const PORTION_BYTES: u64 = 256 << 10;
