//! A session: the context of transactions, and the parent of producers and consumers.

use super::connection::{BEGIN, COMMIT_ONE_PHASE, END, ROLLBACK, Shared};
use super::link::Outgoing;
use super::{ClientError, Consumer, ConsumerOptions, Producer};
use crate::jms::info::{ObjectId, RemoveInfo};
use crate::jms::{Destination, SessionId, TransactionId, XaId};
use crate::protocol::openwire::command::SessionInfo;
use parking_lot::Mutex;
use std::sync::Arc;

/// An open session. Messages sent and acknowledged by its producers and consumers belong to its
/// transaction while it is in one. Dropping it leaves it open until the connection closes.
#[derive(Debug)]
pub struct Session {
    context: Arc<Context>,
}

/// What producers and consumers know of their session.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) connection: Arc<Shared>,
    pub(super) id: SessionId,
    transaction: Mutex<Option<TransactionId>>,
}

impl Context {
    /// The transaction the session is in.
    pub(super) fn transaction(&self) -> Option<TransactionId> {
        self.transaction.lock().clone()
    }
}

impl Session {
    pub(super) async fn open(connection: &Arc<Shared>) -> Result<Self, ClientError> {
        let session = Self::with_number(connection, connection.next_object());
        let session_id = Some(session.context.id.clone());
        let info = SessionInfo { session_id, ..SessionInfo::default() };
        connection.link.tell(Outgoing::Command(info.into())).await?;
        Ok(session)
    }

    pub(super) fn own(connection: &Arc<Shared>) -> Self {
        Self::with_number(connection, -1)
    }

    fn with_number(connection: &Arc<Shared>, value: i64) -> Self {
        let id = SessionId { connection: connection.id.value.clone(), value };
        let connection = Arc::clone(connection);
        Self { context: Arc::new(Context { connection, id, transaction: Mutex::default() }) }
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.context.id
    }

    /// Opens a producer for `destination`; without one, each message must name its own.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn producer(
        &self,
        destination: impl Into<Option<Destination>>,
    ) -> Result<Producer, ClientError> {
        Producer::open(&self.context, destination.into()).await
    }

    /// Opens a consumer; messages may come at once.
    ///
    /// # Errors
    /// The broker's refusal, such as of a selector; or the end of the connection.
    pub async fn consumer(
        &self,
        destination: Destination,
        options: ConsumerOptions,
    ) -> Result<Consumer, ClientError> {
        Consumer::open(&self.context, destination, options).await
    }

    /// Begins a local transaction.
    ///
    /// # Errors
    /// When there is one already, or the connection has ended.
    pub async fn begin(&self) -> Result<(), ClientError> {
        let connection = &self.context.connection;
        let value = connection.next_object();
        self.enter(TransactionId::Local { value, connection: Some(connection.id.clone()) }).await
    }

    /// Commits the local transaction. Whatever the outcome, the session is in no transaction then.
    ///
    /// # Errors
    /// When there is none; the broker's refusal; or the end of the connection: then it is unknown
    /// whether the transaction was committed.
    pub async fn commit(&self) -> Result<(), ClientError> {
        let id = self.leave()?;
        self.context.connection.transaction(id, COMMIT_ONE_PHASE).await.map(drop)
    }

    /// Rolls back the local transaction.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn rollback(&self) -> Result<(), ClientError> {
        let id = self.leave()?;
        self.context.connection.transaction(id, ROLLBACK).await.map(drop)
    }

    /// Begins a branch of an XA transaction; the connection prepares and commits it.
    ///
    /// # Errors
    /// When there is a transaction already, or the connection has ended.
    pub async fn begin_xa(&self, id: &Arc<XaId>) -> Result<(), ClientError> {
        self.enter(TransactionId::Xa(Arc::clone(id))).await
    }

    /// Ends the work in the XA transaction.
    ///
    /// # Errors
    /// When there is none; the broker's refusal; or the end of the connection.
    pub async fn end_xa(&self) -> Result<(), ClientError> {
        let id = self.leave()?;
        self.context.connection.transaction(id, END).await.map(drop)
    }

    async fn enter(&self, id: TransactionId) -> Result<(), ClientError> {
        {
            let mut transaction = self.context.transaction.lock();
            if transaction.is_some() {
                return Err(ClientError::TransactionState("already in"));
            }
            *transaction = Some(id.clone());
        }
        let connection = &self.context.connection;
        let info = connection.transaction_info(id, BEGIN);
        connection.link.tell(Outgoing::Command(info.into())).await
    }

    fn leave(&self) -> Result<TransactionId, ClientError> {
        self.context.transaction.lock().take().ok_or(ClientError::TransactionState("not in"))
    }

    /// Closes the session with its producers and consumers.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn close(self) -> Result<(), ClientError> {
        let info = RemoveInfo {
            object_id: Some(ObjectId::Session(self.context.id.clone())),
            last_delivered_sequence_id: -2,
            ..RemoveInfo::default()
        };
        self.context.connection.link.request(info).await.map(drop)
    }
}
