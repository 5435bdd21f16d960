//! The jobs on a store of a few lines and a clock that jumps, beside a model, with crashes at every step.

use super::super::destination::fixture::{Random, context, for_seeds};
use super::super::destination::queue::QueueContext;
use super::super::destination::{Admission, Effects, Incoming, Now, Op, PageOf};
use super::super::error::BrokerError;
use super::super::policy::Policy;
use super::super::usage::Usage;
use super::job::Job;
use super::jobs::Jobs;
use super::schedule::{DELAY, PERIOD, REPEAT};
use super::{Firing, Ids, JobCursor, JobPage, JobsOp, Shot, jobs_queue};
use crate::jms::properties::{PropertyMap, PropertyValue};
use crate::jms::{Destination, Message, MessageId, ProducerId, Text};
use crate::store::{Fetch, Page, StoreError, StoreOp, StoredMessage};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A job as the model knows it.
#[derive(Debug)]
struct Expected {
    due_ms: i64,
    deliveries: u32,
    times: u32,
}

/// Everything outside of the jobs.
struct World {
    jobs: Jobs,
    context: QueueContext,
    start: Instant,
    now_ms: i64,
    stored: BTreeMap<i64, Arc<Message>>,
    /// Answers and firings that have not come back.
    pages: Vec<(PageOf, Result<Page, StoreError>)>,
    firings: Vec<Firing>,
    expected: HashMap<i64, Expected>,
    /// Whose client has not heard from them: they may be sent again.
    unanswered: Vec<Arc<Message>>,
}

fn scheduled(number: i64, delay_ms: i64, period_ms: i64, repeat: i32) -> Message {
    let map = PropertyMap::from_iter([
        (Text::from(DELAY), PropertyValue::Long(delay_ms)),
        (Text::from(PERIOD), PropertyValue::Long(period_ms)),
        (Text::from(REPEAT), PropertyValue::Int(repeat)),
    ]);
    let producer = ProducerId { connection: Some("ID:c".into()), session: 1, value: 1 };
    Message {
        properties: Some(map.encode().expect("a map")),
        destination: Some(Destination::queue("Q")),
        correlation_id: Some(number.to_string().into()),
        message_id: Some(MessageId {
            producer: Some(producer),
            producer_sequence: number,
            ..MessageId::default()
        }),
        ..Message::default()
    }
}

fn jobs(context: &QueueContext, last: i64) -> Jobs {
    let ids = Arc::new(Ids::new("ID:b-scheduler".into()));
    Jobs::new(context.clone(), ids, true, 1000, last)
}

impl World {
    fn new(keeps: bool) -> Self {
        let usage = Usage::new(0, None);
        let mut context = context(jobs_queue(), Policy::default(), &usage);
        context.keeps = keeps;
        Self {
            jobs: jobs(&context, 0),
            context,
            start: Instant::now(),
            now_ms: 1_000_000,
            stored: BTreeMap::new(),
            pages: Vec::new(),
            firings: Vec::new(),
            expected: HashMap::new(),
            unanswered: Vec::new(),
        }
    }

    fn send(&mut self, message: &Arc<Message>) {
        let bytes = message.size() as u64;
        self.context.usage.take(bytes);
        let incoming = Incoming::of_broker(Arc::clone(message), bytes);
        self.run(vec![Op::Send(Incoming { admission: Admission::Credited, ..incoming })]);
    }

    fn now(&self) -> Now {
        let passed = Duration::from_millis((self.now_ms - 1_000_000).cast_unsigned());
        Now { instant: self.start + passed, wall_ms: self.now_ms }
    }

    /// One batch of the task: operations, then what they leave to do.
    fn run(&mut self, ops: Vec<Op>) {
        let (now, mut effects) = (self.now(), Effects::default());
        for op in ops {
            self.jobs.handle(op, now, &mut effects);
        }
        self.jobs.settle_batch(now, &mut effects);
        let Effects { adds, removals, fetches, firings, .. } = effects;
        self.apply(adds);
        self.apply(removals);
        for (of, fetch) in fetches {
            let page = self.fetch(&fetch);
            self.pages.push((of, Ok(page)));
        }
        self.firings.extend(firings);
    }

