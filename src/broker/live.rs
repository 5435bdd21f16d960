//! Values that many read and somebody replaces once in a while, while the broker runs.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The value there is now.
#[derive(Debug, Default)]
pub struct Live<T> {
    /// Counts the replacements.
    version: AtomicU64,
    current: RwLock<Arc<T>>,
}

impl<T> Live<T> {
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self { version: AtomicU64::new(0), current: RwLock::new(value.into()) }
    }

    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read())
    }

    /// From now on this is the value.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        *self.current.write() = value.into();
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// What one reader saw last: looking again costs next to nothing while nothing has changed.
#[derive(Debug)]
pub struct Seen<T> {
    version: u64,
    value: Arc<T>,
}

impl<T> Seen<T> {
    pub fn of(live: &Live<T>) -> Self {
        // The version first: a value that is newer is only looked at once more.
        let version = live.version.load(Ordering::Acquire);
        Self { version, value: live.get() }
    }

    /// Whether the value of `live` was replaced since.
    pub fn is_stale(&self, live: &Live<T>) -> bool {
        self.version != live.version.load(Ordering::Acquire)
    }

    /// The value of `live` now, which must always be the same one.
    pub fn look(&mut self, live: &Live<T>) -> &Arc<T> {
        if self.is_stale(live) {
            *self = Self::of(live);
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_set_since_it_looked() {
        let live = Live::new(1);
        let mut seen = Seen::of(&live);
        assert_eq!(**seen.look(&live), 1);
        live.set(2);
        assert_eq!((**seen.look(&live), *live.get()), (2, 2));
    }
}
