//! The task of one reusable instance: it polls the guest when none of its exchanges does, tells it of its end, and
//! holds what makes a stop wait for it.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::blueprint::Blueprint;
use super::free_instances::PoolMembership;
use super::pooled_instance::InstanceState;
use super::shared_guest::SharedGuest;
use crate::component::imports::request_shutdown;
use crate::component::sandbox::terms::Sandbox;

/// The task's parts. Dropping them ends the instance.
pub(crate) struct InstanceTask {
    pub(crate) guest: Arc<SharedGuest>,
    pub(crate) state: Arc<InstanceState>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) membership: PoolMembership,
    /// How long the instance waits for its next exchange.
    pub(crate) idle: Duration,
}

impl InstanceTask {
    /// Starts the task of an instance of `blueprint`. It ends with its guest: when nothing holds the instance any
    /// more, when that has been idle for too long, when its generation ends, and at once when it is killed or the
    /// generation is cut. A stop waits for it.
    pub(crate) fn spawn(
        blueprint: &Blueprint,
        sandbox: &Arc<Sandbox>,
        (guest, state): (Arc<SharedGuest>, Arc<InstanceState>),
        membership: PoolMembership,
        idle: Duration,
    ) {
        let what = format!("instance generation={}", sandbox.identity.number);
        let kept = blueprint.settings.keeper.keep(what);
        let sandbox = sandbox.clone();
        let task = Self { guest, state, sandbox, membership, idle };
        // Owned by the guest: it ends when that is gone.
        tokio::spawn(task.hold(kept));
    }

    async fn hold(self, kept: Box<dyn Any + Send>) {
        self.run().await;
        drop(self);
        drop(kept);
    }

    async fn run(&self) {
        tokio::select! {
            biased;
            _ = self.sandbox.identity.retirement.cut() => self.guest.kill(),
            () = self.attend() => {}
        }
        poll_fn(|cx| self.guest.poll_for_task(cx)).await;
    }

    /// Polls the guest until it is gone, and tells it when it is to end.
    async fn attend(&self) {
        let mut told = false;
        let mut idle = pin!(sleep(self.idle));
        loop {
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.guest.poll_for_task(cx)) => return,
                () = self.sandbox.identity.retirement.ending(), if !told => {
                    told = true;
                    self.membership.withdraw();
                    self.state.set_ending();
                    self.guest.mark();
                }
                // Not set anew for each exchange: when it is over, the next one is set by what is left.
                () = &mut idle => if let Some(left) = self.membership.leave_if_idle(self.idle) {
                    idle.as_mut().reset(Instant::now() + left);
                } else {
                    break;
                },
            }
        }
        poll_fn(|cx| self.guest.poll_for_task(cx)).await;
    }
}

impl Drop for InstanceTask {
    fn drop(&mut self) {
        self.guest.kill();
        let identity = &self.sandbox.identity;
        // The guest may have asked for a stop when no exchange was there to pass it on.
        if self.state.takes_shutdown_wish() {
            request_shutdown::stop_process(&self.sandbox.grants);
        }
        self.membership.leave();
        self.state.close();
        debug!(generation = identity.number, "reusable instance ended");
        self.state.ended.cancel();
    }
}
