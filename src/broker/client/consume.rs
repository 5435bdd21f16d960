//! A client's consumers: subscribing, acknowledging, pulling.

use super::super::destination::in_flight::{Ack, AckRange, Window};
use super::super::destination::queue::Pull;
use super::super::destination::subscription::{Memory, TopicSubscription};
use super::super::destination::topic::TopicMember;
use super::super::destination::{DestinationHandle, Op};
use super::super::error::BrokerError;
use super::super::names;
use super::super::outbox::{Item, RangeUse, Receipt, SubscriptionKey};
use super::super::plugins::Event;
use super::super::policy::{Cursor, Policy};
use super::super::router::{Listener, QueueConsumer};
use super::super::slow_consumers;
use super::{Attached, Client, Consumer, Notice, Pulls};
use crate::jms::info::ConsumerInfo;
use crate::jms::selector::{Selector, SelectorPool};
use crate::jms::{AckKind, ConsumerId, Destination, MessageAck, MessageId, MessagePull, Text};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The client library's default prefetches; a policy replaces only these.
mod client_default {
    pub(super) const QUEUE: i32 = 1000;
    pub(super) const TOPIC: i32 = 32767;
    pub(super) const DURABLE: i32 = 100;
    pub(super) const BROWSER: i32 = 500;
}

impl Client {
    /// Opens a consumer; one that is open already is fine.
    pub async fn add_consumer(&mut self, mut info: ConsumerInfo) -> Result<(), BrokerError> {
        names::resolve(&mut info.destination, self.broker.options.path_separator.as_deref());
        let field = |field| BrokerError::FieldMissing { command: "ConsumerInfo", field };
        let id = info.consumer_id.clone().ok_or_else(|| field("consumerId"))?;
        let destination = info.destination.clone().ok_or_else(|| field("destination"))?;
        if !self.knows_session(&id.session_id()) {
            let action = "add a consumer to a session";
            let id = id.session_id().to_string().into();
            return Err(BrokerError::NotRegistered { action, id });
        }
        if self.consumers.contains_key(&id) {
            return Ok(());
        }
        self.check_limit("consumer", self.consumers.len(), self.transport.consumers_max)?;
        names::check("destination name", Some(destination.name()))?;
        names::check("subscription name", info.subscription_name.as_deref())?;
        let parts = destination.parts();
        if parts.iter().all(|part| part.name().trim().is_empty()) {
            return Err(BrokerError::DestinationNameEmpty);
        }
        let selector = parse_selector(&self.broker.selectors, info.selector.as_ref())?;
        self.note(&Event::ConsumerAdded(&info));
        self.flush().await;
        for part in &parts {
            self.adopt_temporary(part).await?;
        }
        let (mut info, changed) = self.apply_policy_prefetch(info, &parts);
        info.client_id.clone_from(&self.entry.info.client_id);
        let info = Arc::new(info);
        if let Some(cache) = &self.broker.options.interceptors.selector_cache {
            cache.note(&info, selector.as_ref());
        }
        let durable_name = info.subscription_name.clone().filter(|name| !name.is_empty());
        let mut consumer = Consumer {
            key: self.broker.next_subscription(),
            info: Arc::clone(&info),
            queues: None,
            topics: None,
            durable: None,
            pulls: Pulls::default(),
            attached: None,
        };
        match durable_name {
            Some(name) => {
                self.activate_durable(&mut consumer, name, &destination, selector).await?;
            }
            None => {
                if let Err(error) = self.subscribe(&mut consumer, &parts, selector).await {
                    let attached = self.attached(&mut consumer);
                    self.broker.withdraw(&attached, NOTHING_DELIVERED).await;
                    return Err(error);
                }
            }
        }
        if changed {
            let (consumer, prefetch) = (Arc::clone(&info), info.prefetch_size);
            // Before the answer: from then on the peer may ask for messages one by one, or not at all.
            self.outbox.push_first(Item::Prefetch { consumer, prefetch });
        }
        self.tell_of_consumer(&info, &parts).await;
        self.broker.registry.consumer_added(id.clone(), Arc::clone(&info));
        if hears_notices(&parts) {
            self.broker.outlet.forward.listener_added();
        }
        let attached = self.attached(&mut consumer);
        let slow = parts.iter().find_map(|part| self.broker.policy(part).slow_consumers);
        if let Some(strategy) = slow.filter(|_| !info.browser) {
            slow_consumers::watch(&self.broker, &attached, &self.entry, strategy);
        }
        if self.broker.options.monitors_splits {
            self.broker.end_splits(&attached).await;
        }
        consumer.attached = Some(attached);
        self.consumers.insert(id, consumer);
        self.replay_advisories(&info, &parts).await;
        Ok(())
    }

