//! The store with its threads, on the machine's files.

use super::*;
use crate::store::kahadb::fs::real::RealFilesystem;
use crate::store::kahadb::{Fence, KahaDb, compact};
use crate::store::{Store, StoreStatus, Submit};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

const BODY_MAX: usize = 400;

fn open_in(folder: &Path, change: impl FnOnce(&mut KahaDbOptions)) -> Arc<KahaDb> {
    let mut options = options(64 << 10);
    options.directory = folder.join("kahadb");
    change(&mut options);
    KahaDb::open(Arc::new(RealFilesystem), options, FORM, Arc::new(Nobody)).unwrap()
}

fn add(destination: &Destination, sequence: i64, subscribers: Vec<u64>) -> StoreOp {
    let (destination, message) = (destination.clone(), Arc::new(message(sequence, BODY_MAX)));
    StoreOp::Add(StoredAdd { destination, sequence, band: 0, message, subscribers, cancel: None })
}

/// Submits and waits.
fn submit(store: &KahaDb, ops: Vec<StoreOp>) -> Result<(), StoreError> {
    let (sender, receiver) = channel();
    let done = Box::new(move |outcome| sender.send(outcome).unwrap());
    store.submit(Submit { ops, durable: true, done });
    receiver.recv().unwrap()
}

/// The status once it counts so many messages: an answered submit is synced, and applied soon after.
fn status_of(store: &KahaDb, messages: u64) -> StoreStatus {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let status = store.status();
        if status.messages == messages {
            return status;
        }
        assert!(std::time::Instant::now() < until, "{status:?}");
        std::thread::yield_now();
    }
}

fn fetch(store: &KahaDb, fetch: Fetch) -> Page {
    let (sender, receiver) = channel();
    store.fetch(fetch, Box::new(move |page| sender.send(page).unwrap()));
    receiver.recv().unwrap().unwrap()
}

fn all(destination: &Destination) -> Fetch {
    let limit = PageLimit { messages: usize::MAX, bytes: u64::MAX };
    Fetch::Queue { destination: destination.clone(), band: 0, after: 0, limit }
}

fn sequences(page: &Page) -> Vec<i64> {
    let check =
        |sequence: i64, message: &Message| assert_eq!(sequence_in(message, BODY_MAX), sequence);
    page.messages.iter().for_each(|stored| check(stored.sequence, &stored.message));
    page.messages.iter().map(|stored| stored.sequence).collect()
}

#[test]
fn a_compaction_moves_what_is_in_the_last_file() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Destination::queue("Q");
    let store = open_in(folder.path(), |_| {});
    let adds = (1..=100).map(|sequence| add(&queue, sequence, Vec::new()));
    submit(&store, adds.collect()).unwrap();
    let remove = |sequence| StoreOp::Remove { destination: queue.clone(), sequence };
    submit(&store, (1..=90).map(remove).collect()).unwrap();
    store.close().unwrap();
    let file = folder.path().join("kahadb/db-1.log");
    assert!(file.exists());

    let fs: Arc<dyn Filesystem> = Arc::new(RealFilesystem);
    let options = KahaDbOptions { directory: folder.path().join("kahadb"), ..options(64 << 10) };
    assert_eq!(compact(&fs, &options, FORM).unwrap().messages, 10);
    assert!(!file.exists());
    let store = open_in(folder.path(), |_| {});
    let page = fetch(&store, all(&queue));
    assert_eq!(sequences(&page), (91..=100).collect::<Vec<_>>());
}

/// No lock is held while it is told.
#[test]
fn who_is_refused_may_submit_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path(), |_| {});
    let (sender, receiver) = channel();
    let too_large = add(&Destination::queue("x".repeat(70_000)), 1, Vec::new());
    let next = add(&Destination::queue("Q"), 2, Vec::new());
    let again = store.clone();
    let done = Box::new(move |first| {
        let done = Box::new(move |second| drop(sender.send((first, second))));
        again.submit(Submit { ops: vec![next], durable: true, done });
    });
    let submitting = store.clone();
    std::thread::spawn(move || {
        submitting.submit(Submit { ops: vec![too_large], durable: true, done });
    });
    let outcome = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(outcome, (Err(StoreError::TooLarge(_)), Ok(()))), "{outcome:?}");
    assert_eq!(sequences(&fetch(&store, all(&Destination::queue("Q")))), [2]);
}

