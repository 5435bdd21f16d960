//! Two queues get the same random commands: one has all the memory it wants, the other nearly none and a
//! store. Their consumers must not see a difference.

use super::super::super::counters::{Counters, Spread};
use super::super::super::fixture::{
    Clock, Random, consumer, context, deliveries, for_seeds, incoming, message, numbers,
};
use super::super::paging::READ_RETRY;
use super::super::{History, NewSubscription, Pull, Queue};
use crate::broker::destination::commit::{CommittedSend, Decision};
use crate::broker::destination::in_flight::{Ack, AckRange, TransactionKey, Window};
use crate::broker::destination::{Effects, Op, PageOf};
use crate::broker::outbox::{Outbox, SubscriptionKey};
use crate::broker::policy::{Cursor, GroupMapKind, Policy};
use crate::broker::usage::Usage;
use crate::jms::selector::Selector;
use crate::jms::{AckKind, ConsumerInfo, Destination, Message, MessageId};
use crate::store::{Fetch, Page, PageLimit, StoreError, StoreOp, StoredAdd, StoredMessage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const KINDS: [&str; 2] = ["a", "b"];

/// What a store would keep.
#[derive(Default)]
struct Shelf(BTreeMap<i64, StoredAdd>);

impl Shelf {
    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::Add(add) => {
                if add.cancel.as_ref().is_none_or(|cancel| cancel.take()) {
                    assert!(self.0.insert(add.sequence, add).is_none(), "added twice");
                }
            }
            StoreOp::Remove { sequence, .. } => drop(self.0.remove(&sequence)),
            StoreOp::Purge { last, .. } => self.0.retain(|sequence, _| *sequence > last),
            other => panic!("a queue does not ask for {other:?}"),
        }
    }

    fn answer(&self, fetch: &Fetch) -> Page {
        type Wanted<'a> = Box<dyn Fn(&StoredAdd) -> bool + 'a>;
        let (wanted, limit): (Wanted<'_>, PageLimit) = match fetch {
            Fetch::Queue { band, after, limit, .. } => {
                (Box::new(move |add| add.band == *band && add.sequence > *after), *limit)
            }
            Fetch::Expired { now_ms, limit, .. } => {
                (Box::new(move |add| add.message.is_expired(*now_ms)), *limit)
            }
            Fetch::Exactly { sequences, .. } => {
                let limit = PageLimit { messages: usize::MAX, bytes: u64::MAX };
                (Box::new(move |add| sequences.contains(&add.sequence)), limit)
            }
            other => panic!("a queue does not ask for {other:?}"),
        };
        let found: Vec<&StoredAdd> = self.0.values().filter(|add| wanted(add)).collect();
        let page = found.iter().take(limit.messages);
        let stored = |add: &&StoredAdd| StoredMessage {
            sequence: add.sequence,
            message: Arc::clone(&add.message),
        };
        let messages: Vec<StoredMessage> = page.map(stored).collect();
        Page {
            last: messages.last().map(|stored| stored.sequence),
            end: found.len() <= limit.messages,
            messages,
            ..Page::default()
        }
    }
}

pub(super) struct Side {
    pub(super) queue: Queue,
    out: Effects,
    shelf: Shelf,
    outboxes: BTreeMap<u64, Arc<Outbox>>,
    pub(super) dead: Vec<i64>,
    /// Messages that pages had.
    pub(super) read: usize,
}

/// A delivery: producer's number, redeliveries, first of its group. None: the end of a browse.
pub(super) type Seen = Option<(i64, i32, bool)>;

impl Side {
    pub(super) fn new(policy: Policy, keeps: bool, early: bool, limit: u64) -> Self {
        let usage = Usage::new(limit, None);
        let mut context = context(Destination::queue("Q"), policy, &usage);
        context.keeps = keeps;
        context.dispatches_early = early;
        Self {
            queue: Queue::new(context, History::default()),
            out: Effects::default(),
            shelf: Shelf::default(),
            outboxes: BTreeMap::new(),
            dead: Vec::new(),
            read: 0,
        }
    }

