//! Jobs of the time before the start: they are read page by page while new ones come.

use super::{Jobs, LOAD, RETRY};
use crate::broker::destination::{Effects, Now, PageOf};
use crate::broker::scheduler::job::Job;
use crate::jms::Message;
use crate::store::{Fetch, Page, PageLimit, StoreError, StoredMessage};

/// How far they are read.
#[derive(Debug)]
pub(super) struct Loading {
    after: i64,
    /// What comes behind this was scheduled since.
    last: i64,
    is_asked: bool,
}

impl Loading {
    /// Nothing up to `last` is read.
    pub(super) fn up_to(last: i64) -> Self {
        Self { after: i64::MIN, last, is_asked: false }
    }
}

/// How much of what there was at the start is read at once.
const LOAD_LIMIT: PageLimit = PageLimit { messages: 1000, bytes: 4 << 20 };

impl Jobs {
    pub(super) fn load(&mut self, out: &mut Effects) {
        let Some(loading) = self.loading.as_mut().filter(|loading| !loading.is_asked) else {
            return;
        };
        loading.is_asked = true;
        let destination = self.context.destination.clone();
        let fetch = Fetch::Queue { destination, band: 0, after: loading.after, limit: LOAD_LIMIT };
        out.fetches.push((PageOf::Jobs(LOAD), fetch));
    }

    pub(super) fn loaded(&mut self, page: Result<Page, StoreError>, now: Now, out: &mut Effects) {
        let Some(mut loading) = self.loading.take() else { return };
        loading.is_asked = false;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "scheduled messages cannot be read");
                self.retry_at = Some(now.instant + RETRY);
                self.loading = Some(loading);
                return;
            }
        };
        if !page.damaged.is_empty() {
            let (messages, sequences) = (page.damaged.len(), &page.damaged);
            tracing::error!(
                messages,
                ?sequences,
                "scheduled messages are damaged: they are left alone"
            );
        }
        for StoredMessage { sequence, message } in page.messages {
            if sequence > loading.last {
                continue;
            }
            match Job::of(&message) {
                Some(job) => {
                    let bytes = message.size() as u64;
                    self.context.usage.take(bytes);
                    let again = self.sent_again(&job, &message);
                    self.insert(&job, sequence, &message, bytes);
                    self.remove(again.into_iter().collect(), None, out);
                }
                None => tracing::error!(
                    sequence,
                    "a scheduled message makes no sense: it is left alone"
                ),
            }
        }
        loading.after = page.last.unwrap_or(loading.after);
        let ends = page.end || page.last.is_none_or(|last| last >= loading.last);
        self.loading = (!ends).then_some(loading);
    }

    /// A client may have sent a job again before `job`, the same one, was read: the second of them.
    fn sent_again(&self, job: &Job, message: &Message) -> Option<i64> {
        let sent = self.sent_hash(message);
        // Deliveries that a cron entry began are of the message that waits for its next time.
        if job.is_series || job.schedule.cron.is_some() || !self.sent.contains(&sent) {
            return None;
        }
        let of_sender = self.index.iter().find(|(_, indexed)| indexed.sent == sent);
        of_sender.map(|(number, _)| job.number.max(*number))
    }
}
