//! Passing a request on to the next of its chain, the bodies streaming in both directions at once.

use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, FutureTrailers, IncomingResponse, Scheme,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;

use crate::{Done, Incoming, Outgoing, PeerLeft, Reply, Request, client};

/// Where the host puts the next of the chain for components of wasi:http 0.2.
pub const NEXT: &str = "next.host";

/// Passes on the request with these headers, and its answer with what `edit` makes of the answer's.
pub fn pass(
    request: &Request,
    headers: Fields,
    reply: Reply,
    edit: impl FnOnce(Fields) -> Fields,
) -> Done {
    let head = Passed::on(request, headers).and_then(|mut passed| Ok((passed.head()?, passed)));
    match head {
        Ok((answer, passed)) => {
            let headers = answer.headers().clone();
            let to = reply.send(answer.status(), edit(headers));
            passed.relay(client::body(&answer), to)
        }
        Err(error) => reply.fail(error),
    }
}

/// A request that has been passed on: its body is on the way there, the answer on the way back.
pub struct Passed {
    upload: Pipe,
    answer: FutureIncomingResponse,
}

impl Passed {
    /// Takes the request's body.
    pub fn on(request: &Request, headers: Fields) -> Result<Self, ErrorCode> {
        let to = client::To {
            method: request.raw.method(),
            scheme: Scheme::Http,
            authority: NEXT.into(),
            path: request.raw.path_with_query(),
        };
        let (body, answer) = client::send(&to, headers)?;
        Ok(Self { upload: Pipe::new(request.body(), body), answer })
    }

    /// Waits for the answer's head, the request's body going on meanwhile. Called once.
    pub fn head(&mut self) -> Result<IncomingResponse, ErrorCode> {
        loop {
            if let Some(answer) = client::ready(&self.answer) {
                return answer;
            }
            let _ = self.upload.advance();
            let answer = self.answer.subscribe();
            match self.upload.waits_for() {
                Some(upload) => drop(poll(&[&answer, &upload])),
                None => answer.block(),
            }
        }
    }

    /// Streams the answer's body, and what is left of the request's, to their ends. An error is a
    /// body of the answer that was broken off, on either side; then ours is broken off too.
    pub fn relay(mut self, from: Incoming, to: Outgoing) -> Done {
        let mut download = Pipe::new(from, to);
        loop {
            // A next that lets go of the request's body may still answer.
            let _ = self.upload.advance();
            download.advance()?;
            match (self.upload.waits_for(), download.waits_for()) {
                (Some(upload), Some(download)) => drop(poll(&[&upload, &download])),
                (Some(one), None) | (None, Some(one)) => one.block(),
                (None, None) => return Ok(()),
            }
        }
    }
}

/// One body on its way through.
enum Pipe {
    Bytes { from: Incoming, to: Outgoing, full: bool },
    Trailers(FutureTrailers, Outgoing),
    Done,
}

impl Pipe {
    fn new(from: Incoming, to: Outgoing) -> Self {
        Self::Bytes { from, to, full: false }
    }

    /// Moves what can be moved without waiting, but no more than one piece. An error ends the pipe,
    /// and breaks off what it was writing.
    fn advance(&mut self) -> Done {
        *self = match std::mem::replace(self, Self::Done) {
            Self::Bytes { from, to, .. } => match carry(&from, &to)? {
                Some(full) => Self::Bytes { from, to, full },
                None => Self::trailers(from.finish(), to)?,
            },
            Self::Trailers(coming, to) => Self::trailers(coming, to)?,
            Self::Done => Self::Done,
        };
        Ok(())
    }

    fn trailers(coming: FutureTrailers, to: Outgoing) -> Result<Self, PeerLeft> {
        let Some(trailers) = coming.get() else {
            return Ok(Self::Trailers(coming, to));
        };
        to.finish_with(trailers.expect("taken once").map_err(|_| PeerLeft)?)?;
        Ok(Self::Done)
    }

    /// What must happen before `advance` gets further; `None` at the end.
    fn waits_for(&self) -> Option<Pollable> {
        match self {
            Self::Bytes { to, full: true, .. } => Some(to.stream.subscribe()),
            Self::Bytes { from, .. } => Some(from.stream.subscribe()),
            Self::Trailers(coming, _) => Some(coming.subscribe()),
            Self::Done => None,
        }
    }
}

/// Moves a piece if there is one and room for it. Tells whether room is what was missing; `None`
/// when all has been moved.
fn carry(from: &Incoming, to: &Outgoing) -> Result<Option<bool>, PeerLeft> {
    let room = to.stream.check_write()?.min(64 * 1024);
    if room == 0 {
        return Ok(Some(true));
    }
    match from.stream.read(room) {
        Ok(bytes) if bytes.is_empty() => Ok(Some(false)),
        Ok(bytes) => {
            to.stream.write(&bytes)?;
            to.stream.flush()?;
            Ok(Some(false))
        }
        Err(StreamError::Closed) => Ok(None),
        Err(StreamError::LastOperationFailed(_)) => Err(PeerLeft),
    }
}
