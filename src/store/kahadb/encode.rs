//! From what the broker submits to the records of the journal.
//!
//! The broker names destinations and producers; the journal numbers them. A record that says which
//! number is whose goes with every submit that uses the number, until one of them was confirmed: a
//! submit may be refused, and the next must not depend on it.

use super::journal::{Add, Operation, RANGES_MAX, Ranges, Record, Subscription};
use super::names::{destination_of, encode_branch, encode_xid, kind_byte, xid_of_branch};
use super::state::View;
use crate::jms::{Destination, Message, ProducerId};
use crate::store::{MessageForm, StoreOp, StoredAdd, StoredSubscription};
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a record that introduces a number was confirmed.
pub(super) type Confirmed = Arc<AtomicBool>;

/// Gives numbers. One per store, behind a lock that is held until the submit is queued, so that
/// records are in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    destinations: HashMap<Destination, Number>,
    last_destination: u32,
    deleted: usize,
    producers: HashMap<ProducerId, (u64, Confirmed)>,
    last_producer: u64,
    /// Those that exist, if the journal takes what was submitted.
    subscriptions: BTreeSet<u64>,
    /// Branches that are prepared, likewise.
    /// With a checksum of what they hold, if they were prepared since the start.
    prepared: BTreeMap<Bytes, Option<u32>>,
}

#[derive(Debug)]
struct Number {
    number: u32,
    exists: Confirmed,
    /// It was deleted; the submit that says so may still be refused.
    gone: Option<Confirmed>,
}

/// The operations of one submit, and who wants to know that it was confirmed.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) operations: Vec<Operation>,
    pub(super) confirms: Vec<Confirmed>,
}

impl Encoded {
    fn last(&mut self) -> Option<&mut Record> {
        self.operations.last_mut().map(|operation| &mut operation.record)
    }
}

/// Encodes the messages of `ops`, in their order; done before the encoder is locked.
pub(super) fn bodies(ops: &[StoreOp], form: MessageForm) -> Vec<Bytes> {
    let size = |op: &StoreOp| if let StoreOp::Add(add) = op { add.message.size() } else { 0 };
    let mut all = Vec::with_capacity(ops.iter().map(size).sum());
    let mut ends = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            StoreOp::Add(add) => (form.encode)(&add.message, &mut all),
            StoreOp::Prepare(branch) => all.extend_from_slice(&encode_branch(branch, form)),
            _ => continue,
        }
        ends.push(all.len());
    }
    let (mut all, mut start) = (Bytes::from(all), 0);
    let body = |end| all.split_to(end - std::mem::replace(&mut start, end));
    ends.into_iter().map(body).collect()
}

impl Encoder {
    /// Goes on with the numbers that `view` has.
    pub(super) fn new(view: &View) -> Self {
        let known = |number: u32| {
            let exists = Arc::new(AtomicBool::new(true));
            Number { number, exists, gone: None }
        };
        let destinations = view.numbers.iter().map(|(name, number)| (name.clone(), known(*number)));
        let producers = view.producers.iter().map(|(number, producer)| {
            (producer.id.clone(), (*number, Arc::new(AtomicBool::new(true))))
        });
        Self {
            destinations: destinations.collect(),
            last_destination: view.counters.last_destination,
            deleted: 0,
            producers: producers.collect(),
            last_producer: view.counters.last_producer,
            subscriptions: view.subscriptions.keys().copied().collect(),
            prepared: view.prepared.keys().map(|xid| (xid.clone(), None)).collect(),
        }
    }

