//! Raw sockets and names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kit::wasip2::sockets::instance_network::instance_network;
use kit::wasip2::sockets::ip_name_lookup::resolve_addresses;
use kit::wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use kit::wasip2::sockets::tcp_create_socket::create_tcp_socket;

/// Sends `ping` and gives the first piece of what comes back.
pub fn ping(addr: &str) -> Result<String, String> {
    let peer = match addr.parse() {
        Ok(peer) => peer,
        Err(_) => {
            let (host, port) = addr.rsplit_once(':').ok_or("no port")?;
            let port = port.parse().map_err(|_| "no port")?;
            let first = resolve(host)?.into_iter().next().ok_or("no address")?;
            SocketAddr::new(first, port)
        }
    };
    let socket = create_tcp_socket(family(peer)).map_err(name)?;
    socket.start_connect(&instance_network(), address(peer)).map_err(name)?;
    socket.subscribe().block();
    let (input, output) = socket.finish_connect().map_err(name)?;
    output.blocking_write_and_flush(b"ping").map_err(|_| "cannot write")?;
    let answer = input.blocking_read(64 * 1024).map_err(|_| "no answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub fn lookup(name: &str) -> Result<String, String> {
    Ok(resolve(name)?.into_iter().map(|ip| format!("{ip}\n")).collect())
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let coming = resolve_addresses(&instance_network(), host).map_err(name)?;
    let mut addresses = Vec::new();
    loop {
        coming.subscribe().block();
        match coming.resolve_next_address().map_err(name)? {
            Some(IpAddress::Ipv4((a, b, c, d))) => addresses.push(Ipv4Addr::new(a, b, c, d).into()),
            Some(IpAddress::Ipv6(parts)) => {
                addresses.push(Ipv6Addr::from(<[u16; 8]>::from(parts)).into())
            }
            None => return Ok(addresses),
        }
    }
}

fn family(peer: SocketAddr) -> IpAddressFamily {
    if peer.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn address(peer: SocketAddr) -> IpSocketAddress {
    let port = peer.port();
    match peer.ip() {
        IpAddr::V4(ip) => {
            let address = ip.octets().into();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
        }
        IpAddr::V6(ip) => {
            let address = ip.segments().into();
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, address, flow_info: 0, scope_id: 0 })
        }
    }
}

fn name(error: ErrorCode) -> String {
    error.name().into()
}
