//! The thread that does all work on the files of a spool.

use super::chain::{Chain, Reader, Window};
use super::record::Seal;
use super::segments::Segments;
use super::{AppendDone, SpoolEvents, TakeDone};
use crate::store::{MessageForm, PageLimit, StoreError};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

/// What the thread is asked for.
pub(super) enum Job {
    /// `records`: their number and bytes, or why there are none.
    Append {
        channel: u64,
        records: Result<(u64, Bytes), StoreError>,
        done: AppendDone,
    },
    Take {
        channel: u64,
        seal: Seal,
        limit: PageLimit,
        done: TakeDone,
    },
    Clear {
        channel: u64,
    },
    Close {
        done: Sender<()>,
    },
}

impl Job {
    /// Answers what is not done any more.
    pub(super) fn refuse(self) {
        let stopped = || StoreError::Stopped("the temp store is closed".into());
        match self {
            Self::Append { done, .. } => done(Err(stopped())),
            Self::Take { done, .. } => done(Err(stopped())),
            Self::Clear { .. } | Self::Close { .. } => {}
        }
    }
}

/// What others may know.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) bytes_used: AtomicU64,
    pub(super) messages_lost: AtomicU64,
}

/// All the thread knows.
pub(super) struct Worker {
    segments: Segments,
    segment_bytes: u64,
    form: MessageForm,
    events: Arc<dyn SpoolEvents>,
    figures: Arc<Figures>,
    /// Those that have anything.
    chains: HashMap<u64, Chain>,
    window: Window,
    bytes_used: u64,
    /// The last append found no room.
    is_short: bool,
}

impl Worker {
    pub(super) fn new(
        segments: Segments,
        segment_bytes: u64,
        form: MessageForm,
        events: Arc<dyn SpoolEvents>,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            segments,
            segment_bytes,
            form,
            events,
            figures,
            chains: HashMap::new(),
            window: Window::default(),
            bytes_used: 0,
            is_short: false,
        }
    }

    /// Works until it is closed, then refuses until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let work = AssertUnwindSafe(|| self.work(jobs));
        let closed = catch_unwind(work).unwrap_or_else(|_| {
            tracing::error!("a bug ended the thread of the temp store");
            None
        });
        drop(self);
        drop(closed);
        jobs.iter().for_each(Job::refuse);
    }

    /// Returns who waits for the end.
    fn work(&mut self, jobs: &Receiver<Job>) -> Option<Sender<()>> {
        let closed = jobs.iter().find_map(|job| self.job(job));
        for (_, mut chain) in self.chains.drain() {
            chain.clear(&mut self.segments);
        }
        self.use_bytes(0);
        closed
    }

    fn job(&mut self, job: Job) -> Option<Sender<()>> {
        match job {
            Job::Append { channel, records, done } => {
                done(records.and_then(|(records, bytes)| self.append(channel, records, &bytes)));
            }
            Job::Take { channel, seal, limit, done } => {
                let taken = self.take(channel, seal, limit);
                done(taken);
            }
            Job::Clear { channel } => {
                if let Some(mut chain) = self.chains.remove(&channel) {
                    let freed = chain.clear(&mut self.segments);
                    self.use_bytes(self.bytes_used - freed);
                }
            }
            Job::Close { done } => return Some(done),
        }
        None
    }

    fn append(&mut self, channel: u64, records: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if records == 0 {
            return Ok(());
        }
        let chain = self.chains.entry(channel).or_default();
        let outcome = chain.append(&mut self.segments, bytes, records, self.segment_bytes);
        if chain.is_empty() {
            self.chains.remove(&channel);
        }
        let is_short = outcome.is_err();
        let folder = self.segments.folder().display();
        match &outcome {
            Err(e) if !self.is_short => {
                tracing::error!(%folder, error = %e, "cannot write to the temp store");
            }
            Ok(()) if self.is_short => tracing::info!(%folder, "the temp store is written again"),
            _ => {}
        }
        self.is_short = is_short;
        outcome
            .map_err(|e| StoreError::NoSpace(format!("cannot write to {folder}: {e}").into()))?;
        self.use_bytes(self.bytes_used + bytes.len() as u64);
        Ok(())
    }

    fn take(
        &mut self,
        channel: u64,
        seal: Seal,
        limit: PageLimit,
    ) -> Result<Vec<super::Spooled>, StoreError> {
        let Some(chain) = self.chains.get_mut(&channel) else { return Ok(Vec::new()) };
        let mut reader = Reader { form: self.form, seal, limit, window: &mut self.window };
        let taken = chain.take(&mut self.segments, &mut reader);
        if chain.is_empty() {
            self.chains.remove(&channel);
        }
        let taken = taken.map_err(|e| self.unreadable(&e))?;
        if taken.lost > 0 {
            self.note_lost(taken.lost);
        }
        self.use_bytes(self.bytes_used - taken.freed);
        Ok(taken.messages)
    }

    fn unreadable(&self, error: &io::Error) -> StoreError {
        let folder = self.segments.folder().display();
        StoreError::Stopped(format!("cannot read in {folder}: {error}").into())
    }

    fn note_lost(&self, messages: u64) {
        if self.figures.messages_lost.fetch_add(messages, Ordering::Relaxed) == 0 {
            let folder = self.segments.folder().display();
            tracing::error!(%folder, messages, "messages in the temp store cannot be read back");
        }
    }

    fn use_bytes(&mut self, bytes: u64) {
        if self.bytes_used != bytes {
            self.bytes_used = bytes;
            self.figures.bytes_used.store(bytes, Ordering::Relaxed);
            self.events.bytes_used(bytes);
        }
    }
}
