//! The temp store against a model, on disks that are full, fail and flip bits.

use super::*;
use crate::store::fs::real::RealFilesystem;
use crate::store::fs::simulated::{Random, SimulatedDisk};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::Path;

/// Messages as nothing but their bodies.
const FORM: MessageForm = MessageForm {
    version: 1,
    encode: |message, out| out.extend_from_slice(message.content.as_deref().unwrap_or_default()),
    decode: |body| {
        (body != UNREADABLE).then(|| Message { content: Some(body), ..Message::default() }.into())
    },
};

/// What the form writes and does not read.
const UNREADABLE: &[u8] = b"not a message";

const ALL: PageLimit = PageLimit { messages: usize::MAX, bytes: u64::MAX };

const FOLDER: &str = "tmp";

#[derive(Default)]
struct Told(AtomicU64);

impl SpoolEvents for Told {
    fn bytes_used(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

fn open(disk: &SimulatedDisk, segment_bytes: u32) -> Arc<Spool> {
    let (disk, events) = (Arc::new(disk.clone()), Arc::<Told>::default());
    Spool::open(disk, FOLDER.into(), segment_bytes, FORM, events).expect("a spool")
}

fn message(sequence: i64, length: usize) -> Spooled {
    let body: Bytes = (0..length).map(|at| (at as i64 * 7 + sequence) as u8).collect();
    let message = Arc::new(Message { content: Some(body), ..Message::default() });
    Spooled { sequence, redeliveries: (sequence % 5) as i32, message }
}

fn append(channel: &Channel, messages: Vec<Spooled>) -> Result<(), StoreError> {
    let (done, outcome) = mpsc::channel();
    channel.append(messages, Box::new(move |result| done.send(result).expect("it is awaited")));
    outcome.recv().expect("an answer")
}

fn take(channel: &Channel, limit: PageLimit) -> Result<Vec<Spooled>, StoreError> {
    let (done, outcome) = mpsc::channel();
    channel.take(limit, Box::new(move |result| done.send(result).expect("it is awaited")));
    outcome.recv().expect("an answer")
}

fn take_all(channel: &Channel) -> Vec<Spooled> {
    let taken = take(channel, ALL).expect("messages");
    assert!(take(channel, ALL).expect("nothing").is_empty());
    taken
}

fn same(taken: &[Spooled], expected: &[Spooled]) -> bool {
    let equal = |(a, b): (&Spooled, &Spooled)| {
        (a.sequence, a.redeliveries, &a.message) == (b.sequence, b.redeliveries, &b.message)
    };
    taken.len() == expected.len() && taken.iter().zip(expected).all(equal)
}

fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let entries = disk.list(Path::new(FOLDER)).unwrap_or_default();
    let mut names: Vec<_> = entries.iter().map(|e| Path::new(FOLDER).join(&e.name)).collect();
    names.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    names
}

/// How many of the first messages one page has.
fn page(messages: &VecDeque<Spooled>, limit: PageLimit) -> usize {
    let mut bytes = 0;
    let full = messages.iter().enumerate().position(|(at, spooled)| {
        bytes += spooled.message.size() as u64;
        at + 1 >= limit.messages || bytes >= limit.bytes
    });
    full.map_or(messages.len(), |last| last + 1)
}

#[test]
fn channels_keep_what_they_are_given_in_order() {
    for seed in 0..20 {
        let random = &mut Random(seed);
        let disk = SimulatedDisk::new(seed);
        disk.writes_are_short();
        let spool = open(&disk, 1 + random.below(3000) as u32);
        let mut sequence = 0;
        let mut channels: Vec<(Channel, VecDeque<Spooled>)> =
            (0..5).map(|_| (spool.channel(), VecDeque::new())).collect();
        for step in 0..200 {
            if random.below(40) == 0 {
                // Some errors come to the next append, some to a removal, which only leaves a file.
                disk.fails_at(disk.steps() + random.below(3) as u64);
            }
            let at = random.below(channels.len());
            let (channel, model) = &mut channels[at];
            match random.below(20) {
                0 => {
                    channel.clear();
                    model.clear();
                }
                1 => channels[at] = (spool.channel(), VecDeque::new()),
                2..12 => {
                    let length = [10, 300, 300, 1000, 100_000][random.below(5)];
                    let count = random.below(4).min(200_000 / length);
                    let batch: Vec<_> = (0..count)
                        .map(|_| {
                            sequence += 1;
                            message(sequence, random.below(length))
                        })
                        .collect();
                    match append(channel, batch.clone()) {
                        Ok(()) => model.extend(batch),
                        Err(error) => assert!(matches!(error, StoreError::NoSpace(_)), "{error}"),
                    }
                }
                _ => {
                    let limit =
                        PageLimit { messages: random.below(8), bytes: random.below(20_000) as u64 };
                    let taken = take(channel, limit).expect("a page");
                    let expected: Vec<_> = model.drain(..page(model, limit)).collect();
                    assert!(same(&taken, &expected), "seed {seed}, step {step}");
                }
            }
        }
        for (channel, model) in &mut channels {
            assert!(same(&take_all(channel), model.make_contiguous()), "seed {seed}, at the end");
        }
        assert_eq!((spool.bytes_used(), spool.messages_lost()), (0, 0), "seed {seed}");
    }
}

#[test]
fn segments_go_when_they_are_read_cleared_or_dropped() {
    let disk = SimulatedDisk::new(1);
    let events = Arc::<Told>::default();
    let spool =
        Spool::open(Arc::new(disk.clone()), FOLDER.into(), 100, FORM, events.clone()).unwrap();
    let (read, cleared, dropped, closed) =
        (spool.channel(), spool.channel(), spool.channel(), spool.channel());
    assert!(disk.list(Path::new(FOLDER)).is_err(), "no folder before it is needed");
    for channel in [&read, &cleared, &dropped, &closed] {
        for sequence in 0..3 {
            append(channel, vec![message(sequence, 100)]).unwrap();
        }
    }
    assert_eq!(files(&disk).len(), 12);
    assert_eq!((spool.bytes_used(), events.0.load(Ordering::Relaxed)), (12 * 124, 12 * 124));
    let one = PageLimit { messages: 1, ..ALL };
    assert_eq!(take(&read, one).unwrap().len(), 1);
    assert_eq!(files(&disk).len(), 11);
    assert_eq!(take_all(&read).len(), 2);
    cleared.clear();
    drop(dropped);
    assert!(take_all(&cleared).is_empty());
    assert_eq!(files(&disk).len(), 3);
    spool.close();
    assert!(files(&disk).is_empty());
    assert_eq!((spool.bytes_used(), events.0.load(Ordering::Relaxed)), (0, 0));
    assert!(matches!(append(&closed, vec![message(4, 1)]), Err(StoreError::Stopped(_))));
    assert!(matches!(take(&closed, ALL), Err(StoreError::Stopped(_))));
    spool.close();
}

#[test]
fn what_an_earlier_run_left_is_removed_and_nothing_else() {
    let disk = SimulatedDisk::new(1);
    let mine = ["1.spool", "77.spool"];
    let other = [".spool", "-1.spool", "1.spool.txt", "a.spool", "db-1.log", "db.data"];
    disk.create_folder(Path::new(FOLDER)).unwrap();
    for name in mine.iter().chain(&other) {
        disk.put(&Path::new(FOLDER).join(name), b"x");
    }
    let spool = open(&disk, 1000);
    let mut left: Vec<_> = disk.list(Path::new(FOLDER)).unwrap();
    left.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(left.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), {
        let mut other = other;
        other.sort_unstable();
        other
    });
    let channel = spool.channel();
    append(&channel, vec![message(1, 10)]).unwrap();
    assert!(same(&take_all(&channel), &[message(1, 10)]));
}

