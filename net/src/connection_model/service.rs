//! What the service does with a request, as its path says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::LIMITS;
use crate::peer::Peer;
use crate::request_body::RequestBody;
use crate::service::{Refusal, Service};

/// What went wrong inside the service.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) wrong: Mutex<Vec<String>>,
    pub(super) held: Mutex<Vec<RequestBody>>,
    /// The numbers of the requests that it was asked, in their order.
    pub(super) asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(super) struct Model(pub(super) Arc<Notes>);

pub(super) type ModelBody =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl Service for Model {
    type Body = ModelBody;

    fn connected(&self, _peer: &Peer) -> Self {
        self.clone()
    }

    fn answered_by_hyper(&self, _status: StatusCode) {}

    fn call(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        _arrived: Instant,
    ) -> impl Future<Output = Response<ModelBody>> + Send + 'static {
        let notes = self.0.clone();
        async move { answer(&notes, request).await }
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        let status = match why {
            Refusal::HeadTooSlow => 408,
            Refusal::Malformed(_) => 400,
            Refusal::ClientConnections { .. } | Refusal::ClientConnectionRate { .. } => 429,
            Refusal::NoRoom | Refusal::Stopping => 503,
        };
        format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into()
    }
}

async fn answer(notes: &Notes, request: Request<RequestBody>) -> Response<ModelBody> {
    let (parts, mut body) = request.into_parts();
    let words: Vec<String> = parts.uri.path().split('/').skip(1).map(str::to_owned).collect();
    let [number, read, when, holds] = &words[..] else {
        notes.wrong.lock().unwrap().push(format!("nobody asked for {}", parts.uri));
        return Response::new(whole(String::new()));
    };
    notes.asked.lock().unwrap().push(number.clone());
    let text = format!("{number}\n");
    if when == "early" && read == "all" {
        // Reads on beside its answer and behind it.
        tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        return Response::new(whole(text));
    }
    // An exchange has a deadline of its own.
    let reads = async {
        match &**read {
            _ if when == "early" => {}
            "all" => while let Some(Ok(_)) = body.frame().await {},
            "first" => drop(body.frame().await),
            _ => {}
        }
    };
    timeout(LIMITS.stall, reads).await.ok();
    match (&**read, &**holds) {
        ("discard", _) => body.discard(),
        ("drop", _) => drop(body),
        (_, "hold") => notes.held.lock().unwrap().push(body),
        _ => body.discard(),
    }
    Response::new(match &**when {
        "early" | "late" => whole(text),
        "slow" => {
            Slow { pieces: text.chars().map(String::from).collect(), wait: None, breaks: false }
                .boxed_unsync()
        }
        _ => Slow { pieces: VecDeque::from([text]), wait: None, breaks: true }.boxed_unsync(),
    })
}

fn whole(text: String) -> ModelBody {
    http_body_util::Full::from(text).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> Box<dyn std::error::Error + Send + Sync> {
    match never {}
}

/// A body that comes byte by byte, one every second, and may break off behind the last one.
struct Slow {
    pieces: VecDeque<String>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    breaks: bool,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        std::task::ready!(wait.as_mut().poll(task));
        self.wait = None;
        Poll::Ready(match self.pieces.pop_front() {
            Some(piece) => Some(Ok(Frame::data(piece.into()))),
            None if self.breaks => Some(Err("broken off".into())),
            None => None,
        })
    }
}
