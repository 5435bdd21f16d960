//! A connection to a broker.

use super::link::{Link, Outgoing};
use super::session::Session;
use super::task::{ClientEgress, ClientIngress};
use super::{ClientError, Options};
use crate::broker::client::Closing;
use crate::jms::info::{
    BrokerInfo, ConnectionInfo, DestinationInfo, ObjectId, RemoveInfo, RemoveSubscriptionInfo,
};
use crate::jms::{ConnectionId, Destination, DestinationKind, Text, TransactionId, XaId};
use crate::protocol::drive::{Patience, drive};
use crate::protocol::openwire::codec::Settings;
use crate::protocol::openwire::command::{Command, Object, ShutdownInfo, TransactionInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An open connection. Dropping it drops the socket, as [`Self::abort`] does; sessions and what
/// belongs to them then fail with [`ClientError::Closed`].
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the objects of a connection know of it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) id: ConnectionId,
    pub(super) client_id: Text,
    settings: Settings,
    last_object: AtomicI64,
}

/// How long the broker may take to close its end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

impl Connection {
    /// Connects to `tcp://host:port?...`; see [`Options::parse`].
    ///
    /// # Errors
    /// As [`Self::connect`], and for an address that cannot be understood.
    pub async fn open(uri: &str) -> Result<Self, ClientError> {
        Self::connect(&Options::parse(uri)?).await
    }

    /// Connects, negotiates the wire format and introduces the client.
    ///
    /// # Errors
    /// When the broker cannot be reached, does not answer in time or refuses the client.
    pub async fn connect(options: &Options) -> Result<Self, ClientError> {
        let limit = options.connect_timeout;
        let connecting = async {
            let address = format!("{}:{}", options.host, options.port);
            let failed = |source| ClientError::Connect { address: address.clone(), source };
            let stream = TcpStream::connect(&address).await.map_err(|e| failed(Arc::new(e)))?;
            stream.set_nodelay(options.offer.tcp_no_delay).map_err(|e| failed(Arc::new(e)))?;
            let (reader, writer) = stream.into_split();
            Self::introduce(reader, writer, options).await
        };
        timeout(limit, connecting).await.map_err(|_| ClientError::Timeout(limit))?
    }

