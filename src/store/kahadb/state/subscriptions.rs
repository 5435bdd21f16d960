//! What durable subscriptions have of topics: each message of a topic is there until all that want it are
//! done with it.

use super::apply::{Books, SLICE, take};
use super::contents::{Contents, Left, Tree};
use super::{Evidence, Subscription, View};
use crate::store::StoredSubscription;
use crate::store::kahadb::index::IndexError;
use crate::store::kahadb::journal::{Lsn, Range, Ranges};
use crate::store::kahadb::rows::pending_key;
use std::collections::{BTreeMap, BTreeSet};

impl View {
    pub(super) fn subscribe(&mut self, stored: StoredSubscription, lsn: Lsn) {
        let number = stored.number;
        self.counters.last_subscription = self.counters.last_subscription.max(number);
        self.changed.subscriptions.insert(number);
        let before = self.subscriptions.remove(&number);
        let (before, topics) = before.map(|before| (before.lsn, before.topics)).unzip();
        let topics = topics.unwrap_or_default();
        self.subscriptions.insert(number, Subscription { stored, lsn, topics });
        let (mut books, ..) = self.books(lsn.file());
        books.state(before, Some(lsn));
    }

    pub(super) fn unsubscribe(&mut self, subscription: u64, by: u32) {
        let Some(gone) = self.subscriptions.remove(&subscription) else { return };
        self.changed.subscriptions.insert(subscription);
        for number in gone.topics {
            self.leave(number, subscription, by);
        }
        let (mut books, ..) = self.books(by);
        books.state(Some(gone.lsn), None);
    }

    /// A subscription leaves behind what it has of a topic.
    pub(super) fn leave(&mut self, number: u32, subscription: u64, by: u32) {
        let (books, contents, _) = self.books(by);
        let Some(contents) = contents.get_mut(&number) else { return };
        let Some(pending) = contents.pending.remove(&subscription) else { return };
        books.changed.contents.insert(number);
        for chunk in pending.chunks() {
            books.changed.rows.insert(pending_key(number, subscription, chunk), None);
        }
        if pending.count() > 0 {
            contents.left.push_back(Left { pending, by });
            self.uncounted.insert(number);
        }
    }

    /// Whether there is such a subscription where the log is applied.
    pub(super) fn is_there(&self, subscription: u64) -> bool {
        let mut there = self.there(Range { first: subscription, last: subscription });
        there.next().is_some()
    }

    /// Those of a range that there are.
    pub(super) fn there(&self, range: Range) -> impl Iterator<Item = u64> {
        let range = range.first..=range.last;
        let there = self.subscriptions.range(range.clone()).map(|(number, _)| *number);
        let leaving = self.rebuilding.as_ref().map(|known| known.leaving.range(range));
        there.chain(leaving.into_iter().flatten().map(|(number, _)| *number))
    }

    /// A subscription gets what a topic holds for others.
    ///
    /// A Live record that is newer than this says already who wants the messages of its file, and may
    /// know that the subscription was done with one.
    pub(super) fn share(
        &mut self,
        number: u32,
        subscription: u64,
        lsn: Lsn,
    ) -> Result<(), IndexError> {
        let Self { subscriptions, rebuilding, contents, tree, .. } = self;
        let Some(contents) = contents.get_mut(&number) else { return Ok(()) };
        let is_told =
            |file: u32| rebuilding.as_ref().is_some_and(|known| known.is_newer(file, lsn));
        let (mut shared, mut files) = (Vec::new(), BTreeSet::new());
        for band in contents.bands.keys() {
            let mut from = Some(0);
            while let Some(first) = from {
                let range = (first, u64::MAX);
                let (rows, next) = contents.slice(tree, number, *band, range, SLICE)?;
                for (seq, row) in rows {
                    let is_held = contents.pending.values().any(|pending| pending.contains(seq));
                    if is_held && !is_told(row.lsn.file()) {
                        shared.push(seq);
                        files.insert(row.lsn.file());
                    }
                }
                from = next;
            }
        }
        let Some(topics) = topics_of(subscriptions, rebuilding, subscription) else {
            return Ok(());
        };
        topics.insert(number);
        let pending = contents.pending.entry(subscription).or_default();
        for seq in shared {
            pending.insert(seq);
        }
        self.changed.contents.insert(number);
        let (mut books, ..) = self.books(lsn.file());
        files.into_iter().for_each(|file| books.ends(file));
        Ok(())
    }

    pub(super) fn acknowledge(
        &mut self,
        number: u32,
        subscription: u64,
        seqs: &Ranges,
        by: u32,
    ) -> Result<(), IndexError> {
        let (mut books, contents, tree) = self.books(by);
        let Some(contents) = contents.get_mut(&number) else { return Ok(()) };
        books.changed.contents.insert(number);
        for range in seqs.as_slice() {
            let Some(pending) = contents.pending.get(&subscription) else { break };
            let there: Vec<u64> = pending.range(range.first, range.last).collect();
            for seq in there {
                if let Some(pending) = contents.pending.get_mut(&subscription) {
                    pending.remove(seq);
                }
                done_with(contents, tree, &mut books, number, seq)?;
            }
        }
        Ok(())
    }

    /// Lets about `max` messages go that a deleted subscription has left to nobody. False if there
    /// are none.
    pub(super) fn count_left(&mut self, number: u32, max: usize) -> Result<bool, IndexError> {
        let (mut books, contents, tree) = self.books(0);
        let Some(contents) = contents.get_mut(&number) else { return Ok(false) };
        let Some(left) = contents.left.front_mut() else { return Ok(false) };
        books.by = left.by;
        books.changed.contents.insert(number);
        let slice: Vec<u64> = left.pending.range(0, u64::MAX).take(max).collect();
        for seq in &slice {
            left.pending.remove(*seq);
        }
        if left.pending.count() == 0 {
            contents.left.pop_front();
        }
        for seq in slice {
            done_with(contents, tree, &mut books, number, seq)?;
        }
        Ok(true)
    }
}

/// Where a subscription has something pending; none if it does not exist.
pub(super) fn topics_of<'a>(
    subscriptions: &'a mut BTreeMap<u64, Subscription>,
    rebuilding: &'a mut Option<Evidence>,
    number: u64,
) -> Option<&'a mut BTreeSet<u32>> {
    match subscriptions.get_mut(&number) {
        Some(there) => Some(&mut there.topics),
        None => rebuilding.as_mut()?.leaving.get_mut(&number),
    }
}

/// A subscription is done with a message: it goes if that was the last one.
fn done_with(
    contents: &mut Contents,
    tree: &Tree,
    books: &mut Books<'_>,
    number: u32,
    seq: u64,
) -> Result<(), IndexError> {
    let is_wanted = contents.pending.values().any(|pending| pending.contains(seq));
    match contents.find(tree, number, seq)? {
        Some((_, row)) if is_wanted => books.ends(row.lsn.file()),
        Some((band, row)) => take(contents, books, (band, seq), row),
        None => {}
    }
    Ok(())
}
