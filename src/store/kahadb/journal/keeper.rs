//! The file keeper: a thread that has the next journal file ready before it is needed.
//!
//! All of a new file is written once, as much again as will be appended to it. What is committed at
//! the same time takes twice as long. So the next file grows with the one that is written, a piece
//! after a commit: then the disk has nothing to do until the next one.

use super::appender::Supply;
use super::error::JournalError;
use super::files::{Files, Prepared};
use super::writer::SpaceWatch;
use crate::store::kahadb::fence::Fence;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Ends its thread when dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    files: Arc<Files>,
    fence: Fence,
    state: Mutex<State>,
    /// As in the state, for those who only look.
    is_short: Arc<AtomicBool>,
    changed: Condvar,
    /// How much of the file that is written is used, in [`PARTS`].
    used: AtomicU64,
    /// How much has to be for the next piece of the new file.
    awaited: AtomicU64,
    watch: SpaceWatch,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<u32>,
    ready: Option<Prepared>,
    failed: Option<JournalError>,
    /// Somebody waits for `wanted`.
    is_urgent: bool,
    /// The last attempt found no space; there will be another.
    is_short: bool,
    is_closing: bool,
}

impl Keeper {
    /// `retry` is how long to wait for space before looking again; `watch` is told when there is
    /// none, and when there is again.
    pub(super) fn start(
        files: Arc<Files>,
        fence: Fence,
        retry: Duration,
        watch: SpaceWatch,
    ) -> Result<Self, JournalError> {
        let folder = files.folder().to_owned();
        let shared = Arc::new(Shared {
            files,
            fence,
            state: Mutex::default(),
            is_short: Arc::default(),
            changed: Condvar::new(),
            used: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            watch,
        });
        let work = shared.clone();
        let thread = std::thread::Builder::new()
            .name("journal-files".into())
            .spawn(move || work.run(retry))
            .map_err(JournalError::io("start a thread for", &folder))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether there is no space for another file now.
    pub(super) fn is_short(&self) -> Arc<AtomicBool> {
        self.shared.is_short.clone()
    }
}

impl Supply for Keeper {
    fn take(&mut self, number: u32) -> Result<Prepared, JournalError> {
        let mut state = self.shared.ready(number)?;
        let Some(file) = state.ready.take() else { return Err(JournalError::Closed) };
        state.wanted = Some(number + 1);
        self.shared.changed.notify_all();
        Ok(file)
    }

    fn wait_for(&mut self, number: u32) -> Result<(), JournalError> {
        self.shared.ready(number).map(drop)
    }

    fn has(&self, number: u32) -> bool {
        self.shared.state.lock().has(number)
    }

    fn committed(&self, at: u64, length: u64) {
        let shared = &self.shared;
        let used = at * PARTS / length.max(1);
        shared.used.store(used, Ordering::Relaxed);
        if used >= shared.awaited.load(Ordering::Relaxed) {
            shared.awaited.store(u64::MAX, Ordering::Relaxed); // to be told once is enough
            drop(shared.state.lock()); // it sleeps now, or will look
            shared.changed.notify_all();
        }
    }

    fn end(&mut self) {
        self.shared.state.lock().is_closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // it panicked or not, there is nobody to tell
        }
    }
}

impl State {
    fn has(&self, number: u32) -> bool {
        self.ready.as_ref().is_some_and(|file| file.number == number)
    }
}

impl Shared {
    /// Waits until the file of this number is ready or cannot be made; while there is no space,
    /// it does not wait for any.
    fn ready(&self, number: u32) -> Result<MutexGuard<'_, State>, JournalError> {
        let mut state = self.state.lock();
        while !state.has(number) {
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            if state.is_closing {
                return Err(JournalError::Closed);
            }
            (state.wanted, state.is_urgent) = (Some(number), true);
            if state.is_short {
                return Err(JournalError::NoSpace { folder: self.files.folder().to_owned() });
            }
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
        Ok(state)
    }

