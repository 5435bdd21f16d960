//! What an `<mKahaDB>` is told: its stores, and which destinations are whose.

use super::folder;
use crate::jms::{Destination, wildcard};
use crate::store::StoredSubscription;
use crate::store::kahadb::KahaDbOptions;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Options of `<mKahaDB>`. Stores are folders in the `directory` of their options.
#[derive(Clone, Debug, Default)]
pub struct MultiOptions {
    /// `filteredPersistenceAdapters`.
    pub stores: Vec<FilteredStore>,
    /// The store of destinations that none of `stores` is for; made when there are any.
    pub rest: KahaDbOptions,
    /// The store of what lies in several, `txStore`.
    pub transactions: KahaDbOptions,
}

/// `<filteredKahaDB>`.
#[derive(Clone, Debug)]
pub struct FilteredStore {
    /// `queue` or `topic`: a name or pattern, or several with commas. None: all that no other has.
    pub filter: Option<Destination>,
    /// `perDestination`: a store for each of them, made when it is first used.
    pub per_destination: bool,
    pub options: KahaDbOptions,
    /// `usage`: what each of its stores may use, bytes; 0 is no limit of its own.
    pub limit_bytes: u64,
}

/// A store by the name of its folder, and its options there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) options: KahaDbOptions,
    /// What it may use, bytes; 0 is no limit of its own.
    pub(super) limit_bytes: u64,
}

impl MultiOptions {
    /// Where a destination is kept that is not anywhere yet: by the most specific filter, the last
    /// one of equals.
    pub(super) fn place_of(&self, destination: &Destination) -> Place {
        let (store, options) = self.options_for(destination);
        let own = match store {
            Some(store) if store.per_destination => folder::name_of(destination),
            _ => None,
        };
        let name = own.or_else(|| store.and_then(FilteredStore::name));
        let limit_bytes = store.map_or(0, |store| store.limit_bytes);
        place(name.unwrap_or_else(|| folder::REST.to_owned()), options, limit_bytes)
    }

    /// Where a destination belongs, by the name of the folder, and what that store may use, bytes; 0 is no
    /// limit of its own.
    pub fn part_for(&self, destination: &Destination) -> (String, u64) {
        let Place { name, limit_bytes, .. } = self.place_of(destination);
        (name, limit_bytes)
    }

    fn options_for(&self, destination: &Destination) -> (Option<&FilteredStore>, &KahaDbOptions) {
        let covering =
            self.stores.iter().filter_map(|store| Some((store.best(destination)?, store)));
        let best = covering.max_by(|(a, _), (b, _)| wildcard::by_specificity(a, b));
        let store = best
            .map(|(_, store)| store)
            .or_else(|| self.stores.iter().rfind(|store| store.filter.is_none()));
        (store, store.map_or(&self.rest, |store| &store.options))
    }

    /// The stores that are there from the start.
    pub(super) fn fixed(&self) -> impl Iterator<Item = Place> {
        let fixed = self.stores.iter().filter(|store| !store.per_destination);
        fixed.map(|store| {
            let name = store.name().unwrap_or_else(|| folder::REST.to_owned());
            place(name, &store.options, store.limit_bytes)
        })
    }

    /// Whether the folder `name` is one of those that come into being with a destination.
    pub(super) fn is_of_a_destination(&self, name: &str) -> bool {
        folder::destination_in(name).is_some() && self.fixed().all(|fixed| fixed.name != name)
    }

    /// The store whose folder `name` was found in `base`.
    pub(super) fn place_in(&self, base: &Path, name: &str) -> Place {
        let same = self.stores.iter().rfind(|store| store.name().as_deref() == Some(name));
        let (store, options) = match (same, folder::destination_in(name)) {
            (Some(store), _) => (Some(store), &store.options),
            (None, Some(destination)) => self.options_for(&destination),
            (None, None) => (None, &self.rest),
        };
        let limit_bytes = store.map_or(0, |store| store.limit_bytes);
        let options = KahaDbOptions { directory: base.to_owned(), ..options.clone() };
        place(name.to_owned(), &options, limit_bytes)
    }

