//! What waits for a durable subscription and is in no store: in memory, or else in the temp store.
//!
//! These messages keep their order. Stored ones do not wait for those that are in the temp store.

use super::super::in_flight::Entry;
use super::super::queue::Key;
use super::super::tally::Tally;
use super::super::{Effects, Now};
use super::{DurableSubscription, PAGE_BYTES, State};
use crate::broker::policy::Cursor;
use crate::broker::usage::Credit;
use crate::store::spool::{Channel, Spooled};
use crate::store::{PageLimit, StoreError};
use std::sync::{Arc, Weak};

/// Messages in the temp store.
#[derive(Debug)]
pub(super) struct Spilled {
    channel: Channel,
    tally: Tally,
}

impl State {
    /// Messages in the temp store.
    pub(super) fn spilled(&self) -> u64 {
        self.spilled.as_ref().map_or(0, |spilled| spilled.tally.len())
    }

    /// Whether messages are on their way back from the temp store.
    pub(super) fn is_unspooling(&self) -> bool {
        self.spilled.as_ref().is_some_and(|spilled| spilled.tally.is_reading())
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
        let spilled = state
            .spilled
            .get_or_insert_with(|| Spilled { channel: spool.channel(), tally: Tally::default() });
        spilled.tally.add(1);
        let message = Spooled {
            sequence: entry.sequence,
            redeliveries: entry.redeliveries,
            message: Arc::clone(&entry.message),
        };
        let (me, number) = (Weak::clone(&self.me), spilled.channel.number());
        // It keeps its memory until it is there.
        let done = move |result: Result<(), StoreError>| {
            if let (Err(error), Some(me)) = (result, me.upgrade()) {
                tracing::warn!(%error, "the temp store has no room: messages stay in memory");
                me.take_back(number, |tally| tally.refused(vec![entry]));
            }
        };
        spilled.channel.append(vec![message], Box::new(done));
    }

    /// Reads on in the temp store when memory has little left for the consumer.
    pub(super) fn read_spilled(&self, state: &mut State) {
        let limit = PageLimit { messages: self.policy.page_max.max(1), bytes: PAGE_BYTES };
        if state.pending.len() > limit.messages / 2 {
            return;
        }
        let Some(spilled) = &mut state.spilled else { return };
        if !spilled.tally.ask() {
            return;
        }
        let (me, number) = (Weak::clone(&self.me), spilled.channel.number());
        let done = move |messages: Result<Vec<Spooled>, StoreError>| {
            let Some(me) = me.upgrade() else { return };
            match messages {
                Ok(messages) => {
                    let taken = messages.into_iter().map(|spooled| me.unspooled(spooled)).collect();
                    me.take_back(number, |tally| tally.arrived(taken));
                }
                // They are asked for again when something moves: a disk that fails is not asked without end.
                Err(error) => {
                    tracing::error!(%error, "messages cannot be read from the temp store");
                    let mut state = me.state.lock();
                    if let Some(spilled) = &mut state.spilled {
                        spilled.tally.failed();
                    }
                    me.end_overdue_pulls(&mut state);
                }
            }
        };
        spilled.channel.take(limit, Box::new(done));
    }

    fn unspooled(&self, spooled: Spooled) -> Entry {
        let bytes = (spooled.message.size() as u64).max(self.policy.minimum_message_bytes);
        self.usage.take(bytes);
        let hold = Some(Arc::new(Credit::taken(Arc::clone(&self.usage), bytes)));
        let prioritized = self.policy.prioritized_messages;
        let entry = Entry::new(spooled.message, spooled.sequence, bytes, prioritized);
        Entry { hold, redeliveries: spooled.redeliveries, ..entry }
    }

    /// Messages are in memory again, as `answer` says of the channel with this number.
    fn take_back(&self, channel: u64, answer: impl FnOnce(&mut Tally) -> Vec<Entry>) {
        let (now, mut out) = (Now::read(), Effects::default());
        {
            let mut state = self.state.lock();
            let State { spilled, pending, .. } = &mut *state;
            let Some(present) = spilled.as_mut().filter(|of| of.channel.number() == channel) else {
                return;
            };
            let taken = answer(&mut present.tally);
            if present.tally.is_empty() && !present.tally.is_reading() {
                *spilled = None;
            }
            pending.extend(taken.into_iter().map(|entry| (Key::of(&entry), entry)));
            self.send_pending(&mut state, now, &mut out);
            self.end_overdue_pulls(&mut state);
        }
        self.outlet.run(&mut out, None);
    }
}
