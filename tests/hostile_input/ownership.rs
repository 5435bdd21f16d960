//! Commands that name what belongs to another connection: no effect on its owner.

use super::harness::{Broker, Peer, acknowledgement, body};
use super::order::{ILLEGAL_STATE, JMS, assert_refused};
use broker::jms::info::{
    ConsumerInfo, DestinationInfo, ObjectId, ProducerInfo, RemoveInfo, RemoveSubscriptionInfo,
};
use broker::jms::{
    ConnectionId, Destination, DestinationKind, MessagePull, ProducerId, TransactionId,
};
use broker::protocol::openwire::command::{ConsumerControl, SessionInfo, TransactionInfo};

fn remove(object_id: ObjectId) -> RemoveInfo {
    RemoveInfo { object_id: Some(object_id), ..RemoveInfo::default() }
}

#[test]
fn acknowledgement_for_the_consumer_of_another_connection_is_ignored() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut owner = broker.client("owner");
    let producer = owner.producer();
    owner.consumer(queue.clone(), 10);
    owner.publish(&producer, &queue, "x");
    let dispatch = owner.next_dispatch();
    let mut stranger = broker.client("stranger");
    for ack_type in 0..=6 {
        let mut ack = acknowledgement(&dispatch);
        ack.ack_type = ack_type;
        stranger.request(Box::new(ack)).unwrap();
    }
    // Were it gone, this would be refused.
    owner.acknowledge(&dispatch).unwrap();
}

#[test]
fn objects_of_another_connection_cannot_be_removed() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut owner = broker.client("owner");
    let producer = owner.producer();
    let consumer = owner.consumer(queue.clone(), 10);
    let mut stranger = broker.client("stranger");
    for object in [
        ObjectId::Consumer(consumer),
        ObjectId::Producer(producer.clone()),
        ObjectId::Session(owner.session(1)),
    ] {
        let text = "that had not been registered";
        assert_refused(stranger.request(remove(object)), ILLEGAL_STATE, text);
    }
    stranger.request(remove(ObjectId::Connection(owner.connection_id()))).unwrap();
    owner.publish(&producer, &queue, "x");
    assert_eq!(owner.next_body(), "x");
}

#[test]
fn objects_cannot_be_added_to_another_connection() {
    let broker = Broker::start();
    let mut owner = broker.client("owner");
    let mut stranger = broker.client("stranger");
    let info = owner.consumer_info(Destination::queue("Q"), 10);
    let text = "Cannot add a consumer to a connection that had not been registered: owner";
    assert_refused(stranger.request(Box::new(info)), ILLEGAL_STATE, text);
    let info = owner.producer_info();
    let text = "Cannot add a producer to a connection that had not been registered: owner";
    assert_refused(stranger.request(info), ILLEGAL_STATE, text);
    let session_id = Some(owner.session(5));
    stranger.request(SessionInfo { session_id, ..SessionInfo::default() }).unwrap();
    let producer_id = Some(ProducerId { connection: Some("owner".into()), session: 5, value: 1 });
    let info = ProducerInfo { producer_id, ..ProducerInfo::default() };
    assert_refused(owner.request(info), ILLEGAL_STATE, "a session that had not been registered");
}

#[test]
fn producer_of_another_connection_cannot_be_used() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut owner = broker.client("owner");
    let producer = owner.producer();
    let mut stranger = broker.client("stranger");
    let message = stranger.message(&producer, &queue, "forged");
    assert_refused(stranger.request(message), JMS, "with invalid (null) producer state");
}

/// A message goes to `honest` only if `asked`, whose consumer has no prefetch, is not served before.
fn assert_not_served(owner: &mut Peer, honest: &mut Peer, queue: &Destination) {
    let producer = owner.producer();
    owner.publish(&producer, queue, "x");
    honest.consumer(queue.clone(), 10);
    assert_eq!(honest.next_body(), "x");
}

#[test]
fn pull_for_the_consumer_of_another_connection_is_ignored() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let (mut owner, mut stranger) = (broker.client("owner"), broker.client("stranger"));
    let consumer_id = Some(owner.consumer(queue.clone(), 0));
    let destination = Some(queue.clone());
    let pull = MessagePull { consumer_id, destination, ..MessagePull::default() };
    stranger.request(Box::new(pull)).unwrap();
    assert_not_served(&mut owner, &mut stranger, &queue);
}

#[test]
fn control_of_the_consumer_of_another_connection_is_ignored() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let (mut owner, mut stranger) = (broker.client("owner"), broker.client("stranger"));
    let consumer_id = Some(owner.consumer(queue.clone(), 0));
    let control = ConsumerControl { consumer_id, prefetch: 10, ..ConsumerControl::default() };
    stranger.request(control.clone()).unwrap();
    stranger.request(ConsumerControl { close: true, ..control }).unwrap();
    assert_not_served(&mut owner, &mut stranger, &queue);
}

