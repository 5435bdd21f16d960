//! The options of a connector URI. One table per protocol; an option belongs to the first table
//! of the connector's protocol that knows it.

use std::time::Duration;

use super::connectors::Protocol;
use super::macros::{element, words};
use super::report::{Remark, SubjectKind};
use super::spelling::nearest;
use super::table::{Content, Given, Reading, Table};
use super::uri::BrokerUri;

/// Everything the URI of a connector can set. Tables of other protocols keep their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenOptions {
    pub socket: SocketOptions,
    pub tls: TlsOptions,
    pub openwire: OpenWireOptions,
    pub stomp: StompOptions,
    pub mqtt: MqttOptions,
    pub amqp: AmqpOptions,
    pub websocket: WebSocketOptions,
    pub auto: AutoOptions,
    pub udp: UdpOptions,
    /// As the attribute of the connector; wins over it.
    pub allow_link_stealing: Option<bool>,
}

impl ListenOptions {
    /// Reads the options of `uri`; unknown ones are remarked on, never refused. `quiet`: the
    /// connector has been remarked on as a whole.
    pub(crate) fn read(
        protocol: Protocol,
        tls: bool,
        uri: &BrokerUri,
        connector: &Given<'_>,
        quiet: bool,
        reading: &mut Reading<'_>,
    ) -> Self {
        let mut options = Self::default();
        for option in &uri.options {
            let mut given = Given {
                kind: SubjectKind::UriOption,
                name: &option.name,
                owner: connector.owner,
                place: connector.place,
                content: Content::Text(""),
            };
            let Some(value) = &option.value else {
                let (subject, why) = (given.subject(), "it has no value, as in name=value");
                reading.remark(connector.place, Remark::NoEffectBecause { subject, why });
                continue;
            };
            given.content = Content::Text(value);
            let known = reading.quietly(quiet, |reading| {
                options.set(protocol, tls, &given, reading)
                    || FREE_PREFIXES.iter().any(|prefix| {
                        let known = option.name.starts_with(prefix);
                        if known && *prefix != SELECTOR_MANAGER {
                            reading.skip(&given, None);
                        }
                        known
                    })
            });
            if !known {
                let known = options.names(protocol, tls);
                let suggestion = nearest(&option.name, known).map(str::to_owned);
                let (name, owner) = (option.name.clone(), given.subject().owner);
                let remark = Remark::UnknownOption { name, owner, suggestion };
                reading.remark(connector.place, remark);
            }
        }
        options
    }

    fn set(
        &mut self,
        protocol: Protocol,
        tls: bool,
        given: &Given<'_>,
        reading: &mut Reading<'_>,
    ) -> bool {
        if given.name == "allowLinkStealing" {
            let state = super::macros::state!(active);
            reading.fill(&mut self.allow_link_stealing, given, state);
            return true;
        }
        if self.socket.set(given, reading) || (tls && self.tls.set(given, reading)) {
            return true;
        }
        match protocol {
            Protocol::OpenWire | Protocol::Http => self.openwire.set(given, reading),
            Protocol::Stomp => self.stomp.set(given, reading),
            Protocol::Mqtt => self.mqtt.set(given, reading),
            Protocol::Amqp => self.amqp.set(given, reading),
            Protocol::Udp => self.udp.set(given, reading) || self.openwire.set(given, reading),
            Protocol::WebSocket => {
                let known = self.websocket.set(given, reading);
                self.set_each(given, reading) || known
            }
            Protocol::Auto => {
                self.auto.set(given, reading)
                    || match one_protocol(given.name) {
                        Some((protocol, name)) => {
                            let given = Given { name: &name, content: given.content, ..*given };
                            self.set(protocol, false, &given, reading)
                        }
                        None => self.openwire.set(given, reading) | self.set_each(given, reading),
                    }
            }
        }
    }

    /// Hands an option to every protocol but OpenWire that can share a connector.
    fn set_each(&mut self, given: &Given<'_>, reading: &mut Reading<'_>) -> bool {
        self.stomp.set(given, reading)
            | self.mqtt.set(given, reading)
            | self.amqp.set(given, reading)
    }

    fn names(&self, protocol: Protocol, tls: bool) -> impl Iterator<Item = &'static str> {
        let own: &[&[&'static str]] = match protocol {
            Protocol::OpenWire | Protocol::Http => &[OpenWireOptions::NAMES],
            Protocol::Stomp => &[StompOptions::NAMES],
            Protocol::Mqtt => &[MqttOptions::NAMES],
            Protocol::Amqp => &[AmqpOptions::NAMES],
            Protocol::Udp => &[UdpOptions::NAMES, OpenWireOptions::NAMES],
            Protocol::WebSocket => &[WebSocketOptions::NAMES, StompOptions::NAMES],
            Protocol::Auto => &[AutoOptions::NAMES, OpenWireOptions::NAMES],
        };
        let tls = if tls { TlsOptions::NAMES } else { &[] };
        let groups = [SocketOptions::NAMES, tls].into_iter().chain(own.iter().copied());
        groups.flatten().copied()
    }
}

