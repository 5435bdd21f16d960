//! Queue browsers: they see what is there when they come and take nothing.

use super::super::{Effects, PageOf};
use super::{Key, NewSubscription, Queue};
use crate::broker::candidate::Candidate;
use crate::broker::destination::in_flight::Entry;
use crate::broker::destination::report::SubscriptionReport;
use crate::broker::outbox::{Delivery, Item, SubscriptionKey};
use crate::broker::usage::{Credit, Usage};
use crate::store::{Fetch, Page, PageLimit};
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One browser and what it has yet to see.
#[derive(Debug)]
pub(super) struct Browser {
    new: NewSubscription,
    page: VecDeque<Entry>,
    /// How many more it may see beyond those.
    left: usize,
    /// A page is being read for it.
    reading: bool,
    /// What was read for it and is not written to its connection yet.
    memory: Arc<Usage>,
    /// It is to be woken when some of that is written.
    waits: Arc<AtomicBool>,
    /// Messages asked for without prefetch and not sent yet.
    pulls: usize,
    /// Messages sent and not acknowledged.
    in_flight: u64,
    /// Messages sent.
    dispatched: u64,
    /// What was in memory when it came, which it has seen or need not see.
    seen: HashSet<i64>,
    /// What is still to be read from the store: (band, sequence to read above), last one first.
    unread: Vec<(u8, i64)>,
    /// The end was told.
    finished: bool,
}

impl Browser {
    pub(super) fn key(&self) -> SubscriptionKey {
        self.new.key
    }

    /// The client has seen `messages` of them: as many more may be sent.
    pub(super) fn acknowledged(&mut self, messages: i32) {
        let messages = messages.max(0);
        self.new.window.settle(messages);
        self.in_flight = self.in_flight.saturating_sub(messages.unsigned_abs().into());
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn report(&self) -> SubscriptionReport {
        self.new.report(self.dispatched, 0, self.in_flight)
    }

    /// The client asks for one message, or to be told that there are no more.
    pub(super) fn pull(&mut self) {
        if self.new.window.prefetch() == 0 {
            self.pulls = self.pulls.saturating_add(1);
        }
    }

    fn has_room(&self) -> bool {
        self.pulls > 0 || self.new.window.has_room()
    }

    /// Ends the browse early.
    pub(super) fn finish(&mut self) {
        self.page.clear();
        self.unread.clear();
    }

    /// A message that was read for it, as long as it has it.
    fn hold(&self, entry: Entry) -> Entry {
        self.memory.take(entry.bytes);
        let hold = Credit::taken(Arc::clone(&self.memory), entry.bytes);
        Entry { hold: Some(Arc::new(hold)), ..entry }
    }
}

impl Queue {
    /// Takes the picture a new browser sees: dispatched and pending messages in order, at most
    /// `maxBrowsePageSize` of them. With 0 nothing is read for it, and it sees all that was for consumers.
    pub(super) fn browse(&mut self, new: NewSubscription) {
        let max = self.context.policy.browse_page_max;
        let (most, last) = if max == 0 { (usize::MAX, self.given_max) } else { (max, Key::MAX) };
        let held = self.consumers.iter().flat_map(|subscription| {
            let held = subscription.in_flight.iter();
            held.filter(|held| held.transaction.is_none() && !held.purged)
        });
        let pending = self.pending.range(Key::MIN).take_while(|(key, _)| *key <= last);
        let pending = pending.map(|(_, entry)| entry).take(most);
        let mut page: Vec<&Entry> = held.map(|held| &held.entry).chain(pending).collect();
        page.sort_by_key(|entry| Key::of(entry));
        let page: VecDeque<Entry> =
            page.into_iter().filter(|entry| sees(&new, entry)).take(most).cloned().collect();
        let mut unread = self.backlog.unread();
        unread.reverse();
        let seen = if unread.is_empty() { HashSet::new() } else { self.known() };
        self.browsers.push(Browser {
            new,
            left: max.saturating_sub(page.len()),
            page,
            reading: false,
            memory: Usage::new(BROWSE_BYTES, Some(Arc::clone(&self.context.usage))),
            waits: Arc::default(),
            pulls: 0,
            in_flight: 0,
            dispatched: 0,
            seen,
            unread,
            finished: false,
        });
    }

