//! How a consumer without prefetch asks a durable subscription for messages.

use super::super::{Effects, Now};
use super::{DurableSubscription, State};
use crate::broker::outbox::Item;

impl DurableSubscription {
    /// Asks for one message; a ticket for [`Self::end_pull`] when there is none yet.
    pub fn pull(&self, now: Now, out: &mut Effects) -> Option<u64> {
        let mut state = self.state.lock();
        if state.active.as_ref().is_none_or(|active| active.window.prefetch() > 0) {
            return None;
        }
        let ticket = state.pulls.ask();
        self.send_pending(&mut state, now, out);
        state.pulls.owes(ticket).then_some(ticket)
    }

    /// Whether the pull with this ticket has not been answered.
    pub fn owes(&self, ticket: u64) -> bool {
        self.state.lock().pulls.owes(ticket)
    }

    /// Ends a pull that waited long enough: answers that there is nothing, unless it was answered. It goes
    /// on waiting for messages that are being read, or looked for in the past.
    pub fn end_pull(&self, ticket: u64) {
        let mut state = self.state.lock();
        state.overdue = state.overdue.max(ticket);
        self.end_overdue_pulls(&mut state);
    }

    /// Answers pulls that waited long enough, unless something may still come for them.
    pub(super) fn end_overdue_pulls(&self, state: &mut State) {
        if state.backlog.is_reading() || state.is_unspooling() || state.looking > 0 {
            return;
        }
        let State { active: Some(active), pulls, info, overdue, .. } = state else { return };
        while pulls.owes(*overdue) {
            pulls.answer();
            active.outbox.push(Item::Delivery(self.empty(info)));
        }
    }
}
