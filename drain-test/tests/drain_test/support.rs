//! Small servers that stop rightly, or wrongly in one way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host_drain_test::{Callback, ClientKind, Plan, StopTrigger};
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The patience of tests in which a wait has to run out. Whatever else they wait for is far quicker, on a busy machine too.
pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// What a server does with a request once it is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Responds, says `Connection: close`, and closes.
    Rightly,
    /// Responds as before, and accepts as before: a reload.
    NotAtAll,
    /// Resets the connection.
    Resets,
    /// Closes it in order, without a response.
    Closes,
    /// Sends a head, and part of the body that it promises.
    Truncates,
    /// Sends all chunks but the last one.
    LeavesOutTheLastChunk,
    /// Responds with 503 and closes.
    Says503,
    /// Responds with 404 and closes.
    Says404,
    /// Responds twice and closes.
    RespondsTwice,
    /// Never responds, and keeps the connection.
    Swallows,
    /// Responds with 503, and accepts as before.
    Fails,
    /// Responds with 404 from its start on, and does not stop.
    FindsNothing,
    /// Resets the connection of each third request, from its start on, and does not stop.
    ResetsEachThird,
}

impl Stopping {
    fn goes_on(self) -> bool {
        matches!(self, Self::NotAtAll | Self::Fails | Self::FindsNothing | Self::ResetsEachThird)
    }
}

/// A running server. It ends with its test.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    /// Resets that [`Stopping::ResetsEachThird`] has made.
    pub(crate) resets: Arc<AtomicU64>,
    /// Ends with this value.
    accepting: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(stopping: Stopping) -> Self {
        Self::start_with("127.0.0.1:0", stopping, None).await
    }

    pub(crate) async fn start_with(
        address: &str,
        stopping: Stopping,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let mut accepting = JoinSet::new();
        let resets = Arc::new(AtomicU64::new(0));
        let way = Way { stopping, requests: Arc::default(), resets: Arc::clone(&resets) };
        accepting.spawn(accept(listener, stop.subscribe(), way, tls));
        Self { address, stop, resets, accepting }
    }

    /// A plan that stops this server once, as soon as each client has had a response.
    pub(crate) fn plan(&self, kinds: &[ClientKind]) -> Plan {
        let stop = self.stop.clone();
        let call = Callback::new(move || {
            stop.send_replace(true);
        });
        plan(self.address, "http", StopTrigger::Call(call), kinds)
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) {
        self.accepting.join_next().await;
    }
}

/// What the connections of a server share.
#[derive(Clone, Debug)]
struct Way {
    stopping: Stopping,
    requests: Arc<AtomicU64>,
    resets: Arc<AtomicU64>,
}

impl Way {
    /// Whether the request that has come now is one of those to be reset.
    fn resets(&self) -> bool {
        let third = self.requests.fetch_add(1, Ordering::SeqCst) % 3 == 2;
        let resets = third && self.stopping == Stopping::ResetsEachThird;
        self.resets.fetch_add(u64::from(resets), Ordering::SeqCst);
        resets
    }
}

/// A plan in which nothing is waited for but events.
pub(crate) fn plan(
    address: SocketAddr,
    scheme: &str,
    trigger: StopTrigger,
    kinds: &[ClientKind],
) -> Plan {
    let mut plan = Plan::new(format!("{scheme}://localhost:{}/", address.port()), trigger);
    plan.kinds = kinds.to_vec();
    plan.clients = 3;
    plan.before = Duration::ZERO;
    plan.pace = Duration::from_millis(1);
    plan
}

async fn accept(
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    way: Way,
    tls: Option<TlsAcceptor>,
) {
    // True once the port refuses: before, a client that is told to leave could come back.
    let closed = Arc::new(watch::Sender::new(false));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = stop.wait_for(|stop| *stop && !way.stopping.goes_on()) => break,
        };
        let closed = match way.stopping {
            Stopping::Fails => stop.clone(),
            _ => closed.subscribe(),
        };
        let (tls, way) = (tls.clone(), way.clone());
        connections.spawn(async move {
            match tls {
                None => plain(stream, closed, &way).await,
                Some(tls) => {
                    // The look whether we accept ends without a handshake.
                    if let Ok(mut stream) = tls.accept(stream).await {
                        serve(&mut stream, closed, &way).await;
                        drop(stream.shutdown().await);
                    }
                }
            }
        });
    }
    drop(listener);
    closed.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn plain(mut stream: TcpStream, closed: watch::Receiver<bool>, way: &Way) {
    if serve(&mut stream, closed, way).await == After::Reset {
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Close,
    Reset,
}

async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    closed: watch::Receiver<bool>,
    way: &Way,
) -> After {
    let mut buffer = Vec::new();
    loop {
        if !read_request(stream, &mut buffer).await {
            return After::Close;
        }
        if way.resets() {
            return After::Reset;
        }
        let (response, after) = if way.stopping == Stopping::FindsNothing {
            (status("404 No"), Some(After::Close))
        } else if *closed.borrow() {
            let close = "Connection: close\r\n";
            match way.stopping {
                Stopping::Rightly
                | Stopping::NotAtAll
                | Stopping::FindsNothing
                | Stopping::ResetsEachThird => (ok(close), Some(After::Close)),
                Stopping::Swallows => continue,
                Stopping::Resets => return After::Reset,
                Stopping::Closes => return After::Close,
                Stopping::Truncates => {
                    ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".into(), Some(After::Close))
                }
                Stopping::LeavesOutTheLastChunk => {
                    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    (format!("{head}2\r\nok\r\n"), Some(After::Close))
                }
                Stopping::Says503 | Stopping::Fails => (status("503 No"), Some(After::Close)),
                Stopping::Says404 => (status("404 No"), Some(After::Close)),
                Stopping::RespondsTwice => (ok("") + &ok(""), Some(After::Close)),
            }
        } else {
            (ok(""), None)
        };
        if stream.write_all(response.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return After::Close;
        }
        if let Some(after) = after {
            return after;
        }
    }
}

fn ok(field: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{field}\r\nok")
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\nRetry-After: 1\r\nConnection: close\r\n\r\nno")
}

/// Takes a whole request from the connection. False at its end.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> bool {
    loop {
        let text = String::from_utf8_lossy(buffer);
        if let Some(at) = text.find("\r\n\r\n") {
            let (head, body) = text.split_at(at + 4);
            let length = if head.contains("chunked") {
                body.find("0\r\n\r\n").map(|at| at + 5)
            } else {
                let length = head.split("Content-Length: ").nth(1).unwrap_or("0\r\n");
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                (body.len() >= length).then_some(length)
            };
            if let Some(length) = length {
                let length = head.len() + length;
                buffer.drain(..length);
                return true;
            }
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}
