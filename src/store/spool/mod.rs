//! The temp store (`tempUsage`, `tmp_storage`): non-persistent messages for which there is no memory.
//!
//! A destination appends to its [`Channel`] what it cannot keep in memory and takes it out again, oldest
//! first. Nothing is synced and nothing outlives the process: what a killed one left behind goes when
//! the next one starts.
//!
//! ```text
//! Channel::append --encodes--> job --.                 .--> 1.spool  3.spool       (one channel)
//! Channel::take ---------------> job --+--> one thread --+--> 2.spool               (another)
//! Channel::clear --------------> job --'                 '    appended at the end, read from the front
//! ```
//!
//! - [`record`]: one message in a file.
//! - [`segments`]: the files, of which only so many are open at a time.
//! - [`chain`]: the segments of one channel, in order.
//! - [`worker`]: the thread.
//!
//! A segment belongs to one channel. Ten thousand channels are ten thousand small files, which file
//! systems do not mind, as long as they are not all open. In return every channel is read front to back
//! in large pieces, and a channel that nobody reads pins the disk space of no other; segments shared by
//! all would need an index in memory or links patched on disk, and would free nothing before their
//! slowest reader.
//!
//! Invariants:
//! - Jobs are done in the order of the calls, so a take sees every append made before.
//! - Queued jobs have a bound: whoever appends has taken memory for the messages, and gives it back when
//!   the append is answered.
//! - Memory per channel: one entry per segment, whatever the number of messages.
//! - Nothing read is believed before its checksum, and no length before it was compared with what was
//!   written.
//!
//! The folder belongs to one broker: hold the lock of its store before [`Spool::open`].

mod chain;
mod record;
mod segments;
#[cfg(test)]
mod tests;
mod worker;

use super::fs::Filesystem;
use super::{MessageForm, PageLimit, StoreError};
use crate::jms::Message;
use bytes::Bytes;
use record::Seal;
use segments::Segments;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use worker::{Figures, Job, Worker};

/// The temp store of a broker. Its thread ends with [`Self::close`] or the last reference to it.
pub struct Spool {
    jobs: Sender<Job>,
    form: MessageForm,
    /// Differs from run to run, see [`Seal`].
    salt: u64,
    last_channel: AtomicU64,
    figures: Arc<Figures>,
}

/// A message as it waits in a spool.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// The broker's; the spool keeps the order of the appends, whatever these are.
    pub sequence: i64,
    /// How often it was delivered in vain.
    pub redeliveries: i32,
    pub message: Arc<Message>,
}

/// Called once with the outcome of an append, by the spool's thread; must not block.
pub type AppendDone = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Called once with what was taken, by the spool's thread; must not block.
pub type TakeDone = Box<dyn FnOnce(Result<Vec<Spooled>, StoreError>) + Send>;

/// What a spool tells of its own accord. Called by its thread; must not block.
pub trait SpoolEvents: Send + Sync + 'static {
    /// The bytes it takes on disk have changed.
    fn bytes_used(&self, bytes: u64);
}

impl Spool {
    /// A spool in `folder`, which is made when it is needed. Segments that an earlier run left there
    /// are removed; other files are not touched. A segment is closed when it has `segment_bytes`.
    ///
    /// # Errors
    /// When old segments cannot be found or removed, or the thread cannot be started.
    pub fn open(
        fs: Arc<dyn Filesystem>,
        folder: PathBuf,
        segment_bytes: u32,
        form: MessageForm,
        events: Arc<dyn SpoolEvents>,
    ) -> io::Result<Arc<Self>> {
        let segments = Segments::open(fs, folder)?;
        let figures = Arc::new(Figures::default());
        let worker =
            Worker::new(segments, segment_bytes.into(), form, events, Arc::clone(&figures));
        let (jobs, queue) = mpsc::channel();
        std::thread::Builder::new().name("spool".into()).spawn(move || worker.run(&queue))?;
        let last_channel = AtomicU64::new(0);
        Ok(Arc::new(Self { jobs, form, salt: Seal::salt(), last_channel, figures }))
    }

    /// A channel of its own for a destination and band, or for a durable subscription. Costs nothing
    /// until it is used.
    pub fn channel(self: &Arc<Self>) -> Channel {
        let number = self.last_channel.fetch_add(1, Ordering::Relaxed) + 1;
        Channel { spool: Arc::clone(self), number, seal: Seal::new(self.salt, number) }
    }

    /// Bytes of all segments.
    pub fn bytes_used(&self) -> u64 {
        self.figures.bytes_used.load(Ordering::Relaxed)
    }

    /// Messages that could not be read back.
    pub fn messages_lost(&self) -> u64 {
        self.figures.messages_lost.load(Ordering::Relaxed)
    }

    /// Does what is queued, removes all segments and ends. Blocks. Later appends and takes are refused.
    pub fn close(&self) {
        let (done, closed) = mpsc::channel();
        // Either may fail when the thread has ended, which is what was asked for.
        self.jobs.send(Job::Close { done }).ok();
        closed.recv().ok();
    }

    fn submit(&self, job: Job) {
        if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
            job.refuse();
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("bytes_used", &self.bytes_used()).finish_non_exhaustive()
    }
}

/// Messages in a row on disk. Dropping it drops them.
pub struct Channel {
    spool: Arc<Spool>,
    number: u64,
    seal: Seal,
}

impl Channel {
    /// Tells it from every other channel of its spool.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Appends all of `messages` or none. Never waits, but encodes them.
    ///
    /// # Errors
    /// `done` is told [`StoreError::NoSpace`] when they could not be written: the caller still has to
    /// keep or drop them, and later appends may succeed. [`StoreError::TooLarge`]: one of them never
    /// will. [`StoreError::Stopped`]: nothing will.
    pub fn append(&self, messages: Vec<Spooled>, done: AppendDone) {
        let mut bytes = Vec::new();
        let encoded = messages
            .iter()
            .try_for_each(|spooled| record::put(spooled, &self.spool.form, self.seal, &mut bytes));
        let records = encoded.map(|()| (messages.len() as u64, Bytes::from(bytes)));
        self.spool.submit(Job::Append { channel: self.number, records, done });
    }

    /// Takes the oldest messages out, up to `limit` (bytes: [`Message::size`]), at least one.
    /// Sees every append made before; an empty answer means that nothing is left.
    ///
    /// A message that cannot be read back is left out, see [`Spool::messages_lost`].
    ///
    /// # Errors
    /// `done` is told [`StoreError::Stopped`] when a segment that is there cannot be opened; nothing
    /// was taken, and a later call may succeed. Or when the spool is closed.
    pub fn take(&self, limit: PageLimit, done: TakeDone) {
        let (channel, seal) = (self.number, self.seal);
        self.spool.submit(Job::Take { channel, seal, limit, done });
    }

    /// Drops all messages appended before.
    pub fn clear(&self) {
        self.spool.submit(Job::Clear { channel: self.number });
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.clear();
    }
}
