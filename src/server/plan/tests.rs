//! Which policy a destination has by what a configuration file says.

use super::*;
use crate::config::Variables;

/// The policy of queues and topics, by a policy entry with this inside.
fn policy_of(attributes: &str, strategies: &str) -> Policy {
    let entry = |kind| format!("<policyEntry {kind}='>' {attributes}>{strategies}</policyEntry>");
    let text = format!(
        "<broker><destinationPolicy><policyMap><policyEntries>{}{}</policyEntries></policyMap>\
         </destinationPolicy></broker>",
        entry("queue"),
        entry("topic")
    );
    let config = config::parse(&text, Path::new("a.xml"), Variables::default());
    let config = config.unwrap_or_else(|errors| panic!("{strategies}: {errors}"));
    let (plan, _) = of_config(&config, BrokerId::default());
    let of = [Destination::queue("Q"), Destination::topic("T")].map(|of| (plan.broker.policy)(&of));
    let [queue, topic] = of.map(|policy| Policy { applies_to: None, ..policy });
    assert_eq!(format!("{queue:?}"), format!("{topic:?}"));
    queue
}

fn strategy(strategies: &str) -> Policy {
    policy_of("", strategies)
}

fn within(element: &str, content: &str) -> Policy {
    strategy(&format!("<{element}>{content}</{element}>"))
}

#[test]
fn vm_and_file_queue_cursors_can_be_chosen_instead_of_the_store_cursor() {
    assert_eq!(strategy("").cursor, Cursor::Store);
    for (name, cursor) in [
        ("storeCursor", Cursor::Store),
        ("vmQueueCursor", Cursor::Memory),
        ("fileQueueCursor", Cursor::Store),
    ] {
        let policy = within("pendingQueuePolicy", &format!("<{name}/>"));
        assert_eq!(policy.cursor, cursor, "{name}");
        assert_eq!((policy.durable_cursor, policy.topic_cursor), (Cursor::Store, Cursor::Store));
    }
}

#[test]
fn vm_and_file_cursors_of_topic_subscriptions_can_be_chosen() {
    for (name, cursor) in [("vmCursor", Cursor::Memory), ("fileCursor", Cursor::Store)] {
        let policy = within("pendingSubscriberPolicy", &format!("<{name}/>"));
        assert_eq!(policy.topic_cursor, cursor, "{name}");
        assert_eq!((policy.cursor, policy.durable_cursor), (Cursor::Store, Cursor::Store));
    }
}

#[test]
fn vm_and_file_cursors_of_durable_subscriptions_can_be_chosen() {
    for (name, cursor) in [
        ("storeDurableSubscriberCursor immediatePriorityDispatch='true'", Cursor::Store),
        ("storeDurableSubscriberCursor immediatePriorityDispatch='false'", Cursor::Store),
        ("vmDurableCursor", Cursor::Memory),
        ("fileDurableSubscriberCursor", Cursor::Store),
    ] {
        let policy = within("pendingDurableSubscriberPolicy", &format!("<{name}/>"));
        assert_eq!(policy.durable_cursor, cursor, "{name}");
        assert_eq!((policy.cursor, policy.topic_cursor), (Cursor::Store, Cursor::Store));
    }
}

#[test]
fn slow_consumers_are_borne_unless_a_strategy_says_how_long() {
    assert_eq!(strategy("").slow_consumers, None);
    let (half_a_minute, by_default) = (Duration::from_secs(30), "");
    let told = "maxSlowCount='3' maxSlowDuration='0' checkPeriod='70' abortConnection='true' \
                ignoreNetworkConsumers='false'";
    let of_default = SlowConsumerStrategy {
        slow_count_max: None,
        slow_for_max: Some(half_a_minute),
        check_period: half_a_minute,
        abort_connection: false,
        ignore_network_consumers: true,
        silence: None,
    };
    let as_told = SlowConsumerStrategy {
        slow_count_max: Some(3),
        slow_for_max: None,
        check_period: Duration::from_millis(70),
        abort_connection: true,
        ignore_network_consumers: false,
        silence: None,
    };
    let silence = |longest, ignores_idle| Some(Silence { longest, ignores_idle });
    for (element, attributes, strategy) in [
        ("abortSlowConsumerStrategy", by_default, of_default),
        ("abortSlowConsumerStrategy", told, as_told),
        (
            "abortSlowAckConsumerStrategy",
            by_default,
            SlowConsumerStrategy { silence: silence(half_a_minute, true), ..of_default },
        ),
        (
            "abortSlowAckConsumerStrategy",
            &format!("{told} maxTimeSinceLastAck='90' ignoreIdleConsumers='false'"),
            SlowConsumerStrategy { silence: silence(Duration::from_millis(90), false), ..as_told },
        ),
    ] {
        let policy = within("slowConsumerStrategy", &format!("<{element} {attributes}/>"));
        assert_eq!(policy.slow_consumers, Some(strategy), "{element} {attributes}");
    }
}

