//! Messages a consumer was given and has not settled, and the window that limits them.
//!
//! Queues and durable subscriptions share this: acknowledgement ranges, the prefetch window and its
//! extension follow OpenWire section 15.

use super::pace::{Pace, Seen};
use super::waiting::{Waiting, Wake};
use crate::broker::error::BrokerError;
use crate::broker::usage::Credit;
use crate::jms::{AckKind, Message, MessageId, Text, Throwable, TransactionId};
use crate::store::Cancel;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// One message in a destination.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Arc<Message>,
    /// The broker's sequence number: order of arrival, unique in the broker.
    pub sequence: i64,
    /// What the message counts in memory.
    pub bytes: u64,
    /// Times it was handed out and came back.
    pub redeliveries: i32,
    /// Memory given back when the entry goes, where entries are shared (topics).
    pub hold: Option<Arc<Credit>>,
    /// 9 - priority where messages are prioritized, else 0.
    pub band: u8,
    /// Takes it back from the store while it waits to be written.
    pub cancel: Option<Cancel>,
}

impl Entry {
    pub fn new(message: Arc<Message>, sequence: i64, bytes: u64, prioritized: bool) -> Self {
        let band = if prioritized { 9 - message.priority.clamp(0, 9).cast_unsigned() } else { 0 };
        // Those it has come with, see `redeliveryPlugin`.
        let redeliveries = message.redelivery_counter;
        Self { message, sequence, bytes, redeliveries, hold: None, band, cancel: None }
    }

    /// Whether it came back from a consumer here, which the store does not know.
    pub fn came_back(&self) -> bool {
        self.redeliveries != self.message.redelivery_counter
    }

    pub fn id(&self) -> Option<&MessageId> {
        self.message.message_id.as_ref()
    }
}

/// Names a transaction inside the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey(pub u64);

/// Whether a transaction can still be committed: not after something in it failed whose sender asked for no
/// answer.
#[derive(Debug)]
pub struct RollbackOnly {
    id: TransactionId,
    cause: OnceLock<Text>,
}

impl RollbackOnly {
    /// Of a transaction that has just begun.
    pub fn unmarked(id: TransactionId) -> Arc<Self> {
        Arc::new(Self { id, cause: OnceLock::new() })
    }

    /// From now on it can only be rolled back. The first cause stays.
    pub fn mark(&self, cause: &BrokerError) {
        self.cause.get_or_init(|| cause.to_string().into());
    }

    /// How a commit is answered; none while it may take place.
    pub fn error(&self) -> Option<BrokerError> {
        let (id, cause) = (self.id.to_string().into(), Text::clone(self.cause.get()?));
        Some(match self.id {
            TransactionId::Local { .. } => BrokerError::RollbackOnly { id, cause },
            TransactionId::Xa(_) => BrokerError::BranchRollbackOnly { id, cause },
        })
    }
}

/// An acknowledgement, checked by the connection it came from.
#[derive(Clone, Debug)]
pub struct Ack {
    pub subscription: crate::broker::outbox::SubscriptionKey,
    pub kind: AckKind,
    pub range: AckRange,
    /// Messages the client says the range has.
    pub count: i32,
    pub transaction: Option<TransactionKey>,
    /// Marked when the acknowledgement fails and nobody waits for an answer.
    pub rollback_only: Option<Arc<RollbackOnly>>,
    pub cause: Option<Box<Throwable>>,
}

/// Which messages an acknowledgement is about.
#[derive(Clone, Debug)]
pub enum AckRange {
    /// From `first` (none: the oldest) to `last` in order of dispatch.
    Span { first: Option<MessageId>, last: MessageId },
    /// Exactly these: a span that was resolved by the connection, for consumers of several
    /// destinations.
    Exactly(Vec<MessageId>),
}

impl AckRange {
    fn last(&self) -> Option<&MessageId> {
        match self {
            Self::Span { last, .. } => Some(last),
            Self::Exactly(ids) => ids.last(),
        }
    }
}

/// For error texts.
impl Ack {
    pub(crate) fn describe(&self) -> Text {
        let last = self.range.last().map(ToString::to_string).unwrap_or_default();
        format!("{:?} ack of {} message(s) up to {last}", self.kind, self.count).into()
    }
}

/// How many messages a consumer may have in flight. Shared by all destinations of one consumer.
#[derive(Debug)]
pub struct Window {
    prefetch: AtomicI32,
    extension: AtomicI32,
    in_flight: AtomicI32,
    /// Destinations that have messages for the consumer and found no room.
    waiting: Waiting,
    pub(super) pace: Pace,
}

impl Window {
    pub fn new(prefetch: i32) -> Self {
        Self {
            prefetch: AtomicI32::new(prefetch.max(0)),
            extension: AtomicI32::new(0),
            in_flight: AtomicI32::new(0),
            waiting: Waiting::default(),
            pace: Pace::default(),
        }
    }

    /// How its consumer keeps up.
    pub fn seen(&self) -> Seen {
        self.pace.seen(self.in_flight(), Instant::now())
    }

