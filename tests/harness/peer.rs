//! A blocking OpenWire client for tests: says exactly what it is told to and hides nothing.

use super::PATIENCE;
use broker::jms::info::{ConnectionInfo, ConsumerInfo, ProducerInfo};
use broker::jms::{
    BodyKind, ConnectionId, ConsumerId, Destination, Message, MessageAck, MessageId, ProducerId,
    SessionId, Throwable,
};
use broker::protocol::openwire::command::{
    KeepAliveInfo, MessageDispatch, SessionInfo, WireFormatInfo,
};
use broker::protocol::openwire::negotiation::{Offer, negotiate};
use broker::protocol::openwire::{Command, Decoder, Encoder, Settings};
use broker::transport::WriteBuffer;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// One connection. Its objects are on session 1, which [`Peer::connect`] opens.
pub struct Peer {
    pub stream: TcpStream,
    pub id: String,
    input: Vec<u8>,
    decoder: Decoder,
    encoder: Encoder,
    last_command: i32,
    last_object: i64,
    last_message: i64,
    /// Deliveries that came while something else was waited for.
    waiting: VecDeque<MessageDispatch>,
}

/// A bare connection.
pub fn raw(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits for the broker to close; returns what it said until then.
pub fn closes(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        // Closing with unread input resets the connection.
        Err(e) if e.kind() == ErrorKind::ConnectionReset => said,
        Err(e) => panic!("the broker does not close: {e}"),
    }
}

impl Peer {
    /// Connects without a word.
    pub fn silent(port: u16) -> Self {
        let settings = Settings::before_negotiation(u64::MAX);
        Self {
            stream: raw(port),
            id: String::new(),
            input: Vec::new(),
            decoder: Decoder::new(u64::MAX),
            encoder: Encoder::new(&settings),
            last_command: 0,
            last_object: 0,
            last_message: 0,
            waiting: VecDeque::new(),
        }
    }

    /// What this peer offers unless a test says otherwise: no inactivity monitor, which would have
    /// it answer in time.
    pub fn offer() -> Offer {
        Offer { max_inactivity_ms: 0, ..Offer::default() }
    }

    /// Connects and negotiates; the broker's `BrokerInfo` is read.
    pub fn negotiated(port: u16, offer: &Offer) -> Self {
        let mut peer = Self::silent(port);
        peer.send(offer.to_wire().unwrap());
        peer.agree(offer);
        peer
    }

    /// Reads the broker's offer and switches to what follows from it and `ours`.
    pub fn agree(&mut self, ours: &Offer) {
        let Some(Command::WireFormatInfo(theirs)) = self.read() else {
            panic!("the broker makes no offer")
        };
        self.apply(ours, &theirs);
        let info = self.read();
        assert!(matches!(info, Some(Command::BrokerInfo(_))), "{info:?}");
    }

    fn apply(&mut self, ours: &Offer, theirs: &WireFormatInfo) {
        let settings = negotiate(ours, &Offer::from_wire(theirs).unwrap(), 1).unwrap().settings;
        self.decoder.apply(&settings);
        self.encoder.apply(&settings);
    }

    /// A connected client with an open session 1.
    pub fn connect(port: u16, id: &str) -> Self {
        let mut peer = Self::negotiated(port, &Self::offer());
        peer.introduce(id);
        peer
    }

    /// Sends `ConnectionInfo` and opens session 1.
    pub fn introduce(&mut self, id: &str) {
        self.id = id.to_owned();
        self.request(connection_info(id, id)).unwrap();
        self.request(SessionInfo { session_id: Some(self.session(1)), ..SessionInfo::default() })
            .unwrap();
    }

    /// Encodes a command as it would be sent.
    pub fn frame(&mut self, command: impl Into<Command>) -> Vec<u8> {
        let mut out = WriteBuffer::default();
        self.encoder.encode(&command.into(), &mut out).unwrap();
        out.into_bytes().to_vec()
    }

    /// Sends a command as it is; nobody waits for a response.
    pub fn send(&mut self, command: impl Into<Command>) {
        let frame = self.frame(command);
        self.stream.write_all(&frame).unwrap();
    }

    /// Gives a command its number, asks for a response and sends it. Returns the number.
    pub fn ask(&mut self, command: impl Into<Command>) -> i32 {
        let mut command = command.into();
        self.last_command += 1;
        command.set_command_id(self.last_command);
        command.set_response_required(true);
        self.send(command);
        self.last_command
    }

    /// Sends a command and waits for its response.
    pub fn request(&mut self, command: impl Into<Command>) -> Result<Command, Throwable> {
        let id = self.ask(command);
        self.response(id)
    }

    /// Waits for the response to the command with this number.
    pub fn response(&mut self, id: i32) -> Result<Command, Throwable> {
        loop {
            match self.read().unwrap_or_else(|| panic!("closed before the response to {id}")) {
                Command::MessageDispatch(dispatch) => self.waiting.push_back(dispatch),
                Command::ExceptionResponse(refusal) if refusal.correlation_id == id => {
                    return Err(refusal.exception.unwrap());
                }
                Command::Response(ref done) if done.correlation_id == id => {
                    return Ok(Command::Response(done.clone()));
                }
                response @ (Command::IntegerResponse(_) | Command::DataArrayResponse(_)) => {
                    return Ok(response);
                }
                other => panic!("{other:?} instead of the response to {id}"),
            }
        }
    }

