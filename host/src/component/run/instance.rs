//! One live component with its store, serving one request.
//!
//! The guest runs inside the task that polls it: first the exchange that waits for the head, then the
//! response body, then the work after the response. So dropping a [`Running`] drops the guest, and no
//! other step cancels it, owns it or counts it.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use host_body::PolledFrame;
use http::Response;
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::coop::has_budget_remaining;
use wasmtime::Store;
use wasmtime_wasi_http::{Error as BodyError, WasiBody};

use super::guest_wakes::{GuestWakes, ROUNDS};
use super::linked_code::LinkedCode;
use crate::component::sandbox::cpu_scheduler::{CpuSlot, SlotWait};
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// Whether a channel that gave nothing is really empty. A task that has used up tokio's budget finds every
/// channel empty (`tokio::task::coop`), and has been woken to be polled again. Until then an empty channel
/// does not show that a guest has returned without a response.
fn poll_verdict() -> Poll<()> {
    if has_budget_remaining() { Poll::Ready(()) } else { Poll::Pending }
}

/// The head of a guest's response.
pub(crate) type Head = Result<Response<WasiBody>, GuestFailure>;

/// The guest as a future. Its output must live as long as the body.
pub(crate) type Guest = Pin<Box<dyn Future<Output = wasmtime::Result<Kept>> + Send>>;

/// What the body of a guest that has returned still needs.
pub(crate) enum Kept {
    /// The store of an instance of its own, and what it runs on, where it is counted who holds that.
    Store { _store: Store<GuestState>, _code: Option<Arc<LinkedCode>> },
    /// A share in something, of any type.
    Share { _share: Box<dyn Any + Send> },
}

/// A guest at work on one request. Made by [`Generation::start`](crate::component::Generation::start);
/// dropping it ends the guest at any point.
pub struct Running {
    guest: State,
    /// None after it gave the head, or after it is known that no head comes.
    head: Option<oneshot::Receiver<Head>>,
    cpu: Duration,
    cpu_limit: Duration,
    release: Release,
    /// None where a worker's task polls the guest.
    slot: Option<CpuSlot>,
    wait: SlotWait,
    /// What the guest wakes, where its wakes are noted.
    waker: Option<Waker>,
    /// The exchange has waited since the last poll.
    waited: bool,
}

enum State {
    Working(Guest),
    /// It has returned.
    Done {
        _kept: Kept,
    },
    Failed(GuestFailure),
}

impl Running {
    pub(crate) fn new(
        guest: Guest,
        head: oneshot::Receiver<Head>,
        cpu_limit: Duration,
        release: Release,
        slot: Option<CpuSlot>,
    ) -> Self {
        let guest = State::Working(guest);
        let (cpu, wait, waker, waited) = (Duration::ZERO, None, None, false);
        Self { guest, head: Some(head), cpu, cpu_limit, release, slot, wait, waker, waited }
    }

    /// Has the wakes of its guest noted while it is polled.
    pub(crate) fn with_noted_wakes(mut self) -> Self {
        self.waker = Some(self.release.0.clone().into());
        self
    }

