//! Power cuts at every step.

use super::*;

/// One life of a store, from its opening to a power cut.
struct Life {
    disk: SimulatedDisk,
    files: Arc<Files>,
    committer: Committer,
    /// In the order of the log, with what was there when this life began.
    sent: Vec<Sent>,
    /// (steps of the disk, submits confirmed as durable by then)
    confirmed: Vec<(u64, usize)>,
    /// Ids below it may be gone, their files being dropped.
    kept_from: u64,
}

const BODY_MAX: usize = 300;

impl Life {
    fn begin(
        disk: SimulatedDisk,
        file_bytes: u32,
        mut sent: Vec<Sent>,
        random: &mut Random,
    ) -> Result<Self, JournalError> {
        let files = open_files(&disk, file_bytes)?;
        let (batches, mut end) = read(&files)?;
        let found = submits_in(&batches, &sent, BODY_MAX);
        if let Some(last) = found.last() {
            sent.retain(|s| s.id <= last.id);
        } else {
            sent.clear();
        }
        let kept_from = found.first().map_or(0, |first| first.id);
        if end.lsn == Lsn::default() {
            end.lsn = Lsn::start_of(1);
        }
        let appender = open_appender(&files, end)?;
        let policy = [SyncPolicy::Always, SyncPolicy::Always, SyncPolicy::Never];
        let policy = policy[random.below(policy.len())];
        let batch_bytes_max = [200, 1000, 5000][random.below(3)];
        let committer = Committer::new(appender, batch_bytes_max, policy);
        let mut life = Self { disk, files, committer, sent, confirmed: Vec::new(), kept_from };
        let (node, version) = ("node".to_owned(), "1".to_owned());
        let start = Record::EpochStart { epoch: end.epoch + 1, node, version };
        life.commit(VecDeque::from([waiting(vec![start.into()], Wish::Synced)]))?;
        Ok(life)
    }

    /// Lets a few submits queue up and writes them.
    fn work(&mut self, random: &mut Random) -> Result<(), JournalError> {
        let mut queue = VecDeque::new();
        let next = self.sent.last().map_or(0, |last| last.id + 1);
        for next in next..next + random.below(6) as u64 {
            let mut sent = Sent::random(next, random);
            sent.removes |= sent.adds == 0; // an empty one would leave no trace
            let wish = [Wish::Written, Wish::Durable, Wish::Durable, Wish::Synced];
            queue.push_back(waiting(sent.operations(BODY_MAX), wish[random.below(wish.len())]));
            self.sent.push(sent);
        }
        self.commit(queue)?;
        if random.below(6) == 0 {
            self.drop_oldest()?;
        }
        Ok(())
    }

    fn commit(&mut self, mut queue: VecDeque<Waiting>) -> Result<(), JournalError> {
        while !queue.is_empty() {
            let step = self.committer.step(&mut queue, 1, &mut Vec::new())?;
            assert!(step.refused.is_none());
            let appender = &self.committer.appender;
            if appender.durable() == appender.at() {
                self.confirmed.push((self.disk.steps(), self.sent.len() - queue.len()));
            }
        }
        Ok(())
    }

    /// Drops the oldest file, so that it is written again; nobody looks for what was in it.
    fn drop_oldest(&mut self) -> Result<(), JournalError> {
        let oldest = self.files.numbers()[0];
        if oldest < self.committer.appender.at().file() {
            let (batches, _) = read(&self.files)?;
            let here: Vec<Batch> =
                batches.into_iter().filter(|b| b.header.lsn.file() > oldest).collect();
            let first = submits_in(&here, &self.sent, BODY_MAX).first().map(|sent| sent.id);
            self.kept_from =
                first.unwrap_or_else(|| self.sent.last().map_or(0, |last| last.id + 1));
            // The writer would have synced the record that says so.
            self.commit(VecDeque::from([waiting(Vec::new(), Wish::Synced)]))?;
            self.files.drop_files(&[oldest], DropAction::Recycle)?;
        }
        Ok(())
    }

