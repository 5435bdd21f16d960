//! `<networkConnectors>`, `<proxyConnectors>`: connections this broker makes by itself.

use std::time::Duration;

use super::broker::SslContext;
use super::destination::DestinationList;
use super::macros::element;
use super::report::{Place, Problem, Remark};
use super::table::{Bean, Reading};
use super::units::Secret;
use super::uri::{BrokerUri, UriTarget};
use super::xml::Element;

element! {
    /// A bridge, or one for each address or discovered broker.
    pub struct NetworkConnector = "networkConnector" | "multicastNetworkConnector" {
        /// Must differ from that of every other network connector: it is part of client ids.
        name: String = "name", "NC".to_owned(), active;
        uri: Option<BrokerUri> = "uri" | "discoveryURI", None, active;
        /// Both directions over one connection.
        duplex: bool = "duplex", false, active;
        /// Hops of messages and subscriptions, unless set for one of them.
        network_ttl: i32 = "networkTTL", 1, active;
        /// -1 = any number of hops; unset = `network_ttl`.
        message_ttl: Option<i32> = "messageTTL", None, active;
        consumer_ttl: Option<i32> = "consumerTTL", None, active;
        /// One demand per destination, however many remote consumers; selectors are dropped.
        conduit_subscriptions: bool = "conduitSubscriptions", true, active;
        conduit_network_queue_subscriptions: bool =
            "conduitNetworkQueueSubscriptions", false, active;
        /// Durable subscriptions are bridged only while the remote subscriber is active.
        dynamic_only: bool = "dynamicOnly", false, active;
        prefetch_size: u32 = "prefetchSize", 1000, active;
        /// 0 = `prefetch_size`.
        advisory_prefetch_size: u32 = "advisoryPrefetchSize", 0, active;
        advisory_ack_percentage: u32 = "advisoryAckPercentage", 75, active;
        decrease_network_consumer_priority: bool = "decreaseNetworkConsumerPriority", false, active;
        consumer_priority_base: i32 = "consumerPriorityBase", -5, active;
        suppress_duplicate_queue_subscriptions: bool =
            "suppressDuplicateQueueSubscriptions", false, active;
        suppress_duplicate_topic_subscriptions: bool =
            "suppressDuplicateTopicSubscriptions", true, active;
        bridge_temp_destinations: bool = "bridgeTempDestinations", true, active;
        /// Wait for the remote reply also for non-persistent messages.
        always_sync_send: bool = "alwaysSyncSend", true, active;
        dispatch_async: bool = "dispatchAsync", true, active;
        /// No advisories; only what is statically included.
        static_bridge: bool = "staticBridge", false, active;
        sync_durable_subs: bool = "syncDurableSubs", false, active;
        use_virtual_dest_subs: bool = "useVirtualDestSubs", false, active;
        use_compression: bool = "useCompression", false, active;
        user_name: Option<String> = "userName", None, active;
        password: Option<Secret> = "password", None, active;
        /// For the login there; unset = `user_name`.
        remote_user_name: Option<String> = "remoteUserName", None, active;
        remote_password: Option<Secret> = "remotePassword", None, active;
        destination_filter: String =
            "destinationFilter", "ActiveMQ.Advisory.Consumer.>".to_owned(), active;
        client_id_token: String = "clientIdToken", "_".to_owned(), active;
        check_duplicate_messages_on_duplex: bool = "checkDuplicateMessagesOnDuplex", false, active;
        advisory_for_failed_forward: bool = "advisoryForFailedForward", false, active;
        use_broker_names_as_id_seed: bool = "useBrokerNamesAsIdSeed" | "useBrokerNameAsIdSees", true, active;
        /// Unset = the broker's.
        ssl_context: Option<SslContext> = "sslContext", None, active;
        dynamically_included: DestinationList =
            "dynamicallyIncludedDestinations", DestinationList::default(), active;
        statically_included: DestinationList =
            "staticallyIncludedDestinations", DestinationList::default(), active;
        excluded: DestinationList = "excludedDestinations", DestinationList::default(), active;
        durable: DestinationList = "durableDestinations", DestinationList::default(), active;
    }
    without_effect {
        "brokerName", "brokerURL", "gcDestinationViews" = "true", "gcSweepTime" = "60000",
        "connectionFilter", "objectName", "bridgeFactory", "localUri",
        "discoveryAgent", "bridge", "remoteURI", "remoteTransport", "localTransport",
    }
    required { "uri" | "discoveryURI" = "such as static:(tcp://host:61616)" }
}

impl NetworkConnector {
    /// Hops a message may make; `None` = any number.
    pub fn message_hops(&self) -> Option<u32> {
        u32::try_from(self.message_ttl.unwrap_or(self.network_ttl)).ok()
    }

