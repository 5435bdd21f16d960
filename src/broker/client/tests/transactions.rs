//! Section 12: transactions.

use super::*;
use crate::broker::PreparedFate;
use crate::jms::XaId;
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::store::{PreparedBranch, Recovered};
use std::collections::BTreeSet;

const XAER_NOTA: i32 = -4;
const XAER_PROTO: i32 = -6;

pub(super) fn local(connection: &str, value: i64) -> TransactionId {
    TransactionId::Local { value, connection: Some(ConnectionId::new(connection)) }
}

pub(super) fn branch(number: i32) -> TransactionId {
    TransactionId::Xa(Arc::new(XaId { format_id: number, ..XaId::default() }))
}

fn queue() -> Destination {
    Destination::queue("Q")
}

impl Peer {
    /// Sends its next message in a transaction.
    pub(super) async fn send_in(&mut self, id: &TransactionId) -> Result<(), BrokerError> {
        let message = self.message(&queue());
        self.send_message(Message { transaction_id: Some(id.clone()), ..message }).await
    }

    pub(super) async fn commit(
        &mut self,
        id: &TransactionId,
        two_phase: bool,
    ) -> Result<(), BrokerError> {
        let (sender, told) = oneshot::channel();
        let tell = move |result| sender.send(result).unwrap_or_default();
        let mut receipt = Some(Receipt::telling(tell));
        self.client.commit(id, two_phase, &mut receipt).await?;
        told.await.expect("every commit is answered")
    }

    pub(super) async fn roll_back(&mut self, id: &TransactionId) -> Result<(), BrokerError> {
        self.client.rollback(id, &mut None).await
    }
}

fn code(result: Result<(), BrokerError>) -> Option<i32> {
    match result {
        Err(BrokerError::Xa { code, .. }) => Some(code),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_sent_comes_with_the_commit_in_the_order_of_commits() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&queue()).await.expect("it is let in");
    let (first, second) = (local("c", 1), local("c", 2));
    for id in [&first, &second] {
        peer.client.begin(id.clone()).expect("no limit");
        peer.send_in(id).await.expect("there is room");
    }
    peer.has_no_more(&broker).await;
    peer.commit(&second, false).await.expect("it is open");
    peer.commit(&first, false).await.expect("it is open");
    assert_eq!(peer.takes_numbers(2).await, [2, 1]);
}

#[tokio::test]
async fn what_is_rolled_back_never_comes() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&queue()).await.expect("it is let in");
    for id in [local("c", 1), branch(1)] {
        peer.client.begin(id.clone()).expect("no limit");
        peer.send_in(&id).await.expect("there is room");
        peer.roll_back(&id).await.expect("it is open");
        peer.has_no_more(&broker).await;
    }
}

#[tokio::test]
async fn a_repeated_begin_changes_nothing_and_what_has_ended_is_unknown() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&queue()).await.expect("it is let in");
    let id = local("c", 7);
    peer.client.begin(id.clone()).expect("no limit");
    peer.send_in(&id).await.expect("there is room");
    peer.client.begin(id.clone()).expect("it is open already");
    peer.commit(&id, false).await.expect("it is open");
    assert_eq!(peer.takes_numbers(1).await, [1]);
    let unknown = "Transaction 'TX:c:7' has not been started.";
    for ended in [peer.commit(&id, false).await, peer.roll_back(&id).await, peer.send_in(&id).await]
    {
        assert_eq!(ended.expect_err("it has ended").to_string(), unknown);
    }
    let prepared = peer.client.prepare(&id).await.expect_err("it is no branch").to_string();
    assert!(prepared.starts_with("Cannot prepare a transaction that had not been started or "));
    assert!(prepared.ends_with("previously returned XA_RDONLY: TX:c:7"), "{prepared}");
}

