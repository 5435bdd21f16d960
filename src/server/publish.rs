//! Which address of a connector others are told: in advisories, and when a broker introduces itself.

use crate::jms::Text;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// `<publishedAddressPolicy>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    pub host: HostForm,
    /// Hosts, and what is said instead.
    pub hosts: Vec<(String, String)>,
    /// Ports, and what is said instead.
    pub ports: Vec<(String, String)>,
    /// Stands behind the `?`.
    pub query: Option<String>,
}

/// How the host is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostForm {
    /// The host of the connector's URI; this machine's name if that is all addresses.
    #[default]
    AsConfigured,
    IpAddress,
    /// This machine's name.
    Name,
}

impl Publish {
    /// The address of a connector that is reached at `host` and listens at `address`.
    pub(super) fn address(
        &self,
        scheme: &str,
        host: &str,
        address: SocketAddr,
        host_name: &str,
    ) -> Text {
        let host = match self.host {
            HostForm::AsConfigured => host.to_owned(),
            HostForm::Name => host_name.to_owned(),
            HostForm::IpAddress => ip_text(address.ip(), host_name),
        };
        let port = address.port().to_string();
        let mapped = |map: &[(String, String)], of: String| {
            let found = map.iter().find(|(from, _)| *from == of);
            found.map_or(of, |(_, to)| to.clone())
        };
        let (host, port) = (mapped(&self.hosts, host), mapped(&self.ports, port));
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}:{port}{query}").into()
    }
}

/// The address; for all addresses one of this machine's, or its name if that has none.
fn ip_text(ip: IpAddr, host_name: &str) -> String {
    let ip = if ip.is_unspecified() {
        let known = (host_name, 0).to_socket_addrs().into_iter().flatten();
        let known: Vec<IpAddr> = known.map(|known| known.ip()).collect();
        let found = known.iter().find(|known| known.is_ipv4()).or_else(|| known.first());
        match found {
            Some(found) => *found,
            None => return host_name.to_owned(),
        }
    } else {
        ip
    };
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(publish: &Publish) -> String {
        let address = SocketAddr::from(([10, 0, 0, 7], 61616));
        publish.address("tcp", "configured", address, "machine").to_string()
    }

    #[test]
    fn the_published_host_follows_the_strategy() {
        let of = |host| told(&Publish { host, ..Publish::default() });
        assert_eq!(of(HostForm::AsConfigured), "tcp://configured:61616");
        assert_eq!(of(HostForm::IpAddress), "tcp://10.0.0.7:61616");
        assert_eq!(of(HostForm::Name), "tcp://machine:61616");
    }

    #[test]
    fn hosts_and_ports_are_mapped_and_the_query_follows() {
        let pair = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
        let publish = Publish {
            hosts: pair("configured", "outside"),
            ports: pair("61616", "443"),
            query: Some("a=b".into()),
            ..Publish::default()
        };
        assert_eq!(told(&publish), "tcp://outside:443?a=b");
    }
}
