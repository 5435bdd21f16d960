//! What a queue or topic shares with the rest of the broker, and what it knows at the start.

use crate::broker::dead_letter::{Cause, DeadLetter};
use crate::broker::destination::counters::{Gone, SharedCounts};
use crate::broker::destination::{Effects, Incoming, Op, Wake};
use crate::broker::outbox::Receipt;
use crate::broker::policy::{Cursor, Policy};
use crate::broker::usage::Usage;
use crate::jms::{Destination, Message, ProducerId};
use crate::store::spool::Spool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

/// What the queue shares with the rest of the broker.
#[derive(Clone)]
pub struct QueueContext {
    pub destination: Destination,
    pub policy: Arc<Policy>,
    pub usage: Arc<Usage>,
    /// Disk space of the store.
    pub store_usage: Arc<Usage>,
    /// Disk space of the temp store.
    pub temp_usage: Arc<Usage>,
    /// Whether there is a store that keeps persistent messages.
    pub keeps: bool,
    /// Whether messages go to consumers while they are being stored.
    pub dispatches_early: bool,
    /// Where other messages go that do not fit into memory.
    pub spool: Option<Arc<Spool>>,
    /// Gives every message its number.
    pub sequence: Arc<AtomicI64>,
    /// Tells the destination something of its own, without waiting.
    pub tell: Arc<dyn Fn(Op) + Send + Sync>,
    /// Wakes the queue's task; called when there is room for parked sends.
    pub wake: Wake,
    /// The broker stops, and no consumer gets anything any more.
    pub halted: Arc<AtomicBool>,
    /// What others count for it.
    pub shared: Arc<SharedCounts>,
    /// Where its counters go when it ends.
    pub gone: Gone,
}

/// What a destination with a history knows at the start.
#[derive(Debug, Default)]
pub struct History {
    /// Messages in the store: (band, messages).
    pub bands: Vec<(u8, u64)>,
    /// Some of them have an expiration.
    pub expiring: bool,
    /// Highest sequence each recent producer stored here.
    pub producers: Vec<(ProducerId, i64)>,
}

/// Why a message has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Memory,
    /// The store is at its limit, in bytes.
    Store(u64),
    /// The temp store is.
    Temp(TempShortage),
}

/// How full the temp store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TempShortage {
    /// Of the limit.
    pub percent: u64,
    pub limit_bytes: u64,
}

impl TempShortage {
    /// As `usage` is now.
    pub fn of(usage: &Usage) -> Self {
        Self { percent: usage.percent(), limit_bytes: usage.limit() }
    }
}

impl QueueContext {
    /// Whether a message of this destination survives the broker.
    pub(in crate::broker::destination) fn stores(&self, message: &Message) -> bool {
        self.keeps && message.persistent && !self.destination.kind().is_temporary()
    }

    /// What there is too little of for `message`, if anything.
    pub(in crate::broker::destination) fn full_for(&self, message: &Message) -> Option<Shortage> {
        if self.usage.full().is_some() {
            return Some(Shortage::Memory);
        }
        if self.stores(message) {
            if !self.shared.stores(&self.destination) {
                return None;
            }
            let full = self.store_usage.full_at(self.policy.store_high_water_percent);
            return full.map(|usage| Shortage::Store(usage.limit()));
        }
        let spools = self.spool.is_some() && self.destination.kind().is_queue();
        self.temp_usage
            .full()
            .filter(|_| spools)
            .map(|usage| Shortage::Temp(TempShortage::of(usage)))
    }

    /// Takes memory for a message, if there is room for it everywhere.
    pub(in crate::broker::destination) fn try_take(&self, incoming: &Incoming) -> bool {
        let room = self.full_for(&incoming.message).is_none();
        room && self.usage.try_take(incoming.bytes)
    }

    /// A message that was sent before is dropped, or, with `is_dead`, becomes a dead letter if the policy says
    /// so.
    pub(in crate::broker::destination) fn drop_duplicate(
        &self,
        message: Arc<Message>,
        is_dead: bool,
        receipt: Option<Receipt>,
        out: &mut Effects,
    ) {
        if !is_dead || !self.policy.duplicates_are_dead_letters {
            // The first one may still be on its way to the disk.
            out.flushed.extend(receipt);
            return;
        }
        let from = self.destination.clone();
        let cause = Some(Cause::Duplicate(from.clone()));
        out.dead_letter(DeadLetter { receipt, ..DeadLetter::unstored(message, from, cause) });
    }

    /// Whether messages that are stored had better not stay in memory.
    pub(in crate::broker::destination) fn is_short(&self) -> bool {
        self.keeps
            && (self.is_above_mark()
                || self.policy.cursor == Cursor::Store && !self.policy.use_cache)
    }

    /// Whether more memory is in use than stored messages may take. Those that consumers want come all
    /// the same and are not counted: what is above the mark is for senders, who would wait for
    /// consumers that hold messages for long.
    pub(in crate::broker::destination) fn is_above_mark(&self) -> bool {
        self.policy.cursor == Cursor::Store
            && self.usage.is_above(self.policy.cursor_high_water_percent)
    }
}
