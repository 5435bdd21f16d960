//! Virtual destinations over a socket, and what is left of them when the broker ends.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use broker::client::{Connection, Consumer, ConsumerOptions, Session, body_text, text_message};
use broker::jms::Destination;
use harness::Broker;
use std::time::Duration;
use tokio::time::timeout;

/// Ends a test that waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(broker: &Broker) -> Connection {
    Connection::open(&broker.uri("")).await.unwrap()
}

async fn consumer(session: &Session, name: &str, selector: Option<&str>) -> Consumer {
    let options = ConsumerOptions { selector: selector.map(Into::into), ..Default::default() };
    session.consumer(Destination::queue(name), options).await.unwrap()
}

async fn send(session: &Session, to: &Destination, text: &str, kind: Option<&str>, waits: bool) {
    let mut producer = session.producer(to.clone()).await.unwrap();
    let mut message = text_message(text);
    message.persistent = true;
    message.jms_type = kind.map(Into::into);
    producer.send(&mut message, waits).await.unwrap();
}

async fn next_text(consumer: &mut Consumer) -> String {
    let dispatch = timeout(PATIENCE, consumer.receive()).await.expect("a dispatch").unwrap();
    consumer.ack(&dispatch).await.unwrap();
    body_text(&dispatch.message.unwrap()).unwrap()
}

/// All that is in a queue now, in its order.
async fn drained(session: &Session, name: &str) -> Vec<String> {
    send(session, &Destination::queue(name), "end", None, true).await;
    let mut consumer = consumer(session, name, None).await;
    let mut texts = Vec::new();
    loop {
        match next_text(&mut consumer).await {
            end if end == "end" => return texts,
            text => texts.push(text),
        }
    }
}

#[tokio::test]
async fn of_a_fan_out_all_copies_survive_kill_9_or_none() {
    let mut broker = Broker::start_persistent(
        "<persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>",
    );
    let composite = Destination::queue("A,B,topic://VirtualTopic.T");
    let queues = ["A", "B", "Consumer.C.VirtualTopic.T"];
    for round in 0..3 {
        let connection = open(&broker).await;
        let session = connection.session().await.unwrap();
        consumer(&session, queues[2], None).await.close().await.unwrap();
        let mut producer = session.producer(composite.clone()).await.unwrap();
        for number in 0..400 {
            let mut message = text_message(&format!("{round}.{number}"));
            message.persistent = true;
            // The end comes while the last ones are on their way.
            producer.send(&mut message, number == 200).await.unwrap();
        }
        broker.kill9();
        broker.restart();
        let connection = open(&broker).await;
        let session = connection.session().await.unwrap();
        let first = drained(&session, queues[0]).await;
        assert!(first.len() > 200, "what was answered is there: {}", first.len());
        for queue in &queues[1..] {
            assert_eq!(drained(&session, queue).await, first, "{queue}");
        }
        // What was acknowledged has arrived then.
        connection.close().await.unwrap();
    }
    broker.assert_healthy();
}

#[tokio::test]
async fn copies_too_large_for_one_file_together_go_one_by_one() {
    let broker = Broker::start_persistent(
        "<persistenceAdapter><kahaDB directory='${activemq.data}/kahadb' journalMaxFileLength='1mb'/>\
         </persistenceAdapter>",
    );
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let body = "x".repeat(600_000);
    send(&session, &Destination::queue("A,B,C"), &body, None, true).await;
    for queue in ["A", "B", "C"] {
        assert_eq!(drained(&session, queue).await, [body.as_str()], "{queue}");
    }
}

