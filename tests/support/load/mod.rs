//! The load for the main claim: clients that follow the RFCs, never retry, and forgive no loss.
//!
//! A request is **lost** when bytes of it were sent and its whole response did not come: reset, early end,
//! wrong status, wrong body, no `FIN` after `Connection: close`. A connection that was reset, idle or just
//! made, is lost too. An event that the client could see *before* it sent is **not** a loss: a refused
//! connect once the stop has begun, a FIN on an idle connection (each client looks before it sends its next
//! request, but not before its first), and in HTTP/2 a request that was not processed by the word of GOAWAY.
//! The ledger counts each kind, so that a run explains itself.

mod client;
mod h1;
mod h2;
mod ledger;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, geteuid};

use self::client::Client;
pub use self::ledger::Ledger;
use super::exit::Exit;
use super::host::Host;
use super::metrics::{self, Metrics};
use super::raw::Conn;
use super::scarce::User;
use super::target::Target;
use super::{PATIENCE, says};

/// How many responses each client must get before the stop.
const WARM: u64 = 3;
/// How many clients share a connection in [`Mode::H2Kept`].
const STREAMS: usize = 8;
/// How much of a host's log is printed when a stop went wrong.
const LOG_TAIL: usize = 40;

/// How the clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1, one connection per client, kept while the host keeps it.
    H1Kept,
    /// HTTP/1.1, a connection for each request; every other client asks to close it.
    H1Fresh,
    /// HTTP/2, one connection for eight clients, each with one stream at a time.
    H2Kept,
    /// HTTP/2, a connection for each request.
    H2Fresh,
}

/// HTTP/1.1 clients beside the others, in any mode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Company {
    /// Clients with uploads that the guest does not read: it responds, and the uploads end after the response.
    pub held: usize,
    /// Clients that keep an idle connection.
    pub idle: usize,
}

/// How many stops a loss test makes: `HOST_SOAK_STOPS`, or 20.
///
/// # Panics
/// When it is not a number.
pub fn stops_per_test() -> usize {
    match env::var("HOST_SOAK_STOPS") {
        Ok(stops) => stops.parse().expect("HOST_SOAK_STOPS is a number"),
        Err(_) => 20,
    }
}

/// The address of a host that the clients of a load connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The plain one.
    Plain,
    /// The one that speaks TLS.
    Tls,
}

/// Starts a host with `guest` and stops it while `clients` clients in `mode` are busy. Does that `stops`
/// times; if we are root, every other time as an unprivileged user. The guest responds to `/?ms=5` and reads
/// no body.
///
/// # Panics
/// When a host does not exit with 0, or reports that it cut or dropped something. Losses of the clients do not
/// panic: the caller checks the ledger.
#[track_caller]
pub fn stop_under_load(
    guest: &str,
    (mode, over): (Mode, Over),
    clients: usize,
    stops: usize,
) -> Ledger {
    let mut total = Ledger::default();
    let user = geteuid().is_root().then(User::new).flatten();
    for stop in 1..=stops {
        // Shorter than the patience, so that a drain that hangs ends with its own report.
        let serve = Host::serve(guest).args(["--drain-timeout", "10s"]).args(metrics::ARGS);
        let serve = if over == Over::Tls { serve.tls() } else { serve };
        let (serve, unprivileged) = match &user {
            Some(user) if stop % 2 == 0 => (user.runs(serve), true),
            Some(_) => (serve, false),
            None => (serve, true),
        };
        let host = serve.start();
        let target = match over {
            Over::Plain => host.addr().into(),
            Over::Tls => Target::Tls(host.tls_addr()),
        };
        let load = Load::new(target, "/?ms=5");
        let company = Company { held: 4, idle: if idlers_join(stop) { 4 } else { 0 } };
        let held = HeldUpload::on(&host);
        let (mut ledger, host) = load.drive_with(mode, clients, company, move || {
            host.signal(Signal::TERM);
            host
        });
        assert_accounted(&host, &ledger);
        held.finish();
        let exit = host.wait_exit();
        ledger.stops = 1;
        ledger.unprivileged = usize::from(unprivileged);
        ledger.slowest = exit.took;
        explain(stop, &ledger, &exit);
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        total.merge(ledger);
    }
    println!("{mode:?}, {over:?}, {guest}, {clients} clients: {total}");
    total
}

/// A request whose body the host waits for: a stop waits with it, and may be looked at.
struct HeldUpload(Conn);

impl HeldUpload {
    #[track_caller]
    fn on(host: &Host) -> Self {
        let mut conn = host.connect();
        conn.send("POST /?ms=0 HTTP/1.1\r\nHost: held.test\r\nContent-Length: 2\r\n\r\n1")
            .expect("the host reads");
        Metrics::wait(host, |metrics| metrics.sum("http_server_active_requests", &[]) > 0.0);
        Self(conn)
    }

    #[track_caller]
    fn finish(mut self) {
        self.0.send("2").expect("the host reads");
        assert_eq!(self.0.read_response("POST").expect("an answer").status(), 200);
    }
}

/// Fails unless the host has counted what the clients have: each request that came has ended well, but for the one
/// that is held. (A client may have its answer before the host has counted it.)
#[track_caller]
fn assert_accounted(host: &Host, ledger: &Ledger) {
    let told = Metrics::wait(host, |told| told.sum("http_server_active_requests", &[]) == 1.0);
    // The request that showed what every answer must be is in no ledger.
    let answered = ledger.answered + 1;
    #[expect(clippy::cast_precision_loss, reason = "no test sends so many")]
    let wanted = (answered as f64, answered as f64 + 1.0);
    let accepted = told.sum("host_requests_accepted_total", &[]);
    assert_eq!((told.ended("finished"), accepted), wanted, "{ledger}\n{told:?}");
    assert_eq!(told.sum("host_exchanges_total", &[]), wanted.0, "{ledger}\n{told:?}");
}

