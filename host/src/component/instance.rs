//! One live component with its store, serving one request.
//!
//! The guest runs inside whoever polls it: first the exchange that waits for the head, then the
//! response body, then the work after the answer. So cancelling, owning and counting it are one
//! thing: dropping a [`Running`] drops the guest.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use host_clock::Elapsed;
use http::Response;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::coop::has_budget_remaining;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiBody;

use super::turns::{Entry, Turn};

/// Why a guest did not do its work. Text for the log, never for the wire.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GuestFailure {
    /// It trapped, or the host ended it for breaking a rule.
    #[error("guest trapped: {0}")]
    Trapped(String),
    /// It called wasi:cli/exit.
    #[error("guest called exit with status {0}")]
    Exited(i32),
    /// It returned and never set a response.
    #[error("guest returned without a response")]
    NoResponse,
    /// It answered with a status that is no answer: an interim one (RFC 9110 §15.2), or none of HTTP
    /// (above 599).
    #[error("guest answered with the status {0}, which ends no exchange")]
    Status(u16),
    /// It answered with an error instead of a response.
    #[error("guest answered with an error: {0}")]
    Refused(String),
    /// It used up its CPU time.
    #[error("guest used more than {0:?} of CPU time")]
    CpuTime(Duration),
    /// Its hook `on-start` gave an error.
    #[error("on-start gave an error: {0}")]
    StartRefused(String),
    /// Its hook did not return in time.
    #[error("{0} did not return within {1:?}")]
    HookTooSlow(&'static str, Duration),
    /// There was no memory for another instance, of its component or of all.
    #[error("no memory for another instance: memory-total, or [total] memory, is used up")]
    NoMemory,
    /// Its instance took too long to be made.
    #[error("instance took too long to start")]
    StartTooSlow,
    /// The pool has no room, although admission said so.
    #[error("no room in the instance pool")]
    PoolFull,
    /// The instance that it shared was lost.
    #[error("its instance was lost to the failure of another exchange on it")]
    InstanceLost,
    /// It returned and left its body unfinished, for ever.
    #[error("guest returned without finishing the response body")]
    BodyLeaked,
}

impl GuestFailure {
    /// Sorts an error of wasmtime.
    pub(super) fn of(why: &wasmtime::Error) -> Self {
        if why.is::<PoolConcurrencyLimitError>() {
            return Self::PoolFull;
        }
        if why.is::<Elapsed>() {
            return Self::StartTooSlow;
        }
        if let Some(known) = why.downcast_ref::<Self>() {
            return known.clone();
        }
        if let Some(exit) = why.downcast_ref::<I32Exit>() {
            return Self::Exited(exit.0);
        }
        if let Some(trap) = why.downcast_ref::<Trap>() {
            return Self::Trapped(trap.to_string());
        }
        Self::Trapped(why.root_cause().to_string())
    }
}

/// Whether a channel that gave nothing is really empty. A task that has used up its turn finds every
/// channel of tokio empty (`tokio::task::coop`), and has been woken for another turn: until then a
/// guest that has returned may not be judged by what did not come.
fn poll_verdict() -> Poll<()> {
    if has_budget_remaining() { Poll::Ready(()) } else { Poll::Pending }
}

/// What a guest sends as the head of its answer.
pub(super) type Head = Result<Response<WasiBody>, GuestFailure>;

/// The guest as a future: it ends with what must live as long as the body, the store.
pub(super) type Guest =
    Pin<Box<dyn Future<Output = Result<Box<dyn Any + Send>, wasmtime::Error>> + Send>>;

/// A guest at work on one request. Made by [`super::Generation::start`]; dropping it ends the
/// guest wherever it is.
pub struct Running {
    guest: State,
    /// Taken when it has given what it had, or that nothing comes.
    head: Option<oneshot::Receiver<Head>>,
    cpu: Duration,
    cpu_limit: Duration,
    release: Release,
    /// None where somebody else polls the guest.
    turn: Option<Turn>,
    entry: Entry,
}

enum State {
    Working(Guest),
    /// Returned; what its body still needs is kept.
    Done {
        _store: Box<dyn Any + Send>,
    },
    Failed(GuestFailure),
}

impl Running {
    pub(super) fn new(
        guest: Guest,
        head: oneshot::Receiver<Head>,
        cpu_limit: Duration,
        release: Release,
        turn: Option<Turn>,
    ) -> Self {
        let guest = State::Working(guest);
        Self { guest, head: Some(head), cpu: Duration::ZERO, cpu_limit, release, turn, entry: None }
    }

