//! Taking up the state that the tree has: everything but the messages.

use super::contents::nonsense;
use super::{Contents, Counters, Prepared, Producer, Subscription, View};
use crate::store::kahadb::fields::Malformed;
use crate::store::kahadb::index::{self, IndexError, Reader};
use crate::store::kahadb::journal::{Gaps, Lsn, Mark};
use crate::store::kahadb::rows::{
    self, DestinationRow, FileRow, Row, behind, decode_producer, decode_subscription, decode_u32,
    first_of, pending_in, u32_in, u64_in,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

impl View {
    /// Reads the rows of every kind but messages; `record` came with them.
    pub(in crate::store::kahadb) fn load(
        &mut self,
        record: &index::Record,
    ) -> Result<(), IndexError> {
        let [last_sequence, last_subscription, last_destination, last_producer, ..] =
            record.counters;
        let last_destination = last_destination as u32;
        self.counters =
            Counters { last_sequence, last_subscription, last_destination, last_producer };
        let (lsn, chain, epoch) = (Lsn(record.replay_lsn), record.chain, record.epoch);
        self.applied = Mark { lsn, chain, epoch };
        for kind in [
            rows::DESTINATION,
            rows::SUBSCRIPTION,
            rows::PENDING,
            rows::FILE,
            rows::PRODUCER,
            rows::PREPARED,
            rows::GAPS,
        ] {
            self.load_kind(kind)?;
        }
        Ok(())
    }

    fn load_kind(&mut self, kind: u8) -> Result<(), IndexError> {
        let (reader, version) = (self.tree.reader.clone(), self.tree.version);
        let mut outcome = Ok(());
        reader.range(version, &first_of(kind), Some(&behind(kind)), &mut |key, value| {
            outcome = self.load_row(kind, key, value);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome.map_err(nonsense)
    }

    fn load_row(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match kind {
            rows::DESTINATION => {
                let (number, row) = (u32_in(key)?, DestinationRow::decode(value)?);
                let mut contents = Contents::new(row.destination.clone());
                contents.lsn = Some(row.lsn);
                (contents.bands, contents.expiring) = (row.bands, row.expiring);
                contents.expires_from = if row.expiring > 0 { 0 } else { u64::MAX };
                self.numbers.insert(row.destination, number);
                self.contents.insert(number, contents);
            }
            rows::SUBSCRIPTION => {
                let number = u64_in(key)?;
                let (lsn, stored) = decode_subscription(number, value)?;
                let topics = BTreeSet::new();
                self.subscriptions.insert(number, Subscription { stored, lsn, topics });
            }
            rows::PENDING => {
                let (number, subscription, chunk) = pending_in(key)?;
                let contents = self.contents.get_mut(&number).ok_or(Malformed)?;
                let known = self.subscriptions.get_mut(&subscription).ok_or(Malformed)?;
                known.topics.insert(number);
                contents.pending.entry(subscription).or_default().load(chunk, value)?;
            }
            rows::FILE => drop(self.files.insert(u32_in(key)?, FileRow::decode(value)?)),
            rows::PRODUCER => {
                let (number, (id, marks)) = (u64_in(key)?, decode_producer(value)?);
                self.producer_numbers.insert(id.clone(), number);
                self.producers.insert(number, Producer { id, marks, used: 0 });
            }
            rows::GAPS => self.gaps = Gaps::decode(value)?,
            _ => {
                let lsn = Lsn(u64_in(key)?);
                self.unread.push(Prepared { lsn, length: decode_u32(value)? });
            }
        }
        Ok(())
    }

    /// Rows of messages whose record is in one of `files` go, and what else is said there. Returns
    /// how many messages.
    pub(in crate::store::kahadb) fn forget_files(
        &mut self,
        files: &BTreeSet<u32>,
    ) -> Result<u64, IndexError> {
        let is_lost = |row: &Row| files.contains(&row.lsn.file());
        let lost = self.forget_messages(&is_lost)?;
        for number in files {
            self.files.remove(number);
            self.changed.files.insert(*number);
        }
        Ok(lost)
    }

    /// Messages whose row is lost go. Returns how many.
    pub(in crate::store::kahadb) fn forget_messages(
        &mut self,
        is_lost: &dyn Fn(&Row) -> bool,
    ) -> Result<u64, IndexError> {
        let mut count = 0;
        let numbers: Vec<u32> = self.contents.keys().copied().collect();
        for number in numbers {
            let bands: Vec<u8> = self.contents[&number].bands.keys().copied().collect();
            for band in bands {
                let mut from = Some(0);
                while let Some(first) = from {
                    let contents = &self.contents[&number];
                    let range = (first, u64::MAX);
                    let (rows, next) = contents.slice(&self.tree, number, band, range, SLICE)?;
                    for (seq, row) in rows.into_iter().filter(|(_, row)| is_lost(row)) {
                        self.forget_message(number, (band, seq), row);
                        count += 1;
                    }
                    from = next;
                }
            }
        }
        Ok(count)
    }
}

/// Rows at once.
const SLICE: usize = 4096;
