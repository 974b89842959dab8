//! What every wasi:http 0.2 guest would otherwise repeat.

pub mod chain;
pub mod client;
pub mod lifecycle;
pub mod stores;
pub mod version;

pub use common::{
    Target, best, case, eat, leak, life, octets, outcome, scatter, spin, warm_line, warm_up,
};
pub use wasip2;
pub use wasip2::http::types;

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{
    ErrorCode, Fields, FutureTrailers, IncomingBody, IncomingRequest, OutgoingBody,
    OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// The peer has left or broke its own body off. No failure of the guest, so `serve!` ignores it.
#[derive(Debug)]
pub struct PeerLeft;

pub type Done = Result<(), PeerLeft>;

impl From<StreamError> for PeerLeft {
    fn from(_: StreamError) -> Self {
        Self
    }
}

/// Exports `fn(Request, Reply) -> Done` as the component's handler.
#[macro_export]
macro_rules! serve {
    ($handle:path) => {
        struct Component;

        impl $crate::wasip2::exports::http::incoming_handler::Guest for Component {
            fn handle(
                request: $crate::types::IncomingRequest,
                out: $crate::types::ResponseOutparam,
            ) {
                let _ = $handle($crate::Request::new(request), $crate::Reply(out));
            }
        }

        $crate::wasip2::http::proxy::export!(Component);
    };
}

pub struct Request {
    pub raw: IncomingRequest,
    target: Target,
}

impl Request {
    pub fn new(raw: IncomingRequest) -> Self {
        let target = Target::new(raw.path_with_query());
        Self { raw, target }
    }

    pub fn path(&self) -> &str {
        self.target.path()
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.target.text(key)
    }

    pub fn number(&self, key: &str, default: u64) -> u64 {
        self.target.number(key, default)
    }

    /// The request's body. May be asked for once.
    pub fn body(&self) -> Incoming {
        Incoming::new(self.raw.consume().expect("body taken once"))
    }
}

/// A body that is arriving.
pub struct Incoming {
    // Before `body`, because a child resource must be dropped before its parent.
    stream: InputStream,
    body: IncomingBody,
}

impl Incoming {
    fn new(body: IncomingBody) -> Self {
        let stream = body.stream().expect("stream taken once");
        Self { stream, body }
    }

    /// The next bytes as they come, `None` at the end.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, PeerLeft> {
        loop {
            match self.stream.blocking_read(64 * 1024) {
                Ok(bytes) if bytes.is_empty() => continue,
                Ok(bytes) => return Ok(Some(bytes)),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(_)) => return Err(PeerLeft),
            }
        }
    }

    /// Reads to the end and gives the number of bytes.
    pub fn count(mut self) -> Result<usize, PeerLeft> {
        let mut count = 0;
        while let Some(bytes) = self.chunk()? {
            count += bytes.len();
        }
        Ok(count)
    }

    /// What came after the body, to be asked for when the body has ended.
    pub fn trailers(self) -> Option<Fields> {
        let coming = self.finish();
        coming.subscribe().block();
        coming.get()?.ok()?.ok()?
    }

    fn finish(self) -> FutureTrailers {
        drop(self.stream);
        IncomingBody::finish(self.body)
    }
}

/// The answer that is still to be given.
pub struct Reply(pub ResponseOutparam);

impl Reply {
    /// Answers 200 with this text, whole and with its length.
    pub fn answer(self, text: &str) -> Done {
        let length = text.len().to_string();
        let mut body =
            self.send(200, fields(&[("content-type", "text/plain"), ("content-length", &length)]));
        body.write(text)?;
        body.finish()
    }

    /// Gives the request up: the host answers as the error asks for.
    pub fn fail(self, error: ErrorCode) -> Done {
        ResponseOutparam::set(self.0, Err(error));
        Ok(())
    }

    /// Sends the head at once; the body is written by and by.
    pub fn send(self, status: u16, headers: Fields) -> Outgoing {
        let response = OutgoingResponse::new(headers);
        response.set_status_code(status).expect("a valid status");
        let body = response.body().expect("body taken once");
        let stream = body.write().expect("stream taken once");
        ResponseOutparam::set(self.0, Ok(response));
        Outgoing { stream, body }
    }
}

/// A body that is being written. Dropping it unfinished breaks the message off.
pub struct Outgoing {
    // Before `body`, because a child resource must be dropped before its parent.
    pub stream: OutputStream,
    pub body: OutgoingBody,
}

impl Outgoing {
    /// Writes all of it and waits until the host has taken it.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Done {
        write(&self.stream, bytes.as_ref())
    }

    pub fn finish(self) -> Done {
        self.finish_with(None)
    }

    pub fn finish_with(self, trailers: Option<Fields>) -> Done {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).map_err(|_| PeerLeft)
    }
}

fn write(stream: &OutputStream, mut bytes: &[u8]) -> Done {
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        stream.write(now)?;
        bytes = later;
    }
    Ok(stream.blocking_flush()?)
}

pub fn fields(list: &[(&str, &str)]) -> Fields {
    let fields = Fields::new();
    for (name, value) in list {
        fields.append(name, value.as_bytes()).expect("a permitted header");
    }
    fields
}

/// One line to stdout. A stdout that takes nothing is not the guest's trouble.
pub fn print(line: &str) {
    let _ = write(&wasip2::cli::stdout::get_stdout(), format!("{line}\n").as_bytes());
}

pub fn sleep(ms: u64) {
    monotonic_clock::subscribe_duration(ms * 1_000_000).block();
}
