//! Work of a guest after its response: in flight under a limit of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use host_lifecycle::Tracker;
use host_manifest::LimitKey;
use http_body::Body as _;
use tracing::{debug, warn};

use super::blame::{Awaited, Blame, ExchangeError, blame};
use super::exchange_info::ExchangeInfo;
use super::peer_fault::PeerFault;
use super::stage::Stage;
use crate::component::{CutReason, GuestFailure, Running, WasiBody};

/// Lets guests work on after their responses. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Afterwork(Tracker);

/// What is left of an exchange whose response has ended.
pub(super) struct Remainder {
    pub(super) running: Running,
    /// A body that the guest writes and no client reads: of a response to HEAD.
    pub(super) unwanted: Option<WasiBody>,
    pub(super) stage: Stage,
    /// The exchange that it was.
    pub(super) info: Arc<ExchangeInfo>,
    /// What its peers did to it.
    pub(super) peer_fault: PeerFault,
}

impl Afterwork {
    /// What works is in flight in `tracker`.
    pub(super) fn new(tracker: Tracker) -> Self {
        Self(tracker)
    }

    /// Lets a guest whose response has ended work on until it has nothing more to do. Its instance
    /// keeps its permit and its generation; its guard in the tracker is what a stop waits for.
    pub(super) fn begin(&self, rest: Remainder) {
        let mut guard = self.0.guard(rest.info.clone());
        tokio::spawn(async move {
            let Remainder { mut running, mut unwanted, stage, info, peer_fault } = rest;
            let (exchange, request_id) = (info.number(), &info.request_id);
            let (asked, trace_id, number) = (info.asked(), info.trace, info.generation());
            let admitted = stage.admitted();
            let (generation, limit) = (admitted.generation(), admitted.config().limits.after);
            let work = poll_fn(|cx| {
                if generation.cut_reason().is_some() {
                    return Poll::Pending;
                }
                let worked = running.poll_work(cx);
                discard(&mut unwanted, cx);
                worked
            });
            let component = generation.name();
            tokio::select! {
                biased;
                why = generation.cut() => {
                    guard.mark_cut();
                    let by = match why {
                        CutReason::Stop => "by the stop",
                        CutReason::Retired => "with its generation",
                    };
                    warn!(
                        exchange, %request_id, component, generation = number, %trace_id,
                        "work after the answer cut {by}: {asked}"
                    );
                }
                done = work => if let Err(why) = done {
                    log_failure(&info, component, why, &peer_fault);
                },
                () = host_clock::pass(limit) => {
                    let limit = LimitKey::AfterTimeout.time(limit);
                    warn!(
                        exchange, %request_id, component, generation = number, %limit, %trace_id,
                        "guest worked too long after its answer: {asked}"
                    );
                }
            }
            debug!(exchange, component, "work after the answer ended");
            drop(running);
            drop(stage);
            drop(guard);
        });
    }
}

/// Says why a guest failed that had answered. One that a broken upload has stopped is not to blame.
pub(super) fn log_failure(
    info: &ExchangeInfo,
    component: &str,
    why: GuestFailure,
    peer_fault: &PeerFault,
) {
    let (error, fault) = (ExchangeError::Guest(why), peer_fault.fault());
    let (exchange, request_id) = (info.number(), &info.request_id);
    let (asked, trace_id, generation) = (info.asked(), info.trace, info.generation());
    match blame(&error, fault, Awaited::Guest) {
        Blame::Peer | Blame::Plugin => {
            let fault = fault.map(|fault| fault.name());
            debug!(exchange, component, why = %error, fault, %trace_id, "ended with its upload");
        }
        _ => {
            let stack = error.stacktrace();
            warn!(
                exchange, %request_id, component, generation, why = %error, %trace_id,
                exception.stacktrace = stack, "guest failed after its answer: {asked}"
            );
        }
    }
}

/// Frames taken in one go before others get their turn.
const FRAMES: usize = 32;

/// Takes what there is of a body and throws it away, so that the guest gets on.
fn discard(unwanted: &mut Option<WasiBody>, cx: &mut Context<'_>) {
    let Some(body) = unwanted else { return };
    for _ in 0..FRAMES {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => {
                *unwanted = None;
                return;
            }
            Poll::Pending => return,
        }
    }
    cx.waker().wake_by_ref();
}
