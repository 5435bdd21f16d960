//! Consumers that do not keep up are ended (`<slowConsumerStrategy>`, semantics.md section 7).
//!
//! A consumer of a queue or durable subscription is slow when it holds all it may, more is waiting, and it
//! took nothing since the last check: one that is busy with a backlog is not. ActiveMQ notices such consumers
//! of queues only by their acknowledgements.
//!
//! Each consumer that a strategy covers is watched by a task of its own, which sleeps most of the time.

use super::Broker;
use super::advisory::Notice;
use super::client::Attached;
use super::destination::pace::Seen;
use super::error::BrokerError;
use super::outbox::Item;
use super::policy::SlowConsumerStrategy;
use super::registry::ConnectionEntry;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a client has to close a consumer it was asked to close.
const CLOSING: Duration = Duration::from_secs(1);
/// A period of zero would never rest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// The client has not said what it has seen, see `Op::Unsubscribe`.
pub(super) const NOT_TOLD: i64 = -2;

/// Watches a consumer of the connection `entry` until it goes.
pub(super) fn watch(
    broker: &Arc<Broker>,
    consumer: &Arc<Attached>,
    entry: &Arc<ConnectionEntry>,
    strategy: SlowConsumerStrategy,
) {
    if strategy.ignore_network_consumers && consumer.info.network_subscription {
        return;
    }
    let (broker, consumer) = (Arc::downgrade(broker), Arc::downgrade(consumer));
    tokio::spawn(follow(broker, consumer, Arc::downgrade(entry), strategy));
}

async fn follow(
    broker: Weak<Broker>,
    consumer: Weak<Attached>,
    entry: Weak<ConnectionEntry>,
    strategy: SlowConsumerStrategy,
) {
    let mut record = Record::default();
    loop {
        tokio::time::sleep(strategy.check_period.max(SHORTEST_PERIOD)).await;
        let Some(present) = consumer.upgrade().filter(|consumer| !consumer.is_off()) else {
            return;
        };
        let Some(seen) = present.seen() else { continue };
        let over = record.is_over(&strategy, seen);
        let silent = strategy.silence.is_some() && record.checks == 1;
        if silent && !present.is_told_slow(seen) {
            let Some(broker) = broker.upgrade() else { return };
            tell(&broker, &present).await;
        }
        if !over {
            continue;
        }
        let id = present.info.consumer_id.as_ref().map(ToString::to_string).unwrap_or_default();
        if strategy.abort_connection {
            tracing::info!(consumer = %id, "closing the connection of a slow consumer");
            let count_max = strategy.slow_count_max.map_or(-1, i64::from);
            let for_ms = strategy.slow_for_max.map_or(-1, |time| time.as_millis() as i64);
            present.outbox.push(Item::AsyncError(BrokerError::ConsumersSlow { count_max, for_ms }));
            if let Some(entry) = entry.upgrade() {
                entry.stop.notify_one();
            }
            return;
        }
        tracing::info!(consumer = %id, "closing a slow consumer");
        present.outbox.push(Item::CloseConsumer(Arc::clone(&present.info)));
        drop(present);
        tokio::time::sleep(CLOSING).await;
        if let (Some(broker), Some(present)) = (broker.upgrade(), consumer.upgrade()) {
            present.take_off(&broker, NOT_TOLD).await;
        }
        return;
    }
}

/// Advisories for a consumer whose silence is the first that shows it to be slow.
async fn tell(broker: &Broker, consumer: &Attached) {
    for destination in consumer.destinations() {
        if broker.policy(&destination).advisory_for_slow_consumers {
            broker.publish(Notice::slow_consumer(&destination, &consumer.info)).await;
        }
    }
}

/// What was seen of one consumer.
#[derive(Debug, Default)]
struct Record {
    /// Checks in a row that found it slow.
    checks: u32,
    /// How often it had fallen behind when it was last not slow, but for the spell that went on then.
    times_before: u32,
    taken_before: u64,
    /// Checks in a row that found messages in its hands, since one that found none.
    held: Option<u32>,
}

