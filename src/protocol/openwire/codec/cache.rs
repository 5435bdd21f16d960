//! The marshal cache: ids and destinations travel once, then as the index of a slot.
//!
//! One per direction. The sender decides which slot a value gets, the receiver only stores what it
//! is told. The sender here does what the Java client does, so that recorded conversations come out
//! byte for byte: slots are given out in a circle, and before each frame the oldest values go until
//! [`FREE_SLOTS`] are free.

use super::WireError;
use crate::jms::info::ObjectId;
use crate::jms::{
    BrokerId, ConnectionId, ConsumerId, Destination, ProducerId, SessionId, Text, TransactionId,
};
use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::{BuildHasher, Hash, Hasher};

/// What a slot holds. Nulls are cached like any other value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Null,
    Connection(ConnectionId),
    Session(SessionId),
    Consumer(ConsumerId),
    Producer(ProducerId),
    Broker(BrokerId),
    Destination(Destination),
    Transaction(TransactionId),
}

/// A value that is read through the cache.
pub(super) trait FromSlot: Cached + Sized {
    /// None if the slot holds something else.
    fn from_slot(slot: &Slot) -> Option<Self>;
}

/// A value that is written through the cache.
pub(super) trait Cached {
    fn to_slot(&self) -> Slot;
    fn is_in(&self, slot: &Slot) -> bool;
    /// The same for equal values, whatever field they are in.
    fn hash_to<H: Hasher>(&self, state: &mut H);
}

macro_rules! cached {
    ($($type:ident in $slot:ident),*) => {$(
        impl Cached for $type {
            fn to_slot(&self) -> Slot {
                Slot::$slot(self.clone())
            }

            fn is_in(&self, slot: &Slot) -> bool {
                matches!(slot, Slot::$slot(value) if value == self)
            }

            fn hash_to<H: Hasher>(&self, state: &mut H) {
                self.hash(state);
            }
        }

        impl FromSlot for $type {
            fn from_slot(slot: &Slot) -> Option<Self> {
                if let Slot::$slot(value) = slot { Some(value.clone()) } else { None }
            }
        }
    )*};
}

cached!(
    ConnectionId in Connection, SessionId in Session, ConsumerId in Consumer,
    ProducerId in Producer, BrokerId in Broker, Destination in Destination,
    TransactionId in Transaction
);

impl Cached for ObjectId {
    fn to_slot(&self) -> Slot {
        match self {
            Self::Connection(id) => id.to_slot(),
            Self::Session(id) => id.to_slot(),
            Self::Consumer(id) => id.to_slot(),
            Self::Producer(id) => id.to_slot(),
            Self::Broker(id) => id.to_slot(),
        }
    }

    fn is_in(&self, slot: &Slot) -> bool {
        match self {
            Self::Connection(id) => id.is_in(slot),
            Self::Session(id) => id.is_in(slot),
            Self::Consumer(id) => id.is_in(slot),
            Self::Producer(id) => id.is_in(slot),
            Self::Broker(id) => id.is_in(slot),
        }
    }

    fn hash_to<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Connection(id) => id.hash_to(state),
            Self::Session(id) => id.hash_to(state),
            Self::Consumer(id) => id.hash_to(state),
            Self::Producer(id) => id.hash_to(state),
            Self::Broker(id) => id.hash_to(state),
        }
    }
}

impl FromSlot for ObjectId {
    fn from_slot(slot: &Slot) -> Option<Self> {
        Some(match slot {
            Slot::Connection(id) => Self::Connection(id.clone()),
            Slot::Session(id) => Self::Session(id.clone()),
            Slot::Consumer(id) => Self::Consumer(id.clone()),
            Slot::Producer(id) => Self::Producer(id.clone()),
            Slot::Broker(id) => Self::Broker(id.clone()),
            Slot::Null | Slot::Destination(_) | Slot::Transaction(_) => return None,
        })
    }
}

/// Views of shared values hold references: they are written like what they refer to.
impl<T: Cached> Cached for &T {
    fn to_slot(&self) -> Slot {
        (**self).to_slot()
    }

    fn is_in(&self, slot: &Slot) -> bool {
        (**self).is_in(slot)
    }

    fn hash_to<H: Hasher>(&self, state: &mut H) {
        (**self).hash_to(state);
    }
}

/// An absent value is null.
impl<T: Cached> Cached for Option<T> {
    fn to_slot(&self) -> Slot {
        self.as_ref().map_or(Slot::Null, Cached::to_slot)
    }

    fn is_in(&self, slot: &Slot) -> bool {
        match self {
            Some(value) => value.is_in(slot),
            None => *slot == Slot::Null,
        }
    }

    fn hash_to<H: Hasher>(&self, state: &mut H) {
        if let Some(value) = self {
            value.hash_to(state);
        }
    }
}

impl Cached for Slot {
    fn to_slot(&self) -> Slot {
        self.clone()
    }

    fn is_in(&self, slot: &Slot) -> bool {
        self == slot
    }

