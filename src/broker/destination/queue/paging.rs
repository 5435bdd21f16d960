//! How pending messages come back from the store: pages for consumers and browsers, and those that expired.

use super::super::backlog::Place;
use super::super::in_flight::Entry;
use super::super::{Effects, Now, PageOf};
use super::spill::PAGE_BYTES;
use super::{Key, Queue};
use crate::store::{Fetch, Page, PageLimit, StoreError, StoredMessage};
use hashbrown::HashSet;
use std::time::Duration;

impl Queue {
    /// Reads on when consumers want more than memory has, or soon will.
    pub(super) fn page_in(&mut self, out: &mut Effects) {
        let idle = self.consumers.is_empty() || self.backlog.is_empty();
        if idle || self.reading_expired || self.retry_at.is_some() {
            return;
        }
        let wanted = self.consumers.unread(&self.backlog, true);
        let hungry = wanted.is_some();
        let Some(from) = wanted.or_else(|| self.consumers.unread(&self.backlog, false)) else {
            return;
        };
        let mut page = self.page_limit();
        if hungry && !self.backlog.is_reading() {
            self.make_room(page.messages);
        }
        let enough = self.pending.len() >= page.messages / 2;
        let full = !self.pending.is_empty() && self.context.is_short();
        let lazy = self.context.policy.lazy_dispatch;
        if !hungry && (enough || full || lazy) {
            return;
        }
        if lazy {
            let room = self.consumers.hungry().map(|subscription| subscription.room()).sum();
            page.messages = page.messages.min(room).max(1);
        }
        let Key { rank: band, sequence: after } = from;
        if self.backlog.read_above(band, after) {
            let destination = self.context.destination.clone();
            let fetch = Fetch::Queue { destination, band, after, limit: page };
            out.fetches.push((PageOf::Band(band), fetch));
        }
    }

    /// Whether messages are on their way that a consumer may want.
    pub(super) fn is_reading(&self) -> bool {
        self.is_paging() || self.spill.is_reading() || self.locked.is_reading()
    }

    /// Whether a page of the store is on its way.
    fn is_paging(&self) -> bool {
        self.backlog.is_reading() || self.reading_expired
    }

    /// A message leaves for good: no page brings it again.
    pub(super) fn forget_sequence(&mut self, sequence: i64) {
        if self.is_paging() {
            self.left.insert(sequence);
        }
        self.withheld.remove(&sequence);
    }

    /// Memory has `page` messages or more, and another page is to come: what all have judged is dropped, and when
    /// there is still much left, all that the store has. Those who had no room will read theirs again: not
    /// each time somebody else reads a page.
    fn make_room(&mut self, page: usize) {
        if self.pending.len() < page {
            return;
        }
        let judged = self.consumers.judged_by_all();
        if self.dropped_to < judged {
            self.drop_stored(self.dropped_to, judged);
            self.dropped_to = judged;
        }
        let pages = if self.context.is_short() { KEPT_SHORT } else { KEPT };
        let stays = self.undroppable.min(self.pending.len());
        if self.pending.len() - stays >= page.saturating_mul(pages) {
            self.drop_stored(Key::MIN, Key::MAX);
            self.dropped_to = Key::MAX;
            self.undroppable = self.pending.len();
        }
    }

