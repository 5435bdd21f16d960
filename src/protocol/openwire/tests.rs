//! Rules that are decided between a connection's frames and the broker: bytes in, bytes out, no sockets.

use super::codec::Decoder;
use super::command::{
    ConsumerControl, ExceptionResponse, KeepAliveInfo, MessageDispatch, ProducerAck, SessionInfo,
    ShutdownInfo, TransactionInfo,
};
use super::*;
use crate::broker::policy::Policy;
use crate::broker::{BrokerOptions, fixture};
use crate::jms::info::{ConnectionInfo, ConsumerInfo, ObjectId, ProducerInfo, RemoveInfo};
use crate::jms::{
    AckKind, ConnectionId, ConsumerId, Destination, Message, MessageAck, MessageId, ProducerId,
    SessionId, Throwable, TransactionId, XaId,
};
use crate::protocol::{Egress, Ended, Ingress};
use crate::security::{Authenticator, SimpleAuthentication};
use crate::transport::WriteBuffer;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

/// Ends a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The other side of a connection, which speaks the plainest wire format.
struct Peer {
    broker: Arc<Broker>,
    ingress: OpenWireIngress,
    egress: OpenWireEgress,
    encoder: Encoder,
    decoder: Decoder,
    came: VecDeque<Command>,
    last_command: i32,
    last_message: i64,
}

fn connection_id() -> Option<ConnectionId> {
    Some(ConnectionId::new("c"))
}

fn producer_id() -> ProducerId {
    ProducerId { connection: Some("c".into()), session: 1, value: 1 }
}

fn consumer_id() -> Option<ConsumerId> {
    Some(ConsumerId { connection: Some("c".into()), session: 1, value: 1 })
}

fn queue() -> Destination {
    Destination::queue("Q")
}

impl Peer {
    /// Has introduced its wire format.
    async fn negotiated(change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut options = fixture::options();
        change(&mut options);
        let broker = fixture::start(options).await;
        let plain = Offer { tight: false, cache: false, stack_trace: false, ..Offer::default() };
        let wire = Arc::new(OpenWireOptions { offer: plain.clone(), ..OpenWireOptions::default() });
        let (ingress, egress) = session(&broker, &wire, fixture::transport());
        let mut peer = Self {
            broker,
            ingress,
            egress,
            encoder: Encoder::new(&Settings::before_negotiation(u64::MAX)),
            decoder: Decoder::new(u64::MAX),
            came: VecDeque::new(),
            last_command: 0,
            last_message: 0,
        };
        peer.say(plain.to_wire().expect("an offer")).await.expect("it is understood");
        assert!(matches!(peer.next().await, Command::WireFormatInfo(_)));
        assert!(matches!(peer.next().await, Command::BrokerInfo(_)));
        peer
    }

    /// Has a session and a producer without destination.
    async fn connected(change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut peer = Self::negotiated(change).await;
        let info = ConnectionInfo {
            connection_id: connection_id(),
            client_id: Some("c".into()),
            ..ConnectionInfo::default()
        };
        peer.done(Box::new(info)).await;
        let session_id = Some(SessionId { connection: Some("c".into()), value: 1 });
        peer.done(SessionInfo { session_id, ..SessionInfo::default() }).await;
        let producer_id = Some(producer_id());
        peer.done(ProducerInfo { producer_id, ..ProducerInfo::default() }).await;
        peer
    }

    /// Sends a command as it is.
    async fn say(&mut self, command: impl Into<Command>) -> Result<(), Ended> {
        let mut out = WriteBuffer::default();
        self.encoder.encode(&command.into(), &mut out).expect("it can be written");
        let frame = out.into_bytes();
        assert_eq!(self.ingress.frame_length(&frame)?, Some(frame.len()));
        self.ingress.frame(&frame, Some(&frame))?;
        self.ingress.handle().await
    }

    /// Sends a command without waiting for a response.
    async fn tell(&mut self, command: impl Into<Command>) {
        let mut command = command.into();
        self.last_command += 1;
        command.set_command_id(self.last_command);
        self.say(command).await.expect("the connection goes on");
    }

    /// Sends a command and returns the response; what came before that is kept.
    async fn ask(&mut self, command: impl Into<Command>) -> Command {
        let mut command = command.into();
        command.set_response_required(true);
        self.tell(command).await;
        let id = self.last_command;
        let mut before = VecDeque::new();
        loop {
            let next = self.next().await;
            let answers = match &next {
                Command::Response(response) => Some(response.correlation_id),
                Command::IntegerResponse(response) => Some(response.correlation_id),
                Command::DataArrayResponse(response) => Some(response.correlation_id),
                Command::ExceptionResponse(response) => Some(response.correlation_id),
                _ => None,
            };
            if answers == Some(id) {
                before.extend(std::mem::take(&mut self.came));
                self.came = before;
                return next;
            }
            before.push_back(next);
        }
    }

