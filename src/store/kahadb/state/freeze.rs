//! What goes into a checkpoint: everything that changed since the one before, in key order.

use super::contents::Delta;
use super::{Changed, View};
use crate::store::kahadb::index::{Change, Changes, Version};
use crate::store::kahadb::rows::{
    DestinationRow, Row, destination_key, encode_producer, encode_subscription, file_key,
    message_key, pending_key, producer_key, subscription_key,
};
use bytes::BytesMut;
use std::collections::{BTreeMap, btree_map, btree_set};
use std::iter::Peekable;
use std::sync::Arc;

/// The changes of one checkpoint. Reads look at them until it is published.
pub(in crate::store::kahadb) struct Frozen {
    messages: BTreeMap<u32, Arc<Delta>>,
    /// Of all other kinds, which come behind messages.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl View {
    /// Takes what changed. Nothing may be frozen before, and all that was purged is counted.
    pub(in crate::store::kahadb) fn freeze(&mut self) -> Frozen {
        let Changed { contents, subscriptions, producers, files, mut rows } =
            std::mem::take(&mut self.changed);
        let mut messages = BTreeMap::new();
        for number in contents {
            let Some(contents) = self.contents.get_mut(&number) else { continue };
            if !contents.delta.is_empty() {
                let delta = Arc::new(std::mem::take(&mut contents.delta));
                contents.frozen = Some(delta.clone());
                messages.insert(number, delta);
            }
            let row = contents.lsn.map(|lsn| {
                let destination = contents.destination.clone();
                let (expiring, bands) = (contents.expiring, contents.bands.clone());
                DestinationRow { lsn, destination, expiring, bands }.encode()
            });
            rows.insert(destination_key(number), row);
            for (subscription, pending) in &mut contents.pending {
                let chunks = pending.take_changed();
                rows.extend(chunks.map(|(n, row)| (pending_key(number, *subscription, n), row)));
            }
            if contents.lsn.is_none() && contents.frozen.is_none() {
                self.contents.remove(&number);
            }
        }
        for number in subscriptions {
            let there = self.subscriptions.get(&number);
            let row = there.map(|there| encode_subscription(there.lsn, &there.stored));
            rows.insert(subscription_key(number), row);
        }
        for number in producers {
            let there = self.producers.get(&number);
            let row = there.map(|there| encode_producer(&there.id, &there.marks));
            rows.insert(producer_key(number), row);
        }
        for number in files {
            rows.insert(file_key(number), self.files.get(&number).map(|file| file.encode()));
        }
        Frozen { messages, rows }
    }

    /// From now on the tree has what `frozen` says.
    pub(in crate::store::kahadb) fn publish(&mut self, version: Version, frozen: &Frozen) {
        self.tree.version = version;
        for number in frozen.messages.keys() {
            let Some(contents) = self.contents.get_mut(number) else { continue };
            contents.frozen = None;
            let is_over = contents.lsn.is_none() && contents.delta.is_empty();
            if is_over && !self.changed.contents.contains(number) {
                self.contents.remove(number);
            }
        }
    }

    /// The checkpoint cannot be written: `frozen` goes into the next one. All that was purged is
    /// counted.
    pub(in crate::store::kahadb) fn thaw(&mut self, frozen: Frozen) {
        for (number, older) in frozen.messages {
            let Some(contents) = self.contents.get_mut(&number) else { continue };
            contents.frozen = None;
            let newer = std::mem::take(&mut contents.delta);
            contents.delta = Arc::unwrap_or_clone(older).then(newer);
            self.changed.contents.insert(number);
        }
        for (key, row) in frozen.rows {
            self.changed.rows.entry(key).or_insert(row);
        }
    }

    /// Whether the tree has all of it.
    pub(in crate::store::kahadb) fn is_unchanged(&self) -> bool {
        let Changed { contents, subscriptions, producers, files, rows } = &self.changed;
        let numbers = contents.is_empty() && files.is_empty() && rows.is_empty();
        numbers && subscriptions.is_empty() && producers.is_empty()
    }
}

impl Frozen {
    /// The changes, one at a time.
    pub(in crate::store::kahadb) fn changes(&self) -> Steps<'_> {
        let mut steps = Steps {
            destinations: self.messages.iter(),
            rows: self.rows.iter(),
            band: None,
            at: Step::End,
            value: BytesMut::new(),
        };
        steps.advance();
        steps
    }
}

