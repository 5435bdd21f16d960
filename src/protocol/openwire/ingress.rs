//! The half of an OpenWire connection that reads: commands into calls of the broker.
//!
//! ```text
//! accepted --WireFormatInfo--> negotiated --ConnectionInfo--> connected --ShutdownInfo--> closed
//!     | anything else              | refused
//!     v                            v
//!   closed                     answered, closed a little later
//! ```
//!
//! One TCP connection may carry several connection ids; each has its own [`Client`]. Whatever a command
//! names must belong to one of them.

use super::codec::{Decoder, WireError};
use super::command::{
    ConnectionControl, DataArrayResponse, ExceptionResponse, IntegerResponse, KeepAliveInfo,
    Object, ProducerAck, Response, TransactionInfo,
};
use super::egress::fault;
use super::negotiation::{Offer, negotiate};
use super::{Command, OpenWireOptions, Shared};
use crate::broker::Broker;
use crate::broker::client::{Client, Transport};
use crate::broker::error::BrokerError;
use crate::broker::outbox::Receipt;
use crate::broker::spare::{give_back, lend};
use crate::jms::info::{BrokerInfo, ConnectionInfo, ObjectId, RemoveInfo};
use crate::jms::{Message, Text, Throwable, TransactionId};
use crate::protocol::{Ended, Ingress};
use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static COMMANDS: RefCell<Vec<Vec<Command>>> = const { RefCell::new(Vec::new()) };
}

/// Serves one peer.
pub struct OpenWireIngress {
    broker: Arc<Broker>,
    options: Arc<OpenWireOptions>,
    transport: Transport,
    shared: Arc<Shared>,
    decoder: Decoder,
    /// Decoded and not carried out yet.
    commands: Vec<Command>,
    clients: Vec<Client>,
    /// The largest frame once the peer has introduced itself.
    frame_max: u64,
    negotiated: bool,
    /// The peer has said it is a broker.
    network: bool,
}

/// The largest frame of a peer that has not introduced itself yet.
const FRAME_MAX_BEFORE_CONNECT: u64 = 64 * 1024;

impl OpenWireIngress {
    pub(super) fn new(
        broker: Arc<Broker>,
        options: Arc<OpenWireOptions>,
        transport: Transport,
        shared: Arc<Shared>,
    ) -> Self {
        let ingress = Self {
            decoder: Decoder::new(FRAME_MAX_BEFORE_CONNECT),
            broker,
            transport,
            shared,
            commands: Vec::new(),
            clients: Vec::new(),
            frame_max: FRAME_MAX_BEFORE_CONNECT,
            negotiated: false,
            network: false,
            options,
        };
        // Both sides make their offer without waiting for the other's.
        match ingress.options.offer.to_wire() {
            Ok(offer) => ingress.shared.replies.command(offer),
            Err(error) => tracing::error!(%error, "the configured wire format cannot be offered"),
        }
        ingress
    }

    fn negotiate(&mut self, offer: &super::command::WireFormatInfo) -> Result<(), Ended> {
        let theirs = match Offer::from_wire(offer) {
            Ok(theirs) => theirs,
            Err(error @ WireError::Magic) => {
                let text = "Remote wire format magic is invalid";
                let exception = Some(Throwable::new("java.io.IOException", text));
                let refusal = ExceptionResponse { exception, ..ExceptionResponse::default() };
                self.shared.replies.command(refusal);
                return Err(fault(error));
            }
            Err(error) => return Err(fault(error)),
        };
        let agreement =
            negotiate(&self.options.offer, &theirs, self.options.version_min).map_err(fault)?;
        self.decoder.apply(&agreement.settings);
        self.frame_max = agreement.settings.max_frame_size;
        self.decoder.set_max_frame_size(self.frame_max.min(FRAME_MAX_BEFORE_CONNECT));
        self.negotiated = true;
        self.shared.replies.negotiated(agreement);
        self.shared.replies.command(Box::new(BrokerInfo {
            broker_id: Some(self.broker.options.id.clone()),
            broker_name: Some(Text::clone(&self.broker.options.name)),
            broker_url: Some(Text::clone(&self.transport.connector_url)),
            ..BrokerInfo::default()
        }));
        Ok(())
    }

