//! Who waits for room that several share.

use hashbrown::HashSet;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Asks a destination for a pass over what is pending there. False: it has ended.
pub type Wake = Arc<dyn Fn() -> bool + Send + Sync>;

/// Destinations in the order in which they began to wait, each once.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Line>);

#[derive(Default)]
struct Line {
    wakes: VecDeque<Wake>,
    /// The addresses of those.
    present: HashSet<usize>,
}

impl Waiting {
    /// `wake` is called once.
    pub(super) fn add(&self, wake: &Wake) {
        let mut line = self.0.lock();
        if line.present.insert(address(wake)) {
            line.wakes.push_back(Arc::clone(wake));
        }
    }

    /// Wakes `most` of them, who are not in the line any more. Those that have ended do not count.
    pub(super) fn wake(&self, most: usize) {
        let mut woken = 0;
        while woken < most
            && let Some(wake) = self.take()
        {
            woken += usize::from(wake());
        }
    }

    fn take(&self) -> Option<Wake> {
        let mut line = self.0.lock();
        let wake = line.wakes.pop_front()?;
        line.present.remove(&address(&wake));
        Some(wake)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting({})", self.0.lock().wakes.len())
    }
}

fn address(wake: &Wake) -> usize {
    Arc::as_ptr(wake).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn each_is_woken_once_in_order_and_who_has_ended_does_not_count() {
        let woken: [Arc<AtomicU32>; 3] = Default::default();
        let wakes = [0, 1, 2].map(|at| {
            let count = Arc::clone(&woken[at]);
            // The first one has ended.
            Arc::new(move || count.fetch_add(1, Ordering::Relaxed) == 0 && at > 0) as Wake
        });
        let counts = || woken.each_ref().map(|count| count.load(Ordering::Relaxed));
        let waiting = Waiting::default();
        wakes.iter().chain(&wakes).for_each(|wake| waiting.add(wake));
        waiting.wake(1);
        assert_eq!(counts(), [1, 1, 0]);
        waiting.wake(5);
        assert_eq!(counts(), [1, 1, 1]);
    }
}
