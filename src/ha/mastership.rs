//! The thread that gets a lock and watches it, and what others see of it.

use super::{Attempt, HeldLock, LockError, Locker};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How a lock is waited for and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterOptions {
    /// How long to wait between two tries; at least 10 ms.
    pub retry: Duration,
    /// Do not wait at all.
    pub fail_if_locked: bool,
    /// How often to look whether the lock is still held; at least 10 ms.
    pub keep_alive: Duration,
}

/// Shorter times would only burn the processor.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Waits until the lock of `locker` is had. Dropping the future ends the wait. `on_wait` is called once if
/// another one has the lock, when this broker begins to wait.
///
/// # Errors
/// When it cannot be told who has the lock, or another has it and `fail_if_locked` is set. Once it waits, an
/// error is logged and the wait goes on.
pub async fn become_master(
    locker: Box<dyn Locker>,
    options: MasterOptions,
    on_wait: impl FnOnce(),
) -> Result<Mastership, LockError> {
    let options = MasterOptions {
        retry: options.retry.max(PAUSE_MIN),
        keep_alive: options.keep_alive.max(PAUSE_MIN),
        ..options
    };
    // At most two events come: a wait and its end.
    let (events, mut coming) = mpsc::unbounded_channel();
    let (_wanted, unwanted) = channel();
    let candidate = Candidate { locker, options, unwanted, events };
    let thread = thread::Builder::new().name("store-lock".to_owned());
    thread.spawn(move || candidate.run()).map_err(LockError::Thread)?;
    let mut on_wait = Some(on_wait);
    loop {
        match coming.recv().await {
            Some(Event::Waiting) => {
                if let Some(on_wait) = on_wait.take() {
                    on_wait();
                }
            }
            Some(Event::Ended(outcome)) => return outcome,
            // The thread has panicked.
            None => return Err(LockError::Thread(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

enum Event {
    Waiting,
    Ended(Result<Mastership, LockError>),
}

/// The thread's part of [`become_master`].
struct Candidate {
    locker: Box<dyn Locker>,
    options: MasterOptions,
    /// Nothing comes through it; it closes when nobody waits for the lock any more.
    unwanted: Receiver<Infallible>,
    events: mpsc::UnboundedSender<Event>,
}

impl Candidate {
    fn run(mut self) {
        let Some(outcome) = self.acquire() else { return };
        let (held, given_up) = channel();
        let outcome = outcome.map(|lock| Mastership::new(lock, &*self.locker, self.options, held));
        let watched = outcome.as_ref().ok().map(|master| Arc::downgrade(&master.0));
        // If nobody takes it, the lock goes back with it.
        drop(self.events.send(Event::Ended(outcome)));
        if let Some(watched) = watched {
            watch(&watched, self.options.keep_alive, &given_up);
        }
    }

    /// Tries until the lock is had; none when nobody wants it any more.
    fn acquire(&mut self) -> Option<Result<Box<dyn HeldLock>, LockError>> {
        let name = self.locker.name();
        let (mut waits, mut trouble) = (false, String::new());
        loop {
            match self.locker.try_lock() {
                Ok(Attempt::Acquired { lock, settle }) => {
                    if settle && !self.pause(self.options.keep_alive) {
                        return None;
                    }
                    match lock.check() {
                        Ok(()) => {
                            if waits {
                                let generation = lock.generation();
                                tracing::info!(
                                    generation,
                                    "{name} is no longer locked. This broker is now the master"
                                );
                            }
                            return Some(Ok(lock));
                        }
                        Err(error) => complain(&error, &mut trouble, &name),
                    }
                }
                Ok(Attempt::Locked) if self.options.fail_if_locked => {
                    return Some(Err(LockError::Held { name }));
                }
                Ok(Attempt::Locked) => {
                    trouble.clear();
                    if !waits {
                        waits = true;
                        tracing::info!(
                            "{name} is locked by another server. This broker is now in slave mode \
                             waiting a lock to be acquired"
                        );
                        drop(self.events.send(Event::Waiting));
                    }
                }
                Err(error) if waits => complain(&error, &mut trouble, &name),
                Err(error) => return Some(Err(error)),
            }
            if !self.pause(self.options.retry) {
                return None;
            }
        }
    }

    /// False if nobody wants the lock any more.
    fn pause(&self, time: Duration) -> bool {
        self.unwanted.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }
}

/// Logs what a slave cannot do, once while it stays the same.
fn complain(error: &LockError, trouble: &mut String, name: &str) {
    let text = with_causes(error);
    if *trouble != text {
        tracing::warn!("{name}: cannot try to become the master, and goes on waiting: {text}");
        *trouble = text;
    }
}

/// Looks after the lock as long as somebody has it.
fn watch(watched: &Weak<Shared>, period: Duration, given_up: &Receiver<Infallible>) {
    while given_up.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = watched.upgrade() else { return };
        if Mastership(shared).look().is_err() {
            return;
        }
    }
}

/// The right to open a store and to confirm what clients give it.
#[derive(Clone)]
pub struct Mastership(Arc<Shared>);

struct Shared {
    name: String,
    lock: Box<dyn HeldLock>,
    keep_alive: Duration,
    since: Instant,
    /// When the lock was last found to be held, ms after `since`.
    seen_ms: AtomicU64,
    lost: watch::Sender<Option<Arc<LockError>>>,
    /// Closes when the last clone is dropped, which ends the thread.
    _held: Sender<Infallible>,
}

impl Mastership {
    fn new(
        lock: Box<dyn HeldLock>,
        locker: &dyn Locker,
        options: MasterOptions,
        held: Sender<Infallible>,
    ) -> Self {
        Self(Arc::new(Shared {
            name: locker.name(),
            lock,
            keep_alive: options.keep_alive,
            since: Instant::now(),
            seen_ms: AtomicU64::new(0),
            lost: watch::Sender::new(None),
            _held: held,
        }))
    }

    /// That of the lock: higher than that of every holder before.
    pub fn generation(&self) -> u64 {
        self.0.lock.generation()
    }

    /// Whether this is still the master. Cheap while the last look is younger than the keep-alive period;
    /// else it looks itself, which may block: a process that was stopped for a while must not write first
    /// and look later.
    ///
    /// # Errors
    /// When the lock is lost, now or before.
    pub fn check(&self) -> Result<(), Arc<LockError>> {
        if let Some(error) = &*self.0.lost.borrow() {
            return Err(Arc::clone(error));
        }
        let seen = Duration::from_millis(self.0.seen_ms.load(Ordering::Acquire));
        if self.0.since.elapsed().saturating_sub(seen) < self.0.keep_alive {
            return Ok(());
        }
        self.look()
    }

    /// [`Mastership::check`] for those who must not keep the lock: when the last `Mastership` is dropped it
    /// is given up, which is as good as lost.
    pub fn asker(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.0);
        move || match shared.upgrade() {
            Some(shared) => Self(shared).check().map_err(|error| with_causes(&*error)),
            None => Err("the lock was given up".to_owned()),
        }
    }

    /// Resolves when the lock is lost.
    pub async fn lost(&self) -> Arc<LockError> {
        let mut lost = self.0.lost.subscribe();
        loop {
            if let Some(error) = &*lost.borrow_and_update() {
                return Arc::clone(error);
            }
            if lost.changed().await.is_err() {
                // Not while `self` holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    fn look(&self) -> Result<(), Arc<LockError>> {
        let now = self.0.since.elapsed();
        match self.0.lock.check() {
            Ok(()) => {
                let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                self.0.seen_ms.fetch_max(now, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                let first = self.0.lost.send_if_modified(|lost| {
                    let first = lost.is_none();
                    lost.get_or_insert_with(|| Arc::clone(&error));
                    first
                });
                if first {
                    let (name, reason) = (&self.0.name, with_causes(&*error));
                    tracing::error!(
                        "{name}: the lock is lost, this broker is no longer the master: {reason}"
                    );
                }
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Mastership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mastership")
            .field("name", &self.0.name)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicUsize;

    /// Says what it was told to say; the last answer stays.
    #[derive(Debug, Clone, Default)]
    struct Script {
        tries: Arc<Mutex<VecDeque<Try>>>,
        lost: Arc<Mutex<bool>>,
        checks: Arc<AtomicUsize>,
        held: Arc<AtomicUsize>,
    }

    #[derive(Clone, Copy, Debug)]
    enum Try {
        Locked,
        Broken,
        Acquired { settle: bool },
    }

    impl Script {
        fn new(tries: &[Try]) -> Self {
            let script = Self::default();
            script.tries.lock().extend(tries);
            script
        }

        fn error() -> LockError {
            LockError::Taken { path: PathBuf::from("lock") }
        }
    }

    impl Locker for Script {
        fn name(&self) -> String {
            "Script".to_owned()
        }

        fn try_lock(&mut self) -> Result<Attempt, LockError> {
            let mut tries = self.tries.lock();
            let next = if tries.len() > 1 { tries.pop_front() } else { tries.front().copied() };
            match next.unwrap() {
                Try::Locked => Ok(Attempt::Locked),
                Try::Broken => Err(Self::error()),
                Try::Acquired { settle } => {
                    self.held.fetch_add(1, Ordering::SeqCst);
                    Ok(Attempt::Acquired { lock: Box::new(Lock(self.clone())), settle })
                }
            }
        }
    }

    #[derive(Debug)]
    struct Lock(Script);

    impl HeldLock for Lock {
        fn generation(&self) -> u64 {
            7
        }

        fn check(&self) -> Result<(), LockError> {
            self.0.checks.fetch_add(1, Ordering::SeqCst);
            if *self.0.lost.lock() { Err(Script::error()) } else { Ok(()) }
        }
    }

    impl Drop for Lock {
        fn drop(&mut self) {
            self.0.held.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn options(keep_alive: Duration) -> MasterOptions {
        MasterOptions { retry: PAUSE_MIN, fail_if_locked: false, keep_alive }
    }

    const LONG: Duration = Duration::from_secs(3600);

    async fn master(
        script: &Script,
        options: MasterOptions,
    ) -> (Result<Mastership, LockError>, u32) {
        let mut waits = 0;
        let outcome = become_master(Box::new(script.clone()), options, || waits += 1).await;
        (outcome, waits)
    }

    #[tokio::test]
    async fn a_free_lock_is_had_at_once_and_goes_back_with_the_last_clone() {
        let script = Script::new(&[Try::Acquired { settle: false }]);
        let (outcome, waits) = master(&script, options(LONG)).await;
        let own = outcome.unwrap();
        assert_eq!((waits, own.generation()), (0, 7));
        let clone = own.clone();
        drop(own);
        clone.check().unwrap();
        assert_eq!(script.held.load(Ordering::SeqCst), 1);
        drop(clone);
        assert_eq!(script.held.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_slave_says_so_once_and_waits_through_trouble() {
        let tries = [Try::Locked, Try::Locked, Try::Broken, Try::Broken, Try::Locked];
        let script = Script::new(&tries);
        script.tries.lock().push_back(Try::Acquired { settle: true });
        let (outcome, waits) = master(&script, options(PAUSE_MIN)).await;
        outcome.unwrap().check().unwrap();
        assert_eq!(waits, 1);
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_tried_or_must_not_be_waited_for_is_an_error() {
        let (outcome, waits) = master(&Script::new(&[Try::Broken]), options(LONG)).await;
        assert!(matches!(outcome, Err(LockError::Taken { .. })));
        let fail = MasterOptions { fail_if_locked: true, ..options(LONG) };
        let (outcome, also) = master(&Script::new(&[Try::Locked]), fail).await;
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("Script is locked by another server"), "{text}");
        assert_eq!((waits, also), (0, 0));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_no_lock_behind() {
        let script = Script::new(&[Try::Locked]);
        let (begun, waiting) = tokio::sync::oneshot::channel();
        let wait = become_master(Box::new(script.clone()), options(LONG), || {
            begun.send(()).unwrap();
        });
        tokio::select! {
            _ = wait => panic!("nobody gives the lock"),
            waits = waiting => waits.unwrap(),
        }
        // The thread ends, and with it the only other owner of the script.
        while Arc::strong_count(&script.tries) > 1 {
            thread::yield_now();
        }
        assert_eq!(script.held.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_lost_lock_is_told_to_everybody_and_stays_lost() {
        let script = Script::new(&[Try::Acquired { settle: false }]);
        let own = master(&script, options(PAUSE_MIN)).await.0.unwrap();
        let other = own.clone();
        *script.lost.lock() = true;
        assert!(matches!(*own.lost().await, LockError::Taken { .. }));
        *script.lost.lock() = false;
        other.check().unwrap_err();
        other.lost().await;
    }

    #[tokio::test]
    async fn a_check_looks_itself_only_when_the_last_look_is_too_old() {
        let script = Script::new(&[Try::Acquired { settle: false }]);
        let own = master(&script, options(LONG)).await.0.unwrap();
        *script.lost.lock() = true;
        let checks = script.checks.load(Ordering::SeqCst);
        own.check().unwrap();
        assert_eq!(script.checks.load(Ordering::SeqCst), checks);
        own.look().unwrap_err();
        own.check().unwrap_err();
    }
}
