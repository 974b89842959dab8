//! One request with its response, as long as either is under way.

use std::sync::Arc;
use std::time::Duration;

use host_clock::{Moment, until};
use http::Extensions;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected};
use tokio::runtime::Handle;

use crate::counted::ConnectionRecord;
use crate::upload::UploadProgress;
use crate::wire::AbortHandle;

/// Stands for one request from the moment it is sent. Dropping it cancels the request; `end` says
/// that its response is whole.
///
/// hyper itself ends what is left of a response whose body is dropped: it resets the stream of HTTP/2,
/// and closes the connection of HTTP/1. But it goes on sending the request's body, for as long as
/// the guest has some and the peer takes none. That end is made here.
#[derive(Debug)]
pub(crate) struct Exchange {
    progress: Arc<UploadProgress>,
    connection: CaptureConnection,
    stall: Duration,
    runtime: Handle,
    whole: bool,
}

impl Exchange {
    /// Must be called on a runtime of tokio.
    pub(crate) fn new(
        progress: Arc<UploadProgress>,
        connection: CaptureConnection,
        stall: Duration,
    ) -> Self {
        Self { progress, connection, stall, runtime: Handle::current(), whole: false }
    }

    /// How far the body of the request is.
    pub(crate) fn progress(&self) -> &UploadProgress {
        &self.progress
    }

    /// Waits until the request has a connection.
    pub(crate) async fn connected(&mut self) {
        drop(self.connection.wait_for_connection_metadata().await);
    }

    /// A response has begun.
    pub(crate) fn answered(&self) {
        if let Some(record) = ConnectionRecord::captured(&self.connection) {
            record.note_answer();
        }
    }

    /// Whether its connection had answered before, and has not said a byte since this request began on
    /// it. (Of HTTP/2, whose bytes may be for others: whether it had answered.)
    pub(crate) fn was_silent(&self) -> bool {
        let Some(record) = ConnectionRecord::captured(&self.connection) else { return false };
        let metadata = self.connection.connection_metadata();
        let shared = metadata.as_ref().is_some_and(Connected::is_negotiated_h2);
        record.has_answered() && (shared || record.read_so_far() == self.progress.read_before())
    }

    /// No other request is sent over this connection.
    pub(crate) fn spoil_connection(&self) {
        if let Some(connection) = &*self.connection.connection_metadata() {
            connection.poison();
        }
    }

    /// The response is whole. The server may still want the rest of the request, so that goes on as
    /// long as it makes progress.
    pub(crate) fn end(mut self) {
        self.whole = true;
    }

    fn abortable(&self) -> Option<Abortable> {
        let mut extras = Extensions::new();
        let metadata = self.connection.connection_metadata();
        let connection = metadata.as_ref()?;
        connection.get_extras(&mut extras);
        let handle = extras.remove::<AbortHandle>()?;
        Some(Abortable { handle, shared: connection.is_negotiated_h2() })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Until its body is sent, an HTTP/1 connection belongs to this request alone; afterwards it
        // may be another's already, and must not be touched.
        if self.progress.has_ended() {
            return;
        }
        let abortable = self.abortable();
        if !self.whole {
            self.progress.cancel();
            if let Some(Abortable { handle, shared: false }) = &abortable {
                handle.abort();
                return;
            }
        }
        let upload = wind_up(Arc::clone(&self.progress), abortable, self.stall);
        drop(self.runtime.spawn(upload));
    }
}

/// A connection that can be cut.
struct Abortable {
    handle: AbortHandle,
    /// Other requests may be on it: HTTP/2.
    shared: bool,
}

/// Bounds an upload whose response has ended: once it stands still, it is ended, and if that does not
/// help, because the peer has closed the window of an HTTP/2 stream, the connection is.
async fn wind_up(progress: Arc<UploadProgress>, abortable: Option<Abortable>, stall: Duration) {
    let mut moved = progress.moved();
    loop {
        until(Moment::now() + stall).await;
        if progress.has_ended() {
            return;
        }
        match progress.moved() {
            still if still == moved => break,
            newer => moved = newer,
        }
    }
    progress.cancel();
    let Some(Abortable { handle, shared }) = abortable else { return };
    if shared {
        until(Moment::now() + stall).await;
    }
    if !progress.has_ended() {
        handle.abort();
    }
}
