//! Section 7: what happens to consumers that are slow.

use super::*;
use crate::broker::policy::{Policy, Silence, SlowConsumerStrategy};

/// A broker that bears with a slow consumer from one check to the next.
async fn impatient(abort_connection: bool) -> Arc<Broker> {
    impatient_of(abort_connection, None).await
}

/// The same; `silence`: with who does not acknowledge.
async fn impatient_of(abort_connection: bool, silence: Option<Silence>) -> Arc<Broker> {
    let strategy = SlowConsumerStrategy {
        slow_count_max: None,
        slow_for_max: Some(Duration::from_millis(10)),
        check_period: Duration::from_millis(10),
        abort_connection,
        ignore_network_consumers: true,
        silence,
    };
    broker_with(|options| {
        options.policy =
            Box::new(move |_| Policy { slow_consumers: Some(strategy), ..Policy::default() });
    })
    .await
}

impl Peer {
    /// A consumer that has all it may hold, with more behind it.
    async fn fall_behind(&mut self, network: bool) -> ConsumerId {
        let topic = Destination::topic("T");
        let info = ConsumerInfo {
            prefetch_size: 2,
            network_subscription: network,
            ..self.consumer(&topic)
        };
        let consumer = self.open(info).await.expect("it is let in");
        for _ in 0..10 {
            self.send(&topic).await.expect("there is room");
        }
        self.takes_numbers(2).await;
        consumer
    }
}

#[tokio::test]
async fn a_slow_consumer_is_told_to_close_and_taken_off_when_it_does_not() {
    let broker = impatient(false).await;
    let mut peer = Peer::connect(&broker, "c").await;
    let consumer = peer.fall_behind(false).await;
    let told = peer.next().await;
    assert!(matches!(&told, Item::CloseConsumer(info) if info.consumer_id == Some(consumer)));
    let handle = broker.router.find(&Destination::topic("T")).expect("it is there");
    let taken_off = async {
        while handle.gauges.consumers.count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_off).await.expect("it is taken off");
}

#[tokio::test]
async fn the_connection_of_a_slow_consumer_is_closed_where_that_is_wanted() {
    let broker = impatient(true).await;
    let way = transport();
    let info = introduction("c", Some("c"));
    let mut peer = Peer::admitted(&broker, "c", info, way.clone()).await.expect("it is let in");
    peer.fall_behind(false).await;
    let told = peer.next().await;
    assert!(matches!(told, Item::AsyncError(BrokerError::ConsumersSlow { .. })), "{told:?}");
    tokio::time::timeout(PATIENCE, way.stop.notified()).await.expect("it is stopped");
}

#[tokio::test]
async fn slow_consumers_of_networks_are_left_alone() {
    let broker = impatient(false).await;
    let mut bridge = Peer::connect(&broker, "bridge").await;
    let mut peer = Peer::connect(&broker, "c").await;
    bridge.fall_behind(true).await;
    peer.fall_behind(false).await;
    assert!(matches!(peer.next().await, Item::CloseConsumer(_)));
    bridge.has_no_more(&broker).await;
}

/// With `abortSlowAckConsumerStrategy`: also one that has room for more.
#[tokio::test]
async fn who_does_not_acknowledge_is_closed_or_its_connection_is() {
    let silence = Silence { longest: Duration::from_millis(20), ignores_idle: true };
    for (abort_connection, of) in [
        (false, Destination::queue("Q")),
        (true, Destination::queue("Q")),
        (false, Destination::topic("T")),
        (true, Destination::topic("T")),
    ] {
        let broker = impatient_of(abort_connection, Some(silence)).await;
        let way = transport();
        let info = introduction("c", Some("c"));
        let mut peer = Peer::admitted(&broker, "c", info, way.clone()).await.expect("let in");
        let consumer = peer.consume(&of).await.expect("it is let in");
        peer.send(&of).await.expect("there is room");
        peer.takes_numbers(1).await;
        let told = peer.next().await;
        if abort_connection {
            let slow = matches!(told, Item::AsyncError(BrokerError::ConsumersSlow { .. }));
            assert!(slow, "{of}: {told:?}");
            tokio::time::timeout(PATIENCE, way.stop.notified()).await.expect("it is stopped");
        } else {
            let closed = matches!(&told, Item::CloseConsumer(i) if i.consumer_id == Some(consumer));
            assert!(closed, "{of}: {told:?}");
        }
    }
}

/// By default consumers that hold nothing are left alone (`ignoreIdleConsumers`).
#[tokio::test]
async fn who_has_nothing_to_acknowledge_is_closed_only_where_that_is_wanted() {
    let longest = Duration::from_millis(20);
    let broker = impatient_of(false, Some(Silence { longest, ignores_idle: false })).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.consume(&Destination::queue("Q")).await.expect("it is let in");
    assert!(matches!(peer.next().await, Item::CloseConsumer(_)));

    let broker = impatient_of(false, Some(Silence { longest, ignores_idle: true })).await;
    let mut idle = Peer::connect(&broker, "idle").await;
    idle.consume(&Destination::queue("IDLE")).await.expect("it is let in");
    let mut peer = Peer::connect(&broker, "c").await;
    let queue = Destination::queue("Q");
    peer.consume(&queue).await.expect("it is let in");
    peer.send(&queue).await.expect("there is room");
    peer.takes_numbers(1).await;
    assert!(matches!(peer.next().await, Item::CloseConsumer(_)));
    idle.has_no_more(&broker).await;
}
