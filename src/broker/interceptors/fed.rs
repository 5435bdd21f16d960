//! The queues that virtual topics feed, found by the name of the topic.

use super::Interceptors;
use crate::broker::destination::DestinationHandle;
use crate::jms::wildcard;
use crate::jms::{Destination, Text};
use hashbrown::HashMap;
use std::sync::Arc;

/// Of each virtual topic that is configured.
#[derive(Debug, Default)]
pub struct FedQueues {
    rules: Vec<Fed>,
}

#[derive(Debug, Default)]
struct Fed {
    by_topic: HashMap<Text, Vec<Arc<DestinationHandle>>>,
    /// Queues whose name has a pattern of topics in it.
    by_pattern: Vec<(Text, Arc<DestinationHandle>)>,
}

impl FedQueues {
    /// A destination came into being.
    pub fn add(&mut self, interceptors: &Interceptors, handle: &Arc<DestinationHandle>) {
        self.rules.resize_with(interceptors.virtual_topics.len(), Fed::default);
        for (fed, virtual_topic) in self.rules.iter_mut().zip(&interceptors.virtual_topics) {
            let Some(topic) = virtual_topic.fed_part(&handle.destination) else { continue };
            if wildcard::is_pattern(topic) {
                fed.by_pattern.push((topic.into(), Arc::clone(handle)));
            } else {
                fed.by_topic.entry(topic.into()).or_default().push(Arc::clone(handle));
            }
        }
    }

    /// A destination is gone.
    pub fn remove(&mut self, interceptors: &Interceptors, gone: &Destination) {
        for (fed, virtual_topic) in self.rules.iter_mut().zip(&interceptors.virtual_topics) {
            let Some(topic) = virtual_topic.fed_part(gone) else { continue };
            fed.by_pattern.retain(|(_, queue)| queue.destination != *gone);
            if let Some(queues) = fed.by_topic.get_mut(topic) {
                queues.retain(|queue| queue.destination != *gone);
                if queues.is_empty() {
                    fed.by_topic.remove(topic);
                }
            }
        }
    }

    /// The queues that `topic` feeds as virtual topic number `rule`.
    pub fn of(&self, rule: usize, topic: &str) -> Vec<Arc<DestinationHandle>> {
        let Some(fed) = self.rules.get(rule) else { return Vec::new() };
        let named = fed.by_topic.get(topic).into_iter().flatten();
        let patterns = fed.by_pattern.iter().filter(|(of, _)| wildcard::matches(of, topic));
        named.chain(patterns.map(|(_, queue)| queue)).cloned().collect()
    }
}
