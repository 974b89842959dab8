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
/// A signal that means nothing yet has been taken.
pub const IGNORED: &str = "signal ignored";
/// Accepting failed for want of something; it is tried again.
pub const CANNOT_ACCEPT: &str = "cannot accept";

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
