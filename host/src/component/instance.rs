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

use http::Response;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::WasiBody;

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
    /// It answered with a status that is no answer (RFC 9110 §15.2).
    #[error("guest answered with the interim status {0}")]
    Interim(u16),
    /// It answered with an error instead of a response.
    #[error("guest answered with an error: {0}")]
    Refused(String),
    /// It used up its CPU time.
    #[error("guest used more than {0:?} of CPU time")]
    CpuTime(Duration),
    /// Its instance took too long to be made.
    #[error("instance took too long to start")]
    StartTooSlow,
    /// The pool has no room, although admission said so.
    #[error("no room in the instance pool")]
    PoolFull,
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
        if let Some(exit) = why.downcast_ref::<I32Exit>() {
            return Self::Exited(exit.0);
        }
        if let Some(trap) = why.downcast_ref::<Trap>() {
            return Self::Trapped(trap.to_string());
        }
        Self::Trapped(why.root_cause().to_string())
    }
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
    head: oneshot::Receiver<Head>,
    cpu: Duration,
    cpu_limit: Duration,
    release: Release,
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
    ) -> Self {
        Self { guest: State::Working(guest), head, cpu: Duration::ZERO, cpu_limit, release }
    }

    /// Drives the guest until the head of its answer is there. Poll no more after it was.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Head> {
        let work = self.poll_work(cx);
        if let Poll::Ready(Ok(head)) = Pin::new(&mut self.head).poll(cx) {
            return Poll::Ready(head);
        }
        ready!(work)?;
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
        let began = Instant::now();
        let polled = guest.as_mut().poll(cx);
        self.cpu += began.elapsed();
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
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Release {
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
