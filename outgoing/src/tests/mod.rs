//! Real sockets on loopback.
//!
//! A server of these tests is a function from a connection to a conversation. Where a deadline is
//! tested, the clock is paused once the conversation stands still: it then jumps to the deadline.

mod addresses;
mod bodies;
mod early;
mod endpoints;
mod framing;
mod grants;
mod heads;
mod lookup;
mod pool;
mod retry;
mod slow;
mod tls;
mod uploads;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use host_manifest::outgoing::Reach;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{
    ClientLimits, HttpClient, Resolve, Resolved, SendError, Timeouts, Trust, UpstreamBody,
};

/// Only fails; nothing is waited for as long as this.
const DEADLINE: Duration = Duration::from_secs(10);

const NOTHING: Reach = Reach { loopback: false, private: false, link_local: false };
const LOOPBACK: Reach = Reach { loopback: true, private: false, link_local: false };

/// An answer that leaves the connection open.
const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("in time")
}

/// A resolver that gives these answers one after the other, the last one for ever.
#[derive(Clone, Default)]
struct Names {
    answers: Arc<Mutex<VecDeque<Vec<SocketAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn saying(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Names {
    fn resolve(&self, _host: &str, _port: u16) -> Resolved {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let answer = answer.ok_or_else(|| io::Error::other("no such name"));
        Box::pin(async move { answer })
    }
}

fn client_with(
    origins: &[String],
    reach: Reach,
    limits: ClientLimits,
    names: &Names,
) -> HttpClient {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    HttpClient::with_parts((origins, reach), limits, names.clone(), Trust::only(Vec::new()))
}

/// A client of one server by its address.
fn client_of(server: &Server, limits: ClientLimits) -> HttpClient {
    client_with(&[server.origin()], NOTHING, limits, &Names::default())
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

async fn send(client: &HttpClient, uri: &str) -> Result<Response<UpstreamBody>, SendError> {
    soon(client.send(get(uri), Timeouts::default())).await
}

async fn text(response: Response<UpstreamBody>) -> String {
    let bytes = soon(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on 127.0.0.1 and holds this conversation with each connection; the first one is 0.
    async fn start<F, C>(conversation: F) -> Self
    where
        F: Fn(Peer, usize) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), conversation).await
    }

    async fn start_at<F, C>(address: SocketAddr, conversation: F) -> Self
    where
        F: Fn(Peer, usize) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(conversation(Peer(BufReader::new(stream)), number));
            }
        });
        Self { address, accepted }
    }

    /// One that says hello to each request.
    async fn hello() -> Self {
        Self::start(|mut peer, _| async move {
            while peer.head().await.is_some() {
                peer.say(HELLO).await;
            }
        })
        .await
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// The server's end of a connection.
struct Peer(BufReader<TcpStream>);

impl Peer {
    /// A head with its empty line; none at the end of the connection.
    async fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            match self.0.read_line(&mut head).await {
                Ok(0) | Err(_) => return None,
                Ok(_) if head.ends_with("\r\n\r\n") => return Some(head),
                Ok(_) => {}
            }
        }
    }

    async fn say(&mut self, text: &str) {
        // Whoever has gone does not listen; the test sees that elsewhere.
        drop(self.0.write_all(text.as_bytes()).await);
    }

    /// Reads on until the connection ends, in whatever way.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        drop(self.0.read_to_end(&mut rest).await);
    }
}
