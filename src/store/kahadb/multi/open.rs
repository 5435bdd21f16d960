//! Opening an `<mKahaDB>`: its stores, what is still to be done in them, and one history of all.

use super::folder;
use super::intent::{Found, Intent, found, mark};
use super::options::{MultiOptions, Place};
use super::part::Part;
use super::shared::{Order, Table};
use super::told::Told;
use crate::jms::{Destination, XaId};
use crate::store::fs::{Filesystem, make_folder};
use crate::store::kahadb::journal::JAVA_STOPPER;
use crate::store::kahadb::{KahaDb, OpenError};
use crate::store::{
    Completion, MessageForm, PreparedBranch, Recovered, RecoveredDestination,
    RecoveredSubscription, Store, StoreError, StoreOp, Submit,
};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// Stores whose coordinator does not run yet.
pub(super) struct Opened {
    pub(super) transactions: Arc<KahaDb>,
    pub(super) own: Arc<Part>,
    pub(super) table: Table,
    pub(super) order: Order,
    pub(super) recovered: Recovered,
}

/// One open store.
struct Member {
    place: Place,
    store: Arc<KahaDb>,
    recovered: Recovered,
    /// The last crossing that it has its part of.
    mark: u64,
    branches: Vec<PreparedBranch>,
    /// Only in the `txStore`.
    intents: Vec<Intent>,
}

/// All of them, by the names of their folders.
struct Members {
    transactions: Member,
    parts: BTreeMap<String, Member>,
}

/// Opens what is there.
pub(super) fn open(
    fs: &Arc<dyn Filesystem>,
    options: &MultiOptions,
    form: MessageForm,
    told: &Arc<Told>,
) -> Result<Opened, OpenError> {
    let opening = Opening { fs, options, form, told };
    let mut members = opening.members()?;
    if !members.transactions.intents.is_empty() {
        // What the stores had when they were opened is not what they have then.
        opening.go_on(members)?;
        members = opening.members()?;
    }
    opening.one_history(members)
}

struct Opening<'a> {
    fs: &'a Arc<dyn Filesystem>,
    options: &'a MultiOptions,
    form: MessageForm,
    told: &'a Arc<Told>,
}