/// `wireFormat.stomp.maxDataLength` of an `auto` connector is STOMP's `wireFormat.maxDataLength`.
fn one_protocol(name: &str) -> Option<(Protocol, String)> {
    let rest = name.strip_prefix("wireFormat.")?;
    let (word, option) = rest.split_once('.')?;
    let protocol = match word {
        "default" => Protocol::OpenWire,
        "stomp" => Protocol::Stomp,
        "amqp" => Protocol::Amqp,
        "mqtt" => Protocol::Mqtt,
        _ => return None,
    };
    Some((protocol, format!("wireFormat.{option}")))
}

/// Java system properties that people put into URIs: passed over without a word.
const SELECTOR_MANAGER: &str = "org.apache.activemq.transport.nio.SelectorManager.";
/// Names that go to Jetty or to Java's threads, whatever follows.
const FREE_PREFIXES: [&str; 4] =
    [SELECTOR_MANAGER, "websocket.", "http.", "transport.selectorManager"];

/// 100 MB, as the shipped files set it. (ActiveMQ's own default is no limit at all.)
const FRAME_MAX: u64 = 104_857_600;

element! {
    /// Options of every connector.
    pub struct SocketOptions = {
        /// More connections are accepted and closed at once.
        maximum_connections: u32 = "maximumConnections", i32::MAX as u32, active;
        backlog: u32 = "backlog", 5000, active;
        /// How long a read may take; 0 = for ever.
        so_timeout: Duration = "soTimeout" | "transport.soTimeout", Duration::ZERO, active;
        /// For the handshake of an accepted connection.
        connection_timeout: Duration =
            "connectionTimeout" | "transport.connectionTimeout", Duration::from_secs(30), active;
        /// Bytes.
        socket_buffer_size: u32 =
            "socketBufferSize" | "transport.socketBufferSize", 65_536, active;
        /// Bytes.
        io_buffer_size: u32 = "ioBufferSize" | "transport.ioBufferSize", 8192, active;
        /// A connection whose write blocks longer is closed; 0 = never.
        so_write_timeout: Duration =
            "transport.soWriteTimeout" | "soWriteTimeout", Duration::ZERO, active;
        /// Unset = as the wire format negotiates.
        tcp_no_delay: Option<bool> = "transport.tcpNoDelay" | "tcpNoDelay", None, active;
        keep_alive: Option<bool> = "transport.keepAlive" | "keepAlive", None, active;
        /// Seconds; unset (-1) = as the system does.
        so_linger_secs: Option<u32> = "transport.soLinger" | "soLinger", None, active;
        traffic_class: Option<u32> = "transport.trafficClass" | "trafficClass", None, active;
        use_inactivity_monitor: bool =
            "transport.useInactivityMonitor" | "useInactivityMonitor", true, active;
        /// Send KeepAliveInfo when there is nothing else to send.
        use_keep_alive: bool = "transport.useKeepAlive" | "useKeepAlive", true, active;
        /// Log every command of the connection.
        trace: bool = "trace" | "transport.trace", false, active;
    }
    without_effect {
        "transport.startLogging" = "true", "startLogging" = "true",
        "transport.logWriterName" = "default", "logWriterName" = "default",
        "jmxPort" = "1099", "transport.jmxPort" = "1099",
        "transport.closeAsync", "closeAsync", "daemon", "transport.daemon", "useQueueForAccept",
        "transport.threadName", "transport.stackSize", "transport.connectionId",
        "transport.dynamicManagement", "dynamicManagement",
    }
}

element! {
    /// Options of connectors with TLS.
    pub struct TlsOptions = {
        /// A client without certificate is refused.
        need_client_auth: bool = "transport.needClientAuth" | "needClientAuth", false, active;
        want_client_auth: bool = "transport.wantClientAuth" | "wantClientAuth", false, active;
        /// Empty = the library's choice.
        enabled_cipher_suites: Vec<String> =
            "transport.enabledCipherSuites" | "enabledCipherSuites", Vec::new(), active;
        enabled_protocols: Vec<String> =
            "transport.enabledProtocols" | "enabledProtocols", Vec::new(), active;
        verify_host_name: bool = "transport.verifyHostName" | "verifyHostName", false, active;
    }
}

