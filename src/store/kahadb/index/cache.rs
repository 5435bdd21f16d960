//! The page cache: what was read lately, up to a number of bytes.
//!
//! CLOCK: the hand goes round, takes a page that was not used since it last came by, and lets the
//! others off once. Pages are immutable; a reader keeps the one it holds even when it is evicted.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::page::{Page, PageNumber};

#[derive(Debug)]
pub(super) struct Cache {
    inner: Mutex<Clock>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Clock {
    places: HashMap<PageNumber, usize>,
    slots: Vec<Slot>,
    hand: usize,
    /// The checkpoint whose pages are being or have been written in place.
    settled: u64,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Slot {
    page: Arc<Page>,
    used: bool,
}

impl Cache {
    /// A cache of at most `capacity` pages, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { inner: Mutex::default(), capacity: capacity.max(1) }
    }

    pub(super) fn get(&self, number: PageNumber) -> Option<Arc<Page>> {
        let clock = &mut *self.inner.lock();
        let Some(&place) = clock.places.get(&number) else {
            clock.misses += 1;
            return None;
        };
        clock.hits += 1;
        let slot = &mut clock.slots[place];
        slot.used = true;
        Some(Arc::clone(&slot.page))
    }

    /// Keeps a page that was read for the version of checkpoint `at`.
    ///
    /// Refused if pages of a later checkpoint are in place by now: this one may have been replaced
    /// between being read and arriving here.
    pub(super) fn keep(&self, page: Arc<Page>, at: u64) {
        let clock = &mut *self.inner.lock();
        if at >= clock.settled {
            clock.put(page, self.capacity);
        }
    }

    /// From now on pages are those of checkpoint `settled`; `replaced` says what became of the
    /// pages it wrote (`None`: not at hand).
    pub(super) fn settle(
        &self,
        settled: u64,
        replaced: impl Iterator<Item = (PageNumber, Option<Arc<Page>>)>,
    ) {
        let clock = &mut *self.inner.lock();
        clock.settled = settled;
        for (number, page) in replaced {
            match page {
                Some(page) => clock.put(page, self.capacity),
                None => clock.remove(number),
            }
        }
    }

    /// Pages, hits, misses.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        let clock = self.inner.lock();
        (clock.slots.len(), clock.hits, clock.misses)
    }
}

impl Clock {
    fn put(&mut self, page: Arc<Page>, capacity: usize) {
        let number = page.number();
        if let Some(&place) = self.places.get(&number) {
            self.slots[place].page = page;
            return;
        }
        if self.slots.len() < capacity {
            self.places.insert(number, self.slots.len());
            self.slots.push(Slot { page, used: false });
            return;
        }
        while std::mem::take(&mut self.slots[self.hand].used) {
            self.advance();
        }
        let slot = &mut self.slots[self.hand];
        self.places.remove(&slot.page.number());
        self.places.insert(number, self.hand);
        slot.page = page;
        self.advance();
    }

    fn advance(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len();
    }

    fn remove(&mut self, number: PageNumber) {
        let Some(place) = self.places.remove(&number) else { return };
        self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(moved.page.number(), place);
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{Kind, PageBuilder};
    use super::*;

    fn page(number: PageNumber, checkpoint: u64) -> Arc<Page> {
        Arc::new(PageBuilder::new(512, Kind::Leaf, &[]).finish(number, checkpoint))
    }

    #[test]
    fn the_cache_keeps_its_size_and_the_pages_in_use() {
        let cache = Cache::new(10);
        for number in 1..1000 {
            cache.keep(page(number, 1), 1);
            assert!(cache.get(1).is_some(), "used all the time");
            assert!(cache.counts().0 <= 10);
        }
        assert!(cache.get(2).is_none());
        let gone = (1..=999).map(|number| (number, None));
        cache.settle(2, gone);
        assert_eq!(cache.counts().0, 0);
    }

    /// A reader was interrupted between reading a page and keeping it.
    #[test]
    fn a_page_of_an_older_version_does_not_take_the_place_of_its_successor() {
        let cache = Cache::new(10);
        cache.settle(2, [(7, Some(page(7, 2))), (8, None)].into_iter());
        cache.keep(page(7, 1), 1);
        cache.keep(page(8, 1), 1);
        assert_eq!(cache.get(7).expect("the new one").checkpoint(), 2);
        assert!(cache.get(8).is_none());
        cache.keep(page(8, 1), 2);
        assert!(cache.get(8).is_some(), "unchanged since checkpoint 1");
    }
}
