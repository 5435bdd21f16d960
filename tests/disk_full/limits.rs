//! `storeUsage` and `tempUsage`, on a disk with space.

use crate::clients::{Drain, Flood, Sender, UNDER_WAY, until};
use crate::harness::Broker;
use broker::client::ClientError;
use std::fs;
use std::path::Path;

/// A store with small files, and these limits.
fn limited(usage: &str) -> String {
    format!(
        r#"<persistenceAdapter>
             <kahaDB directory="${{activemq.data}}/kahadb" journalMaxFileLength="1mb"
                     checkpointInterval="200" cleanupInterval="200"/>
           </persistenceAdapter>
           <systemUsage>{usage}</systemUsage>"#
    )
}

const COUNT: usize = 600;
const BYTES: usize = 10_000;

#[tokio::test]
async fn a_full_store_holds_persistent_producers_back_and_nobody_else() {
    let usage = r#"<systemUsage><storeUsage><storeUsage limit="4mb"/></storeUsage></systemUsage>"#;
    let broker = Broker::start_persistent(&limited(usage));
    let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
    let text = format!("Persistent store is Full, 100% of {}", 4 << 20);
    until(&broker, "a full store", || broker.log().contains(&text)).await;
    assert!(flood.answered() < COUNT - UNDER_WAY);

    Flood::start(&broker, "N", 100, 1000, false).await.succeed().await;
    let mut others = Drain::start(&broker, "N").await;
    others.expect(0..100).await;
    others.expect_end().await;

    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..COUNT).await;
    flood.succeed().await;
    drain.expect_end().await;
}

#[tokio::test]
async fn a_full_store_is_told_to_producers_that_do_not_want_to_wait() {
    let usage = r#"<systemUsage sendFailIfNoSpace="true">
        <storeUsage><storeUsage limit="4mb"/></storeUsage></systemUsage>"#;
    let broker = Broker::start_persistent(&limited(usage));
    let outcomes = Flood::start(&broker, "Q", COUNT, BYTES, true).await.end().await;
    let confirmed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((100..COUNT).contains(&confirmed), "{confirmed}");
    let told = outcomes.into_iter().find_map(Result::err).expect("a refusal");
    let ClientError::Refused { class, message: text } = told else { panic!("{told}") };
    assert_eq!(&*class, "javax.jms.ResourceAllocationException");
    let (start, end) = (
        format!("Persistent store is Full, 100% of {}. Stopping producer (", 4 << 20),
        "to prevent flooding queue://Q. See \
         http://activemq.apache.org/producer-flow-control.html for more info",
    );
    assert!(text.starts_with(&start) && text.ends_with(end), "{text}");

    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..confirmed).await;
    drain.expect_end().await;
    Sender::start(&broker, "Q").await.succeed_at_last().await;
}

#[tokio::test]
async fn one_of_several_stores_has_a_limit_of_its_own() {
    let elements = r#"<persistenceAdapter><mKahaDB directory="${activemq.data}/mkahadb">
        <filteredPersistenceAdapters>
          <filteredKahaDB queue="Q">
            <usage><storeUsage limit="4mb"/></usage>
            <persistenceAdapter><kahaDB journalMaxFileLength="1mb" checkpointInterval="200"
                                        cleanupInterval="200"/></persistenceAdapter>
          </filteredKahaDB>
          <filteredKahaDB><persistenceAdapter><kahaDB/></persistenceAdapter></filteredKahaDB>
        </filteredPersistenceAdapters></mKahaDB></persistenceAdapter>"#;
    let broker = Broker::start_persistent(elements);
    let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
    let text = format!("Persistent store is Full, 100% of {}", 4 << 20);
    until(&broker, "a full store", || broker.log().contains(&text)).await;
    assert!(flood.answered() < COUNT - UNDER_WAY);
    Flood::start(&broker, "P", COUNT, BYTES, true).await.succeed().await;
    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..COUNT).await;
    flood.succeed().await;
    drain.expect_end().await;
}

/// Files of the temporary store.
fn temp_files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn temp_folder(broker: &Broker) -> std::path::PathBuf {
    broker.data().join("localhost/tmp_storage")
}

const ONE_MB: &str = r#"<destinationPolicy><policyMap><policyEntries>
    <policyEntry queue=">" memoryLimit="1mb"/></policyEntries></policyMap></destinationPolicy>"#;

#[tokio::test]
async fn non_persistent_messages_without_memory_come_back_in_order() {
    let broker = Broker::start_persistent(&format!("{ONE_MB}{}", limited("<systemUsage/>")));
    Flood::start(&broker, "Q", 50_000, 1000, false).await.succeed().await;
    assert!(temp_files(&temp_folder(&broker)) > 0);
    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..50_000).await;
    drain.expect_end().await;
    until(&broker, "an empty folder", || temp_files(&temp_folder(&broker)) == 0).await;
}

#[tokio::test]
async fn a_full_temporary_store_holds_non_persistent_producers_back() {
    let usage = r#"<systemUsage><tempUsage><tempUsage limit="4mb"/></tempUsage></systemUsage>"#;
    let broker = Broker::start_persistent(&format!("{ONE_MB}{}", limited(usage)));
    let flood = Flood::start(&broker, "Q", 20_000, 1000, false).await;
    let text = format!("% of {}). Stopping producer", 4 << 20);
    let is_full = |line: &str| line.contains("Temp Store is Full (") && line.contains(&text);
    until(&broker, "a full temporary store", || broker.log().lines().any(is_full)).await;
    assert!(flood.answered() < 20_000 - UNDER_WAY);
    Flood::start(&broker, "P", 100, 1000, true).await.succeed().await;
    let mut drain = Drain::start(&broker, "Q").await;
    drain.expect(0..20_000).await;
    flood.succeed().await;
    drain.expect_end().await;
}
