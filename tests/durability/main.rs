//! Nothing that was confirmed is lost, whenever the broker dies.
//!
//! Clients of all kinds work while the broker is killed (SIGKILL) at a random moment, started again on
//! its directory, killed again. Each records what it asked for, what was answered and what it got. In the
//! end everything is drained, and [`check`] says what had to be true.
//!
//! `DURABILITY_ROUNDS` lives of the broker, 50 unless it is set; `DURABILITY_SEED` repeats the choices of
//! a failed run, though not its timing.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

#[path = "../harness/mod.rs"]
mod harness;

mod actors;
mod check;
mod history;
mod xa;

use actors::{Actor, Mover, Random, Receiver, Returner, Round, Sender, Transactor};
use actors::{acknowledge_all, note};
use broker::client::ClientError;
use broker::jms::Destination;
use check::{check, story};
use harness::{Broker, PATIENCE};
use history::{Event, History, Name, Place, Spot, Unit};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use xa::XaMover;

/// Small files, written and cleaned up often: a broker of this test does not live long.
const STORE: &str = r#"<persistenceAdapter>
      <kahaDB directory="${activemq.data}/kahadb" journalMaxFileLength="256kb"
              checkpointInterval="50" cleanupInterval="100"/>
    </persistenceAdapter>"#;

/// The same in several stores: what is moved, or sent in pairs, goes from one to another.
const STORES: &str = r#"<persistenceAdapter>
      <mKahaDB directory="${activemq.data}/stores" journalMaxFileLength="256kb">
        <filteredPersistenceAdapters>
          <filteredKahaDB queue="pairs.a">
            <persistenceAdapter>
              <kahaDB journalMaxFileLength="256kb" checkpointInterval="50" cleanupInterval="100"/>
            </persistenceAdapter>
          </filteredKahaDB>
          <filteredKahaDB queue="xa.>" perDestination="true">
            <persistenceAdapter>
              <kahaDB journalMaxFileLength="256kb" checkpointInterval="50" cleanupInterval="100"/>
            </persistenceAdapter>
          </filteredKahaDB>
          <filteredKahaDB queue="to">
            <persistenceAdapter>
              <kahaDB journalMaxFileLength="256kb" checkpointInterval="50" cleanupInterval="100"/>
            </persistenceAdapter>
          </filteredKahaDB>
          <filteredKahaDB>
            <persistenceAdapter>
              <kahaDB journalMaxFileLength="256kb" checkpointInterval="50" cleanupInterval="100"/>
            </persistenceAdapter>
          </filteredKahaDB>
        </filteredPersistenceAdapters>
      </mKahaDB>
    </persistenceAdapter>"#;

const TOPIC: &str = "news";
const SUBSCRIPTIONS: &[Place] = &["steady", "sometimes", "asleep"];
const QUEUES: &[Place] = &[
    "orders.0", "orders.1", "orders.2", "pairs.a", "pairs.b", "from", "to", "xa.from", "xa.to",
    "returns",
];

