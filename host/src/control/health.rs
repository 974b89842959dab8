//! Health for load balancers and supervisors: alive until the very end, ready only while serving. Beside it, what is
//! counted.

use std::io;
use std::net::SocketAddr;

use host_lifecycle::{Alarm, Phase, PhaseWatch};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tracing::info;

use super::accept::{ServerTasks, accept};
use super::connection;
use super::connection_limit::ConnectionLimit;
use super::metrics_format::MetricsFormat;
use super::metrics_pages::MetricsPages;
use super::opening::{OperatorsHandle, TcpOpening};
use super::reply::{self, ReplyBody};
use super::schema::PhaseName;

/// Probes come one at a time from a few places.
const MOST_CONNECTIONS: usize = 64;

/// Those that come at once are not turned away by the kernel.
const BACKLOG: i32 = 1024;

/// The server of `/livez`, `/readyz` and `/metrics`. Dropping it ends its connections.
#[derive(Debug)]
pub struct HealthServer {
    tasks: ServerTasks,
    address: SocketAddr,
    handle: OperatorsHandle,
}

impl HealthServer {
    /// Answers at `opening`, on `runtime`, from now on: before anything is loaded the
    /// host is alive and not ready. `alarm` goes off if that ends by a panic. `metrics` writes the page of `/metrics`, on
    /// a thread of its own.
    ///
    /// # Errors
    /// When the address or the thread cannot be had.
    pub fn start(
        opening: impl Into<TcpOpening>,
        (phase, metrics): (PhaseWatch, impl Fn(MetricsFormat) -> String + Send + 'static),
        alarm: Alarm,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let listener = opening.into().listen(BACKLOG, runtime)?;
        let (address, handle) = (listener.listener.local_addr()?, listener.handle());
        let (tasks, pages) = (ServerTasks::default(), MetricsPages::start(metrics)?);
        let gate = listener.gate.clone();
        let serve = move |io, deadlines| {
            let (phase, pages, gate) = (phase.clone(), pages.clone(), gate.clone());
            connection::serve(io, deadlines, move |request| {
                let (phase, pages, gate) = (phase.now(), pages.clone(), gate.clone());
                async move {
                    if gate.is_open() {
                        return answer(request, phase, pages).await;
                    }
                    // Another host has the address. It is ready, and this prober is to ask it next time.
                    reply::closing(answer(request, Phase::Ready, pages).await)
                }
            })
        };
        let limit = ConnectionLimit::new("health", MOST_CONNECTIONS);
        let accepting = accept(listener, limit, tasks.clone(), serve);
        tasks.all.spawn_on(alarm.guard(accepting), runtime);
        info!(health = %address, "health is answered");
        Ok(Self { tasks, address, handle })
    }

    /// For who hands its listener on.
    #[must_use]
    pub fn handle(&self) -> OperatorsHandle {
        self.handle.clone()
    }

    /// Where it is answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.tasks.end.cancel();
    }
}

async fn answer(
    request: Request<Incoming>,
    phase: Phase,
    pages: MetricsPages,
) -> Response<ReplyBody> {
    let status = match request.uri().path() {
        "/livez" | "/metrics" => StatusCode::OK,
        "/readyz" if phase == Phase::Ready => StatusCode::OK,
        "/readyz" => StatusCode::SERVICE_UNAVAILABLE,
        _ => {
            let there = "there are /livez, /readyz and /metrics\n";
            return reply::text(StatusCode::NOT_FOUND, there.into());
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let error = "asked for with GET or HEAD\n";
        return reply::with_allow(
            reply::text(StatusCode::METHOD_NOT_ALLOWED, error.into()),
            "GET, HEAD",
        );
    }
    if request.uri().path() == "/metrics" {
        let format = MetricsFormat::of(request.headers());
        let Some(page) = pages.page(format).await else {
            let error = "the page has failed inside the host; its log says more\n";
            return reply::text(StatusCode::INTERNAL_SERVER_ERROR, error.into());
        };
        return reply::metrics(format, page);
    }
    reply::text(status, format!("{}\n", PhaseName::from(phase).name()))
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
