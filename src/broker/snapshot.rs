//! What there is in the broker at one moment, for those who show it: statistics, console, metrics.
//!
//! Destinations answer through their mailboxes, one after another: their numbers are of slightly different
//! moments.

use super::Broker;
use super::destination::counters::{Counters, Whose};
use super::destination::report::{Report, SubscriptionReport};
use super::destination::{DestinationHandle, Op};
use super::outbox::SubscriptionKey;
use super::registry::{ConnectionEntry, ProducerEntry};
use crate::jms::{ConsumerInfo, Destination, Text};
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// One destination.
#[derive(Clone, Debug)]
pub struct DestinationSnapshot {
    pub handle: Arc<DestinationHandle>,
    pub report: Report,
}

/// All destinations together, those that are gone too.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub counters: Counters,
    pub in_flight: u64,
    pub size: u64,
    pub in_memory: u64,
    pub consumers: u64,
    pub producers: u64,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnectionSnapshot {
    pub entry: Arc<ConnectionEntry>,
    /// Who it is, where users may be shown.
    pub user: Option<Text>,
    /// Its sender waits for room in some destination.
    pub blocked: bool,
    /// One of its consumers is too far behind.
    pub slow: bool,
    /// Messages that wait to be written to it.
    pub dispatch_queue: usize,
    /// Local transactions that have not ended.
    pub transactions: u32,
    pub consumers: Vec<Arc<ConsumerInfo>>,
    pub producers: Vec<Arc<ProducerEntry>>,
}

/// What a producer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerSnapshot {
    pub sent: u64,
    /// It waits for room now.
    pub blocked: bool,
    /// How often and how long it has waited.
    pub blocked_sends: u64,
    pub blocked_time: Duration,
}

impl ProducerEntry {
    pub fn snapshot(&self) -> ProducerSnapshot {
        ProducerSnapshot {
            sent: self.sent.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
            blocked_sends: self.blocked_sends.load(Ordering::Relaxed),
            blocked_time: Duration::from_micros(self.blocked_micros.load(Ordering::Relaxed)),
        }
    }
}

impl DestinationHandle {
    /// What the destination tells about itself; none when it has ended.
    pub async fn report(&self) -> Option<Report> {
        let (answer, report) = oneshot::channel();
        self.send(vec![Op::Report(answer)]).await;
        report.await.ok()
    }
}

impl Broker {
    /// One destination, if there is one of that name.
    pub async fn snapshot(&self, destination: &Destination) -> Option<DestinationSnapshot> {
        let handle = self.router.find(destination)?;
        self.snapshot_of(handle).await
    }

    async fn snapshot_of(&self, handle: Arc<DestinationHandle>) -> Option<DestinationSnapshot> {
        let mut report = handle.report().await?;
        if !self.options.statistics {
            let silent = |subscription: &mut SubscriptionReport| {
                (subscription.enqueued, subscription.dispatched, subscription.dequeued) = (0, 0, 0);
            };
            report.own = Counters::default();
            report.broker = Counters::default();
            report.subscriptions.iter_mut().for_each(silent);
        }
        Some(DestinationSnapshot { handle, report })
    }

    /// The destinations that are `wanted`, in order of their names.
    pub async fn snapshots(
        &self,
        wanted: impl Fn(&Destination) -> bool,
    ) -> Vec<DestinationSnapshot> {
        let mut handles = self.router.all();
        handles.retain(|handle| wanted(&handle.destination));
        handles.sort_by(|a, b| a.destination.name().cmp(b.destination.name()));
        let mut snapshots = Vec::with_capacity(handles.len());
        for handle in handles {
            snapshots.extend(self.snapshot_of(handle).await);
        }
        snapshots
    }

    /// All destinations together.
    pub async fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        if self.options.statistics {
            totals.counters = self.gone.counters();
        }
        for DestinationSnapshot { handle, report } in self.snapshots(|_| true).await {
            totals.counters.merge(&report.broker);
            totals.in_flight += report.in_flight;
            totals.size += report.size;
            totals.in_memory += report.in_memory;
            totals.consumers += u64::from(handle.gauges.consumers.count());
            totals.producers += u64::from(handle.gauges.producers.count());
        }
        totals
    }

    /// The counters of the broker, not those of its destinations, begin anew.
    pub async fn reset_counters(&self) {
        self.gone.reset();
        for handle in self.router.all() {
            handle.send(vec![Op::ResetCounters(Whose::Broker)]).await;
        }
    }

    /// All subscriptions, durable ones without consumer too.
    pub async fn subscriptions(&self) -> Vec<SubscriptionReport> {
        let mut all: Vec<SubscriptionReport> = Vec::new();
        let mut places: HashMap<SubscriptionKey, usize> = HashMap::new();
        for DestinationSnapshot { handle, report } in self.snapshots(|_| true).await {
            let is_queue = handle.destination.kind().is_queue();
            for part in report.subscriptions {
                match places.get(&part.key) {
                    Some(place) if is_queue => add_part(&mut all[*place], &part),
                    Some(_) => {}
                    None => {
                        places.insert(part.key, all.len());
                        all.push(part);
                    }
                }
            }
        }
        // Those whose topics do not exist.
        for durable in self.registry.durables() {
            if !places.contains_key(&durable.key) {
                all.push(durable.report(&Arc::default()).0);
            }
        }
        all
    }

    /// All connections.
    pub async fn connections(&self) -> Vec<ConnectionSnapshot> {
        let (consumers, producers) = (self.registry.consumers(), self.registry.producer_entries());
        let subscriptions = self.subscriptions().await;
        let snapshot = |entry: Arc<ConnectionEntry>| {
            let id = entry.info.connection_id.as_ref().map(|id| id.as_str());
            let mine = |info: &ConsumerInfo| {
                info.consumer_id
                    .as_ref()
                    .is_some_and(|consumer| consumer.connection.as_deref() == id)
            };
            let sends = |producer: &&Arc<ProducerEntry>| {
                let producer = producer.info.producer_id.as_ref();
                producer.is_some_and(|producer| producer.connection.as_deref() == id)
            };
            let user = entry.info.user_name.clone().filter(|_| self.options.shows_users);
            ConnectionSnapshot {
                user,
                blocked: entry.blocked.load(Ordering::Relaxed),
                slow: subscriptions.iter().any(|s| s.slow && s.active && mine(&s.info)),
                dispatch_queue: entry.outbox.deliveries(),
                transactions: entry.transactions.load(Ordering::Relaxed),
                consumers: consumers.iter().filter(|info| mine(info)).cloned().collect(),
                producers: producers.iter().filter(sends).cloned().collect(),
                entry,
            }
        };
        self.registry.connections().into_iter().map(snapshot).collect()
    }
}

/// Another queue's part of a subscription.
fn add_part(known: &mut SubscriptionReport, part: &SubscriptionReport) {
    known.enqueued += part.enqueued;
    known.dispatched += part.dispatched;
    known.dequeued += part.dequeued;
    known.in_flight += part.in_flight;
    known.pending += part.pending;
    known.discarded += part.discarded;
    known.slow |= part.slow;
}
