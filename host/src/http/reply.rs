//! A response on its way back to the plugin that has passed its request on.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use http::Response;
use tokio::sync::oneshot;

use super::body_channel::body_channel;
use super::deadlines::{Claim, Downstream, Unanswered};
use super::response_body::ResponseBody;
use crate::component::{Passing, WasiBody};

/// Where the response to a request goes that a plugin has passed on. Dropped before it is sent, it tells the plugin
/// that none comes.
pub(super) struct Reply {
    send: oneshot::Sender<Response<WasiBody>>,
    /// The response has it until its body has been read.
    claim: Claim,
    downstream: Downstream,
    unanswered: Unanswered,
}

impl Reply {
    /// To a plugin with this claim on a request, and what the plugin waits for.
    pub(super) fn new(claim: Claim, downstream: &Downstream) -> (Self, Passing) {
        let (send, passing) = oneshot::channel();
        let unanswered = downstream.unanswered();
        (Self { send, claim, downstream: downstream.clone(), unanswered }, passing)
    }

    /// To a guest that sends a request out, which waits by deadlines of its own.
    pub(super) fn to_guest(downstream: &Downstream) -> (Self, Passing) {
        Self::new(downstream.first_claim(), downstream)
    }

    /// Drives `serving` to its end. None if the plugin stops waiting before that: then it gets no further turn.
    pub(super) async fn while_wanted<T>(
        &mut self,
        mut serving: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> Option<T> {
        poll_fn(|cx| {
            if self.send.is_closed() {
                return Poll::Ready(None);
            }
            match serving.as_mut().poll(cx) {
                Poll::Ready(served) => Poll::Ready(Some(served)),
                Poll::Pending => self.send.poll_closed(cx).map(|()| None),
            }
        })
        .await
    }

    /// Sends the response, and its body to the end unless all of it is here.
    pub(super) async fn send(self, response: Response<ResponseBody>) {
        let Self { send, claim, downstream, unanswered } = self;
        let (head, body) = response.into_parts();
        let (body, pump) = body_channel(body, downstream);
        drop(unanswered);
        // If the plugin does not wait any more, the body is dropped, and the guest with it.
        drop(send.send(Response::from_parts(head, body.into_body(claim))));
        if let Some(pump) = pump {
            pump.await;
        }
    }
}
