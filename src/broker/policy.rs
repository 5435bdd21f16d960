//! What holds for one destination: the values of its `<policyEntry>`, resolved.

use super::error::BrokerError;
use super::router::{self, Present};
use crate::jms::{ConsumerInfo, Destination, Text};
use std::time::Duration;

/// The policy of one destination; names and defaults as in ActiveMQ 5.17.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Name or pattern of the entry; none: it is the default one.
    pub applies_to: Option<Destination>,
    pub producer_flow_control: bool,
    /// Bytes; 0: a share of the broker's limit.
    pub memory_limit_bytes: u64,
    pub queue_prefetch: Option<i32>,
    pub topic_prefetch: Option<i32>,
    pub durable_prefetch: Option<i32>,
    pub browser_prefetch: Option<i32>,
    pub use_prefetch_extension: bool,
    pub prioritized_messages: bool,
    pub use_consumer_priority: bool,
    pub strict_order_dispatch: bool,
    pub all_consumers_exclusive: bool,
    /// Pages are no larger than what consumers can take now.
    pub lazy_dispatch: bool,
    /// Consumers the first dispatch of a queue waits for; 0: it does not wait for any.
    pub consumers_before_dispatch: u32,
    /// How long it waits for them (zero: a second), or without them.
    pub time_before_dispatch: Duration,
    /// `maxBrowsePageSize`: how much a browser gets; 0: what consumers hold or gave back. Without a policy
    /// entry: all.
    pub browse_page_max: usize,
    /// Where pending messages of a queue are kept.
    pub cursor: Cursor,
    /// The same for durable subscriptions.
    pub durable_cursor: Cursor,
    /// The same for other subscriptions of topics.
    pub topic_cursor: Cursor,
    /// Whether what is stored may stay in memory as well.
    pub use_cache: bool,
    /// Share of the memory limit from which pending messages go to the disk.
    pub cursor_high_water_percent: u32,
    /// Share of the store's limit from which persistent messages wait.
    pub store_high_water_percent: u32,
    /// Messages read from the store at a time, at least.
    pub page_max: usize,
    /// Expired messages looked for in the store at a time.
    pub expire_page_max: usize,
    /// How often pending messages are looked through for expired ones; zero: never.
    pub expire_period: Duration,
    pub minimum_message_bytes: u64,
    pub send_fail_if_no_space: bool,
    /// Fails a waiting send after this long; zero: waits for ever.
    pub send_fail_after: Duration,
    pub blocked_warning_interval: Duration,
    pub audit: bool,
    /// Of topics.
    pub audit_depth: u32,
    pub queue_audit_depth: u32,
    pub audit_producers: usize,
    /// Whether consumers of topics that are not durable are spared duplicates, too: with an entry only.
    pub audit_for_plain: bool,
    /// What the audit finds becomes a dead letter.
    pub duplicates_are_dead_letters: bool,
    /// `persistJMSRedelivered`: the store knows of a message that a consumer is about to get it.
    pub persist_redelivered: bool,
    /// Most destinations the entry may create; none: no limit.
    pub destinations_max: Option<u32>,
    /// A destination that nobody used for so long is removed; none: it stays.
    pub inactive_timeout: Option<Duration>,
    /// Consumers of networks do not keep it.
    pub gc_with_network_consumers: bool,
    pub advisory_for_consumed: bool,
    pub advisory_for_delivery: bool,
    pub advisory_for_discarding: bool,
    pub advisory_for_fast_producers: bool,
    pub advisory_for_slow_consumers: bool,
    pub advisory_when_full: bool,
    pub advisory_if_no_consumers: bool,
    pub advisory_includes_body: bool,
    pub dead_letter: DeadLetterStrategy,
    /// Most messages a topic subscription keeps beyond its prefetch.
    pub pending_limit: PendingLimit,
    pub eviction: Eviction,
    /// With more messages pending than this (or than the limit) expired ones go at once.
    pub evict_expired_from: usize,
    /// How consumers that do not keep up are ended; none: they are not.
    pub slow_consumers: Option<SlowConsumerStrategy>,
    pub groups: GroupMapKind,
    /// Which subscriptions of a topic get a message, and in which order.
    pub topic_dispatch: TopicDispatch,
    /// What a topic keeps for retroactive consumers.
    pub recovery: RecoveryKind,
    /// Every consumer of a topic is retroactive.
    pub always_retroactive: bool,
}

