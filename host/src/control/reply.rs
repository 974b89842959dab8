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

use super::deadlines::Deadlines;
use super::metrics_format::MetricsFormat;
use super::schema::CommandError;
use crate::date;

/// hyper copies each frame for its connection. Fifty readers of a page of 13 MB had fifty copies of it.
const LARGEST_FRAME: usize = 64 * 1024;

/// The body of an answer. When it has been handed over or dropped, the next request is waited for.
#[derive(Debug)]
pub(super) struct ReplyBody {
    content: Content,
    deadlines: Option<Deadlines>,
}

#[derive(Debug)]
enum Content {
    /// All of it.
    Whole(Bytes),
    /// Lines until the sender is gone. Dropping this tells the sender.
    Lines(mpsc::Receiver<Bytes>),
}

impl ReplyBody {
    fn new(content: Content) -> Self {
        Self { content, deadlines: None }
    }

    /// The same, telling the deadlines of its connection when it is over.
    pub(super) fn told_to(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = Some(deadlines);
        self
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Some(deadlines) = &self.deadlines {
            deadlines.answer_sent();
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => {
                let frame = bytes.split_to(bytes.len().min(LARGEST_FRAME));
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Content::Lines(lines) => lines.poll_recv(task).map(|line| Some(Ok(Frame::data(line?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Lines(_) => SizeHint::default(),
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

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<ReplyBody> {
    answer(status, "application/json", Content::Whole(line(value)))
}

pub(super) fn text(status: StatusCode, text: String) -> Response<ReplyBody> {
    answer(status, "text/plain; charset=utf-8", Content::Whole(text.into()))
}

/// A page of metrics in this format.
pub(super) fn metrics(format: MetricsFormat, page: Bytes) -> Response<ReplyBody> {
    answer(StatusCode::OK, format.content_type(), Content::Whole(page))
}

/// A page for a browser.
pub(super) fn html(status: StatusCode, page: &'static str) -> Response<ReplyBody> {
    answer(status, "text/html; charset=utf-8", Content::Whole(Bytes::from_static(page.as_bytes())))
}

/// Server-sent events.
pub(super) fn events(events: mpsc::Receiver<Bytes>) -> Response<ReplyBody> {
    answer(StatusCode::OK, "text/event-stream", Content::Lines(events))
}

pub(super) fn lines(lines: mpsc::Receiver<Bytes>) -> Response<ReplyBody> {
    answer(StatusCode::OK, "application/x-ndjson", Content::Lines(lines))
}

pub(super) fn refusal(status: StatusCode, error: impl Into<String>) -> Response<ReplyBody> {
    json(status, &CommandError { error: error.into() })
}

/// Adds what a 405 must say.
pub(super) fn with_allow(
    mut response: Response<ReplyBody>,
    methods: &'static str,
) -> Response<ReplyBody> {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// Makes it the last answer of its connection.
pub(super) fn closing(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn answer(status: StatusCode, kind: &'static str, content: Content) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::new(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    date::stamp(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_large_answer_goes_out_in_pieces() {
        let page: Bytes = (0..=255).cycle().take(3 * LARGEST_FRAME + 1).collect::<Vec<u8>>().into();
        let mut body = metrics(MetricsFormat::Prometheus, page.clone()).into_body();
        assert_eq!(body.size_hint().exact(), Some(page.len() as u64));
        let (mut sizes, mut whole) = (Vec::new(), Vec::new());
        while let Some(Ok(frame)) = body.frame().await {
            let piece = frame.into_data().unwrap();
            sizes.push(piece.len());
            whole.extend_from_slice(&piece);
        }
        assert_eq!(sizes, [LARGEST_FRAME, LARGEST_FRAME, LARGEST_FRAME, 1]);
        assert_eq!(whole, page);
        assert!(body.is_end_stream());
    }
}