#[test]
fn each_dispatch_policy_of_topics_can_be_chosen() {
    assert_eq!(strategy("").topic_dispatch, TopicDispatch::Simple);
    let filter = |property: &str, suffix: &str| TopicDispatch::ClientId {
        property: property.into(),
        suffix: suffix.into(),
    };
    for (name, dispatch) in [
        ("simpleDispatchPolicy", TopicDispatch::Simple),
        ("strictOrderDispatchPolicy", TopicDispatch::Simple),
        ("roundRobinDispatchPolicy", TopicDispatch::RoundRobin),
        ("priorityDispatchPolicy", TopicDispatch::Priority),
        ("priorityNetworkDispatchPolicy", TopicDispatch::PriorityNetwork),
        ("clientIdFilterDispatchPolicy", filter("PTP_CLIENTID", ".PTP")),
        ("clientIdFilterDispatchPolicy ptpClientId='TO' ptpSuffix='.ONE'", filter("TO", ".ONE")),
    ] {
        assert_eq!(within("dispatchPolicy", &format!("<{name}/>")).topic_dispatch, dispatch);
    }
}

#[test]
fn each_subscription_recovery_policy_can_be_chosen() {
    assert_eq!(strategy("").recovery, RecoveryKind::None);
    let seconds = Duration::from_secs;
    for (policy, kind) in [
        ("<noSubscriptionRecoveryPolicy/>", RecoveryKind::None),
        ("<lastImageSubscriptionRecoveryPolicy/>", RecoveryKind::Count(1)),
        ("<fixedCountSubscriptionRecoveryPolicy/>", RecoveryKind::Count(100)),
        ("<fixedCountSubscriptionRecoveryPolicy maximumSize='7'/>", RecoveryKind::Count(7)),
        ("<fixedSizedSubscriptionRecoveryPolicy/>", RecoveryKind::Bytes(65_536)),
        ("<fixedSizedSubscriptionRecoveryPolicy maximumSize='9'/>", RecoveryKind::Bytes(9)),
        ("<timedSubscriptionRecoveryPolicy/>", RecoveryKind::Time(seconds(60))),
        (
            "<timedSubscriptionRecoveryPolicy recoverDuration='2000'/>",
            RecoveryKind::Time(seconds(2)),
        ),
        ("<retainedMessageSubscriptionRecoveryPolicy/>", RecoveryKind::None),
        (
            "<retainedMessageSubscriptionRecoveryPolicy><wrapped>\
             <fixedCountSubscriptionRecoveryPolicy maximumSize='3'/></wrapped>\
             </retainedMessageSubscriptionRecoveryPolicy>",
            RecoveryKind::Count(3),
        ),
    ] {
        assert_eq!(within("subscriptionRecoveryPolicy", policy).recovery, kind, "{policy}");
    }
    assert!(policy_of("alwaysRetroactive='true'", "").always_retroactive);
}

#[test]
fn pending_messages_are_limited_and_evicted_as_chosen() {
    let none = strategy("");
    assert_eq!((none.pending_limit, none.eviction), (PendingLimit::None, Eviction::Oldest));
    assert_eq!(none.evict_expired_from, 1000);
    for (name, limit) in [
        ("constantPendingMessageLimitStrategy limit='-1'", PendingLimit::None),
        ("constantPendingMessageLimitStrategy limit='0'", PendingLimit::Constant(0)),
        ("constantPendingMessageLimitStrategy limit='50'", PendingLimit::Constant(50)),
        ("prefetchRatePendingMessageLimitStrategy", PendingLimit::PrefetchRate(0.5)),
        (
            "prefetchRatePendingMessageLimitStrategy multiplier='2.5'",
            PendingLimit::PrefetchRate(2.5),
        ),
    ] {
        let policy = within("pendingMessageLimitStrategy", &format!("<{name}/>"));
        assert_eq!(policy.pending_limit, limit, "{name}");
    }
    let early = "evictExpiredMessagesHighWatermark='5'";
    for (name, eviction) in [
        ("oldestMessageEvictionStrategy", Eviction::Oldest),
        ("oldestMessageWithLowestPriorityEvictionStrategy", Eviction::OldestWithLowestPriority),
        (
            "uniquePropertyMessageEvictionStrategy propertyName='p'",
            Eviction::UniqueProperty("p".into()),
        ),
    ] {
        let policy = within("messageEvictionStrategy", &format!("<{name} {early}/>"));
        assert_eq!((policy.eviction, policy.evict_expired_from), (eviction, 5), "{name}");
    }
}

