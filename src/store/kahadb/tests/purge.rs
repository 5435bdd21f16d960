//! Purges: at once for who reads, counted slice by slice. Checkpoints that found no space.

use super::*;

const BODY_MAX: usize = 60;

/// Whatever of a purge is counted already, and whichever checkpoint is under way or was given up,
/// what is read is as if all of it had been done at once; in the end the figures say so too.
#[test]
fn a_purge_is_whole_before_it_is_counted() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let disk = SimulatedDisk::new(seed);
        let mut store = TestStore::open(&disk, &options(8192), SyncPolicy::Always).unwrap();
        let mut source = Source::of_anything(&mut random, BODY_MAX);
        let mut state = State::default();
        let mut under_way = None;
        for _ in 0..120 {
            let mut ops = source.ops(&state);
            let queue = Destination::queue(["Q.A", "Q.B", "Q.C"][random.below(3)]);
            let topic = Destination::topic(["T.A", "T.B"][random.below(2)]);
            match random.below(24) {
                0..2 => ops.push(StoreOp::Delete { destination: queue }),
                2 => ops.push(StoreOp::Delete { destination: topic }),
                3..8 => {
                    let destination = if random.below(3) == 0 { topic } else { queue };
                    let last = source.last_sequence - random.below(40) as i64;
                    ops.push(StoreOp::Purge { destination, last });
                }
                _ => {}
            }
            ops.iter().for_each(|op| state.apply(op));
            store.submit(ops, Wish::Synced, |outcome| outcome.unwrap());
            store.drain().unwrap();
            match random.below(5) {
                0 if under_way.is_none() => {
                    under_way = store.core.begin_checkpoint(index::Mark::InUse).unwrap();
                }
                1 => {
                    if let Some(checkpoint) = under_way.take() {
                        match random.below(3) {
                            0 => store.core.give_up_checkpoint(checkpoint).unwrap(),
                            _ => store.core.write_checkpoint(&checkpoint).unwrap(),
                        }
                    }
                }
                2 => drop(store.core.count_purged().unwrap()),
                _ => {}
            }
            let prepared = state.prepared.clone();
            let found = State { prepared, ..store.state(BODY_MAX, &mut random) };
            assert_eq!(found, state, "{seed}");
        }
        while store.core.count_purged().unwrap() {}
        let view = store.core.view.lock();
        let messages = state.messages() as u64;
        assert_eq!(view.messages(), messages);
        assert_eq!(view.files.values().map(|file| file.messages).sum::<u64>(), messages);
        drop(view);
        drop(store);
        for force_recover_index in [false, true] {
            let options = KahaDbOptions { force_recover_index, ..options(8192) };
            let store = TestStore::open(&disk, &options, SyncPolicy::Always).unwrap();
            assert_eq!(store.recovered_state(BODY_MAX, &mut random), state, "{seed}");
        }
    }
}
