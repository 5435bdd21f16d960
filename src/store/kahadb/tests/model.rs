//! What a store has to have, as a few maps; and random submits.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// A state that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::kahadb) struct State {
    /// Queue to (band, seq) to what is known of the message.
    pub(in crate::store::kahadb) queues: BTreeMap<String, BTreeMap<(u8, i64), Held>>,
    /// Topic to seq to who has not acknowledged it.
    pub(in crate::store::kahadb) topics: BTreeMap<String, BTreeMap<i64, BTreeSet<u64>>>,
    pub(in crate::store::kahadb) subscriptions: BTreeMap<u64, String>,
    /// Format id of the branch to what it holds, as text.
    pub(in crate::store::kahadb) prepared: BTreeMap<i32, String>,
}

/// A message of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::kahadb) struct Held {
    pub(in crate::store::kahadb) expiration: i64,
    pub(in crate::store::kahadb) is_delivered: bool,
}

impl State {
    pub(in crate::store::kahadb) fn apply(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Create { destination } => self.create(destination),
            StoreOp::Delete { destination } => {
                self.queues.remove(destination.name());
                self.topics.remove(destination.name());
            }
            StoreOp::Add(add) => {
                self.create(&add.destination);
                let name = add.destination.name();
                if let Some(queue) = self.queues.get_mut(name) {
                    let held = Held { expiration: add.message.expiration, is_delivered: false };
                    queue.insert((add.band, add.sequence), held);
                } else if let Some(topic) = self.topics.get_mut(name) {
                    let known = |number: &&u64| self.subscriptions.contains_key(number);
                    let wanted: BTreeSet<u64> =
                        add.subscribers.iter().filter(known).copied().collect();
                    if !wanted.is_empty() {
                        topic.insert(add.sequence, wanted);
                    }
                }
            }
            StoreOp::Remove { destination, sequence } => {
                if let Some(queue) = self.queues.get_mut(destination.name()) {
                    queue.retain(|(_, seq), _| seq != sequence);
                }
                if let Some(topic) = self.topics.get_mut(destination.name()) {
                    topic.remove(sequence);
                }
            }
            StoreOp::Deliver { destination, sequence } => {
                let queue = self.queues.get_mut(destination.name()).into_iter().flatten();
                let named = queue.filter(|((_, seq), _)| seq == sequence);
                named.for_each(|(_, held)| held.is_delivered = true);
            }
            StoreOp::Acknowledge { destination, subscription, sequence } => {
                if let Some(topic) = self.topics.get_mut(destination.name()) {
                    if let Some(wanted) = topic.get_mut(sequence) {
                        wanted.remove(subscription);
                    }
                    topic.retain(|_, wanted| !wanted.is_empty());
                }
            }
            StoreOp::Purge { destination, last } => {
                if let Some(queue) = self.queues.get_mut(destination.name()) {
                    queue.retain(|(_, seq), _| seq > last);
                }
                if let Some(topic) = self.topics.get_mut(destination.name()) {
                    topic.retain(|seq, _| seq > last);
                }
            }
            StoreOp::Subscribe(subscription) => {
                self.subscriptions.insert(subscription.number, format!("{subscription:?}"));
            }
            StoreOp::Unsubscribe { subscription } => {
                self.subscriptions.remove(subscription);
                for topic in self.topics.values_mut() {
                    for wanted in topic.values_mut() {
                        wanted.remove(subscription);
                    }
                    topic.retain(|_, wanted| !wanted.is_empty());
                }
            }
            StoreOp::Share { destination, subscription } => {
                if self.subscriptions.contains_key(subscription)
                    && let Some(topic) = self.topics.get_mut(destination.name())
                {
                    for wanted in topic.values_mut() {
                        wanted.insert(*subscription);
                    }
                }
            }
            StoreOp::Prepare(branch) => {
                self.prepared.insert(branch.xid.format_id, branch_text(branch));
            }
            StoreOp::Forget { xid } => drop(self.prepared.remove(&xid.format_id)),
        }
    }

    fn create(&mut self, destination: &Destination) {
        let name = destination.name().to_owned();
        match destination.kind().is_queue() {
            true => drop(self.queues.entry(name).or_default()),
            false => drop(self.topics.entry(name).or_default()),
        }
    }

    pub(in crate::store::kahadb) fn messages(&self) -> usize {
        let queues = self.queues.values().map(BTreeMap::len).sum::<usize>();
        queues + self.topics.values().map(BTreeMap::len).sum::<usize>()
    }
}

