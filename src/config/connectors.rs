//! `<transportConnector>`: where the broker listens, for which protocol, with which options.

use super::macros::{element, words};
use super::options::ListenOptions;
use super::report::{Place, Problem, Remark};
use super::spelling::nearest;
use super::table::{Bean, Given, Property, Reading};
use super::uri::{BrokerUri, UriError, UriTarget};
use super::xml::Element;

element! {
    /// One listening endpoint.
    pub struct TransportConnector = "transportConnector" {
        /// For log and management; the URI if none is given.
        name: String = "name", String::new(), active;
        listen: Listen = "uri", Listen::default(), active;
        /// `multicast://default`: announces this connector to other brokers.
        discovery_uri: Option<BrokerUri> = "discoveryUri", None, later;
        /// End connections whose peers take nothing for 10 s.
        enable_status_monitor: bool = "enableStatusMonitor", false, active;
        /// Tell OpenWire clients about the other brokers of the network.
        update_cluster_clients: bool = "updateClusterClients", false, later;
        /// The same, in an order that differs from client to client.
        rebalance_cluster_clients: bool = "rebalanceClusterClients", false, later;
        update_cluster_clients_on_remove: bool = "updateClusterClientsOnRemove", false, later;
        /// Regular expressions on the names of the brokers that are told.
        update_cluster_filter: Vec<String> = "updateClusterFilter", Vec::new(), later;
        /// Suppress duplicates also on connections of other brokers.
        audit_network_producers: bool = "auditNetworkProducers", false, later;
        /// A second connection with the same client id ends the first. Unset = false, MQTT: true.
        allow_link_stealing: Option<bool> = "allowLinkStealing", None, active;
        maximum_consumers_per_connection: u32 =
            "maximumConsumersAllowedPerConnection", i32::MAX as u32, active;
        maximum_producers_per_connection: u32 =
            "maximumProducersAllowedPerConnection", i32::MAX as u32, active;
        /// WARN instead of DEBUG when peers vanish.
        warn_on_remote_close: bool = "warnOnRemoteClose", false, active;
        published_address_policy: PublishedAddressPolicy =
            "publishedAddressPolicy", PublishedAddressPolicy::default(), active;
    }
    without_effect {
        "disableAsyncDispatch" = "false",
        "displayStackTrace" = "false",
        "brokerInfo", "discoveryAgent", "server", "messageAuthorizationPolicy",
        "brokerName",
    }
    required { "uri" = "where to listen, such as tcp://0.0.0.0:61616" }
}

impl TransportConnector {
    /// Whether a second connection with a client id in use ends the first one: the URI option,
    /// else the attribute, else only for MQTT.
    pub fn steals_links(&self) -> bool {
        let mqtt = self.listen.protocol == Protocol::Mqtt;
        self.listen.options.allow_link_stealing.or(self.allow_link_stealing).unwrap_or(mqtt)
    }
}

element! {
    /// Which address others are told.
    pub struct PublishedAddressPolicy = "publishedAddressPolicy" {
        host_strategy: PublishedHost = "publishedHostStrategy", PublishedHost::Default, active;
        /// Appended to the address as its query.
        cluster_client_uri_query: Option<String> = "clusterClientUriQuery", None, active;
        host_mapping: Vec<(String, String)> = "hostMapping", Vec::new(), active;
        port_mapping: Vec<(String, String)> = "portMapping", Vec::new(), active;
    }
}

words! {
    pub enum PublishedHost {
        Default = "DEFAULT",
        IpAddress = "IPADDRESS",
        Hostname = "HOSTNAME",
        FullyQualified = "FQDN",
    }
}

/// A listening address with everything its URI says.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// As written.
    pub uri: BrokerUri,
    pub protocol: Protocol,
    pub tls: bool,
    /// `0.0.0.0` and `::` are all addresses; may be a name.
    pub host: String,
    /// 0 = any free port.
    pub port: u16,
    pub options: ListenOptions,
}

/// What is spoken on a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    OpenWire,
    /// The first bytes of a connection decide.
    Auto,
    Stomp,
    Amqp,
    Mqtt,
    /// STOMP, MQTT or AMQP over WebSocket.
    WebSocket,
    /// OpenWire as XML over HTTP.
    Http,
    Udp,
}

impl Default for Listen {
    fn default() -> Self {
        let address = UriTarget::Address { host: String::new(), port: None, path: String::new() };
        Self {
            uri: BrokerUri { scheme: String::new(), target: address, options: Vec::new() },
            protocol: Protocol::OpenWire,
            tls: false,
            host: String::new(),
            port: 0,
            options: ListenOptions::default(),
        }
    }
}

