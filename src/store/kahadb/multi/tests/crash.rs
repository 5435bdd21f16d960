//! Power cuts, kills and failing disks at any step.

use super::*;

/// Submits that were made one behind the other, without waiting.
struct Batch {
    before: State,
    submits: Vec<Vec<StoreOp>>,
}

impl Batch {
    /// States that a crash while they were under way may leave: with any of them, but none without
    /// those before it in one of its destinations.
    fn outcomes(&self) -> Vec<State> {
        let names: Vec<BTreeSet<String>> = self.submits.iter().map(|ops| names(ops)).collect();
        let is_possible = |set: u32| {
            let has = |at: usize| set & 1 << at != 0;
            let before = |at: usize| (0..at).filter(move |b| !has(*b));
            (0..names.len())
                .filter(|at| has(*at))
                .all(|at| before(at).all(|b| names[b].is_disjoint(&names[at])))
        };
        let apply = |set: u32| {
            let mut state = self.before.clone();
            let made = self.submits.iter().enumerate().filter(|(at, _)| set & 1 << at != 0);
            made.flat_map(|(_, ops)| ops).for_each(|op| state.apply(op));
            state
        };
        (0..1 << self.submits.len()).filter(|set| is_possible(*set)).map(apply).collect()
    }
}

/// What the operations are about.
fn names(ops: &[StoreOp]) -> BTreeSet<String> {
    let name = |op: &StoreOp| match op {
        StoreOp::Create { destination }
        | StoreOp::Delete { destination }
        | StoreOp::Remove { destination, .. }
        | StoreOp::Deliver { destination, .. }
        | StoreOp::Acknowledge { destination, .. }
        | StoreOp::Share { destination, .. }
        | StoreOp::Purge { destination, .. } => destination.to_string(),
        StoreOp::Add(add) => add.destination.to_string(),
        StoreOp::Subscribe(_) | StoreOp::Unsubscribe { .. } => "subscriptions".to_owned(),
        StoreOp::Prepare(_) | StoreOp::Forget { .. } => "branches".to_owned(),
    };
    ops.iter().map(name).collect()
}

struct Life<'a> {
    store: Arc<MultiKahaDb>,
    source: Source,
    state: State,
    random: &'a mut Random,
}

impl Life<'_> {
    /// Submits and waits; the batch if not all of it was confirmed.
    fn work(&mut self) -> Option<Batch> {
        let before = self.state.clone();
        let (mut submits, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.random.below(3) {
            // Operations of several places make crossings.
            let count = [1, 1, 2, 3][self.random.below(4)];
            let mut ops = Vec::new();
            for _ in 0..count {
                for op in self.source.ops(&self.state) {
                    self.state.apply(&op);
                    ops.push(op);
                }
            }
            submits.push(ops.clone());
            let (sender, receiver) = channel();
            let done = Box::new(move |outcome| sender.send(outcome).unwrap_or_default());
            self.store.submit(Submit { ops, durable: true, done });
            answers.push(receiver);
        }
        let outcomes: Vec<Result<(), StoreError>> = answers
            .into_iter()
            .map(|answer| answer.recv().expect("everybody is answered"))
            .collect();
        (outcomes.iter().any(Result::is_err)).then_some(Batch { before, submits })
    }
}

/// Shows where the state leaves each of those that are possible.
fn check(found: &State, possible: &[State]) {
    if possible.contains(found) {
        return;
    }
    let lines = |state: &State| -> Vec<String> {
        format!("{state:#?}").lines().map(str::to_owned).collect()
    };
    let there = lines(found);
    for state in possible {
        let expected = lines(state);
        let same = there.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let some = |of: &[String]| of.iter().skip(same).take(8).cloned().collect::<Vec<_>>();
        eprintln!("there is {:#?}\nand not {:#?}", some(&there), some(&expected));
    }
    panic!("it is none of {} possible states", possible.len());
}

/// Several lives of one disk, each of which may end at any step.
fn live(seed: u64) {
    let mut random = Random(seed);
    let (last_sequence, last_subscription, body_max) = (0, 0, BODY_MAX);
    let source = Random(random.next());
    let mut source = Source {
        mix: Mix::Any,
        random: source,
        last_sequence,
        last_subscription,
        body_max,
        next: None,
    };
    let mut disk = SimulatedDisk::new(seed);
    let mut possible = vec![State::default()];
    for _ in 0..4 {
        let mut options = mixed();
        let millis = std::time::Duration::from_millis([0, 1, 1000][random.below(3)]);
        options.stores.iter_mut().for_each(|store| store.options.checkpoint_interval = millis);
        let store = open(&disk, options).expect("opening survives what was");
        let recovered = store.recovered();
        let found = state(&store, &recovered, &mut random);
        check(&found, &possible);
        assert!(recovered.last_sequence <= source.last_sequence);
        let ends_by = random.below(4);
        match ends_by {
            0 => disk.power_fails_at(disk.steps() + random.below(1500) as u64),
            1 => disk.fails_at(disk.steps() + random.below(600) as u64),
            _ => {}
        }
        let mut life = Life { store, source, state: found, random: &mut random };
        let mut open_batch = None;
        for _ in 0..20 {
            open_batch = life.work();
            if open_batch.is_some() {
                break;
            }
        }
        let Life { store, source: back, state: last, .. } = life;
        source = back;
        possible = open_batch.map_or_else(|| vec![last], |batch| batch.outcomes());
        let is_killed = random.below(2) == 0;
        if !is_killed && ends_by > 1 {
            store.close().expect("nothing failed");
        }
        drop(store);
        // A process that is killed leaves everything; what a failed disk had not synced is gone.
        if ends_by < 2 || random.below(2) == 0 {
            disk = disk.reboot();
        }
    }
}

/// What was confirmed is there, and what was not is there in all stores or in none, whatever ended
/// the life of the store. `CRASH_SEED` says where to begin, `CRASH_LIVES` how many.
#[test]
fn submits_in_several_stores_survive_whole_or_not_at_all() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("CRASH_SEED", 1);
    for seed in first..first + number("CRASH_LIVES", 6) {
        let lived = std::panic::catch_unwind(|| live(seed));
        if let Err(cause) = lived {
            eprintln!("CRASH_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}
