//! One request and its answer, over a connection of its own.
//!
//! A pull has a handful of requests, and TLS resumes its sessions, so connections are not kept: there is none that
//! could be gone when it is used again.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};

use crate::bounds::Patience;
use crate::error::RegistryError;
use crate::wire::{RegistryWire, dial, host_of};

/// The head of an answer. Redirects to stores of objects have signatures of some KiB.
const HEAD: usize = 64 * 1024;

const AGENT: &str = concat!("host/", env!("CARGO_PKG_VERSION"));

/// A request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The head of an answer, and the way to its body.
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Who has answered, for a sentence.
    pub(crate) host: String,
    body: Incoming,
    line: Line,
    patience: Patience,
}

/// The connection, which has to be polled for its body to come; nothing once it has ended.
struct Line(Option<Pin<Box<Http1>>>);

type Http1 = Connection<TokioIo<RegistryWire>, Full<Bytes>>;

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Sends it, and waits for the head of the answer.
    pub(crate) async fn send(
        self,
        tls: Arc<ClientConfig>,
        patience: Patience,
    ) -> Result<Told, RegistryError> {
        let host = host_of(&self.url);
        let broken =
            |error: hyper::Error| RegistryError::Broken { host: host.clone(), why: causes(&error) };
        let wire = patience.sign(&host, dial(&self.url, tls)).await??;
        let shaken = Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(wire));
        let (mut sender, connection) = patience.sign(&host, shaken).await?.map_err(broken)?;
        let mut line = Line(Some(Box::pin(connection)));
        let uploads = !self.body.is_empty();
        let request = self.into_request(&host)?;
        let answer = line.beside(sender.send_request(request));
        let answer = if uploads {
            patience.work(&host, answer).await?
        } else {
            patience.sign(&host, answer).await?
        };
        let (head, body) = answer.map_err(broken)?.into_parts();
        Ok(Told { status: head.status, headers: head.headers, host, body, line, patience })
    }

    fn into_request(self, host: &str) -> Result<Request<Full<Bytes>>, RegistryError> {
        let odd = || RegistryError::Protocol {
            host: host.to_owned(),
            why: "its address cannot be sent".into(),
        };
        let target = &self.url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = target.parse().map_err(|_| odd())?;
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| odd())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

impl Told {
    /// The body, if it has no more than `limit` bytes. `what` it is is told if it has more.
    pub(crate) async fn body(mut self, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { what: what.to_owned(), limit };
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            let length = bytes.len().saturating_add(piece.len());
            if u64::try_from(length).unwrap_or(u64::MAX) > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The next piece of the body.
    async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let frame = self.line.beside(self.body.frame());
            let Some(frame) = self.patience.sign(&self.host, frame).await? else { return Ok(None) };
            let frame = frame.map_err(|error| RegistryError::Broken {
                host: self.host.clone(),
                why: causes(&error),
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// A field of the head, if it is a text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Line {
    /// Polls the connection beside a future that waits for it.
    async fn beside<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        if let Some(connection) = &mut self.0 {
            tokio::select! {
                biased;
                output = &mut future => return output,
                // How it ended, the future is told too.
                _ = connection => {}
            }
            self.0 = None;
        }
        future.await
    }
}

/// An error with its causes, since hyper tells them apart.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}
