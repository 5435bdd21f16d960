//! The rules of semantics.md section 14, without sockets: who gets a message.

use super::expand::{Expansion, Targets};
use super::selector_cache::SelectorCacheOptions;
use super::*;
use crate::broker::destination::fixture::{consumer, handle};
use crate::broker::destination::in_flight::Window;
use crate::broker::error::BrokerError;
use crate::broker::outbox::SubscriptionKey;
use crate::broker::router::{Listener, QueueConsumer, Router};
use crate::jms::{BrokerId, ConsumerInfo, Message};
use parking_lot::Mutex;

fn router(interceptors: Interceptors, queues: &[&str]) -> Router {
    let router = Router::new(Arc::new(interceptors));
    for queue in queues {
        make(&router, queue);
    }
    router
}

fn make(router: &Router, queue: &str) -> Arc<crate::broker::destination::DestinationHandle> {
    let destination = Destination::queue(queue);
    let made = router.find_or_insert(&destination, |_| Ok::<_, ()>(handle(destination.clone())));
    made.expect("it can be made").0
}

fn expand(router: &Router, to: &Destination, message: &Message) -> Result<Targets, BrokerError> {
    let interceptors = router.interceptors().get();
    let mut expansion = Expansion::new(&interceptors, router, message);
    for part in to.parts() {
        expansion.send_to(&part, None);
    }
    expansion.finish()
}

/// Who gets a message for `to`, each `DESTINATION < ORIGINAL DESTINATION`.
fn reached(router: &Router, to: &Destination, message: &Message) -> Vec<String> {
    let targets = expand(router, to, message).expect("it goes somewhere").targets;
    let shown = targets.into_iter().map(|target| {
        assert_eq!(target.at, target.destination);
        match target.original_destination {
            Some(original) => format!("{} < {original}", target.at),
            None => target.at.to_string(),
        }
    });
    shown.collect()
}

fn typed(jms_type: &str) -> Message {
    Message { jms_type: Some(jms_type.into()), ..Message::default() }
}

fn composite(name: Destination, to: &[(&str, Option<&str>)]) -> Composite {
    let forward = |(to, selector): &(&str, Option<&str>)| Forward {
        destination: Destination::parse(to, DestinationKind::Queue),
        selector: selector.map(|text| Selector::parse(text).expect("a selector")),
    };
    Composite {
        name,
        forward_to: to.iter().map(forward).collect(),
        forward_only: true,
        keep_unmatched: false,
    }
}

fn composites(all: Vec<Composite>) -> Interceptors {
    let mut interceptors = Interceptors::default_virtual_topics();
    interceptors.layers = vec![Layer::Virtual(
        [Rule::Topic(0)].into_iter().chain(all.into_iter().map(Rule::Composite)).collect(),
    )];
    interceptors
}

#[tokio::test]
async fn a_virtual_topic_feeds_the_queues_there_are_and_itself() {
    let queues = ["Consumer.A.VirtualTopic.X", "Consumer.B.VirtualTopic.X", "Consumer.A.Y"];
    let router = router(Interceptors::default_virtual_topics(), &queues);
    let topic = Destination::topic("VirtualTopic.X");
    assert_eq!(
        reached(&router, &topic, &Message::default()),
        [
            "queue://Consumer.A.VirtualTopic.X < topic://VirtualTopic.X",
            "queue://Consumer.B.VirtualTopic.X < topic://VirtualTopic.X",
            "topic://VirtualTopic.X",
        ]
    );
    drop(router.remove(&Destination::queue("Consumer.A.VirtualTopic.X")));
    assert_eq!(reached(&router, &topic, &Message::default()).len(), 2);
    assert!(!router.interceptors().get().intercept(&Destination::topic("X")));
    assert!(!router.interceptors().get().intercept(&Destination::queue("VirtualTopic.X")));
    let other = Destination::topic("VirtualTopic.Y");
    assert_eq!(reached(&router, &other, &Message::default()), ["topic://VirtualTopic.Y"]);
}

