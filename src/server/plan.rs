//! From the configuration to what the broker and its connectors are started with.

use super::connector::ConnectorOptions;
use super::kept::Kept;
use super::plugins;
use super::publish::{HostForm, Publish};
use crate::broker::live::Live;
use crate::broker::policy::{
    Cursor, DeadLetterStrategy, DeadLetterTarget, Eviction, GroupMapKind, PendingLimit, Policy,
    RecoveryKind, Silence, SlowConsumerStrategy, TopicDispatch,
};
use crate::broker::usage::{MemoryShare, Usage};
use crate::broker::{BrokerOptions, InactiveSweeps, OfflineDurables, PreparedFate, UserId};
use crate::config::{
    self, BrokerConfig, Config, MessageEvictionStrategy, PendingMessageLimitStrategy, Plugin,
    PolicyEntry, PolicyMap, Protocol, PublishedHost, TransportConnector,
};
use crate::jms::{BrokerId, Destination, Text};
use crate::protocol::drive::Patience;
use crate::protocol::openwire::OpenWireOptions;
use crate::protocol::openwire::negotiation::Offer;
use crate::security::{Authenticator, SimpleAuthentication};
use crate::transport::listener::SocketOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a broker starts with.
pub struct Plan {
    pub broker: BrokerOptions,
    pub connectors: Vec<ConnectorOptions>,
    /// Created at start.
    pub destinations: Vec<Destination>,
    pub kept: Kept,
    /// Where the policies come from, while the broker runs.
    pub policies: Arc<Live<PolicyMap>>,
}

/// The plan for `config`, and what an operator should read about it.
pub(super) fn of_config(config: &Config, id: BrokerId) -> (Plan, Vec<String>) {
    let broker = &config.broker;
    let mut notes = Vec::new();
    let (heap, source) = heap_bytes(config.jvm_heap_bytes);
    let usage = &broker.system_usage;
    let memory_limit_bytes = usage.memory.limit_bytes(heap);
    if usage.memory.percent_of_jvm_heap.is_some() {
        notes.push(format!(
            "Memory limit is {} mb: percentOfJvmHeap is taken of {} mb ({source})",
            memory_limit_bytes >> 20,
            heap >> 20
        ));
    }
    let policies = Arc::new(Live::new(broker.destination_policy.clone()));
    // What waits or fails is a producer.
    let system = broker.producer_system_usage.clone().unwrap_or_else(|| usage.clone());
    let map = Arc::clone(&policies);
    let policy = move |destination: &Destination| {
        resolve(map.get().entry_for(destination.kind(), destination.name()), &system)
    };
    let name = Text::from(broker.name.as_str());
    let options = BrokerOptions {
        id,
        policy: Box::new(policy),
        memory_name: usage.name.as_str().into(),
        memory_limit_bytes,
        producer_memory: share(
            broker,
            broker.producer_system_usage.as_ref(),
            Side::Producers,
            memory_limit_bytes,
            heap,
        ),
        consumer_memory: share(
            broker,
            broker.consumer_system_usage.as_ref(),
            Side::Consumers,
            memory_limit_bytes,
            heap,
        ),
        advisories: broker.advisory_support,
        interceptors: Arc::new(super::interceptors::of_config(broker)),
        virtual_subscriptions: super::interceptors::virtual_subscriptions(broker),
        path_separator: path_separator(&broker.plugins),
        user_id: user_id(broker),
        shows_users: broker.populate_user_name_in_mbeans,
        anonymous_producer_advisories: broker.anonymous_producer_advisory_support,
        create_temporaries_on_send: broker.allow_temp_auto_creation_on_send,
        keep_durables_active: broker.keep_durable_subs_active,
        expire_active_durables: broker.expire_on_active_durable_subs,
        keep_temporaries: broker
            .cache_temp_destinations
            .then_some(broker.time_before_purge_temp_destinations),
        rollback_only_on_async_failure: broker.rollback_only_on_async_exception,
        monitors_splits: broker.monitor_connection_splits,
        reject_durables: broker.reject_durable_consumers,
        statistics: broker.enable_statistics,
        authenticator: Live::new(authenticator(&broker.plugins)),
        store_usage: Usage::new(0, None),
        store_share: None,
        temp_usage: Usage::new(0, None),
        spool: None,
        dispatches_early: true,
        prepared_fate: PreparedFate::Wait,
        deletes_all: broker.delete_all_messages_on_startup,
        offline_durables: OfflineDurables {
            timeout: broker.offline_durable_subscriber_timeout,
            check_every: broker.offline_durable_subscriber_task_schedule,
        },
        inactive_sweeps: InactiveSweeps {
            period: Some(broker.schedule_period_for_destination_purge)
                .filter(|period| !period.is_zero()),
            removed_max: Some(broker.max_purged_destinations_per_sweep as usize)
                .filter(|most| *most > 0),
        },
        scheduler: super::scheduler::of_config(broker),
        plugins: plugins::of_config(&broker.plugins),
        addresses: Vec::new(),
        data_directory: absolute(&broker.data_directory),
        default_url: format!("vm://{name}").into(),
        name,
    };
    let served = broker.transport_connectors.iter();
    let served = served.filter(|c| c.listen.protocol == Protocol::OpenWire && !c.listen.tls);
    let connectors = served.map(connector).collect();
    let destinations = destinations(broker);
    let kept = Kept::of_config(broker);
    (Plan { broker: options, connectors, destinations, kept, policies }, notes)
}

