//! What operators are told: true, and nothing changed for it.

use super::*;
use crate::store::kahadb::inspect::{Inspection, inspect_with};
use crate::store::kahadb::verify::{Verification, verify_with};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A store with a past, as a killed process or a clean stop leaves it; with its state, and that before the
/// last submit.
fn aged(seed: u64) -> (SimulatedDisk, KahaDbOptions, [State; 2]) {
    let (disk, options) = (SimulatedDisk::new(seed), options(16 << 10));
    let mut random = Random(seed);
    let mut source = Source {
        mix: Mix::Any,
        random: Random(seed ^ 7),
        last_sequence: 0,
        last_subscription: 0,
        body_max: 300,
        next: None,
    };
    let (mut state, mut before) = (State::default(), State::default());
    for life in 0..2 + random.below(3) {
        let mut store = TestStore::open(&disk, &options, SyncPolicy::Always).expect("opens");
        for _ in 0..150 {
            let ops = source.ops(&state);
            before.clone_from(&state);
            ops.iter().for_each(|op| state.apply(op));
            store.submit(ops, Wish::Durable, drop);
            store.drain().expect("the disk works");
            if random.below(12) == 0 {
                assert!(store.upkeep(random.below(2) == 0));
            }
        }
        if life % 2 == 0 || random.below(2) == 0 {
            assert!(store.checkpoint(index::Mark::Clean));
        }
    }
    (disk, options, [state, before])
}

fn content(disk: &SimulatedDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = Path::new("store");
    let entries = disk.list(folder).expect("a folder").into_iter().filter(|e| !e.is_folder);
    entries.map(|e| folder.join(e.name)).map(|path| (path.clone(), disk.content(&path))).collect()
}

fn verified(disk: &SimulatedDisk, options: &KahaDbOptions) -> Result<Verification, OpenError> {
    let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
    verify_with(&fs, options, sizes(), FORM)
}

fn inspected(disk: &SimulatedDisk, options: &KahaDbOptions) -> Inspection {
    let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
    inspect_with(&fs, options, sizes(), FORM).expect("it opens")
}

#[test]
fn a_store_that_was_never_damaged_is_sound_and_shown_as_it_is() {
    for seed in 0..12 {
        let (disk, options, [state, _]) = aged(seed);
        let before = content(&disk);
        let verdict = verified(&disk, &options).expect("readable");
        assert_eq!(verdict.damage, [], "seed {seed}");
        assert_eq!(verdict.messages, state.messages() as u64, "seed {seed}");

        let shown = inspected(&disk, &options);
        assert_eq!(shown.totals.messages, state.messages() as u64, "seed {seed}");
        let counts: BTreeMap<&str, u64> =
            shown.destinations.iter().map(|d| (d.name.as_str(), d.messages)).collect();
        for (name, queue) in &state.queues {
            assert_eq!(counts[format!("queue://{name}").as_str()], queue.len() as u64);
        }
        for destination in &shown.destinations {
            let ends = (&destination.oldest, &destination.newest);
            assert_eq!(ends.0.is_some(), destination.messages > 0, "seed {seed}");
            if let (Some(oldest), Some(newest)) = ends {
                assert!(oldest.sequence <= newest.sequence && oldest.timestamp_ms == Some(0));
            }
        }
        for subscription in &shown.subscriptions {
            let topics = state.topics.values().flat_map(BTreeMap::values);
            let pending = topics.filter(|wanted| wanted.contains(&subscription.number)).count();
            assert_eq!(subscription.pending, pending as u64, "seed {seed}");
        }
        assert_eq!(shown.subscriptions.len(), state.subscriptions.len());
        assert_eq!(shown.prepared.len(), state.prepared.len());
        let live: u64 = shown.files.iter().map(|file| file.live_messages).sum();
        assert_eq!(live, shown.totals.messages, "seed {seed}");
        assert!(content(&disk) == before, "seed {seed}: nothing was written");
    }
}

#[test]
fn a_flipped_byte_is_found_or_harmless() {
    let (mut found, stores) = (0, [aged(1), aged(2), aged(3)]);
    for seed in 0..90 {
        let (disk, options, states) = &stores[seed as usize % stores.len()];
        let disk = disk.reboot();
        let mut random = Random(seed);
        let files: Vec<(PathBuf, Vec<u8>)> = content(&disk).into_iter().collect();
        let (path, bytes) = &files[random.below(files.len())];
        if bytes.is_empty() {
            continue;
        }
        let at = random.below(bytes.len());
        disk.flip(path, at, 1 << random.below(8));
        let Ok(verdict) = verified(&disk, options) else {
            found += 1;
            continue;
        };
        if verdict.damage.is_empty() {
            let store = TestStore::open(&disk, options, SyncPolicy::Always).expect("opens");
            let left = store.recovered_state(300, &mut random);
            // In the last batch it is taken for a write that a power cut has torn.
            assert!(states.contains(&left), "seed {seed}: {} at {at}: {left:?}", path.display());
        } else {
            found += 1;
        }
    }
    assert!(found > 20, "{found}: the flips hit too little");
}

#[test]
fn a_damaged_message_is_named_with_its_place_and_what_is_lost() {
    let (disk, options) = (SimulatedDisk::new(1), options(16 << 10));
    let mut store = TestStore::open(&disk, &options, SyncPolicy::Always).expect("opens");
    let destination = Destination::queue("A");
    for sequence in 1..=200 {
        let message = Arc::new(message(sequence, 300));
        let add = StoredAdd {
            destination: destination.clone(),
            sequence,
            band: 0,
            message,
            subscribers: Vec::new(),
            cancel: None,
        };
        store.submit(vec![StoreOp::Add(add)], Wish::Durable, drop);
        store.drain().expect("the disk works");
    }
    assert!(store.checkpoint(index::Mark::Clean));
    drop(store);
    let oldest = inspected(&disk, &options).destinations[0].oldest.clone().expect("a message");
    let path = Path::new("store").join(format!("db-{}.log", oldest.file));
    disk.flip(&path, oldest.offset as usize + 20, 1);
    let verdict = verified(&disk, &options).expect("readable");
    assert_eq!(verdict.messages, 199);
    let [finding] = &verdict.damage[..] else { panic!("{:?}", verdict.damage) };
    assert_eq!((&finding.file, finding.lost.as_str()), (&path, "1 messages of queue://A"));
    let offset = finding.offset.expect("a place");
    assert!((offset..offset + 200).contains(&oldest.offset.into()), "{offset} {oldest:?}");

    remove_index(&disk);
    let verdict = verified(&disk, &options).expect("readable");
    assert_eq!(verdict.damage.len(), 1);
    assert!(verdict.damage[0].lost.contains("no index knows"), "{:?}", verdict.damage);
    disk.remove(&path).expect("a file");
    let verdict = verified(&disk, &options).expect("readable");
    assert_eq!(verdict.damage.len(), 1);
    assert!(verdict.damage[0].what.contains("db-1.log"), "{:?}", verdict.damage);
}
