//! The configurations that ActiveMQ ships: which of them start, and what is said about each.

use std::path::Path;

use broker::config::{Config, ConfigErrors, DestinationKind, PersistenceAdapter, Variables, load};

fn folder() -> String {
    format!("{}/tests/data/config/", env!("CARGO_MANIFEST_DIR"))
}

fn sample(name: &str) -> Result<Config, ConfigErrors> {
    load(&format!("{}activemq{name}.xml", folder()), Variables::default())
}

/// `line` of the sample itself, or `file:line` of another one, and the text.
fn lines_of(config: &Config) -> Vec<String> {
    let own = format!("{}:", config.file.display());
    let short = |line: String| line.replace(&own, "").replace(&folder(), "");
    config.warnings.iter().map(|notice| short(notice.to_string())).collect()
}

#[test]
fn samples_that_start_say_exactly_what_they_do_not_get() {
    const RMI: &str = "attribute 'createConnector' of <managementContext> is accepted but has no \
                       effect: remote JMX (RMI) is not offered; use Jolokia over HTTP";
    let later = |line, what: &str| format!("{line}: {what} is accepted, not active yet");
    const OWN_THREAD: &str = "the index always has a thread of its own";
    const ALL_AT_ONCE: &str = "a checkpoint writes all changed pages at once";
    const WRITTEN_BEFORE: &str = "journal files are always written once before use";
    let kaha = |line, name: &str, why: &str| {
        format!("{line}: attribute '{name}' of <kahaDB> is accepted but has no effect: {why}")
    };
    let of_entry = |line, name: &str| later(line, &format!("element <{name}> of <policyEntry>"));
    let silent = |line, name: &str, scheme: &str| {
        format!(
            "{line}: connector '{name}' ({scheme}) is accepted, not active yet: nothing listens \
                 there"
        )
    };
    let vain = |line, name: &str, element: &str| {
        format!("{line}: attribute '{name}' of <{element}> is accepted but has no effect")
    };
    let network = |line| later(line, "element <networkConnectors> of <broker>");
    let discovery = |line| later(line, "attribute 'discoveryUri' of <transportConnector>");
    for (name, expected) in [
        ("-debian", vec![]),
        (
            "-demo",
            vec![
                of_entry(69, "dispatchPolicy"),
                kaha(134, "enableIndexWriteAsync", OWN_THREAD),
                later(161, "element <sslContext> of <broker>"),
                discovery(198),
                silent(201, "ssl", "ssl"),
                silent(203, "stomp", "stomp"),
                silent(205, "ws", "ws"),
                "221: the imported file camel.xml is not read: Camel routes are not run".to_owned(),
                "jetty-demo.xml:70: web application /demo is a Java war and is not run".to_owned(),
                "jetty-demo.xml:114: the web console is accepted, not active yet: nothing listens \
                 on port 8161"
                    .to_owned(),
            ],
        ),
        (
            "-dynamic-network-broker1",
            vec![format!("61: {RMI}"), network(70), vain(89, "name", "storeUsage"), discovery(102)],
        ),
        (
            "-dynamic-network-broker2",
            vec![
                format!("62: {RMI}"),
                vain(62, "connectorPort", "managementContext"),
                network(71),
                vain(91, "name", "storeUsage"),
                discovery(104),
            ],
        ),
        (
            "-mqtt",
            vec![
                vain(53, "optimizedDispatch", "policyEntry"),
                later(65, "attribute 'suppressMBean' of <managementContext>"),
                kaha(74, "enableIndexWriteAsync", OWN_THREAD),
                kaha(74, "preallocationStrategy", WRITTEN_BEFORE),
                silent(88, "mqtt+nio", "mqtt+nio"),
            ],
        ),
        (
            "-scalability",
            vec![
                vain(52, "optimizedDispatch", "policyEntry"),
                kaha(63, "enableIndexWriteAsync", OWN_THREAD),
            ],
        ),
        ("-specjms", vec![kaha(92, "indexWriteBatchSize", ALL_AT_ONCE)]),
        ("-static-network-broker1", vec![format!("63: {RMI}"), vain(85, "name", "storeUsage")]),
        (
            "-static-network-broker2",
            vec![
                format!("63: {RMI}"),
                vain(63, "connectorPort", "managementContext"),
                network(70),
                vain(85, "name", "storeUsage"),
            ],
        ),
        (
            "-stomp",
            vec![
                silent(114, "stomp", "stomp"),
                silent(115, "stomp+nio", "stomp+nio"),
                "jetty.xml:121: the web console is accepted, not active yet: nothing listens on \
                 port 8161"
                    .to_owned(),
            ],
        ),
        ("-throughput", vec![kaha(68, "indexWriteBatchSize", ALL_AT_ONCE)]),
    ] {
        let config = sample(name).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(lines_of(&config), expected, "{name}");
    }
}