    /// `bodies` are those of `ops`.
    pub(super) fn encode(&mut self, ops: Vec<StoreOp>, bodies: Vec<Bytes>) -> Encoded {
        let mut out = Encoded { operations: Vec::with_capacity(ops.len()), ..Encoded::default() };
        let mut bodies = bodies.into_iter();
        for op in ops {
            let record = match op {
                StoreOp::Create { destination } => {
                    self.number(&destination, &mut out);
                    continue;
                }
                StoreOp::Delete { destination } => match self.delete(&destination, &mut out) {
                    Some(destination) => Record::Deleted { destination },
                    None => continue,
                },
                StoreOp::Add(add) => {
                    let body = bodies.next().unwrap_or_default();
                    self.add(add, body, &mut out);
                    continue;
                }
                StoreOp::Remove { destination, sequence } => {
                    let Some(destination) = self.known(&destination) else { continue };
                    let number = sequence as u64;
                    if let Some(Record::Remove { destination: last, seqs }) = out.last()
                        && *last == destination
                    {
                        seqs.insert(number, number);
                        continue;
                    }
                    Record::Remove { destination, seqs: Ranges::one(number, number) }
                }
                StoreOp::Deliver { destination, sequence } => {
                    let Some(destination) = self.known(&destination) else { continue };
                    let seqs = Ranges::one(sequence as u64, sequence as u64);
                    Record::Delivered { destination, seqs }
                }
                StoreOp::Acknowledge { destination, subscription, sequence } => {
                    let Some(destination) = self.known(&destination) else { continue };
                    let number = sequence as u64;
                    if let Some(Record::SubAck { destination: last, subscription: by, seqs }) =
                        out.last()
                        && (*last, *by) == (destination, subscription)
                    {
                        seqs.insert(number, number);
                        continue;
                    }
                    let seqs = Ranges::one(number, number);
                    Record::SubAck { destination, subscription, seqs }
                }
                StoreOp::Purge { destination, last } => {
                    let Some(destination) = self.known(&destination) else { continue };
                    Record::Purge { destination, last: last.max(0) as u64 }
                }
                StoreOp::Subscribe(subscription) => {
                    self.subscriptions.insert(subscription.number);
                    subscription_record(&subscription)
                }
                StoreOp::Unsubscribe { subscription } => {
                    self.subscriptions.remove(&subscription);
                    Record::Unsubscribed { subscription }
                }
                StoreOp::Share { destination, subscription } => {
                    let Some(destination) = self.known(&destination) else { continue };
                    Record::Share { destination, subscription }
                }
                StoreOp::Prepare(branch) => {
                    let body = bodies.next().unwrap_or_default();
                    let sum = crc32fast::hash(&body);
                    self.prepared.insert(encode_xid(&branch.xid), Some(sum));
                    Record::Prepare { branch: body }
                }
                StoreOp::Forget { xid } => {
                    let xid = encode_xid(&xid);
                    self.prepared.remove(&xid);
                    Record::Forget { xid }
                }
            };
            out.operations.push(record.into());
        }
        out
    }

    /// Whether a record about a destination, subscription or branch would be true behind all that
    /// was submitted.
    pub(super) fn is_true(&self, record: &Record) -> bool {
        match record {
            Record::Destination { destination, kind, name } => {
                let known =
                    destination_of(*kind, name).ok().and_then(|d| self.destinations.get(&d));
                known.is_some_and(|known| known.number == *destination && known.gone.is_none())
            }
            Record::Subscription(subscription) => {
                self.subscriptions.contains(&subscription.subscription)
            }
            Record::Prepare { branch } => {
                let known = xid_of_branch(branch).ok().and_then(|xid| self.prepared.get(&xid));
                known.is_some_and(|sum| sum.is_none_or(|sum| crc32fast::hash(branch) == sum))
            }
            _ => false,
        }
    }

    fn add(&mut self, add: StoredAdd, message: Bytes, out: &mut Encoded) {
        let StoredAdd { destination, sequence, band, message: sent, subscribers, cancel } = add;
        let number = self.number(&destination, out);
        let (producer, producer_seq) = self.producer_of(&sent, out);
        let is_queue = destination.kind().is_queue();
        let (subscriptions, excluded) = cover(&subscribers, self.subscriptions.iter().copied());
        let record = Record::Add(Add {
            destination: number,
            seq: sequence as u64,
            band,
            expiration_ms: sent.expiration.max(0) as u64,
            producer,
            producer_seq: producer_seq as u64,
            subscriptions: (!is_queue).then_some(subscriptions),
            moved_from: None,
            is_delivered: false,
            message,
        });
        out.operations.push(Operation { record, cancel });
        for subscription in excluded {
            let seqs = Ranges::one(sequence as u64, sequence as u64);
            let ack = Record::SubAck { destination: number, subscription, seqs };
            out.operations.push(ack.into());
        }
    }

