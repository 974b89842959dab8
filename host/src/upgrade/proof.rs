//! A request of the host to itself, before it says that it is ready.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use host_net::{IdleConnection, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::offers::Offers;

/// The host itself answers, without a guest. A machine that needs longer would serve nobody.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Two hosts are asked for, which the host refuses by itself (RFC 9112 §3.2): that runs no guest, and so changes nothing.
/// What guests answer, the smoke requests have shown.
const REQUEST: &[u8] = b"GET /.host-upgrade HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 400 ";

/// Sends a request over a connection that goes through all that serves connections, from the socket on. To be called in
/// the runtime that serves.
///
/// # Errors
/// When the answer is another one, or comes too late.
pub(crate) async fn prove(offers: &Offers) -> anyhow::Result<()> {
    let (ours, theirs) = StdUnixStream::pair()?;
    for socket in [&ours, &theirs] {
        socket.set_nonblocking(true)?;
    }
    let (listener, peer) = (Arc::from("itself"), Peer::default());
    let idle = IdleConnection::new(theirs.into(), listener, peer, (0, BytesMut::new()));
    offers.adopt(None, idle)?;
    let mut client = UnixStream::from_std(ours)?;
    let mut answer = [0; ANSWER.len()];
    timeout(ANSWERED_WITHIN, async {
        client.write_all(REQUEST).await?;
        client.read_exact(&mut answer).await
    })
    .await
    .with_context(|| format!("a request to itself was not answered within {ANSWERED_WITHIN:?}"))?
    .context("a request to itself")?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer == ANSWER, "a request to itself was answered with {text:?}");
    Ok(())
}