    /// Asks the store for what browsers have yet to see: what came before is sent, and most of it written.
    fn read_for_browsers(&mut self, out: &mut Effects) {
        let (context, browsers) = (&self.context, &mut self.browsers);
        for browser in browsers.iter_mut().filter(|b| !b.reading && b.page.is_empty()) {
            if browser.left == 0 {
                browser.unread.clear();
            }
            let Some((band, after)) = browser.unread.last().copied() else { continue };
            if !browser.has_room() {
                continue;
            }
            if browser.memory.is_full() {
                if !browser.waits.swap(true, Ordering::SeqCst) {
                    let (waits, wake) = (Arc::clone(&browser.waits), Arc::clone(&context.wake));
                    browser.memory.when_room_here(move || {
                        waits.store(false, Ordering::SeqCst);
                        wake();
                    });
                }
                continue;
            }
            browser.reading = true;
            let destination = context.destination.clone();
            let limit = PageLimit { messages: browser.left, bytes: BROWSE_BYTES };
            let fetch = Fetch::Queue { destination, band, after, limit };
            out.fetches.push((PageOf::Browser(browser.key()), fetch));
        }
    }

    /// What a browser has yet to see cannot be read.
    pub(super) fn end_browse(&mut self, key: SubscriptionKey) {
        if let Some(browser) = self.browsers.iter_mut().find(|browser| browser.key() == key) {
            browser.reading = false;
            browser.unread.clear();
        }
    }

    /// What was read for a browser has come.
    pub(super) fn page_browser(&mut self, key: SubscriptionKey, page: Page) {
        let (last, end) = (page.last, page.end);
        let Some(browser) = self.browsers.iter().find(|browser| browser.key() == key) else {
            return;
        };
        let new: Vec<Entry> = page
            .messages
            .into_iter()
            .filter(|stored| {
                let sequence = stored.sequence;
                !browser.seen.contains(&sequence) && !self.withheld.contains(&sequence)
            })
            .map(|stored| self.stored_entry(stored))
            .collect();
        if let Some(browser) = self.browsers.iter_mut().find(|browser| browser.key() == key) {
            browser.reading = false;
            let seen = new.into_iter().filter(|entry| sees(&browser.new, entry));
            let seen: Vec<Entry> =
                seen.take(browser.left).map(|entry| browser.hold(entry)).collect();
            browser.left -= seen.len();
            browser.page.extend(seen);
            match browser.unread.last_mut() {
                Some((_, after)) if !end && last.is_some() => *after = last.unwrap_or(*after),
                _ => drop(browser.unread.pop()),
            }
        }
    }

    /// Sends browsers what their windows allow, and the end after the last message.
    pub(super) fn page_browsers(&mut self, out: &mut Effects) {
        self.send_to_browsers();
        self.read_for_browsers(out);
        // Where there is nothing to read after all, this is the end.
        self.send_to_browsers();
        for browser in self.browsers.iter().filter(|browser| browser.new.source.is_some()) {
            if browser.has_room() {
                browser.new.window.pass_on();
            } else if !browser.finished {
                browser.new.window.wait(&self.context.wake);
            }
        }
    }

    fn send_to_browsers(&mut self) {
        let (destination, mut sent) = (&self.context.destination, 0);
        let waiting = |browser: &&mut Browser| !browser.finished || browser.pulls > 0;
        for browser in self.browsers.iter_mut().filter(waiting) {
            let mut items = Vec::new();
            let blank = |browser: &Browser| Delivery {
                subscription: browser.new.key,
                consumer: Arc::clone(&browser.new.info),
                destination: destination.clone(),
                message: None,
                sequence: 0,
                redeliveries: 0,
                group_first: false,
                hold: None,
                source: browser.new.source,
            };
            while browser.has_room()
                && let Some(entry) = browser.page.pop_front()
            {
                browser.pulls = browser.pulls.saturating_sub(1);
                browser.new.window.add(1);
                items.push(Item::Delivery(Delivery {
                    sequence: entry.sequence,
                    redeliveries: entry.redeliveries,
                    message: Some(entry.message),
                    hold: entry.hold,
                    ..blank(browser)
                }));
            }
            let seen = items.len() as u64;
            if browser.page.is_empty() && browser.unread.is_empty() {
                let end = usize::from(!std::mem::replace(&mut browser.finished, true));
                let answers = end.max(std::mem::take(&mut browser.pulls));
                items.extend((0..answers).map(|_| Item::Delivery(blank(browser))));
            }
            browser.in_flight += seen;
            browser.dispatched += seen;
            sent += seen;
            browser.new.outbox.push_all(&mut items);
        }
        self.counters.now.dispatched += sent;
    }
}

fn sees(new: &NewSubscription, entry: &Entry) -> bool {
    let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
    super::super::accepts(&new.info, new.selector.as_ref(), &candidate)
}

/// Bytes read for a browser at a time.
const BROWSE_BYTES: u64 = 1 << 20;
