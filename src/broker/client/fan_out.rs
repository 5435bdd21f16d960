//! One message for several destinations: all of them get it or none.
//!
//! Memory is taken everywhere before anything is handed over. What is persistent then goes as one commit, so
//! that after a crash, too, all copies are there or none. Where there is no room, nothing is held while the
//! message waits: two senders never wait for each other.

use super::super::Broker;
use super::super::destination::commit::{Commit, CommittedSend, Vote};
use super::super::destination::{
    Admission, DestinationHandle, Incoming, Op, TempShortage, warn_full, warn_store_full,
    warn_temp_full,
};
use super::super::error::BrokerError;
use super::super::interceptors::expand::{Target, Targets};
use super::super::outbox::Receipt;
use super::super::policy::Policy;
use super::super::transaction::PendingSend;
use super::super::usage::Usage;
use super::send::has_room;
use super::{Client, Closing};
use crate::jms::{Message, Text};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A copy on its way to one destination, and what must have room for it.
#[derive(Debug)]
struct Copy {
    handle: Arc<DestinationHandle>,
    policy: Arc<Policy>,
    message: Arc<Message>,
    bytes: u64,
    /// Where it will be if there is no memory for it; none if that is of no concern.
    disk: Option<Arc<Usage>>,
    /// What this connection sent to the destination before and that waits there.
    before: Option<Arc<Usage>>,
    /// Whether it is kept in the store.
    stored: bool,
    may_be_dropped: bool,
    /// How long it may wait; none: as long as need be.
    patience: Option<Duration>,
}

/// Why a copy has to wait.
enum Shortage {
    Memory,
    Disk,
}

impl Copy {
    fn is_controlled(&self) -> bool {
        self.policy.producer_flow_control && !self.is_forced()
    }

    /// Advisories are let in whatever the limits say.
    fn is_forced(&self) -> bool {
        self.handle.destination.is_advisory()
    }

    /// Share of the disk's limit from which this has to wait.
    fn disk_percent(&self) -> u32 {
        if self.stored { self.policy.store_high_water_percent } else { 100 }
    }

    fn is_before_in(&self) -> bool {
        self.before.as_ref().is_none_or(|before| before.used() == 0)
    }

    /// Takes memory, if there is room everywhere.
    fn try_take(&self) -> Result<(), Shortage> {
        let disk = self.disk.as_ref().filter(|_| !self.is_forced());
        if disk.is_some_and(|disk| disk.full_at(self.disk_percent()).is_some()) {
            return Err(Shortage::Disk);
        }
        let usage = &self.handle.usage;
        if !self.is_controlled() {
            usage.take(self.bytes);
        } else if !self.is_before_in() || !usage.try_take(self.bytes) {
            return Err(Shortage::Memory);
        }
        Ok(())
    }

    /// Waits until there may be room.
    async fn room(&self) {
        if let Some(before) = &self.before {
            before.acquire(0).await;
        }
        if let Some(disk) = &self.disk {
            has_room(&self.handle, disk, self.disk_percent()).await;
        }
        if self.is_controlled() {
            self.handle.usage.acquire(0).await;
        }
    }

    fn producer(&self) -> Text {
        self.message.producer_id.as_ref().map(ToString::to_string).unwrap_or_default().into()
    }

    fn warn(&self, shortage: &Shortage) {
        let destination = &self.handle.destination;
        let limit = self.disk.as_ref().map_or(0, |disk| disk.limit());
        match shortage {
            Shortage::Disk if self.stored => {
                warn_store_full(destination, self.disk_percent(), limit, &self.producer());
            }
            Shortage::Disk => {
                let short = self.disk.as_ref().map(|disk| TempShortage::of(disk));
                warn_temp_full(destination, short.unwrap_or_default(), &self.producer());
            }
            Shortage::Memory => warn_full(destination, &self.handle.usage, 0),
        }
    }

    /// It has waited as long as the policy lets it.
    fn timeout(&self) -> BrokerError {
        let (producer, destination) = (self.producer(), self.handle.destination.clone());
        let percent = self.disk_percent();
        match self.disk.as_ref().filter(|disk| disk.full_at(percent).is_some()) {
            Some(disk) if self.stored => {
                let limit = disk.limit();
                BrokerError::StoreWaitTimeout { percent, limit, producer, destination }
            }
            Some(disk) => {
                let TempShortage { percent, limit_bytes: limit } = TempShortage::of(disk);
                BrokerError::TempWaitTimeout { percent, limit, producer, destination }
            }
            None => BrokerError::MemoryWaitTimeout { producer, destination },
        }
    }
}