    /// Looks at what a power cut after `steps` left; returns what is there.
    fn judge(&self, steps: u64, left: &SimulatedDisk, file_bytes: u32) -> Vec<Sent> {
        let files = open_files(left, file_bytes).expect("opening survives a power cut");
        let (batches, _) = read(&files).expect("a torn tail is no damage");
        let found = submits_in(&batches, &self.sent, BODY_MAX);
        for pair in found.windows(2) {
            assert_eq!(pair[0].id + 1, pair[1].id, "no hole");
        }
        let confirmed = self.confirmed.iter().filter(|(at, _)| *at <= steps).map(|(_, n)| *n);
        let confirmed = confirmed.max().unwrap_or(0).min(self.sent.len());
        let last_confirmed = self.sent[..confirmed].last().map_or(0, |sent| sent.id + 1);
        let end = found.last().map_or(0, |last| last.id + 1);
        let start = found.first().map_or(0, |first| first.id);
        assert!(start <= self.kept_from, "{start} {} lost from the front", self.kept_from);
        assert!(
            end >= last_confirmed || self.kept_from >= last_confirmed,
            "{last_confirmed} confirmed, {end} there"
        );
        found
    }
}

/// Lives one life and looks at every power cut in it; some cuts, and some ends, begin another.
/// Returns how many there were.
fn live(disk: SimulatedDisk, sent: Vec<Sent>, lives_left: u32, random: &mut Random) -> u64 {
    let file_bytes = 8192 + 4096 * random.below(3) as u32;
    let worth = if lives_left > 0 { 12 } else { 4 };
    disk.keep_images();
    let mut life = Life::begin(disk, file_bytes, sent, random).expect("nothing fails yet");
    for _ in 0..=random.below(worth) {
        life.work(random).expect("nothing fails yet");
    }
    let images = life.disk.take_images();
    let mut cuts = images.len() as u64;
    for (steps, left) in images {
        // The opening has only what the life before left, which was looked at then.
        let found = life.judge(steps, &left, file_bytes);
        if lives_left > 0 && random.below(12) == 0 {
            cuts += live(left.reboot(), found, lives_left - 1, random);
        }
    }
    if lives_left > 0 && random.below(2) == 0 {
        // The process is killed, the machine goes on: nothing is lost, but not all is synced.
        let Life { disk, sent, .. } = life;
        cuts += live(disk, sent, lives_left - 1, random);
    }
    cuts
}

/// Whatever was confirmed before the power went is there after reopening, in order and once; what
/// was not is there as a whole or not at all. `CRASH_POINTS` says how many cuts to try,
/// `CRASH_SEED` where to begin.
#[test]
fn confirmed_submits_survive_a_power_cut_at_every_step() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (mut cuts, mut seed) = (0, number("CRASH_SEED", 0));
    while cuts < number("CRASH_POINTS", 40_000) {
        seed += 1;
        let lived = std::panic::catch_unwind(|| {
            live(SimulatedDisk::new(seed), Vec::new(), 2, &mut Random(seed))
        });
        cuts += lived.unwrap_or_else(|cause| {
            eprintln!("CRASH_SEED={}", seed - 1);
            std::panic::resume_unwind(cause)
        });
    }
}

/// The same, but the disk fails once instead of for good: the journal must not go on after it.
#[test]
fn nothing_is_confirmed_after_a_failed_write_or_sync() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let disk = SimulatedDisk::new(seed);
        let file_bytes = 8192;
        let mut life = Life::begin(disk.clone(), file_bytes, Vec::new(), &mut random).unwrap();
        disk.fails_at(disk.steps() + random.below(40) as u64);
        let failed = (0..20).any(|_| life.work(&mut random).is_err());
        // The writer thread stops here; whoever was told "done" before must find it.
        if failed {
            life.judge(disk.steps(), &disk.reboot(), file_bytes);
        }
    }
}
