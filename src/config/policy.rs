//! `<destinationPolicy>`: how destinations behave, chosen by name.

use std::sync::LazyLock;
use std::time::Duration;

use super::destination::{AppliesTo, DestinationKind, DestinationName};
use super::macros::{choice, element};
use super::table::{Given, Property, Reading};
use super::units::MemorySize;
use crate::jms::wildcard;

element! {
    /// All policy entries of a broker.
    pub struct PolicyMap = "policyMap" {
        entries: Vec<PolicyEntry> = "policyEntries" | "entries", Vec::new(), active;
        /// For destinations no entry covers.
        default_entry: Option<PolicyEntry> = "defaultEntry", None, active;
    }
}

impl PolicyMap {
    /// The one entry that is valid for a destination: that of the most specific matching pattern
    /// (the later one of equals), else the default entry, else the built-in values. Entries are
    /// never merged.
    pub fn entry_for(&self, kind: DestinationKind, name: &str) -> &PolicyEntry {
        let candidates = self.entries.iter().filter_map(|entry| {
            entry.applies_to.best_part(kind, name).map(|pattern| (pattern, entry))
        });
        candidates
            .max_by(|(a, _), (b, _)| wildcard::by_specificity(a, b))
            .map(|(_, entry)| entry)
            .or(self.default_entry.as_ref())
            .unwrap_or(&UNMATCHED)
    }
}

impl PolicyEntry {
    /// Whether it stands for there being none.
    pub fn is_unmatched(&self) -> bool {
        std::ptr::eq(self, &raw const *UNMATCHED)
    }
}

/// What holds without any entry: as an empty entry, but with ActiveMQ's other audit sizes, and browsers
/// get all.
static UNMATCHED: LazyLock<PolicyEntry> = LazyLock::new(|| PolicyEntry {
    max_audit_depth: 2048,
    max_producers_to_audit: 1024,
    max_browse_page_size: u32::MAX,
    ..PolicyEntry::default()
});