#[test]
fn dead_letters_go_where_the_strategy_says() {
    let target = |strategies: &str| format!("{:?}", strategy(strategies).dead_letter.target);
    let shared = |name| format!("{:?}", DeadLetterTarget::Shared(Destination::queue(name)));
    assert_eq!(target(""), shared("ActiveMQ.DLQ"));
    let of = |content: &str| target(&format!("<deadLetterStrategy>{content}</deadLetterStrategy>"));
    assert_eq!(of("<sharedDeadLetterStrategy/>"), shared("ActiveMQ.DLQ"));
    let named = "<sharedDeadLetterStrategy><deadLetterQueue><queue physicalName='DEAD'/>\
                 </deadLetterQueue></sharedDeadLetterStrategy>";
    assert_eq!(of(named), shared("DEAD"));
    assert_eq!(of("<discarding/>"), format!("{:?}", DeadLetterTarget::Discard));
    let individual = DeadLetterTarget::Individual {
        queue_prefix: "ActiveMQ.DLQ.Queue.".into(),
        queue_suffix: "".into(),
        topic_prefix: "ActiveMQ.DLQ.Topic.".into(),
        topic_suffix: "".into(),
        queue_for_queue: true,
        queue_for_topic: true,
        per_durable_subscriber: false,
    };
    assert_eq!(of("<individualDeadLetterStrategy/>"), format!("{individual:?}"));
    let told = DeadLetterTarget::Individual {
        queue_prefix: "DLQ.".into(),
        queue_suffix: ".a".into(),
        topic_prefix: "DLT.".into(),
        topic_suffix: ".b".into(),
        queue_for_queue: false,
        queue_for_topic: false,
        per_durable_subscriber: true,
    };
    let all = "<individualDeadLetterStrategy queuePrefix='DLQ.' queueSuffix='.a' \
               topicPrefix='DLT.' topicSuffix='.b' useQueueForQueueMessages='false' \
               useQueueForTopicMessages='false' destinationPerDurableSubscriber='true'/>";
    assert_eq!(of(all), format!("{told:?}"));
}

#[test]
fn each_dead_letter_strategy_says_what_is_a_dead_letter_and_for_how_long() {
    let told = "processExpired='false' processNonPersistent='true' enableAudit='false' \
                maxAuditDepth='5' maxProducersToAudit='6' expiration='7000'";
    for name in ["sharedDeadLetterStrategy", "individualDeadLetterStrategy", "discarding"] {
        for (attributes, expected) in
            [("", (true, false, true, 2048, 64, 0)), (told, (false, true, false, 5, 6, 7000))]
        {
            let of = within("deadLetterStrategy", &format!("<{name} {attributes}/>")).dead_letter;
            let audit = (of.audit, of.audit_depth, of.audit_producers, of.expiration_ms);
            let got =
                (of.process_expired, of.process_non_persistent, audit.0, audit.1, audit.2, audit.3);
            assert_eq!(got, expected, "{name} {attributes}");
        }
    }
}

#[test]
fn a_policy_entry_overrides_how_all_senders_wait_for_space() {
    let of = |attributes: &str| {
        let text = format!(
            "<broker><destinationPolicy><policyMap><policyEntries><policyEntry queue='>' \
             {attributes}/></policyEntries></policyMap></destinationPolicy><systemUsage>\
             <systemUsage sendFailIfNoSpace='true' sendFailIfNoSpaceAfterTimeout='3000'/>\
             </systemUsage></broker>"
        );
        let config = config::parse(&text, Path::new("a.xml"), Variables::default());
        let (plan, _) = of_config(&config.expect("a valid file"), BrokerId::default());
        let policy = (plan.broker.policy)(&Destination::queue("Q"));
        (policy.send_fail_if_no_space, policy.send_fail_after)
    };
    assert_eq!(of(""), (true, Duration::from_secs(3)));
    let own = "sendFailIfNoSpace='false' sendFailIfNoSpaceAfterTimeout='0'";
    assert_eq!(of(own), (false, Duration::ZERO));
}

#[test]
fn each_message_group_map_can_be_chosen() {
    for (attributes, groups) in [
        ("", GroupMapKind::Cached { size: 1024 }),
        ("messageGroupMapFactoryType='cached'", GroupMapKind::Cached { size: 1024 }),
        ("messageGroupMapFactoryType='cached?cacheSize=9'", GroupMapKind::Cached { size: 9 }),
        ("messageGroupMapFactoryType='simple'", GroupMapKind::Simple),
        ("messageGroupMapFactoryType='bucket'", GroupMapKind::Bucket { count: 1024 }),
        ("messageGroupMapFactoryType='bucket?bucketCount=8'", GroupMapKind::Bucket { count: 8 }),
    ] {
        assert_eq!(policy_of(attributes, "").groups, groups, "{attributes}");
    }
}
