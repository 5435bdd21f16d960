//! What is refused, and in which words.

use super::*;

#[test]
fn each_mistake_is_named_with_its_line() {
    for (text, expected) in [
        ("<broker\nfooBar='1'/>", "a.xml:2: unknown attribute 'fooBar' on <broker>"),
        (
            "<broker\nbrokername='1'/>",
            "a.xml:2: unknown attribute 'brokername' on <broker>; did you mean 'brokerName'?",
        ),
        (
            "<broker>\n<transportConector/></broker>",
            "a.xml:2: unknown element <transportConector> in <broker>; did you mean \
             'transportConnectors'?",
        ),
        (
            "<broker>\n<transportConnectors><connector uri='tcp://h:1'/></transportConnectors></broker>",
            "a.xml:2: unknown element <connector> in <transportConnectors>",
        ),
        (
            "<broker>\n<property name='useJMX' value='1'/></broker>",
            "a.xml:2: unknown property 'useJMX' on <broker>; did you mean 'useJmx'?",
        ),
        (
            "<broker><plugins>\n<discardingDLQBrokerPlugin dropOnly='A.* B['/></plugins></broker>",
            "a.xml:2: 'B[' is not a regular expression: ",
        ),
        (
            "<broker>\n<property value='1'/></broker>",
            "a.xml:2: <property> needs the attribute 'name': the name of the property",
        ),
        (
            "<broker persistent='yes'/>",
            "a.xml:1: 'yes' is not a value for attribute 'persistent' of <broker>: expected true or \
             false",
        ),
        (
            "<broker><persistenceAdapter>\n<kahaDB journalMaxFileLength='1 zz'/>\
             </persistenceAdapter></broker>",
            "a.xml:2: '1 zz' is not a value for attribute 'journalMaxFileLength' of <kahaDB>: \
             expected a memory size such as 64mb, 1 gb or 104857600",
        ),
        (
            "<broker><persistenceAdapter>\n<kahaDB journalDiskSyncStrategy='often'/>\
             </persistenceAdapter></broker>",
            "a.xml:2: 'often' is not a value for attribute 'journalDiskSyncStrategy' of <kahaDB>: \
             expected one of always, periodic, never",
        ),
        (
            "<broker dedicatedTaskRunner='perhaps'/>",
            "a.xml:1: 'perhaps' is not a value for attribute 'dedicatedTaskRunner' of <broker>: \
             expected true or false",
        ),
        ("<broker>\nhello</broker>", "a.xml:1: text 'hello' in <broker>, where none belongs"),
        (
            "<broker>\n<persistenceAdapter>\n<kahaDB/>\n<memoryPersistenceAdapter/>\
             </persistenceAdapter></broker>",
            "a.xml:4: <persistenceAdapter> holds more than one element",
        ),
        (
            "<broker>\n<systemUsage limit='1'/></broker>",
            "a.xml:2: unknown attribute 'limit' on <systemUsage>",
        ),
        (
            "<broker><persistenceAdapter>\n<kahaPersistenceAdapter/></persistenceAdapter></broker>",
            "a.xml:2: <kahaPersistenceAdapter> is not supported: it was removed in ActiveMQ 5.4; use \
             <kahaDB>",
        ),
        (
            "<broker><persistenceAdapter>\n<jdbcPersistenceAdapter dataSource='#nope'/>\
             </persistenceAdapter></broker>",
            "a.xml:2: attribute 'dataSource' of <jdbcPersistenceAdapter> refers to the bean 'nope', \
             which does not exist",
        ),
        (
            "<broker><persistenceAdapter>\n<jdbcPersistenceAdapter dataSource='nope'/>\
             </persistenceAdapter></broker>",
            "a.xml:2: 'nope' is not a value for attribute 'dataSource' of <jdbcPersistenceAdapter>: \
             expected a reference such as #id",
        ),
        (
            "<broker><transportConnectors>\n<transportConnector name='x'/></transportConnectors>\
             </broker>",
            "a.xml:2: <transportConnector> needs the attribute 'uri': where to listen, such as \
             tcp://0.0.0.0:61616",
        ),
        (
            "<broker><transportConnectors>\n<transportConnector name='x' uri='autotnio://h:1'/>\
             </transportConnectors></broker>",
            "a.xml:2: unknown transport scheme 'autotnio' of connector 'x'; did you mean 'auto+nio'?",
        ),
        (
            "<broker><transportConnectors>\n<transportConnector uri='tcp://h'/>\
             </transportConnectors></broker>",
            "a.xml:2: the connector 'tcp://h' cannot listen: no host and port, as in \
             tcp://0.0.0.0:61616",
        ),
        (
            "<broker><transportConnectors>\n<transportConnector uri='tcp://h:x'/>\
             </transportConnectors></broker>",
            "a.xml:2: 'tcp://h:x' is not a value for attribute 'uri' of <transportConnector>: 'x' is \
             not a port",
        ),
        (
            "<broker><transportConnectors>\n<transportConnector name='x' uri='tcp://h:1?backlog=many'/>\
             </transportConnectors></broker>",
            "a.xml:2: 'many' is not a value for option 'backlog' of connector 'x': expected a whole \
             number",
        ),
        (
            "<broker><networkConnectors>\n<networkConnector uri='masterslave:(tcp://a:1)'/>\
             </networkConnectors></broker>",
            "a.xml:2: masterslave: needs at least two addresses",
        ),
        (
            "<broker><networkConnectors>\n<networkConnector uri='zeroconf:_a'/>\
             </networkConnectors></broker>",
            "a.xml:2: unknown discovery scheme 'zeroconf' of network connector 'NC'; this way of \
             discovery is not offered; use static:(..) or multicast://default",
        ),
        (
            "<broker><networkConnectors>\n<networkConnector prefetchSize='0' uri='static:(tcp://a:1)'/>\
             </networkConnectors></broker>",
            "a.xml:2: network connector 'NC' needs a prefetchSize above 0",
        ),
        (
            "<broker schedulerSupport='true'><plugins><redeliveryPlugin><redeliveryPolicyMap>\
             <redeliveryPolicyMap><defaultEntry>\n<redeliveryPolicy redeliveryDelay='10'/>\
             </defaultEntry></redeliveryPolicyMap></redeliveryPolicyMap></redeliveryPlugin></plugins>\
             </broker>",
            "a.xml:2: <redeliveryPolicy> needs initialRedeliveryDelay and redeliveryDelay of 1000 ms \
             or more",
        ),
        (
            "<broker>\n<property name='brokerName' ref='x'/></broker>",
            "a.xml:2: 'x' is not a value for property 'brokerName' of <broker>: expected a value, \
             not a reference to a bean",
        ),
        (
            "<broker><plugins>\n<redeliveryPlugin/></plugins></broker>",
            "a.xml:2: <redeliveryPlugin> needs schedulerSupport=\"true\" on <broker>",
        ),
        (
            "<broker><plugins>\n<bean class='com.example.TokenAuthPlugin'/></plugins></broker>",
            "a.xml:2: the plugin com.example.TokenAuthPlugin decides who may do what, and no such \
             class is known",
        ),
        (
            "<broker><plugins><authorizationPlugin><map>\n<cachedLDAPAuthorizationMap/></map>\
             </authorizationPlugin></plugins></broker>",
            "a.xml:2: <cachedLDAPAuthorizationMap> is not supported: rights from LDAP are not \
             offered; list them here",
        ),
        (
            "<broker><destinations>\n<queue/></destinations></broker>",
            "a.xml:2: <queue> needs the attribute 'physicalName': the name of the destination",
        ),
        (
            "<broker\nbrokerName='${nope}'/>",
            "a.xml:2: could not resolve placeholder 'nope' in value \"${nope}\"",
        ),
        ("<broker>\n<kahaDB", "a.xml:2: not well-formed XML: "),
        ("<beans>\n</beans>", "a.xml:1: there is no <broker> element"),
        ("<brokr/>", "a.xml:1: the root element is <brokr>, not <beans> or <broker>"),
        (
            "<beans>\n<broker/>\n<broker/></beans>",
            "a.xml:3: this is the second <broker> (the first is at a.xml:2); start one process for \
             each",
        ),
    ] {
        let errors = errors_of(text);
        assert!(errors.starts_with(expected), "{text}\n got: {errors}\nwant: {expected}");
        assert!(!errors.contains('\n'), "{text}: only one error: {errors}");
    }
}

