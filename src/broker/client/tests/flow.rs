//! Section 8: who waits for room, who is refused, and how.

use super::transactions::local;
use super::*;
use crate::broker::destination::Op;
use crate::broker::policy::{Cursor, Policy};
use crate::broker::usage::{Credit, Usage};
use crate::jms::MessagePull;
use crate::store::fs::simulated::SimulatedDisk;

fn queue() -> Destination {
    Destination::queue("Q")
}

/// A broker whose destinations have room for one message each.
async fn cramped(policy: Policy) -> Arc<Broker> {
    broker_with(|options| {
        options.policy = Box::new(move |_| Policy {
            memory_limit_bytes: policy.minimum_message_bytes,
            ..policy.clone()
        });
    })
    .await
}

/// The queue loses all it has.
async fn make_room(broker: &Broker) {
    let handle = broker.router.find(&queue()).expect("it is there");
    handle.send(vec![Op::Purge { receipt: None }]).await;
    settled(broker).await;
}

/// Sends its next message, and nobody waits for the answer.
async fn send_one_way(peer: &mut Peer) -> Result<(), BrokerError> {
    let message = peer.message(&queue());
    let sent = peer.client.send(Arc::new(message), 0, &mut None).await;
    peer.client.flush().await;
    sent
}

#[tokio::test]
async fn a_send_that_is_answered_waits_aside_and_its_connection_goes_on() {
    let broker = cramped(Policy::default()).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&queue()).await.expect("there is room");
    let message = peer.message(&queue());
    let mut parked = peer.begin_send(message).await.expect("it waits");
    peer.send(&Destination::queue("OTHER")).await.expect("its connection goes on");
    settled(&broker).await;
    assert!(parked.try_recv().is_err(), "there is no room");
    make_room(&broker).await;
    parked.await.expect("it is answered").expect("there is room");
}

#[tokio::test]
async fn a_send_that_is_not_answered_stops_its_connection() {
    let broker = cramped(Policy::default()).await;
    let mut peer = Peer::connect(&broker, "c").await;
    send_one_way(&mut peer).await.expect("there is room");
    let stopped = tokio::spawn(async move { send_one_way(&mut peer).await });
    tokio::task::yield_now().await;
    settled(&broker).await;
    assert!(!stopped.is_finished(), "there is no room");
    make_room(&broker).await;
    stopped.await.expect("no panic").expect("there is room");
}

#[tokio::test]
async fn the_end_of_the_connection_ends_its_wait() {
    let broker = cramped(Policy::default()).await;
    let way = transport();
    let info = introduction("c", Some("c"));
    let mut peer = Peer::admitted(&broker, "c", info, way.clone()).await.expect("it is let in");
    send_one_way(&mut peer).await.expect("there is room");
    let stopped = tokio::spawn(async move { send_one_way(&mut peer).await });
    tokio::task::yield_now().await;
    way.closing.close();
    assert_eq!(stopped.await.expect("no panic"), Err(BrokerError::SendAborted));
}

#[tokio::test]
async fn a_policy_may_refuse_at_once_or_after_a_while_but_never_a_network() {
    let at_once = Policy { send_fail_if_no_space: true, ..Policy::default() };
    let later = Policy { send_fail_after: Duration::from_millis(20), ..Policy::default() };
    for (policy, text) in [
        (at_once, "Usage Manager Memory Limit reached on queue://Q. See "),
        (later, "Usage Manager Memory Limit Wait Timeout. Stopping producer (c:1:1) to prevent "),
    ] {
        let broker = cramped(policy).await;
        let mut peer = Peer::connect(&broker, "c").await;
        let mut bridge = Peer::connect(&broker, "bridge").await;
        bridge.client.note_network();
        peer.send(&queue()).await.expect("there is room");
        let message = bridge.message(&queue());
        let held = bridge.begin_send(message).await.expect("it waits");
        let refused = [peer.send(&queue()).await, send_one_way(&mut peer).await];
        for refused in refused {
            let refused = refused.expect_err("there is no room").to_string();
            assert!(refused.starts_with(text), "{refused}");
        }
        make_room(&broker).await;
        held.await.expect("it is answered").expect("it was held back only");
        let held = tokio::spawn(async move { send_one_way(&mut bridge).await });
        send_one_way(&mut peer).await.expect_err("there is no room");
        assert!(!held.is_finished(), "there is no room");
        make_room(&broker).await;
        held.await.expect("no panic").expect("it was held back only");
    }
}