impl Opening<'_> {
    fn members(&self) -> Result<Members, OpenError> {
        let places: Vec<Place> = self.places()?.into_values().collect();
        let transactions = self.member(self.options.transactions())?;
        let mut parts = BTreeMap::new();
        for places in places.chunks(OPEN_AT_ONCE) {
            let opened: Vec<Result<Member, OpenError>> = std::thread::scope(|scope| {
                let open = |place: &Place| {
                    let place = place.clone();
                    scope.spawn(move || self.member(place))
                };
                let threads: Vec<_> = places.iter().map(open).collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                threads.into_iter().map(join).collect()
            });
            for member in opened {
                let member = member?;
                parts.insert(member.place.name.clone(), member);
            }
        }
        Ok(Members { transactions, parts })
    }

    fn member(&self, place: Place) -> Result<Member, OpenError> {
        let told = self.told.by(&place.name);
        let store = KahaDb::open(self.fs.clone(), place.options.clone(), self.form, told)?;
        let mut recovered = store.recovered();
        let (mut mark, mut branches, mut intents) = (0, Vec::new(), Vec::new());
        for branch in std::mem::take(&mut recovered.prepared) {
            let found = found(branch, self.form);
            match found.map_err(|_| OpenError::Nonsense(place.options.directory.clone()))? {
                Found::Intent(intent) => intents.push(intent),
                Found::Mark(number) => mark = number,
                Found::Branch(branch) => branches.push(branch),
            }
        }
        intents.sort_unstable_by_key(|intent| intent.number);
        Ok(Member { place, store, recovered, mark, branches, intents })
    }

    /// The stores that the configuration names, and all others that are there.
    fn places(&self) -> Result<BTreeMap<String, Place>, OpenError> {
        let mut places: BTreeMap<String, Place> =
            self.options.fixed().map(|place| (place.name.clone(), place)).collect();
        for base in self.options.bases() {
            make_folder(&**self.fs, &base).map_err(io("create", &base))?;
            if self.has_journal(&base)? {
                let folder = base.display();
                tracing::warn!(%folder, "there is a KahaDB store, which an <mKahaDB> does not read");
            }
            for entry in self.fs.list(&base).map_err(io("list", &base))? {
                let is_store = entry.is_folder && entry.name != folder::TRANSACTIONS;
                if !is_store || !self.has_journal(&base.join(&entry.name))? {
                    continue;
                }
                let place = self.options.place_in(&base, &entry.name);
                let directory = place.options.directory.clone();
                let known = places.entry(entry.name).or_insert(place);
                if known.options.directory != directory {
                    let (what, first) = (known.name.clone(), known.options.directory.clone());
                    return Err(OpenError::Twice { what, first, second: directory });
                }
            }
        }
        Ok(places)
    }

    fn has_journal(&self, folder: &Path) -> Result<bool, OpenError> {
        let entries = self.fs.list(folder).map_err(io("list", folder))?;
        Ok(entries.iter().any(|entry| !entry.is_folder && journal_number(&entry.name).is_some()))
    }

    /// Does what was decided and is not known to be done, and closes the stores.
    fn go_on(&self, members: Members) -> Result<(), OpenError> {
        let Members { transactions, mut parts } = members;
        let subscriptions = &transactions.recovered.subscriptions;
        let mut done = Vec::new();
        for intent in transactions.intents {
            let number = intent.number;
            tracing::info!(number, "a transaction in several stores is brought to its end");
            for (name, mut ops) in intent.parts {
                if !parts.contains_key(&name) {
                    let member = self.member(self.place_named(&name))?;
                    tell(&member, subscriptions)?;
                    parts.insert(name.clone(), member);
                }
                let Some(part) = parts.get_mut(&name) else { continue };
                if part.mark >= number {
                    continue;
                }
                part.mark = number;
                ops.push(mark(number));
                wait(|done| part.store.submit_decided(ops, done))?;
            }
            done.push(Intent::forget(number));
        }
        submit(&transactions.store, done)?;
        for member in parts.into_values() {
            member.store.close().map_err(OpenError::Decided)?;
        }
        transactions.store.close().map_err(OpenError::Decided)
    }

    /// Of a store that is not there yet.
    fn place_named(&self, name: &str) -> Place {
        let place = folder::destination_in(name).map(|d| self.options.place_of(&d));
        place
            .filter(|place| place.name == name)
            .unwrap_or_else(|| self.options.place_in(&self.options.rest.directory, name))
    }

    fn one_history(&self, mut members: Members) -> Result<Opened, OpenError> {
        let (destinations, homes) = self.destinations(&mut members)?;
        self.drop_unused(&mut members, &homes)?;
        let Members { transactions, parts } = members;
        let subscriptions = subscriptions(&transactions, &parts)?;
        let mut recovered = Recovered {
            destinations,
            subscriptions: subscriptions.into_values().collect(),
            ..Recovered::default()
        };
        let (mut table, mut order) = (Table::default(), Order::default());
        for RecoveredSubscription { subscription, .. } in &recovered.subscriptions {
            table.subscriptions.insert(subscription.number, subscription.clone());
        }
        let mut add = |member: Member, order: &mut Order| {
            let Member { place, store, recovered: of, mark, branches, .. } = member;
            recovered.last_sequence = recovered.last_sequence.max(of.last_sequence);
            recovered.last_subscription = recovered.last_subscription.max(of.last_subscription);
            order.next = order.next.max(mark + 1);
            let part = Part::new(place, self.told.clone(), Some(store));
            let xids: Vec<Arc<XaId>> = branches.iter().map(|branch| branch.xid.clone()).collect();
            recovered.prepared.extend(branches);
            (part, xids)
        };
        let transactions_store = transactions.store.clone();
        let (own, xids) = add(transactions, &mut order);
        order.branches.extend(xids.into_iter().map(|xid| (xid, None)));
        for (name, member) in parts {
            let (part, xids) = add(member, &mut order);
            order.branches.extend(xids.into_iter().map(|xid| (xid, Some(part.clone()))));
            table.parts.insert(name, part);
        }
        for (destination, name) in homes {
            let Some(part) = table.parts.get(&name) else { continue };
            if self.options.place_of(&destination).name != name {
                table.strays.insert(destination.clone(), part.clone());
            }
            table.known.insert(destination, part.clone());
        }
        Ok(Opened { transactions: transactions_store, own, table, order, recovered })
    }

    /// The stores of single destinations that were removed go, with their folders: else each start would
    /// open them again.
    fn drop_unused(
        &self,
        members: &mut Members,
        homes: &HashMap<Destination, String>,
    ) -> Result<(), OpenError> {
        let used: BTreeSet<&String> = homes.values().collect();
        let is_unused = |(name, member): &(&String, &mut Member)| {
            let is_empty = !used.contains(name) && member.branches.is_empty();
            is_empty && self.options.is_of_a_destination(name)
        };
        let unused: Vec<String> =
            members.parts.iter_mut().filter(is_unused).map(|(name, _)| name.clone()).collect();
        for member in unused.iter().filter_map(|name| members.parts.remove(name)) {
            member.store.close().map_err(OpenError::Decided)?;
            self.told.by(&member.place.name).bytes_used(0);
            let options = &member.place.options;
            let index = options.index_directory.as_ref().unwrap_or(&options.directory);
            let folder = options.directory.display();
            match self.remove_files(index).and_then(|()| self.remove_files(&options.directory)) {
                Ok(()) => {
                    tracing::info!(%folder, "the store of a destination that is gone was removed")
                }
                Err(error) => {
                    tracing::warn!(%folder, %error, "the store of a destination that is gone is still there");
                }
            }
        }
        Ok(())
    }

    /// The index goes first, and of the journal what is oldest: whatever is left can be opened.
    fn remove_files(&self, folder: &Path) -> std::io::Result<()> {
        let (folders, files): (Vec<_>, Vec<_>) = match self.fs.list(folder) {
            Ok(entries) => entries.into_iter().partition(|entry| entry.is_folder),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut names: Vec<String> = files.into_iter().map(|file| file.name).collect();
        names.sort_by_key(|name| journal_number(name));
        for name in names {
            self.fs.remove(&folder.join(name))?;
            self.fs.sync_folder(folder)?;
        }
        for stopper in folders.iter().filter(|folder| folder.name == JAVA_STOPPER) {
            self.remove_files(&folder.join(&stopper.name))?;
        }
        match self.fs.remove_folder(folder) {
            // Somebody else's files, such as an archive.
            Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            outcome => outcome,
        }
    }

    /// Every destination once, and the store that has it. One without messages moves to where the
    /// filters say.
    fn destinations(
        &self,
        members: &mut Members,
    ) -> Result<(Vec<RecoveredDestination>, HashMap<Destination, String>), OpenError> {
        let mut found: HashMap<Destination, Vec<(String, RecoveredDestination)>> = HashMap::new();
        for (name, member) in &mut members.parts {
            for there in std::mem::take(&mut member.recovered.destinations) {
                found.entry(there.destination.clone()).or_default().push((name.clone(), there));
            }
        }
        let (mut destinations, mut homes) = (Vec::new(), HashMap::new());
        let (mut created, mut deleted) = (BTreeMap::new(), BTreeMap::new());
        for (destination, mut there) in found {
            let home = self.options.place_of(&destination);
            // Those with messages first, then the one that should have it.
            there.sort_by_key(|(name, there)| (is_empty(there), *name != home.name));
            if let [(first, _), (second, other), ..] = &there[..]
                && !is_empty(other)
            {
                let folder = |name: &String| members.parts[name].place.options.directory.clone();
                let (first, second) = (folder(first), folder(second));
                return Err(OpenError::Twice { what: destination.to_string(), first, second });
            }
            let mut there = there.into_iter();
            let Some((mut name, chosen)) = there.next() else { continue };
            let mut others: Vec<String> = there.map(|(name, _)| name).collect();
            if is_empty(&chosen) && name != home.name {
                others.push(std::mem::replace(&mut name, home.name.clone()));
                if !members.parts.contains_key(&name) {
                    members.parts.insert(name.clone(), self.member(home)?);
                }
                let op = StoreOp::Create { destination: destination.clone() };
                created.entry(name.clone()).or_insert_with(Vec::new).push(op);
            }
            for other in others {
                let op = StoreOp::Delete { destination: destination.clone() };
                deleted.entry(other).or_insert_with(Vec::new).push(op);
            }
            homes.insert(destination, name);
            destinations.push(chosen);
        }
        // Nothing goes before it is certain to be elsewhere.
        for (name, ops) in created.into_iter().chain(deleted) {
            if let Some(member) = members.parts.get(&name) {
                submit(&member.store, ops)?;
            }
        }
        destinations.sort_by(|a, b| a.destination.name().cmp(b.destination.name()));
        Ok((destinations, homes))
    }
}

