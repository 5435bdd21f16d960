//! Scheduled messages through the real broker: each delivery comes once, however the broker ends.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use broker::client::{
    ClientError, Connection, Consumer, ConsumerOptions, body_text, set_property, text_message,
};
use broker::jms::properties::PropertyValue;
use broker::jms::{Destination, Message};
use harness::{Broker, PATIENCE};
use std::collections::{HashMap, HashSet};
use tokio::time::timeout;

const SCHEDULER: &str = "<schedulerSupport>true</schedulerSupport>";

fn scheduled(text: &str, delay_ms: i64, period_ms: i64, repeat: i32) -> Message {
    let mut message = text_message(text);
    let mut set = |name, value| set_property(&mut message, name, &value).unwrap();
    set("AMQ_SCHEDULED_DELAY", PropertyValue::Long(delay_ms));
    set("AMQ_SCHEDULED_PERIOD", PropertyValue::Long(period_ms));
    set("AMQ_SCHEDULED_REPEAT", PropertyValue::Int(repeat));
    message
}

async fn send(connection: &Connection, queue: &Destination, messages: &mut [Message]) {
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(queue.clone()).await.unwrap();
    for message in messages {
        producer.send(message, true).await.unwrap();
    }
}

async fn consumer(connection: &Connection, queue: &Destination) -> Consumer {
    let session = connection.session().await.unwrap();
    session.consumer(queue.clone(), ConsumerOptions::default()).await.unwrap()
}

/// The next message: its text, its id and whether it is persistent.
async fn next(consumer: &mut Consumer) -> (String, String, bool) {
    let dispatch = timeout(PATIENCE, consumer.receive()).await.expect("a message").unwrap();
    let message = dispatch.message.unwrap();
    let id = message.message_id.as_ref().unwrap().to_string();
    (body_text(&message).unwrap(), id, message.persistent)
}

#[tokio::test]
async fn every_delivery_comes_once_though_the_broker_is_killed() {
    const JOBS: usize = 12;
    const TIMES: usize = 15;
    const KILLS: usize = 6;
    let mut broker = Broker::start_persistent(SCHEDULER);
    let queue = Destination::queue("KILLED");
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let again = (0..JOBS).map(|job| scheduled(&job.to_string(), 1, 60, TIMES as i32 - 1));
    // One-shots come when the broker is down, or up.
    let once = (0..40).map(|job| scheduled(&format!("once {job}"), job * 30, 0, 0));
    let mut messages: Vec<Message> = again.chain(once).collect();
    send(&connection, &queue, &mut messages).await;
    connection.abort().await;
    let total = JOBS * TIMES + 40;
    for kill in 1..=KILLS {
        // Nothing is acknowledged: what has come is there again.
        let connection = Connection::open(&broker.uri("")).await.unwrap();
        let mut consumer = consumer(&connection, &queue).await;
        for _ in 0..kill * total / (KILLS + 2) {
            next(&mut consumer).await;
        }
        broker.kill9();
        drop(connection);
        broker.restart();
    }
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let mut consumer = consumer(&connection, &queue).await;
    let (mut times, mut ids) = (HashMap::new(), HashSet::new());
    for _ in 0..total {
        let (text, id, _) = next(&mut consumer).await;
        *times.entry(text).or_insert(0) += 1;
        assert!(ids.insert(id.clone()), "{id} came twice");
    }
    for (text, count) in times {
        let expected = if text.starts_with("once") { 1 } else { TIMES };
        assert_eq!(count, expected, "deliveries of {text}");
    }
    send(&connection, &queue, &mut [scheduled("end", 200, 0, 0)]).await;
    assert_eq!(next(&mut consumer).await.0, "end", "nothing came beyond");
}

