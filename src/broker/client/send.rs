//! Messages from a client into destinations.

use super::super::destination::{
    Admission, DestinationHandle, Incoming, Join, Op, TempShortage, warn_full, warn_stopped,
    warn_store_full, warn_temp_full,
};
use super::super::error::BrokerError;
use super::super::interceptors::expand::Expansion;
use super::super::names;
use super::super::outbox::Receipt;
use super::super::plugins::Passage;
use super::super::policy::Policy;
use super::super::transaction::PendingSend;
use super::super::usage::{Credit, Usage};
use super::blocked::{Blocked, warned_of};
use super::{Client, Notice, ROUTES_MAX, Route};
use crate::broker::UserId;
use crate::jms::{Destination, Message, Text, TransactionId};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Waits until there is room on `disk`, or in memory where a topic needs it only without that.
pub(super) async fn has_room(handle: &DestinationHandle, disk: &Arc<Usage>, percent: u32) {
    let is_store = Arc::ptr_eq(disk, &handle.store_usage);
    if is_store || handle.destination.kind().is_queue() {
        return disk.below(percent).await;
    }
    tokio::select! {
        () = disk.below(percent) => {}
        () = handle.usage.acquire(0) => {}
    }
}

impl Client {
    /// Sends a message. Returns when it is on its way; `receipt` is taken then, and resolves when the
    /// message is in (and stored, if persistent). Without receipt a full destination makes this call
    /// wait: the sender's connection is not read meanwhile.
    pub async fn send(
        &mut self,
        mut message: Arc<Message>,
        now_ms: i64,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let known = self.plain_route(message.destination.as_ref());
        if known.is_none() {
            // Nobody shares it yet: nothing is copied.
            let sent = Arc::make_mut(&mut message);
            names::resolve(&mut sent.destination, self.broker.options.path_separator.as_deref());
        }
        let destination = message.destination.as_ref().ok_or(BrokerError::DestinationNameEmpty)?;
        let producer = message.producer_id.as_ref().and_then(|id| self.producers.get(id));
        let Some(producer) = producer else {
            return Err(BrokerError::ProducerUnknown { destination: destination.clone() });
        };
        // Nobody else writes it.
        let sent = &producer.entry.sent;
        sent.store(sent.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        names::check_message(&message)?;
        if !self.broker.options.plugins.is_empty()
            && self.pass_plugins(Arc::make_mut(&mut message), now_ms).await?
        {
            if let Some(receipt) = receipt.take() {
                receipt.resolve(Ok(()));
            }
            return Ok(());
        }
        let options = &self.broker.options;
        let stamped = Arc::make_mut(&mut message);
        stamped.broker_in_time = now_ms;
        stamped.broker_out_time = 0;
        stamped.target_consumer_id = None;
        let user = self.entry.info.user_name.as_ref();
        match options.user_id {
            UserId::AsSent => {}
            UserId::User => stamped.user_id = user.cloned(),
            UserId::Principal => {
                stamped.user_id = options.authenticator.get().principal(user).cloned();
            }
        }
        let destination = match known {
            Some(handle) if !self.broker.scheduler.takes(&message)? => {
                return self.route(handle, message, receipt).await;
            }
            _ => message.destination.clone().ok_or(BrokerError::DestinationNameEmpty)?,
        };
        if self.broker.scheduler.is_asked_at(&destination) {
            return self.ask_scheduler(&message, receipt).await;
        }
        if self.broker.scheduler.takes(&message)? {
            return self.schedule(message, &destination, receipt).await;
        }
        let interceptors = self.interceptors.look(self.broker.router.interceptors());
        if !destination.is_composite() && !interceptors.intercept(&destination) {
            let handle = self.handle_for(&destination).await?;
            if let Some(route) = self.routes.get_mut(&destination) {
                route.is_plain = true;
            }
            return self.route(handle, message, receipt).await;
        }
        let parts = destination.parts();
        if parts.is_empty() {
            return Err(BrokerError::DestinationNameEmpty);
        }
        let mut expansion = Expansion::new(interceptors, &self.broker.router, &message);
        for part in &parts {
            let original = match *part == destination {
                true => message.original_destination.clone(),
                false => Some(destination.clone()),
            };
            expansion.send_to(part, original);
        }
        let targets = expansion.finish()?;
        self.fan_out(message, targets, receipt).await
    }

    /// Lets `message` pass the plugins; true when one of them has answered it.
    async fn pass_plugins(
        &mut self,
        message: &mut Message,
        now_ms: i64,
    ) -> Result<bool, BrokerError> {
        let options = &self.broker.options;
        let question = options.plugins.pass(message, Passage::Sent, &options.name, now_ms);
        let Some(question) = question else { return Ok(false) };
        // What it sent before counts.
        self.flush().await;
        self.broker.answer(question).await?;
        Ok(true)
    }

    /// The way to a destination that is sent to.
    pub(super) async fn handle_for(
        &mut self,
        destination: &Destination,
    ) -> Result<Arc<DestinationHandle>, BrokerError> {
        if let Some(route) = self.routes.get(destination) {
            if !route.handle.is_gone() {
                return Ok(Arc::clone(&route.handle));
            }
            self.routes.remove(destination);
        }
        let create =
            !destination.kind().is_temporary() || self.broker.options.create_temporaries_on_send;
        let handle = match self.broker.router.find(destination) {
            Some(handle) => handle,
            None if create => self.destination(destination).await?,
            None => return Err(BrokerError::DestinationMissing(destination.clone())),
        };
        // Who remembers the way keeps the destination.
        if handle.policy.get().inactive_timeout.is_some() {
            return Ok(handle);
        }
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        let route = Route { handle: Arc::clone(&handle), is_plain: false };
        self.routes.insert(destination.clone(), route);
        Ok(handle)
    }

    /// The way of what is sent under this name, if it is known that it takes that one only.
    fn plain_route(&mut self, named: Option<&Destination>) -> Option<Arc<DestinationHandle>> {
        if self.interceptors.is_stale(self.broker.router.interceptors()) {
            self.routes.clear();
            return None;
        }
        let route = self.routes.get(named?)?;
        (route.is_plain && !route.handle.is_gone()).then(|| Arc::clone(&route.handle))
    }

    /// Takes memory for a message and hands it to one destination, or keeps it in its transaction.
    pub(super) async fn route(
        &mut self,
        handle: Arc<DestinationHandle>,
        message: Arc<Message>,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let policy = handle.policy.get();
        let bytes = (message.size() as u64).max(policy.minimum_message_bytes);
        let may_park = receipt.is_some();
        let admission = self.admit(&handle, &policy, &message, bytes, may_park).await?;
        let unstored = message.transaction_id.is_some() && self.is_stored(&handle, &message);
        let parked = match admission {
            Admission::Park => Some(self.park(&handle, bytes).await?),
            Admission::Credited | Admission::Forced => None,
        };
        let joins = match message.transaction_id.clone() {
            Some(id) if parked.is_none() => {
                if admission != Admission::Credited {
                    handle.usage.take(bytes);
                }
                let send = PendingSend { handle, message, bytes, unstored };
                self.in_transaction(&id, move |transaction| transaction.send([send]))?;
                if let Some(receipt) = receipt.take() {
                    receipt.resolve(Ok(()));
                }
                return Ok(());
            }
            Some(id) => {
                let handle = Arc::clone(&handle);
                let join = self
                    .in_transaction(&id, |transaction| transaction.when_room(handle, unstored))?;
                Some(Join::new(join))
            }
            None => None,
        };
        let connection = self.entry.number;
        let redeliveries = message.redelivery_counter;
        let resent = self.entry.info.failover_reconnect;
        let receipt = receipt.take();
        let moved = Vec::new();
        self.hand(
            &handle,
            Op::Send(Incoming {
                message,
                bytes,
                admission,
                receipt,
                connection,
                of_network: self.network,
                redeliveries,
                resent,
                moved,
                parked,
                joins,
            }),
        )
        .await;
        Ok(())
    }

    /// A place for a send that may have to wait in `handle`.
    pub(super) async fn park(
        &mut self,
        handle: &Arc<DestinationHandle>,
        bytes: u64,
    ) -> Result<Credit, BrokerError> {
        if self.parking.is_full() {
            // What is not handed over yet would never get in.
            self.flush().await;
            let room = self.transport.closing.unless(self.parking.room()).await;
            room.ok_or(BrokerError::SendAborted)?;
        }
        Ok(self.parking.park(handle, bytes))
    }

    /// How a message gets its memory, and the store room for it (semantics.md section 8).
    async fn admit(
        &mut self,
        handle: &Arc<DestinationHandle>,
        policy: &Policy,
        message: &Message,
        bytes: u64,
        may_park: bool,
    ) -> Result<Admission, BrokerError> {
        if handle.destination.is_advisory() {
            return Ok(Admission::Forced);
        }
        let controlled = policy.producer_flow_control;
        let stored = self.is_stored(handle, message);
        let disk = self.disk_for(handle, policy, stored);
        let disk_percent = if stored { policy.store_high_water_percent } else { 100 };
        let is_disk_full =
            || disk.as_ref().is_some_and(|disk| disk.full_at(disk_percent).is_some());
        let disk_full = is_disk_full();
        if !disk_full && !controlled {
            return Ok(Admission::Forced);
        }
        // What is parked there was sent before.
        let transacted = message.transaction_id.is_some();
        let before = self.parking.waiting(handle).filter(|_| !transacted);
        if !disk_full && before.is_none() {
            if handle.usage.try_take(bytes) {
                return Ok(Admission::Credited);
            }
            // What is on its way to the temp store is no reason to refuse a send.
            while self.is_refused_by(policy) && handle.usage.is_leaving() {
                let left = self.transport.closing.unless(handle.usage.left()).await;
                left.ok_or(BrokerError::SendAborted)?;
                if handle.usage.try_take(bytes) {
                    return Ok(Admission::Credited);
                }
            }
        }
        let producer: Text =
            message.producer_id.as_ref().map(ToString::to_string).unwrap_or_default().into();
        let limit = disk.as_ref().map_or(0, |disk| disk.limit());
        let failed = |disk_full: bool| {
            let (producer, destination) = (Text::clone(&producer), handle.destination.clone());
            match disk_full {
                true if stored => {
                    let percent = disk_percent;
                    BrokerError::StoreWaitTimeout { percent, limit, producer, destination }
                }
                true => {
                    let percent = disk.as_ref().map_or(100, |disk| disk.percent());
                    BrokerError::TempWaitTimeout { percent, limit, producer, destination }
                }
                false => BrokerError::MemoryWaitTimeout { producer, destination },
            }
        };
        if self.is_refused_by(policy) {
            self.tell_full(handle, message).await;
            return Err(match disk_full {
                true => failed(true),
                false => BrokerError::MemoryFull(handle.destination.clone()),
            });
        }
        if may_park && controlled {
            return Ok(Admission::Park);
        }
        // What this connection sent before must get in, or it would wait for itself.
        self.flush().await;
        match disk_full {
            true if stored => warn_store_full(&handle.destination, disk_percent, limit, &producer),
            true => {
                let short = disk.as_ref().map(|disk| TempShortage::of(disk));
                warn_temp_full(&handle.destination, short.unwrap_or_default(), &producer);
            }
            false if before.is_none() => warn_full(&handle.destination, &handle.usage, 0),
            false => {}
        }
        if disk_full || before.is_none() {
            self.tell_full(handle, message).await;
        }
        let room = async {
            if let Some(before) = before {
                before.acquire(0).await;
            }
            if let Some(disk) = &disk {
                has_room(handle, disk, disk_percent).await;
            }
            if controlled {
                handle.usage.acquire(bytes).await;
            }
        };
        let warn = |seconds: u64| match is_disk_full() {
            true => tracing::warn!("{} (blocking for: {seconds}s)", failed(true)),
            false => warn_stopped(&handle.destination, &producer, seconds),
        };
        let room = warned_of(room, policy.blocked_warning_interval, warn);
        let closing = &self.transport.closing;
        let blocked = self.blocked(handle, message);
        let waited = match self.patience(policy) {
            None => closing.unless(room).await.map(Ok),
            Some(patience) => closing.unless(tokio::time::timeout(patience, room)).await,
        };
        drop(blocked);
        match waited {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(failed(is_disk_full())),
            None => return Err(BrokerError::SendAborted),
        }
        *handle.fast_producer_told.lock() = None;
        Ok(if controlled { Admission::Credited } else { Admission::Forced })
    }

    /// Whether `message` goes into the store.
    pub(super) fn is_stored(&self, handle: &DestinationHandle, message: &Message) -> bool {
        message.persistent
            && !handle.destination.kind().is_temporary()
            && self.broker.outlet.store.keeps()
            && handle.shared.stores(&handle.destination)
    }

    /// Whether a send fails where there is no room. Brokers are held back only.
    pub(super) fn is_refused_by(&self, policy: &Policy) -> bool {
        policy.send_fail_if_no_space && !self.network
    }

    /// How long a send may wait for room; none: as long as need be.
    pub(super) fn patience(&self, policy: &Policy) -> Option<Duration> {
        Some(policy.send_fail_after).filter(|patience| !patience.is_zero() && !self.network)
    }

    /// Where a message for `handle` will be if there is no memory for it. `stored`: the store keeps it.
    pub(super) fn disk_for(
        &self,
        handle: &DestinationHandle,
        policy: &Policy,
        stored: bool,
    ) -> Option<Arc<Usage>> {
        if stored {
            return Some(Arc::clone(&handle.store_usage));
        }
        let options = &self.broker.options;
        // Subscriptions of a topic need it when memory does not hold their senders back in time.
        let needs = handle.destination.kind().is_queue()
            || !policy.producer_flow_control && handle.usage.full().is_some();
        (needs && options.spool.is_some()).then(|| Arc::clone(&options.temp_usage))
    }

    /// Notes that the sender of `message` waits for room in `handle`, until the result is ended.
    pub(super) fn blocked(&self, handle: &Arc<DestinationHandle>, message: &Message) -> Blocked {
        let producer = message.producer_id.as_ref().and_then(|id| self.producers.get(id));
        Blocked::begin(
            Arc::clone(handle),
            Arc::clone(&self.entry),
            producer.map(|producer| Arc::clone(&producer.entry)),
        )
    }

    /// Advisories for a destination that is full, once per producer until it has room.
    pub(super) async fn tell_full(&self, handle: &Arc<DestinationHandle>, message: &Message) {
        let Some(producer) = message.producer_id.clone() else { return };
        let known = handle.fast_producer_told.lock().replace(producer.clone());
        if known.as_ref() == Some(&producer) {
            return;
        }
        let policy = handle.policy.get();
        if policy.advisory_when_full {
            self.announce(Notice::full(&handle.destination, &handle.usage)).await;
        }
        if policy.advisory_for_fast_producers {
            self.announce(Notice::fast_producer(&handle.destination, &producer)).await;
        }
    }

    /// Notes that something in a transaction failed without an answer: it can only be rolled back.
    pub fn mark_rollback_only(&mut self, id: &TransactionId, cause: &BrokerError) {
        if !self.broker.options.rollback_only_on_async_failure {
            return;
        }
        // A transaction that is not open has nothing to mark.
        drop(self.in_transaction(id, |transaction| {
            transaction.rollback_only.as_ref().inspect(|rollback_only| rollback_only.mark(cause));
        }));
    }
}
