//! Commands at the wrong time, and commands that mean nothing.

use super::harness::{Broker, Peer, acknowledgement, body, connection_info};
use broker::jms::info::{
    BrokerInfo, ConnectionInfo, ConsumerInfo, DestinationInfo, ProducerInfo, RemoveInfo,
};
use broker::jms::{
    ConsumerId, Destination, Message, MessageAck, MessageId, MessagePull, ProducerId, Throwable,
};
use broker::protocol::openwire::Command;
use broker::protocol::openwire::command::{
    ConnectionError, ControlCommand, ExceptionResponse, SessionInfo, ShutdownInfo, TransactionInfo,
};
use broker::protocol::openwire::negotiation::Offer;
use std::io::Write;

/// Checks class and text of what the broker answered.
pub(super) fn assert_refused(answer: Result<Command, Throwable>, class: &str, text: &str) {
    let refusal = answer.expect_err("must be refused");
    assert_eq!(refusal.class.as_deref(), Some(class), "{refusal}");
    assert!(refusal.message.as_deref().unwrap_or("").contains(text), "{refusal}");
}

pub(super) const ILLEGAL_STATE: &str = "java.lang.IllegalStateException";
pub(super) const JMS: &str = "javax.jms.JMSException";

#[test]
fn message_before_its_producer_is_refused() {
    let broker = Broker::start();
    let mut peer = broker.client("c");
    let stranger = ProducerId { connection: Some("c".into()), session: 1, value: 77 };
    let queue = Destination::queue("Q");
    let text = "Cannot send message to queue://Q with invalid (null) producer state";
    let message = peer.message(&stranger, &queue, "x");
    assert_refused(peer.request(message), JMS, text);

    let message = peer.message(&stranger, &queue, "x");
    peer.send(message);
    match peer.read() {
        Some(Command::ConnectionError(error)) => {
            assert_eq!(error.exception.unwrap().message.as_deref(), Some(text));
        }
        other => panic!("{other:?}"),
    }
    peer.keep_alive();
}

#[test]
fn objects_before_their_session_are_refused() {
    let broker = Broker::start();
    let mut peer = broker.client("c");
    let id = ConsumerId { connection: Some("c".into()), session: 2, value: 1 };
    let destination = Some(Destination::queue("Q"));
    let consumer = ConsumerInfo { consumer_id: Some(id), destination, ..ConsumerInfo::default() };
    let text = "Cannot add a consumer to a session that had not been registered";
    assert_refused(peer.request(Box::new(consumer)), ILLEGAL_STATE, text);
    let id = ProducerId { connection: Some("c".into()), session: 2, value: 1 };
    let producer = ProducerInfo { producer_id: Some(id), ..ProducerInfo::default() };
    let text = "Cannot add a producer to a session that had not been registered";
    assert_refused(peer.request(producer), ILLEGAL_STATE, text);
}

#[test]
fn objects_before_connection_info_are_refused() {
    let broker = Broker::start();
    let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
    peer.id = "c".into();
    let consumer = peer.consumer_info(Destination::queue("Q"), 1);
    let text = "Cannot add a consumer to a connection that had not been registered";
    assert_refused(peer.request(Box::new(consumer)), ILLEGAL_STATE, text);
    let producer = peer.producer_info();
    let text = "Cannot add a producer to a connection that had not been registered";
    assert_refused(peer.request(producer), ILLEGAL_STATE, text);
    let begin = TransactionInfo {
        connection_id: Some(peer.connection_id()),
        kind: 0,
        ..TransactionInfo::default()
    };
    assert_refused(peer.request(begin), ILLEGAL_STATE, "had not been registered");
    peer.introduce("c");
}