/// `<destinations>`.
pub(super) fn destinations(broker: &BrokerConfig) -> Vec<Destination> {
    broker.destinations.0.iter().flat_map(config::DestinationName::destinations).collect()
}

/// What becomes JMSXUserID.
fn user_id(broker: &BrokerConfig) -> UserId {
    match (broker.populate_jmsx_user_id, broker.use_authenticated_principal_for_jmsx_user_id) {
        (false, _) => UserId::AsSent,
        (true, false) => UserId::User,
        (true, true) => UserId::Principal,
    }
}

#[derive(Clone, Copy)]
enum Side {
    Producers,
    Consumers,
}

/// The memory of one side: what is configured for it alone, or its portion when memory is split.
fn share(
    broker: &BrokerConfig,
    own: Option<&config::SystemUsage>,
    side: Side,
    memory_limit_bytes: u64,
    heap: u64,
) -> MemoryShare {
    let portion = match side {
        Side::Producers => broker.producer_system_usage_portion,
        Side::Consumers => broker.consumer_system_usage_portion,
    };
    match own {
        Some(own) => MemoryShare::Own(own.memory.limit_bytes(heap), own.name.as_str().into()),
        None if broker.split_system_usage => {
            MemoryShare::Part(memory_limit_bytes / 100 * u64::from(portion))
        }
        None => MemoryShare::Broker,
    }
}

/// `folder` from the root on, as text.
fn absolute(folder: &Path) -> Text {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.to_string_lossy().into()
}

/// What stands for the Java heap: `-Xmx` where somebody set it, else a quarter of the memory there is,
/// at most 1 GiB.
fn heap_bytes(configured: Option<u64>) -> (u64, &'static str) {
    if let Some(bytes) = configured {
        return (bytes, "-Xmx of ACTIVEMQ_OPTS_MEMORY or ACTIVEMQ_OPTS");
    }
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram * u64::from(machine.mem_unit);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    let group = group.ok().and_then(|text| text.trim().parse::<u64>().ok());
    let there = group.map_or(machine, |group| group.min(machine));
    ((there / 4).min(1 << 30), "a quarter of the memory there is, at most 1024 mb")
}

fn path_separator(plugins: &[Plugin]) -> Option<Text> {
    plugins.iter().find_map(|plugin| match plugin {
        Plugin::DestinationPathSeparator(plugin) => Some(plugin.path_separator.as_str().into()),
        _ => None,
    })
}

pub(super) fn authenticator(plugins: &[Plugin]) -> Authenticator {
    let simple = plugins.iter().find_map(|plugin| match plugin {
        Plugin::SimpleAuthentication(simple) => Some(simple),
        _ => None,
    });
    let Some(simple) = simple else { return Authenticator::Open };
    let users = simple
        .users
        .iter()
        .map(|user| (user.username.as_str().into(), user.password.reveal().into()));
    let anonymous = simple.anonymous_access_allowed.then(|| simple.anonymous_user.as_str().into());
    let simple = SimpleAuthentication::new(users, anonymous);
    Authenticator::Simple(simple)
}

