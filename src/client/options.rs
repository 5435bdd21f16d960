//! How to reach a broker and what to offer it.

use super::ClientError;
use crate::jms::Text;
use crate::protocol::openwire::negotiation::Offer;
use std::time::Duration;

/// What a connection is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Host name or address, IPv6 in brackets.
    pub host: String,
    pub port: u16,
    /// What the client offers for the wire format (`wireFormat.*`).
    pub offer: Offer,
    /// `jms.clientID`; none: one is made up.
    pub client_id: Option<Text>,
    /// The connection's id; none: one is made up. A client that comes back after a lost connection
    /// uses its old one.
    pub connection_id: Option<Text>,
    /// `jms.userName`.
    pub user: Option<Text>,
    /// `jms.password`.
    pub password: Option<Text>,
    /// `ConnectionInfo.faultTolerant`: this client comes back by itself.
    pub fault_tolerant: bool,
    /// `ConnectionInfo.failoverReconnect`: it has come back.
    pub failover_reconnect: bool,
    /// How long connecting and introducing may take.
    pub connect_timeout: Duration,
    /// How long an answer may take; none: as long as the connection lives. A producer held up by
    /// flow control waits for its answer too.
    pub response_timeout: Option<Duration>,
}

/// ActiveMQ's port.
const PORT: u16 = 61616;

impl Options {
    /// Defaults for a broker at `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        Self {
            offer: Offer { host: Some(host.as_str().into()), ..Offer::default() },
            host,
            port,
            client_id: None,
            connection_id: None,
            user: None,
            password: None,
            fault_tolerant: false,
            failover_reconnect: false,
            connect_timeout: Duration::from_secs(30),
            response_timeout: None,
        }
    }

    /// Reads `tcp://host:port?option=value&...` with options `wireFormat.*` and `jms.userName`,
    /// `jms.password`, `jms.clientID`. Values stand as they are, without percent escapes.
    ///
    /// # Errors
    /// When the scheme is another one, an option is unknown or its value malformed.
    pub fn parse(uri: &str) -> Result<Self, ClientError> {
        let fail = |reason| ClientError::Address { uri: uri.to_owned(), reason };
        let rest = uri.strip_prefix("tcp://").or_else(|| uri.strip_prefix("nio://"));
        let rest = rest.ok_or_else(|| fail("the scheme is not tcp"))?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| fail("the port is not a number up to 65535"))?)
            }
            _ => (address, PORT),
        };
        if host.is_empty() {
            return Err(fail("there is no host"));
        }
        let mut options = Self::new(host, port);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) =
                option.split_once('=').ok_or_else(|| fail("an option has no value"))?;
            options.set(name, value).map_err(fail)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let malformed = "the value of an option is malformed";
        let flag = || value.parse::<bool>().map_err(|_| malformed);
        let number = || value.parse::<i64>().map_err(|_| malformed);
        let small = || value.parse::<i32>().map_err(|_| malformed);
        let offer = &mut self.offer;
        match name {
            "wireFormat.version" => offer.version = small()?,
            "wireFormat.tightEncodingEnabled" => offer.tight = flag()?,
            "wireFormat.cacheEnabled" => offer.cache = flag()?,
            "wireFormat.cacheSize" => offer.cache_size = small()?,
            "wireFormat.stackTraceEnabled" => offer.stack_trace = flag()?,
            "wireFormat.tcpNoDelayEnabled" => offer.tcp_no_delay = flag()?,
            "wireFormat.maxInactivityDuration" => offer.max_inactivity_ms = number()?,
            "wireFormat.maxInactivityDurationInitalDelay" => offer.initial_delay_ms = number()?,
            "wireFormat.maxFrameSize" => offer.max_frame_size = number()?,
            "jms.userName" => self.user = Some(value.into()),
            "jms.password" => self.password = Some(value.into()),
            "jms.clientID" => self.client_id = Some(value.into()),
            _ => return Err("it has an unknown option"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_carry_wire_format_and_identity() {
        let uri = "tcp://[::1]:7?wireFormat.version=6&wireFormat.cacheEnabled=false&jms.clientID=c";
        let options = Options::parse(uri).unwrap();
        assert_eq!((options.host.as_str(), options.port), ("[::1]", 7));
        assert_eq!((options.offer.version, options.offer.cache), (6, false));
        assert_eq!(options.client_id.as_deref(), Some("c"));
    }

    #[test]
    fn the_port_has_a_default() {
        assert_eq!(Options::parse("tcp://h").unwrap().port, 61616);
        assert_eq!(Options::parse("tcp://[::1]").unwrap().host, "[::1]");
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for uri in ["h:1", "ssl://h:1", "tcp://h:x", "tcp://:1", "tcp://h:1?a=b", "tcp://h:1?a"] {
            assert!(Options::parse(uri).is_err(), "{uri}");
        }
        assert!(Options::parse("tcp://h:1?wireFormat.version=one").is_err());
    }
}
