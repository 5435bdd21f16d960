//! How many producers and consumers a destination has.

use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers that others need at once; written by connections when they add and remove things.
#[derive(Debug, Default)]
pub struct Gauges {
    pub consumers: Gauge,
    /// Those of them that belong to networks.
    pub network_consumers: Gauge,
    pub producers: Gauge,
}

impl Gauges {
    /// One more consumer; how many there are then.
    pub fn add_consumer(&self, network: bool) -> u32 {
        if network {
            self.network_consumers.add();
        }
        self.consumers.add()
    }

    /// One less; how many there are then.
    pub fn remove_consumer(&self, network: bool) -> u32 {
        if network {
            self.network_consumers.remove();
        }
        self.consumers.remove()
    }
}

/// How many of something there are. A destination that comes into being again counts from nothing,
/// whoever was counted before.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more; how many there are then.
    pub fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// One less, if there are any; how many there are then.
    pub fn remove(&self) -> u32 {
        let less = |count: u32| Some(count.saturating_sub(1));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.unwrap_or_default().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_counted_before_is_not_missing_later() {
        let gauge = Gauge::default();
        assert_eq!(gauge.remove(), 0, "counted at a destination of that name that is gone");
        assert_eq!((gauge.add(), gauge.add(), gauge.remove()), (1, 2, 1));
        assert_eq!(gauge.count(), 1);
    }
}
