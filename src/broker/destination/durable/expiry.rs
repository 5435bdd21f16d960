//! Messages of a durable subscription whose time is over before they were sent.

use super::DurableSubscription;

impl DurableSubscription {
    /// Whether message `sequence`, which is past its time, is in memory and expires when its turn comes. With
    /// `enableMessageExpirationOnActiveDurableSubs` that is so only for what is not pending.
    pub fn holds(&self, sequence: i64) -> bool {
        let state = self.state.lock();
        let is_pending = || state.pending.keys().any(|key| key.sequence == sequence);
        state.in_flight.iter().any(|held| held.entry.sequence == sequence)
            || state.orphans.iter().any(|(_, entry)| entry.sequence == sequence)
            || state.expected.contains(&sequence)
            || state.backlog.is_reading()
            || !self.expires_active && is_pending()
    }

    /// Message `sequence` is past its time and leaves the store.
    pub fn expire(&self, sequence: i64) {
        let mut state = self.state.lock();
        let pending = state.pending.keys().find(|key| key.sequence == sequence).copied();
        match pending {
            Some(key) => drop(state.pending.remove(&key)),
            None => state.backlog.gone(0),
        }
    }
}
