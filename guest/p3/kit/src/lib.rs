//! What every wasi:http 0.3 guest would otherwise repeat.

pub mod chain;
pub mod lifecycle;
pub mod stores;
pub mod version;

pub use common::{
    Target, best, case, eat, leak, life, octets, outcome, scatter, spin, warm_line, warm_up,
};
pub use wasip3;
pub use wasip3::http::types;

use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

/// The peer has left or broke its own body off. No failure of the guest.
#[derive(Debug)]
pub struct PeerLeft;

pub type Done = Result<(), PeerLeft>;

pub type Answer = Result<Response, ErrorCode>;

impl From<PeerLeft> for ErrorCode {
    fn from(_: PeerLeft) -> Self {
        Self::ConnectionTerminated
    }
}

/// Exports `async fn(Request) -> Answer` as the component's handler.
#[macro_export]
macro_rules! serve {
    ($handle:path) => {
        struct Component;

        impl $crate::wasip3::exports::http::handler::Guest for Component {
            async fn handle(request: $crate::types::Request) -> $crate::Answer {
                $handle($crate::Request::new(request)).await
            }
        }

        $crate::wasip3::http::service::export!(Component);
    };
}

pub struct Request {
    pub raw: types::Request,
    target: Target,
}

impl Request {
    pub fn new(raw: types::Request) -> Self {
        let target = Target::new(raw.get_path_with_query());
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

    pub fn body(self) -> Incoming {
        let (stream, trailers) = types::Request::consume_body(self.raw, well());
        Incoming { stream, trailers }
    }
}

/// Tells the host how we got on with a body: always well.
fn well() -> FutureReader<Result<(), ErrorCode>> {
    wit_future::new(|| Ok(())).1
}

/// A body that is arriving.
pub struct Incoming {
    pub stream: StreamReader<u8>,
    pub trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
}

impl Incoming {
    /// The body of an answer.
    pub fn of(answer: Response) -> Self {
        let (stream, trailers) = Response::consume_body(answer, well());
        Self { stream, trailers }
    }

    /// The next bytes as they come, `None` at the end. Whether the end was a good one, `trailers` tells.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.stream.read(Vec::with_capacity(64 * 1024)).await {
                (_, bytes) if !bytes.is_empty() => return Some(bytes),
                (StreamResult::Complete(_), _) => continue,
                (StreamResult::Dropped | StreamResult::Cancelled, _) => return None,
            }
        }
    }

    /// Reads to the end and gives the number of bytes.
    pub async fn count(mut self) -> Result<usize, PeerLeft> {
        let mut count = 0;
        while let Some(bytes) = self.chunk().await {
            count += bytes.len();
        }
        self.trailers().await?;
        Ok(count)
    }

    /// What came after the body, to be asked for when the body has ended.
    pub async fn trailers(self) -> Result<Option<Fields>, PeerLeft> {
        drop(self.stream);
        self.trailers.await.map_err(|_| PeerLeft)
    }
}

/// Answers 200 with this text, whole and with its length.
pub fn answer(text: &str) -> Answer {
    let bytes = text.as_bytes().to_vec();
    let length = bytes.len().to_string();
    let headers = fields(&[("content-type", "text/plain"), ("content-length", &length)]);
    stream(headers, async move |mut body| {
        body.write(bytes).await?;
        body.finish().await
    })
}

/// Answers 200 at once; `work` goes on after that and writes the body by and by.
pub fn stream(headers: Fields, work: impl AsyncFnOnce(Outgoing) -> Done + 'static) -> Answer {
    Ok(streamed(headers, work))
}

/// As `stream`, for an answer whose status is still to be set.
pub fn streamed(headers: Fields, work: impl AsyncFnOnce(Outgoing) -> Done + 'static) -> Response {
    let (stream, contents) = wit_stream::new();
    // Written where the body is dropped unfinished, so that the host breaks the response off.
    let (outcome, trailers) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, _) = Response::new(headers, Some(contents), trailers);
    spawn_local(async move {
        let _ = work(Outgoing { stream, trailers: outcome }).await;
    });
    response
}

/// A response body that is being written. Dropping it unfinished breaks the response off.
pub struct Outgoing {
    pub stream: StreamWriter<u8>,
    trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
}

impl Outgoing {
    /// Writes all of it and waits until the host has taken it.
    pub async fn write(&mut self, bytes: impl Into<Vec<u8>>) -> Done {
        let left = self.stream.write_all(bytes.into()).await;
        if left.is_empty() { Ok(()) } else { Err(PeerLeft) }
    }

    pub async fn finish(self) -> Done {
        self.finish_with(None).await
    }

    pub async fn finish_with(self, trailers: Option<Fields>) -> Done {
        drop(self.stream);
        self.trailers.write(Ok(trailers)).await.map_err(|_| PeerLeft)
    }
}

pub fn fields(list: &[(&str, &str)]) -> Fields {
    let fields = Fields::new();
    for (name, value) in list {
        fields.append(name, value.as_bytes()).expect("a permitted header");
    }
    fields
}

/// One line to stdout. A stdout that takes nothing is not the guest's trouble.
pub async fn print(line: &str) {
    let (mut stdout, bytes) = wit_stream::new();
    let written = wasip3::cli::stdout::write_via_stream(bytes);
    stdout.write_all(format!("{line}\n").into_bytes()).await;
    drop(stdout);
    let _ = written.await;
}

pub async fn sleep(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}