element! {
    /// The behaviour of the destinations it applies to.
    pub struct PolicyEntry = "policyEntry" {
        applies_to: AppliesTo = "queue" | "topic" | "tempQueue" | "tempTopic" | "destination",
            AppliesTo::default(), active;

        /// A producer of a full destination is held back (else messages are spooled).
        producer_flow_control: bool = "producerFlowControl", true, active;
        /// Memory of one destination, bytes; 0 = its share of the broker's limit.
        memory_limit: MemorySize = "memoryLimit", MemorySize(0), active;
        /// Fail a send at once when there is no space; unset = as systemUsage says.
        send_fail_if_no_space: Option<bool> = "sendFailIfNoSpace", None, active;
        /// Fail a send after waiting this long; unset = as systemUsage says.
        send_fail_if_no_space_after_timeout: Option<Duration> =
            "sendFailIfNoSpaceAfterTimeout", None, active;
        /// How often a blocked producer is mentioned in the log; 0 = never.
        blocked_producer_warning_interval: Duration =
            "blockedProducerWarningInterval", Duration::from_secs(30), active;
        /// Least a message counts in memory accounting, bytes.
        minimum_message_size: u32 = "minimumMessageSize", 1024, active;

        /// Prefetch of queue consumers that did not choose one.
        queue_prefetch: u32 = "queuePrefetch", 1000, active;
        topic_prefetch: u32 = "topicPrefetch", 32767, active;
        durable_topic_prefetch: u32 = "durableTopicPrefetch", 100, active;
        queue_browser_prefetch: u32 = "queueBrowserPrefetch", 500, active;
        /// Transacted and individual acks extend the window.
        use_prefetch_extension: bool = "usePrefetchExtension", true, active;
        use_consumer_priority: bool = "useConsumerPriority", true, active;
        prioritized_messages: bool = "prioritizedMessages", false, active;
        /// No rotation between consumers; what comes back keeps its order.
        strict_order_dispatch: bool = "strictOrderDispatch", false, active;
        all_consumers_exclusive: bool = "allConsumersExclusiveByDefault", false, active;
        /// Page in only what consumers can take.
        lazy_dispatch: bool = "lazyDispatch", false, active;
        consumers_before_dispatch_starts: u32 = "consumersBeforeDispatchStarts", 0, active;
        /// With a number of consumers to wait for, 0 means one second.
        time_before_dispatch_starts: Duration =
            "timeBeforeDispatchStarts", Duration::ZERO, active;

        max_page_size: u32 = "maxPageSize", 200, active;
        max_browse_page_size: u32 = "maxBrowsePageSize", 400, active;
        max_expire_page_size: u32 = "maxExpirePageSize", 400, active;
        /// How often expired messages are looked for; 0 = never.
        expire_messages_period: Duration =
            "expireMessagesPeriod", Duration::from_secs(30), active;
        /// Keep messages in memory beside the store.
        use_cache: bool = "useCache", true, active;
        /// Percent of memory at which cursors stop caching.
        cursor_memory_high_water_mark: u32 = "cursorMemoryHighWaterMark", 70, active;
        /// Percent of the store at which persistent sends block.
        store_usage_high_water_mark: u32 = "storeUsageHighWaterMark", 100, active;

        enable_audit: bool = "enableAudit", true, active;
        max_audit_depth: u32 = "maxAuditDepth", 10_000, active;
        max_producers_to_audit: u32 = "maxProducersToAudit", 64, active;
        max_queue_audit_depth: u32 = "maxQueueAuditDepth", 10_000, active;
        send_duplicate_from_store_to_dlq: bool = "sendDuplicateFromStoreToDLQ", false, active;
        /// Mark as delivered in the store before the first dispatch.
        persist_jms_redelivered: bool = "persistJMSRedelivered", false, active;

        gc_inactive_destinations: bool = "gcInactiveDestinations", false, active;
        inactive_timeout_before_gc: Duration =
            "inactiveTimeoutBeforeGC" | "inactiveTimoutBeforeGC", Duration::from_secs(60), active;
        /// Network consumers do not keep a destination.
        gc_with_network_consumers: bool = "gcWithNetworkConsumers", false, active;
        /// How many destinations this entry may create; unset (-1) = any number.
        max_destinations: Option<u32> = "maxDestinations", None, active;
        always_retroactive: bool = "alwaysRetroactive", false, active;

        advisory_for_consumed: bool = "advisoryForConsumed", false, active;
        advisory_for_delivery: bool = "advisoryForDelivery", false, active;
        advisory_for_discarding_messages: bool = "advisoryForDiscardingMessages", false, active;
        advisory_for_fast_producers: bool = "advisoryForFastProducers", false, active;
        advisory_for_slow_consumers: bool = "advisoryForSlowConsumers", false, active;
        advisory_when_full: bool = "advisoryWhenFull", false, active;
        send_advisory_if_no_consumers: bool = "sendAdvisoryIfNoConsumers", false, active;
        include_body_for_advisory: bool = "includeBodyForAdvisory", false, active;

        message_group_map: MessageGroupMap =
            "messageGroupMapFactoryType" | "messageGroupMapFactory",
            MessageGroupMap::default(), active;
        dead_letter_strategy: Option<DeadLetterStrategy> = "deadLetterStrategy", None, active;
        pending_message_limit_strategy: Option<PendingMessageLimitStrategy> =
            "pendingMessageLimitStrategy", None, active;
        message_eviction_strategy: Option<MessageEvictionStrategy> =
            "messageEvictionStrategy", None, active;
        dispatch_policy: Option<DispatchPolicy> = "dispatchPolicy", None, active;
        slow_consumer_strategy: Option<SlowConsumerStrategy> = "slowConsumerStrategy", None, active;
        subscription_recovery_policy: Option<SubscriptionRecoveryPolicy> =
            "subscriptionRecoveryPolicy", None, active;
        pending_queue_policy: Option<PendingQueuePolicy> = "pendingQueuePolicy", None, active;
        pending_subscriber_policy: Option<PendingSubscriberPolicy> =
            "pendingSubscriberPolicy", None, active;
        pending_durable_subscriber_policy: Option<PendingDurableSubscriberPolicy> =
            "pendingDurableSubscriberPolicy", None, active;
        network_bridge_filter_factory: Option<NetworkBridgeFilterFactory> =
            "networkBridgeFilterFactory", None, later;
    }
    without_effect {
        "optimizedDispatch" = "false",
        "reduceMemoryFootprint" = "false",
        "doOptimzeMessageStorage" = "true",
        "optimizeMessageStoreInFlightLimit" = "10",
        "useTopicSubscriptionInflightStats" = "true",
    }
}

choice! {
    /// Where messages go that cannot be delivered.
    pub enum DeadLetterStrategy {
        Shared(SharedDeadLetterStrategy) = "sharedDeadLetterStrategy", active;
        Individual(IndividualDeadLetterStrategy) = "individualDeadLetterStrategy", active;
        Discarding(DiscardingDeadLetterStrategy) =
            "discarding" | "discardingDeadLetterStrategy", active;
    }
}

impl Default for DeadLetterStrategy {
    fn default() -> Self {
        Self::Shared(SharedDeadLetterStrategy::default())
    }
}

