//! Stores keep what must survive the broker: destinations, persistent messages and their acknowledgements,
//! durable subscriptions and prepared transactions.
//!
//! A store is data in, data out. One [`Submit`] is atomic; submits take effect in the order of the calls, and
//! each is answered when it is as durable as it asked for. A [`Fetch`] sees every submit made before it.
//!
//! Sequence numbers are the broker's: they rise within a destination in the order of arrival, are never used
//! again, and name a message there. Adds of one destination may come a little out of that order.
//!
//! A message of a queue is there until it is removed. A message of a topic names the durable subscriptions it
//! is for, is stored once, and goes with the last acknowledgement.

pub mod fs;
pub mod kahadb;
pub mod memory;
pub mod spool;

use crate::jms::{Destination, Message, ProducerId, Text, XaId};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where messages are kept.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// As the start log names it, such as `KahaDBPersistenceAdapter[data/kahadb]`.
    fn name(&self) -> String;

    /// Whether it keeps anything: what is given to a store that does not must stay with its destination.
    fn keeps(&self) -> bool;

    /// What was there when the store was opened. The second call finds nothing.
    fn recovered(&self) -> Recovered;

    /// Applies the operations as one: all or nothing. Never waits.
    fn submit(&self, submit: Submit);

    /// The same, from who looks at [`Store::awaits_lead`] before it waits for anything.
    fn submit_leading(&self, submit: Submit) {
        self.submit(submit);
    }

    /// Whether something was submitted that nobody writes before [`Store::lead`] is called.
    fn awaits_lead(&self) -> bool {
        false
    }

    /// Writes what was submitted, in this thread: who waits alone is answered sooner than by a thread of
    /// the store. Waits for a disk that is fast. Calls whoever waits: not for who holds a lock.
    fn lead(&self) {}

    /// Reads messages, as of every submit made before. Never waits; `done` is called by a thread of the
    /// store and must not block.
    fn fetch(&self, fetch: Fetch, done: FetchDone);

    /// Figures for the operator.
    fn status(&self) -> StoreStatus;

    /// Tells how many bytes it may use, so that it can make room in time; 0 is no limit. It refuses
    /// nothing because of it.
    fn set_limit(&self, _bytes: u64) {}

    /// Makes everything durable and ends. Blocks. Later submits are refused.
    ///
    /// # Errors
    /// When something could not be made durable, now or before.
    fn close(&self) -> Result<(), StoreError>;
}

/// Operations that take effect together or not at all.
pub struct Submit {
    pub ops: Vec<StoreOp>,
    /// Whether somebody waits for it to survive a power cut; else it rides along with the next one that
    /// is waited for.
    pub durable: bool,
    pub done: Completion,
}

/// Called once with the outcome of a submit, in the order of the submits; must not block.
pub type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A change to what is stored.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// A destination comes into being. No effect if it is there.
    Create { destination: Destination },
    /// A destination goes, with all it holds.
    Delete { destination: Destination },
    /// A message enters a destination, which need not have been created.
    Add(StoredAdd),
    /// A message leaves its destination for good (a topic: for all its subscriptions). No effect if it is
    /// not there.
    Remove { destination: Destination, sequence: i64 },
    /// A message of a queue is about to be given to a consumer: from now on it is read as redelivered. No
    /// effect if it is not there.
    Deliver { destination: Destination, sequence: i64 },
    /// A durable subscription is done with a message of a topic.
    Acknowledge { destination: Destination, subscription: u64, sequence: i64 },
    /// Every message of `destination` up to `last` leaves.
    Purge { destination: Destination, last: i64 },
    /// A durable subscription comes into being.
    Subscribe(StoredSubscription),
    /// A durable subscription goes, with its backlog.
    Unsubscribe { subscription: u64 },
    /// What a topic holds for others is for this durable subscription as well, which has not acknowledged anything
    /// of the topic.
    Share { destination: Destination, subscription: u64 },
    /// An XA branch is prepared: it waits, whatever happens, until it is forgotten.
    Prepare(PreparedBranch),
    /// A prepared branch has ended. What it did, if it was committed, are operations of the same submit.
    Forget { xid: Arc<XaId> },
}

/// A message on its way into the store.
#[derive(Clone, Debug)]
pub struct StoredAdd {
    pub destination: Destination,
    pub sequence: i64,
    /// Messages of a queue are read band by band: 9 - priority where messages are prioritized, else 0.
    pub band: u8,
    pub message: Arc<Message>,
    /// Topics: the durable subscriptions it is for, ascending. Empty for queues.
    pub subscribers: Vec<u64>,
    /// Lets the caller take it back while it waits to be written.
    pub cancel: Option<Cancel>,
}

/// A durable subscription as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Chosen by the broker, above [`Recovered::last_subscription`] and never used again.
    pub number: u64,
    pub client: Text,
    pub name: Text,
    /// The topic, pattern or composite it listens to.
    pub destination: Destination,
    pub selector: Option<Text>,
    pub no_local: bool,
}

/// What a prepared XA branch will do when it is committed.
#[derive(Clone, Debug)]
pub struct PreparedBranch {
    pub xid: Arc<XaId>,
    pub sends: Vec<(Destination, Arc<Message>)>,
    /// Messages of queues acknowledged in it.
    pub removals: Vec<(Destination, Vec<i64>)>,
    /// Messages of topics acknowledged in it: topic, subscription, sequences.
    pub acknowledgements: Vec<(Destination, u64, Vec<i64>)>,
}

