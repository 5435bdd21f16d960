//! A topic: each message goes to every subscription.
//!
//! The topic numbers messages and keeps the list of members; windows, pending messages and limits belong
//! to the members, because one subscription may listen to many topics.

use super::audit::Audit;
use super::commit::{CommittedSend, DUPLICATE, Decision, Vote, outlives_its_producer};
use super::counters::Ledger;
use super::durable::{Again, Looking, Past};
use super::in_flight::Entry;
use super::members::Members;
pub use super::members::TopicMember;
use super::parking::Parking;
use super::queue::{History, QueueContext};
use super::recovery::Recovery;
use super::report::Report;
use super::subscription::TopicSubscription;
use super::{Effects, Incoming, Now, Op, PageOf};
use crate::broker::advisory::Notice;
use crate::broker::dead_letter::{Cause, DeadLetter, Leaving, Told};
use crate::broker::outbox::Receipt;
use crate::broker::usage::Credit;
use crate::jms::Message;
use crate::store::{Fetch, Page, PageLimit, StoreError, StoreOp, StoredAdd};
use hashbrown::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// All a topic knows.
pub struct Topic {
    context: QueueContext,
    members: Members,
    audit: Option<Audit>,
    parking: Parking,
    recovery: Recovery,
    /// Messages of this batch.
    arrived: Vec<Entry>,
    /// When to look for stored messages that are past their time; none while there are none.
    next_expiry_check: Option<Instant>,
    reading_expired: bool,
    /// Expired messages on their way out of the store.
    dying: HashSet<i64>,
    /// Those that left while a page was read that may still have them.
    left: HashSet<i64>,
    more_expired: bool,
    /// Commits voted on and not decided.
    votes: usize,
    /// The end that was asked for meanwhile, and who waits for it.
    ending: Option<Option<Receipt>>,
    counters: Ledger,
}

impl Topic {
    /// A topic whose store holds what `history` says.
    pub fn new(context: QueueContext, history: History) -> Self {
        let policy = &context.policy;
        let mut audit =
            policy.audit.then(|| Audit::new(policy.audit_depth, policy.audit_producers));
        if let Some(audit) = &mut audit {
            for (producer, highest) in history.producers {
                audit.seen_up_to(producer, highest);
            }
        }
        let expires = history.expiring && !policy.expire_period.is_zero();
        // Not at once: those that are offline join after the start.
        let next_expiry_check = expires.then(|| Instant::now() + policy.expire_period);
        Self {
            audit,
            members: Members::new(policy.topic_dispatch.clone()),
            parking: Parking::default(),
            recovery: Recovery::new(policy.recovery),
            arrived: Vec::new(),
            next_expiry_check,
            reading_expired: false,
            dying: HashSet::new(),
            left: HashSet::new(),
            more_expired: false,
            votes: 0,
            ending: None,
            counters: Ledger::default(),
            context,
        }
    }

