//! The half of an OpenWire connection that writes: answers and deliveries into frames.

use super::codec::{Dispatch, Encoder, Settings, WireError};
use super::command::{ConnectionError, ConsumerControl, KeepAliveInfo};
use super::errors::throwable;
use super::negotiation::Agreement;
use super::replies::{Ready, Replies};
use super::{Command, Shared};
use crate::broker::Broker;
use crate::broker::outbox::{Delivery, Item};
use crate::broker::plugins::Event;
use crate::broker::spare::{give_back, lend};
use crate::protocol::{Egress, Ended, Liveness};
use crate::transport::WriteBuffer;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

thread_local! {
    static ITEMS: RefCell<Vec<Vec<Item>>> = const { RefCell::new(Vec::new()) };
}

/// Encodes for one peer.
pub struct OpenWireEgress {
    shared: Arc<Shared>,
    encoder: Encoder,
    /// What was taken and is not encoded yet.
    items: Vec<Item>,
    ready: Vec<Ready>,
    liveness: Option<Liveness>,
    use_keep_alive: bool,
    trace: bool,
    /// Has plugins that hear of deliveries.
    told: Option<Arc<Broker>>,
}

impl OpenWireEgress {
    pub(super) fn new(
        broker: &Arc<Broker>,
        shared: Arc<Shared>,
        use_keep_alive: bool,
        trace: bool,
    ) -> Self {
        let hears = broker.options.plugins.hear_deliveries();
        Self {
            told: hears.then(|| Arc::clone(broker)),
            shared,
            encoder: Encoder::new(&Settings::before_negotiation(u64::MAX)),
            items: Vec::new(),
            ready: Vec::new(),
            liveness: None,
            use_keep_alive,
            trace,
        }
    }

    fn command(&mut self, command: &Command, out: &mut WriteBuffer) {
        if self.trace {
            tracing::info!(connection = %self.shared.remote, "SENDING: {command:?}");
        }
        match self.encoder.encode(command, out) {
            Ok(()) => {}
            // The peer's version does not know this type: it can do without it.
            Err(error @ WireError::NotInVersion { .. }) => {
                tracing::debug!(connection = %self.shared.remote, %error, "not sent");
            }
            Err(error) => {
                let command = command.name();
                tracing::warn!(connection = %self.shared.remote, command, %error, "not sent");
            }
        }
    }

    fn delivery(&mut self, delivery: &Delivery, now_ms: i64, out: &mut WriteBuffer) {
        let Some(consumer_id) = &delivery.consumer.consumer_id else { return };
        let message = delivery.message.as_deref();
        let dispatch = Dispatch {
            consumer_id,
            destination: message.map(|_| &delivery.destination),
            message,
            broker_sequence: delivery.sequence,
            redelivery_counter: delivery.redeliveries,
            broker_out_time: now_ms,
            group_first: delivery.group_first,
        };
        if self.trace {
            tracing::info!(connection = %self.shared.remote, "SENDING: {dispatch:?}");
        }
        // A message the peer's format cannot carry (too large a frame) is left out; it stays
        // unacknowledged and another consumer may get it.
        if let Err(error) = self.encoder.encode_dispatch(&dispatch, out) {
            tracing::warn!(
                connection = %self.shared.remote, consumer = %consumer_id, destination = %delivery.destination, %error,
                "a message could not be written for this consumer"
            );
        }
    }

    /// What a consumer has to know before it hears that it is open: a Java client that is told a prefetch of 0 only
    /// after its first `receive` waits there for messages that nobody asked for.
    fn first_items(&mut self, out: &mut WriteBuffer) {
        let ahead = self.items.iter().take_while(|item| matches!(item, Item::Prefetch { .. }));
        let ahead = ahead.count();
        if ahead > 0 {
            let rest = self.items.split_off(ahead);
            for item in std::mem::replace(&mut self.items, rest) {
                self.item(item, 0, out);
            }
        }
    }