#[tokio::test]
async fn what_is_on_its_way_to_the_temp_store_is_no_reason_to_refuse_a_send() {
    let broker = cramped(Policy { send_fail_if_no_space: true, ..Policy::default() }).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&queue()).await.expect("there is room");
    make_room(&broker).await;
    let usage = Arc::clone(&broker.router.find(&queue()).expect("it is there").usage);
    let bytes = usage.limit();
    usage.take(bytes);
    peer.send(&queue()).await.expect_err("there is no room, and nothing leaves");
    let leaving = Credit::taken(Arc::clone(&usage), bytes);
    let spilling = leaving.spilling();
    let sent = tokio::spawn(async move { send_one_way(&mut peer).await });
    tokio::task::yield_now().await;
    settled(&broker).await;
    assert!(!sent.is_finished(), "it waits for what leaves");
    drop((leaving, spilling));
    sent.await.expect("no panic").expect("there is room");
}

#[tokio::test]
async fn without_flow_control_nobody_waits_for_memory() {
    let policy = Policy { producer_flow_control: false, ..Policy::default() };
    let broker = cramped(policy).await;
    let mut peer = Peer::connect(&broker, "c").await;
    for _ in 0..10 {
        peer.send(&queue()).await.expect("it is let in");
    }
}

#[tokio::test]
async fn a_send_is_too_late_when_its_transaction_ended_while_it_waited() {
    let broker = cramped(Policy::default()).await;
    let mut peer = Peer::connect(&broker, "c").await;
    peer.send(&queue()).await.expect("there is room");
    let id = TransactionId::Local { value: 1, connection: Some(ConnectionId::new("c")) };
    peer.client.begin(id.clone()).expect("no limit");
    let message = Message { transaction_id: Some(id.clone()), ..peer.message(&queue()) };
    let parked = peer.begin_send(message).await.expect("it waits");
    peer.client.rollback(&id, &mut None).await.expect("it is open");
    make_room(&broker).await;
    assert_eq!(parked.await.expect("it is answered"), Err(BrokerError::SendTooLate));
}

/// Its subscriptions would have nowhere to put messages that they cannot take yet.
#[tokio::test]
async fn senders_to_a_topic_wait_when_memory_and_temp_store_are_full_even_without_flow_control() {
    let temp = Usage::new(1, None);
    temp.take(1);
    let of_broker = Arc::clone(&temp);
    let broker = broker_with(|options| {
        options.spool = Some(fixture::spool());
        options.temp_usage = of_broker;
        options.policy = Box::new(|_| Policy {
            producer_flow_control: false,
            memory_limit_bytes: 1,
            ..Policy::default()
        });
    })
    .await;
    for lets_in in ["memory", "temp store"] {
        let mut peer = Peer::connect(&broker, "c").await;
        let topic = Destination::topic("T");
        peer.send(&topic).await.expect("there is memory");
        let handle = broker.router.find(&topic).expect("it is there");
        handle.usage.take(1);
        let message = peer.message(&topic);
        let stopped = tokio::spawn(async move {
            let sent = peer.client.send(Arc::new(message), 0, &mut None).await;
            peer.client.close(-1).await;
            sent
        });
        tokio::task::yield_now().await;
        settled(&broker).await;
        assert!(!stopped.is_finished(), "there is no room");
        match lets_in {
            "memory" => handle.usage.release(1),
            _ => temp.release(1),
        }
        stopped.await.expect("no panic").expect(lets_in);
    }
}

#[tokio::test]
async fn a_full_temp_store_keeps_transient_messages_out_of_queues() {
    let temp = Usage::new(10, None);
    temp.take(10);
    let broker = broker_with(|options| {
        options.spool = Some(fixture::spool());
        options.temp_usage = temp;
        options.policy = Box::new(|_| Policy { send_fail_if_no_space: true, ..Policy::default() });
    })
    .await;
    let mut peer = Peer::connect(&broker, "c").await;
    let refused = peer.send(&queue()).await.expect_err("there is no room").to_string();
    assert!(refused.starts_with("Temp Store is Full (100% of 10). Stopping producer (c:1:1)"));
    peer.send(&Destination::topic("T")).await.expect("topics need none of it");
}

#[tokio::test]
async fn a_small_message_counts_as_the_policy_says() {
    let policy = |_: &Destination| Policy { minimum_message_bytes: 5000, ..Policy::default() };
    let broker = broker_with(|options| options.policy = Box::new(policy)).await;
    let mut peer = Peer::connect(&broker, "c").await;
    for _ in 0..2 {
        peer.send(&queue()).await.expect("there is room");
    }
    let handle = broker.router.find(&queue()).expect("it is there");
    assert_eq!((handle.usage.used(), broker.memory.used()), (10_000, 10_000));
}