#[tokio::test]
async fn jobs_in_an_open_transaction_are_lost_with_it_and_others_come_at_the_next_start() {
    let mut broker = Broker::start_persistent(SCHEDULER);
    let queue = Destination::queue("COMMITTED");
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(queue.clone()).await.unwrap();
    let mut transient = scheduled("transient", 300, 0, 0);
    transient.persistent = false;
    session.begin().await.unwrap();
    producer.send(&mut scheduled("committed", 200, 0, 0), true).await.unwrap();
    producer.send(&mut transient, true).await.unwrap();
    session.commit().await.unwrap();
    session.begin().await.unwrap();
    producer.send(&mut scheduled("lost", 100, 0, 0), true).await.unwrap();
    broker.kill9();
    drop(connection);
    broker.restart();
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let mut consumer = consumer(&connection, &queue).await;
    let (text, _, persistent) = next(&mut consumer).await;
    assert_eq!((&*text, persistent), ("committed", true));
    let (text, _, persistent) = next(&mut consumer).await;
    assert_eq!((&*text, persistent), ("transient", false), "a job outlives the broker");
    send(&connection, &queue, &mut [scheduled("end", 200, 0, 0)]).await;
    assert_eq!(next(&mut consumer).await.0, "end");
}

#[tokio::test]
async fn without_a_store_jobs_are_in_memory() {
    let broker = Broker::start_with(SCHEDULER);
    let queue = Destination::queue("MEMORY");
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let mut consumer = consumer(&connection, &queue).await;
    send(&connection, &queue, &mut [scheduled("x", 50, 50, 2)]).await;
    for _ in 0..3 {
        assert_eq!(next(&mut consumer).await.0, "x");
    }
}

#[tokio::test]
async fn a_send_waits_while_job_scheduler_usage_is_at_its_limit() {
    let limit = "<systemUsage><systemUsage><jobSchedulerUsage><jobSchedulerUsage limit='2kb'/>\
                 </jobSchedulerUsage></systemUsage></systemUsage>";
    let broker = Broker::start_persistent(&format!("{SCHEDULER}{limit}"));
    let queue = Destination::queue("LIMITED");
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let jobs = ["first", "second", "third"];
    let mut jobs = jobs.map(|text| scheduled(text, 300, 0, 0));
    // The third one gets in when the first two are gone.
    send(&connection, &queue, &mut jobs).await;
    let mut consumer = consumer(&connection, &queue).await;
    for text in ["first", "second", "third"] {
        assert_eq!(next(&mut consumer).await.0, text);
    }
    assert!(broker.log().contains("Job Scheduler Store is Full"), "it had to wait");
}

#[tokio::test]
async fn no_client_reaches_the_queue_of_jobs() {
    let broker = Broker::start_persistent(SCHEDULER);
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    let jobs = Destination::queue("ActiveMQ.Scheduler.Jobs");
    send(&connection, &Destination::queue("A"), &mut [scheduled("x", 3_600_000, 0, 0)]).await;
    let session = connection.session().await.unwrap();
    let refused = |error: ClientError| match error {
        ClientError::Refused { class, .. } => class.to_string(),
        other => panic!("{other}"),
    };
    let class = "javax.jms.InvalidDestinationException";
    let consumer = session.consumer(jobs.clone(), ConsumerOptions::default()).await;
    assert_eq!(consumer.err().map(refused).as_deref(), Some(class));
    let mut producer = session.producer(None).await.unwrap();
    let mut message = text_message("x");
    message.destination = Some(jobs);
    let sent = producer.send(&mut message, true).await;
    assert_eq!(sent.err().map(refused).as_deref(), Some(class));
    connection.remove_destination(Destination::queue("ActiveMQ.Scheduler.Jobs")).await.unwrap();
    let all = Destination::queue(">");
    let mut consumer = self::consumer(&connection, &all).await;
    send(&connection, &Destination::queue("B"), &mut [text_message("end")]).await;
    assert_eq!(next(&mut consumer).await.0, "end");
}

#[tokio::test]
async fn without_support_schedules_are_properties_like_any_other() {
    let mut broker = Broker::start_persistent("");
    let queue = Destination::queue("PLAIN");
    let connection = Connection::open(&broker.uri("")).await.unwrap();
    send(&connection, &queue, &mut [scheduled("x", 3_600_000, 0, 0)]).await;
    assert_eq!(next(&mut consumer(&connection, &queue).await).await.0, "x");
    assert_eq!(broker.stop(), Some(0));
}
