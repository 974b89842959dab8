//! Whose fault it is that an exchange, or its part behind a plugin, does not end well. Decided here, and
//! nowhere else.
//!
//! ```text
//! what ended it (ExchangeError) ─┐
//! what the peer did (UploadFault) ├─→ blame ─→ is the breaker charged? is an open plugin left out?
//! whose turn it was (Awaited) ───┘
//! ```

use std::fmt;
use std::time::Duration;

use host_manifest::{LimitKey, LimitReached};
use host_telemetry::End;

use super::failure::Failure;
use super::peer_fault::UploadFault;
use crate::component::{CutReason, GuestFailure};

/// What ended an exchange, or its part behind a plugin, before its end.
#[derive(Clone, Debug)]
pub(super) enum ExchangeError {
    /// There is no instance for it, or it asks for more than it may.
    Refused(Failure),
    /// There is no instance for it, because of this limit.
    AtLimit(LimitReached),
    /// Its body is said to be larger than this limit.
    TooLarge(LimitReached),
    /// Its peer did not send the request as it should.
    Upload(UploadFault),
    /// The guest failed.
    Guest(GuestFailure),
    /// A deadline of the guest has passed.
    Late(Deadline),
    /// The body of the response broke off where the guest hands it over.
    BodyBroken(String),
    /// The body of the response is larger than this limit.
    BodyTooLarge(LimitReached),
    /// It was ended by force.
    Cut(CutReason),
}

/// Which time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// For the head of the response, or for the exchange before there was one.
    Head(Duration),
    /// For the next frame of the response.
    Silence(Duration),
    /// For the exchange.
    Total(Duration),
}

/// Whose turn it was when a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The guest itself.
    Guest,
    /// The client, which sends or reads, or those behind a plugin. They have deadlines of their own.
    Others,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The component. Its breaker counts that.
    Guest,
    /// The sender of the request: the client, or the plugin before.
    Peer,
    /// The plugin that passed the request on, and broke it off.
    Plugin,
    /// Others than the component, which are judged by themselves.
    Others,
    /// Not to be told: the component hands over a body that others may have written.
    Unknown,
    /// The host has no instance for it.
    Host,
    /// The stop of the process.
    Stop,
    /// A swap, whose time for the old version is over.
    Swap,
}

/// Whose fault it is that `error` ended an exchange. `peer` is what its peer did to it, and `awaited` whose turn
/// it was.
pub(super) fn blame(error: &ExchangeError, peer: Option<UploadFault>, awaited: Awaited) -> Blame {
    let peer = match error {
        ExchangeError::Upload(fault) => Some(*fault),
        _ => peer,
    };
    match (error, peer) {
        (ExchangeError::Cut(CutReason::Stop), _) => Blame::Stop,
        (ExchangeError::Cut(CutReason::Retired), _) => Blame::Swap,
        (ExchangeError::Refused(Failure::BodyTooLarge) | ExchangeError::TooLarge(_), _) => {
            Blame::Peer
        }
        (ExchangeError::Refused(_) | ExchangeError::AtLimit(_), _)
        | (
            ExchangeError::Guest(
                GuestFailure::PoolFull | GuestFailure::NoMemory(_) | GuestFailure::NoCode(_),
            ),
            _,
        ) => Blame::Host,
        // What a guest makes of half a request is no failure of its own.
        (_, Some(UploadFault::BrokenOffByPlugin)) => Blame::Plugin,
        (_, Some(_)) | (ExchangeError::Upload(_), None) => Blame::Peer,
        (ExchangeError::Guest(_), None) => Blame::Guest,
        (ExchangeError::Late(_), None) => match awaited {
            Awaited::Guest => Blame::Guest,
            Awaited::Others => Blame::Others,
        },
        (ExchangeError::BodyBroken(_) | ExchangeError::BodyTooLarge(_), None) => Blame::Unknown,
    }
}

impl Blame {
    /// Whether the breaker of the component counts it.
    pub(super) fn charges_the_component(self) -> bool {
        self == Self::Guest
    }

    /// Whether the request may go on without the plugin that could not serve it, if that is open. A plugin
    /// that hangs until its time is up after a swap is left out like any that hangs.
    pub(super) fn leaves_the_plugin_out(self) -> bool {
        !matches!(self, Self::Peer | Self::Stop)
    }
}

impl ExchangeError {
    /// What the peer is told, if the head of the response has not gone out. To the peer of a plugin the host
    /// is a gateway (RFC 9110 §15.6.3).
    pub(super) fn failure(&self, is_plugin: bool) -> Failure {
        match self {
            Self::Refused(failure) => *failure,
            Self::AtLimit(_) => Failure::AtLimit,
            Self::TooLarge(_) => Failure::BodyTooLarge,
            Self::Upload(fault) => (*fault).into(),
            Self::Guest(why) => gateway(why.into(), is_plugin),
            Self::Late(_) => Failure::GuestTooSlow,
            Self::BodyBroken(_) | Self::BodyTooLarge(_) => gateway(Failure::Guest, is_plugin),
            Self::Cut(why) => (*why).into(),
        }
    }

