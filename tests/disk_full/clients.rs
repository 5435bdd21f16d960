//! Clients that send and receive numbered messages.

use crate::harness::{Broker, PATIENCE};
use broker::client::{
    ClientError, Connection, Consumer, ConsumerOptions, Options, Producer, Session, body_text,
    text_message,
};
use broker::jms::{AckKind, Destination, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

async fn connect(broker: &Broker) -> Connection {
    Connection::connect(&Options::new("127.0.0.1", broker.port())).await.unwrap()
}

/// Sends one message after the other to a queue.
pub(crate) struct Sender {
    producer: Producer,
    _connection: Connection,
}

impl Sender {
    pub(crate) async fn start(broker: &Broker, queue: &str) -> Self {
        let connection = connect(broker).await;
        Self { producer: producer(&connection, queue).await, _connection: connection }
    }

    pub(crate) async fn send(&mut self, number: usize) -> Result<(), ClientError> {
        self.producer.send(&mut message(number, 1000, true), true).await
    }

    /// Sends again and again until a message is taken.
    pub(crate) async fn succeed_at_last(&mut self) {
        let tries = async {
            while self.send(0).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, tries).await.expect("there is space again");
    }
}

async fn producer(connection: &Connection, queue: &str) -> Producer {
    let session = connection.session().await.unwrap();
    session.producer(Destination::queue(queue)).await.unwrap()
}

/// Message `number` of about `bytes` bytes.
fn message(number: usize, bytes: usize, persistent: bool) -> Message {
    let mut message = text_message(&format!("{number} {}", "x".repeat(bytes)));
    message.persistent = persistent;
    message
}

fn number(message: &Message) -> usize {
    body_text(message).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Sends `numbers` to a queue, many under way at once; ends when all are answered.
pub(crate) struct Flood {
    answered: Arc<AtomicUsize>,
    task: JoinHandle<Vec<Result<(), ClientError>>>,
}

impl Flood {
    pub(crate) async fn start(
        broker: &Broker,
        queue: &'static str,
        count: usize,
        bytes: usize,
        persistent: bool,
    ) -> Self {
        let connection = connect(broker).await;
        let mut producer = producer(&connection, queue).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&answered);
        let task = tokio::spawn(async move {
            let (mut outcomes, mut waiting) = (Vec::new(), VecDeque::new());
            for number in 0..count {
                let mut message = message(number, bytes, persistent);
                match producer.submit(&mut message).await {
                    Ok(receipt) => waiting.push_back(receipt),
                    Err(error) => {
                        outcomes.push(Err(error));
                        return outcomes;
                    }
                }
                if waiting.len() >= UNDER_WAY
                    && let Some(receipt) = waiting.pop_front()
                {
                    outcomes.push(receipt.done().await);
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
            for receipt in waiting {
                outcomes.push(receipt.done().await);
                counter.fetch_add(1, Ordering::SeqCst);
            }
            // Somebody may have cut it.
            connection.close().await.unwrap_or_default();
            outcomes
        });
        Self { answered, task }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// What became of each.
    pub(crate) async fn end(self) -> Vec<Result<(), ClientError>> {
        timeout(PATIENCE, self.task).await.expect("it goes on").unwrap()
    }

    /// How many were taken before the connection was cut.
    pub(crate) async fn confirmed_until_cut(self) -> usize {
        let outcomes = timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
        outcomes.iter().take_while(|outcome| outcome.is_ok()).count()
    }

    /// Waits until all were taken.
    pub(crate) async fn succeed(self) {
        let failed = self.end().await.into_iter().find_map(Result::err);
        assert!(failed.is_none(), "{failed:?}");
    }
}

/// Transactions of several connections, each with a message for two queues.
pub(crate) struct Commits {
    tasks: Vec<JoinHandle<Result<(), ClientError>>>,
}

impl Commits {
    /// `count` in all.
    pub(crate) async fn start(broker: &Broker, count: usize, bytes: usize) -> Self {
        let mut tasks = Vec::new();
        for task in 0..UNDER_WAY {
            let connection = connect(broker).await;
            let session = connection.session().await.unwrap();
            let queue = Destination::queue(format!("C{task},D{task}"));
            let mut producer = session.producer(queue).await.unwrap();
            tasks.push(tokio::spawn(async move {
                for number in 0..count / UNDER_WAY {
                    session.begin().await?;
                    producer.send(&mut message(number, bytes, true), true).await?;
                    session.commit().await?;
                }
                connection.close().await
            }));
        }
        Self { tasks }
    }

    /// Waits until all are committed.
    pub(crate) async fn succeed(self) {
        for task in self.tasks {
            timeout(PATIENCE, task).await.expect("it goes on").unwrap().unwrap();
        }
    }
}

/// Messages sent and not answered.
pub(crate) const UNDER_WAY: usize = 20;

/// A consumer of a queue.
pub(crate) struct Drain {
    connection: Connection,
    session: Session,
    consumer: Consumer,
    queue: Destination,
}

impl Drain {
    pub(crate) async fn start(broker: &Broker, queue: &str) -> Self {
        let connection = connect(broker).await;
        let session = connection.session().await.unwrap();
        let queue = Destination::queue(queue);
        let options = ConsumerOptions { prefetch: 100, ..ConsumerOptions::default() };
        let consumer = session.consumer(queue.clone(), options).await.unwrap();
        Self { connection, session, consumer, queue }
    }

    /// Receives and acknowledges exactly these, in order, and returns when the broker has noted it.
    pub(crate) async fn expect(&mut self, numbers: impl IntoIterator<Item = usize>) {
        let mut numbers = numbers.into_iter().peekable();
        while let Some(expected) = numbers.next() {
            let next = timeout(PATIENCE, self.consumer.receive()).await;
            let dispatch = next.unwrap_or_else(|_| panic!("{expected} does not come")).unwrap();
            assert_eq!(number(dispatch.message.as_ref().unwrap()), expected);
            let waits = numbers.peek().is_none();
            let ack = self.consumer.acknowledge(AckKind::Standard, &dispatch, &dispatch, 1, waits);
            ack.await.unwrap();
        }
    }

    /// Stops receiving; what was acknowledged is.
    pub(crate) async fn close(self) {
        self.consumer.close().await.unwrap();
        self.connection.close().await.unwrap();
    }

    /// There is nothing more in the queue.
    pub(crate) async fn expect_end(self) {
        self.consumer.close().await.unwrap();
        let options = ConsumerOptions { prefetch: 0, ..ConsumerOptions::default() };
        let mut consumer = self.session.consumer(self.queue, options).await.unwrap();
        consumer.pull(-1).await.unwrap();
        let nothing = timeout(PATIENCE, consumer.receive()).await.expect("an answer").unwrap();
        assert!(nothing.message.is_none(), "{nothing:?}");
        self.connection.close().await.unwrap();
    }
}

/// Waits for what `is_so` looks at to become so; if it never does, the broker's log tells why.
pub(crate) async fn until(broker: &Broker, what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}\n{}", broker.log()));
}