    pub fn prefetch(&self) -> i32 {
        self.prefetch.load(Ordering::Relaxed)
    }

    pub fn set_prefetch(&self, prefetch: i32) {
        self.prefetch.store(prefetch.max(0), Ordering::SeqCst);
    }

    pub fn in_flight(&self) -> i32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether one more message may be given. Never with prefetch 0: that consumer pulls.
    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Whether the consumer has all it asked for. Never with prefetch 0.
    pub fn is_full(&self) -> bool {
        self.prefetch() > 0 && !self.has_room()
    }

    /// How many more messages may be given. None with prefetch 0.
    pub fn room(&self) -> usize {
        if self.prefetch() == 0 {
            return 0;
        }
        let most = self.prefetch().saturating_add(self.extension.load(Ordering::SeqCst));
        usize::try_from(most.saturating_sub(self.in_flight.load(Ordering::SeqCst))).unwrap_or(0)
    }

    pub fn add(&self, messages: i32) {
        self.in_flight.fetch_add(messages, Ordering::SeqCst);
    }

    /// `messages` were settled or taken back: the window shrinks to its normal size with them. The first
    /// one who waits for room is woken, and the next one by that one, if it leaves some.
    pub fn settle(&self, messages: i32) {
        let less = |now: i32| Some(now.saturating_sub(messages).max(0));
        for counter in [&self.in_flight, &self.extension] {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).unwrap_or_default();
        }
        self.waiting.wake();
    }

    /// The application has `messages` of those in flight: as many more may be given.
    pub fn extend_to(&self, messages: i32) {
        if self.prefetch() > 0 {
            self.extension.fetch_max(messages, Ordering::SeqCst);
            self.waiting.wake();
        }
    }

    /// A queue that shares the window has messages for the consumer, but there is no room.
    pub(super) fn wait(&self, wake: &Wake) {
        self.waiting.add(wake);
        if self.has_room() {
            // It came meanwhile.
            self.waiting.wake();
        }
    }

    /// A queue that shares the window needs no more of it: the next one that waits may.
    pub(super) fn pass_on(&self) {
        if self.has_room() {
            self.waiting.wake();
        }
    }
}

/// A message handed out.
#[derive(Clone, Debug)]
pub struct InFlight {
    pub entry: Entry,
    /// Acknowledged in this transaction, which has not ended.
    pub transaction: Option<TransactionKey>,
    /// Gone from its destination; the consumer does not know and will acknowledge it.
    pub purged: bool,
}

/// What a consumer holds, in order of dispatch.
#[derive(Debug, Default)]
pub struct InFlightList {
    list: VecDeque<InFlight>,
    /// Whether anything was ever handed out: an ack before that is stale and ignored.
    dispatched: bool,
}

/// What an acknowledgement did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Messages that left the consumer.
    pub removed: Vec<Entry>,
    /// Messages now bound to the transaction.
    pub marked: usize,
}

/// Where the messages of an acknowledgement are in the list.
enum Positions {
    /// One after the other: the usual case, which needs no memory.
    Run(std::ops::Range<usize>),
    /// Ascending, each once.
    List(Vec<usize>),
}

impl Positions {
    fn len(&self) -> usize {
        match self {
            Self::Run(run) => run.len(),
            Self::List(list) => list.len(),
        }
    }
}

impl InFlightList {
    pub fn push(&mut self, entry: Entry) {
        self.dispatched = true;
        self.list.push_back(InFlight { entry, transaction: None, purged: false });
    }

