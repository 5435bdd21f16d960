//! Destinations: queues and topics, each owned by one task.
//!
//! [`Queue`](queue::Queue) and [`Topic`](topic::Topic) are plain state; the task in `task` feeds them
//! what arrives in the mailbox and carries out their [`Effects`]. A destination task waits for its
//! mailbox only: never for memory, disk, a socket or another mailbox.

mod adds;
pub mod audit;
mod backlog;
pub mod commit;
pub mod counters;
pub mod durable;
mod eviction;
#[cfg(test)]
pub(super) mod fixture;
mod gauge;
mod groups;
pub mod in_flight;
mod members;
pub mod outlet;
pub mod pace;
mod parking;
pub mod patience;
pub mod queue;
mod recovery;
pub mod report;
mod selector_index;
mod sources;
mod spilled;
pub mod subscription;
mod tally;
mod task;
pub mod topic;
pub mod topic_acks;
#[cfg(test)]
mod topic_tests;
mod waiting;

pub use adds::Adds;
pub use gauge::{Gauge, Gauges};
pub use outlet::Outlet;
pub use queue::{History as QueueHistory, TempShortage};
pub(super) use task::OPS;
pub use task::{DestinationHandle, NewDestination, spawn, spawn_jobs};
pub use waiting::Wake;

use self::commit::{Decision, Vote};
use self::counters::Whose;
use self::durable::{DurableSubscription, Looking, Past};
use self::in_flight::{Ack, Entry, TransactionKey};
use self::queue::{NewSubscription, Pull};
use self::report::Report;
use self::topic::TopicMember;
use super::advisory::Notice;
use super::candidate::Candidate;
use super::dead_letter::{DeadLetter, Leaving, Told};
use super::error::BrokerError;
use super::outbox::{Receipt, SubscriptionKey};
use super::policy::Policy;
use super::scheduler::{Firing, JobsOp};
use super::usage::{Credit, Spilling, Usage};
use crate::jms::selector::Selector;
use crate::jms::{ConsumerInfo, Destination, Message, Text};
use crate::store::spool::{Channel, Spooled};
use crate::store::{Fetch, Page, PageLimit, StoreError, StoreOp};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time a batch is handled at: read once per batch.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    /// ms since the epoch.
    pub wall_ms: i64,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            instant: Instant::now(),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What a destination is asked to do.
#[derive(Debug)]
pub enum Op {
    Send(Incoming),
    Ack {
        ack: Box<Ack>,
        receipt: Option<Receipt>,
    },
    Subscribe {
        new: Box<NewSubscription>,
        receipt: Option<Receipt>,
    },
    Unsubscribe {
        key: SubscriptionKey,
        /// As in `RemoveInfo`: -2 unknown, -1 nothing, else a broker sequence.
        last_delivered: i64,
        receipt: Option<Receipt>,
    },
    /// Topics: a subscription joins.
    Join {
        member: TopicMember,
        receipt: Option<Receipt>,
        /// A durable one waits for the topic's past.
        past: Option<Looking>,
    },
    /// Topics: a subscription leaves.
    Leave {
        key: SubscriptionKey,
        receipt: Option<Receipt>,
    },
    Pull {
        key: SubscriptionKey,
        pull: Pull,
    },
    /// Rolls back: what was acknowledged in the transaction stays with its consumers.
    RollBack {
        transaction: TransactionKey,
        receipt: Option<Receipt>,
    },
    /// A transaction is committed: the destination says what its part of it is.
    Vote(Box<Vote>),
    /// A transaction this destination voted on was committed, or could not be.
    Decide(Box<Decision>),
    /// Tells which messages are acknowledged in a transaction.
    Marked {
        transaction: TransactionKey,
        answer: tokio::sync::oneshot::Sender<Vec<i64>>,
    },
    /// These messages were acknowledged in a prepared transaction before the broker's last start.
    Lock {
        transaction: TransactionKey,
        sequences: Vec<i64>,
    },
    /// Messages from the store.
    Paged {
        of: PageOf,
        page: Result<Page, StoreError>,
    },
    /// Messages from the temp store.
    Unspooled {
        channel: u64,
        band: u8,
        messages: Result<Vec<Spooled>, StoreError>,
    },
    /// The temp store had no room for these messages.
    Unspoolable {
        channel: u64,
        band: u8,
        messages: Vec<Spooled>,
    },
    /// A dead message has left the store, or could not be moved.
    Buried {
        sequence: i64,
        gone: bool,
    },
    /// What was in [`Effects::marks`] is durable, or could not be stored.
    MarkedDelivered,
    /// These messages are in the store now, or it had no room for them.
    Stored {
        entries: Vec<Entry>,
        stored: bool,
    },
    /// The store had no room for these messages, which are pending already.
    Refused {
        sequences: Vec<i64>,
    },
    /// The store had no room for these messages, which are to wait until it has.
    NoRoom(Box<Adds>),
    /// A connection is gone: its parked sends are dropped.
    ConnectionClosed(u64),
    /// There may be room for parked sends, or in a window shared with other destinations.
    Wake,
    Purge {
        receipt: Option<Receipt>,
    },
    /// The destination is removed; its task ends.
    Destroy {
        receipt: Option<Receipt>,
    },
    Report(tokio::sync::oneshot::Sender<Report>),
    ResetCounters(Whose),
    /// The policy has changed.
    Policy(Arc<Policy>),
    /// For the jobs of the scheduler.
    Jobs(Box<JobsOp>),
}

