//! The response body: what the guest writes, with the guest itself inside.
//!
//! The message ends well only if the guest ended it well. A guest that traps, is cut or runs out of
//! time closes its end like one that has finished, and only here is the difference known: then the
//! body ends in an error, and hyper breaks the message on the wire.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tracing::{debug, info, warn};

use super::afterwork::{Rest, failed_afterwards};
use super::clock::Clock;
use super::exchange::{Admitted, Exchanges};
use super::failure::Failure;
use super::label::Label;
use super::verdict::Verdict;
use crate::component::{CutReason, GuestFailure, Running, WasiBody};
use crate::lifecycle::Guard;

/// Empty frames taken from a guest in one go, before others get their turn. They are dropped:
/// forwarded over HTTP/2 they would grow the heap (wasmtime advisory f8mm).
const EMPTY_FRAMES: usize = 32;

/// A response body, of the guest or of the host. Dropping it ends the exchange, and the guest with
/// it unless all of the body was delivered.
pub struct Answer {
    inner: Inner,
    end: Break<Broken>,
}

enum Inner {
    /// All of it is here; of a guest's, the exchange lasts until it is handed over.
    Whole {
        bytes: Option<Bytes>,
        _guard: Option<Guard>,
    },
    Guest(Box<Stream>),
}

impl Answer {
    /// Waits for the moment when it is not to be held back any longer: its time is up, or its end was
    /// decided. Holds nothing of it.
    pub(super) fn is_overdue(&self) -> impl Future<Output = ()> + Send + 'static {
        let waits = match &self.inner {
            Inner::Guest(stream) => stream
                .work
                .as_ref()
                .map(|work| (work.admitted.generation.cut(), stream.clock.deadline)),
            Inner::Whole { .. } => None,
        };
        async move {
            let Some((cut, deadline)) = waits else { return pending().await };
            let over = async {
                match deadline {
                    Some(deadline) => host_clock::until(deadline).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = cut => {}
                () = over => {}
            }
        }
    }

    /// Whether all of it is here.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.inner, Inner::Whole { .. })
    }

    /// A body of the host's own.
    pub(super) fn fixed(text: &'static str) -> Self {
        Self::whole(Bytes::from_static(text.as_bytes()), None)
    }

    fn whole(bytes: Bytes, guard: Option<Guard>) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self::from(Inner::Whole { bytes, _guard: guard })
    }

    /// The body of a guest.
    pub(super) fn stream(stream: Stream) -> Self {
        Self::from(Inner::Guest(Box::new(stream)))
    }
}

/// A guest's body with everything that lives as long as it.
pub(super) struct Stream {
    pub(super) body: WasiBody,
    /// Taken when the body ends.
    pub(super) work: Option<Work>,
    pub(super) body_idle: Duration,
    pub(super) clock: Clock,
    /// What is still owed of a declared length.
    pub(super) owed: Option<u64>,
    /// What it may still be, if that is bounded.
    pub(super) room: Option<u64>,
    /// Taken before the head went out.
    pub(super) early: VecDeque<Frame<Bytes>>,
    /// The exchange's, once the guest is done with it.
    pub(super) guard: Option<Guard>,
    pub(super) timers: Timers,
}

/// A guest at work, and what it holds.
pub(super) struct Work {
    pub(super) running: Running,
    pub(super) admitted: Admitted,
    /// What its peer did to it.
    pub(super) verdict: Verdict,
    pub(super) guard: Guard,
    pub(super) label: Arc<Label>,
    pub(super) exchanges: Exchanges,
}

/// Made when first needed: most bodies are there at once.
#[derive(Default)]
pub(super) struct Timers {
    /// Since when the guest is waited for.
    idle: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    total: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    cut: Option<Pin<Box<dyn Future<Output = CutReason> + Send>>>,
}

/// Why a message was broken off. hyper only needs to know that it was.
#[derive(Debug)]
pub struct Broken(Why);

#[derive(Clone, Debug)]
enum Why {
    Guest(GuestFailure),
    Body(String),
    Idle(Duration),
    Total,
    TooLarge,
    Cut(CutReason),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Guest(why) => why.fmt(f),
            Why::Body(why) => write!(f, "guest broke off its body: {why}"),
            Why::Idle(patience) => write!(f, "guest sent nothing for {patience:?}"),
            Why::Total => f.write_str("the exchange took too long"),
            Why::TooLarge => f.write_str("guest sent more than its limit, response-body"),
            Why::Cut(CutReason::Stop) => f.write_str("cut by the stop"),
            Why::Cut(CutReason::Retired) => f.write_str("cut with its retired generation"),
        }
    }
}

impl Error for Broken {}

