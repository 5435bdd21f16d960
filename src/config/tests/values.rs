//! What the file says arrives in the structs.

use std::time::Duration;

use super::*;

#[test]
fn the_three_ways_to_write_a_property_mean_the_same() {
    for content in [
        "<systemUsage><systemUsage><memoryUsage><memoryUsage limit='64 mb'/></memoryUsage>\
         </systemUsage></systemUsage>",
        "<systemUsage><systemUsage><memoryUsage><memoryUsage><limit>64 mb</limit></memoryUsage>\
         </memoryUsage></systemUsage></systemUsage>",
        "<systemUsage><systemUsage><property name='memoryUsage'><memoryUsage>\
         <property name='limit' value='64 mb'/></memoryUsage></property></systemUsage></systemUsage>",
        "<systemUsage><systemUsage><property name='memoryUsage' ref='m'/></systemUsage></systemUsage>\
         <managementContext><managementContext id='x'/></managementContext>\
         <producerSystemUsage><systemUsage><memoryUsage><memoryUsage id='m' limit='64 mb'/>\
         </memoryUsage></systemUsage></producerSystemUsage>",
    ] {
        let memory = inside(content).broker.system_usage.memory;
        assert_eq!(memory.limit, Some(MemorySize::mib(64)), "{content}");
        assert_eq!(memory.limit_bytes(1 << 30), 64 << 20);
    }
}

#[test]
fn beans_of_known_classes_stand_for_their_element() {
    let config = inside(
        "<schedulerSupport>true</schedulerSupport><plugins>\
         <bean class='org.apache.activemq.plugin.ForcePersistencyModeBrokerPlugin' id='p'>\
         <property name='persistenceFlag' value='on'/></bean></plugins>\
         <jobSchedulerStore><bean class='org.apache.activemq.store.kahadb.scheduler.\
         JobSchedulerStoreImpl'><property name='directory' value='jobs'/></bean></jobSchedulerStore>",
    );
    assert!(config.broker.scheduler_support);
    let [Plugin::ForcePersistency(plugin)] = config.broker.plugins.as_slice() else { panic!() };
    assert!(plugin.persistence_flag);
    let Some(JobSchedulerStore::KahaDb(jobs)) = config.broker.job_scheduler_store else { panic!() };
    assert_eq!(jobs.directory.as_deref(), Some(Path::new("jobs")));
}

#[test]
fn connectors_have_names_addresses_and_options() {
    let config = inside(
        "<transportConnectors><transportConnector name='o' allowLinkStealing='true' \
         maximumConsumersAllowedPerConnection='7' uri='nio://[::]:61616?maximumConnections=5&amp;\
         wireFormat.maxInactivityDuration=0&amp;transport.soWriteTimeout=9&amp;soLinger=-1'/>\
         <transportConnector uri='auto+ssl://h:0?wireFormat.maxFrameSize=9&amp;\
         wireFormat.stomp.maxDataLength=8&amp;wireFormat.mqtt.maxFrameSize=7&amp;\
         auto.protocols=default,stomp&amp;needClientAuth=true'/>\
         <transportConnector name='m' uri='mqtt://h:1883?transport.subscriptionStrategy=\
         mqtt-virtual-topic-subscriptions'/></transportConnectors>\
         <transportConnectorURIs><value>tcp://localhost:1</value></transportConnectorURIs>",
    );
    let [open, auto, mqtt, short] = config.broker.transport_connectors.as_slice() else {
        panic!("{:?}", config.broker.transport_connectors)
    };
    assert_eq!(
        (open.name.as_str(), open.listen.host.as_str(), open.listen.port),
        ("o", "::", 61616)
    );
    assert_eq!(open.place.to_string(), "a.xml:2");
    assert_eq!(open.maximum_consumers_per_connection, 7);
    assert_eq!(open.listen.options.socket.maximum_connections, 5);
    assert_eq!(open.listen.options.socket.so_write_timeout, Duration::from_millis(9));
    assert_eq!(open.listen.options.openwire.max_inactivity_duration, Duration::ZERO);
    assert!(open.steals_links() && mqtt.steals_links() && !short.steals_links());

    assert_eq!((auto.listen.protocol, auto.listen.tls), (Protocol::Auto, true));
    assert!(auto.name.starts_with("auto+ssl://h:0?"));
    let options = &auto.listen.options;
    assert_eq!((options.openwire.max_frame_size, options.stomp.max_frame_size), (9, 9));
    assert_eq!((options.stomp.max_data_length, options.mqtt.max_frame_size), (8, 7));
    assert_eq!(options.auto.protocols, ["default", "stomp"]);
    assert!(options.tls.need_client_auth);
    assert_eq!(mqtt.listen.options.mqtt.subscription_strategy, MqttSubscriptions::VirtualTopics);
    assert_eq!(short.name, "tcp://localhost:1");
}

