//! Which destinations there are, and who listens to those that do not exist yet.

use super::destination::in_flight::Window;
use super::destination::queue::{NewSubscription, OpenPulls, Pull};
use super::destination::topic::TopicMember;
use super::destination::{DestinationHandle, Op};
use super::interceptors::Interceptors;
use super::interceptors::fed::FedQueues;
use super::joined_queues::JoinedQueues;
use super::live::Live;
use super::outbox::{Delivery, Outbox, SubscriptionKey};
use crate::jms::selector::Selector;
use crate::jms::wildcard;
use crate::jms::{ConsumerInfo, Destination};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A consumer of queues as the router keeps it, to join it to queues that come later.
#[derive(Debug)]
pub struct QueueConsumer {
    pub key: SubscriptionKey,
    pub info: Arc<ConsumerInfo>,
    pub selector: Option<Selector>,
    pub outbox: Arc<Outbox>,
    pub window: Arc<Window>,
    /// The queues it is subscribed to.
    pub queues: Mutex<JoinedQueues>,
    /// Whether it may have more than one.
    pub several: bool,
    /// What it asked for and is waiting for, if it may have more than one.
    pub pulls: Mutex<OpenPulls>,
}

impl QueueConsumer {
    /// A request to all its queues, those that come meanwhile too; with its ticket.
    pub fn open_pull(&self, deadline: Option<Instant>) -> (u64, Pull) {
        let nothing = Delivery::nothing(self.key, &self.info);
        self.pulls.lock().add(nothing, &self.outbox, deadline)
    }

