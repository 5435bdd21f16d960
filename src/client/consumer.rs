//! A consumer.

use super::ClientError;
use super::inbox::Inbox;
use super::link::Outgoing;
use super::session::Context;
use crate::jms::info::{ObjectId, RemoveInfo};
use crate::jms::{
    AckKind, ConsumerId, ConsumerInfo, Destination, MessageAck, MessagePull, Text, Throwable,
};
use crate::protocol::openwire::command::MessageDispatch;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

/// What a consumer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// How many messages may be unacknowledged; 0: each is asked for by [`Consumer::pull`]. 1000.
    pub prefetch: i32,
    pub selector: Option<Text>,
    /// Name of the durable subscription to be.
    pub durable: Option<Text>,
    /// Only looks: copies of what is in the queue, then a dispatch without message.
    pub browser: bool,
    /// Leaves out what was sent on this connection.
    pub no_local: bool,
    pub exclusive: bool,
    /// Gets what a topic keeps of earlier messages.
    pub retroactive: bool,
    /// 0 to 127, those with more come first; networks have less than 0.
    pub priority: i8,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            prefetch: 1000,
            selector: None,
            durable: None,
            browser: false,
            no_local: false,
            exclusive: false,
            retroactive: false,
            priority: 0,
        }
    }
}

/// An open consumer. Dropped without [`Self::close`] it stays open at the broker until its session or
/// connection closes, and what comes for it is lost to others until then.
#[derive(Debug)]
pub struct Consumer {
    context: Arc<Context>,
    id: ConsumerId,
    destination: Destination,
    inbox: Arc<Inbox>,
    /// Taken out of the inbox, not yet received.
    ready: VecDeque<MessageDispatch>,
    /// Broker sequence of the last message received; -1 none.
    last_received: i64,
}

impl Consumer {
    pub(super) async fn open(
        context: &Arc<Context>,
        destination: Destination,
        options: ConsumerOptions,
    ) -> Result<Self, ClientError> {
        let context = Arc::clone(context);
        let connection = &context.connection;
        let id = ConsumerId {
            connection: context.id.connection.clone(),
            session: context.id.value,
            value: connection.next_object(),
        };
        let info = ConsumerInfo {
            consumer_id: Some(id.clone()),
            destination: Some(destination.clone()),
            prefetch_size: options.prefetch,
            dispatch_async: true,
            selector: options.selector,
            client_id: Some(Text::clone(&connection.client_id)),
            subscription_name: options.durable,
            browser: options.browser,
            no_local: options.no_local,
            exclusive: options.exclusive,
            retroactive: options.retroactive,
            priority: options.priority,
            ..ConsumerInfo::default()
        };
        // Messages may come before the response.
        let inbox = connection.link.open_inbox(&id);
        let consumer = Self {
            context: Arc::clone(&context),
            id,
            destination,
            inbox,
            ready: VecDeque::new(),
            last_received: -1,
        };
        connection.link.request(Box::new(info)).await?;
        Ok(consumer)
    }

    /// The consumer's id.
    pub fn id(&self) -> &ConsumerId {
        &self.id
    }

    /// Waits for the next dispatch. One without message ends a browse or answers a pull.
    ///
    /// # Errors
    /// When the connection has ended or the broker has closed the consumer, and nothing is left.
    pub async fn receive(&mut self) -> Result<MessageDispatch, ClientError> {
        loop {
            if let Some(dispatch) = self.try_receive() {
                return Ok(dispatch);
            }
            let Self { inbox, ready, .. } = self;
            poll_fn(|cx| inbox.poll_take(cx, ready)).await?;
        }
    }