/// Settles whether something is written or was taken back before.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// Takes it back; false if it is too late and it is stored, or soon will be.
    pub fn cancel(&self) -> bool {
        self.settle(CANCELLED)
    }

    /// For the writer: true if it is to be written.
    pub(crate) fn take(&self) -> bool {
        self.settle(TAKEN)
    }

    /// Whether it was taken back.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }

    fn settle(&self, outcome: u8) -> bool {
        let first = self.0.compare_exchange(OPEN, outcome, Ordering::AcqRel, Ordering::Acquire);
        first.is_ok() || first == Err(outcome)
    }
}

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const CANCELLED: u8 = 2;

/// A question to the store.
#[derive(Clone, Debug)]
pub enum Fetch {
    /// Messages of one band of a queue above sequence `after`, ascending.
    Queue { destination: Destination, band: u8, after: i64, limit: PageLimit },
    /// Messages a durable subscription has not acknowledged, above sequence `after`, ascending, of one of
    /// its topics or of all.
    Durable { subscription: u64, topic: Option<Destination>, after: i64, limit: PageLimit },
    /// Messages of `destination` whose expiration is before `now_ms`, ms since the epoch.
    Expired { destination: Destination, now_ms: i64, limit: PageLimit },
    /// Exactly these; those that are not there are left out.
    Exactly { destination: Destination, sequences: Vec<i64> },
}

/// How much one page may have: it ends with the message that reaches a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    pub messages: usize,
    pub bytes: u64,
}

/// Called once with the answer to a fetch.
pub type FetchDone = Box<dyn FnOnce(Result<Page, StoreError>) + Send>;

/// Messages in the order of their sequences.
#[derive(Debug, Default)]
pub struct Page {
    pub messages: Vec<StoredMessage>,
    /// Sequence of the last one looked at: read on behind it.
    pub last: Option<i64>,
    /// Nothing is behind `last`.
    pub end: bool,
    /// How many are behind `last`, if that is known: for durable subscriptions.
    pub behind: Option<u64>,
    /// Sequences of those that cannot be read any more. They stay where they are.
    pub damaged: Vec<i64>,
}

/// A message as the store has it; one that was delivered has a redelivery counter of 1 at least.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    pub sequence: i64,
    pub message: Arc<Message>,
}

/// What a store found when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    pub destinations: Vec<RecoveredDestination>,
    pub subscriptions: Vec<RecoveredSubscription>,
    pub prepared: Vec<PreparedBranch>,
    /// The highest sequence number ever used.
    pub last_sequence: i64,
    /// The highest number a durable subscription ever had.
    pub last_subscription: u64,
}

/// One destination of [`Recovered`].
#[derive(Debug)]
pub struct RecoveredDestination {
    pub destination: Destination,
    /// Messages in each band that has any: (band, messages).
    pub bands: Vec<(u8, u64)>,
    /// Whether some of them have an expiration.
    pub expiring: bool,
    /// Highest sequence number each recent producer stored here.
    pub producers: Vec<(ProducerId, i64)>,
}

/// One durable subscription of [`Recovered`].
#[derive(Debug)]
pub struct RecoveredSubscription {
    pub subscription: StoredSubscription,
    /// Messages it has not acknowledged.
    pub pending: u64,
}

/// Figures of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Journal files and index, bytes.
    pub bytes_used: u64,
    pub journal_files: u64,
    /// Messages there now.
    pub messages: u64,
}

/// What a store tells of its own accord. Called by its threads; must not block.
pub trait StoreEvents: Send + Sync + 'static {
    /// The bytes it takes on disk have changed.
    fn bytes_used(&self, bytes: u64);

    /// Whether the disk has no more room for messages. While it has none, what waits to be written
    /// may still fit; what does not is refused with [`StoreError::NoSpace`].
    fn no_space(&self, is_short: bool) {
        let _ = is_short;
    }

    /// Of a store that is several: the bytes that the one in the folder `part` takes have changed.
    fn part_bytes_used(&self, part: &str, bytes: u64) {
        let _ = (part, bytes);
    }

    /// Likewise: whether that one has no more room.
    fn part_no_space(&self, part: &str, is_short: bool) {
        let _ = (part, is_short);
    }

    /// It has stopped for good: nothing more is stored, and the broker must not go on.
    fn failed(&self, error: &StoreError);
}

/// How messages are written: the store knows no protocol.
#[derive(Clone, Copy, Debug)]
pub struct MessageForm {
    /// Number of the form, written into the store (`storeOpenWireVersion`).
    pub version: u32,
    /// Appends a message.
    pub encode: fn(&Message, &mut Vec<u8>),
    /// Reads what `encode` wrote; none if it is something else.
    pub decode: fn(Bytes) -> Option<Arc<Message>>,
}

/// Why a store refused or stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store stopped after an earlier error: {0}")]
    Stopped(Text),
    /// There is no room for more messages. Removals are still taken.
    #[error("no space left for the store: {0}")]
    NoSpace(Text),
    #[error("too large for the store: {0}")]
    TooLarge(Text),
}
