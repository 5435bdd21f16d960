//! What the threads of an `<mKahaDB>` share: which store a destination is in, and the way of a
//! submit that is not for one store.

use super::coordinator::{Crossing, Event};
use super::folder;
use super::intent::{Intent, mark, stored_xid};
use super::options::MultiOptions;
use super::part::Part;
use super::told::Told;
use crate::jms::{Destination, XaId};
use crate::store::fs::Filesystem;
use crate::store::kahadb::{KahaDb, OpenError};
use crate::store::{
    Completion, MessageForm, PreparedBranch, Store, StoreError, StoreOp, StoredAdd,
    StoredSubscription, Submit,
};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

pub(super) struct Shared {
    pub(super) fs: Arc<dyn Filesystem>,
    pub(super) options: MultiOptions,
    pub(super) form: MessageForm,
    pub(super) told: Arc<Told>,
    pub(super) events: Sender<Event>,
    /// The `txStore`: intents go straight there.
    pub(super) transactions: Arc<KahaDb>,
    /// The `txStore` for all else.
    pub(super) own: Arc<Part>,
    pub(super) table: RwLock<Table>,
    /// Held while a submit is spread over stores, so that all get such submits in one order.
    pub(super) order: Mutex<Order>,
}

/// What is where.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) parts: BTreeMap<String, Arc<Part>>,
    /// Stores of destinations that were used.
    pub(super) known: HashMap<Destination, Arc<Part>>,
    /// Destinations with messages in another store than the filters say; they stay there until the
    /// next start that finds them empty.
    pub(super) strays: HashMap<Destination, Arc<Part>>,
    pub(super) subscriptions: BTreeMap<u64, StoredSubscription>,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    /// Number of the next crossing.
    pub(super) next: u64,
    /// Where prepared branches are; none: in the `txStore`.
    pub(super) branches: HashMap<Arc<XaId>, Option<Arc<Part>>>,
    pub(super) is_closed: bool,
}

/// A submit, store by store.
#[derive(Default)]
struct Spread {
    parts: Vec<(Arc<Part>, Vec<StoreOp>)>,
    /// For the `txStore`.
    own: Vec<StoreOp>,
    before: Vec<(u64, Option<StoredSubscription>)>,
}

impl Spread {
    fn add(&mut self, part: &Arc<Part>, op: StoreOp) {
        match self.parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, part)) {
            Some((_, ops)) => ops.push(op),
            None => self.parts.push((part.clone(), vec![op])),
        }
    }
}

impl Shared {
    /// Opens the store of a part that is new.
    pub(super) fn open(&self, part: &Part) -> Result<Arc<KahaDb>, OpenError> {
        let (options, told) = (part.place.options.clone(), self.told.by(&part.place.name));
        let store = KahaDb::open(self.fs.clone(), options, self.form, told)?;
        store.set_limit(part.place.limit_bytes);
        Ok(store)
    }