/// Section 9: nothing gives it its time back.
#[tokio::test]
async fn what_a_client_found_expired_is_not_taken_back_by_its_transaction() {
    let broker = broker_with(|_| {}).await;
    let mut watcher = Peer::connect(&broker, "watcher").await;
    watcher.consume(&Destination::queue("ActiveMQ.DLQ")).await.expect("it is let in");
    let mut peer = Peer::connect(&broker, "c").await;
    let id = local("c", 1);
    let (queue, topic) = (Destination::queue("Q"), Destination::topic("T"));
    peer.consume(&queue).await.expect("it is let in");
    peer.subscribe(&topic, "s", None).await.expect("it is new");
    for (to, dead) in [(queue, 1), (topic, 3)] {
        for _ in 0..2 {
            let message = Message { persistent: true, ..peer.message(&to) };
            peer.send_message(message).await.expect("there is room");
        }
        let got = peer.deliveries(2).await;
        peer.client.begin(id.clone()).expect("no limit");
        peer.acknowledge(AckKind::Expired, &got[..1], Some(&id)).await.expect("it is held");
        peer.acknowledge(AckKind::Standard, &got[1..], Some(&id)).await.expect("it is held");
        peer.roll_back(&id).await.expect("it is open");
        assert_eq!(watcher.takes_numbers(1).await, [dead]);
        peer.acknowledge(AckKind::Standard, &got[1..], None).await.expect("it is held still");
    }
}

#[tokio::test]
async fn a_local_transaction_is_its_connections() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let mut other = Peer::connect(&broker, "d").await;
    let id = local("c", 1);
    peer.client.begin(id.clone()).expect("no limit");
    other.commit(&id, false).await.expect_err("it is another's");
    other.roll_back(&id).await.expect_err("it is another's");
    peer.commit(&id, false).await.expect("it is open still");
}

#[tokio::test]
async fn an_empty_branch_is_read_only_and_forgotten() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let id = branch(1);
    peer.client.begin(id.clone()).expect("no limit");
    assert_eq!(peer.client.prepare(&id).await, Ok(3));
    assert_eq!(code(peer.commit(&id, true).await), Some(XAER_NOTA));
}

#[tokio::test]
async fn a_branch_is_prepared_before_its_second_phase_and_any_number_of_times() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&queue()).await.expect("it is let in");
    let id = branch(1);
    assert_eq!(code(peer.commit(&id, true).await), Some(XAER_NOTA));
    peer.client.begin(id.clone()).expect("no limit");
    peer.send_in(&id).await.expect("there is room");
    assert_eq!(code(peer.commit(&id, true).await), Some(XAER_PROTO));
    for _ in 0..2 {
        assert_eq!(peer.client.prepare(&id).await, Ok(0));
    }
    peer.has_no_more(&broker).await;
    peer.send_in(&id).await.expect_err("a prepared branch takes no more");
    peer.commit(&id, true).await.expect("it is prepared");
    assert_eq!(peer.takes_numbers(1).await, [1]);
}

#[tokio::test]
async fn a_branch_may_commit_in_one_phase_prepared_or_not() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&queue()).await.expect("it is let in");
    for (number, prepares) in [(1, false), (2, true)] {
        let id = branch(number);
        peer.client.begin(id.clone()).expect("no limit");
        peer.send_in(&id).await.expect("there is room");
        if prepares {
            assert_eq!(peer.client.prepare(&id).await, Ok(0));
        }
        peer.commit(&id, false).await.expect("it is open");
        assert_eq!(peer.takes_numbers(1).await, [i64::from(number)]);
    }
}

#[tokio::test]
async fn prepared_branches_outlive_their_connection_and_nothing_else_does() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let (prepared, open, own) = (branch(1), branch(2), local("c", 1));
    for id in [&prepared, &open, &own] {
        peer.client.begin(id.clone()).expect("no limit");
        peer.send_in(id).await.expect("there is room");
    }
    assert_eq!(peer.client.prepare(&prepared).await, Ok(0));
    peer.client.close(-2).await;
    let mut other = Peer::connect(&broker, "d").await;
    other.consume(&queue()).await.expect("it is let in");
    let waiting: BTreeSet<i32> = other.client.recover().iter().map(|id| id.format_id).collect();
    assert_eq!(waiting, BTreeSet::from([1]));
    assert_eq!(code(other.commit(&open, false).await), Some(XAER_NOTA));
    other.commit(&prepared, true).await.expect("it waits for that");
    assert_eq!(other.takes_numbers(1).await, [1]);
    other.has_no_more(&broker).await;
}

