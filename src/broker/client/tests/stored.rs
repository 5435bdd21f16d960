//! Rules about what is stored: what comes back at a restart, what leaves with its expiry, and where durable
//! subscriptions keep what waits for them (sections 4, 6, 9, 11, 12, 13 and 14).

use super::transactions::{branch, local};
use super::*;
use crate::broker::destination::Now;
use crate::broker::interceptors::Interceptors;
use crate::broker::policy::{Cursor, Policy};
use crate::store::fs::simulated::SimulatedDisk;
use crate::store::kahadb::KahaDb;
use crate::store::{Fetch, Store, StoreStatus};

/// A broker whose store is on a disk in memory.
struct Stored {
    broker: Arc<Broker>,
    store: Arc<KahaDb>,
    disk: SimulatedDisk,
}

impl Stored {
    async fn start(change: impl FnOnce(&mut BrokerOptions)) -> Self {
        Self::on(SimulatedDisk::new(1), change).await
    }

    async fn on(disk: SimulatedDisk, change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut options = broker::options();
        change(&mut options);
        let store = broker::store_on(&disk);
        let broker = broker::start_on(options, Arc::clone(&store) as Arc<dyn Store>).await;
        Self { broker, store, disk }
    }

    /// Another one on the same disk. Clients of the first are not told.
    async fn restart(self, change: impl FnOnce(&mut BrokerOptions)) -> Self {
        self.broker.halt();
        self.store.close().expect("a sound disk");
        Self::on(self.disk, change).await
    }

    async fn connect(&self, name: &'static str) -> Peer {
        Peer::connect(&self.broker, name).await
    }

    /// Waits until the store has so many messages, with all that was submitted before.
    async fn has(&self, messages: u64) {
        let (sender, reached) = oneshot::channel();
        let nothing = Fetch::Exactly { destination: queue(), sequences: Vec::new() };
        self.store.fetch(nothing, Box::new(|page| sender.send(page).unwrap_or_default()));
        reached.await.expect("every fetch is answered").expect("a sound disk");
        let has = async {
            while self.store.status().messages != messages {
                tokio::task::yield_now().await;
            }
        };
        let status = |_| -> StoreStatus { self.store.status() };
        tokio::time::timeout(PATIENCE, has)
            .await
            .unwrap_or_else(|late| panic!("{messages} messages expected: {:?}", status(late)));
    }
}

fn queue() -> Destination {
    Destination::queue("Q")
}

fn topic() -> Destination {
    Destination::topic("T")
}

impl Peer {
    async fn send_persistent(&mut self, to: &Destination, count: usize) {
        for _ in 0..count {
            let message = Message { persistent: true, ..self.message(to) };
            self.send_message(message).await.expect("there is room");
        }
    }

    async fn send_transient(&mut self, to: &Destination) {
        self.send(to).await.expect("there is room");
    }

    /// Opens and closes a durable subscription.
    async fn leave_behind(&mut self, name: &str, selector: Option<&str>) {
        let consumer = self.subscribe(&topic(), name, selector).await.expect("it is let in");
        self.close(&consumer).await;
    }
}

fn number(delivery: &Delivery) -> i64 {
    let message = delivery.message.as_ref().expect("a message");
    message.message_id.as_ref().expect("it has an id").producer_sequence
}

fn numbers(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(number).collect()
}

#[tokio::test]
async fn destinations_and_persistent_messages_come_back_at_a_restart_and_transient_ones_do_not() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.send_persistent(&queue(), 1).await;
    peer.send_transient(&queue()).await;
    peer.send_persistent(&queue(), 2).await;
    peer.create(&topic()).await.expect("no limit");
    peer.create(&destinations::temporary("c")).await.expect("it is its own");
    let stored = stored.restart(|_| {}).await;
    assert_eq!(names(&stored.broker), ["queue://Q", "topic://T"]);
    let mut peer = stored.connect("c").await;
    peer.consume(&queue()).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(3).await, [1, 3, 4]);
    peer.has_no_more(&stored.broker).await;
}

