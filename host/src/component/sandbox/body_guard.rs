//! Bodies that a guest sends: to the next handler of its chain, or out.
//!
//! wasmtime ends such a body without an error when its store is dropped, for any reason (wasmtime 48,
//! `p2/body.rs`, `p3/body.rs`). So a guest that traps halfway would send a part that looks whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use host_body::{FrameHook, HookedBody, PolledFrame};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

/// Says that a guest is gone. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub(crate) struct GuestGone(Arc<Flags>);

#[derive(Default)]
struct Flags {
    gone: AtomicBool,
    /// The body that was given to the guest has ended.
    given_ended: AtomicBool,
}

impl GuestGone {
    /// From now on, bodies that the guest has not ended are broken.
    pub(crate) fn set(&self) {
        self.0.gone.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.gone.load(Ordering::Acquire)
    }

    /// Sets it on drop. Make it after the store, so that it is dropped before the store.
    pub(crate) fn on_drop(&self) -> Fuse {
        Fuse(Some(self.clone()))
    }

    fn has_given_ended(&self) -> bool {
        self.0.given_ended.load(Ordering::Acquire)
    }

    /// A body for the guest. The guest may hand it over as it is; then the body's end is its own.
    pub(crate) fn give(&self, body: WasiBody) -> WasiBody {
        if host_body::is_empty(&body) {
            return body;
        }
        HookedBody::new(body, GivenEnd(self.clone())).boxed_unsync()
    }

    /// A body of the guest. It ends well only if the guest is there to end it.
    pub(crate) fn watch(&self, body: WasiBody) -> WasiBody {
        if host_body::is_empty(&body) {
            return body;
        }
        let left = body.size_hint().exact();
        HookedBody::new(body, OwnEnd { left, gone: self.clone() }).boxed_unsync()
    }
}

/// Says on drop that a guest is gone, unless it was defused.
pub(crate) struct Fuse(Option<GuestGone>);

impl Fuse {
    /// The guest has done its work.
    pub(crate) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if let Some(gone) = &self.0 {
            gone.set();
        }
    }
}

/// Lets a body of the guest end well only if the guest ended it.
struct OwnEnd {
    /// Bytes still missing, if the length is known.
    left: Option<u64>,
    gone: GuestGone,
}

impl FrameHook<WasiBody> for OwnEnd {
    type Error = HttpError;

    fn poll_frame(
        &mut self,
        body: Pin<&mut WasiBody>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<Bytes, HttpError> {
        let before = self.gone.has_given_ended();
        let polled = body.poll_frame(cx);
        // A body that ended in this very poll is the one that was handed over: its end is not the guest's.
        let own = !before && self.gone.has_given_ended();
        match &polled {
            Poll::Ready(None) if self.left != Some(0) && !own && self.gone.is_set() => {
                Poll::Ready(Some(Err(HttpError::ConnectionTerminated)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                polled
            }
            _ => polled,
        }
    }
}

/// Notes the end of a body that was given to the guest.
struct GivenEnd(GuestGone);

impl FrameHook<WasiBody> for GivenEnd {
    type Error = HttpError;

    fn poll_frame(
        &mut self,
        body: Pin<&mut WasiBody>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<Bytes, HttpError> {
        let polled = body.poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.0.0.given_ended.store(true, Ordering::Release);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use http_body::{Body, Frame};

    use super::*;

    /// One frame, then the end, without a length.
    struct Half(Option<Bytes>);

    impl Body for Half {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[tokio::test]
    async fn a_body_whose_guest_is_gone_does_not_end_well() {
        let gone = GuestGone::default();
        let body = || gone.watch(Half(Some(Bytes::from_static(b"half"))).boxed_unsync());
        assert_eq!(body().collect().await.unwrap().to_bytes(), "half");
        gone.on_drop().defuse();
        assert!(body().collect().await.is_ok());
        drop(gone.on_drop());
        assert!(body().collect().await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_was_handed_over_ends_without_its_guest() {
        let gone = GuestGone::default();
        let given = gone.give(Half(Some(Bytes::from_static(b"all"))).boxed_unsync());
        let body = gone.watch(given);
        gone.set();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
        let copied = gone.watch(Half(Some(Bytes::from_static(b"half"))).boxed_unsync());
        assert!(copied.collect().await.is_err(), "that of another is no end of this one");
    }

    #[tokio::test]
    async fn a_body_of_known_length_has_ended_once_it_is_delivered_whole() {
        let gone = GuestGone::default();
        let whole = http_body_util::Full::new(Bytes::from_static(b"whole"));
        let body = gone.watch(whole.map_err(|never| match never {}).boxed_unsync());
        gone.set();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
    }
}
