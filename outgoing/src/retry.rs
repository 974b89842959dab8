//! Which requests are sent again, over another connection.
//!
//! | how the attempt ended | sent again |
//! |---|---|
//! | GOAWAY below its stream, or REFUSED_STREAM (RFC 9113 §8.7) | if its body is still whole here |
//! | the connection was used before, and closed without a byte of a response | a safe method whose body is still whole here; an idempotent one whose body is untouched (RFC 9110 §9.2.2, RFC 9112 §9.3.1) |
//! | anything else, deadlines among it | never |
//!
//! A request that never began on its connection is sent again by the pool.

use std::error::Error as StdError;
use std::io;

use http::Method;

use crate::error::find;
use crate::exchange::Exchange;
use crate::replay::ReplayBody;

/// Attempts beside the first one. A server that refuses three times means it.
pub(crate) const MAX_RETRIES: usize = 2;

/// How an attempt ended that has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The server has said that it did nothing with the request.
    Refused,
    /// A connection that was in use before was closed, and not a byte of a response had come.
    Silent,
    Other,
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLeft {
    /// Nothing of it was handed to a connection, or there is none.
    Untouched,
    /// Something was, and all of that is still here.
    Replayable,
    /// Its beginning is gone.
    Gone,
}

impl BodyLeft {
    pub(crate) fn of_body(body: &ReplayBody) -> Self {
        match (body.is_untouched(), body.is_replayable()) {
            (true, _) => Self::Untouched,
            (false, true) => Self::Replayable,
            (false, false) => Self::Gone,
        }
    }
}

/// Whether a request may be sent again.
pub(crate) fn is_allowed(method: &Method, end: AttemptEnd, left: BodyLeft) -> bool {
    match (end, left) {
        (AttemptEnd::Other, _) | (_, BodyLeft::Gone) => false,
        (AttemptEnd::Refused, _) => true,
        (AttemptEnd::Silent, BodyLeft::Replayable) => method.is_safe(),
        (AttemptEnd::Silent, BodyLeft::Untouched) => method.is_idempotent(),
    }
}

/// How an attempt ended, from what the pool says and what is known of its connection.
pub(crate) fn attempt_end(error: &(dyn StdError + 'static), exchange: &Exchange) -> AttemptEnd {
    let http2 = find::<h2::Error>(error);
    // GOAWAY is the error of the streams above the last one that it names, and of none below.
    if http2.is_some_and(|why| why.is_remote() && is_refusal(why)) {
        return AttemptEnd::Refused;
    }
    let closed = match http2 {
        Some(why) => why.is_io(),
        None => is_close(error),
    };
    if closed && exchange.was_silent() { AttemptEnd::Silent } else { AttemptEnd::Other }
}

fn is_refusal(why: &h2::Error) -> bool {
    why.is_go_away() || why.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// The peer's end of an HTTP/1 connection, in whatever way it made itself felt.
fn is_close(error: &(dyn StdError + 'static)) -> bool {
    let hyper = find::<hyper::Error>(error);
    hyper.is_some_and(|why| why.is_incomplete_message() || why.is_closed())
        || find::<io::Error>(error).is_some_and(|why| {
            use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&why.kind())
        })
}