#[test]
fn local_transaction_of_another_connection_cannot_be_ended() {
    let broker = Broker::start();
    let queue = Destination::queue("Q");
    let mut owner = broker.client("owner");
    let producer = owner.producer();
    let local = TransactionId::Local { value: 1, connection: Some(owner.connection_id()) };
    let transaction = |connection: &ConnectionId, kind| TransactionInfo {
        connection_id: Some(connection.clone()),
        transaction_id: Some(local.clone()),
        kind,
        ..TransactionInfo::default()
    };
    owner.request(transaction(&owner.connection_id(), 0)).unwrap();
    let mut message = owner.message(&producer, &queue, "x");
    message.transaction_id = Some(local.clone());
    owner.request(message).unwrap();

    let mut stranger = broker.client("stranger");
    for kind in [2, 4] {
        let text = "that had not been registered: owner";
        let refusal = stranger.request(transaction(&owner.connection_id(), kind));
        assert_refused(refusal, ILLEGAL_STATE, text);
        let text = "Transaction 'TX:owner:1' has not been started.";
        let refusal = stranger.request(transaction(&stranger.connection_id(), kind));
        assert_refused(refusal, JMS, text);
    }
    owner.request(transaction(&owner.connection_id(), 2)).unwrap();
    owner.consumer(queue, 10);
    assert_eq!(owner.next_body(), "x");
}

#[test]
fn durable_subscription_of_another_client_cannot_be_deleted() {
    let broker = Broker::start();
    let topic = Destination::topic("T");
    let mut owner = broker.client("owner");
    let producer = owner.producer();
    let info = owner.consumer_info(topic.clone(), 100);
    let info = ConsumerInfo { subscription_name: Some("s".into()), ..info };
    owner.request(Box::new(info.clone())).unwrap();
    owner.request(remove(ObjectId::Consumer(info.consumer_id.clone().unwrap()))).unwrap();

    let mut stranger = broker.client("stranger");
    let forget = RemoveSubscriptionInfo {
        connection_id: Some(stranger.connection_id()),
        client_id: Some("owner".into()),
        subscription_name: Some("s".into()),
        ..RemoveSubscriptionInfo::default()
    };
    let class = "javax.jms.InvalidDestinationException";
    assert_refused(stranger.request(forget), class, "No durable subscription exists");
    owner.publish(&producer, &topic, "kept");
    owner.request(Box::new(info)).unwrap();
    assert_eq!(owner.next_body(), "kept");
}

#[test]
fn temporary_destination_of_another_connection_cannot_be_consumed_or_removed() {
    let broker = Broker::start();
    let mut owner = broker.client("owner");
    let mut stranger = broker.client("stranger");
    let class = "javax.jms.InvalidDestinationException";
    for kind in [DestinationKind::TempQueue, DestinationKind::TempTopic] {
        let temporary = Destination::new(kind, Some("owner:1".into()));
        let manage = |by: &Peer, operation_type| DestinationInfo {
            connection_id: Some(by.connection_id()),
            destination: Some(temporary.clone()),
            operation_type,
            ..DestinationInfo::default()
        };
        owner.request(manage(&owner, 0)).unwrap();
        let composite = format!("owner:1,{}://owner:1", kind.prefix());
        for name in ["owner:1", &composite] {
            let wanted = Destination::new(kind, Some(name.into()));
            let info = stranger.consumer_info(wanted, 10);
            let text = "Cannot use a temporary destination of another connection";
            assert_refused(stranger.request(Box::new(info)), class, text);
        }
        let hidden = Destination::queue(format!("Q,{temporary}"));
        let info = stranger.consumer_info(hidden, 10);
        assert!(stranger.request(Box::new(info)).is_err());
        assert!(stranger.request(manage(&stranger, 1)).is_err());

        // Requests are answered by sending to it, which everybody may.
        owner.consumer(temporary.clone(), 10);
        let producer = stranger.producer();
        stranger.publish(&producer, &temporary, "answer");
        let dispatch = owner.next_dispatch();
        assert_eq!(body(&dispatch), "answer");
    }
}

#[test]
fn connection_id_that_begins_another_one_owns_nothing_of_it() {
    let broker = Broker::start();
    let mut owner = broker.client("ID:host-1:1");
    let temporary = Destination::new(DestinationKind::TempQueue, Some("ID:host-1:1:1".into()));
    owner.consumer(temporary.clone(), 10);
    let mut stranger = broker.client("ID:host-1");
    let info = stranger.consumer_info(temporary, 10);
    let class = "javax.jms.InvalidDestinationException";
    assert_refused(stranger.request(Box::new(info)), class, "of another connection");
}

#[test]
fn pattern_does_not_reach_temporary_destinations_of_another_connection() {
    let broker = Broker::start();
    let mut owner = broker.client("owner");
    let temporary = Destination::new(DestinationKind::TempQueue, Some("owner:1".into()));
    owner
        .request(DestinationInfo {
            connection_id: Some(owner.connection_id()),
            destination: Some(temporary.clone()),
            ..DestinationInfo::default()
        })
        .unwrap();
    let mut stranger = broker.client("stranger");
    stranger.consumer(Destination::queue(">"), 10);
    let pattern = Destination::new(DestinationKind::TempQueue, Some(">".into()));
    let info = stranger.consumer_info(pattern, 10);
    let class = "javax.jms.InvalidDestinationException";
    assert_refused(stranger.request(Box::new(info)), class, "of another connection");
    let producer = owner.producer();
    owner.publish(&producer, &temporary, "private");
    owner.consumer(temporary, 10);
    assert_eq!(owner.next_body(), "private");
}
