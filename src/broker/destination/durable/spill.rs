//! What waits for a durable subscription and is in no store: in memory, or else in the temp store.
//!
//! These messages keep their order. Stored ones do not wait for those that are in the temp store.

use super::super::in_flight::Entry;
use super::super::queue::Key;
use super::super::spilled::{Answer, Spilled};
use super::super::{Effects, Now};
use super::{DurableSubscription, State};
use crate::broker::policy::Cursor;
use std::sync::Weak;

impl State {
    /// Messages in the temp store.
    pub(super) fn spilled(&self) -> u64 {
        self.spilled.as_ref().map_or(0, Spilled::len)
    }

    /// Whether messages are on their way back from the temp store.
    pub(super) fn is_unspooling(&self) -> bool {
        self.spilled.as_ref().is_some_and(Spilled::is_reading)
    }
}

impl DurableSubscription {
    /// A message comes that the store does not have.
    pub(super) fn keep(&self, state: &mut State, entry: Entry) {
        let short = self.policy.durable_cursor == Cursor::Store
            && self.usage.is_above(self.policy.cursor_high_water_percent);
        let spool = self.spool.as_ref().filter(|_| short || state.spilled.is_some());
        let Some(spool) = spool else {
            state.pending.insert(Key::of(&entry), entry);
            return;
        };
        let spilled = state.spilled.get_or_insert_with(|| Spilled::new(spool));
        spilled.put(vec![entry], self.taking());
    }

    /// Reads on in the temp store when memory has little left for the consumer.
    pub(super) fn read_spilled(&self, state: &mut State) {
        if let Some(spilled) = &mut state.spilled {
            spilled.read(state.pending.len(), &self.policy, self.taking());
        }
    }

    /// Takes what the temp store answers.
    fn taking(&self) -> impl FnOnce(u64, Answer) + Send + 'static {
        let me = Weak::clone(&self.me);
        move |channel, answer| {
            if let Some(me) = me.upgrade() {
                me.take_back(channel, answer);
            }
        }
    }

    fn take_back(&self, channel: u64, answer: Answer) {
        let (now, mut out) = (Now::read(), Effects::default());
        {
            let mut state = self.state.lock();
            let goes_on = !matches!(answer, Answer::Unread);
            let State { spilled, pending, .. } = &mut *state;
            let taken = Spilled::take(spilled, channel, answer, &self.usage, &self.policy);
            pending.extend(taken.into_iter().map(|entry| (Key::of(&entry), entry)));
            if goes_on {
                self.send_pending(&mut state, now, &mut out);
            }
            self.end_overdue_pulls(&mut state);
        }
        self.outlet.run(&mut out, None);
    }
}