    /// The next delivery.
    pub fn next_dispatch(&mut self) -> MessageDispatch {
        if let Some(dispatch) = self.waiting.pop_front() {
            return dispatch;
        }
        match self.read() {
            Some(Command::MessageDispatch(dispatch)) => dispatch,
            other => panic!("{other:?} instead of a delivery"),
        }
    }

    /// The next delivery's body, which must be text.
    pub fn next_body(&mut self) -> String {
        body(&self.next_dispatch())
    }

    /// Reads a command; none when the broker has closed.
    pub fn read(&mut self) -> Option<Command> {
        loop {
            if let Some(length) = self.decoder.frame_length(&self.input).unwrap()
                && self.input.len() >= length
            {
                let frame: Vec<u8> = self.input.drain(..length).collect();
                if let Some(command) = self.decoder.decode(&frame, None).unwrap() {
                    return Some(command);
                }
                continue;
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("nothing comes from the broker: {e}"),
            }
        }
    }

    /// Waits for the broker to close; returns the commands that came until then.
    pub fn closes(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.read()).collect()
    }

    /// Proves that the broker still reads and answers this connection.
    pub fn keep_alive(&mut self) {
        self.send(KeepAliveInfo { command_id: 7, response_required: true });
        loop {
            match self.read() {
                Some(Command::KeepAliveInfo(_)) => return,
                Some(Command::MessageDispatch(dispatch)) => self.waiting.push_back(dispatch),
                other => panic!("{other:?} instead of KeepAliveInfo"),
            }
        }
    }

    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId::new(self.id.as_str())
    }

    pub fn session(&self, value: i64) -> SessionId {
        SessionId { connection: Some(self.id.as_str().into()), value }
    }

    fn next_object(&mut self) -> i64 {
        self.last_object += 1;
        self.last_object
    }

    /// What opens a consumer of this peer.
    pub fn consumer_info(&mut self, destination: Destination, prefetch: i32) -> ConsumerInfo {
        let value = self.next_object();
        let connection = Some(self.id.as_str().into());
        ConsumerInfo {
            consumer_id: Some(ConsumerId { connection, session: 1, value }),
            destination: Some(destination),
            prefetch_size: prefetch,
            dispatch_async: true,
            ..ConsumerInfo::default()
        }
    }

    /// Opens a consumer.
    pub fn consumer(&mut self, destination: Destination, prefetch: i32) -> ConsumerId {
        let info = self.consumer_info(destination, prefetch);
        let id = info.consumer_id.clone().unwrap();
        self.request(Box::new(info)).unwrap();
        id
    }

    /// What opens a producer for any destination.
    pub fn producer_info(&mut self) -> ProducerInfo {
        let value = self.next_object();
        let connection = Some(self.id.as_str().into());
        let producer_id = Some(ProducerId { connection, session: 1, value });
        ProducerInfo { producer_id, ..ProducerInfo::default() }
    }

    /// Opens a producer for any destination.
    pub fn producer(&mut self) -> ProducerId {
        let info = self.producer_info();
        let id = info.producer_id.clone().unwrap();
        self.request(info).unwrap();
        id
    }

    /// The next message of a producer.
    pub fn message(&mut self, from: &ProducerId, to: &Destination, body: &str) -> Message {
        self.last_message += 1;
        Message {
            kind: BodyKind::Bytes,
            producer_id: Some(from.clone()),
            destination: Some(to.clone()),
            message_id: Some(MessageId {
                producer: Some(from.clone()),
                producer_sequence: self.last_message,
                ..MessageId::default()
            }),
            priority: 4,
            content: Some(Bytes::copy_from_slice(body.as_bytes())),
            ..Message::default()
        }
    }

    /// Sends a message and waits until the broker has it.
    pub fn publish(&mut self, from: &ProducerId, to: &Destination, body: &str) {
        let message = self.message(from, to, body);
        self.request(message).unwrap();
    }

    /// Acknowledges one delivery.
    pub fn acknowledge(&mut self, dispatch: &MessageDispatch) -> Result<Command, Throwable> {
        self.request(Box::new(acknowledgement(dispatch)))
    }
}

/// What introduces a client.
pub fn connection_info(id: &str, client: &str) -> Box<ConnectionInfo> {
    Box::new(ConnectionInfo {
        connection_id: Some(ConnectionId::new(id)),
        client_id: Some(client.into()),
        ..ConnectionInfo::default()
    })
}

/// What acknowledges one delivery.
pub fn acknowledgement(dispatch: &MessageDispatch) -> MessageAck {
    let id = dispatch.message.as_ref().unwrap().message_id.clone();
    MessageAck {
        destination: dispatch.destination.clone(),
        consumer_id: dispatch.consumer_id.clone(),
        ack_type: 2,
        first_message_id: id.clone(),
        last_message_id: id,
        message_count: 1,
        ..MessageAck::default()
    }
}

/// The body of a delivery.
pub fn body(dispatch: &MessageDispatch) -> String {
    let content = dispatch.message.as_ref().unwrap().content.clone().unwrap_or_default();
    String::from_utf8(content.to_vec()).unwrap()
}
