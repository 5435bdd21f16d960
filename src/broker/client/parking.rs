//! Sends of one connection that wait in destinations that are full: where, and how much they hold.

use super::super::destination::DestinationHandle;
use super::super::usage::{Credit, Usage};
use std::sync::Arc;

/// What the connection has parked.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// All of it; none as long as nothing was.
    all: Option<Arc<Usage>>,
    lots: Vec<Lot>,
}

/// What it has, or had, parked in one destination.
#[derive(Debug)]
struct Lot {
    handle: Arc<DestinationHandle>,
    waiting: Arc<Usage>,
}

impl Parking {
    /// What waits in `handle`, if anything does.
    pub(super) fn waiting(&self, handle: &Arc<DestinationHandle>) -> Option<Arc<Usage>> {
        let lot = self.lots.iter().find(|lot| Arc::ptr_eq(&lot.handle, handle))?;
        (lot.waiting.used() > 0).then(|| Arc::clone(&lot.waiting))
    }

    /// Whether no more may be parked for now.
    pub(super) fn is_full(&self) -> bool {
        self.all.as_ref().is_some_and(|all| all.full().is_some())
    }

    /// Waits until more may be parked.
    pub(super) async fn room(&self) {
        if let Some(all) = &self.all {
            all.acquire(0).await;
        }
    }

    /// The place of a send of `bytes` that is parked in `handle`.
    pub(super) fn park(&mut self, handle: &Arc<DestinationHandle>, bytes: u64) -> Credit {
        let known = self.lots.iter().find(|lot| Arc::ptr_eq(&lot.handle, handle));
        let waiting = match known {
            Some(lot) => Arc::clone(&lot.waiting),
            None => {
                self.lots.retain(|lot| !lot.handle.is_gone());
                // Full as soon as something waits: who waits for room waits for all of it to get in.
                let all = self.all.get_or_insert_with(|| Usage::new(PARKED_BYTES_MAX, None));
                let waiting = Usage::new(1, Some(Arc::clone(all)));
                let lot = Lot { handle: Arc::clone(handle), waiting: Arc::clone(&waiting) };
                self.lots.push(lot);
                waiting
            }
        };
        let bytes = bytes.max(1);
        waiting.take(bytes);
        Credit::taken(waiting, bytes)
    }

    /// Where something may be parked; it is not known any more.
    pub(super) fn take_lots(&mut self) -> impl Iterator<Item = Arc<DestinationHandle>> {
        std::mem::take(&mut self.lots).into_iter().map(|lot| lot.handle)
    }
}

/// Bytes one connection may have parked, passed by one message at most: they are in no destination's
/// memory. Then it is not read until some of it is in.
const PARKED_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::destination::fixture::handle;
    use super::*;
    use crate::jms::Destination;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[tokio::test]
    async fn what_is_parked_is_bounded_and_known_until_it_is_in() {
        let (mut parking, a, b) =
            (Parking::default(), handle(Destination::queue("A")), handle(Destination::queue("B")));
        let mut cx = Context::from_waker(Waker::noop());
        let first = parking.park(&a, PARKED_BYTES_MAX - 1);
        assert!(!parking.is_full() && parking.waiting(&b).is_none());
        let second = parking.park(&b, 0);
        assert!(parking.is_full());
        let waiting = parking.waiting(&a).expect("the first one waits there");
        let all = parking.all.clone().expect("something is parked");
        let (mut room, mut behind) = (pin!(all.acquire(0)), pin!(waiting.acquire(0)));
        assert!(room.as_mut().poll(&mut cx).is_pending());
        assert!(behind.as_mut().poll(&mut cx).is_pending());
        drop(second);
        assert!(room.as_mut().poll(&mut cx).is_ready());
        assert!(behind.as_mut().poll(&mut cx).is_pending(), "the first one is not in");
        drop(first);
        assert!(behind.as_mut().poll(&mut cx).is_ready());
        assert!(parking.waiting(&a).is_none());
        assert_eq!(parking.take_lots().count(), 2);
    }
}