    /// The same, to a peer that did this to its request: the fault of a client comes first. A plugin that
    /// broke its request off is owed nothing, so what the guest made of that stands.
    pub(super) fn failure_for(&self, peer: Option<UploadFault>, is_plugin: bool) -> Failure {
        match peer {
            None | Some(UploadFault::BrokenOffByPlugin) => self.failure(is_plugin),
            Some(fault) => fault.into(),
        }
    }

    /// How the exchange ended, where its peer did this to it. What the peer did comes first.
    pub(super) fn end(&self, peer: Option<UploadFault>) -> End {
        let peer = match self {
            Self::Upload(fault) => Some(*fault),
            _ => peer,
        };
        match (self, peer) {
            (Self::Cut(_), _) => End::Cut,
            (_, Some(UploadFault::BrokenOff | UploadFault::BrokenOffByPlugin)) => End::PeerGone,
            (_, Some(fault)) => End::Refused(Failure::from(fault).reason()),
            (Self::Refused(_) | Self::AtLimit(_) | Self::TooLarge(_), _) => {
                End::Refused(self.failure(false).reason())
            }
            (Self::Guest(why), _) => match Failure::from(why) {
                Failure::GuestTooSlow => End::TimedOut,
                Failure::Guest if matches!(why, GuestFailure::Trapped(_)) => End::Trapped,
                Failure::Guest => End::Failed,
                failure => End::Refused(failure.reason()),
            },
            (Self::Late(_), _) => End::TimedOut,
            (Self::BodyBroken(_) | Self::BodyTooLarge(_) | Self::Upload(_), _) => End::Failed,
        }
    }

    /// The limit that was reached, if it was one.
    pub(super) fn limit(&self) -> Option<LimitReached> {
        match self {
            Self::AtLimit(limit) | Self::TooLarge(limit) | Self::BodyTooLarge(limit) => {
                Some(*limit)
            }
            Self::Late(Deadline::Head(time)) => Some(LimitKey::ResponseHeadTimeout.time(*time)),
            Self::Late(Deadline::Silence(time)) => Some(LimitKey::BodyIdleTimeout.time(*time)),
            Self::Late(Deadline::Total(time)) => Some(LimitKey::ExchangeTimeout.time(*time)),
            Self::Refused(_)
            | Self::Upload(_)
            | Self::Guest(_)
            | Self::BodyBroken(_)
            | Self::Cut(_) => None,
        }
    }

    /// The functions that were running in the guest, where they are known: see
    /// [`GuestFailure::stacktrace`].
    pub(super) fn stacktrace(&self) -> Option<String> {
        match self {
            Self::Guest(why) => why.stacktrace(),
            _ => None,
        }
    }
}

fn gateway(failure: Failure, is_plugin: bool) -> Failure {
    if is_plugin && failure == Failure::Guest { Failure::Plugin } else { failure }
}