    /// A queue that has been started on a store with messages 1 to `types.len()` of these types. The
    /// number of their producer is one less.
    pub(super) fn restarted(policy: Policy, types: &[&str]) -> Self {
        let clock = Clock::new();
        let mut before = Self::new(policy.clone(), true, true, 0);
        for (number, jms_type) in (0..).zip(types) {
            let jms_type = Some((*jms_type).into());
            let message = Message { persistent: true, jms_type, ..message("c0", number) };
            before.handle(Op::Send(incoming(message, None)), &clock);
        }
        before.carry_out(&clock);
        let context = before.queue.context.clone();
        let history = History { bands: vec![(0, types.len() as u64)], ..History::default() };
        Self {
            queue: Queue::new(context, history),
            shelf: before.shelf,
            ..Self::new(policy, true, true, 0)
        }
    }

    pub(super) fn subscribe(&mut self, key: u64, info: ConsumerInfo, clock: &Clock) {
        let outbox = Arc::new(Outbox::default());
        self.outboxes.insert(key, Arc::clone(&outbox));
        let selector = info.selector.as_ref().map(|text| Selector::parse(text).expect("valid"));
        let window = Arc::new(Window::new(info.prefetch_size));
        let new = NewSubscription {
            key: SubscriptionKey(key),
            info: Arc::new(info),
            selector,
            outbox,
            window,
            source: None,
        };
        self.handle(Op::Subscribe { new: Box::new(new), receipt: None }, clock);
    }

    pub(super) fn handle(&mut self, op: Op, clock: &Clock) {
        self.queue.handle(op, clock.now(), &mut self.out);
    }

    fn commit(&mut self, transaction: TransactionKey, sends: Vec<CommittedSend>, clock: &Clock) {
        let (ops, entries) = self.queue.vote(Some(transaction), sends, clock.now());
        self.carry_out(clock);
        ops.into_iter().for_each(|op| self.shelf.apply(op));
        let decision = Decision {
            transaction: Some(transaction),
            outcome: Ok(()),
            waits_on: false,
            entries,
            receipt: None,
        };
        self.handle(Op::Decide(Box::new(decision)), clock);
    }

    /// Ends a batch, and what follows from it.
    pub(super) fn settle(&mut self, clock: &Clock) -> BTreeMap<u64, Vec<Seen>> {
        loop {
            self.queue.settle_batch(clock.now(), &mut self.out);
            if !self.carry_out(clock) {
                break;
            }
        }
        self.outboxes
            .iter()
            .map(|(key, outbox)| {
                let seen = |delivery: crate::broker::outbox::Delivery| {
                    let message = delivery.message.as_ref()?;
                    let id = message.message_id.as_ref().expect("it has an id");
                    Some((id.producer_sequence, delivery.redeliveries, delivery.group_first))
                };
                (*key, deliveries(outbox).into_iter().map(seen).collect())
            })
            .collect()
    }

    /// Does what the task does; true when pages came.
    pub(super) fn carry_out(&mut self, clock: &Clock) -> bool {
        let out = std::mem::take(&mut self.out);
        out.adds.into_iter().chain(out.removals).for_each(|op| self.shelf.apply(op));
        let more = !out.fetches.is_empty() || !out.awaited.is_empty();
        // Read before dead messages leave, which is told before the pages come.
        let pages: Vec<(PageOf, Page)> =
            out.fetches.into_iter().map(|(of, fetch)| (of, self.shelf.answer(&fetch))).collect();
        for letter in out.dead_letters {
            let id = letter.message.message_id.as_ref().expect("it has an id");
            self.dead.push(id.producer_sequence);
            if let Some(leaving) = letter.leaves {
                if let StoreOp::Remove { sequence, .. } = leaving.op {
                    self.handle(Op::Buried { sequence, gone: true }, clock);
                }
                self.shelf.apply(leaving.op);
            }
        }
        if !out.awaited.is_empty() {
            let entries = out.awaited;
            self.handle(Op::Stored { entries, stored: true }, clock);
        }
        for (of, page) in pages {
            self.read += page.messages.len();
            self.handle(Op::Paged { of, page: Ok(page) }, clock);
        }
        more
    }
}

#[test]
fn consumers_do_not_see_whether_a_queue_is_in_memory() {
    for_seeds(SEEDS, walk);
}