    /// All of them; the `txStore` is the last one.
    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        self.table.read().parts.values().chain([&self.own]).cloned().collect()
    }

    pub(super) fn part_named(&self, name: &str) -> Option<Arc<Part>> {
        match name {
            folder::TRANSACTIONS => Some(self.own.clone()),
            name => self.table.read().parts.get(name).cloned(),
        }
    }

    /// The store that all of `ops` are for, if that is easily told.
    pub(super) fn only_part(&self, ops: &[StoreOp]) -> Option<Arc<Part>> {
        let table = self.table.read();
        let (mut part, mut last): (Option<&Arc<Part>>, Option<&Destination>) = (None, None);
        for op in ops {
            let (StoreOp::Create { destination }
            | StoreOp::Add(StoredAdd { destination, .. })
            | StoreOp::Remove { destination, .. }
            | StoreOp::Deliver { destination, .. }
            | StoreOp::Acknowledge { destination, .. }
            | StoreOp::Share { destination, .. }
            | StoreOp::Purge { destination, .. }) = op
            else {
                return None;
            };
            if last == Some(destination) {
                continue;
            }
            last = Some(destination);
            let found = table.known.get(destination)?;
            if part.is_some_and(|part| !Arc::ptr_eq(part, found)) {
                return None;
            }
            part = Some(found);
        }
        part.cloned()
    }

    /// The store of a destination, if there is one.
    pub(super) fn part_of(&self, destination: &Destination) -> Option<Arc<Part>> {
        let table = self.table.read();
        let found = table.known.get(destination).or_else(|| table.strays.get(destination));
        found.or_else(|| table.parts.get(&self.options.place_of(destination).name)).cloned()
    }

    /// Those that have messages for a durable subscription.
    pub(super) fn parts_for(&self, subscription: u64) -> Vec<Arc<Part>> {
        let table = self.table.read();
        let Some(subscription) = table.subscriptions.get(&subscription) else { return Vec::new() };
        table.parts.values().filter(|part| part.place.hears(subscription)).cloned().collect()
    }

    /// Takes a submit that is not for one store that is known.
    pub(super) fn spread(&self, submit: Submit) {
        let Submit { ops, durable, done } = submit;
        if let Some(text) = ops.iter().find_map(too_large) {
            return done(Err(StoreError::TooLarge(text.into())));
        }
        let mut order = self.order.lock();
        if order.is_closed {
            drop(order);
            return done(Err(StoreError::Stopped("the store is closed".into())));
        }
        let mut spread = Spread::default();
        ops.into_iter().for_each(|op| self.assign(op, &mut order, &mut spread));
        let is_alone = spread.own.is_empty();
        if spread.parts.len() > 1 || !spread.parts.is_empty() && !is_alone {
            let refused = self.cross(spread, &mut order, done);
            drop(order);
            if let Some((done, error)) = refused {
                done(Err(error));
            }
            return;
        }
        // Who is answered may submit again.
        drop(order);
        match spread.parts.pop() {
            Some((part, ops)) => part.submit(Submit { ops, durable, done }),
            None if is_alone => done(Ok(())),
            None => self.own.submit(Submit { ops: spread.own, durable, done }),
        }
    }

    /// Finds the stores of one operation.
    fn assign(&self, op: StoreOp, order: &mut Order, spread: &mut Spread) {
        match op {
            StoreOp::Create { ref destination }
            | StoreOp::Add(StoredAdd { ref destination, .. }) => {
                let part = self.part_for(destination);
                spread.add(&part, op);
            }
            StoreOp::Remove { ref destination, .. }
            | StoreOp::Deliver { ref destination, .. }
            | StoreOp::Acknowledge { ref destination, .. }
            | StoreOp::Share { ref destination, .. }
            | StoreOp::Purge { ref destination, .. } => {
                if let Some(part) = self.part_of(destination) {
                    spread.add(&part, op);
                }
            }
            StoreOp::Delete { ref destination } => {
                if let Some(part) = self.part_of(destination) {
                    self.table.write().known.remove(destination);
                    spread.add(&part, op);
                }
            }
            StoreOp::Subscribe(subscription) => self.subscribe(subscription, spread),
            StoreOp::Unsubscribe { subscription } => self.unsubscribe(subscription, spread),
            StoreOp::Prepare(branch) => self.prepare(branch, order, spread),
            StoreOp::Forget { xid } => {
                let home = order.branches.remove(&xid).flatten();
                let op = StoreOp::Forget { xid: stored_xid(&xid) };
                match home {
                    Some(part) => spread.add(&part, op),
                    None => spread.own.push(op),
                }
            }
        }
    }

    /// The store of a destination, which is made if it is not there.
    fn part_for(&self, destination: &Destination) -> Arc<Part> {
        if let Some(part) = self.part_of(destination) {
            self.table.write().known.insert(destination.clone(), part.clone());
            return part;
        }
        let part = Part::new(self.options.place_of(destination), self.told.clone(), None);
        let mut table = self.table.write();
        let heard =
            table.subscriptions.values().filter(|subscription| part.place.hears(subscription));
        let ops: Vec<StoreOp> = heard.cloned().map(StoreOp::Subscribe).collect();
        table.parts.insert(part.place.name.clone(), part.clone());
        table.known.insert(destination.clone(), part.clone());
        drop(table);
        if !ops.is_empty() {
            part.submit(Submit { ops, durable: false, done: Box::new(drop) });
        }
        drop(self.events.send(Event::Open(part.clone()))); // a failed one is told by itself
        part
    }

    /// Every store that may have messages for it is told, and the `txStore`, which knows all.
    fn subscribe(&self, subscription: StoredSubscription, spread: &mut Spread) {
        let mut table = self.table.write();
        for part in table.parts.values().filter(|part| part.place.hears(&subscription)) {
            spread.add(part, StoreOp::Subscribe(subscription.clone()));
        }
        let number = subscription.number;
        spread.before.push((number, table.subscriptions.insert(number, subscription.clone())));
        spread.own.push(StoreOp::Subscribe(subscription));
    }

    fn unsubscribe(&self, subscription: u64, spread: &mut Spread) {
        for part in self.parts_for(subscription) {
            spread.add(&part, StoreOp::Unsubscribe { subscription });
        }
        let before = self.table.write().subscriptions.remove(&subscription);
        spread.before.push((subscription, before));
        spread.own.push(StoreOp::Unsubscribe { subscription });
    }

    /// A branch waits in the store that it is about, so that its commit is in one store as well.
    fn prepare(&self, mut branch: PreparedBranch, order: &mut Order, spread: &mut Spread) {
        let (sends, removals) = (branch.sends.iter(), branch.removals.iter());
        let destinations = sends.map(|(destination, _)| destination);
        let destinations = destinations.chain(removals.map(|(destination, _)| destination));
        let acknowledged = branch.acknowledgements.iter().map(|(destination, ..)| destination);
        let mut parts: Vec<Arc<Part>> =
            destinations.chain(acknowledged).map(|d| self.part_for(d)).collect();
        parts.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let home = if parts.len() == 1 { parts.pop() } else { None };
        let xid = branch.xid.clone();
        branch.xid = stored_xid(&xid);
        let stored = branch.xid.clone();
        let op = StoreOp::Prepare(branch);
        match &home {
            Some(part) => spread.add(part, op),
            None => spread.own.push(op),
        }
        // Prepared again, it replaces what was prepared elsewhere.
        let before = order.branches.insert(xid, home.clone());
        match (before, home) {
            (Some(Some(before)), home)
                if !home.as_ref().is_some_and(|h| Arc::ptr_eq(h, &before)) =>
            {
                spread.add(&before, StoreOp::Forget { xid: stored });
            }
            (Some(None), Some(_)) => spread.own.push(StoreOp::Forget { xid: stored }),
            _ => {}
        }
    }

    /// Begins a crossing; or tells whom to answer with what.
    fn cross(
        &self,
        spread: Spread,
        order: &mut Order,
        done: Completion,
    ) -> Option<(Completion, StoreError)> {
        let Spread { mut parts, own, before } = spread;
        let grows = |ops: &[StoreOp]| ops.iter().any(|op| matches!(op, StoreOp::Add(_)));
        let is_short = |part: &Part| part.store().is_some_and(|store| store.is_short());
        let short = parts.iter().any(|(part, ops)| grows(ops) && is_short(part));
        let growing = parts.iter().any(|(_, ops)| grows(ops));
        if short || growing && self.transactions.is_short() {
            self.restore(before);
            let text = "a transaction in several stores needs room in each of them";
            return Some((done, StoreError::NoSpace(text.into())));
        }
        parts.iter_mut().flat_map(|(_, ops)| ops).for_each(settle);
        let number = order.next;
        order.next += 1;
        let named = |(part, ops): (Arc<Part>, Vec<StoreOp>)| ((part.place.name.clone(), ops), part);
        let (parts_by_name, mut parts): (Vec<_>, Vec<_>) = parts.into_iter().map(named).unzip();
        let decided = Intent { number, parts: parts_by_name };
        let mut intent = vec![decided.encode(self.form)];
        for (part, (_, mut ops)) in parts.iter().zip(decided.parts) {
            ops.push(mark(number));
            part.hold(number, ops);
        }
        if !own.is_empty() {
            intent.extend(own);
            self.own.hold(number, Vec::new());
            parts.push(self.own.clone());
        }
        let begun = Event::Begun(number, Crossing { parts, intent, done, before });
        drop(self.events.send(begun)); // its end comes after the end of all submits
        None
    }

    /// Subscriptions are again as they were before a submit that was refused.
    pub(super) fn restore(&self, before: Vec<(u64, Option<StoredSubscription>)>) {
        let mut table = self.table.write();
        for (number, subscription) in before.into_iter().rev() {
            match subscription {
                Some(subscription) => drop(table.subscriptions.insert(number, subscription)),
                None => drop(table.subscriptions.remove(&number)),
            }
        }
    }
}

