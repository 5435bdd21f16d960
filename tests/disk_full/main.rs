//! A full disk, and limits of store and temporary store that are reached: producers wait or are
//! told, consumers go on, nothing that was confirmed is lost, and all goes on when there is space.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod clients;
mod disk;
#[path = "../harness/mod.rs"]
mod harness;
mod limits;

use broker::client::ClientError;
use clients::{Commits, Drain, Flood, Sender, UNDER_WAY, until};
use disk::{Disk, with_disk};
use harness::Broker;
use std::fs;
use std::future::Future;
use std::process::Command;

/// Messages of 10 KB: several journal files.
const COUNT: usize = 600;
const BYTES: usize = 10_000;

/// A store with small files on `disk`, and what else `<broker>` has.
fn store_on(disk: &Disk, elements: &str) -> String {
    let folder = disk.path().join("kahadb");
    format!(
        r#"<persistenceAdapter>
             <kahaDB directory="{}" journalMaxFileLength="1mb" checkpointInterval="200"
                     cleanupInterval="200"/>
           </persistenceAdapter>{elements}"#,
        folder.display()
    )
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// The index has taken its first space.
async fn index_is_there(broker: &Broker, disk: &Disk) {
    let data = disk.path().join("kahadb/db.data");
    until(broker, "an index", || fs::metadata(&data).is_ok_and(|meta| meta.len() > 0)).await;
}

/// The disk is full, and what an attempt to write an index gives back goes, too.
async fn full_without_index(broker: &Broker, disk: &Disk) {
    until(broker, "a full disk", || {
        disk.fill();
        is_full(broker)
    })
    .await;
}

fn is_full(broker: &Broker) -> bool {
    broker.log().contains("no space for the journal")
}

#[test]
fn producers_wait_on_a_full_disk_until_consumers_have_made_room() {
    let name = "producers_wait_on_a_full_disk_until_consumers_have_made_room";
    with_disk(name, 64, |disk| {
        run(async {
            let mut broker = Broker::start_persistent(&store_on(disk, ""));
            // One message that nobody consumes must not keep its file, when there is no other room.
            Sender::start(&broker, "A").await.send(0).await.unwrap();
            index_is_there(&broker, disk).await;

            disk.fill();
            let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
            until(&broker, "a full disk", || is_full(&broker)).await;
            assert!(flood.answered() < COUNT - UNDER_WAY);
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(0..COUNT).await;
            flood.succeed().await;
            drain.expect_end().await;
            broker.assert_healthy();
        });
    });
}

#[test]
fn producers_wait_on_a_full_disk_until_somebody_frees_it() {
    with_disk("producers_wait_on_a_full_disk_until_somebody_frees_it", 64, |disk| {
        run(async {
            let broker = Broker::start_persistent(&store_on(disk, ""));
            disk.fill(); // before there is an index: no checkpoint can be written either
            let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
            full_without_index(&broker, disk).await;
            assert!(flood.answered() < COUNT - UNDER_WAY);
            disk.free();
            flood.succeed().await;
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(0..COUNT).await;
            drain.expect_end().await;
        });
    });
}

#[test]
fn what_goes_to_several_destinations_waits_on_a_full_disk_until_somebody_frees_it() {
    let name = "what_goes_to_several_destinations_waits_on_a_full_disk_until_somebody_frees_it";
    with_disk(name, 64, |disk| {
        run(async {
            let broker = Broker::start_persistent(&store_on(disk, ""));
            disk.fill();
            let copies = Flood::start(&broker, "P,Q", COUNT, BYTES, true).await;
            let commits = Commits::start(&broker, COUNT, BYTES).await;
            full_without_index(&broker, disk).await;
            disk.free();
            copies.succeed().await;
            commits.succeed().await;
            for queue in ["P", "Q"] {
                let mut drain = Drain::start(&broker, queue).await;
                drain.expect(0..COUNT).await;
                drain.expect_end().await;
            }
        });
    });
}

#[test]
fn producers_wait_for_the_one_of_several_stores_whose_disk_is_full() {
    with_disk("producers_wait_for_the_one_of_several_stores_whose_disk_is_full", 64, |disk| {
        run(async {
            let folder = disk.path().join("kahadb");
            let elements = format!(
                r#"<persistenceAdapter><mKahaDB directory="${{activemq.data}}/mkahadb">
                     <filteredPersistenceAdapters>
                       <filteredKahaDB queue="Q"><persistenceAdapter>
                         <kahaDB directory="{}" journalMaxFileLength="1mb"/>
                       </persistenceAdapter></filteredKahaDB>
                     </filteredPersistenceAdapters></mKahaDB></persistenceAdapter>"#,
                folder.display()
            );
            let broker = Broker::start_persistent(&elements);
            disk.fill();
            let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
            full_without_index(&broker, disk).await;
            assert!(flood.answered() < COUNT - UNDER_WAY);
            Flood::start(&broker, "P", COUNT, BYTES, true).await.succeed().await;
            disk.free();
            flood.succeed().await;
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(0..COUNT).await;
            drain.expect_end().await;
        });
    });
}

#[test]
fn connectors_stop_and_start_with_the_space_of_the_store_if_they_are_to() {
    let name = "connectors_stop_and_start_with_the_space_of_the_store_if_they_are_to";
    with_disk(name, 64, |disk| {
        run(async {
            let handler = r#"<ioExceptionHandler>
                <defaultIOExceptionHandler ignoreNoSpaceErrors="false" stopStartConnectors="true"
                                           resumeCheckSleepPeriod="50"/></ioExceptionHandler>"#;
            let mut broker = Broker::start_persistent(&store_on(disk, handler));
            disk.fill();
            let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
            let stopped = "Successfully stopped transports on localhost";
            until(&broker, "no connectors", || {
                disk.fill();
                broker.log().contains(stopped)
            })
            .await;
            let confirmed = flood.confirmed_until_cut().await;
            assert!(std::net::TcpStream::connect(broker.address()).is_err());
            disk.free();
            let restarted = "Successfully restarted transports on localhost";
            until(&broker, "connectors again", || broker.log().contains(restarted)).await;
            broker.assert_healthy();
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(0..confirmed).await;
        });
    });
}

/// The disk does not fail, but something is in the place of a file that is needed: first of one of the journal,
/// then, for the start, of the folder of the temp store.
#[test]
fn a_store_that_failed_is_opened_again_until_it_works_if_all_errors_are_to_be_ignored() {
    run(async {
        let elements = r#"<persistenceAdapter>
              <kahaDB directory="${activemq.data}/kahadb" journalMaxFileLength="1mb"/>
            </persistenceAdapter>
            <ioExceptionHandler>
              <defaultIOExceptionHandler ignoreAllErrors="true" resumeCheckSleepPeriod="50"/>
            </ioExceptionHandler>"#;
        let mut broker = Broker::start_persistent(elements);
        fs::create_dir(broker.data().join("kahadb/db-4.log")).unwrap();
        let obstacle = broker.data().join("localhost");
        fs::write(&obstacle, "").unwrap();
        let flood = Flood::start(&broker, "Q", COUNT, BYTES, true).await;
        let confirmed = flood.confirmed_until_cut().await;
        assert!((1..COUNT).contains(&confirmed), "{confirmed}");
        let failed = |log: String| log.matches("Failed to start").count() >= 2;
        until(&broker, "a second failure", || failed(broker.log())).await;
        fs::remove_file(&obstacle).unwrap();
        broker.await_restart();
        let mut drain = Drain::start(&broker, "Q").await;
        drain.expect(0..confirmed).await;
        broker.assert_healthy();
    });
}

#[test]
fn what_was_confirmed_survives_restarts_on_a_full_disk() {
    with_disk("what_was_confirmed_survives_restarts_on_a_full_disk", 64, |disk| {
        run(async {
            let usage = r#"<systemUsage><systemUsage sendFailIfNoSpace="true"/></systemUsage>"#;
            let mut broker = Broker::start_persistent(&store_on(disk, usage));
            Sender::start(&broker, "A").await.send(0).await.unwrap();
            index_is_there(&broker, disk).await;
            disk.fill();

            let outcomes = Flood::start(&broker, "Q", COUNT, BYTES, true).await.end().await;
            let confirmed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert!(outcomes[..confirmed].iter().all(Result::is_ok), "then there was no space");
            assert!(confirmed > 20, "{confirmed}");
            let told = outcomes.into_iter().find_map(Result::err).expect("a refusal");
            assert!(is_no_space(&told), "{told}");

            // Consumers go on, before and after a stop and a kill.
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(0..10).await;
            drain.close().await;
            assert_eq!(broker.stop(), Some(0), "{}", broker.log());
            broker.restart();
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(10..20).await;
            drain.close().await;
            broker.kill9();
            verify(disk);
            broker.restart();
            let mut again = Sender::start(&broker, "Q").await;
            let mut drain = Drain::start(&broker, "Q").await;
            drain.expect(20..confirmed).await;
            drain.expect_end().await;

            disk.free();
            again.succeed_at_last().await;
            broker.assert_healthy();
        });
    });
}

fn is_no_space(error: &ClientError) -> bool {
    let class = "javax.jms.ResourceAllocationException";
    matches!(error, ClientError::Refused { class: told, .. } if **told == *class)
}

/// Nothing in the store of a broker that has ended is damaged.
fn verify(disk: &Disk) {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_broker"));
    verify.args(["store", "verify", "--directory"]).arg(disk.path().join("kahadb"));
    let output = verify.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
