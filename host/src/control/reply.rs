//! Answers: JSON or text as one piece, or lines as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

use super::schema::Refusal;
use crate::date;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Reply {
    /// All of it.
    Whole(Bytes),
    /// Lines until the sender is gone. Dropping this tells the sender.
    Lines(mpsc::Receiver<Bytes>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Lines(lines) => lines.poll_recv(task).map(|line| Some(Ok(Frame::data(line?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// A value as a line of JSON.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    // Our types are maps with text for keys: they can always be written.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Reply> {
    answer(status, "application/json", Reply::Whole(line(value)))
}

pub(super) fn text(status: StatusCode, text: String) -> Response<Reply> {
    answer(status, "text/plain; charset=utf-8", Reply::Whole(text.into()))
}

pub(super) fn lines(lines: mpsc::Receiver<Bytes>) -> Response<Reply> {
    answer(StatusCode::OK, "application/x-ndjson", Reply::Lines(lines))
}

pub(super) fn refused(status: StatusCode, error: impl Into<String>) -> Response<Reply> {
    json(status, &Refusal { error: error.into() })
}

/// Adds what a 405 must say.
pub(super) fn allowing(mut response: Response<Reply>, methods: &'static str) -> Response<Reply> {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Makes it the last answer of its connection.
pub(super) fn closing(mut response: Response<Reply>) -> Response<Reply> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    date::stamp(response.headers_mut());
    response
}
