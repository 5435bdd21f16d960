//! The file keeper: a thread that has the next journal file ready before it is needed.

use super::appender::Supply;
use super::error::JournalError;
use super::files::{Files, Prepared};
use super::writer::SpaceWatch;
use crate::store::kahadb::fence::Fence;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    watch: SpaceWatch,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<u32>,
    ready: Option<Prepared>,
    failed: Option<JournalError>,
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
        let (state, is_short, changed) = (Mutex::default(), Arc::default(), Condvar::new());
        let shared = Arc::new(Shared { files, fence, state, is_short, changed, watch });
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
            state.wanted = Some(number);
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
                self.fence.check().and_then(|()| self.files.prepare(number))
            });
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