#[tokio::test]
async fn what_was_acknowledged_or_removed_before_a_restart_does_not_come_back() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    let removed = Destination::queue("REMOVED");
    peer.send_persistent(&removed, 1).await;
    peer.send_persistent(&queue(), 3).await;
    peer.remove(&removed).await.expect("nobody uses it");
    peer.consume(&queue()).await.expect("it is let in");
    let got = peer.deliveries(3).await;
    peer.acknowledge(AckKind::Individual, &got[1..2], None).await.expect("it is held");
    let stored = stored.restart(|_| {}).await;
    assert_eq!(names(&stored.broker), ["queue://Q"]);
    let mut peer = stored.connect("c").await;
    peer.consume(&queue()).await.expect("it is let in");
    let numbers = peer.takes_numbers(2).await;
    // The first message of all went with its queue.
    assert_eq!(numbers, [2, 4]);
    peer.has_no_more(&stored.broker).await;
}

#[tokio::test]
async fn redelivery_counters_begin_anew_at_a_restart_unless_they_are_persisted() {
    for (persist_redelivered, after) in [(false, [0, 0]), (true, [1, 0])] {
        let policy = move |_: &Destination| Policy { persist_redelivered, ..Policy::default() };
        let stored = Stored::start(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        peer.send_persistent(&queue(), 2).await;
        for comes_again in [false, true, true] {
            let info = ConsumerInfo { prefetch_size: 1, ..peer.consumer(&queue()) };
            let consumer = peer.open(info).await.expect("it is let in");
            assert_eq!(peer.delivery().await.redeliveries > 0, comes_again);
            peer.client.remove_consumer(&consumer, -2).await.expect("it is open");
        }
        let stored = stored.restart(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        peer.consume(&queue()).await.expect("it is let in");
        let got = peer.deliveries(2).await;
        assert_eq!([got[0].redeliveries, got[1].redeliveries], after, "{persist_redelivered}");
    }
}

#[tokio::test]
async fn prioritized_messages_are_served_by_priority_after_a_restart_too() {
    let policy = |_: &Destination| Policy { prioritized_messages: true, ..Policy::default() };
    let stored = Stored::start(|options| options.policy = Box::new(policy)).await;
    let mut peer = stored.connect("c").await;
    for priority in [4, 9, 0, 4, 9] {
        let message = Message { persistent: true, priority, ..peer.message(&queue()) };
        peer.send_message(message).await.expect("there is room");
    }
    let stored = stored.restart(|options| options.policy = Box::new(policy)).await;
    let mut peer = stored.connect("c").await;
    peer.consume(&queue()).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(5).await, [2, 5, 1, 4, 3]);
}

#[tokio::test]
async fn a_durable_subscription_goes_on_after_a_restart_where_it_was() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.leave_behind("away", Some("JMSPriority = 4")).await;
    peer.subscribe(&topic(), "here", None).await.expect("it is new");
    peer.send_persistent(&topic(), 2).await;
    let message = Message { persistent: true, priority: 5, ..peer.message(&topic()) };
    peer.send_message(message).await.expect("there is room");
    let got = peer.deliveries(3).await;
    peer.acknowledge(AckKind::Standard, &got[..2], None).await.expect("they are held");
    let stored = stored.restart(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.sent = 3;
    peer.send_persistent(&topic(), 1).await;
    let here = peer.subscribe(&topic(), "here", None).await.expect("nobody has it");
    let got = peer.deliveries(2).await;
    assert_eq!(numbers(&got), [3, 4], "what was in flight, and what came since");
    assert!(got.iter().all(|delivery| delivery.redeliveries == 0));
    peer.close(&here).await;
    let away = peer.subscribe(&topic(), "away", Some("JMSPriority = 4")).await;
    away.expect("nobody has it");
    assert_eq!(peer.takes_numbers(3).await, [1, 2, 4]);
    peer.has_no_more(&stored.broker).await;
}

/// Section 4: what `keepDurableSubsActive` keeps is not stored.
#[tokio::test]
async fn transient_messages_of_a_durable_subscription_are_lost_by_a_restart() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.leave_behind("s", None).await;
    peer.send_transient(&topic()).await;
    peer.send_persistent(&topic(), 1).await;
    let stored = stored.restart(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
    assert_eq!(peer.takes_numbers(1).await, [2]);
    peer.has_no_more(&stored.broker).await;
}

#[tokio::test]
async fn a_topic_message_leaves_the_store_with_the_last_durable_subscription_that_has_it() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.send_persistent(&topic(), 1).await;
    stored.has(0).await;
    for name in ["a", "b"] {
        peer.leave_behind(name, None).await;
    }
    peer.leave_behind("other", Some("JMSPriority = 0")).await;
    peer.send_persistent(&topic(), 2).await;
    stored.has(2).await;
    peer.subscribe(&topic(), "a", None).await.expect("nobody has it");
    let got = peer.deliveries(2).await;
    peer.acknowledge(AckKind::Standard, &got, None).await.expect("they are held");
    stored.has(2).await;
    let consumer = peer.subscribe(&topic(), "b", None).await.expect("nobody has it");
    let got = peer.deliveries(2).await;
    peer.acknowledge(AckKind::Individual, &got[..1], None).await.expect("it is held");
    stored.has(1).await;
    peer.close(&consumer).await;
    let of_b = crate::jms::info::RemoveSubscriptionInfo {
        client_id: Some("c".into()),
        subscription_name: Some("b".into()),
        ..Default::default()
    };
    peer.client.forget_durable(of_b).await.expect("nobody uses it");
    stored.has(0).await;
}

