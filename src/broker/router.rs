//! Which destinations there are, and who listens to those that do not exist yet.

use super::destination::in_flight::Window;
use super::destination::queue::NewSubscription;
use super::destination::topic::TopicMember;
use super::destination::{DestinationHandle, Op};
use super::outbox::{Outbox, SubscriptionKey};
use crate::jms::selector::Selector;
use crate::jms::wildcard;
use crate::jms::{ConsumerInfo, Destination, DestinationKind, Text};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use tokio::sync::watch;

/// A consumer of queues as the router keeps it, to join it to queues that come later.
#[derive(Debug)]
pub struct QueueConsumer {
    pub key: SubscriptionKey,
    pub info: Arc<ConsumerInfo>,
    pub selector: Option<Selector>,
    pub outbox: Arc<Outbox>,
    pub window: Arc<Window>,
    /// The queues it is subscribed to; a delivery's `source` is an index here.
    pub queues: Mutex<Vec<Arc<DestinationHandle>>>,
    /// Whether it may have more than one.
    pub several: bool,
}

impl QueueConsumer {
    /// The operation that subscribes this consumer at `queue`; none when it is there already.
    pub fn subscribe_op(&self, queue: &Arc<DestinationHandle>) -> Option<Op> {
        let mut queues = self.queues.lock();
        if queues.iter().any(|present| Arc::ptr_eq(present, queue)) {
            return None;
        }
        let source = self.several.then(|| u16::try_from(queues.len()).ok()).flatten();
        if self.several && source.is_none() {
            return None;
        }
        queues.push(Arc::clone(queue));
        drop(queues);
        Some(Op::Subscribe {
            new: Box::new(NewSubscription {
                key: self.key,
                info: Arc::clone(&self.info),
                selector: self.selector.clone(),
                outbox: Arc::clone(&self.outbox),
                window: Arc::clone(&self.window),
                source,
            }),
            receipt: None,
        })
    }
}

/// A destination that was removed and is not gone from the store yet.
#[derive(Debug)]
pub struct Ending<'a> {
    router: &'a Router,
    destination: Destination,
    sender: Option<watch::Sender<()>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.router.table.write().ending.remove(&self.destination);
        drop(self.sender.take());
    }
}

/// Who listens to a pattern.
#[derive(Clone, Debug)]
pub enum PatternListener {
    Queue(Arc<QueueConsumer>),
    Topic(TopicMember),
}

#[derive(Debug)]
struct Pattern {
    key: SubscriptionKey,
    pattern: Destination,
    listener: PatternListener,
}

/// The table of destinations.
#[derive(Debug, Default)]
pub struct Router {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    destinations: HashMap<Destination, Arc<DestinationHandle>>,
    /// Removed, and not out of the store yet: one of the same name comes into being after that.
    ending: HashMap<Destination, watch::Receiver<()>>,
    patterns: Vec<Pattern>,
    /// Queues that virtual topics feed, by the name of the topic (`Consumer.*.VirtualTopic.>`).
    fed: HashMap<Text, Vec<Arc<DestinationHandle>>>,
    /// The same for queues whose name ends in a pattern of topics.
    fed_by_pattern: Vec<(Text, Arc<DestinationHandle>)>,
}

/// The virtual topic, by name or pattern, that feeds a queue of this name: what follows the first two
/// levels of `Consumer.APPLICATION.VirtualTopic.NAME`.
fn virtual_topic(queue: &Destination) -> Option<&str> {
    if queue.kind() != DestinationKind::Queue {
        return None;
    }
    let (application, topic) = queue.name().strip_prefix("Consumer.")?.split_once('.')?;
    (!application.is_empty() && topic.starts_with(VIRTUAL_TOPIC_PREFIX)).then_some(topic)
}

/// Topics with this prefix are virtual by default.
pub const VIRTUAL_TOPIC_PREFIX: &str = "VirtualTopic.";

/// Whether `pattern` listens to `destination`.
pub fn matches(pattern: &Destination, destination: &Destination) -> bool {
    pattern.kind() == destination.kind() && wildcard::matches(pattern.name(), destination.name())
}

impl Router {
    pub fn find(&self, destination: &Destination) -> Option<Arc<DestinationHandle>> {
        self.table.read().destinations.get(destination).cloned()
    }

    /// All destinations.
    pub fn all(&self) -> Vec<Arc<DestinationHandle>> {
        self.table.read().destinations.values().cloned().collect()
    }