#[tokio::test]
async fn a_queue_with_a_pattern_in_its_name_is_fed_by_all_topics_it_matches() {
    let router = router(Interceptors::default_virtual_topics(), &["Consumer.A.VirtualTopic.>"]);
    for topic in ["VirtualTopic.X", "VirtualTopic.X.Y"] {
        let reached = reached(&router, &Destination::topic(topic), &Message::default());
        assert_eq!(reached[0], format!("queue://Consumer.A.VirtualTopic.> < topic://{topic}"));
        assert_eq!(reached.len(), 2);
    }
}

#[tokio::test]
async fn of_fed_queues_with_a_pattern_for_a_name_a_consumer_reads_its_own() {
    let router = router(Interceptors::default_virtual_topics(), &[]);
    let pattern = Destination::queue("Consumer.A.VirtualTopic.>");
    assert!(router.interceptors().get().make_queue_of(&pattern));
    assert!(!router.interceptors().get().make_queue_of(&Destination::queue("A.>")));
    assert!(!router.interceptors().get().make_queue_of(&Destination::topic("Consumer.A.>")));
    let reads = |name: &str| router.reads(&pattern, &Destination::queue(name));
    assert!(reads("Consumer.A.VirtualTopic.>") && reads("Consumer.A.VirtualTopic.X"));
    assert!(!reads("Consumer.A.VirtualTopic.X.>"));
    assert!(router.reads(&Destination::queue("A.>"), &Destination::queue("A.B")));
}

#[tokio::test]
async fn local_virtual_topics_do_not_copy_what_came_over_a_network() {
    let mut interceptors = Interceptors::default();
    let rule =
        interceptors.add_virtual_topic(VirtualTopic { local: true, ..VirtualTopic::default() });
    interceptors.layers.push(Layer::Virtual(vec![rule]));
    let router = router(interceptors, &["Consumer.A.VirtualTopic.X"]);
    let topic = Destination::topic("VirtualTopic.X");
    assert_eq!(reached(&router, &topic, &Message::default()).len(), 2);
    let path = vec![Some(BrokerId::new("other"))];
    let foreign = Message { broker_path: Some(path), ..Message::default() };
    assert_eq!(reached(&router, &topic, &foreign), ["topic://VirtualTopic.X"]);
}

#[tokio::test]
async fn advisories_are_never_copied() {
    let mut interceptors = Interceptors::default();
    let everything = VirtualTopic { name: ">".into(), ..VirtualTopic::default() };
    let rule = interceptors.add_virtual_topic(everything);
    interceptors.layers.push(Layer::Virtual(vec![rule]));
    assert!(interceptors.intercept(&Destination::topic("X")));
    assert!(!interceptors.intercept(&Destination::topic("ActiveMQ.Advisory.Queue")));
}

#[tokio::test]
async fn selector_aware_copies_what_a_consumer_selects_or_did() {
    let mut interceptors = Interceptors::default();
    let aware = VirtualTopic { selector_aware: true, ..VirtualTopic::default() };
    let rule = interceptors.add_virtual_topic(aware);
    interceptors.layers.push(Layer::Virtual(vec![rule]));
    let cache = Arc::new(SelectorCache::new(SelectorCacheOptions::default()));
    interceptors.selector_cache = Some(Arc::clone(&cache));
    let (name, topic) = ("Consumer.A.VirtualTopic.X", Destination::topic("VirtualTopic.X"));
    let router = router(interceptors, &[name]);
    let copied = |jms_type| reached(&router, &topic, &typed(jms_type)).len() == 2;
    assert!(!copied("a"), "nobody is there");
    let selector = Some(Selector::parse("JMSType = 'a'").expect("a selector"));
    let queue = router.find(&Destination::queue(name)).expect("it is there");
    let key = SubscriptionKey(1);
    let info = ConsumerInfo { destination: Some(queue.destination.clone()), ..consumer("c", 1, 1) };
    cache.note(&info, selector.as_ref());
    assert!(copied("a") && !copied("b"));
    cache.forget(&queue.destination);
    let consumer = QueueConsumer {
        key,
        info: Arc::new(info),
        selector,
        outbox: Arc::default(),
        window: Arc::new(Window::new(1)),
        queues: Mutex::default(),
        several: false,
        pulls: Mutex::default(),
    };
    let listener = Listener::Queue(Arc::new(consumer));
    assert!(router.listen_by_name(key, &queue.destination, listener).is_some());
    assert!(copied("a") && !copied("b"));
    assert!(expand(&router, &topic, &typed("a")).is_ok_and(|targets| targets.varies));
}

