//! Connections to the server under test.

use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fate::RefusedBy;
use super::round::Round;
use super::stream::AnyStream;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The server did not take it.
    Refused(RefusedBy),
    /// We could not ask.
    Ours(String),
}

/// A connection for HTTP/1 or HTTP/2, with the handshake behind it.
pub(crate) async fn connect(round: &Round, http2: bool) -> Result<AnyStream, NoConnection> {
    let patience = round.course.plan.patience;
    let tcp = match timeout(patience, TcpStream::connect(round.address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(e)) if is_ours(&e) => return Err(NoConnection::Ours(e.to_string())),
        Ok(Err(_)) | Err(_) => return Err(NoConnection::Refused(RefusedBy::Connect)),
    };
    // It fails on a connection that is reset already, which the first write finds too.
    drop(tcp.set_nodelay(true));
    let Some(tls) = &round.course.tested.tls else {
        return Ok(AnyStream::Plain(tcp));
    };
    let connector = if http2 { &tls.http2 } else { &tls.http1 };
    match timeout(patience, connector.connect(tls.name.clone(), tcp)).await {
        Ok(Ok(stream)) if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") => {
            Err(NoConnection::Ours("the server does not speak HTTP/2".to_owned()))
        }
        Ok(Ok(stream)) => Ok(AnyStream::Tls(Box::new(stream))),
        // rustls puts its own verdict, as one on a certificate, into this kind: no stop is in the way there.
        Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
            Err(NoConnection::Ours(e.to_string()))
        }
        Ok(Err(_)) | Err(_) => Err(NoConnection::Refused(RefusedBy::Handshake)),
    }
}

/// Whether ports or descriptors have run out on our side.
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(
            Errno::ADDRNOTAVAIL
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ACCESS
                | Errno::PERM
        )
    )
}
