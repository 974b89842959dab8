//! One connection: to an address of the server, with TLS unless it is plain HTTP on this machine.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use crate::error::RegistryError;

/// A connection.
#[derive(Debug)]
pub(crate) enum RegistryWire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to the server of a URL.
pub(crate) async fn dial(url: &Url, tls: Arc<ClientConfig>) -> Result<RegistryWire, RegistryError> {
    let unreachable = |why: String| RegistryError::Unreachable { host: host_of(url), why };
    let secure = url.scheme() == "https";
    let stream = connect(url, secure).await.map_err(|error| unreachable(error.to_string()))?;
    // What is sent is a head, or a head with its body: nothing to be gathered.
    stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
    if !secure {
        return Ok(RegistryWire::Plain(stream));
    }
    let failed = |why: String| RegistryError::Tls { host: host_of(url), why };
    let name = server_name(url).ok_or_else(|| failed("its name is none".into()))?;
    let shaken = TlsConnector::from(tls).connect(name, stream).await;
    shaken
        .map(|stream| RegistryWire::Tls(Box::new(stream)))
        .map_err(|error| failed(error.to_string()))
}

async fn connect(url: &Url, secure: bool) -> io::Result<TcpStream> {
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Domain(name)) => tokio::net::lookup_host((name, port)).await?.collect(),
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        None => Vec::new(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        if !secure && !address.ip().is_loopback() {
            last = io::Error::other("plain HTTP goes to addresses of this machine only");
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        Host::Ipv4(address) => Some(ServerName::IpAddress(std::net::IpAddr::from(address).into())),
        Host::Ipv6(address) => Some(ServerName::IpAddress(std::net::IpAddr::from(address).into())),
    }
}

/// The server of a URL, for a sentence: with its port if it has one.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl AsyncRead for RegistryWire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for RegistryWire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
