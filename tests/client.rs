//! The client and the broker, over a socket.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use broker::client::{
    ClientError, Connection, Consumer, ConsumerOptions, Options, body_text, set_property,
    text_message,
};
use broker::jms::properties::PropertyValue;
use broker::jms::{AckKind, Destination, Throwable, XaId};
use broker::protocol::openwire::Command;
use bytes::Bytes;
use harness::Broker;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Ends a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(consumer: &mut Consumer) -> broker::protocol::openwire::command::MessageDispatch {
    timeout(PATIENCE, consumer.receive()).await.expect("a dispatch").unwrap()
}

async fn next_text(consumer: &mut Consumer) -> String {
    let dispatch = next(consumer).await;
    consumer.ack(&dispatch).await.unwrap();
    body_text(&dispatch.message.unwrap()).unwrap()
}

async fn open(broker: &Broker) -> Connection {
    Connection::open(&broker.uri("")).await.unwrap()
}

fn class(error: ClientError) -> String {
    let ClientError::Refused { class, .. } = error else { panic!("{error}") };
    class.to_string()
}

#[tokio::test]
async fn messages_arrive_in_order_in_every_wire_format() {
    let broker = Broker::start();
    for version in 1..=12 {
        for tight in [true, false] {
            for cache in [true, false] {
                let uri = broker.uri(&format!(
                    "?wireFormat.version={version}&wireFormat.tightEncodingEnabled={tight}\
                     &wireFormat.cacheEnabled={cache}"
                ));
                let connection = Connection::open(&uri).await.unwrap();
                let format = connection.wire_format();
                assert_eq!((format.version, format.tight), (version, tight));
                let session = connection.session().await.unwrap();
                let queue = Destination::queue("formats");
                let mut consumer =
                    session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
                let mut producer = session.producer(queue).await.unwrap();
                for number in 0..5 {
                    let mut message = text_message(&number.to_string());
                    producer.send(&mut message, number == 4).await.unwrap();
                }
                for number in 0..5 {
                    assert_eq!(next_text(&mut consumer).await, number.to_string());
                }
                connection.close().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn many_messages_go_out_and_are_acknowledged_in_batches() {
    const COUNT: usize = 20_000;
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("many");
    let options = ConsumerOptions { prefetch: 1000, ..ConsumerOptions::default() };
    let mut consumer = session.consumer(queue.clone(), options).await.unwrap();
    let mut producer = session.producer(queue.clone()).await.unwrap();
    let sending = tokio::spawn(async move {
        let mut message = text_message("x");
        message.persistent = false;
        for _ in 1..COUNT {
            producer.send(&mut message, false).await.unwrap();
        }
        producer.send(&mut message, true).await.unwrap();
    });
    let (mut received, mut batch) = (0, Vec::new());
    while received < COUNT {
        timeout(PATIENCE, consumer.receive_all(&mut batch)).await.expect("messages").unwrap();
        for dispatch in &batch {
            received += 1;
            let id = dispatch.message.as_ref().unwrap().message_id.as_ref().unwrap();
            assert_eq!(id.producer_sequence, received as i64);
        }
        let (first, last) = (batch.first().unwrap(), batch.last().unwrap());
        let count = batch.len() as i32;
        consumer.acknowledge(AckKind::Standard, first, last, count, false).await.unwrap();
        batch.clear();
    }
    sending.await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn receipts_of_sends_under_way_come_in_any_number() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(Destination::queue("receipts")).await.unwrap();
    let mut receipts = Vec::new();
    for _ in 0..500 {
        receipts.push(producer.submit(&mut text_message("x")).await.unwrap());
    }
    for receipt in receipts {
        timeout(PATIENCE, receipt.done()).await.expect("an answer").unwrap();
    }
}

#[tokio::test]
async fn acknowledgements_of_each_kind_do_what_they_say() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("acks");
    let mut producer = session.producer(queue.clone()).await.unwrap();
    for number in 0..6 {
        producer.send(&mut text_message(&number.to_string()), true).await.unwrap();
    }
    let options = ConsumerOptions { prefetch: 5, ..ConsumerOptions::default() };
    let mut consumer = session.consumer(queue.clone(), options).await.unwrap();
    let mut dispatches = Vec::new();
    for _ in 0..5 {
        dispatches.push(next(&mut consumer).await);
    }
    // Delivered opens the window for the sixth.
    let [d0, d1, d2, d3, d4] = &dispatches[..] else { panic!("five") };
    consumer.acknowledge(AckKind::Delivered, d0, d0, 1, true).await.unwrap();
    let d5 = next(&mut consumer).await;
    consumer.acknowledge(AckKind::Individual, d4, d4, 1, true).await.unwrap();
    consumer.acknowledge(AckKind::Standard, d0, d1, 2, true).await.unwrap();
    let again = consumer.acknowledge(AckKind::Standard, d0, d1, 2, true).await;
    assert_eq!(class(again.unwrap_err()), "javax.jms.JMSException");
    consumer.poison(d2, Throwable::new("java.lang.Throwable", "bad")).await.unwrap();
    drop((d3, d5));
    consumer.close().await.unwrap();

    // What was neither done nor given up comes again, what was given up is a dead letter.
    let mut consumer = session.consumer(queue, ConsumerOptions::default()).await.unwrap();
    for text in ["3", "5"] {
        let dispatch = next(&mut consumer).await;
        assert_eq!(dispatch.redelivery_counter, 1);
        assert_eq!(body_text(&dispatch.message.unwrap()).unwrap(), text);
    }
    let dead = Destination::queue("ActiveMQ.DLQ");
    let mut dead = session.consumer(dead, ConsumerOptions::default()).await.unwrap();
    assert_eq!(next_text(&mut dead).await, "2");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn transactions_take_effect_together_or_not_at_all() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("transactions");
    let mut producer = session.producer(queue.clone()).await.unwrap();
    session.begin().await.unwrap();
    assert!(session.begin().await.is_err());
    producer.send(&mut text_message("rolled back"), false).await.unwrap();
    session.rollback().await.unwrap();
    session.begin().await.unwrap();
    producer.send(&mut text_message("committed"), false).await.unwrap();
    session.commit().await.unwrap();
    assert!(session.commit().await.is_err());
    let mut consumer = session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
    session.begin().await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "committed");
    session.rollback().await.unwrap();
    consumer.close().await.unwrap();
    let mut consumer = session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
    session.begin().await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "committed");
    session.commit().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn prepared_transactions_are_known_to_other_connections() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("xa");
    let id = Arc::new(XaId {
        format_id: 7,
        global_transaction_id: Some(Bytes::from_static(b"global")),
        branch_qualifier: Some(Bytes::from_static(b"branch")),
    });
    let mut producer = session.producer(queue.clone()).await.unwrap();
    session.begin_xa(&id).await.unwrap();
    producer.send(&mut text_message("x"), false).await.unwrap();
    session.end_xa().await.unwrap();
    assert_eq!(connection.prepare(&id).await.unwrap(), 0);
    connection.abort().await;

    let connection = open(&broker).await;
    assert_eq!(connection.recover().await.unwrap(), std::slice::from_ref(&id));
    connection.commit_xa(&id, false).await.unwrap();
    let unknown = connection.rollback_xa(&id).await.unwrap_err();
    assert!(unknown.to_string().contains("xaErrorCode:-4"), "{unknown}");
    let session = connection.session().await.unwrap();
    let mut consumer = session.consumer(queue, ConsumerOptions::default()).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "x");
}