    fn hash_to<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => {}
            Self::Connection(id) => id.hash_to(state),
            Self::Session(id) => id.hash_to(state),
            Self::Consumer(id) => id.hash_to(state),
            Self::Producer(id) => id.hash_to(state),
            Self::Broker(id) => id.hash_to(state),
            Self::Destination(destination) => destination.hash_to(state),
            Self::Transaction(id) => id.hash_to(state),
        }
    }
}

impl Slot {
    /// About how much memory the value takes beside its slot.
    fn weight(&self) -> usize {
        let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.len());
        match self {
            Self::Null => 0,
            Self::Connection(id) => text(&id.value),
            Self::Session(id) => text(&id.connection),
            Self::Consumer(id) => text(&id.connection),
            Self::Producer(id) => text(&id.connection),
            Self::Broker(id) => text(&id.value),
            Self::Destination(destination) => destination.name().len(),
            Self::Transaction(TransactionId::Local { connection, .. }) => {
                connection.as_ref().map_or(0, |id| text(&id.value))
            }
            Self::Transaction(TransactionId::Xa(id)) => {
                let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
                bytes(&id.global_transaction_id) + bytes(&id.branch_qualifier)
            }
        }
    }
}

/// The cache of what a peer sends.
#[derive(Debug)]
pub(super) struct ReceiverCache {
    /// Grows to the highest slot used, at most [`MAX_SLOTS`].
    slots: Vec<Option<Slot>>,
    size: u16,
    weight: usize,
}

/// The size of a cache that was negotiated as 0.
pub(super) const MAX_SLOTS: u16 = 16383;

/// Text a peer may have in our memory through the cache: ten times what ids and names in all slots
/// take.
const MAX_WEIGHT: usize = 16 << 20;

impl ReceiverCache {
    pub(super) fn new(size: u16) -> Self {
        Self { slots: Vec::new(), size, weight: 0 }
    }

    /// Does what the sender said: keeps `value` in slot `index`, or nowhere if that is -1.
    pub(super) fn store(
        &mut self,
        index: i16,
        value: Slot,
        field: &'static str,
    ) -> Result<(), WireError> {
        if index == -1 {
            return Ok(());
        }
        let at = usize::try_from(index).ok().filter(|&at| at < usize::from(self.size));
        let at = at.ok_or(WireError::CacheSlot { field, index })?;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.weight += value.weight();
        if let Some(old) = self.slots[at].replace(value) {
            self.weight -= old.weight();
        }
        if self.weight > MAX_WEIGHT {
            return Err(WireError::CacheTooLarge { max: MAX_WEIGHT });
        }
        Ok(())
    }

    /// What slot `index` holds: null as long as nothing has come for it. A Java client that makes a frame
    /// larger than `maxFrameSize` does not send it, and takes the nulls of that frame as told. None when
    /// there is no such slot.
    pub(super) fn get(&self, index: i16) -> Option<&Slot> {
        let at = usize::try_from(index).ok().filter(|&at| at < usize::from(self.size))?;
        Some(self.slots.get(at).and_then(Option::as_ref).unwrap_or(&Slot::Null))
    }
}

/// The cache of what we send.
#[derive(Debug)]
pub(super) struct SenderCache {
    slots: Vec<Option<Slot>>,
    /// The occupied slots by value.
    index: HashTable<u16>,
    hasher: DefaultHashBuilder,
    /// Slots that were asked for last, looked at first: frame after frame names the same few values, and to
    /// compare takes a tenth of what hashing does.
    recent: [u16; RECENT],
    /// Which of them gives way to the next other one.
    recent_turn: usize,
    size: u16,
    /// The slot the next new value gets.
    next: u16,
    /// The oldest slot, the next to be given up.
    oldest: u16,
    /// What `next` was when the frame began, and how often it moved since.
    frame_start: u16,
    added: usize,
}

/// How many slots are free when a frame begins.
const FREE_SLOTS: u16 = 100;

/// A dispatch names four values through the cache: null, its consumer, its producer and one destination.
const RECENT: usize = 8;

impl SenderCache {
    pub(super) fn new(size: u16) -> Self {
        let hasher = DefaultHashBuilder::default();
        let (slots, index) = (Vec::new(), HashTable::new());
        let (recent, recent_turn) = ([0; RECENT], 0);
        let (next, oldest, frame_start, added) = (0, 0, 0, 0);
        Self { slots, index, hasher, recent, recent_turn, size, next, oldest, frame_start, added }
    }

    /// Makes room for the values of a frame.
    pub(super) fn begin_frame(&mut self) {
        self.frame_start = self.next;
        self.added = 0;
        // A smaller cache is never used: see `add`.
        let Some(max) = self.size.checked_sub(FREE_SLOTS) else { return };
        while self.index.len() > usize::from(max) {
            self.vacate(self.oldest);
            self.oldest = (self.oldest + 1) % self.size;
        }
    }

