//! A connector: a listening socket, and the connections that came through it.

use super::publish::Publish;
use crate::broker::Broker;
use crate::broker::client::{Closing, Transport};
use crate::jms::Text;
use crate::protocol::drive::Patience;
use crate::protocol::openwire::{self, OpenWireOptions};
use crate::protocol::{Ended, drive};
use crate::transport::listener::{self, SocketOptions};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// What a connector is made of.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    pub name: Text,
    /// `tcp`, `nio`: both are the same here.
    pub scheme: Text,
    pub host: String,
    pub port: u16,
    /// What stands behind the `?` of its address, for the log.
    pub query: String,
    /// `maximumConnections`: the excess is closed at once.
    pub connections_max: u32,
    pub allow_link_stealing: bool,
    pub producers_max: u32,
    pub consumers_max: u32,
    pub socket: SocketOptions,
    pub patience: Patience,
    /// `warnOnRemoteClose`.
    pub warn_on_remote_close: bool,
    pub publish: Publish,
    pub openwire: OpenWireOptions,
}

impl ConnectorOptions {
    /// An OpenWire connector with defaults.
    pub fn openwire(name: &str, host: &str, port: u16) -> Self {
        Self {
            name: name.into(),
            scheme: "tcp".into(),
            host: host.into(),
            port,
            query: String::new(),
            connections_max: i32::MAX.cast_unsigned(),
            allow_link_stealing: false,
            producers_max: i32::MAX.cast_unsigned(),
            consumers_max: i32::MAX.cast_unsigned(),
            socket: SocketOptions::default(),
            patience: Patience::default(),
            warn_on_remote_close: false,
            publish: Publish::default(),
            openwire: OpenWireOptions::default(),
        }
    }
}

/// A connector whose port is open.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    pub address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    options: ConnectorOptions,
    /// Where it can be reached.
    connect: Text,
    /// What others are told of that.
    published: Text,
    stop: Notify,
    connections: Mutex<HashMap<u64, Arc<Notify>>>,
    next: AtomicU64,
    /// How many connections there are.
    count: watch::Sender<usize>,
    warnings: Mutex<Warnings>,
}

/// Keeps a flood of bad connections from flooding the log.
#[derive(Debug, Default)]
struct Warnings {
    since: Option<Instant>,
    written: u32,
    left_out: u32,
}

/// Lines about failed connections per connector and second.
const WARNINGS_PER_SECOND: u32 = 20;

