//! The request body on its way to the guest: counted, timed, never held.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use host_body::{FrameHook, HookedBody, PolledFrame};
use host_clock::{MinRate, Moment};
use host_manifest::{LimitKey, LimitReached};
use host_net::{Hurry, RequestBody, Scarcity};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};

use super::claims::without_claims;
use super::peer_fault::{PeerFault, UploadFault};
use super::pipeline::Pipeline;
use super::upload_pace::UploadPace;
use crate::component::{BodyError, WasiBody};

/// What the head says of the body's length.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a request body may be, for all stages that it goes through.
pub(super) struct UploadLimits {
    pub(super) bytes: u64,
    /// Between two frames, while one is waited for.
    pub(super) idle: Duration,
    pub(super) min_rate: Option<MinRate>,
    /// Where requests may wait for what the upload holds up.
    pub(super) scarcity: Option<Arc<Scarcity>>,
}

impl UploadLimits {
    /// The narrowest of all stages.
    pub(super) fn for_pipeline(pipeline: &Pipeline, min_rate: Option<MinRate>) -> Self {
        let mut all = Self { bytes: u64::MAX, idle: Duration::ZERO, min_rate, scarcity: None };
        for limits in pipeline.limits() {
            all.bytes = all.bytes.min(limits.request_body);
            all.idle = all.idle.max(limits.body_idle);
        }
        all
    }
}

/// The request as the guest will see it. What becomes of its body is told to `peer_fault`.
pub(super) fn receive(
    request: Request<RequestBody>,
    limits: &UploadLimits,
    peer_fault: &PeerFault,
) -> Request<WasiBody> {
    if request.body().is_end_stream() {
        let none = Empty::<Bytes>::new().map_err(|never| match never {});
        return request.map(|_| none.boxed_unsync());
    }
    let (request, upload) = UploadBody::new(request, limits, peer_fault);
    request.map(|()| upload.boxed_unsync())
}

/// A client that we let send nothing is looked after this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is read of a body that no guest wants, so that its connection can go on: less than it takes to make
/// another one.
const UNWANTED: u64 = 64 << 10;

/// The response to a request that no guest gets. Where its body may be too long to be read for nothing, the
/// connection ends with the response, which says so.
pub(super) fn turn_away<B>(request: Request<RequestBody>, response: Response<B>) -> Response<B> {
    let expected = request.headers().contains_key(EXPECT);
    if !expected && declared_length(request.headers()).is_some_and(|bytes| bytes <= UNWANTED) {
        request.into_body().discard();
    }
    response
}

/// A body that a plugin passes on to the next one, bounded as if a client sent it. Breaks are told to
/// `peer_fault`, the next one's.
pub(super) fn limited(body: WasiBody, most: u64, peer_fault: PeerFault) -> WasiBody {
    if host_body::is_empty(&body) {
        return body;
    }
    HookedBody::new(body, PassedOn { left: most, most, peer_fault }).boxed_unsync()
}

/// Bounds a body that a plugin passes on.
struct PassedOn {
    left: u64,
    most: u64,
    peer_fault: PeerFault,
}

impl FrameHook<WasiBody> for PassedOn {
    type Error = BodyError;

    fn poll_frame(
        &mut self,
        body: Pin<&mut WasiBody>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<Bytes, BodyError> {
        let polled = body.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match self.left.checked_sub(length(frame)) {
                Some(left) => self.left = left,
                None => {
                    let limit = LimitKey::RequestBody.bytes(self.most);
                    self.peer_fault.reached(UploadFault::TooLarge, limit);
                    return Poll::Ready(Some(Err(BodyError::HttpRequestBodySize(None))));
                }
            },
            Poll::Ready(Some(Err(_))) => self.peer_fault.set(UploadFault::BrokenOff),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled.map(|frame| frame.map(|frame| frame.map(without_claims)))
    }
}

/// Bytes of data.
fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, Bytes::len) as u64
}

/// A request body with its limits. The guest sees an error where one is passed.
pub(super) struct UploadBody {
    /// Taken by the drop.
    body: Option<RequestBody>,
    left: u64,
    most: u64,
    patience: Duration,
    pace: Option<UploadPace>,
    wait: Option<Wait>,
    scarcity: Option<Arc<Scarcity>>,
    hurry: Hurry,
    peer_fault: PeerFault,
    expected: bool,
}

