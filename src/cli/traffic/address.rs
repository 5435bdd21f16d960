//! Where a broker is, as `--brokerUrl` says it.

use super::TrafficError;
use crate::client::{ClientError, Connection, Options};
use crate::config::{BrokerUri, UriError};
use std::fmt;
use std::str::FromStr;

/// One broker or several of which one will be there, with the text it was read from.
#[derive(Clone, Debug)]
pub(super) struct Address {
    text: String,
    /// In the order they are tried.
    brokers: Vec<Options>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::cli) enum AddressError {
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Broker(#[from] ClientError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: BrokerUri = text.parse()?;
        let brokers = if uri.scheme == "failover" {
            // How to come back is for clients that stay; who one is holds for all brokers.
            let identity: Vec<_> =
                uri.options.iter().filter(|option| option.name.starts_with("jms.")).collect();
            let all = uri.parts().iter().map(|part| {
                let mut part = part.clone();
                part.options.extend(identity.iter().map(|&option| option.clone()));
                Options::parse(&part.to_string())
            });
            all.collect::<Result<_, _>>()?
        } else {
            vec![Options::parse(text.trim())?]
        };
        Ok(Self { text: text.to_owned(), brokers })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password in the options is not for the terminal.
        f.write_str(self.text.split_once('?').map_or(self.text.as_str(), |(address, _)| address))
    }
}

impl Address {
    /// Connects to the first broker that is there.
    pub(super) async fn connect(
        &self,
        user: Option<&str>,
        password: Option<&str>,
        client_id: Option<&str>,
    ) -> Result<Connection, TrafficError> {
        let mut reasons = Vec::new();
        for broker in &self.brokers {
            let mut options = broker.clone();
            options.user = user.map(Into::into).or(options.user);
            options.password = password.map(Into::into).or(options.password);
            options.client_id = client_id.map(Into::into).or(options.client_id);
            let address = format!("{}:{}", options.host, options.port);
            match Connection::connect(&options).await {
                Ok(connection) => return Ok(connection),
                Err(ClientError::Refused { message, .. }) => {
                    let user = options.user.map_or_else(
                        || "a client without a name".to_owned(),
                        |user| format!("user '{user}'"),
                    );
                    return Err(TrafficError::Login { address, user, message });
                }
                Err(e @ ClientError::Connect { .. }) => reasons.push(e.to_string()),
                Err(e) => reasons.push(format!("{address}: {e}")),
            }
        }
        Err(TrafficError::NoBroker { reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(text: &str) -> Vec<(String, u16)> {
        let address: Address = text.parse().unwrap();
        address.brokers.into_iter().map(|options| (options.host, options.port)).collect()
    }

    #[test]
    fn a_failover_address_is_tried_in_its_order() {
        let two = [("a".to_owned(), 1), ("b".to_owned(), 61616)];
        assert_eq!(brokers("failover:(tcp://a:1,nio://b)?randomize=false"), two);
        assert_eq!(brokers("failover://tcp://a:1"), two[..1]);
        assert_eq!(brokers("tcp://a:1"), two[..1]);
        let named: Address = "failover:(tcp://a:1)?jms.userName=u".parse().unwrap();
        assert_eq!(named.brokers[0].user.as_deref(), Some("u"));
    }

    #[test]
    fn what_no_broker_can_be_reached_by_is_refused() {
        for text in ["", "a:1", "ssl://a:1", "tcp://a:x", "failover:()", "static:(tcp://a:1)"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let address: Address = "tcp://a:1?jms.password=secret".parse().unwrap();
        assert_eq!(address.to_string(), "tcp://a:1");
    }
}