/// All of a branch, with what its messages say.
pub(in crate::store::kahadb) fn branch_text(branch: &PreparedBranch) -> String {
    let sends: Vec<_> = branch.sends.iter().map(|(d, m)| (d, &m.content)).collect();
    format!("{:?} {sends:?} {:?} {:?}", branch.xid, branch.removals, branch.acknowledgements)
}

/// What kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::kahadb) enum Mix {
    /// A little of everything.
    Any,
    /// Much comes and goes, and is acknowledged some files later; a little stays for long; the
    /// subscriptions of a topic are more and more behind; some branches stay prepared.
    Aging,
    /// Messages of a topic are shared with subscriptions, and those that had them first go.
    Sharing,
}

/// Makes up submits that fit a state.
#[derive(Debug)]
pub(in crate::store::kahadb) struct Source {
    pub(in crate::store::kahadb) mix: Mix,
    pub(in crate::store::kahadb) random: Random,
    pub(in crate::store::kahadb) last_sequence: i64,
    pub(in crate::store::kahadb) last_subscription: u64,
    pub(in crate::store::kahadb) body_max: usize,
    /// What comes next: a new subscription shares what a topic holds before it acknowledges any of it.
    pub(in crate::store::kahadb) next: Option<StoreOp>,
}

impl Source {
    /// Begins with nothing.
    pub(in crate::store::kahadb) fn of_anything(random: &mut Random, body_max: usize) -> Self {
        let random = Random(random.next());
        Self { mix: Mix::Any, random, last_sequence: 0, last_subscription: 0, body_max, next: None }
    }

    /// Operations of one submit; `state` is what they will be applied to.
    pub(in crate::store::kahadb) fn ops(&mut self, state: &State) -> Vec<StoreOp> {
        let count = [1, 1, 1, 2, 4][self.random.below(5)];
        let (mut now, mut ops) = (state.clone(), Vec::from_iter(self.next.take()));
        ops.iter().for_each(|op| now.apply(op));
        for _ in 0..count {
            let op = match self.mix {
                Mix::Any => self.op(state),
                Mix::Aging => self.aging(&now),
                Mix::Sharing => self.sharing(&now),
            };
            let is_new = matches!(op, StoreOp::Subscribe(_));
            now.apply(&op);
            ops.push(op);
            if is_new && self.random.below(3) > 0 {
                let destination = self.topic();
                self.next =
                    Some(StoreOp::Share { destination, subscription: self.last_subscription });
                break;
            }
        }
        if self.random.below(2) == 0 {
            ops.extend(self.next.take());
        }
        ops
    }

    fn aging(&mut self, state: &State) -> StoreOp {
        if state.subscriptions.len() < LAGS.len() {
            return self.subscribe();
        }
        let (queue, old) = (state.queues.get("Q.A"), state.queues.get("Q.OLD"));
        let first = |queue: &BTreeMap<(u8, i64), Held>| queue.keys().next().map_or(0, |key| key.1);
        if let Some(queue) = queue.filter(|queue| queue.len() > 4) {
            return StoreOp::Remove {
                destination: Destination::queue("Q.A"),
                sequence: first(queue),
            };
        }
        if let Some(old) = old.filter(|old| old.len() > 6) {
            let key = pick(&mut self.random, old.keys()).expect("not empty");
            return StoreOp::Remove { destination: Destination::queue("Q.OLD"), sequence: key.1 };
        }
        let topic = state.topics.get("T.A");
        for (number, lag) in state.subscriptions.keys().zip(LAGS) {
            let wanted = topic.into_iter().flatten().filter(|(_, wanted)| wanted.contains(number));
            let wanted: Vec<i64> = wanted.map(|(sequence, _)| *sequence).collect();
            if wanted.len() > lag {
                let (destination, subscription) = (Destination::topic("T.A"), *number);
                return StoreOp::Acknowledge { destination, subscription, sequence: wanted[0] };
            }
        }
        if state.prepared.len() > 3 {
            let known = *pick(&mut self.random, state.prepared.keys()).expect("not empty");
            return StoreOp::Forget { xid: xid(known) };
        }
        if self.random.below(12) == 0 {
            return self.deliver(state);
        }
        match self.random.below(120) {
            0..70 => self.add_to(Destination::queue("Q.A"), Vec::new()),
            70..72 => self.add_to(Destination::queue("Q.OLD"), Vec::new()),
            72..113 => {
                let all = state.subscriptions.keys().copied().collect();
                self.add_to(Destination::topic("T.A"), all)
            }
            113..117 => {
                let number = (0..).find(|number| !state.prepared.contains_key(number));
                self.prepare_as(number.unwrap_or(0))
            }
            117 => {
                let destination = Destination::queue("Q.OLD");
                StoreOp::Purge { destination, last: old.map_or(0, first) }
            }
            118 => {
                let first = state.subscriptions.keys().next().expect("there are some");
                StoreOp::Unsubscribe { subscription: *first }
            }
            _ => StoreOp::Delete { destination: Destination::queue("Q.A") },
        }
    }

