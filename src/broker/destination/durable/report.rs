//! What a durable subscription tells about itself, and whom it counts for.

use super::super::counters::SharedCounts;
use super::super::report::SubscriptionReport;
use super::DurableSubscription;
use crate::jms::Destination;
use std::sync::Arc;

impl DurableSubscription {
    /// It listens to `topic`, for which it counts.
    pub(in super::super) fn joined(&self, topic: &Destination, counts: &Arc<SharedCounts>) {
        self.state.lock().sources.join(topic, counts);
    }

    pub(in super::super) fn left(&self, topic: &Destination) {
        self.expiry_ends(topic);
        self.state.lock().sources.leave(topic);
    }

    /// What it tells about itself, and how many messages of the topic with these `counts` it holds.
    pub(in crate::broker) fn report(
        &self,
        counts: &Arc<SharedCounts>,
    ) -> (SubscriptionReport, u64) {
        let state = self.state.lock();
        let window = state.active.as_ref().map(|active| active.window.prefetch());
        let report = SubscriptionReport {
            key: self.key,
            info: Arc::clone(&state.info),
            durable: Some(self.owner.clone()),
            active: state.active.is_some(),
            prefetch: window.unwrap_or(state.info.prefetch_size),
            enqueued: state.sources.enqueued,
            dispatched: state.sources.dispatched,
            dequeued: state.sources.dequeued,
            in_flight: (state.in_flight.len() + state.orphans.len()) as u64,
            pending: state.pending.len() as u64 + state.backlog.len() + state.spilled(),
            discarded: 0,
            slow: false,
        };
        (report, state.sources.in_flight_of(counts))
    }
}