/// Every scheme that can be listened on: protocol, with TLS, served.
const SCHEMES: [(&str, Protocol, bool, bool); 25] = [
    ("tcp", Protocol::OpenWire, false, true),
    ("nio", Protocol::OpenWire, false, true),
    ("ssl", Protocol::OpenWire, true, false),
    ("nio+ssl", Protocol::OpenWire, true, false),
    ("auto", Protocol::Auto, false, false),
    ("auto+nio", Protocol::Auto, false, false),
    ("auto+ssl", Protocol::Auto, true, false),
    ("auto+nio+ssl", Protocol::Auto, true, false),
    ("stomp", Protocol::Stomp, false, false),
    ("stomp+nio", Protocol::Stomp, false, false),
    ("stomp+ssl", Protocol::Stomp, true, false),
    ("stomp+nio+ssl", Protocol::Stomp, true, false),
    ("amqp", Protocol::Amqp, false, false),
    ("amqp+nio", Protocol::Amqp, false, false),
    ("amqp+ssl", Protocol::Amqp, true, false),
    ("amqp+nio+ssl", Protocol::Amqp, true, false),
    ("mqtt", Protocol::Mqtt, false, false),
    ("mqtt+nio", Protocol::Mqtt, false, false),
    ("mqtt+ssl", Protocol::Mqtt, true, false),
    ("mqtt+nio+ssl", Protocol::Mqtt, true, false),
    ("ws", Protocol::WebSocket, false, false),
    ("wss", Protocol::WebSocket, true, false),
    ("http", Protocol::Http, false, false),
    ("https", Protocol::Http, true, false),
    ("udp", Protocol::Udp, false, false),
];

/// Schemes that ActiveMQ knows and that cannot be listened on here.
const NOT_LISTENING: [(&str, &str); 2] = [
    ("vm", "there is no other code in this process to connect"),
    ("multicast", "messages over multicast are not offered"),
];

impl Property for Listen {
    fn read(given: &Given<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let uri = reading.scalar(given, |text| Ok(text.parse::<BrokerUri>()?))?;
        let connector = connector_name(given.owner, &uri);
        let scheme = uri.scheme.clone();
        if let Some((_, why)) = NOT_LISTENING.iter().find(|(name, _)| *name == scheme) {
            reading.remark(given.place, Remark::ConnectorIgnored { connector, scheme, why });
            return None;
        }
        let Some((_, protocol, tls, served)) = SCHEMES.iter().find(|(name, ..)| *name == scheme)
        else {
            let known = SCHEMES.iter().map(|(name, ..)| *name);
            let suggestion = nearest(&scheme, known).map(str::to_owned);
            let unknown = Problem::UnknownScheme { scheme, connector, suggestion };
            reading.error(given.place, unknown);
            return None;
        };
        let UriTarget::Address { host, port: Some(port), .. } = &uri.target else {
            let reason = UriError::NoAddress;
            reading.error(given.place, Problem::NotAnAddress { connector, reason });
            return None;
        };
        if !served {
            let remark = Remark::ConnectorNotActiveYet { connector, scheme };
            reading.remark(given.place, remark);
        }
        let options = ListenOptions::read(*protocol, *tls, &uri, given, !served, reading);
        let (host, port) = (host.clone(), *port);
        Some(Self { protocol: *protocol, tls: *tls, host, port, options, uri })
    }
}

fn connector_name(element: &Element, uri: &BrokerUri) -> String {
    element.attribute("name").map_or_else(|| uri.to_string(), str::to_owned)
}

/// The connectors of `<transportConnectorURIs>`, read like `<transportConnector uri="..">`.
pub(crate) fn of_uris(
    uris: &[String],
    place: &Place,
    reading: &mut Reading<'_>,
) -> Vec<TransportConnector> {
    let connector = |uri: &String| Element::with_attribute("transportConnector", "uri", uri, place);
    let elements = uris.iter().map(connector);
    elements.filter_map(|e| TransportConnector::of_element(&e, reading)).collect()
}

/// Fills in names and drops the connectors that cannot listen: those have been reported.
pub(crate) fn finish(connectors: &mut Vec<TransportConnector>) {
    connectors.retain(|connector| !connector.listen.uri.scheme.is_empty());
    for connector in connectors {
        if connector.name.is_empty() {
            connector.name = connector.listen.uri.to_string();
        }
    }
}
