//! Section 1.2 and 19.1: who is let in.

use super::*;
use crate::broker::UserId;
use crate::security::{Authenticator, SimpleAuthentication};

async fn admitted(
    broker: &Arc<Broker>,
    name: &'static str,
    info: ConnectionInfo,
) -> Result<Peer, BrokerError> {
    Peer::admitted(broker, name, info, transport()).await
}

#[tokio::test]
async fn a_connection_needs_a_client_id() {
    let broker = broker_with(|_| {}).await;
    let refused = admitted(&broker, "c", introduction("c", None)).await.err();
    assert_eq!(refused, Some(BrokerError::ClientIdMissing));
}

#[tokio::test]
async fn a_client_id_in_use_is_refused_until_its_connection_is_gone() {
    let broker = broker_with(|_| {}).await;
    let mut first = Peer::connect(&broker, "same").await;
    let refused = admitted(&broker, "other", introduction("other", Some("same"))).await.err();
    let text = refused.expect("two have one id").to_string();
    assert_eq!(text, "Broker: test - Client: same already connected from tcp://peer");
    first.client.close(-2).await;
    admitted(&broker, "other", introduction("other", Some("same"))).await.expect("it is free");
}

/// Where links are stolen, and everywhere when it is the same connection that comes again.
#[tokio::test]
async fn an_older_connection_makes_way_once_it_is_cleaned_up() {
    for (connection, steals) in [("second", true), ("first", false)] {
        let broker = broker_with(|_| {}).await;
        let way = transport();
        let info = introduction("first", Some("same"));
        let mut first = Peer::admitted(&broker, "first", info, way.clone()).await.expect("free");
        let info = introduction(connection, Some("same"));
        let late = Transport { allow_link_stealing: steals, ..transport() };
        let second = Peer::admitted(&broker, connection, info, late);
        let both = async {
            way.stop.notified().await;
            first.client.close(-2).await;
        };
        let (second, ()) = tokio::join!(second, both);
        second.expect("the first is gone");
        assert_eq!(broker.registry.connections().len(), 1);
    }
}

#[tokio::test]
async fn a_login_needs_its_password_and_nobody_may_be_somebody() {
    let users = || [("user".into(), "secret".into())];
    for anonymous in [None, Some("nobody")] {
        let broker = broker_with(|options| {
            let known = SimpleAuthentication::new(users(), anonymous.map(Into::into));
            options.authenticator.set(Arc::new(Authenticator::Simple(known)));
        })
        .await;
        let login = |user: Option<&str>, password: Option<&str>| ConnectionInfo {
            user_name: user.map(Into::into),
            password: password.map(Into::into),
            ..introduction("c", Some("c"))
        };
        let wrong = admitted(&broker, "c", login(Some("user"), Some("guess"))).await.err();
        let text = wrong.expect("it is wrong").to_string();
        assert_eq!(text, "User name [user] or password is invalid.");
        assert!(admitted(&broker, "c", login(Some("user"), None)).await.is_err());
        let without = admitted(&broker, "c", login(None, None)).await;
        assert_eq!(without.is_ok(), anonymous.is_some());
        if let Ok(mut peer) = without {
            peer.client.close(-1).await;
        }
        admitted(&broker, "c", login(Some("user"), Some("secret"))).await.expect("it is right");
    }
}

#[tokio::test]
async fn what_a_lost_connection_had_is_gone() {
    let broker = broker_with(|_| {}).await;
    let mut lost = Peer::connect(&broker, "lost").await;
    let (queue, temporary) = (Destination::queue("Q"), destinations::temporary("lost"));
    lost.create(&temporary).await.expect("it is its own");
    lost.consume(&queue).await.expect("it is let in");
    let mut other = Peer::connect(&broker, "other").await;
    other.send(&queue).await.expect("there is room");
    assert_eq!(lost.takes_numbers(1).await, [1]);
    lost.client.close(-2).await;
    assert_eq!(names(&broker), ["queue://Q"]);
    assert!(broker.registry.consumers().is_empty());
    other.consume(&queue).await.expect("it is let in");
    let again = other.delivery().await;
    assert_eq!(again.redeliveries, 1, "it was dispatched before");
}

#[tokio::test]
async fn without_authentication_everybody_is_let_in() {
    let broker = broker_with(|_| {}).await;
    let info = ConnectionInfo {
        user_name: Some("anybody".into()),
        password: Some("anything".into()),
        ..introduction("c", Some("c"))
    };
    admitted(&broker, "c", info).await.expect("nobody is asked");
}