#[test]
fn the_most_specific_policy_entry_counts_alone() {
    let config = inside(
        "<destinationPolicy><policyMap><policyEntries>\
         <policyEntry queue='>' memoryLimit='1'/><policyEntry queue='A.>' memoryLimit='2'/>\
         <policyEntry queue='A.*' memoryLimit='3'/><policyEntry queue='A.B' memoryLimit='4'/>\
         <policyEntry queue='*.C.>' memoryLimit='5'/><policyEntry queue='X,Y.*' memoryLimit='6'/>\
         <policyEntry topic='A.B' memoryLimit='7'/><policyEntry tempQueue='true' memoryLimit='8'/>\
         <policyEntry memoryLimit='9'><destination><queue physicalName='Z'/></destination>\
         </policyEntry></policyEntries><defaultEntry><policyEntry memoryLimit='10'/></defaultEntry>\
         </policyMap></destinationPolicy>",
    );
    use DestinationKind::{Queue, TempQueue, TempTopic, Topic};
    for (kind, name, expected) in [
        (Queue, "Q", 1),
        (Queue, "A", 2),
        (Queue, "A.B.C", 2),
        (Queue, "A.X", 3),
        (Queue, "A.C", 3),
        (Queue, "A.B", 4),
        (Queue, "B.C.D", 5),
        (Queue, "X", 6),
        (Queue, "Y.1", 6),
        (Queue, "Z", 9),
        (Topic, "A.B", 7),
        (Topic, "A.C", 10),
        (TempQueue, "ID:x:1", 8),
        (TempTopic, "ID:x:1", 10),
    ] {
        let entry = config.broker.destination_policy.entry_for(kind, name);
        assert_eq!(entry.memory_limit.bytes(), expected, "{kind:?} {name}");
    }
    let entry = PolicyMap::default().entry_for(Queue, "Q").clone();
    assert_eq!((entry.max_audit_depth, entry.max_producers_to_audit), (2048, 1024));
    assert_eq!(PolicyEntry::default().max_audit_depth, 10_000);
}

#[test]
fn policy_entries_read_all_their_strategies() {
    let config = inside(
        "<destinationPolicy><policyMap><policyEntries><policyEntry queue='>' \
         messageGroupMapFactoryType='bucket?bucketCount=8' inactiveTimoutBeforeGC='5'>\
         <deadLetterStrategy><individualDeadLetterStrategy queuePrefix='DLQ.' processExpired='false'/>\
         </deadLetterStrategy><pendingMessageLimitStrategy><constantPendingMessageLimitStrategy \
         limit='50'/></pendingMessageLimitStrategy><messageEvictionStrategy>\
         <uniquePropertyMessageEvictionStrategy propertyName='p'/></messageEvictionStrategy>\
         <subscriptionRecoveryPolicy><retainedMessageSubscriptionRecoveryPolicy><wrapped>\
         <lastImageSubscriptionRecoveryPolicy/></wrapped></retainedMessageSubscriptionRecoveryPolicy>\
         </subscriptionRecoveryPolicy></policyEntry></policyEntries></policyMap></destinationPolicy>",
    );
    let entry = config.broker.destination_policy.entry_for(DestinationKind::Queue, "A");
    assert_eq!(entry.message_group_map, MessageGroupMap::Bucket { count: 8, cache_size: 64 });
    assert_eq!(entry.inactive_timeout_before_gc, Duration::from_millis(5));
    let Some(DeadLetterStrategy::Individual(dead)) = &entry.dead_letter_strategy else { panic!() };
    assert_eq!((dead.queue_prefix.as_str(), dead.process_expired), ("DLQ.", false));
    let Some(PendingMessageLimitStrategy::Constant(limit)) = &entry.pending_message_limit_strategy
    else {
        panic!()
    };
    assert_eq!(limit.limit, Some(50));
    let Some(SubscriptionRecoveryPolicy::Retained(retained)) = &entry.subscription_recovery_policy
    else {
        panic!()
    };
    assert_eq!(retained.wrapped.as_deref(), Some(&SubscriptionRecoveryPolicy::LastImage));
}