impl Record {
    /// Whether the consumer has been slow too often or for too long. One call per check.
    fn is_over(&mut self, strategy: &SlowConsumerStrategy, seen: Seen) -> bool {
        let slow = match strategy.silence {
            None => seen.slow && seen.taken == self.taken_before,
            Some(silence) => {
                let idle = silence.ignores_idle && seen.in_flight == 0;
                self.held = if idle { Some(0) } else { self.held.map(|checks| checks + 1) };
                // Who had nothing to acknowledge was not silent.
                let checks = self.held.map(|checks| checks.saturating_sub(1));
                let held = checks.is_none_or(|n| strategy.check_period * n >= silence.longest);
                !idle && held && seen.silent_for > silence.longest
            }
        };
        self.taken_before = seen.taken;
        if !slow {
            self.checks = 0;
            self.times_before = seen.times.wrapping_sub(seen.slow.into());
            return false;
        }
        self.checks += 1;
        let times = match strategy.silence {
            None => seen.times.wrapping_sub(self.times_before),
            Some(_) => self.checks,
        };
        let too_long =
            strategy.slow_for_max.is_some_and(|max| strategy.check_period * self.checks >= max);
        too_long || strategy.slow_count_max.is_some_and(|max| max > 0 && times >= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::policy::Silence;

    fn strategy(
        count: Option<u32>,
        ms: Option<u64>,
        silence: Option<Silence>,
    ) -> SlowConsumerStrategy {
        SlowConsumerStrategy {
            slow_count_max: count,
            slow_for_max: ms.map(Duration::from_millis),
            check_period: Duration::from_millis(100),
            abort_connection: false,
            ignore_network_consumers: true,
            silence,
        }
    }

    fn seen(slow: bool, times: u32, silent_ms: u64, in_flight: i32) -> Seen {
        Seen { slow, times, taken: 0, silent_for: Duration::from_millis(silent_ms), in_flight }
    }

    /// The check that ends the consumer, if one does.
    fn end(strategy: &SlowConsumerStrategy, checks: &[Seen]) -> Option<usize> {
        let mut record = Record::default();
        checks.iter().position(|seen| record.is_over(strategy, *seen))
    }

    #[test]
    fn slow_without_a_break_for_too_long() {
        let strategy = strategy(None, Some(300), None);
        let (slow, fine) = (seen(true, 1, 0, 1), seen(false, 1, 0, 1));
        assert_eq!(end(&strategy, &[slow, slow, slow]), Some(2));
        assert_eq!(end(&strategy, &[slow, slow, fine, slow, slow, slow]), Some(5));
    }

    #[test]
    fn slow_too_often_between_checks_that_found_it_slow() {
        let strategy = strategy(Some(3), None, None);
        let slow = |times| seen(true, times, 0, 1);
        assert_eq!(end(&strategy, &[slow(1), slow(2), slow(3)]), Some(2));
        assert_eq!(end(&strategy, &[slow(2), seen(false, 2, 0, 1), slow(3), slow(4)]), None);
        assert_eq!(end(&strategy, &[slow(1); 9]), None, "it became slow once");
    }

    #[test]
    fn who_takes_messages_is_busy_and_not_slow() {
        let strategy = strategy(Some(1), Some(200), None);
        let seen = |times, taken| Seen { taken, ..seen(true, times, 0, 1) };
        assert_eq!(end(&strategy, &[seen(1, 5), seen(400, 900), seen(900, 1800)]), None);
        assert_eq!(end(&strategy, &[seen(1, 5), seen(400, 900), seen(400, 900)]), Some(2));
    }

    #[test]
    fn silent_for_too_long_with_messages_in_hand() {
        let longest = Duration::from_millis(500);
        let silence = |ignores_idle| Some(Silence { longest, ignores_idle });
        let fast = strategy(None, Some(100), silence(true));
        assert_eq!(end(&fast, &[seen(true, 9, 500, 1), seen(false, 0, 501, 1)]), Some(1));
        assert_eq!(end(&fast, &[seen(false, 0, 900, 0)]), None, "it has nothing");
        let (idle, given) = (seen(false, 0, 900, 0), seen(false, 0, 1000, 1));
        let after_a_wait = |checks| [vec![idle], vec![given; checks]].concat();
        assert_eq!(end(&fast, &after_a_wait(5)), None, "it had nothing until 400 to 500 ms ago");
        assert_eq!(end(&fast, &after_a_wait(6)), Some(6));
        let strict = strategy(None, Some(100), silence(false));
        assert_eq!(end(&strict, &[seen(false, 0, 900, 0)]), Some(0));
        let silent = seen(false, 0, 900, 1);
        let counting = strategy(Some(3), None, silence(true));
        assert_eq!(end(&counting, &[silent; 5]), Some(2));
    }

    #[test]
    fn without_limits_nobody_is_ended() {
        assert_eq!(end(&strategy(None, None, None), &[seen(true, 99, 0, 1); 99]), None);
    }
}