    /// Opens a connection over a stream of bytes that exists already.
    pub(super) async fn introduce<R, W>(
        reader: R,
        writer: W,
        options: &Options,
    ) -> Result<Self, ClientError>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let link = Arc::new(Link::new(options));
        link.put_own(&options.offer.to_wire()?.into())?;
        let (sender, negotiated) = oneshot::channel();
        let ingress = ClientIngress::new(Arc::clone(&link), options.offer.clone(), sender);
        let egress = ClientEgress::new(Arc::clone(&link));
        let guard = EndsLink(Arc::clone(&link));
        let patience = Patience { handshake: options.connect_timeout, ..Patience::default() };
        let task = tokio::spawn(async move {
            let never = Arc::new(Notify::new());
            let ended = {
                let closing = Closing::default();
                drive(reader, writer, ingress, egress, never, closing, patience).await
            };
            guard.0.end(&ClientError::Lost(Arc::new(ended)));
        });
        let (id, client_id) = identity(options);
        let settings = Settings::before_negotiation(u64::MAX);
        let last_object = AtomicI64::new(0);
        let shared = Shared { link, id, client_id, settings, last_object };
        let mut connection = Self { shared: Arc::new(shared), task };
        let Ok(agreement) = negotiated.await else {
            return Err(connection.shared.link.ended().unwrap_or(ClientError::Closed));
        };
        if let Some(shared) = Arc::get_mut(&mut connection.shared) {
            shared.settings = agreement.settings;
        }
        let info = ConnectionInfo {
            connection_id: Some(connection.shared.id.clone()),
            client_id: Some(Text::clone(&connection.shared.client_id)),
            user_name: options.user.clone(),
            password: options.password.clone(),
            manageable: true,
            client_master: true,
            fault_tolerant: options.fault_tolerant,
            failover_reconnect: options.failover_reconnect,
            ..ConnectionInfo::default()
        };
        connection.request(Box::new(info)).await?;
        Ok(connection)
    }

    /// The connection's id.
    pub fn id(&self) -> &ConnectionId {
        &self.shared.id
    }

    /// The client id the connection has at the broker.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The wire format both sides agreed on.
    pub fn wire_format(&self) -> &Settings {
        &self.shared.settings
    }

    /// How the broker introduced itself, if it did.
    pub fn broker_info(&self) -> Option<Arc<BrokerInfo>> {
        self.shared.link.broker()
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn session(&self) -> Result<Session, ClientError> {
        Session::open(&self.shared).await
    }

    /// The session every connection has without opening it: number -1.
    pub fn own_session(&self) -> Session {
        Session::own(&self.shared)
    }

    /// Creates a temporary queue. It lives as long as the connection.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn temporary_queue(&self) -> Result<Destination, ClientError> {
        self.temporary(DestinationKind::TempQueue).await
    }

    /// Creates a temporary topic. It lives as long as the connection.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn temporary_topic(&self) -> Result<Destination, ClientError> {
        self.temporary(DestinationKind::TempTopic).await
    }

    async fn temporary(&self, kind: DestinationKind) -> Result<Destination, ClientError> {
        let name = format!("{}:{}", self.shared.id, self.shared.next_object());
        let destination = Destination::new(kind, Some(name.into()));
        self.destination_info(destination.clone(), 0).await?;
        Ok(destination)
    }

    /// Removes a destination.
    ///
    /// # Errors
    /// The broker's refusal, such as that it has consumers; or the end of the connection.
    pub async fn remove_destination(&self, destination: Destination) -> Result<(), ClientError> {
        self.destination_info(destination, 1).await
    }

    async fn destination_info(
        &self,
        destination: Destination,
        operation_type: i8,
    ) -> Result<(), ClientError> {
        let info = DestinationInfo {
            connection_id: Some(self.shared.id.clone()),
            destination: Some(destination),
            operation_type,
            ..DestinationInfo::default()
        };
        self.request(info).await.map(drop)
    }

    /// Deletes the durable subscription `name` of this client.
    ///
    /// # Errors
    /// The broker's refusal: there is none, or it has a consumer. Or the end of the connection.
    pub async fn unsubscribe(&self, name: &str) -> Result<(), ClientError> {
        let info = RemoveSubscriptionInfo {
            connection_id: Some(self.shared.id.clone()),
            client_id: Some(Text::clone(&self.shared.client_id)),
            subscription_name: Some(name.into()),
            ..RemoveSubscriptionInfo::default()
        };
        self.request(info).await.map(drop)
    }

    /// Prepares an XA transaction; returns the vote: 0 ok, 3 nothing to do and forgotten.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn prepare(&self, id: &Arc<XaId>) -> Result<i32, ClientError> {
        match self.shared.transaction(TransactionId::Xa(Arc::clone(id)), PREPARE).await? {
            Command::IntegerResponse(response) => Ok(response.result),
            other => Err(ClientError::Unexpected(other.name())),
        }
    }

    /// Commits an XA transaction, a prepared one in two phases.
    ///
    /// # Errors
    /// The broker's refusal, with `xaErrorCode:n` in its text; or the end of the connection.
    pub async fn commit_xa(&self, id: &Arc<XaId>, one_phase: bool) -> Result<(), ClientError> {
        let kind = if one_phase { COMMIT_ONE_PHASE } else { COMMIT_TWO_PHASE };
        self.shared.transaction(TransactionId::Xa(Arc::clone(id)), kind).await.map(drop)
    }

    /// Rolls back an XA transaction.
    ///
    /// # Errors
    /// As [`Self::commit_xa`].
    pub async fn rollback_xa(&self, id: &Arc<XaId>) -> Result<(), ClientError> {
        self.shared.transaction(TransactionId::Xa(Arc::clone(id)), ROLLBACK).await.map(drop)
    }

    /// The XA transactions that are prepared at the broker.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn recover(&self) -> Result<Vec<Arc<XaId>>, ClientError> {
        let info = TransactionInfo {
            connection_id: Some(self.shared.id.clone()),
            kind: RECOVER,
            ..TransactionInfo::default()
        };
        let answer = self.request(info).await?;
        let Command::DataArrayResponse(response) = answer else {
            return Err(ClientError::Unexpected(answer.name()));
        };
        let ids = response.data.into_iter().flatten().flatten();
        ids.map(|object| match *object {
            Command::Object(Object::TransactionId(TransactionId::Xa(id))) => Ok(id),
            other => Err(ClientError::Unexpected(other.name())),
        })
        .collect()
    }

    /// Sends any command and waits for its response.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub async fn request(&self, command: impl Into<Command>) -> Result<Command, ClientError> {
        self.shared.link.request(command).await
    }

    /// Sends any command that needs no response.
    ///
    /// # Errors
    /// When it cannot be encoded or the connection has ended.
    pub async fn tell(&self, command: impl Into<Command>) -> Result<(), ClientError> {
        self.shared.link.tell(Outgoing::Command(command.into())).await
    }

    /// The next command the broker sent unasked: `BrokerInfo`, `ConnectionControl`,
    /// `ConnectionError`, `ConsumerControl` and the like, from the first one on. The latest 64 are
    /// kept.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn event(&self) -> Result<Command, ClientError> {
        self.shared.link.event().await
    }

    /// Closes the connection and all it has, and waits until the broker has done so.
    ///
    /// # Errors
    /// When the connection had ended before.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let info = RemoveInfo {
            object_id: Some(ObjectId::Connection(self.shared.id.clone())),
            last_delivered_sequence_id: -1,
            ..RemoveInfo::default()
        };
        self.request(info).await?;
        self.tell(ShutdownInfo::default()).await?;
        // A broker that does not close its end is left behind: dropping ends the task.
        drop(timeout(CLOSE_PATIENCE, &mut self.task).await);
        Ok(())
    }

    /// Drops the socket without a word; returns when it is closed.
    pub async fn abort(mut self) {
        self.task.abort();
        // Cancelled, as it was asked to be.
        drop((&mut self.task).await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// However the task ends, nobody waits for it any more.
struct EndsLink(Arc<Link>);

impl Drop for EndsLink {
    fn drop(&mut self) {
        self.0.end(&ClientError::Closed);
    }
}

impl Shared {
    /// A number no other object of the connection has.
    pub(super) fn next_object(&self) -> i64 {
        self.last_object.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Asks for a change of a transaction.
    pub(super) async fn transaction(
        &self,
        id: TransactionId,
        kind: i8,
    ) -> Result<Command, ClientError> {
        self.link.request(self.transaction_info(id, kind)).await
    }

    pub(super) fn transaction_info(&self, id: TransactionId, kind: i8) -> TransactionInfo {
        TransactionInfo {
            connection_id: Some(self.id.clone()),
            transaction_id: Some(id),
            kind,
            ..TransactionInfo::default()
        }
    }
}

// `TransactionInfo.type`.
pub(super) const BEGIN: i8 = 0;
const PREPARE: i8 = 1;
pub(super) const COMMIT_ONE_PHASE: i8 = 2;
const COMMIT_TWO_PHASE: i8 = 3;
pub(super) const ROLLBACK: i8 = 4;
const RECOVER: i8 = 5;
pub(super) const END: i8 = 7;

/// The connection id and client id to use: made up ones are unique by host, process and time.
fn identity(options: &Options) -> (ConnectionId, Text) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let base = format!("ID:{host}-{}-{now}-{number}", std::process::id());
    let id = options.connection_id.clone().unwrap_or_else(|| format!("{base}:1").into());
    let client_id = options.client_id.clone().unwrap_or_else(|| format!("{base}:0").into());
    (ConnectionId::new(id), client_id)
}
