//! A stop and a lame duck: the phase, what is asked for, and how far it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use host_lifecycle::{Phase, Seconds};

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// Not ready yet.
    Starting,
    /// Serving.
    Ready,
    /// Not ready any more, still accepting.
    LameDuck,
    /// Finishing what is in flight.
    Draining,
    /// Ending by force what is left.
    Cut,
}

impl PhaseName {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Ready, Self::LameDuck, Self::Draining, Self::Cut];

    /// The phase as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::LameDuck => "lame-duck",
            Self::Draining => "draining",
            Self::Cut => "cut",
        }
    }
}

impl From<Phase> for PhaseName {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Starting => Self::Starting,
            Phase::Ready => Self::Ready,
            Phase::LameDuck => Self::LameDuck,
            Phase::Draining => Self::Draining,
            Phase::Cut => Self::Cut,
        }
    }
}

/// Body of `POST /v1/stop`; without a body nothing of it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StopRequest {
    /// Cut at once.
    pub now: bool,
    /// Answer with [`StopLine`]s until the end.
    pub follow: bool,
}

/// What is in flight: answer to stop, drain and undrain, and a line of a followed stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProgress {
    /// Where the process stands.
    pub phase: PhaseName,
    /// Since the stop was asked for; 0 while none is.
    pub elapsed_ms: u64,
    /// From being asked to the cut; none while no stop is under way.
    pub deadline_ms: Option<u64>,
    /// Exchanges in flight.
    pub exchanges: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Instances at work after their answer.
    pub afterwork: u64,
    /// An upgrade whose other process is still there.
    #[serde(default)]
    pub upgrades: u64,
}

impl StopProgress {
    /// How far it is, for people: `draining 1.5s of 25s: 1 exchange`.
    #[must_use]
    pub fn line(&self) -> String {
        let seconds = |ms| Seconds(Duration::from_millis(ms));
        let elapsed = seconds(self.elapsed_ms);
        let time = self.deadline_ms.map_or_else(String::new, |deadline| {
            format!(" {elapsed:.1} of {:.0}", seconds(deadline))
        });
        format!("{}{time}: {}", self.phase.name(), self.in_flight())
    }

    /// What is in flight, for people.
    #[must_use]
    pub fn in_flight(&self) -> String {
        host_lifecycle::in_flight(
            (self.exchanges, self.connections),
            (self.afterwork, 0),
            self.upgrades,
        )
    }
}

/// How the process ended: the last line of a followed stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopEnd {
    /// The exit code.
    pub exit: u8,
    /// The last line that the host prints.
    pub report: String,
}

/// One line of a followed stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StopLine {
    /// The end; nothing follows.
    Ended(StopEnd),
    /// What is still in flight.
    Progress(StopProgress),
}