#[tokio::test]
async fn copies_may_keep_the_topic_as_their_destination() {
    let mut interceptors = Interceptors::default();
    let bare = VirtualTopic { set_original_destination: false, ..VirtualTopic::default() };
    let rule = interceptors.add_virtual_topic(bare);
    interceptors.layers.push(Layer::Virtual(vec![rule]));
    let router = router(interceptors, &["Consumer.A.VirtualTopic.X"]);
    let topic = Destination::topic("VirtualTopic.X");
    let message = Arc::new(Message { destination: Some(topic.clone()), ..Message::default() });
    let targets = expand(&router, &topic, &message).expect("it goes somewhere").targets;
    let copies: Vec<_> = targets.iter().map(|target| target.address(&message)).collect();
    assert!(copies.iter().all(|copy| Arc::ptr_eq(copy, &message)), "nothing differs");
    assert_eq!(targets[0].at, Destination::queue("Consumer.A.VirtualTopic.X"));
}

#[tokio::test]
async fn a_composite_forwards_and_keeps_what_it_is_told_to() {
    let only = composite(Destination::queue("A"), &[("B", None), ("topic://C", None)]);
    let both =
        Composite { forward_only: false, ..composite(Destination::queue("D.*"), &[("B", None)]) };
    let router = router(composites(vec![only, both]), &[]);
    let (a, d) = (Destination::queue("A"), Destination::queue("D.1"));
    let message = Message::default();
    assert_eq!(reached(&router, &a, &message), ["queue://B < queue://A", "topic://C < queue://A"]);
    assert_eq!(reached(&router, &d, &message), ["queue://B < queue://D.1", "queue://D.1"]);
    assert!(!router.interceptors().get().intercept(&Destination::topic("A")));
    assert!(!router.interceptors().get().intercept(&Destination::queue("D")));
}

#[tokio::test]
async fn filters_choose_and_what_none_matches_may_stay() {
    let (red, blue) = (Some("JMSType = 'red'"), Some("JMSType = 'blue'"));
    let drops = composite(Destination::queue("A"), &[("R", red), ("B", blue)]);
    let keeps =
        Composite { keep_unmatched: true, ..composite(Destination::queue("K"), &[("R", red)]) };
    let router = router(composites(vec![drops, keeps]), &[]);
    let to = |name: &str, jms_type| reached(&router, &Destination::queue(name), &typed(jms_type));
    assert_eq!(to("A", "red"), ["queue://R < queue://A"]);
    assert_eq!(to("A", "green"), Vec::<String>::new());
    assert_eq!(to("K", "red"), ["queue://R < queue://K"]);
    assert_eq!(to("K", "green"), ["queue://K"]);
    let targets = expand(&router, &Destination::queue("A"), &typed("red"));
    assert!(targets.is_ok_and(|targets| targets.varies));
}

