//! The native server of the benchmark: hyper 1 on a multi-thread runtime, with the answer of the
//! `hello` guests and nothing else. What it reaches is what this machine can do.
//!
//! `bench-native [ADDR]`, by default `127.0.0.1:0`; port 0 lets the kernel choose.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io::{self, Write as _};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const TEXT: &[u8] = b"hello world\n";

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&address))
}

async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    // Returning from main has a build that counts (`make dist PGO=1`) write what it has counted.
    let mut stop = signal(SignalKind::terminate())?;
    writeln!(io::stdout(), "ready addr={}", listener.local_addr()?)?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = stop.recv() => return Ok(()),
        };
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
        // Ends with its connection; how it ends is the client's affair.
        tokio::spawn(connection);
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // hyper adds the content-length, because the body knows it.
    let mut response = Response::new(Full::new(Bytes::from_static(TEXT)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