#[test]
fn a_fetch_sees_every_submit_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path(), |_| {});
    let queue = Destination::queue("Q");
    for sequence in 1..=200 {
        store.submit(Submit {
            ops: vec![add(&queue, sequence, Vec::new())],
            durable: false,
            done: Box::new(drop),
        });
        if sequence % 20 == 0 {
            assert_eq!(sequences(&fetch(&store, all(&queue))), (1..=sequence).collect::<Vec<_>>());
        }
    }
    store.close().unwrap();
    assert!(submit(&store, vec![add(&queue, 201, Vec::new())]).is_err());
}

#[test]
fn what_was_confirmed_is_there_after_a_close_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, topic) = (Destination::queue("Q"), Destination::topic("T"));
    let subscription = StoredSubscription {
        number: 1,
        client: "c".into(),
        name: "n".into(),
        destination: topic.clone(),
        selector: None,
        no_local: false,
    };
    let mut sequence = 0;
    for life in 0..4 {
        let store = open_in(folder.path(), |options| {
            options.checkpoint_interval = Duration::from_millis(3);
            options.force_recover_index = life == 3;
        });
        let recovered = store.recovered();
        assert_eq!(recovered.last_sequence, sequence);
        if life == 0 {
            submit(&store, vec![StoreOp::Subscribe(subscription.clone())]).unwrap();
        } else {
            assert_eq!(recovered.subscriptions[0].subscription, subscription);
            assert_eq!(recovered.subscriptions[0].pending, sequence as u64 / 2);
            assert_eq!(sequences(&fetch(&store, all(&queue))).len() as i64, sequence / 4);
            let marks: usize = recovered.destinations.iter().map(|d| d.producers.len()).sum();
            assert!(marks > 0);
        }
        for _ in 0..50 {
            sequence += 4;
            let ops = vec![
                add(&queue, sequence - 3, Vec::new()),
                add(&queue, sequence - 2, Vec::new()),
                add(&topic, sequence - 1, vec![1]),
                add(&topic, sequence, vec![1]),
                StoreOp::Remove { destination: queue.clone(), sequence: sequence - 3 },
            ];
            submit(&store, ops).unwrap();
        }
        if life == 1 {
            store.close().unwrap();
        }
    }
}

#[test]
fn a_missing_file_is_told_and_given_up_only_on_demand() {
    loses_a_file(2, false, 200..600);
}

#[test]
fn a_missing_file_that_no_index_knows_is_told_and_given_up_only_on_demand() {
    loses_a_file(2, true, 200..600);
    // It said which queue has number 1.
    loses_a_file(1, true, 0..1);
}

fn loses_a_file(number: u32, and_the_index: bool, left: Range<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let queue = Destination::queue("Q");
    let store = open_in(folder.path(), |_| {});
    for sequence in 1..=600 {
        submit(&store, vec![add(&queue, sequence, Vec::new())]).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let path: PathBuf = folder.path().join("kahadb");
    std::fs::remove_file(path.join(format!("db-{number}.log"))).unwrap();
    if and_the_index {
        std::fs::remove_file(path.join("db.data")).unwrap();
    }
    let mut options = options(64 << 10);
    options.directory = folder.path().join("kahadb");
    let fs: Arc<dyn Filesystem> = Arc::new(RealFilesystem);
    let error = KahaDb::open(fs, options, FORM, Arc::new(Nobody)).unwrap_err().to_string();
    assert!(error.contains("Detected missing/corrupt journal files"), "{error}");
    let store = open_in(folder.path(), |o| o.ignore_missing_journal_files = true);
    let found = sequences(&fetch(&store, all(&queue)));
    assert!(left.contains(&found.len()), "{}", found.len());
    assert_eq!(store.status().messages, found.len() as u64);
}

#[test]
fn no_checkpoint_is_written_after_the_fence_closed() {
    let folder = tempfile::tempdir().unwrap();
    let is_open = Arc::new(AtomicBool::new(true));
    let asked = is_open.clone();
    let ask = move || {
        asked.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "the lock is lost".to_owned())
    };
    let store = open_in(folder.path(), |options| {
        options.checkpoint_interval = Duration::ZERO;
        options.fence = Fence::new(ask);
    });
    let queue = Destination::queue("Q");
    submit(&store, vec![add(&queue, 1, Vec::new())]).unwrap();
    let index = || std::fs::read(folder.path().join("kahadb/db.data")).unwrap();
    let before = index();
    is_open.store(false, Ordering::SeqCst);
    let error = store.close().unwrap_err();
    assert!(error.to_string().contains("the lock is lost"), "{error}");
    assert_eq!(index(), before);
    drop(store);
    let store = open_in(folder.path(), |_| {});
    assert_eq!(sequences(&fetch(&store, all(&queue))), [1]);
}

