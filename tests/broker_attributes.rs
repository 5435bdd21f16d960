//! What attributes of the broker do to messages that are there, and what a configuration does that is changed while
//! the broker runs (`runtimeConfigurationPlugin`).
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

#[path = "disk_full/clients.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod clients;
mod harness;

use broker::client::{ClientError, Connection, ConsumerOptions, Options, text_message};
use broker::jms::{Destination, DestinationKind};
use broker::protocol::openwire::Command;
use clients::{Drain, Flood, Sender, until};
use harness::Broker;
use std::time::{Duration, SystemTime};

const PLUGIN: &str = "<runtimeConfigurationPlugin checkPeriod='20'/>";

async fn applied(broker: &Broker, element: &str) {
    let line = format!("applied changes to {element}");
    until(broker, "an applied change", || broker.log().contains(&line)).await;
}

#[tokio::test]
async fn policies_of_destinations_that_are_there_change() {
    let broker = Broker::start_with(&format!(
        "<plugins>{PLUGIN}</plugins><destinationPolicy><policyMap><policyEntries>
         <policyEntry queue='Q' memoryLimit='50kb'/></policyEntries></policyMap></destinationPolicy>"
    ));
    let flood = Flood::start(&broker, "Q", 500, 1000, false).await;
    let full = "Usage Manager Memory Limit";
    until(&broker, "a full queue", || broker.log().contains(full)).await;
    broker.change_configuration("memoryLimit='50kb'", "memoryLimit='50mb'");
    flood.succeed().await;
    assert!(broker.log().contains("updated policy for: queue://Q"), "{}", broker.log());
    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..500).await;
    drain.expect_end().await;
}

#[tokio::test]
async fn composite_destinations_and_destinations_come_into_being() {
    let broker = Broker::start_with(&format!("<plugins>{PLUGIN}</plugins>"));
    Sender::start(&broker, "C").await.send(1).await.unwrap();
    broker.change_configuration(
        "<plugins>",
        "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>
         <compositeQueue name='C'><forwardTo><queue physicalName='A'/></forwardTo></compositeQueue>
         </virtualDestinations></virtualDestinationInterceptor></destinationInterceptors>
         <destinations><queue physicalName='MADE'/></destinations><plugins>",
    );
    applied(&broker, "<destinationInterceptors>").await;
    applied(&broker, "<destinations>").await;
    Sender::start(&broker, "C").await.send(2).await.unwrap();
    Drain::start(&broker, "A").await.expect([2]).await;
    Drain::start(&broker, "C").await.expect([1]).await;
}

async fn connects(broker: &Broker, user: &str) -> Result<(), ClientError> {
    let mut options = Options::new("127.0.0.1", broker.port());
    options.user = Some(user.into());
    options.password = Some("x".into());
    Connection::connect(&options).await.map(drop)
}

#[tokio::test]
async fn users_change() {
    let broker = Broker::start_with(&format!(
        "<plugins>{PLUGIN}<simpleAuthenticationPlugin><users>
         <authenticationUser username='old' password='x' groups='g'/></users>
         </simpleAuthenticationPlugin></plugins>"
    ));
    connects(&broker, "old").await.unwrap();
    connects(&broker, "new").await.unwrap_err();
    broker.change_configuration("username='old'", "username='new'");
    applied(&broker, "<simpleAuthenticationPlugin> of <plugins>").await;
    connects(&broker, "new").await.unwrap();
    connects(&broker, "old").await.unwrap_err();
}

#[tokio::test]
async fn what_needs_a_restart_or_is_wrong_is_said_and_left() {
    let mut broker = Broker::start_with(&format!("<plugins>{PLUGIN}</plugins>"));
    broker.change_configuration("brokerName=", "brokerNaame=");
    let wrong = "has errors: nothing of it is applied";
    until(&broker, "an error", || broker.log().contains(wrong)).await;
    broker.change_configuration("brokerNaame=", "useJmx='false' brokerName=");
    let later = "changes to attribute 'useJmx' of <broker> are ignored: they need a restart";
    until(&broker, "a warning", || broker.log().contains(later)).await;
    broker.change_configuration("<plugins>", "<!-- x --><plugins>");
    until(&broker, "no change", || broker.log().contains("No material change to configuration"))
        .await;
    broker.assert_healthy();
}

#[tokio::test]
async fn all_messages_are_deleted_by_a_start_that_is_to_do_so() {
    let mut broker = Broker::start_persistent(
        "<persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>",
    );
    Sender::start(&broker, "Q").await.send(1).await.unwrap();
    Sender::start(&broker, "OTHER").await.send(1).await.unwrap();
    broker.change_configuration("<broker ", "<broker deleteAllMessagesOnStartup='true' ");
    assert_eq!(broker.stop(), Some(0));
    broker.restart();
    Drain::start(&broker, "Q").await.expect_end().await;
    Sender::start(&broker, "Q").await.send(2).await.unwrap();
    broker.change_configuration("deleteAllMessagesOnStartup='true' ", "");
    assert_eq!(broker.stop(), Some(0));
    broker.restart();
    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect([2]).await;
    drain.expect_end().await;
    Drain::start(&broker, "OTHER").await.expect_end().await;
}

