//! The body of an answer, in slices of a frame each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::send_progress::{SLICE, SendProgress};

pin_project_lite::pin_project! {
    /// A response body that marks whether the peer has taken what it gave.
    pub(super) struct SlicedBody<B> {
        #[pin]
        body: B,
        rest: Bytes,
        progress: Arc<SendProgress>,
    }
}

impl<B> SlicedBody<B> {
    pub(super) fn new(body: B, progress: Arc<SendProgress>) -> Self {
        Self { body, rest: Bytes::new(), progress }
    }
}

impl<B: Body<Data = Bytes>> Body for SlicedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    /// Gives slices, so that a peer which takes few bytes at a time is seen to take some.
    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            // Asked for more, so what it was given is taken; from here on it is the guest's turn.
            this.progress.taken.store(true, Ordering::Release);
            let frame = ready!(this.body.poll_frame(task));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                None => return Poll::Ready(None),
            }
        }
        let slice = this.rest.split_to(this.rest.len().min(SLICE));
        this.progress.bytes.fetch_add(slice.len() as u64, Ordering::AcqRel);
        this.progress.taken.store(false, Ordering::Release);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(exact + rest),
            None => SizeHint::default(),
        }
    }
}