#[tokio::test]
async fn a_durable_subscription_outlives_its_connection() {
    let broker = Broker::start();
    let topic = Destination::topic("durable");
    let uri = broker.uri("?jms.clientID=subscriber");
    let options = ConsumerOptions { durable: Some("name".into()), ..ConsumerOptions::default() };
    let connection = Connection::open(&uri).await.unwrap();
    let session = connection.session().await.unwrap();
    session.consumer(topic.clone(), options.clone()).await.unwrap();
    let in_use = connection.unsubscribe("name").await.unwrap_err();
    assert_eq!(class(in_use), "javax.jms.JMSException");
    connection.close().await.unwrap();

    let sender = open(&broker).await;
    let session = sender.session().await.unwrap();
    let mut producer = session.producer(topic.clone()).await.unwrap();
    producer.send(&mut text_message("kept"), true).await.unwrap();

    let connection = Connection::open(&uri).await.unwrap();
    let second = Connection::open(&uri).await.unwrap_err();
    assert_eq!(class(second), "javax.jms.InvalidClientIDException");
    let session = connection.session().await.unwrap();
    let mut consumer = session.consumer(topic, options).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "kept");
    consumer.close().await.unwrap();
    connection.unsubscribe("name").await.unwrap();
    let missing = connection.unsubscribe("name").await.unwrap_err();
    assert_eq!(class(missing), "javax.jms.InvalidDestinationException");
}