/// Section 9: ranges, single messages and what is only delivered, of a durable subscription.
#[tokio::test]
async fn a_durable_subscription_is_acknowledged_by_range_or_message_by_message() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    let info = ConsumerInfo {
        subscription_name: Some("s".into()),
        prefetch_size: 4,
        ..peer.consumer(&topic())
    };
    peer.open(info).await.expect("it is new");
    peer.send_persistent(&topic(), 9).await;
    let mut got = peer.deliveries(4).await;
    peer.has_no_more(&stored.broker).await;
    peer.acknowledge(AckKind::Delivered, &got[..2], None).await.expect("they are held");
    got.extend(peer.deliveries(2).await);
    peer.has_no_more(&stored.broker).await;
    stored.has(9).await;
    peer.acknowledge(AckKind::Standard, &got[1..4], None).await.expect("they are held");
    stored.has(6).await;
    peer.acknowledge(AckKind::Individual, &got[..5], None).await.expect("the last one is held");
    stored.has(5).await;
    let gone = peer.acknowledge(AckKind::Standard, &got[1..4], None).await;
    let gone = gone.expect_err("they have been acknowledged").to_string();
    assert!(gone.starts_with("Unmatched acknowledge: "), "{gone}");
    let stored = stored.restart(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
    assert_eq!(peer.takes_numbers(5).await, [1, 6, 7, 8, 9]);
    peer.has_no_more(&stored.broker).await;
}