    async fn done(&mut self, command: impl Into<Command>) {
        let answer = self.ask(command).await;
        assert!(matches!(answer, Command::Response(_)), "{answer:?}");
    }

    /// Sends a command that is refused; returns why.
    async fn refused(&mut self, command: impl Into<Command>) -> Throwable {
        match self.ask(command).await {
            Command::ExceptionResponse(ExceptionResponse { exception: Some(why), .. }) => why,
            other => panic!("it is not refused: {other:?}"),
        }
    }

    /// The next command of the broker.
    async fn next(&mut self) -> Command {
        while self.came.is_empty() {
            let taken = poll_fn(|cx| self.egress.poll_take(cx));
            tokio::time::timeout(PATIENCE, taken).await.expect("something comes");
            let mut out = WriteBuffer::default();
            self.egress.encode(&mut out).expect("it can be written");
            let mut rest = out.into_bytes();
            while let Some(length) = self.decoder.frame_length(&rest).expect("a frame") {
                let frame = rest.split_to(length);
                let command = self.decoder.decode(&frame, Some(&frame)).expect("a command");
                self.came.extend(command);
            }
        }
        self.came.pop_front().expect("something came")
    }

    /// Nothing has come and nothing waits: a command is answered first of all.
    async fn has_no_more(&mut self) {
        for handle in self.broker.router.all() {
            handle.report().await;
        }
        let keep_alive = KeepAliveInfo { response_required: true, ..KeepAliveInfo::default() };
        self.say(keep_alive).await.expect("the connection goes on");
        let next = self.next().await;
        assert!(matches!(next, Command::KeepAliveInfo(_)), "{next:?}");
    }

    fn message(&mut self) -> Message {
        self.last_message += 1;
        Message {
            message_id: Some(MessageId {
                producer: Some(producer_id()),
                producer_sequence: self.last_message,
                ..MessageId::default()
            }),
            producer_id: Some(producer_id()),
            destination: Some(queue()),
            priority: 4,
            ..Message::default()
        }
    }

    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let message = self.message();
            self.done(message).await;
        }
    }

    /// Sends its next message in a transaction.
    async fn send_in(&mut self, id: &TransactionId) {
        let message = Message { transaction_id: Some(id.clone()), ..self.message() };
        self.done(message).await;
    }

    async fn consume(&mut self, prefetch_size: i32) {
        let info = ConsumerInfo {
            consumer_id: consumer_id(),
            destination: Some(queue()),
            prefetch_size,
            ..ConsumerInfo::default()
        };
        self.done(Box::new(info)).await;
    }

    /// The next `count` dispatches, by their message's number at the producer.
    async fn dispatches(&mut self, count: usize) -> Vec<(i64, MessageId)> {
        let mut dispatched = Vec::new();
        for _ in 0..count {
            match self.next().await {
                Command::MessageDispatch(MessageDispatch { message: Some(message), .. }) => {
                    let id = message.message_id.clone().expect("it has an id");
                    dispatched.push((id.producer_sequence, id));
                }
                other => panic!("{other:?} is no message"),
            }
        }
        dispatched
    }

    async fn numbers(&mut self, count: usize) -> Vec<i64> {
        self.dispatches(count).await.into_iter().map(|(number, _)| number).collect()
    }
}

fn transaction(kind: i8, id: Option<&TransactionId>) -> TransactionInfo {
    TransactionInfo {
        connection_id: connection_id(),
        transaction_id: id.cloned(),
        kind,
        ..TransactionInfo::default()
    }
}

const BEGIN: i8 = 0;
const PREPARE: i8 = 1;
const COMMIT_ONE_PHASE: i8 = 2;
const COMMIT_TWO_PHASE: i8 = 3;
const ROLLBACK: i8 = 4;
const RECOVER: i8 = 5;
const FORGET: i8 = 6;
const END: i8 = 7;

fn local(value: i64) -> TransactionId {
    TransactionId::Local { value, connection: connection_id() }
}

fn branch(number: i32) -> TransactionId {
    TransactionId::Xa(Arc::new(XaId { format_id: number, ..XaId::default() }))
}

fn class(why: &Throwable) -> &str {
    why.class.as_deref().unwrap_or_default()
}

fn text(why: &Throwable) -> &str {
    why.message.as_deref().unwrap_or_default()
}

