//! A guest at work for an exchange whose head is there, and how its stage ends.

use std::task::{Context, Poll, Waker};

use host_manifest::ComponentConfig;
use host_telemetry::End;
use tracing::{debug, info, warn};

use super::account::Account;
use super::afterwork::{Afterwork, Remainder, log_failure};
use super::blame::{Awaited, ExchangeError, blame};
use super::peer_fault::UploadFault;
use super::stage::Stage;
use crate::component::{Generation, Running, WasiBody};

/// A guest at work, and what it holds.
pub(super) struct GuestWork {
    pub(super) running: Running,
    pub(super) stage: Stage,
    pub(super) afterwork: Afterwork,
}

impl GuestWork {
    /// The response is delivered, or all of it is in our hands: a guest with nothing left to do is
    /// dropped, another works on.
    ///
    /// `unwanted` is a body that no client is going to read.
    pub(super) fn finish(
        mut self,
        account: &mut Account,
        unwanted: Option<WasiBody>,
        cx: Option<&mut Context<'_>>,
    ) {
        self.running.release();
        let mut noop = Context::from_waker(Waker::noop());
        let polled = self.running.poll_once(cx.unwrap_or(&mut noop));
        account.info.set_cpu(self.running.cpu());
        self.stage.end(End::Finished);
        account.ends(End::Finished);
        let info = &account.info;
        match polled {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(why)) => {
                let component = self.generation().name();
                log_failure(info, component, why, &account.peer_fault);
            }
            Poll::Pending => {
                let Self { running, stage, afterwork } = self;
                let (info, peer_fault) = (info.clone(), account.peer_fault.clone());
                afterwork.begin(Remainder { running, unwanted, stage, info, peer_fault });
            }
        }
    }

    /// The version that it runs on.
    pub(super) fn generation(&self) -> &Generation {
        self.stage.admitted().generation()
    }

    /// What the manifest says of it.
    pub(super) fn config(&self) -> &ComponentConfig {
        self.stage.admitted().config()
    }

    /// The message is broken: the guest ends here.
    pub(super) fn break_off(
        mut self,
        account: &mut Account,
        error: ExchangeError,
        awaited: Awaited,
    ) -> ExchangeError {
        let info = &account.info;
        let (exchange, request_id) = (info.number(), &info.request_id);
        let (asked, trace_id) = (info.asked(), info.trace);
        let (component, generation) = (self.generation().name(), self.generation().number());
        let upload = account.peer_fault.fault();
        if blame(&error, upload, awaited).charges_the_component() {
            self.stage.admitted().count_failure();
        }
        match upload {
            Some(UploadFault::BrokenOff | UploadFault::BrokenOffByPlugin) => {
                debug!(exchange, %request_id, component, generation, why = %error, %trace_id, "peer gone: {asked}");
            }
            Some(fault) => {
                let why = fault.name();
                let limit = account.peer_fault.limit().map(tracing::field::display);
                info!(
                    exchange, %request_id, component, generation, why, limit, %trace_id,
                    "broken off: {asked}"
                );
            }
            None => {
                let (stack, limit) = (error.stacktrace(), error.limit());
                let limit = limit.map(tracing::field::display);
                // Before the head is out, its peer is told.
                let told = error.failure(self.stage.is_plugin()).status().as_u16();
                let (said, status) = match account.has_answered() {
                    true => ("answer broken off", None),
                    false => ("guest failed", Some(told)),
                };
                warn!(
                    exchange, %request_id, component, generation, status, why = %error, limit,
                    %trace_id, exception.stacktrace = stack, "{said}: {asked}"
                );
            }
        }
        let end = error.end(upload);
        self.stage.end(end);
        account.ends(end);
        error
    }
}
