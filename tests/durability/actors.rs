//! Clients that work until the broker dies, and go on where they were with the next one.

use super::history::{History, Name, Place, Spot, Unit};
use super::xa::XaMover;
use broker::client::{ClientError, Connection, Consumer, ConsumerOptions, Options, Session};
use broker::client::{body_text, text_message};
use broker::jms::{AckKind, Destination, Message};
use broker::protocol::openwire::command::MessageDispatch;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// One life of the broker, as its clients see it.
#[derive(Clone)]
pub(crate) struct Round {
    pub(crate) broker: SocketAddr,
    pub(crate) history: Arc<History>,
    /// True when clients shall stop by themselves.
    pub(crate) over: watch::Receiver<bool>,
}

/// A client. Keeps what it knows from round to round.
pub(crate) enum Actor {
    Sender(Sender),
    Returner(Returner),
    Transactor(Transactor),
    Mover(Mover),
    XaMover(XaMover),
    Receiver(Receiver),
}

impl Actor {
    /// Works until the round is over, or the connection ends: then that is the error.
    pub(crate) async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        match self {
            Self::Sender(sender) => sender.work(round).await,
            Self::Returner(returner) => returner.work(round).await,
            Self::Transactor(transactor) => transactor.work(round).await,
            Self::Mover(mover) => mover.work(round).await,
            Self::XaMover(mover) => mover.work(round).await,
            Self::Receiver(receiver) => receiver.work(round).await,
        }
    }

    /// Ends what was left half done, before all is counted.
    pub(crate) async fn settle(&mut self, round: &Round) -> Result<(), ClientError> {
        if let Self::XaMover(mover) = self {
            let connection = round.connect(None).await?;
            mover.settle(&connection, round).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

impl Round {
    pub(crate) async fn connect(&self, client_id: Option<&str>) -> Result<Connection, ClientError> {
        let client_id = client_id.map(Into::into);
        Connection::connect(&Options { client_id, ..self.options() }).await
    }

    fn options(&self) -> Options {
        Options::new(self.broker.ip().to_string(), self.broker.port())
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// The next message, with what else has come up to `count`; nothing when the round is over.
    pub(crate) async fn receive(
        &self,
        consumer: &mut Consumer,
        count: usize,
    ) -> Result<Vec<MessageDispatch>, ClientError> {
        let mut over = self.over.clone();
        let first = tokio::select! {
            // An error means that nobody can end the round any more.
            _ = over.wait_for(|over| *over) => return Ok(Vec::new()),
            first = consumer.receive() => first?,
        };
        let mut batch = vec![first];
        while batch.len() < count
            && let Some(next) = consumer.try_receive()
        {
            batch.push(next);
        }
        Ok(batch)
    }
}

/// Sends to a queue or topic, some messages at a time, and waits for the answer to each.
pub(crate) struct Sender {
    pub(crate) source: u16,
    pub(crate) destination: Destination,
    /// The queue, or the durable subscriptions of the topic.
    pub(crate) places: &'static [Place],
    pub(crate) number: u32,
    pub(crate) random: Random,
}

impl Sender {
    async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        let connection = round.connect(None).await?;
        let session = connection.session().await?;
        let mut producer = session.producer(self.destination.clone()).await?;
        while !round.is_over() {
            let mut waiting = Vec::new();
            for _ in 0..=self.random.below(8) {
                self.number += 1;
                let name = Name { source: self.source, number: self.number, copy: 0 };
                let sends = self.places.iter().map(|place| Spot { place, name }).collect();
                let unit = round.history.began(Unit { sends, acks: Vec::new() });
                let receipt = producer.submit(&mut self.random.message(name)).await?;
                waiting.push((unit, receipt));
            }
            for (unit, receipt) in waiting {
                receipt.done().await?;
                round.history.ended(unit, true);
            }
        }
        connection.close().await
    }
}

/// Sends to a queue, and comes back as failover clients do: it sends again what was not answered, each
/// message with the id it had.
pub(crate) struct Returner {
    pub(crate) source: u16,
    pub(crate) queue: Place,
    /// Number of the last message, and its sequence as the producer's.
    pub(crate) number: u32,
    /// Messages sent and not answered, with their units.
    pub(crate) unanswered: VecDeque<(u32, usize)>,
    pub(crate) returns: bool,
    pub(crate) random: Random,
}

impl Returner {
    async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        let options = Options {
            client_id: Some("returner".into()),
            connection_id: Some("ID:returner:1".into()),
            fault_tolerant: true,
            failover_reconnect: std::mem::replace(&mut self.returns, true),
            ..round.options()
        };
        let connection = Connection::connect(&options).await?;
        let session = connection.session().await?;
        let mut producer = session.producer(Destination::queue(self.queue)).await?;
        let answered = self.number - u32::try_from(self.unanswered.len()).unwrap();
        producer.resume(answered.into());
        let mut receipts = VecDeque::new();
        for (number, _) in &self.unanswered {
            let name = Name { source: self.source, number: *number, copy: 0 };
            receipts.push_back(producer.submit(&mut self.random.message(name)).await?);
        }
        loop {
            while let Some(receipt) = receipts.pop_front() {
                receipt.done().await?;
                if let Some((_, unit)) = self.unanswered.pop_front() {
                    round.history.ended(unit, true);
                }
            }
            if round.is_over() {
                return connection.close().await;
            }
            for _ in 0..=self.random.below(8) {
                self.number += 1;
                let name = Name { source: self.source, number: self.number, copy: 0 };
                let sends = vec![Spot { place: self.queue, name }];
                let unit = round.history.began(Unit { sends, acks: Vec::new() });
                self.unanswered.push_back((self.number, unit));
                receipts.push_back(producer.submit(&mut self.random.message(name)).await?);
            }
        }
    }
}

/// Sends several messages to two queues in one transaction; rolls some back.
pub(crate) struct Transactor {
    pub(crate) source: u16,
    pub(crate) queues: [Place; 2],
    pub(crate) number: u32,
    pub(crate) random: Random,
}

impl Transactor {
    async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        let connection = round.connect(None).await?;
        let session = connection.session().await?;
        let mut producer = session.producer(None).await?;
        while !round.is_over() {
            let count = 2 + self.random.below(4);
            let mut sends = Vec::new();
            for at in 0..count {
                self.number += 1;
                let name = Name { source: self.source, number: self.number, copy: 0 };
                sends.push(Spot { place: self.queues[at % 2], name });
            }
            let unit = round.history.began(Unit { sends: sends.clone(), acks: Vec::new() });
            session.begin().await?;
            for spot in sends {
                let mut message = self.random.message(spot.name);
                message.destination = Some(Destination::queue(spot.place));
                let sent = producer.send(&mut message, self.random.below(2) == 0).await;
                sent.inspect_err(|_| round.history.ended(unit, false))?;
            }
            end_transaction(round, &session, unit, &mut self.random).await?;
        }
        connection.close().await
    }
}

