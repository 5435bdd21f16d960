//! Ends of files, long records, old content, other people's folders.

use super::*;
use crate::store::kahadb::fs::{Access, Filesystem};
use crate::store::kahadb::journal::batch::Builder;
use std::path::Path;

fn nothing(bytes: usize) -> Record {
    Record::Nothing { padding: Bytes::from(vec![b'x'; bytes]) }
}

fn start() -> Mark {
    Mark { lsn: Lsn::start_of(1), ..Mark::default() }
}

/// Header of a batch and of its one record, bytes.
const OVERHEAD: usize = 64 + 16;

/// Whatever is left at the end of a file, from nothing to more than a batch header.
#[test]
fn a_file_may_end_anywhere_behind_a_batch() {
    for left in 0..150 {
        let disk = SimulatedDisk::new(left as u64);
        let files = open_files(&disk, 8192).unwrap();
        let mut appender = open_appender(&files, start()).unwrap();
        let mut builder = Builder::default();
        let first = nothing(4096 - OVERHEAD - left);
        builder.push(first.clone());
        appender.append(&mut builder, 1).unwrap();
        assert_eq!(appender.room(), left as u64);
        let second = nothing(left);
        if appender.room() < (OVERHEAD + left) as u64 {
            appender.roll_over((OVERHEAD + left) as u64).unwrap();
        }
        builder.push(second.clone());
        appender.append(&mut builder, 1).unwrap();
        appender.sync().unwrap();
        let (batches, end) = read(&open_files(&disk.reboot(), 8192).unwrap()).unwrap();
        let records: Vec<&Record> =
            batches.iter().flat_map(|b| &b.records).map(|s| &s.record).collect();
        assert_eq!(records, [&first, &second]);
        assert_eq!(end.lsn, appender.at());
    }
}

#[test]
fn a_record_longer_than_a_file_has_a_file_of_its_own() {
    let disk = SimulatedDisk::new(1);
    disk.writes_are_short();
    let files = open_files(&disk, 8192).unwrap();
    let appender = open_appender(&files, start()).unwrap();
    let mut committer = Committer::new(appender, 1000, SyncPolicy::Always);
    let records = [nothing(10), nothing(100_000), nothing(20), nothing(8192), nothing(30)];
    let submit = |record: &Record| waiting(vec![record.clone().into()], Wish::Durable);
    let mut queue: VecDeque<Waiting> = records.iter().map(submit).collect();
    while !queue.is_empty() {
        assert!(committer.step(&mut queue, 1, &mut Vec::new()).unwrap().refused.is_none());
    }
    let files = open_files(&disk.reboot(), 8192).unwrap();
    let (batches, _) = read(&files).unwrap();
    let found: Vec<Record> =
        batches.iter().flat_map(|b| &b.records).map(|s| s.record.clone()).collect();
    assert_eq!(found, records);
    assert_eq!(files.length(2).map(|l| l % 4096), Some(0));
    assert!(files.length(2).unwrap() > 100_000);
}

#[test]
fn what_cannot_be_written_is_refused_at_once() {
    let long = Record::Destination { destination: 1, kind: 0, name: "x".repeat(70_000) };
    let done: Done = Box::new(drop);
    let submit = Submit { operations: vec![long.into()], wish: Wish::Durable, done };
    let refused = Waiting::new(submit).map_err(|(_, error)| error).err();
    assert!(matches!(refused, Some(JournalError::TooLarge { .. })));
}