#[test]
fn a_full_disk_refuses_whole_appends_and_keeps_the_rest() {
    for seed in 0..100 {
        let random = &mut Random(seed);
        let disk = SimulatedDisk::new(seed);
        disk.has_space(2000);
        let spool = open(&disk, 500);
        let channels = [spool.channel(), spool.channel()];
        let mut kept = [Vec::new(), Vec::new()];
        let (mut sequence, mut refused) = (0, 0);
        while refused < 5 {
            let at = random.below(2);
            let batch: Vec<_> = (0..=random.below(3))
                .map(|_| {
                    sequence += 1;
                    message(sequence, random.below(300))
                })
                .collect();
            match append(&channels[at], batch.clone()) {
                Ok(()) => kept[at].extend(batch),
                Err(StoreError::NoSpace(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            let on_disk: usize = files(&disk).iter().map(|path| disk.content(path).len()).sum();
            assert!(spool.bytes_used() as usize <= on_disk && on_disk <= 2000);
        }
        disk.has_space(10_000);
        for (channel, kept) in channels.iter().zip(&mut kept) {
            append(channel, vec![message(-1, 20)]).unwrap();
            kept.push(message(-1, 20));
            assert!(same(&take_all(channel), kept), "seed {seed}");
        }
        assert_eq!((spool.messages_lost(), files(&disk).len()), (0, 0));
    }
}

#[test]
fn a_flipped_bit_costs_one_message() {
    for seed in 0..300 {
        let random = &mut Random(seed);
        let disk = SimulatedDisk::new(seed);
        let spool = open(&disk, 1000);
        let channel = spool.channel();
        let all: Vec<_> = (0..30).map(|n| message(n, random.below(200))).collect();
        for batch in all.chunks(4) {
            append(&channel, batch.to_vec()).unwrap();
        }
        let files = files(&disk);
        let path = &files[random.below(files.len())];
        disk.flip(path, random.below(disk.content(path).len()), 1 << random.below(8));
        let taken = take_all(&channel);
        let lost = all.iter().filter(|m| !taken.iter().any(|t| t.sequence == m.sequence));
        let lost: Vec<_> = lost.map(|m| m.sequence).collect();
        assert_eq!((lost.len(), spool.messages_lost()), (1, 1), "seed {seed}");
        let rest: Vec<_> = all.into_iter().filter(|m| m.sequence != lost[0]).collect();
        assert!(same(&taken, &rest), "seed {seed}");
        assert_eq!(spool.bytes_used(), 0);
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_left_out() {
    let disk = SimulatedDisk::new(1);
    let spool = open(&disk, 100);
    let channel = spool.channel();
    let bad = Message { content: Some(UNREADABLE.into()), ..Message::default() };
    let bad = Spooled { message: bad.into(), ..message(1, 0) };
    append(&channel, vec![message(0, 100), bad, message(2, 10)]).unwrap();
    append(&channel, vec![message(3, 100), message(4, 100)]).unwrap();
    append(&channel, vec![message(5, 100), message(6, 100)]).unwrap();
    append(&channel, vec![message(7, 100)]).unwrap();
    let files = files(&disk);
    let other = spool.channel();
    for sequence in 0..64 {
        append(&other, vec![message(sequence, 100)]).unwrap(); // closes the files of the first
    }
    disk.remove(&files[1]).unwrap();
    let cut = disk.content(&files[2]);
    disk.put(&files[2], &cut[..cut.len() - 1]);
    let taken: Vec<_> = take_all(&channel).iter().map(|m| m.sequence).collect();
    assert_eq!(taken, [0, 2, 7]);
    assert_eq!(spool.messages_lost(), 5);
}

#[test]
fn a_record_inside_of_a_message_is_not_taken_for_one() {
    let seal = Seal::new(1, 2);
    let mut inner = Vec::new();
    record::put(&message(1, 10), &FORM, seal, &mut inner).unwrap();
    assert!(record::Head::read(&inner, seal).is_some());
    assert_eq!(record::Head::read(&inner, Seal::new(2, 2)), None, "of another run");
    assert_eq!(record::Head::read(&inner, Seal::new(1, 3)), None, "of another channel");
    assert_eq!(record::Head::read(&inner[..23], seal), None);
}

#[test]
fn many_channels_share_few_open_files() {
    const CHANNELS: i64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("tmp_storage"), Arc::<Told>::default());
    let spool = Spool::open(Arc::new(RealFilesystem), path.clone(), 4096, FORM, events).unwrap();
    let channels: Vec<_> = (0..CHANNELS).map(|_| spool.channel()).collect();
    for round in 0..2 {
        for (number, channel) in (0..).zip(&channels) {
            append(channel, vec![message(number + round * CHANNELS, 100)]).unwrap();
        }
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), CHANNELS as usize);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    assert!(open.filter(|target| target.starts_with(&path)).count() <= 64);
    for (number, channel) in (0..).zip(&channels) {
        let expected = [message(number, 100), message(number + CHANNELS, 100)];
        assert!(same(&take_all(channel), &expected));
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}
