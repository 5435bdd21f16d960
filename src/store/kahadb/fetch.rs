//! Reading messages back: their rows from the state, their bodies from the journal.

use super::core::Core;
use super::index::IndexError;
use super::journal::{Record, read_records};
use super::rows::Row;
use super::state::{Search, View};
use crate::jms::{Destination, Message};
use crate::store::{Fetch, Page, PageLimit, StoreError, StoredMessage};
use std::sync::Arc;

/// A message whose body is to be read.
#[derive(Clone, Copy)]
struct Wanted {
    destination: u32,
    seq: u64,
    row: Row,
}

/// Rows in order of seq.
#[derive(Default)]
struct Rows {
    wanted: Vec<Wanted>,
    bytes: u64,
    end: bool,
    behind: Option<u64>,
}

impl Rows {
    /// False if that was the last one that fits.
    fn push(&mut self, wanted: Wanted, limit: PageLimit) -> bool {
        self.wanted.push(wanted);
        self.bytes += u64::from(wanted.row.length);
        self.wanted.len() < limit.messages && self.bytes < limit.bytes
    }
}

impl Core {
    /// Answers as of everything that was applied. Reads from the disk.
    pub(super) fn fetch(&self, fetch: &Fetch) -> Result<Page, StoreError> {
        let rows = match fetch {
            Fetch::Queue { destination, band, after, limit } => {
                self.queue_rows(destination, *band, above(*after), *limit)
            }
            Fetch::Durable { subscription, topic, after, limit } => {
                self.durable_rows(*subscription, topic.as_ref(), above(*after), *limit)
            }
            Fetch::Expired { destination, now_ms, limit } => {
                self.expired_rows(destination, (*now_ms).max(0) as u64, *limit)
            }
            Fetch::Exactly { destination, sequences } => self.exact_rows(destination, sequences),
        };
        let rows = rows.map_err(|error| self.index_failed(&error))?;
        let last = rows.wanted.last().map(|wanted| wanted.seq as i64);
        let (messages, damaged) =
            self.bodies(rows.wanted).map_err(|error| self.index_failed(&error))?;
        Ok(Page { messages, last, end: rows.end, behind: rows.behind, damaged })
    }

    fn queue_rows(
        &self,
        destination: &Destination,
        band: u8,
        mut from: u64,
        limit: PageLimit,
    ) -> Result<Rows, IndexError> {
        let mut rows = Rows::default();
        loop {
            let view = self.view.lock();
            let Some((number, contents)) = view.of(destination) else { break };
            let max = limit.messages.saturating_sub(rows.wanted.len()).clamp(1, SLICE);
            let (slice, next) = contents.slice(&view.tree, number, band, (from, u64::MAX), max)?;
            drop(view);
            let mut left = slice.len();
            for (seq, row) in slice {
                left -= 1;
                if !rows.push(Wanted { destination: number, seq, row }, limit) {
                    rows.end = left == 0 && next.is_none();
                    return Ok(rows);
                }
            }
            let Some(next) = next else { break };
            from = next;
        }
        rows.end = true;
        Ok(rows)
    }

    fn durable_rows(
        &self,
        subscription: u64,
        topic: Option<&Destination>,
        from: u64,
        limit: PageLimit,
    ) -> Result<Rows, IndexError> {
        let (mut rows, view) = (Rows::default(), self.view.lock());
        let Some(known) = view.subscriptions.get(&subscription) else {
            return Ok(Rows { end: true, ..rows });
        };
        let only = topic.map(|topic| view.numbers.get(topic));
        let topics = known.topics.iter().filter(|number| only.is_none_or(|o| o == Some(*number)));
        let max = limit.messages.max(1);
        let mut seqs: Vec<(u64, u32)> = Vec::new();
        for number in topics.clone() {
            let contents = view.contents.get(number);
            let pending = contents.and_then(|contents| contents.pending.get(&subscription));
            // One more than fits tells whether there is more.
            let first = pending.into_iter().flat_map(|p| p.range(from, u64::MAX)).take(max + 1);
            seqs.extend(first.map(|seq| (seq, *number)));
        }
        seqs.sort_unstable();
        let mut left = seqs.len();
        for (seq, number) in seqs {
            left -= 1;
            let Some(contents) = view.contents.get(&number) else { continue };
            if let Some((_, row)) = contents.find(&view.tree, number, seq)?
                && !rows.push(Wanted { destination: number, seq, row }, limit)
            {
                rows.end = left == 0;
                let pending = topics.filter_map(|number| view.contents.get(number));
                let pending = pending.filter_map(|contents| contents.pending.get(&subscription));
                rows.behind = Some(pending.map(|pending| pending.count_from(seq + 1)).sum());
                return Ok(rows);
            }
        }
        rows.end = true;
        rows.behind = Some(0);
        Ok(rows)
    }

    /// Looks through all messages, in as many fetches as the limit makes of it; the last one says
    /// that it is the end. The next search begins when something has expired.
    fn expired_rows(
        &self,
        destination: &Destination,
        now_ms: u64,
        limit: PageLimit,
    ) -> Result<Rows, IndexError> {
        let mut rows = Rows { end: true, ..Rows::default() };
        let mut search = {
            let mut view = self.view.lock();
            let Some(contents) = view.of_mut(destination) else { return Ok(rows) };
            match contents.search.take() {
                Some(search) => search,
                None if contents.expiring == 0 || contents.expires_from >= now_ms => {
                    return Ok(rows);
                }
                None => {
                    // What is added meanwhile lowers it; what is passed does so at the end.
                    contents.expires_from = u64::MAX;
                    Search { band: 0, seq: 0, earliest_ms: u64::MAX }
                }
            }
        };
        let outcome = self.search(destination, now_ms, limit, &mut search, &mut rows);
        rows.wanted.sort_unstable_by_key(|wanted| wanted.seq);
        if let Some(contents) = self.view.lock().of_mut(destination) {
            match outcome {
                Ok(()) if !rows.end => contents.search = Some(search),
                Ok(()) => contents.expires_from = contents.expires_from.min(search.earliest_ms),
                Err(_) => contents.expires_from = 0,
            }
        }
        outcome.map(|()| rows)
    }