fn connector(connector: &TransportConnector) -> ConnectorOptions {
    let listen = &connector.listen;
    let (socket, wire) = (&listen.options.socket, &listen.options.openwire);
    let query: Vec<String> = listen
        .uri
        .options
        .iter()
        .map(|option| match &option.value {
            Some(value) => format!("{}={value}", option.name),
            None => option.name.clone(),
        })
        .collect();
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    ConnectorOptions {
        name: connector.name.as_str().into(),
        scheme: listen.uri.scheme.as_str().into(),
        host: listen.host.clone(),
        port: listen.port,
        query: query.join("&"),
        connections_max: socket.maximum_connections,
        allow_link_stealing: connector.steals_links(),
        producers_max: connector.maximum_producers_per_connection,
        consumers_max: connector.maximum_consumers_per_connection,
        socket: SocketOptions {
            backlog: i32::try_from(socket.backlog).unwrap_or(i32::MAX),
            // The system sizes buffers better than a number from the days of small ones.
            buffer_bytes: usize::try_from(socket.socket_buffer_size).ok().filter(|b| *b != 65_536),
            no_delay: socket.tcp_no_delay.unwrap_or(wire.tcp_no_delay_enabled),
            keep_alive: socket.keep_alive.unwrap_or(false),
            linger: socket.so_linger_secs.map(|s| Duration::from_secs(s.into())),
            traffic_class: socket.traffic_class,
        },
        patience: Patience {
            write: write_patience(socket.so_write_timeout, connector.enable_status_monitor),
            read: Some(socket.so_timeout).filter(|timeout| !timeout.is_zero()),
            handshake: socket.connection_timeout,
        },
        warn_on_remote_close: connector.warn_on_remote_close,
        publish: publish(&connector.published_address_policy),
        openwire: OpenWireOptions {
            offer: Offer {
                version: i32::try_from(wire.version).unwrap_or(i32::MAX),
                tight: wire.tight_encoding_enabled,
                cache: wire.cache_enabled,
                cache_size: i32::try_from(wire.cache_size).unwrap_or(i32::MAX),
                stack_trace: wire.stack_trace_enabled,
                tcp_no_delay: wire.tcp_no_delay_enabled,
                size_prefix_disabled: false,
                max_inactivity_ms: ms(wire.max_inactivity_duration),
                initial_delay_ms: ms(wire.max_inactivity_initial_delay),
                max_frame_size: i64::try_from(wire.max_frame_size).unwrap_or(i64::MAX),
                max_frame_size_enabled: wire.max_frame_size_enabled,
                host: wire.host.as_deref().map(Text::from),
                provider_version: Some(super::COMPATIBLE_VERSION.into()),
                ..Offer::default()
            },
            version_min: i32::try_from(wire.minimum_version).unwrap_or(i32::MAX).max(1),
            inactivity_monitor: socket.use_inactivity_monitor,
            keep_alive: socket.use_keep_alive,
            trace: socket.trace,
        },
    }
}

/// How long a peer may take nothing: `soWriteTimeout`, or two looks of the status monitor.
fn write_patience(timeout: Duration, is_monitored: bool) -> Option<Duration> {
    let monitored = is_monitored.then_some(STATUS_MONITOR_PATIENCE);
    Some(timeout).filter(|timeout| !timeout.is_zero()).into_iter().chain(monitored).min()
}

/// ActiveMQ's monitor looks every 5 s and ends what was blocked the time before.
const STATUS_MONITOR_PATIENCE: Duration = Duration::from_secs(10);

fn publish(policy: &config::PublishedAddressPolicy) -> Publish {
    Publish {
        host: match policy.host_strategy {
            PublishedHost::Default => HostForm::AsConfigured,
            PublishedHost::IpAddress => HostForm::IpAddress,
            PublishedHost::Hostname | PublishedHost::FullyQualified => HostForm::Name,
        },
        hosts: policy.host_mapping.clone(),
        ports: policy.port_mapping.clone(),
        query: policy.cluster_client_uri_query.clone(),
    }
}

/// What an entry says, to compare it with another one.
pub(super) fn described(entry: &PolicyEntry) -> String {
    format!("{:?}", resolve(entry, &config::SystemUsage::default()))
}