#[tokio::test]
async fn a_mirrored_queue_feeds_the_virtual_topics_of_its_mirror() {
    let broker = Broker::start_with(
        "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>\
         <virtualTopic name='VirtualTopic.>'/></virtualDestinations></virtualDestinationInterceptor>\
         <mirroredQueue/></destinationInterceptors>",
    );
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    let mut mirrored = consumer(&session, "Consumer.M.VirtualTopic.Mirror.Q", None).await;
    send(&session, &Destination::queue("Q"), "1", None, true).await;
    assert_eq!(next_text(&mut mirrored).await, "1");
    assert_eq!(drained(&session, "Q").await, ["1"]);
}

#[tokio::test]
async fn selectors_of_absent_consumers_are_known_after_a_restart() {
    let mut broker = Broker::start_persistent(
        "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>\
         <virtualTopic name='VirtualTopic.>' selectorAware='true'/></virtualDestinations>\
         </virtualDestinationInterceptor></destinationInterceptors>\
         <persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>\
         <plugins><virtualSelectorCacheBrokerPlugin persistFile='${activemq.data}/selectors'/>\
         <destinationsPlugin/></plugins>",
    );
    let (topic, queue) = (Destination::topic("VirtualTopic.T"), "Consumer.A.VirtualTopic.T");
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    consumer(&session, queue, Some("JMSType = 'a'")).await.close().await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(broker.stop(), Some(0));
    broker.restart();
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    for kind in ["a", "b", "a"] {
        send(&session, &topic, kind, Some(kind), true).await;
    }
    assert_eq!(drained(&session, queue).await, ["a", "a"]);
}

#[tokio::test]
async fn another_path_separator_stands_for_dots_and_options_for_nothing() {
    let broker = Broker::start_with(
        "<destinations><queue physicalName='MADE.HERE?x=y'/></destinations>\
         <plugins><destinationPathSeparatorPlugin/></plugins>",
    );
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    send(&session, &Destination::queue("A/B/C?consumer.prefetchSize=1"), "1", None, true).await;
    let mut wildcard = consumer(&session, "A/*/C", None).await;
    assert_eq!(next_text(&mut wildcard).await, "1");
    let mut dispatches = consumer(&session, "A.B.C", None).await;
    send(&session, &Destination::queue("A/B/C"), "2", None, true).await;
    wildcard.close().await.unwrap();
    let dispatch = timeout(PATIENCE, dispatches.receive()).await.expect("a dispatch").unwrap();
    assert_eq!(dispatch.message.unwrap().destination, Some(Destination::queue("A.B.C")));
    let options = ConsumerOptions::default();
    let queues = Destination::topic("ActiveMQ.Advisory.Queue");
    let mut made = session.consumer(queues, options).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..2 {
        let dispatch = timeout(PATIENCE, made.receive()).await.expect("a notice").unwrap();
        let described = dispatch.message.unwrap().described.unwrap();
        let broker::jms::Described::Destination(info) = &*described else {
            panic!("{described:?}")
        };
        names.push(info.destination.as_ref().unwrap().to_string());
    }
    names.sort();
    assert_eq!(names, ["queue://A.B.C", "queue://MADE.HERE"]);
}

#[tokio::test]
async fn advisories_go_where_a_composite_forwards_them() {
    let broker = Broker::start_with(
        "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>\
         <compositeTopic name='ActiveMQ.Advisory.Queue'><forwardTo><queue physicalName='MADE'/></forwardTo>\
         </compositeTopic></virtualDestinations></virtualDestinationInterceptor></destinationInterceptors>",
    );
    let connection = open(&broker).await;
    let session = connection.session().await.unwrap();
    send(&session, &Destination::queue("A"), "1", None, true).await;
    let mut made = consumer(&session, "MADE", None).await;
    let mut names = Vec::new();
    while !names.contains(&"queue://A".to_owned()) {
        let dispatch = timeout(PATIENCE, made.receive()).await.expect("a notice").unwrap();
        let described = dispatch.message.unwrap().described.unwrap();
        let broker::jms::Described::Destination(info) = &*described else {
            panic!("{described:?}")
        };
        names.push(info.destination.as_ref().unwrap().to_string());
    }
}
