//! `broker store`: what it tells of the store of a real broker, and that it keeps its hands off one
//! that runs.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod harness;

use broker::client::{Connection, ConsumerOptions, Options, body_text, text_message};
use broker::jms::Destination;
use harness::Broker;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STORE: &str = r#"<persistenceAdapter><kahaDB directory="${activemq.data}/kahadb"
    journalMaxFileLength="1mb"/></persistenceAdapter>"#;

/// So many messages are sent before their answers are waited for: what comes together is written together, and
/// must be less than a file.
const STEP: usize = 100;

/// Sends so many messages of 1 KB to queue `A`; all are stored on return.
async fn send(broker: &Broker, count: usize) {
    let options = Options::new("127.0.0.1", broker.port());
    let connection = Connection::connect(&options).await.unwrap();
    let session = connection.session().await.unwrap();
    let mut producer = session.producer(Destination::queue("A")).await.unwrap();
    let text = "x".repeat(1000);
    for number in 1..=count {
        let mut message = text_message(&text);
        message.persistent = true;
        producer.send(&mut message, number % STEP == 0 || number == count).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Sends so many messages of 1 KB, every tenth to `A`, and receives the others, which go to `B`.
async fn send_and_keep_a_tenth(broker: &Broker, count: usize) {
    let connection = Connection::connect(&Options::new("127.0.0.1", broker.port())).await.unwrap();
    let session = connection.session().await.unwrap();
    let mut kept = session.producer(Destination::queue("A")).await.unwrap();
    let mut gone = session.producer(Destination::queue("B")).await.unwrap();
    for number in 0..count {
        let mut message = text_message(&format!("{number} {}", "x".repeat(1000)));
        message.persistent = true;
        let producer = if number % 10 == 0 { &mut kept } else { &mut gone };
        producer.send(&mut message, number % STEP < 2).await.unwrap();
    }
    let options = ConsumerOptions::default();
    let mut consumer = session.consumer(Destination::queue("B"), options).await.unwrap();
    for _ in 0..count - count / 10 {
        let dispatch = consumer.receive().await.unwrap();
        consumer.ack(&dispatch).await.unwrap();
    }
    consumer.close().await.unwrap();
    connection.close().await.unwrap();
}

/// Receives exactly so many messages from `A`, in order.
async fn receive_the_tenth(broker: &Broker, count: usize) {
    let connection = Connection::connect(&Options::new("127.0.0.1", broker.port())).await.unwrap();
    let session = connection.session().await.unwrap();
    let options = ConsumerOptions::default();
    let mut consumer = session.consumer(Destination::queue("A"), options).await.unwrap();
    for number in 0..count {
        let dispatch = consumer.receive().await.unwrap();
        let text = body_text(dispatch.message.as_ref().unwrap()).unwrap();
        assert!(text.starts_with(&format!("{} ", number * 10)), "not {number}");
    }
    assert!(consumer.try_receive().is_none());
    connection.close().await.unwrap();
}

/// Runs `broker store`; returns exit code and output.
fn store(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    let output = command.arg("store").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_stopped_store_is_shown_and_verified_and_a_running_one_is_left_alone() {
    let mut broker = Broker::start_persistent(STORE);
    send(&broker, 1500).await;
    let folder = broker.data().join("kahadb");
    let config = broker.data().with_file_name("activemq.xml").display().to_string();
    let directory = folder.display().to_string();
    let (by_config, by_directory) = (["--config", &config], ["--directory", &directory]);

    for command in ["inspect", "verify"] {
        for place in [&by_config, &by_directory] {
            let (code, _, error) = store(&[command, place[0], place[1]]);
            assert_eq!(code, Some(2), "{error}");
            assert!(error.contains("in use") && error.contains("broker stop"), "{error}");
            assert!(error.contains(&format!("pid '{}'", broker.pid())), "{error}");
        }
    }

    broker.kill9();
    let before = content(&folder);
    let (code, text, error) = store(&["verify", "--config", &config]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("1500 messages: no damage"), "{text}");
    let (code, text, _) = store(&["inspect", "--directory", &directory]);
    assert_eq!(code, Some(0));
    for part in ["1500 messages", "queue://A", "db-1.log", "being written"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, json, _) = store(&["inspect", "--config", &config, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["totals"]["messages"], 1500);
    assert_eq!(json["destinations"][0]["name"], "queue://A");
    assert_eq!(json["destinations"][0]["oldest"]["sequence"], 1);
    assert!(json["files"].as_array().unwrap().len() >= 2);
    assert!(content(&folder) == before, "nothing was written");

    let journal = folder.join("db-1.log");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[5000] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let (code, text, _) = store(&["verify", "--config", &config]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("DAMAGE") && text.contains("db-1.log at offset 4"), "{text}");
    assert!(text.contains("lost: "), "{text}");
}

#[tokio::test]
async fn a_compacted_store_has_all_messages_in_few_files() {
    let mut broker = Broker::start_persistent(STORE);
    send_and_keep_a_tenth(&broker, 5000).await;
    let config = broker.data().with_file_name("activemq.xml").display().to_string();
    let (code, _, error) = store(&["compact", "--config", &config]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("in use"), "{error}");
    broker.kill9();

    let (code, text, error) = store(&["compact", "--config", &config, "--json"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    let done: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(done["messages"], 500, "{done}");
    assert!(done["before"]["journalFiles"].as_u64().unwrap() >= 6, "{done}");
    assert!(done["after"]["journalFiles"].as_u64().unwrap() <= 3, "{done}");
    let (code, text, _) = store(&["verify", "--config", &config]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("500 messages: no damage"), "{text}");
    let (code, text, _) = store(&["compact", "--config", &config]);
    assert_eq!(code, Some(0));
    assert!(text.contains("0 B saved, 500 messages kept"), "{text}");

    broker.restart();
    receive_the_tenth(&broker, 500).await;
}

#[test]
fn where_there_is_no_store_they_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().display().to_string();
    for command in ["inspect", "verify", "compact"] {
        let (code, _, error) = store(&[command, "--directory", &directory]);
        assert_eq!(code, Some(2));
        assert!(error.contains("there is no store in"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