impl Work {
    /// The answer is delivered, or all of it is in our hands: a guest with nothing left to do is
    /// dropped, another works on. Gives back the exchange's guard.
    ///
    /// `unwanted` is a body that nobody is going to read.
    pub(super) fn finish(
        mut self,
        unwanted: Option<WasiBody>,
        cx: Option<&mut Context<'_>>,
    ) -> Guard {
        self.running.release();
        let mut noop = Context::from_waker(Waker::noop());
        let exchange = self.exchange();
        match self.running.poll_work(cx.unwrap_or(&mut noop)) {
            Poll::Ready(Ok(())) => self.guard,
            Poll::Ready(Err(why)) => {
                let component = self.admitted.generation.name();
                failed_afterwards(exchange, component, &why, &self.verdict);
                self.guard
            }
            Poll::Pending => {
                let Self { running, admitted, verdict, guard, label, exchanges } = self;
                let rest = Rest { running, unwanted, admitted, exchange, verdict };
                exchanges.afterwork().begin(rest, label);
                guard
            }
        }
    }

    /// What the log calls it: in a chain, all parts go by the exchange that they are of.
    fn exchange(&self) -> u64 {
        self.label.exchange(&self.guard)
    }

    /// The message is broken: the guest ends here. `late` tells whether it is the guest that was late.
    fn break_off(mut self, why: Why, late: bool) -> Broken {
        let broken = Broken(why);
        let (exchange, label) = (self.exchange(), &self.label);
        let generation = &self.admitted.generation;
        let (component, generation) = (generation.name(), generation.number());
        let upload = self.verdict.failure();
        let failed = match broken.0 {
            Why::Guest(_) => true,
            Why::Idle(_) | Why::Total => late,
            Why::Body(_) | Why::TooLarge | Why::Cut(_) => false,
        };
        if upload.is_none() && failed {
            self.admitted.failed();
        }
        if matches!(broken.0, Why::Cut(_)) {
            self.guard.mark_cut();
        }
        match upload {
            Some(Failure::PeerGone | Failure::Plugin) => {
                debug!(exchange, component, generation, why = %broken, "peer gone: {label}");
            }
            // What the guest made of half a request is no failure of its own.
            Some(fault) => info!(exchange, component, generation, ?fault, "broken off: {label}"),
            None => {
                warn!(exchange, component, generation, why = %broken, "answer broken off: {label}");
            }
        }
        broken
    }
}

impl Broken {
    /// What the peer is told, if its head has not gone out yet.
    pub(super) fn failure(&self) -> Failure {
        match &self.0 {
            Why::Guest(why) => why.into(),
            Why::Body(_) | Why::TooLarge => Failure::Guest,
            Why::Idle(_) | Why::Total => Failure::GuestTooSlow,
            Why::Cut(why) => (*why).into(),
        }
    }
}