#[test]
fn the_store_is_the_one_given_or_kahadb_below_the_data_directory() {
    let kaha = |config: Config| match config.broker.store() {
        PersistenceAdapter::KahaDb(kaha) => kaha.directory,
        other => panic!("{other:?}"),
    };
    let text = "<broker brokerName='b' dataDirectory='d'/>";
    assert_eq!(kaha(parsed(text).unwrap()), Path::new("d/b/KahaDB"));
    let text = "<persistenceAdapter><kahaDB/></persistenceAdapter>";
    assert_eq!(kaha(inside(text)), Path::new("KahaDB"));
    for element in ["amqPersistenceAdapter", "amqPersistenceAdapterFactory"] {
        let text = format!(
            "<persistenceAdapter><{element} directory='x' syncOnWrite='true'/></persistenceAdapter>"
        );
        let config = inside(&text);
        let PersistenceAdapter::Amq(amq) = config.broker.store() else { panic!("{element}") };
        assert_eq!(amq.directory.as_deref(), Some(Path::new("x")));
        assert!(config.warnings.is_empty());
    }
    let memory = parsed("<broker persistent='false'/>").unwrap().broker.store();
    assert!(matches!(memory, PersistenceAdapter::Memory(_)));
}

#[test]
fn data_sources_are_read_from_their_beans() {
    let config = with_data_source(MYSQL).unwrap();
    assert!(!format!("{config:?}").contains("secret"));
    let PersistenceAdapter::Jdbc(jdbc) = config.broker.store() else { panic!() };
    let source = jdbc.data_source.unwrap();
    assert_eq!((source.database, source.properties.max_total), (Database::MySql, Some(200)));
    assert_eq!(source.properties.password.unwrap().reveal(), "secret");

    let short = "<bean id='ds' class='org.apache.commons.dbcp2.BasicDataSource' \
        xmlns:p='http://www.springframework.org/schema/p' p:url='jdbc:mariadb://h/d' p:username='u'/>";
    let PersistenceAdapter::Jdbc(jdbc) = with_data_source(short).unwrap().broker.store() else {
        panic!()
    };
    assert_eq!(jdbc.data_source.unwrap().properties.user.as_deref(), Some("u"));

    let postgres = "<bean id='ds' class='org.postgresql.ds.PGPoolingDataSource'>\
        <property name='serverName' value='h'/><property name='databaseName' value='d'/>\
        <property name='portNumber' value='0'/></bean>";
    let PersistenceAdapter::Jdbc(jdbc) = with_data_source(postgres).unwrap().broker.store() else {
        panic!()
    };
    assert_eq!(jdbc.data_source.unwrap().url, "jdbc:postgresql://h:5432/d");
}