#[test]
fn commands_without_ids_are_refused() {
    let mut broker = Broker::start();
    let mut peer = broker.client("c");
    assert!(peer.request(Box::<ConsumerInfo>::default()).is_err());
    assert!(peer.request(ProducerInfo::default()).is_err());
    assert!(peer.request(RemoveInfo::default()).is_err());
    assert!(peer.request(DestinationInfo::default()).is_err());
    assert!(peer.request(TransactionInfo::default()).is_err());
    assert!(peer.request(Message::default()).is_err());
    // Acknowledgements and pulls may be stale; they are never an error then.
    peer.request(Box::<MessageAck>::default()).unwrap();
    peer.request(Box::<MessagePull>::default()).unwrap();
    peer.request(SessionInfo::default()).unwrap();
    broker.assert_healthy();
}

#[test]
fn duplicate_client_id_is_refused_and_closed() {
    let broker = Broker::start();
    let mut first = Peer::negotiated(broker.port(), &Peer::offer());
    first.request(connection_info("one", "client")).unwrap();
    let address = first.stream.local_addr().unwrap();
    let mut second = Peer::negotiated(broker.port(), &Peer::offer());
    let text = format!("Broker: localhost - Client: client already connected from tcp://{address}");
    let refusal = second.request(connection_info("two", "client"));
    assert_refused(refusal, "javax.jms.InvalidClientIDException", &text);
    assert_eq!(second.closes(), []);
    first.keep_alive();
}

#[test]
fn connection_without_client_id_is_refused() {
    let broker = Broker::start();
    let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
    let info = ConnectionInfo { client_id: None, ..*connection_info("c", "c") };
    let text = "No clientID specified for connection request";
    let refusal = peer.request(Box::new(info));
    assert_refused(refusal, "javax.jms.InvalidClientIDException", text);
    assert_eq!(peer.closes(), []);
}

#[test]
fn connection_without_id_is_refused() {
    let broker = Broker::start();
    let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
    let info = ConnectionInfo { connection_id: None, ..*connection_info("c", "c") };
    assert!(peer.request(Box::new(info)).is_err());
    assert_eq!(peer.closes(), []);
}

#[test]
fn second_connection_with_the_same_id_replaces_the_first() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut first = broker.client("same");
    let producer = first.producer();
    first.consumer(queue.clone(), 10);
    first.publish(&producer, &queue, "unacknowledged");
    assert_eq!(first.next_body(), "unacknowledged");

    let mut second = broker.client("same");
    assert_eq!(first.closes(), []);
    // The first one's end takes nothing from the second.
    second.consumer(queue.clone(), 10);
    let producer = second.producer();
    let again = second.next_dispatch();
    assert_eq!((body(&again).as_str(), again.redelivery_counter), ("unacknowledged", 1));
    second.acknowledge(&again).unwrap();
    second.publish(&producer, &queue, "next");
    assert_eq!(second.next_body(), "next");
}

#[test]
fn repeated_objects_are_no_error() {
    let broker = Broker::start();
    let mut peer = broker.client("c");
    peer.request(connection_info("c", "c")).unwrap();
    let queue = Destination::queue("Q");
    let info = peer.consumer_info(queue.clone(), 10);
    peer.request(Box::new(info.clone())).unwrap();
    peer.request(Box::new(info)).unwrap();
    let info = peer.producer_info();
    peer.request(info.clone()).unwrap();
    peer.request(info.clone()).unwrap();
    peer.publish(&info.producer_id.unwrap(), &queue, "once");
    let dispatch = peer.next_dispatch();
    peer.acknowledge(&dispatch).unwrap();
}

