//! One request over the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The host answers from a thread of its own, at once.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Ten thousand connections, as JSON, are a few MiB.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error("the host has not answered in {0:?}; it may have hung")]
    TooLate(Duration),
    #[error("the connection to the host broke before the answer was here: {0}")]
    Broken(String),
    #[error("the answer is none that this version knows: {0}; is the host of another version?")]
    NotOurs(String),
}

impl NoAnswer {
    pub(super) fn not_ours(why: impl std::fmt::Display) -> Self {
        Self::NotOurs(why.to_string())
    }

    /// The answer ended before it said all.
    pub(super) fn ended() -> Self {
        Self::Broken("it ended without its last line".into())
    }

    fn broken(why: impl std::fmt::Display) -> Self {
        Self::Broken(why.to_string())
    }
}

/// What is asked.
#[derive(Debug)]
pub(super) struct CtlRequest {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) body: Vec<u8>,
}

impl CtlRequest {
    /// A command with its JSON.
    pub(super) fn post(path: &'static str, body: &impl Serialize) -> Self {
        // Only a path that is no text cannot be written; the host says that it is missing then.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, path, body }
    }
}

/// A connection to a host. Dropping it closes it.
#[derive(Debug)]
pub(super) struct CtlClient {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection.
    _driver: JoinSet<()>,
}

impl CtlClient {
    /// Connects within `patience`.
    pub(super) async fn connect(socket: &Path, patience: Duration) -> io::Result<Self> {
        let handshake = async {
            let stream = UnixStream::connect(socket).await?;
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
        };
        let (sender, connection) = timeout(patience, handshake).await??;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // The request that waits for the answer is told how it ended.
            drop(connection.await);
        });
        Ok(Self { sender, _driver: driver })
    }

    /// Asks, and reads the whole answer, all within `patience`.
    pub(super) async fn ask(
        &mut self,
        request: CtlRequest,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), NoAnswer> {
        let whole = async {
            let (head, body) = self.begin(request).await?.into_parts();
            let body =
                Limited::new(body, LARGEST_ANSWER).collect().await.map_err(NoAnswer::broken)?;
            Ok((head.status, body.to_bytes()))
        };
        timeout(patience, whole).await.unwrap_or(Err(NoAnswer::TooLate(patience)))
    }

    /// Asks, and gives the answer as soon as its head is here. Bounded by the caller.
    pub(super) async fn begin(
        &mut self,
        request: CtlRequest,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let request = Request::builder()
            .method(request.method)
            .uri(request.path)
            .header(HOST, "host")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(request.body))
            .map_err(NoAnswer::broken)?;
        self.sender.send_request(request).await.map_err(NoAnswer::broken)
    }
}