    fn known(&self, destination: &Destination) -> Option<u32> {
        self.destinations.get(destination).map(|known| known.number)
    }

    /// The number of a destination, which now exists.
    fn number(&mut self, destination: &Destination, out: &mut Encoded) -> u32 {
        let known = match self.destinations.get_mut(destination) {
            Some(known) => {
                if known.gone.take().is_some() {
                    self.deleted -= 1;
                    known.exists = Confirmed::default();
                }
                known
            }
            None => {
                self.last_destination += 1;
                let (number, exists) = (self.last_destination, Confirmed::default());
                let new = Number { number, exists, gone: None };
                self.destinations.entry(destination.clone()).or_insert(new)
            }
        };
        if !known.exists.load(Ordering::Relaxed) {
            // Several in one submit do no harm.
            if !out.confirms.iter().any(|confirmed| Arc::ptr_eq(confirmed, &known.exists)) {
                out.confirms.push(known.exists.clone());
                let record = Record::Destination {
                    destination: known.number,
                    kind: kind_byte(destination.kind()),
                    name: destination.name().to_owned(),
                };
                out.operations.push(record.into());
            }
        }
        known.number
    }

    fn delete(&mut self, destination: &Destination, out: &mut Encoded) -> Option<u32> {
        if self.deleted > DELETED_MAX {
            let gone =
                |known: &Number| known.gone.as_ref().is_some_and(|g| g.load(Ordering::Relaxed));
            self.destinations.retain(|_, known| !gone(known));
            self.deleted = self.destinations.values().filter(|k| k.gone.is_some()).count();
        }
        let known = self.destinations.get_mut(destination)?;
        let gone = Confirmed::default();
        out.confirms.push(gone.clone());
        if known.gone.replace(gone).is_none() {
            self.deleted += 1;
        }
        Some(known.number)
    }

    /// 0 for a message without a producer.
    fn producer_of(&mut self, message: &Message, out: &mut Encoded) -> (u64, i64) {
        let Some(id) = &message.message_id else { return (0, 0) };
        let Some(producer) = &id.producer else { return (0, 0) };
        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(producer) {
            self.producers.clear(); // they get other numbers; the state knows them by their ids
        }
        let (number, confirmed) = self.producers.entry_ref(producer).or_insert_with(|| {
            self.last_producer += 1;
            (self.last_producer, Confirmed::default())
        });
        let is_in_submit = |other: &Confirmed| Arc::ptr_eq(other, confirmed);
        if !confirmed.load(Ordering::Relaxed) && !out.confirms.iter().any(is_in_submit) {
            out.confirms.push(confirmed.clone());
            let record = Record::Producer {
                producer: *number,
                connection: producer.connection.as_deref().map(str::to_owned),
                session: producer.session as u64,
                value: producer.value as u64,
            };
            out.operations.push(record.into());
        }
        (*number, id.producer_sequence)
    }
}

/// `wanted` as ranges that fit a record, and who of `all` is in them but not wanted.
pub(super) fn cover(wanted: &[u64], all: impl Iterator<Item = u64>) -> (Ranges, Vec<u64>) {
    let exact: Ranges = wanted.iter().copied().collect();
    let ranges = exact.as_slice();
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) if ranges.len() > RANGES_MAX => {
            let covering = Ranges::one(first.first, last.last);
            let is_excluded = |number: &u64| covering.contains(*number) && !exact.contains(*number);
            let excluded = all.filter(is_excluded).collect();
            (covering, excluded)
        }
        _ => (exact, Vec::new()),
    }
}

pub(super) fn subscription_record(subscription: &StoredSubscription) -> Record {
    Record::Subscription(Subscription {
        subscription: subscription.number,
        client_id: subscription.client.as_ref().into(),
        name: subscription.name.as_ref().into(),
        kind: kind_byte(subscription.destination.kind()),
        destination: subscription.destination.name().into(),
        selector: subscription.selector.as_deref().map(Into::into),
        no_local: subscription.no_local,
    })
}

/// How many deleted destinations keep their number until they are used again.
const DELETED_MAX: usize = 10_000;
/// How many producers are known by number.
const PRODUCERS_MAX: usize = 8192;
