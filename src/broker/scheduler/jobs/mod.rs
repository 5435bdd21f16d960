//! The jobs there are: when each is due, and what happens then.
//!
//! Plain state, as a queue is. In memory is an index: per job its time, its place in the store and two
//! hashes. Messages are read when they are due; without a store they are here too. `loading`: what
//! there was at the start. `managing`: what is asked from outside.
//!
//! ```text
//!            stored                 read                 committed
//!   Send ------------> waiting ------------> in a firing ---------> gone, or waiting again
//!   Vote                  ^                        |
//!                         +---- refused: later ----+
//! ```

mod loading;
mod managing;

use self::loading::Loading;
use super::job::{Job, Step};
use super::schedule::Schedule;
use super::{Firing, Ids, JobCursor, JobPage, JobsOp, ScheduledJob, Shot, Tell, Waiting};
use crate::broker::destination::commit::{CommittedSend, Decision, Vote};
use crate::broker::destination::in_flight::Entry;
use crate::broker::destination::queue::QueueContext;
use crate::broker::destination::{Admission, Effects, Incoming, Now, Op, PageOf};
use crate::broker::error::BrokerError;
use crate::jms::Message;
use crate::store::{Fetch, Page, StoreError, StoreOp, StoredAdd, StoredMessage};
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// All that wait for their time.
pub struct Jobs {
    context: QueueContext,
    ids: Arc<Ids>,
    /// False: jobs are kept and nothing is fired.
    is_active: bool,
    repeats_max: u32,
    index: HashMap<i64, Indexed>,
    /// (due, number) of all that are in no firing.
    due: BTreeSet<(i64, i64)>,
    /// What was sent by whom and waits, or did lately: a message that a client sends again, because the
    /// answer was lost, is taken once.
    sent: HashSet<u64>,
    /// Those of `sent` that wait no more, oldest first.
    sent_before: VecDeque<u64>,
    /// Messages that no store has, by number.
    held: HashMap<i64, Arc<Message>>,
    hasher: DefaultHashBuilder,
    /// Jobs of the time before the start that are not in the index yet.
    loading: Option<Loading>,
    /// What has to wait until those are, or until a firing is over.
    postponed: Vec<JobsOp>,
    /// Pages that are read, by what they are asked with.
    asked: HashMap<u64, Asked>,
    next_ask: u64,
    is_firing: bool,
    /// How many jobs one firing has at most.
    batch_max: usize,
    /// After something failed: when to try again.
    retry_at: Option<Instant>,
    deadline: Option<Instant>,
}

/// A job as it is found without its message.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    sequence: i64,
    due_ms: i64,
    /// Of who sent it, in `sent`.
    sent: u64,
    bytes: u32,
    /// Of the job's id.
    id: u32,
}

#[derive(Debug)]
enum Asked {
    /// These numbers are due.
    Due(Vec<i64>),
    List {
        next: Option<JobCursor>,
        answer: oneshot::Sender<Result<JobPage, BrokerError>>,
    },
}

/// How many that wait no more are known: as many as a destination knows of one producer.
const SENT_BEFORE_MAX: usize = 2048;

/// Reading what there was at the start is asked with this.
const LOAD: u64 = 0;

/// Jobs that go into one commit: bounds what is in memory, and lets one sync do for many.
const BATCH_MAX: usize = 256;

/// Likewise, bytes.
const BATCH_BYTES_MAX: u64 = 16 << 20;

/// How long to wait when store or destination refused.
const RETRY: Duration = Duration::from_secs(1);

/// How long a job waits whose destination cannot be had, or which the store alone refuses.
const PUT_OFF_MS: i64 = 30_000;

/// The clock of the machine may be set: nothing is slept through for longer than this.
const LOOK: Duration = Duration::from_secs(60);

impl Jobs {
    /// The jobs of a store whose last sequence is `last`.
    pub fn new(
        context: QueueContext,
        ids: Arc<Ids>,
        is_active: bool,
        repeats_max: u32,
        last: i64,
    ) -> Self {
        let loads = is_active && context.keeps;
        Self {
            context,
            ids,
            is_active,
            repeats_max,
            index: HashMap::new(),
            due: BTreeSet::new(),
            sent: HashSet::new(),
            sent_before: VecDeque::new(),
            held: HashMap::new(),
            hasher: DefaultHashBuilder::default(),
            loading: loads.then(|| Loading::up_to(last)),
            postponed: Vec::new(),
            asked: HashMap::new(),
            next_ask: LOAD + 1,
            is_firing: false,
            batch_max: BATCH_MAX,
            retry_at: None,
            deadline: loads.then(Instant::now),
        }
    }