    fn item(&mut self, item: Item, now_ms: i64, out: &mut WriteBuffer) {
        match item {
            Item::Delivery(delivery) => match self.told.clone() {
                None => self.delivery(&delivery, now_ms, out),
                Some(broker) => {
                    broker.options.plugins.note(&Event::Dispatching(&delivery));
                    self.delivery(&delivery, now_ms, out);
                    broker.options.plugins.note(&Event::Dispatched(&delivery));
                }
            },
            Item::Settled { .. } => {}
            Item::Prefetch { consumer, prefetch } => {
                let control = ConsumerControl {
                    consumer_id: consumer.consumer_id.clone(),
                    destination: consumer.destination.clone(),
                    prefetch,
                    ..ConsumerControl::default()
                };
                self.command(&control.into(), out);
            }
            Item::CloseConsumer(consumer) => {
                let control = ConsumerControl {
                    consumer_id: consumer.consumer_id.clone(),
                    destination: consumer.destination.clone(),
                    close: true,
                    ..ConsumerControl::default()
                };
                self.command(&control.into(), out);
            }
            Item::AsyncError(error) => {
                let exception = Some(throwable(&error));
                let error = ConnectionError { exception, ..ConnectionError::default() };
                self.command(&error.into(), out);
            }
        }
    }

    fn settle(&self, replies: &Replies) {
        for item in &self.items {
            if let Item::Settled { receipt, result } = item {
                replies.settle(*receipt, result.clone());
            }
        }
    }
}

/// As much as this is encoded and written at once, bytes: what is encoded is still in the processor's cache
/// when it is written, and the peer can begin with it.
const WRITTEN_BYTES: usize = 128 * 1024;

impl Egress for OpenWireEgress {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        lend(&ITEMS, &mut self.items);
        let taken = self.shared.outbox.poll_take(cx, &mut self.items, WRITTEN_BYTES);
        if self.items.is_empty() {
            give_back(&ITEMS, std::mem::take(&mut self.items));
        }
        ready!(taken);
        self.settle(&self.shared.replies);
        let ready = self.shared.replies.take();
        match self.ready.is_empty() {
            true => self.ready = ready,
            false => self.ready.extend(ready),
        }
        Poll::Ready(())
    }

    fn encode(&mut self, out: &mut WriteBuffer) -> Result<(), Ended> {
        self.first_items(out);
        let mut answers = std::mem::take(&mut self.ready);
        for ready in answers.drain(..) {
            match ready {
                Ready::Negotiated(agreement) => {
                    self.encoder.apply(&agreement.settings);
                    self.liveness = liveness(&agreement);
                }
                Ready::Command(command) => self.command(&command, out),
            }
        }
        Replies::written(answers);
        if self.items.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let mut items = std::mem::take(&mut self.items);
        for item in items.drain(..) {
            self.item(item, now_ms, out);
        }
        give_back(&ITEMS, items);
        Ok(())
    }

    fn keep_alive(&mut self, out: &mut WriteBuffer) -> Result<(), Ended> {
        // Nothing was sent for a while: a busy connection's lists are not kept for an idle one.
        self.shared.replies.trim();
        self.shared.outbox.trim();
        if !self.use_keep_alive {
            return Ok(());
        }
        self.command(&KeepAliveInfo::default().into(), out);
        Ok(())
    }

    fn liveness(&self) -> Option<Liveness> {
        self.liveness.filter(|_| self.shared.monitored.load(Ordering::Relaxed))
    }
}

/// How life is checked between sides that agreed so, if it is.
fn liveness(agreement: &Agreement) -> Option<Liveness> {
    let read_check = agreement.max_inactivity?;
    let few = Duration::from_millis(3);
    let write_check = if read_check > few { read_check / 3 } else { read_check };
    Some(Liveness { initial_delay: agreement.initial_delay, read_check, write_check })
}

pub(super) fn fault(error: WireError) -> Ended {
    Ended::Protocol(error.to_string())
}
