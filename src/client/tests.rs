//! The client and the broker at the two ends of a pipe, without sockets.

use super::*;
use crate::broker::client::{Closing, Transport};
use crate::broker::policy::Policy;
use crate::broker::{Broker, fixture};
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::{AckKind, Destination, Message, Throwable, XaId};
use crate::protocol::drive::{Patience, drive};
use crate::protocol::openwire::command::MessageDispatch;
use crate::protocol::openwire::{OpenWireOptions, session};
use std::sync::Arc;

/// What the broker reads and writes at a time, bytes.
const PIPE: usize = 64 * 1024;

fn queue() -> Destination {
    Destination::queue("Q")
}

/// A broker that takes what is not persistent for dead letters too.
async fn broker() -> Arc<Broker> {
    let mut options = fixture::options();
    options.policy = Box::new(|_| {
        let mut policy = Policy::default();
        policy.dead_letter.process_non_persistent = true;
        policy
    });
    fixture::start(options).await
}

async fn connect(broker: &Arc<Broker>) -> Connection {
    let transport = Transport {
        remote: "pipe".into(),
        connector: "openwire".into(),
        connector_url: "pipe".into(),
        stop: Arc::default(),
        closing: Closing::default(),
        allow_link_stealing: false,
        producers_max: 100,
        consumers_max: 100,
    };
    let (stop, closing) = (Arc::clone(&transport.stop), transport.closing.clone());
    let (ingress, egress) = session(broker, &Arc::new(OpenWireOptions::default()), transport);
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let (reader, writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        drive(reader, writer, ingress, egress, stop, closing, Patience::default()).await
    });
    let (reader, writer) = tokio::io::split(ours);
    let options = Options::new("pipe", 1);
    Connection::introduce(reader, writer, &options).await.expect("it is let in")
}

async fn send(session: &Session, texts: &[&str]) {
    let mut producer = session.producer(queue()).await.expect("it is let in");
    for text in texts {
        producer.send(&mut text_message(text), true).await.expect("there is room");
    }
}

async fn consumer(session: &Session, of: Destination, prefetch: i32) -> Consumer {
    let options = ConsumerOptions { prefetch, ..ConsumerOptions::default() };
    session.consumer(of, options).await.expect("it is let in")
}

async fn receive(consumer: &mut Consumer, count: usize) -> Vec<MessageDispatch> {
    let mut received = Vec::new();
    for _ in 0..count {
        received.push(consumer.receive().await.expect("a message"));
    }
    received
}

fn message(dispatch: &MessageDispatch) -> &Message {
    dispatch.message.as_ref().expect("a message")
}

fn texts(dispatches: &[MessageDispatch]) -> Vec<String> {
    dispatches.iter().filter_map(|dispatch| body_text(message(dispatch))).collect()
}

#[tokio::test]
async fn a_message_that_is_given_up_is_a_dead_letter_with_the_cause_even_within_a_transaction() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    send(&session, &["bad", "good"]).await;
    let mut consumer = consumer(&session, queue(), 10).await;
    let received = receive(&mut consumer, 2).await;
    session.begin().await.expect("it is in none");
    let cause = Throwable::new("java.lang.Throwable", "too often");
    consumer.poison(&received[0], cause).await.expect("it is taken");
    session.rollback().await.expect("it is in one");
    let dead = Destination::queue("ActiveMQ.DLQ");
    let mut undertaker = self::consumer(&session, dead, 10).await;
    let letters = receive(&mut undertaker, 1).await;
    assert_eq!(texts(&letters), ["bad"]);
    let properties = message(&letters[0]).properties.as_deref().expect("properties");
    let properties = PropertyMap::decode(properties).expect("sound ones");
    let cause = properties.get("dlqDeliveryFailureCause").expect("a cause");
    assert_eq!(cause, &PropertyValue::String("java.lang.Throwable: too often".into()));
}

