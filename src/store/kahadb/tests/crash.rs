//! Power cuts at every step.

use super::*;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// One life of a store, from its opening to a power cut.
struct Life {
    disk: SimulatedDisk,
    options: KahaDbOptions,
    store: TestStore,
    policy: SyncPolicy,
    source: Source,
    past: Past,
    /// One of so many times, messages are moved when files are dropped.
    rests: usize,
}

/// What may be there.
#[derive(Clone, Default)]
struct Past {
    /// The state that certainly survived, and that after each submit since then.
    states: Vec<State>,
    /// (steps of the disk, submits confirmed as durable by then)
    confirmed: Arc<Mutex<Vec<(u64, usize)>>>,
}

const BODY_MAX: usize = 400;

impl From<State> for Past {
    fn from(state: State) -> Self {
        Self { states: vec![state], confirmed: Arc::default() }
    }
}

impl Life {
    fn begin(disk: SimulatedDisk, past: Past, source: Source, random: &mut Random) -> Self {
        let mut options = options(8192 + 4096 * random.below(3) as u32);
        options.journal_max_write_batch = [300, 1000, 5000][random.below(3)];
        let policy = [SyncPolicy::Always, SyncPolicy::Always, SyncPolicy::Never];
        let policy = policy[random.below(policy.len())];
        let store = TestStore::open(&disk, &options, policy).expect("nothing fails yet");
        let rests = if source.mix == Mix::Any { 3 } else { 8 };
        Self { disk, options, store, policy, source, past, rests }
    }

    /// Lets a few submits queue up and writes them; or a checkpoint.
    fn work(&mut self, random: &mut Random) -> Result<(), ()> {
        for _ in 0..random.below(6) {
            let mut state = self.past.states.last().expect("the first is there").clone();
            let mut ops = Vec::new();
            let mut cancels = Vec::new();
            for mut op in self.source.ops(&state) {
                if let StoreOp::Add(add) = &mut op
                    && random.below(8) == 0
                {
                    let cancel = crate::store::Cancel::default();
                    add.cancel = Some(cancel.clone());
                    cancels.push(cancel);
                    state.apply(&StoreOp::Create { destination: add.destination.clone() });
                } else {
                    state.apply(&op);
                }
                ops.push(op);
            }
            let wish = [Wish::Written, Wish::Durable, Wish::Durable, Wish::Synced];
            let wish = wish[random.below(wish.len())];
            let (count, confirmed) = (self.past.states.len(), self.past.confirmed.clone());
            let disk = self.disk.clone();
            self.past.states.push(state);
            let always = self.policy == SyncPolicy::Always;
            let is_durable = wish == Wish::Synced || wish == Wish::Durable && always;
            self.store.submit(ops, wish, move |outcome| {
                if outcome.is_ok() && is_durable {
                    confirmed.lock().push((disk.steps(), count));
                }
            });
            assert!(cancels.iter().all(crate::store::Cancel::cancel), "nothing was written yet");
        }
        self.store.drain().map_err(drop)?;
        let is_well = match random.below(8) {
            0 => self.store.checkpoint(index::Mark::InUse),
            1 | 2 => self.store.upkeep(random.below(self.rests) == 0),
            _ => true,
        };
        is_well.then_some(()).ok_or(())
    }

    /// Works until there is a past, of which nothing can be lost.
    fn grow_old(&mut self, random: &mut Random) {
        let long = if self.source.mix == Mix::Any { 0 } else { 220 };
        for _ in 0..long + random.below(80) {
            self.work(random).expect("nothing fails yet");
        }
        assert!(self.store.checkpoint(index::Mark::InUse));
        let state = self.past.states.pop().expect("the first is there");
        self.past = state.into();
    }

    /// Looks at what a power cut after `steps` left; returns the number of the state it is in.
    fn judge(&self, steps: u64, left: &SimulatedDisk, random: &mut Random) -> usize {
        let store = TestStore::open(left, &self.options, SyncPolicy::Always)
            .expect("opening survives a power cut");
        let found = store.recovered_state(BODY_MAX, random);
        let confirmed = self.past.confirmed.lock();
        let least = confirmed.iter().filter(|(at, _)| *at <= steps).map(|(_, n)| *n).max();
        let least = least.unwrap_or(0);
        let at = self.past.states[least..].iter().position(|state| *state == found);
        let Some(at) = at else {
            let last = self.past.states.last();
            panic!(
                "{least} of {} confirmed; there is\n{found:?}, last\n{last:?}",
                self.past.states.len()
            );
        };
        if self.source.mix != Mix::Any || random.below(12) == 0 {
            drop(store);
            remove_index(left);
            let store = TestStore::open(left, &self.options, SyncPolicy::Always)
                .expect("the journal is enough");
            assert_eq!(store.recovered_state(BODY_MAX, random), found, "rebuilt");
        }
        least + at
    }
}

/// What lives met.
#[derive(Debug, Default)]
struct Seen {
    lives: u32,
    with_gaps: u32,
    with_live_records: u32,
    with_moves: u32,
    with_moved_branches: u32,
}

impl Seen {
    fn look(&mut self, store: &TestStore) {
        let view = store.core.view.lock();
        self.lives += 1;
        self.with_gaps += u32::from(view.gaps != Gaps::default());
        let mut files = view.files.values();
        self.with_live_records += u32::from(files.any(|file| file.live_as_of > Lsn::default()));
        self.with_moves += u32::from(store.has_moved);
        self.with_moved_branches += u32::from(store.has_moved_branches);
    }
}