    /// How many messages of its destination the consumer holds.
    pub fn len(&self) -> usize {
        self.list.iter().filter(|held| !held.purged).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes every message away from its destination, while the consumer still has it.
    pub fn purge(&mut self) -> Vec<Entry> {
        let live = self.list.iter_mut().filter(|held| !held.purged);
        live.map(|held| {
            held.purged = true;
            held.entry.clone()
        })
        .collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.list.iter()
    }

    /// Applies `ack`; nothing is changed when it does not match.
    pub fn settle(
        &mut self,
        ack: &Ack,
        window: &Window,
        extend: bool,
    ) -> Result<Settled, BrokerError> {
        if !self.dispatched {
            return Ok(Settled::default());
        }
        match ack.kind {
            AckKind::Delivered => self.delivered(ack, window, extend),
            AckKind::Redelivered => self.positions(ack).map(|_| Settled::default()),
            AckKind::Unmatched => Ok(Settled::default()),
            AckKind::Individual => {
                let Some(at) = ack.range.last().and_then(|last| self.find(last)) else {
                    return Ok(Settled::default());
                };
                Ok(self.take(&Positions::Run(at..at + 1), ack.transaction, window, extend))
            }
            AckKind::Poison if ack.transaction.is_some() => {
                Err(BrokerError::AckPoisonInTransaction { ack: ack.describe() })
            }
            AckKind::Standard | AckKind::Poison | AckKind::Expired => {
                let positions = self.positions(ack)?;
                let counted = ack.kind == AckKind::Standard
                    && ack.transaction.is_none()
                    && matches!(ack.range, AckRange::Span { .. });
                if counted && usize::try_from(ack.count) != Ok(positions.len()) {
                    return Err(BrokerError::AckCount {
                        ack: ack.describe(),
                        expected: ack.count,
                        found: positions.len(),
                    });
                }
                Ok(self.take(&positions, ack.transaction, window, extend))
            }
        }
    }

    fn find(&self, id: &MessageId) -> Option<usize> {
        self.list.iter().position(|held| held.entry.id() == Some(id))
    }

    fn delivered(&self, ack: &Ack, window: &Window, extend: bool) -> Result<Settled, BrokerError> {
        let at = ack.range.last().and_then(|last| self.find(last));
        let Some(at) = at else {
            return Err(BrokerError::AckUnknown { ack: ack.describe() });
        };
        if extend {
            window.extend_to(i32::try_from(at + 1).unwrap_or(i32::MAX));
        }
        Ok(Settled::default())
    }

    /// Where the messages of the range are, in order.
    fn positions(&self, ack: &Ack) -> Result<Positions, BrokerError> {
        let missing = |id: &MessageId, end| BrokerError::AckRange {
            ack: ack.describe(),
            id: id.to_string().into(),
            end,
        };
        match &ack.range {
            AckRange::Exactly(ids) => {
                let mut positions: Vec<usize> = ids.iter().filter_map(|id| self.find(id)).collect();
                positions.sort_unstable();
                positions.dedup();
                Ok(Positions::List(positions))
            }
            AckRange::Span { first, last } => {
                let start = match first {
                    None => 0,
                    Some(first) => self.find(first).ok_or_else(|| missing(first, "start"))?,
                };
                if first.as_ref() == Some(last) {
                    return Ok(Positions::Run(start..start + 1));
                }
                let behind = self.list.iter().skip(start);
                let length = behind
                    .map(|held| held.entry.id())
                    .position(|id| id == Some(last))
                    .ok_or_else(|| missing(last, "end"))?;
                Ok(Positions::Run(start..start + length + 1))
            }
        }
    }

    fn take(
        &mut self,
        positions: &Positions,
        transaction: Option<TransactionKey>,
        window: &Window,
        extend: bool,
    ) -> Settled {
        let mut settled = Settled::default();
        if transaction.is_some() {
            let last = match positions {
                Positions::Run(run) => {
                    self.list
                        .range_mut(run.clone())
                        .for_each(|held| held.transaction = transaction);
                    run.clone().last()
                }
                Positions::List(list) => {
                    list.iter().for_each(|at| self.list[*at].transaction = transaction);
                    list.last().copied()
                }
            };
            settled.marked = positions.len();
            if let (true, Some(last)) = (extend, last) {
                window.extend_to(i32::try_from(last + 1).unwrap_or(i32::MAX));
            }
            return settled;
        }
        let live = |held: InFlight| (!held.purged).then_some(held.entry);
        match positions {
            Positions::Run(run) => {
                settled.removed.reserve(run.len());
                settled.removed.extend(self.list.drain(run.clone()).filter_map(live));
            }
            Positions::List(list) => {
                let gone = list.iter().rev().filter_map(|at| self.list.remove(*at));
                settled.removed.extend(gone.filter_map(live));
                settled.removed.reverse();
            }
        }
        window.settle(i32::try_from(positions.len()).unwrap_or(i32::MAX));
        settled
    }

    /// The messages acknowledged in `transaction`.
    pub fn marked(&self, transaction: TransactionKey) -> impl Iterator<Item = &Entry> {
        let marked = self.list.iter().filter(move |held| held.transaction == Some(transaction));
        marked.filter(|held| !held.purged).map(|held| &held.entry)
    }

    /// Ends a transaction: on commit its messages leave, on rollback they stay with the consumer.
    pub fn end_transaction(
        &mut self,
        transaction: TransactionKey,
        commit: bool,
        window: &Window,
    ) -> Vec<Entry> {
        let mut removed = Vec::new();
        if commit {
            let before = self.list.len();
            self.list.retain(|held| {
                let mine = held.transaction == Some(transaction);
                if mine && !held.purged {
                    removed.push(held.entry.clone());
                }
                !mine
            });
            window.settle(i32::try_from(before - self.list.len()).unwrap_or(i32::MAX));
        } else {
            for held in &mut self.list {
                if held.transaction == Some(transaction) {
                    held.transaction = None;
                }
            }
        }
        removed
    }

    /// Takes everything back from a consumer that goes away. Redelivery counters rise as
    /// `last_delivered` says: -2 all (unknown), -1 or 0 none, else up to that broker sequence in order
    /// of dispatch.
    pub fn take_back(&mut self, last_delivered: i64) -> Vec<InFlight> {
        let seen = match last_delivered {
            -2 => self.list.len(),
            last if last > 0 => {
                self.list.iter().position(|held| held.entry.sequence == last).map_or(0, |at| at + 1)
            }
            _ => 0,
        };
        for held in self.list.iter_mut().take(seen) {
            held.entry.redeliveries = held.entry.redeliveries.saturating_add(1);
        }
        std::mem::take(&mut self.list).into()
    }
}
