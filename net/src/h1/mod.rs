//! HTTP/1: hyper parses and writes, [`ConnectionState`] decides.
//!
//! hyper's own graceful shutdown closes a connection whose next request has already arrived, and
//! the server never knows. So it is not used: from the lame duck on every answer says
//! `Connection: close`, an idle connection lingers for one more request, and before a connection
//! is closed we look into the kernel for a request that has begun.

mod connection_state;
mod driver;
mod exchange;
mod framing;
mod request_reader;
mod shared;

use std::sync::Arc;

use bytes::BytesMut;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use connection_state::ConnectionState;
use driver::Driver;
use exchange::Adapter;
use shared::H1Shared;

use crate::connection_end::ConnectionEnd;
use crate::context::ConnectionContext;
use crate::registry::ConnectionEntry;
use crate::service::Service;
use crate::stream::ByteStream;
use crate::wire::Wire;

/// hyper's smallest read buffer, and ours: bodies are read through it as well.
const SMALLEST_BUFFER: usize = 64 * 1024;

/// Serves HTTP/1 on a stream that was accepted at `accepted`, has brought so many requests since and has sent `ahead`
/// already.
pub(super) async fn serve<S: Service>(
    stream: &Arc<ByteStream>,
    entry: &ConnectionEntry,
    (accepted, served, ahead): (Instant, u64, BytesMut),
    context: &ConnectionContext,
    service: &S,
) -> ConnectionEnd {
    let state = ConnectionState::new(context.limits, (accepted, served), ahead);
    let shared = H1Shared::new(stream.clone(), context, state);
    let adapter = Adapter { inner: Arc::new(service.clone()), shared: shared.clone() };
    let mut connection = http1::Builder::new()
        .half_close(true)
        .max_headers(context.limits.headers)
        .max_header_size(context.limits.header_size)
        .max_buf_size(context.limits.header_size.max(SMALLEST_BUFFER))
        .serve_connection(TokioIo::new(Wire::new(shared.clone())), adapter);
    Driver { shared: &shared, entry, context }.drive(&mut connection).await
}