/// Commits or sometimes rolls back; returns whether it was committed.
async fn end_transaction(
    round: &Round,
    session: &Session,
    unit: usize,
    random: &mut Random,
) -> Result<bool, ClientError> {
    let commits = random.below(8) > 0;
    if commits {
        session.commit().await?;
    } else {
        round.history.ended(unit, false);
        session.rollback().await?;
        return Ok(false);
    }
    round.history.ended(unit, true);
    Ok(true)
}

/// Receives from one queue and sends to another, in one transaction.
pub(crate) struct Mover {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) attempts: u32,
    pub(crate) random: Random,
}

/// Any small prefetch.
pub(crate) fn any_prefetch(random: &mut Random) -> ConsumerOptions {
    ConsumerOptions { prefetch: 1 + random.below(20) as i32, ..ConsumerOptions::default() }
}

impl Mover {
    async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        let connection = round.connect(None).await?;
        let session = connection.session().await?;
        let mut producer = session.producer(Destination::queue(self.to)).await?;
        loop {
            let options = any_prefetch(&mut self.random);
            let number = round.history.consumer();
            let mut consumer = session.consumer(Destination::queue(self.from), options).await?;
            loop {
                let batch = round.receive(&mut consumer, 1 + self.random.below(3)).await?;
                if batch.is_empty() {
                    return connection.close().await;
                }
                session.begin().await?;
                let mut unit = Unit::default();
                for dispatch in &batch {
                    let spot = note(round, number, self.from, dispatch);
                    unit.acks.push(spot);
                    self.attempts += 1;
                    let name = Name { copy: self.attempts, ..spot.name };
                    unit.sends.push(Spot { place: self.to, name });
                }
                let sends = unit.sends.clone();
                let unit = round.history.began(unit);
                let moving = async {
                    for (dispatch, spot) in batch.iter().zip(&sends) {
                        let mut message = self.random.message(spot.name);
                        producer.send(&mut message, self.random.below(2) == 0).await?;
                        consumer.ack(dispatch).await?;
                    }
                    Ok::<_, ClientError>(())
                };
                moving.await.inspect_err(|_| round.history.ended(unit, false))?;
                if !end_transaction(round, &session, unit, &mut self.random).await? {
                    break; // what was rolled back comes again to the next consumer
                }
            }
            consumer.close().await?;
        }
    }
}