#[tokio::test]
async fn interceptors_chain_and_each_destination_is_reached_once() {
    let diamond = composite(Destination::queue("A"), &[("B", None), ("C", None)]);
    let left = composite(Destination::queue("B"), &[("topic://VirtualTopic.X", None)]);
    let right = composite(Destination::queue("C"), &[("topic://VirtualTopic.X", None)]);
    let router = router(composites(vec![diamond, left, right]), &["Consumer.A.VirtualTopic.X"]);
    let expected = [
        "queue://Consumer.A.VirtualTopic.X < topic://VirtualTopic.X",
        "topic://VirtualTopic.X < queue://B",
    ];
    assert_eq!(reached(&router, &Destination::queue("A"), &Message::default()), expected);
    let list = Destination::queue("A,topic://VirtualTopic.X,C");
    assert_eq!(reached(&router, &list, &Message::default()), expected);
}

#[tokio::test]
async fn a_circle_ends_and_is_an_error_where_it_keeps_nothing() {
    let circle = |forward_only| {
        let to = |name: &str, to: &str| Composite {
            forward_only,
            ..composite(Destination::queue(name), &[(to, None)])
        };
        router(composites(vec![to("A", "B"), to("B", "A")]), &[])
    };
    let a = Destination::queue("A");
    let message = Message::default();
    assert_eq!(reached(&circle(false), &a, &message), ["queue://B < queue://A", "queue://A"]);
    let error = expand(&circle(true), &a, &message).expect_err("it stays nowhere");
    assert_eq!(error, BrokerError::ForwardCircle(a));
}

#[tokio::test]
async fn a_mirror_feeds_virtual_topics_and_temporary_queues_if_wanted() {
    let mirrored = |temporaries| {
        let mut interceptors = Interceptors::default_virtual_topics();
        let (prefix, postfix) = ("VirtualTopic.Mirror.".into(), "".into());
        interceptors.layers.push(Layer::Mirror(Mirror { prefix, postfix, temporaries }));
        router(interceptors, &["Consumer.A.VirtualTopic.Mirror.Q"])
    };
    let message = Message::default();
    assert_eq!(
        reached(&mirrored(false), &Destination::queue("Q"), &message),
        [
            "topic://VirtualTopic.Mirror.Consumer.A.VirtualTopic.Mirror.Q < topic://VirtualTopic.Mirror.Q",
            "queue://Consumer.A.VirtualTopic.Mirror.Q < topic://VirtualTopic.Mirror.Q",
            "topic://VirtualTopic.Mirror.Q",
            "queue://Q",
        ]
    );
    let temporary = Destination::new(DestinationKind::TempQueue, Some("T".into()));
    assert_eq!(reached(&mirrored(true), &temporary, &message).len(), 2);
    assert!(!mirrored(false).interceptors().get().intercept(&temporary));
    assert!(!mirrored(true).interceptors().get().intercept(&Destination::topic("Q")));
}

#[tokio::test]
async fn the_last_layer_sees_a_message_first() {
    let layers = |mirror_first: bool| {
        let mut interceptors = composites(vec![composite(Destination::queue("A"), &[("B", None)])]);
        let (prefix, postfix) = ("M.".into(), "".into());
        let mirror = Layer::Mirror(Mirror { prefix, postfix, temporaries: true });
        interceptors.layers.insert(usize::from(!mirror_first), mirror);
        router(interceptors, &[])
    };
    let (a, message) = (Destination::queue("A"), Message::default());
    let inner = ["topic://M.B < queue://A", "queue://B < queue://A"];
    assert_eq!(reached(&layers(true), &a, &message), inner, "nothing reaches the mirror of A");
    let outer = ["topic://M.A", "topic://M.B < queue://A", "queue://B < queue://A"];
    assert_eq!(reached(&layers(false), &a, &message), outer);
}

#[test]
fn sources_are_the_virtual_destinations_behind_a_consumer() {
    let a = composite(Destination::topic("A"), &[("Q", None)]);
    let interceptors = composites(vec![a]);
    let sources = |name: &str| interceptors.sources(&Destination::queue(name));
    assert_eq!(sources("Q"), [Destination::topic("A")]);
    assert_eq!(sources("Consumer.A.VirtualTopic.X"), [Destination::topic("VirtualTopic.X")]);
    assert_eq!(sources("R"), []);
}