    pub(super) fn transactions(&self) -> Place {
        place(folder::TRANSACTIONS.to_owned(), &self.transactions, 0)
    }

    /// Folders with stores in them.
    pub(super) fn bases(&self) -> BTreeSet<PathBuf> {
        let all = self.stores.iter().map(|store| &store.options);
        let all = all.chain([&self.rest, &self.transactions]);
        all.map(|options| options.directory.clone()).collect()
    }
}

impl Place {
    /// Whether the store may have topics that the subscription is for.
    pub(super) fn hears(&self, subscription: &StoredSubscription) -> bool {
        let Some(kept) = folder::destination_in(&self.name) else { return true };
        let heard = subscription.destination.parts();
        kept.parts().iter().filter(|part| !part.kind().is_queue()).any(|topic| {
            let covers = |part: &Destination| wildcard::matches(part.name(), topic.name());
            topic.is_pattern() || heard.iter().any(covers)
        })
    }
}

impl FilteredStore {
    /// The most specific part of the filter that covers the destination.
    fn best(&self, destination: &Destination) -> Option<String> {
        let parts = self.filter.as_ref()?.parts();
        let covering = parts.iter().filter(|part| {
            part.kind() == destination.kind() && wildcard::matches(part.name(), destination.name())
        });
        let best = covering.max_by(|a, b| wildcard::by_specificity(a.name(), b.name()));
        best.map(|part| part.name().to_owned())
    }

    /// Of its folder, unless every destination has its own. A filter that is too long shares the
    /// folder of the rest.
    fn name(&self) -> Option<String> {
        folder::name_of(self.filter.as_ref()?)
    }
}

/// `options` for the store `name` below their directories.
fn place(name: String, options: &KahaDbOptions, limit_bytes: u64) -> Place {
    let below = |folder: &PathBuf| folder.join(&name);
    let options = KahaDbOptions {
        directory: below(&options.directory),
        index_directory: options.index_directory.as_ref().map(below),
        directory_archive: options.directory_archive.as_ref().map(below),
        ..options.clone()
    };
    Place { name, options, limit_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filter: Option<Destination>, per_destination: bool) -> FilteredStore {
        let options = KahaDbOptions { directory: "m".into(), ..KahaDbOptions::default() };
        FilteredStore { filter, per_destination, options, limit_bytes: 0 }
    }

    #[test]
    fn the_most_specific_filter_decides_and_the_rest_has_a_store_of_its_own() {
        let options = MultiOptions {
            stores: vec![
                filtered(Some(Destination::queue("A.>,C")), false),
                filtered(Some(Destination::queue("A.B.*")), true),
                filtered(Some(Destination::topic(">")), false),
            ],
            rest: KahaDbOptions { directory: "m".into(), ..KahaDbOptions::default() },
            ..MultiOptions::default()
        };
        for (destination, folder) in [
            (Destination::queue("A"), "m/queue#3a#2f#2fA.#3e#2cC"),
            (Destination::queue("C"), "m/queue#3a#2f#2fA.#3e#2cC"),
            (Destination::queue("A.B.X"), "m/queue#3a#2f#2fA.B.X"),
            (Destination::topic("A.B.X"), "m/topic#3a#2f#2f#3e"),
            (Destination::queue("D"), "m/#210"),
        ] {
            assert_eq!(options.place_of(&destination).options.directory, Path::new(folder));
        }
        let fixed: Vec<String> = options.fixed().map(|place| place.name).collect();
        assert_eq!(fixed, ["queue#3a#2f#2fA.#3e#2cC", "topic#3a#2f#2f#3e"]);
    }

    #[test]
    fn a_name_too_long_for_a_folder_shares_one() {
        let all = MultiOptions { stores: vec![filtered(None, true)], ..MultiOptions::default() };
        assert_eq!(all.place_of(&Destination::queue("x".repeat(300))).name, folder::REST);
        assert_eq!(all.place_of(&Destination::queue("x")).name, "queue#3a#2f#2fx");
        assert_eq!(all.place_in(Path::new("m"), "alien").options.directory, Path::new("m/alien"));
    }
}
