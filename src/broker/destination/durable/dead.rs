//! How messages leave a durable subscription: consumed, expired, dead.

use super::{DurableSubscription, State};
use crate::broker::advisory::Notice;
use crate::broker::dead_letter::{Cause, DeadLetter, Leaving, Told};
use crate::broker::destination::in_flight::Entry;
use crate::broker::destination::{Effects, Now};
use crate::broker::outbox::Receipt;
use crate::jms::Text;
use hashbrown::HashSet;
use std::sync::Weak;

impl DurableSubscription {
    /// A message was consumed, by a consumer of that connection.
    pub(super) fn consumed(&self, entry: &Entry, by: Option<&Text>, out: &mut Effects) {
        if self.policy.advisory_for_consumed
            && let Some(from) = &entry.message.destination
        {
            out.notice(Notice::consumed(from, &entry.message, by));
        }
    }

    pub(super) fn expired(
        &self,
        dying: &mut HashSet<i64>,
        entry: Entry,
        receipt: Option<Receipt>,
        out: &mut Effects,
    ) {
        if let Some(from) = &entry.message.destination {
            out.notice(Notice::expired(from, &entry.message));
        }
        let expiration = entry.message.expiration;
        self.dead(dying, entry, Some(Cause::Expired(expiration)), None, receipt, out);
    }

    pub(super) fn dead(
        &self,
        dying: &mut HashSet<i64>,
        entry: Entry,
        cause: Option<Cause>,
        by: Option<&Text>,
        receipt: Option<Receipt>,
        out: &mut Effects,
    ) {
        let leaves = self.removal(&entry).map(|op| {
            let (sequence, me) = (entry.sequence, Weak::clone(&self.me));
            dying.insert(sequence);
            let told = Told::new(move |gone| {
                if let Some(me) = me.upgrade() {
                    me.buried(sequence, gone);
                }
            });
            Leaving { op, told }
        });
        let Some(from) = entry.message.destination.clone() else { return };
        let (subscriber, by) = (Some(self.owner.clone()), by.cloned());
        let letter = DeadLetter::unstored(entry.message, from, cause);
        out.dead_letter(DeadLetter { subscriber, by, leaves, receipt, ..letter });
    }

    /// A dead message has left the store; or could not, then it is pending again.
    fn buried(&self, sequence: i64, gone: bool) {
        let (now, mut out) = (Now::read(), Effects::default());
        {
            let mut state = self.state.lock();
            if !state.dying.remove(&sequence) {
                return;
            }
            if gone {
                // A page that is on its way may have been read before.
                let State { left, backlog, .. } = &mut *state;
                left.note(sequence, backlog);
                return;
            }
            state.backlog.skip(0, sequence);
            state.backlog.rewind();
            self.send_pending(&mut state, now, &mut out);
        }
        self.outlet.run(&mut out, None);
    }
}
