//! One exchange of an HTTP/2 connection: from the head that hyper has read to the stream's task.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use http::header::EXPECT;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::send_progress::SendProgress;
use super::shared::{ActiveExchange, H2Shared};
use super::sliced_body::SlicedBody;
use crate::request_body::{self, Pump};
use crate::service::Service;

/// Stands between hyper and the service: counts exchanges.
pub(super) struct Adapter<S> {
    /// The connection's own.
    pub(super) inner: Arc<S>,
    pub(super) shared: Arc<H2Shared>,
    pub(super) last_called: LastCalled,
    /// Is told of streams whose peer waits until it is asked for a body.
    pub(super) ask: mpsc::Sender<u32>,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<SlicedBody<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let progress = Arc::new(SendProgress::default());
        let expects = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let active = self.shared.begin();
        let mut traffic = self.shared.traffic();
        let arrived = traffic.now;
        let (body, upload) = request_body::split(body, expects, Some(&traffic.holds_back));
        let stream = traffic.streams.call(&progress);
        drop(traffic);
        let ask = stream.filter(|_| expects).map(|stream| (self.ask.clone(), stream));
        self.last_called.put(StreamExchange {
            progress: progress.clone(),
            upload,
            ask,
            _active: active,
        });
        let service = self.inner.clone();
        Box::pin(async move {
            let response = service.call(Request::from_parts(parts, body), arrived).await;
            // hyper asks for a body only once the peer has given a window.
            progress.taken.store(response.body().is_end_stream(), Ordering::Release);
            Ok(response.map(|body| SlicedBody::new(body, progress)))
        })
    }
}

/// What is known of a stream beside hyper's future of it.
pub(super) struct StreamExchange {
    pub(super) progress: Arc<SendProgress>,
    /// The body of its request: ends with the stream.
    pub(super) upload: Option<Pump>,
    /// Whom to tell that the body is wanted, which its peer holds back until then.
    ask: Option<(mpsc::Sender<u32>, u32)>,
    /// In flight until hyper's future has handed over the end of the stream.
    _active: ActiveExchange,
}

impl StreamExchange {
    /// Passes on what has come of the request's body.
    pub(super) fn pump(&mut self, task: &mut Context<'_>) {
        // What nobody wants is read once the stream is answered.
        let Some(pump) = self.upload.as_mut().filter(|pump| !pump.is_abandoned()) else { return };
        let is_over = pump.poll(task).is_ready();
        if pump.is_asked_for()
            && let Some((ask, stream)) = self.ask.take()
        {
            // There is a place for each stream. A peer that is not asked has a patience of its own.
            ask.try_send(stream).ok();
        }
        if is_over {
            self.upload = None;
        }
    }
}

/// The exchange whose service was called last: hyper calls the service and hands the
/// stream to the executor one right after the other, on the same task.
#[derive(Clone, Default)]
pub(super) struct LastCalled(Arc<Mutex<Option<StreamExchange>>>);

impl LastCalled {
    fn put(&self, exchange: StreamExchange) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }

    pub(super) fn take(&self) -> Option<StreamExchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
