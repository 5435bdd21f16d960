//! Pulls of one consumer that wait for a message, where no queue of its own ends them after their time.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::AbortHandle;

/// The pulls that wait, oldest first, by their tickets. A task for each, which ends with the pull.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    waiting: VecDeque<(u64, AbortHandle)>,
}

/// Pulls of one consumer that may wait. A client waits for the answer to one before it sends the next; of
/// one that does not, those beyond are forgotten.
const PULLS_MAX: usize = 256;

impl Pulls {
    /// Whether one more may wait. `owes` says whether a pull has not been answered.
    pub(super) fn has_room(&mut self, owes: impl Fn(u64) -> bool) -> bool {
        // They are answered in the order they came.
        while let Some((_, timer)) = self.waiting.pop_front_if(|(ticket, _)| !owes(*ticket)) {
            timer.abort();
        }
        self.waiting.len() < PULLS_MAX
    }

    /// Calls `end` when the pull `ticket` has waited for `patience`; none: for ever.
    pub(super) fn wait(
        &mut self,
        ticket: u64,
        patience: Option<Duration>,
        end: impl FnOnce() + Send + 'static,
    ) {
        match patience {
            None => {}
            Some(Duration::ZERO) => end(),
            Some(patience) => {
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(patience).await;
                    end();
                });
                self.waiting.push_back((ticket, timer.abort_handle()));
            }
        }
    }
}

impl Drop for Pulls {
    fn drop(&mut self) {
        self.waiting.iter().for_each(|(_, timer)| timer.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(3600));

    /// Waits for the end of a task.
    async fn ended(task: &AbortHandle) {
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn so_many_pulls_wait_and_no_more() {
        let mut pulls = Pulls::default();
        for ticket in 1..=PULLS_MAX as u64 {
            assert!(pulls.has_room(|_| true));
            pulls.wait(ticket, LONG, || {});
        }
        assert!(!pulls.has_room(|_| true));
        let first = pulls.waiting[0].1.clone();
        assert!(pulls.has_room(|ticket| ticket > 1), "the first one is answered");
        ended(&first).await;
        let last = pulls.waiting[0].1.clone();
        drop(pulls);
        ended(&last).await;
    }

    #[tokio::test]
    async fn a_pull_without_patience_ends_at_once() {
        let (mut pulls, (ended, mut end)) = (Pulls::default(), tokio::sync::oneshot::channel());
        pulls.wait(1, Some(Duration::ZERO), || ended.send(()).expect("somebody waits"));
        assert_eq!(end.try_recv(), Ok(()));
        pulls.wait(2, None, || unreachable!("it waits for ever"));
        assert!(pulls.waiting.is_empty());
    }
}