    /// Whether someone listens, or may listen, to `topic`.
    pub fn has_listener(&self, topic: &Destination) -> bool {
        let table = self.table.read();
        table.destinations.contains_key(topic)
            || table.patterns.iter().any(|pattern| matches(&pattern.pattern, topic))
    }

    /// The destination, made by `make` if it does not exist; true when it was made. Listeners of
    /// patterns are joined before anybody else sees it.
    pub fn find_or_insert<E>(
        &self,
        destination: &Destination,
        make: impl FnOnce(usize) -> Result<Arc<DestinationHandle>, E>,
    ) -> Result<(Arc<DestinationHandle>, bool), E> {
        let mut table = self.table.write();
        if let Some(present) = table.destinations.get(destination) {
            return Ok((Arc::clone(present), false));
        }
        let handle = make(table.destinations.len())?;
        table.destinations.insert(destination.clone(), Arc::clone(&handle));
        if let Some(topic) = virtual_topic(destination) {
            if Destination::topic(topic).is_pattern() {
                table.fed_by_pattern.push((topic.into(), Arc::clone(&handle)));
            } else {
                table.fed.entry(topic.into()).or_default().push(Arc::clone(&handle));
            }
        }
        let listeners = table.patterns.iter().filter(|p| matches(&p.pattern, destination));
        let ops: Vec<Op> = listeners
            .filter_map(|pattern| match &pattern.listener {
                PatternListener::Queue(consumer) => consumer.subscribe_op(&handle),
                PatternListener::Topic(member) => {
                    Some(Op::Join { member: member.clone(), receipt: None })
                }
            })
            .collect();
        if !ops.is_empty() {
            // A new mailbox has room for one batch.
            drop(handle.try_send(ops));
        }
        Ok((handle, true))
    }

    /// Waits until a destination of this name that was removed is gone from the store as well.
    pub async fn ended(&self, destination: &Destination) {
        let ending = self.table.read().ending.get(destination).cloned();
        if let Some(mut ending) = ending {
            // Nothing is ever sent: the end of the sender is the event.
            drop(ending.changed().await);
        }
    }

    /// Takes a destination out of the table. Until [`Ending`] is dropped there is none of that name.
    pub fn remove(
        &self,
        destination: &Destination,
    ) -> Option<(Arc<DestinationHandle>, Ending<'_>)> {
        let removed = {
            let mut table = self.table.write();
            if let Some(topic) = virtual_topic(destination) {
                table.fed_by_pattern.retain(|(_, queue)| queue.destination != *destination);
                if let Some(queues) = table.fed.get_mut(topic) {
                    queues.retain(|queue| queue.destination != *destination);
                    if queues.is_empty() {
                        table.fed.remove(topic);
                    }
                }
            }
            let removed = table.destinations.remove(destination)?;
            let (sender, ending) = watch::channel(());
            table.ending.insert(destination.clone(), ending);
            (removed, sender)
        };
        let (handle, sender) = removed;
        handle.retire();
        let destination = destination.clone();
        Some((handle, Ending { router: self, destination, sender: Some(sender) }))
    }

    /// The queues that a virtual topic of this name feeds.
    pub fn fed_by(&self, topic: &str) -> Vec<Arc<DestinationHandle>> {
        let table = self.table.read();
        let named = table.fed.get(topic).into_iter().flatten();
        let patterns = table.fed_by_pattern.iter();
        let matching =
            patterns.filter(|(of, _)| wildcard::matches(of, topic)).map(|(_, queue)| queue);
        named.chain(matching).cloned().collect()
    }

    /// Notes a listener of a pattern; returns the destinations it matches now.
    pub fn listen(
        &self,
        key: SubscriptionKey,
        pattern: Destination,
        listener: PatternListener,
    ) -> Vec<Arc<DestinationHandle>> {
        let mut table = self.table.write();
        let present = table.destinations.values();
        let present: Vec<_> =
            present.filter(|handle| matches(&pattern, &handle.destination)).cloned().collect();
        table.patterns.push(Pattern { key, pattern, listener });
        present
    }

    /// Ends what `key` listens to by patterns; returns the destinations those match now.
    pub fn unlisten(&self, key: SubscriptionKey) -> Vec<Arc<DestinationHandle>> {
        let mut table = self.table.write();
        let mut mine = Vec::new();
        table.patterns.retain(|pattern| {
            if pattern.key == key {
                mine.push(pattern.pattern.clone());
            }
            pattern.key != key
        });
        if mine.is_empty() {
            return Vec::new();
        }
        let present = table.destinations.values();
        present
            .filter(|handle| mine.iter().any(|pattern| matches(pattern, &handle.destination)))
            .cloned()
            .collect()
    }
}