fn walk(mut random: Random) {
    let policy = Policy {
        prioritized_messages: random.one_in(3),
        strict_order_dispatch: random.one_in(4),
        all_consumers_exclusive: random.one_in(8),
        use_cache: !random.one_in(3),
        page_max: random.pick(&[1, 2, 200]),
        // Often enough that no message is found expired by chance.
        expire_period: Duration::from_millis(1),
        // A map that forgets groups would let a message go whose turn has passed, if it is in memory.
        groups: GroupMapKind::Simple,
        audit: false,
        ..Policy::default()
    };
    // What came back past its time may be found by who dispatches it, which is later when reading is lazy.
    let expires = policy.page_max != 2;
    let policy = Policy { lazy_dispatch: !expires, ..policy };
    let limit = random.pick(&[1, 4_000, 20_000]);
    let early = random.one_in(2);
    let mut clock = Clock::new();
    let mut sides =
        [Side::new(policy.clone(), false, true, 0), Side::new(policy, true, early, limit)];
    let (mut next, mut keys) = (0_i64, 0_u64);
    // Consumer -> what it holds: (number, transaction).
    let mut held: BTreeMap<u64, Vec<(i64, Option<u64>)>> = BTreeMap::new();
    let mut browsers: Vec<u64> = Vec::new();
    for step in 0..STEPS {
        let mut make = |random: &mut Random, clock: &Clock| {
            let number = next;
            next += 1;
            Message {
                persistent: true,
                priority: random.pick(&[4, 4, 0, 9]),
                jms_type: Some(random.pick(&KINDS).into()),
                group_id: random.one_in(5).then(|| random.pick(&["g", "h", "i"]).into()),
                expiration: if expires && random.one_in(8) { clock.wall_ms() + 40 } else { 0 },
                ..message("c0", number)
            }
        };
        match random.below(12) {
            0..5 => {
                for _ in 0..=random.below(12) {
                    let message = make(&mut random, &clock);
                    for side in &mut sides {
                        side.handle(Op::Send(incoming(message.clone(), None)), &clock);
                    }
                }
            }
            5 if held.len() < 4 => {
                keys += 1;
                let mut info = consumer("c1", keys, random.pick(&[1, 3, 50]));
                info.selector =
                    random.one_in(2).then(|| format!("JMSType = '{}'", random.pick(&KINDS)).into());
                info.exclusive = random.one_in(6);
                info.priority = random.pick(&[0, 0, 5]);
                for side in &mut sides {
                    side.subscribe(keys, info.clone(), &clock);
                }
                held.insert(keys, Vec::new());
            }
            6 if !held.is_empty() && random.one_in(2) => {
                let key = *held.keys().nth(random.below(held.len())).expect("there");
                let last_delivered = random.pick(&[-2, -1]);
                for side in &mut sides {
                    let key = SubscriptionKey(key);
                    side.handle(Op::Unsubscribe { key, last_delivered, receipt: None }, &clock);
                }
                held.remove(&key);
            }
            7..10 if held.values().any(|held| !held.is_empty()) => {
                let (key, mine) =
                    held.iter_mut().filter(|(_, held)| !held.is_empty()).last().expect("there");
                let count = 1 + random.below(mine.len());
                let transaction = random.one_in(3).then_some(1);
                let id = |number| -> MessageId {
                    message("c0", number).message_id.expect("it has an id")
                };
                for side in &mut sides {
                    let ack = Ack {
                        subscription: SubscriptionKey(*key),
                        kind: AckKind::Standard,
                        range: AckRange::Span {
                            first: Some(id(mine[0].0)),
                            last: id(mine[count - 1].0),
                        },
                        count: i32::try_from(count).expect("few"),
                        transaction: transaction.map(TransactionKey),
                        rollback_only: None,
                        cause: None,
                    };
                    side.handle(Op::Ack { ack: Box::new(ack), receipt: None }, &clock);
                }
                match transaction {
                    Some(_) => mine[..count].iter_mut().for_each(|held| held.1 = transaction),
                    None => drop(mine.drain(..count)),
                }
            }
            10 => {
                let commit = random.one_in(2);
                let sends: Vec<Message> =
                    (0..random.below(4)).map(|_| make(&mut random, &clock)).collect();
                for side in &mut sides {
                    if commit {
                        let send = |message: &Message| CommittedSend {
                            message: Arc::new(message.clone()),
                            bytes: 10,
                        };
                        let sends = sends.iter().map(send).collect();
                        side.commit(TransactionKey(1), sends, &clock);
                    } else {
                        let transaction = TransactionKey(1);
                        side.handle(Op::RollBack { transaction, receipt: None }, &clock);
                    }
                }
                for mine in held.values_mut() {
                    mine.retain(|held| !(commit && held.1.is_some()));
                    mine.iter_mut().for_each(|held| held.1 = None);
                }
            }
            11 if random.one_in(3) => {
                keys += 1;
                let info = ConsumerInfo { browser: true, ..consumer("c1", keys, 10_000) };
                for side in &mut sides {
                    side.subscribe(keys, info.clone(), &clock);
                }
                browsers.push(keys);
            }
            11 if random.one_in(4) => {
                for side in &mut sides {
                    side.handle(Op::Purge { receipt: None }, &clock);
                }
            }
            _ => clock.ms += 25,
        }
        let [plain, paged] = &mut sides;
        let (mut wanted, mut got) = (plain.settle(&clock), paged.settle(&clock));
        for key in &browsers {
            // A browser sees what is read for it after what is in memory.
            for seen in [&mut wanted, &mut got] {
                seen.get_mut(key).into_iter().for_each(|seen| seen.sort_unstable());
            }
        }
        assert_eq!(got, wanted, "step {step}");
        for (key, seen) in wanted {
            if let Some(mine) = held.get_mut(&key) {
                mine.extend(seen.into_iter().flatten().map(|(number, ..)| (number, None)));
            }
        }
        let dead = |side: &mut Side| {
            let mut dead = std::mem::take(&mut side.dead);
            dead.sort_unstable();
            dead
        };
        assert_eq!(dead(paged), dead(plain), "step {step}");
        let counted = |side: &Side| {
            let report = side.queue.report();
            let own = Counters { enqueue_ms: Spread::default(), ..report.own };
            (own, report.in_flight, report.size, report.consumers)
        };
        assert_eq!(counted(paged), counted(plain), "step {step}");
        let there = usize::try_from(paged.queue.report().size).expect("few");
        assert_eq!(paged.shelf.0.len(), there, "what is in the store at step {step}");
    }
}

