//! What the host says in its log and what guests print, word for word, in this one place.
//!
//! Tests assert on the wire and on the exit; the log tells them only *when* to go on. So these are
//! parts of lines, as short as still says one thing.

/// The signal has been taken: a stop begins.
pub const ASKED: &str = "stop: asked";
/// A stop has begun: readiness says no, accepting goes on (only with `--drain-delay`).
pub const LAME_DUCK: &str = "stop: lame duck";
/// New connections are turned away; the accept queue is being emptied.
pub const CLOSING_DOOR: &str = "stop: closing the door";
/// No listener is open any more; what is in flight is waited for.
pub const DRAINING: &str = "stop: door closed, draining";
/// What is left is ended by force.
pub const CUT: &str = "stop: cutting what is left";
/// How the name of each survivor begins.
pub const SURVIVOR: &str = "stop: cut ";
/// A signal has come so soon after the first that it is taken for the same.
pub const SAME_STOP: &str = "is taken for the same stop";
/// A signal that means nothing yet has been taken.
pub const IGNORED: &str = "signal ignored";
/// Accepting failed for want of something; it is tried again.
pub const CANNOT_ACCEPT: &str = "cannot accept";

/// There are as many connections as there may be.
pub const MAKES_ROOM: &str = "makes room for who comes";

/// How the last line after every stop begins (behind the log's own prefix, if it has one).
pub const STOPPED: &str = "stopped in ";
/// How the last line ends when nothing was lost. The comma keeps `10 cut` from matching.
pub const NOTHING_CUT: &str = ", 0 cut, 0 connections dropped";

/// Printed by `gate` on `/head` once it holds the request, before it has answered.
pub const GATE_STARTED: &str = "gate: started";
/// Printed by `after` when its work after the answer is done.
pub const AFTER_DONE: &str = "after: done";
/// Printed by `busy` when it begins to spin.
pub const SPINNING: &str = "busy: spinning";

/// Each line of a swap: one when it begins, one with its outcome.
pub const SWAP: &str = "swap: ";
/// In both lines of a swap that SIGHUP asked for.
pub const BY_HANGUP: &str = "asked=\"SIGHUP\"";
/// A swap begins: its turn has come.
pub const SWAP_BEGINS: &str = "swap: begins";
/// How the outcome of a swap that was carried out begins; two numbers follow.
pub const SWAPPED: &str = "swap: swapped from generation ";
/// The file holds what is served already.
pub const UNCHANGED: &str = "swap: unchanged";
/// How the outcome of a swap that was refused begins; the step and the reason follow.
pub const REJECTED: &str = "swap: rejected at step ";
/// The last exchange on a generation that was replaced has ended.
pub const RETIRED_GONE: &str = "retired generation is gone";
/// What still ran on a generation that was replaced is ended by force.
pub const RETIRED_CUT: &str = "retired generation is cut";
/// A file is watched from here on.
pub const WATCHING: &str = "watch: watching";

/// A hook trapped or did not return in time.
pub const HOOK_FAILED: &str = "guest failed in its hook";
/// A guest has asked for a stop without the grant.
pub const MAY_NOT_STOP: &str = "guest asks for a stop and may not";
/// An instance that serves several exchanges is no more (only with `HOST_LOG=host=debug`).
pub const INSTANCE_ENDED: &str = "reusable instance ended";

/// Printed by `hooks` in each of its hooks; in the last two the milliseconds that are left follow.
pub const ON_START: &str = "hooks: on-start";
/// See [`ON_START`].
pub const ON_DRAIN: &str = "hooks: on-drain ";
/// See [`ON_START`].
pub const ON_SHUTDOWN: &str = "hooks: on-shutdown ";

/// An open plugin has failed, and the exchange goes on without it.
pub const PASSED_BY: &str = "passed by: fail = open";
/// A guest trapped, ran out of time or returned without an answer, before its head was out.
pub const GUEST_FAILED: &str = "guest failed: ";
/// An answer was broken off behind its head.
pub const BROKEN_OFF: &str = "answer broken off: ";
/// A component at the end of its route wants to pass a request on.
pub const NOTHING_AFTER: &str = "nothing comes after this component";
