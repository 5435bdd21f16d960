//! The journal with its threads.

use super::*;
use crate::store::Cancel;
use crate::store::kahadb::Fence;
use crate::store::kahadb::fs::Filesystem;
use crate::store::kahadb::fs::real::RealFilesystem;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::ThreadId;
use std::time::Duration;

const BODY_MAX: usize = 40_000; // some are written from their place

fn options(sync: SyncPolicy, epoch: u64) -> JournalOptions {
    JournalOptions {
        identity: Identity { store_id: STORE, epoch, lock_generation: 1 },
        node: "here".into(),
        batch_bytes_max: 1 << 20,
        sync,
        lead_below: Duration::from_secs(3600),
        space_retry: Duration::from_millis(1),
        space: SpaceWatch::default(),
        fence: Fence::default(),
    }
}

fn open(
    fs: Arc<dyn Filesystem>,
    folder: PathBuf,
    sync: SyncPolicy,
) -> Result<Journal, JournalError> {
    let archive = folder.join("archive");
    let files =
        Arc::new(Files::open(fs, FilesOptions { folder, file_bytes: 64 << 10, archive, sync })?);
    let (_, end) = read(&files)?;
    Journal::open(files, end, options(sync, end.epoch + 1), Box::new(drop))
}

fn add(bytes: usize) -> Operation {
    Record::Add(Add { message: Bytes::from(vec![1; bytes]), ..Add::default() }).into()
}

fn remove() -> Operation {
    Record::Remove { destination: 1, seqs: Ranges::one(1, 1) }.into()
}

#[test]
fn submits_of_many_threads_are_answered_in_their_order_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = FilesOptions {
        folder: folder.path().into(),
        file_bytes: 256 << 10,
        archive: folder.path().join("archive"),
        sync: SyncPolicy::Always,
    };
    let files = Arc::new(Files::open(Arc::new(RealFilesystem), files).unwrap());
    let followed = Arc::new(Mutex::new(Vec::new()));
    let follower = followed.clone();
    let journal = Journal::open(
        files.clone(),
        read(&files).unwrap().1,
        options(SyncPolicy::Always, 1),
        Box::new(move |batch| follower.lock().push(batch)),
    )
    .unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let next = Mutex::new(0);
    let send = || {
        for _ in 0..100 {
            let mut next = next.lock(); // ids are given in the order of submits
            let id = *next;
            let sent = Sent { id, adds: 1 + id % 2, removes: id % 3 == 0 };
            *next += 1;
            let answers = answers.clone();
            let done: Done = Box::new(move |end| answers.lock().push((id, end.unwrap())));
            let wish = if id % 4 == 0 { Wish::Written } else { Wish::Durable };
            journal.submit(Submit { operations: sent.operations(BODY_MAX), wish, done });
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(send))));
    journal.close().unwrap();

    let answers = answers.lock();
    let ids: Vec<u64> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (0..400).collect::<Vec<_>>());
    assert!(answers.is_sorted_by_key(|(_, end)| *end));
    let sent: Vec<Sent> =
        (0..400).map(|id| Sent { id, adds: 1 + id % 2, removes: id % 3 == 0 }).collect();
    let (batches, _) = read(&files).unwrap();
    assert_eq!(submits_in(&batches, &sent, BODY_MAX), sent);
    let followed = followed.lock();
    let records = |batches: &[Batch]| -> Vec<Stored> {
        batches.iter().flat_map(|b| b.records.clone()).collect()
    };
    assert_eq!(records(&followed), records(&batches));
    assert!(files.numbers().len() > 4, "more than one file");
}

/// Submits as a task of the broker does, and waits; returns the outcome and who told it.
fn submit_leading(
    journal: &Journal,
    operations: Vec<Operation>,
) -> (Result<Lsn, Arc<JournalError>>, ThreadId) {
    let (sender, told) = mpsc::channel();
    let done: Done =
        Box::new(move |outcome| sender.send((outcome, std::thread::current().id())).unwrap());
    let submit = Submit { operations, wish: Wish::Durable, done };
    if let Err(refused) = journal.offer(submit, Lead::Own) {
        refused.tell();
    }
    if journal.awaits_lead() {
        journal.lead();
    }
    told.recv().unwrap()
}

