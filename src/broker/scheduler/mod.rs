//! Scheduled delivery: messages that wait for their time, and what asks for them (`schedulerSupport`).
//!
//! - `schedule`, `cron`: what a message wants. `job`: a message that waits, as it is stored, and as it is
//!   delivered.
//! - `jobs`: all of them; a destination of its own, whose task sleeps until the next one is due.
//! - `fire`: what is due enters its destinations. `management`: the topic `ActiveMQ.Scheduler.Management`.
//!
//! # Exactly once
//!
//! Jobs are messages in the broker's own store, in a queue that no client can reach ([`jobs_queue`]).
//! A firing is one commit: the job leaves its queue, or changes into the one that waits for the next time, and
//! the message enters its destinations, in one submit, which a store takes as a whole or not at all. So
//! whenever the broker ends, either the job is still due or the message is where it belongs. Likewise a message
//! sent in a transaction becomes a job with the rest of it, and one that is to be redelivered leaves its queue
//! in the submit that schedules it.
//!
//! That is why there is no second store in `schedulerDirectory`, as ActiveMQ has one.
//!
//! Jobs that are due when the broker starts are delivered then, once, however often they were missed.

pub mod cron;
mod fire;
mod job;
mod jobs;
mod management;
pub mod schedule;
#[cfg(test)]
mod tests;

pub use self::job::{Job, Step};
pub use self::jobs::Jobs;
pub use self::schedule::Schedule;

use super::Gone;
use super::destination::{DestinationHandle, NewDestination, Op, Outlet, QueueHistory, spawn_jobs};
use super::error::BrokerError;
use super::outbox::Receipt;
use super::policy::Policy;
use super::usage::Usage;
use super::{Broker, BrokerOptions};
use crate::jms::{Destination, Message, MessageId, ProducerId, Text};
use crate::store::StoreOp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::oneshot;

/// What the scheduler is started with.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// `schedulerSupport`; false: `AMQ_SCHEDULED_*` are properties like any other.
    pub is_active: bool,
    /// `maxSchedulerRepeatAllowed`.
    pub repeats_max: u32,
    /// `jobSchedulerUsage`: bytes of the messages that wait.
    pub usage: Arc<Usage>,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self { is_active: false, repeats_max: 1000, usage: Usage::new(0, None) }
    }
}

/// Where jobs are kept. No client can name it: it is in no table of destinations.
pub fn jobs_queue() -> Destination {
    Destination::queue("ActiveMQ.Scheduler.Jobs")
}

/// The way to the jobs.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) handle: Arc<DestinationHandle>,
    options: SchedulerOptions,
    ids: Arc<Ids>,
}

/// What the jobs are asked.
#[derive(Debug)]
pub enum JobsOp {
    /// A firing is over: these were committed, or not; and the destinations of those cannot be had.
    Fired {
        shots: Vec<Shot>,
        outcome: Result<(), BrokerError>,
        unreachable: Vec<i64>,
    },
    Remove {
        id: Text,
        receipt: Option<Receipt>,
    },
    /// All that are due in this time, ms since the epoch.
    RemoveBetween {
        first_ms: i64,
        last_ms: i64,
        receipt: Option<Receipt>,
    },
    List {
        after: JobCursor,
        last_ms: i64,
        answer: oneshot::Sender<Result<JobPage, BrokerError>>,
    },
    Status(oneshot::Sender<JobsStatus>),
    /// Nothing is fired any more.
    Stop,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobCursor {
    due_ms: i64,
    number: i64,
}

impl JobCursor {
    /// Before all jobs that are due at `ms` since the epoch, or later.
    pub fn at(ms: i64) -> Self {
        Self { due_ms: ms, number: i64::MIN }
    }
}

/// Some jobs, in the order in which they are due.
#[derive(Debug)]
pub struct JobPage {
    pub jobs: Vec<ScheduledJob>,
    /// Where to read on; none: there are no more.
    pub next: Option<JobCursor>,
}

/// A job and its message.
#[derive(Clone, Debug)]
pub struct ScheduledJob {
    pub job: Job,
    /// As it is stored.
    pub message: Arc<Message>,
}

/// Figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsStatus {
    pub jobs: u64,
    /// When the next one is due, ms since the epoch.
    pub next_ms: Option<i64>,
    /// False while what there was at the start is still being read.
    pub is_complete: bool,
}

/// What is due at one time.
#[derive(Debug)]
pub struct Firing {
    pub(super) shots: Vec<Shot>,
    /// Tells the jobs how it went.
    pub(super) tell: Tell,
}

/// Tells a destination something of its own.
pub(super) struct Tell(pub(super) Arc<dyn Fn(Op) + Send + Sync>);

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}

