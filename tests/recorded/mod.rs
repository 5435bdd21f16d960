//! Holds a recorded conversation with a broker.

mod normal;

use broker::jms::info::ObjectId;
use broker::jms::{MessageId, Text};
use broker::protocol::openwire::negotiation::{Offer, negotiate};
use broker::protocol::openwire::{Command, Decoder, Encoder, Settings};
use broker::transport::WriteBuffer;
use normal::Names;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a frame may take that the recording has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Differences after which a conversation is given up: each may take all the patience there is.
const DIFFERENCES_MAX: usize = 8;

fn text() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/openwire/sessions.jsonl.gz");
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn name(line: &str) -> Option<String> {
    let rest = line.strip_prefix(r#"{"session": ""#)?;
    Some(rest.split_once('"').unwrap().0.to_owned())
}

/// The names of all that is recorded.
pub(crate) fn sessions() -> Vec<String> {
    text().lines().filter_map(name).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|d| char::from(d).to_digit(16).unwrap() as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A decoder that has read nothing yet.
fn decoder() -> Decoder {
    Decoder::new(u64::MAX)
}

/// One connection, in the recording and now.
struct Connection {
    stream: TcpStream,
    /// Of the recording, by direction.
    recorded: HashMap<String, Decoder>,
    encoder: Encoder,
    decoder: Decoder,
    client_offer: Option<Offer>,
    broker_offer: Option<Offer>,
    /// Came and is not matched with the recording.
    waiting: Vec<Command>,
    /// What was sent is what the recording has, byte for byte. Once something was translated, the
    /// marshal cache holds other things.
    verbatim: bool,
    /// The broker has closed its end.
    ended: bool,
}

/// What a frame of the broker belongs to: equal keys are matched in their order.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Response(i32),
    /// Consumer and destination: a consumer of several has no order between them.
    Dispatch(String),
    Other(&'static str),
}

fn key(command: &Command) -> Key {
    match command {
        Command::Response(response) => Key::Response(response.correlation_id),
        Command::ExceptionResponse(response) => Key::Response(response.correlation_id),
        Command::DataResponse(response) => Key::Response(response.correlation_id),
        Command::DataArrayResponse(response) => Key::Response(response.correlation_id),
        Command::IntegerResponse(response) => Key::Response(response.correlation_id),
        Command::MessageDispatch(dispatch) => {
            Key::Dispatch(format!("{:?} {:?}", dispatch.consumer_id, dispatch.destination))
        }
        other => Key::Other(other.name()),
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            recorded: ["c2b", "b2c"].map(|dir| (dir.to_owned(), decoder())).into(),
            encoder: Encoder::new(&Settings::before_negotiation(u64::MAX)),
            decoder: decoder(),
            client_offer: None,
            broker_offer: None,
            waiting: Vec::new(),
            verbatim: true,
            ended: false,
        }
    }

    /// The recorded frame of a row.
    fn decode(&mut self, row: &Value) -> (Command, Vec<u8>) {
        let bytes = unhex(row["hex"].as_str().unwrap());
        let decoder = self.recorded.get_mut(row["dir"].as_str().unwrap()).unwrap();
        (decoder.decode(&bytes, None).unwrap().unwrap(), bytes)
    }

    /// Both sides go on with what they agreed on: the recorded ones as recorded.
    fn negotiated(&mut self, row: &Value) {
        let (ours, theirs) = (self.broker_offer.as_ref().unwrap(), self.client_offer.as_ref());
        let settings = negotiate(ours, theirs.unwrap(), 1).unwrap().settings;
        assert_eq!(row["version"], settings.version);
        assert_eq!(row["tight"], settings.tight);
        assert_eq!(row["cache"], settings.cache_size.is_some());
        self.recorded.values_mut().for_each(|decoder| decoder.apply(&settings));
        self.encoder.apply(&settings);
        self.decoder.apply(&settings);
    }

    /// Reads one frame; none at the end of the stream or when nothing comes.
    fn read(&mut self) -> Option<Command> {
        let mut frame = vec![0; 4];
        let mut filled = 0;
        while filled < frame.len() {
            match self.stream.read(&mut frame[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    return None;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = error.kind() == ErrorKind::ConnectionReset;
                    return None;
                }
            }
            if filled == 4 && frame.len() == 4 {
                let size = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
                frame.resize(4 + usize::try_from(size).unwrap(), 0);
            }
        }
        Some(self.decoder.decode(&frame, None).unwrap().unwrap())
    }

    /// The next frame with `key`; others are kept for later.
    fn next(&mut self, wanted: &Key) -> Option<Command> {
        if let Some(at) = self.waiting.iter().position(|command| key(command) == *wanted) {
            return Some(self.waiting.remove(at));
        }
        loop {
            let command = self.read()?;
            if key(&command) == *wanted {
                return Some(command);
            }
            self.waiting.push(command);
        }
    }
}

/// One conversation.
pub(crate) struct Replay {
    address: SocketAddr,
    connections: HashMap<i64, Connection>,
    recorded: Names,
    ours: Names,
    /// What the broker calls the messages the recording has under other names and numbers.
    ids: HashMap<MessageId, MessageId>,
    sequences: HashMap<i64, i64>,
    /// Recorded times plus this are times of now.
    shift_ms: Option<i64>,
    /// When the message that expires last does so, ms since the epoch.
    expires: i64,
    differences: Vec<String>,
}

impl Replay {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections: HashMap::new(),
            recorded: Names::default(),
            ours: Names::default(),
            ids: HashMap::new(),
            sequences: HashMap::new(),
            shift_ms: None,
            expires: 0,
            differences: Vec::new(),
        }
    }

    /// Holds the conversation; returns how it differed.
    pub(crate) fn run(mut self, session: &str) -> Vec<String> {
        let text = text();
        let lines = text.lines().skip_while(|line| name(line).as_deref() != Some(session));
        let rows = lines.skip(1).take_while(|line| name(line).is_none());
        for (number, row) in rows.enumerate() {
            if self.differences.len() >= DIFFERENCES_MAX {
                break;
            }
            let row: Value = serde_json::from_str(row).unwrap();
            let Some(connection) = row["conn"].as_i64() else { continue };
            // Line in the file of this session.
            let place = format!("{session}.jsonl:{}", number + 2);
            match (row["dir"].as_str(), row["event"].as_str()) {
                (Some("c2b"), _) => self.send(connection, &row, &place),
                (Some(_), _) => self.expect(connection, &row, &place),
                (None, Some("tcp connect")) => {
                    let opened = Connection::open(self.address);
                    self.connections.insert(connection, opened);
                }
                (None, Some("negotiated")) => {
                    self.connections.get_mut(&connection).unwrap().negotiated(&row);
                }
                (None, Some("connection cut by the recorder")) => {
                    self.connections.remove(&connection);
                }
                (None, Some(event @ ("broker closed" | "client closed"))) => {
                    self.end(connection, event, &place);
                }
                other => panic!("{place}: {other:?}"),
            }
        }
        self.differences
    }

    /// Says what the client said, in terms of now.
    fn send(&mut self, number: i64, row: &Value, place: &str) {
        let connection = self.connections.get_mut(&number).unwrap();
        let (recorded, bytes) = connection.decode(row);
        if let Command::WireFormatInfo(info) = &recorded {
            connection.client_offer = Some(Offer::from_wire(info).unwrap());
        }
        let mut command = recorded.clone();
        self.translate(&mut command);
        let connection = self.connections.get_mut(&number).unwrap();
        let mut out = WriteBuffer::default();
        connection.encoder.encode(&command, &mut out).unwrap();
        let out = out.into_bytes();
        connection.verbatim &= format!("{command:?}") == format!("{recorded:?}");
        if connection.verbatim {
            assert_eq!(out, bytes, "{place}: sent as recorded");
        }
        if let Err(error) = connection.stream.write_all(&out) {
            let command = command.name();
            self.differences.push(format!("{place}: {command} could not be sent: {error}"));
        }
    }

    fn translate(&mut self, command: &mut Command) {
        match command {
            Command::Message(message) if message.expiration > 0 => {
                let shift = *self.shift_ms.get_or_insert_with(|| now_ms() - message.timestamp);
                let message = Arc::make_mut(message);
                message.timestamp += shift;
                message.expiration += shift;
                self.expires = self.expires.max(message.expiration);
            }
            Command::MessageAck(ack) => {
                for id in [&mut ack.first_message_id, &mut ack.last_message_id] {
                    if let Some(ours) = id.as_ref().and_then(|id| self.ids.get(id)) {
                        *id = Some(ours.clone());
                    }
                }
                if ack.ack_type == 6 {
                    // The client has found it expired: the broker will agree from then on.
                    let left = u64::try_from(self.expires - now_ms() + 1).unwrap_or(0);
                    std::thread::sleep(Duration::from_millis(left));
                }
            }
            Command::RemoveInfo(info) if !matches!(info.object_id, Some(ObjectId::Broker(_))) => {
                let last = &mut info.last_delivered_sequence_id;
                *last = self.sequences.get(last).copied().unwrap_or(*last);
            }
            Command::ConsumerInfo(info) => {
                if let Some(filter) = &mut info.additional_predicate {
                    let id = filter.network_broker_id.as_mut().unwrap();
                    if id.value == self.recorded.broker {
                        id.value = self.ours.broker.clone();
                    }
                }
            }
            _ => {}
        }
    }

    /// Hears what the broker has to say, and compares.
    fn expect(&mut self, number: i64, row: &Value, place: &str) {
        let connection = self.connections.get_mut(&number).unwrap();
        let (recorded, _) = connection.decode(row);
        let wanted = key(&recorded);
        let Some(ours) = connection.next(&wanted) else {
            let why = if connection.ended { "the connection is closed" } else { "nothing comes" };
            let expected = self.recorded.describe(&recorded);
            let got: Vec<_> = connection.waiting.iter().map(key).collect();
            let report = format!("{place}: {why}, but {got:?}; expected {expected}");
            self.differences.push(report);
            return;
        };
        match (&recorded, &ours) {
            (Command::WireFormatInfo(_), Command::WireFormatInfo(info)) => {
                connection.broker_offer = Some(Offer::from_wire(info).unwrap());
            }
            (Command::BrokerInfo(recorded), Command::BrokerInfo(ours)) => {
                let id = |info: &broker::jms::info::BrokerInfo| -> Option<Text> {
                    info.broker_id.as_ref()?.value.clone()
                };
                self.recorded.broker = id(recorded);
                self.ours.broker = id(ours);
            }
            (Command::MessageDispatch(recorded), Command::MessageDispatch(ours)) => {
                if let (Some(recorded), Some(ours)) = (&recorded.message, &ours.message)
                    && let (Some(recorded), Some(ours)) = (&recorded.message_id, &ours.message_id)
                {
                    self.sequences.insert(recorded.broker_sequence, ours.broker_sequence);
                    self.ids.insert(recorded.clone(), ours.clone());
                }
            }
            _ => {}
        }
        let (expected, got) = (self.recorded.describe(&recorded), self.ours.describe(&ours));
        if expected != got {
            self.differences.push(format!("{place}:\n{}", difference(&expected, &got)));
        }
    }

    /// The connection is over. Where the broker closed it first, ours must do so too.
    fn end(&mut self, number: i64, event: &str, place: &str) {
        let Some(mut connection) = self.connections.remove(&number) else { return };
        if event == "broker closed" {
            while let Some(command) = connection.read() {
                connection.waiting.push(command);
            }
            if !connection.ended {
                self.differences.push(format!("{place}: the broker does not close"));
            }
        }
        for command in &connection.waiting {
            // How many there are is a matter of time.
            if !matches!(command, Command::KeepAliveInfo(_)) {
                let extra = self.ours.describe(command);
                self.differences.push(format!("{place}: unexpected {extra}"));
            }
        }
    }
}

/// The lines in which two descriptions differ.
fn difference(expected: &str, got: &str) -> String {
    let only = |these: &str, those: &str, sign: char| -> Vec<String> {
        let those: Vec<&str> = those.lines().collect();
        let lines = these.lines().filter(|line| !those.contains(line));
        lines.map(|line| format!("  {sign} {}", line.trim())).collect()
    };
    [only(expected, got, '-'), only(got, expected, '+')].concat().join("\n")
}
