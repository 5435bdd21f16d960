//! The power goes at every step of every checkpoint.

use super::disk::Fate;
use super::*;

/// Checkpoints of one run: what each does, and what is there after it.
struct Script {
    batches: Vec<Vec<Step>>,
    states: Vec<Model>,
}

impl Script {
    fn new(seed: u64, count: u64) -> Self {
        let mut random = Random(seed);
        let (mut batches, mut states, mut model) = (Vec::new(), vec![Model::new()], Model::new());
        for _ in 0..count {
            let size = 1 + random.below(60);
            let value_max = [12, 700][random.below(2) as usize];
            let steps = batch(&mut random, size, 400, value_max);
            apply_to_model(&mut model, &steps);
            batches.push(steps);
            states.push(model.clone());
        }
        Self { batches, states }
    }

    /// Runs until an error; returns how many checkpoints were confirmed.
    fn run(&self, disk: &Disk) -> usize {
        let Ok(opened) = PagedIndex::open(disk, options()) else { return 0 };
        let Opened::Fresh(mut index) = opened else { panic!("an empty disk") };
        for (i, steps) in self.batches.iter().enumerate() {
            let record = Record { replay_lsn: i as u64 + 1, ..Record::default() };
            if apply(&mut index, steps, &record).is_err() {
                return i;
            }
            if i % 2 == 0 && index.settle().is_err() {
                return i + 1;
            }
        }
        self.batches.len()
    }

    /// What a restart finds must be the last confirmed state, or the one that was being confirmed.
    fn check(&self, disk: &Disk, confirmed: usize) {
        let (index, found) = match PagedIndex::open(disk, options()).expect("a working disk") {
            Opened::Fresh(index) => (index, 0),
            Opened::Replay(index, record) => (index, record.replay_lsn as usize),
            Opened::Clean(..) => panic!("never marked clean"),
            Opened::Damaged(damage) => panic!("after {confirmed} checkpoints: {damage}"),
        };
        assert!((confirmed..=confirmed + 1).contains(&found), "{found} instead of {confirmed}");
        let mut index = index;
        let reader = index.reader();
        assert_eq!(rows(&reader, reader.version()).expect("readable"), self.states[found]);
        let verdict = index.verify().expect("readable");
        assert_eq!((verdict.damage, verdict.leaked_pages), (vec![], 0));
        // Life goes on.
        if let Some(steps) = self.batches.get(found) {
            let record = Record { replay_lsn: found as u64 + 1, ..Record::default() };
            apply(&mut index, steps, &record).expect("applied");
            index.settle().expect("settled");
            assert_eq!(rows(&reader, reader.version()).expect("readable"), self.states[found + 1]);
        }
    }
}

fn options() -> Options {
    Options { page_bytes: 1024, cache_bytes: 8 << 10, growth_pages: 8 }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_state_before_or_after() {
    let mut points = 0;
    for seed in 0..3 * scale() {
        let script = Script::new(seed, 12);
        let disk = Disk::default();
        assert_eq!(script.run(&disk), script.batches.len());
        for die_at in 1..=disk.steps() {
            let disk = Disk::default();
            disk.dies_at(die_at);
            let confirmed = script.run(&disk);
            for fate in [Fate::Lost, Fate::Kept]
                .into_iter()
                .chain((0..6).map(|torn| Fate::Torn(seed * 1_000_003 + die_at * 31 + torn)))
            {
                let _case = Case((seed, die_at, fate));
                script.check(&disk.reboot(fate), confirmed);
                points += 1;
            }
        }
    }
    assert!(points > 1000, "{points} crash points");
}

#[test]
fn a_power_cut_during_recovery_is_recovered_from() {
    let script = Script::new(99, 6);
    let disk = Disk::default();
    script.run(&disk);
    for die_at in 1..=disk.steps() {
        let disk = Disk::default();
        disk.dies_at(die_at);
        let confirmed = script.run(&disk);
        for again in 1..12 {
            let _case = Case((die_at, again));
            let second = disk.reboot(Fate::Torn(die_at));
            second.dies_at(again);
            drop(PagedIndex::open(&second, options()));
            script.check(&second.reboot(Fate::Torn(again)), confirmed);
        }
    }
}

/// A full disk before the commit costs nothing; later errors stop the index. Never is data wrong.
#[test]
fn a_failing_step_is_told_and_a_restart_finds_the_state_before_or_after() {
    let script = Script::new(5, 8);
    let disk = Disk::default();
    script.run(&disk);
    let mut survived = 0;
    for fail_at in 5..=disk.steps() {
        let _case = Case(fail_at);
        let disk = Disk::default();
        disk.fails_at(fail_at);
        let Ok(Opened::Fresh(mut index)) = PagedIndex::open(&disk, options()) else {
            panic!("fails later")
        };
        let mut confirmed = 0;
        for (i, steps) in script.batches.iter().enumerate() {
            let record = Record { replay_lsn: i as u64 + 1, ..Record::default() };
            let mut result = apply(&mut index, steps, &record);
            if let Err(IndexError::Io { .. }) = result {
                let reader = index.reader();
                let now = rows(&reader, reader.version()).expect("readable");
                assert_eq!(now, script.states[confirmed]);
                result = apply(&mut index, steps, &record); // room was made
                survived += u32::from(result.is_ok());
            }
            match result {
                Ok(_) => confirmed = i + 1,
                Err(IndexError::Stopped) => break,
                Err(other) => panic!("{other}"),
            }
        }
        for fate in [Fate::Lost, Fate::Kept, Fate::Torn(fail_at)] {
            script.check(&disk.reboot(fate), confirmed);
        }
    }
    assert!(survived > 5, "a write before the commit may be tried again");
}