    /// What `consumer` is joined to by now, in a form that others may take off.
    fn attached(&self, consumer: &mut Consumer) -> Arc<Attached> {
        Arc::new(Attached {
            key: consumer.key,
            info: Arc::clone(&consumer.info),
            outbox: Arc::clone(&self.outbox),
            queues: consumer.queues.clone(),
            topics: consumer.topics.clone(),
            durable: consumer.durable.clone(),
            connector_url: Text::clone(&self.transport.connector_url),
            off: AtomicBool::new(false),
        })
    }

    /// Puts the policy's prefetch in place of the client library's default.
    fn apply_policy_prefetch(
        &self,
        mut info: ConsumerInfo,
        parts: &[Destination],
    ) -> (ConsumerInfo, bool) {
        let [part] = parts else { return (info, false) };
        let policy = self.broker.policy(part);
        let durable = info.subscription_name.is_some();
        let (default, wanted) = match (part.kind().is_queue(), info.browser, durable) {
            (true, true, _) => (client_default::BROWSER, policy.browser_prefetch),
            (true, false, _) => (client_default::QUEUE, policy.queue_prefetch),
            (false, _, true) => (client_default::DURABLE, policy.durable_prefetch),
            (false, _, false) => (client_default::TOPIC, policy.topic_prefetch),
        };
        match wanted {
            Some(wanted) if info.prefetch_size == default && wanted != default => {
                info.prefetch_size = wanted;
                (info, true)
            }
            _ => (info, false),
        }
    }