/// A run: its clients, between rounds, and what they know.
struct Run {
    seed: u64,
    random: Random,
    history: Arc<History>,
    actors: Vec<Actor>,
    drains: u16,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_has_lost_nothing() {
    die_often(STORE, setting("DURABILITY_ROUNDS").unwrap_or(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_with_several_stores_has_lost_nothing() {
    die_often(STORES, setting("DURABILITY_ROUNDS").unwrap_or(15)).await;
}

async fn die_often(store: &str, rounds: u64) {
    let mut broker = Broker::start_persistent(store);
    let mut run = Run::new();
    run.subscribe(broker.address()).await;
    for _ in 0..rounds {
        // Not a wait for something: the moment of death.
        let life = Duration::from_millis(10 + run.random.below(291) as u64);
        let working = run.work(broker.address());
        sleep(life).await;
        broker.kill9();
        run.rest(working, true).await;
        run.restart(&mut broker);
    }
    run.drain(broker.address()).await;
    broker.kill9();
    run.restart(&mut broker);
    run.drain(broker.address()).await;
    broker.stop();
    run.restart(&mut broker);
    run.drain(broker.address()).await;
    broker.assert_healthy();
    run.judge();
}

/// The same clients and the same judge, without a death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_lose_nothing() {
    let mut broker = Broker::start();
    let mut run = Run::new();
    run.subscribe(broker.address()).await;
    for _ in 0..5 {
        let enough = run.history.length() + 500;
        let working = run.work(broker.address());
        timeout(PATIENCE, run.history.grows_to(enough)).await.expect("the clients to work");
        run.rest(working, false).await;
    }
    run.drain(broker.address()).await;
    run.drain(broker.address()).await;
    broker.assert_healthy();
    run.judge();
}

/// Clients at work.
struct Working {
    clients: JoinSet<(Actor, Result<(), ClientError>)>,
    over: watch::Sender<bool>,
}

impl Run {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = setting("DURABILITY_SEED").unwrap_or(since.as_micros() as u64);
        println!("DURABILITY_SEED={seed}");
        let mut random = Random(seed);
        let actors = cast(&mut random);
        Self { seed, random, history: Arc::new(History::new()), actors, drains: 0 }
    }

    fn round(&self, broker: SocketAddr) -> (Round, watch::Sender<bool>) {
        let (ends, over) = watch::channel(false);
        (Round { broker, history: Arc::clone(&self.history), over }, ends)
    }

    /// Makes the durable subscriptions.
    async fn subscribe(&self, broker: SocketAddr) {
        let (round, _ends) = self.round(broker);
        let topic = Destination::topic(TOPIC);
        for place in SUBSCRIPTIONS {
            let (connection, ..) = Receiver::open(place, Some(&topic), 1, &round).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    fn work(&mut self, broker: SocketAddr) -> Working {
        let (round, over) = self.round(broker);
        let mut clients = JoinSet::new();
        for mut actor in self.actors.drain(..) {
            let round = round.clone();
            clients.spawn(async move {
                let outcome = actor.work(&round).await;
                (actor, outcome)
            });
        }
        Working { clients, over }
    }

    /// Ends a round; fails if a client had any trouble but the death of the broker.
    async fn rest(&mut self, mut working: Working, died: bool) {
        working.over.send_replace(true);
        while let Some(ended) =
            timeout(PATIENCE, working.clients.join_next()).await.expect("clients to end")
        {
            let (actor, outcome) = ended.unwrap();
            match outcome {
                Ok(()) => {}
                Err(ClientError::Lost(_) | ClientError::Closed | ClientError::Connect { .. })
                    if died => {}
                Err(error) => panic!("a client failed: {error}"),
            }
            self.actors.push(actor);
        }
    }

    fn restart(&self, broker: &mut Broker) {
        self.history.started();
        broker.restart();
    }

    /// Takes everything there is: all before a message that is sent now.
    async fn drain(&mut self, broker: SocketAddr) {
        self.drains += 1;
        let (round, _ends) = self.round(broker);
        for actor in &mut self.actors {
            actor.settle(&round).await.unwrap();
        }
        let last = Name { source: u16::MAX - self.drains, number: 1, copy: 0 };
        for place in QUEUES {
            let spots = vec![Spot { place, name: last }];
            send(&round, Destination::queue(*place), spots).await.unwrap();
            self.empty(&round, place, None, last).await.unwrap();
        }
        let topic = Destination::topic(TOPIC);
        let spots = SUBSCRIPTIONS.iter().map(|place| Spot { place, name: last }).collect();
        send(&round, topic.clone(), spots).await.unwrap();
        for place in SUBSCRIPTIONS {
            self.empty(&round, place, Some(&topic), last).await.unwrap();
        }
    }

    async fn empty(
        &self,
        round: &Round,
        place: Place,
        topic: Option<&Destination>,
        last: Name,
    ) -> Result<(), ClientError> {
        let (connection, mut consumer, number) = Receiver::open(place, topic, 1000, round).await?;
        let mut batch = Vec::new();
        loop {
            let more = timeout(PATIENCE, consumer.receive_all(&mut batch)).await;
            let Ok(more) = more else {
                self.judge(); // it may know what is missing
                panic!("seed {}: {place} has more than it delivers", self.seed);
            };
            more?;
            let spots: Vec<_> =
                batch.iter().map(|dispatch| note(round, number, place, dispatch)).collect();
            acknowledge_all(round, &consumer, &batch, &spots).await?;
            if spots.iter().any(|spot| spot.name == last) {
                return connection.close().await;
            }
            batch.clear();
        }
    }

    /// Fails with the stories of some of the messages that were not treated as promised.
    fn judge(&self) {
        let events = self.history.events();
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
        let units = count(|event| matches!(event, Event::Began(_)));
        let answers = count(|event| matches!(event, Event::Ended { .. }));
        let deliveries = count(|event| matches!(event, Event::Delivered { .. }));
        println!("{units} units, {answers} answered, {deliveries} deliveries");
        assert!(answers > 100 && deliveries > 100, "the clients did not work");
        let violations = check(&events);
        for violation in violations.iter().take(10) {
            println!("{:?}: {}", violation.spot, violation.what);
            println!("{}", story(&events, violation.spot.name));
        }
        let count = violations.len();
        assert!(violations.is_empty(), "seed {}: {count} broken promises", self.seed);
    }
}

/// All clients of a run.
fn cast(random: &mut Random) -> Vec<Actor> {
    let mut fork = || Random(random.next());
    let sender = |source, place: &'static [Place; 1], random| {
        let destination = Destination::queue(place[0]);
        Actor::Sender(Sender { source, destination, places: place, number: 0, random })
    };
    let receiver = |place, topic: Option<&str>, rounds_of_8, random| {
        let topic = topic.map(Destination::topic);
        Actor::Receiver(Receiver { place, topic, rounds_of_8, random })
    };
    vec![
        sender(0, &["orders.0"], fork()),
        sender(1, &["orders.1"], fork()),
        sender(2, &["orders.2"], fork()),
        sender(3, &["from"], fork()),
        sender(6, &["xa.from"], fork()),
        Actor::Sender(Sender {
            source: 4,
            destination: Destination::topic(TOPIC),
            places: SUBSCRIPTIONS,
            number: 0,
            random: fork(),
        }),
        Actor::Returner(Returner {
            source: 7,
            queue: "returns",
            number: 0,
            unanswered: VecDeque::new(),
            returns: false,
            random: fork(),
        }),
        Actor::Transactor(Transactor {
            source: 5,
            queues: ["pairs.a", "pairs.b"],
            number: 0,
            random: fork(),
        }),
        Actor::Mover(Mover { from: "from", to: "to", attempts: 0, random: fork() }),
        Actor::XaMover(XaMover {
            from: "xa.from",
            to: "xa.to",
            attempts: 0,
            pending: None,
            random: fork(),
        }),
        receiver("orders.0", None, 8, fork()),
        receiver("orders.1", None, 6, fork()),
        receiver("orders.2", None, 2, fork()),
        receiver("pairs.a", None, 4, fork()),
        receiver("to", None, 4, fork()),
        receiver("returns", None, 6, fork()),
        receiver("steady", Some(TOPIC), 8, fork()),
        receiver("sometimes", Some(TOPIC), 2, fork()),
    ]
}

/// Sends the one message of `spots`.
async fn send(
    round: &Round,
    destination: Destination,
    spots: Vec<Spot>,
) -> Result<(), ClientError> {
    let connection = round.connect(None).await?;
    let mut producer = connection.session().await?.producer(destination).await?;
    let body = spots[0].name.body(0);
    let unit = round.history.began(Unit { sends: spots, acks: Vec::new() });
    producer.send(&mut broker::client::text_message(&body), true).await?;
    round.history.ended(unit, true);
    connection.close().await
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