    /// Drops from memory what is in the store as well. Messages that came back from a consumer stay, the store
    /// does not know that they did.
    fn drop_stored(&mut self, from: Key, until: Key) {
        let droppable = |entry: &Entry| !entry.came_back() && self.context.stores(&entry.message);
        let range = self.pending.range(from).take_while(|(key, _)| *key < until);
        let keys: Vec<Key> =
            range.filter(|(_, entry)| droppable(entry)).map(|(key, _)| key).collect();
        for run in keys.chunk_by(|one, other| one.rank == other.rank) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            self.backlog.skip_all(first.rank, first.sequence, last.sequence, run.len() as u64);
        }
        for key in keys {
            let Some(entry) = self.remove(key) else { continue };
            self.withheld.remove(&entry.sequence);
            self.context.usage.release(entry.bytes);
            self.backlog_expires |= entry.message.expiration > 0;
        }
    }

    /// A page has come.
    pub(super) fn paged(
        &mut self,
        of: PageOf,
        page: Result<Page, StoreError>,
        now: Now,
        out: &mut Effects,
    ) {
        let wanted = match of {
            PageOf::Band(_) => self.backlog.arrived(),
            PageOf::Expired => std::mem::take(&mut self.reading_expired),
            PageOf::Browser(_) | PageOf::Unlocked | PageOf::Jobs(_) => true,
        };
        match page {
            Ok(page) if wanted => self.take(of, page, now, out),
            Ok(_) => {}
            Err(error) => {
                let destination = &self.context.destination;
                tracing::error!(%destination, %error, "messages cannot be read from the store");
                self.retry_at = Some(now.instant + READ_RETRY);
                match of {
                    PageOf::Browser(key) => self.end_browse(key),
                    PageOf::Unlocked => self.unlock_later(),
                    PageOf::Band(_) | PageOf::Expired | PageOf::Jobs(_) => {}
                }
            }
        }
        if !self.is_paging() {
            self.left.clear();
            if std::mem::take(&mut self.expiry_waits) {
                self.read_expired(now, out);
            }
        }
    }

    fn take(&mut self, of: PageOf, page: Page, now: Now, out: &mut Effects) {
        match of {
            PageOf::Band(band) => self.take_page(band, page, now),
            PageOf::Expired => self.take_expired(page, out),
            PageOf::Browser(key) => self.page_browser(key, page),
            PageOf::Unlocked => self.take_unlocked(page, now),
            PageOf::Jobs(_) => {}
        }
    }

    fn take_page(&mut self, band: u8, page: Page, now: Now) {
        let known = match page.messages.first() {
            Some(first) if self.backlog.may_know(band, first.sequence) => self.known(),
            _ => self.apart().collect(),
        };
        let mut taken = page.damaged.len() as u64;
        for stored in page.messages {
            if !known.contains(&stored.sequence) {
                taken += 1;
                let mut entry = Entry { band, ..self.stored_entry(stored) };
                if self.context.is_above_mark() {
                    entry.bytes = 0;
                }
                self.context.usage.take(entry.bytes);
                self.put(entry, now);
            }
        }
        self.backlog.page(band, taken, page.last, page.end);
    }

    /// Sequences of all stored messages that pages must not bring.
    pub(super) fn known(&self) -> HashSet<i64> {
        let held = self.consumers.iter().flat_map(|s| s.in_flight.iter());
        let held = held.map(|held| held.entry.sequence);
        let orphans = self.orphans.iter().map(|(_, entry)| entry.sequence);
        let pending = self.pending.keys().map(|key| key.sequence);
        held.chain(orphans).chain(pending).chain(self.apart()).collect()
    }

    /// Sequences of stored messages that are neither pending nor with a consumer.
    fn apart(&self) -> impl Iterator<Item = i64> {
        let dying = self.dying.keys();
        self.withheld.iter().chain(&self.left).chain(dying).copied()
    }

    pub(super) fn stored_entry(&self, stored: StoredMessage) -> Entry {
        let bytes = (stored.message.size() as u64).max(self.context.policy.minimum_message_bytes);
        self.entry(stored.message, stored.sequence, bytes)
    }

    /// Looks for messages of the backlog that are past their time.
    pub(super) fn read_expired(&mut self, now: Now, out: &mut Effects) {
        let waits = self.is_paging() || self.more_expired || self.retry_at.is_some();
        if !self.backlog_expires || waits {
            self.expiry_waits = self.backlog_expires && self.is_paging();
            return;
        }
        if self.backlog.is_empty() {
            self.backlog_expires = false;
            return;
        }
        self.reading_expired = true;
        let messages = self.context.policy.expire_page_max.max(1);
        let fetch = Fetch::Expired {
            destination: self.context.destination.clone(),
            now_ms: now.wall_ms,
            limit: PageLimit { messages, bytes: PAGE_BYTES },
        };
        out.fetches.push((PageOf::Expired, fetch));
    }

    fn take_expired(&mut self, page: Page, out: &mut Effects) {
        let known = self.known();
        for stored in page.messages {
            if !known.contains(&stored.sequence) {
                // It takes no memory.
                let entry = Entry { bytes: 0, ..self.stored_entry(stored) };
                self.backlog.gone(entry.band);
                self.expired(entry, None, out);
            }
        }
        // The next page is read when these are gone, or it would bring them again.
        self.more_expired = !page.end && !self.dying.is_empty();
    }

    /// The store had no room for these: their senders were told, they must not be delivered.
    pub(super) fn take_back(&mut self, sequences: &[i64]) {
        let lost: HashSet<i64> =
            sequences.iter().copied().filter(|s| !self.withheld.contains(s)).collect();
        let keys: Vec<Key> =
            self.pending.keys().filter(|key| lost.contains(&key.sequence)).collect();
        let held: HashSet<i64> = self
            .consumers
            .iter()
            .flat_map(|subscription| subscription.in_flight.iter())
            .map(|held| held.entry.sequence)
            .collect();
        let dispatched = lost.iter().filter(|sequence| held.contains(*sequence)).count();
        let stored = lost.len().saturating_sub(keys.len() + dispatched);
        let band = self.backlog.first().unwrap_or(0);
        (0..stored).for_each(|_| self.backlog.gone(band));
        for key in keys {
            if let Some(entry) = self.remove(key) {
                self.context.usage.release(entry.bytes);
                if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
                    audit.forget(id);
                }
            }
        }
    }

    /// Messages that were to be stored first are, or could not be.
    pub(super) fn stored(
        &mut self,
        entries: Vec<Entry>,
        stored: bool,
        now: Now,
        out: &mut Effects,
    ) {
        for entry in entries {
            self.withheld.remove(&entry.sequence);
            let purged = self.purged.remove(&entry.sequence);
            if purged && stored {
                out.removals.push(self.removal(entry.sequence));
            } else if stored {
                self.enter_stored(entry, now);
                continue;
            }
            self.context.usage.release(entry.bytes);
            if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
                audit.forget(id);
            }
        }
    }

    /// A message that is in the store already becomes pending.
    pub(super) fn enter_stored(&mut self, entry: Entry, now: Now) {
        match self.place(&entry) {
            Place::Memory => self.put(entry, now),
            Place::Store => {
                self.leave_in_store(&entry, now);
                self.context.usage.release(entry.bytes);
            }
        }
    }
}

/// How long to wait after messages could not be read.
pub(super) const READ_RETRY: Duration = Duration::from_secs(1);

/// Pages that memory may hold, while there is enough of it, before it is emptied for another one. Consumers
/// whose next messages are far apart have a page each.
const KEPT: usize = 8;
/// While there is not.
const KEPT_SHORT: usize = 2;
