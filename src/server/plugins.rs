//! From `<plugins>` to what wraps the broker.

use crate::broker::plugins::{
    DiscardingDlq, Logging, Plugin, Plugins, Redelivery, RedeliveryPolicy, TimeStamping,
};
use crate::config;
use crate::jms::Destination;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The plugins that look at messages and events, in the order they are configured in.
pub(super) fn of_config(configured: &[config::Plugin]) -> Plugins {
    Plugins::new(configured.iter().filter_map(plugin).collect())
}

fn plugin(configured: &config::Plugin) -> Option<Plugin> {
    Some(match configured {
        config::Plugin::Statistics => Plugin::Statistics,
        config::Plugin::TimeStamping(of) => Plugin::TimeStamping(TimeStamping {
            zero_expiration_override: of.zero_expiration_override,
            ttl_ceiling: of.ttl_ceiling,
            future_only: of.future_only,
            process_network_messages: of.process_network_messages,
        }),
        config::Plugin::Logging(of) => Plugin::Logging(Logging {
            all: of.log_all,
            connections: of.log_connection_events,
            sessions: of.log_session_events,
            consumers: of.log_consumer_events,
            producers: of.log_producer_events,
            transactions: of.log_transaction_events,
            internal: of.log_internal_events,
        }),
        config::Plugin::ForcePersistency(of) => Plugin::ForcePersistency(of.persistence_flag),
        config::Plugin::TraceBrokerPath(of) => {
            Plugin::TraceBrokerPath(of.stamp_property.as_str().into())
        }
        config::Plugin::DiscardingDlq(of) => {
            let patterns = of.drop_only.iter().flat_map(|patterns| patterns.split_whitespace());
            // What is no expression has been refused with the configuration.
            let drop_only = patterns.filter_map(|text| DiscardingDlq::pattern(text).ok()).collect();
            Plugin::DiscardingDlq(DiscardingDlq {
                drop_all: of.drop_all,
                drop_temporary_topics: of.drop_temporary_topics,
                drop_temporary_queues: of.drop_temporary_queues,
                drop_only,
                report_interval: of.report_interval,
                dropped: AtomicU64::new(0),
            })
        }
        config::Plugin::Redelivery(of) => Plugin::Redelivery(redelivery(of.clone())),
        _ => return None,
    })
}

fn redelivery(plugin: config::Redelivery) -> Redelivery {
    let policies = plugin.policies;
    let policy =
        move |of: &Destination| policies.entry_for(of.kind(), of.name()).map(redelivery_policy);
    Redelivery {
        policy: Box::new(policy),
        fallback_to_dead_letter: plugin.fallback_to_dead_letter,
        dead_letter_in_the_end: plugin.send_to_dlq_if_max_retries_exceeded,
    }
}

fn redelivery_policy(entry: &config::RedeliveryPolicy) -> RedeliveryPolicy {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let jitter = f64::from(entry.collision_avoidance_percent) / 100.0;
    RedeliveryPolicy {
        times_max: entry.maximum_redeliveries,
        first_delay_ms: ms(entry.initial_redelivery_delay),
        delay_ms: ms(entry.redelivery_delay),
        multiplier: entry.use_exponential_back_off.then_some(entry.back_off_multiplier),
        delay_max_ms: entry.maximum_redelivery_delay.map(ms),
        jitter: entry.use_collision_avoidance.then_some(jitter),
    }
}