    fn sharing(&mut self, state: &State) -> StoreOp {
        let (topic, all) = (Destination::topic("T.A"), &state.subscriptions);
        if all.len() < 2 {
            return self.subscribe();
        }
        let held = state.topics.get("T.A").map_or(0, BTreeMap::len);
        match self.random.below(if held > 20 { 500 } else { 120 }) {
            0..95 => {
                let wanted = all.keys().copied().filter(|_| self.random.below(3) > 0).collect();
                self.add_to(topic, wanted)
            }
            95..99 if all.len() < 6 => self.subscribe(),
            95..102 => {
                let any = pick(&mut self.random, all.keys()).expect("there are some");
                StoreOp::Unsubscribe { subscription: *any }
            }
            102..110 => self.add_to_queue(),
            110..119 => self.remove(state),
            119 => match self.random.below(8) {
                0 => StoreOp::Delete { destination: topic },
                1 => StoreOp::Purge { destination: topic, last: self.last_sequence - 60 },
                _ => self.remove(state),
            },
            _ => {
                // Some get old, in some of the files.
                let held = state.topics.get("T.A").into_iter().flatten();
                let young =
                    held.filter(|(sequence, _)| *sequence % 8 != 0 || *sequence % 512 > 128);
                let Some((sequence, wanted)) = pick(&mut self.random, young) else {
                    return self.acknowledge(state);
                };
                let sequence = *sequence;
                let subscription = *pick(&mut self.random, wanted.iter()).expect("one at least");
                StoreOp::Acknowledge { destination: topic, subscription, sequence }
            }
        }
    }

    fn add_to(&mut self, destination: Destination, subscribers: Vec<u64>) -> StoreOp {
        let sequence = self.next_sequence();
        let (message, band) = (Arc::new(message(sequence, self.body_max)), 0);
        StoreOp::Add(StoredAdd { destination, sequence, band, message, subscribers, cancel: None })
    }

    fn op(&mut self, state: &State) -> StoreOp {
        let crowded = state.messages() > 25;
        match self.random.below(if crowded { 90 } else { 60 }) {
            0..24 => self.add_to_queue(),
            24..36 => self.add_to_topic(state),
            36..38 => StoreOp::Create { destination: self.queue() },
            38 => StoreOp::Delete { destination: self.queue() },
            39 => StoreOp::Delete { destination: self.topic() },
            40..42 => self.subscribe(),
            42 => match pick(&mut self.random, state.subscriptions.keys()) {
                Some(subscription) => StoreOp::Unsubscribe { subscription: *subscription },
                None => self.subscribe(),
            },
            43..45 => self.prepare(),
            45..47 => {
                let known = pick(&mut self.random, state.prepared.keys()).copied();
                StoreOp::Forget { xid: xid(known.unwrap_or(77)) }
            }
            47 => {
                let last = self.last_sequence - self.random.below(30) as i64;
                let destination =
                    if self.random.below(3) == 0 { self.topic() } else { self.queue() };
                StoreOp::Purge { destination, last }
            }
            48..52 | 75..80 => self.acknowledge(state),
            52..54 | 80..84 => self.deliver(state),
            _ => self.remove(state),
        }
    }

    fn queue(&mut self) -> Destination {
        Destination::queue(["Q.A", "Q.B", "Q.C"][self.random.below(3)])
    }

    fn topic(&mut self) -> Destination {
        Destination::topic(["T.A", "T.B"][self.random.below(2)])
    }

    pub(in crate::store::kahadb) fn next_sequence(&mut self) -> i64 {
        self.last_sequence += 1 + self.random.below(3) as i64;
        self.last_sequence
    }

    fn add_to_queue(&mut self) -> StoreOp {
        let (destination, sequence) = (self.queue(), self.next_sequence());
        let band = if destination.name() == "Q.B" { self.random.below(3) as u8 } else { 0 };
        let message = Arc::new(message(sequence, self.body_max));
        let subscribers = Vec::new();
        StoreOp::Add(StoredAdd { destination, sequence, band, message, subscribers, cancel: None })
    }

