//! The request body on its way to the guest: counted, timed, never held.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::failure::Failure;
use crate::component::{BodyError, WasiBody};

/// A body that another component sends, bounded as if a client did.
pub(super) fn limited(body: WasiBody, most: u64) -> WasiBody {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let too_large =
        |why: Box<dyn std::error::Error + Send + Sync>| match why.downcast::<BodyError>() {
            Ok(own) => *own,
            Err(_) => BodyError::HttpRequestBodySize(None),
        };
    Limited::new(body, most).map_err(too_large).boxed_unsync()
}

/// What went wrong with an upload, if anything did; shared with the exchange, which answers for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

const FINE: u8 = 0;
const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;
const BROKEN_OFF: u8 = 3;

impl Verdict {
    /// The answer that the peer is owed for its upload.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self.0.load(Ordering::Acquire) {
            FINE => None,
            TOO_LARGE => Some(Failure::BodyTooLarge),
            TOO_SLOW => Some(Failure::BodyTooSlow),
            _ => Some(Failure::PeerGone),
        }
    }

    fn set(&self, verdict: u8) {
        self.0.store(verdict, Ordering::Release);
    }
}

/// A request body with its limits. The guest sees an error where one is passed.
pub(super) struct Upload {
    /// Taken by the drop.
    body: Option<Incoming>,
    left: u64,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
    expected: bool,
}

impl Upload {
    /// `limit` in bytes; `patience` between two frames while the guest waits for one.
    ///
    /// `expected` is a body that its peer holds back until it is asked for (RFC 9110 §10.1.1).
    pub(super) fn new(
        body: Incoming,
        limit: u64,
        patience: Duration,
        expected: bool,
    ) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let upload = Self {
            body: Some(body),
            left: limit,
            patience,
            silence: None,
            verdict: verdict.clone(),
            expected,
        };
        (upload, verdict)
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.verdict.set(TOO_LARGE);
                Err(BodyError::HttpRequestBodySize(None))
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.silence = None;
            if frame.is_none() {
                self.body = None;
            }
            return Poll::Ready(frame.map(|frame| {
                let frame = frame.inspect_err(|_| self.verdict.set(BROKEN_OFF))?;
                self.count(&frame)?;
                Ok(frame)
            }));
        }
        let patience = self.patience;
        let silence =
            self.silence.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        if silence.as_mut().poll(cx).is_ready() {
            self.verdict.set(TOO_SLOW);
            return Poll::Ready(Some(Err(BodyError::ConnectionReadTimeout)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A guest need not read what it was sent. Then the rest is read for it, so that the connection can
/// go on: hyper would close it, behind an answer that did not say so.
impl Drop for Upload {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        // A peer that was not asked for its body may send another request in its place.
        if body.is_end_stream() || self.verdict.failure().is_some() || self.expected {
            return;
        }
        // Ends with the connection, whose end of the body then fails, or with its patience. A peer
        // that is still sending then has no other request under way.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(self.patience, discard(body, self.left)));
        }
    }
}

async fn discard(mut body: Incoming, mut left: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
