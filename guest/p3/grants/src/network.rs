//! Raw sockets and names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kit::wasip3::sockets::ip_name_lookup::resolve_addresses;
use kit::wasip3::sockets::types::{
    IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket,
};
use kit::wasip3::wit_stream;

/// Sends `ping` and gives the first piece of what comes back.
pub async fn ping(addr: &str) -> Result<String, String> {
    let peer = match addr.parse() {
        Ok(peer) => peer,
        Err(_) => {
            let (host, port) = addr.rsplit_once(':').ok_or("no port")?;
            let port = port.parse().map_err(|_| "no port")?;
            let first = resolve(host).await?.into_iter().next().ok_or("no address")?;
            SocketAddr::new(first, port)
        }
    };
    let socket = TcpSocket::create(family(peer)).map_err(kit::case)?;
    socket.connect(address(peer)).await.map_err(kit::case)?;
    let (mut send, bytes) = wit_stream::new();
    let sent = socket.send(bytes);
    send.write_all(b"ping".to_vec()).await;
    let (mut answer, _) = socket.receive();
    let (_, bytes) = answer.read(Vec::with_capacity(64 * 1024)).await;
    drop(send);
    sent.await.map_err(kit::case)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn lookup(name: &str) -> Result<String, String> {
    Ok(resolve(name).await?.into_iter().map(|ip| format!("{ip}\n")).collect())
}

async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let found = resolve_addresses(host.into()).await.map_err(kit::case)?;
    let plain = |address| match address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6(parts) => Ipv6Addr::from(<[u16; 8]>::from(parts)).into(),
    };
    Ok(found.into_iter().map(plain).collect())
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