    /// Takes one operation.
    pub fn handle(&mut self, op: Op, now: Now, out: &mut Effects) {
        match op {
            Op::Send(incoming) => self.send(incoming, now, out),
            Op::Vote(vote) => {
                let Vote { sends, ballot, receipt, .. } = *vote;
                let (ops, entries) = self.vote(sends, now);
                ballot.cast(ops, entries, receipt);
            }
            Op::Decide(decision) => self.decide(*decision, out),
            Op::Refused { sequences } => self.refused(&sequences),
            Op::Paged { of: PageOf::Jobs(LOAD), page } => self.loaded(page, now, out),
            Op::Paged { of: PageOf::Jobs(ask), page } => {
                if let Some(asked) = self.asked.remove(&ask) {
                    self.read(asked, page, now, out);
                }
            }
            Op::Policy(policy) => self.context.policy = policy,
            Op::Jobs(op) => self.manage(*op, now, out),
            // Of consumers, which jobs have none of.
            other => drop(other),
        }
    }

    /// Ends a batch: what is due goes on its way.
    pub fn settle_batch(&mut self, now: Now, out: &mut Effects) {
        self.retry_at = self.retry_at.filter(|at| now.instant < *at);
        if self.loading.is_none() && !self.is_firing {
            for op in std::mem::take(&mut self.postponed) {
                self.manage(op, now, out);
            }
        }
        if self.retry_at.is_none() {
            self.load(out);
            self.fire(now, out);
        }
        let may_fire = self.is_active && !self.is_firing && self.loading.is_none();
        let first = self.due.first().filter(|_| may_fire);
        let wait = first.map(|(due_ms, _)| {
            let ms = u64::try_from(due_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
            Duration::from_millis(ms).min(LOOK)
        });
        self.deadline = self.retry_at.max(wait.map(|wait| now.instant + wait));
    }

    /// When there is something to do though nobody asks.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn send(&mut self, incoming: Incoming, now: Now, out: &mut Effects) {
        let Incoming { message, bytes, admission, receipt, moved, .. } = incoming;
        if admission != Admission::Credited {
            self.context.usage.take(bytes);
        }
        let is_of_client = admission == Admission::Credited;
        if is_of_client && self.sent.contains(&self.sent_hash(&message)) {
            self.context.usage.release(bytes);
            out.flushed.extend(receipt);
            return;
        }
        let accepted = self.accept(&message, now);
        let Some(Waiting { job, sequence, message }) = accepted else {
            self.context.usage.release(bytes);
            let refused =
                BrokerError::Schedule("the properties of the message cannot be read".into());
            out.resolve(receipt, Err(refused));
            return;
        };
        if self.context.keeps {
            out.adds.push(self.add_op(sequence, &message));
            out.move_along(moved);
            out.when_added(receipt);
        } else {
            out.leave(moved);
            out.resolve(receipt, Ok(()));
        }
        self.insert(&job, sequence, &message, bytes);
    }

    /// The job that `message` becomes now.
    fn accept(&self, message: &Message, now: Now) -> Option<Waiting> {
        let schedule = Schedule::of(message, self.repeats_max).ok()?.unwrap_or_default();
        let sequence = self.next_sequence();
        let job = Job::new(message, schedule, sequence, now.wall_ms);
        let message = Arc::new(job.stored(message).ok()?);
        Some(Waiting { job, sequence, message })
    }

