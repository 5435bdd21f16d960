//! A durable subscription: it keeps what its topics bring while its client is away.
//!
//! It outlives connections. Like [`TopicSubscription`](super::subscription::TopicSubscription) it is
//! shared by topics and one connection, with the push to the outbox under its lock, for the same reason.

use super::in_flight::{Ack, Entry, InFlightList, TransactionKey, Window};
use super::queue::Key;
use super::subscription::Pulls;
use super::{Effects, Now};
use crate::broker::advisory::Notice;
use crate::broker::candidate::Candidate;
use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::error::BrokerError;
use crate::broker::outbox::{Delivery, Item, Outbox, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::jms::selector::Selector;
use crate::jms::{AckKind, ConsumerInfo, Destination, Text};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Who a durable subscription belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurableKey {
    pub client: Text,
    pub name: Text,
}

/// One durable subscription.
#[derive(Debug)]
pub struct DurableSubscription {
    pub key: SubscriptionKey,
    pub owner: DurableKey,
    /// The topic, pattern or composite it listens to.
    pub destination: Destination,
    /// As its consumer asked for it when it was created.
    pub selector_text: Option<Text>,
    pub no_local: bool,
    pub retroactive: bool,
    /// Whether it keeps non-persistent messages while nobody has it.
    keeps_transient: bool,
    selector: Option<Selector>,
    policy: Arc<Policy>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    active: Option<Active>,
    /// The consumer that was active last, for noLocal and descriptions.
    info: Arc<ConsumerInfo>,
    pending: BTreeMap<Key, Entry>,
    in_flight: InFlightList,
    /// Acknowledged in a transaction that is open, by a consumer that has gone.
    orphans: Vec<(TransactionKey, Entry)>,
    offline_since: Option<Instant>,
    pulls: Pulls,
}

#[derive(Debug)]
struct Active {
    outbox: Arc<Outbox>,
    window: Window,
}

impl DurableSubscription {
    pub fn new(
        key: SubscriptionKey,
        owner: DurableKey,
        destination: Destination,
        info: Arc<ConsumerInfo>,
        selector: Option<Selector>,
        policy: Arc<Policy>,
        keeps_transient: bool,
    ) -> Self {
        Self {
            keeps_transient,
            key,
            owner,
            destination,
            selector_text: info.selector.clone(),
            no_local: info.no_local,
            retroactive: info.retroactive,
            selector,
            policy,
            state: Mutex::new(State {
                active: None,
                info,
                pending: BTreeMap::new(),
                in_flight: InFlightList::default(),
                orphans: Vec::new(),
                offline_since: Some(Instant::now()),
                pulls: Pulls::default(),
            }),
        }
    }

    /// A consumer takes the subscription; refused while another has it.
    pub fn activate(
        &self,
        info: Arc<ConsumerInfo>,
        outbox: Arc<Outbox>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BrokerError> {
        let mut state = self.state.lock();
        if state.active.is_some() {
            return Err(BrokerError::DurableInUse {
                client: Text::clone(&self.owner.client),
                name: Text::clone(&self.owner.name),
            });
        }
        state.active = Some(Active { outbox, window: Window::new(info.prefetch_size) });
        state.info = info;
        state.offline_since = None;
        self.send_pending(&mut state, now, out);
        Ok(())
    }

    pub fn is_active(&self) -> bool {
        self.state.lock().active.is_some()
    }

    /// Since when nobody has the subscription.
    pub fn offline_since(&self) -> Option<Instant> {
        self.state.lock().offline_since
    }

    /// Messages kept for the subscriber: pending and in flight.
    pub fn size(&self) -> usize {
        let state = self.state.lock();
        state.pending.len() + state.in_flight.len() + state.orphans.len()
    }

    /// The consumer goes: what it had in flight is pending again.
    pub fn deactivate(&self, last_delivered: i64) {
        let mut state = self.state.lock();
        state.active = None;
        state.pulls.forget();
        state.offline_since = Some(Instant::now());
        // Durable topics count everything as delivered when the client does not say (0 or -2).
        let last_delivered = if last_delivered == 0 { -2 } else { last_delivered };
        for held in state.in_flight.take_back(last_delivered) {
            match held.transaction {
                Some(transaction) => state.orphans.push((transaction, held.entry)),
                None => {
                    let key = self.place(&held.entry);
                    state.pending.insert(key, held.entry);
                }
            }
        }
        state.in_flight = InFlightList::default();
    }

    /// Takes the messages that match; returns how many were sent at once.
    pub fn offer(&self, entries: &[Entry], now: Now, out: &mut Effects) -> u64 {
        let info = Arc::clone(&self.state.lock().info);
        let matches = |entry: &&Entry| {
            let candidate = Candidate { message: &entry.message, redeliveries: entry.redeliveries };
            super::accepts(&info, self.selector.as_ref(), &candidate)
        };
        let accepted: Vec<&Entry> = entries.iter().filter(matches).collect();
        if accepted.is_empty() {
            return 0;
        }
        let mut state = self.state.lock();
        let keeps_transient = self.keeps_transient || state.active.is_some();
        for entry in accepted {
            if !keeps_transient && !entry.message.persistent {
                continue;
            }
            state.pending.insert(self.place(entry), entry.clone());
        }
        self.send_pending(&mut state, now, out)
    }

    /// Applies an acknowledgement; true when something durable was removed.
    pub fn acknowledge(&self, ack: &Ack, now: Now, out: &mut Effects) -> Result<bool, BrokerError> {
        let mut state = self.state.lock();
        let State { active: Some(active), in_flight, .. } = &mut *state else { return Ok(false) };
        let settled = in_flight.settle(ack, &active.window, self.policy.use_prefetch_extension)?;
        let durable = settled.removed.iter().any(|entry| entry.message.persistent);
        for entry in settled.removed {
            match ack.kind {
                AckKind::Poison => {
                    let cause = ack.cause.as_deref().map(|cause| Cause::Client(cause.clone()));
                    self.dead(entry, cause, out);
                }
                AckKind::Expired if entry.message.is_expired(now.wall_ms) => {
                    self.expired(entry, out)
                }
                _ => self.consumed(&entry, out),
            }
        }
        self.send_pending(&mut state, now, out);
        Ok(durable)
    }

    /// Ends a transaction this subscription's acknowledgements were part of.
    pub fn end_transaction(
        &self,
        transaction: TransactionKey,
        commit: bool,
        now: Now,
        out: &mut Effects,
    ) {
        let mut state = self.state.lock();
        let none = Window::new(0);
        let State { active, in_flight, orphans, pending, .. } = &mut *state;
        let window = active.as_ref().map_or(&none, |active| &active.window);
        for entry in in_flight.end_transaction(transaction, commit, window) {
            self.consumed(&entry, out);
        }
        let (mine, others) =
            std::mem::take(orphans).into_iter().partition(|(holder, _)| *holder == transaction);
        *orphans = others;
        for (_, entry) in mine {
            if commit {
                self.consumed(&entry, out);
            } else {
                pending.insert(self.place(&entry), entry);
            }
        }
        self.send_pending(&mut state, now, out);
    }

    pub fn set_prefetch(&self, prefetch: i32, now: Now, out: &mut Effects) {
        let mut state = self.state.lock();
        if let Some(active) = &state.active {
            active.window.set_prefetch(prefetch);
        }
        self.send_pending(&mut state, now, out);
    }

    /// Asks for one message; a ticket for [`Self::end_pull`] when there is none yet.
    pub fn pull(&self, now: Now, out: &mut Effects) -> Option<u64> {
        let mut state = self.state.lock();
        if state.active.as_ref().is_none_or(|active| active.window.prefetch() > 0) {
            return None;
        }
        let ticket = state.pulls.ask();
        self.send_pending(&mut state, now, out);
        state.pulls.owes(ticket).then_some(ticket)
    }

    /// Ends a pull that waited long enough: answers that there is nothing, unless it was answered.
    pub fn end_pull(&self, ticket: u64) {
        let mut state = self.state.lock();
        let State { active: Some(active), pulls, info, .. } = &mut *state else { return };
        if pulls.owes(ticket) {
            pulls.answer();
            active.outbox.push(Item::Delivery(self.empty(info)));
        }
    }

    fn place(&self, entry: &Entry) -> Key {
        Key::of(entry, self.policy.prioritized_messages)
    }

    fn send_pending(&self, state: &mut State, now: Now, out: &mut Effects) -> u64 {
        let State { active: Some(active), pending, in_flight, info, pulls, .. } = state else {
            return 0;
        };
        let mut items = Vec::new();
        let pulled = active.window.prefetch() == 0;
        while (if pulled { pulls.any() } else { active.window.has_room() })
            && let Some((_, entry)) = pending.pop_first()
        {
            if entry.message.is_expired(now.wall_ms) {
                self.expired(entry, out);
                continue;
            }
            if pulled {
                pulls.answer();
            }
            active.window.add(1);
            let destination = entry.message.destination.clone();
            items.push(Item::Delivery(Delivery {
                destination: destination.unwrap_or_else(|| self.destination.clone()),
                message: Some(Arc::clone(&entry.message)),
                sequence: entry.sequence,
                redeliveries: entry.redeliveries,
                ..self.empty(info)
            }));
            in_flight.push(entry);
        }
        let sent = items.len() as u64;
        active.outbox.push_all(&mut items);
        sent
    }

    fn empty(&self, info: &Arc<ConsumerInfo>) -> Delivery {
        Delivery {
            subscription: self.key,
            consumer: Arc::clone(info),
            destination: self.destination.clone(),
            message: None,
            sequence: 0,
            redeliveries: 0,
            group_first: false,
            hold: None,
            source: None,
        }
    }

    fn consumed(&self, entry: &Entry, out: &mut Effects) {
        if self.policy.advisory_for_consumed
            && let Some(from) = &entry.message.destination
        {
            out.notice(Notice::consumed(from, &entry.message));
        }
    }

    fn expired(&self, entry: Entry, out: &mut Effects) {
        if let Some(from) = &entry.message.destination {
            out.notice(Notice::expired(from, &entry.message));
        }
        let expiration = entry.message.expiration;
        self.dead(entry, Some(Cause::Expired(expiration)), out);
    }

    fn dead(&self, entry: Entry, cause: Option<Cause>, out: &mut Effects) {
        let Some(from) = entry.message.destination.clone() else { return };
        let subscriber = Some(self.owner.clone());
        out.dead_letter(DeadLetter { message: entry.message, from, cause, subscriber });
    }
}