element! {
    /// The broker's side of OpenWire's negotiation: each value meets the client's, and the smaller
    /// (or false) one counts.
    pub struct OpenWireOptions = {
        version: u32 = "wireFormat.version", 12, active;
        stack_trace_enabled: bool = "wireFormat.stackTraceEnabled", true, active;
        tcp_no_delay_enabled: bool = "wireFormat.tcpNoDelayEnabled", true, active;
        cache_enabled: bool = "wireFormat.cacheEnabled", true, active;
        cache_size: u32 = "wireFormat.cacheSize", 1024, active;
        tight_encoding_enabled: bool = "wireFormat.tightEncodingEnabled", true, active;
        size_prefix_disabled: bool = "wireFormat.sizePrefixDisabled", false, active;
        /// 0 = connections are not watched.
        max_inactivity_duration: Duration =
            "wireFormat.maxInactivityDuration", Duration::from_secs(30), active;
        max_inactivity_initial_delay: Duration =
            "wireFormat.maxInactivityDurationInitalDelay"
            | "wireFormat.maxInactivityDurationInitialDelay", Duration::from_secs(10), active;
        /// Bytes.
        max_frame_size: u64 = "wireFormat.maxFrameSize", FRAME_MAX, active;
        max_frame_size_enabled: bool = "wireFormat.maxFrameSizeEnabled", true, active;
        host: Option<String> = "wireFormat.host", None, active;
        /// Older clients are refused.
        minimum_version: u32 = "minmumWireFormatVersion" | "minimumWireFormatVersion", 0, active;
    }
}

element! {
    pub struct StompOptions = {
        /// `send,receive` in ms for clients that name none.
        default_heart_beat: String = "transport.defaultHeartBeat", "0,0".to_owned(), active;
        heart_beat_grace_multiplier: f64 = "transport.hbGracePeriodMultiplier", 1.0, active;
        /// Bytes of one body.
        max_data_length: u64 = "wireFormat.maxDataLength", FRAME_MAX, active;
        max_frame_size: u64 = "wireFormat.maxFrameSize", FRAME_MAX, active;
        connect_timeout: Duration =
            "wireFormat.connectionAttemptTimeout", Duration::from_secs(30), active;
    }
}

element! {
    pub struct MqttOptions = {
        /// For clients that ask for none; 0 = none.
        default_keep_alive: Duration = "transport.defaultKeepAlive", Duration::ZERO, active;
        subscription_strategy: MqttSubscriptions =
            "transport.subscriptionStrategy" | "transport.subscriptionStrategyName",
            MqttSubscriptions::DurableTopics, active;
        publish_dollar_topics: bool = "transport.publishDollarTopics", false, active;
        /// Unset (-1) = as the policy says.
        subscription_prefetch: Option<u32> =
            "transport.activeMQSubscriptionPrefetch", None, active;
        max_frame_size: u64 = "wireFormat.maxFrameSize", 268_435_456, active;
        connect_timeout: Duration =
            "wireFormat.connectAttemptTimeout", Duration::from_secs(30), active;
    }
}

words! {
    /// What an MQTT subscription with QoS 1 or 2 becomes.
    pub enum MqttSubscriptions {
        DurableTopics = "mqtt-default-subscriptions",
        VirtualTopics = "mqtt-virtual-topic-subscriptions",
    }
}

element! {
    pub struct AmqpOptions = {
        transformer: AmqpTransformer = "transport.transformer", AmqpTransformer::Jms, active;
        producer_credit: u32 = "transport.producerCredit", 1000, active;
        /// Offered in Open, bytes.
        max_amqp_frame_size: u32 = "wireFormat.maxAmqpFrameSize", 131_072, active;
        max_frame_size: u64 = "wireFormat.maxFrameSize", FRAME_MAX, active;
        idle_timeout: Duration = "wireFormat.idleTimeout", Duration::from_secs(30), active;
        allow_non_sasl: bool = "wireFormat.allowNonSaslConnections", false, active;
        connect_timeout: Duration =
            "wireFormat.connectAttemptTimeout", Duration::from_secs(30), active;
    }
}

words! {
    /// How much of an AMQP message other protocols see.
    pub enum AmqpTransformer { Jms = "jms", Native = "native", Raw = "raw" }
}

element! {
    pub struct WebSocketOptions = {
        /// Bytes; unset = the frame limit of the protocol inside.
        max_text_message_size: Option<u32> = "websocket.maxTextMessageSize", None, active;
        max_binary_message_size: Option<u32> = "websocket.maxBinaryMessageSize", None, active;
        idle_timeout: Option<Duration> = "websocket.idleTimeout", None, active;
        enable_trace: bool = "http.enableTrace", false, active;
    }
}

element! {
    pub struct AutoOptions = {
        detection_timeout: Duration =
            "protocolDetectionTimeOut", Duration::from_secs(30), active;
        /// Out of `default` (OpenWire), `amqp`, `stomp`, `mqtt`; empty = all.
        protocols: Vec<String> = "auto.protocols", Vec::new(), active;
    }
    without_effect { "maxConnectionThreadPoolSize" }
}

element! {
    pub struct UdpOptions = {
        /// Bytes.
        datagram_size: u32 = "datagramSize", 4096, active;
    }
}