    /// Joins a consumer to the queues and topics it names.
    async fn subscribe(
        &self,
        consumer: &mut Consumer,
        parts: &[Destination],
        selector: Option<Selector>,
    ) -> Result<(), BrokerError> {
        let (queues, topics): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| part.kind().is_queue());
        if !queues.is_empty() {
            let several = queues.len() > 1 || queues.iter().any(|part| part.is_pattern());
            let prefetch = consumer.info.prefetch_size;
            // A browser without prefetch would never see anything: it has no other way to ask.
            let prefetch = if consumer.info.browser { prefetch.max(1) } else { prefetch };
            let joined = Arc::new(QueueConsumer {
                key: consumer.key,
                info: Arc::clone(&consumer.info),
                selector: selector.clone(),
                outbox: Arc::clone(&self.outbox),
                window: Arc::new(Window::new(prefetch)),
                queues: Mutex::default(),
                several,
                pulls: Mutex::default(),
            });
            if several {
                self.outbox.track_order(consumer.key);
            }
            consumer.queues = Some(Arc::clone(&joined));
            for part in queues {
                let listener = Listener::Queue(Arc::clone(&joined));
                let creates = parts.len() == 1;
                for handle in self.resolve(consumer.key, part, listener, creates).await? {
                    if let Some(op) = joined.subscribe_op(&handle) {
                        handle.send(vec![op]).await;
                    }
                }
            }
        }
        if !topics.is_empty() {
            let policy: Policy = self.broker.policy(topics[0]);
            let in_memory = policy.topic_cursor == Cursor::Memory || topics[0].is_advisory();
            let memory = Memory {
                usage: Arc::clone(&self.broker.consumer_memory),
                spool: self.broker.options.spool.clone().filter(|_| !in_memory),
                outlet: self.broker.outlet.clone(),
            };
            let subscription = TopicSubscription::new(
                consumer.key,
                Arc::clone(&consumer.info),
                selector,
                Arc::clone(&self.outbox),
                Arc::new(policy),
                memory,
            );
            consumer.topics = Some(Arc::clone(&subscription));
            let member = TopicMember::Plain(subscription);
            self.join(consumer.key, &topics, &member, parts.len() == 1).await?;
        }
        Ok(())
    }

    /// Joins a topic subscription to the topics it names.
    async fn join(
        &self,
        key: SubscriptionKey,
        topics: &[&Destination],
        member: &TopicMember,
        creates: bool,
    ) -> Result<(), BrokerError> {
        for part in topics {
            let listener = Listener::Topic(member.clone());
            for handle in self.resolve(key, part, listener, creates).await? {
                let member = member.clone();
                handle.send(vec![Op::Join { member, receipt: None, past: None }]).await;
            }
        }
        Ok(())
    }

    /// The destinations a name or pattern stands for. Unless it `creates` the one it names, the consumer waits
    /// for somebody else to do so: as one of several names does.
    pub(super) async fn resolve(
        &self,
        key: SubscriptionKey,
        part: &Destination,
        listener: Listener,
        creates: bool,
    ) -> Result<Vec<Arc<DestinationHandle>>, BrokerError> {
        if !creates && !part.is_pattern() {
            let present = self.broker.router.listen_by_name(key, part, listener);
            return Ok(present.into_iter().collect());
        }
        self.broker.listen(key, part, listener, Some(&self.connection_id())).await
    }

    /// Tells who watches of a consumer that has come.
    async fn tell_of_consumer(&self, info: &Arc<ConsumerInfo>, parts: &[Destination]) {
        for part in parts.iter().filter(|part| !part.is_advisory()) {
            let count = self.broker.consumers_at(part);
            self.announce(Notice::consumer_added(part, info, count)).await;
            self.broker.virtual_consumer_added(part, info).await;
        }
    }

    /// Closes a consumer. `last_delivered` as in `RemoveInfo`.
    pub async fn remove_consumer(
        &mut self,
        id: &ConsumerId,
        last_delivered: i64,
    ) -> Result<(), BrokerError> {
        if !self.consumers.contains_key(id) {
            let (action, id) = match self.knows_session(&id.session_id()) {
                true => ("remove a consumer", id.to_string()),
                false => ("remove a consumer from a session", id.session_id().to_string()),
            };
            return Err(BrokerError::NotRegistered { action, id: id.into() });
        }
        self.drop_consumer(id, last_delivered).await;
        Ok(())
    }

    pub(super) async fn drop_consumer(&mut self, id: &ConsumerId, last_delivered: i64) {
        let Some(consumer) = self.consumers.remove(id) else { return };
        self.flush().await;
        if let Some(attached) = consumer.attached {
            attached.take_off(&self.broker, last_delivered).await;
        }
        self.note(&Event::ConsumerRemoved(&consumer.info));
    }

    /// Acknowledges messages. Acknowledgements of unknown consumers are ignored (failover replays).
    pub async fn acknowledge(
        &mut self,
        ack: MessageAck,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        self.note(&Event::Acknowledged(self.entry.info.client_id.as_ref(), &ack));
        let kind = AckKind::from_code(ack.ack_type).ok_or_else(|| BrokerError::Unknown {
            what: "Unknown acknowledgment type",
            value: i64::from(ack.ack_type),
        })?;
        let (transaction, rollback_only) = match &ack.transaction_id {
            None => (None, None),
            Some(id) => self.in_transaction(id, |transaction| {
                (Some(transaction.key), transaction.rollback_only.clone())
            })?,
        };
        // No rollback makes a message young again.
        let transaction = transaction.filter(|_| kind != AckKind::Expired);
        let marks = receipt.is_none() && self.broker.options.rollback_only_on_async_failure;
        let consumer = ack.consumer_id.as_ref().and_then(|id| self.consumers.get(id));
        // What a consumer held that was taken off may be with another one by now.
        let Some(consumer) = consumer.filter(|consumer| !consumer.is_off()) else {
            settle(receipt);
            return Ok(());
        };
        let on_queue = ack.destination.as_ref().is_none_or(|of| of.kind().is_queue());
        if let (Some(topics), false) = (&consumer.topics, on_queue && consumer.queues.is_some()) {
            if kind == AckKind::Unmatched {
                let ack = format!("ack type {}", ack.ack_type).into();
                return Err(BrokerError::AckInvalid { ack });
            }
            let (topics, count) = (Arc::clone(topics), ack.message_count.max(0));
            let waits = matches!(kind, AckKind::Standard | AckKind::Individual);
            if let (Some(id), true) = (&ack.transaction_id, waits) {
                self.in_transaction(id, |transaction| transaction.topics.add(&topics, count))?;
                self.with_effects(|now, out| topics.acknowledge_later(kind, count, now, out));
            } else {
                self.with_effects(|now, out| topics.acknowledge(kind, count, now, out));
            }
            settle(receipt);
            return Ok(());
        }
        let Some(last) = ack.last_message_id.clone() else {
            settle(receipt);
            return Ok(());
        };
        let mut internal = Ack {
            subscription: consumer.key,
            kind,
            range: AckRange::Span { first: ack.first_message_id.clone(), last },
            count: ack.message_count,
            transaction,
            rollback_only: rollback_only.filter(|_| marks),
            cause: ack.poison_cause.clone().map(Box::new),
        };
        if let Some(durable) = consumer.durable.clone() {
            self.with_effects(|now, out| {
                durable.acknowledge(&internal, receipt, now, out)?;
                out.when_removed(receipt.take());
                Ok::<(), BrokerError>(())
            })?;
            if let (Some(id), true) = (&ack.transaction_id, binds(kind)) {
                self.in_transaction(id, |transaction| transaction.touch_durable(&durable))?;
            }
            settle(receipt);
            return Ok(());
        }
        let Some(joined) = consumer.queues.clone() else {
            settle(receipt);
            return Ok(());
        };
        if joined.several {
            return self.acknowledge_several(&joined, &ack, internal, receipt).await;
        }
        let Some(queue) = joined.queues.lock().only() else {
            settle(receipt);
            return Ok(());
        };
        internal.transaction = transaction;
        self.bind(&ack, kind, &queue)?;
        self.hand(&queue, Op::Ack { ack: Box::new(internal), receipt: receipt.take() }).await;
        Ok(())
    }

    /// Notes in the transaction, if there is one, that `queue` has acknowledged messages.
    fn bind(
        &mut self,
        ack: &MessageAck,
        kind: AckKind,
        queue: &Arc<DestinationHandle>,
    ) -> Result<(), BrokerError> {
        match &ack.transaction_id {
            Some(id) if binds(kind) => {
                self.in_transaction(id, |transaction| transaction.touch_queue(queue))
            }
            _ => Ok(()),
        }
    }

    /// An acknowledgement of a consumer with several queues: its range may span them.
    async fn acknowledge_several(
        &mut self,
        joined: &Arc<QueueConsumer>,
        ack: &MessageAck,
        internal: Ack,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let AckRange::Span { first, last } = &internal.range else { return Ok(()) };
        let single = internal.kind == AckKind::Individual;
        let (first, what) = match (internal.kind, internal.transaction) {
            // How far the application has come counts from the oldest message it holds.
            (AckKind::Delivered, _) => (None, RangeUse::Look),
            (kind, _) if !binds(kind) => (first.as_ref(), RangeUse::Look),
            (_, None) => (first.as_ref(), RangeUse::Remove),
            (_, Some(transaction)) => (first.as_ref(), RangeUse::Mark(transaction)),
        };
        let first = if single { Some(last) } else { first };
        let Some(range) = self.outbox.range(joined.key, first, last, what) else {
            return match internal.kind {
                AckKind::Individual => {
                    settle(receipt);
                    Ok(())
                }
                _ => Err(BrokerError::AckUnknown { ack: internal.describe() }),
            };
        };
        if internal.kind == AckKind::Delivered {
            joined.window.extend_to(i32::try_from(range.len()).unwrap_or(i32::MAX));
            settle(receipt);
            return Ok(());
        }
        let by_queue = by_queue(joined, range);
        let mut receipts = receipt.take().map(|r| r.split(by_queue.len())).unwrap_or_default();
        for (queue, ids) in by_queue {
            self.bind(ack, internal.kind, &queue)?;
            let range = AckRange::Exactly(ids);
            let part = Ack { range, ..internal.clone() };
            self.hand(&queue, Op::Ack { ack: Box::new(part), receipt: receipts.pop() }).await;
        }
        Ok(())
    }

    /// A consumer without prefetch asks for a message.
    pub async fn pull(&mut self, pull: MessagePull) -> Result<(), BrokerError> {
        self.note(&Event::Pulled(&pull));
        let known = pull.consumer_id.as_ref().and_then(|id| self.consumers.get_mut(id));
        let Some(consumer) = known else { return Ok(()) };
        let key = consumer.key;
        let (topics, durable) = (consumer.topics.clone(), consumer.durable.clone());
        let room = match (&topics, &durable) {
            (Some(topics), _) => consumer.pulls.has_room(|ticket| topics.owes(ticket)),
            (None, Some(durable)) => consumer.pulls.has_room(|ticket| durable.owes(ticket)),
            (None, None) => false,
        };
        let patience = match pull.timeout {
            0 => None,
            ms => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        };
        let ticket = self.with_effects(|now, out| match (&topics, &durable) {
            (Some(topics), _) if room => topics.pull(now, out),
            (None, Some(durable)) if room => durable.pull(now, out),
            _ => None,
        });
        let known = pull.consumer_id.as_ref().and_then(|id| self.consumers.get_mut(id));
        let Some(consumer) = known else { return Ok(()) };
        match (ticket, topics, durable) {
            (Some(ticket), Some(topics), _) => {
                consumer.pulls.wait(ticket, patience, move || topics.end_pull(ticket));
            }
            (Some(ticket), None, Some(durable)) => {
                consumer.pulls.wait(ticket, patience, move || durable.end_pull(ticket));
            }
            _ => {}
        }
        let Some(joined) = consumer.queues.clone() else { return Ok(()) };
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut pull = Pull { deadline, shared: None };
        // A browser gets what it browses without.
        if joined.several && !joined.info.browser {
            if !consumer.pulls.has_room(|ticket| joined.pulls.lock().owes(ticket)) {
                return Ok(());
            }
            let ticket;
            (ticket, pull) = joined.open_pull(deadline);
            let waiting = Arc::clone(&joined);
            consumer.pulls.wait(ticket, patience, move || {
                let ended = waiting.pulls.lock().end(ticket);
                drop(ended);
            });
        }
        let queues = joined.queues.lock().all();
        for queue in &queues {
            self.hand(queue, Op::Pull { key, pull: pull.clone() }).await;
        }
        Ok(())
    }

    /// The client changes the prefetch of one of its consumers.
    pub async fn set_prefetch(&mut self, id: &ConsumerId, prefetch: i32) {
        let Some(consumer) = self.consumers.get(id) else { return };
        let (topics, durable) = (consumer.topics.clone(), consumer.durable.clone());
        if let Some(joined) = consumer.queues.clone() {
            joined.window.set_prefetch(prefetch);
            self.flush().await;
            let queues = joined.queues.lock().all();
            for queue in queues {
                queue.send(vec![Op::Wake]).await;
            }
        }
        self.with_effects(|now, out| {
            if let Some(topics) = topics {
                topics.set_prefetch(prefetch, now, out);
            }
            if let Some(durable) = durable {
                durable.set_prefetch(prefetch, now, out);
            }
        });
    }
}

