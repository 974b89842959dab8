//! What goes by time, on the lifecycle's runtime.

use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::Phase;
use host_systemd::Message;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::pulse::Pulse;
use super::teller::Teller;

/// What is left is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// With each of so many looks more time is asked for.
const LOOKS_PER_EXTENSION: u32 = 5;

/// Tells of phases, and asks for more time while a start or a stop goes on: the stop until its deadline, the start until
/// `start` has passed, and only while the workers run tasks. Never ends.
pub(super) async fn follow(teller: Arc<Teller>, start: Duration) {
    let (phase, began) = (teller.phase.clone(), Instant::now());
    let (mut before, mut is_stop_told) = (Phase::Starting, false);
    let (mut looks, mut pulse) = (0_u32, Pulse::default());
    let mut ticks = ticks(LOOK);
    loop {
        tokio::select! {
            biased;
            stop = phase.stop_asked(), if !is_stop_told => {
                is_stop_told = true;
                teller.stopping(stop);
            }
            now = phase.changed_from(before) => {
                before = now;
                teller.phase_changed();
            }
            _ = ticks.tick() => {
                looks = looks.wrapping_add(1);
                let extend = looks.is_multiple_of(LOOKS_PER_EXTENSION);
                let starts = before == Phase::Starting && began.elapsed() < start;
                if extend && starts && pulse.beats(&teller.workers) {
                    teller.extend_start();
                }
                teller.tick(extend);
            }
        }
    }
}

/// Gives signs of life, twice in `time`, as long as the workers run tasks. Never ends.
pub(super) async fn beat(teller: Arc<Teller>, time: Duration) {
    info!(?time, "the service manager gets signs of life");
    let (mut pulse, mut is_said) = (Pulse::default(), false);
    let mut ticks = ticks(time / 2);
    // Who has taken over from another process does not know when that one gave its last.
    teller.notifier.tell(Message::new().watchdog());
    loop {
        ticks.tick().await;
        if pulse.beats(&teller.workers) {
            teller.notifier.tell(Message::new().watchdog());
            is_said = false;
        } else if !is_said {
            is_said = true;
            error!(
                ?time,
                "no worker has run a task for so long: the service manager gets no sign of life"
            );
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    // After a pause of the whole process one look is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
