//! What the stores of an `<mKahaDB>` tell, told as by one.

use super::coordinator::Event;
use super::folder;
use crate::store::{StoreError, StoreEvents};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Where the figures and the failure of all stores come together.
pub(super) struct Told {
    events: Arc<dyn StoreEvents>,
    coordinator: Sender<Event>,
    /// Bytes of each store.
    bytes: Mutex<BTreeMap<String, u64>>,
    /// Why nothing is stored any more.
    failed: Mutex<Option<StoreError>>,
}

impl Told {
    pub(super) fn new(events: Arc<dyn StoreEvents>, coordinator: Sender<Event>) -> Arc<Self> {
        Arc::new(Self { events, coordinator, bytes: Mutex::default(), failed: Mutex::default() })
    }

    /// What the store in the folder `name` gets.
    pub(super) fn by(self: &Arc<Self>, name: &str) -> Arc<dyn StoreEvents> {
        Arc::new(One { told: self.clone(), name: name.to_owned() })
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failed.lock().clone()
    }

    /// One has failed, and with it all.
    pub(super) fn fail(&self, error: &StoreError) {
        let mut failed = self.failed.lock();
        if failed.is_some() {
            return;
        }
        *failed = Some(error.clone());
        drop(failed);
        self.events.failed(error);
        drop(self.coordinator.send(Event::Failed)); // it may have ended
    }
}

struct One {
    told: Arc<Told>,
    name: String,
}

impl StoreEvents for One {
    fn bytes_used(&self, bytes: u64) {
        self.told.events.part_bytes_used(&self.name, bytes);
        let mut all = self.told.bytes.lock();
        all.insert(self.name.clone(), bytes);
        // Under the lock, for the last sum told must be the last one.
        self.told.events.bytes_used(all.values().sum());
    }

    /// What lies in several stores, or in none yet, needs room in the `txStore`.
    fn no_space(&self, is_short: bool) {
        match self.name.as_str() {
            folder::TRANSACTIONS => self.told.events.no_space(is_short),
            part => self.told.events.part_no_space(part, is_short),
        }
    }

    fn failed(&self, error: &StoreError) {
        self.told.fail(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl StoreEvents for Heard {
        fn bytes_used(&self, bytes: u64) {
            self.0.lock().push(bytes.to_string());
        }

        fn no_space(&self, is_short: bool) {
            self.0.lock().push(format!("all short: {is_short}"));
        }

        fn part_bytes_used(&self, part: &str, bytes: u64) {
            self.0.lock().push(format!("{part}: {bytes}"));
        }

        fn part_no_space(&self, part: &str, is_short: bool) {
            self.0.lock().push(format!("{part} short: {is_short}"));
        }

        fn failed(&self, error: &StoreError) {
            self.0.lock().push(error.to_string());
        }
    }

    #[test]
    fn bytes_are_those_of_all_and_the_first_failure_is_that_of_all() {
        let (heard, (sender, events)) = (Arc::new(Heard::default()), channel());
        let told = Told::new(heard.clone(), sender);
        let (a, b) = (told.by("a"), told.by("b"));
        a.bytes_used(5);
        b.bytes_used(7);
        a.bytes_used(1);
        assert_eq!(told.failure(), None);
        let errors = ["one", "two"].map(|text| StoreError::NoSpace(text.into()));
        b.failed(&errors[0]);
        a.failed(&errors[1]);
        assert_eq!(told.failure().as_ref(), Some(&errors[0]));
        a.no_space(true);
        told.by(folder::TRANSACTIONS).no_space(false);
        let expected = [
            "a: 5",
            "5",
            "b: 7",
            "12",
            "a: 1",
            "8",
            "no space left for the store: one",
            "a short: true",
            "all short: false",
        ];
        assert_eq!(*heard.0.lock(), expected);
        assert!(matches!(events.try_recv(), Ok(Event::Failed)));
        assert!(events.try_recv().is_err(), "once");
    }
}