impl Stream {
    /// Looks, before the head goes out, at what the guest has already written: a guest that has
    /// failed by now gets an answer of the host's, and a body that is whole is sent as one.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) -> Result<Option<Answer>, Broken> {
        let first = match self.poll_frame(cx) {
            Poll::Ready(Some(first)) => first?,
            Poll::Ready(None) | Poll::Pending => return Ok(None),
        };
        let data = match first.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                self.early.push_back(trailers);
                return Ok(None);
            }
        };
        match self.poll_frame(cx) {
            Poll::Ready(None) => Ok(Some(Answer::whole(data, self.guard.take()))),
            Poll::Ready(Some(second)) => {
                self.early.extend([Frame::data(data), second?]);
                Ok(None)
            }
            Poll::Pending => {
                self.early.push_back(Frame::data(data));
                Ok(None)
            }
        }
    }

    /// Looks once more, for a guest that waits for its client: what that has sent may be no body.
    pub(super) fn look_again(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if let Poll::Ready(Some(frame)) = self.poll_frame(cx) {
            self.early.push_back(frame?);
        }
        Ok(())
    }

    /// Gives hyper the next frame. Only what it has been given counts as delivered: hyper writes
    /// the head by what is owed then.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = match self.early.pop_front() {
            Some(early) => Poll::Ready(Some(Ok(early))),
            None => self.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let (Some(owed), Some(data)) = (&mut self.owed, frame.data_ref())
        {
            *owed = owed.saturating_sub(data.len() as u64);
        }
        frame
    }

    /// Takes the next frame from the guest.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        if let Some(why) = work.admitted.generation.cut_reason() {
            return self.fail(Why::Cut(why));
        }
        if self.clock.is_over() {
            return self.fail(Why::Total);
        }
        let worked = work.running.poll_work(cx);
        for _ in 0..EMPTY_FRAMES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if frame.data_ref().is_some_and(Bytes::is_empty) {
                        continue;
                    }
                    return self.pass(frame);
                }
                Poll::Ready(Some(Err(why))) => return self.fail(Why::Body(format!("{why:?}"))),
                Poll::Ready(None) => return self.end(cx, worked),
                Poll::Pending => {
                    return match work.running.poll_answered(worked) {
                        Poll::Ready(Err(why)) => self.fail(Why::Guest(why)),
                        Poll::Ready(Ok(())) => self.fail(Why::Guest(GuestFailure::BodyLeaked)),
                        Poll::Pending => self.wait(cx),
                    };
                }
            }
        }
        // Nothing but empty frames: that is silence, and others get their turn.
        cx.waker().wake_by_ref();
        self.wait(cx)
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.timers.idle = None;
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.room.map(|room| room.checked_sub(bytes)) {
            Some(None) => return self.fail(Why::TooLarge),
            Some(room) => self.room = room,
            None => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// The guest's end of the body is closed. Only a guest that has not failed closed it itself.
    fn end(
        &mut self,
        cx: &mut Context<'_>,
        worked: Poll<Result<(), GuestFailure>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let worked = match (&mut self.work, worked) {
            // An instance that others share runs in another task: it may have been lost since.
            (Some(work), Poll::Pending) => work.running.poll_work(cx),
            (_, worked) => worked,
        };
        if let Poll::Ready(Err(why)) = worked {
            return self.fail(Why::Guest(why));
        }
        if let Some(work) = self.work.take() {
            self.guard = Some(work.finish(None, Some(cx)));
        }
        Poll::Ready(None)
    }

    fn fail(&mut self, why: Why) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // A guest that gives its frames is not late when nobody takes them in time.
        let late = self.timers.idle.is_some() && !self.clock.is_of_others();
        match self.work.take() {
            Some(work) => Poll::Ready(Some(Err(work.break_off(why, late)))),
            None => Poll::Ready(None),
        }
    }

    /// Waits for the guest, as long as it may be waited for.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(work) = &self.work else { return Poll::Ready(None) };
        let timers = &mut self.timers;
        let cut = timers.cut.get_or_insert_with(|| Box::pin(work.admitted.generation.cut()));
        if let Poll::Ready(why) = cut.as_mut().poll(cx) {
            timers.cut = None;
            return self.fail(Why::Cut(why));
        }
        let (clock, body_idle) = (&self.clock, self.body_idle);
        let idle = timers.idle.get_or_insert_with(|| Box::pin(clock.clone().silence(body_idle)));
        if idle.as_mut().poll(cx).is_ready() {
            return self.fail(Why::Idle(body_idle));
        }
        if clock.deadline.is_some() {
            let total = timers.total.get_or_insert_with(|| Box::pin(clock.clone().over()));
            if total.as_mut().poll(cx).is_ready() {
                return self.fail(Why::Total);
            }
        }
        Poll::Pending
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // While unwinding, a guest that panics again would end the process.
        if std::thread::panicking() {
            return;
        }
        // hyper asks for no more once a declared length is delivered.
        if self.owed == Some(0) {
            drop(work.finish(None, None));
            return;
        }
        let mut work = work;
        work.verdict.peer_is_gone();
        if work.admitted.generation.cut_reason().is_some() {
            work.guard.mark_cut();
        }
        debug!(exchange = work.exchange(), "peer gone before the end: {}", work.label);
    }
}

/// The break of a body, held back for one turn. hyper throws away what it has not written yet when a body
/// breaks, the head too. A client that has seen nothing may take the request for one that was never
/// served, and send it again: so hyper gets a turn for writing first.
struct Break<E>(Option<E>);

impl<E> Default for Break<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> Break<E> {
    fn is_due(&self) -> bool {
        self.0.is_some()
    }

    fn poll_after<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<Option<Result<T, E>>>,
    ) -> Poll<Option<Result<T, E>>> {
        if let Some(broken) = self.0.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        match ready!(poll(cx)) {
            Some(Err(broken)) => {
                self.0 = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }
}

impl From<Inner> for Answer {
    fn from(inner: Inner) -> Self {
        Self { inner, end: Break::default() }
    }
}

impl Inner {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::Whole { bytes, .. } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Guest(stream) => stream.hand_over(cx),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { inner, end } = &mut *self;
        end.poll_after(cx, |cx| inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole { bytes, .. } => bytes.is_none(),
            // A guest may still fail before it has said that this was all.
            Inner::Guest(stream) => {
                stream.work.is_none() && stream.early.is_empty() && !self.end.is_due()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Guest(stream) => {
                stream.owed.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Whole { .. } => "Answer::Whole",
            Inner::Guest(_) => "Answer::Guest",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[derive(Default)]
    struct BreaksAtOnce(Break<fmt::Error>);

    impl Body for BreaksAtOnce {
        type Data = Bytes;
        type Error = fmt::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, fmt::Error>>> {
            self.0.poll_after(cx, |_| Poll::Ready(Some(Err(fmt::Error))))
        }
    }

    /// It did, whenever the guest failed in hyper's first look at its body: the client saw the
    /// connection close without a word.
    #[tokio::test]
    async fn a_break_does_not_outrun_the_head_on_its_way_to_the_client() {
        let service = service_fn(|_: Request<hyper::body::Incoming>| {
            let response = Response::new(BreaksAtOnce::default());
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service)
            .await;
        assert!(served.is_err_and(|why| why.is_user()), "the message is broken");
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n") && seen.ends_with("\r\n\r\n"), "{seen}");
    }
}