/// Takes memory for all `copies`, or says which of them has no room.
fn take_all(copies: &[Copy]) -> Result<Vec<PendingSend>, (usize, Shortage)> {
    let mut sends = Vec::with_capacity(copies.len());
    for (at, copy) in copies.iter().enumerate() {
        copy.try_take().map_err(|shortage| (at, shortage))?;
        let (handle, message) = (Arc::clone(&copy.handle), Arc::clone(&copy.message));
        sends.push(PendingSend { handle, message, bytes: copy.bytes, unstored: copy.stored });
    }
    Ok(sends)
}

/// Waits until there is room for all `copies`, holding nothing meanwhile.
async fn take_all_in_time(copies: &mut Vec<Copy>) -> Result<Vec<PendingSend>, BrokerError> {
    loop {
        let at = match take_all(copies) {
            Ok(sends) => return Ok(sends),
            Err((at, _)) => at,
        };
        let copy = &copies[at];
        let Some(patience) = copy.patience else {
            copy.room().await;
            continue;
        };
        if tokio::time::timeout(patience, copy.room()).await.is_err() {
            let error = copy.timeout();
            if !copy.may_be_dropped {
                return Err(error);
            }
            tracing::debug!(%error, "a copy is dropped");
            copies.remove(at);
        }
    }
}

/// The operations that bring `sends`, of which none are for the same destination.
fn operations(
    broker: &Broker,
    sends: Vec<PendingSend>,
    receipt: Option<Receipt>,
    connection: u64,
) -> Vec<(Arc<DestinationHandle>, Op)> {
    let store = &broker.outlet.store;
    let atomic = store.keeps() && sends.iter().any(|send| send.message.persistent);
    let mut receipts = receipt.map(|receipt| receipt.split(sends.len())).unwrap_or_default();
    if !atomic {
        let sends = sends.into_iter().map(|send| {
            let (handle, message, bytes) = send.into_parts();
            let incoming = Incoming {
                admission: Admission::Credited,
                receipt: receipts.pop(),
                connection,
                redeliveries: message.redelivery_counter,
                ..Incoming::of_broker(message, bytes)
            };
            (handle, Op::Send(incoming))
        });
        return sends.collect();
    }
    let handles = sends.iter().map(|send| Arc::clone(&send.handle)).collect();
    let ballots = Commit::of_copies(Arc::clone(store), handles, Vec::new());
    let votes = sends.into_iter().zip(ballots).map(|(send, ballot)| {
        let (handle, message, bytes) = send.into_parts();
        let sends = vec![CommittedSend { message, bytes }];
        let vote = Vote { transaction: None, sends, ballot, receipt: receipts.pop() };
        (handle, Op::Vote(Box::new(vote)))
    });
    votes.collect()
}

/// Messages of one connection for several destinations that wait for room: they get in in their order.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Closed when the last one is in.
    last: Option<oneshot::Receiver<()>>,
}

impl Line {
    fn is_empty(&mut self) -> bool {
        let waits = self.last.as_mut().is_some_and(|last| {
            // Nothing is ever sent: the end of the sender is the event.
            last.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        });
        if !waits {
            self.last = None;
        }
        !waits
    }

    /// A place behind all others: who is before, and what to drop when one is in.
    fn enter(&mut self) -> (Option<oneshot::Receiver<()>>, oneshot::Sender<()>) {
        let (sender, receiver) = oneshot::channel();
        (self.last.replace(receiver), sender)
    }
}

/// Waits for the end of `before`.
async fn behind(before: Option<oneshot::Receiver<()>>) {
    if let Some(before) = before {
        drop(before.await);
    }
}

impl Client {
    /// Sends a copy of `message` to each of `targets`, except those that were found and are gone again.
    pub(super) async fn fan_out(
        &mut self,
        message: Arc<Message>,
        targets: Targets,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let Targets { targets, varies } = targets;
        if let ([target @ Target { handle: None, .. }], false) = (&targets[..], varies) {
            let copy = target.address(&message);
            let handle = self.handle_for(&target.at).await?;
            return self.route(handle, copy, receipt).await;
        }
        let mut copies = Vec::with_capacity(targets.len());
        for target in targets {
            let message = target.address(&message);
            let handle = match target.handle {
                // It was fed because it was there; that does not make it again.
                Some(handle) if handle.is_gone() => continue,
                Some(handle) => handle,
                None => self.handle_for(&target.at).await?,
            };
            let policy = handle.policy.get();
            let bytes = (message.size() as u64).max(policy.minimum_message_bytes);
            let stored = self.is_stored(&handle, &message);
            let disk = self.disk_for(&handle, &policy, stored);
            let transacted = message.transaction_id.is_some();
            let before = self.parking.waiting(&handle).filter(|_| !transacted);
            let may_be_dropped = target.may_be_dropped;
            let patience = self.patience(&policy);
            copies.push(Copy {
                handle,
                policy,
                message,
                bytes,
                disk,
                before,
                stored,
                may_be_dropped,
                patience,
            });
        }
        match message.transaction_id.is_some() {
            true => self.fan_out_later(&message, copies, receipt).await,
            false => self.fan_out_now(copies, receipt).await,
        }
    }

