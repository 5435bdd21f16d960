//! Messages of a durable subscription whose time is over before they were sent.

use super::DurableSubscription;
use crate::broker::candidate::Candidate;
use crate::broker::destination::{self, backlog::Backlog};
use crate::jms::Destination;
use crate::store::StoredMessage;
use hashbrown::HashSet;

/// Messages that left while pages were read that may still have them.
#[derive(Debug, Default)]
pub(super) struct Left {
    sequences: HashSet<i64>,
    /// Topics that read what has expired.
    topics: Vec<Destination>,
}

impl Left {
    /// Message `sequence` left the subscription.
    pub(super) fn note(&mut self, sequence: i64, backlog: &Backlog) {
        if backlog.is_reading() || !self.topics.is_empty() {
            self.sequences.insert(sequence);
        }
    }

    /// A page of the backlog has come; what left before.
    pub(super) fn page_came(&mut self) -> HashSet<i64> {
        match self.topics.is_empty() {
            true => std::mem::take(&mut self.sequences),
            false => self.sequences.clone(),
        }
    }
}

impl DurableSubscription {
    /// `topic` begins to read what has expired.
    pub fn expiry_begins(&self, topic: &Destination) {
        self.state.lock().left.topics.push(topic.clone());
    }

    /// `topic` has read it.
    pub fn expiry_ends(&self, topic: &Destination) {
        let mut state = self.state.lock();
        state.left.topics.retain(|reading| reading != topic);
        if state.left.topics.is_empty() && !state.backlog.is_reading() {
            state.left.sequences.clear();
        }
    }

    /// Whether message `sequence`, which is past its time, is in memory and expires when its turn comes, or has left
    /// already. With `enableMessageExpirationOnActiveDurableSubs` what is pending does not count.
    pub fn holds(&self, sequence: i64) -> bool {
        let state = self.state.lock();
        let is_pending = || state.pending.keys().any(|key| key.sequence == sequence);
        state.in_flight.iter().any(|held| held.entry.sequence == sequence)
            || state.orphans.iter().any(|(_, entry)| entry.sequence == sequence)
            || [&state.expected, &state.dying, &state.left.sequences]
                .iter()
                .any(|apart| apart.contains(&sequence))
            || state.backlog.is_reading()
            || !self.expires_active && is_pending()
    }

    /// A message is past its time and leaves the store. It need not be this subscription's.
    pub fn expire(&self, StoredMessage { sequence, message }: &StoredMessage) {
        let mut state = self.state.lock();
        let sequence = *sequence;
        let pending = state.pending.keys().find(|key| key.sequence == sequence).copied();
        match pending {
            Some(key) => drop(state.pending.remove(&key)),
            None if !state.backlog.has(0, sequence) => {}
            None => {
                let candidate = Candidate { message, redeliveries: 0 };
                if destination::accepts(&state.info, self.selector.as_ref(), &candidate) {
                    state.backlog.gone(0);
                }
            }
        }
    }
}