/// Why a page was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOf {
    /// To be dispatched, from one band of the queue.
    Band(u8),
    /// They are past their time.
    Expired,
    /// For a browser.
    Browser(SubscriptionKey),
    /// Acknowledged in a prepared transaction that was rolled back.
    Unlocked,
    /// Jobs of the scheduler, asked for with this.
    Jobs(u64),
}

/// How a message gets its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Taken already.
    Credited,
    /// The sender waits for the receipt: keep the message aside until there is room.
    Park,
    /// Taken whatever the limits say: the broker's own messages.
    Forced,
}

/// A message on its way into a destination.
#[derive(Debug)]
pub struct Incoming {
    pub message: Arc<Message>,
    /// What it counts in memory.
    pub bytes: u64,
    pub admission: Admission,
    pub receipt: Option<Receipt>,
    /// The broker's number of the sender's connection.
    pub connection: u64,
    /// Its sender is a broker, which is held back as long as need be, but never refused.
    pub of_network: bool,
    pub redeliveries: i32,
    /// Its sender has reconnected: it may send again what had arrived.
    pub resent: bool,
    /// What leaves another place with it, in one submit: a message that moves here.
    pub moved: Vec<Leaving>,
    /// With [`Admission::Park`]: its place among the parked sends of its connection, until it is in.
    pub parked: Option<Credit>,
    /// With [`Admission::Park`]: where it goes when it has its memory, if that is a transaction.
    pub joins: Option<Join>,
}

/// Takes a message whose memory was taken, and the bytes of that, into a transaction. False: that has ended.
pub struct Join(Box<dyn FnOnce(Arc<Message>, u64) -> bool + Send + Sync>);

impl Join {
    pub fn new(join: impl FnOnce(Arc<Message>, u64) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(join))
    }
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Join")
    }
}

impl Incoming {
    /// A message of the broker itself: it is let in whatever the limits say.
    pub fn of_broker(message: Arc<Message>, bytes: u64) -> Self {
        Self {
            message,
            bytes,
            admission: Admission::Forced,
            receipt: None,
            connection: 0,
            of_network: false,
            redeliveries: 0,
            resent: false,
            moved: Vec::new(),
            parked: None,
            joins: None,
        }
    }

    /// The id of the sending producer, for texts.
    fn producer(&self) -> Text {
        self.message.producer_id.as_ref().map(ToString::to_string).unwrap_or_default().into()
    }
}

/// What must happen outside after a batch.
#[derive(Debug, Default)]
pub struct Effects {
    /// Receipts to resolve now.
    pub receipts: Vec<(Receipt, Result<(), BrokerError>)>,
    /// Messages that enter the store, and what leaves with them.
    pub adds: Vec<StoreOp>,
    /// Receipts to resolve when those are durable; each stands with the number of `adds` there were when it
    /// came.
    pub added: Vec<(usize, Receipt)>,
    /// Messages of `adds` that come back as [`Op::Stored`].
    pub awaited: Vec<Entry>,
    /// Who hears that what left with them has left.
    pub told_added: Vec<(usize, Told)>,
    /// Memory that is taken until those are stored.
    pub holds: Vec<Arc<Credit>>,
    /// The destination takes back what the store has no room for.
    pub adds_wait: bool,
    /// What is marked in the store before consumers get it; [`Op::MarkedDelivered`] answers.
    pub marks: Vec<StoreOp>,
    /// What leaves the store. It is not held up by a lack of space for `adds`.
    pub removals: Vec<StoreOp>,
    /// Receipts to resolve when those are durable.
    pub removed: Vec<Receipt>,
    /// Who hears that they have left.
    pub told_removed: Vec<Told>,
    /// Receipts to resolve when everything before is durable.
    pub flushed: Vec<Receipt>,
    /// What to read from the store, behind all of the above.
    pub fetches: Vec<(PageOf, Fetch)>,
    /// What the temp store is to do.
    pub spool: Vec<SpoolJob>,
    /// Messages for durable subscriptions, which get them when the store has them in its queue.
    pub offers: Vec<(Arc<DurableSubscription>, Vec<Entry>)>,
    /// Durable subscriptions that read on, behind all of the above.
    pub reads: Vec<(Arc<DurableSubscription>, Fetch)>,
    /// What durable subscriptions get of the past, depending on what the store has for them behind all of the
    /// above.
    pub pasts: Vec<Past>,
    pub dead_letters: Vec<DeadLetter>,
    pub notices: Vec<Notice>,
    /// Scheduled messages whose time has come.
    pub firings: Vec<Firing>,
    /// The destination has ended.
    pub destroyed: bool,
}