#[tokio::test]
async fn selectors_choose_and_browsers_look() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("chosen");
    let mut producer = session.producer(None).await.unwrap();
    for number in 0..3 {
        let mut message = text_message(&number.to_string());
        message.destination = Some(queue.clone());
        set_property(&mut message, "number", &PropertyValue::Int(number)).unwrap();
        producer.send(&mut message, true).await.unwrap();
    }
    let browse = ConsumerOptions { browser: true, ..ConsumerOptions::default() };
    let mut browser = session.consumer(queue.clone(), browse).await.unwrap();
    let mut seen = 0;
    while next(&mut browser).await.message.is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3);
    let bad = ConsumerOptions { selector: Some("number =".into()), ..ConsumerOptions::default() };
    let refused = session.consumer(queue.clone(), bad).await.unwrap_err();
    assert_eq!(class(refused), "javax.jms.InvalidSelectorException");
    let one = ConsumerOptions { selector: Some("number = 1".into()), ..ConsumerOptions::default() };
    let mut consumer = session.consumer(queue, one).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "1");
}

#[tokio::test]
async fn a_pull_brings_one_message_or_none() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("pulled");
    let options = ConsumerOptions { prefetch: 0, ..ConsumerOptions::default() };
    let mut consumer = session.consumer(queue.clone(), options).await.unwrap();
    consumer.pull(-1).await.unwrap();
    assert_eq!(next(&mut consumer).await.message, None);
    let mut producer = session.producer(queue).await.unwrap();
    producer.send(&mut text_message("a"), true).await.unwrap();
    consumer.pull(0).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "a");
}

#[tokio::test]
async fn temporary_destinations_belong_to_their_connection() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let other = open(&broker).await;
    let queue = connection.temporary_queue().await.unwrap();
    let session = connection.session().await.unwrap();
    let mut consumer = session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
    let others = other.session().await.unwrap();
    let mut producer = others.producer(queue.clone()).await.unwrap();
    producer.send(&mut text_message("reply"), true).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "reply");
    let in_use = connection.remove_destination(queue.clone()).await.unwrap_err();
    assert_eq!(class(in_use), "javax.jms.JMSException");
    consumer.close().await.unwrap();
    connection.remove_destination(queue).await.unwrap();
    let gone = producer.send(&mut text_message("late"), true).await.unwrap_err();
    assert_eq!(class(gone), "org.apache.activemq.DestinationDoesNotExistException");
    drop(connection.temporary_topic().await.unwrap());
}

#[tokio::test]
async fn what_an_aborted_connection_had_goes_to_others() {
    let broker = Broker::start();
    let queue = Destination::queue("orphans");
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(queue.clone()).await.unwrap();
    producer.send(&mut text_message("orphan"), true).await.unwrap();
    let mut consumer = session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
    next(&mut consumer).await;
    connection.abort().await;
    assert!(matches!(consumer.receive().await, Err(ClientError::Closed)));
    let late = producer.send(&mut text_message("late"), false).await;
    assert!(matches!(late, Err(ClientError::Closed)));

    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let mut consumer = session.consumer(queue, ConsumerOptions::default()).await.unwrap();
    let dispatch = next(&mut consumer).await;
    assert_eq!(dispatch.redelivery_counter, 1);
}

