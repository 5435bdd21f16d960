//! Messages of one subscription of topics, durable or not, that wait in the temp store.
//!
//! ```text
//!  put ------> temp store --- refused: in memory after all --+
//!                  |                                         v
//!  read <----------+----------- arrived ----------------> pending
//! ```
//!
//! The answers come later, from the temp store's thread: whoever holds the messages gives each back to
//! [`Spilled::take`] of the channel that it is from.

use super::in_flight::Entry;
use super::tally::Tally;
use crate::broker::policy::Policy;
use crate::broker::usage::{Credit, Usage};
use crate::store::spool::{Channel, Spool, Spooled};
use crate::store::{PageLimit, StoreError};
use std::sync::Arc;

/// A channel of the temp store with messages in their order.
#[derive(Debug)]
pub(super) struct Spilled {
    channel: Channel,
    tally: Tally,
}

/// What the temp store says.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has no room for these.
    Refused(Vec<Entry>),
    Arrived(Vec<Spooled>),
    /// It could not be read. To be asked again when something moves: not at once, or a disk that fails would be
    /// asked without end.
    Unread,
}

impl Spilled {
    pub(super) fn new(spool: &Arc<Spool>) -> Self {
        Self { channel: spool.channel(), tally: Tally::default() }
    }

    /// Messages that are not pending yet.
    pub(super) fn len(&self) -> u64 {
        self.tally.len()
    }

    /// Whether messages are on their way back.
    pub(super) fn is_reading(&self) -> bool {
        self.tally.is_reading()
    }

    /// Puts `entries` behind all others. They keep their memory until they are there; `tell` hears of it if there
    /// is no room.
    pub(super) fn put(
        &mut self,
        entries: Vec<Entry>,
        tell: impl FnOnce(u64, Answer) + Send + 'static,
    ) {
        self.tally.add(entries.len());
        let message = |entry: &Entry| Spooled {
            sequence: entry.sequence,
            redeliveries: entry.redeliveries,
            message: Arc::clone(&entry.message),
        };
        let (messages, number) = (entries.iter().map(message).collect(), self.channel.number());
        let holds = entries.iter().filter_map(|entry| entry.hold.as_deref());
        let spilling: Vec<_> = holds.map(Credit::spilling).collect();
        let done = move |result: Result<(), StoreError>| {
            match result {
                Ok(()) => drop(entries),
                Err(error) => {
                    tracing::warn!(%error, "the temp store has no room: messages stay in memory");
                    tell(number, Answer::Refused(entries));
                }
            }
            // At last: what is full is never without a reason to wait.
            drop(spilling);
        };
        self.channel.append(messages, Box::new(done));
    }

    /// Reads the oldest messages when no more than half a page is `pending` in memory, unless that is under way;
    /// `tell` hears what came.
    pub(super) fn read(
        &mut self,
        pending: usize,
        policy: &Policy,
        tell: impl FnOnce(u64, Answer) + Send + 'static,
    ) {
        let limit = PageLimit { messages: policy.page_max.max(1), bytes: PAGE_BYTES };
        if pending > limit.messages / 2 || !self.tally.ask() {
            return;
        }
        let number = self.channel.number();
        let done = move |messages: Result<Vec<Spooled>, StoreError>| match messages {
            Ok(messages) => tell(number, Answer::Arrived(messages)),
            Err(error) => {
                tracing::error!(%error, "messages cannot be read from the temp store");
                tell(number, Answer::Unread);
            }
        };
        self.channel.take(limit, Box::new(done));
    }

    /// What is pending by `answer` of the channel `number`, in memory of `usage`. Nothing is left of `spilled` when
    /// that were the last.
    pub(super) fn take(
        spilled: &mut Option<Self>,
        number: u64,
        answer: Answer,
        usage: &Arc<Usage>,
        policy: &Policy,
    ) -> Vec<Entry> {
        let Some(present) = spilled.as_mut().filter(|of| of.channel.number() == number) else {
            return Vec::new();
        };
        let pending = match answer {
            Answer::Refused(entries) => present.tally.refused(entries),
            Answer::Arrived(messages) => {
                let entry = |spooled| in_memory(spooled, usage, policy);
                present.tally.arrived(messages.into_iter().map(entry).collect())
            }
            Answer::Unread => {
                present.tally.failed();
                return Vec::new();
            }
        };
        if present.tally.is_empty() && !present.tally.is_reading() {
            *spilled = None;
        }
        pending
    }
}

fn in_memory(spooled: Spooled, usage: &Arc<Usage>, policy: &Policy) -> Entry {
    let Spooled { sequence, redeliveries, message } = spooled;
    let bytes = (message.size() as u64).max(policy.minimum_message_bytes);
    usage.take(bytes);
    let hold = Some(Arc::new(Credit::taken(Arc::clone(usage), bytes)));
    Entry {
        hold,
        redeliveries,
        ..Entry::new(message, sequence, bytes, policy.prioritized_messages)
    }
}

/// Bytes read at a time.
const PAGE_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::destination::fixture;

    #[test]
    fn memory_of_what_is_put_is_leaving_until_it_is_free() {
        let spool = fixture::spool();
        for _ in 0..100 {
            let usage = Usage::new(10, None);
            usage.take(10);
            let hold = Some(Arc::new(Credit::taken(Arc::clone(&usage), 10)));
            let entry =
                Entry { hold, ..Entry::new(Arc::new(fixture::message("c", 1)), 1, 10, false) };
            let mut spilled = Spilled::new(&spool);
            spilled.put(vec![entry], |_, answer| panic!("there is room: {answer:?}"));
            while usage.full().is_some() {
                assert!(usage.is_leaving() || usage.full().is_none(), "a send would be refused");
                std::thread::yield_now();
            }
        }
    }
}