#[test]
fn all_mistakes_of_a_file_come_at_once() {
    let errors = errors_of(
        "<broker a='1' useJmx='x'>\n<b/>\n<transportConnectors><transportConnector uri='q://h:1'/>\
         </transportConnectors>\n<destinations><queue physicalName='${nope}'/></destinations></broker>",
    );
    let lines: Vec<_> = errors.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["a.xml:1", "a.xml:1", "a.xml:2", "a.xml:3", "a.xml:4"], "{errors}");
}

#[test]
fn data_sources_that_cannot_be_used_are_refused() {
    for (from, to, expected) in [
        ("dbcp2", "dbcp", "is not a known data source; did you mean 'org.apache.commons.dbcp2."),
        ("jdbc:mysql:", "jdbc:oracle:", "data source 'ds': database not supported (jdbc:oracle)"),
        ("org.apache.commons.dbcp2.BasicDataSource", "com.example.Pool", "com.example.Pool"),
        ("'200'", "'many'", "'many' is not a value for property 'maxTotal' of <bean>"),
    ] {
        let errors = with_data_source(&MYSQL.replace(from, to)).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn beans_that_refer_to_each_other_end() {
    let adapter = "<mKahaDB id='m'><filteredPersistenceAdapters><filteredKahaDB>\
        <persistenceAdapter><ref bean='m'/></persistenceAdapter></filteredKahaDB><filteredKahaDB>\
        <persistenceAdapter><ref bean='m'/></persistenceAdapter></filteredKahaDB>\
        </filteredPersistenceAdapters></mKahaDB>";
    let text = format!("<broker><persistenceAdapter>{adapter}</persistenceAdapter></broker>");
    let errors = parsed(&text).unwrap_err();
    assert!(errors.iter().count() < 10, "{errors}");
    assert!(errors.to_string().contains("beans refer to"), "{errors}");
}