    /// Where the client with this connection id stands.
    fn position(&self, connection: Option<&Text>) -> Option<usize> {
        let connection = connection?;
        self.clients.iter().position(|client| {
            let id = client.info().connection_id.as_ref();
            id.and_then(|id| id.value.as_ref()) == Some(connection)
        })
    }

    /// The client with this connection id.
    fn client(&mut self, connection: Option<&Text>) -> Option<&mut Client> {
        self.position(connection).map(|at| &mut self.clients[at])
    }

    /// The client whose object a command names.
    fn owner(
        &mut self,
        connection: Option<&Text>,
        action: &'static str,
    ) -> Result<&mut Client, BrokerError> {
        match self.position(connection) {
            Some(at) => Ok(&mut self.clients[at]),
            None => {
                let id = connection.cloned().unwrap_or_else(|| "null".into());
                Err(BrokerError::NotRegistered { action, id })
            }
        }
    }

    async fn message(&mut self, message: Arc<Message>, now_ms: i64) {
        let id = message.command_id;
        let wants_response = message.response_required;
        let transaction = message.transaction_id.clone();
        let producer = message.producer_id.as_ref();
        let at = self.position(producer.and_then(|id| id.connection.as_ref()));
        let replies = &self.shared.replies;
        // Also in a transaction: the client counts what it sends there.
        let window = producer
            .filter(|id| !wants_response && self.clients.iter().any(|c| c.has_window(id)))
            .cloned();
        let mut receipt: Option<Receipt> = if wants_response {
            let done = Response { correlation_id: id, ..Response::default() };
            Some(replies.expect(Some(id), done))
        } else if let Some(producer_id) = window {
            let size = i32::try_from(message.size()).unwrap_or(i32::MAX);
            let producer_id = Some(producer_id);
            let ack = ProducerAck { producer_id, size, ..ProducerAck::default() };
            Some(replies.expect(None, ack))
        } else {
            None
        };
        let result = match at {
            Some(at) => self.clients[at].send(message, now_ms, &mut receipt).await,
            None => Err(match message.destination.clone() {
                Some(destination) => BrokerError::ProducerUnknown { destination },
                None => BrokerError::DestinationNameEmpty,
            }),
        };
        let Err(error) = result else { return };
        if let (false, Some(transaction), Some(at)) = (wants_response, &transaction, at) {
            self.clients[at].mark_rollback_only(transaction, &error);
        }
        match receipt.take() {
            Some(receipt) => receipt.resolve(Err(error)),
            None => self.shared.replies.failure(None, &error),
        }
    }

    async fn connect(&mut self, info: ConnectionInfo) -> Result<(), Ended> {
        let command_id = info.response_required.then_some(info.command_id);
        let manageable = info.manageable;
        let known = info.connection_id.as_ref().and_then(|id| id.value.clone());
        if self.client(known.as_ref()).is_none() {
            let id = info.connection_id.clone();
            if id.is_none_or(|id| id.value.is_none()) {
                let field = "connectionId";
                let error = BrokerError::FieldMissing { command: "ConnectionInfo", field };
                self.shared.replies.failure(command_id, &error);
                return Err(Ended::Refused);
            }
            let info =
                ConnectionInfo { client_ip: Some(Text::clone(&self.transport.remote)), ..info };
            let connected = Client::connect(
                Arc::clone(&self.broker),
                info,
                self.transport.clone(),
                Arc::clone(&self.shared.outbox),
                self.network,
            )
            .await;
            match connected {
                Ok(client) => {
                    self.clients.reserve_exact(1); // there is hardly ever another one
                    self.clients.push(client);
                }
                Err(error) => {
                    tracing::warn!(
                        "Failed to add Connection {} due to {error}",
                        known.as_deref().unwrap_or("null")
                    );
                    self.shared.replies.failure(command_id, &error);
                    return Err(Ended::Refused);
                }
            }
            self.decoder.set_max_frame_size(self.frame_max);
        }
        if manageable {
            self.shared.replies.command(ConnectionControl {
                connected_brokers: Some("".into()),
                reconnect_to: Some("".into()),
                ..ConnectionControl::default()
            });
        }
        self.respond(command_id);
        Ok(())
    }