impl Connector {
    /// Opens the port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn bind(
        options: ConnectorOptions,
        host_name: &str,
    ) -> std::io::Result<(Self, TcpListener)> {
        let listener = listener::listen(&options.host, options.port, &options.socket)?;
        let address = listener.local_addr()?;
        let host =
            if address.ip().is_unspecified() { host_name.to_owned() } else { options.host.clone() };
        let connect = format!("{}://{host}:{}", options.scheme, address.port()).into();
        let published = options.publish.address(&options.scheme, &host, address, host_name);
        let shared = Arc::new(Shared {
            options,
            connect,
            published,
            stop: Notify::new(),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            count: watch::Sender::new(0),
            warnings: Mutex::default(),
        });
        Ok((Self { shared, address }, listener))
    }

    /// Opens the port once more, after [`Self::close`]; the connector that has it then is a new one.
    ///
    /// # Errors
    /// When the port cannot be had any more.
    pub fn again(&self, host_name: &str) -> std::io::Result<(Self, TcpListener)> {
        let port = self.address.port();
        Self::bind(ConnectorOptions { port, ..self.shared.options.clone() }, host_name)
    }

    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    /// The address clients are told.
    pub fn published(&self) -> &Text {
        &self.shared.published
    }

    /// Its scheme, and where it can be reached, with the options behind it.
    pub fn address_and_scheme(&self) -> (Text, Text) {
        let address = format!("{}{}", self.shared.connect, self.shared.query());
        (Text::clone(&self.shared.options.scheme), address.into())
    }

    /// Begins to serve.
    pub fn serve(&self, listener: TcpListener, broker: Arc<Broker>) {
        let options = &self.shared.options;
        let query = self.shared.query();
        tracing::info!("Listening for connections at: {}{query}", self.shared.connect);
        tokio::spawn(accept(Arc::clone(&self.shared), listener, broker));
        tracing::info!("Connector {} started", options.name);
    }

    /// Tells the port and all connections to close.
    pub fn close(&self) {
        self.shared.stop.notify_one();
        for stop in self.shared.connections.lock().values() {
            stop.notify_one();
        }
    }

    /// Returns when all connections are gone after [`Self::close`], or after `patience`.
    pub async fn closed(&self, patience: Duration) {
        let mut count = self.shared.count.subscribe();
        let gone = tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await;
        if gone.is_err() {
            tracing::warn!(connector = self.name(), "connections did not end in time");
        }
        tracing::info!("Connector {} stopped", self.name());
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, broker: Arc<Broker>) {
    let openwire = Arc::new(shared.options.openwire.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.notified() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer has gone: neither ends the connector.
                shared.warn(&format!("Could not accept connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let max = shared.options.connections_max;
        if *shared.count.borrow() >= max as usize {
            shared.warn(&format!(
                "Could not accept connection from tcp://{peer}: Exceeded the maximum number of allowed client connections. See the 'maximumConnections' property on the TCP transport configuration URI in the ActiveMQ configuration file (e.g., activemq.xml)"
            ));
            continue;
        }
        if listener::prepare(&stream, &shared.options.socket).is_err() {
            continue;
        }
        shared.count.send_modify(|count| *count += 1);
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let stop = Arc::new(Notify::new());
        shared.connections.lock().insert(number, Arc::clone(&stop));
        let guard = ConnectionGuard { shared: Arc::clone(&shared), number };
        let (broker, openwire) = (Arc::clone(&broker), Arc::clone(&openwire));
        tokio::spawn(serve(guard, stream, peer, stop, broker, openwire));
    }
}

/// How long to wait when accepting fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes a connection off the books, however it ends.
struct ConnectionGuard {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.connections.lock().remove(&self.number);
        self.shared.count.send_modify(|count| *count -= 1);
    }
}

/// Serves a connection to its end. The task is this future: an `async fn` would keep what it is given twice.
#[allow(clippy::manual_async_fn, reason = "see above")]
fn serve(
    guard: ConnectionGuard,
    stream: TcpStream,
    peer: SocketAddr,
    stop: Arc<Notify>,
    broker: Arc<Broker>,
    openwire: Arc<OpenWireOptions>,
) -> impl Future<Output = ()> + Send {
    async move {
        let options = &guard.shared.options;
        let closing = Closing::default();
        let transport = Transport {
            connector: Text::clone(&options.name),
            remote: format!("tcp://{peer}").into(),
            connector_url: Text::clone(&guard.shared.published),
            stop: Arc::clone(&stop),
            closing: closing.clone(),
            allow_link_stealing: options.allow_link_stealing,
            producers_max: options.producers_max,
            consumers_max: options.consumers_max,
        };
        let (ingress, egress) = openwire::session(&broker, &openwire, transport);
        let (reader, writer) = stream.into_split();
        let patience = options.patience;
        let ended = drive::drive(reader, writer, ingress, egress, stop, closing, patience).await;
        guard.shared.note_end(peer, &ended);
    }
}

impl Shared {
    /// Says how the connection of `peer` ended.
    fn note_end(&self, peer: SocketAddr, ended: &Ended) {
        match ended {
            Ended::Goodbye | Ended::Stopped | Ended::Refused => {
                tracing::debug!(%peer, reason = %ended, "connection ended");
            }
            Ended::Blocked(_) => {
                self.warn(&format!("found a blocked client - stopping: tcp://{peer}: {ended}"));
            }
            Ended::Io(error) if !self.options.warn_on_remote_close => {
                tracing::debug!(%peer, %error, "connection ended");
            }
            _ => self.warn(&format!("Transport Connection to: tcp://{peer} failed: {ended}")),
        }
    }

    /// The options behind its address.
    fn query(&self) -> String {
        match self.options.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        }
    }

    /// Writes a warning about a connection, unless there were many just now.
    fn warn(&self, text: &str) {
        let left_out = {
            let mut warnings = self.warnings.lock();
            let now = Instant::now();
            let fresh = warnings.since.is_none_or(|since| now - since >= Duration::from_secs(1));
            if fresh {
                let left_out = std::mem::take(&mut warnings.left_out);
                *warnings = Warnings { since: Some(now), written: 0, left_out: 0 };
                warnings.written += 1;
                Some(left_out)
            } else if warnings.written < WARNINGS_PER_SECOND {
                warnings.written += 1;
                Some(0)
            } else {
                warnings.left_out += 1;
                None
            }
        };
        match left_out {
            None => {}
            Some(0) => tracing::warn!("{text}"),
            Some(more) => tracing::warn!("{text} (and {more} more like it, left out)"),
        }
    }
}
