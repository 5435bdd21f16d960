//! A disk that is full, or that gives back other bytes than it was given.

use super::*;
use std::collections::BTreeSet;

const BODY_MAX: usize = 400;

fn add(sequence: i64) -> StoreOp {
    let (destination, message) = (Destination::queue("Q"), Arc::new(message(sequence, BODY_MAX)));
    let (band, subscribers, cancel) = (0, Vec::new(), None);
    StoreOp::Add(StoredAdd { destination, sequence, band, message, subscribers, cancel })
}

fn remove(sequence: i64) -> StoreOp {
    StoreOp::Remove { destination: Destination::queue("Q"), sequence }
}

fn submit(store: &mut TestStore, ops: Vec<StoreOp>) {
    store.submit(ops, Wish::Durable, |outcome| outcome.unwrap());
    store.drain().unwrap();
}

/// Sequences that can be read, and those that are there but cannot.
fn read_all(store: &TestStore) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let destination = Destination::queue("Q");
    let limit = PageLimit { messages: 1000, bytes: u64::MAX };
    let page = store.page(Fetch::Queue { destination, band: 0, after: 0, limit });
    let read = page.messages.iter().map(|stored| {
        assert_eq!(sequence_in(&stored.message, BODY_MAX), stored.sequence);
        stored.sequence
    });
    (read.collect(), page.damaged.into_iter().collect())
}

/// A store of a few files with messages 30 to 99, closed.
fn full_disk(seed: u64, mark: index::Mark) -> (SimulatedDisk, BTreeSet<i64>) {
    let disk = SimulatedDisk::new(seed);
    let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
    for sequence in 1..100 {
        submit(&mut store, vec![add(sequence)]);
        if sequence == 60 {
            assert!(store.checkpoint(index::Mark::InUse));
        }
    }
    (1..30).for_each(|sequence| submit(&mut store, vec![remove(sequence)]));
    assert!(store.checkpoint(mark));
    (disk, (30..100).collect())
}

/// A flipped bit in any file is detected or harmless: what is read is what was sent.
#[test]
fn flipped_bits_never_become_wrong_messages() {
    let mut refused = 0;
    for seed in 0..400 {
        let (disk, sent) = full_disk(seed, index::Mark::Clean);
        let mut random = Random(seed);
        let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
        let names = fs.list(Path::new("store")).unwrap();
        let files: Vec<_> = names.iter().filter(|entry| entry.length > 0).collect();
        let path = Path::new("store").join(&files[random.below(files.len())].name);
        let length = disk.content(&path).len();
        // One bit, or a whole stretch.
        for _ in 0..[1, 1, 40][random.below(3)] {
            disk.flip(&path, random.below(length), 1 << random.below(8));
        }
        match TestStore::open(&disk, &options(8192), SyncPolicy::Always) {
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains("damaged") || text.contains("newer"), "{text}");
            }
            Ok(mut store) => {
                let (destination, sequences) = (Destination::queue("Q"), sent.iter().copied());
                let sequences = sequences.collect();
                if store.core.fetch(&Fetch::Exactly { destination, sequences }).is_err() {
                    // The index is damaged: the store stops, and builds another at its start.
                    assert!(store.core.failure().is_some());
                    drop(store);
                    store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
                }
                let (read, damaged) = read_all(&store);
                let there: BTreeSet<i64> = read.union(&damaged).copied().collect();
                assert_eq!(there, sent, "{path:?} {seed}");
            }
        }
        let mut patient = options(8192);
        (patient.ignore_missing_journal_files, patient.check_for_corrupt_journal_files) =
            (true, true);
        if let Ok(store) = TestStore::open(&disk, &patient, SyncPolicy::Always) {
            let (read, damaged) = read_all(&store);
            assert!(damaged.is_empty(), "they were dropped");
            assert!(read.len() >= 30, "most are still there");
        }
    }
    assert!(refused < 300, "{refused}");
}