/// With `pendingDurableSubscriberPolicy`.
#[tokio::test]
async fn with_a_vm_cursor_what_waits_for_a_durable_subscription_stays_in_memory() {
    for durable_cursor in [Cursor::Memory, Cursor::Store] {
        let policy = move |_: &Destination| Policy { durable_cursor, ..Policy::default() };
        let stored = Stored::start(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        peer.leave_behind("s", None).await;
        peer.send_persistent(&topic(), 5).await;
        settled(&stored.broker).await;
        let held = if durable_cursor == Cursor::Memory { 5 * 1024 } else { 0 };
        assert_eq!(stored.broker.memory.used(), held, "{durable_cursor:?}");
        let info = ConsumerInfo {
            subscription_name: Some("s".into()),
            prefetch_size: 2,
            ..peer.consumer(&topic())
        };
        peer.open(info).await.expect("nobody has it");
        for expected in [1, 3] {
            let got = peer.deliveries(2).await;
            assert_eq!(numbers(&got), [expected, expected + 1], "{durable_cursor:?}");
            peer.acknowledge(AckKind::Standard, &got, None).await.expect("they are held");
        }
        assert_eq!(peer.takes_numbers(1).await, [5], "{durable_cursor:?}");
        peer.has_no_more(&stored.broker).await;
    }
}

/// Also what only the store has.
#[tokio::test]
async fn the_backlog_of_a_durable_subscription_comes_by_priority_where_messages_are_prioritized() {
    for (prioritized_messages, order) in [(true, [2, 5, 4, 1, 3]), (false, [1, 2, 3, 4, 5])] {
        let policy = move |_: &Destination| Policy { prioritized_messages, ..Policy::default() };
        let stored = Stored::start(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        peer.leave_behind("s", None).await;
        for priority in [4, 9, 0, 5, 9] {
            let message = Message { persistent: true, priority, ..peer.message(&topic()) };
            peer.send_message(message).await.expect("there is room");
        }
        let stored = stored.restart(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
        assert_eq!(peer.takes_numbers(5).await, order);
    }
}

/// `immediatePriorityDispatch`, which is always so.
#[tokio::test]
async fn a_message_of_higher_priority_overtakes_what_waits_for_a_durable_subscription() {
    for (prioritized_messages, order) in [(true, [4, 2, 3]), (false, [2, 3, 4])] {
        let policy = move |_: &Destination| Policy { prioritized_messages, ..Policy::default() };
        let stored = Stored::start(|options| options.policy = Box::new(policy)).await;
        let mut peer = stored.connect("c").await;
        let info = ConsumerInfo {
            subscription_name: Some("s".into()),
            prefetch_size: 1,
            ..peer.consumer(&topic())
        };
        peer.open(info).await.expect("it is new");
        peer.send_persistent(&topic(), 3).await;
        let message = Message { persistent: true, priority: 5, ..peer.message(&topic()) };
        peer.send_message(message).await.expect("there is room");
        let mut held = peer.deliveries(1).await;
        assert_eq!(numbers(&held), [1], "what is dispatched is not recalled");
        for expected in order {
            peer.acknowledge(AckKind::Standard, &held, None).await.expect("it is held");
            held = peer.deliveries(1).await;
            assert_eq!(numbers(&held), [expected], "{prioritized_messages}");
        }
    }
}

/// Long enough to be stored, and short enough to wait for.
fn soon() -> i64 {
    Now::read().wall_ms + 500
}

/// Looks for expired messages often, and drops them unless `kept` as dead letters.
fn expiring(kept: bool) -> impl Fn(&Destination) -> Policy + Send + Sync + Copy + 'static {
    move |_: &Destination| {
        let mut policy = Policy { expire_period: Duration::from_millis(5), ..Policy::default() };
        policy.dead_letter.process_expired = kept;
        policy
    }
}

#[tokio::test]
async fn what_expires_in_a_queue_leaves_the_store() {
    let stored = Stored::start(|options| options.policy = Box::new(expiring(false))).await;
    let mut peer = stored.connect("c").await;
    let message = Message { persistent: true, expiration: soon(), ..peer.message(&queue()) };
    peer.send_message(message).await.expect("there is room");
    peer.send_persistent(&queue(), 1).await;
    stored.has(1).await;
    let stored = stored.restart(|options| options.policy = Box::new(expiring(false))).await;
    let mut peer = stored.connect("c").await;
    peer.consume(&queue()).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(1).await, [2]);
}

#[tokio::test]
async fn what_expired_while_the_broker_was_down_leaves_the_store_too() {
    let never = |_: &Destination| Policy { expire_period: Duration::ZERO, ..Policy::default() };
    let stored = Stored::start(|options| options.policy = Box::new(never)).await;
    let mut peer = stored.connect("c").await;
    peer.leave_behind("s", None).await;
    let expiration = soon();
    for to in [queue(), topic()] {
        let message = Message { persistent: true, expiration, ..peer.message(&to) };
        peer.send_message(message).await.expect("there is room");
    }
    stored.has(2).await;
    let stored = stored.restart(|options| options.policy = Box::new(expiring(false))).await;
    stored.has(0).await;
}

#[tokio::test]
async fn what_expires_in_an_offline_durable_subscription_leaves_the_store() {
    let stored = Stored::start(|options| options.policy = Box::new(expiring(false))).await;
    let mut peer = stored.connect("c").await;
    for name in ["a", "b"] {
        peer.leave_behind(name, None).await;
    }
    let message = Message { persistent: true, expiration: soon(), ..peer.message(&topic()) };
    peer.send_message(message).await.expect("there is room");
    peer.send_persistent(&topic(), 1).await;
    stored.has(1).await;
    peer.subscribe(&topic(), "a", None).await.expect("nobody has it");
    assert_eq!(peer.takes_numbers(1).await, [2]);
}

#[tokio::test]
async fn what_expires_moves_in_the_store_to_the_dead_letter_queue() {
    let stored = Stored::start(|options| options.policy = Box::new(expiring(true))).await;
    let mut peer = stored.connect("c").await;
    let dead = Destination::queue("ActiveMQ.DLQ");
    let message = Message { persistent: true, expiration: soon(), ..peer.message(&queue()) };
    peer.send_message(message).await.expect("there is room");
    peer.consume(&dead).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(1).await, [1]);
    stored.has(1).await;
    let stored = stored.restart(|options| options.policy = Box::new(expiring(true))).await;
    let mut peer = stored.connect("c").await;
    for destination in [queue(), dead] {
        peer.consume(&destination).await.expect("it is let in");
    }
    let letter = peer.takes().await;
    assert_eq!((letter.expiration, &letter.original_destination), (0, &Some(queue())));
    peer.has_no_more(&stored.broker).await;
}