    fn run(&self, retry: Duration) {
        let mut state = self.state.lock();
        while !state.is_closing {
            let Some(number) = state.wanted else {
                self.changed.wait(&mut state);
                continue;
            };
            if state.is_short && !self.changed.wait_for(&mut state, retry).timed_out() {
                continue; // closing, perhaps
            }
            let outcome = MutexGuard::unlocked(&mut state, || {
                // A file of this number may be another broker's by now.
                let turn = |offset, length| {
                    self.wait_for_turn(offset, length);
                    self.fence.check()
                };
                self.fence.check().and_then(|()| self.files.prepare(number, turn))
            });
            state.is_urgent = false;
            let is_short = matches!(&outcome, Err(error) if error.is_full());
            if is_short != state.is_short {
                self.tell(is_short);
            }
            state.is_short = is_short;
            self.is_short.store(is_short, Ordering::Relaxed);
            match outcome {
                Ok(file) => state.ready = Some(file),
                Err(_) if is_short => {}
                Err(error) => state.failed = Some(error),
            }
            if !is_short {
                state.wanted = state.wanted.filter(|wanted| *wanted != number);
            }
            self.changed.notify_all();
        }
    }

    /// Waits until the piece of the new file at `offset`, of `length`, may be written. A commit that it misses is
    /// made up for by the next one, or by [`QUIET`].
    fn wait_for_turn(&self, offset: u64, length: u64) {
        let wanted = used_before(offset, length);
        let mut state = self.state.lock();
        while !state.is_urgent && !state.is_closing {
            self.awaited.store(wanted, Ordering::Relaxed);
            let used = self.used.load(Ordering::Relaxed);
            if used >= wanted {
                break;
            }
            let is_told = !self.changed.wait_for(&mut state, QUIET).timed_out();
            if !is_told && self.used.load(Ordering::Relaxed) == used {
                break; // nobody is at work
            }
        }
        self.awaited.store(u64::MAX, Ordering::Relaxed);
    }

    fn tell(&self, is_short: bool) {
        self.watch.tell(is_short);
        let folder = self.files.folder().display();
        if is_short {
            tracing::error!(%folder, "no space for the journal; messages are refused");
        } else {
            tracing::info!(%folder, "space for the journal again");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// How much of the present file is used, in [`PARTS`], before the next one is written at `offset`, of `length`:
/// that one is ready long before the last part, in which there is no room for messages without it.
fn used_before(offset: u64, length: u64) -> u64 {
    offset * (PARTS * 2 / 3) / length
}

/// So many that each commit can be seen.
const PARTS: u64 = 1 << 30;
/// Without a commit for so long, nobody minds the next piece.
const QUIET: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::files::FilesOptions;
    use super::super::writer::SyncPolicy;
    use super::*;
    use crate::store::kahadb::fs::Filesystem;
    use crate::store::kahadb::fs::simulated::SimulatedDisk;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::atomic::AtomicU32;

    /// It may be gone for a while between two pieces, and the next master be at work.
    #[test]
    fn a_master_that_lost_its_lock_gives_no_file_its_name() {
        let disk = SimulatedDisk::new(1);
        let options = FilesOptions {
            folder: "store".into(),
            file_bytes: 4 << 20,
            archive: "archive".into(),
            sync: SyncPolicy::Always,
        };
        let files = Arc::new(Files::open(Arc::new(disk.clone()), options).unwrap());
        let asked = AtomicU32::new(0);
        let fence = Fence::new(move || match asked.fetch_add(1, Ordering::Relaxed) {
            0..3 => Ok(()),
            _ => Err("the lock is gone".into()),
        });
        let (retry, watch) = (Duration::from_secs(1), SpaceWatch::default());
        let mut keeper = Keeper::start(files, fence, retry, watch).unwrap();
        assert!(matches!(keeper.take(2), Err(JournalError::Fenced(_))));
        let entries = disk.list(Path::new("store")).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert!(names.contains(&"db-2.tmp") && !names.contains(&"db-2.log"), "{names:?}");
    }

    proptest! {
        #[test]
        fn the_next_file_is_begun_at_once_and_whole_before_the_last_quarter(
            length in 1..=u64::from(u32::MAX), offset in any::<prop::sample::Index>(),
        ) {
            let offset = offset.index(length as usize) as u64;
            prop_assert_eq!(used_before(0, length), 0);
            prop_assert!(used_before(offset, length) <= used_before(length - 1, length));
            prop_assert!(used_before(length, length) < PARTS / 4 * 3);
        }
    }
}