/// The consumer has seen nothing, see [`Op::Unsubscribe`].
const NOTHING_DELIVERED: i64 = -1;

/// The messages of a range, those of each queue together in their order.
fn by_queue(
    consumer: &QueueConsumer,
    mut range: Vec<(MessageId, u32)>,
) -> Vec<(Arc<DestinationHandle>, Vec<MessageId>)> {
    range.sort_by_key(|(_, source)| *source);
    let queues = consumer.queues.lock();
    let parts = range.chunk_by(|(_, one), (_, other)| one == other);
    let parts = parts.filter_map(|part| {
        let (_, source) = part.first()?;
        Some((queues.get(*source)?, part.iter().map(|(id, _)| id.clone()).collect()))
    });
    parts.collect()
}

/// Whether acknowledgements of this kind take messages away, so that a transaction must know.
fn binds(kind: AckKind) -> bool {
    matches!(kind, AckKind::Standard | AckKind::Individual | AckKind::Poison)
}

fn settle(receipt: &mut Option<Receipt>) {
    if let Some(receipt) = receipt.take() {
        receipt.resolve(Ok(()));
    }
}

fn parse_selector(
    pool: &SelectorPool,
    text: Option<&Text>,
) -> Result<Option<Selector>, BrokerError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    match pool.parse(text) {
        Ok(selector) => Ok(Some(selector)),
        Err(error) => {
            tracing::debug!(selector = %text, %error, "invalid selector");
            Err(BrokerError::InvalidSelector(Text::clone(text)))
        }
    }
}

/// Whether a consumer of these destinations may hear what destinations have to tell: it listens to
/// advisories beyond those of temporary destinations, which every client does.
pub(super) fn hears_notices(parts: &[Destination]) -> bool {
    parts.iter().any(|part| {
        let about = part.name().strip_prefix(Destination::ADVISORY_PREFIX);
        match about {
            Some(about) => !part.kind().is_queue() && about != "TempQueue" && about != "TempTopic",
            None => !part.kind().is_queue() && part.is_pattern(),
        }
    })
}