/// Without space messages are refused, removals are not; and nothing is lost.
#[test]
fn a_full_disk_refuses_messages_and_keeps_the_rest() {
    for seed in 0..40 {
        let (disk, sent) = full_disk(seed, index::Mark::InUse);
        let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
        let used: usize = {
            let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
            let entries = fs.list(Path::new("store")).unwrap();
            entries.iter().map(|entry| entry.length as usize).sum()
        };
        disk.has_space(used + 8192);
        let (sender, receiver) = std::sync::mpsc::channel();
        for sequence in 100..300 {
            let sender = sender.clone();
            let done = move |outcome: Result<(), StoreError>| {
                sender.send((sequence, outcome.is_ok())).unwrap();
            };
            store.submit(vec![add(sequence)], Wish::Durable, done);
            store.drain().unwrap();
        }
        let answers: Vec<(i64, bool)> = receiver.try_iter().collect();
        assert_eq!(answers.len(), 200);
        let accepted: BTreeSet<i64> =
            answers.iter().filter(|(_, ok)| *ok).map(|(sequence, _)| *sequence).collect();
        assert!(accepted.len() < 200, "the disk is full");
        let expected: BTreeSet<i64> = sent.union(&accepted).copied().collect();
        assert_eq!(read_all(&store), (expected.clone(), BTreeSet::new()));
        drop(store);
        disk.has_space(usize::MAX);
        let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
        assert_eq!(read_all(&store), (expected, BTreeSet::new()));
        submit(&mut store, vec![add(300)]);
    }
}

/// Building the index from the journal gives the same, however often, as going on with it.
#[test]
fn a_rebuild_is_the_index_and_what_came_after_it() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let disk = SimulatedDisk::new(seed);
        let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
        let mut source = Source::of_anything(&mut random, BODY_MAX);
        let mut state = State::default();
        for _ in 0..150 {
            let ops = source.ops(&state);
            ops.iter().for_each(|op| state.apply(op));
            submit(&mut store, ops);
            if random.below(8) == 0 {
                assert!(store.upkeep(random.below(4) == 0));
            }
        }
        drop(store);
        let mut rebuild = options(8192);
        for round in 0..4 {
            let store = TestStore::open(&disk, &rebuild, SyncPolicy::Always).unwrap();
            assert_eq!(store.recovered_state(BODY_MAX, &mut random), state, "{seed} {round}");
            assert!(store.recovered.last_sequence <= source.last_sequence);
            rebuild.force_recover_index = true;
        }
    }
}

#[test]
fn what_is_asked_for_is_found() {
    let disk = SimulatedDisk::new(1);
    let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
    for sequence in 1..=200 {
        submit(&mut store, vec![add(sequence)]);
        if sequence == 100 {
            assert!(store.checkpoint(index::Mark::InUse));
        }
    }
    submit(&mut store, vec![remove(7), remove(150)]);
    let destination = Destination::queue("Q");
    let sequences = vec![150, 199, 3, 7, 1000];
    let page = store.page(Fetch::Exactly { destination: destination.clone(), sequences });
    let found: Vec<i64> = page.messages.iter().map(|stored| stored.sequence).collect();
    assert_eq!(found, [3, 199]);
    let expires = |sequence: &i64| message(*sequence, BODY_MAX).expiration > 0;
    let is_there = |sequence: &i64| ![7, 150].contains(sequence);
    for now_ms in [120, 120, 0, 500, 161] {
        let expected: Vec<i64> =
            (1..=200).filter(|s| *s < now_ms).filter(expires).filter(is_there).collect();
        let limit = PageLimit { messages: 1000, bytes: u64::MAX };
        let fetch = Fetch::Expired { destination: destination.clone(), now_ms, limit };
        let found: Vec<i64> = store.page(fetch).messages.iter().map(|m| m.sequence).collect();
        assert_eq!(found, expected);
    }
    // One search is several fetches; what expires meanwhile is for the next.
    let limit = PageLimit { messages: 3, bytes: u64::MAX };
    let expired: Vec<i64> = (1..=200).filter(expires).filter(is_there).collect();
    for round in 0..2 {
        let mut found = Vec::new();
        loop {
            let destination = destination.clone();
            let page = store.page(Fetch::Expired { destination, now_ms: 500, limit });
            found.extend(page.messages.iter().map(|m| m.sequence));
            if page.end {
                break;
            }
            assert_eq!(page.messages.len(), 3);
        }
        assert_eq!(found, expired, "{round}");
    }
    expired.iter().for_each(|sequence| submit(&mut store, vec![remove(*sequence)]));
    assert!(store.checkpoint(index::Mark::InUse));
    let page = store.page(Fetch::Expired { destination: destination.clone(), now_ms: 500, limit });
    assert_eq!((page.messages.len(), page.end), (0, true));
    // The last message of each producer is known, also when it is gone.
    drop(store);
    for force in [false, true] {
        let mut options = options(8192);
        options.force_recover_index = force;
        let store = TestStore::open(&disk, &options, SyncPolicy::Always).unwrap();
        let marks = store.recovered.destinations[0].producers.iter();
        let last: BTreeSet<i64> = marks.map(|(_, sequence)| *sequence).collect();
        assert!(last.contains(&200) && last.len() == 3, "{last:?}");
    }
}
