//! HTTP/2 clients (prior knowledge): one thread and one small runtime per connection.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use h2::{Error, Reason};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::target::Target;
use super::super::{CONNECT_PATIENCE, PATIENCE, tls_client};
use super::client::Client;
use super::ledger::Ledger;

/// How long our own end of a connection may take to close once no stream needs it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// An open connection: the handle that sends requests, and the task that drives it.
struct Open {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), Error>>,
}

/// Clients that share a connection while the host keeps it, each with one stream at a time.
pub(super) fn kept(mut clients: Vec<Client>) -> Ledger {
    let mut ledger = Ledger::default();
    runtime().block_on(async {
        while let Some(first) = clients.first_mut() {
            let open = match connect(first).await {
                ControlFlow::Continue(open) => open,
                ControlFlow::Break(()) => break,
            };
            let mut streams = JoinSet::new();
            for client in clients.drain(..) {
                streams.spawn(keep(client, open.send.clone()));
            }
            while let Some(ended) = streams.join_next().await {
                let (client, flow) = ended.expect("a client does not panic");
                match flow {
                    ControlFlow::Continue(()) => clients.push(client),
                    ControlFlow::Break(()) => ledger.merge(client.close()),
                }
            }
            close(open).await;
        }
    });
    clients.into_iter().for_each(|client| ledger.merge(client.close()));
    ledger
}

/// A client with a connection for each request.
pub(super) fn fresh(mut me: Client) -> Ledger {
    runtime().block_on(async {
        while let ControlFlow::Continue(open) = connect(&mut me).await {
            let flow = exchange(&mut me, open.send.clone()).await;
            close(open).await;
            if flow.is_break() {
                break;
            }
        }
    });
    me.close()
}

/// How a request without a loss ended.
enum Next {
    /// With a response: the connection can take another request.
    Ask,
    /// Without one: the host has announced the end of the connection.
    Reconnect,
}

/// The streams of one client on one connection, until the connection ends.
async fn keep(mut me: Client, send: SendRequest<Bytes>) -> (Client, ControlFlow<()>) {
    loop {
        match exchange(&mut me, send.clone()).await {
            ControlFlow::Continue(Next::Ask) => {}
            ControlFlow::Continue(Next::Reconnect) => return (me, ControlFlow::Continue(())),
            ControlFlow::Break(()) => return (me, ControlFlow::Break(())),
        }
    }
}

/// One request with its whole response.
async fn exchange(me: &mut Client, send: SendRequest<Bytes>) -> ControlFlow<(), Next> {
    let mut send = match timeout(PATIENCE, send.ready()).await {
        Ok(Ok(send)) => send,
        Ok(Err(e)) => return ended_before(me, &e),
        Err(_) => return me.lost(&"no stream could be opened in time"),
    };
    // There is no await between `ready` and here, so the result of `ready` still holds.
    let uri = format!("http://loss.test{}", me.ask());
    let request = Request::get(uri).body(()).expect("a path of ours is valid");
    let answer = match send.send_request(request, true) {
        Ok((answer, _)) => answer,
        Err(e) => return me.lost(&format_args!("could not be sent: {e}")),
    };
    let whole = async {
        let (head, mut body) = answer.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await.transpose()? {
            body.flow_control().release_capacity(data.len())?;
            bytes.extend_from_slice(&data);
        }
        body.trailers().await?;
        Ok::<_, Error>((head.status.as_u16(), bytes))
    };
    match timeout(PATIENCE, whole).await {
        Ok(Ok((status, bytes))) => {
            me.judge(status, &bytes, &String::from_utf8_lossy(&bytes))?;
            ControlFlow::Continue(Next::Ask)
        }
        Ok(Err(e)) if not_looked_at(&e) => {
            me.ledger.refused_streams += 1;
            ControlFlow::Continue(Next::Reconnect)
        }
        Ok(Err(e)) => me.lost(&e),
        Err(_) => me.lost(&"no whole answer in time"),
    }
}

/// The connection ended before the next request was sent.
fn ended_before(me: &mut Client, error: &Error) -> ControlFlow<(), Next> {
    // h2 calls an end without GOAWAY a broken pipe.
    let fin = error.get_io().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
    if is_goaway(error) {
        me.ledger.told += 1;
    } else if fin {
        me.ledger.closed_idle += 1;
    } else {
        return me.lost(&format_args!("while idle: {error}"));
    }
    ControlFlow::Continue(Next::Reconnect)
}

/// Whether `error` is the host's GOAWAY without an error code.
fn is_goaway(error: &Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// Whether `error` says that the host has not processed the request: its stream is above the last one that
/// GOAWAY names (h2 gives this error to no other), or was refused.
fn not_looked_at(error: &Error) -> bool {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    is_goaway(error) || (error.is_reset() && error.is_remote() && refused)
}

async fn connect(me: &mut Client) -> ControlFlow<(), Open> {
    let (addr, tls) = match &me.load.target {
        Target::Tcp(addr) => (*addr, false),
        Target::Tls(addr) => (*addr, true),
        Target::Unix(_) => panic!("clients of HTTP/2 connect over TCP"),
    };
    let stream = match timeout(CONNECT_PATIENCE, TcpStream::connect(addr)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return me.no_connection(&e),
        Err(_) => return me.no_connection(&io::ErrorKind::TimedOut.into()),
    };
    if let Err(e) = stream.set_nodelay(true) {
        return me.lost(&e);
    }
    if !tls {
        return speak(me, stream).await;
    }
    // The host has accepted: it owes a handshake too.
    let connector = TlsConnector::from(tls_client::config(&["h2"]));
    match timeout(PATIENCE, connector.connect(tls_client::name(), stream)).await {
        Ok(Ok(stream)) => speak(me, stream).await,
        Ok(Err(e)) => me.lost(&format_args!("no handshake: {e}")),
        Err(_) => me.lost(&"no handshake in time"),
    }
}

/// Sends the preface and waits for nothing.
async fn speak<S>(me: &mut Client, stream: S) -> ControlFlow<(), Open>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match handshake(stream).await {
        Ok((send, connection)) => {
            ControlFlow::Continue(Open { send, driver: tokio::spawn(connection) })
        }
        Err(e) => me.lost(&format_args!("could not send the preface: {e}")),
    }
}

/// Closes our end. All responses have come, so what happens to the connection now is no loss.
async fn close(open: Open) {
    drop(open.send);
    let abort = open.driver.abort_handle();
    if timeout(CLOSE_PATIENCE, open.driver).await.is_err() {
        abort.abort();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