    /// The operation that subscribes this consumer at `queue`; none when it is there already.
    pub fn subscribe_op(&self, queue: &Arc<DestinationHandle>) -> Option<Op> {
        let source = self.queues.lock().add(queue)?;
        Some(Op::Subscribe {
            new: Box::new(NewSubscription {
                key: self.key,
                info: Arc::clone(&self.info),
                selector: self.selector.clone(),
                outbox: Arc::clone(&self.outbox),
                window: Arc::clone(&self.window),
                source: self.several.then_some(source),
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

/// Who listens to a name or pattern.
#[derive(Clone, Debug)]
pub enum Listener {
    Queue(Arc<QueueConsumer>),
    Topic(TopicMember),
}

impl Listener {
    /// The operations that join it to a destination; none when it is there already.
    fn join_ops(&self, handle: &Arc<DestinationHandle>) -> Vec<Op> {
        match self {
            Self::Queue(consumer) => {
                let Some(op) = consumer.subscribe_op(handle) else { return Vec::new() };
                let key = consumer.key;
                let pulls = consumer.pulls.lock().open();
                let pulls = pulls.into_iter().map(|pull| Op::Pull { key, pull });
                std::iter::once(op).chain(pulls).collect()
            }
            Self::Topic(member) => {
                vec![Op::Join { member: member.clone(), receipt: None, past: None }]
            }
        }
    }

    /// Whether it is of a network.
    fn is_network(&self) -> bool {
        match self {
            Self::Queue(consumer) => consumer.info.network_subscription,
            Self::Topic(member) => member.info().network_subscription,
        }
    }

    /// It listens to `handle`, whose consumer it is.
    fn comes_to(&self, handle: &DestinationHandle) {
        handle.gauges.add_consumer(self.is_network());
    }

    /// It listens to `handle` no more.
    fn goes_from(&self, handle: &DestinationHandle) {
        handle.gauges.remove_consumer(self.is_network());
    }
}

#[derive(Debug)]
struct Pattern {
    key: SubscriptionKey,
    pattern: Destination,
    listener: Listener,
}

/// The table of destinations.
#[derive(Debug, Default)]
pub struct Router {
    /// Replaced while the table is locked.
    interceptors: Live<Interceptors>,
    table: RwLock<Table>,
    /// Counts what comes and goes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    destinations: HashMap<Destination, Arc<DestinationHandle>>,
    /// Removed, and not out of the store yet: one of the same name comes into being after that.
    ending: HashMap<Destination, watch::Receiver<()>>,
    patterns: Vec<Pattern>,
    /// Who listens by name, to be there again when a destination that was removed comes again.
    named: HashMap<Destination, Vec<(SubscriptionKey, Listener)>>,
    /// By the virtual topics of the interceptors there are now.
    fed: FedQueues,
}

/// The destinations there are.
#[derive(Clone, Copy)]
pub struct Present<'a>(&'a HashMap<Destination, Arc<DestinationHandle>>);

impl Present<'_> {
    /// How many of them `is` says are meant.
    pub fn count(self, is: impl Fn(&Destination) -> bool) -> usize {
        self.0.keys().filter(|destination| is(destination)).count()
    }
}

/// Whether `pattern` listens to `destination`.
pub fn matches(pattern: &Destination, destination: &Destination) -> bool {
    pattern.kind() == destination.kind() && wildcard::matches(pattern.name(), destination.name())
}

impl Router {
    /// An empty table of destinations that are intercepted so.
    pub fn new(interceptors: Arc<Interceptors>) -> Self {
        Self { interceptors: Live::new(interceptors), ..Self::default() }
    }

    /// From now on destinations are intercepted so.
    pub fn set_interceptors(&self, interceptors: Arc<Interceptors>) {
        let mut table = self.table.write();
        table.fed = FedQueues::default();
        let Table { destinations, fed, .. } = &mut *table;
        destinations.values().for_each(|handle| fed.add(&interceptors, handle));
        self.interceptors.set(interceptors);
    }

    /// Changes whenever a destination comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn interceptors(&self) -> &Live<Interceptors> {
        &self.interceptors
    }

    /// Whether a consumer of `pattern` gets what is in `destination`. Of queues that are fed and have a pattern
    /// for a name, it is its own only: the others have the same messages.
    pub fn reads(&self, pattern: &Destination, destination: &Destination) -> bool {
        matches(pattern, destination)
            && (pattern == destination
                || !destination.is_pattern()
                || !self.interceptors.get().feed(destination))
    }

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
            || table.named.contains_key(topic)
            || table.patterns.iter().any(|pattern| matches(&pattern.pattern, topic))
    }

    /// The destination, made by `make` if it does not exist; true when it was made. Its listeners are
    /// joined before anybody else sees it, and count as its consumers.
    pub fn find_or_insert<E>(
        &self,
        destination: &Destination,
        make: impl FnOnce(Present<'_>) -> Result<Arc<DestinationHandle>, E>,
    ) -> Result<(Arc<DestinationHandle>, bool), E> {
        let mut table = self.table.write();
        if let Some(present) = table.destinations.get(destination) {
            return Ok((Arc::clone(present), false));
        }
        let handle = make(Present(&table.destinations))?;
        self.insert(&mut table, Arc::clone(&handle));
        let patterns = table.patterns.iter().filter(|p| self.reads(&p.pattern, destination));
        let named = table.named.get(destination).into_iter().flatten();
        let listeners =
            patterns.map(|pattern| &pattern.listener).chain(named.map(|(_, listener)| listener));
        let mut ops = Vec::new();
        for listener in listeners {
            listener.comes_to(&handle);
            ops.extend(listener.join_ops(&handle));
        }
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
        let (handle, sender) = self.take(&mut self.table.write(), destination)?;
        handle.retire();
        let destination = destination.clone();
        Some((handle, Ending { router: self, destination, sender: Some(sender) }))
    }

    fn insert(&self, table: &mut Table, handle: Arc<DestinationHandle>) {
        table.fed.add(&self.interceptors.get(), &handle);
        table.destinations.insert(handle.destination.clone(), handle);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes a destination out, which is *ending* until the sender is dropped.
    fn take(
        &self,
        table: &mut Table,
        destination: &Destination,
    ) -> Option<(Arc<DestinationHandle>, watch::Sender<()>)> {
        let removed = table.destinations.remove(destination)?;
        table.fed.remove(&self.interceptors.get(), destination);
        self.changes.send_modify(|changes| *changes += 1);
        let (sender, ending) = watch::channel(());
        table.ending.insert(destination.clone(), ending);
        Some((removed, sender))
    }

    /// As [`Self::remove`], for a destination that nobody has but this table and consumers that are
    /// ignored: nobody can send to it any more. It is not marked as removed yet.
    pub fn take_unused(
        &self,
        destination: &Destination,
    ) -> Option<(Arc<DestinationHandle>, Ending<'_>)> {
        let mut table = self.table.write();
        let handle = table.destinations.get(destination)?;
        let interceptors = self.interceptors.get();
        let virtual_topics = interceptors.virtual_topics.iter();
        let fed = virtual_topics.filter(|of| of.fed_part(destination).is_some()).count();
        // Each of those consumers knows a queue as one of its queues.
        let known = destination.kind().is_queue();
        let ignored = if known { handle.ignored_consumers() as usize } else { 0 };
        if Arc::strong_count(handle) > 1 + fed + ignored {
            return None;
        }
        let (handle, sender) = self.take(&mut table, destination)?;
        drop(table);
        let destination = destination.clone();
        Some((handle, Ending { router: self, destination, sender: Some(sender) }))
    }

    /// Undoes [`Self::take_unused`].
    pub fn put_back(&self, handle: Arc<DestinationHandle>, ending: Ending<'_>) {
        self.insert(&mut self.table.write(), handle);
        drop(ending);
    }

    /// The queues there are that `topic` feeds as virtual topic number `rule` of `interceptors`.
    pub fn fed_by(
        &self,
        interceptors: &Interceptors,
        rule: usize,
        topic: &str,
    ) -> Vec<Arc<DestinationHandle>> {
        let table = self.table.read();
        if std::ptr::eq(&*self.interceptors.get(), interceptors) {
            return table.fed.of(rule, topic);
        }
        // They have been replaced since the message came.
        let mut fed = FedQueues::default();
        table.destinations.values().for_each(|handle| fed.add(interceptors, handle));
        fed.of(rule, topic)
    }

    /// The consumers of a queue, without browsers.
    pub fn consumers_of(&self, queue: &Destination) -> Vec<Arc<QueueConsumer>> {
        let table = self.table.read();
        let named = table.named.get(queue).into_iter().flatten().map(|(_, listener)| listener);
        let patterns = table.patterns.iter().filter(|p| self.reads(&p.pattern, queue));
        let listeners = named.chain(patterns.map(|pattern| &pattern.listener));
        let consumers = listeners.filter_map(|listener| match listener {
            Listener::Queue(consumer) if !consumer.info.browser => Some(Arc::clone(consumer)),
            Listener::Queue(_) | Listener::Topic(_) => None,
        });
        consumers.collect()
    }

    /// Notes a listener of a pattern; returns the destinations it matches now, whose consumer it is.
    pub fn listen(
        &self,
        key: SubscriptionKey,
        pattern: Destination,
        listener: Listener,
    ) -> Vec<Arc<DestinationHandle>> {
        let mut table = self.table.write();
        let present = table.destinations.values();
        let present: Vec<_> =
            present.filter(|handle| self.reads(&pattern, &handle.destination)).cloned().collect();
        present.iter().for_each(|handle| listener.comes_to(handle));
        table.patterns.push(Pattern { key, pattern, listener });
        present
    }

    /// Notes a listener of a name; returns the destination of that name, if there is one, whose consumer it is.
    pub fn listen_by_name(
        &self,
        key: SubscriptionKey,
        name: &Destination,
        listener: Listener,
    ) -> Option<Arc<DestinationHandle>> {
        let mut table = self.table.write();
        let present = table.destinations.get(name).cloned();
        present.iter().for_each(|handle| listener.comes_to(handle));
        table.named.entry(name.clone()).or_default().push((key, listener));
        present
    }

    /// Ends what `key` listens to as `destination`, a name, a pattern or several; returns the destinations
    /// there are of it now.
    pub fn unlisten(
        &self,
        key: SubscriptionKey,
        destination: &Destination,
    ) -> Vec<Arc<DestinationHandle>> {
        let (patterns, names): (Vec<_>, Vec<_>) =
            destination.parts().into_iter().partition(Destination::is_pattern);
        let mut table = self.table.write();
        let mut handles = Vec::new();
        for name in names {
            let handle = table.destinations.get(&name).cloned();
            if let Some(listeners) = table.named.get_mut(&name) {
                for (_, gone) in listeners.extract_if(.., |(of, _)| *of == key) {
                    handle.iter().for_each(|handle| gone.goes_from(handle));
                }
                if listeners.is_empty() {
                    table.named.remove(&name);
                }
            }
            handles.extend(handle);
        }
        if !patterns.is_empty() {
            let gone: Vec<Pattern> =
                table.patterns.extract_if(.., |pattern| pattern.key == key).collect();
            for Pattern { pattern, listener, .. } in gone {
                let present = table.destinations.values();
                let read = present.filter(|handle| self.reads(&pattern, &handle.destination));
                read.for_each(|handle| listener.goes_from(handle));
            }
            let present = table.destinations.values();
            let of = |handle: &&Arc<DestinationHandle>| {
                patterns.iter().any(|pattern| matches(pattern, &handle.destination))
            };
            handles.extend(present.filter(of).cloned());
        }
        handles
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::fixture::{consumer, handle};
    use super::*;

    fn queue_consumer(number: u64, several: bool) -> Arc<QueueConsumer> {
        Arc::new(QueueConsumer {
            key: SubscriptionKey(number),
            info: Arc::new(consumer("c", number, 10)),
            selector: None,
            outbox: Arc::default(),
            window: Arc::new(Window::new(10)),
            queues: Mutex::default(),
            several,
            pulls: Mutex::default(),
        })
    }

    fn make(router: &Router, destination: &Destination) -> Arc<DestinationHandle> {
        let made = router.find_or_insert(destination, |_| Ok::<_, ()>(handle(destination.clone())));
        made.expect("it can be made").0
    }

    #[tokio::test]
    async fn who_listens_by_name_is_there_when_the_name_comes_again() {
        let (router, name) = (Router::default(), Destination::queue("A"));
        let consumer = queue_consumer(1, false);
        let listener = Listener::Queue(Arc::clone(&consumer));
        assert!(router.listen_by_name(consumer.key, &name, listener).is_none());
        let first = make(&router, &name);
        assert_eq!(first.gauges.consumers.count(), 1);
        drop(router.remove(&name));
        let second = make(&router, &name);
        assert_eq!(second.gauges.consumers.count(), 1);
        let queues = consumer.queues.lock().all();
        assert!(matches!(&queues[..], [queue] if Arc::ptr_eq(queue, &second)));
        assert_eq!(router.unlisten(consumer.key, &name).len(), 1);
        drop(router.remove(&name));
        assert_eq!(make(&router, &name).gauges.consumers.count(), 0);
    }

    #[tokio::test]
    async fn the_place_of_a_queue_that_was_removed_is_used_again() {
        let router = Router::default();
        let consumer = queue_consumer(1, true);
        let listener = Listener::Queue(Arc::clone(&consumer));
        router.listen(consumer.key, Destination::queue(">"), listener);
        for round in 0..5 {
            let name = Destination::queue(format!("T{round}"));
            make(&router, &name);
            make(&router, &Destination::queue("STAYS"));
            drop(router.remove(&name));
        }
        assert_eq!(consumer.queues.lock().all().len(), 2);
        let stays = make(&router, &Destination::queue("STAYS"));
        assert_eq!(stays.gauges.consumers.count(), 1);
        router.unlisten(consumer.key, &Destination::queue(">"));
        assert_eq!(stays.gauges.consumers.count(), 0);
    }
}