#[test]
fn who_submits_alone_writes_itself_and_in_company_nothing_is_forgotten() {
    let disk = SimulatedDisk::new(7);
    let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
    let sent = |id| Sent { id, adds: 1, removes: true };
    let (mut led, next) = (0, AtomicU64::new(0));
    let send = || {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let (outcome, by) = submit_leading(&journal, sent(id).operations(BODY_MAX));
        outcome.unwrap();
        u64::from(by == std::thread::current().id())
    };
    for _ in 0..20 {
        led += (0..50).map(|_| send()).sum::<u64>();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).map(|_| send()).sum::<u64>());
            }
        });
    }
    assert!(led > 0, "{led} of 1000");
    journal.close().unwrap();
    let files = open_files(&disk.reboot(), 64 << 10).unwrap();
    let mut found = Vec::new();
    for record in read(&files).unwrap().0.into_iter().flat_map(|batch| batch.records) {
        if let Record::Remove { seqs, .. } = record.record {
            found.extend(seqs.iter());
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..next.into_inner()).collect::<Vec<_>>());
}

#[test]
fn removals_that_need_not_be_durable_go_with_what_comes_next_or_soon() {
    let disk = SimulatedDisk::new(7);
    let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
    let mut led = 0;
    for _ in 0..200 {
        let (operations, done) = (vec![remove()], Box::new(|_| ()));
        journal.submit(Submit { operations, wish: Wish::Written, done });
        let (outcome, by) = submit_leading(&journal, vec![add(1)]);
        outcome.unwrap();
        led += u32::from(by == std::thread::current().id());
    }
    assert!(led > 0, "who submits is alone, for removals call nobody");
    journal.submit_and_wait(vec![remove()], Wish::Written).unwrap();
    journal.close().unwrap();
    let (batches, _) = read(&open_files(&disk.reboot(), 64 << 10).unwrap()).unwrap();
    let added = batches.iter().filter(|b| b.records.iter().any(|r| is_add(&r.record))).count();
    let both = batches.iter().filter(|b| b.records.len() == 2).count();
    assert_eq!(added, 200);
    assert!(both > 0, "no removal went with a message");
}

fn is_add(record: &Record) -> bool {
    matches!(record, Record::Add(_))
}

#[test]
fn an_error_while_who_submits_writes_stops_the_journal_for_good() {
    let mut led = 0;
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed);
        let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
        for _ in 0..40 {
            submit_leading(&journal, vec![remove()]).0.unwrap();
        }
        disk.power_fails_at(disk.steps() + seed % 8);
        let mut ok = 0;
        let failed_by = loop {
            let (outcome, by) = submit_leading(&journal, vec![remove()]);
            match outcome {
                Ok(_) => ok += 1,
                Err(error) => {
                    assert!(matches!(*error, JournalError::Stopped(_)));
                    break by;
                }
            }
            assert!(ok < 100, "the disk does not fail");
        };
        led += usize::from(failed_by == std::thread::current().id());
        assert!(submit_leading(&journal, vec![remove()]).0.is_err());
        assert!(journal.failure().is_some());
        assert!(journal.close().is_err());
        let files = open_files(&disk.reboot(), 64 << 10).unwrap();
        let records = read(&files).unwrap().0.into_iter().flat_map(|batch| batch.records);
        let removed = records.filter(|r| matches!(r.record, Record::Remove { .. })).count();
        assert!(removed >= 40 + ok, "{removed} of {ok}");
    }
    assert!(led > 0, "{led} of 40");
}

