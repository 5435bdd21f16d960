//! What a destination tells about itself when somebody asks.

use super::counters::Counters;
use super::durable::DurableKey;
use crate::broker::outbox::SubscriptionKey;
use crate::jms::ConsumerInfo;
use std::sync::Arc;

/// One destination at one moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Counted for the destination itself.
    pub own: Counters,
    /// Counted for the whole broker.
    pub broker: Counters,
    pub in_flight: u64,
    /// Messages there now, those in flight too. Topics have none of their own.
    pub size: u64,
    /// Those of them that are in memory, and those that were acknowledged in transactions prepared
    /// before the last start.
    pub in_memory: u64,
    pub consumers: u64,
    /// When the oldest message in memory came, ms since the epoch.
    pub oldest_ms: Option<i64>,
    pub subscriptions: Vec<SubscriptionReport>,
}

/// One subscription. One that has several queues tells each of them its part; one of topics tells the
/// same to all.
#[derive(Clone, Debug)]
pub struct SubscriptionReport {
    pub key: SubscriptionKey,
    /// What its consumer asked for; of a durable subscription, the one that had it last.
    pub info: Arc<ConsumerInfo>,
    pub durable: Option<DurableKey>,
    /// Whether a consumer has it.
    pub active: bool,
    pub prefetch: i32,
    pub enqueued: u64,
    pub dispatched: u64,
    pub dequeued: u64,
    pub in_flight: u64,
    /// Messages that wait for room in its window.
    pub pending: u64,
    /// Messages it lost because it was too far behind.
    pub discarded: u64,
    pub slow: bool,
}
