//! Which consumer owns which message group (semantics.md of JMSXGroupID).

use super::queue::{Key, Span, join};
use crate::broker::outbox::SubscriptionKey;
use crate::broker::policy::GroupMapKind;
use crate::jms::Text;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Owners of message groups.
#[derive(Debug)]
pub(super) struct Groups {
    kind: GroupMapKind,
    /// Keyed by group name, or by the text of its bucket number.
    owners: HashMap<Text, Owner>,
    /// Use order, for the cached kind only: stamp to group.
    recent: BTreeMap<u64, Text>,
    /// How many groups each consumer owns.
    counts: HashMap<SubscriptionKey, usize>,
    clock: u64,
}

#[derive(Debug)]
struct Owner {
    consumer: SubscriptionKey,
    stamp: u64,
    /// Where messages are that nobody else was given.
    kept: Option<Span>,
}

/// A group, or several, have another owner or none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Who owned it.
    pub(super) owner: SubscriptionKey,
    /// Where messages are that were kept for that one.
    pub(super) kept: Option<Span>,
}

impl Groups {
    pub(super) fn new(kind: GroupMapKind) -> Self {
        Self {
            kind,
            owners: HashMap::new(),
            recent: BTreeMap::new(),
            counts: HashMap::new(),
            clock: 0,
        }
    }

    fn key(&self, group: &Text) -> Text {
        match self.kind {
            GroupMapKind::Bucket { count } => bucket(group, count).to_string().into(),
            GroupMapKind::Cached { .. } | GroupMapKind::Simple => Text::clone(group),
        }
    }

    /// Who owns `group`.
    pub(super) fn owner(&self, group: &Text) -> Option<SubscriptionKey> {
        if self.owners.is_empty() {
            return None;
        }
        self.owners.get(&self.key(group)).map(|owner| owner.consumer)
    }

    /// The message of `group` at `key` is kept for the owner.
    pub(super) fn keep(&mut self, group: &Text, key: Key) {
        let group = self.key(group);
        if let Some(owner) = self.owners.get_mut(&group) {
            owner.kept = join(owner.kept, Some(Span::of(key)));
        }
    }

    /// How many groups `owner` owns.
    pub(super) fn count(&self, owner: SubscriptionKey) -> usize {
        self.counts.get(&owner).copied().unwrap_or(0)
    }

    fn uncount(&mut self, owner: SubscriptionKey) {
        if let Some(count) = self.counts.get_mut(&owner) {
            *count = count.saturating_sub(1);
        }
    }

    /// Makes `owner` the owner. Returns who lost the group, or another group to make room.
    pub(super) fn assign(&mut self, group: &Text, owner: SubscriptionKey) -> Option<Lost> {
        let key = self.key(group);
        self.clock += 1;
        let stamp = self.clock;
        let mut lost = None;
        let new = Owner { consumer: owner, stamp, kept: None };
        if let Some(before) = self.owners.insert(Text::clone(&key), new) {
            self.recent.remove(&before.stamp);
            self.uncount(before.consumer);
            lost = Some(Lost { owner: before.consumer, kept: before.kept });
        }
        *self.counts.entry(owner).or_default() += 1;
        let GroupMapKind::Cached { size } = self.kind else { return lost };
        self.recent.insert(stamp, key);
        if self.owners.len() <= size.max(1) {
            return lost;
        }
        if let Some((_, oldest)) = self.recent.pop_first()
            && let Some(before) = self.owners.remove(&oldest)
        {
            self.uncount(before.consumer);
            lost = Some(Lost { owner: before.consumer, kept: before.kept });
        }
        lost
    }

    /// Notes a use of `group` by its owner, so that the cached kind keeps it.
    pub(super) fn touch(&mut self, group: &Text) {
        if !matches!(self.kind, GroupMapKind::Cached { .. }) {
            return;
        }
        self.clock += 1;
        let stamp = self.clock;
        if let Some(owner) = self.owners.get_mut(group) {
            if let Some(key) = self.recent.remove(&owner.stamp) {
                self.recent.insert(stamp, key);
            }
            owner.stamp = stamp;
        }
    }

    /// Ends `group`: its next message finds a new owner. Returns where messages are that were kept for the old
    /// one.
    pub(super) fn close(&mut self, group: &Text) -> Option<Span> {
        let key = self.key(group);
        let owner = self.owners.remove(&key)?;
        self.recent.remove(&owner.stamp);
        self.uncount(owner.consumer);
        owner.kept
    }

    /// Releases the groups of a consumer that leaves. Returns where messages are that were kept for it.
    pub(super) fn release(&mut self, consumer: SubscriptionKey) -> Option<Span> {
        if self.counts.remove(&consumer).is_none_or(|count| count == 0) {
            return None;
        }
        let (recent, mut kept) = (&mut self.recent, None);
        self.owners.retain(|_, owner| {
            let stays = owner.consumer != consumer;
            if !stays {
                recent.remove(&owner.stamp);
                kept = join(kept, owner.kept);
            }
            stays
        });
        kept
    }
}

/// The bucket of a group name: Java's `String.hashCode` modulo `count`, without sign.
fn bucket(group: &str, count: u32) -> u32 {
    let mut hash = 0i32;
    for unit in group.encode_utf16() {
        hash = hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    }
    (hash % i32::try_from(count.max(1)).unwrap_or(i32::MAX)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cached_map_forgets_the_group_unused_for_longest() {
        let mut groups = Groups::new(GroupMapKind::Cached { size: 2 });
        let (a, b, c): (Text, Text, Text) = ("a".into(), "b".into(), "c".into());
        assert_eq!(groups.assign(&a, SubscriptionKey(1)), None);
        assert_eq!(groups.assign(&b, SubscriptionKey(2)), None);
        groups.touch(&a);
        let lost = Some(Lost { owner: SubscriptionKey(2), kept: None });
        assert_eq!(groups.assign(&c, SubscriptionKey(3)), lost);
        assert_eq!(groups.owner(&a), Some(SubscriptionKey(1)));
        assert_eq!(groups.owner(&b), None);
    }

    #[test]
    fn buckets_follow_java_string_hashes() {
        // "hello".hashCode() is 99162322.
        assert_eq!(bucket("hello", 1024), 99_162_322 % 1024);
        let mut groups = Groups::new(GroupMapKind::Bucket { count: 1 });
        groups.assign(&"x".into(), SubscriptionKey(9));
        assert_eq!(groups.owner(&"anything".into()), Some(SubscriptionKey(9)));
    }
}