/// A dead letter strategy: its own properties, and those all of them have.
macro_rules! dead_letter_strategy {
    (
        $(#[$meta:meta])*
        pub struct $Strategy:ident = $($element:literal)|+ { $($own:tt)* }
    ) => {
        element! {
            $(#[$meta])*
            pub struct $Strategy = $($element)|+ {
                $($own)*
                /// Expired messages count as dead letters.
                process_expired: bool = "processExpired", true, active;
                process_non_persistent: bool = "processNonPersistent", false, active;
                /// A message becomes a dead letter once.
                enable_audit: bool = "enableAudit", true, active;
                max_audit_depth: u32 = "maxAuditDepth", 2048, active;
                max_producers_to_audit: u32 = "maxProducersToAudit", 64, active;
                /// Time to live of a dead letter; 0 = for ever.
                expiration: Duration = "expiration", Duration::ZERO, active;
            }
        }
    };
}

dead_letter_strategy! {
    /// One queue for all, `ActiveMQ.DLQ` unless named.
    pub struct SharedDeadLetterStrategy = "sharedDeadLetterStrategy" {
        dead_letter_queue: Option<DestinationName> = "deadLetterQueue", None, active;
    }
}

dead_letter_strategy! {
    /// A queue (or topic) for each destination: prefix + name + suffix.
    pub struct IndividualDeadLetterStrategy = "individualDeadLetterStrategy" {
        queue_prefix: String = "queuePrefix", "ActiveMQ.DLQ.Queue.".to_owned(), active;
        topic_prefix: String = "topicPrefix", "ActiveMQ.DLQ.Topic.".to_owned(), active;
        queue_suffix: String = "queueSuffix", String::new(), active;
        topic_suffix: String = "topicSuffix", String::new(), active;
        use_queue_for_queue_messages: bool = "useQueueForQueueMessages", true, active;
        use_queue_for_topic_messages: bool = "useQueueForTopicMessages", true, active;
        destination_per_durable_subscriber: bool = "destinationPerDurableSubscriber", false, active;
    }
}

dead_letter_strategy! {
    /// Dead letters are dropped.
    pub struct DiscardingDeadLetterStrategy = "discarding" | "discardingDeadLetterStrategy" { }
}

choice! {
    /// How many messages wait for a slow topic consumer before some are thrown away.
    pub enum PendingMessageLimitStrategy {
        Constant(ConstantPendingMessageLimit) = "constantPendingMessageLimitStrategy", active;
        PrefetchRate(PrefetchRatePendingMessageLimit) =
            "prefetchRatePendingMessageLimitStrategy", active;
    }
}

element! {
    pub struct ConstantPendingMessageLimit = "constantPendingMessageLimitStrategy" {
        /// Beyond the prefetch; unset (-1) = any number, 0 = none.
        limit: Option<u32> = "limit", None, active;
    }
}

element! {
    pub struct PrefetchRatePendingMessageLimit = "prefetchRatePendingMessageLimitStrategy" {
        /// Times the prefetch.
        multiplier: f64 = "multiplier", 0.5, active;
    }
}

choice! {
    /// Which messages are thrown away for a slow topic consumer.
    pub enum MessageEvictionStrategy {
        Oldest(OldestEviction) = "oldestMessageEvictionStrategy", active;
        OldestWithLowestPriority(OldestEviction) =
            "oldestMessageWithLowestPriorityEvictionStrategy", active;
        UniqueProperty(UniquePropertyEviction) = "uniquePropertyMessageEvictionStrategy", active;
    }
}

element! {
    pub struct OldestEviction =
        "oldestMessageEvictionStrategy" | "oldestMessageWithLowestPriorityEvictionStrategy" {
        /// With more pending than this, expired ones go first.
        evict_expired_high_watermark: u32 = "evictExpiredMessagesHighWatermark", 1000, active;
    }
}

element! {
    /// Only the newest message of each value of a property is kept.
    pub struct UniquePropertyEviction = "uniquePropertyMessageEvictionStrategy" {
        property_name: String = "propertyName", String::new(), active;
        evict_expired_high_watermark: u32 = "evictExpiredMessagesHighWatermark", 1000, active;
    }
}

choice! {
    pub enum DispatchPolicy {
        Simple = "simpleDispatchPolicy", active;
        StrictOrder = "strictOrderDispatchPolicy", active;
        RoundRobin = "roundRobinDispatchPolicy", active;
        Priority = "priorityDispatchPolicy", active;
        PriorityNetwork = "priorityNetworkDispatchPolicy", active;
        ClientIdFilter(ClientIdFilterDispatchPolicy) = "clientIdFilterDispatchPolicy", active;
    }
}

element! {
    pub struct ClientIdFilterDispatchPolicy = "clientIdFilterDispatchPolicy" {
        ptp_client_id: String = "ptpClientId", "PTP_CLIENTID".to_owned(), active;
        ptp_suffix: String = "ptpSuffix", ".PTP".to_owned(), active;
    }
}

choice! {
    /// What happens to consumers that do not keep up.
    pub enum SlowConsumerStrategy {
        Abort(AbortSlowConsumer) = "abortSlowConsumerStrategy", active;
        AbortSlowAck(AbortSlowAckConsumer) = "abortSlowAckConsumerStrategy", active;
    }
}

element! {
    pub struct AbortSlowConsumer = "abortSlowConsumerStrategy" {
        /// Times found slow before the end; unset (-1) = does not count.
        max_slow_count: Option<u32> = "maxSlowCount", None, active;
        max_slow_duration: Option<Duration> =
            "maxSlowDuration", Some(Duration::from_secs(30)), active;
        check_period: Duration = "checkPeriod", Duration::from_secs(30), active;
        abort_connection: bool = "abortConnection", false, active;
        ignore_network_consumers: bool = "ignoreNetworkConsumers", true, active;
    }
    without_effect { "name" }
}

element! {
    pub struct AbortSlowAckConsumer = "abortSlowAckConsumerStrategy" {
        max_slow_count: Option<u32> = "maxSlowCount", None, active;
        max_slow_duration: Option<Duration> =
            "maxSlowDuration", Some(Duration::from_secs(30)), active;
        check_period: Duration = "checkPeriod", Duration::from_secs(30), active;
        abort_connection: bool = "abortConnection", false, active;
        ignore_network_consumers: bool = "ignoreNetworkConsumers", true, active;
        max_time_since_last_ack: Duration = "maxTimeSinceLastAck", Duration::from_secs(30), active;
        ignore_idle_consumers: bool = "ignoreIdleConsumers", true, active;
    }
    without_effect { "name" }
}

choice! {
    /// What a new retroactive topic consumer gets of the past.
    pub enum SubscriptionRecoveryPolicy {
        None = "noSubscriptionRecoveryPolicy", active;
        LastImage = "lastImageSubscriptionRecoveryPolicy", active;
        FixedCount(FixedCountRecovery) = "fixedCountSubscriptionRecoveryPolicy", active;
        FixedSize(FixedSizeRecovery) = "fixedSizedSubscriptionRecoveryPolicy", active;
        Timed(TimedRecovery) = "timedSubscriptionRecoveryPolicy", active;
        Retained(RetainedRecovery) = "retainedMessageSubscriptionRecoveryPolicy", active;
    }
    without_effect { "queryBasedSubscriptionRecoveryPolicy" }
}

element! {
    pub struct FixedCountRecovery = "fixedCountSubscriptionRecoveryPolicy" {
        /// Messages.
        maximum_size: u32 = "maximumSize", 100, active;
    }
}

element! {
    pub struct FixedSizeRecovery = "fixedSizedSubscriptionRecoveryPolicy" {
        /// Bytes.
        maximum_size: u32 = "maximumSize", 65_536, active;
        use_shared_buffer: bool = "useSharedBuffer", true,
            ignored("every topic has a buffer of that size of its own");
    }
    without_effect { "buffer" }
}

element! {
    pub struct TimedRecovery = "timedSubscriptionRecoveryPolicy" {
        recover_duration: Duration = "recoverDuration", Duration::from_secs(60), active;
    }
}

element! {
    /// Retained messages, then what the wrapped policy gives.
    pub struct RetainedRecovery = "retainedMessageSubscriptionRecoveryPolicy" {
        wrapped: Option<Box<SubscriptionRecoveryPolicy>> = "wrapped", None, active;
    }
}

impl Property for Option<Box<SubscriptionRecoveryPolicy>> {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        <SubscriptionRecoveryPolicy as Property>::read(given, reading).map(|p| Some(Box::new(p)))
    }
}

choice! {
    /// Where the pending messages of queues are kept.
    pub enum PendingQueuePolicy {
        Store = "storeCursor", active;
        Memory = "vmQueueCursor", active;
        File = "fileQueueCursor", active;
    }
}

choice! {
    /// Where the pending messages of topic consumers are kept.
    pub enum PendingSubscriberPolicy {
        Memory = "vmCursor", active;
        File = "fileCursor", active;
    }
}

choice! {
    /// Where the pending messages of durable subscriptions are kept.
    pub enum PendingDurableSubscriberPolicy {
        Store(StoreDurableCursor) = "storeDurableSubscriberCursor", active;
        Memory = "vmDurableCursor", active;
        File = "fileDurableSubscriberCursor", active;
    }
}

element! {
    pub struct StoreDurableCursor = "storeDurableSubscriberCursor" {
        immediate_priority_dispatch: bool = "immediatePriorityDispatch", true,
            ignored("a higher priority always goes first");
        use_cache: bool = "useCache", true, ignored("the policy entry has one for all");
    }
}

/// How message groups are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageGroupMap {
    /// The last `size` groups; older ones are assigned anew.
    Cached { size: u32 },
    /// Every group.
    Simple,
    /// Groups share `count` buckets by hash.
    Bucket { count: u32, cache_size: u32 },
}