/// From now on an add cannot be taken back; one that was leaves a destination.
fn settle(op: &mut StoreOp) {
    if let StoreOp::Add(add) = op
        && let Some(cancel) = add.cancel.take()
        && !cancel.take()
    {
        *op = StoreOp::Create { destination: add.destination.clone() };
    }
}

/// What no store takes must be refused before it is decided.
fn too_large(op: &StoreOp) -> Option<String> {
    let bytes = match op {
        StoreOp::Create { destination } => destination.name().len(),
        StoreOp::Add(add) => {
            let id = add.message.message_id.as_ref();
            let producer = id.and_then(|id| id.producer.as_ref());
            let connection = producer.and_then(|producer| producer.connection.as_deref());
            if add.message.size() > MESSAGE_BYTES_MAX {
                return Some(format!("a message of {} bytes", add.message.size()));
            }
            add.destination.name().len().max(connection.map_or(0, str::len))
        }
        StoreOp::Subscribe(subscription) => {
            let selector = subscription.selector.as_deref().map_or(0, str::len);
            let (client, name) = (subscription.client.len(), subscription.name.len());
            selector + client + name + subscription.destination.name().len()
        }
        _ => 0,
    };
    (bytes > NAMES_BYTES_MAX).then(|| format!("names of {bytes} bytes"))
}

/// Names in one record of a journal are shorter than 64 KiB.
const NAMES_BYTES_MAX: usize = 60_000;
/// Below what one record of a journal can have.
const MESSAGE_BYTES_MAX: usize = 1 << 31;