impl Effects {
    pub(in crate::broker) fn resolve(
        &mut self,
        receipt: Option<Receipt>,
        result: Result<(), BrokerError>,
    ) {
        if let Some(receipt) = receipt {
            self.receipts.push((receipt, result));
        }
    }

    /// Resolves `receipt` when what is in `adds` is durable.
    pub(super) fn when_added(&mut self, receipt: Option<Receipt>) {
        self.added.extend(receipt.map(|receipt| (self.adds.len(), receipt)));
    }

    /// Resolves `receipt` when what is in `removals` is durable.
    pub(in crate::broker) fn when_removed(&mut self, receipt: Option<Receipt>) {
        self.removed.extend(receipt);
    }

    /// What is to leave the store does so with what enters it.
    pub(in crate::broker) fn move_along(&mut self, moved: Vec<Leaving>) {
        for Leaving { op, told } in moved {
            self.adds.push(op);
            self.told_added.push((self.adds.len(), told));
        }
    }

    /// What is to leave the store does so by itself.
    pub(in crate::broker) fn leave(&mut self, moved: impl IntoIterator<Item = Leaving>) {
        for Leaving { op, told } in moved {
            self.removals.push(op);
            self.told_removed.push(told);
        }
    }

    fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters.push(letter);
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

/// Work for the temp store.
#[derive(Debug)]
pub enum SpoolJob {
    Append {
        channel: Arc<Channel>,
        band: u8,
        messages: Vec<Spooled>,
        /// Memory that is taken until they are written.
        holds: Vec<(Credit, Spilling)>,
    },
    Take {
        channel: Arc<Channel>,
        band: u8,
        limit: PageLimit,
    },
}

/// Whether a message is for a consumer: the selector matches, noLocal does not exclude it, and it is not
/// meant for another one alone.
pub(crate) fn accepts(
    info: &ConsumerInfo,
    selector: Option<&Selector>,
    candidate: &Candidate<'_>,
) -> bool {
    let message = candidate.message;
    if info.no_local {
        let from = message.message_id.as_ref().and_then(|id| id.producer.as_ref());
        let from = from.and_then(|producer| producer.connection.as_ref());
        let own = info.connection();
        if from.is_some() && from == own {
            return false;
        }
    }
    if message.target_consumer_id.is_some() && message.target_consumer_id != info.consumer_id {
        return false;
    }
    selector.is_none_or(|selector| selector.matches(candidate))
}

pub(crate) fn warn_full(destination: &Destination, usage: &Usage, size: u64) {
    tracing::warn!(
        "Usage Manager Memory Limit ({}) reached on {destination}, size {size}. Producers will be \
         throttled to the rate at which messages are removed from this destination to prevent flooding \
         it. See http://activemq.apache.org/producer-flow-control.html for more info",
        usage.limit()
    );
}

/// A sender whose connection is not read has waited for so long.
pub(crate) fn warn_stopped(destination: &Destination, producer: &str, seconds: u64) {
    tracing::warn!(
        "Usage Manager Memory Limit reached. Producer ({producer}) stopped to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info \
         (blocking for: {seconds}s)"
    );
}

pub(crate) fn warn_store_full(destination: &Destination, percent: u32, limit: u64, producer: &str) {
    tracing::warn!(
        "Persistent store is Full, {percent}% of {limit}. Stopping producer ({producer}) to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info"
    );
}

pub(crate) fn warn_temp_full(destination: &Destination, short: TempShortage, producer: &str) {
    let TempShortage { percent, limit_bytes: limit } = short;
    tracing::warn!(
        "Temp Store is Full ({percent}% of {limit}). Stopping producer ({producer}) to prevent flooding \
         {destination}. See http://activemq.apache.org/producer-flow-control.html for more info"
    );
}

fn notice_full(policy: &Policy, destination: &Destination, usage: &Usage, out: &mut Effects) {
    if policy.advisory_when_full {
        out.notice(Notice::full(destination, usage));
    }
}
