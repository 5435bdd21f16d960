//! Which consumer owns which message group (semantics.md of JMSXGroupID).

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
    owners: HashMap<Text, (SubscriptionKey, u64)>,
    /// Use order, for the cached kind only: stamp to group.
    recent: BTreeMap<u64, Text>,
    /// How many groups each consumer owns.
    counts: HashMap<SubscriptionKey, usize>,
    clock: u64,
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
        self.owners.get(&self.key(group)).map(|(owner, _)| *owner)
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
    pub(super) fn assign(
        &mut self,
        group: &Text,
        owner: SubscriptionKey,
    ) -> Option<SubscriptionKey> {
        let key = self.key(group);
        self.clock += 1;
        let stamp = self.clock;
        let mut loser = None;
        if let Some((before, old)) = self.owners.insert(Text::clone(&key), (owner, stamp)) {
            self.recent.remove(&old);
            self.uncount(before);
            loser = Some(before).filter(|before| *before != owner);
        }
        *self.counts.entry(owner).or_default() += 1;
        let GroupMapKind::Cached { size } = self.kind else { return loser };
        self.recent.insert(stamp, key);
        if self.owners.len() <= size.max(1) {
            return loser;
        }
        if let Some((_, oldest)) = self.recent.pop_first()
            && let Some((before, _)) = self.owners.remove(&oldest)
        {
            self.uncount(before);
            loser = Some(before);
        }
        loser
    }

    /// Notes a use of `group` by its owner, so that the cached kind keeps it.
    pub(super) fn touch(&mut self, group: &Text) {
        if !matches!(self.kind, GroupMapKind::Cached { .. }) {
            return;
        }
        self.clock += 1;
        let stamp = self.clock;
        if let Some((_, old)) = self.owners.get_mut(group) {
            if let Some(key) = self.recent.remove(old) {
                self.recent.insert(stamp, key);
            }
            *old = stamp;
        }
    }

    /// Ends `group`: its next message finds a new owner.
    pub(super) fn close(&mut self, group: &Text) {
        let key = self.key(group);
        if let Some((owner, stamp)) = self.owners.remove(&key) {
            self.recent.remove(&stamp);
            self.uncount(owner);
        }
    }

    /// Releases the groups of a consumer that leaves. True when it had any.
    pub(super) fn release(&mut self, owner: SubscriptionKey) -> bool {
        if self.counts.remove(&owner).is_none_or(|count| count == 0) {
            return false;
        }
        let recent = &mut self.recent;
        self.owners.retain(|_, (holder, stamp)| {
            if *holder == owner {
                recent.remove(stamp);
            }
            *holder != owner
        });
        true
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
        assert_eq!(groups.assign(&c, SubscriptionKey(3)), Some(SubscriptionKey(2)));
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
