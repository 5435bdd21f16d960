//! What each record of the journal does to the state.

use super::contents::{Contents, Tree, nonsense};
use super::subscriptions::topics_of;
use super::{Changed, Prepared, Producer, View};
use crate::jms::ProducerId;
use crate::store::StoredSubscription;
use crate::store::kahadb::index::IndexError;
use crate::store::kahadb::journal::{Add, Batch, Gaps, Lsn, Mark, Range, Ranges, Record, Stored};
use crate::store::kahadb::names::{destination_of, xid_of_branch};
use crate::store::kahadb::rows::{FileRow, GAPS, Row, pending_key, prepared_key, producer_key};
use std::collections::{BTreeMap, BTreeSet};

/// Whose file figures change when a message goes, and by which file's record.
pub(super) struct Books<'a> {
    files: &'a mut BTreeMap<u32, FileRow>,
    pub(super) changed: &'a mut Changed,
    pub(super) by: u32,
}

impl Books<'_> {
    /// A record in `by` has ended one in `file`.
    pub(super) fn ends(&mut self, file: u32) {
        if file != self.by && self.files.entry(self.by).or_default().targets.insert(file) {
            self.changed.files.insert(self.by);
        }
    }

    fn add(&mut self, row: &Row) {
        let file = self.files.entry(row.lsn.file()).or_default();
        file.messages += 1;
        file.bytes += u64::from(row.length);
        self.changed.files.insert(row.lsn.file());
    }

    fn remove(&mut self, row: &Row) {
        let file = self.files.entry(row.lsn.file()).or_default();
        file.messages = file.messages.saturating_sub(1);
        file.bytes = file.bytes.saturating_sub(row.length.into());
        self.changed.files.insert(row.lsn.file());
        self.ends(row.lsn.file());
    }

    /// The record that says something is there moves.
    pub(super) fn state(&mut self, from: Option<Lsn>, to: Option<Lsn>) {
        if let Some(from) = from {
            let file = self.files.entry(from.file()).or_default();
            file.state = file.state.saturating_sub(1);
            self.changed.files.insert(from.file());
            self.ends(from.file());
        }
        if let Some(to) = to {
            self.files.entry(to.file()).or_default().state += 1;
            self.changed.files.insert(to.file());
        }
    }
}

impl View {
    /// Applies a batch, the next one of the log.
    pub(in crate::store::kahadb) fn apply(&mut self, batch: &Batch) -> Result<(), IndexError> {
        let before = self.applied.lsn;
        if before.file() < batch.header.lsn.file() && before > Lsn::default() {
            self.files.entry(before.file()).or_default().end = before.offset();
            self.changed.files.insert(before.file());
        }
        for stored in &batch.records {
            match &self.rebuilding {
                None => {
                    self.apply_state(stored)?;
                    self.apply_contents(stored)?;
                }
                Some(_) => self.rebuild_contents(stored)?,
            }
        }
        self.applied = Mark { lsn: batch.end(), chain: batch.crc, epoch: batch.header.epoch };
        Ok(())
    }

    /// What destinations, subscriptions and prepared branches there are.
    pub(super) fn apply_state(&mut self, stored: &Stored) -> Result<(), IndexError> {
        let (lsn, by) = (stored.lsn, stored.lsn.file());
        match &stored.record {
            Record::Destination { destination, kind, name } => {
                return self.create(*destination, *kind, name, lsn);
            }
            Record::Deleted { destination } => self.delete(*destination, by),
            Record::Subscription(record) => {
                let destination =
                    destination_of(record.kind, &record.destination).map_err(nonsense)?;
                self.subscribe(
                    StoredSubscription {
                        number: record.subscription,
                        client: record.client_id.as_str().into(),
                        name: record.name.as_str().into(),
                        destination,
                        selector: record.selector.as_deref().map(Into::into),
                        no_local: record.no_local,
                    },
                    lsn,
                );
            }
            Record::Unsubscribed { subscription } => self.unsubscribe(*subscription, by),
            Record::Prepare { branch } => {
                let xid = xid_of_branch(branch).map_err(nonsense)?;
                let prepared = Prepared { lsn, length: stored.length };
                let before = self.prepared.insert(xid, prepared);
                self.prepared_changed(before, Some(prepared), by);
            }
            Record::Forget { xid } => {
                let before = self.prepared.remove(xid);
                self.prepared_changed(before, None, by);
            }
            _ => {}
        }
        Ok(())
    }