/// One destination's policy.
fn resolve(entry: &PolicyEntry, system: &config::SystemUsage) -> Policy {
    let prefetch = |value: u32| Some(i32::try_from(value).unwrap_or(i32::MAX));
    Policy {
        applies_to: entry
            .applies_to
            .0
            .as_ref()
            .map(|of| Destination::new(of.kind, Some(of.name.as_str().into()))),
        producer_flow_control: entry.producer_flow_control,
        memory_limit_bytes: entry.memory_limit.bytes(),
        queue_prefetch: prefetch(entry.queue_prefetch),
        topic_prefetch: prefetch(entry.topic_prefetch),
        durable_prefetch: prefetch(entry.durable_topic_prefetch),
        browser_prefetch: prefetch(entry.queue_browser_prefetch),
        use_prefetch_extension: entry.use_prefetch_extension,
        prioritized_messages: entry.prioritized_messages,
        use_consumer_priority: entry.use_consumer_priority,
        strict_order_dispatch: entry.strict_order_dispatch,
        all_consumers_exclusive: entry.all_consumers_exclusive,
        lazy_dispatch: entry.lazy_dispatch,
        consumers_before_dispatch: entry.consumers_before_dispatch_starts,
        time_before_dispatch: entry.time_before_dispatch_starts,
        browse_page_max: entry.max_browse_page_size as usize,
        cursor: match entry.pending_queue_policy {
            Some(config::PendingQueuePolicy::Memory) => Cursor::Memory,
            Some(config::PendingQueuePolicy::Store | config::PendingQueuePolicy::File) | None => {
                Cursor::Store
            }
        },
        durable_cursor: match entry.pending_durable_subscriber_policy {
            Some(config::PendingDurableSubscriberPolicy::Memory) => Cursor::Memory,
            _ => Cursor::Store,
        },
        topic_cursor: match entry.pending_subscriber_policy {
            Some(config::PendingSubscriberPolicy::Memory) => Cursor::Memory,
            _ => Cursor::Store,
        },
        use_cache: entry.use_cache,
        cursor_high_water_percent: entry.cursor_memory_high_water_mark,
        store_high_water_percent: entry.store_usage_high_water_mark,
        page_max: entry.max_page_size as usize,
        expire_page_max: entry.max_expire_page_size as usize,
        expire_period: entry.expire_messages_period,
        minimum_message_bytes: entry.minimum_message_size.into(),
        send_fail_if_no_space: entry.send_fail_if_no_space.unwrap_or(system.send_fail_if_no_space),
        send_fail_after: entry
            .send_fail_if_no_space_after_timeout
            .unwrap_or(system.send_fail_if_no_space_after_timeout),
        blocked_warning_interval: entry.blocked_producer_warning_interval,
        audit: entry.enable_audit,
        audit_for_plain: entry.enable_audit && !entry.is_unmatched(),
        audit_depth: entry.max_audit_depth,
        queue_audit_depth: entry.max_queue_audit_depth,
        audit_producers: entry.max_producers_to_audit as usize,
        duplicates_are_dead_letters: entry.send_duplicate_from_store_to_dlq,
        persist_redelivered: entry.persist_jms_redelivered,
        destinations_max: entry.max_destinations,
        inactive_timeout: Some(entry.inactive_timeout_before_gc)
            .filter(|timeout| entry.gc_inactive_destinations && !timeout.is_zero()),
        gc_with_network_consumers: entry.gc_with_network_consumers,
        advisory_for_consumed: entry.advisory_for_consumed,
        advisory_for_delivery: entry.advisory_for_delivery,
        advisory_for_discarding: entry.advisory_for_discarding_messages,
        advisory_for_fast_producers: entry.advisory_for_fast_producers,
        advisory_for_slow_consumers: entry.advisory_for_slow_consumers,
        advisory_when_full: entry.advisory_when_full,
        advisory_if_no_consumers: entry.send_advisory_if_no_consumers,
        advisory_includes_body: entry.include_body_for_advisory,
        dead_letter: dead_letter(entry.dead_letter_strategy.as_ref()),
        pending_limit: match &entry.pending_message_limit_strategy {
            Some(PendingMessageLimitStrategy::Constant(constant)) => {
                constant.limit.map_or(PendingLimit::None, PendingLimit::Constant)
            }
            Some(PendingMessageLimitStrategy::PrefetchRate(rate)) => {
                PendingLimit::PrefetchRate(rate.multiplier)
            }
            None => PendingLimit::None,
        },
        eviction: match &entry.message_eviction_strategy {
            None | Some(MessageEvictionStrategy::Oldest(_)) => Eviction::Oldest,
            Some(MessageEvictionStrategy::OldestWithLowestPriority(_)) => {
                Eviction::OldestWithLowestPriority
            }
            Some(MessageEvictionStrategy::UniqueProperty(unique)) => {
                Eviction::UniqueProperty(unique.property_name.as_str().into())
            }
        },
        evict_expired_from: match &entry.message_eviction_strategy {
            None => 1000,
            Some(
                MessageEvictionStrategy::Oldest(oldest)
                | MessageEvictionStrategy::OldestWithLowestPriority(oldest),
            ) => oldest.evict_expired_high_watermark as usize,
            Some(MessageEvictionStrategy::UniqueProperty(unique)) => {
                unique.evict_expired_high_watermark as usize
            }
        },
        slow_consumers: entry.slow_consumer_strategy.as_ref().map(slow_consumers),
        topic_dispatch: topic_dispatch(entry.dispatch_policy.as_ref()),
        recovery: recovery(entry.subscription_recovery_policy.as_ref()),
        always_retroactive: entry.always_retroactive,
        groups: match &entry.message_group_map {
            config::MessageGroupMap::Cached { size } => {
                GroupMapKind::Cached { size: *size as usize }
            }
            config::MessageGroupMap::Simple => GroupMapKind::Simple,
            config::MessageGroupMap::Bucket { count, .. } => GroupMapKind::Bucket { count: *count },
        },
    }
}