#[tokio::test]
async fn what_failed_without_an_answer_makes_the_commit_fail_unless_that_is_switched_off() {
    for marks in [true, false] {
        let broker = broker_with(|options| options.rollback_only_on_async_failure = marks).await;
        let mut peer = Peer::connect(&broker, "c").await;
        peer.consume(&queue()).await.expect("it is let in");
        let id = local("c", 1);
        peer.client.begin(id.clone()).expect("no limit");
        peer.send_in(&id).await.expect("there is room");
        peer.client.mark_rollback_only(&id, &BrokerError::DestinationNameEmpty);
        let committed = peer.commit(&id, false).await;
        assert_eq!(committed.is_err(), marks);
        match committed {
            Ok(()) => assert_eq!(peer.takes_numbers(1).await, [1]),
            Err(error) => {
                let text = "Transaction 'TX:c:1' has been marked rollback only: ";
                assert!(error.to_string().starts_with(text), "{error}");
                peer.has_no_more(&broker).await;
            }
        }
    }
}

/// With `purgeRecoveredXATransactionStrategy`.
#[tokio::test]
async fn a_branch_prepared_before_the_restart_waits_or_ends_as_configured() {
    for fate in [PreparedFate::Wait, PreparedFate::Commit, PreparedFate::RollBack] {
        let branch_of_old = Arc::new(XaId { format_id: 1, ..XaId::default() });
        let message = Message { destination: Some(queue()), ..fixture::message("gone", 7) };
        let prepared = vec![PreparedBranch {
            xid: Arc::clone(&branch_of_old),
            sends: vec![(queue(), Arc::new(message))],
            removals: Vec::new(),
            acknowledgements: Vec::new(),
        }];
        let recovered = Recovered { prepared, ..Recovered::default() };
        let options = BrokerOptions { prepared_fate: fate, ..broker::options() };
        let broker = broker::restart(options, recovered).await;
        let mut peer = Peer::connect(&broker, "c").await;
        peer.consume(&queue()).await.expect("it is let in");
        let waits = fate == PreparedFate::Wait;
        assert_eq!(peer.client.recover().len(), usize::from(waits), "{fate:?}");
        if waits {
            peer.has_no_more(&broker).await;
            peer.commit(&branch(1), true).await.expect("it waits for that");
        }
        if fate != PreparedFate::RollBack {
            assert_eq!(peer.takes_numbers(1).await, [7], "{fate:?}");
        }
        peer.has_no_more(&broker).await;
    }
}

/// `message` with a delay of 1 ms.
fn delayed(message: Message) -> Message {
    let delay = ("AMQ_SCHEDULED_DELAY".into(), PropertyValue::Long(1));
    let properties: PropertyMap = [delay].into_iter().collect();
    Message { properties: properties.encode().ok(), ..message }
}

#[tokio::test]
async fn delayed_messages_are_scheduled_at_the_commit_and_for_each_part_of_a_composite_name() {
    let broker = broker_with(|options| options.scheduler.is_active = true).await;
    let mut peer = Peer::connect(&broker, "c").await;
    for name in ["A", "B"] {
        peer.consume(&Destination::queue(name)).await.expect("it is let in");
    }
    let both = Destination::queue("A,B");
    let id = local("c", 1);
    peer.client.begin(id.clone()).expect("no limit");
    let message = delayed(peer.message(&both));
    let message = Message { transaction_id: Some(id.clone()), ..message };
    peer.send_message(message).await.expect("it is kept");
    tokio::time::sleep(Duration::from_millis(20)).await;
    peer.has_no_more(&broker).await;
    peer.commit(&id, false).await.expect("it is open");
    let mut reached = Vec::new();
    for _ in 0..2 {
        let message = peer.takes().await;
        reached.push(message.destination.as_ref().map(ToString::to_string).unwrap_or_default());
    }
    reached.sort();
    assert_eq!(reached, ["queue://A", "queue://B"]);
}

#[tokio::test]
async fn a_topic_message_that_expires_before_the_commit_is_not_delivered() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let topic = Destination::topic("T");
    peer.consume(&topic).await.expect("it is let in");
    let id = local("c", 1);
    peer.client.begin(id.clone()).expect("no limit");
    for expiration in [1, i64::MAX] {
        let message = peer.message(&topic);
        let message = Message { expiration, transaction_id: Some(id.clone()), ..message };
        peer.send_message(message).await.expect("there is room");
    }
    peer.commit(&id, false).await.expect("it is open");
    let came = peer.takes().await;
    assert_eq!(came.expiration, i64::MAX, "the broker does not change it");
    peer.has_no_more(&broker).await;
}
