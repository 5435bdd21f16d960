//! How the system schedules the broker's threads.
//!
//! In batches: a thread that wakes up runs at once on an idle core, but does not push another program off a busy
//! one. On a machine that is shared with its clients the broker then finds several messages when it runs instead
//! of one. Measured with 4 Java producers and 4 consumers on 2 cores: half the CPU per message, half again the
//! throughput; request and reply took the same time.
//!
//! Clients leave a core as soon as they wait. A program that only computes does not: behind two of them on 2 cores
//! a producer that waits for each answer got 66 messages/s through, and 3,900 with the usual scheduling. So
//! whoever is about to sleep looks how long it ran and how long it waited for a core, and when that is out of
//! proportion all threads are scheduled as usual for a while.
//!
//! Where somebody has chosen a policy for the broker (`chrt`), or the system refuses, nothing is changed.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Times of a thread, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    ran: Duration,
    /// It could run, but others did.
    waited: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Batch,
    Usual,
}

/// Decides on the policy of all threads.
#[derive(Debug)]
struct Judge {
    policy: Policy,
    since: Instant,
    /// How long the usual one stays, or stayed the last time.
    patience: Duration,
}

impl Judge {
    fn new(now: Instant) -> Self {
        Self { policy: Policy::Batch, since: now, patience: Duration::ZERO }
    }

    /// What a thread did since it looked last. Returns the policy if it is another one from now on.
    fn hear(&mut self, times: Times, now: Instant) -> Option<Policy> {
        let is_starving = times.waited > STARVING_WAIT && times.waited > times.ran * STARVING_SHARE;
        let lasted = now - self.since;
        self.policy = match self.policy {
            Policy::Batch if is_starving => {
                let is_relapse = lasted < self.patience;
                let longer = (self.patience * 2).min(PATIENCE_MAX);
                self.patience = if is_relapse { longer } else { PATIENCE_MIN };
                Policy::Usual
            }
            Policy::Usual if lasted >= self.patience => Policy::Batch,
            Policy::Batch | Policy::Usual => return None,
        };
        self.since = now;
        Some(self.policy)
    }
}

/// Looks after the policy, where there is one to choose.
#[derive(Debug)]
pub(super) struct Scheduling(Mutex<Judge>);

/// How often a thread looks at its times, if it sleeps now and then.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// Waiting for less than this between two looks is nothing.
const STARVING_WAIT: Duration = Duration::from_millis(10);
/// Who waits so many times as long as it runs starves. Among clients that load the machine it was 1 to 3.5,
/// behind programs that compute 7 to 50.
const STARVING_SHARE: u32 = 5;
const PATIENCE_MIN: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(300);

#[cfg(target_os = "linux")]
mod system {
    use super::{Duration, Policy, Times};
    use std::fs;

    /// Whether this thread, and those it starts, are scheduled in batches from now on.
    #[allow(unsafe_code, reason = "the system call has no safe wrapper among the dependencies")]
    pub(super) fn begin() -> bool {
        // SAFETY: it only reads the policy of this thread, which 0 names.
        let present = unsafe { libc::sched_getscheduler(0) };
        present == libc::SCHED_OTHER && set(0, Policy::Batch)
    }

    #[allow(unsafe_code, reason = "the system call has no safe wrapper among the dependencies")]
    fn set(thread: libc::pid_t, policy: Policy) -> bool {
        let parameters = libc::sched_param { sched_priority: 0 };
        let policy = match policy {
            Policy::Batch => libc::SCHED_BATCH,
            Policy::Usual => libc::SCHED_OTHER,
        };
        // SAFETY: `parameters` lives through the call and is only read.
        unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) == 0 }
    }

    /// For all threads of this process but those that end meanwhile. Returns how many there are.
    pub(super) fn set_all(policy: Policy) -> usize {
        let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
        let names = threads.flatten().filter_map(|thread| thread.file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).filter(|thread| set(*thread, policy)).count()
    }

    /// Of this thread since it started.
    pub(super) fn times() -> Option<Times> {
        let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
        let mut next = || numbers.next().map(Duration::from_nanos);
        Some(Times { ran: next()?, waited: next()? })
    }
}

/// There is no such request here.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Policy, Times};

    pub(super) fn begin() -> bool {
        false
    }

    pub(super) fn set_all(_: Policy) -> usize {
        0
    }

    pub(super) fn times() -> Option<Times> {
        None
    }
}

impl Scheduling {
    /// Asks for batch scheduling for this thread and those it starts. None if there is nothing to look after.
    pub(super) fn in_batches() -> Option<Self> {
        system::begin().then(|| Self(Mutex::new(Judge::new(Instant::now()))))
    }

    /// To be called by a thread that is about to sleep.
    pub(super) fn look(&self) {
        thread_local! {
            static LAST: std::cell::Cell<Option<(Instant, Times)>> = const { std::cell::Cell::new(None) };
        }
        let now = Instant::now();
        let last = LAST.get();
        if last.is_some_and(|(looked, _)| now - looked < LOOK_PERIOD) {
            return;
        }
        let Some(times) = system::times() else { return };
        LAST.set(Some((now, times)));
        let Some((_, before)) = last else { return };
        let since = Times {
            ran: times.ran.saturating_sub(before.ran),
            waited: times.waited.saturating_sub(before.waited),
        };
        // Others may have looked at the same moment.
        let changed = self.0.try_lock().and_then(|mut judge| judge.hear(since, now));
        if let Some(policy) = changed {
            let threads = system::set_all(policy);
            tracing::debug!(?policy, threads, ?since, "the scheduling of all threads was changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn times(ran_ms: u64, waited_ms: u64) -> Times {
        let ms = Duration::from_millis;
        Times { ran: ms(ran_ms), waited: ms(waited_ms) }
    }

    const FINE: Times = times(100, 120);
    const STARVING: Times = times(8, 85);

    #[test]
    fn who_waits_out_of_proportion_is_scheduled_as_usual_for_a_while() {
        let start = Instant::now();
        let mut judge = Judge::new(start);
        assert_eq!(judge.hear(FINE, start), None);
        assert_eq!(judge.hear(times(0, 9), start), None, "it is hardly awake");
        assert_eq!(judge.hear(STARVING, start), Some(Policy::Usual));
        assert_eq!(judge.hear(STARVING, start + PATIENCE_MIN / 2), None);
        assert_eq!(judge.hear(FINE, start + PATIENCE_MIN), Some(Policy::Batch));
    }

    #[test]
    fn who_starves_again_at_once_has_to_wait_longer_each_time() {
        let mut now = Instant::now();
        let mut judge = Judge::new(now);
        now += PATIENCE_MIN;
        let mut patience = PATIENCE_MIN;
        for _ in 0..10 {
            assert_eq!(judge.hear(STARVING, now), Some(Policy::Usual));
            assert_eq!(judge.hear(FINE, now + patience - LOOK_PERIOD), None);
            now += patience;
            assert_eq!(judge.hear(FINE, now), Some(Policy::Batch));
            now += LOOK_PERIOD;
            patience = (patience * 2).min(PATIENCE_MAX);
        }
        now += PATIENCE_MAX;
        assert_eq!(judge.hear(STARVING, now), Some(Policy::Usual));
        assert_eq!(judge.hear(FINE, now + PATIENCE_MIN), Some(Policy::Batch), "it was long ago");
    }

    /// Neither goes backwards, and both are counted.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_the_times_of_a_thread() {
        let before = system::times().expect("schedstat");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(5) {}
        let after = system::times().expect("schedstat");
        assert!(after.ran > before.ran && after.waited >= before.waited);
    }
}