    /// Drives the guest until the head of its answer is there. Poll no more after it was.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Head> {
        let work = self.poll_work(cx);
        if let Some(head) = &mut self.head
            && let Poll::Ready(head) = Pin::new(head).poll(cx)
        {
            self.head = None;
            if let Ok(head) = head {
                return Poll::Ready(head);
            }
        }
        ready!(self.handled(work))?;
        Poll::Ready(Err(GuestFailure::NoResponse))
    }

    /// Drives the guest until it has nothing more to do.
    ///
    /// # Errors
    /// When it traps or has used up its CPU time; the same again whenever polled after that.
    pub fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GuestFailure>> {
        let guest = match &mut self.guest {
            State::Working(guest) => guest,
            State::Done { .. } => return Poll::Ready(Ok(())),
            State::Failed(why) => return Poll::Ready(Err(why.clone())),
        };
        let polled = match &self.turn {
            None => guest.as_mut().poll(cx),
            Some(turn) => {
                ready!(turn.poll_enter(&mut self.entry, cx));
                let (polled, took) = turn.poll(|| guest.as_mut().poll(cx));
                self.cpu += took;
                polled
            }
        };
        self.guest = match polled {
            Poll::Pending if self.cpu <= self.cpu_limit => return Poll::Pending,
            Poll::Pending => State::Failed(GuestFailure::CpuTime(self.cpu_limit)),
            Poll::Ready(Ok(store)) => State::Done { _store: store },
            Poll::Ready(Err(why)) => State::Failed(GuestFailure::of(&why)),
        };
        match &self.guest {
            State::Failed(why) => Poll::Ready(Err(why.clone())),
            State::Working(_) | State::Done { .. } => Poll::Ready(Ok(())),
        }
    }

    /// Ready when nothing more comes for this answer, given what [`Self::poll_work`] said: the
    /// handler has returned, though the guest may have hooks to run. To be asked when a channel of
    /// the answer was found empty.
    pub(crate) fn handled(
        &self,
        work: Poll<Result<(), GuestFailure>>,
    ) -> Poll<Result<(), GuestFailure>> {
        match work {
            Poll::Pending if !self.release.has_returned() => Poll::Pending,
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Ready(Ok(())) | Poll::Pending => poll_verdict().map(Ok),
        }
    }

    /// Tells the guest's driver that the answer has ended: a guest without work of its own is done
    /// now.
    pub fn release(&self) {
        self.release.let_go();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

/// Says that an answer has ended. A 0.3 guest has no end of its own that its host could see before
/// all of the body has gone through its store.
#[derive(Clone, Debug, Default)]
pub(super) struct Release(Arc<ReleaseInner>);

#[derive(Debug, Default)]
struct ReleaseInner {
    done: AtomicBool,
    returned: AtomicBool,
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Release {
    /// The handler has returned; what comes after it is no part of the answer.
    pub(super) fn mark_returned(&self) {
        self.0.returned.store(true, Ordering::Release);
    }

    fn has_returned(&self) -> bool {
        self.0.returned.load(Ordering::Acquire)
    }

    fn let_go(&self) {
        self.0.done.store(true, Ordering::Release);
        let waker = self.0.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        *self.0.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(cx.waker().clone());
        if self.0.done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that drops its `response-outparam` unset and works on: failed once with a panic.
    #[test]
    fn an_answer_that_cannot_come_any_more_is_asked_for_as_often_as_you_like() {
        let (send, head) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let guest: Guest = Box::pin(async move {
            ended.await.ok();
            Ok(Box::new(()) as _)
        });
        let second = Duration::from_secs(1);
        let mut running = Running::new(guest, head, second, Release::default(), None);
        drop(send);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.poll_head(&mut cx).is_pending());
        assert!(running.poll_head(&mut cx).is_pending());
        end.send(()).unwrap();
        let head = running.poll_head(&mut cx);
        assert!(matches!(head, Poll::Ready(Err(GuestFailure::NoResponse))), "{head:?}");
    }

    /// One with hooks is judged by its handler's return, not by its end.
    #[test]
    fn a_handler_that_returned_without_an_answer_is_not_waited_for() {
        let (_send, head) = oneshot::channel();
        let release = Release::default();
        let running = std::future::pending();
        let second = Duration::from_secs(1);
        let mut running = Running::new(Box::pin(running), head, second, release.clone(), None);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.poll_head(&mut cx).is_pending());
        release.mark_returned();
        let head = running.poll_head(&mut cx);
        assert!(matches!(head, Poll::Ready(Err(GuestFailure::NoResponse))), "{head:?}");
    }
}
