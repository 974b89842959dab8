//! The body of a response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::SendError;
use crate::exchange::Exchange;
use crate::idle_timer::IdleTimer;

/// The body of a response: bounded in size and in the time it may stand still. Its request counts as
/// under way until it has ended or failed, or is dropped.
///
/// Dropping it before its end cancels the request: the stream of HTTP/2 is reset, the connection of
/// HTTP/1 closed. The time runs only while the guest waits for the next piece: a guest that is slow to
/// read is not the server's fault.
pub struct UpstreamBody {
    incoming: Incoming,
    /// None once the body has ended or failed.
    exchange: Option<Exchange>,
    idle: IdleTimer,
    limit: Option<u64>,
    left: u64,
}

impl UpstreamBody {
    /// Refuses a body whose length is known to be above the limit.
    pub(crate) fn new(
        incoming: Incoming,
        exchange: Exchange,
        between: Duration,
        limit: Option<u64>,
    ) -> Result<Self, SendError> {
        if let Some(limit) = limit
            && http_body::Body::size_hint(&incoming).lower() > limit
        {
            return Err(SendError::ResponseTooLarge { limit });
        }
        let idle = IdleTimer::new(between);
        let left = limit.unwrap_or(u64::MAX);
        Ok(Self { incoming, exchange: Some(exchange), idle, limit, left })
    }

    fn take(&mut self, frame: &Frame<Bytes>) -> Result<(), SendError> {
        let bytes =
            frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        match (self.left.checked_sub(bytes), self.limit) {
            (None, Some(limit)) => Err(SendError::ResponseTooLarge { limit }),
            (left, _) => {
                self.left = left.unwrap_or_default();
                Ok(())
            }
        }
    }

    fn fail(&mut self, error: SendError) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        drop(self.exchange.take());
        Poll::Ready(Some(Err(error)))
    }

    fn end(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end();
        }
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let this = self.get_mut();
        if this.exchange.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.fail(SendError::classify(&error)),
            // An empty piece is no progress, and nothing for the guest.
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                if this.idle.is_over(cx) {
                    return this.fail(SendError::BodyTimeout);
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.idle.reset();
                match this.take(&frame) {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(error) => this.fail(error),
                }
            }
            Poll::Pending if this.idle.is_over(cx) => this.fail(SendError::BodyTimeout),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.exchange.is_none() { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if http_body::Body::is_end_stream(&self.incoming) {
            self.end();
        }
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody")
            .field("left", &self.limit.map(|_| self.left))
            .finish_non_exhaustive()
    }
}