impl Policy {
    /// The connection of a consumer, if what it consumes is announced.
    pub fn witness(&self, consumer: &ConsumerInfo) -> Option<Text> {
        consumer.connection().filter(|_| self.advisory_for_consumed).cloned()
    }

    /// What holds from now on for a destination that is there already, when `new` is its policy: how it keeps
    /// its messages stays as it is.
    pub fn replaced_by(&self, new: Self) -> Self {
        Self {
            prioritized_messages: self.prioritized_messages,
            cursor: self.cursor,
            durable_cursor: self.durable_cursor,
            topic_cursor: self.topic_cursor,
            audit: self.audit,
            audit_depth: self.audit_depth,
            queue_audit_depth: self.queue_audit_depth,
            audit_producers: self.audit_producers,
            groups: self.groups,
            topic_dispatch: self.topic_dispatch.clone(),
            recovery: self.recovery,
            ..new
        }
    }

    /// Whether `destination` may come into being beside what there is (`maxDestinations`): what the entry
    /// applies to counts, or, for the default one, all of its kind.
    pub fn allows_another(
        &self,
        destination: &Destination,
        present: Present<'_>,
    ) -> Result<(), BrokerError> {
        let Some(limit) = self.destinations_max.filter(|_| !destination.is_advisory()) else {
            return Ok(());
        };
        let parts = self.applies_to.as_ref().map(Destination::parts);
        let counts = |other: &Destination| match &parts {
            Some(parts) => parts.iter().any(|part| router::matches(part, other)),
            None => other.kind() == destination.kind() && !other.is_advisory(),
        };
        if present.count(counts) < limit as usize {
            return Ok(());
        }
        Err(BrokerError::TooManyDestinations { limit, policy: self.applies_to.clone() })
    }
}

/// `<dispatchPolicy>`: which subscriptions of a topic get a message, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TopicDispatch {
    /// All, always in the same order (`simpleDispatchPolicy`, `strictOrderDispatchPolicy`).
    #[default]
    Simple,
    /// All; each message begins with another one.
    RoundRobin,
    /// All, those of higher priority first.
    Priority,
    /// All; of network subscriptions for the same remote consumer that of the highest priority only.
    PriorityNetwork,
    /// All; a message of a topic whose name ends in `suffix` only those of the client that `property` of
    /// the message names, if it has it.
    ClientId { property: Text, suffix: Text },
}

/// `<pendingQueuePolicy>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In memory while there is room; then stored messages stay in the store, and others go to the temp
    /// store. (`storeCursor`, `fileQueueCursor`)
    Store,
    /// In memory only (`vmQueueCursor`).
    Memory,
}

/// `<subscriptionRecoveryPolicy>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryKind {
    None,
    /// The last so many messages; the last image is the last one.
    Count(usize),
    /// The last messages of together at most so many bytes.
    Bytes(u64),
    /// The messages of the last so long.
    Time(Duration),
}

/// Where messages go that nobody could consume.
#[derive(Clone, Debug)]
pub struct DeadLetterStrategy {
    pub target: DeadLetterTarget,
    pub process_expired: bool,
    pub process_non_persistent: bool,
    pub audit: bool,
    pub audit_depth: u32,
    pub audit_producers: usize,
    /// ms added to now as the new expiration; 0: none.
    pub expiration_ms: i64,
}

