//! The task of one HTTP/2 stream, and the deadline of a peer that takes nothing of its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use host_clock::MinRate;
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::exchange::{LastCalled, StreamExchange};
use super::shared::H2Shared;
use crate::out_rate::OutRate;
use crate::request_body::Pump;
use crate::scarcity::Hurry;
use crate::socket::{LOOKS, REACTOR_TURN};

/// A peer that sends nothing for so long has heard the answer, or will not send the rest of its request. Until
/// then its stream counts as one of [`MAX_STREAMS`](super::MAX_STREAMS).
const REST_PAUSE: Duration = Duration::from_secs(1);

/// Runs the streams of one connection, each as a task, and gives up one whose peer takes nothing, or less
/// than the least rate. A stream's task ends with its connection: hyper's future sees the connection go.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    pub(super) last_called: LastCalled,
    pub(super) shared: Arc<H2Shared>,
    pub(super) stall: Duration,
    pub(super) min_rate: Option<MinRate>,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = StreamTask {
            stream,
            exchange: self.last_called.take(),
            rate: OutRate::new(self.stall, self.min_rate),
            hurry: Hurry::default(),
            counted: 0,
            looks: 0,
            shared: self.shared.clone(),
            stalled: None,
        };
        let patience = self.stall;
        // Owned by the connection: it ends when the connection's future has ended.
        tokio::spawn(async move {
            if let Some(rest) = stream.await {
                read_rest(rest, patience).await;
            }
        });
    }
}

/// Reads what is still to come of a request that is answered, for a while. Then the stream is reset, which is
/// no error (RFC 9113 §8.1), but for which clients throw the answer away while they are sending: curl 7.88.
async fn read_rest(rest: Pump, patience: Duration) {
    timeout(patience, rest.discard_until_pause(REST_PAUSE)).await.ok();
}

pin_project_lite::pin_project! {
    /// One stream. Completes with what is still to come of its request; without hyper's future having done so,
    /// dropping that resets the stream.
    struct StreamTask<F> {
        #[pin]
        stream: F,
        exchange: Option<StreamExchange>,
        rate: OutRate,
        hurry: Hurry,
        // Bytes that the rate has seen.
        counted: u64,
        looks: u32,
        shared: Arc<H2Shared>,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = Option<Pump>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Pump>> {
        let this = self.project();
        if let Some(exchange) = this.exchange {
            exchange.pump(task);
        }
        if this.stream.poll(task).is_ready() {
            return Poll::Ready(this.exchange.take().and_then(|exchange| exchange.upload));
        }
        let Some(progress) = this.exchange.as_ref().map(|exchange| &exchange.progress) else {
            return Poll::Pending;
        };
        if progress.taken.load(Ordering::Acquire) {
            this.rate.flushed();
            *this.hurry = Hurry::default();
            *this.stalled = None;
            return Poll::Pending;
        }
        let (now, gone) = (Instant::now(), progress.gone());
        this.rate.blocked(now);
        let fresh = gone.saturating_sub(*this.counted);
        if fresh > 0 {
            this.rate.wrote(now, usize::try_from(fresh).unwrap_or(usize::MAX));
            (*this.counted, *this.looks) = (gone, 0);
        }
        let hurry = this.hurry.poll(&this.shared.scarcity, true, task);
        let Some(mut until) = this.rate.deadline(hurry) else { return Poll::Pending };
        if until <= now && *this.looks <= LOOKS {
            // What lets it go on may lie in the kernel: the connection reads it in the reactor's next turn,
            // and wakes this stream in the one after it.
            let is_first = *this.looks == 0;
            *this.looks += 1;
            if is_first || this.shared.stream.kernel_has_bytes() {
                until = now + REACTOR_TURN;
            }
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if stalled.deadline() != until {
            stalled.as_mut().reset(until);
        }
        stalled.as_mut().poll(task).map(|()| None)
    }
}
