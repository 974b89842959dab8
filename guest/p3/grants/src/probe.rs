//! A first look at everything: what is there at all, and what is denied.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use kit::Request;
use kit::types::{ErrorCode as HttpError, Fields, Request as HttpRequest, Scheme};
use kit::wasip3::cli::{environment, stdin};
use kit::wasip3::clocks::{monotonic_clock, system_clock};
use kit::wasip3::filesystem::preopens;
use kit::wasip3::http::client;
use kit::wasip3::random::random;
use kit::wasip3::sockets::ip_name_lookup::resolve_addresses;
use kit::wasip3::sockets::types::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket,
};
use kit::wasip3::wit_bindgen::StreamResult;
use kit::wasip3::wit_future;

/// One `what: outcome` a line.
pub async fn all(request: &Request) -> String {
    let ip = request.text("ip").unwrap_or("127.0.0.1");
    let port = request.number("port", 1) as u16;
    let name = request.text("name").unwrap_or("localhost");
    let lines = [
        ("env", environment::get_environment().len().to_string()),
        ("args", environment::get_arguments().len().to_string()),
        ("preopens", preopens::get_directories().len().to_string()),
        ("stdin", stdin().await.into()),
        ("random", random::get_random_bytes(8).len().to_string()),
        ("monotonic", monotonic_clock::now().to_string()),
        ("wall", system_clock::now().seconds.to_string()),
        ("tcp", kit::outcome(tcp(address(ip, port)).await.map_err(kit::case))),
        ("udp", kit::outcome(udp(address(ip, port)).map_err(kit::case))),
        ("dns", kit::outcome(resolve_addresses(name.into()).await.map_err(kit::case))),
        ("http", kit::outcome(http(&format!("{ip}:{port}")).await.map_err(kit::case))),
    ];
    lines.map(|(what, outcome)| format!("{what}: {outcome}\n")).concat()
}

/// An open stdin may have nothing to read for ever, so the read is raced with a clock.
async fn stdin() -> &'static str {
    let (mut input, _) = stdin::read_via_stream();
    let mut read = pin!(input.read(Vec::with_capacity(1)));
    let mut alarm = pin!(kit::sleep(100));
    poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready((StreamResult::Dropped, _)) => Poll::Ready("closed"),
        Poll::Ready(_) => Poll::Ready("open"),
        Poll::Pending => alarm.as_mut().poll(context).map(|()| "open"),
    })
    .await
}

fn address(ip: &str, port: u16) -> IpSocketAddress {
    let address = kit::octets(ip).into();
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

async fn tcp(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    TcpSocket::create(IpAddressFamily::Ipv4)?.connect(peer).await
}

fn udp(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    UdpSocket::create(IpAddressFamily::Ipv4)?.connect(peer)
}

async fn http(authority: &str) -> Result<(), HttpError> {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = HttpRequest::new(Fields::new(), None, trailers, None);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some("/")).expect("a path");
    client::send(request).await.map(drop)
}
