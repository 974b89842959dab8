//! A body with a hook on its frames.
//!
//! A connection counts the last frame of a response, a guest's body is watched for its end, an upload is
//! bounded: each of these hooks sees the frames of a body and changes nothing else. This crate forwards the
//! body's end and length, in one place.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// The result of a poll for the next frame of a body.
pub type PolledFrame<D, E> = Poll<Option<Result<Frame<D>, E>>>;

/// Whether a body has nothing to give: no frame, and no error either.
pub fn is_empty(body: &impl Body) -> bool {
    body.is_end_stream() && body.size_hint().exact() == Some(0)
}

/// Sees the frames of a body.
pub trait FrameHook<B: Body> {
    /// The error of the body, seen from outside.
    type Error;

    /// Polls `body` for its next frame, and returns that or an error. A hook may not hold a frame back or
    /// change its length, because the body's own answers about those are forwarded.
    fn poll_frame(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<B::Data, Self::Error>;
}

pin_project_lite::pin_project! {
    /// A body with a hook that sees its frames. Dropping it drops the body first, then the hook.
    #[derive(Debug)]
    pub struct HookedBody<B, H> {
        #[pin]
        body: B,
        hook: H,
    }
}

impl<B, H> HookedBody<B, H> {
    /// `body` with `hook`.
    pub fn new(body: B, hook: H) -> Self {
        Self { body, hook }
    }
}

impl<B: Body, H: FrameHook<B>> Body for HookedBody<B, H> {
    type Data = B::Data;
    type Error = H::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B::Data, H::Error> {
        let this = self.project();
        this.hook.poll_frame(this.body, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    /// Counts bytes, and fails after the fifth.
    struct AtMostFive(usize);

    impl FrameHook<Full<Bytes>> for AtMostFive {
        type Error = &'static str;

        fn poll_frame(
            &mut self,
            body: Pin<&mut Full<Bytes>>,
            cx: &mut Context<'_>,
        ) -> PolledFrame<Bytes, &'static str> {
            body.poll_frame(cx).map(|frame| {
                frame.map(|frame: Result<Frame<Bytes>, Infallible>| {
                    let frame = frame.map_err(|never| match never {})?;
                    self.0 += frame.data_ref().map_or(0, Bytes::len);
                    if self.0 > 5 { Err("too long") } else { Ok(frame) }
                })
            })
        }
    }

    #[test]
    fn a_hook_sees_each_frame_and_the_body_speaks_for_itself() {
        let mut cx = Context::from_waker(Waker::noop());
        for (text, fails) in [("12345", false), ("123456", true)] {
            let mut body = HookedBody::new(Full::new(Bytes::from(text)), AtMostFive(0));
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            assert!(!body.is_end_stream());
            let frame = Pin::new(&mut body).poll_frame(&mut cx);
            assert!(matches!(frame, Poll::Ready(Some(frame)) if frame.is_err() == fails), "{text}");
            assert!(body.is_end_stream());
        }
    }
}