/// Files go while the store works, whatever stays behind in them, and nothing is lost by it.
#[test]
fn old_messages_and_acknowledgements_keep_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let change = |options: &mut KahaDbOptions| {
        options.checkpoint_interval = Duration::from_millis(2);
        options.cleanup_interval = Duration::from_millis(1);
    };
    let store = open_in(folder.path(), change);
    let queues: Vec<Destination> =
        (0..3).map(|n| Destination::queue(format!("Q.{n}").as_str())).collect();
    std::thread::scope(|scope| {
        for queue in &queues {
            let store = &store;
            scope.spawn(move || {
                for sequence in 1..=1500 {
                    let mut ops = vec![add(queue, sequence, Vec::new())];
                    // One of a hundred stays for ever.
                    if sequence > 20 && sequence % 100 != 20 {
                        let destination = queue.clone();
                        ops.push(StoreOp::Remove { destination, sequence: sequence - 20 });
                    }
                    submit(store, ops).unwrap();
                }
            });
        }
    });
    let expected: Vec<i64> = (1..=1480).filter(|n| n % 100 == 0).chain(1481..=1500).collect();
    for queue in &queues {
        assert_eq!(sequences(&fetch(&store, all(queue))), expected);
    }
    store.close().unwrap();
    let files = store.status().journal_files;
    drop(store);
    // About 1.5 MB were written, of which 40 KB are left.
    assert!(files < 16, "{files}");
    for force in [false, true] {
        let store = open_in(folder.path(), |options| options.force_recover_index = force);
        for queue in &queues {
            assert_eq!(sequences(&fetch(&store, all(queue))), expected);
        }
        store.close().unwrap();
    }
}

/// What comes behind a purge of many messages does not wait until they are counted.
#[test]
fn a_purge_of_many_messages_is_at_once_for_who_reads() {
    let folder = tempfile::tempdir().unwrap();
    let change =
        |options: &mut KahaDbOptions| options.checkpoint_interval = Duration::from_millis(5);
    let store = open_in(folder.path(), change);
    let queue = Destination::queue("Q");
    for first in (1..4000).step_by(100) {
        submit(&store, (first..first + 100).map(|n| add(&queue, n, Vec::new())).collect()).unwrap();
    }
    let purge = StoreOp::Purge { destination: queue.clone(), last: 3990 };
    submit(&store, vec![purge, add(&queue, 5000, Vec::new())]).unwrap();
    let expected: Vec<i64> = (3991..=4000).chain([5000]).collect();
    assert_eq!(sequences(&fetch(&store, all(&queue))), expected);
    store.close().unwrap();
    assert_eq!(store.status().messages, 11);
    drop(store);
    for force in [false, true] {
        let store = open_in(folder.path(), |options| options.force_recover_index = force);
        assert_eq!(sequences(&fetch(&store, all(&queue))), expected);
        assert_eq!(store.status().messages, 11);
    }
}

