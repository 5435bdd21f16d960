//! What happens to files behind the journal's back.

use super::*;
use std::collections::BTreeMap;
use std::ops::Range as Span;

const FILE_BYTES: u32 = 8192;
const BODY_MAX: usize = 500;

struct Log {
    disk: SimulatedDisk,
    sent: Vec<Sent>,
    batches: Vec<Batch>,
    content: BTreeMap<u32, Vec<u8>>,
}

fn log(submits: u64) -> Log {
    let disk = SimulatedDisk::new(1);
    let mut random = Random(5);
    let sent: Vec<Sent> = (0..submits)
        .map(|id| Sent { removes: true, adds: 2, ..Sent::random(id, &mut random) })
        .collect();
    let batches = write_log(&disk, FILE_BYTES, &sent, BODY_MAX);
    let files = open_files(&disk, FILE_BYTES).unwrap();
    let content = files.numbers().into_iter().map(|n| (n, disk.content(&path(n)))).collect();
    Log { disk, sent, batches, content }
}

impl Log {
    fn last(&self) -> Lsn {
        self.batches.last().unwrap().header.lsn
    }

    /// Reads the damaged log. Either the damage is found, or a true beginning is there, and what is
    /// missing is the last batch, or everything that could have told was hit by `span` of `file`.
    fn check(&self, file: u32, span: &Span<usize>) -> bool {
        let files = open_files(&self.disk, FILE_BYTES).unwrap();
        let (batches, _) = match read(&files) {
            Ok(read) => read,
            Err(JournalError::Corrupt { path: found, .. }) => {
                // Where the log breaks off: the end of one file, or the beginning of the next.
                let near = [file.saturating_sub(1), file, file + 1];
                assert!(near.iter().any(|file| found == path(*file)), "{found:?}");
                self.check_skipping(&files);
                return false;
            }
            Err(other) => panic!("{other}"),
        };
        let found = submits_in(&batches, &self.sent, BODY_MAX);
        assert_eq!(found, self.sent[..found.len()], "a beginning");
        let missing = self.sent.len() - found.len();
        let last = self.last();
        let hits_last = file == last.file() && span.end > last.offset() as usize;
        assert!(missing <= 1 || hits_last, "{missing} are missing");
        true
    }

    /// The damage can be passed, and only true data is behind it.
    fn check_skipping(&self, files: &Arc<Files>) {
        let mut scan = Scan::from_start(files.clone(), Gaps::default(), OnDamage::Skip).unwrap();
        let batches = rest_of(&mut scan).unwrap();
        assert!(!scan.losses().is_empty());
        let found = submits_in(&batches, &self.sent, BODY_MAX);
        assert!(found.contains(self.sent.last().unwrap()), "the end, which is a witness");
    }

    fn restore(&self) {
        self.content.iter().for_each(|(number, bytes)| self.disk.put(&path(*number), bytes));
    }

    /// Bytes of a file that say something.
    fn used(&self, file: u32) -> usize {
        let ends = self.batches.iter().map(Batch::end).filter(|end| end.file() == file);
        ends.map(|end| end.offset() as usize).max().unwrap_or(0)
    }