/// Lives one life and looks at every power cut in it; some cuts, and some ends, begin another.
/// Returns how many there were.
fn live(
    disk: SimulatedDisk,
    past: Past,
    mix: Mix,
    last: (i64, u64),
    lives_left: u32,
    seen: &Mutex<Seen>,
    random: &mut Random,
) -> u64 {
    let worth = if lives_left > 0 { 16 } else { 5 };
    let (last_sequence, last_subscription) = last;
    let source = Random(random.next());
    let source = Source {
        mix,
        random: source,
        last_sequence,
        last_subscription,
        body_max: BODY_MAX,
        next: None,
    };
    let is_first = past.states.len() == 1 && past.states[0] == State::default();
    if !is_first {
        disk.keep_images();
    }
    let mut life = Life::begin(disk, past, source, random);
    if is_first {
        life.grow_old(random);
        life.disk.keep_images();
    }
    for _ in 0..=random.below(worth) {
        life.work(random).expect("nothing fails yet");
    }
    if random.below(4) == 0 {
        assert!(life.store.checkpoint(index::Mark::Clean));
    }
    seen.lock().look(&life.store);
    let images = life.disk.take_images();
    let mut cuts = images.len() as u64;
    let last = (life.source.last_sequence, life.source.last_subscription);
    for (steps, left) in images {
        let found = life.judge(steps, &left, random);
        if lives_left > 0 && random.below(40) == 0 {
            let past = Past::from(life.past.states[found].clone());
            cuts += live(left.reboot(), past, mix, last, lives_left - 1, seen, random);
        }
    }
    if lives_left > 0 && random.below(2) == 0 {
        // The process is killed, the machine goes on: nothing is lost, but not all is synced.
        let Life { disk, store, past, .. } = life;
        drop(store);
        cuts += live(disk, past, mix, last, lives_left - 1, seen, random);
    }
    cuts
}

/// Lives until there were `CRASH_POINTS` cuts, or as many as `points`; `CRASH_SEED` says where to
/// begin.
fn live_many(mix: Mix, points: u64) -> Seen {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let points = number("CRASH_POINTS", points);
    let (cuts, seed) = (AtomicU64::new(0), AtomicU64::new(number("CRASH_SEED", 0)));
    let seen = Mutex::<Seen>::default();
    let live_some = || {
        while cuts.load(Ordering::Relaxed) < points {
            let seed = seed.fetch_add(1, Ordering::Relaxed) + 1;
            let life = std::panic::AssertUnwindSafe(|| {
                let (disk, random) = (SimulatedDisk::new(seed), &mut Random(seed));
                live(disk, State::default().into(), mix, (0, 0), 2, &seen, random)
            });
            let lived = std::panic::catch_unwind(life);
            let lived = lived.unwrap_or_else(|cause| {
                eprintln!("CRASH_SEED={}", seed - 1);
                std::panic::resume_unwind(cause)
            });
            cuts.fetch_add(lived, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(live_some);
        }
    });
    seen.into_inner()
}

/// Whatever was confirmed before the power went is there after reopening, in order and once, with
/// its content; what was not is there as a whole or not at all; and the journal alone says the same.
#[test]
fn confirmed_submits_survive_a_power_cut_at_every_step() {
    let seen = live_many(Mix::Any, 55_000);
    let enough = seen.with_gaps > 50 && seen.with_live_records > 5 && seen.with_moves > 50;
    assert!(enough || seen.lives < 1000, "{seen:?}");
}

/// The same where old messages stay among many that went, so that a rebuild needs what was written
/// again: Live records, messages and branches that were moved. It is tried after every cut.
#[test]
fn the_journal_alone_says_the_same_after_most_of_its_files_went() {
    let seen = live_many(Mix::Aging, 5_000);
    let Seen { lives, with_live_records, with_moves, with_moved_branches, .. } = seen;
    assert!(with_live_records * 3 > lives, "{seen:?}");
    assert!(with_moves * 8 > lives && with_moved_branches * 8 > lives, "{seen:?}");
}

/// The same for messages that a topic holds only because they were shared.
#[test]
fn the_journal_alone_says_what_was_shared_after_most_of_its_files_went() {
    let seen = live_many(Mix::Sharing, 3_000);
    let Seen { lives, with_live_records, with_moves, .. } = seen;
    assert!(with_live_records * 12 > lives && with_moves * 12 > lives, "{seen:?}");
}

/// The disk fails once instead of for good: nothing is confirmed that does not survive.
#[test]
fn nothing_is_lost_by_a_failed_write_or_sync() {
    let mut failures = 0;
    for seed in 0..600 {
        let mut random = Random(seed);
        let disk = SimulatedDisk::new(seed);
        let source = Source::of_anything(&mut random, BODY_MAX);
        let mut life = Life::begin(disk.clone(), State::default().into(), source, &mut random);
        disk.fails_at(disk.steps() + random.below(120) as u64);
        if random.below(2) == 0 {
            disk.writes_are_short();
        }
        if (0..20).any(|_| life.work(&mut random).is_err()) {
            failures += 1;
            life.judge(disk.steps(), &disk.reboot(), &mut random);
        }
    }
    assert!(failures > 200, "{failures}");
}