/// A consumer of messages of one type.
pub(super) fn selecting(key: u64, jms_type: &str, prefetch: i32) -> ConsumerInfo {
    let selector = Some(format!("JMSType = '{jms_type}'").into());
    ConsumerInfo { selector, ..consumer("c1", key, prefetch) }
}

/// What consumer `key` has got, by the producer's numbers; -1: there was nothing.
fn got(side: &Side, key: u64) -> Vec<i64> {
    numbers(&side.outboxes[&key])
}

fn ask(side: &mut Side, key: u64, clock: &Clock) {
    let pull = Pull { deadline: Some(clock.now().instant), shared: None };
    side.handle(Op::Pull { key: SubscriptionKey(key), pull }, clock);
    side.queue.settle_batch(clock.now(), &mut side.out);
}

#[test]
fn a_pull_that_does_not_wait_is_answered_when_the_store_has_been_read() {
    let clock = Clock::new();
    let mut side = Side::restarted(Policy::default(), &["a"]);
    side.subscribe(1, consumer("c1", 1, 0), &clock);
    ask(&mut side, 1, &clock);
    assert_eq!((got(&side, 1), side.queue.next_deadline()), (vec![], None));
    while side.carry_out(&clock) {
        side.queue.settle_batch(clock.now(), &mut side.out);
    }
    assert_eq!(got(&side, 1), [0]);
    ask(&mut side, 1, &clock);
    assert_eq!(got(&side, 1), [-1]);
}