/// Bytes of the client are waited for.
struct Wait {
    since: Moment,
    /// The client could send when it began.
    fair: bool,
    /// Its time is up.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The same while others wait.
    hurried: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl UploadBody {
    /// The body of `request`, judged in `peer_fault`. A peer may hold it back until it is asked for it
    /// (RFC 9110 §10.1.1).
    pub(super) fn new(
        request: Request<RequestBody>,
        limits: &UploadLimits,
        peer_fault: &PeerFault,
    ) -> (Request<()>, Self) {
        let (parts, body) = request.into_parts();
        let upload = Self {
            body: Some(body),
            left: limits.bytes,
            most: limits.bytes,
            patience: limits.idle,
            pace: limits.min_rate.map(UploadPace::new),
            wait: None,
            scarcity: limits.scarcity.clone(),
            hurry: Hurry::default(),
            peer_fault: peer_fault.clone(),
            expected: parts.headers.contains_key(EXPECT),
        };
        (Request::from_parts(parts, ()), upload)
    }

    /// Whether the client may send. Where it may not, other uploads on its connection are in the way.
    fn may_be_sent(&self) -> bool {
        self.body.as_ref().is_none_or(RequestBody::may_be_sent)
    }

    /// Bytes of the client are waited for, or are not any more.
    fn is_waited_for(&mut self, yes: bool) {
        match (yes, self.wait.take()) {
            (true, None) => {
                let pace = self.pace.as_ref().map(UploadPace::patience);
                let patience = pace.map_or(self.patience, |pace| pace.min(self.patience));
                let fair = self.may_be_sent();
                let patience = if fair { patience } else { patience.min(LOOK_AGAIN) };
                let since = Moment::now();
                let end = Box::pin(host_clock::until(since + patience));
                self.wait = Some(Wait { since, fair, end, hurried: None });
                self.peer_fault.client_is_waited_for(Some(since + patience));
            }
            (false, Some(wait)) => {
                if let Some(pace) = &mut self.pace {
                    pace.waited(wait.since.elapsed());
                }
                self.peer_fault.client_is_waited_for(None);
            }
            (_, same) => self.wait = same,
        }
    }

    /// Whether a request waits for the instance, and the client has had its grace and is too slow.
    fn is_too_slow_in_a_hurry(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(scarcity), Some(pace), Some(wait)) = (&self.scarcity, &self.pace, &mut self.wait)
        else {
            return false;
        };
        if !self.hurry.poll(scarcity, wait.fair, cx) {
            wait.hurried = None;
            return false;
        }
        let until = wait.since + pace.patience_in_a_hurry();
        let end = wait.hurried.get_or_insert_with(|| Box::pin(host_clock::until(until)));
        end.as_mut().poll(cx).is_ready()
    }

    /// The client is slower than this limit; without one, it has paused for too long.
    fn is_too_slow(&self, limit: Option<LimitReached>) {
        let limit = limit.unwrap_or_else(|| LimitKey::BodyIdleTimeout.time(self.patience));
        self.peer_fault.reached(UploadFault::TooSlow, limit);
    }

    /// What the guest is told of a body that breaks off.
    fn broken(&self, why: host_net::BodyError) -> BodyError {
        match why {
            host_net::BodyError::Peer(why) => {
                self.peer_fault.set(UploadFault::BrokenOff);
                why.into()
            }
            host_net::BodyError::Over => BodyError::ConnectionTerminated,
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let bytes = length(frame);
        self.peer_fault.receive(bytes);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                if let Some(pace) = &mut self.pace {
                    pace.sent(bytes);
                }
                Ok(())
            }
            None => {
                let limit = LimitKey::RequestBody.bytes(self.most);
                self.peer_fault.reached(UploadFault::TooLarge, limit);
                Err(BodyError::HttpRequestBodySize(None))
            }
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<Bytes, BodyError> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.is_waited_for(false);
            self.hurry = Hurry::default();
            if frame.is_none() {
                self.body = None;
            }
            return Poll::Ready(frame.map(|frame| {
                let frame = frame.map_err(|why| self.broken(why))?;
                self.count(&frame)?;
                Ok(without_claims(frame))
            }));
        }
        self.is_waited_for(true);
        if self.is_too_slow_in_a_hurry(cx) {
            self.is_too_slow(self.pace.as_ref().map(UploadPace::limit));
            return Poll::Ready(Some(Err(BodyError::ConnectionReadTimeout)));
        }
        while let Some(wait) = &mut self.wait
            && wait.end.as_mut().poll(cx).is_ready()
        {
            if wait.fair && self.may_be_sent() {
                let pace = self.pace.as_ref();
                let slower = pace.filter(|pace| pace.patience() < self.patience);
                self.is_too_slow(slower.map(UploadPace::limit));
                return Poll::Ready(Some(Err(BodyError::ConnectionReadTimeout)));
            }
            // We were in the way: the client has all of its time again.
            self.wait = None;
            self.is_waited_for(true);
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
impl Drop for UploadBody {
    fn drop(&mut self) {
        self.is_waited_for(false);
        let Some(body) = self.body.take() else { return };
        // A peer that was not asked for its body may send another request in its place.
        if body.is_end_stream() || self.peer_fault.fault().is_some() || self.expected {
            return;
        }
        body.discard();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, Limited};

    use super::*;

    async fn read(body: WasiBody) -> Result<Bytes, BodyError> {
        body.collect().await.map(http_body_util::Collected::to_bytes)
    }

    fn five_bytes() -> WasiBody {
        Full::new(Bytes::from_static(b"12345")).map_err(|never| match never {}).boxed_unsync()
    }

    fn broken() -> WasiBody {
        Limited::new(five_bytes(), 0).map_err(|_| BodyError::ConnectionTerminated).boxed_unsync()
    }

    /// A plugin that died broke the body of those behind it, and the breaker put them aside.
    #[tokio::test]
    async fn what_a_plugin_does_to_its_request_is_not_held_against_those_behind_it() {
        for (body, most, fault) in [
            (five_bytes(), 5, None),
            (five_bytes(), 4, Some(UploadFault::TooLarge)),
            (broken(), 5, Some(UploadFault::BrokenOffByPlugin)),
        ] {
            let client = PeerFault::default();
            let behind = client.behind();
            let read = read(limited(body, most, behind.clone())).await;
            assert_eq!((read.is_err(), behind.fault()), (fault.is_some(), fault));
            assert_eq!(client.fault(), None, "nor against the client");
        }
    }
}
