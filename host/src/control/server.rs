//! The control socket's HTTP: which path does what, and what it is answered.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use host_lifecycle::Alarm;
use host_system::unix_socket::OwnedPath;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use socket2::Socket;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{info, warn};

use super::accept::{SameUserListener, ServerTasks, accept};
use super::connection;
use super::connection_limit::ConnectionLimit;
use super::deadlines::Deadlines;
use super::follow;
use super::keyvalue::{self, LARGEST_SET};
use super::opening::{Gated, OperatorsHandle};
use super::rejection::Rejection;
use super::reply::{self, ReplyBody};
use super::request_body::{body, parse};
use super::routes::{KeyValueRoute, ROUTES, Route};
use super::schema::{
    BucketList, CanaryList, ChangeOutcome, CommandError, ConnectionList, EmptyRequest,
    GenerationList, ReloadRequest, RollbackRequest, StopRequest, SwapRequest, UpgradeRequest,
    UsageList,
};
use super::socket::ControlSocket;
use super::{CommandFuture, Host};

/// Operators at once: a few terminals, and scripts that poll.
const MOST_CONNECTIONS: usize = 32;

/// Requests name one file at most.
const LARGEST_BODY: usize = 64 * 1024;

/// The largest body of a request for `route`.
fn largest_body(route: Route) -> usize {
    match route {
        Route::KeyValue(KeyValueRoute::Set) => LARGEST_SET,
        _ => LARGEST_BODY,
    }
}

/// The server of the control socket. Dropping it ends its connections and removes the socket's path,
/// if it is still ours.
#[derive(Debug)]
pub struct ControlServer {
    tasks: ServerTasks,
    leaving: TaskTracker,
    runtime: Handle,
    path: Arc<OwnedPath>,
    handle: OperatorsHandle,
    /// What the handle looks at.
    _socket: Arc<Socket>,
}