    fn respond(&self, command_id: Option<i32>) {
        if let Some(correlation_id) = command_id {
            self.shared.replies.command(Response { correlation_id, ..Response::default() });
        }
    }

    /// Answers a command that is done or refused.
    fn answer(&self, command_id: Option<i32>, result: Result<(), BrokerError>) {
        match result {
            Ok(()) => self.respond(command_id),
            Err(error) => self.shared.replies.failure(command_id, &error),
        }
    }

    async fn remove(&mut self, info: RemoveInfo) -> Result<(), BrokerError> {
        let last = info.last_delivered_sequence_id;
        match info.object_id {
            Some(ObjectId::Connection(id)) => {
                if let Some(at) = self.clients.iter().position(|c| c.connection_id() == id) {
                    let mut client = self.clients.swap_remove(at);
                    client.close(last).await;
                }
                Ok(())
            }
            Some(ObjectId::Session(id)) => {
                let action = "remove a session from a connection";
                let client = self.owner(id.connection.as_ref(), action)?;
                client.remove_session(&id, last).await
            }
            Some(ObjectId::Consumer(id)) => {
                let action = "remove a consumer from a connection";
                let client = self.owner(id.connection.as_ref(), action)?;
                client.remove_consumer(&id, last).await
            }
            Some(ObjectId::Producer(id)) => {
                let action = "remove a producer from a connection";
                let client = self.owner(id.connection.as_ref(), action)?;
                client.remove_producer(&id).await
            }
            Some(ObjectId::Broker(_)) => {
                Err(BrokerError::Unknown { what: "Unknown remove command type", value: 124 })
            }
            None => Err(BrokerError::FieldMissing { command: "RemoveInfo", field: "objectId" }),
        }
    }

    async fn transaction(&mut self, info: TransactionInfo) {
        let command_id = info.response_required.then_some(info.command_id);
        match self.try_transaction(info, command_id).await {
            Ok(None) => {}
            Ok(Some(response)) => {
                if command_id.is_some() {
                    self.shared.replies.command(response);
                }
            }
            Err(error) => self.shared.replies.failure(command_id, &error),
        }
    }

    /// The response, or none when a receipt brings it.
    async fn try_transaction(
        &mut self,
        info: TransactionInfo,
        command_id: Option<i32>,
    ) -> Result<Option<Command>, BrokerError> {
        let correlation_id = info.command_id;
        let done = Command::from(Response { correlation_id, ..Response::default() });
        let shared = Arc::clone(&self.shared);
        let connection = info.connection_id.as_ref().and_then(|id| id.value.clone());
        let client = self.owner(connection.as_ref(), "work in a transaction on a connection")?;
        let id = || -> Result<TransactionId, BrokerError> {
            let field = "transactionId";
            let missing = BrokerError::FieldMissing { command: "TransactionInfo", field };
            info.transaction_id.clone().ok_or(missing)
        };
        let expect = |done: Command| command_id.map(|id| shared.replies.expect(Some(id), done));
        match info.kind {
            0 => client.begin(id()?)?,
            1 => {
                let result = client.prepare(&id()?).await?;
                let response =
                    IntegerResponse { correlation_id, result, ..IntegerResponse::default() };
                return Ok(Some(response.into()));
            }
            kind @ (2 | 3) => {
                let id = id()?;
                let mut receipt = expect(done);
                let result = client.commit(&id, kind == 3, &mut receipt).await;
                return finish(receipt, command_id, result);
            }
            4 | 6 => {
                let id = id()?;
                let mut receipt = expect(done);
                let result = client.rollback(&id, &mut receipt).await;
                return finish(receipt, command_id, result);
            }
            5 => {
                let ids = client.recover().into_iter().map(|id| {
                    Some(Box::new(Command::Object(Object::TransactionId(TransactionId::Xa(id)))))
                });
                let data = Some(ids.collect());
                let response =
                    DataArrayResponse { correlation_id, data, ..DataArrayResponse::default() };
                return Ok(Some(response.into()));
            }
            7 => {}
            kind => {
                let what = "Transaction info type unknown";
                return Err(BrokerError::Unknown { what, value: kind.into() });
            }
        }
        Ok(Some(done))
    }