/// What a prepared branch sent is invisible and what it acknowledged is locked, until it ends.
#[tokio::test]
async fn a_prepared_branch_comes_back_at_a_restart_as_it_was() {
    for commits in [true, false] {
        let stored = Stored::start(|_| {}).await;
        let mut peer = stored.connect("c").await;
        peer.send_persistent(&queue(), 2).await;
        let subscription = peer.subscribe(&topic(), "s", None).await.expect("it is new");
        peer.send_persistent(&topic(), 2).await;
        let of_topic = peer.deliveries(2).await;
        peer.consume(&queue()).await.expect("it is let in");
        let of_queue = peer.deliveries(2).await;
        let id = branch(1);
        peer.client.begin(id.clone()).expect("no limit");
        for range in [&of_topic[..1], &of_queue[..1]] {
            let taken = peer.acknowledge(AckKind::Standard, range, Some(&id)).await;
            taken.expect("it is held");
        }
        let message = peer.message(&queue());
        let transaction_id = Some(id.clone());
        let message = Message { persistent: true, transaction_id, ..message };
        peer.send_message(message).await.expect("there is room");
        assert_eq!(peer.client.prepare(&id).await, Ok(0));
        peer.close(&subscription).await;

        let stored = stored.restart(|_| {}).await;
        let mut peer = stored.connect("c").await;
        let waiting = peer.client.recover();
        assert_eq!(waiting.iter().map(|xid| xid.format_id).collect::<Vec<_>>(), [1]);
        peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
        assert_eq!(peer.takes_numbers(1).await, [4]);
        peer.consume(&queue()).await.expect("it is let in");
        assert_eq!(peer.takes_numbers(1).await, [2]);
        peer.has_no_more(&stored.broker).await;
        if commits {
            peer.commit(&id, true).await.expect("it waits for that");
            assert_eq!(peer.takes_numbers(1).await, [5]);
        } else {
            peer.roll_back(&id).await.expect("it waits for that");
            let mut back = peer.takes_numbers(2).await;
            back.sort_unstable();
            assert_eq!(back, [1, 3]);
        }
        peer.has_no_more(&stored.broker).await;

        let stored = stored.restart(|_| {}).await;
        let mut peer = stored.connect("c").await;
        assert!(peer.client.recover().is_empty(), "it has ended");
        peer.subscribe(&topic(), "s", None).await.expect("nobody has it");
        let of_topic = peer.takes_numbers(if commits { 1 } else { 2 }).await;
        peer.consume(&queue()).await.expect("it is let in");
        let of_queue = peer.takes_numbers(2).await;
        let (topic, queue): (&[i64], &[i64]) =
            if commits { (&[4], &[2, 5]) } else { (&[3, 4], &[1, 2]) };
        assert_eq!((&of_topic[..], &of_queue[..]), (topic, queue));
        peer.has_no_more(&stored.broker).await;
    }
}

