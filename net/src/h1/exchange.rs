//! One exchange of an HTTP/1 connection: from the head that hyper has read to the last frame of the answer.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use host_body::{FrameHook, HookedBody, PolledFrame};
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::request_reader::Framing;
use super::shared::H1Shared;
use crate::request_body;
use crate::service::Service;
use crate::socket::Unread;

/// Stands between hyper and the service: tells the state of exchanges, and peers to leave.
pub(super) struct Adapter<S> {
    /// The connection's own.
    pub(super) inner: Arc<S>,
    pub(super) shared: Arc<H1Shared>,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<HookedBody<S::Body, InFlight>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let framing = request.body().size_hint().exact().map_or(Framing::Chunked, Framing::Sized);
        let expects = request.headers().contains_key(EXPECT);
        let old = request.version() == Version::HTTP_10;
        let is_last = !is_persistent(&request);
        let arrived = self.shared.request(framing, is_last);
        let (parts, body) = request.into_parts();
        let (body, upload) = request_body::split(body, expects, None);
        self.shared.set_upload(upload);
        let exchange = Exchange { shared: self.shared.clone() };
        let service = self.inner.clone();
        Box::pin(async move {
            // Made here: a future that is moved into another one takes its room twice.
            let mut answer = pin!(service.call(Request::from_parts(parts, body), arrived));
            let mut response = std::future::poll_fn(|task| {
                exchange.shared.pump(task);
                answer.as_mut().poll(task)
            })
            .await;
            if exchange.says_close() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            exchange.shared.state().set_ends_by_close(old);
            Ok(response.map(|body| HookedBody::new(body, InFlight(Some(exchange)))))
        })
    }
}

/// Whether the peer means to send another request on its connection (RFC 9112 §9.3).
fn is_persistent<B>(request: &Request<B>) -> bool {
    let says = |option: &str| {
        request
            .headers()
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    !says("close") && (request.version() != Version::HTTP_10 || says("keep-alive"))
}

/// An exchange on a connection. Dropping it ends the exchange.
struct Exchange {
    shared: Arc<H1Shared>,
}

impl Exchange {
    fn says_close(&self) -> bool {
        let phase = &self.shared.phase;
        let asked = self.shared.is_asked_for();
        let abandoned = self.shared.drop_abandoned();
        // Where others wait for a place. Whoever has pipelined has all its answers first.
        let wanted = || self.shared.room.is_wanted().then(Instant::now);
        let leaving = phase.is_leaving().then(|| phase.leaving_since()).flatten();
        let since = leaving.or_else(wanted);
        let unread = || matches!(self.shared.stream.unread(), Unread::Bytes | Unread::Part);
        self.shared.state().says_close(abandoned, asked, since, unread)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.answered();
    }
}

/// Keeps an exchange in flight until the last frame of its response.
pub(super) struct InFlight(Option<Exchange>);

impl<B: Body<Data = Bytes>> FrameHook<B> for InFlight {
    type Error = B::Error;

    fn poll_frame(
        &mut self,
        body: Pin<&mut B>,
        task: &mut Context<'_>,
    ) -> PolledFrame<Bytes, B::Error> {
        if let Some(exchange) = &self.0 {
            exchange.shared.pump(task);
        }
        let frame = body.poll_frame(task);
        match &frame {
            Poll::Ready(None) => drop(self.0.take()),
            Poll::Ready(Some(Err(_))) => {
                if let Some(exchange) = self.0.take() {
                    exchange.shared.state().broke_off();
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }
}
