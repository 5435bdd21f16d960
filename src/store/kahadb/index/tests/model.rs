//! Whatever is done to the index, it holds what a map holds.

use super::super::storage::{Folder, PageStorage};
use super::*;
use crate::store::kahadb::fs::real::RealFilesystem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn check(index: &mut PagedIndex<Disk>, model: &Model, random: &mut Random) {
    let reader = index.reader();
    let at = reader.version();
    assert_eq!(&rows(&reader, at).expect("readable"), model);
    for _ in 0..20 {
        let (from, to) = (random.below(2000), random.below(2000));
        assert_eq!(reader.get(at, &key(from)).expect("readable").as_ref(), model.get(&key(from)));
        let mut some = Vec::new();
        let collect = &mut |key: &[u8], _: &[u8]| {
            some.push(key.to_vec());
            if some.len() < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        reader.range(at, &key(from), Some(&key(to)), collect).expect("readable");
        let expected = model.keys().filter(|&k| (key(from)..key(to)).contains(k)).take(10);
        assert!(some.iter().eq(expected));
    }
}

#[test]
fn random_batches_give_what_a_map_gives() {
    for seed in 0..6 * scale() {
        let _case = Case(seed);
        let mut random = Random(seed);
        let disk = Disk::default();
        let options = Options { page_bytes: [512, 1024, 8192][seed as usize % 3], ..small_pages() };
        let mut index = open(&disk, options);
        let mut reference = MemoryIndex::default();
        let mut model = Model::new();
        for round in 0..40 {
            let size = 1 + random.below(300);
            let value_max = [20, 20, 20, 3000][random.below(4) as usize];
            let steps = batch(&mut random, size, 2000, value_max);
            apply_to_model(&mut model, &steps);
            let record = Record { replay_lsn: round, ..Record::default() };
            let before = index.reader().version();
            let rows_before = rows(&index.reader(), before).expect("readable");
            let version = apply(&mut index, &steps, &record).expect("applied");
            assert_eq!(index.reader().version(), version);
            assert_eq!(rows(&index.reader(), before).expect("until settled"), rows_before);
            let version = apply(&mut reference, &steps, &record).expect("applied");
            assert_eq!(rows(&reference.reader(), version).expect("readable"), model);
            if round % 3 != 0 {
                check(&mut index, &model, &mut random);
                index.settle().expect("settled");
            }
            if round % 5 == 4 {
                let verdict = index.verify().expect("readable");
                assert_eq!(verdict.damage, []);
                assert_eq!((verdict.leaked_pages, verdict.rows), (0, model.len() as u64));
            }
            if round % 7 == 6 {
                drop(index);
                index = open(&disk, options);
                check(&mut index, &model, &mut random);
            }
        }
        let all = [Step::Range(Vec::new(), vec![255])];
        apply(&mut index, &all, &Record::default()).expect("applied");
        assert_eq!(index.verify().expect("readable").pages, 1);
        assert_eq!((index.stats().rows, index.stats().height), (0, 0));
    }
}

#[test]
fn the_record_comes_back_and_tells_how_to_start() {
    let disk = Disk::default();
    assert!(matches!(PagedIndex::open(&disk, small_pages()), Ok(Opened::Fresh(_))));
    let mut index = open(&disk, small_pages());
    let mut record = Record {
        store_id: *b"0123456789abcdef",
        mark: Mark::InUse,
        replay_lsn: 1 << 40,
        chain: 7,
        epoch: 3,
        commit_lsn: 1 << 39,
        openwire_version: 12,
        counters: [1, 2, 3, 4, 5, 6, 7, u64::MAX],
    };
    apply(&mut index, &[], &record).expect("applied");
    let Ok(Opened::Replay(mut index, found)) = PagedIndex::open(&disk, small_pages()) else {
        panic!("not clean")
    };
    assert_eq!(found, record);
    record.mark = Mark::Clean;
    apply(&mut index, &[], &record).expect("applied");
    let Ok(Opened::Clean(mut index, found)) = PagedIndex::open(&disk, small_pages()) else {
        panic!("clean")
    };
    assert_eq!(found, record);
    let steps = disk.steps();
    apply(&mut index, &[Step::Delete(key(1))], &record).expect("applied");
    assert_eq!(disk.steps(), steps, "nothing changed, so nothing is written");
    record.mark = Mark::Building;
    apply(&mut index, &[], &record).expect("applied");
    assert!(matches!(PagedIndex::open(&disk, small_pages()), Ok(Opened::Damaged(_))));
    PagedIndex::discard(&disk, Some("corrupt-1")).expect("renamed");
    assert!(disk.names().contains(&"db.data.corrupt-1".to_owned()));
    assert!(matches!(PagedIndex::open(&disk, small_pages()), Ok(Opened::Fresh(_))));
}

#[test]
fn changes_out_of_order_or_too_long_change_nothing() {
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let start = [Step::Put(key(5), vec![1])];
    apply(&mut index, &start, &Record::default()).expect("applied");
    let put = |n| Step::Put(key(n), vec![2]);
    for wrong in [
        vec![put(7), put(6)],
        vec![put(7), put(7)],
        vec![Step::Range(key(3), key(9)), put(8)],
        vec![Step::Range(key(9), key(3))],
        vec![put(1), Step::Put(vec![9; 65], vec![])],
        vec![put(1), Step::Put(vec![9], vec![0; VALUE_BYTES_MAX + 1])],
    ] {
        assert!(apply(&mut index, &wrong, &Record::default()).is_err(), "{wrong:?}");
    }
    let reader = index.reader();
    assert_eq!(rows(&reader, reader.version()).expect("readable").len(), 1);
    assert_eq!(reader.get(reader.version(), &key(5)).expect("readable"), Some(vec![1]));
    let right = [put(1), Step::Range(key(3), key(9)), put(9)];
    apply(&mut index, &right, &Record::default()).expect("ranges end before their end");
    assert_eq!(rows(&reader, reader.version()).expect("readable").len(), 2);
}

#[test]
fn values_of_all_lengths_around_the_page_limits_come_back() {
    let disk = Disk::default();
    let mut index = open(&disk, small_pages());
    let lengths = (250..262).chain(995..1005).chain(1995..2005).chain([0, VALUE_BYTES_MAX]);
    let mut steps: Vec<Step> = Vec::new();
    for (n, bytes) in lengths.enumerate() {
        let mut key = vec![n as u8; 64];
        key[1..60].fill(7);
        steps.push(Step::Put(key, vec![n as u8; bytes]));
    }
    let mut model = Model::new();
    apply_to_model(&mut model, &steps);
    apply(&mut index, &steps, &Record::default()).expect("applied");
    let reader = index.reader();
    assert_eq!(rows(&reader, reader.version()).expect("readable"), model);
    let verdict = index.verify().expect("readable");
    assert_eq!((verdict.damage, verdict.leaked_pages), (vec![], 0));
    let gone: Vec<Step> = model.into_keys().map(Step::Delete).collect();
    apply(&mut index, &gone, &Record::default()).expect("applied");
    assert_eq!(index.stats().free_pages + 1, index.stats().pages);
}

/// Readers run beside checkpoints; every scan that ends is one version's, whole.
#[test]
fn a_reader_sees_one_version_or_is_told_to_start_again() {
    read_beside_checkpoints(&Disk::default(), small_pages());
    // Real files: a page may be read while it is being written.
    let folder = tempfile::tempdir().expect("a folder");
    read_beside_checkpoints(
        &Folder::new(Arc::new(RealFilesystem), folder.path(), true),
        small_pages(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { page_bytes: 32768, cache_bytes: 0, growth_pages: 16 };
    read_beside_checkpoints(&Folder::new(Arc::new(RealFilesystem), folder.path(), true), options);
}

fn read_beside_checkpoints<S: PageStorage>(storage: &S, options: Options) {
    let Ok(Opened::Fresh(mut index)) = PagedIndex::open(storage, options) else {
        panic!("an empty folder")
    };
    let fill = |round: u64| -> Vec<Step> {
        (0..400).map(|n| Step::Put(key(n), round.to_le_bytes().to_vec())).collect()
    };
    apply(&mut index, &fill(0), &Record::default()).expect("applied");
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (reader, over) = (index.reader(), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut whole = 0;
                while !over.load(Ordering::Relaxed) || whole == 0 {
                    match rows(&reader, reader.version()) {
                        Ok(rows) => {
                            assert_eq!(rows.len(), 400);
                            let first = rows.values().next().expect("400 rows");
                            assert!(rows.values().all(|value| value == first));
                            whole += 1;
                        }
                        Err(IndexError::Superseded) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for round in 1..60 {
        apply(&mut index, &fill(round), &Record::default()).expect("applied");
        if round % 2 == 0 {
            index.settle().expect("settled");
        }
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no reader met a mixture");
    }
}
