//! Time stamps by the broker's clock, and limits for times to live (semantics.md section 11).

use crate::jms::Message;
use std::time::Duration;

/// `<timeStampingBrokerPlugin>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeStamping {
    /// For messages that would live for ever; zero: leave them.
    pub zero_expiration_override: Duration,
    /// Longest time to live; zero: no limit.
    pub ttl_ceiling: Duration,
    /// Expirations only move into the future.
    pub future_only: bool,
    /// Messages that came from other brokers, too.
    pub process_network_messages: bool,
}

impl TimeStamping {
    pub(super) fn stamp(&self, message: &mut Message, now_ms: i64) {
        let is_local = message.broker_path.as_ref().is_none_or(|path| path.is_empty());
        if message.timestamp <= 0 || !is_local && !self.process_network_messages {
            return;
        }
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let mut ttl = ms(self.zero_expiration_override);
        if message.expiration > 0 {
            ttl = message.expiration.saturating_sub(message.timestamp);
        }
        if !self.ttl_ceiling.is_zero() {
            ttl = ttl.min(ms(self.ttl_ceiling));
        }
        let expiration = now_ms.saturating_add(ttl);
        if self.future_only && expiration <= message.expiration {
            return;
        }
        if ttl > 0 {
            message.expiration = expiration;
        }
        message.timestamp = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jms::BrokerId;

    const NOW: i64 = 1_000_000;

    /// Time stamp and expiration of a message after it was stamped.
    fn stamped(stamping: TimeStamping, timestamp: i64, expiration: i64) -> (i64, i64) {
        let mut message = Message { timestamp, expiration, ..Message::default() };
        stamping.stamp(&mut message, NOW);
        (message.timestamp, message.expiration)
    }

    fn limits(zero: u64, ceiling: u64) -> TimeStamping {
        TimeStamping {
            zero_expiration_override: Duration::from_millis(zero),
            ttl_ceiling: Duration::from_millis(ceiling),
            ..TimeStamping::default()
        }
    }

    #[test]
    fn time_stamping_moves_the_time_to_live_to_the_brokers_clock() {
        assert_eq!(stamped(limits(0, 0), 400, 0), (NOW, 0));
        assert_eq!(stamped(limits(0, 0), 400, 500), (NOW, NOW + 100));
        assert_eq!(stamped(limits(0, 0), 0, 500), (0, 500), "without time stamp it is left alone");
    }

    #[test]
    fn zero_expiration_override_ends_messages_that_would_live_for_ever() {
        assert_eq!(stamped(limits(70, 0), 400, 0), (NOW, NOW + 70));
        assert_eq!(stamped(limits(70, 0), 400, 500), (NOW, NOW + 100));
    }

    #[test]
    fn ttl_ceiling_caps_times_to_live() {
        assert_eq!(stamped(limits(70, 50), 400, 0), (NOW, NOW + 50));
        assert_eq!(stamped(limits(0, 50), 400, 500), (NOW, NOW + 50));
        assert_eq!(stamped(limits(0, 200), 400, 500), (NOW, NOW + 100));
    }

    #[test]
    fn future_only_leaves_expirations_that_would_move_back() {
        let future = TimeStamping { future_only: true, ..TimeStamping::default() };
        assert_eq!(stamped(future, NOW + 10, NOW + 20), (NOW + 10, NOW + 20));
        assert_eq!(stamped(future, NOW - 10, NOW + 20), (NOW, NOW + 30));
    }

    #[test]
    fn messages_of_other_brokers_are_left_alone_unless_asked_for() {
        let broker_path = Some(vec![Some(BrokerId::new("other"))]);
        let from_network = Message { timestamp: 400, broker_path, ..Message::default() };
        let processes = TimeStamping { process_network_messages: true, ..TimeStamping::default() };
        for (stamping, expected) in [(TimeStamping::default(), 400), (processes, NOW)] {
            let mut message = from_network.clone();
            stamping.stamp(&mut message, NOW);
            assert_eq!(message.timestamp, expected);
        }
    }
}