/// The client has no redelivery policy: after a rollback the messages stay with the consumer, whose
/// application decides what to do with them, and the broker sends none again.
#[tokio::test]
async fn what_was_acknowledged_in_a_transaction_stays_with_the_consumer_when_it_is_rolled_back() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    send(&session, &["a", "b"]).await;
    let mut consumer = consumer(&session, queue(), 10).await;
    let received = receive(&mut consumer, 2).await;
    for commits in [false, true] {
        session.begin().await.expect("it is in none");
        let (first, last) = (&received[0], &received[1]);
        let taken = consumer.acknowledge(AckKind::Standard, first, last, 2, true).await;
        taken.expect("they are held");
        let ended = if commits { session.commit().await } else { session.rollback().await };
        ended.expect("it is in one");
        assert_eq!(consumer.try_receive(), None);
    }
    consumer.close().await.expect("it is open");
    send(&session, &["c"]).await;
    let mut other = self::consumer(&session, queue(), 10).await;
    assert_eq!(texts(&receive(&mut other, 1).await), ["c"]);
}

#[tokio::test]
async fn one_acknowledgement_settles_a_range_or_one_message_alone() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    send(&session, &["a", "b", "c", "d", "e"]).await;
    let mut consumer = consumer(&session, queue(), 10).await;
    let got = receive(&mut consumer, 5).await;
    consumer.acknowledge(AckKind::Standard, &got[0], &got[1], 2, true).await.expect("held");
    consumer.acknowledge(AckKind::Individual, &got[2], &got[3], 1, true).await.expect("held");
    let wrong = consumer.acknowledge(AckKind::Standard, &got[2], &got[4], 3, true).await;
    let Err(ClientError::Refused { message, .. }) = wrong else { panic!("{wrong:?}") };
    assert!(message.starts_with("Unmatched acknowledge: "), "{message}");
    consumer.close().await.expect("it is open");
    let mut other = self::consumer(&session, queue(), 10).await;
    assert_eq!(texts(&receive(&mut other, 2).await), ["c", "e"]);
}

#[tokio::test]
async fn what_a_consumer_received_before_it_closed_counts_as_delivered_and_the_rest_does_not() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    send(&session, &["a", "b", "c"]).await;
    let mut first = consumer(&session, queue(), 10).await;
    receive(&mut first, 2).await;
    first.close().await.expect("it is open");
    let mut second = consumer(&session, queue(), 10).await;
    let again = receive(&mut second, 3).await;
    let counters = again.iter().map(|dispatch| dispatch.redelivery_counter);
    assert_eq!(counters.collect::<Vec<_>>(), [1, 1, 0]);
}

#[tokio::test]
async fn a_session_is_in_one_transaction_at_a_time() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    let state = |result: Result<(), ClientError>| {
        assert!(matches!(result, Err(ClientError::TransactionState(_))), "{result:?}");
    };
    state(session.commit().await);
    state(session.rollback().await);
    state(session.end_xa().await);
    session.begin().await.expect("it is in none");
    state(session.begin().await);
    state(session.begin_xa(&Arc::default()).await);
    session.commit().await.expect("it is in one");
    state(session.commit().await);
}

#[tokio::test]
async fn a_branch_is_ended_prepared_and_committed_by_the_connection() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    let id = Arc::new(XaId { format_id: 1, ..XaId::default() });
    session.begin_xa(&id).await.expect("it is in none");
    send(&session, &["a"]).await;
    session.end_xa().await.expect("it is in one");
    let early = connection.commit_xa(&id, false).await;
    let Err(ClientError::Refused { message, .. }) = early else { panic!("{early:?}") };
    assert!(message.contains("xaErrorCode:-6"), "it is not prepared: {message}");
    assert_eq!(connection.prepare(&id).await.expect("it is open"), 0);
    assert_eq!(connection.recover().await.expect("a list"), [Arc::clone(&id)]);
    connection.commit_xa(&id, false).await.expect("it is prepared");
    let mut consumer = consumer(&session, queue(), 10).await;
    assert_eq!(texts(&receive(&mut consumer, 1).await), ["a"]);
    connection.rollback_xa(&id).await.expect_err("it has ended");
}

#[tokio::test]
async fn everybody_who_waits_is_told_when_the_connection_ends() {
    let broker = broker().await;
    let connection = connect(&broker).await;
    let session = connection.session().await.expect("it is let in");
    let mut consumer = consumer(&session, queue(), 10).await;
    let [entry] = &broker.registry.connections()[..] else { panic!("there is one") };
    entry.stop.notify_one();
    consumer.receive().await.expect_err("nothing comes any more");
    session.commit().await.expect_err("it is in no transaction");
    session.producer(queue()).await.expect_err("the connection has ended");
}
