//! Queues that share the window of one consumer.

use super::super::super::fixture::{
    Random, consumer, context, deliveries, for_seeds, incoming, message, numbers,
};
use super::super::{History, NewSubscription, Queue};
use crate::broker::destination::commit::Decision;
use crate::broker::destination::in_flight::{Ack, AckRange, TransactionKey, Window};
use crate::broker::destination::{Effects, Now, Op};
use crate::broker::outbox::{Delivery, Outbox, SubscriptionKey};
use crate::broker::policy::Policy;
use crate::broker::usage::Usage;
use crate::jms::{AckKind, ConsumerInfo, Destination};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const KEY: SubscriptionKey = SubscriptionKey(1);

/// A queue as its task has it.
struct Member {
    /// None: it has ended.
    queue: Option<Queue>,
    /// Its mailbox is open.
    open: Arc<AtomicBool>,
    woken: Arc<AtomicBool>,
    out: Effects,
    pending: usize,
}

impl Member {
    fn new(source: u32, window: &Arc<Window>, outbox: &Arc<Outbox>) -> Self {
        let info = consumer("c", 1, window.prefetch());
        Self::with(source, window, outbox, info, Policy::default())
    }

    fn with(
        source: u32,
        window: &Arc<Window>,
        outbox: &Arc<Outbox>,
        info: ConsumerInfo,
        policy: Policy,
    ) -> Self {
        let usage = Usage::new(0, None);
        let name = Destination::queue(format!("Q{source}"));
        let mut context = context(name, policy, &usage);
        context.keeps = false;
        let (open, woken) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (is_open, flag) = (Arc::clone(&open), Arc::clone(&woken));
        context.wake = Arc::new(move || {
            let is_open = is_open.load(Ordering::SeqCst);
            flag.fetch_or(is_open, Ordering::SeqCst);
            is_open
        });
        let queue = Some(Queue::new(context, History::default()));
        let mut member = Self { queue, open, woken, out: Effects::default(), pending: 0 };
        let new = Box::new(NewSubscription {
            key: KEY,
            info: Arc::new(info),
            selector: None,
            outbox: Arc::clone(outbox),
            window: Arc::clone(window),
            source: Some(source),
        });
        member.handle(Op::Subscribe { new, receipt: None });
        member
    }

    fn send(&mut self, number: i64) {
        self.pending += usize::from(self.queue.is_some());
        self.handle(Op::Send(incoming(message("p", number), None)));
    }

    fn commit(&mut self, transaction: TransactionKey) {
        let queue = self.queue.as_mut().expect("it is there");
        let (_, entries) = queue.vote(Some(transaction), Vec::new(), Now::read());
        self.handle(Op::Decide(Box::new(Decision {
            transaction: Some(transaction),
            outcome: Ok(()),
            waits_on: false,
            entries,
            receipt: None,
        })));
    }

    fn handle(&mut self, op: Op) {
        let now = Now::read();
        let Some(queue) = &mut self.queue else { return };
        queue.handle(op, now, &mut self.out);
        queue.settle_batch(now, &mut self.out);
        if self.out.destroyed {
            self.open.store(false, Ordering::SeqCst);
            self.woken.store(false, Ordering::SeqCst);
            (self.queue, self.pending) = (None, 0);
        }
    }
}

fn acknowledge(members: &mut [Member], delivery: &Delivery, tx: Option<TransactionKey>) {
    let Some(id) = delivery.message.as_ref().and_then(|m| m.message_id.clone()) else { return };
    let ack = Box::new(Ack {
        subscription: KEY,
        kind: AckKind::Standard,
        range: AckRange::Exactly(vec![id]),
        count: 1,
        transaction: tx,
        rollback_only: None,
        cause: None,
    });
    members[usize::try_from(delivery.source.unwrap()).unwrap()]
        .handle(Op::Ack { ack, receipt: None });
}

/// Lets those run that were woken, in any order, until nobody is.
fn settle(members: &mut [Member], random: &mut Random) {
    loop {
        let woken: Vec<usize> =
            (0..members.len()).filter(|at| members[*at].woken.load(Ordering::SeqCst)).collect();
        if woken.is_empty() {
            return;
        }
        let next = woken[random.below(woken.len())];
        members[next].woken.store(false, Ordering::SeqCst);
        members[next].handle(Op::Wake);
    }
}