#[tokio::test]
async fn what_was_not_prepared_before_a_restart_is_rolled_back() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.send_persistent(&queue(), 1).await;
    peer.consume(&queue()).await.expect("it is let in");
    let held = peer.deliveries(1).await;
    let (own, open) = (local("c", 1), branch(1));
    for id in [&own, &open] {
        peer.client.begin(id.clone()).expect("no limit");
        let message = peer.message(&queue());
        let message = Message { persistent: true, transaction_id: Some(id.clone()), ..message };
        peer.send_message(message).await.expect("there is room");
    }
    peer.acknowledge(AckKind::Standard, &held, Some(&own)).await.expect("it is held");
    let stored = stored.restart(|_| {}).await;
    let mut peer = stored.connect("c").await;
    assert!(peer.client.recover().is_empty());
    peer.consume(&queue()).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(1).await, [1]);
    peer.has_no_more(&stored.broker).await;
    for id in [&own, &open] {
        peer.commit(id, false).await.expect_err("it is unknown");
    }
}

/// Section 13: a producer that has come back sends again what it does not know to be stored.
#[tokio::test]
async fn what_a_reconnected_producer_sends_again_is_dropped_after_a_restart_too() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.send_persistent(&queue(), 3).await;
    let stored = stored.restart(|_| {}).await;
    let info = ConnectionInfo { failover_reconnect: true, ..introduction("c", Some("c")) };
    let back = Peer::admitted(&stored.broker, "c", info, transport()).await;
    let mut peer = back.expect("nobody has its name");
    peer.send_persistent(&queue(), 4).await;
    peer.consume(&queue()).await.expect("it is let in");
    assert_eq!(peer.takes_numbers(4).await, [1, 2, 3, 4]);
    peer.has_no_more(&stored.broker).await;
}

#[tokio::test]
async fn a_queue_of_a_virtual_topic_is_fed_after_a_restart_before_its_consumer_comes_back() {
    let with_virtual_topics = |options: &mut BrokerOptions| {
        options.interceptors = Arc::new(Interceptors::default_virtual_topics());
    };
    let stored = Stored::start(with_virtual_topics).await;
    let fed = Destination::queue("Consumer.A.VirtualTopic.T");
    let virtual_topic = Destination::topic("VirtualTopic.T");
    let mut peer = stored.connect("c").await;
    peer.send_persistent(&virtual_topic, 1).await;
    let consumer = peer.consume(&fed).await.expect("it is let in");
    peer.close(&consumer).await;
    peer.send_persistent(&virtual_topic, 1).await;
    let stored = stored.restart(with_virtual_topics).await;
    let mut peer = stored.connect("d").await;
    peer.sent = 2;
    peer.send_persistent(&virtual_topic, 1).await;
    peer.consume(&fed).await.expect("it is let in");
    let got = [peer.takes().await, peer.takes().await];
    for (message, number) in got.iter().zip([2, 3]) {
        assert_eq!(message.destination.as_ref(), Some(&fed));
        assert_eq!(message.original_destination.as_ref(), Some(&virtual_topic));
        let id = message.message_id.as_ref().expect("it has an id");
        assert_eq!(id.producer_sequence, number);
    }
    peer.has_no_more(&stored.broker).await;
}

/// With `deleteAllMessagesOnStartup`.
#[tokio::test]
async fn everything_is_deleted_at_the_start_where_that_is_wanted() {
    let stored = Stored::start(|_| {}).await;
    let mut peer = stored.connect("c").await;
    peer.leave_behind("s", None).await;
    for to in [queue(), topic()] {
        peer.send_persistent(&to, 1).await;
    }
    let id = branch(1);
    peer.client.begin(id.clone()).expect("no limit");
    peer.send_in(&id).await.expect("there is room");
    assert_eq!(peer.client.prepare(&id).await, Ok(0));
    let stored = stored.restart(|options| options.deletes_all = true).await;
    assert_eq!(names(&stored.broker), [""; 0]);
    assert!(stored.broker.registry.durables().is_empty());
    let stored = stored.restart(|_| {}).await;
    assert_eq!(names(&stored.broker), [""; 0]);
    let peer = stored.connect("c").await;
    assert!(peer.client.recover().is_empty());
    stored.has(0).await;
}
