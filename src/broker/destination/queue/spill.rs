//! Messages that are not stored and do not fit into memory: they wait in the temp store, in order.

use super::super::in_flight::Entry;
use super::super::tally::Tally;
use super::super::{Effects, Now, SpoolJob};
use super::Queue;
use super::paging::READ_RETRY;
use crate::broker::policy::Cursor;
use crate::broker::usage::{Credit, Spilling};
use crate::store::spool::{Channel, Spooled};
use crate::store::{PageLimit, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a queue has in the temp store.
#[derive(Debug, Default)]
pub(super) struct Spill {
    bands: BTreeMap<u8, Spilled>,
    /// Some of them may expire.
    expires: bool,
    /// They are to be looked at, whether or not somebody wants them.
    is_due: bool,
}

/// One band of it.
#[derive(Debug)]
struct Spilled {
    channel: Arc<Channel>,
    tally: Tally,
    /// Messages of this batch, and the memory they have until they are written.
    batch: Vec<Spooled>,
    holds: Vec<(Credit, Spilling)>,
}

impl Spill {
    /// Messages in the temp store, and those that found no room behind them.
    pub(super) fn len(&self) -> u64 {
        self.bands.values().map(|band| band.tally.len()).sum()
    }

    /// Has the first ones read as soon as memory has room for them, if any may expire. Returns whether any may.
    pub(super) fn check_expiry(&mut self) -> bool {
        self.is_due = self.expires;
        self.expires
    }

    /// Whether some of them are on their way back.
    pub(super) fn is_reading(&self) -> bool {
        self.bands.values().any(|band| band.tally.is_reading())
    }

    /// The band with this channel; none when it was purged.
    fn band(&mut self, band: u8, channel: u64) -> Option<&mut Spilled> {
        self.bands.get_mut(&band).filter(|spilled| spilled.channel.number() == channel)
    }
}

impl Queue {
    /// Keeps a message that no store has: in memory, or, behind others that are there or when memory is
    /// short, in the temp store.
    pub(super) fn keep_unstored(&mut self, entry: Entry, now: Now) {
        let waiting = self.spill.bands.get(&entry.band).is_some_and(|band| !band.tally.is_empty());
        let short = self.context.policy.cursor == Cursor::Store
            && self.context.usage.is_above(self.context.policy.cursor_high_water_percent);
        let spool = self.context.spool.as_ref().filter(|_| waiting || short);
        let Some(spool) = spool else { return self.insert(entry, now) };
        let band = self.spill.bands.entry(entry.band).or_insert_with(|| Spilled {
            channel: Arc::new(spool.channel()),
            tally: Tally::default(),
            batch: Vec::new(),
            holds: Vec::new(),
        });
        band.tally.add(1);
        let expires = entry.message.expiration > 0;
        let hold = Credit::taken(Arc::clone(&self.context.usage), entry.bytes);
        let spilling = hold.spilling();
        band.holds.push((hold, spilling));
        let Entry { message, sequence, redeliveries, .. } = entry;
        band.batch.push(Spooled { sequence, redeliveries, message });
        if expires {
            self.spill.expires = true;
            self.watch_expiry(now);
        }
    }

    /// Writes what this batch brought for the temp store, and reads on when consumers want more than
    /// memory has.
    pub(super) fn spill(&mut self, out: &mut Effects) {
        if self.spill.bands.is_empty() {
            (self.spill.expires, self.spill.is_due) = (false, false);
            return;
        }
        let page = self.page_limit();
        let wanting = self.consumers.hungry().next().is_some();
        let room = self.pending.len() < page.messages / 2
            || (wanting
                && !self.context.usage.is_above(self.context.policy.cursor_high_water_percent));
        // Without consumers what comes back may stay: no more than a page of it where memory is short.
        let is_due = std::mem::take(&mut self.spill.is_due)
            && (self.pending.is_empty()
                || !self.context.usage.is_above(self.context.policy.cursor_high_water_percent));
        let wanted = !self.consumers.is_empty() || is_due;
        let mut reads = room && self.retry_at.is_none() && wanted;
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
            if reads && !spilled.tally.is_empty() {
                reads = false;
                if spilled.tally.ask() {
                    let channel = Arc::clone(&spilled.channel);
                    out.spool.push(SpoolJob::Take { channel, band: *band, limit: page });
                }
            }
        }
        self.spill.bands.retain(|_, band| !band.tally.is_empty() || band.tally.is_reading());
    }

    /// Messages have come back from the temp store.
    pub(super) fn unspool(
        &mut self,
        channel: u64,
        band: u8,
        messages: Result<Vec<Spooled>, StoreError>,
        now: Now,
    ) {
        let Some(spilled) = self.spill.band(band, channel) else { return };
        match messages {
            Ok(messages) => {
                let taken = self.unspooled(messages);
                let Some(spilled) = self.spill.band(band, channel) else { return };
                for entry in spilled.tally.arrived(taken) {
                    self.insert(entry, now);
                }
            }
            Err(error) => {
                spilled.tally.failed();
                self.retry_at = Some(now.instant + READ_RETRY);
                let destination = &self.context.destination;
                tracing::error!(%destination, %error, "messages cannot be read from the temp store");
            }
        }
    }

    /// The temp store had no room for these: they stay in memory, whatever the limits say.
    pub(super) fn keep_after_all(
        &mut self,
        channel: u64,
        band: u8,
        messages: Vec<Spooled>,
        now: Now,
    ) {
        if self.spill.band(band, channel).is_none() {
            return;
        }
        let kept = self.unspooled(messages);
        let Some(spilled) = self.spill.band(band, channel) else { return };
        for entry in spilled.tally.refused(kept) {
            self.insert(entry, now);
        }
    }

    /// Messages in memory again.
    fn unspooled(&self, messages: Vec<Spooled>) -> Vec<Entry> {
        let entry = |spooled| {
            let Spooled { sequence, redeliveries, message } = spooled;
            let bytes = (message.size() as u64).max(self.context.policy.minimum_message_bytes);
            self.context.usage.take(bytes);
            Entry { redeliveries, ..self.entry(message, sequence, bytes) }
        };
        messages.into_iter().map(entry).collect()
    }

    /// Drops what is in the temp store. Returns what found no room there.
    pub(super) fn clear_spill(&mut self) -> Vec<Entry> {
        let bands = std::mem::take(&mut self.spill.bands).into_values();
        let behind: Vec<Entry> = bands
            .flat_map(|mut band| {
                let behind = band.tally.take_behind();
                self.counters.now.dequeued += band.tally.len();
                behind
            })
            .collect();
        behind
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