#[test]
fn room_in_a_shared_window_is_given_to_whoever_has_messages() {
    for_seeds(300, |mut random| {
        let prefetch = 1 + random.below(4);
        let window = Arc::new(Window::new(prefetch as i32));
        let outbox = Arc::new(Outbox::default());
        let mut members: Vec<_> = (0..8).map(|at| Member::new(at, &window, &outbox)).collect();
        let (mut held, mut number) = (Vec::new(), 0);
        for _ in 0..200 {
            let at = random.below(members.len());
            match random.below(20) {
                0..9 => {
                    number += 1;
                    members[at].send(number);
                }
                9..18 if !held.is_empty() => {
                    let delivery = held.swap_remove(random.below(held.len()));
                    acknowledge(&mut members, &delivery, None);
                }
                18 if random.one_in(4) => members[at].handle(Op::Destroy { receipt: None }),
                _ => {}
            }
            if random.one_in(3) {
                settle(&mut members, &mut random);
            }
            for delivery in deliveries(&outbox) {
                members[usize::try_from(delivery.source.unwrap()).unwrap()].pending -= 1;
                held.push(delivery);
            }
            held.retain(|held: &Delivery| {
                members[usize::try_from(held.source.unwrap()).unwrap()].queue.is_some()
            });
        }
        settle(&mut members, &mut random);
        for delivery in deliveries(&outbox) {
            members[usize::try_from(delivery.source.unwrap()).unwrap()].pending -= 1;
        }
        let pending: usize = members.iter().map(|member| member.pending).sum();
        assert!(window.is_full() || pending == 0, "{pending} messages wait though there is room");
    });
}

#[test]
fn room_that_a_commit_makes_is_given_to_another_queue() {
    let (window, outbox) = (Arc::new(Window::new(1)), Arc::new(Outbox::default()));
    let policy = Policy { use_prefetch_extension: false, ..Policy::default() };
    let mut members = [0, 1].map(|source| {
        let info = consumer("c", 1, window.prefetch());
        Member::with(source, &window, &outbox, info, policy.clone())
    });
    members[0].send(1);
    members[1].send(2);
    let [first] = &deliveries(&outbox)[..] else { panic!("one has room") };
    let transaction = TransactionKey(7);
    acknowledge(&mut members, first, Some(transaction));
    assert!(!members[1].woken.load(Ordering::SeqCst), "nothing extends the window");
    members[0].commit(transaction);
    assert!(members[1].woken.load(Ordering::SeqCst));
    members[1].handle(Op::Wake);
    assert_eq!(numbers(&outbox), [2]);
}

#[test]
fn a_browser_of_several_queues_goes_on_in_another_one_when_it_has_room() {
    let (window, outbox) = (Arc::new(Window::new(1)), Arc::new(Outbox::default()));
    let plain = consumer("c", 1, window.prefetch());
    let browser = ConsumerInfo { browser: true, ..plain.clone() };
    let (other_window, other_outbox) = (Arc::new(Window::new(0)), Arc::new(Outbox::default()));
    let mut members = [0, 1].map(|source| {
        let plain = ConsumerInfo { prefetch_size: 0, ..plain.clone() };
        Member::with(source, &other_window, &other_outbox, plain, Policy::default())
    });
    for (source, member) in (0..).zip(&mut members) {
        member.send(i64::from(source) + 1);
        let (window, outbox) = (Arc::clone(&window), Arc::clone(&outbox));
        let (key, info) = (SubscriptionKey(2), Arc::new(browser.clone()));
        let selector = None;
        let new = NewSubscription { key, info, selector, outbox, window, source: Some(source) };
        member.handle(Op::Subscribe { new: Box::new(new), receipt: None });
    }
    assert_eq!(numbers(&outbox), [1, -1]);
    let ack = Box::new(Ack {
        subscription: SubscriptionKey(2),
        kind: AckKind::Standard,
        range: AckRange::Exactly(Vec::new()),
        count: 1,
        transaction: None,
        rollback_only: None,
        cause: None,
    });
    members[0].handle(Op::Ack { ack, receipt: None });
    assert!(members[1].woken.load(Ordering::SeqCst));
    members[1].handle(Op::Wake);
    assert_eq!(numbers(&outbox), [2, -1]);
}