/// With `pendingSubscriberPolicy`.
#[tokio::test]
async fn what_waits_for_a_subscriber_of_a_topic_spills_to_the_temp_store_unless_its_cursor_is_vm() {
    const MESSAGES: usize = 30;
    let limit = 10 * 1024;
    for topic_cursor in [Cursor::Store, Cursor::Memory] {
        let broker = broker_with(|options| {
            options.memory_limit_bytes = limit;
            options.spool = Some(fixture::spool());
            options.policy = Box::new(move |_| Policy {
                producer_flow_control: false,
                // What is read back is little.
                page_max: 2,
                topic_cursor,
                ..Policy::default()
            });
        })
        .await;
        let mut sender = Peer::connect(&broker, "sender").await;
        let mut peer = Peer::connect(&broker, "c").await;
        let topic = Destination::topic("T");
        let info = ConsumerInfo { prefetch_size: 1, ..peer.consumer(&topic) };
        peer.open(info).await.expect("it is let in");
        for _ in 0..MESSAGES {
            sender.send(&topic).await.expect("it is let in");
        }
        settled(&broker).await;
        if topic_cursor == Cursor::Memory {
            assert!(broker.memory.used() > 2 * limit, "all is in memory");
        } else {
            let written = async {
                while broker.memory.used() > limit {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, written).await.expect("the rest is on disk");
        }
        let mut got = Vec::new();
        for _ in 0..MESSAGES {
            let next = peer.deliveries(1).await;
            let message = next[0].message.as_ref().expect("a message");
            got.push(message.message_id.as_ref().expect("it has an id").producer_sequence);
            peer.acknowledge(AckKind::Standard, &next, None).await.expect("it is held");
        }
        assert_eq!(got, (1..=30).collect::<Vec<i64>>(), "{topic_cursor:?}");
        peer.has_no_more(&broker).await;
    }
}

/// It is not told that there is nothing before the temp store was read.
#[tokio::test]
async fn a_pull_that_does_not_wait_finds_what_has_spilled() {
    let broker = broker_with(|options| {
        options.memory_limit_bytes = 1;
        options.spool = Some(fixture::spool());
        options.policy = Box::new(|_| Policy { producer_flow_control: false, ..Policy::default() });
    })
    .await;
    let mut sender = Peer::connect(&broker, "sender").await;
    let mut peer = Peer::connect(&broker, "c").await;
    let topic = Destination::topic("T");
    let info = ConsumerInfo { prefetch_size: 0, ..peer.consumer(&topic) };
    let plain = peer.open(info).await.expect("it is let in");
    let durable = peer.subscribe(&topic, "s", None).await.expect("it is new");
    peer.close(&durable).await;
    for _ in 0..3 {
        sender.send(&topic).await.expect("it is let in");
    }
    settled(&broker).await;
    let info = ConsumerInfo { prefetch_size: 0, ..peer.consumer(&topic) };
    let info = ConsumerInfo { subscription_name: Some("s".into()), ..info };
    let durable = peer.open(info).await.expect("nobody has it");
    for consumer in [plain, durable] {
        for number in [Some(1), Some(2), Some(3), None] {
            let consumer_id = Some(consumer.clone());
            let pull = MessagePull { consumer_id, timeout: -1, ..MessagePull::default() };
            peer.client.pull(pull).await.expect("it is open");
            let message = peer.deliveries(1).await.remove(0).message;
            let got = message.and_then(|message| message.message_id.clone());
            assert_eq!(got.map(|id| id.producer_sequence), number);
        }
    }
}

/// As in ActiveMQ, whose store has it at once.
#[tokio::test]
async fn what_an_open_transaction_sends_counts_as_stored() {
    let store_usage = Usage::new(2 * Policy::default().minimum_message_bytes, None);
    let mut options = broker::options();
    options.store_usage = Arc::clone(&store_usage);
    let store = broker::store_on(&SimulatedDisk::new(1));
    let broker = broker::start_on(options, store).await;
    let (mut one, mut two) = (Peer::connect(&broker, "a").await, Peer::connect(&broker, "b").await);
    let (a, b) = (local("a", 1), local("b", 1));
    one.client.begin(a.clone()).expect("no limit");
    two.client.begin(b.clone()).expect("no limit");
    let persistent = |peer: &mut Peer, id: &TransactionId| Message {
        persistent: true,
        transaction_id: Some(id.clone()),
        ..peer.message(&queue())
    };
    for _ in 0..2 {
        one.send_in(&a).await.expect("what is not stored needs no room in the store");
        let message = persistent(&mut one, &a);
        one.send_message(message).await.expect("there is room");
    }
    let message = persistent(&mut two, &b);
    let mut parked = two.begin_send(message).await.expect("it waits");
    settled(&broker).await;
    assert!(parked.try_recv().is_err(), "there is no room");
    one.roll_back(&a).await.expect("it is open");
    parked.await.expect("it is answered").expect("there is room");
    let message = persistent(&mut two, &b);
    two.send_message(message).await.expect("there is room");
    assert!(store_usage.is_full(), "what waited counts too");
    two.commit(&b, false).await.expect("a commit needs no room");
    assert_eq!(store_usage.used(), 0, "it is counted by the size of the files now");
}