    /// Carries out one command.
    async fn carry_out(&mut self, command: Command, now_ms: i64) -> Result<(), Ended> {
        let command_id = command.response_required().then(|| command.command_id());
        if !self.negotiated && !matches!(command, Command::WireFormatInfo(_)) {
            let name = command.name();
            return Err(Ended::Protocol(format!("{name} came before WireFormatInfo")));
        }
        match command {
            Command::Message(message) => self.message(message, now_ms).await,
            Command::MessageAck(ack) => {
                let connection = ack.consumer_id.as_ref().and_then(|id| id.connection.clone());
                let done = Response { correlation_id: ack.command_id, ..Response::default() };
                let transaction = ack.transaction_id.clone();
                let mut receipt = command_id.map(|id| self.shared.replies.expect(Some(id), done));
                let result = match self.client(connection.as_ref()) {
                    Some(client) => client.acknowledge(*ack, &mut receipt).await,
                    // Stale: its consumer is gone with its connection.
                    None => Ok(()),
                };
                if let (None, Err(error), Some(transaction)) = (command_id, &result, &transaction)
                    && let Some(client) = self.client(connection.as_ref())
                {
                    client.mark_rollback_only(transaction, error);
                }
                match (receipt, result) {
                    (Some(receipt), result) => receipt.resolve(result),
                    (None, Err(error)) => self.shared.replies.failure(None, &error),
                    (None, Ok(())) => {}
                }
            }
            Command::MessagePull(pull) => {
                let connection = pull.consumer_id.as_ref().and_then(|id| id.connection.clone());
                let result = match self.client(connection.as_ref()) {
                    Some(client) => client.pull(*pull).await,
                    None => Ok(()),
                };
                self.answer(command_id, result);
            }
            Command::WireFormatInfo(offer) if !self.negotiated => self.negotiate(&offer)?,
            Command::WireFormatInfo(_) => {
                return Err(Ended::Protocol("a second WireFormatInfo came".into()));
            }
            Command::ConnectionInfo(info) => self.connect(*info).await?,
            Command::SessionInfo(info) => {
                let mut result = Ok(());
                if let Some(id) = info.session_id
                    && let Some(client) = self.client(id.connection.as_ref())
                {
                    result = client.add_session(id);
                }
                self.answer(command_id, result);
            }
            Command::ConsumerInfo(info) => {
                let connection = info.consumer_id.as_ref().and_then(|id| id.connection.clone());
                let action = "add a consumer to a connection";
                let result = match self.owner(connection.as_ref(), action) {
                    Ok(client) => client.add_consumer(*info).await,
                    Err(error) => Err(error),
                };
                self.answer(command_id, result);
            }
            Command::ProducerInfo(info) => {
                let connection = info.producer_id.as_ref().and_then(|id| id.connection.clone());
                let action = "add a producer to a connection";
                let result = match self.owner(connection.as_ref(), action) {
                    Ok(client) => client.add_producer(info).await,
                    Err(error) => Err(error),
                };
                self.answer(command_id, result);
            }
            Command::DestinationInfo(info) => {
                let connection = info.connection_id.as_ref().and_then(|id| id.value.clone());
                let action = "change a destination on a connection";
                let result = match (self.owner(connection.as_ref(), action), info.operation_type) {
                    (Err(error), _) => Err(error),
                    (Ok(client), 0) => client.add_destination(info).await,
                    (Ok(client), 1) => client.remove_destination(info).await,
                    (Ok(_), other) => {
                        let what = "Unknown operation type";
                        Err(BrokerError::Unknown { what, value: other.into() })
                    }
                };
                self.answer(command_id, result);
            }
            Command::RemoveInfo(info) => {
                let result = self.remove(info).await;
                self.answer(command_id, result);
            }
            Command::RemoveSubscriptionInfo(info) => {
                let named = info.connection_id.as_ref().and_then(|id| id.value.clone());
                let action = "remove a subscription from a connection";
                // Without a name it is the only one there is.
                let only = || match &self.clients[..] {
                    [only] => Some(only.connection_id().as_str().into()),
                    _ => None,
                };
                let connection = named.or_else(only);
                let result = match self.owner(connection.as_ref(), action) {
                    Ok(client) => client.forget_durable(info).await,
                    Err(error) => Err(error),
                };
                self.answer(command_id, result);
            }
            Command::TransactionInfo(info) => self.transaction(info).await,
            Command::ConsumerControl(control) => {
                if let Some(id) = &control.consumer_id
                    && let Some(client) = self.client(id.connection.as_ref())
                {
                    client.set_prefetch(id, control.prefetch).await;
                }
                self.respond(command_id);
            }
            Command::KeepAliveInfo(info) if info.response_required => {
                self.shared.replies.command(KeepAliveInfo { response_required: false, ..info });
            }
            Command::KeepAliveInfo(_) => {}
            Command::ShutdownInfo(_) => {
                self.respond(command_id);
                return Err(Ended::Goodbye);
            }
            Command::BrokerInfo(info) => {
                if self.network {
                    return Err(Ended::Protocol("a second BrokerInfo came".into()));
                }
                self.network = true;
                self.clients.iter_mut().for_each(Client::note_network);
                if info.duplex_connection {
                    let peer = info.broker_name.as_deref().unwrap_or("");
                    tracing::warn!(
                        peer,
                        "a duplex network connection is served in one direction only: messages of this broker are not forwarded over it"
                    );
                }
                self.respond(command_id);
            }
            // Nothing to do for these; whoever waits for a response gets one.
            Command::ConnectionControl(_)
            | Command::ControlCommand(_)
            | Command::FlushCommand(_)
            | Command::ConnectionError(_)
            | Command::ProducerAck(_)
            | Command::MessageDispatch(_)
            | Command::MessageDispatchNotification(_)
            | Command::ReplayCommand(_)
            | Command::Response(_)
            | Command::ExceptionResponse(_)
            | Command::DataResponse(_)
            | Command::DataArrayResponse(_)
            | Command::IntegerResponse(_)
            | Command::BrokerSubscriptionInfo(_) => self.respond(command_id),
            Command::Object(object) => {
                return Err(Ended::Protocol(format!("{} is not a command", object.name())));
            }
        }
        Ok(())
    }
}