#[test]
fn an_error_of_the_disk_stops_the_journal_for_good() {
    let mut stopped = 0;
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
        disk.fails_at(disk.steps() + seed % 30);
        let sent: Vec<Sent> = (0..60).map(|id| Sent { id, adds: 1, removes: true }).collect();
        let outcomes: Vec<bool> = sent
            .iter()
            .map(|s| journal.submit_and_wait(s.operations(BODY_MAX), Wish::Durable).is_ok())
            .collect();
        let confirmed = outcomes.iter().filter(|ok| **ok).count();
        assert!(outcomes[..confirmed].iter().all(|ok| *ok), "none after an error");
        if confirmed == 60 {
            // The failing step was one of the thread that prepares the next file: that one tries again.
            continue;
        }
        stopped += 1;
        assert!(journal.failure().is_some());
        let after = journal.submit_and_wait(vec![add(1)], Wish::Written);
        assert!(matches!(*after.unwrap_err(), JournalError::Stopped(_)));
        assert!(journal.close().is_err());
        let files = open_files(&disk.reboot(), 64 << 10).unwrap();
        let found = submits_in(&read(&files).unwrap().0, &sent, BODY_MAX);
        assert!(found.len() >= confirmed && found[..] == sent[..found.len()]);
    }
    assert!(stopped > 0, "some step of the writer failed");
}

#[test]
fn a_full_disk_refuses_messages_but_not_removals() {
    let disk = SimulatedDisk::new(1);
    disk.has_space(200 << 10);
    let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
    let mut stored = 0;
    let refused = loop {
        match journal.submit_and_wait(vec![add(1000)], Wish::Durable) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(*refused, JournalError::NoSpace { .. }));
    assert!(stored > 100, "{stored}");
    for _ in 0..100 {
        journal.submit_and_wait(vec![remove()], Wish::Durable).unwrap();
    }
    assert!(journal.failure().is_none());
    let too_long = journal.submit_and_wait(vec![add(300 << 10)], Wish::Durable);
    assert!(matches!(*too_long.unwrap_err(), JournalError::NoSpace { .. }));
    disk.has_space(usize::MAX);
    while journal.submit_and_wait(vec![add(1000)], Wish::Durable).is_err() {
        std::thread::yield_now(); // until the keeper has looked again
    }
    journal.submit_and_wait(vec![add(300 << 10)], Wish::Durable).unwrap();
    journal.close().unwrap();
    let (batches, _) = read(&open_files(&disk.reboot(), 64 << 10).unwrap()).unwrap();
    let adds = batches.iter().flat_map(|b| &b.records);
    assert_eq!(adds.filter(|s| is_add(&s.record)).count(), stored + 2);
}

#[test]
fn a_power_cut_during_a_periodic_sync_leaves_a_beginning() {
    let disk = SimulatedDisk::new(1);
    let period = SyncPolicy::Periodic(Duration::from_millis(1));
    let journal = open(Arc::new(disk.clone()), "store".into(), period).unwrap();
    let end = journal.submit_and_wait(vec![add(100)], Wish::Durable).unwrap();
    while journal.durable() < end {
        std::thread::yield_now();
    }
    let (batches, _) = read(&open_files(&disk.reboot(), 64 << 10).unwrap()).unwrap();
    assert_eq!(batches.last().unwrap().end(), end);
    let synced = journal.submit_and_wait(vec![add(100)], Wish::Synced).unwrap();
    assert!(journal.durable() >= synced);
}

#[test]
fn without_syncs_only_the_close_makes_durable() {
    let disk = SimulatedDisk::new(1);
    let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Never).unwrap();
    let started = journal.durable();
    let end = journal.submit_and_wait(vec![add(100)], Wish::Durable).unwrap();
    assert_eq!((journal.durable(), journal.written()), (started, end));
    journal.close().unwrap();
    let (_, mark) = read(&open_files(&disk.reboot(), 64 << 10).unwrap()).unwrap();
    assert_eq!(mark.lsn, end);
}

