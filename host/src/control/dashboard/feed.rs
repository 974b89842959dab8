//! What the page is told, once a second: made once for all that follow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::control::Host;
use crate::control::schema::{
    CanaryStatus, Status, StopEnd, StopProgress, TrafficHistory, TrafficReport,
};

/// Components and generations that the page lists, and lines of its plots.
const LISTED: usize = 100;
const PLOTTED: usize = 8;

/// Routes and exchanges that it lists.
const SHOWN: usize = 12;

/// Events that a slow client may be behind; after that it gets fewer.
const BEHIND: usize = 8;

/// A client that takes no events for this long after the end of the process is left.
const LAST_WORD: Duration = Duration::from_millis(400);

/// Makes the events. Shared by all that follow.
pub(super) struct Feed {
    host: Arc<dyn Host>,
    made: Mutex<Option<Made>>,
}

/// The events of a second.
#[derive(Clone)]
struct Made {
    second: u64,
    tick: Bytes,
    /// The number of the latest point in it.
    points: u64,
    history: Bytes,
}

/// All but the plots.
#[derive(Serialize)]
struct Tick {
    status: Status,
    /// Components that are not listed.
    more: usize,
    traffic: TrafficReport,
    progress: StopProgress,
    canaries: Vec<CanaryStatus>,
}

/// Both ends of a client's events.
pub(super) fn channel() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(BEHIND)
}

impl Feed {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, made: Mutex::default() }
    }

    /// Sends a client what there is, and what comes with each second, until the process has ended, and then how. Ends
    /// before that when the client has left.
    pub(super) async fn stream(self: Arc<Self>, events: mpsc::Sender<Bytes>) {
        let (mut ended, mut ticks) = (self.host.ended(), self.host.ticks());
        let mut points = None;
        let last = loop {
            let made = self.made(*ticks.borrow_and_update());
            // A full channel is a slow reader: it sees the next one.
            if points != Some(made.points) && events.try_send(made.history).is_ok() {
                points = Some(made.points);
            }
            events.try_send(made.tick).ok();
            tokio::select! {
                biased;
                last = ended.wait_for(Option::is_some) => break last.ok().and_then(|it| it.clone()),
                () = events.closed() => return,
                changed = ticks.changed() => if changed.is_err() { return },
            }
        };
        if let Some(last) = last {
            let last: StopEnd = last;
            drop(tokio::time::timeout(LAST_WORD, events.send(event("end", &last))).await);
        }
    }

    /// The events of this second, made by whoever asks first.
    fn made(&self, second: u64) -> Made {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.second == second) {
            return made.clone();
        }
        let before = made.take();
        let history = self.host.history(PLOTTED);
        let points = history.first + history.all.len() as u64;
        let history = match before {
            Some(before) if before.points == points => before.history,
            _ => event::<TrafficHistory>("history", &history),
        };
        made.insert(Made { second, tick: event("tick", &self.tick()), points, history }).clone()
    }

    fn tick(&self) -> Tick {
        let (mut status, mut traffic) = (self.host.status(), self.host.traffic_report());
        status.limits.clear();
        let more = status.components.len().saturating_sub(LISTED);
        if more > 0 {
            status.components.sort_by_key(|one| std::cmp::Reverse(one.traffic.requests));
            status.components.truncate(LISTED);
        }
        status.generations.truncate(LISTED);
        traffic.routes.truncate(SHOWN);
        traffic.exchanges.truncate(SHOWN);
        for exchange in &mut traffic.exchanges {
            // A client may have chosen it.
            exchange.request_id.clear();
        }
        let canaries = self.host.canaries();
        Tick { status, more, traffic, progress: self.host.progress(), canaries }
    }
}

/// A server-sent event: JSON has no bare line ends.
fn event<T: Serialize>(name: &str, data: &T) -> Bytes {
    let mut event = format!("event: {name}\ndata: ").into_bytes();
    // Our types are maps with text for keys: they can always be written.
    event.extend(serde_json::to_vec(data).unwrap_or_default());
    event.extend(b"\n\n");
    event.into()
}