    /// Forgets the values of a frame that is not sent after all.
    pub(super) fn abandon_frame(&mut self) {
        self.next = self.frame_start;
        for step in 0..self.added.min(self.size.into()) {
            self.vacate(((usize::from(self.next) + step) % usize::from(self.size)) as u16);
        }
        self.added = 0;
    }

    /// The slot of a value the peer knows.
    pub(super) fn find(&mut self, value: &impl Cached) -> Option<u16> {
        let Self { slots, index, hasher, recent, recent_turn, .. } = self;
        if let Some(at) = recent.iter().find(|&&at| holds(slots, at, value)) {
            return Some(*at);
        }
        let at = *index.find(hash(hasher, value), |&at| holds(slots, at, value))?;
        recent[*recent_turn] = at;
        *recent_turn = (*recent_turn + 1) % RECENT;
        Some(at)
    }

    /// Gives a new value a slot and tells its index; -1 if there is none.
    ///
    /// Java never finishes with fewer than [`FREE_SLOTS`] slots; here none is used then.
    pub(super) fn add(&mut self, value: &impl Cached) -> i16 {
        if self.size < FREE_SLOTS {
            return -1;
        }
        let at = self.next;
        self.next = (self.next + 1) % self.size;
        self.added += 1;
        if self.index.len() >= usize::from(self.size) {
            return -1;
        }
        self.vacate(at);
        if self.slots.len() <= usize::from(at) {
            self.slots.resize(usize::from(at) + 1, None);
        }
        self.slots[usize::from(at)] = Some(value.to_slot());
        let Self { slots, index, hasher, .. } = self;
        let rehash = |&at: &u16| slots[usize::from(at)].as_ref().map_or(0, |v| hash(hasher, v));
        index.insert_unique(hash(hasher, value), at, rehash);
        at.cast_signed()
    }

    fn vacate(&mut self, at: u16) {
        let Self { slots, index, hasher, .. } = self;
        let Some(old) = slots.get_mut(usize::from(at)).and_then(Option::take) else { return };
        if let Ok(entry) = index.find_entry(hash(hasher, &old), |&other| other == at) {
            entry.remove();
        }
    }
}

fn hash(hasher: &DefaultHashBuilder, value: &impl Cached) -> u64 {
    let mut state = hasher.build_hasher();
    value.hash_to(&mut state);
    state.finish()
}

fn holds(slots: &[Option<Slot>], at: u16, value: &impl Cached) -> bool {
    slots.get(usize::from(at)).and_then(Option::as_ref).is_some_and(|slot| value.is_in(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: i64) -> SessionId {
        SessionId { connection: Some("c".into()), value: n }
    }

    #[test]
    fn slots_go_round_and_the_oldest_values_are_given_up() {
        let mut cache = SenderCache::new(104);
        for n in 0..300 {
            cache.begin_frame();
            assert_eq!(cache.find(&id(n)), None);
            assert_eq!(cache.add(&id(n)), (n % 104) as i16);
        }
        cache.begin_frame();
        assert_eq!(cache.find(&id(295)), None);
        assert_eq!(cache.find(&id(299)), Some((299 % 104) as u16));
    }

    #[test]
    fn a_full_or_tiny_cache_keeps_nothing_more() {
        let mut full = SenderCache::new(101);
        full.begin_frame();
        (0..101).for_each(|n| assert_eq!(full.add(&id(n)), n as i16));
        assert_eq!(full.add(&id(101)), -1);
        let mut tiny = SenderCache::new(50);
        tiny.begin_frame();
        assert_eq!(tiny.add(&id(1)), -1);
    }

    #[test]
    fn a_receiver_refuses_slots_it_does_not_have_and_texts_without_end() {
        let mut cache = ReceiverCache::new(MAX_SLOTS);
        for index in [-2, i16::MIN, 16383] {
            assert!(cache.store(index, Slot::Null, "x").is_err());
        }
        let name = "n".repeat(60_000);
        let stored = (0..300).map(|n| cache.store(n, Destination::queue(&*name).to_slot(), "x"));
        assert!(stored.into_iter().any(|r| r.is_err()));
    }

    proptest! {
        /// Whatever is sent or abandoned, a receiver finds in the slot what the sender means.
        #[test]
        fn the_receiver_follows(size in 100..120u16, frames in prop::collection::vec(
            (prop::collection::vec(0..200i64, 0..130), any::<bool>()), 0..30))
        {
            let (mut sender, mut receiver) = (SenderCache::new(size), ReceiverCache::new(size));
            for (values, sent) in frames {
                sender.begin_frame();
                let mut news = Vec::new();
                for value in values {
                    match sender.find(&id(value)) {
                        Some(at) => news.push((at as i16, value, false)),
                        None => news.push((sender.add(&id(value)), value, true)),
                    }
                }
                if !sent {
                    sender.abandon_frame();
                    continue;
                }
                for (at, value, new) in news {
                    if new {
                        receiver.store(at, id(value).to_slot(), "x").unwrap();
                    } else {
                        prop_assert_eq!(receiver.get(at), Some(&id(value).to_slot()));
                    }
                }
            }
        }
    }
}
