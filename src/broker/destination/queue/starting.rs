//! The first dispatch of a queue waits for consumers, or for some time (`consumersBeforeDispatchStarts`,
//! `timeBeforeDispatchStarts`): each time a first consumer comes.

use crate::broker::policy::Policy;
use std::time::{Duration, Instant};

/// Whether dispatch has to wait.
#[derive(Debug, Default)]
pub(super) struct Starting {
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    /// Consumers that have not come yet; 0: nobody is waited for, only time passes.
    missing: u32,
    until: Instant,
}

impl Starting {
    /// A consumer comes; `first`: there was none.
    pub(super) fn consumer_added(&mut self, first: bool, policy: &Policy, now: Instant) {
        let (wanted, time) = (policy.consumers_before_dispatch, policy.time_before_dispatch);
        if first {
            let time = if wanted > 0 && time.is_zero() { UNTOLD } else { time };
            let waits = wanted != 1 && !time.is_zero();
            self.wait =
                waits.then(|| Wait { missing: wanted.saturating_sub(1), until: now + time });
        } else if let Some(wait) = self.wait.as_mut().filter(|wait| wait.missing > 0) {
            wait.missing -= 1;
            if wait.missing == 0 {
                self.wait = None;
            }
        }
    }

    /// Whether messages may go out.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.wait.take_if(|wait| wait.until <= now);
        self.wait.is_none()
    }

    /// When the wait ends by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.wait.as_ref().map(|wait| wait.until)
    }
}

/// How long consumers are waited for when the configuration does not say.
const UNTOLD: Duration = Duration::from_secs(1);
