//! The queue towards the journal, and the thread that writes it.
//!
//! It takes whatever is queued, writes and syncs it as one batch, tells everybody who waits, and
//! looks again. It never waits for company: batches form while the one before is being synced.
//! Only removals that nobody waits for do not call it while there is more that somebody waits for:
//! they go with what comes next, or a moment later by themselves, for a write of their own would be
//! in the way.
//!
//! Where one submit after the other is waited for, waking that thread and being woken by it takes as
//! long as the sync. Then the thread that submits may [lead](Journal::lead): it writes and syncs what
//! is queued itself. [`Pace`] says when. Whoever has the [`Writer`] takes the queue, writes it and
//! tells who waits, so that there is one order whoever it is.

use super::Lsn;
use super::appender::{Appender, Identity};
use super::batch::Batch;
use super::commit::{Committer, Waiting};
use super::error::JournalError;
use super::files::Files;
use super::keeper::Keeper;
use super::pace::Pace;
use super::record::Record;
use super::scan::Mark;
use crate::store::Cancel;
use crate::store::kahadb::fence::Fence;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// When what was written is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before the answer, for [`Wish::Durable`].
    Always,
    /// This long after the first write that was not synced yet, at most. A power cut can lose
    /// answered submits.
    Periodic(Duration),
    /// At the end of a file and at the close. A power cut can lose answered submits.
    Never,
}

/// What has to be before a submit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// It was written; a killed process loses nothing, a power cut may.
    Written,
    /// It is as durable as the policy makes it.
    Durable,
    /// It and all before it are on the disk, whatever the policy.
    Synced,
    /// As `Synced`, and it must not be refused: it may use the room that is kept for removals, and
    /// without any the journal stops.
    Decided,
}

/// Called once with what became of a submit: the end of the log behind it. Called by the writer
/// thread or who leads, in the order of the submits, or by `submit` itself if nothing is accepted;
/// must not block or take a lock that a caller of `submit` holds.
pub type Done = Box<dyn FnOnce(Result<Lsn, Arc<JournalError>>) + Send>;

/// Takes every batch after it was written (and synced, if it was to be) and before those who wait
/// for it are told. Called by the writer thread or who leads; must not block.
pub type Follower = Box<dyn FnMut(Batch) + Send>;

/// Records that take effect together or not at all.
pub struct Submit {
    /// May be empty: then it is answered behind all before it.
    pub operations: Vec<Operation>,
    pub wish: Wish,
    pub done: Done,
}

/// A submit that was not queued; whoever waits for it is yet to be told.
#[must_use]
pub(in crate::store::kahadb) struct Refused {
    done: Done,
    error: Arc<JournalError>,
}

impl Refused {
    pub(in crate::store::kahadb) fn tell(self) {
        (self.done)(Err(self.error));
    }
}

impl fmt::Debug for Submit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("operations", &self.operations).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub record: Record,
    /// Lets the caller take the record back until it is being written.
    pub cancel: Option<Cancel>,
}

impl From<Record> for Operation {
    fn from(record: Record) -> Self {
        Self { record, cancel: None }
    }
}

#[derive(Clone, Debug)]
pub struct JournalOptions {
    pub identity: Identity,
    /// Who writes, for those who look at the log later.
    pub node: String,
    /// `journalMaxWriteBatchSize`, bytes: more is not written at once, unless one submit is longer.
    pub batch_bytes_max: u32,
    pub sync: SyncPolicy,
    /// Who submits does not wait for a disk that takes this long.
    pub lead_below: Duration,
    /// How long to wait for space before looking again.
    pub space_retry: Duration,
    pub space: SpaceWatch,
    /// Asked before every batch.
    pub fence: Fence,
}

/// Hears from the file keeper's thread whether the disk is full; must not block.
#[derive(Clone, Default)]
pub struct SpaceWatch(Option<Arc<dyn Fn(bool) + Send + Sync>>);

impl SpaceWatch {
    pub fn new(tell: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, is_short: bool) {
        if let Some(tell) = &self.0 {
            tell(is_short);
        }
    }
}

impl fmt::Debug for SpaceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpaceWatch")
    }
}

/// The journal, open for writing. Closes when dropped, see [`Journal::close`].
pub struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// Locked before `queue`.
    writer: Mutex<Writer>,
    /// Whether who submits may write.
    may_lead: AtomicBool,
    /// The thread was not told of something that waits.
    awaits_lead: AtomicBool,
    queue: Mutex<Queue>,
    changed: Condvar,
    queued_bytes: AtomicU64,
    /// There is no space for another file.
    is_short: Arc<AtomicBool>,
    written: AtomicU64,
    durable: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of those call for a write.
    calling: usize,
    /// The thread was told of them.
    is_told: bool,
    /// The thread looks for those that do not call, which have to wait for [`PATIENCE`] at most.
    is_looking: bool,
    /// When the first of `waiting` came.
    since: Option<Instant>,
    /// When something came last that somebody waits for.
    awaited: Option<Instant>,
    is_closing: bool,
    stopped: Option<Arc<JournalError>>,
}