impl ControlServer {
    /// Starts to serve `socket` on `runtime`. `alarm` goes off if that ends by a panic.
    ///
    /// # Errors
    /// When the reactor does not take the socket.
    pub fn start(
        socket: ControlSocket,
        host: Arc<dyn Host>,
        alarm: Alarm,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let (tasks, leaving) = (ServerTasks::default(), TaskTracker::new());
        let begins = socket.begins()?;
        let ControlSocket { socket, path, gate, .. } = socket;
        let handle = OperatorsHandle::new(&socket, Some(path.clone()), gate.clone());
        let serve = {
            let (tasks, leaving) = (tasks.clone(), leaving.clone());
            move |io, deadlines: Deadlines| {
                let (host, tasks, leaving) = (host.clone(), tasks.clone(), leaving.clone());
                let session = Arc::new(Session { host, tasks, leaving, last: Mutex::default() });
                connection::serve(io, deadlines.clone(), move |request| {
                    answer(session.clone(), deadlines.clone(), request)
                })
            }
        };
        let limit = ConnectionLimit::new("control", MOST_CONNECTIONS);
        let accepting = {
            let tasks = tasks.clone();
            async move {
                let listener = match begins.await {
                    Ok(listener) => listener,
                    Err(why) => return warn!(%why, "the control socket cannot be listened on"),
                };
                let uid = rustix::process::geteuid().as_raw();
                let listener = Arc::new(SameUserListener { listener, uid });
                accept(Gated { listener, gate }, limit, tasks, serve).await;
            }
        };
        tasks.all.spawn_on(alarm.guard(accepting), runtime);
        info!(control = %path.path().display(), "control socket is open");
        Ok(Self { tasks, leaving, runtime: runtime.clone(), path, handle, _socket: socket })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// For who hands its listener on.
    #[must_use]
    pub fn handle(&self) -> OperatorsHandle {
        self.handle.clone()
    }

    /// Ends it once the clients that asked for a stop or a swap have been told how it went, or `patience` has
    /// passed. Blocks; not to be called on the runtime that serves.
    pub fn close(self, patience: Duration) {
        let (told, all_told) = mpsc::channel();
        self.leaving.close();
        let leaving = self.leaving.clone();
        let wait = async move {
            leaving.wait().await;
            told.send(()).ok();
        };
        drop(self.runtime.spawn(wait));
        all_told.recv_timeout(patience).ok();
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.tasks.end.cancel();
        self.path.remove();
    }
}

/// What the requests of one connection share.
struct Session {
    host: Arc<dyn Host>,
    tasks: ServerTasks,
    leaving: TaskTracker,
    /// Held from a request whose answer a stop may overtake to the end of the connection.
    last: Mutex<Option<TaskTrackerToken>>,
}

async fn answer(
    session: Arc<Session>,
    deadlines: Deadlines,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let answer = async {
        let route = route(&request)?;
        let body = match *request.method() {
            Method::GET => Bytes::new(),
            _ => body(request, largest_body(route)).await?,
        };
        deadlines.request_received();
        session.carry_out(route, &body).await
    };
    answer.await.unwrap_or_else(Rejection::response)
}

fn route(request: &Request<Incoming>) -> Result<Route, Rejection> {
    let (method, path) = (request.method(), request.uri().path());
    let Some((_, route)) = ROUTES.iter().find(|(there, _)| *there == path) else {
        let there: Vec<_> =
            ROUTES.iter().map(|(path, route)| format!("{} {path}", route.method())).collect();
        let error = format!("no such path; there are {}", there.join(", "));
        return Err(Rejection::new(StatusCode::NOT_FOUND, error));
    };
    let right = route.method();
    if method.as_str() == right {
        return Ok(*route);
    }
    let error = format!("{path} is asked for with {right}, not with {method}");
    Err(Rejection { allow: Some(right), ..Rejection::new(StatusCode::METHOD_NOT_ALLOWED, error) })
}

/// The body of a swap, whose path must be absolute.
fn parse_swap(body: &[u8]) -> Result<SwapRequest, Rejection> {
    let swap: SwapRequest = parse(body)?;
    if swap.path.is_absolute() {
        return Ok(swap);
    }
    let error = "path must be absolute: the host runs in another directory";
    Err(Rejection::new(StatusCode::BAD_REQUEST, error))
}

impl Session {
    async fn carry_out(&self, route: Route, body: &[u8]) -> Result<Response<ReplyBody>, Rejection> {
        let host = &self.host;
        match route {
            Route::Status => Ok(reply::json(StatusCode::OK, &host.status())),
            Route::Connections => {
                let connections = host.connections();
                Ok(reply::json(StatusCode::OK, &ConnectionList { connections }))
            }
            Route::Generations => {
                let generations = host.generations();
                Ok(reply::json(StatusCode::OK, &GenerationList { generations }))
            }
            Route::Traffic => Ok(reply::json(StatusCode::OK, &host.traffic_report())),
            Route::Usage => {
                let components = host.usage();
                Ok(reply::json(StatusCode::OK, &UsageList { components }))
            }
            Route::Buckets => {
                let buckets = host.buckets();
                Ok(reply::json(StatusCode::OK, &BucketList { buckets }))
            }
            Route::KeyValue(route) => self.key_value(route, body).await,
            Route::Swap => {
                let SwapRequest { path, component, canary, follow } = parse_swap(body)?;
                self.finish(host.swap(component, path, canary), follow).await
            }
            Route::Stop => self.stop(parse(body)?),
            Route::Reload => {
                let ReloadRequest { follow } = parse(body)?;
                self.finish(host.reload(), follow).await
            }
            Route::ReloadTls => self.reload_tls(body).await,
            Route::Rollback => self.change(body, |component| host.rollback(component)).await,
            Route::Promote => self.change(body, |component| host.promote(component)).await,
            Route::Abort => self.change(body, |component| host.abort(component)).await,
            Route::Upgrade => self.upgrade(body).await,
            Route::Canaries => {
                let canaries = host.canaries();
                Ok(reply::json(StatusCode::OK, &CanaryList { canaries }))
            }
            Route::FollowCanaries => {
                let EmptyRequest {} = parse(body)?;
                self.keep_until_told();
                Ok(self.follow(None))
            }
            Route::Drain => {
                let EmptyRequest {} = parse(body)?;
                self.done(host.drain())
            }
            Route::Undrain => {
                let EmptyRequest {} = parse(body)?;
                self.done(host.undrain())
            }
        }
    }

