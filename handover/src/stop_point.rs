//! Points at which a test has one of the two hosts stand still.

use std::{env, fs, process};

use nix::sys::signal::{Signal, raise};
use tracing::warn;

/// The variable that names the point.
const VARIABLE: &str = "HOST_UPGRADE_STOP_AT";

/// The variable that names a file, a pipe perhaps, to which the process that stands still writes its number before.
const TOLD: &str = "HOST_UPGRADE_STOP_TOLD";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A step of an upgrade. The process that comes to the one which `HOST_UPGRADE_STOP_AT` names sends itself
        /// SIGSTOP there: whatever a test does then, it does between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StopPoint {
            $($(#[$doc])* $point,)*
        }

        impl StopPoint {
            /// All of them, in the order of an upgrade.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// Its name. Those of the host that serves begin with `old`, those of its successor with `new`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// The successor runs.
    OldSpawned = "old-spawned",
    /// The successor has found its channel.
    NewStarted = "new-started",
    /// Both have said hello.
    OldHello = "old-hello",
    /// The same.
    NewHello = "new-hello",
    /// The listeners have been sent.
    OldListeners = "old-listeners",
    /// The listeners are here.
    NewListeners = "new-listeners",
    /// The successor's configuration is taken, its operators' sockets are there.
    NewArmed = "new-armed",
    /// Everything is loaded.
    NewLoaded = "new-loaded",
    /// A request to itself was answered.
    NewProved = "new-proved",
    /// The successor has said that it is ready.
    NewReady = "new-ready",
    /// That has come.
    OldReady = "old-ready",
    /// *Yours* is said.
    OldYours = "old-yours",
    /// *Yours* is heard, and not acted upon.
    NewYours = "new-yours",
    /// The successor accepts.
    NewOpen = "new-open",
    /// It has said so.
    NewAccepting = "new-accepting",
    /// That is heard: both accept.
    OldAccepting = "old-accepting",
    /// The first host accepts no more.
    OldShut = "old-shut",
    /// The first idle connections have been sent.
    OldConnections = "old-connections",
    /// The first idle connections are here.
    NewConnections = "new-connections",
    /// All of them have been sent.
    OldDone = "old-done",
    /// All of them are here.
    NewDone = "new-done",
    /// The successor has said so.
    NewTaken = "new-taken",
    /// That is heard; the first host drains next.
    OldTaken = "old-taken",
}

impl StopPoint {
    /// The process has come to this point.
    pub fn reached(self) {
        if env::var_os(VARIABLE).is_none_or(|asked| asked != *self.name()) {
            return;
        }
        warn!(point = self.name(), "{VARIABLE}: standing still until SIGCONT");
        if let Some(told) = env::var_os(TOLD)
            && let Err(why) = fs::write(told, format!("{}\n", process::id()))
        {
            warn!(%why, "{TOLD}");
        }
        // To this thread: it is the one that must not go on.
        raise(Signal::SIGSTOP).ok();
    }
}
