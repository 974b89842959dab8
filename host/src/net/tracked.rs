//! A response body that keeps its exchange in flight until its last frame.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::flow::Active;

pin_project_lite::pin_project! {
    /// See the module. Dropping it ends the exchange on its connection.
    pub(super) struct Tracked<B> {
        #[pin]
        body: B,
        active: Option<Active>,
    }
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, active: Active) -> Self {
        Self { body, active: Some(active) }
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(task);
        match &frame {
            Poll::Ready(None) => drop(this.active.take()),
            Poll::Ready(Some(Err(_))) => {
                if let Some(active) = this.active.take() {
                    active.flow().mark_broken();
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