/// What is left to answer after a commit or rollback.
fn finish(
    receipt: Option<Receipt>,
    command_id: Option<i32>,
    result: Result<(), BrokerError>,
) -> Result<Option<Command>, BrokerError> {
    match (receipt, result) {
        (Some(receipt), result) => {
            receipt.resolve(result);
            Ok(None)
        }
        (None, Err(error)) if command_id.is_none() => Err(error),
        (None, _) => Ok(None),
    }
}

impl Ingress for OpenWireIngress {
    fn frame_length(&self, input: &[u8]) -> Result<Option<usize>, Ended> {
        self.decoder.frame_length(input).map_err(fault)
    }

    fn frame(&mut self, frame: &[u8], shared: Option<&Bytes>) -> Result<bool, Ended> {
        let Some(command) = self.decoder.decode(frame, shared).map_err(fault)? else {
            return Ok(true);
        };
        if self.options.trace {
            tracing::info!(connection = %self.shared.remote, "RECEIVED: {command:?}");
        }
        // What these say decides how the next frame is read.
        let decides = matches!(command, Command::WireFormatInfo(_) | Command::ConnectionInfo(_));
        lend(&COMMANDS, &mut self.commands);
        self.commands.push(command);
        Ok(!decides)
    }

    fn established(&self) -> bool {
        self.negotiated
    }

    async fn handle(&mut self) -> Result<(), Ended> {
        if self.commands.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let mut commands = std::mem::take(&mut self.commands);
        for command in commands.drain(..) {
            let room = self.transport.closing.unless(self.shared.replies.room());
            room.await.ok_or(Ended::Stopped)?;
            self.carry_out(command, now_ms).await?;
        }
        for client in &mut self.clients {
            client.flush().await;
        }
        give_back(&COMMANDS, commands);
        Ok(())
    }

    async fn close(&mut self) {
        // Whoever leaves without closing its objects may have seen everything it was sent.
        for mut client in std::mem::take(&mut self.clients) {
            client.close(-2).await;
        }
        self.shared.outbox.close();
    }
}