impl Queue {
    /// Whether it is to be written now.
    fn push(&mut self, waiting: Waiting) -> bool {
        let now = Instant::now();
        if waiting.is_awaited() {
            self.awaited = Some(now);
        }
        let is_quiet = self.awaited.is_none_or(|awaited| now - awaited > COMPANY);
        let calls = is_quiet || waiting.calls();
        if self.waiting.is_empty() {
            self.since = Some(now);
        }
        self.waiting.push_back(waiting);
        self.calling += usize::from(calls);
        calls
    }
}

/// Who sees to it that a submit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::kahadb) enum Lead {
    /// The thread.
    Thread,
    /// Who submits, if that is better: see [`Journal::awaits_lead`].
    Own,
}

impl Journal {
    /// Starts to write behind `end`, where a scan of `files` ended, and marks the beginning of the
    /// epoch there, synced.
    pub fn open(
        files: Arc<Files>,
        end: Mark,
        options: JournalOptions,
        follower: Follower,
    ) -> Result<Self, JournalError> {
        let JournalOptions { identity, node, batch_bytes_max, sync, lead_below, .. } = options;
        let JournalOptions { space_retry, space, fence, .. } = options;
        let keeper = Keeper::start(files.clone(), fence.clone(), space_retry, space)?;
        let is_short = keeper.is_short();
        let appender = Appender::open(files.clone(), Box::new(keeper), identity, end)?;
        let epoch = appender.epoch();
        let (written, durable) = (appender.at().0, appender.durable().0);
        let writer = Writer {
            committer: Committer::new(appender, batch_bytes_max.into(), sync),
            waiting: VecDeque::new(),
            taken: Vec::new(),
            pace: Pace::new(sync, lead_below),
            fence,
            follower,
        };
        let shared = Arc::new(Shared {
            writer: Mutex::new(writer),
            may_lead: AtomicBool::new(false),
            awaits_lead: AtomicBool::new(false),
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            queued_bytes: AtomicU64::new(0),
            is_short,
            written: AtomicU64::new(written),
            durable: AtomicU64::new(durable),
        });
        let writing = shared.clone();
        let period = if let SyncPolicy::Periodic(period) = sync { Some(period) } else { None };
        let thread = std::thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || writing.run(period))
            .map_err(JournalError::io("start a thread for", files.folder()))?;
        let journal = Self { shared, thread: Mutex::new(Some(thread)) };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let start = Record::EpochStart { epoch, node, version };
        journal.submit_and_wait(vec![start.into()], Wish::Synced).map_err(JournalError::Stopped)?;
        Ok(journal)
    }

    /// Queues `submit`; never waits. Submits take effect and are answered in this order.
    pub fn submit(&self, submit: Submit) {
        if let Err(refused) = self.offer(submit, Lead::Thread) {
            refused.tell();
        }
    }

    /// The same, for who holds a lock that whoever waits for the outcome may want.
    ///
    /// # Errors
    /// Nothing was queued, and nobody was told.
    pub(in crate::store::kahadb) fn offer(
        &self,
        submit: Submit,
        lead: Lead,
    ) -> Result<(), Refused> {
        let (done, error) = match Waiting::new(submit) {
            Err((done, error)) => (done, Arc::new(error)),
            Ok(waiting) => {
                let mut queue = self.shared.queue.lock();
                let error = match &queue.stopped {
                    Some(error) => error.clone(),
                    None if queue.is_closing => Arc::new(JournalError::Closed),
                    None => {
                        self.shared.queued_bytes.fetch_add(waiting.bytes_max, Ordering::Relaxed);
                        let calls = queue.push(waiting);
                        if calls
                            && lead == Lead::Own
                            && self.shared.may_lead.load(Ordering::Relaxed)
                        {
                            self.shared.awaits_lead.store(true, Ordering::Release);
                        } else if calls || queue.calling == 0 {
                            self.shared.tell(queue);
                        }
                        return Ok(());
                    }
                };
                (waiting.into_done(), error)
            }
        };
        Err(Refused { done, error })
    }

    /// Whether something is queued that nobody writes before [`Self::lead`] is called.
    pub(in crate::store::kahadb) fn awaits_lead(&self) -> bool {
        self.shared.awaits_lead.load(Ordering::Acquire)
    }

    /// Writes and syncs what is queued in the calling thread, unless somebody else does or the
    /// journal cannot do it at once: then the thread is told. Blocks as long as a sync takes on a
    /// disk that has been fast; calls whoever waits.
    pub(in crate::store::kahadb) fn lead(&self) {
        // Who was answered a moment ago may find the one who did it still there.
        if let Some(mut writer) = self.shared.writer.try_lock_for(LEAVING) {
            writer.take(&self.shared);
            if writer.committer.has_room_for(&writer.waiting) {
                writer.commit_all(&self.shared);
            } else {
                writer.give_back(&self.shared);
            }
        }
        self.shared.tell(self.shared.queue.lock());
    }

    /// Queues a submit and waits for its outcome. Not for async tasks.
    pub fn submit_and_wait(
        &self,
        operations: Vec<Operation>,
        wish: Wish,
    ) -> Result<Lsn, Arc<JournalError>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let done: Done = Box::new(move |outcome| drop(sender.send(outcome)));
        self.submit(Submit { operations, wish, done });
        receiver.recv().unwrap_or_else(|_| Err(Arc::new(JournalError::Closed)))
    }

    /// Goes on in a new file. Without space for one it stays where it is.
    ///
    /// # Errors
    /// When the disk fails; nothing may be written then any more.
    pub fn begin_file(&self) -> Result<(), JournalError> {
        let mut writer = self.shared.writer.lock();
        let appender = &mut writer.committer.appender;
        match appender.roll_over(0) {
            Ok(()) | Err(JournalError::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        self.shared.publish(appender);
        Ok(())
    }

    /// Bytes queued and not yet written, at most. Nothing here limits them: who produces takes
    /// credit for them before.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    /// Whether messages will be refused soon, for want of space.
    pub fn is_short(&self) -> bool {
        self.shared.is_short.load(Ordering::Relaxed)
    }

    /// Everything before it was written.
    pub fn written(&self) -> Lsn {
        Lsn(self.shared.written.load(Ordering::Acquire))
    }

    /// Everything before it is on the disk.
    pub fn durable(&self) -> Lsn {
        Lsn(self.shared.durable.load(Ordering::Acquire))
    }

    /// Why the journal takes nothing any more; none while it does.
    pub fn failure(&self) -> Option<Arc<JournalError>> {
        self.shared.queue.lock().stopped.clone()
    }

    /// Writes what is queued, syncs all and ends the threads. Later submits are refused.
    pub fn close(&self) -> Result<(), Arc<JournalError>> {
        self.end();
        self.failure().map_or(Ok(()), Err)
    }

    fn end(&self) {
        self.shared.queue.lock().is_closing = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.shared.fail(Arc::new(JournalError::Panicked));
        }
        // Whoever has the folder from now on makes its files.
        self.shared.writer.lock().committer.appender.end_supply();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn publish(&self, appender: &Appender) {
        self.written.store(appender.at().0, Ordering::Release);
        self.durable.store(appender.durable().0, Ordering::Release);
    }

    /// Sees to it that the thread writes what waits: now, or soon if nothing calls.
    fn tell(&self, mut queue: MutexGuard<'_, Queue>) {
        let was_told = match (queue.calling, queue.waiting.len()) {
            (0, 0) => true,
            (0, _) => std::mem::replace(&mut queue.is_looking, true),
            _ => std::mem::replace(&mut queue.is_told, true),
        };
        if !was_told {
            self.awaits_lead.store(false, Ordering::Release);
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// The thread.
    fn run(&self, period: Option<Duration>) {
        let mut sync_at: Option<Instant> = None;
        loop {
            let more = self.wait(sync_at);
            let mut writer = self.writer.lock();
            if self.queue.lock().stopped.is_some() {
                return;
            }
            if !more || sync_at.is_some_and(|at| at <= Instant::now()) {
                writer.guard(self, Writer::sync);
            }
            if !more {
                return;
            }
            writer.take(self);
            writer.commit_all(self);
            let has_unsynced = writer.committer.appender.has_unsynced();
            sync_at = match period {
                Some(period) if has_unsynced => sync_at
                    .filter(|at| *at > Instant::now())
                    .or_else(|| Some(Instant::now() + period)),
                _ => None,
            };
        }
    }

    /// Waits for work or until `sync_at`. False: there will be none.
    fn wait(&self, sync_at: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        queue.is_looking = true;
        let mut look_at = None;
        while !queue.is_told && queue.stopped.is_none() && !queue.is_closing {
            if queue.is_looking && look_at.is_none() {
                look_at = Some(Instant::now() + PATIENCE);
            }
            let Some(until) = look_at.into_iter().chain(sync_at).min() else {
                self.changed.wait(&mut queue);
                continue;
            };
            if self.changed.wait_until(&mut queue, until).timed_out() {
                // What waits now may have come after others that have gone.
                look_at = queue.since.map(|since| since + PATIENCE);
                if sync_at == Some(until) || look_at.is_some_and(|at| at <= Instant::now()) {
                    break;
                }
                queue.is_looking = look_at.is_some();
            }
        }
        !(queue.is_closing && queue.waiting.is_empty() && queue.stopped.is_none())
    }

    /// From now on nothing is accepted. Returns who was waiting.
    fn fail(&self, error: Arc<JournalError>) -> VecDeque<Waiting> {
        let mut queue = self.queue.lock();
        queue.stopped.get_or_insert(error);
        self.changed.notify_one();
        std::mem::take(&mut queue.waiting)
    }
}

/// What writes. One at a time.
struct Writer {
    committer: Committer,
    /// Taken from the queue.
    waiting: VecDeque<Waiting>,
    /// Who waits for what is being written.
    taken: Vec<Done>,
    pace: Pace,
    fence: Fence,
    follower: Follower,
}

impl Writer {
    fn take(&mut self, shared: &Shared) {
        let mut queue = shared.queue.lock();
        std::mem::swap(&mut queue.waiting, &mut self.waiting);
        (queue.calling, queue.is_told, queue.since) = (0, false, None);
        shared.awaits_lead.store(false, Ordering::Release);
    }

    /// What was taken waits again, before all that came meanwhile.
    fn give_back(&mut self, shared: &Shared) {
        let mut queue = shared.queue.lock();
        queue.calling += self.waiting.iter().filter(|waiting| waiting.calls()).count();
        // The thread looks for what does not call by how long it has waited.
        queue.since.get_or_insert_with(Instant::now);
        self.waiting.append(&mut queue.waiting);
        std::mem::swap(&mut queue.waiting, &mut self.waiting);
    }

    /// Writes all that was taken.
    fn commit_all(&mut self, shared: &Shared) {
        while !self.waiting.is_empty() {
            self.guard(shared, Self::commit);
        }
    }

    /// Whatever happens in `work`, nobody is left waiting: when it fails everybody is told, and it is
    /// the last one.
    fn guard(
        &mut self,
        shared: &Shared,
        work: impl FnOnce(&mut Self, &Shared) -> Result<(), JournalError>,
    ) {
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self, shared)));
        let Err(error) = outcome.unwrap_or(Err(JournalError::Panicked)) else { return };
        tracing::error!(error = &error as &dyn std::error::Error, "the journal stops for good");
        let stopped = Arc::new(JournalError::Stopped(Arc::new(error)));
        let queued = shared.fail(stopped.clone());
        self.taken.drain(..).for_each(|done| done(Err(stopped.clone())));
        let rest = self.waiting.drain(..).chain(queued);
        rest.for_each(|waiting| waiting.into_done()(Err(stopped.clone())));
    }

    fn sync(&mut self, shared: &Shared) -> Result<(), JournalError> {
        self.committer.appender.sync()?;
        shared.publish(&self.committer.appender);
        Ok(())
    }

    fn commit(&mut self, shared: &Shared) -> Result<(), JournalError> {
        self.fence.check()?;
        let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        let begin = Instant::now();
        let step = self.committer.step(&mut self.waiting, now_ms, &mut self.taken)?;
        let calling = step.calling + self.waiting.len() + shared.queue.lock().calling;
        if calling > 0 {
            let is_alone = calling == 1 && self.taken.len() <= 2;
            self.pace.note(is_alone, begin.elapsed());
        }
        shared.may_lead.store(self.pace.may_lead(), Ordering::Relaxed);
        shared.queued_bytes.fetch_sub(step.bytes_max, Ordering::Relaxed);
        shared.publish(&self.committer.appender);
        if let Some(batch) = step.batch {
            (self.follower)(batch);
        }
        let end = self.committer.end();
        self.taken.drain(..).for_each(|done| done(Ok(end)));
        if let Some((done, error)) = step.refused {
            done(Err(Arc::new(error)));
        }
        self.committer.appender.committed();
        Ok(())
    }
}

/// When nothing came for so long that somebody waits for, everything is written at once.
const COMPANY: Duration = Duration::from_millis(2);
/// How long what does not call waits for what does. Longer than a sync, so that acknowledgements go
/// with the messages of a producer that waits for each, and hardly more than it takes to kill a
/// process.
const PATIENCE: Duration = Duration::from_micros(500);
/// How long it takes to leave the writer after everybody was told.
const LEAVING: Duration = Duration::from_micros(50);
