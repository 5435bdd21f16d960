//! Several stores as one, beside the same model as a single one.

mod cases;
mod crash;

use super::*;
use crate::jms::{Destination, Message};
use crate::store::kahadb::KahaDbOptions;
use crate::store::kahadb::fs::simulated::{Random, SimulatedDisk};
use crate::store::kahadb::tests::message;
use crate::store::kahadb::tests::model::{Held, Mix, Source, State, branch_text};
use crate::store::{PageLimit, StoreOp, StoredAdd, StoredSubscription};
use bytes::{Buf, BufMut, Bytes};
use std::collections::BTreeSet;
use std::path::Path;

/// Messages are their expiration and their body.
const FORM: MessageForm = MessageForm {
    version: 12,
    encode: |message, out| {
        out.put_i64(message.expiration);
        out.put_slice(message.content.as_deref().unwrap_or_default());
    },
    decode: |mut bytes: Bytes| {
        let expiration = (bytes.len() >= 8).then(|| bytes.get_i64())?;
        Some(Arc::new(Message { expiration, content: Some(bytes), ..Message::default() }))
    },
};

const BODY_MAX: usize = 300;

#[derive(Default)]
struct Heard {
    failures: Mutex<Vec<StoreError>>,
}

impl StoreEvents for Heard {
    fn bytes_used(&self, _: u64) {}

    fn failed(&self, error: &StoreError) {
        self.failures.lock().push(error.clone());
    }
}

fn filtered(filter: Option<Destination>, per_destination: bool) -> FilteredStore {
    FilteredStore { filter, per_destination, options: small(), limit_bytes: 0 }
}

fn small() -> KahaDbOptions {
    KahaDbOptions {
        directory: "m".into(),
        journal_max_file_length: 16 << 10,
        index_cache_bytes: 64 << 10,
        ..KahaDbOptions::default()
    }
}

fn options(stores: Vec<FilteredStore>) -> MultiOptions {
    MultiOptions { stores, rest: small(), transactions: small() }
}

/// One store for `Q.A`, one for each other queue, one for `T.A`, and the rest.
fn mixed() -> MultiOptions {
    options(vec![
        filtered(Some(Destination::queue("Q.A")), false),
        filtered(Some(Destination::queue("Q.>")), true),
        filtered(Some(Destination::topic("T.A")), false),
    ])
}

fn open(disk: &SimulatedDisk, options: MultiOptions) -> Result<Arc<MultiKahaDb>, OpenError> {
    MultiKahaDb::open(Arc::new(disk.clone()), options, FORM, Arc::new(Heard::default()))
}

fn add(destination: &Destination, sequence: i64, subscribers: Vec<u64>) -> StoreOp {
    let (destination, message) = (destination.clone(), Arc::new(message(sequence, BODY_MAX)));
    StoreOp::Add(StoredAdd { destination, sequence, band: 0, message, subscribers, cancel: None })
}

/// Submits and waits.
fn submit(store: &MultiKahaDb, ops: Vec<StoreOp>) -> Result<(), StoreError> {
    let (sender, receiver) = channel();
    let done = Box::new(move |outcome| sender.send(outcome).unwrap());
    store.submit(Submit { ops, durable: true, done });
    receiver.recv().unwrap()
}

fn fetch(store: &MultiKahaDb, fetch: Fetch) -> Result<Page, StoreError> {
    let (sender, receiver) = channel();
    store.fetch(fetch, Box::new(move |page| sender.send(page).unwrap()));
    receiver.recv().unwrap()
}

fn sequences(store: &MultiKahaDb, queue: &Destination) -> Vec<i64> {
    let limit = PageLimit { messages: usize::MAX, bytes: u64::MAX };
    let all = Fetch::Queue { destination: queue.clone(), band: 0, after: 0, limit };
    let page = fetch(store, all).unwrap();
    page.messages.iter().map(|stored| stored.sequence).collect()
}

/// All that can be read.
fn state(store: &MultiKahaDb, recovered: &Recovered, random: &mut Random) -> State {
    let mut state = State::default();
    let limit = PageLimit { messages: 1 + random.below(5), bytes: 1 + random.below(2000) as u64 };
    for there in &recovered.destinations {
        let (destination, name) = (&there.destination, there.destination.name().to_owned());
        if !destination.kind().is_queue() {
            state.topics.insert(name, Default::default());
            continue;
        }
        let queue = state.queues.entry(name).or_default();
        for band in 0..3 {
            let before = queue.len();
            let page =
                |after| Fetch::Queue { destination: destination.clone(), band, after, limit };
            walk(store, page, |sequence, message| {
                assert_eq!(message.content, self::message(sequence, BODY_MAX).content);
                let is_delivered = message.redelivery_counter == 1;
                queue.insert(
                    (band, sequence),
                    Held { expiration: message.expiration, is_delivered },
                );
            });
            let counted = there.bands.iter().find(|(b, _)| *b == band).map_or(0, |(_, n)| *n);
            assert_eq!(counted as usize, queue.len() - before);
        }
    }
    for known in &recovered.subscriptions {
        let (subscription, mut pending) = (known.subscription.number, 0);
        let page = |after| Fetch::Durable { subscription, topic: None, after, limit };
        let mut found = BTreeSet::new();
        walk(store, page, |sequence, _| {
            pending += 1;
            found.insert(sequence);
        });
        assert_eq!(known.pending, pending);
        for (name, topic) in &mut state.topics {
            let (destination, all) = (Destination::topic(name.as_str()), found.iter().copied());
            let there = Fetch::Exactly { destination, sequences: all.collect() };
            for stored in fetch(store, there).unwrap().messages {
                found.remove(&stored.sequence);
                topic.entry(stored.sequence).or_default().insert(subscription);
            }
        }
        assert!(found.is_empty(), "in a topic");
        state.subscriptions.insert(subscription, format!("{:?}", known.subscription));
    }
    for branch in &recovered.prepared {
        let before = state.prepared.insert(branch.xid.format_id, branch_text(branch));
        assert_eq!(before, None, "once");
    }
    state
}

fn walk(store: &MultiKahaDb, page: impl Fn(i64) -> Fetch, mut show: impl FnMut(i64, &Message)) {
    let mut after = 0;
    loop {
        let page = fetch(store, page(after)).unwrap();
        assert!(page.damaged.is_empty());
        for stored in &page.messages {
            assert!(stored.sequence > after, "in order");
            after = stored.sequence;
            show(after, &stored.message);
        }
        if page.end {
            return;
        }
        after = after.max(page.last.unwrap());
    }
}