/// Batches that an earlier use of a file left exactly where the next ones would be.
#[test]
fn old_batches_behind_the_end_are_not_taken_for_new_ones() {
    for same_length in [true, false] {
        let disk = SimulatedDisk::new(1);
        let files = open_files(&disk, 8192).unwrap();
        let mut appender = open_appender(&files, start()).unwrap();
        let mut builder = Builder::default();
        let mut write = |appender: &mut Appender, byte: u8| {
            let padding = Bytes::from(vec![byte; 700]);
            builder.push(Record::Nothing { padding });
            if appender.room() < 800 {
                appender.roll_over(800).unwrap();
            }
            let batch = appender.append(&mut builder, 1).unwrap();
            appender.sync().unwrap();
            batch
        };
        let old: Vec<Batch> = (0..12).map(|n| write(&mut appender, n)).collect();
        drop(appender);
        // A second log takes another way after the second batch, over the first one's bytes.
        let cut = Mark { lsn: old[1].end(), chain: old[1].crc, epoch: 1 };
        let mut appender = open_appender(&files, cut).unwrap();
        let new = if same_length { Some(write(&mut appender, 99)) } else { None };
        let outcome = read(&open_files(&disk, 8192).unwrap());
        match new {
            // The old third batch would say that the cut was synced, but its epoch is older.
            Some(new) => {
                let (batches, end) = outcome.unwrap();
                assert_eq!(batches.len(), 3);
                assert_eq!((end.lsn, end.chain), (new.end(), new.crc));
            }
            // Nothing was written: the first log is still the log.
            None => assert_eq!(outcome.unwrap().0.len(), 12),
        }
    }
}

/// The right place and epoch are not enough: the batch before must be the one it was written behind.
#[test]
fn a_batch_of_another_history_is_not_taken() {
    let history = |byte: u8, epoch: u64| {
        let disk = SimulatedDisk::new(1);
        let files = open_files(&disk, 8192).unwrap();
        let mut builder = Builder::default();
        let mut write = |mark: Mark| {
            let mut appender = open_appender(&files, mark).unwrap();
            builder.push(Record::Nothing { padding: Bytes::from(vec![byte; 50]) });
            appender.append(&mut builder, 1).unwrap()
        };
        let first = write(Mark { epoch: 5, ..start() });
        let second = write(Mark { lsn: first.end(), chain: first.crc, epoch });
        (disk, first.end(), second.end())
    };
    let ends_at = |disk: &SimulatedDisk| {
        let (_, end) = read(&open_files(disk, 8192).unwrap()).unwrap();
        end.lsn
    };
    let (disk, first, second) = history(1, 5);
    assert_eq!(ends_at(&disk), second);
    let mut content = disk.content(&path(1));
    let (other, ..) = history(2, 5);
    let span = first.offset() as usize..second.offset() as usize;
    content[span.clone()].copy_from_slice(&other.content(&path(1))[span]);
    disk.put(&path(1), &content);
    assert_eq!(ends_at(&disk), first);
    let (disk, first, _) = history(1, 4);
    assert_eq!(ends_at(&disk), first, "an older epoch");
}

#[test]
fn a_dropped_file_is_written_again_under_a_new_number() {
    let disk = SimulatedDisk::new(1);
    let files = open_files(&disk, 8192).unwrap();
    let mut appender = open_appender(&files, start()).unwrap();
    let mut builder = Builder::default();
    for n in 0..20_u64 {
        if n % 5 == 4 {
            let oldest = files.numbers()[0];
            let steps = disk.steps();
            files.drop_files(&[oldest], DropAction::Recycle).unwrap();
            assert_eq!(disk.steps() - steps, 2, "renamed, not removed");
        }
        builder.push(nothing(2500 + n as usize));
        appender.roll_over(3000).unwrap();
        appender.append(&mut builder, 1).unwrap();
        appender.sync().unwrap();
    }
    let files = open_files(&disk.reboot(), 8192).unwrap();
    let (batches, end) = read(&files).unwrap();
    assert_eq!((batches.len(), end.lsn), (17, appender.at()));
}

#[test]
fn dropped_files_are_deleted_or_go_to_the_archive() {
    let disk = SimulatedDisk::new(1);
    let files = open_files(&disk, 8192).unwrap();
    (1..=3).for_each(|n| drop(files.prepare(n, |_, _| Ok(())).unwrap()));
    files.drop_files(&[1], DropAction::Delete).unwrap();
    files.drop_files(&[2, 77], DropAction::Archive).unwrap();
    assert_eq!((files.numbers(), files.bytes()), (vec![3], 8192));
    let after = disk.reboot();
    assert_eq!(open_files(&after, 8192).unwrap().numbers(), [3]);
    assert!(after.open(Path::new("archive/db-2.log"), Access::Read).is_ok());
}