impl From<UploadFault> for Failure {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::TooLarge => Self::BodyTooLarge,
            UploadFault::TooSlow => Self::BodyTooSlow,
            UploadFault::BrokenOff => Self::PeerGone,
            UploadFault::BrokenOffByPlugin => Self::Plugin,
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(failure) => write!(f, "{failure:?}"),
            Self::Upload(fault) => write!(f, "{fault:?}"),
            Self::Guest(why) => why.fmt(f),
            Self::AtLimit(limit) | Self::TooLarge(limit) => limit.fmt(f),
            Self::Late(Deadline::Head(_)) => f.write_str("guest sent no head in time"),
            Self::Late(Deadline::Silence(patience)) => {
                write!(f, "guest sent nothing for {patience:?}")
            }
            Self::Late(Deadline::Total(_)) => f.write_str("the exchange took too long"),
            Self::BodyBroken(why) => write!(f, "guest broke off its body: {why}"),
            Self::BodyTooLarge(_) => f.write_str("guest sent more than its limit, response-body"),
            Self::Cut(CutReason::Stop) => f.write_str("cut by the stop"),
            Self::Cut(CutReason::Retired) => f.write_str("cut with its retired generation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::GuestTrap;

    use Awaited::{Guest, Others};
    use ExchangeError::{
        AtLimit, BodyBroken, BodyTooLarge, Cut, Late, Refused, TooLarge as SaidTooLarge, Upload,
    };
    use UploadFault::{BrokenOff, BrokenOffByPlugin, TooLarge, TooSlow};

    const SECOND: Duration = Duration::from_secs(1);

    fn trap() -> ExchangeError {
        ExchangeError::Guest(GuestFailure::Trapped(GuestTrap::new("unreachable")))
    }

    fn cpu() -> ExchangeError {
        ExchangeError::Guest(GuestFailure::CpuTime(SECOND))
    }

    /// Whose fault it is, with the status for the peers of an application and of a plugin.
    #[test]
    fn the_table_of_blame() {
        let (silence, limit) = (Late(Deadline::Silence(SECOND)), LimitKey::RequestBody.bytes(1));
        for (error, peer, awaited, whose, status, of_a_plugin) in [
            // The component, by itself.
            (trap(), None, Guest, Blame::Guest, 500, 502),
            (cpu(), None, Guest, Blame::Guest, 504, 504),
            (trap(), None, Others, Blame::Guest, 500, 502),
            (Late(Deadline::Head(SECOND)), None, Guest, Blame::Guest, 504, 504),
            (silence.clone(), None, Guest, Blame::Guest, 504, 504),
            (Late(Deadline::Total(SECOND)), None, Guest, Blame::Guest, 504, 504),
            // It can only wait: for its client, or for those behind it.
            (Late(Deadline::Head(SECOND)), None, Others, Blame::Others, 504, 504),
            (silence, None, Others, Blame::Others, 504, 504),
            (Late(Deadline::Total(SECOND)), None, Others, Blame::Others, 504, 504),
            // Its peer did not send its request well: nothing that follows is a failure of the guest.
            (Upload(TooLarge), None, Guest, Blame::Peer, 413, 413),
            (Upload(TooSlow), None, Guest, Blame::Peer, 408, 408),
            (Upload(BrokenOff), None, Guest, Blame::Peer, 400, 400),
            (Refused(Failure::BodyTooLarge), None, Guest, Blame::Peer, 413, 413),
            (trap(), Some(TooLarge), Guest, Blame::Peer, 413, 413),
            (trap(), Some(BrokenOff), Guest, Blame::Peer, 400, 400),
            (Late(Deadline::Total(SECOND)), Some(TooSlow), Guest, Blame::Peer, 408, 408),
            (BodyBroken("x".into()), Some(BrokenOff), Guest, Blame::Peer, 400, 400),
            // The plugin before it broke the request off. What the guest makes of that is told.
            (Upload(BrokenOffByPlugin), None, Guest, Blame::Plugin, 502, 502),
            (trap(), Some(BrokenOffByPlugin), Guest, Blame::Plugin, 500, 502),
            (Late(Deadline::Head(SECOND)), Some(BrokenOffByPlugin), Guest, Blame::Plugin, 504, 504),
            // It may hand over what others have written.
            (BodyBroken("x".into()), None, Guest, Blame::Unknown, 500, 502),
            (BodyTooLarge(limit), None, Guest, Blame::Unknown, 500, 502),
            // The host.
            (SaidTooLarge(limit), None, Guest, Blame::Peer, 413, 413),
            (AtLimit(limit), None, Guest, Blame::Host, 503, 503),
            (Refused(Failure::AtLimit), None, Guest, Blame::Host, 503, 503),
            (Refused(Failure::PutAside(7)), None, Guest, Blame::Host, 503, 503),
            (Refused(Failure::NoRoute), None, Guest, Blame::Host, 404, 404),
            (ExchangeError::Guest(GuestFailure::PoolFull), None, Guest, Blame::Host, 503, 503),
            (
                ExchangeError::Guest(GuestFailure::NoMemory(limit)),
                None,
                Guest,
                Blame::Host,
                503,
                503,
            ),
            // A cut, whatever else has happened.
            (Cut(CutReason::Stop), None, Guest, Blame::Stop, 503, 503),
            (Cut(CutReason::Stop), Some(BrokenOffByPlugin), Others, Blame::Stop, 503, 503),
            (Cut(CutReason::Retired), None, Guest, Blame::Swap, 503, 503),
        ] {
            let case = format!("{error:?} {peer:?} {awaited:?}");
            assert_eq!(blame(&error, peer, awaited), whose, "{case}");
            let told = |is_plugin| error.failure_for(peer, is_plugin).status().as_u16();
            assert_eq!((told(false), told(true)), (status, of_a_plugin), "{case}");
        }
    }

    #[test]
    fn what_follows_from_blame_is_decided_with_it() {
        for (whose, charges, leaves_out) in [
            (Blame::Guest, true, true),
            (Blame::Peer, false, false),
            (Blame::Plugin, false, true),
            (Blame::Others, false, true),
            (Blame::Unknown, false, true),
            (Blame::Host, false, true),
            (Blame::Stop, false, false),
            (Blame::Swap, false, true),
        ] {
            let decided = (whose.charges_the_component(), whose.leaves_the_plugin_out());
            assert_eq!(decided, (charges, leaves_out), "{whose:?}");
        }
    }
}