#[tokio::test]
async fn a_connection_has_so_many_producers_and_consumers_and_no_more() {
    let broker = broker_with(|_| {}).await;
    // One producer is there already.
    let narrow = Transport { producers_max: 1, consumers_max: 1, ..transport() };
    let info = introduction("c", Some("c"));
    let mut peer = Peer::admitted(&broker, "c", info, narrow).await.expect("it is let in");
    let another = ProducerInfo { producer_id: Some(peer.producer(2)), ..Default::default() };
    let refused = peer.client.add_producer(another).await.expect_err("one too many").to_string();
    assert_eq!(refused, "Can't add producer on connection c: at maximum limit: 1");
    let queue = Destination::queue("Q");
    let first = peer.consume(&queue).await.expect("one is allowed");
    peer.consume(&queue).await.expect_err("one too many");
    peer.close(&first).await;
    peer.consume(&queue).await.expect("there is none");
}

/// As after a reconnect that the broker did not notice.
#[tokio::test]
async fn what_is_opened_again_is_as_it_was() {
    let broker = broker_with(|_| {}).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let info = peer.consumer(&Destination::queue("Q"));
    for _ in 0..2 {
        peer.client
            .add_session(SessionId { connection: Some("c".into()), value: 1 })
            .expect("fine");
        peer.open(info.clone()).await.expect("it may be there");
        let producer = ProducerInfo { producer_id: Some(peer.producer(1)), ..Default::default() };
        peer.client.add_producer(producer).await.expect("it may be there");
    }
    assert_eq!((broker.registry.consumers().len(), broker.registry.producers().len()), (1, 1));
}

/// With `monitorConnectionSplits`.
#[tokio::test]
async fn a_consumer_of_a_network_goes_when_the_last_client_it_stands_for_has_come_here() {
    for monitors in [true, false] {
        let broker = broker_with(|options| options.monitors_splits = monitors).await;
        let queue = Destination::queue("Q");
        let mut bridge = Peer::connect(&broker, "bridge").await;
        let mut stands_for = async |clients: &[&str]| {
            let consumer = |client: &&str| {
                let connection = Some((*client).into());
                Some(ConsumerId { connection, session: 1, value: 1 })
            };
            let info = ConsumerInfo {
                network_subscription: true,
                network_consumer_path: Some(clients.iter().map(consumer).collect()),
                ..bridge.consumer(&queue)
            };
            bridge.open(info).await.expect("it is let in")
        };
        let of_two = stands_for(&["first", "second"]).await;
        let of_another = stands_for(&["elsewhere"]).await;
        let is_there = |consumer: &ConsumerId| {
            let consumers = broker.registry.consumers();
            consumers.iter().any(|info| info.consumer_id.as_ref() == Some(consumer))
        };
        let mut first = Peer::connect(&broker, "first").await;
        first.consume(&Destination::topic("ANY")).await.expect("it is let in");
        assert!(is_there(&of_two), "it stands for the second one still");
        let mut second = Peer::connect(&broker, "second").await;
        second.consume(&queue).await.expect("it is let in");
        assert_eq!(is_there(&of_two), !monitors);
        assert!(is_there(&of_another), "nobody came that it stands for");
        bridge.close(&of_another).await;
        for _ in 0..4 {
            first.send(&queue).await.expect("there is room");
        }
        if monitors {
            assert_eq!(second.takes_numbers(4).await, [1, 2, 3, 4]);
        }
        settled(&broker).await;
        assert_eq!(bridge.outbox.deliveries() > 0, !monitors);
    }
}

/// With `populateJMSXUserID`.
#[tokio::test]
async fn messages_carry_the_user_of_their_connection_where_that_is_wanted() {
    for (wanted, seen) in [(UserId::AsSent, "claimed"), (UserId::User, "user")] {
        let broker = broker_with(|options| options.user_id = wanted).await;
        let info =
            ConnectionInfo { user_name: Some("user".into()), ..introduction("c", Some("c")) };
        let mut peer = admitted(&broker, "c", info).await.expect("it is let in");
        let queue = Destination::queue("Q");
        peer.consume(&queue).await.expect("it is let in");
        let message = Message { user_id: Some("claimed".into()), ..peer.message(&queue) };
        peer.send_message(message).await.expect("there is room");
        assert_eq!(peer.takes().await.user_id.as_deref(), Some(seen));
    }
}