    /// Runs to its end, also if the client leaves.
    async fn key_value(
        &self,
        route: KeyValueRoute,
        body: &[u8],
    ) -> Result<Response<ReplyBody>, Rejection> {
        let (name, operation) = keyvalue::asked(route, body)?;
        match self.tasks.all.spawn(self.host.key_value(name, operation)).await {
            Ok(answer) => keyvalue::reply(answer),
            Err(why) => Err(Rejection::panicked(&why)),
        }
    }

    /// Runs to its end, as [`Self::finish`] does.
    async fn upgrade(&self, body: &[u8]) -> Result<Response<ReplyBody>, Rejection> {
        let request: UpgradeRequest = parse(body)?;
        self.keep_until_told();
        match self.tasks.all.spawn(self.host.upgrade(request)).await {
            Ok(Ok(report)) => Ok(reply::closing(reply::json(StatusCode::OK, &report))),
            Ok(Err(refused)) => {
                Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, refused.error))
            }
            Err(why) => Err(Rejection::panicked(&why)),
        }
    }

    /// A change of a component that names no file.
    async fn change(
        &self,
        body: &[u8],
        command: impl FnOnce(Option<String>) -> CommandFuture,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let RollbackRequest { component } = parse(body)?;
        self.finish(command(component), false).await
    }

    async fn reload_tls(&self, body: &[u8]) -> Result<Response<ReplyBody>, Rejection> {
        let EmptyRequest {} = parse(body)?;
        self.finish(self.host.reload_tls(), false).await
    }

    /// Runs a command to its end, in a task of its own: the client may leave before. A stop may overtake
    /// it, so the process waits for the end of this connection before it exits. With `follow` the answer goes on until
    /// the canaries that it began have ended.
    async fn finish(
        &self,
        command: CommandFuture,
        follow: bool,
    ) -> Result<Response<ReplyBody>, Rejection> {
        self.keep_until_told();
        match self.tasks.all.spawn(command).await {
            Ok(outcome @ ChangeOutcome::Rejected { .. }) => {
                let answer = reply::json(StatusCode::UNPROCESSABLE_ENTITY, &outcome);
                Ok(reply::closing(answer))
            }
            Ok(outcome) if follow => Ok(self.follow(Some(outcome))),
            Ok(outcome) => Ok(reply::closing(reply::json(StatusCode::OK, &outcome))),
            Err(why) => Err(Rejection::panicked(&why)),
        }
    }

    /// Answers with the outcome of a change and with how far its canaries are; or, without a change, those under way.
    fn follow(&self, outcome: Option<ChangeOutcome>) -> Response<ReplyBody> {
        let (sender, lines) = follow::channel();
        self.tasks.all.spawn(follow::canaries(self.host.clone(), outcome, sender));
        reply::closing(reply::lines(lines))
    }

    fn keep_until_told(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.leaving.token());
    }

    fn done(&self, result: Result<(), CommandError>) -> Result<Response<ReplyBody>, Rejection> {
        match result {
            Ok(()) => Ok(reply::json(StatusCode::OK, &self.host.progress())),
            Err(refused) => Err(Rejection::new(StatusCode::CONFLICT, refused.error)),
        }
    }

    /// Asks for a stop. The process waits for the end of this connection before it exits, so that
    /// the answer is not lost.
    fn stop(
        &self,
        StopRequest { now, follow }: StopRequest,
    ) -> Result<Response<ReplyBody>, Rejection> {
        self.keep_until_told();
        let refused = |why: CommandError| Rejection::new(StatusCode::CONFLICT, why.error);
        self.host.stop(now).map_err(refused)?;
        if !follow {
            return Ok(reply::closing(reply::json(StatusCode::ACCEPTED, &self.host.progress())));
        }
        let (sender, lines) = follow::channel();
        self.tasks.all.spawn(follow::report(self.host.clone(), sender));
        Ok(reply::closing(reply::lines(lines)))
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
