//! The topics one subscription listens to, and what is counted for each of them.

use super::counters::SharedCounts;
use crate::jms::Destination;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Counts the messages of one subscription, for itself and for the topics they come from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    topics: HashMap<Destination, Arc<SharedCounts>>,
    /// Whose messages are in flight, in order of dispatch: topic and how many in a row.
    held: VecDeque<(Arc<SharedCounts>, u64)>,
    /// Those of the last row that the topic has not been told of.
    untold: u64,
    pub(super) enqueued: u64,
    pub(super) dispatched: u64,
    pub(super) dequeued: u64,
    /// Acknowledgements come from another broker.
    pub(super) is_network: bool,
}

impl Sources {
    pub(super) fn new(is_network: bool) -> Self {
        Self { is_network, ..Self::default() }
    }

    pub(super) fn join(&mut self, topic: &Destination, counts: &Arc<SharedCounts>) {
        self.topics.insert(topic.clone(), Arc::clone(counts));
    }

    /// The topics it listens to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Destination> {
        self.topics.keys()
    }

    pub(super) fn leave(&mut self, topic: &Destination) {
        self.topics.remove(topic);
    }

    /// A message of `topic` goes to the consumer. [`Self::tell`] is to follow.
    pub(super) fn give(&mut self, topic: Option<&Destination>) {
        self.dispatched += 1;
        let Some(counts) = counts_of(&self.topics, topic) else { return };
        match self.held.back_mut() {
            Some((last, count)) if Arc::ptr_eq(last, counts) => *count += 1,
            _ => {
                let counts = Arc::clone(counts);
                self.tell();
                self.held.push_back((counts, 1));
            }
        }
        self.untold += 1;
    }

    /// Tells the topics what was given.
    pub(super) fn tell(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if let Some((last, _)) = self.held.back().filter(|_| untold > 0) {
            last.dispatched.fetch_add(untold, Ordering::Relaxed);
        }
    }

    /// The consumer has settled `messages`, the oldest ones; or found them expired.
    pub(super) fn settle(&mut self, mut messages: u64, expired: bool) {
        self.dequeued += messages;
        while messages > 0
            && let Some((counts, held)) = self.held.front_mut()
        {
            let part = messages.min(*held);
            counts.dequeued.fetch_add(part, Ordering::Relaxed);
            if expired {
                counts.expired.fetch_add(part, Ordering::Relaxed);
            }
            if self.is_network {
                counts.forwarded.fetch_add(part, Ordering::Relaxed);
            }
            messages -= part;
            *held -= part;
            if *held == 0 {
                self.held.pop_front();
            }
        }
    }

    /// A message of `topic` has expired while it waited.
    pub(super) fn expire(&self, topic: Option<&Destination>) {
        if let Some(counts) = counts_of(&self.topics, topic) {
            counts.expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The consumer is gone, and so is what it held.
    pub(super) fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Messages of a topic that the consumer holds.
    pub(super) fn in_flight_of(&self, counts: &Arc<SharedCounts>) -> u64 {
        let held = self.held.iter().filter(|(of, _)| Arc::ptr_eq(of, counts));
        held.map(|(_, count)| count).sum()
    }
}

/// Usually there is one topic.
fn counts_of<'a>(
    topics: &'a HashMap<Destination, Arc<SharedCounts>>,
    topic: Option<&Destination>,
) -> Option<&'a Arc<SharedCounts>> {
    match topics.len() {
        1 => topics.values().next(),
        _ => topics.get(topic?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_hears_of_its_own_messages() {
        let (a, b) = (Destination::topic("A"), Destination::topic("B"));
        let (of_a, of_b) = (Arc::<SharedCounts>::default(), Arc::<SharedCounts>::default());
        let mut sources = Sources::default();
        sources.join(&a, &of_a);
        sources.join(&b, &of_b);
        for topic in [&a, &a, &b, &a] {
            sources.give(Some(topic));
        }
        sources.tell();
        let dispatched = |of: &SharedCounts| of.dispatched.load(Ordering::Relaxed);
        assert_eq!((dispatched(&of_a), dispatched(&of_b)), (3, 1));
        sources.settle(3, false);
        let dequeued = |of: &SharedCounts| of.dequeued.load(Ordering::Relaxed);
        assert_eq!((dequeued(&of_a), dequeued(&of_b)), (2, 1));
        assert_eq!((sources.in_flight_of(&of_a), sources.in_flight_of(&of_b)), (1, 0));
        sources.settle(7, true);
        assert_eq!(dequeued(&of_a), 3, "no more than was given");
        let expired = |of: &SharedCounts| of.expired.load(Ordering::Relaxed);
        assert_eq!((expired(&of_a), expired(&of_b)), (1, 0));
    }
}
