//! Texts of the host's log and of guests' output, word for word, in one place.
//!
//! Tests assert on the wire and on the exit. The log only tells them *when* to go on, so these are parts of
//! lines, as short as is still unambiguous.

/// The signal has been taken: a stop begins.
pub const ASKED: &str = "stop: asked";
/// A stop has begun: not ready, but still accepting (only with `--drain-delay`).
pub const LAME_DUCK: &str = "stop: lame duck";
/// New connections are turned away; the accept queue is being emptied.
pub const CLOSING_DOOR: &str = "stop: closing the door";
/// No listener is open any more. The stop waits for what is in flight.
pub const DRAINING: &str = "stop: door closed, draining";
/// The stop ends by force what is left.
pub const CUT: &str = "stop: cutting what is left";
/// The beginning of each survivor's name.
pub const SURVIVOR: &str = "stop: cut ";
/// A signal came so soon after the first that both count as one.
pub const SAME_STOP: &str = "is taken for the same stop";
/// Accepting failed for lack of a resource, and is tried again.
pub const CANNOT_ACCEPT: &str = "cannot accept";

/// The limit of connections is reached.
pub const MAKES_ROOM: &str = "makes room for who comes";

/// The beginning of the last line of every stop (after the log's own prefix, if it has one).
pub const STOPPED: &str = "stopped in ";
/// The end of the last line when nothing was lost. The comma keeps `10 cut` from matching.
pub const NOTHING_CUT: &str = ", 0 cut, 0 connections dropped";

/// Printed by `gate` on `/head` once it holds the request, before it responds.
pub const GATE_STARTED: &str = "gate: started";
/// Printed by `after` when its work after the response is done.
pub const AFTER_DONE: &str = "after: done";
/// Printed by `busy` when it begins to spin.
pub const SPINNING: &str = "busy: spinning";

/// Each line of a swap: one when it begins, one with its outcome.
pub const SWAP: &str = "swap: ";
/// In both lines of a swap that SIGHUP asked for.
pub const BY_HANGUP: &str = "asked=\"SIGHUP\"";
/// A swap has left the queue and begins.
pub const SWAP_BEGINS: &str = "swap: begins";
/// The beginning of a completed swap's outcome. Two numbers follow.
pub const SWAPPED: &str = "swap: swapped from generation ";
/// The file holds the version that is served already.
pub const UNCHANGED: &str = "swap: unchanged";
/// The beginning of a rejected swap's outcome. The step and the reason follow.
pub const REJECTED: &str = "swap: rejected at step ";
/// The last exchange on a generation that was replaced has ended.
pub const RETIRED_GONE: &str = "retired generation is gone";
/// Exchanges that still ran on a replaced generation are ended by force.
pub const RETIRED_CUT: &str = "retired generation is cut";
/// A file is watched from here on.
pub const WATCHING: &str = "watch: watching";

/// A hook trapped or did not return in time.
pub const HOOK_FAILED: &str = "guest failed in its hook";
/// A guest has asked for a stop without the grant.
pub const MAY_NOT_STOP: &str = "guest asks for a stop and may not";
/// An instance that serves several exchanges has ended (only with `HOST_LOG=host=debug`).
pub const INSTANCE_ENDED: &str = "reusable instance ended";

/// Printed by `hooks` in each of its hooks. In the last two, the milliseconds that are left follow.
pub const ON_START: &str = "hooks: on-start";
/// See [`ON_START`].
pub const ON_DRAIN: &str = "hooks: on-drain ";
/// See [`ON_START`].
pub const ON_SHUTDOWN: &str = "hooks: on-shutdown ";

/// An open plugin has failed, and the exchange goes on without it.
pub const PASSED_BY: &str = "passed by: fail = open";
/// A guest trapped, ran out of time or returned without a response, before its head was sent.
pub const GUEST_FAILED: &str = "guest failed: ";
/// A response was broken off after its head.
pub const BROKEN_OFF: &str = "answer broken off: ";
/// A component at the end of its route wants to pass a request on.
pub const NOTHING_AFTER: &str = "nothing comes after this component";
