//! The disk space of the stores of an `<mKahaDB>`: each below its own limit (`usage`) and that of all.

use crate::broker::usage::Usage;
use crate::jms::Destination;
use crate::store::kahadb::multi::MultiOptions;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What each store uses, by the names of their folders.
#[derive(Debug)]
pub(super) struct Shares {
    all: Arc<Usage>,
    parts: Mutex<HashMap<String, Arc<Usage>>>,
}

impl Shares {
    /// None of them uses anything yet.
    pub(super) fn new(all: Arc<Usage>) -> Self {
        Self { all, parts: Mutex::default() }
    }

    /// That of the store in the folder `part`.
    pub(super) fn of_part(&self, part: &str) -> Arc<Usage> {
        let mut parts = self.parts.lock();
        match parts.get(part) {
            Some(usage) => Arc::clone(usage),
            None => {
                let usage = Usage::new(0, Some(Arc::clone(&self.all)));
                parts.insert(part.to_owned(), Arc::clone(&usage));
                usage
            }
        }
    }

    /// That of the store that `destination` belongs to. Where messages are in another one since the filters
    /// changed, it is the limit of the one they are to be in that counts.
    pub(super) fn of_destination(
        &self,
        destination: &Destination,
        options: &MultiOptions,
    ) -> Arc<Usage> {
        let (part, limit_bytes) = options.part_for(destination);
        let usage = self.of_part(&part);
        usage.set_limit(limit_bytes);
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::kahadb::KahaDbOptions;
    use crate::store::kahadb::multi::FilteredStore;

    #[test]
    fn each_store_has_its_own_limit_below_that_of_all() {
        let filtered = |pattern: &str, per_destination, limit_bytes| FilteredStore {
            filter: Some(Destination::queue(pattern)),
            per_destination,
            options: KahaDbOptions::default(),
            limit_bytes,
        };
        let stores = vec![filtered("A.>", false, 100), filtered("B.>", true, 50)];
        let options = MultiOptions { stores, ..MultiOptions::default() };
        let all = Usage::new(1000, None);
        let shares = Shares::new(Arc::clone(&all));
        // A store may tell what it uses before anybody sends to it.
        shares.of_part("queue#3a#2f#2fA.#3e").set_used(100);
        let of = |name: &str| shares.of_destination(&Destination::queue(name), &options);
        let is_full = |name: &str| of(name).full().is_some();
        assert!(is_full("A.x") && is_full("A.y"));
        assert!(!is_full("B.x") && !is_full("other"));
        of("B.x").set_used(50);
        assert!(is_full("B.x") && !is_full("B.y"), "each destination has a store of its own");
        all.set_used(1000);
        assert!(is_full("B.y") && is_full("other"));
    }
}
