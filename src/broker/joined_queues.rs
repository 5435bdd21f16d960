//! The queues of one consumer.

use super::destination::DestinationHandle;
use hashbrown::HashMap;
use std::sync::Arc;

/// The queues a consumer is subscribed to, each with the number that its deliveries have as their source.
#[derive(Debug, Default)]
pub struct JoinedQueues {
    by_source: HashMap<u32, Arc<DestinationHandle>>,
    /// By the address of the handle.
    sources: HashMap<usize, u32>,
    last: u32,
    /// When there are so many, those that were removed are left out: nothing can be acknowledged there any more.
    sweep_at: usize,
}

impl JoinedQueues {
    /// One more; its number, or none when it is there already.
    pub fn add(&mut self, queue: &Arc<DestinationHandle>) -> Option<u32> {
        if self.sources.contains_key(&address(queue)) {
            return None;
        }
        self.sweep();
        while self.by_source.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        let source = self.last;
        self.last = source.wrapping_add(1);
        self.by_source.insert(source, Arc::clone(queue));
        self.sources.insert(address(queue), source);
        Some(source)
    }

    fn sweep(&mut self) {
        if self.by_source.len() < self.sweep_at {
            return;
        }
        let sources = &mut self.sources;
        self.by_source.retain(|_, queue| {
            let is_gone = queue.is_gone();
            if is_gone {
                sources.remove(&address(queue));
            }
            !is_gone
        });
        self.sweep_at = (2 * self.by_source.len()).max(1);
    }

    pub fn get(&self, source: u32) -> Option<Arc<DestinationHandle>> {
        self.by_source.get(&source).cloned()
    }

    /// The only one, of a consumer that has one.
    pub fn only(&self) -> Option<Arc<DestinationHandle>> {
        self.by_source.values().next().cloned()
    }

    pub fn all(&self) -> Vec<Arc<DestinationHandle>> {
        self.by_source.values().cloned().collect()
    }
}

fn address(queue: &Arc<DestinationHandle>) -> usize {
    Arc::as_ptr(queue).addr()
}

#[cfg(test)]
mod tests {
    use super::super::destination::fixture::handle;
    use super::*;
    use crate::jms::Destination;

    #[tokio::test]
    async fn more_queues_are_told_apart_than_two_bytes_can() {
        let mut joined = JoinedQueues { last: u32::from(u16::MAX), ..JoinedQueues::default() };
        let queues = ["A", "B"].map(|name| handle(Destination::queue(name)));
        let sources = queues.each_ref().map(|queue| joined.add(queue));
        assert_eq!(sources, [Some(65_535), Some(65_536)]);
        assert_eq!(joined.add(&queues[1]), None, "it is there");
        assert!(joined.get(65_536).is_some_and(|queue| Arc::ptr_eq(&queue, &queues[1])));
        queues[0].retire();
        let third = handle(Destination::queue("C"));
        assert_eq!(joined.add(&third), Some(65_537));
        assert_eq!((joined.all().len(), joined.get(65_535).is_none()), (2, true));
    }

    #[tokio::test]
    async fn a_number_comes_again_only_when_nobody_has_it() {
        let mut joined = JoinedQueues { last: u32::MAX, ..JoinedQueues::default() };
        let queues = ["A", "B", "C"].map(|name| handle(Destination::queue(name)));
        assert_eq!(joined.add(&queues[0]), Some(u32::MAX));
        assert_eq!(joined.add(&queues[1]), Some(0));
        joined.last = u32::MAX;
        assert_eq!(joined.add(&queues[2]), Some(1));
    }
}
