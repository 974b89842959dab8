//! The host that has been taken over from leaves: it drains, and a stop that came meanwhile is one of both.

use std::time::Duration;

use host_handover::HandoverMessage;
use host_lifecycle::{Cause, Guard, Phase};
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::idle::IdleConnections;
use super::successor::Successor;
use super::upgrader::{UpgradeParts, Upgrader};

/// A service manager that has not read for so long is not waited for.
const MANAGER_READS_WITHIN: Duration = Duration::from_secs(30);

/// A signal that was sent before is heard within this time, by whomever it was sent.
const SIGNAL_HEARD_WITHIN: Duration = Duration::from_millis(100);

/// Between two looks at something that tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A successor that is cut, because this process is, ends within this time.
const CUT_WITHIN: Duration = Duration::from_secs(1);

impl Upgrader {
    /// There is no way back: this process drains, and hands on what becomes idle. Before the successor read what is
    /// served, `changes` had been asked for. A stop of this process waits for `under_way`.
    pub(super) async fn leave(
        &self,
        successor: Successor,
        idle: IdleConnections,
        (changes, under_way): (u64, Guard),
    ) {
        let Self(parts) = self;
        let channel = successor.channel.clone();
        parts.succeeded_by.set((successor.pid(), channel.clone())).ok();
        // It ends with what is in flight here.
        let later = idle.send_later(channel, parts.offers.clone(), parts.handing.clone());
        let later = tokio::spawn(later);
        parts.tell_manager(successor.pid()).await;
        // Whoever asks for one from here on asks the successor.
        let is_stop = parts.is_stop_asked();
        if !is_stop && (parts.changes() != changes || parts.trackers.swaps.in_flight() > 0) {
            info!(
                "upgrade: something was changed meanwhile; the new process reads its files again"
            );
            successor.signal(Signal::HUP);
        }
        parts.commander.stop(Cause::Upgrade);
        parts.offers.retire();
        successor.channel.send(&HandoverMessage::Settled, &[]).await.ok();
        if is_stop {
            info!("upgrade: the stop that was asked for is one of the new process too");
            if successor.channel.send(&HandoverMessage::Stop, &[]).await.is_err() {
                successor.signal(Signal::TERM);
            }
            let parts = parts.clone();
            // It is what the stop waits for.
            drop(tokio::spawn(async move {
                parts.see_out(successor, later).await;
                drop(under_way);
            }));
        }
    }
}

impl UpgradeParts {
    /// How many swaps and reloads have been asked for, whether they are over or not.
    pub(super) fn changes(&self) -> u64 {
        let swaps = &self.trackers.swaps;
        swaps.in_flight() as u64 + swaps.counts().finished
    }

    /// Makes the process of this number the service, and waits until the service manager knows: a stop that it asks of this
    /// process has been heard then, and the next one is not asked of this process.
    async fn tell_manager(&self, successor: u32) {
        let barrier = (self.told.settled)(successor);
        let until = Instant::now() + MANAGER_READS_WITHIN;
        while !barrier.is_passed() && !self.is_stop_asked() && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
        if !self.is_stop_asked() {
            sleep(SIGNAL_HEARD_WITHIN).await;
        }
    }

    /// Whether somebody has asked the service to stop. A process that cannot go on is no reason to stop the other one.
    fn is_stop_asked(&self) -> bool {
        self.phase.stopping().is_some_and(|stop| !stop.is_failure)
    }

    /// Waits for the end of a successor that stops as well. systemd before 254 hears of no other main process once it has asked
    /// this one to stop, and kills what is left at its end; a later one may do so at the end of the other.
    async fn see_out(&self, successor: Successor, later: JoinHandle<()>) {
        let done = async {
            // Some are this process's alone, and accept until the door closes.
            self.phase.reached(Phase::Draining).await;
            self.trackers.listeners_closed().await;
            // The upgrade by which this process came may not be over: connections still come.
            while self.trackers.upgrades.in_flight() > 1 {
                sleep(LOOK_AGAIN).await;
            }
            self.trackers.nothing_served().await;
            self.handing.end();
            later.await.ok();
            info!("upgrade: nothing is in flight here; waits for the new process to end");
            successor.channel.send(&HandoverMessage::Drained, &[]).await.ok();
            successor.gone().await;
        };
        tokio::select! {
            () = done => {}
            () = self.phase.reached(Phase::Cut) => {
                successor.signal(Signal::QUIT);
                timeout(CUT_WITHIN, successor.gone()).await.ok();
            }
        }
    }
}