#[test]
fn acknowledgement_of_unknown_messages_is_refused_and_removes_nothing() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut peer = broker.client("c");
    let producer = peer.producer();
    peer.consumer(queue.clone(), 10);
    peer.publish(&producer, &queue, "x");
    let dispatch = peer.next_dispatch();
    let mut ack = acknowledgement(&dispatch);
    let unknown =
        Some(MessageId { producer: Some(producer), producer_sequence: 99, ..MessageId::default() });
    ack.last_message_id = unknown.clone();
    assert_refused(peer.request(Box::new(ack.clone())), JMS, "Unmatched acknowledge: ");
    ack.first_message_id = unknown.clone();
    assert_refused(peer.request(Box::new(ack.clone())), JMS, "Unmatched acknowledge: ");
    ack.ack_type = 0;
    let text = "Could not correlate acknowledgment with dispatched message: ";
    assert_refused(peer.request(Box::new(ack.clone())), JMS, text);
    ack.ack_type = 4;
    peer.request(Box::new(ack)).unwrap();
    let count = MessageAck { message_count: 2, ..acknowledgement(&dispatch) };
    assert_refused(peer.request(Box::new(count)), JMS, "Unmatched acknowledge: ");
    let kind = MessageAck { ack_type: 77, ..acknowledgement(&dispatch) };
    assert!(peer.request(Box::new(kind)).is_err());
    // It is there still.
    peer.acknowledge(&dispatch).unwrap();
    let again = peer.acknowledge(&dispatch);
    assert_refused(again, JMS, "Unmatched acknowledge: ");
}

#[test]
fn acknowledgement_before_any_delivery_is_ignored() {
    let broker = Broker::start();
    let mut peer = broker.client("c");
    let consumer = peer.consumer(Destination::queue("Q"), 10);
    let stale = MessageAck {
        consumer_id: Some(consumer),
        destination: Some(Destination::queue("Q")),
        ack_type: 2,
        last_message_id: Some(MessageId::default()),
        message_count: 1,
        ..MessageAck::default()
    };
    peer.request(Box::new(stale)).unwrap();
}

#[test]
fn only_one_broker_info_is_taken() {
    let mut broker = Broker::start();
    let mut peer = Peer::negotiated(broker.port(), &Peer::offer());
    peer.request(Box::<BrokerInfo>::default()).unwrap();
    peer.send(Box::<BrokerInfo>::default());
    assert_eq!(peer.closes(), []);
    broker.assert_healthy();
}

#[test]
fn control_command_shutdown_is_ignored() {
    let mut broker = Broker::start();
    for mut peer in [Peer::negotiated(broker.port(), &Peer::offer()), broker.client("c")] {
        let command = Some("shutdown".into());
        peer.request(ControlCommand { command, ..ControlCommand::default() }).unwrap();
        peer.keep_alive();
    }
    broker.assert_healthy();
}

#[test]
fn exception_of_a_client_is_only_text() {
    let mut broker = Broker::start();
    let mut peer = broker.client("c");
    let class = "org.springframework.context.support.ClassPathXmlApplicationContext";
    let exception = Some(Throwable::new(class, "http://127.0.0.1:1/poc.xml"));
    let response = ExceptionResponse {
        exception: exception.clone(),
        correlation_id: 1,
        ..ExceptionResponse::default()
    };
    peer.request(response).unwrap();
    peer.request(ConnectionError { exception, ..ConnectionError::default() }).unwrap();
    broker.assert_healthy();
}

#[test]
fn endless_selector_is_refused() {
    let mut broker = Broker::start();
    // Tight frames hold no text this long.
    let mut peer = Peer::negotiated(broker.port(), &Offer { tight: false, ..Peer::offer() });
    peer.introduce("c");
    for selector in ["(".repeat(60_000), format!("{}a", "NOT ".repeat(10_000))] {
        let info = peer.consumer_info(Destination::queue("Q"), 1);
        let info = ConsumerInfo { selector: Some(selector.as_str().into()), ..info };
        let refusal = peer.request(Box::new(info));
        assert_refused(refusal, "javax.jms.InvalidSelectorException", &selector);
    }
    broker.assert_healthy();
}

#[test]
fn commands_after_shutdown_info_are_not_carried_out() {
    let mut broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut peer = broker.client("c");
    let producer = peer.producer();
    let mut frames = peer.frame(ShutdownInfo::default());
    let message = peer.message(&producer, &queue, "late");
    frames.extend(peer.frame(message));
    peer.stream.write_all(&frames).unwrap();
    assert_eq!(peer.closes(), []);
    let mut other = broker.client("other");
    let producer = other.producer();
    other.consumer(queue.clone(), 10);
    other.publish(&producer, &queue, "first");
    assert_eq!(other.next_body(), "first");
    broker.assert_healthy();
}
