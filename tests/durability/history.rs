//! What the clients did and saw, in the order in which they knew it.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// A message, by what its body says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Who sent it first.
    pub(crate) source: u16,
    /// Rises with each message of a source.
    pub(crate) number: u32,
    /// 0; for a message that was moved, which attempt to move it.
    pub(crate) copy: u32,
}

/// A queue, or a durable subscription by its name.
pub(crate) type Place = &'static str;

/// A message somewhere: one consumer there is to get it, until it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    pub(crate) name: Name,
}

/// What takes effect as a whole or not at all: a transaction, a single send, the acknowledgement of one
/// message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) sends: Vec<Spot>,
    pub(crate) acks: Vec<Spot>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The broker is about to be asked. Units are numbered in the order of these.
    Began(Unit),
    /// The broker has answered (applied), or was never asked or asked to roll back (not applied). A unit
    /// without this is in doubt.
    Ended { unit: usize, applied: bool },
    /// The application received a message.
    Delivered { consumer: usize, spot: Spot, redelivered: bool },
    /// From here on it is another broker process.
    Started,
}

/// Written by all clients of a run.
pub(crate) struct History {
    inner: Mutex<Inner>,
    length: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    units: usize,
    consumers: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default(), length: watch::Sender::new(0) }
    }

    /// Call it before the broker can know.
    pub(crate) fn began(&self, unit: Unit) -> usize {
        let mut inner = self.note(Event::Began(unit));
        inner.units += 1;
        inner.units - 1
    }

    pub(crate) fn ended(&self, unit: usize, applied: bool) {
        drop(self.note(Event::Ended { unit, applied }));
    }

    /// A number for a consumer that is about to be opened: what it gets must be in order.
    pub(crate) fn consumer(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        inner.consumers += 1;
        inner.consumers
    }

    pub(crate) fn delivered(&self, consumer: usize, spot: Spot, redelivered: bool) {
        drop(self.note(Event::Delivered { consumer, spot, redelivered }));
    }

    pub(crate) fn started(&self) {
        drop(self.note(Event::Started));
    }

    pub(crate) fn length(&self) -> usize {
        *self.length.borrow()
    }

    pub(crate) async fn grows_to(&self, length: usize) {
        let mut now = self.length.subscribe();
        now.wait_for(|now| *now >= length).await.unwrap();
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap().events.clone()
    }

    fn note(&self, event: Event) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap();
        inner.events.push(event);
        self.length.send_replace(inner.events.len());
        inner
    }
}

impl Unit {
    pub(crate) fn ack(spot: Spot) -> Self {
        Self { sends: Vec::new(), acks: vec![spot] }
    }
}

impl Name {
    /// The body of the message, made longer by `padding` bytes.
    pub(crate) fn body(self, padding: usize) -> String {
        format!("{} {} {} {}", self.source, self.number, self.copy, "x".repeat(padding))
    }

    pub(crate) fn read(body: &str) -> Option<Self> {
        let mut fields = body.split(' ');
        Some(Self {
            source: fields.next()?.parse().ok()?,
            number: fields.next()?.parse().ok()?,
            copy: fields.next()?.parse().ok()?,
        })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.source, self.number)?;
        if self.copy > 0 { write!(f, ".{}", self.copy) } else { Ok(()) }
    }
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.name, self.place)
    }
}