/// On a full disk a checkpoint that cannot be written is given up for a smaller one: once what is
/// on the disk was taken, there is room again, without anybody's help.
#[test]
fn a_full_disk_becomes_free_when_its_messages_are_taken() {
    let disk = SimulatedDisk::new(1);
    let fs: Arc<dyn Filesystem> = Arc::new(disk.clone());
    let options = KahaDbOptions {
        checkpoint_interval: Duration::from_millis(2),
        cleanup_interval: Duration::from_millis(1),
        space_retry: Duration::from_millis(2),
        ..options(64 << 10)
    };
    let open = || {
        let (fs, events) = (fs.clone(), Arc::new(Nobody));
        KahaDb::open_with(fs, options.clone(), sizes(), FORM, events).unwrap()
    };
    let queue = Destination::queue("Q");
    let store = open();
    for sequence in 1..=500 {
        submit(&store, vec![add(&queue, sequence, Vec::new())]).unwrap();
    }
    store.close().unwrap();
    let used = fs.list(Path::new("store")).unwrap().iter().map(|file| file.length as usize).sum();
    disk.has_space(used);
    let store = open();
    let refused = |outcome| matches!(outcome, Err(StoreError::NoSpace(_)));
    let mut last = 500;
    loop {
        last += 1;
        if refused(submit(&store, vec![add(&queue, last, Vec::new())])) {
            break;
        }
    }
    // What is left of the last file has room for a few removals.
    for sequence in last - 20..last {
        submit(&store, vec![StoreOp::Remove { destination: queue.clone(), sequence }]).unwrap();
    }
    submit(&store, vec![StoreOp::Purge { destination: queue.clone(), last }]).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        last += 1;
        if !refused(submit(&store, vec![add(&queue, last, Vec::new())])) {
            break;
        }
        assert!(std::time::Instant::now() < until, "no files were dropped: {:?}", store.status());
        std::thread::yield_now();
    }
    assert_eq!(sequences(&fetch(&store, all(&queue))), [last]);
    store.close().unwrap();
    assert_eq!(sequences(&fetch(&open(), all(&queue))), [last]);
}

/// Files that would be left alone, being mostly live, are emptied when the store is short of what
/// it may use.
#[test]
fn live_messages_are_moved_together_when_space_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path(), |options| {
        options.checkpoint_interval = Duration::from_millis(2);
        options.cleanup_interval = Duration::from_millis(1);
    });
    let queue = Destination::queue("Q");
    for first in (1..4000).step_by(10) {
        submit(&store, (first..first + 10).map(|n| add(&queue, n, Vec::new())).collect()).unwrap();
    }
    let before = status_of(&store, 4000);
    let is_live = |sequence: &i64| sequence % 3 != 0;
    let remove = |sequence| StoreOp::Remove { destination: queue.clone(), sequence };
    let dead: Vec<i64> = (1..=4000).filter(|sequence| !is_live(sequence)).collect();
    for some in dead.chunks(100) {
        submit(&store, some.iter().copied().map(remove).collect()).unwrap();
    }
    assert!(store.status().journal_files >= before.journal_files, "they are mostly live");
    store.set_limit(before.bytes_used);
    submit(&store, vec![add(&queue, 4001, Vec::new())]).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while store.status().journal_files > before.journal_files * 3 / 4 {
        assert!(std::time::Instant::now() < until, "{:?}, {before:?} before", store.status());
        std::thread::yield_now();
    }
    let expected: Vec<i64> = (1..=4001).filter(|n| is_live(n) || *n == 4001).collect();
    assert_eq!(sequences(&fetch(&store, all(&queue))), expected);
    store.close().unwrap();
    drop(store);
    let store = open_in(folder.path(), |options| options.force_recover_index = true);
    assert_eq!(sequences(&fetch(&store, all(&queue))), expected);
}

/// Less may be used than a file has: the one that is written is left when it keeps nothing but space.
#[test]
fn what_is_dead_in_the_last_file_goes_when_space_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path(), |options| {
        options.journal_max_file_length = 1 << 20;
        options.checkpoint_interval = Duration::from_millis(2);
        options.cleanup_interval = Duration::from_millis(1);
    });
    let queue = Destination::queue("Q");
    store.set_limit(256 << 10);
    let mut last = 0;
    for _ in 0..10 {
        while store.status().bytes_used < 256 << 10 {
            let adds = (last + 1..=last + 20).map(|n| add(&queue, n, Vec::new())).collect();
            submit(&store, adds).unwrap();
            last += 20;
        }
        submit(&store, vec![StoreOp::Purge { destination: queue.clone(), last }]).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while store.status().bytes_used > 200 << 10 {
            assert!(std::time::Instant::now() < until, "{:?}", store.status());
            std::thread::sleep(Duration::from_millis(1)); // who looks has a lock
        }
    }
    submit(&store, vec![add(&queue, last + 1, Vec::new())]).unwrap();
    store.close().unwrap();
    let store = open_in(folder.path(), |options| options.force_recover_index = true);
    assert_eq!(sequences(&fetch(&store, all(&queue))), [last + 1]);
}