    /// Goes on with a search until a page is full, or to its end.
    fn search(
        &self,
        destination: &Destination,
        now_ms: u64,
        limit: PageLimit,
        search: &mut Search,
        rows: &mut Rows,
    ) -> Result<(), IndexError> {
        loop {
            let view = self.view.lock();
            let Some((number, contents)) = view.of(destination) else { return Ok(()) };
            let Some((band, _)) = contents.bands.range(search.band..).next() else { return Ok(()) };
            if *band > search.band {
                (search.band, search.seq) = (*band, 0);
            }
            let range = (search.seq, u64::MAX);
            let (mut slice, next) =
                contents.slice(&view.tree, number, search.band, range, SLICE)?;
            slice.retain(|seq, row| contents.is_wanted(*seq, row));
            drop(view);
            for (seq, row) in slice.into_iter().filter(|(_, row)| row.expiration_ms > 0) {
                search.earliest_ms = search.earliest_ms.min(row.expiration_ms);
                if row.expiration_ms < now_ms
                    && !rows.push(Wanted { destination: number, seq, row }, limit)
                {
                    search.seq = seq + 1;
                    rows.end = false;
                    return Ok(());
                }
            }
            match (next, search.band.checked_add(1)) {
                (Some(next), _) => search.seq = next,
                (None, Some(band)) => (search.band, search.seq) = (band, 0),
                (None, None) => return Ok(()),
            }
        }
    }

    fn exact_rows(&self, destination: &Destination, seqs: &[i64]) -> Result<Rows, IndexError> {
        let (mut rows, view) = (Rows { end: true, ..Rows::default() }, self.view.lock());
        let Some((number, contents)) = view.of(destination) else { return Ok(rows) };
        let mut seqs: Vec<u64> = seqs.iter().map(|seq| *seq as u64).collect();
        seqs.sort_unstable();
        seqs.dedup();
        for seq in seqs {
            if let Some((_, row)) = contents.find(&view.tree, number, seq)? {
                rows.wanted.push(Wanted { destination: number, seq, row });
            }
        }
        Ok(rows)
    }

    /// The messages in the order of `wanted`, and the sequences of those that are damaged. Those
    /// that went meanwhile are left out.
    fn bodies(&self, wanted: Vec<Wanted>) -> Result<(Vec<StoredMessage>, Vec<i64>), IndexError> {
        let mut found: Vec<Option<Arc<Message>>> = vec![None; wanted.len()];
        let mut damaged = Vec::new();
        let mut left: Vec<(usize, Wanted)> = wanted.iter().copied().enumerate().collect();
        while !left.is_empty() {
            left.sort_unstable_by_key(|(_, wanted)| wanted.row.lsn);
            let places: Vec<_> = left.iter().map(|(_, w)| (w.row.lsn, w.row.length)).collect();
            let mut failed = Vec::new();
            read_records(&self.files, &places, |at, outcome| {
                let (place, wanted) = left[at];
                let outcome = outcome.map(|record| self.message_in(record, wanted));
                match outcome {
                    Ok(Some(message)) => found[place] = Some(message),
                    other => failed.push((place, wanted, other.err())),
                }
            });
            // It may have been written elsewhere, or have gone, since its row was looked up.
            left.clear();
            for (place, wanted, error) in failed {
                match current(&self.view.lock(), wanted)? {
                    None => {}
                    Some(row) if row.lsn != wanted.row.lsn => {
                        left.push((place, Wanted { row, ..wanted }));
                    }
                    Some(row) => {
                        let path = self.files.path(row.lsn.file());
                        let offset = u64::from(row.lsn.offset());
                        let reason = "there is another record";
                        let other = super::journal::JournalError::Corrupt { path, offset, reason };
                        self.tell_damage(row.lsn, &error.unwrap_or(other));
                        damaged.push(wanted.seq as i64);
                    }
                }
            }
        }
        damaged.sort_unstable();
        let messages = wanted.iter().zip(found).filter_map(|(wanted, message)| {
            Some(StoredMessage { sequence: wanted.seq as i64, message: message? })
        });
        Ok((messages.collect(), damaged))
    }

    fn message_in(&self, record: Record, wanted: Wanted) -> Option<Arc<Message>> {
        match record {
            Record::Add(add) if (add.destination, add.seq) == (wanted.destination, wanted.seq) => {
                let mut message = (self.form.decode)(add.message)?;
                if wanted.row.is_delivered && message.redelivery_counter < 1 {
                    Arc::make_mut(&mut message).redelivery_counter = 1;
                }
                Some(message)
            }
            _ => None,
        }
    }
}

fn current(view: &View, wanted: Wanted) -> Result<Option<Row>, IndexError> {
    let Some(contents) = view.contents.get(&wanted.destination) else { return Ok(None) };
    let found = contents.find(&view.tree, wanted.destination, wanted.seq)?;
    Ok(found.map(|(_, row)| row))
}

fn above(after: i64) -> u64 {
    after.saturating_add(1).max(0) as u64
}

/// Rows looked at under one lock.
const SLICE: usize = 1024;