#[test]
fn what_a_recovered_transaction_acknowledged_is_locked_until_it_ends() {
    let clock = Clock::new();
    for commit in [true, false] {
        let policy = Policy { page_max: 1, ..Policy::default() };
        let mut side = Side::restarted(policy, &["a"; 20]);
        let transaction = TransactionKey(7);
        side.handle(Op::Lock { transaction, sequences: vec![1, 3, 20] }, &clock);
        let report = side.queue.report();
        assert_eq!((report.size, report.in_flight, report.in_memory), (17, 0, 3));
        side.subscribe(1, consumer("c1", 1, 1), &clock);
        assert_eq!(side.settle(&clock)[&1], [Some((1, 0, false))]);
        if commit {
            side.commit(transaction, Vec::new(), &clock);
        } else {
            side.handle(Op::RollBack { transaction, receipt: None }, &clock);
        }
        side.subscribe(2, consumer("c1", 2, 100), &clock);
        let seen = side.settle(&clock)[&2].clone();
        let seen: Vec<i64> = seen.into_iter().flatten().map(|(number, ..)| number).collect();
        let locked = [0, 2, 19];
        let wanted = |number: &i64| *number != 1 && (!commit || !locked.contains(number));
        assert_eq!(seen, (0..20).filter(wanted).collect::<Vec<i64>>());
        assert_eq!(side.shelf.0.len(), if commit { 17 } else { 20 });
        assert_eq!(side.queue.report().size, side.shelf.0.len() as u64);
    }
}

#[test]
fn what_is_unlocked_and_cannot_be_read_keeps_the_rest_waiting_until_it_can() {
    let mut clock = Clock::new();
    let mut side = Side::restarted(Policy::default(), &["a"; 3]);
    let transaction = TransactionKey(7);
    side.handle(Op::Lock { transaction, sequences: vec![1] }, &clock);
    side.handle(Op::RollBack { transaction, receipt: None }, &clock);
    side.subscribe(1, consumer("c1", 1, 100), &clock);
    side.queue.settle_batch(clock.now(), &mut side.out);
    let unlocked = |(of, _): &(PageOf, Fetch)| *of == PageOf::Unlocked;
    let asked: Vec<_> = side.out.fetches.extract_if(.., |fetch| unlocked(fetch)).collect();
    let [(of, _)] = asked[..] else { panic!("not asked for once: {asked:?}") };
    let page = Err(StoreError::Stopped("a test".into()));
    side.handle(Op::Paged { of, page }, &clock);
    assert_eq!(side.settle(&clock)[&1], []);
    assert_eq!(side.queue.report().size, 3);
    clock.ms += 2 * READ_RETRY.as_millis() as u64;
    let all = [0, 1, 2].map(|number| Some((number, 0, false)));
    assert_eq!(side.settle(&clock)[&1], all);
}

#[test]
fn what_is_purged_while_it_is_unlocked_does_not_come() {
    let clock = Clock::new();
    let mut side = Side::restarted(Policy::default(), &["a"; 3]);
    let transaction = TransactionKey(7);
    side.handle(Op::Lock { transaction, sequences: vec![1, 2] }, &clock);
    side.handle(Op::RollBack { transaction, receipt: None }, &clock);
    side.subscribe(1, consumer("c1", 1, 100), &clock);
    side.queue.settle_batch(clock.now(), &mut side.out);
    side.handle(Op::Purge { receipt: None }, &clock);
    assert_eq!(side.settle(&clock)[&1], []);
    assert_eq!((side.queue.report().size, side.queue.report().own.dequeued), (0, 3));
}

#[test]
fn a_message_that_was_consumed_while_a_page_was_read_does_not_come_again() {
    let clock = Clock::new();
    let policy = Policy { page_max: 1, ..Policy::default() };
    let mut types = ["c"; 16];
    types[2] = "b";
    let mut side = Side::restarted(policy, &types);
    side.subscribe(1, selecting(1, "a", 10), &clock);
    side.subscribe(2, selecting(2, "b", 10), &clock);
    assert_eq!(side.settle(&clock)[&2], [Some((2, 0, false))]);
    // What nobody wanted was dropped from memory, and is read again from the first on.
    side.subscribe(3, consumer("c1", 3, 100), &clock);
    side.queue.settle_batch(clock.now(), &mut side.out);
    let fetches = std::mem::take(&mut side.out.fetches);
    let pages: Vec<_> =
        fetches.into_iter().map(|(of, fetch)| (of, side.shelf.answer(&fetch))).collect();
    assert!(pages.iter().any(|(_, page)| page.messages.iter().any(|stored| stored.sequence == 3)));
    let last = message("c0", 2).message_id.expect("it has an id");
    let ack = Ack {
        subscription: SubscriptionKey(2),
        kind: AckKind::Standard,
        range: AckRange::Span { first: None, last },
        count: 1,
        transaction: None,
        rollback_only: None,
        cause: None,
    };
    side.handle(Op::Ack { ack: Box::new(ack), receipt: None }, &clock);
    side.carry_out(&clock);
    assert_eq!(side.shelf.0.len(), 15);
    for (of, page) in pages {
        side.handle(Op::Paged { of, page: Ok(page) }, &clock);
    }
    let seen = side.settle(&clock);
    assert_eq!(seen[&2], []);
    let seen: Vec<i64> = seen[&3].iter().flatten().map(|(number, ..)| *number).collect();
    assert_eq!(seen, (0..16).filter(|number| *number != 2).collect::<Vec<i64>>());
}

