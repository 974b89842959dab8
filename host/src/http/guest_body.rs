//! The body that a guest writes, with the guest itself inside.
//!
//! The message ends well only if the guest ended it well. A guest that traps, is cut or runs out of
//! time closes its end like one that has finished, and only here is the difference known: then the
//! body ends in an error, and hyper breaks the message on the wire.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use host_body::PolledFrame;
use host_manifest::{ComponentLimits, LimitKey};
use host_telemetry::End;
use http::StatusCode;
use http_body::Frame;
use tokio::task::yield_now;
use tracing::debug;

use super::account::Account;
use super::blame::{Awaited, Deadline, ExchangeError};
use super::deadlines::Deadlines;
use super::guest_work::GuestWork;
use super::peer_fault::PeerFault;
use crate::component::{CutReason, GuestFailure, WasiBody};

/// Empty frames taken from a guest in one go, before others get their turn. They are dropped:
/// forwarded over HTTP/2 they would grow the heap (wasmtime advisory f8mm).
const EMPTY_FRAMES: usize = 32;

/// How often a guest that waits for its client is looked at before its head goes out: a body that is broken
/// already is the client's fault, and it is told so as long as it can be.
const LOOKS: usize = 2;

/// A guest's body with everything that lives as long as it.
pub(super) struct GuestBody {
    body: WasiBody,
    /// Taken when the body ends.
    work: Option<GuestWork>,
    idle_timeout: Duration,
    deadlines: Deadlines,
    /// What is still owed of a declared length.
    owed: Option<u64>,
    /// What it may still be, if that is bounded.
    room: Option<u64>,
    /// Taken before the head went out.
    early: VecDeque<Frame<Bytes>>,
    /// Its trailers were handed over: they end it.
    has_trailers: bool,
    /// Its encoder has not given all of what was handed over.
    is_held_back: bool,
    /// The exchange's, until it is taken.
    account: Option<Account>,
    timers: Timers,
}

type Timer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Made when first needed: most bodies are there at once.
#[derive(Default)]
struct Timers {
    /// Since when the guest is waited for.
    idle: Option<Timer<()>>,
    total: Option<Timer<()>>,
    cut: Option<Timer<CutReason>>,
}

/// What there was of a body before the head went out.
pub(super) enum FirstLook {
    /// All of it.
    Whole(Bytes),
    /// Some of it, or nothing: the rest is polled for.
    More,
}

impl GuestBody {
    /// The body of a guest at work for an exchange. It owes so many bytes if its head said so, and may pause for
    /// `idle_timeout`.
    pub(super) fn new(
        body: WasiBody,
        (work, account): (GuestWork, Account),
        deadlines: Deadlines,
        idle_timeout: Duration,
        owed: Option<u64>,
    ) -> Self {
        let room = work.stage.admitted().config().limits.response_body;
        Self {
            body,
            work: Some(work),
            idle_timeout,
            deadlines,
            owed,
            room,
            early: VecDeque::new(),
            has_trailers: false,
            is_held_back: false,
            account: Some(account),
            timers: Timers::default(),
        }
    }