/// Walks through a [`Frozen`].
pub(in crate::store::kahadb) struct Steps<'a> {
    destinations: btree_map::Iter<'a, u32, Arc<Delta>>,
    rows: btree_map::Iter<'a, Vec<u8>, Option<Vec<u8>>>,
    band: Option<Walk<'a>>,
    at: Step<'a>,
    /// Of a message's row.
    value: BytesMut,
}

enum Step<'a> {
    Put([u8; 14]),
    Delete([u8; 14]),
    /// From the first key up to the second, exclusive.
    Purge([u8; 14], Vec<u8>),
    Row(&'a [u8], Option<&'a [u8]>),
    End,
}

/// Walks through one destination, band by band.
struct Walk<'a> {
    number: u32,
    adds: Peekable<btree_map::Iter<'a, (u8, u64), Row>>,
    removed: Peekable<btree_set::Iter<'a, (u8, u64)>>,
    /// Ranges that have to go: band, first, last.
    purges: Peekable<btree_map::Iter<'a, u8, u64>>,
    /// In the range at hand, what is before this is done.
    purged_to: u64,
}

impl<'a> Walk<'a> {
    fn new(number: u32, delta: &'a Delta) -> Self {
        let adds = delta.adds.iter().peekable();
        let removed = delta.removed.iter().peekable();
        let purges = delta.purged.iter().peekable();
        Self { number, adds, removed, purges, purged_to: 0 }
    }

    fn next(&mut self, value: &mut BytesMut) -> Option<Step<'a>> {
        let add = self.adds.peek().map(|(key, _)| **key);
        let removed = self.removed.peek().map(|key| **key);
        let next = [add, removed].into_iter().flatten().min();
        // A purge comes before what is put into its range, in pieces around it.
        while let Some((&band, &last)) = self.purges.peek().copied()
            && next.is_none_or(|next| (band, self.purged_to) <= next)
        {
            let from = message_key(self.number, band, self.purged_to);
            let inside = add.filter(|add| *add <= (band, last) && add.0 == band);
            match inside {
                Some((_, seq)) if seq == self.purged_to => {
                    self.purged_to = seq + 1;
                    return self.put(value);
                }
                Some((_, seq)) => {
                    self.purged_to = seq;
                    let to = message_key(self.number, band, seq);
                    return Some(Step::Purge(from, to.to_vec()));
                }
                None => {
                    let is_over = self.purged_to > last;
                    self.purges.next();
                    self.purged_to = 0;
                    if !is_over {
                        let to = [&message_key(self.number, band, last)[..], &[0]].concat();
                        return Some(Step::Purge(from, to));
                    }
                }
            }
        }
        let next = next?;
        if add != Some(next) {
            self.removed.next();
            return Some(Step::Delete(message_key(self.number, next.0, next.1)));
        }
        if removed == Some(next) {
            self.removed.next();
        }
        self.put(value)
    }

    fn put(&mut self, value: &mut BytesMut) -> Option<Step<'a>> {
        let (key, row) = self.adds.next()?;
        value.clear();
        row.encode(value);
        Some(Step::Put(message_key(self.number, key.0, key.1)))
    }
}

impl Changes for Steps<'_> {
    fn current(&self) -> Option<Change<'_>> {
        match &self.at {
            Step::Put(key) => Some(Change::Put { key, value: &self.value }),
            Step::Delete(key) => Some(Change::Delete { key }),
            Step::Purge(from, to) => Some(Change::DeleteRange { from, to }),
            Step::Row(key, Some(value)) => Some(Change::Put { key, value }),
            Step::Row(key, None) => Some(Change::Delete { key }),
            Step::End => None,
        }
    }

    fn advance(&mut self) {
        loop {
            if let Some(walk) = &mut self.band {
                if let Some(step) = walk.next(&mut self.value) {
                    self.at = step;
                    return;
                }
                self.band = None;
            }
            match self.destinations.next() {
                Some((number, delta)) => self.band = Some(Walk::new(*number, delta)),
                None => break,
            }
        }
        self.at = match self.rows.next() {
            Some((key, row)) => Step::Row(key, row.as_deref()),
            None => Step::End,
        };
    }
}