    /// Hops a subscription may make; `None` = any number.
    pub fn consumer_hops(&self) -> Option<u32> {
        u32::try_from(self.consumer_ttl.unwrap_or(self.network_ttl)).ok()
    }
}

/// How the other brokers are found.
const DISCOVERY: [&str; 5] = ["static", "masterslave", "multicast", "simple", "failover"];
/// Discovery that ActiveMQ has and we do not.
const NOT_OFFERED: [&str; 7] = ["http", "https", "zeroconf", "rendezvous", "ldap", "fabric", "vm"];

/// The connectors of `<networkConnectorURIs>`, read like `<networkConnector uri="..">`.
pub(crate) fn of_uris(
    uris: &[String],
    place: &Place,
    reading: &mut Reading<'_>,
) -> Vec<NetworkConnector> {
    let connector = |uri: &String| Element::with_attribute("networkConnector", "uri", uri, place);
    let elements = uris.iter().map(connector);
    elements.filter_map(|e| NetworkConnector::of_element(&e, reading)).collect()
}

/// What only all connectors together, or a connector as a whole, can get wrong.
pub(crate) fn check(connectors: &mut [NetworkConnector], reading: &mut Reading<'_>) {
    for i in 0..connectors.len() {
        let (before, rest) = connectors.split_at_mut(i);
        let Some(connector) = rest.first_mut() else {
            continue;
        };
        if let Some(first) = before.iter().find(|other| other.name == connector.name) {
            let (name, first) = (connector.name.clone(), first.place.clone());
            reading.remark(&connector.place, Remark::NetworkNameTwice { name, first });
        }
        if connector.prefetch_size == 0 {
            let name = connector.name.clone();
            reading.error(&connector.place, Problem::NoNetworkPrefetch { name });
        }
        let (place, name) = (connector.place.clone(), connector.name.clone());
        if let Some(uri) = &mut connector.uri {
            check_uri(uri, name, &place, reading);
        }
    }
}

fn check_uri(uri: &mut BrokerUri, connector: String, place: &Place, reading: &mut Reading<'_>) {
    let scheme = uri.scheme.clone();
    match scheme.as_str() {
        "masterslave" if uri.parts().len() < 2 => {
            reading.error(place, Problem::MasterSlaveAddresses);
        }
        known if DISCOVERY.contains(&known) => {}
        "tcp" | "nio" | "ssl" | "nio+ssl" | "auto" | "auto+ssl" => {
            let plain = uri.clone();
            *uri = BrokerUri {
                scheme: "static".to_owned(),
                target: UriTarget::Composite(vec![plain.clone()]),
                options: Vec::new(),
            };
            let uri = plain.to_string();
            reading.remark(place, Remark::PlainNetworkAddress { connector, uri });
        }
        other => {
            let hint = if NOT_OFFERED.contains(&other) {
                "this way of discovery is not offered; use static:(..) or multicast://default"
            } else {
                "use static:(..), masterslave:(..) or multicast://default"
            };
            reading.error(place, Problem::NetworkScheme { scheme, connector, hint });
        }
    }
}

/// Times that `static:(..)` uses unless its options say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnect {
    pub initial_delay: Duration,
    pub max_delay: Duration,
    pub exponential: bool,
    pub multiplier: f64,
    /// 0 = endless.
    pub attempts_max: u32,
    /// A bridge that lived shorter counts as a failure.
    pub min_connect_time: Duration,
}

impl Reconnect {
    /// From the options of a discovery URI; what cannot be read keeps its default.
    pub fn of_uri(uri: &BrokerUri) -> Self {
        let number = |name: &str| uri.option(name).and_then(|text| text.trim().parse::<u64>().ok());
        let ms = |name, default| Duration::from_millis(number(name).unwrap_or(default));
        let multiplier = uri.option("backOffMultiplier").and_then(|text| text.parse().ok());
        let attempts = number("maxReconnectAttempts").and_then(|n| u32::try_from(n).ok());
        Self {
            initial_delay: ms("initialReconnectDelay", 1000),
            max_delay: ms("maxReconnectDelay", 30_000),
            exponential: uri.option("useExponentialBackOff") != Some("false"),
            multiplier: multiplier.filter(|m: &f64| m.is_finite()).unwrap_or(2.0),
            attempts_max: attempts.unwrap_or(0),
            min_connect_time: ms("minConnectTime", 5000),
        }
    }
}

element! {
    /// Listens on `bind` and passes OpenWire on to `remote`.
    pub struct ProxyConnector = "proxyConnector" {
        name: Option<String> = "name", None, active;
        bind: Option<BrokerUri> = "bind", None, active;
        remote: Option<BrokerUri> = "remote", None, active;
        proxy_to_local_broker: bool = "proxyToLocalBroker", true, active;
    }
    without_effect { "localUri", "server" }
    required { "bind" = "the address to listen on" }
}
