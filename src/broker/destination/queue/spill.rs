//! Messages that are not stored and do not fit into memory: they wait in the temp store, in order.

use super::super::in_flight::Entry;
use super::super::{Effects, Now, SpoolJob};
use super::Queue;
use crate::broker::policy::Cursor;
use crate::broker::usage::Credit;
use crate::store::spool::{Channel, Spooled};
use crate::store::{PageLimit, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a queue has in the temp store.
#[derive(Debug, Default)]
pub(super) struct Spill {
    bands: BTreeMap<u8, Spilled>,
}

/// One band of it.
#[derive(Debug)]
struct Spilled {
    channel: Arc<Channel>,
    count: u64,
    /// Messages have been asked for.
    taking: bool,
    /// Messages of this batch, and the memory they have until they are written.
    batch: Vec<Spooled>,
    holds: Vec<Arc<Credit>>,
}

impl Spill {
    /// Messages in the temp store.
    pub(super) fn len(&self) -> u64 {
        self.bands.values().map(|band| band.count).sum()
    }

    /// Whether some of them are on their way back.
    pub(super) fn is_reading(&self) -> bool {
        self.bands.values().any(|band| band.taking)
    }
}

impl Queue {
    /// Keeps a message that no store has: in memory, or, behind others that are there or when memory is
    /// short, in the temp store.
    pub(super) fn keep_unstored(&mut self, entry: Entry, now: Now) {
        let waiting = self.spill.bands.get(&entry.band).is_some_and(|band| band.count > 0);
        let short = self.context.policy.cursor == Cursor::Store
            && self.context.usage.is_above(self.context.policy.cursor_high_water_percent);
        let spool = self.context.spool.as_ref().filter(|_| waiting || short);
        let Some(spool) = spool else { return self.insert(entry, now) };
        let band = self.spill.bands.entry(entry.band).or_insert_with(|| Spilled {
            channel: Arc::new(spool.channel()),
            count: 0,
            taking: false,
            batch: Vec::new(),
            holds: Vec::new(),
        });
        band.count += 1;
        let hold = Credit::taken(Arc::clone(&self.context.usage), entry.bytes);
        band.holds.push(Arc::new(hold));
        let Entry { message, sequence, redeliveries, .. } = entry;
        band.batch.push(Spooled { sequence, redeliveries, message });
    }

    /// Writes what this batch brought for the temp store, and reads on when consumers want more than
    /// memory has.
    pub(super) fn spill(&mut self, out: &mut Effects) {
        if self.spill.bands.is_empty() {
            return;
        }
        let page = self.page_limit();
        let wanting = self.subscriptions.iter().any(|subscription| subscription.wants_more());
        let room = self.pending.len() < page.messages / 2
            || (wanting
                && !self.context.usage.is_above(self.context.policy.cursor_high_water_percent));
        let mut reads = room && !self.subscriptions.is_empty();
        for (band, spilled) in &mut self.spill.bands {
            if !spilled.batch.is_empty() {
                out.spool.push(SpoolJob::Append {
                    channel: Arc::clone(&spilled.channel),
                    band: *band,
                    messages: std::mem::take(&mut spilled.batch),
                    holds: std::mem::take(&mut spilled.holds),
                });
            }
            // The first band is read to its end before the next.
            if reads && spilled.count > 0 {
                reads = false;
                if !std::mem::replace(&mut spilled.taking, true) {
                    let channel = Arc::clone(&spilled.channel);
                    out.spool.push(SpoolJob::Take { channel, band: *band, limit: page });
                }
            }
        }
        self.spill.bands.retain(|_, band| band.count > 0 || band.taking);
    }

    /// Messages have come back from the temp store.
    pub(super) fn unspool(
        &mut self,
        band: u8,
        messages: Result<Vec<Spooled>, StoreError>,
        now: Now,
    ) {
        // A purge has dropped the band, and what was on its way from it.
        let Some(spilled) = self.spill.bands.get_mut(&band).filter(|band| band.taking) else {
            return;
        };
        spilled.taking = false;
        let messages = match messages {
            Ok(messages) => messages,
            Err(error) => {
                let destination = &self.context.destination;
                tracing::error!(%destination, %error, "messages cannot be read from the temp store");
                return;
            }
        };
        spilled.count = match messages.len() as u64 {
            0 => 0,
            taken => spilled.count.saturating_sub(taken),
        };
        for spooled in messages {
            self.insert_unstored(spooled, now);
        }
    }

    /// The temp store had no room for these: they stay in memory, whatever the limits say.
    pub(super) fn keep_after_all(&mut self, band: u8, messages: Vec<Spooled>, now: Now) {
        let Some(spilled) = self.spill.bands.get_mut(&band) else { return };
        spilled.count = spilled.count.saturating_sub(messages.len() as u64);
        for spooled in messages {
            self.insert_unstored(spooled, now);
        }
    }

    fn insert_unstored(&mut self, spooled: Spooled, now: Now) {
        let Spooled { sequence, redeliveries, message } = spooled;
        let bytes = (message.size() as u64).max(self.context.policy.minimum_message_bytes);
        self.context.usage.take(bytes);
        let entry = Entry { redeliveries, ..self.entry(message, sequence, bytes) };
        self.insert(entry, now);
    }

    /// Drops what is in the temp store.
    pub(super) fn clear_spill(&mut self) {
        self.counters.dequeued += self.spill.len();
        self.spill.bands.clear();
    }

    pub(super) fn page_limit(&self) -> PageLimit {
        let messages = self.context.policy.page_max.max(1).saturating_mul(PAGES);
        PageLimit { messages, bytes: PAGE_BYTES }
    }
}

/// Pages of `maxPageSize` read at a time: one read costs a wake-up of three threads.
const PAGES: usize = 5;
/// Bytes read at a time.
pub(super) const PAGE_BYTES: u64 = 1 << 20;