    /// CPU time of its guest so far: of an instance that exchanges share, that of the polls of this one.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu + Duration::from_nanos(self.release.0.cpu.load(Ordering::Relaxed))
    }

    /// Whether nobody else polls the guest: its instance is its own.
    #[must_use]
    pub fn is_polled_by_its_exchange_only(&self) -> bool {
        self.slot.is_some()
    }

    /// Whether a tick has stopped the guest in the middle of what it computes: not of another one's instance.
    #[must_use]
    pub fn computes(&self) -> bool {
        self.slot.as_ref().is_some_and(CpuSlot::is_stopped)
    }

    /// Drives the guest until the head of its response is there. Do not poll it again after that. After each poll
    /// of the guest, `beside` polls what the guest may wait for.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut beside: impl FnMut(&mut Context<'_>),
    ) -> Poll<Head> {
        for _ in 0..ROUNDS {
            let work = self.poll_once(cx);
            if let Poll::Ready(head) = self.take_head(cx) {
                return Poll::Ready(head);
            }
            if let Poll::Ready(returned) = self.poll_answered(work) {
                return Poll::Ready(Err(returned.err().unwrap_or(GuestFailure::NoResponse)));
            }
            beside(cx);
            if !self.is_woken() {
                break;
            }
        }
        self.before_wait(cx);
        Poll::Pending
    }

    /// The head, if it is there.
    fn take_head(&mut self, cx: &mut Context<'_>) -> Poll<Head> {
        let Some(head) = &mut self.head else { return Poll::Pending };
        let sent = match &self.slot {
            // Sent in a poll of the guest if at all, so it has to wake nothing.
            Some(_) => match head.try_recv() {
                Err(TryRecvError::Empty) => return Poll::Pending,
                Ok(head) => Some(head),
                Err(TryRecvError::Closed) => None,
            },
            None => ready!(Pin::new(head).poll(cx)).ok(),
        };
        self.head = None;
        sent.map_or(Poll::Pending, Poll::Ready)
    }

    /// Polls a body of the guest's response. Before you wait for it, call [`Self::before_wait`].
    pub(crate) fn poll_body(
        &mut self,
        body: &mut WasiBody,
        cx: &Context<'_>,
    ) -> PolledFrame<Bytes, BodyError> {
        self.resume();
        let waker = self.waker.as_ref().unwrap_or_else(|| cx.waker());
        Pin::new(body).poll_frame(&mut Context::from_waker(waker))
    }

    /// The exchange is going to wait for the guest or for its body: what has woken them since they were polled
    /// wakes it.
    pub(crate) fn before_wait(&mut self, cx: &Context<'_>) {
        if self.waker.is_some() {
            self.release.0.wakes.wait(cx.waker());
            self.waited = true;
        }
    }

    /// Whether the guest has been woken since its last poll began, as far as that is noted.
    fn is_woken(&self) -> bool {
        self.waker.is_some() && self.release.0.wakes.is_woken()
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.waited) {
            self.release.0.wakes.resume();
        }
    }

    /// Drives the guest until its work has ended.
    ///
    /// # Errors
    /// When it traps or has used up its CPU time; the same error again for each later poll.
    pub fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GuestFailure>> {
        let work = self.poll_once(cx);
        if work.is_pending() {
            self.before_wait(cx);
        }
        work
    }

    /// Polls the guest like [`Self::poll_work`]. Before you wait for it, call [`Self::before_wait`].
    ///
    /// # Errors
    /// Those of [`Self::poll_work`].
    pub(crate) fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GuestFailure>> {
        self.resume();
        let guest = match &mut self.guest {
            State::Working(guest) => guest,
            State::Done { .. } => return Poll::Ready(Ok(())),
            State::Failed(why) => return Poll::Ready(Err(why.clone())),
        };
        let polled = match &self.slot {
            None => guest.as_mut().poll(cx),
            Some(slot) => {
                // Before it waits for a slot: what woke it would wake the exchange again and again until it has one.
                if self.waker.is_some() {
                    self.release.0.wakes.clear();
                }
                ready!(slot.poll_slot(&mut self.wait, cx));
                let waker = self.waker.as_ref().unwrap_or_else(|| cx.waker());
                let mut cx = Context::from_waker(waker);
                let (polled, took) = slot.poll(|| guest.as_mut().poll(&mut cx));
                self.cpu += took;
                polled
            }
        };
        self.guest = match polled {
            Poll::Pending if self.cpu <= self.cpu_limit => return Poll::Pending,
            Poll::Pending => State::Failed(GuestFailure::CpuTime(self.cpu_limit)),
            Poll::Ready(Ok(kept)) => State::Done { _kept: kept },
            Poll::Ready(Err(why)) => State::Failed(GuestFailure::from_error(&why)),
        };
        match &self.guest {
            State::Failed(why) => Poll::Ready(Err(why.clone())),
            State::Working(_) | State::Done { .. } => Poll::Ready(Ok(())),
        }
    }

    /// Ready when no more of the response comes, given the result `work` of [`Self::poll_work`]: the handler
    /// has returned, though hooks of the guest may still have to run. Ask it when a channel of the response was
    /// found empty.
    pub(crate) fn poll_answered(
        &self,
        work: Poll<Result<(), GuestFailure>>,
    ) -> Poll<Result<(), GuestFailure>> {
        match work {
            Poll::Pending if !self.release.has_returned() => Poll::Pending,
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Ready(Ok(())) | Poll::Pending => poll_verdict().map(Ok),
        }
    }

    /// Tells the guest's driver that the response has ended. A guest without other work is done with the next
    /// [`Self::poll_work`]; nothing else wakes it for this.
    pub fn release(&self) {
        self.release.let_go();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

/// Says that a response has ended. The host cannot see the end of a 0.3 guest before the whole body has
/// gone through its store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Release(Arc<ReleaseInner>);

#[derive(Debug, Default)]
struct ReleaseInner {
    done: AtomicBool,
    /// Nanoseconds of CPU time, where the guest does not meter it by itself.
    cpu: AtomicU64,
    returned: AtomicBool,
    wakes: GuestWakes,
}

impl Wake for ReleaseInner {
    fn wake(self: Arc<Self>) {
        self.wakes.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.wake();
    }
}

impl Release {
    /// The handler has returned. Later work is not part of the response.
    pub(crate) fn mark_returned(&self) {
        self.0.returned.store(true, Ordering::Release);
    }

    /// An instance that the exchange shares has used so much CPU time, polled by the exchange.
    pub(crate) fn spend(&self, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.0.cpu.fetch_add(nanos, Ordering::Relaxed);
    }

    fn has_returned(&self) -> bool {
        self.0.returned.load(Ordering::Acquire)
    }

    fn let_go(&self) {
        self.0.done.store(true, Ordering::Release);
    }

    /// Waits until the response has ended.
    pub(crate) async fn wait(&self) {
        poll_fn(|_| self.poll()).await;
    }

    /// Wakes nothing: whoever releases the response polls the guest after that.
    pub(crate) fn poll(&self) -> Poll<()> {
        if self.0.done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::guest_wakes::tests::Count;
    use super::*;
    use crate::component::sandbox::cpu_scheduler::CpuScheduler;
    use crate::component::tick::TickCounter;

    /// A guest dropped its `response-outparam` unset and worked on. The host once panicked here.
    #[test]
    fn a_response_that_can_no_longer_come_may_be_polled_again_and_again() {
        let (send, head) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let guest: Guest = Box::pin(async move {
            ended.await.ok();
            Ok(Kept::Share { _share: Box::new(()) })
        });
        let second = Duration::from_secs(1);
        let mut running = Running::new(guest, head, second, Release::default(), None);
        drop(send);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.poll_head(&mut cx, |_| ()).is_pending());
        assert!(running.poll_head(&mut cx, |_| ()).is_pending());
        end.send(()).unwrap();
        let head = running.poll_head(&mut cx, |_| ());
        assert!(matches!(head, Poll::Ready(Err(GuestFailure::NoResponse))), "{head:?}");
    }

    /// A guest with hooks is judged by the return of its handler, not by its end.
    #[test]
    fn a_handler_that_returned_without_a_response_ends_the_wait() {
        let (_send, head) = oneshot::channel();
        let release = Release::default();
        let running = std::future::pending();
        let second = Duration::from_secs(1);
        let mut running = Running::new(Box::pin(running), head, second, release.clone(), None);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.poll_head(&mut cx, |_| ()).is_pending());
        release.mark_returned();
        let head = running.poll_head(&mut cx, |_| ());
        assert!(matches!(head, Poll::Ready(Err(GuestFailure::NoResponse))), "{head:?}");
    }

    /// It was woken, and then waited for a slot. Its exchange was polled again and again until it had one.
    #[tokio::test]
    async fn a_guest_that_waits_for_its_slot_lets_its_exchange_sleep() {
        let share = CpuScheduler::new(1, &TickCounter::default()).share(Arc::default());
        share.have_long_polls();
        let count = Arc::<Count>::default();
        let waker = count.clone().into();
        let mut cx = Context::from_waker(&waker);
        let other = CpuSlot::new(&share);
        assert!(other.poll_slot(&mut None, &mut cx).is_ready(), "the only slot");
        let (_send, head) = oneshot::channel();
        let (guest, slot) = (Box::pin(std::future::pending()), Some(CpuSlot::new(&share)));
        let running = Running::new(guest, head, Duration::from_secs(1), Release::default(), slot);
        let mut running = running.with_noted_wakes();
        running.release.0.wakes.wake();
        assert!(running.poll_head(&mut cx, |_| ()).is_pending());
        assert_eq!(count.woken(), 0);
        running.release.0.wakes.wake();
        assert_eq!(count.woken(), 1, "it hears of what happens meanwhile");
    }
}
