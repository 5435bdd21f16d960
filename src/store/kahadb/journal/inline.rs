//! The journal without its threads, for tests: work is done when it is asked for.

use super::appender::{Appender, Identity, Supply};
use super::batch::Batch;
use super::commit::{Committer, Waiting};
use super::error::JournalError;
use super::files::{Files, Prepared};
use super::record::Record;
use super::scan::Mark;
use super::writer::{Submit, SyncPolicy, Wish};
use std::collections::VecDeque;
use std::sync::Arc;

/// Prepares files one ahead, as the keeper does, but when it is asked.
#[derive(Debug)]
pub(super) struct Inline {
    files: Arc<Files>,
    ahead: Option<Prepared>,
}

impl Inline {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self { files, ahead: None }
    }
}

impl Supply for Inline {
    fn take(&mut self, number: u32) -> Result<Prepared, JournalError> {
        let file = match self.ahead.take() {
            Some(file) if file.number == number => file,
            _ => self.files.prepare(number, |_, _| Ok(()))?,
        };
        self.ahead = Some(self.files.prepare(number + 1, |_, _| Ok(()))?);
        Ok(file)
    }

    fn wait_for(&mut self, _: u32) -> Result<(), JournalError> {
        Ok(())
    }

    fn has(&self, _: u32) -> bool {
        true
    }

    fn committed(&self, _: u64, _: u64) {}

    fn end(&mut self) {}
}

/// Takes submits as [`super::Journal`] does, and writes them in [`InlineJournal::step`].
pub(in crate::store::kahadb) struct InlineJournal {
    committer: Committer,
    waiting: VecDeque<Waiting>,
}

impl InlineJournal {
    pub(in crate::store::kahadb) fn open(
        files: Arc<Files>,
        end: Mark,
        identity: Identity,
        batch_bytes_max: u64,
        policy: SyncPolicy,
    ) -> Result<Self, JournalError> {
        let supply = Box::new(Inline::new(files.clone()));
        let appender = Appender::open(files, supply, identity, end)?;
        let committer = Committer::new(appender, batch_bytes_max, policy);
        let mut journal = Self { committer, waiting: VecDeque::new() };
        let (node, version) = ("node".to_owned(), "1".to_owned());
        let start = Record::EpochStart { epoch: identity.epoch, node, version };
        let operations = vec![start.into()];
        journal.submit(Submit { operations, wish: Wish::Synced, done: Box::new(drop) });
        Ok(journal)
    }

    pub(in crate::store::kahadb) fn submit(&mut self, submit: Submit) {
        match Waiting::new(submit) {
            Ok(waiting) => self.waiting.push_back(waiting),
            Err((done, error)) => done(Err(Arc::new(error))),
        }
    }

    pub(in crate::store::kahadb) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes one batch, shows it to `follow` and tells who waits for it.
    pub(in crate::store::kahadb) fn step(
        &mut self,
        follow: impl FnOnce(Batch),
    ) -> Result<(), Arc<JournalError>> {
        let mut taken = Vec::new();
        match self.committer.step(&mut self.waiting, 1, &mut taken) {
            Ok(step) => {
                step.batch.map(follow);
                let end = self.committer.end();
                taken.into_iter().for_each(|done| done(Ok(end)));
                if let Some((done, error)) = step.refused {
                    done(Err(Arc::new(error)));
                }
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                let waiting = self.waiting.drain(..).map(Waiting::into_done);
                for done in taken.into_iter().chain(waiting) {
                    done(Err(Arc::new(JournalError::Stopped(error.clone()))));
                }
                Err(error)
            }
        }
    }
}