fn vote(answer: &Command) -> Option<i32> {
    match answer {
        Command::IntegerResponse(response) => Some(response.result),
        _ => None,
    }
}

// 12 Transactions

#[tokio::test]
async fn forget_rolls_a_branch_back_whatever_its_state() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.consume(10).await;
    for prepares in [false, true] {
        let id = branch(i32::from(prepares));
        peer.done(transaction(BEGIN, Some(&id))).await;
        peer.send_in(&id).await;
        if prepares {
            let answer = peer.ask(transaction(PREPARE, Some(&id))).await;
            assert_eq!(vote(&answer), Some(0));
        }
        peer.done(transaction(FORGET, Some(&id))).await;
        peer.has_no_more().await;
        let why = peer.refused(transaction(FORGET, Some(&id))).await;
        assert_eq!(class(&why), "javax.transaction.xa.XAException");
        assert!(text(&why).contains("has not been started"), "{why:?}");
    }
    let answer = peer.ask(transaction(RECOVER, None)).await;
    let Command::DataArrayResponse(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response.data, Some(Vec::new()));
}

#[tokio::test]
async fn the_end_of_the_work_in_a_branch_changes_nothing() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.consume(10).await;
    let id = branch(1);
    peer.done(transaction(END, Some(&id))).await;
    peer.done(transaction(BEGIN, Some(&id))).await;
    peer.send_in(&id).await;
    peer.done(transaction(END, Some(&id))).await;
    peer.has_no_more().await;
    peer.send_in(&id).await;
    peer.done(transaction(COMMIT_ONE_PHASE, Some(&id))).await;
    assert_eq!(peer.numbers(2).await, [1, 2]);
}

#[tokio::test]
async fn what_a_branch_is_not_ready_for_is_an_xa_exception_with_its_code() {
    let mut peer = Peer::connected(|_| {}).await;
    let unknown = branch(7);
    let why = peer.refused(transaction(PREPARE, Some(&unknown))).await;
    assert_eq!(class(&why), "java.lang.IllegalStateException");
    assert!(text(&why).starts_with("Cannot prepare a transaction that had not been started"));
    for kind in [COMMIT_ONE_PHASE, COMMIT_TWO_PHASE, ROLLBACK, FORGET] {
        let why = peer.refused(transaction(kind, Some(&unknown))).await;
        assert_eq!(class(&why), "javax.transaction.xa.XAException", "{kind}");
        assert!(text(&why).contains("xaErrorCode:-4"), "{kind}: {why:?}");
    }
    let id = branch(1);
    peer.done(transaction(BEGIN, Some(&id))).await;
    peer.send_in(&id).await;
    let why = peer.refused(transaction(COMMIT_TWO_PHASE, Some(&id))).await;
    assert_eq!(class(&why), "javax.transaction.xa.XAException");
    assert!(text(&why).contains("xaErrorCode:-6"), "it is not prepared: {why:?}");
    let missing = peer.refused(transaction(COMMIT_ONE_PHASE, None)).await;
    assert_eq!(class(&missing), "java.io.IOException");
    let other = peer.refused(transaction(77, Some(&id))).await;
    assert_eq!(class(&other), "java.io.IOException");
}

#[tokio::test]
async fn a_vote_is_an_integer_and_prepared_branches_are_listed() {
    let mut peer = Peer::connected(|_| {}).await;
    let (empty, full) = (branch(1), branch(2));
    for id in [&empty, &full] {
        peer.done(transaction(BEGIN, Some(id))).await;
    }
    peer.send_in(&full).await;
    for (id, expected) in [(&empty, 3), (&full, 0), (&full, 0)] {
        let answer = peer.ask(transaction(PREPARE, Some(id))).await;
        assert_eq!(vote(&answer), Some(expected));
    }
    let answer = peer.ask(transaction(RECOVER, None)).await;
    let Command::DataArrayResponse(response) = answer else { panic!("{answer:?}") };
    let ids: Vec<Command> = response.data.into_iter().flatten().flatten().map(|id| *id).collect();
    assert_eq!(ids, [Command::Object(Object::TransactionId(full))]);
}

#[tokio::test]
async fn a_one_way_send_that_fails_in_a_transaction_makes_its_commit_fail() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.consume(10).await;
    let id = local(1);
    peer.done(transaction(BEGIN, Some(&id))).await;
    peer.send_in(&id).await;
    let bad = Message {
        destination: Some(Destination::queue(" ")),
        transaction_id: Some(id.clone()),
        ..peer.message()
    };
    peer.tell(bad).await;
    let told = peer.next().await;
    assert!(matches!(told, Command::ConnectionError(_)), "{told:?}");
    let why = peer.refused(transaction(COMMIT_ONE_PHASE, Some(&id))).await;
    assert_eq!(class(&why), "javax.jms.TransactionRolledBackException");
    peer.has_no_more().await;
}

