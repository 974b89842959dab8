//! A whole plugin, for wasi:http 0.2: lets a request pass if the SHA-256 of its header `x-api-key` is a
//! key in the bucket `keys`, and answers 401 otherwise. Give it `fail = "closed"`.
//!
//! The next of the chain is asked as a server would be, under the name `next.host`. A component of
//! 0.2 moves every byte itself, so `relay` below keeps both bodies going at once.
use sha2::{Digest, Sha256};
use wasi::keyvalue::store;
use wasip2::http::outgoing_handler;
use wasip2::http::types::*;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:apikey;
        world apikey {
            import wasi:keyvalue/store@0.2.0-draft;
        }
    ",
    world: "example:apikey/apikey",
    generate_all,
});

struct ApiKey;

impl wasip2::exports::http::incoming_handler::Guest for ApiKey {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let keys = request.headers().get("x-api-key");
        match is_known(&keys) {
            Ok(true) => pass_on(&request, out),
            Ok(false) => unauthorized(out),
            // Our failure and not the client's: `fail` decides what it gets.
            Err(error) => fail(out, ErrorCode::InternalError(Some(error.to_string()))),
        }
    }
}

/// Whether there is one key, not several to choose from, and somebody has it.
fn is_known(keys: &[Vec<u8>]) -> Result<bool, store::Error> {
    let [key] = keys else { return Ok(false) };
    // Nobody who reads the bucket can use what is in it.
    let digest = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    store::open("keys")?.exists(&digest)
}

fn unauthorized(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(401).unwrap();
    ResponseOutparam::set(out, Ok(response));
}

fn fail(out: ResponseOutparam, error: ErrorCode) {
    ResponseOutparam::set(out, Err(error));
}

fn pass_on(request: &IncomingRequest, out: ResponseOutparam) {
    let onward = OutgoingRequest::new(request.headers().clone());
    onward.set_method(&request.method()).unwrap();
    onward.set_path_with_query(request.path_with_query().as_deref()).unwrap();
    onward.set_scheme(Some(&Scheme::Http)).unwrap();
    onward.set_authority(Some("next.host")).unwrap();
    let mut upload = Relay::new(request.consume().unwrap(), onward.body().unwrap());
    let answer = match outgoing_handler::handle(onward, None) {
        Ok(answer) => answer,
        Err(error) => return fail(out, error),
    };
    // The answer may begin, and even end, before the request's body does.
    let head = loop {
        if let Some(head) = answer.get() {
            break head.expect("got once");
        }
        upload.advance();
        wait([Some(answer.subscribe()), upload.waits_for()]);
    };
    let head = match head {
        Ok(head) => head,
        Err(error) => return fail(out, error),
    };
    let response = OutgoingResponse::new(head.headers().clone());
    response.set_status_code(head.status()).unwrap();
    let mut download = Relay::new(head.consume().unwrap(), response.body().unwrap());
    ResponseOutparam::set(out, Ok(response));
    while !(upload.is_over() && download.is_over()) {
        upload.advance();
        download.advance();
        wait([upload.waits_for(), download.waits_for()]);
    }
}

/// Waits until one of them is ready, if there is one.
fn wait(all: [Option<Pollable>; 2]) {
    let all: Vec<&Pollable> = all.iter().flatten().collect();
    if !all.is_empty() {
        poll(&all);
    }
}

/// A body on its way through. Where it breaks on one side, it is broken off on the other.
enum Relay {
    Bytes { from: InputStream, to: OutputStream, full: bool, bodies: (IncomingBody, OutgoingBody) },
    Trailers(FutureTrailers, OutgoingBody),
    Over,
}

impl Relay {
    fn new(from: IncomingBody, to: OutgoingBody) -> Self {
        let (input, output) = (from.stream().unwrap(), to.write().unwrap());
        Self::Bytes { from: input, to: output, full: false, bodies: (from, to) }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Moves a piece, if there is one and room for it.
    fn advance(&mut self) {
        *self = match std::mem::replace(self, Self::Over) {
            Self::Bytes { from, to, bodies, .. } => {
                let step = carry(&from, &to);
                if let Ok(Some(full)) = step {
                    *self = Self::Bytes { from, to, full, bodies };
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

    fn trailers(coming: FutureTrailers, body: OutgoingBody) -> Self {
        match coming.get() {
            None => return Self::Trailers(coming, body),
            Some(Ok(Ok(trailers))) => drop(OutgoingBody::finish(body, trailers)),
            Some(_) => {}
        }
        Self::Over
    }

    fn waits_for(&self) -> Option<Pollable> {
        match self {
            Self::Bytes { to, full: true, .. } => Some(to.subscribe()),
            Self::Bytes { from, .. } => Some(from.subscribe()),
            Self::Trailers(coming, _) => Some(coming.subscribe()),
            Self::Over => None,
        }
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

wasip2::http::proxy::export!(ApiKey);
