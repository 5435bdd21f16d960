//! One page of a durable subscription whose topics lie in several stores.

use crate::store::{FetchDone, Page, PageLimit, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;

/// Puts the pages of several stores together when the last one is there.
pub(super) struct Merge {
    limit: PageLimit,
    state: Mutex<State>,
}

struct State {
    /// Pages that are missing.
    left: usize,
    pages: Vec<Page>,
    failed: Option<StoreError>,
    done: Option<FetchDone>,
}

impl Merge {
    /// Waits for `count` pages, each of which was fetched with `limit` from the same place.
    pub(super) fn of(count: usize, limit: PageLimit, done: FetchDone) -> Arc<Self> {
        let state = State { left: count, pages: Vec::new(), failed: None, done: Some(done) };
        Arc::new(Self { limit, state: Mutex::new(state) })
    }

    pub(super) fn page(&self, page: Result<Page, StoreError>) {
        let (pages, failed, done) = {
            let mut state = self.state.lock();
            match page {
                Ok(page) => state.pages.push(page),
                Err(error) => state.failed = Some(error),
            }
            state.left -= 1;
            if state.left > 0 {
                return;
            }
            (std::mem::take(&mut state.pages), state.failed.take(), state.done.take())
        };
        if let Some(done) = done {
            done(failed.map_or_else(|| Ok(merged(pages, self.limit)), Err));
        }
    }
}

fn merged(pages: Vec<Page>, limit: PageLimit) -> Page {
    // Of a page that is not the end nothing is known behind its last message.
    let known = pages.iter().filter(|page| !page.end).map(|page| page.last.unwrap_or(i64::MIN));
    let known = known.min();
    let looked_at = known.or_else(|| pages.iter().filter_map(|page| page.last).max());
    let (mut messages, mut damaged, mut left) = (Vec::new(), Vec::new(), Some(0));
    for page in pages {
        let there = page.messages.len() + page.damaged.len();
        left = left.zip(page.behind).map(|(left, behind)| left + behind + there as u64);
        messages.extend(page.messages);
        damaged.extend(page.damaged);
    }
    messages.sort_unstable_by_key(|stored| stored.sequence);
    damaged.sort_unstable();
    let (mut out, mut bytes, mut count) = (Page::default(), 0, 0);
    let mut messages = messages.into_iter().peekable();
    let mut damaged = damaged.into_iter().peekable();
    loop {
        out.behind = left.map(|left| left.saturating_sub(count as u64));
        let is_damaged = match (messages.peek(), damaged.peek()) {
            (Some(stored), Some(lost)) => *lost < stored.sequence,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => {
                out.end = known.is_none();
                out.last = looked_at;
                return out;
            }
        };
        let next = if is_damaged {
            damaged.peek().copied()
        } else {
            messages.peek().map(|stored| stored.sequence)
        };
        if known.is_some_and(|known| next > Some(known)) {
            out.last = known;
            return out;
        }
        if count >= limit.messages.max(1) || count > 0 && bytes >= limit.bytes {
            return out; // there is more
        }
        count += 1;
        out.last = next;
        if is_damaged {
            out.damaged.extend(damaged.next());
        } else if let Some(stored) = messages.next() {
            bytes += stored.message.size() as u64;
            out.messages.push(stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::Message;
    use crate::store::StoredMessage;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A store's page of what it has: sequence, and whether it can be read.
    fn page(kept: &BTreeMap<i64, bool>, after: i64, limit: usize) -> Page {
        let mut page = Page::default();
        for (sequence, is_sound) in kept.range(after + 1..).take(limit) {
            let message = Arc::new(Message::default());
            match is_sound {
                true => page.messages.push(StoredMessage { sequence: *sequence, message }),
                false => page.damaged.push(*sequence),
            }
            page.last = Some(*sequence);
        }
        let behind = page.last.map_or(0, |last| kept.range(last + 1..).count());
        (page.end, page.behind) = (behind == 0, Some(behind as u64));
        page
    }

    proptest! {
        #[test]
        fn pages_of_several_stores_are_read_as_those_of_one(
            kept in prop::collection::btree_map(0..60_i64, (0..3_usize, any::<bool>()), 0..40),
            limit in 1..6_usize, bytes in 1..4_u64,
        ) {
            let mut stores = vec![BTreeMap::new(); 3];
            for (sequence, (store, is_sound)) in &kept {
                stores[*store].insert(*sequence, *is_sound);
            }
            let limits =
                PageLimit { messages: limit, bytes: bytes * Message::default().size() as u64 };
            let (mut seen, mut after) = (BTreeMap::new(), -1);
            loop {
                let pages = stores.iter().map(|store| page(store, after, limit)).collect();
                let page = merged(pages, limits);
                prop_assert!(page.messages.len() + page.damaged.len() <= limit);
                let sound = page.messages.iter().map(|stored| (stored.sequence, true));
                for (sequence, is_sound) in sound.chain(page.damaged.iter().map(|s| (*s, false))) {
                    prop_assert!(sequence > after && Some(sequence) <= page.last);
                    seen.insert(sequence, is_sound);
                }
                prop_assert!(page.messages.is_sorted_by_key(|stored| stored.sequence));
                let behind = kept.range(page.last.unwrap_or(after) + 1..).count();
                prop_assert_eq!(page.behind, Some(behind as u64));
                if page.end {
                    break;
                }
                prop_assert!(page.last > Some(after), "it goes on");
                after = page.last.unwrap();
            }
            let expected: BTreeMap<i64, bool> = kept.into_iter().map(|(s, (_, ok))| (s, ok)).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