    fn apply(&mut self, ops: Vec<StoreOp>) {
        for op in ops {
            match op {
                StoreOp::Add(add) => drop(self.stored.insert(add.sequence, add.message)),
                StoreOp::Remove { sequence, .. } => drop(self.stored.remove(&sequence)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn fetch(&self, fetch: &Fetch) -> Page {
        let stored = |(sequence, message): (&i64, &Arc<Message>)| StoredMessage {
            sequence: *sequence,
            message: Arc::clone(message),
        };
        match fetch {
            Fetch::Exactly { sequences, .. } => {
                let found = self.stored.iter().filter(|(at, _)| sequences.contains(at));
                Page { messages: found.map(stored).collect(), ..Page::default() }
            }
            Fetch::Queue { after, .. } => {
                let behind = self.stored.range(after.saturating_add(1)..);
                let messages: Vec<_> = behind.take(3).map(stored).collect();
                let last = messages.last().map(|message| message.sequence);
                let end = last.is_none_or(|last| self.stored.range(last + 1..).next().is_none());
                Page { messages, last, end, ..Page::default() }
            }
            other => panic!("{other:?}"),
        }
    }

    /// A firing is committed, or refused; who fired it may not hear of it.
    fn commit(&mut self, outcome: Result<(), BrokerError>) -> Option<Op> {
        let mut firing = self.firings.pop()?;
        if outcome.is_ok() {
            for Shot { message, ops, .. } in &mut firing.shots {
                let ops = std::mem::take(ops);
                self.apply(ops);
                let message = message.take().expect("there is no cron entry");
                let number = message.correlation_id.as_ref().expect("it has one");
                let number: i64 = number.parse().expect("a number");
                let job = self.expected.get_mut(&number).expect("it was scheduled");
                assert!(self.now_ms >= job.due_ms, "{number} came too early");
                job.deliveries += 1;
                assert!(job.deliveries <= job.times, "{number} came too often");
            }
        }
        let (shots, unreachable) = (firing.shots, Vec::new());
        Some(Op::Jobs(Box::new(JobsOp::Fired { shots, outcome, unreachable })))
    }

    fn answer(&mut self, at: usize, fails: bool) {
        let (of, page) = self.pages.remove(at);
        let failed = || Err(StoreError::Stopped("it failed".into()));
        let page = if fails { failed() } else { page };
        self.run(vec![Op::Paged { of, page }]);
    }

    /// Lets everything happen that is on its way, and time pass until nothing more is due.
    fn come_to_rest(&mut self) {
        for _ in 0..100_000 {
            if !self.pages.is_empty() {
                self.answer(0, false);
            } else if let Some(told) = self.commit(Ok(())) {
                self.run(vec![told]);
            } else if let Some(deadline) = self.jobs.next_deadline() {
                let passed = deadline.saturating_duration_since(self.start).as_millis();
                let due = 1_000_000 + i64::try_from(passed).expect("a short time");
                self.now_ms = self.now_ms.max(due);
                self.run(Vec::new());
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn page(&mut self) -> JobPage {
        let (answer, mut answered) = oneshot::channel();
        let list = JobsOp::List { after: JobCursor::at(i64::MIN), last_ms: i64::MAX, answer };
        self.run(vec![Op::Jobs(Box::new(list))]);
        loop {
            match answered.try_recv() {
                Ok(page) => return page.expect("it can be read"),
                Err(_) if !self.pages.is_empty() => self.answer(0, false),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn walk(mut random: Random) {
    let mut world = World::new(true);
    let mut sent = 0;
    for _ in 0..200 {
        match random.below(8) {
            0 | 1 if sent < 40 => {
                sent += 1;
                let number =
                    |random: &mut Random, most| i64::try_from(random.below(most)).expect("small");
                let (delay, period) = (number(&mut random, 3_000), number(&mut random, 500));
                let repeat = i32::try_from(random.below(5)).expect("small");
                let message = Arc::new(scheduled(sent, delay, period, repeat));
                let first = if delay > 0 { delay } else { period };
                let (due_ms, times) = (world.now_ms + first, repeat.cast_unsigned() + 1);
                world.expected.insert(sent, Expected { due_ms, deliveries: 0, times });
                world.send(&message);
                world.unanswered.push(message);
            }
            7 if !world.unanswered.is_empty() => {
                let at = random.below(world.unanswered.len());
                let message = world.unanswered.swap_remove(at);
                world.send(&message);
            }
            2 if !world.pages.is_empty() => {
                let at = random.below(world.pages.len());
                world.answer(at, random.one_in(5));
            }
            3 => {
                let refused =
                    random.one_in(3).then(|| BrokerError::StoreNoSpace("it is full".into()));
                let outcome = refused.map_or(Ok(()), Err);
                if let Some(told) = world.commit(outcome)
                    && !random.one_in(4)
                {
                    world.run(vec![told]);
                } else {
                    crash(&mut world);
                }
            }
            4 if random.one_in(4) => crash(&mut world),
            _ => {
                world.now_ms += i64::try_from(random.below(400)).expect("small");
                world.run(Vec::new());
            }
        }
    }
    world.come_to_rest();
    for (number, job) in &world.expected {
        assert_eq!(job.deliveries, job.times, "deliveries of {number}");
    }
    assert!(world.stored.is_empty());
    assert_eq!(world.context.usage.used(), 0);
}

/// What is in memory is gone: also what was sent of jobs that are over.
fn crash(world: &mut World) {
    let waits = |message: &Arc<Message>| {
        world.stored.values().any(|stored| stored.message_id == message.message_id)
    };
    world.unanswered.retain(waits);
    world.pages.clear();
    world.firings.clear();
    let used = world.context.usage.used();
    world.context.usage.release(used);
    let last = world.context.sequence.load(Ordering::Relaxed);
    world.jobs = jobs(&world.context, last);
    world.run(Vec::new());
}

#[test]
fn every_delivery_comes_once_and_in_time_whatever_fails() {
    for_seeds(200, walk);
}

#[test]
fn without_a_store_jobs_are_held_in_memory() {
    let mut world = World::new(false);
    let message = Arc::new(scheduled(1, 50, 100, 2));
    world.expected.insert(1, Expected { due_ms: world.now_ms + 50, deliveries: 0, times: 3 });
    world.send(&message);
    assert!(world.context.usage.used() > 0);
    world.come_to_rest();
    assert_eq!(world.expected[&1].deliveries, 3);
    assert_eq!(world.context.usage.used(), 0);
    assert_eq!(world.now_ms, 1_000_250);
}

#[test]
fn what_was_missed_comes_once_at_the_start_and_then_at_its_pace() {
    let mut world = World::new(true);
    world.run(vec![]);
    world.answer(0, false);
    let message = Arc::new(scheduled(1, 100, 1_000, 2));
    world.expected.insert(1, Expected { due_ms: world.now_ms + 100, deliveries: 0, times: 3 });
    world.send(&message);
    world.now_ms += 60_000;
    crash(&mut world);
    world.answer(0, false);
    world.answer(0, false);
    let told = world.commit(Ok(())).expect("it is due");
    world.run(vec![told]);
    assert!(world.firings.is_empty() && world.pages.is_empty(), "once only");
    let due: Vec<i64> = world.page().jobs.iter().map(|listed| listed.job.due_ms).collect();
    assert_eq!(due, [world.now_ms + 1_000]);
}

#[test]
fn jobs_are_listed_in_the_order_of_their_times_and_removed_by_id_or_time() {
    let mut world = World::new(true);
    world.run(vec![]);
    world.answer(0, false);
    for number in 1..=600_i64 {
        let message = Arc::new(scheduled(number, 100_000 - number, 0, 0));
        world.send(&message);
    }
    let page = world.page();
    let due: Vec<i64> = page.jobs.iter().map(|listed| listed.job.due_ms).collect();
    assert!(due.is_sorted() && due.len() == 256 && page.next.is_some());
    let id = Text::clone(&page.jobs[0].job.id);
    let other = Text::from(format!("ID:other:1:1:{}", page.jobs[0].job.number));
    for id in [other, "nonsense".into(), "ID:c:1:1:99999".into()] {
        world.run(vec![Op::Jobs(Box::new(JobsOp::Remove { id, receipt: None }))]);
    }
    assert_eq!(world.stored.len(), 600);
    world.run(vec![Op::Jobs(Box::new(JobsOp::Remove { id, receipt: None }))]);
    assert_eq!(world.stored.len(), 599);
    let (first_ms, last_ms) = (due[1], due[100]);
    let between = JobsOp::RemoveBetween { first_ms, last_ms, receipt: None };
    world.run(vec![Op::Jobs(Box::new(between))]);
    assert_eq!(world.stored.len(), 499);
    let left: Vec<i64> =
        world.stored.values().filter_map(|message| Some(Job::of(message)?.due_ms)).collect();
    assert_eq!(left.iter().min(), Some(&due[101]));
}