/// None for files that are not of the journal.
fn journal_number(name: &str) -> Option<u32> {
    name.strip_prefix("db-")?.strip_suffix(".log")?.parse().ok()
}

fn is_empty(there: &RecoveredDestination) -> bool {
    there.bands.iter().all(|(_, messages)| *messages == 0)
}

/// Every durable subscription once, with what is pending for it anywhere. Each store that may have
/// messages for it knows it afterwards.
fn subscriptions(
    transactions: &Member,
    parts: &BTreeMap<String, Member>,
) -> Result<BTreeMap<u64, RecoveredSubscription>, OpenError> {
    let mut all: BTreeMap<u64, RecoveredSubscription> = BTreeMap::new();
    for member in [transactions].into_iter().chain(parts.values()) {
        for RecoveredSubscription { subscription, pending } in &member.recovered.subscriptions {
            let known = all.entry(subscription.number).or_insert_with(|| RecoveredSubscription {
                subscription: subscription.clone(),
                pending: 0,
            });
            known.pending += pending;
        }
    }
    let list: Vec<_> = all.values().collect();
    for member in parts.values() {
        tell(member, list.iter().copied())?;
    }
    let known = &transactions.recovered.subscriptions;
    let missing = list.iter().map(|subscription| &subscription.subscription);
    let missing = missing.filter(|s| !known.iter().any(|k| k.subscription.number == s.number));
    submit(&transactions.store, missing.cloned().map(StoreOp::Subscribe).collect())?;
    Ok(all)
}

/// A store gets to know what it may have messages for.
fn tell<'a>(
    member: &Member,
    all: impl IntoIterator<Item = &'a RecoveredSubscription>,
) -> Result<(), OpenError> {
    let known = &member.recovered.subscriptions;
    let missing = all.into_iter().map(|subscription| &subscription.subscription).filter(|s| {
        member.place.hears(s) && !known.iter().any(|k| k.subscription.number == s.number)
    });
    submit(&member.store, missing.cloned().map(StoreOp::Subscribe).collect())
}

/// Submits and waits until it is durable.
fn submit(store: &KahaDb, ops: Vec<StoreOp>) -> Result<(), OpenError> {
    if ops.is_empty() {
        return Ok(());
    }
    wait(|done| store.submit(Submit { ops, durable: true, done }))
}

fn wait(submit: impl FnOnce(Completion)) -> Result<(), OpenError> {
    let (answer, answered) = channel();
    submit(Box::new(move |outcome| drop(answer.send(outcome))));
    let gone = |_| Err(StoreError::Stopped("a bug ended a thread of the store".into()));
    answered.recv().unwrap_or_else(gone).map_err(OpenError::Decided)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Stores opened side by side: one waits for the disk, another computes.
const OPEN_AT_ONCE: usize = 4;
