//! Operations of one connection that are not handed over yet, those for one destination together.
//!
//! Their order is kept within each destination; between destinations there is none.

use super::super::destination::{DestinationHandle, OPS, Op};
use super::super::spare::{give_back, lend};
use std::cell::RefCell;
use std::sync::Arc;

/// What goes to one destination.
type Part = (Arc<DestinationHandle>, Vec<Op>);

thread_local! {
    static PARTS: RefCell<Vec<Vec<Part>>> = const { RefCell::new(Vec::new()) };
}

/// What one read of the connection brought, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
    /// The part that got the last operation: the next one is for the same, or goes round.
    last: usize,
    operations: usize,
    /// How many operations a part of the batch before had: about as many will come again.
    expected: usize,
}

/// Operations gathered before they go: bounds what one connection has under way.
const OPERATIONS_MAX: usize = 1024;

/// Destinations a batch is for, at most: they are searched one by one.
const PARTS_MAX: usize = 128;

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.operations >= OPERATIONS_MAX || self.parts.len() >= PARTS_MAX
    }

    pub(super) fn push(&mut self, handle: &Arc<DestinationHandle>, op: Op) {
        self.operations += 1;
        let count = self.parts.len();
        let is_its = |at: &usize| Arc::ptr_eq(&self.parts[*at].0, handle);
        let places = (0..count).map(|step| (self.last + step) % count);
        match places.into_iter().find(is_its) {
            Some(at) => {
                self.parts[at].1.push(op);
                self.last = at;
            }
            None => {
                let mut operations = Vec::new();
                lend(&OPS, &mut operations);
                operations.reserve(self.expected.max(1));
                operations.push(op);
                lend(&PARTS, &mut self.parts);
                self.parts.push((Arc::clone(handle), operations));
                self.last = count;
            }
        }
    }

    /// To be [given back](Self::give_back) when the parts have been handed over.
    pub(super) fn take(&mut self) -> Vec<Part> {
        self.expected = self.operations / self.parts.len().max(1);
        (self.last, self.operations) = (0, 0);
        std::mem::take(&mut self.parts)
    }

    /// The memory of a list that was [taken](Self::take) is for the next batch.
    pub(super) fn give_back(parts: Vec<Part>) {
        give_back(&PARTS, parts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::destination::fixture::handle;
    use super::*;
    use crate::jms::Destination;

    #[tokio::test]
    async fn operations_for_one_destination_stay_together_and_in_order() {
        let handles = ["A", "B", "C"].map(|name| handle(Destination::queue(name)));
        let mut batch = Batch::default();
        for number in [0, 1, 2, 0, 1, 2, 2, 0] {
            batch.push(&handles[number], Op::ConnectionClosed(number as u64));
        }
        let taken = batch.take();
        let counts: Vec<_> =
            taken.iter().map(|(h, ops)| (h.destination.name().to_owned(), ops.len())).collect();
        assert_eq!(counts, [("A".into(), 3), ("B".into(), 2), ("C".into(), 3)]);
        assert!(batch.is_empty() && !batch.is_full());
    }
}