#[test]
fn samples_that_need_what_is_not_offered_say_so() {
    const DERBY: &str = "without one ActiveMQ starts Apache Derby, which is not supported";
    for (name, expected) in [
        ("", vec![format!("30: <journalPersistenceAdapterFactory> needs the attribute 'dataSource': {DERBY}")]),
        (
            "-jdbc",
            vec!["59: data source 'derby-ds': database not supported \
                  (org.apache.derby.jdbc.EmbeddedDataSource); MySQL, MariaDB, PostgreSQL and SQLite \
                  are"
                .to_owned()],
        ),
        (
            "-jdbc-performance",
            vec![format!("62: <jdbcPersistenceAdapter> needs the attribute 'dataSource': {DERBY}")],
        ),
        (
            "-security",
            vec![
                "85: the value of 'activemq.password' is encrypted, and encrypted values are not \
                 supported yet"
                    .to_owned(),
                "87: the value of 'guest.password' is encrypted, and encrypted values are not \
                 supported yet"
                    .to_owned(),
                "89: the value of 'guest.password' is encrypted, and encrypted values are not \
                 supported yet"
                    .to_owned(),
            ],
        ),
    ] {
        let errors = sample(name).map(drop).unwrap_err().to_string();
        let own = format!("{}activemq{name}.xml:", folder());
        assert_eq!(errors.replace(&own, ""), expected.join("\n"), "{name}");
    }
}

#[test]
fn values_of_the_samples_arrive() {
    let demo = sample("-demo").unwrap();
    assert_eq!(demo.broker.name, "amq-broker");
    let entry = demo.broker.destination_policy.entry_for(DestinationKind::Topic, "A.B");
    assert_eq!(entry.memory_limit.bytes(), 5 << 20);
    assert_eq!(demo.broker.system_usage.store.limit_bytes(u64::MAX), 1 << 30);
    let keys = demo.broker.ssl_context.unwrap().key_store.unwrap();
    assert_eq!(keys, Path::new(&folder()).join("broker.ks"));
    let console = demo.console.unwrap();
    assert_eq!((console.host.as_str(), console.port), ("127.0.0.1", 8161));
    assert_eq!(console.https.unwrap().port, 8162);

    let stomp = sample("-stomp").unwrap();
    let console = stomp.console.unwrap();
    assert!(console.authenticate && console.admin_authenticate);
    assert_eq!((console.roles.len(), console.admin_roles.len()), (2, 1));
    assert_eq!(console.realm_file.unwrap(), Path::new(&folder()).join("jetty-realm.properties"));
    assert_eq!(console.headers[0], ("X-FRAME-OPTIONS".to_owned(), "SAMEORIGIN".to_owned()));

    let PersistenceAdapter::KahaDb(kaha) = sample("-specjms").unwrap().broker.store() else {
        panic!()
    };
    assert_eq!(kaha.journal_max_file_length.bytes(), 1 << 30);
    assert_eq!(kaha.journal_max_write_batch.bytes(), 62 << 10);

    let network = sample("-dynamic-network-broker1").unwrap().broker.network_connectors;
    assert_eq!((network[0].message_hops(), network[0].prefetch_size), (Some(3), 1));
    assert!(network[0].dynamic_only && network[0].decrease_network_consumer_priority);
}

#[test]
fn the_console_follows_the_command_line() {
    let mut variables = Variables::default();
    variables.define("jetty.host", "0.0.0.0");
    variables.define("jetty.port", "9000");
    let file = format!("{}activemq-stomp.xml", folder());
    let console = load(&file, variables).unwrap().console.unwrap();
    assert_eq!((console.host.as_str(), console.port), ("0.0.0.0", 9000));
}

#[test]
fn the_shipped_configuration_is_without_a_remark() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/broker.xml");
    let config = load(file, Variables::default()).unwrap();
    assert_eq!(lines_of(&config), Vec::<String>::new());
    let [openwire] = config.broker.transport_connectors.as_slice() else { panic!() };
    assert_eq!((openwire.name.as_str(), openwire.listen.port), ("openwire", 61616));
    assert_eq!(openwire.listen.options.socket.maximum_connections, 1000);
    assert_eq!(openwire.listen.options.openwire.max_frame_size, 104_857_600);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    assert_eq!(config.broker.data_directory, data);
    assert!(config.console.is_none());
}