#[test]
fn what_is_read_for_a_browser_is_bounded_and_counts_until_it_is_written() {
    let clock = Clock::new();
    let policy = Policy { browse_page_max: 3, ..Policy::default() };
    let mut side = Side::restarted(policy, &["a"; 5]);
    let before = side.queue.context.usage.used();
    let counted = |side: &Side| side.queue.context.usage.used() - before;
    side.subscribe(1, ConsumerInfo { browser: true, ..consumer("c1", 1, 2) }, &clock);
    assert_eq!(side.settle(&clock)[&1], [Some((0, 0, false)), Some((1, 0, false))]);
    let one = counted(&side);
    assert!(one >= 1024, "the third one, which the window keeps back");
    let ack = Ack {
        subscription: SubscriptionKey(1),
        kind: AckKind::Standard,
        range: AckRange::Exactly(Vec::new()),
        count: 2,
        transaction: None,
        rollback_only: None,
        cause: None,
    };
    side.handle(Op::Ack { ack: Box::new(ack), receipt: None }, &clock);
    side.queue.settle_batch(clock.now(), &mut side.out);
    assert_eq!(counted(&side), one, "it is in the outbox");
    assert_eq!(side.settle(&clock)[&1], [Some((2, 0, false)), None]);
    assert_eq!(counted(&side), 0);
}

#[test]
fn lazy_dispatch_reads_what_consumers_can_take_and_no_more() {
    for lazy_dispatch in [true, false] {
        let clock = Clock::new();
        let mut side = Side::restarted(Policy { lazy_dispatch, ..Policy::default() }, &["a"; 20]);
        side.subscribe(1, consumer("c1", 1, 3), &clock);
        side.subscribe(2, consumer("c1", 2, 2), &clock);
        let seen = side.settle(&clock);
        assert_eq!((seen[&1].len(), seen[&2].len()), (3, 2));
        assert_eq!(side.queue.pending.is_empty(), lazy_dispatch);
        assert_eq!(side.queue.report().size, 20);
    }
}

#[test]
fn what_consumers_hold_leaves_memory_to_senders() {
    let clock = Clock::new();
    let mut side = Side::restarted(Policy::default(), &["a"; 20]);
    side.queue.context.usage.set_limit(10 * 1024);
    side.subscribe(1, consumer("c1", 1, 20), &clock);
    assert_eq!(side.settle(&clock)[&1].len(), 20);
    let usage = &side.queue.context.usage;
    assert!(usage.is_above(70) && usage.full().is_none(), "{}", usage.percent());
}

#[test]
fn what_nobody_is_there_to_take_is_left_to_the_store_but_for_its_beginning() {
    let held = |cursor, is_watched: bool| {
        let clock = Clock::new();
        let policy = Policy { cursor, page_max: 2, ..Policy::default() };
        let mut side = Side::new(policy, true, true, 0);
        if is_watched {
            side.subscribe(1, consumer("c1", 1, 1), &clock);
        }
        for number in 0..30 {
            let message = Message { persistent: true, ..message("c0", number) };
            side.handle(Op::Send(incoming(message, None)), &clock);
            side.settle(&clock);
        }
        let held = side.queue.report().in_memory;
        side.subscribe(2, consumer("c1", 2, 30), &clock);
        let rest = i64::from(is_watched)..30;
        let expected: Vec<Seen> = rest.map(|number| Some((number, 0, false))).collect();
        assert_eq!(side.settle(&clock)[&2], expected);
        held
    };
    assert_eq!(held(Cursor::Store, false), 10);
    assert_eq!(held(Cursor::Store, true), 30, "somebody will take them");
    assert_eq!(held(Cursor::Memory, false), 30);
}