// 1.2 Connections

#[tokio::test]
async fn what_fails_is_told_by_a_response_or_by_a_connection_error_if_nobody_waits() {
    let mut peer = Peer::connected(|_| {}).await;
    let bad = || ConsumerInfo {
        consumer_id: consumer_id(),
        destination: Some(queue()),
        selector: Some("= 1".into()),
        ..ConsumerInfo::default()
    };
    let why = peer.refused(Box::new(bad())).await;
    assert_eq!(class(&why), "javax.jms.InvalidSelectorException");
    peer.tell(Box::new(bad())).await;
    let Command::ConnectionError(error) = peer.next().await else { panic!("it is told") };
    assert_eq!(error.exception, Some(why));
    peer.has_no_more().await;
}

#[tokio::test]
async fn who_is_refused_gets_its_answer_and_the_connection_ends() {
    let mut peer = Peer::negotiated(|options| {
        let known = SimpleAuthentication::new([("user".into(), "secret".into())], None);
        options.authenticator.set(Arc::new(Authenticator::Simple(known)));
    })
    .await;
    let info = ConnectionInfo {
        command_id: 1,
        response_required: true,
        connection_id: connection_id(),
        client_id: Some("c".into()),
        user_name: Some("user".into()),
        password: Some("guess".into()),
        ..ConnectionInfo::default()
    };
    assert!(matches!(peer.say(Box::new(info)).await, Err(Ended::Refused)));
    let Command::ExceptionResponse(response) = peer.next().await else { panic!("it is told") };
    let why = response.exception.expect("why it is refused");
    assert_eq!(class(&why), "java.lang.SecurityException");
    assert_eq!(text(&why), "User name [user] or password is invalid.");
}

#[tokio::test]
async fn a_shutdown_is_answered_and_ends_the_connection() {
    let mut peer = Peer::connected(|_| {}).await;
    let shutdown = ShutdownInfo { response_required: true, ..ShutdownInfo::default() };
    assert!(matches!(peer.say(shutdown).await, Err(Ended::Goodbye)));
    assert!(matches!(peer.next().await, Command::Response(_)));
    peer.ingress.close().await;
    assert!(peer.broker.registry.connections().is_empty());
}

// 8 Producer flow control

#[tokio::test]
async fn a_producer_with_a_window_has_each_message_acknowledged_that_needs_no_response() {
    let mut peer = Peer::connected(|_| {}).await;
    let windowed = ProducerId { value: 2, ..producer_id() };
    let info = ProducerInfo {
        producer_id: Some(windowed.clone()),
        window_size: 10_000,
        ..ProducerInfo::default()
    };
    peer.done(info).await;
    let message = Message { producer_id: Some(windowed.clone()), ..peer.message() };
    peer.tell(message.clone()).await;
    let Command::ProducerAck(ack) = peer.next().await else { panic!("it is acknowledged") };
    let ProducerAck { producer_id: of, size, .. } = ack;
    assert_eq!(of, Some(windowed.clone()));
    assert!(size > 0);
    let message = Message { producer_id: Some(windowed), ..peer.message() };
    peer.done(message).await;
    let message = peer.message();
    peer.tell(message).await;
    peer.has_no_more().await;
}

// 9 Acknowledgement, and 22: how clients gather acknowledgements

fn ack(kind: AckKind, first: Option<&MessageId>, last: &MessageId, count: i32) -> Box<MessageAck> {
    Box::new(MessageAck {
        destination: Some(queue()),
        consumer_id: consumer_id(),
        ack_type: kind.code(),
        first_message_id: first.cloned(),
        last_message_id: Some(last.clone()),
        message_count: count,
        ..MessageAck::default()
    })
}

/// `optimizeAcknowledge` and `DUPS_OK_ACKNOWLEDGE`: one acknowledgement for many messages, from the first
/// to the last, without an answer.
#[tokio::test]
async fn one_acknowledgement_settles_a_range_and_makes_room_for_as_many() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.send(20).await;
    peer.consume(10).await;
    let got = peer.dispatches(10).await;
    peer.has_no_more().await;
    peer.tell(ack(AckKind::Standard, Some(&got[0].1), &got[6].1, 7)).await;
    let more = peer.dispatches(7).await;
    assert_eq!((more[0].0, more[6].0), (11, 17));
    // A range without a first message begins with the oldest one that is in flight.
    peer.tell(ack(AckKind::Standard, None, &more[1].1, 5)).await;
    assert_eq!(peer.numbers(3).await, [18, 19, 20]);
    let handle = peer.broker.router.find(&queue()).expect("it is there");
    let report = handle.report().await.expect("it is at work");
    assert_eq!((report.size, report.in_flight, report.own.dequeued), (8, 8, 12));
}

