//! What is accepted with a line in the log.

use super::*;

#[test]
fn each_remark_is_made_once_and_only_for_what_differs() {
    for (content, expected) in [
        ("<persistenceAdapter><kahaDB directory='x'/></persistenceAdapter>", &[][..]),
        (
            "<persistenceAdapter><kahaDB indexWriteBatchSize='1000' maxAsyncJobs='1'/>\
             </persistenceAdapter>",
            &["a.xml:2: attribute 'maxAsyncJobs' of <kahaDB> is accepted but has no effect: what \
               waits to be written is bounded by its bytes"],
        ),
        (
            "<destinationPolicy><policyMap><policyEntries><policyEntry queue='>' \
             optimizedDispatch='true' doOptimzeMessageStorage='true'/></policyEntries></policyMap>\
             </destinationPolicy>",
            &[
                "a.xml:2: attribute 'optimizedDispatch' of <policyEntry> is accepted but has no effect",
            ],
        ),
        (
            "<managementContext><managementContext createConnector='true'/></managementContext>",
            &[
                "a.xml:2: attribute 'createConnector' of <managementContext> is accepted but has no \
               effect: remote JMX (RMI) is not offered; use Jolokia over HTTP",
            ],
        ),
        (
            "<plugins><authorizationPlugin><map><authorizationMap><authorizationEntries>\
             <authorizationEntry queue='>' read='a'/></authorizationEntries></authorizationMap></map>\
             </authorizationPlugin></plugins>",
            &["a.xml:2: security plugin <authorizationPlugin> is accepted, not active yet: it \
               protects nothing"],
        ),
        (
            "<plugins><jaasAuthenticationPlugin/>\n<camelRoutesBrokerPlugin routesFile='x'/>\n\
             <bean class='com.example.Beeper'/></plugins>",
            &[
                "a.xml:2: security plugin <jaasAuthenticationPlugin> is accepted, not active yet: it \
                 protects nothing",
                "a.xml:3: element <camelRoutesBrokerPlugin> is accepted but has no effect",
                "a.xml:4: bean of class com.example.Beeper is accepted but has no effect",
            ],
        ),
        (
            "<transportConnectors><transportConnector name='o' uri='tcp://h:1?trace&amp;maximumConnections=5\
             &amp;x'/></transportConnectors>",
            &[
                "a.xml:2: option 'trace' of connector 'o' is accepted but has no effect: it has no \
               value, as in name=value",
                "a.xml:2: option 'x' of connector 'o' is accepted but has no effect: it has no \
               value, as in name=value",
            ],
        ),
        (
            "<transportConnectors><transportConnector name='o' uri='tcp://h:1?trace=true&amp;\
             maximumConection=1&amp;jmxPort=1099&amp;daemon=true&amp;wireFormat.maxFrameSize=1\
             &amp;org.apache.activemq.transport.nio.SelectorManager.corePoolSize=2'/>\
             </transportConnectors>",
            &[
                "a.xml:2: unknown option 'maximumConection' of connector 'o'; did you mean \
               'maximumConnections'?",
                "a.xml:2: option 'daemon' of connector 'o' is accepted but has no effect",
            ],
        ),
        (
            "<transportConnectors><transportConnector name='s' \
             uri='stomp+ssl://h:1?needClientAuth=true&amp;wireFormat.cacheSize=1'/>\n\
             <transportConnector name='v' uri='vm://x'/></transportConnectors>",
            &[
                "a.xml:2: connector 's' (stomp+ssl) is accepted, not active yet: nothing listens there",
                "a.xml:2: unknown option 'wireFormat.cacheSize' of connector 's'",
                "a.xml:3: connector 'v' (vm) has no meaning here: there is no other code in this \
               process to connect",
            ],
        ),
        (
            "<networkConnectors><networkConnector uri='tcp://h:1' dynamicOnly='true'/>\
             </networkConnectors>",
            &[
                "a.xml:2: element <networkConnectors> of <broker> is accepted, not active yet",
                "a.xml:2: network connector 'NC' has a plain address; taken as static:(tcp://h:1)",
            ],
        ),
        (
            "<networkConnectors><networkConnector uri='static:(tcp://a:1)'/>\n\
             <networkConnector uri='static:(tcp://b:1)'/></networkConnectors>",
            &[
                "a.xml:2: element <networkConnectors> of <broker> is accepted, not active yet",
                "a.xml:3: the network connector name 'NC' is used twice (first at a.xml:2); client \
               ids of the bridges will collide",
            ],
        ),
        (
            "<services><bean class='x.Y'/></services>",
            &["a.xml:2: element <services> of <broker> is accepted but has no effect"],
        ),
    ] {
        assert_eq!(warnings_of(content), expected, "{content}");
    }
}

#[test]
fn the_name_of_a_broker_is_made_safe() {
    let config = parsed("<broker brokerName='my broker/1'/>").unwrap();
    assert_eq!(config.broker.name, "my_broker_1");
    assert_eq!(
        config.warnings[0].to_string(),
        "a.xml:1: brokerName 'my broker/1' is used as 'my_broker_1': only letters, digits and . - _ \
         : are allowed"
    );
}

#[test]
fn unused_beans_and_foreign_elements_are_mentioned() {
    let config = parsed(
        "<beans xmlns='http://www.springframework.org/schema/beans'>\n\
         <bean id='logQuery' class='io.fabric8.insight.log.log4j.Log4jLogQuery' scope='singleton'/>\n\
         <bean class='com.example.Thing'/>\n<c:camelContext xmlns:c='urn:camel'/>\n\
         <import resource='camel.xml'/>\n\
         <broker xmlns='http://activemq.apache.org/schema/core'><shutdownHooks>\
         <bean xmlns='http://www.springframework.org/schema/beans' \
         class='org.apache.activemq.hooks.SpringContextHook'/></shutdownHooks></broker></beans>",
    )
    .unwrap();
    let lines: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "a.xml:2: the log query bean is built in",
            "a.xml:3: bean of class com.example.Thing is accepted but has no effect",
            "a.xml:4: <camelContext> is accepted but has no effect",
            "a.xml:5: the imported file camel.xml is not read: Camel routes are not run",
        ]
    );
    assert!(config.warnings[0].is_information());
}
