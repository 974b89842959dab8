//! HTTP/2: hyper speaks the protocol, we own its deadlines.
//!
//! A stop sends GOAWAY twice (RFC 9113 §6.8): first with the highest id, so that streams under way
//! are still served, then, a round trip later, with the last one served. hyper measures the round
//! trip with a PING; a peer that never answers it would hold the connection for ever, so we close
//! it ourselves when it owes nothing.

mod driver;
mod exchange;
mod fair_timer;
mod frames;
mod interim;
mod send_progress;
mod shared;
mod sliced_body;
mod stream_table;
mod stream_task;
mod traffic;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::Instant;

use driver::Driver;
use exchange::{Adapter, LastCalled};
use fair_timer::FairTimer;
use shared::H2Shared;
use stream_task::StreamExecutor;
use traffic::Traffic;

use crate::connection_end::ConnectionEnd;
use crate::context::ConnectionContext;
use crate::registry::ConnectionEntry;
use crate::service::Service;
use crate::stream::ByteStream;
use crate::wire::Wire;

/// Streams at once on one connection, as Envoy's guide for edges says.
const MAX_STREAMS: u32 = 100;

/// Resets of streams that were never served: the Rapid Reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Resets that a peer provokes from us: the MadeYouReset attack (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 100;

/// What one stream, and one connection, may have under way to us before a guest reads it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What we hold of one answer that the peer does not read.
const SEND_BUFFER: usize = 256 * 1024;

/// A dead peer is found by an unanswered PING.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves HTTP/2 on a stream that was accepted at `accepted` and has sent `ahead` already, the preface at
/// least.
pub(super) async fn serve<S: Service>(
    stream: &Arc<ByteStream>,
    entry: &ConnectionEntry,
    (accepted, ahead): (Instant, BytesMut),
    context: &ConnectionContext,
    service: &S,
) -> ConnectionEnd {
    let limits = &context.limits;
    let traffic = Traffic::new((limits, context.counts.clone()), accepted, ahead);
    let shared = H2Shared::new(stream.clone(), context.scarcity.clone(), accepted, traffic);
    let last_called = LastCalled::default();
    let streams = StreamExecutor {
        last_called: last_called.clone(),
        shared: shared.clone(),
        stall: limits.stall,
        min_rate: limits.min_rate,
    };
    let wire = TokioIo::new(Wire::new(shared.clone()));
    let (ask, asked) = mpsc::channel(MAX_STREAMS as usize);
    let inner = Arc::new(service.clone());
    let adapter = Adapter { inner, shared: shared.clone(), last_called, ask };
    let list_size = u32::try_from(limits.header_size).unwrap_or(u32::MAX);
    let mut connection = pin!(
        http2::Builder::new(streams)
            .timer(FairTimer)
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(list_size)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(wire, adapter)
    );
    Driver::new(&shared, entry, context, asked).drive(connection.as_mut(), service).await
}