impl Default for MessageGroupMap {
    fn default() -> Self {
        Self::Cached { size: 1024 }
    }
}

choice! {
    /// The element form of [`MessageGroupMap`].
    pub enum MessageGroupMapFactory {
        Cached(CachedGroups) = "cachedMessageGroupMapFactory", active;
        Simple = "simpleMessageGroupMapFactory", active;
        Bucket(BucketGroups) = "messageGroupHashBucketFactory", active;
    }
}

element! {
    pub struct CachedGroups = "cachedMessageGroupMapFactory" {
        cache_size: u32 = "cacheSize", 1024, active;
    }
}

element! {
    pub struct BucketGroups = "messageGroupHashBucketFactory" {
        bucket_count: u32 = "bucketCount", 1024, active;
        cache_size: u32 = "cacheSize", 64, active;
    }
}

mod message_groups {
    use super::{BucketGroups, CachedGroups, MessageGroupMap, MessageGroupMapFactory};
    use crate::config::table::{Content, Given, Property, Reading};
    use crate::config::units::{BadValue, integer};

    impl From<MessageGroupMapFactory> for MessageGroupMap {
        fn from(factory: MessageGroupMapFactory) -> Self {
            match factory {
                MessageGroupMapFactory::Cached(CachedGroups { cache_size, .. }) => {
                    Self::Cached { size: cache_size }
                }
                MessageGroupMapFactory::Simple => Self::Simple,
                MessageGroupMapFactory::Bucket(BucketGroups {
                    bucket_count, cache_size, ..
                }) => Self::Bucket { count: bucket_count, cache_size },
            }
        }
    }

