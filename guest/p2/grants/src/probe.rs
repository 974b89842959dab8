//! A first look at everything: what is there at all, and what is denied.

use kit::Request;
use kit::types::{ErrorCode as HttpError, Fields, OutgoingRequest, Scheme};
use kit::wasip2::cli::{environment, stdin};
use kit::wasip2::clocks::{monotonic_clock, wall_clock};
use kit::wasip2::filesystem::preopens;
use kit::wasip2::http::outgoing_handler;
use kit::wasip2::random::random;
use kit::wasip2::sockets::instance_network::instance_network;
use kit::wasip2::sockets::ip_name_lookup::resolve_addresses;
use kit::wasip2::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use kit::wasip2::sockets::tcp_create_socket::create_tcp_socket;
use kit::wasip2::sockets::udp_create_socket::create_udp_socket;

/// One `what: outcome` a line.
pub fn all(request: &Request) -> String {
    let ip = request.text("ip").unwrap_or("127.0.0.1");
    let port = request.number("port", 1) as u16;
    let name = request.text("name").unwrap_or("localhost");
    let socket_error = |error: ErrorCode| error.name().to_owned();
    let lines = [
        ("env", environment::get_environment().len().to_string()),
        ("args", environment::get_arguments().len().to_string()),
        ("preopens", preopens::get_directories().len().to_string()),
        ("stdin", stdin::get_stdin().read(1).map_or("closed", |_| "open").into()),
        ("random", random::get_random_bytes(8).len().to_string()),
        ("monotonic", monotonic_clock::now().to_string()),
        ("wall", wall_clock::now().seconds.to_string()),
        ("tcp", kit::outcome(tcp(address(ip, port)).map_err(socket_error))),
        ("udp", kit::outcome(udp(address(ip, port)).map_err(socket_error))),
        ("dns", kit::outcome(dns(name).map_err(socket_error))),
        ("http", kit::outcome(http(&format!("{ip}:{port}")).map_err(kit::case))),
    ];
    lines.map(|(what, outcome)| format!("{what}: {outcome}\n")).concat()
}

fn address(ip: &str, port: u16) -> IpSocketAddress {
    let address = kit::octets(ip).into();
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

fn tcp(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), peer)?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn udp(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), address("0.0.0.0", 0))?;
    socket.subscribe().block();
    socket.finish_bind()?;
    socket.stream(Some(peer)).map(drop)
}

fn dns(name: &str) -> Result<(), ErrorCode> {
    let addresses = resolve_addresses(&instance_network(), name)?;
    addresses.subscribe().block();
    addresses.resolve_next_address().map(drop)
}

fn http(authority: &str) -> Result<(), HttpError> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some("/")).expect("a path");
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    response.get().expect("ready").expect("taken once").map(drop)
}