fn slow_consumers(strategy: &config::SlowConsumerStrategy) -> SlowConsumerStrategy {
    macro_rules! common {
        ($strategy:expr, $silence:expr) => {
            SlowConsumerStrategy {
                slow_count_max: $strategy.max_slow_count,
                slow_for_max: $strategy.max_slow_duration.filter(|time| !time.is_zero()),
                check_period: $strategy.check_period,
                abort_connection: $strategy.abort_connection,
                ignore_network_consumers: $strategy.ignore_network_consumers,
                silence: $silence,
            }
        };
    }
    match strategy {
        config::SlowConsumerStrategy::Abort(abort) => common!(abort, None),
        config::SlowConsumerStrategy::AbortSlowAck(abort) => {
            let silence = Silence {
                longest: abort.max_time_since_last_ack,
                ignores_idle: abort.ignore_idle_consumers,
            };
            common!(abort, Some(silence))
        }
    }
}

fn topic_dispatch(policy: Option<&config::DispatchPolicy>) -> TopicDispatch {
    use config::DispatchPolicy as P;
    match policy {
        None | Some(P::Simple | P::StrictOrder) => TopicDispatch::Simple,
        Some(P::RoundRobin) => TopicDispatch::RoundRobin,
        Some(P::Priority) => TopicDispatch::Priority,
        Some(P::PriorityNetwork) => TopicDispatch::PriorityNetwork,
        Some(P::ClientIdFilter(filter)) => TopicDispatch::ClientId {
            property: filter.ptp_client_id.as_str().into(),
            suffix: filter.ptp_suffix.as_str().into(),
        },
    }
}

fn recovery(policy: Option<&config::SubscriptionRecoveryPolicy>) -> RecoveryKind {
    use config::SubscriptionRecoveryPolicy as P;
    match policy {
        None | Some(P::None) => RecoveryKind::None,
        Some(P::FixedCount(count)) => RecoveryKind::Count(count.maximum_size as usize),
        Some(P::FixedSize(sized)) => RecoveryKind::Bytes(sized.maximum_size.into()),
        Some(P::Timed(timed)) => RecoveryKind::Time(timed.recover_duration),
        Some(P::LastImage) => RecoveryKind::Count(1),
        Some(P::Retained(retained)) => recovery(retained.wrapped.as_deref()),
    }
}

fn dead_letter(strategy: Option<&config::DeadLetterStrategy>) -> DeadLetterStrategy {
    macro_rules! common {
        ($strategy:expr, $target:expr) => {
            DeadLetterStrategy {
                target: $target,
                process_expired: $strategy.process_expired,
                process_non_persistent: $strategy.process_non_persistent,
                audit: $strategy.enable_audit,
                audit_depth: $strategy.max_audit_depth,
                audit_producers: $strategy.max_producers_to_audit as usize,
                expiration_ms: i64::try_from($strategy.expiration.as_millis()).unwrap_or(i64::MAX),
            }
        };
    }
    match strategy {
        None => DeadLetterStrategy::default(),
        Some(config::DeadLetterStrategy::Shared(shared)) => {
            let named = shared.dead_letter_queue.as_ref();
            let target = named.map_or_else(
                || Destination::queue("ActiveMQ.DLQ"),
                |d| Destination::new(d.kind, Some(d.name.as_str().into())),
            );
            common!(shared, DeadLetterTarget::Shared(target))
        }
        Some(config::DeadLetterStrategy::Individual(individual)) => {
            let text = |text: &String| Text::from(text.as_str());
            let target = DeadLetterTarget::Individual {
                queue_prefix: text(&individual.queue_prefix),
                queue_suffix: text(&individual.queue_suffix),
                topic_prefix: text(&individual.topic_prefix),
                topic_suffix: text(&individual.topic_suffix),
                queue_for_queue: individual.use_queue_for_queue_messages,
                queue_for_topic: individual.use_queue_for_topic_messages,
                per_durable_subscriber: individual.destination_per_durable_subscriber,
            };
            common!(individual, target)
        }
        Some(config::DeadLetterStrategy::Discarding(discarding)) => {
            common!(discarding, DeadLetterTarget::Discard)
        }
    }
}

#[cfg(test)]
mod tests;