#[test]
fn a_record_is_taken_back_or_written_never_both() {
    let disk = SimulatedDisk::new(1);
    let journal = open(Arc::new(disk.clone()), "store".into(), SyncPolicy::Always).unwrap();
    // The writer is held in an answer, so that what follows queues up.
    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let done: Done = Box::new(move |_| {
        held.send(()).unwrap();
        released.recv().unwrap();
    });
    journal.submit(Submit { operations: Vec::new(), wish: Wish::Written, done });
    is_held.recv().unwrap();
    let cancels: Vec<Cancel> = (0..3).map(|_| Cancel::default()).collect();
    let operation = |cancel: &Cancel| Operation { cancel: Some(cancel.clone()), ..add(5) };
    let (answered, answer) = mpsc::channel();
    let done: Done = Box::new(move |end| answered.send(end.is_ok()).unwrap());
    let operations = cancels.iter().map(operation).collect();
    journal.submit(Submit { operations, wish: Wish::Durable, done });
    assert!(journal.queued_bytes() > 0);
    assert!(cancels[1].cancel() && cancels[1].cancel());
    release.send(()).unwrap();
    assert!(answer.recv().unwrap());
    assert!(!cancels[0].cancel() && cancels[1].cancel());
    journal.close().unwrap();
    let (batches, _) = read(&open_files(&disk, 64 << 10).unwrap()).unwrap();
    assert_eq!(batches.last().unwrap().records.len(), 2);
}

#[test]
fn a_panic_of_the_follower_leaves_nobody_waiting() {
    let disk = SimulatedDisk::new(1);
    let files = open_files(&disk, 64 << 10).unwrap();
    let end = read(&files).unwrap().1;
    let mut batches = 0;
    let follower = move |_| {
        batches += 1;
        assert!(batches < 2, "a bug");
    };
    let options = options(SyncPolicy::Always, 1);
    let journal = Journal::open(files, end, options, Box::new(follower)).unwrap();
    for _ in 0..2 {
        let error = journal.submit_and_wait(vec![add(1)], Wish::Durable).unwrap_err();
        assert!(matches!(&*error, JournalError::Stopped(cause)
            if matches!(**cause, JournalError::Panicked)));
    }
}

/// Whoever opens it next makes them.
#[test]
fn no_files_are_made_after_the_close() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let journal = open(disk, "journal".into(), SyncPolicy::Always).unwrap();
    journal.submit_and_wait(vec![add(10)], Wish::Durable).unwrap();
    journal.close().unwrap();
    // The next one may have been ready by then.
    let made = (0..2).map(|_| journal.begin_file());
    let refused = made.into_iter().any(|made| matches!(made, Err(JournalError::Closed)));
    assert!(refused, "there is a file for whoever asks");
}

#[test]
fn nothing_is_written_after_the_fence_closed() {
    let (disk, is_open) = (SimulatedDisk::new(1), Arc::new(AtomicBool::new(true)));
    let files = open_files(&disk, 64 << 10).unwrap();
    let asked = is_open.clone();
    let ask = move || {
        asked.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "the lock is lost".to_owned())
    };
    let options = JournalOptions { fence: Fence::new(ask), ..options(SyncPolicy::Always, 1) };
    let end = read(&files).unwrap().1;
    let journal = Journal::open(files, end, options, Box::new(drop)).unwrap();
    journal.submit_and_wait(vec![add(100)], Wish::Durable).unwrap();
    let before = disk.content(&path(1));

    is_open.store(false, Ordering::SeqCst);
    let error = journal.submit_and_wait(vec![add(100)], Wish::Durable).unwrap_err();
    assert!(error.to_string().contains("the lock is lost"), "{error}");
    is_open.store(true, Ordering::SeqCst);
    journal.submit_and_wait(vec![remove()], Wish::Written).expect_err("it stays closed");
    journal.close().expect_err("it says so");
    assert_eq!(disk.content(&path(1)), before);
}