#[test]
fn rubbish_of_a_killed_process_goes_and_java_is_kept_out() {
    let disk = SimulatedDisk::new(1);
    disk.create_folder(Path::new("store")).unwrap();
    for name in ["db-5.tmp", "db-6.spare", "db-007.log", "db-x.log", "other"] {
        disk.put(&Path::new("store").join(name), b"something");
    }
    let files = open_files(&disk, 8192).unwrap();
    assert!(files.numbers().is_empty());
    let mut names: Vec<String> =
        disk.reboot().list(Path::new("store")).unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    assert_eq!(names, ["db-007.log", "db-2147483647.log", "db-x.log", "other"]);
    open_files(&disk, 8192).unwrap();
}

#[test]
fn the_folder_of_a_java_broker_is_refused_untouched() {
    let starts: [&[u8]; 2] = [b"\x00\x00\x00\x1C\x02WRITE BATCH and more", b"-qMa4\0\0\0"];
    for start in starts {
        let disk = SimulatedDisk::new(1);
        disk.create_folder(Path::new("store")).unwrap();
        disk.put(&path(1), &[0; 100]);
        disk.put(&path(12), start);
        disk.put(Path::new("store/db-3.tmp"), b"theirs");
        let before = disk.list(Path::new("store")).unwrap();
        let error = open_files(&disk, 8192).unwrap_err();
        assert!(matches!(error, JournalError::JavaStore { .. }));
        let hint = "store holds a KahaDB store of ActiveMQ (db-12.log); \
                    take it over with `broker store import --from store`";
        assert_eq!(error.to_string(), hint);
        assert_eq!(disk.list(Path::new("store")).unwrap(), before, "untouched");
    }
}

#[test]
fn a_file_of_a_newer_version_stops_the_start() {
    let disk = SimulatedDisk::new(1);
    write_log(&disk, 8192, &[Sent { id: 0, adds: 1, removes: true }], 50);
    let mut content = disk.content(&path(1));
    content[8] = 2;
    let crc = crc32fast::hash(&content[..64]);
    content[64..68].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path(1), &content);
    let error = read(&open_files(&disk, 8192).unwrap()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { offset: 0, .. }));
}

/// Acks of one destination become one record, but do not pass records that are not messages.
#[test]
fn acks_of_a_batch_become_one_record() {
    let disk = SimulatedDisk::new(1);
    let files = open_files(&disk, 8192).unwrap();
    let mut appender = open_appender(&files, start()).unwrap();
    let mut builder = Builder::default();
    let remove = |seq| {
        let seqs = Ranges::one(seq, seq);
        Record::Remove { destination: 1, seqs }
    };
    let add = |seq| Record::Add(Add { destination: 1, seq, ..Add::default() });
    let sub_ack = |subscription, seq| {
        let seqs = Ranges::one(seq, seq);
        Record::SubAck { destination: 1, subscription, seqs }
    };
    let barrier = Record::Deleted { destination: 1 };
    let pushed = [
        remove(2),
        add(7),
        sub_ack(1, 5),
        remove(1),
        sub_ack(2, 5),
        sub_ack(1, 6),
        add(8),
        barrier.clone(),
        remove(3),
    ];
    pushed.into_iter().for_each(|record| builder.push(record));
    let batch = appender.append(&mut builder, 1).unwrap();
    let (both, sub_1) = (Ranges::one(1, 2), Ranges::one(5, 6));
    let expected = [
        add(7),
        add(8),
        Record::Remove { destination: 1, seqs: both },
        Record::SubAck { destination: 1, subscription: 1, seqs: sub_1 },
        sub_ack(2, 5),
        barrier,
        remove(3),
    ];
    let written: Vec<Record> = batch.records.iter().map(|s| s.record.clone()).collect();
    assert_eq!(written, expected);
    let (batches, _) = read(&open_files(&disk, 8192).unwrap()).unwrap();
    assert_eq!(batches[0].records, batch.records, "with the same places");
    assert_eq!(batches[0].parts.concat(), batch.parts.concat());
}