    /// Takes one operation. Messages wait for [`Self::settle_batch`], or for a change of members.
    pub fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        match op {
            Op::Send(incoming) => {
                if let Some(incoming) = self.parking.enter(incoming, &self.context, 0, now, out) {
                    self.admit(incoming, now, out);
                }
            }
            Op::Join { member, receipt, past } => {
                self.fan_out(now, out);
                let is_new = !self.members.has(member.key());
                // A durable one that is here already has a new consumer.
                if let Some(looking) = past {
                    self.look_back(looking, is_new, now, out);
                }
                if is_new {
                    member.joined(&self.context.destination, &self.context.shared);
                    if let TopicMember::Plain(plain) = &member {
                        self.catch_up(plain, now, out);
                    }
                    self.members.join(member);
                    self.context.shared.set_durables(self.members.durable_count());
                }
                out.when_removed(receipt);
            }
            Op::Leave { key, receipt } => {
                self.fan_out(now, out);
                if let Some(gone) = self.members.leave(key) {
                    self.context.shared.set_durables(self.members.durable_count());
                    gone.left(&self.context.destination);
                }
                out.resolve(receipt, Ok(()));
            }
            Op::Vote(vote) => {
                let Vote { sends, ballot, receipt, .. } = *vote;
                let (ops, entries) = self.vote(sends, now);
                ballot.cast(ops, entries, receipt);
            }
            Op::Decide(decision) => {
                self.votes -= 1;
                self.decide(*decision, now, out);
                if let (0, Some(receipt)) = (self.votes, self.ending.take()) {
                    self.handle(Op::Destroy { receipt }, now, out);
                }
            }
            Op::ConnectionClosed(connection) => self.parking.forget(connection),
            // What a commit brings must not come into the store behind the end.
            Op::Destroy { receipt } if self.votes > 0 => self.ending = Some(receipt),
            Op::Destroy { receipt } => {
                self.parking.clear();
                self.fan_out(now, out);
                if self.context.keeps && !self.context.destination.kind().is_temporary() {
                    let destination = self.context.destination.clone();
                    out.removals.push(StoreOp::Delete { destination });
                }
                for member in self.members.iter() {
                    member.left(&self.context.destination);
                }
                self.counters.fetch(&self.context.shared);
                self.context.gone.add(&self.counters.broker());
                out.when_removed(receipt);
                out.destroyed = true;
            }
            Op::Report(answer) => {
                self.counters.fetch(&self.context.shared);
                answer.send(self.report()).unwrap_or_default();
            }
            Op::ResetCounters(whose) => {
                self.counters.fetch(&self.context.shared);
                self.counters.reset(whose);
            }
            Op::Policy(policy) => self.context.policy = policy,
            Op::Paged { of: PageOf::Expired, page } => self.take_expired(page, now, out),
            Op::Buried { sequence, .. } => {
                if self.dying.remove(&sequence) && self.reading_expired {
                    self.left.insert(sequence);
                }
                if self.dying.is_empty() && std::mem::take(&mut self.more_expired) {
                    self.next_expiry_check = Some(now.instant);
                }
            }
            // What was refused was sent to subscribers all the same: they have it from memory.
            Op::Refused { .. }
            | Op::NoRoom(_)
            | Op::Paged { .. }
            | Op::Lock { .. }
            | Op::Jobs(_)
            | Op::Stored { .. }
            | Op::MarkedDelivered
            | Op::Unspooled { .. }
            | Op::Unspoolable { .. } => {}
            Op::Marked { answer, .. } => answer.send(Vec::new()).unwrap_or_default(),
            // Subscriptions of topics are acknowledged and pulled without their topics.
            Op::Purge { receipt }
            | Op::Ack { receipt, .. }
            | Op::Subscribe { receipt, .. }
            | Op::Unsubscribe { receipt, .. }
            | Op::RollBack { receipt, .. } => out.resolve(receipt, Ok(())),
            Op::Wake | Op::Pull { .. } => {}
        }
    }

    /// Ends a batch: parked sends get in, members get what arrived.
    pub fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        self.expire_due(now, out);
        loop {
            self.fan_out(now, out);
            let Some(incoming) = self.parking.next(&self.context, now, out) else { return };
            self.admit(incoming, now, out);
        }
    }

    /// When the topic has something to do though nobody asks.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.parking.deadline(&self.context).into_iter().chain(self.next_expiry_check).min()
    }

    fn admit(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let Incoming { message, bytes, receipt, redeliveries, moved, resent, .. } = incoming;
        let hold = Some(self.hold(bytes));
        if self.is_duplicate(&message, resent) {
            self.counters.now.duplicates += 1;
            out.leave(moved);
            let is_dead = !resent && self.has_durables_for(&message);
            self.context.drop_duplicate(message, is_dead, receipt, out);
            return;
        }
        let expired = message.is_expired(now.wall_ms);
        let entry = Entry { redeliveries, hold, ..self.entry(message, bytes) };
        if expired {
            out.leave(moved);
            self.expired_on_arrival(&entry, receipt, out);
            return;
        }
        let (entry, add) = self.numbered(entry, true);
        match add {
            Some(add) => {
                out.adds.push(add);
                out.move_along(moved);
                out.holds.extend(entry.hold.clone());
                out.when_added(receipt);
            }
            None => {
                out.leave(moved);
                out.when_removed(receipt);
            }
        }
        self.arrive(entry, now, out);
    }

    /// Memory that is given back with the last who has the message.
    fn hold(&self, bytes: u64) -> Arc<Credit> {
        Arc::new(Credit::taken(Arc::clone(&self.context.usage), bytes))
    }

    fn entry(&self, message: Arc<Message>, bytes: u64) -> Entry {
        Entry::new(message, 0, bytes, self.context.policy.prioritized_messages)
    }

    /// Whether a message came before and is not to come again: somebody has it in the store, or the policy is
    /// that nobody gets it twice.
    fn is_duplicate(&mut self, message: &Arc<Message>, resent: bool) -> bool {
        let (Some(audit), Some(id)) = (&mut self.audit, &message.message_id) else { return false };
        let always = resent || self.context.policy.audit_for_plain;
        let duplicate = audit.is_duplicate(id)
            && (always || message.persistent && self.has_durables_for(message));
        if duplicate {
            tracing::debug!(destination = %self.context.destination, %id, "duplicate message dropped");
        }
        duplicate
    }

    /// Whether somebody has the message in the store.
    fn has_durables_for(&mut self, message: &Arc<Message>) -> bool {
        self.members.durables_for(message).next().is_some()
    }

    fn expired_on_arrival(&mut self, entry: &Entry, receipt: Option<Receipt>, out: &mut Effects) {
        self.count_arrival(entry.bytes);
        self.counters.now.expired += 1;
        let (from, message) = (self.context.destination.clone(), Arc::clone(&entry.message));
        out.notice(Notice::expired(&from, &message));
        let cause = Some(Cause::Expired(message.expiration));
        out.dead_letter(DeadLetter { receipt, ..DeadLetter::unstored(message, from, cause) });
    }

    /// Gives `entry` its sequence number, lets durable subscriptions expect it (with `stage`, they get it
    /// with this batch), and says what the store has to do.
    fn numbered(&mut self, entry: Entry, stage: bool) -> (Entry, Option<StoreOp>) {
        let sequence = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Entry { sequence, ..entry };
        let stores = self.context.stores(&entry.message);
        let mut subscribers = Vec::new();
        for (durable, staged) in self.members.durables_for(&entry.message) {
            if durable.expect(&entry) {
                subscribers.push(durable.number);
                if stage {
                    staged.push(entry.clone());
                }
            }
        }
        if !stores || subscribers.is_empty() {
            return (entry, None);
        }
        subscribers.sort_unstable();
        let add = self.add_op(&entry, subscribers);
        (entry, Some(add))
    }

    fn add_op(&self, entry: &Entry, subscribers: Vec<u64>) -> StoreOp {
        StoreOp::Add(StoredAdd {
            destination: self.context.destination.clone(),
            sequence: entry.sequence,
            band: 0,
            message: Arc::clone(&entry.message),
            subscribers,
            cancel: None,
        })
    }

    /// The message is in: counted, and on its way to the members.
    fn arrive(&mut self, entry: Entry, now: Now, out: &mut Effects) {
        self.count_arrival(entry.bytes);
        let (destination, policy) = (&self.context.destination, &self.context.policy);
        if policy.advisory_for_delivery {
            out.notice(Notice::delivered(destination, &entry.message));
        }
        if policy.advisory_if_no_consumers && !entry.message.persistent && self.members.is_empty() {
            out.notice(Notice::no_consumer(destination, &entry.message));
        }
        if entry.message.expiration > 0
            && self.context.stores(&entry.message)
            && self.next_expiry_check.is_none()
            && !policy.expire_period.is_zero()
        {
            self.next_expiry_check = Some(now.instant + policy.expire_period);
        }
        let entry = match self.recovery.retain(&entry) {
            None => entry,
            Some(message) => {
                for (_, staged) in self.members.durables_for(&message) {
                    let same = staged.iter_mut().filter(|other| other.sequence == entry.sequence);
                    same.for_each(|other| other.message = Arc::clone(&message));
                }
                Entry { message, ..entry }
            }
        };
        self.recovery.note(&entry, now);
        self.arrived.push(entry);
    }

    /// Says what a commit does here. Durable subscriptions hold its messages back until the decision.
    fn vote(&mut self, sends: Vec<CommittedSend>, now: Now) -> (Vec<StoreOp>, Vec<Entry>) {
        self.votes += 1;
        let (mut ops, mut entries) = (Vec::new(), Vec::new());
        for CommittedSend { message, bytes } in sends {
            let hold = Some(self.hold(bytes));
            let redeliveries = message.redelivery_counter;
            if message.is_expired(now.wall_ms) {
                entries.push(Entry { hold, ..self.entry(message, bytes) });
            } else if !self.is_duplicate(&message, false) || outlives_its_producer(&message) {
                let entry = Entry { redeliveries, hold, ..self.entry(message, bytes) };
                let (entry, add) = self.numbered(entry, false);
                ops.extend(add);
                entries.push(entry);
            } else if self.has_durables_for(&message) {
                entries.push(Entry { sequence: DUPLICATE, ..self.entry(message, 0) });
            }
        }
        (ops, entries)
    }

    fn decide(&mut self, decision: Decision, now: Now, out: &mut Effects) {
        let Decision { outcome, entries, receipt, .. } = decision;
        for entry in entries {
            if entry.sequence == DUPLICATE {
                if outcome.is_ok() {
                    self.counters.now.duplicates += 1;
                    self.context.drop_duplicate(entry.message, true, None, out);
                }
            } else if outcome.is_err() {
                self.forget(&entry);
            } else if entry.sequence == 0 {
                self.expired_on_arrival(&entry, None, out);
            } else {
                for (durable, staged) in self.members.durables_for(&entry.message) {
                    if durable.expects(entry.sequence) {
                        staged.push(entry.clone());
                    }
                }
                self.arrive(entry, now, out);
            }
        }
        out.resolve(receipt, outcome);
    }

    /// A message that was numbered does not come after all.
    fn forget(&mut self, entry: &Entry) {
        if let (Some(audit), Some(id)) = (&mut self.audit, entry.id()) {
            audit.forget(id);
        }
        self.members.durables().for_each(|durable| durable.forget(entry.sequence));
    }

    /// A retroactive subscription first gets what was retained, then what was kept.
    fn catch_up(&mut self, plain: &TopicSubscription, now: Now, out: &mut Effects) {
        if self.context.policy.always_retroactive || plain.info.retroactive {
            let retained = self.recovery.retained(now).into_iter();
            let past: Vec<Entry> = retained.chain(self.recovery.kept(now)).collect();
            plain.offer(&past, now, out);
        }
    }

    /// Tells a durable subscription of the past. A new one shares what the topic holds for others.
    fn look_back(&mut self, looking: Looking, is_new: bool, now: Now, out: &mut Effects) {
        let durable = looking.durable();
        let (shared, keeps) = (is_new && durable.info().retroactive, self.context.keeps);
        let others = self.members.durables().filter(|_| shared && !keeps).cloned().collect();
        if shared && keeps {
            let (destination, subscription) = (self.context.destination.clone(), durable.number);
            out.removals.push(StoreOp::Share { destination, subscription });
        }
        let before = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let retained = self.recovery.retained(now).map(|entry| self.again(entry, durable.number));
        let kept = self.recovery.kept(now).into_iter();
        let kept = kept.map(|entry| self.again(entry, durable.number)).collect();
        let topic = self.context.destination.clone();
        out.pasts.push(Past { looking, topic, before, shared, others, retained, kept });
    }

    /// A message of the past for one durable subscription.
    fn again(&self, entry: Entry, subscription: u64) -> Again {
        let sequence = self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let hold = Some(self.hold(entry.bytes));
        self.context.usage.take(entry.bytes);
        let entry = Entry { sequence, hold, ..entry };
        let stores = self.context.stores(&entry.message);
        let add = stores.then(|| self.add_op(&entry, vec![subscription]));
        Again { entry, add }
    }

    fn fan_out(&mut self, now: Now, out: &mut Effects) {
        if self.arrived.is_empty() {
            return;
        }
        // Whether anybody had room at once: messages that wait are not measured.
        let sent = self.members.fan_out(&self.arrived, now, out) > 0;
        for entry in self.arrived.drain(..).filter(|_| sent) {
            let came = entry.message.broker_in_time;
            self.counters.now.enqueue_ms.add_wait(came, now.wall_ms);
        }
    }

    fn count_arrival(&mut self, bytes: u64) {
        self.counters.now.enqueued += 1;
        self.counters.now.message_bytes.add(bytes);
    }

    /// What there is now and what came and went.
    fn report(&self) -> Report {
        let members = self.members.iter();
        let reports: Vec<_> = members.map(|member| member.report(&self.context.shared)).collect();
        Report {
            own: self.counters.own(),
            broker: self.counters.broker(),
            in_flight: reports.iter().map(|(_, in_flight)| in_flight).sum(),
            consumers: self.members.len() as u64,
            subscriptions: reports.into_iter().map(|(report, _)| report).collect(),
            ..Report::default()
        }
    }

    /// Looks for stored messages that are past their time: nobody may have asked for them for long.
    fn expire_due(&mut self, now: Now, out: &mut Effects) {
        if self.reading_expired || self.next_expiry_check.is_none_or(|due| now.instant < due) {
            return;
        }
        self.next_expiry_check = None;
        self.reading_expired = true;
        let limit = PageLimit {
            messages: self.context.policy.expire_page_max.max(1),
            bytes: EXPIRED_BYTES,
        };
        let destination = self.context.destination.clone();
        self.members.durables().for_each(|durable| durable.expiry_begins(&destination));
        out.fetches
            .push((PageOf::Expired, Fetch::Expired { destination, now_ms: now.wall_ms, limit }));
    }

    fn take_expired(&mut self, page: Result<Page, StoreError>, now: Now, out: &mut Effects) {
        self.reading_expired = false;
        let left = std::mem::take(&mut self.left);
        if let Ok(page) = page {
            self.expire_all(page, &left, now, out);
        }
        let destination = &self.context.destination;
        self.members.durables().for_each(|durable| durable.expiry_ends(destination));
    }

    /// What of `page` has not left yet expires.
    fn expire_all(&mut self, page: Page, left: &HashSet<i64>, now: Now, out: &mut Effects) {
        for stored in page.messages {
            let sequence = stored.sequence;
            if self.dying.contains(&sequence) || left.contains(&sequence) {
                continue;
            }
            let durables = self.members.durables();
            // With a consumer it is in memory, and expires there.
            if durables.clone().any(|durable| durable.holds(sequence)) {
                continue;
            }
            durables.for_each(|durable| durable.expire(&stored));
            let message = stored.message;
            self.counters.now.expired += 1;
            let from = self.context.destination.clone();
            out.notice(Notice::expired(&from, &message));
            let cause = Some(Cause::Expired(message.expiration));
            self.dying.insert(sequence);
            let tell = Arc::clone(&self.context.tell);
            let told = Told::new(move |gone| tell(Op::Buried { sequence, gone }));
            let op = StoreOp::Remove { destination: from.clone(), sequence };
            let leaves = Some(Leaving { op, told });
            out.dead_letter(DeadLetter { leaves, ..DeadLetter::unstored(message, from, cause) });
        }
        // The next page is read when these are gone, or it would bring them again.
        self.more_expired = !page.end && !self.dying.is_empty();
        self.next_expiry_check = Some(now.instant + self.context.policy.expire_period);
    }
}

/// Bytes of expired messages read at a time.
const EXPIRED_BYTES: u64 = 1 << 20;
