//! Listening sockets and the sockets they accept.

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Socket options of a connector (config.md section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `backlog`: connections the system keeps before they are accepted.
    pub backlog: i32,
    /// `socketBufferSize`, bytes; none: the system's.
    pub buffer_bytes: Option<usize>,
    /// `transport.tcpNoDelay`.
    pub no_delay: bool,
    /// `transport.keepAlive`: the system's own probes.
    pub keep_alive: bool,
    /// `transport.soLinger`; none: the system's way.
    pub linger: Option<Duration>,
    /// `transport.trafficClass`: the type-of-service byte.
    pub traffic_class: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            backlog: 5000,
            buffer_bytes: None,
            no_delay: true,
            keep_alive: false,
            linger: None,
            traffic_class: None,
        }
    }
}

/// Opens a listening socket. `0.0.0.0` and `::` listen on all interfaces, port 0 takes a free one.
///
/// # Errors
/// When the name does not resolve, the port is taken or not allowed.
pub fn listen(host: &str, port: u16, options: &SocketOptions) -> io::Result<TcpListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unspecified()
    {
        // As Java does: one socket for both families.
        socket.set_only_v6(false)?;
    }
    if let Some(bytes) = options.buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    TcpListener::from_std(socket.into())
}

/// Sets up an accepted socket.
///
/// # Errors
/// When the peer is gone already.
pub fn prepare(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_nodelay(options.no_delay)?;
    if options.keep_alive {
        socket.set_tcp_keepalive(&TcpKeepalive::new())?;
    }
    if let Some(linger) = options.linger {
        socket.set_linger(Some(linger))?;
    }
    if let Some(class) = options.traffic_class {
        socket.set_tos_v4(class)?;
    }
    Ok(())
}