/// `CLIENT_ACKNOWLEDGE` and transacted sessions: what is delivered makes room, and is settled later.
#[tokio::test]
async fn what_is_delivered_makes_room_and_stays_in_flight_until_it_is_settled() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.send(20).await;
    peer.consume(10).await;
    let mut got = peer.dispatches(10).await;
    peer.tell(ack(AckKind::Delivered, Some(&got[0].1), &got[4].1, 5)).await;
    got.extend(peer.dispatches(5).await);
    peer.has_no_more().await;
    let handle = peer.broker.router.find(&queue()).expect("it is there");
    let report = handle.report().await.expect("it is at work");
    assert_eq!((report.size, report.in_flight), (20, 15));
    peer.tell(ack(AckKind::Standard, Some(&got[0].1), &got[14].1, 15)).await;
    assert_eq!(peer.numbers(5).await, [16, 17, 18, 19, 20]);
    let report = handle.report().await.expect("it is at work");
    assert_eq!((report.size, report.in_flight), (5, 5));
}

/// `INDIVIDUAL_ACKNOWLEDGE`.
#[tokio::test]
async fn an_individual_acknowledgement_settles_one_message_in_any_order() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.send(5).await;
    peer.consume(3).await;
    let got = peer.dispatches(3).await;
    for (at, next) in [(2, 4), (0, 5)] {
        peer.tell(ack(AckKind::Individual, None, &got[at].1, 1)).await;
        assert_eq!(peer.numbers(1).await, [next]);
    }
    let removed = RemoveInfo {
        object_id: consumer_id().map(ObjectId::Consumer),
        last_delivered_sequence_id: -1,
        ..RemoveInfo::default()
    };
    peer.done(removed).await;
    peer.consume(10).await;
    assert_eq!(peer.numbers(3).await, [2, 4, 5]);
}

#[tokio::test]
async fn an_acknowledgement_of_what_is_not_in_flight_is_refused_and_a_stale_one_ignored() {
    let mut peer = Peer::connected(|_| {}).await;
    peer.send(3).await;
    peer.consume(10).await;
    let got = peer.dispatches(3).await;
    let why = peer.refused(ack(AckKind::Standard, Some(&got[0].1), &got[2].1, 2)).await;
    assert!(text(&why).starts_with("Unmatched acknowledge: "), "{why:?}");
    let why = peer.refused(Box::new(MessageAck {
        ack_type: 77,
        ..*ack(AckKind::Standard, None, &got[0].1, 1)
    }));
    assert_eq!(text(&why.await), "Unknown acknowledgment type: 77");
    let gone = Some(ConsumerId { connection: Some("gone".into()), session: 1, value: 1 });
    let stale = MessageAck { consumer_id: gone, ..*ack(AckKind::Standard, None, &got[0].1, 1) };
    peer.done(Box::new(stale)).await;
    let stale = MessageAck {
        consumer_id: consumer_id().map(|id| ConsumerId { value: 9, ..id }),
        ..*ack(AckKind::Standard, None, &got[0].1, 1)
    };
    peer.done(Box::new(stale)).await;
    let report = peer.broker.router.find(&queue()).expect("it is there").report().await;
    assert_eq!(report.expect("it is at work").in_flight, 3);
}

// 22 Defaults an OpenWire client assumes

#[tokio::test]
async fn the_broker_tells_a_consumer_without_a_wish_of_its_prefetch_and_a_client_may_change_it() {
    let mut peer = Peer::connected(|options| {
        options.policy = Box::new(|_| Policy { queue_prefetch: Some(2), ..Policy::default() });
    })
    .await;
    peer.send(5).await;
    peer.consume(1000).await;
    let mut told = Vec::new();
    let mut got = Vec::new();
    for _ in 0..3 {
        match peer.next().await {
            Command::ConsumerControl(control) => told.push((control.prefetch, control.close)),
            Command::MessageDispatch(dispatch) => got.push(dispatch),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((told, got.len()), (vec![(2, false)], 2));
    let wider = ConsumerControl {
        consumer_id: consumer_id(),
        destination: Some(queue()),
        prefetch: 4,
        ..ConsumerControl::default()
    };
    peer.done(wider).await;
    assert_eq!(peer.numbers(2).await, [3, 4]);
    peer.has_no_more().await;
}
