//! Messages through a whole broker, as many as a window has under way.

use super::Outcome;
use super::process::Usage;
use broker::client::{Connection, Consumer, ConsumerOptions, Producer};
use broker::jms::{AckKind, Destination, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// What all receivers of one stream of messages count together.
#[derive(Clone, Default)]
pub(crate) struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    received: AtomicU64,
    news: Notify,
}

/// Deliveries under way; or one message's, if they are more.
const WINDOW: u64 = 2000;

/// Messages that a consumer may hold, and half of which it acknowledges together at the most.
pub(crate) const PREFETCH: i32 = 1000;

impl Flow {
    /// Receives and acknowledges in a task of its own, until the consumer or the connection ends.
    pub(crate) async fn receive(
        &self,
        connection: &Connection,
        destination: Destination,
        selector: Option<&str>,
    ) -> Outcome<()> {
        let options = ConsumerOptions {
            prefetch: PREFETCH,
            selector: selector.map(Into::into),
            ..ConsumerOptions::default()
        };
        let consumer = connection.own_session().consumer(destination, options).await?;
        let flow = self.clone();
        tokio::spawn(async move {
            // It ends with its connection.
            drop(flow.consume(consumer).await);
        });
        Ok(())
    }

    async fn consume(self, mut consumer: Consumer) -> Outcome<()> {
        let mut batch = Vec::new();
        loop {
            consumer.receive_all(&mut batch).await?;
            for part in batch.chunks(PREFETCH as usize / 2) {
                let (first, last, count) = (&part[0], &part[part.len() - 1], part.len() as i32);
                consumer.acknowledge(AckKind::Standard, first, last, count, false).await?;
            }
            self.0.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
            batch.clear();
            self.0.news.notify_one();
        }
    }

    /// All that was received so far.
    fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Waits until so many were received in all.
    pub(crate) async fn reaches(&self, received: u64) {
        while self.received() < received {
            self.0.news.notified().await;
        }
    }

    /// Sends `message` so often, and waits until each was received `fan_out` times.
    pub(crate) async fn send(
        &self,
        producer: &mut Producer,
        message: &mut Message,
        count: u64,
        fan_out: u64,
    ) -> Outcome<()> {
        let before = self.received();
        for sent in 0..count {
            let due = (sent + 1) * fan_out;
            self.reaches(before + due.saturating_sub(WINDOW.max(fan_out))).await;
            producer.send(message, false).await?;
        }
        self.reaches(before + count * fan_out).await;
        Ok(())
    }
}

/// How long something took, and what the broker's process used for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) seconds: f64,
    pub(crate) cpu_us: f64,
}

impl Effort {
    pub(crate) async fn of<T>(
        pid: u32,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<(T, Self)> {
        let (start, before) = (Instant::now(), Usage::of(pid));
        let done = work.await?;
        let (seconds, after) = (start.elapsed().as_secs_f64(), Usage::of(pid));
        Ok((done, Self { seconds, cpu_us: after.cpu_us - before.cpu_us }))
    }
}
