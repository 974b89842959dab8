//! How an exchange, or a stage of one, came to its end.

/// How an exchange, or a stage of one, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Its last frame was handed over.
    Finished,
    /// Its peer went away before that: the client, or the plugin that passed the request on.
    PeerGone,
    /// The guest trapped, before the head of its answer was out or after that.
    Trapped,
    /// The guest failed otherwise: it returned without an answer, exited, or broke its body off.
    Failed,
    /// A deadline of the guest or of the exchange passed.
    TimedOut,
    /// A stop ended it by force, or the end of a replaced generation.
    Cut,
    /// The host did not serve it, for this reason: a word of a fixed set, such as `no-route`.
    Refused(&'static str),
}

impl End {
    /// The word for it in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::PeerGone => "client-gone",
            Self::Trapped => "guest-trapped",
            Self::Failed => "guest-failed",
            Self::TimedOut => "timed-out",
            Self::Cut => "cut",
            Self::Refused(_) => "refused",
        }
    }

    /// Why the host did not serve it, if it did not.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the guest is to blame for it: it trapped, failed, or took too long.
    #[must_use]
    pub fn is_guest_failure(self) -> bool {
        matches!(self, Self::Trapped | Self::Failed | Self::TimedOut)
    }
}