    /// Keeps `copies` in the transaction of `message`.
    async fn fan_out_later(
        &mut self,
        message: &Message,
        mut copies: Vec<Copy>,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let sends = match take_all(&copies) {
            Ok(sends) => sends,
            Err(_) => self.wait_here(&mut copies).await?,
        };
        if let Some(id) = &message.transaction_id {
            self.in_transaction(id, move |transaction| transaction.send(sends))?;
        }
        if let Some(receipt) = receipt.take() {
            receipt.resolve(Ok(()));
        }
        Ok(())
    }

    async fn fan_out_now(
        &mut self,
        mut copies: Vec<Copy>,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let in_order = self.line.is_empty();
        let taken = take_all(&copies).ok().filter(|_| in_order);
        let sends = match taken {
            Some(sends) => sends,
            None if receipt.is_some() => {
                self.refuse_where_full(&mut copies).await?;
                return self.wait_aside(copies, receipt).await;
            }
            None => {
                self.flush().await;
                let (before, _) = self.line.enter();
                let waited = self.transport.closing.unless(behind(before)).await;
                waited.ok_or(BrokerError::SendAborted)?;
                self.wait_here(&mut copies).await?
            }
        };
        let connection = self.entry.number;
        for (handle, op) in operations(&self.broker, sends, receipt.take(), connection) {
            self.hand(&handle, op).await;
        }
        Ok(())
    }

    /// Takes out copies that may be dropped and have no room, and tells whoever should know of a
    /// destination that is full.
    ///
    /// # Errors
    /// When a destination is full whose policy says that sends fail then.
    async fn refuse_where_full(&mut self, copies: &mut Vec<Copy>) -> Result<(), BrokerError> {
        loop {
            let Err((at, shortage)) = take_all(copies) else { return Ok(()) };
            let copy = &copies[at];
            let handle = Arc::clone(&copy.handle);
            let told = handle.fast_producer_told.lock().clone();
            if told.is_none() || told != copy.message.producer_id {
                copy.warn(&shortage);
                self.tell_full(&handle, &copy.message).await;
            }
            if !self.is_refused_by(&copy.policy) {
                return Ok(());
            }
            let error = match shortage {
                Shortage::Memory => BrokerError::MemoryFull(handle.destination.clone()),
                Shortage::Disk => copy.timeout(),
            };
            if !copy.may_be_dropped {
                return Err(error);
            }
            tracing::debug!(%error, "a copy is dropped");
            copies.remove(at);
        }
    }

    /// Takes memory for all copies; the connection is not read while there is none.
    async fn wait_here(&mut self, copies: &mut Vec<Copy>) -> Result<Vec<PendingSend>, BrokerError> {
        self.refuse_where_full(copies).await?;
        // What this connection sent before must get in, or it would wait for itself.
        self.flush().await;
        let blocked = copies.first().map(|copy| self.blocked(&copy.handle, &copy.message));
        let waited = self.transport.closing.unless(take_all_in_time(copies)).await;
        drop(blocked);
        waited.ok_or(BrokerError::SendAborted)?
    }

    /// Lets the message wait while the connection goes on; who sent it waits for the receipt.
    async fn wait_aside(
        &mut self,
        mut copies: Vec<Copy>,
        receipt: &mut Option<Receipt>,
    ) -> Result<(), BrokerError> {
        let parked = match copies.first() {
            Some(first) => {
                let (handle, bytes) = (Arc::clone(&first.handle), first.bytes);
                Some(self.park(&handle, bytes).await?)
            }
            None => None,
        };
        // Its place in the line is enough; what waits where it is parked may be behind it.
        copies.iter_mut().for_each(|copy| copy.before = None);
        let (before, done) = self.line.enter();
        let (broker, connection) = (Arc::clone(&self.broker), self.entry.number);
        let (closing, receipt): (Closing, _) = (self.transport.closing.clone(), receipt.take());
        tokio::spawn(async move {
            let waits = async {
                behind(before).await;
                take_all_in_time(&mut copies).await
            };
            match (closing.unless(waits).await, receipt) {
                (Some(Ok(sends)), receipt) => {
                    for (handle, op) in operations(&broker, sends, receipt, connection) {
                        handle.send(vec![op]).await;
                    }
                }
                (Some(Err(error)), Some(receipt)) => receipt.resolve(Err(error)),
                // Nobody is there to be told.
                (Some(Err(_)), None) | (None, _) => {}
            }
            drop((parked, done));
        });
        Ok(())
    }
}