    impl Property for MessageGroupMap {
        fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
            match given.content {
                Content::Text(_) if given.reference().is_none() => reading.scalar(given, of_text),
                _ => <MessageGroupMapFactory as Property>::read(given, reading).map(Self::from),
            }
        }
    }

    /// `cached?cacheSize=1024`, `simple`, `bucket?bucketCount=1024&cacheSize=64`.
    fn of_text(text: &str) -> Result<MessageGroupMap, BadValue> {
        let (word, query) = text.trim().split_once('?').unwrap_or_else(|| (text.trim(), ""));
        let option = |name: &str, default: u32| {
            let mut pairs = query.split('&').rev().filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(n, _)| *n == name).map(|(_, value)| value);
            value.map_or(Ok(default), |value| integer(value, 1, i64::from(i32::MAX)))
        };
        match word {
            "cached" => Ok(MessageGroupMap::Cached { size: option("cacheSize", 1024)? }),
            "simple" => Ok(MessageGroupMap::Simple),
            "bucket" => Ok(MessageGroupMap::Bucket {
                count: option("bucketCount", 1024)?,
                cache_size: option("cacheSize", 64)?,
            }),
            _ => Err(BadValue::NotOneOf { allowed: &["cached", "simple", "bucket"] }),
        }
    }
}

choice! {
    /// Which messages cross a network bridge.
    pub enum NetworkBridgeFilterFactory {
        Default = "defaultNetworkBridgeFilterFactory", active;
        Conditional(ConditionalBridgeFilter) = "conditionalNetworkBridgeFilterFactory", active;
    }
}

element! {
    pub struct ConditionalBridgeFilter = "conditionalNetworkBridgeFilterFactory" {
        /// A message may go back where it came from if nobody is left here.
        replay_when_no_consumers: bool = "replayWhenNoConsumers", false, active;
        replay_delay: Duration = "replayDelay", Duration::ZERO, active;
        /// Messages per `rate_duration`; 0 = no limit.
        rate_limit: u32 = "rateLimit", 0, active;
        rate_duration: Duration = "rateDuration", Duration::from_secs(1), active;
        selector_aware: bool = "selectorAware", false, active;
    }
}