/// Whether idle clients join a stop. They make it as long as the linger, so they join each stop of a soak and
/// some of any other test, of both users.
fn idlers_join(stop: usize) -> bool {
    env::var_os("HOST_SOAK_STOPS").is_some() || stop.is_multiple_of(9)
}

fn explain(stop: usize, ledger: &Ledger, exit: &Exit) {
    if ledger.lost.is_empty() && exit.code == 0 {
        return;
    }
    let lines: Vec<&str> = exit.stderr.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
    eprintln!("stop {stop}: {ledger}\n---- the end of its log, exit {} ----\n{tail}", exit.code);
}

/// The state that the clients of one run share.
#[derive(Debug)]
pub struct Load {
    target: Target,
    path: String,
    expected: Vec<u8>,
    stopping: AtomicBool,
    warm: Mutex<usize>,
    warmed: Condvar,
}

impl Load {
    /// A load of `GET path` on `target`. One request now shows what every response must be.
    ///
    /// # Panics
    /// When its response is not 200 with a body.
    #[track_caller]
    pub fn new(target: impl Into<Target>, path: &str) -> Arc<Self> {
        let target = target.into();
        let mut conn = Conn::connect(&target).expect("the first connection");
        let answer = conn.get(path).expect("the first answer");
        assert_eq!(answer.status(), 200, "to GET {path}");
        assert!(!answer.body.bytes.is_empty(), "no body to compare with, to GET {path}");
        Self::expecting(target, path, answer.body.bytes)
    }

    /// A load of `GET path` on `target`. Every response must be 200 with `expected`.
    pub fn expecting(
        target: impl Into<Target>,
        path: &str,
        expected: impl Into<Vec<u8>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            target: target.into(),
            path: path.to_owned(),
            expected: expected.into(),
            stopping: AtomicBool::new(false),
            warm: Mutex::new(0),
            warmed: Condvar::new(),
        })
    }

    /// Runs `clients` clients, calls `stop` as soon as each has got [`WARM`] responses or has lost a request,
    /// and waits until all have been refused.
    ///
    /// # Panics
    /// When the clients get no responses, or when `stop` panics.
    pub fn drive<T>(
        self: &Arc<Self>,
        mode: Mode,
        clients: usize,
        stop: impl FnOnce() -> T,
    ) -> (Ledger, T) {
        self.drive_with(mode, clients, Company::default(), stop)
    }

    /// The same with other clients beside them.
    ///
    /// # Panics
    /// As [`Self::drive`].
    pub fn drive_with<T>(
        self: &Arc<Self>,
        mode: Mode,
        clients: usize,
        company: Company,
        stop: impl FnOnce() -> T,
    ) -> (Ledger, T) {
        self.drive_after(mode, clients, (company, || ()), |()| stop())
    }

    /// The same after something else, in which nobody may be refused.
    ///
    /// # Panics
    /// As [`Self::drive`].
    pub fn drive_after<M, T>(
        self: &Arc<Self>,
        mode: Mode,
        clients: usize,
        (company, meanwhile): (Company, impl FnOnce() -> M),
        stop: impl FnOnce(M) -> T,
    ) -> (Ledger, T) {
        let all = clients + company.held + company.idle;
        thread::scope(move |scope| {
            // This closure owns them. A panic drops them, and with them the host, before the clients are joined,
            // so the clients end.
            let (meanwhile, stop) = (meanwhile, stop);
            let mut everyone = (1..=clients).map(|who| Client::new(who, Arc::clone(self)));
            let mut threads = Vec::new();
            for who in clients + 1..=all {
                let client = Client::new(who, Arc::clone(self));
                let held = who <= clients + company.held;
                let live = if held { h1::held } else { h1::idle };
                threads.push(scope.spawn(move || live(client)));
            }
            while let Some(first) = everyone.next() {
                threads.push(match mode {
                    Mode::H1Kept => scope.spawn(move || h1::kept(first)),
                    Mode::H1Fresh => scope.spawn(move || h1::fresh(first)),
                    Mode::H2Fresh => scope.spawn(move || h2::fresh(first)),
                    Mode::H2Kept => {
                        let mut group = vec![first];
                        group.extend(everyone.by_ref().take(STREAMS - 1));
                        scope.spawn(move || h2::kept(group))
                    }
                });
            }
            self.wait_warm(all);
            let passed = meanwhile();
            // Set before the signal, so that a client that the signal refuses sees it.
            self.stopping.store(true, Ordering::SeqCst);
            let stopped = stop(passed);
            let mut ledger = Ledger::default();
            for thread in threads {
                ledger.merge(thread.join().expect("a client does not panic"));
            }
            (ledger, stopped)
        })
    }

    fn wait_warm(&self, clients: usize) {
        let until = Instant::now() + PATIENCE;
        let mut warm = self.warm.lock().expect("held for one addition");
        while *warm < clients {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {warm} of {clients} clients got {WARM} answers");
            (warm, _) = self.warmed.wait_timeout(warm, left).expect("as above");
        }
    }

    fn one_more_is_warm(&self) {
        *self.warm.lock().expect("held for one addition") += 1;
        self.warmed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}