/// Receives from a queue or durable subscription; waits for the answer to each acknowledgement.
pub(crate) struct Receiver {
    pub(crate) place: Place,
    /// The topic; none for a queue.
    pub(crate) topic: Option<Destination>,
    /// In how many of eight rounds it works.
    pub(crate) rounds_of_8: usize,
    pub(crate) random: Random,
}

impl Receiver {
    /// Opens a connection and a consumer for the place, with a number for the history.
    pub(crate) async fn open(
        place: Place,
        topic: Option<&Destination>,
        prefetch: i32,
        round: &Round,
    ) -> Result<(Connection, Consumer, usize), ClientError> {
        let connection = round.connect(topic.is_some().then_some(place)).await?;
        let session = connection.session().await?;
        let (consumer, number) = Self::consume(&session, place, topic, prefetch, round).await?;
        Ok((connection, consumer, number))
    }

    async fn consume(
        session: &Session,
        place: Place,
        topic: Option<&Destination>,
        prefetch: i32,
        round: &Round,
    ) -> Result<(Consumer, usize), ClientError> {
        let durable = topic.is_some().then(|| place.into());
        let options = ConsumerOptions { prefetch, durable, ..ConsumerOptions::default() };
        let destination = topic.cloned().unwrap_or_else(|| Destination::queue(place));
        let number = round.history.consumer();
        Ok((session.consumer(destination, options).await?, number))
    }

    async fn work(&mut self, round: &Round) -> Result<(), ClientError> {
        if self.random.below(8) >= self.rounds_of_8 {
            return Ok(());
        }
        let topic = self.topic.clone();
        let connection = round.connect(topic.is_some().then_some(self.place)).await?;
        let session = connection.session().await?;
        loop {
            let prefetch = 1 + self.random.below(100) as i32;
            let (mut consumer, number) =
                Self::consume(&session, self.place, topic.as_ref(), prefetch, round).await?;
            loop {
                let batch = round.receive(&mut consumer, 1 + self.random.below(10)).await?;
                if batch.is_empty() {
                    return connection.close().await;
                }
                let spots: Vec<_> = batch
                    .iter()
                    .map(|dispatch| note(round, number, self.place, dispatch))
                    .collect();
                match self.random.below(16) {
                    0 => break, // it comes again to the next consumer
                    1..8 => self.acknowledge_each(round, &consumer, &batch, &spots).await?,
                    _ => acknowledge_all(round, &consumer, &batch, &spots).await?,
                }
            }
            consumer.close().await?;
        }
    }

    /// Each message for itself, in order or against it.
    async fn acknowledge_each(
        &mut self,
        round: &Round,
        consumer: &Consumer,
        batch: &[MessageDispatch],
        spots: &[Spot],
    ) -> Result<(), ClientError> {
        let mut each: Vec<_> = batch.iter().zip(spots).collect();
        if self.random.below(2) == 0 {
            each.reverse();
        }
        for (dispatch, spot) in each {
            let unit = round.history.began(Unit::ack(*spot));
            consumer.acknowledge(AckKind::Individual, dispatch, dispatch, 1, true).await?;
            round.history.ended(unit, true);
        }
        Ok(())
    }
}

/// All at once. Nobody promises that such an acknowledgement is done as a whole.
pub(crate) async fn acknowledge_all(
    round: &Round,
    consumer: &Consumer,
    batch: &[MessageDispatch],
    spots: &[Spot],
) -> Result<(), ClientError> {
    let [first, ..] = batch else { return Ok(()) };
    let last = batch.last().unwrap_or(first);
    let units: Vec<_> = spots.iter().map(|spot| round.history.began(Unit::ack(*spot))).collect();
    let count = i32::try_from(batch.len()).unwrap();
    consumer.acknowledge(AckKind::Standard, first, last, count, true).await?;
    units.into_iter().for_each(|unit| round.history.ended(unit, true));
    Ok(())
}

/// Records a delivery.
pub(crate) fn note(
    round: &Round,
    consumer: usize,
    place: Place,
    dispatch: &MessageDispatch,
) -> Spot {
    let body = dispatch.message.as_deref().and_then(body_text);
    let name = body.as_deref().and_then(Name::read);
    let name = name.unwrap_or_else(|| panic!("not a message of this test: {dispatch:?}"));
    let spot = Spot { place, name };
    round.history.delivered(consumer, spot, dispatch.redelivery_counter > 0);
    spot
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Of any length that is usual.
    pub(crate) fn message(&mut self, name: Name) -> Message {
        text_message(&name.body(self.below(1000)))
    }
}
