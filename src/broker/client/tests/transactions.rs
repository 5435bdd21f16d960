//! Section 12: transactions.

use super::*;
use crate::jms::{TransactionId, XaId};
use std::collections::BTreeSet;

const XAER_NOTA: i32 = -4;
const XAER_PROTO: i32 = -6;

fn local(connection: &str, value: i64) -> TransactionId {
    TransactionId::Local { value, connection: Some(ConnectionId::new(connection)) }
}

fn branch(number: i32) -> TransactionId {
    TransactionId::Xa(Arc::new(XaId { format_id: number, ..XaId::default() }))
}

fn queue() -> Destination {
    Destination::queue("Q")
}

impl Peer {
    /// Sends its next message in a transaction.
    async fn send_in(&mut self, id: &TransactionId) -> Result<(), BrokerError> {
        let message = self.message(&queue());
        self.send_message(Message { transaction_id: Some(id.clone()), ..message }).await
    }

    async fn commit(&mut self, id: &TransactionId, two_phase: bool) -> Result<(), BrokerError> {
        let (sender, told) = oneshot::channel();
        let tell = move |result| sender.send(result).unwrap_or_default();
        let mut receipt = Some(Receipt::telling(tell));
        self.client.commit(id, two_phase, &mut receipt).await?;
        told.await.expect("every commit is answered")
    }

    async fn roll_back(&mut self, id: &TransactionId) -> Result<(), BrokerError> {
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
    assert_eq!(prepared, "Cannot prepare a transaction that had not been started: TX:c:7");
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