#[tokio::test]
async fn durable_consumers_are_rejected_where_the_broker_is_to_do_so() {
    let mut broker = Broker::start();
    broker.change_configuration("<broker ", "<broker rejectDurableConsumers='true' ");
    assert_eq!(broker.stop(), Some(0));
    broker.restart();
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let session = connection.session().await.unwrap();
    let topic = || Destination::topic("T");
    let durable = ConsumerOptions { durable: Some("name".into()), ..ConsumerOptions::default() };
    let refused = session.consumer(topic(), durable).await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused { class, message }
            if &**class == "javax.jms.JMSException" && &**message == "Durable Consumers are not allowed"),
        "{refused}"
    );
    session.consumer(topic(), ConsumerOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_policy_allows_so_many_destinations_and_no_more() {
    let broker = Broker::start_with(
        "<destinationPolicy><policyMap><policyEntries>
         <policyEntry queue='MANY.&gt;' maxDestinations='2'/></policyEntries></policyMap></destinationPolicy>",
    );
    for queue in ["OTHER", "MANY.A", "MANY.B", "ANOTHER", "MANY.A"] {
        Sender::start(&broker, queue).await.send(0).await.unwrap();
    }
    let connection = Connection::connect(&Options::new("127.0.0.1", broker.port())).await.unwrap();
    let session = connection.session().await.unwrap();
    let refused = session.producer(Destination::queue("MANY.C")).await.unwrap_err().to_string();
    let text = "The maxmimum number of destinations allowed (2) for the policy queue://MANY.> has already been reached.";
    assert!(refused.contains(text), "{refused}");
}

#[test]
fn a_consumer_hears_its_prefetch_before_it_hears_that_it_is_open() {
    let broker = Broker::start_with(
        "<destinationPolicy><policyMap><defaultEntry><policyEntry queuePrefetch='0'/></defaultEntry>
         </policyMap></destinationPolicy>",
    );
    let mut peer = broker.client("c");
    for _ in 0..20 {
        let info = peer.consumer_info(Destination::queue("Q"), 1000);
        let opening = peer.ask(Box::new(info));
        match peer.read() {
            Some(Command::ConsumerControl(control)) => assert_eq!(control.prefetch, 0),
            other => panic!("{other:?} instead of the prefetch"),
        }
        peer.response(opening).unwrap();
    }
}

#[tokio::test]
async fn an_empty_name_is_no_destination() {
    let broker = Broker::start_with("");
    let connection = Connection::connect(&Options::new("127.0.0.1", broker.port())).await.unwrap();
    let session = connection.session().await.unwrap();
    let refused = session.producer(Destination::queue("  ")).await.unwrap_err().to_string();
    assert!(
        refused.contains("Invalid destination name: a non-empty name is required"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_temporary_queue_comes_back_with_a_message_only_where_that_is_allowed() {
    let mut broker = Broker::start();
    for allowed in [false, true] {
        if allowed {
            broker.change_configuration("<broker ", "<broker allowTempAutoCreationOnSend='true' ");
            assert_eq!(broker.stop(), Some(0));
            broker.restart();
        }
        let connection = Connection::open(&broker.uri("")).await.unwrap();
        let session = connection.session().await.unwrap();
        let gone = Destination::new(DestinationKind::TempQueue, Some("ID:gone-1-1:1:1".into()));
        let mut producer = session.producer(gone).await.unwrap();
        let sent = producer.send(&mut text_message("reply"), true).await;
        match sent {
            Ok(()) => assert!(allowed),
            Err(error) => {
                assert!(
                    !allowed && error.to_string().contains("DestinationDoesNotExistException"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn more_than_memory_has_room_for_comes_in_order_with_each_cursor() {
    for cursor in ["storeCursor", "fileQueueCursor"] {
        let mut broker = Broker::start_persistent(&format!(
            "<destinationPolicy><policyMap><policyEntries><policyEntry queue='&gt;'>
             <pendingQueuePolicy><{cursor}/></pendingQueuePolicy>
             </policyEntry></policyEntries></policyMap></destinationPolicy>
             <persistenceAdapter><kahaDB directory='${{activemq.data}}/kahadb'/></persistenceAdapter>
             <systemUsage><systemUsage><memoryUsage><memoryUsage limit='1 mb'/></memoryUsage>
             </systemUsage></systemUsage>"
        ));
        for (queue, persistent) in [("STORED", true), ("SPOOLED", false)] {
            Flood::start(&broker, queue, 3000, 1000, persistent).await.succeed().await;
        }
        for queue in ["STORED", "SPOOLED"] {
            let mut drain = Drain::start(&broker, queue).await;
            drain.expect(0..3000).await;
            drain.expect_end().await;
        }
        broker.assert_healthy();
    }
}

#[test]
fn messages_in_the_temp_store_expire_though_nobody_consumes() {
    let broker = Broker::start_persistent(
        "<destinationPolicy><policyMap><policyEntries>
         <policyEntry queue='Q' expireMessagesPeriod='20'><deadLetterStrategy>
         <sharedDeadLetterStrategy processNonPersistent='true'/></deadLetterStrategy></policyEntry>
         </policyEntries></policyMap></destinationPolicy>
         <persistenceAdapter><kahaDB directory='${activemq.data}/kahadb'/></persistenceAdapter>
         <systemUsage><systemUsage><memoryUsage><memoryUsage limit='1 mb'/></memoryUsage>
         </systemUsage></systemUsage>",
    );
    let mut peer = broker.client("c");
    let producer = peer.producer();
    let queue = Destination::queue("Q");
    let soon = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_millis(500);
    for _ in 0..3000 {
        let mut message = peer.message(&producer, &queue, &"x".repeat(1000));
        message.persistent = false;
        message.expiration = soon.as_millis() as i64;
        peer.request(message).unwrap();
    }
    peer.consumer(Destination::queue("ActiveMQ.DLQ"), 100);
    for _ in 0..3000 {
        let dispatch = peer.next_dispatch();
        peer.acknowledge(&dispatch).unwrap();
    }
}
