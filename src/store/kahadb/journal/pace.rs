//! Whether who submits had better write itself.
//!
//! That saves two wake-ups of a thread for each sync. But a thread of the runtime that waits for the
//! disk does nothing else, so it is for one case only: each submit comes when the one before was
//! answered, with one acknowledgement at most, and the disk is fast. Now and then the writer thread gets one all the same: what came
//! meanwhile would have shown that somebody else submits too.

use super::writer::SyncPolicy;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Pace {
    /// Without a sync there is nothing to wait for.
    syncs: bool,
    /// Submits since the last that had company.
    alone: u32,
    /// What the last commits took, on average.
    took: Duration,
    /// A disk that takes this long is not waited for.
    slow: Duration,
}

impl Pace {
    pub(super) fn new(policy: SyncPolicy, slow: Duration) -> Self {
        Self { syncs: policy == SyncPolicy::Always, alone: 0, took: slow, slow }
    }

    /// What was queued was written. `alone`: one submit called for it, and no other came meanwhile.
    pub(super) fn note(&mut self, alone: bool, took: Duration) {
        self.alone = if alone { self.alone.saturating_add(1) } else { 0 };
        self.took = (self.took * 7 + took.min(self.slow * 8)) / 8;
    }

    pub(super) fn may_lead(&self) -> bool {
        let probes = self.alone.is_multiple_of(PROBE);
        self.syncs && self.alone >= ALONE && self.took < self.slow && !probes
    }
}

/// So many submits by themselves are taken for a rule.
const ALONE: u32 = 32;
/// Every so many the thread writes.
const PROBE: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_millis(1);

    fn led(pace: &mut Pace, times: u32, alone: bool, took: Duration) -> u32 {
        let mut led = 0;
        for _ in 0..times {
            pace.note(alone, took);
            led += u32::from(pace.may_lead());
        }
        led
    }

    #[test]
    fn who_submits_leads_when_it_is_alone_on_a_fast_disk() {
        let mut pace = Pace::new(SyncPolicy::Always, SLOW);
        assert_eq!(led(&mut pace, ALONE, true, FAST), 0);
        assert_eq!(led(&mut pace, 10 * PROBE, true, FAST), 10 * (PROBE - 1), "and the probes");
        assert_eq!(led(&mut pace, ALONE, false, FAST), 0);
        assert!(led(&mut pace, 2 * ALONE, true, FAST) > 0);
    }

    #[test]
    fn nobody_leads_on_a_slow_disk_or_without_syncs() {
        let mut slow = Pace::new(SyncPolicy::Always, SLOW);
        assert_eq!(led(&mut slow, 1000, true, 2 * SLOW), 0);
        let mut never = Pace::new(SyncPolicy::Never, SLOW);
        assert_eq!(led(&mut never, 1000, true, FAST), 0);
    }

    #[test]
    fn one_sync_that_stalls_ends_it_for_a_while() {
        let mut pace = Pace::new(SyncPolicy::Always, SLOW);
        assert!(led(&mut pace, 2 * ALONE, true, FAST) > 0);
        pace.note(true, Duration::from_secs(1));
        assert!(!pace.may_lead());
        assert!(led(&mut pace, 4 * ALONE, true, FAST) > 0);
    }
}
