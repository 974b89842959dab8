//! Bodies on their way through the plugin, piece by piece as they come.
use wasip2::http::types::{FutureTrailers, IncomingBody, OutgoingBody};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// One body. Where it breaks on one side, it is broken off on the other.
pub enum Relay {
    Bytes {
        from: InputStream,
        to: OutputStream,
        full: bool,
        bodies: (IncomingBody, OutgoingBody),
    },
    Trailers(FutureTrailers, OutgoingBody),
    Over,
}

impl Relay {
    pub fn new(from: IncomingBody, to: OutgoingBody) -> Self {
        let input = from.stream().expect("the stream is taken once");
        let output = to.write().expect("the stream is taken once");
        Self::Bytes {
            from: input,
            to: output,
            full: false,
            bodies: (from, to),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Moves a piece, if there is one and room for it.
    pub fn advance(&mut self) {
        *self = match std::mem::replace(self, Self::Over) {
            Self::Bytes {
                from, to, bodies, ..
            } => {
                let step = carry(&from, &to);
                if let Ok(Some(full)) = step {
                    *self = Self::Bytes {
                        from,
                        to,
                        full,
                        bodies,
                    };
                    return;
                }
                // The streams go before the bodies that they belong to.
                drop((from, to));
                match step {
                    Ok(_) => Self::trailers(IncomingBody::finish(bodies.0), bodies.1),
                    Err(_) => Self::Over,
                }
            }
            Self::Trailers(coming, body) => Self::trailers(coming, body),
            Self::Over => Self::Over,
        };
    }

    /// What it waits for; nothing if it is over.
    pub fn waits_for(&self) -> Option<Pollable> {
        match self {
            Self::Bytes { to, full: true, .. } => Some(to.subscribe()),
            Self::Bytes { from, .. } => Some(from.subscribe()),
            Self::Trailers(coming, _) => Some(coming.subscribe()),
            Self::Over => None,
        }
    }

    fn trailers(coming: FutureTrailers, body: OutgoingBody) -> Self {
        match coming.get() {
            None => return Self::Trailers(coming, body),
            Some(Ok(Ok(trailers))) => drop(OutgoingBody::finish(body, trailers)),
            Some(_) => {}
        }
        Self::Over
    }
}

/// Waits until one of them is ready, if there is one.
pub fn wait(all: [Option<Pollable>; 2]) {
    let all: Vec<&Pollable> = all.iter().flatten().collect();
    if !all.is_empty() {
        poll(&all);
    }
}

/// Tells whether it was room that was missing; `None` at the end of the body.
fn carry(from: &InputStream, to: &OutputStream) -> Result<Option<bool>, StreamError> {
    let room = to.check_write()?.min(64 * 1024);
    if room == 0 {
        return Ok(Some(true));
    }
    match from.read(room) {
        Ok(bytes) if bytes.is_empty() => {}
        Ok(bytes) => {
            to.write(&bytes)?;
            to.flush()?;
        }
        Err(StreamError::Closed) => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(Some(false))
}
