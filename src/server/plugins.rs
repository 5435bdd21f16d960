//! From `<plugins>` to what wraps the broker.

use crate::broker::plugins::{DiscardingDlq, Logging, Plugin, Plugins, TimeStamping};
use crate::config;
use std::sync::atomic::AtomicU64;

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
        _ => return None,
    })
}