    /// Looks, before the head goes out, at what the guest has already written: a guest that has
    /// failed by now gets a response of the host's, and a body that is whole is sent as one.
    ///
    /// # Errors
    /// Why the body is broken off already.
    pub(super) async fn first_look(&mut self) -> Result<FirstLook, ExchangeError> {
        let peer_fault = self.account.as_ref().map(|account| account.peer_fault.clone());
        let first = poll_fn(|cx| Poll::Ready(self.begin(cx))).await?;
        if matches!(first, FirstLook::More) {
            for _ in 0..LOOKS {
                if !peer_fault.as_ref().is_some_and(PeerFault::waits_for_client) {
                    break;
                }
                // hyper has a turn, and reads what is here of the upload.
                yield_now().await;
                poll_fn(|cx| Poll::Ready(self.look_again(cx))).await?;
            }
        }
        Ok(first)
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Result<FirstLook, ExchangeError> {
        let first = match self.poll_frame(cx) {
            Poll::Ready(Some(first)) => first?,
            Poll::Ready(None) | Poll::Pending => return Ok(FirstLook::More),
        };
        let data = match first.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                self.early.push_back(trailers);
                return Ok(FirstLook::More);
            }
        };
        match self.poll_frame(cx) {
            Poll::Ready(None) => return Ok(FirstLook::Whole(data)),
            Poll::Ready(Some(second)) => self.early.extend([Frame::data(data), second?]),
            Poll::Pending => {
                self.early.push_back(Frame::data(data));
                // The guest learns now that its first frame was taken. Only then may it wait for its client.
                self.look_again(cx)?;
            }
        }
        Ok(FirstLook::More)
    }

    /// Looks once more, for a guest that waits for its client: what that has sent may be no body.
    fn look_again(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        if let Poll::Ready(Some(frame)) = self.poll_frame(cx) {
            self.early.push_back(frame?);
        }
        Ok(())
    }

    /// Gives hyper, or what compresses it for hyper, the next frame. Only what it has been given counts as delivered:
    /// hyper writes the head by what is owed then.
    pub(super) fn hand_over(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes, ExchangeError> {
        let frame = match self.early.pop_front() {
            Some(early) => Poll::Ready(Some(Ok(early))),
            None => self.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.handed_over(frame);
        }
        frame
    }

    fn handed_over(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else {
            self.has_trailers = true;
            return;
        };
        if let Some(owed) = &mut self.owed {
            *owed = owed.saturating_sub(data.len() as u64);
        }
    }

    /// So many bytes of it go to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(account) = &mut self.account {
            account.sent(bytes);
        }
    }

    /// Whether hyper has not been given all yet that came of what was handed over.
    pub(super) fn set_held_back(&mut self, is_held_back: bool) {
        self.is_held_back = is_held_back;
    }

    /// The head goes out with this status.
    pub(super) fn answered(&mut self, status: StatusCode) -> &mut Self {
        if let Some(account) = &mut self.account {
            account.answered(status);
        }
        self
    }

    /// The account of its exchange. Only for a body with which the guest is done.
    pub(super) fn take_account(&mut self) -> Option<Account> {
        self.account.take()
    }

    /// Whether all of it was handed over, and the guest has said that this was all.
    pub(super) fn has_ended(&self) -> bool {
        self.work.is_none() && self.early.is_empty()
    }

    /// Bytes that are still to come, if the head has said how many there are.
    pub(super) fn owed(&self) -> Option<u64> {
        self.owed
    }

    /// Waits until its time is up or it is cut; none once the guest is done. Holds nothing of it.
    pub(super) fn overdue(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let cut = self.work.as_ref()?.generation().cut();
        let total = self.deadlines.total;
        Some(async move {
            let over = async {
                match total {
                    Some(total) => host_clock::until(total).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = cut => {}
                () = over => {}
            }
        })
    }

    /// Takes the next frame from the guest, which is driven only if there is none yet.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes, ExchangeError> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        if let Some(why) = work.generation().cut_reason() {
            return self.fail(ExchangeError::Cut(why));
        }
        if self.deadlines.is_over() {
            return self.take_too_long();
        }
        let mut worked = None;
        for _ in 0..EMPTY_FRAMES {
            match (work.running.poll_body(&mut self.body, cx), worked.take()) {
                (Poll::Ready(Some(Ok(frame))), _) => {
                    if frame.data_ref().is_some_and(Bytes::is_empty) {
                        continue;
                    }
                    return self.take(frame);
                }
                (Poll::Ready(Some(Err(why))), _) => {
                    return self.fail(ExchangeError::BodyBroken(format!("{why:?}")));
                }
                (Poll::Ready(None), _) => return self.end(cx),
                (Poll::Pending, None) => {
                    worked = Some(work.running.poll_once(cx));
                    if let Some(account) = &self.account {
                        account.info.set_cpu(work.running.cpu());
                    }
                }
                (Poll::Pending, Some(worked)) => {
                    return match work.running.poll_answered(worked) {
                        Poll::Ready(Err(why)) => self.fail(ExchangeError::Guest(why)),
                        Poll::Ready(Ok(())) => {
                            self.fail(ExchangeError::Guest(GuestFailure::BodyLeaked))
                        }
                        Poll::Pending => self.wait(cx),
                    };
                }
            }
        }
        // Nothing but empty frames: that is silence, and others get their turn.
        cx.waker().wake_by_ref();
        self.wait(cx)
    }

    /// Takes a frame that is not empty, if there is room for it.
    fn take(&mut self, frame: Frame<Bytes>) -> PolledFrame<Bytes, ExchangeError> {
        self.timers.idle = None;
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.room.map(|room| room.checked_sub(bytes)) {
            Some(None) => {
                let most = self.limits().and_then(|limits| limits.response_body);
                let limit = LimitKey::ResponseBody.bytes(most.unwrap_or_default());
                return self.fail(ExchangeError::BodyTooLarge(limit));
            }
            Some(room) => self.room = room,
            None => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// The guest's end of the body is closed. Only a guest that has not failed closed it itself.
    fn end(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes, ExchangeError> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        if let Poll::Ready(Err(why)) = work.running.poll_once(cx) {
            return self.fail(ExchangeError::Guest(why));
        }
        if let (Some(work), Some(account)) = (self.work.take(), &mut self.account) {
            work.finish(account, None, Some(cx));
        }
        Poll::Ready(None)
    }

    /// The limits of the component, while it is at work.
    fn limits(&self) -> Option<&ComponentLimits> {
        Some(&self.work.as_ref()?.config().limits)
    }

    fn take_too_long(&mut self) -> PolledFrame<Bytes, ExchangeError> {
        let total = self.limits().and_then(|limits| limits.total).unwrap_or_default();
        self.fail(ExchangeError::Late(Deadline::Total(total)))
    }

    fn fail(&mut self, error: ExchangeError) -> PolledFrame<Bytes, ExchangeError> {
        // A guest that gives its frames is not late when its reader does not take them in time.
        let is_waited_for = self.timers.idle.is_some();
        let awaited = if is_waited_for { self.deadlines.awaited() } else { Awaited::Others };
        let (Some(work), Some(account)) = (self.work.take(), &mut self.account) else {
            return Poll::Ready(None);
        };
        // Of a chain, those behind may have been cut in this very poll: that comes before what it did to their
        // responses.
        let error = work.generation().cut_reason().map_or(error, ExchangeError::Cut);
        Poll::Ready(Some(Err(work.break_off(account, error, awaited))))
    }

    /// Waits for the guest, as long as it may be waited for.
    fn wait(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes, ExchangeError> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        work.running.before_wait(cx);
        let timers = &mut self.timers;
        let cut = timers.cut.get_or_insert_with(|| Box::pin(work.generation().cut()));
        if let Poll::Ready(why) = cut.as_mut().poll(cx) {
            timers.cut = None;
            return self.fail(ExchangeError::Cut(why));
        }
        let (deadlines, patience) = (&self.deadlines, self.idle_timeout);
        let idle = timers.idle.get_or_insert_with(|| Box::pin(deadlines.clone().silence(patience)));
        if idle.as_mut().poll(cx).is_ready() {
            return self.fail(ExchangeError::Late(Deadline::Silence(patience)));
        }
        if deadlines.total.is_some() {
            let total = timers.total.get_or_insert_with(|| Box::pin(deadlines.clone().over()));
            if total.as_mut().poll(cx).is_ready() {
                return self.take_too_long();
            }
        }
        Poll::Pending
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        let Some(account) = &mut self.account else { return };
        let Some(work) = self.work.take() else {
            if !self.early.is_empty() || self.is_held_back {
                account.ends(End::PeerGone);
            }
            return;
        };
        // While unwinding, a guest that panics again would end the process.
        if std::thread::panicking() {
            return;
        }
        // hyper asks for no more once a declared length, or trailers, are delivered.
        if (self.owed == Some(0) || self.has_trailers) && !self.is_held_back {
            work.finish(account, None, None);
            return;
        }
        account.peer_fault.peer_is_gone();
        if work.generation().cut_reason().is_some() {
            account.ends(End::Cut);
        }
        let info = &account.info;
        let (exchange, trace_id) = (info.number(), info.trace);
        debug!(exchange, %trace_id, "peer gone before the end: {}", info.asked());
    }
}
