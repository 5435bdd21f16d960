//! When workers must stop: at a signal, or when one of them has failed.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Asks workers to stop and tells them whether they are asked to.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Stop {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    requested: bool,
    interrupted: bool,
    /// Asked twice: nothing is waited for any more.
    at_once: bool,
}

impl Stop {
    /// Becomes a request at SIGINT and SIGTERM; the second signal ends all waiting. Within a runtime.
    ///
    /// # Errors
    /// When the signals cannot be taken over.
    pub(super) fn at_signals() -> io::Result<Self> {
        let stop = Self { state: watch::Sender::new(State::default()) };
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let asked = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                asked.state.send_modify(|state| {
                    *state =
                        State { requested: true, interrupted: true, at_once: state.interrupted };
                });
            }
        });
        Ok(stop)
    }

    /// Asks all to stop.
    pub(super) fn request(&self) {
        self.state.send_modify(|state| state.requested = true);
    }

    /// Asks all to stop as a signal does: the person does not want more.
    pub(in crate::cli) fn interrupt(&self) {
        self.state.send_modify(|state| (state.requested, state.interrupted) = (true, true));
    }

    pub(in crate::cli) fn is_requested(&self) -> bool {
        self.state.borrow().requested
    }

    pub(super) fn was_interrupted(&self) -> bool {
        self.state.borrow().interrupted
    }

    /// Waits until workers are asked to stop.
    pub(in crate::cli) async fn requested(&self) {
        self.reached(|state| state.requested).await;
    }

    async fn reached(&self, wanted: impl Fn(&State) -> bool) {
        // The channel cannot close while `self` has its sender.
        drop(self.state.subscribe().wait_for(|state| wanted(state)).await);
    }

    /// Lets `pause` pass, less if there is a request to stop.
    pub(in crate::cli) async fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.requested() => {}
            }
        }
    }

    /// What `work` comes to; none if it does not end within a while after a request to stop.
    pub(super) async fn bounded<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let work = std::pin::pin!(work);
        let patience = async {
            self.requested().await;
            drop(timeout(PATIENCE, self.reached(|state| state.at_once)).await);
        };
        tokio::select! {
            biased;
            outcome = work => Some(outcome),
            () = patience => None,
        }
    }
}

/// How long the broker may take to answer what was under way when the signal came. A producer held up by
/// flow control gets no answer at all.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn stop() -> Stop {
        Stop { state: watch::Sender::new(State::default()) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_has_a_while_to_end_after_the_request() {
        let stop = stop();
        assert_eq!(stop.bounded(ready(1)).await, Some(1));
        stop.request();
        assert_eq!(stop.bounded(sleep(PATIENCE / 2)).await, Some(()));
        assert_eq!(stop.bounded(pending::<()>()).await, None);
        stop.pause(Duration::from_secs(3600)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_ends_all_waiting() {
        let stop = stop();
        stop.state.send_replace(State { requested: true, interrupted: true, at_once: true });
        let begin = tokio::time::Instant::now();
        assert_eq!(stop.bounded(pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
