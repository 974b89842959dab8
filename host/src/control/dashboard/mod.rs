//! The dashboard: one page for a browser, fed by server-sent events. Read only.
//!
//! ```text
//! browser ─→ accept ─→ connection ─→ who may ask ─┬→ /        page.html, with its policy
//!                                                 └→ /events  feed ─→ history, ticks, the end
//! ```
//!
//! A page on another site may make a browser ask here, under a name of that site's that it has pointed at this machine
//! (DNS rebinding): so the name in a request must be this machine's own.

mod feed;
mod origin;
mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use host_lifecycle::Alarm;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{info, warn};

use super::Host;
use super::accept::{ServerTasks, accept};
use super::connection;
use super::connection_limit::ConnectionLimit;
use super::deadlines::Deadlines;
use super::opening::{OperatorsHandle, TcpOpening};
use super::reply::{self, ReplyBody};
use feed::Feed;
use page::Page;

/// Tabs of a few people. Those that follow events stay; the rest is for the page itself.
const MOST_CONNECTIONS: usize = 64;

/// Tabs that follow events at once.
const MOST_STREAMS: usize = 32;

/// Those that come at once are not turned away by the kernel.
const BACKLOG: i32 = 128;

/// The server of the dashboard. Dropping it ends its connections.
#[derive(Debug)]
pub struct DashboardServer {
    tasks: ServerTasks,
    following: TaskTracker,
    runtime: Handle,
    address: SocketAddr,
    handle: OperatorsHandle,
}

/// What all connections share.
struct Dashboard {
    address: SocketAddr,
    page: Page,
    feed: Arc<Feed>,
    streams: Arc<Semaphore>,
    tasks: ServerTasks,
    following: TaskTracker,
}

impl DashboardServer {
    /// Shows `host` at `opening`, on `runtime`, from now on. `alarm` goes off if that ends by a panic.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(
        opening: impl Into<TcpOpening>,
        host: Arc<dyn Host>,
        alarm: Alarm,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let listener = opening.into().listen(BACKLOG, runtime)?;
        let (address, handle) = (listener.listener.local_addr()?, listener.handle());
        let (tasks, following) = (ServerTasks::default(), TaskTracker::new());
        let dashboard = Arc::new(Dashboard {
            address,
            page: Page::new(),
            feed: Arc::new(Feed::new(host)),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            tasks: tasks.clone(),
            following: following.clone(),
        });
        let serve = move |io, deadlines: Deadlines| {
            let session =
                Arc::new(Session { dashboard: dashboard.clone(), follows: Mutex::default() });
            connection::serve(io, deadlines.clone(), move |request| {
                deadlines.request_received();
                std::future::ready(session.answer(&request))
            })
        };
        let limit = ConnectionLimit::new("dashboard", MOST_CONNECTIONS);
        let accepting = accept(listener, limit, tasks.clone(), serve);
        tasks.all.spawn_on(alarm.guard(accepting), runtime);
        if address.ip().is_loopback() {
            info!(dashboard = %address, "the dashboard is shown");
        } else {
            warn!(
                dashboard = %address,
                "the dashboard is shown to whoever can connect: it has no password; a port alone is one of 127.0.0.1"
            );
        }
        Ok(Self { tasks, following, runtime: runtime.clone(), address, handle })
    }

    /// For who hands its listener on.
    #[must_use]
    pub fn handle(&self) -> OperatorsHandle {
        self.handle.clone()
    }

    /// Where it is shown.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it once those that follow have been told how the process ended, or `patience` has passed. Blocks; not to be
    /// called on the runtime that serves.
    pub fn close(self, patience: Duration) {
        let (told, all_told) = mpsc::channel();
        self.following.close();
        let following = self.following.clone();
        let wait = async move {
            following.wait().await;
            told.send(()).ok();
        };
        drop(self.runtime.spawn(wait));
        all_told.recv_timeout(patience).ok();
    }
}

impl Drop for DashboardServer {
    fn drop(&mut self) {
        self.tasks.end.cancel();
    }
}

/// What the requests of one connection share.
struct Session {
    dashboard: Arc<Dashboard>,
    /// Held from the beginning of a stream of events to the end of the connection.
    follows: Mutex<Option<TaskTrackerToken>>,
}

impl Session {
    fn answer(&self, request: &Request<Incoming>) -> Response<ReplyBody> {
        let Dashboard { address, page, .. } = &*self.dashboard;
        if let Err(why) = origin::check(request.headers(), request.uri(), *address) {
            return self
                .dashboard
                .guarded(reply::text(StatusCode::MISDIRECTED_REQUEST, why.into()));
        }
        let answer = match (request.uri().path(), request.method()) {
            ("/" | "/events", method) if !matches!(*method, Method::GET | Method::HEAD) => {
                let error = "the dashboard is read only: asked for with GET or HEAD\n";
                reply::with_allow(
                    reply::text(StatusCode::METHOD_NOT_ALLOWED, error.into()),
                    "GET, HEAD",
                )
            }
            ("/", _) => page.response(),
            ("/events", method) => self.events(*method == Method::HEAD),
            _ => reply::text(StatusCode::NOT_FOUND, "there are / and /events\n".into()),
        };
        self.dashboard.guarded(answer)
    }

    /// A stream of events to the end of the process, or of the client.
    fn events(&self, head: bool) -> Response<ReplyBody> {
        let Dashboard { feed, streams, tasks, following, .. } = &*self.dashboard;
        let Ok(permit) = streams.clone().try_acquire_owned() else {
            let error = "too many tabs follow already; close one, and this one tries again\n";
            let answer = reply::text(StatusCode::SERVICE_UNAVAILABLE, error.into());
            return reply::closing(answer);
        };
        let (sender, events) = feed::channel();
        if !head {
            *self.follows.lock().unwrap_or_else(PoisonError::into_inner) = Some(following.token());
            let stream = feed.clone().stream(sender);
            // Ends with its client, or with the process; owned by the server.
            tasks.all.spawn(async move {
                stream.await;
                drop(permit);
            });
        }
        reply::closing(reply::events(events))
    }
}

impl Dashboard {
    /// What goes with every answer: nothing of it is for another page.
    fn guarded(&self, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
        self.page.guard(response.headers_mut());
        response
    }
}

#[cfg(test)]
#[path = "dashboard_tests.rs"]
mod tests;