#[test]
fn security_plugins_are_read() {
    let config = inside(
        "<plugins><simpleAuthenticationPlugin anonymousAccessAllowed='true'><users>\
         <authenticationUser username='a' password='x' groups='g1, g2'/></users>\
         </simpleAuthenticationPlugin><jaasAuthenticationPlugin configuration='activemq'/>\
         <authorizationPlugin><map><authorizationMap><authorizationEntries>\
         <authorizationEntry topic='T.>' read='g1' write='*' admin='g2'/></authorizationEntries>\
         <tempDestinationAuthorizationEntry><tempDestinationAuthorizationEntry read='g1'/>\
         </tempDestinationAuthorizationEntry></authorizationMap></map></authorizationPlugin></plugins>",
    );
    let [Plugin::SimpleAuthentication(simple), Plugin::Jaas(jaas), Plugin::Authorization(rights)] =
        config.broker.plugins.as_slice()
    else {
        panic!("{:?}", config.broker.plugins)
    };
    assert!(simple.anonymous_access_allowed);
    assert_eq!(simple.users[0].groups, ["g1", "g2"]);
    assert_eq!(simple.users[0].password.reveal(), "x");
    assert_eq!(jaas.configuration, "activemq");
    let Some(AuthorizationMapChoice::Entries(map)) = &rights.map else { panic!() };
    assert!(map.entries[0].applies_to.covers(DestinationKind::Topic, "T.1.2"));
    assert!(!map.entries[0].applies_to.covers(DestinationKind::Queue, "T.1.2"));
    assert_eq!(map.temp_destinations.as_ref().unwrap().read, ["g1"]);
}

#[test]
fn networks_and_virtual_destinations_are_read() {
    let config = inside(
        "<networkConnectors><networkConnector name='n' networkTTL='3' consumerTTL='-1' \
         uri='static:(failover:(tcp://a:1)?maxReconnectAttempts=0)?maxReconnectDelay=7'>\
         <dynamicallyIncludedDestinations><queue physicalName='A.>'/><topic physicalName='B'/>\
         </dynamicallyIncludedDestinations></networkConnector></networkConnectors>\
         <destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>\
         <virtualTopic name='V.>' selectorAware='true'/><compositeQueue name='C' forwardOnly='false'>\
         <forwardTo><queue physicalName='D'/><filteredDestination selector='a = 1' topic='E'/>\
         </forwardTo></compositeQueue></virtualDestinations></virtualDestinationInterceptor>\
         </destinationInterceptors>\
         <destinations><queue physicalName='Q1'/><topic physicalName='T1'/></destinations>",
    );
    let broker = config.broker;
    let [network] = broker.network_connectors.as_slice() else { panic!() };
    assert_eq!((network.message_hops(), network.consumer_hops()), (Some(3), None));
    assert!(network.dynamically_included.covers(DestinationKind::Queue, "A.1"));
    let uri = network.uri.as_ref().unwrap();
    assert_eq!(Reconnect::of_uri(uri).max_delay, Duration::from_millis(7));
    let [DestinationInterceptor::Virtual(virtuals)] =
        broker.destination_interceptors.0.as_deref().unwrap_or_default()
    else {
        panic!()
    };
    let [VirtualDestination::Topic(topic), VirtualDestination::CompositeQueue(composite)] =
        virtuals.destinations.as_slice()
    else {
        panic!()
    };
    assert!(topic.selector_aware && !composite.forward_only);
    assert_eq!(composite.forward_to[1].selector.as_deref(), Some("a = 1"));
    assert_eq!(composite.forward_to[1].destination.kind, DestinationKind::Topic);
    assert_eq!(broker.destinations.0.len(), 2);
}

#[test]
fn usage_limits_follow_heap_and_partition() {
    let usage = inside(
        "<systemUsage><systemUsage><memoryUsage><memoryUsage percentOfJvmHeap='70'/></memoryUsage>\
         <storeUsage><storeUsage percentLimit='50'/></storeUsage>\
         <tempUsage><tempUsage limit='1gb'/></tempUsage></systemUsage></systemUsage>",
    )
    .broker
    .system_usage;
    assert_eq!(usage.memory.limit_bytes(1 << 30), 751_619_276);
    assert_eq!(usage.store.limit_bytes(1000), 500);
    assert_eq!(usage.temp.limit_bytes(1000), 1 << 30);
}

#[test]
fn a_broker_can_be_named_after_its_host() {
    let config = inside("<useLocalHostBrokerName>true</useLocalHostBrokerName>");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    let expected: String = host.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    assert_eq!(config.broker.name, expected);
}