/// What one job does when it is due.
#[derive(Debug)]
pub struct Shot {
    number: i64,
    /// What is delivered, if anything is.
    message: Option<Message>,
    /// What happens to the job in the store, at the same time.
    ops: Vec<StoreOp>,
    /// What waits then.
    waits: Vec<Waiting>,
}

/// A job with its place.
#[derive(Debug)]
struct Waiting {
    job: Job,
    sequence: i64,
    message: Arc<Message>,
}

/// Ids for messages of the scheduler.
#[derive(Debug)]
pub struct Ids {
    producer: ProducerId,
    next: AtomicI64,
}

impl Ids {
    /// Ids that begin with `connection`, which no other broker and no earlier start has.
    pub fn new(connection: Text) -> Self {
        let producer = ProducerId { connection: Some(connection), session: 1, value: 1 };
        Self { producer, next: AtomicI64::new(1) }
    }

    /// Of all these messages.
    pub fn producer(&self) -> &ProducerId {
        &self.producer
    }

    /// A new one.
    pub fn next_message(&self) -> MessageId {
        MessageId {
            producer: Some(self.producer.clone()),
            producer_sequence: self.next.fetch_add(1, Ordering::Relaxed),
            ..MessageId::default()
        }
    }
}

impl Scheduler {
    /// Starts the task of the jobs that are in the store.
    pub(super) fn start(
        options: &BrokerOptions,
        sequence: &Arc<AtomicI64>,
        outlet: &Outlet,
    ) -> Self {
        let scheduler = options.scheduler.clone();
        let ids = Arc::new(Ids::new(format!("{}-scheduler", options.id).into()));
        let new = NewDestination {
            destination: jobs_queue(),
            policy: Arc::new(Policy::default()),
            usage: Arc::clone(&scheduler.usage),
            store_usage: Arc::clone(&options.store_usage),
            temp_usage: Arc::clone(&options.temp_usage),
            spool: None,
            dispatches_early: false,
            creator: None,
            sequence: Arc::clone(sequence),
            history: QueueHistory::default(),
            gone: Gone::default(),
        };
        let last = sequence.load(Ordering::Relaxed);
        let (of_jobs, active) = (Arc::clone(&ids), scheduler.is_active);
        let repeats_max = scheduler.repeats_max;
        let handle = spawn_jobs(new, outlet.clone(), move |context| {
            Jobs::new(context, of_jobs, active, repeats_max, last)
        });
        Self { handle, options: scheduler, ids }
    }

    /// Whether messages are scheduled.
    pub fn is_active(&self) -> bool {
        self.options.is_active
    }

    /// Whether `message` is to be scheduled.
    ///
    /// # Errors
    /// When what it wants makes no sense.
    pub(super) fn takes(&self, message: &Message) -> Result<bool, BrokerError> {
        if !self.options.is_active {
            return Ok(false);
        }
        let schedule = Schedule::of(message, self.options.repeats_max);
        schedule
            .map(|found| found.is_some())
            .map_err(|e| BrokerError::Schedule(e.to_string().into()))
    }

    /// Jobs behind `after` that are due up to `last_ms`, ms since the epoch: one page of them.
    ///
    /// # Errors
    /// When the store cannot be read, or the broker stops.
    pub async fn list(&self, after: JobCursor, last_ms: i64) -> Result<JobPage, BrokerError> {
        let (answer, answered) = oneshot::channel();
        self.ask(JobsOp::List { after, last_ms, answer }).await;
        answered.await.unwrap_or(Err(BrokerError::Stopping))
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the broker stops.
    pub async fn status(&self) -> Result<JobsStatus, BrokerError> {
        let (answer, answered) = oneshot::channel();
        self.ask(JobsOp::Status(answer)).await;
        answered.await.map_err(|_| BrokerError::Stopping)
    }

    /// Removes the job `id`, if there is one; `receipt` resolves when it is gone from the store.
    pub async fn remove(&self, id: Text, receipt: Option<Receipt>) {
        self.ask(JobsOp::Remove { id, receipt }).await;
    }

    /// Removes all jobs that are due in this time, ms since the epoch.
    pub async fn remove_between(&self, first_ms: i64, last_ms: i64, receipt: Option<Receipt>) {
        self.ask(JobsOp::RemoveBetween { first_ms, last_ms, receipt }).await;
    }

    /// Nothing is delivered any more.
    pub async fn stop(&self) {
        self.ask(JobsOp::Stop).await;
    }

    async fn ask(&self, op: JobsOp) {
        self.handle.send(vec![Op::Jobs(Box::new(op))]).await;
    }
}
