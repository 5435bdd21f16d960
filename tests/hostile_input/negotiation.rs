//! The first frames of a connection.

use super::harness::{Broker, Peer, connection_info};
use broker::jms::Destination;
use broker::jms::properties::{PropertyMap, PropertyValue};
use broker::protocol::openwire::Command;
use broker::protocol::openwire::command::WireFormatInfo;
use broker::protocol::openwire::negotiation::Offer;

/// What the broker says after its own offer, until it closes.
fn last_words(peer: &mut Peer) -> Vec<Command> {
    let mut said = peer.closes();
    assert!(matches!(said.first(), Some(Command::WireFormatInfo(_))), "{said:?}");
    said.remove(0);
    said
}

#[test]
fn connection_info_before_wire_format_info_is_refused() {
    let mut broker = Broker::start();
    let mut peer = Peer::silent(broker.port());
    peer.ask(connection_info("c", "c"));
    assert_eq!(last_words(&mut peer), []);
    broker.assert_healthy();
}

#[test]
fn bad_magic_is_answered_and_closed() {
    let broker = Broker::start();
    let mut peer = Peer::silent(broker.port());
    let offer = Peer::offer().to_wire().unwrap();
    peer.send(WireFormatInfo { magic: *b"ActiveMX", ..offer });
    match &last_words(&mut peer)[..] {
        [Command::ExceptionResponse(refusal)] => {
            let exception = refusal.exception.as_ref().unwrap();
            assert_eq!(exception.class.as_deref(), Some("java.io.IOException"));
            let text = "Remote wire format magic is invalid";
            assert_eq!(exception.message.as_deref(), Some(text));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_below_1_are_refused() {
    let broker = Broker::start();
    for version in [0, -1, i32::MIN] {
        let mut peer = Peer::silent(broker.port());
        peer.send(Offer { version, ..Peer::offer() }.to_wire().unwrap());
        assert_eq!(last_words(&mut peer), [], "version {version}");
    }
}

#[test]
fn versions_of_the_future_are_served_as_12() {
    let broker = Broker::start();
    for version in [13, 99, i32::MAX] {
        let mut peer = Peer::negotiated(broker.port(), &Offer { version, ..Peer::offer() });
        peer.introduce("c");
        peer.consumer(Destination::queue("Q"), 1);
    }
}

#[test]
fn every_version_there_is_is_served() {
    let broker = Broker::start();
    for version in 1..=12 {
        let mut peer = Peer::negotiated(broker.port(), &Offer { version, ..Peer::offer() });
        peer.introduce("c");
        let (producer, queue) = (peer.producer(), Destination::queue(format!("Q{version}")));
        peer.consumer(queue.clone(), 1);
        peer.publish(&producer, &queue, "x");
        let dispatch = peer.next_dispatch();
        peer.acknowledge(&dispatch).unwrap();
    }
}

#[test]
fn wire_format_info_without_properties_is_the_plainest_format() {
    let broker = Broker::start();
    let mut peer = Peer::silent(broker.port());
    let bare = WireFormatInfo { properties: None, ..Offer::default().to_wire().unwrap() };
    peer.send(bare.clone());
    peer.agree(&Offer::from_wire(&bare).unwrap());
    peer.introduce("c");
    peer.consumer(Destination::queue("Q"), 1);
}

#[test]
fn small_marshal_cache_is_served() {
    let broker = Broker::start();
    for cache_size in [-1, 0, 1, 50, 99, 100, 101] {
        let mut peer = Peer::negotiated(broker.port(), &Offer { cache_size, ..Peer::offer() });
        peer.introduce("c");
        let producer = peer.producer();
        for n in 0..150 {
            let queue = Destination::queue(format!("Q{n}"));
            peer.consumer(queue.clone(), 1);
            peer.publish(&producer, &queue, "x");
            assert_eq!(peer.next_dispatch().destination, Some(queue));
        }
    }
}

#[test]
fn offer_has_limits() {
    let mut broker = Broker::start();
    let options = |map: PropertyMap| WireFormatInfo {
        properties: Some(map.encode().unwrap()),
        ..Offer::default().to_wire().unwrap()
    };
    let one = |value| options([("k".into(), value)].into_iter().collect());
    let many = (0..65).map(|n: i32| (n.to_string().into(), PropertyValue::Null)).collect();
    for refused in [
        options(many),
        one(PropertyValue::String("x".repeat(513).into())),
        one(PropertyValue::List(Vec::new())),
        one(PropertyValue::Map(PropertyMap::default())),
        // A count no frame can hold, and one that is not there.
        WireFormatInfo { properties: Some(vec![0x7f; 4].into()), ..one(PropertyValue::Null) },
        WireFormatInfo { properties: Some(vec![0; 3].into()), ..one(PropertyValue::Null) },
    ] {
        let mut peer = Peer::silent(broker.port());
        peer.send(refused);
        assert_eq!(last_words(&mut peer), []);
    }
    broker.assert_healthy();
}

#[test]
fn second_wire_format_info_is_refused() {
    let mut broker = Broker::start();
    let mut peer = broker.client("c");
    peer.send(Peer::offer().to_wire().unwrap());
    assert_eq!(peer.closes(), []);
    broker.assert_healthy();
}