#[tokio::test]
async fn the_end_of_the_broker_ends_every_wait() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let queue = Destination::queue("end");
    let mut consumer = session.consumer(queue, ConsumerOptions::default()).await.unwrap();
    assert!(connection.broker_info().is_some_and(|info| info.broker_name.is_some()));
    assert!(matches!(connection.event().await.unwrap(), Command::BrokerInfo(_)));
    assert!(matches!(connection.event().await.unwrap(), Command::ConnectionControl(_)));
    drop(broker);
    let lost = timeout(PATIENCE, consumer.receive()).await.expect("an end");
    assert!(matches!(lost, Err(ClientError::Lost(_))), "{lost:?}");
    assert!(matches!(connection.event().await, Err(ClientError::Lost(_))));
    assert!(connection.session().await.is_err());
}

#[tokio::test]
async fn nobody_listens_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = Connection::connect(&Options::new("127.0.0.1", free.port())).await;
    assert!(matches!(refused, Err(ClientError::Connect { .. })));
}

#[tokio::test]
async fn a_refused_send_that_nobody_waits_for_is_told_as_an_event() {
    let broker = Broker::start();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(None).await.unwrap();
    let mut message = text_message("x");
    message.destination =
        Some(Destination::parse("temp-queue://gone", broker::jms::DestinationKind::Queue));
    producer.send(&mut message, false).await.unwrap();
    let error = async {
        loop {
            if let Command::ConnectionError(error) = connection.event().await.unwrap() {
                return error;
            }
        }
    };
    let error = timeout(PATIENCE, error).await.expect("an event");
    let class = error.exception.unwrap().class.unwrap();
    assert_eq!(&*class, "org.apache.activemq.DestinationDoesNotExistException");
}

#[tokio::test]
async fn advisories_are_not_told_about_advisories() {
    let elements = r#"<destinationPolicy><policyMap><policyEntries>
      <policyEntry topic=">" advisoryForDelivery="true" sendAdvisoryIfNoConsumers="true"/>
    </policyEntries></policyMap></destinationPolicy>"#;
    let broker = Broker::start_with(elements);
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let all = Destination::topic("ActiveMQ.Advisory.MessageDelivered.>");
    let mut observer = session.consumer(all, ConsumerOptions::default()).await.unwrap();
    let options = ConsumerOptions::default();
    let mut consumer = session.consumer(Destination::topic("T.>"), options).await.unwrap();
    let mut producer = session.producer(None).await.unwrap();
    for name in ["T.1", "T.2", "T.3"] {
        let mut message = text_message("x");
        message.destination = Some(Destination::topic(name));
        producer.send(&mut message, true).await.unwrap();
        next_text(&mut consumer).await;
        let advisory = next(&mut observer).await;
        let topic = advisory.destination.as_ref().unwrap();
        assert_eq!(topic.name(), format!("ActiveMQ.Advisory.MessageDelivered.Topic.{name}"));
        observer.ack(&advisory).await.unwrap();
    }
}

#[tokio::test]
async fn a_stopping_broker_gives_what_a_closed_consumer_held_to_no_other() {
    let mut broker = Broker::start();
    let queue = Destination::queue("held");
    let mut consumers = Vec::new();
    for _ in 0..20 {
        let connection = open(&broker).await;
        let session = connection.session().await.unwrap();
        let consumer = session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap();
        consumers.push((connection, session, consumer));
    }
    let sender = open(&broker).await;
    let session = sender.session().await.unwrap();
    let mut producer = session.producer(queue).await.unwrap();
    producer.send(&mut text_message("once"), true).await.unwrap();
    assert_eq!(broker.stop(), Some(0));
    let mut received = 0;
    for (_, _, consumer) in &mut consumers {
        while timeout(PATIENCE, consumer.receive()).await.expect("an end").is_ok() {
            received += 1;
        }
    }
    assert_eq!(received, 1);
}