    /// What destinations hold, and all else.
    pub(super) fn apply_contents(&mut self, stored: &Stored) -> Result<(), IndexError> {
        let by = stored.lsn.file();
        match &stored.record {
            Record::Add(add) if add.moved_from.is_some() => return self.move_row(stored, add),
            Record::Add(add) => {
                let ranges = add.subscriptions.iter().flat_map(Ranges::as_slice);
                let wanted = ranges.flat_map(|range| self.there(*range)).collect();
                self.add(stored, add, &wanted);
            }
            Record::Remove { destination, seqs } => {
                for range in seqs.as_slice() {
                    self.remove(*destination, *range, by)?;
                }
            }
            Record::Delivered { destination, seqs } => return self.deliver(*destination, seqs, by),
            Record::SubAck { destination, subscription, seqs } => {
                return self.acknowledge(*destination, *subscription, seqs, by);
            }
            Record::Share { destination, subscription } => {
                return self.share(*destination, *subscription, stored.lsn);
            }
            Record::Purge { destination, last } => self.purge(*destination, *last, by),
            Record::Producer { producer, connection, session, value } => {
                let connection = connection.as_deref().map(Into::into);
                let (session, value) = (*session as i64, *value as i64);
                self.introduce(*producer, ProducerId { connection, session, value });
            }
            Record::Live { file, as_of, .. } => self.live(*file, *as_of, by),
            Record::DropFile { counters, gaps, .. } => {
                self.counters.raise(*counters);
                self.gaps = Gaps::decode(gaps).map_err(nonsense)?;
                self.changed.rows.insert(vec![GAPS], Some(gaps.to_vec()));
                let gone = self.files.keys().filter(|number| self.gaps.contains(**number));
                for number in gone.copied().collect::<Vec<_>>() {
                    self.files.remove(&number);
                    self.changed.files.insert(number);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The newest Live record of a file comes.
    fn live(&mut self, file: u32, as_of: Lsn, by: u32) {
        let Some(row) = self.files.get_mut(&file) else { return };
        row.live_as_of = as_of.max(row.live_as_of);
        self.changed.files.insert(file);
        let (mut books, ..) = self.books(by);
        books.ends(file);
    }

    pub(super) fn books(
        &mut self,
        by: u32,
    ) -> (Books<'_>, &mut hashbrown::HashMap<u32, Contents>, &Tree) {
        let Self { files, changed, contents, tree, .. } = self;
        (Books { files, changed, by }, contents, tree)
    }

    /// A message comes; `wanted` are the subscriptions of a topic.
    pub(super) fn add(&mut self, stored: &Stored, add: &Add, wanted: &BTreeSet<u64>) {
        self.counters.last_sequence = self.counters.last_sequence.max(add.seq);
        let row = self.row_of(stored, add);
        let Some(contents) = self.contents.get_mut(&add.destination).filter(|c| c.exists()) else {
            return; // the destination is gone, and this with it
        };
        self.changed.contents.insert(add.destination);
        if add.subscriptions.is_none() || !wanted.is_empty() {
            contents.insert((add.band, add.seq), row);
            for number in wanted {
                contents.pending.entry(*number).or_default().insert(add.seq);
                if let Some(topics) =
                    topics_of(&mut self.subscriptions, &mut self.rebuilding, *number)
                {
                    topics.insert(add.destination);
                }
            }
            let (mut books, ..) = self.books(stored.lsn.file());
            books.add(&row);
        }
        self.mark(add.producer, add.destination, add.producer_seq as i64);
    }

    /// A message was written again.
    ///
    /// What this says may have been overtaken while it was on its way: the message went, or was
    /// delivered, a subscription was done with it, or another one got it. Who reads the log knows from the
    /// first record and what follows it; so that one's file needs a Live record of this one's before it
    /// goes.
    fn move_row(&mut self, stored: &Stored, add: &Add) -> Result<(), IndexError> {
        let row = self.row_of(stored, add);
        let from = add.moved_from.unwrap_or_default().file();
        let (mut books, contents, tree) = self.books(row.lsn.file());
        let mut is_overtaken = true;
        if let Some(contents) = contents.get_mut(&add.destination).filter(|c| c.exists())
            && let Some((band, old)) = contents.find(tree, add.destination, add.seq)?
        {
            let is_delivered = row.is_delivered || old.is_delivered;
            contents.replace((band, add.seq), Row { is_delivered, ..row });
            books.remove(&old);
            books.add(&row);
            books.changed.contents.insert(add.destination);
            let listed = add.subscriptions.iter().flat_map(Ranges::iter);
            let wanted = contents.pending.iter().filter(|(_, p)| p.contains(add.seq));
            let is_wanted = listed.eq(wanted.map(|(number, _)| *number));
            is_overtaken = !is_wanted || is_delivered != row.is_delivered;
        }
        if is_overtaken {
            books.by = from;
            books.ends(row.lsn.file());
        }
        Ok(())
    }

    /// The row of a message that `stored` brings or brings again.
    fn row_of(&self, stored: &Stored, add: &Add) -> Row {
        let told = |lsn: Lsn| self.rebuilding.as_ref().is_some_and(|e| e.is_delivered(lsn));
        Row {
            lsn: stored.lsn,
            length: stored.length,
            expiration_ms: add.expiration_ms,
            is_topic: add.subscriptions.is_some(),
            is_delivered: add.is_delivered || told(stored.lsn) || add.moved_from.is_some_and(told),
            replaces: false,
        }
    }

    /// Messages of a queue are given to consumers. No record undoes that.
    pub(super) fn deliver(
        &mut self,
        number: u32,
        seqs: &Ranges,
        by: u32,
    ) -> Result<(), IndexError> {
        let (mut books, contents, tree) = self.books(by);
        let Some(contents) = contents.get_mut(&number) else { return Ok(()) };
        books.changed.contents.insert(number);
        for seq in seqs.iter() {
            if let Some((band, row)) = contents.find(tree, number, seq)? {
                contents.replace((band, seq), Row { is_delivered: true, ..row });
                books.ends(row.lsn.file());
            }
        }
        Ok(())
    }

    /// A message whose record cannot be read goes. No record says so: it would be as lost again.
    pub(super) fn forget_message(&mut self, number: u32, key: (u8, u64), row: Row) {
        let (mut books, contents, _) = self.books(row.lsn.file());
        let Some(contents) = contents.get_mut(&number) else { return };
        books.changed.contents.insert(number);
        take(contents, &mut books, key, row);
    }

    pub(super) fn remove(&mut self, number: u32, range: Range, by: u32) -> Result<(), IndexError> {
        let (mut books, contents, tree) = self.books(by);
        let Some(contents) = contents.get_mut(&number) else { return Ok(()) };
        books.changed.contents.insert(number);
        if range.last - range.first < SCAN_FROM {
            for seq in range.first..=range.last {
                if let Some((band, row)) = contents.find(tree, number, seq)? {
                    take(contents, &mut books, (band, seq), row);
                }
            }
            return Ok(());
        }
        let bands: Vec<u8> = contents.bands.keys().copied().collect();
        for band in bands {
            let mut from = Some(range.first);
            while let Some(first) = from {
                let (rows, next) =
                    contents.slice(tree, number, band, (first, range.last), SLICE)?;
                for (seq, row) in rows {
                    take(contents, &mut books, (band, seq), row);
                }
                from = next;
            }
        }
        Ok(())
    }

    fn purge(&mut self, number: u32, last: u64, by: u32) {
        let (mut books, contents, _) = self.books(by);
        let Some(contents) = contents.get_mut(&number) else { return };
        books.changed.contents.insert(number);
        let bands: Vec<u8> = contents.bands.keys().copied().collect();
        for band in bands {
            contents.purge(band, last, by).iter().for_each(|row| books.remove(row));
        }
        for pending in contents.pending.values_mut() {
            pending.remove_to(last);
        }
        if !contents.uncounted.is_empty() {
            self.uncounted.insert(number);
        }
    }

    pub(in crate::store::kahadb) fn has_uncounted(&self) -> bool {
        !self.uncounted.is_empty()
    }

    /// Takes about `max` messages from the figures that were purged, or left by a deleted subscription.
    /// False if there are no more.
    pub(in crate::store::kahadb) fn count_purged(
        &mut self,
        max: usize,
    ) -> Result<bool, IndexError> {
        let Some(number) = self.uncounted.first().copied() else { return Ok(false) };
        let (mut books, contents, tree) = self.books(0);
        let counted = match contents.get_mut(&number) {
            Some(contents) => contents.count_purged(tree, number, max)?,
            None => None,
        };
        match counted {
            Some((rows, by)) => {
                books.by = by;
                rows.iter().for_each(|row| books.remove(row));
            }
            None if self.count_left(number, max)? => {}
            None => drop(self.uncounted.remove(&number)),
        }
        Ok(!self.uncounted.is_empty())
    }

    fn create(&mut self, number: u32, kind: u8, name: &str, lsn: Lsn) -> Result<(), IndexError> {
        let destination = destination_of(kind, name).map_err(nonsense)?;
        self.counters.last_destination = self.counters.last_destination.max(number);
        if let Some(other) = self.numbers.insert(destination.clone(), number)
            && other != number
        {
            // It was deleted before it got another number.
            self.delete_contents(other, lsn.file());
        }
        let contents =
            self.contents.entry(number).or_insert_with(|| Contents::new(destination.clone()));
        contents.destination = destination;
        let before = contents.lsn.replace(lsn);
        self.changed.contents.insert(number);
        let (mut books, ..) = self.books(lsn.file());
        books.state(before, Some(lsn));
        Ok(())
    }

    fn delete(&mut self, number: u32, by: u32) {
        let destination = self.contents.get(&number).map(|c| c.destination.clone());
        if let Some(destination) = destination
            && self.numbers.get(&destination) == Some(&number)
        {
            self.numbers.remove(&destination);
        }
        self.delete_contents(number, by);
    }

    fn delete_contents(&mut self, number: u32, by: u32) {
        self.clear(number, by);
        let Some(contents) = self.contents.get_mut(&number) else { return };
        let before = contents.lsn.take();
        self.changed.contents.insert(number);
        let (mut books, ..) = self.books(by);
        books.state(before, None);
    }

    /// All that a destination holds goes.
    pub(super) fn clear(&mut self, number: u32, by: u32) {
        self.purge(number, u64::MAX, by);
        for subscription in self.subscriptions.values_mut() {
            subscription.topics.remove(&number);
        }
        for producer in self.producers.values_mut() {
            producer.marks.remove(&number);
        }
        let Some(contents) = self.contents.get_mut(&number) else { return };
        contents.left.clear();
        for (subscription, pending) in std::mem::take(&mut contents.pending) {
            let keys = pending.chunks().into_iter().map(|c| pending_key(number, subscription, c));
            self.changed.rows.extend(keys.map(|key| (key, None)));
        }
    }

    fn prepared_changed(&mut self, before: Option<Prepared>, now: Option<Prepared>, by: u32) {
        if let Some(before) = before {
            self.changed.rows.insert(prepared_key(before.lsn), None);
        }
        if let Some(now) = now {
            let length = crate::store::kahadb::rows::encode_number(now.length.into());
            self.changed.rows.insert(prepared_key(now.lsn), Some(length));
        }
        let (mut books, ..) = self.books(by);
        books.state(before.map(|p| p.lsn), now.map(|p| p.lsn));
    }

    fn introduce(&mut self, number: u64, id: ProducerId) {
        self.counters.last_producer = self.counters.last_producer.max(number);
        self.producer_clock += 1;
        let used = self.producer_clock;
        let mut marks = BTreeMap::new();
        if let Some(other) = self.producer_numbers.insert(id.clone(), number)
            && let Some(other) = self.producers.remove(&other)
        {
            marks = other.marks; // the same under another number
        }
        if let Some(other) = self.producers.insert(number, Producer { id, marks, used })
            && self.producer_numbers.get(&other.id) == Some(&number)
            && self.producers.get(&number).is_some_and(|now| now.id != other.id)
        {
            self.producer_numbers.remove(&other.id);
        }
        self.changed.producers.insert(number);
        if self.producers.len() > self.producers_max + self.producers_max / 4 {
            self.drop_producers();
        }
    }

    /// Keeps those that were used last.
    fn drop_producers(&mut self) {
        let mut by_use: Vec<(u64, u64)> =
            self.producers.iter().map(|(number, producer)| (producer.used, *number)).collect();
        by_use.sort_unstable();
        for (_, number) in &by_use[..by_use.len() - self.producers_max] {
            if let Some(gone) = self.producers.remove(number) {
                self.producer_numbers.remove(&gone.id);
            }
            self.changed.rows.insert(producer_key(*number), None);
            self.changed.producers.remove(number);
        }
    }

    fn mark(&mut self, producer: u64, destination: u32, seq: i64) {
        let Some(producer_of) = self.producers.get_mut(&producer) else { return };
        self.producer_clock += 1;
        producer_of.used = self.producer_clock;
        let marks = &mut producer_of.marks;
        let mark = marks.entry(destination).or_insert(seq);
        *mark = seq.max(*mark);
        if marks.len() > MARKS_MAX
            && let Some(lowest) = marks.iter().min_by_key(|(_, seq)| **seq).map(|(d, _)| *d)
        {
            marks.remove(&lowest);
        }
        self.changed.producers.insert(producer);
    }
}

/// A message goes, for everybody.
pub(super) fn take(contents: &mut Contents, books: &mut Books<'_>, key: (u8, u64), row: Row) {
    contents.take(key, row);
    books.remove(&row);
    if row.is_topic {
        for pending in contents.pending.values_mut() {
            pending.remove(key.1);
        }
    }
}

/// Longer ranges are looked for by what is there, shorter ones one by one.
const SCAN_FROM: u64 = 64;
/// Rows at once.
pub(super) const SLICE: usize = 4096;
/// Destinations in which a producer's last message is remembered.
const MARKS_MAX: usize = 1024;