    fn overwrite(&self, file: u32, at: usize, bytes: &[u8]) {
        let mut content = self.content[&file].clone();
        let end = content.len().min(at + bytes.len());
        content[at..end].copy_from_slice(&bytes[..end - at]);
        self.disk.put(&path(file), &content);
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_or_harmless() {
    let log = log(14);
    assert!(log.last().file() >= 2, "more than one file");
    let (mut found, mut harmless) = (0, 0);
    for file in 1..=log.last().file() {
        for at in (0..68).chain(4096..log.used(file) + 8) {
            let mask = 1 << (at % 8);
            log.disk.flip(&path(file), at, mask);
            if log.check(file, &(at..at + 1)) {
                harmless += 1;
            } else {
                found += 1;
            }
            log.disk.flip(&path(file), at, mask);
        }
    }
    assert!(found > 1000 && harmless > 68, "{found} {harmless}");
}

#[test]
fn torn_zeroed_and_misdirected_pages_are_found_or_end_the_log() {
    let log = log(30);
    let pages: Vec<(u32, usize)> = (1..=log.last().file())
        .flat_map(|file| (0..FILE_BYTES as usize).step_by(4096).map(move |at| (file, at)))
        .collect();
    for (file, at) in &pages {
        for bytes in [512, 4096] {
            log.overwrite(*file, *at, &vec![0; bytes]);
            log.check(*file, &(*at..*at + bytes));
            log.restore();
        }
        for (from, source) in &pages {
            let page = &log.content[from][*source..*source + 4096];
            log.overwrite(*file, *at, page);
            log.check(*file, &(*at..*at + 4096));
            log.restore();
        }
    }
}

#[test]
fn a_missing_shortened_or_exchanged_file_is_found() {
    let log = log(30);
    let last = log.last().file();
    assert!(last >= 3);
    for length in (0..FILE_BYTES as usize).step_by(97) {
        for file in 1..last {
            log.disk.put(&path(file), &log.content[&file][..length]);
            let is_whole = log.check(file, &(length..FILE_BYTES as usize));
            assert_eq!(is_whole, length >= log.used(file), "{file} cut at {length}");
            log.restore();
        }
    }
    log.disk.put(&path(1), &log.content[&2]);
    log.disk.put(&path(2), &log.content[&1]);
    assert!(!log.check(1, &(0..8192)));
    log.restore();
    let fs: &dyn crate::store::kahadb::fs::Filesystem = &log.disk;
    fs.remove(&path(2)).unwrap();
    assert!(!log.check(1, &(0..8192)));
}

#[test]
fn a_record_read_alone_is_the_right_one_or_an_error() {
    let log = log(6);
    let files = open_files(&log.disk, FILE_BYTES).unwrap();
    let stored: Vec<Stored> = log.batches.iter().flat_map(|b| b.records.clone()).collect();
    for one in &stored {
        assert_eq!(read_record(&files, one.lsn, one.length).unwrap(), one.record);
        for wrong in [(1, 0), (0, 1), (0, 1 << 30), (1 << 33, 0)] {
            let (lsn, length) = (Lsn(one.lsn.0 + wrong.0), one.length + wrong.1);
            assert!(read_record(&files, lsn, length).is_err());
        }
        let at = one.lsn.offset() as usize + one.length as usize / 2;
        log.disk.flip(&path(one.lsn.file()), at, 1);
        assert!(read_record(&files, one.lsn, one.length).is_err());
        log.disk.flip(&path(one.lsn.file()), at, 1);
    }
}

#[test]
fn a_scan_begins_at_any_mark_and_misses_what_should_be_there() {
    let log = log(30);
    let files = open_files(&log.disk, FILE_BYTES).unwrap();
    let scan = |mark| Scan::from_mark(files.clone(), STORE, mark, OnDamage::Refuse);
    for (n, batch) in log.batches.iter().enumerate() {
        let mark = Mark { lsn: batch.end(), chain: batch.crc, epoch: batch.header.epoch };
        let rest = rest_of(&mut scan(mark).unwrap()).unwrap();
        assert_eq!(submits_in(&rest, &log.sent, BODY_MAX), log.sent[n + 1..]);
    }
    let beyond = Mark { lsn: Lsn::new(99, 5000), ..Mark::default() };
    assert!(matches!(scan(beyond), Err(JournalError::Corrupt { .. })));
    let mark = Mark { lsn: log.batches[0].end(), chain: log.batches[0].crc, epoch: 1 };
    let other = Scan::from_mark(files.clone(), StoreId([7; 16]), mark, OnDamage::Refuse);
    assert!(matches!(other, Err(JournalError::OtherStore { .. })));
}

/// Random bytes in the place of files: any answer, no panic, no more memory than they are long.
#[test]
fn rubbish_is_refused_or_empty() {
    let mut random = Random(3);
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let log_file = log(3).content.remove(&1).unwrap();
        let mut content = log_file;
        for _ in 0..random.below(200) {
            let at = random.below(content.len());
            content[at] = random.next() as u8;
        }
        content.truncate(random.below(content.len() * 2).max(1));
        disk.create(&content);
        if let Ok(files) = open_files(&disk, FILE_BYTES) {
            drop(read(&files));
        }
    }
}

impl SimulatedDisk {
    fn create(&self, content: &[u8]) {
        let fs: &dyn crate::store::kahadb::fs::Filesystem = self;
        fs.create_folder(&PathBuf::from("store")).unwrap();
        self.put(&path(1), content);
    }
}