/// The kinds of `<deadLetterStrategy>`.
#[derive(Clone, Debug)]
pub enum DeadLetterTarget {
    Shared(Destination),
    Individual {
        queue_prefix: Text,
        queue_suffix: Text,
        topic_prefix: Text,
        topic_suffix: Text,
        queue_for_queue: bool,
        queue_for_topic: bool,
        per_durable_subscriber: bool,
    },
    Discard,
}

/// `<pendingMessageLimitStrategy>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PendingLimit {
    None,
    Constant(u32),
    PrefetchRate(f64),
}

/// `<messageEvictionStrategy>`: which message goes when a topic subscription is over its limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Eviction {
    Oldest,
    OldestWithLowestPriority,
    UniqueProperty(Text),
}

/// `<slowConsumerStrategy>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowConsumerStrategy {
    /// Times a consumer may be slow; none: any number.
    pub slow_count_max: Option<u32>,
    /// How long it may be slow; none: for ever.
    pub slow_for_max: Option<Duration>,
    pub check_period: Duration,
    /// Its connection is closed, not just the consumer.
    pub abort_connection: bool,
    pub ignore_network_consumers: bool,
    /// Slow is who does not acknowledge; none: who does not take what waits.
    pub silence: Option<Silence>,
}

/// What `<abortSlowAckConsumerStrategy>` takes for slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Longest time between acknowledgements.
    pub longest: Duration,
    /// Not of consumers that hold no message.
    pub ignores_idle: bool,
}

/// `messageGroupMapFactoryType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupMapKind {
    Cached { size: usize },
    Simple,
    Bucket { count: u32 },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            applies_to: None,
            producer_flow_control: true,
            memory_limit_bytes: 0,
            queue_prefetch: None,
            topic_prefetch: None,
            durable_prefetch: None,
            browser_prefetch: None,
            use_prefetch_extension: true,
            prioritized_messages: false,
            use_consumer_priority: true,
            strict_order_dispatch: false,
            all_consumers_exclusive: false,
            lazy_dispatch: false,
            consumers_before_dispatch: 0,
            time_before_dispatch: Duration::ZERO,
            browse_page_max: usize::MAX,
            cursor: Cursor::Store,
            durable_cursor: Cursor::Store,
            topic_cursor: Cursor::Store,
            use_cache: true,
            cursor_high_water_percent: 70,
            store_high_water_percent: 100,
            page_max: 200,
            expire_page_max: 400,
            expire_period: Duration::from_secs(30),
            minimum_message_bytes: 1024,
            send_fail_if_no_space: false,
            send_fail_after: Duration::ZERO,
            blocked_warning_interval: Duration::from_secs(30),
            audit: true,
            audit_depth: 2048,
            queue_audit_depth: 2048,
            audit_producers: 1024,
            audit_for_plain: false,
            duplicates_are_dead_letters: false,
            persist_redelivered: false,
            destinations_max: None,
            inactive_timeout: None,
            gc_with_network_consumers: false,
            advisory_for_consumed: false,
            advisory_for_delivery: false,
            advisory_for_discarding: false,
            advisory_for_fast_producers: false,
            advisory_for_slow_consumers: false,
            advisory_when_full: false,
            advisory_if_no_consumers: false,
            advisory_includes_body: false,
            dead_letter: DeadLetterStrategy::default(),
            pending_limit: PendingLimit::None,
            eviction: Eviction::Oldest,
            evict_expired_from: 1000,
            slow_consumers: None,
            groups: GroupMapKind::Cached { size: 1024 },
            topic_dispatch: TopicDispatch::Simple,
            recovery: RecoveryKind::None,
            always_retroactive: false,
        }
    }
}

impl Default for DeadLetterStrategy {
    fn default() -> Self {
        Self {
            target: DeadLetterTarget::Shared(Destination::queue("ActiveMQ.DLQ")),
            process_expired: true,
            process_non_persistent: false,
            audit: true,
            audit_depth: 2048,
            audit_producers: 64,
            expiration_ms: 0,
        }
    }
}
