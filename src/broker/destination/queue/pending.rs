//! The pending messages of a queue that are in memory, in their order.
//!
//! Most come at the end and leave from the beginning. Those are in a ring, which takes nothing from the heap as long
//! as it has room. Where one comes or leaves in between, what is before it goes into a tree, each message once at
//! most:
//!
//! ```text
//!   tree: lower keys | ring: higher keys
//! ```

use super::{Entry, Key};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Pending {
    tree: BTreeMap<Key, Entry>,
    ring: VecDeque<Entry>,
}

/// For how many messages the ring keeps its memory when they have left.
const KEPT: usize = 1024;

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.tree.len() + self.ring.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tree.is_empty() && self.ring.is_empty()
    }

    /// Puts `entry` in its place; one that is there already goes.
    pub(super) fn insert(&mut self, entry: Entry) {
        let key = Key::of(&entry);
        if self.last().is_none_or(|last| last < key) {
            self.ring.push_back(entry);
            return;
        }
        let at = self.ring_at(key);
        match self.ring.get_mut(at) {
            Some(present) if Key::of(present) == key => *present = entry,
            _ => {
                self.move_to_tree(at);
                self.tree.insert(key, entry);
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let at = self.ring_at(key);
        if self.ring.get(at).is_none_or(|entry| Key::of(entry) != key) {
            return self.tree.remove(&key);
        }
        self.move_to_tree(at);
        let entry = self.ring.pop_front();
        if self.ring.capacity() > KEPT && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.capacity() / 2);
        }
        entry
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.range(key).next().is_some_and(|(found, _)| found == key)
    }

    /// Those with `from` and above.
    pub(super) fn range(&self, from: Key) -> impl Iterator<Item = (Key, &Entry)> {
        let ring = self.ring.range(self.ring_at(from)..);
        let tree = self.tree.range(from..).map(|(key, entry)| (*key, entry));
        tree.chain(ring.map(|entry| (Key::of(entry), entry)))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.tree.keys().copied().chain(self.ring.iter().map(Key::of))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Entry> {
        self.tree.values().chain(&self.ring)
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = Entry> {
        self.tree.into_values().chain(self.ring)
    }

    fn last(&self) -> Option<Key> {
        let in_tree = || self.tree.last_key_value().map(|(key, _)| *key);
        self.ring.back().map(Key::of).or_else(in_tree)
    }

    /// Where `key` is in the ring, or would be.
    fn ring_at(&self, key: Key) -> usize {
        match self.ring.front() {
            Some(first) if Key::of(first) < key => {
                self.ring.partition_point(|entry| Key::of(entry) < key)
            }
            _ => 0,
        }
    }

    fn move_to_tree(&mut self, count: usize) {
        self.tree.extend(self.ring.drain(..count).map(|entry| (Key::of(&entry), entry)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::Message;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn entry(band: u8, sequence: i64) -> Entry {
        Entry { band, ..Entry::new(Arc::new(Message::default()), sequence, 1, false) }
    }

    proptest! {
        /// It holds what a tree alone would hold.
        #[test]
        fn it_is_a_sorted_map(
            steps in prop::collection::vec((0..8_u8, 0..2_u8, 0..20_i64), 0..200),
        ) {
            let (mut pending, mut model) = (Pending::default(), BTreeMap::new());
            for (next, (what, band, sequence)) in (20..).zip(steps) {
                let key = Key::at(band, sequence);
                match what {
                    0..3 => {
                        pending.insert(entry(1, next));
                        model.insert(Key::at(1, next), next);
                    }
                    3 => {
                        pending.insert(entry(band, sequence));
                        model.insert(key, sequence);
                    }
                    4 => {
                        let removed = pending.remove(key).map(|entry| entry.sequence);
                        prop_assert_eq!(removed, model.remove(&key));
                    }
                    _ => {
                        let first = model.pop_first().map(|(key, _)| key);
                        let removed = first.and_then(|key| pending.remove(key));
                        prop_assert_eq!(removed.map(|entry| Key::of(&entry)), first);
                    }
                }
                prop_assert_eq!(pending.contains(key), model.contains_key(&key));
                let found: Vec<_> = pending.range(key).map(|(key, _)| key).collect();
                let expected: Vec<_> = model.range(key..).map(|(key, _)| *key).collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(pending.len(), model.len());
                prop_assert_eq!(pending.is_empty(), model.is_empty());
            }
            prop_assert!(pending.keys().eq(model.keys().copied()));
            prop_assert!(pending.values().map(Key::of).eq(model.keys().copied()));
            prop_assert!(pending.into_values().map(|e| e.sequence).eq(model.into_values()));
        }
    }

    #[test]
    fn a_ring_that_has_emptied_gives_its_memory_back() {
        let mut pending = Pending::default();
        (0..100_000).for_each(|sequence| pending.insert(entry(0, sequence)));
        (0..100_000).for_each(|sequence| drop(pending.remove(Key::at(0, sequence))));
        assert!(pending.is_empty() && pending.tree.is_empty() && pending.ring.capacity() <= KEPT);
    }
}