    fn next_sequence(&self) -> i64 {
        self.context.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn add_op(&self, sequence: i64, message: &Arc<Message>) -> StoreOp {
        StoreOp::Add(StoredAdd {
            destination: self.context.destination.clone(),
            sequence,
            band: 0,
            message: Arc::clone(message),
            subscribers: Vec::new(),
            cancel: None,
        })
    }

    fn remove_op(&self, sequence: i64) -> StoreOp {
        StoreOp::Remove { destination: self.context.destination.clone(), sequence }
    }

    /// A job waits; its `bytes` are taken.
    fn insert(&mut self, job: &Job, sequence: i64, message: &Arc<Message>, bytes: u64) {
        let sent = self.sent_hash(message);
        let (due_ms, id) = (job.due_ms, self.id_hash(&job.id));
        // No message is larger than a frame.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let indexed = Indexed { sequence, due_ms, sent, bytes, id };
        self.index.insert(job.number, indexed);
        self.due.insert((due_ms, job.number));
        self.sent.insert(sent);
        if !self.context.keeps {
            self.held.insert(job.number, Arc::clone(message));
        }
    }

    /// A job is no more; its bytes are given back.
    fn forget(&mut self, number: i64) -> Option<Indexed> {
        let indexed = self.index.remove(&number)?;
        self.due.remove(&(indexed.due_ms, number));
        self.sent_before.push_back(indexed.sent);
        if self.sent_before.len() > SENT_BEFORE_MAX
            && let Some(oldest) = self.sent_before.pop_front()
        {
            self.sent.remove(&oldest);
        }
        self.held.remove(&number);
        self.context.usage.release(indexed.bytes.into());
        Some(indexed)
    }

    fn sent_hash(&self, message: &Message) -> u64 {
        self.hasher.hash_one((&message.message_id, &message.destination))
    }

    fn id_hash(&self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        u32::try_from(hash >> 32).unwrap_or_default()
    }

    fn vote(&self, sends: Vec<CommittedSend>, now: Now) -> (Vec<StoreOp>, Vec<Entry>) {
        let (mut ops, mut entries) = (Vec::new(), Vec::new());
        for CommittedSend { message, bytes } in sends {
            let Some(Waiting { sequence, message, .. }) = self.accept(&message, now) else {
                self.context.usage.release(bytes);
                continue;
            };
            if self.context.keeps {
                ops.push(self.add_op(sequence, &message));
            }
            entries.push(Entry::new(message, sequence, bytes, false));
        }
        (ops, entries)
    }

    fn decide(&mut self, decision: Decision, out: &mut Effects) {
        let Decision { outcome, entries, receipt, .. } = decision;
        for entry in entries {
            match Job::of(&entry.message).filter(|_| outcome.is_ok()) {
                Some(job) => self.insert(&job, entry.sequence, &entry.message, entry.bytes),
                None => self.context.usage.release(entry.bytes),
            }
        }
        out.resolve(receipt, outcome);
    }

    /// The store had no room for these.
    fn refused(&mut self, sequences: &[i64]) {
        // A new job's number is its sequence.
        for number in sequences {
            self.forget(*number);
        }
    }

    /// What is due is read.
    fn fire(&mut self, now: Now, out: &mut Effects) {
        // While not all are known, one of them may be a job that its client has sent again.
        if self.is_firing || !self.is_active || self.loading.is_some() {
            return;
        }
        let (mut numbers, mut bytes) = (Vec::new(), 0);
        while numbers.len() < self.batch_max
            && bytes < BATCH_BYTES_MAX
            && let Some((due_ms, number)) = self.due.first().copied()
            && due_ms <= now.wall_ms
        {
            self.due.pop_first();
            if let Some(indexed) = self.index.get(&number) {
                bytes += u64::from(indexed.bytes);
                numbers.push(number);
            }
        }
        if !numbers.is_empty() {
            self.is_firing = true;
            self.ask(&numbers.clone(), Asked::Due(numbers), now, out);
        }
    }

    /// Reads the messages of these jobs.
    fn ask(&mut self, numbers: &[i64], asked: Asked, now: Now, out: &mut Effects) {
        let found = numbers.iter().filter_map(|number| Some((number, self.index.get(number)?)));
        if self.context.keeps {
            let sequences = found.map(|(_, indexed)| indexed.sequence).collect();
            let destination = self.context.destination.clone();
            let of = PageOf::Jobs(self.next_ask);
            out.fetches.push((of, Fetch::Exactly { destination, sequences }));
            self.asked.insert(self.next_ask, asked);
            self.next_ask += 1;
            return;
        }
        let held = found.filter_map(|(number, indexed)| {
            let message = Arc::clone(self.held.get(number)?);
            Some(StoredMessage { sequence: indexed.sequence, message })
        });
        let page = Page { messages: held.collect(), ..Page::default() };
        self.read(asked, Ok(page), now, out);
    }

    fn read(&mut self, asked: Asked, page: Result<Page, StoreError>, now: Now, out: &mut Effects) {
        match asked {
            Asked::Due(numbers) => match page {
                Ok(page) => self.shoot(&numbers, page, now, out),
                Err(error) => {
                    tracing::error!(%error, "scheduled messages cannot be read");
                    self.put_back(&numbers, now);
                }
            },
            Asked::List { next, answer } => {
                let page = page.map_err(BrokerError::from).map(|page| {
                    let mut jobs: Vec<ScheduledJob> = page
                        .messages
                        .into_iter()
                        .filter_map(|stored| {
                            Some(ScheduledJob {
                                job: Job::of(&stored.message)?,
                                message: stored.message,
                            })
                        })
                        .collect();
                    jobs.sort_by_key(|listed| (listed.job.due_ms, listed.job.number));
                    JobPage { jobs, next }
                });
                // Who asked may have gone.
                drop(answer.send(page));
            }
        }
    }

    /// What these jobs do now goes on its way.
    fn shoot(&mut self, numbers: &[i64], page: Page, now: Now, out: &mut Effects) {
        let mut found: HashMap<i64, StoredMessage> = page
            .messages
            .into_iter()
            .filter_map(|stored| Some((Job::of(&stored.message)?.number, stored)))
            .collect();
        let mut shots = Vec::with_capacity(numbers.len());
        for number in numbers {
            let shot = found.remove(number).and_then(|stored| self.shot(&stored, now));
            match shot {
                Some(shot) => shots.push(shot),
                None => {
                    tracing::error!(number, "a scheduled message cannot be read: it is left alone");
                    self.forget(*number);
                }
            }
        }
        let tell = Tell(Arc::clone(&self.context.tell));
        out.firings.push(Firing { shots, tell });
    }

    fn shot(&self, stored: &StoredMessage, now: Now) -> Option<Shot> {
        let job = Job::of(&stored.message)?;
        let mut waits = Vec::new();
        let mut waits_as = |job: Job, sequence: i64| {
            let message = Arc::new(job.stored(&stored.message).ok()?);
            waits.push(Waiting { job, sequence, message });
            Some(())
        };
        let (is_delivered, next) = match job.step(now.wall_ms) {
            Step::Deliver(next) => (true, next),
            Step::Begin(next, mut series) => {
                series.number = self.next_sequence();
                series.id = format!("{}:{}", self.ids.producer(), series.number).into();
                let number = series.number;
                waits_as(series, number)?;
                (false, next)
            }
        };
        if let Some(next) = next {
            waits_as(next, self.next_sequence())?;
        }
        let message = is_delivered
            .then(|| job.delivery(&stored.message, now.wall_ms, || self.ids.next_message()));
        let mut ops = Vec::new();
        if self.context.keeps {
            ops.push(self.remove_op(stored.sequence));
            ops.extend(waits.iter().map(|waiting| self.add_op(waiting.sequence, &waiting.message)));
        }
        Some(Shot { number: job.number, message, ops, waits })
    }

    fn put_back(&mut self, numbers: &[i64], now: Now) {
        for number in numbers {
            if let Some(indexed) = self.index.get(number) {
                self.due.insert((indexed.due_ms, *number));
            }
        }
        self.is_firing = false;
        self.retry_at = Some(now.instant + RETRY);
    }

    /// This one waits longer, until the next start at most.
    fn put_off(&mut self, number: i64, now: Now) {
        if let Some(indexed) = self.index.get_mut(&number) {
            indexed.due_ms = now.wall_ms.saturating_add(PUT_OFF_MS);
            self.due.insert((indexed.due_ms, number));
        }
    }

    /// A firing is over.
    fn fired(
        &mut self,
        shots: Vec<Shot>,
        outcome: Result<(), BrokerError>,
        unreachable: &[i64],
        now: Now,
    ) {
        self.is_firing = false;
        unreachable.iter().for_each(|number| self.put_off(*number, now));
        if let Err(error) = outcome {
            let messages = shots.len();
            tracing::error!(messages, %error, "scheduled messages could not be sent: they are tried again");
            // One that the store does not take must not hold up the others.
            self.batch_max = 1;
            let numbers: Vec<i64> = shots.iter().map(|shot| shot.number).collect();
            match numbers.as_slice() {
                [number] if !matches!(error, BrokerError::StoreNoSpace(_)) => {
                    self.put_off(*number, now);
                }
                numbers => self.put_back(numbers, now),
            }
            return;
        }
        self.batch_max = BATCH_MAX;
        for Shot { number, waits, .. } in shots {
            let Some(indexed) = self.forget(number) else { continue };
            for Waiting { job, sequence, message } in waits {
                self.context.usage.take(indexed.bytes.into());
                self.insert(&job, sequence, &message, indexed.bytes.into());
            }
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("jobs", &self.index.len()).finish_non_exhaustive()
    }
}