    /// Waits until there is something, then appends all there is to `into`.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn receive_all(
        &mut self,
        into: &mut Vec<MessageDispatch>,
    ) -> Result<(), ClientError> {
        if self.ready.is_empty() {
            let Self { inbox, ready, .. } = self;
            poll_fn(|cx| inbox.poll_take(cx, ready)).await?;
        }
        if let Some(last) = self.ready.back() {
            self.last_received = sequence(last).unwrap_or(self.last_received);
        }
        into.extend(self.ready.drain(..));
        Ok(())
    }

    /// The next dispatch, if it has come already.
    pub fn try_receive(&mut self) -> Option<MessageDispatch> {
        if self.ready.is_empty() {
            self.inbox.take(&mut self.ready);
        }
        let dispatch = self.ready.pop_front()?;
        self.last_received = sequence(&dispatch).unwrap_or(self.last_received);
        Some(dispatch)
    }

    /// Acknowledges one message, without waiting for an answer. In a transaction it takes effect
    /// with the commit.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn ack(&self, dispatch: &MessageDispatch) -> Result<(), ClientError> {
        self.acknowledge(AckKind::Standard, dispatch, dispatch, 1, false).await
    }

    /// Acknowledges `count` messages from `first` to `last` in order of dispatch; with `wait`,
    /// returns when the broker has done it.
    ///
    /// # Errors
    /// The broker's refusal if it is waited for, or the end of the connection.
    pub async fn acknowledge(
        &self,
        kind: AckKind,
        first: &MessageDispatch,
        last: &MessageDispatch,
        count: i32,
        wait: bool,
    ) -> Result<(), ClientError> {
        let mut ack = self.ack_of(kind, last);
        ack.message_count = count;
        if kind != AckKind::Individual {
            ack.first_message_id = first.message.as_ref().and_then(|m| m.message_id.clone());
        }
        self.send_ack(ack, wait).await
    }

    /// Gives a message up: the broker moves it to the dead letter queue. Not within a transaction.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn poison(
        &self,
        dispatch: &MessageDispatch,
        cause: Throwable,
    ) -> Result<(), ClientError> {
        let mut ack = self.ack_of(AckKind::Poison, dispatch);
        ack.first_message_id = ack.last_message_id.clone();
        ack.poison_cause = Some(cause);
        ack.transaction_id = None;
        self.send_ack(ack, true).await
    }

    fn ack_of(&self, kind: AckKind, last: &MessageDispatch) -> MessageAck {
        MessageAck {
            destination: last.destination.clone(),
            transaction_id: self.context.transaction(),
            consumer_id: Some(self.id.clone()),
            ack_type: kind.code(),
            last_message_id: last.message.as_ref().and_then(|m| m.message_id.clone()),
            message_count: 1,
            ..MessageAck::default()
        }
    }

    async fn send_ack(&self, ack: MessageAck, wait: bool) -> Result<(), ClientError> {
        let link = &self.context.connection.link;
        if wait {
            return link.request(Box::new(ack)).await.map(drop);
        }
        let command = Box::new(ack).into();
        link.tell(Outgoing::Command(command)).await
    }

    /// Asks for one message, for a consumer with prefetch 0. `timeout_ms`: 0 waits for ever without an
    /// empty answer, -1 not at all.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn pull(&self, timeout_ms: i64) -> Result<(), ClientError> {
        let pull = MessagePull {
            consumer_id: Some(self.id.clone()),
            destination: Some(self.destination.clone()),
            timeout: timeout_ms,
            ..MessagePull::default()
        };
        self.context.connection.link.tell(Outgoing::Command(Box::new(pull).into())).await
    }

    /// Closes the consumer. What was dispatched and not acknowledged goes to others; what was not
    /// even received does not count as delivered.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn close(self) -> Result<(), ClientError> {
        let info = RemoveInfo {
            object_id: Some(ObjectId::Consumer(self.id.clone())),
            last_delivered_sequence_id: self.last_received,
            ..RemoveInfo::default()
        };
        self.context.connection.link.request(info).await.map(drop)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.context.connection.link.close_inbox(&self.id);
    }
}

/// The broker's sequence number of a dispatched message.
fn sequence(dispatch: &MessageDispatch) -> Option<i64> {
    Some(dispatch.message.as_ref()?.message_id.as_ref()?.broker_sequence)
}