    fn add_to_topic(&mut self, state: &State) -> StoreOp {
        let (destination, sequence) = (self.topic(), self.next_sequence());
        let mut subscribers: Vec<u64> =
            state.subscriptions.keys().copied().filter(|_| self.random.below(4) > 0).collect();
        if self.random.below(10) == 0 {
            subscribers.push(1 << 40); // nobody
        }
        let message = Arc::new(message(sequence, self.body_max));
        let (band, cancel) = (0, None);
        StoreOp::Add(StoredAdd { destination, sequence, band, message, subscribers, cancel })
    }

    fn subscribe(&mut self) -> StoreOp {
        self.last_subscription += 1;
        let number = self.last_subscription;
        StoreOp::Subscribe(StoredSubscription {
            number,
            client: format!("client {number}").into(),
            name: "name".into(),
            destination: Destination::topic("T.>"),
            selector: number.is_multiple_of(2).then(|| "a = 1".into()),
            no_local: number.is_multiple_of(3),
        })
    }

    fn prepare(&mut self) -> StoreOp {
        let number = self.random.below(5) as i32;
        self.prepare_as(number)
    }

    fn prepare_as(&mut self, number: i32) -> StoreOp {
        let sequence = self.next_sequence();
        let message = Arc::new(message(sequence, self.body_max));
        StoreOp::Prepare(PreparedBranch {
            xid: xid(number),
            sends: vec![(self.queue(), message)],
            removals: vec![(self.queue(), vec![sequence - 1, 3])],
            acknowledgements: vec![(self.topic(), 1, vec![4])],
        })
    }

    fn acknowledge(&mut self, state: &State) -> StoreOp {
        let topic = pick(&mut self.random, state.topics.iter().filter(|(_, t)| !t.is_empty()));
        let Some((name, messages)) = topic else { return self.remove(state) };
        let (sequence, wanted) = pick(&mut self.random, messages.iter()).expect("not empty");
        let subscription = pick(&mut self.random, wanted.iter()).copied().unwrap_or(1);
        let destination = Destination::topic(name.as_str());
        StoreOp::Acknowledge { destination, subscription, sequence: *sequence }
    }

    fn deliver(&mut self, state: &State) -> StoreOp {
        let all =
            state.queues.iter().flat_map(|(name, queue)| queue.keys().map(move |k| (name, k)));
        let Some((name, (_, sequence))) = pick(&mut self.random, all) else {
            // One that was there, or never will be.
            let sequence = self.random.below(self.last_sequence as usize + 1) as i64;
            return StoreOp::Deliver { destination: self.queue(), sequence };
        };
        let destination = Destination::queue(name.as_str());
        StoreOp::Deliver { destination, sequence: *sequence }
    }

    fn remove(&mut self, state: &State) -> StoreOp {
        let queue = pick(&mut self.random, state.queues.iter().filter(|(_, q)| !q.is_empty()));
        if let Some((name, messages)) = queue
            && self.random.below(10) > 0
        {
            // Mostly the first, as consumers do; in one queue the newer ones, so that some get old.
            let at = match (name.as_str(), self.random.below(3)) {
                ("Q.C", _) => messages.len() - 1 - self.random.below(messages.len().min(4)),
                (_, 0) => self.random.below(messages.len()),
                _ => 0,
            };
            let (_, sequence) = *messages.keys().nth(at).expect("not empty");
            return StoreOp::Remove { destination: Destination::queue(name.as_str()), sequence };
        }
        let topic = pick(&mut self.random, state.topics.iter().filter(|(_, t)| !t.is_empty()));
        match topic {
            Some((name, messages)) => {
                let sequence = *messages.keys().next().expect("not empty");
                StoreOp::Remove { destination: Destination::topic(name.as_str()), sequence }
            }
            None => {
                let sequence = self.random.below(self.last_sequence as usize + 1) as i64;
                // Perhaps one that was there; never one that is still to come.
                StoreOp::Remove { destination: self.queue(), sequence }
            }
        }
    }
}

fn pick<T>(random: &mut Random, all: impl Iterator<Item = T>) -> Option<T> {
    let all: Vec<T> = all.collect();
    let at = random.below(all.len());
    all.into_iter().nth(at)
}

pub(in crate::store::kahadb) fn xid(number: i32) -> Arc<XaId> {
    Arc::new(XaId {
        format_id: number,
        global_transaction_id: Some(vec![7; number as usize % 9].into()),
        branch_qualifier: None,
    })
}

/// How many messages subscriptions are behind.
const LAGS: [usize; 3] = [12, 4, 1];
