//! Messages of a topic that are shared with a subscription.

use super::*;

/// A topic, its subscriptions and what a store has to have of them.
struct Topic {
    disk: SimulatedDisk,
    store: TestStore,
    state: State,
    random: Random,
}

const BODY_MAX: usize = 100;

impl Topic {
    fn new() -> Self {
        let disk = SimulatedDisk::new(1);
        let store = TestStore::open(&disk, &options(16 << 10), SyncPolicy::Always);
        let store = store.expect("an empty disk");
        Self { disk, store, state: State::default(), random: Random(1) }
    }

    fn does(&mut self, op: StoreOp) {
        self.state.apply(&op);
        self.store.submit(vec![op], Wish::Durable, drop);
        self.store.drain().expect("the disk works");
    }

    fn subscribe(&mut self, number: u64) {
        let (client, name) = (format!("client {number}").into(), "name".into());
        let (destination, selector, no_local) = (Destination::topic("T"), None, false);
        self.does(StoreOp::Subscribe(StoredSubscription {
            number,
            client,
            name,
            destination,
            selector,
            no_local,
        }));
    }

    fn send(&mut self, sequence: i64, subscribers: &[u64]) {
        let (destination, subscribers) = (Destination::topic("T"), subscribers.to_vec());
        let message = Arc::new(message(sequence, BODY_MAX));
        let (band, cancel) = (0, None);
        let add = StoredAdd { destination, sequence, band, message, subscribers, cancel };
        self.does(StoreOp::Add(add));
    }

    fn share(&mut self, subscription: u64) {
        self.does(StoreOp::Share { destination: Destination::topic("T"), subscription });
    }

    fn acknowledge(&mut self, subscription: u64, sequence: i64) {
        let destination = Destination::topic("T");
        self.does(StoreOp::Acknowledge { destination, subscription, sequence });
    }

    fn unsubscribe(&mut self, subscription: u64) {
        self.does(StoreOp::Unsubscribe { subscription });
    }

    /// Fills journal files, and lets those go that can.
    fn ages(&mut self) {
        for sequence in 1000..1400 {
            let (destination, sequence) = (Destination::queue("Q"), sequence);
            let message = Arc::new(message(sequence, 400));
            let (band, subscribers, cancel) = (0, Vec::new(), None);
            let queue = destination.clone();
            let add = StoredAdd { destination, sequence, band, message, subscribers, cancel };
            self.does(StoreOp::Add(add));
            self.does(StoreOp::Remove { destination: queue, sequence });
        }
        for _ in 0..4 {
            assert!(self.store.upkeep(true));
        }
    }

    /// The store as it is, opened again, and built again from the journal alone.
    fn check(mut self) {
        assert_eq!(self.store.state(BODY_MAX, &mut self.random), self.state, "applied");
        for is_rebuilt in [false, true] {
            drop(self.store);
            if is_rebuilt {
                remove_index(&self.disk);
            }
            let opened = TestStore::open(&self.disk, &options(16 << 10), SyncPolicy::Always);
            self.store = opened.expect("opens");
            let found = self.store.recovered_state(BODY_MAX, &mut self.random);
            assert_eq!(found, self.state, "rebuilt: {is_rebuilt}");
            assert!(self.store.checkpoint(index::Mark::Clean));
        }
    }
}

#[test]
fn a_subscription_gets_what_a_topic_holds_for_others_and_nothing_else() {
    let mut topic = Topic::new();
    topic.subscribe(1);
    (1..=4).for_each(|sequence| topic.send(sequence, &[1]));
    topic.acknowledge(1, 2);
    topic.subscribe(2);
    topic.share(2);
    topic.send(5, &[1]);
    topic.acknowledge(2, 3);
    topic.check();
}

#[test]
fn what_was_shared_outlives_those_that_had_it_first() {
    for ages in 0..4 {
        let mut topic = Topic::new();
        topic.subscribe(1);
        (1..=4).for_each(|sequence| topic.send(sequence, &[1]));
        topic.subscribe(2);
        if ages & 1 != 0 {
            topic.ages();
        }
        topic.share(2);
        topic.acknowledge(1, 1);
        topic.unsubscribe(1);
        topic.acknowledge(2, 4);
        if ages & 2 != 0 {
            topic.ages();
        }
        topic.check();
    }
}

#[test]
fn what_was_shared_may_be_shared_again_by_one_that_goes() {
    for ages in 0..8 {
        let mut topic = Topic::new();
        topic.subscribe(1);
        (1..=4).for_each(|sequence| topic.send(sequence, &[1]));
        topic.subscribe(2);
        topic.share(2);
        if ages & 1 != 0 {
            topic.ages();
        }
        topic.unsubscribe(1);
        topic.subscribe(3);
        topic.share(3);
        if ages & 2 != 0 {
            topic.ages();
        }
        topic.unsubscribe(2);
        topic.acknowledge(3, 2);
        if ages & 4 != 0 {
            topic.ages();
        }
        topic.check();
    }
}

#[test]
fn what_a_deleted_subscription_left_is_not_shared() {
    let mut topic = Topic::new();
    topic.subscribe(1);
    topic.subscribe(2);
    topic.send(1, &[1]);
    topic.send(2, &[1, 2]);
    topic.unsubscribe(1);
    topic.subscribe(3);
    topic.share(3);
    topic.check();
}

#[test]
fn a_subscription_that_is_not_there_shares_nothing() {
    let mut topic = Topic::new();
    topic.subscribe(1);
    topic.subscribe(2);
    topic.send(1, &[1]);
    topic.unsubscribe(2);
    topic.share(2);
    topic.acknowledge(1, 1);
    topic.check();
}
