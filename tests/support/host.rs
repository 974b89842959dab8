//! The real binary, from its command line to its exit code.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::PATIENCE;
use super::binary::{BINARY, binary, guest, started_from};
use super::exit::{Exit, OUTPUT_PATIENCE};
use super::http1::Response;
use super::lines::{Mark, Missed};
use super::process::{Process, TempPath};
use super::raw::Conn;
use super::scarce::User;
use super::serve::Serve;
use super::target::Target;

/// A running host. Dropping it kills it and all processes that it started.
#[derive(Debug)]
pub struct Host {
    process: Process,
    targets: Vec<Target>,
    unix: Option<TempPath>,
    control: Option<TempPath>,
    /// The time of its latest signal.
    told: Mutex<Option<Instant>>,
    /// The user that it runs as, with the user's files.
    _user: Option<User>,
}

impl Host {
    /// A host that will serve the guest called `name`, or the file at `name` if that is a path.
    pub fn serve(name: &str) -> Serve {
        Serve::new(if name.contains('/') { PathBuf::from(name) } else { guest(name) })
    }

    /// A host that has been started, once it is ready. `sockets` are its listener and its control socket. `tls` is
    /// whether its last address speaks TLS.
    #[track_caller]
    pub(super) fn ready(
        (process, tls): (Process, bool),
        [unix, control]: [Option<TempPath>; 2],
        user: Option<User>,
    ) -> Self {
        let mut host = Self {
            process,
            targets: Vec::new(),
            unix,
            control,
            told: Mutex::default(),
            _user: user,
        };
        host.targets = host.wait_ready(tls);
        host
    }

    /// Runs `host ARGS...` to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Exit {
        let process = Process::spawn(binary().args(args));
        Exit::wait(process, None, Instant::now(), PATIENCE)
    }

    /// The same with an environment variable.
    #[track_caller]
    pub fn run_with<S: AsRef<OsStr>>(
        (name, value): (&str, &Path),
        args: impl IntoIterator<Item = S>,
    ) -> Exit {
        let process = Process::spawn(binary().env(name, value).args(args));
        Exit::wait(process, None, Instant::now(), PATIENCE)
    }

    /// The same, run by this command, which takes another command and becomes it.
    #[track_caller]
    pub fn run_under<S: AsRef<OsStr>>(
        under: &[OsString],
        args: impl IntoIterator<Item = S>,
    ) -> Exit {
        let process = Process::spawn(started_from(Path::new(BINARY), under).args(args));
        Exit::wait(process, None, Instant::now(), PATIENCE)
    }

    /// Runs `host ctl ARGS...` for this host to its end.
    #[track_caller]
    pub fn ctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Exit {
        self.start_ctl(args).wait_exit()
    }

    /// Starts `host ctl ARGS...` for this host.
    pub fn start_ctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ctl {
        let mut command = binary();
        command.arg("ctl").arg("--socket").arg(self.control_path()).args(args);
        Ctl { process: Process::spawn(&mut command), began: Instant::now() }
    }

    /// The path of the control socket that [`Serve::control`] asked for.
    #[track_caller]
    pub fn control_path(&self) -> &Path {
        &self.control.as_ref().expect("the host was started with `.control()`").0
    }

    /// The first TCP address.
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        let tcp = |target: &Target| match target {
            Target::Tcp(addr) => Some(*addr),
            Target::Unix(_) | Target::Tls(_) => None,
        };
        self.targets.iter().find_map(tcp).expect("the host listens on TCP")
    }

    /// The address that [`Serve::tls`] asked for.
    #[track_caller]
    pub fn tls_addr(&self) -> SocketAddr {
        match self.targets.last() {
            Some(Target::Tls(addr)) => *addr,
            other => panic!("the host was started with `.tls()`: {other:?}"),
        }
    }

    /// Every address, in the order of the ready line.
    pub fn addrs(&self) -> &[Target] {
        &self.targets
    }

    /// The path of the Unix socket that [`Serve::unix`] asked for.
    #[track_caller]
    pub fn unix_path(&self) -> &Path {
        &self.unix.as_ref().expect("the host was started with `.unix()`").0
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A new connection to its first address.
    #[track_caller]
    pub fn connect(&self) -> Conn {
        let target = &self.targets[0];
        match Conn::connect(target) {
            Ok(conn) => conn,
            Err(e) => panic!("cannot connect to {target}: {e}"),
        }
    }

    /// One whole `GET` on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        match self.connect().get(path) {
            Ok(response) => response,
            Err(e) => panic!("GET {path}: {e}"),
        }
    }

    /// Sends `signal`. [`Exit::took`] counts from the latest one.
    pub fn signal(&self, signal: Signal) {
        *self.told.lock().expect("held for one store") = Some(Instant::now());
        self.process.signal(signal);
    }

    /// The place in the log after its last line so far.
    pub fn mark(&self) -> Mark {
        self.process.stderr.mark()
    }

    /// Waits for the first log line with `text`, which may be there already, and returns it.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_line(text, Mark::START, 1)
    }

    /// Waits for a log line with `text` after `mark`.
    #[track_caller]
    pub fn wait_log_after(&self, mark: Mark, text: &str) -> String {
        self.wait_line(text, mark, 1)
    }

    /// Waits for the `nth` log line with `text`, counted from 1.
    #[track_caller]
    pub fn wait_log_nth(&self, text: &str, nth: usize) -> String {
        self.wait_line(text, Mark::START, nth)
    }

    /// Waits for the `nth` log line with `text` after `mark`, counted from 1.
    #[track_caller]
    pub fn wait_log_nth_after(&self, mark: Mark, text: &str, nth: usize) -> String {
        self.wait_line(text, mark, nth)
    }

    #[track_caller]
    fn wait_line(&self, text: &str, mark: Mark, nth: usize) -> String {
        match self.process.stderr.wait_for(text, mark, nth, Instant::now() + PATIENCE) {
            Ok(line) => line,
            Err(Missed::Closed) => panic!("the host ended without logging {text:?} (number {nth})"),
            Err(Missed::TimedOut) => {
                panic!("no {text:?} (number {nth}) in the log in {PATIENCE:?}")
            }
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// The stdout so far: the ready line and nothing else.
    pub fn stdout(&self) -> String {
        self.process.stdout.text()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn wait_exit(self) -> Exit {
        self.wait_exit_within(PATIENCE)
    }

    /// Waits for its end, which may take longer than usual.
    #[track_caller]
    pub fn wait_exit_within(self, patience: Duration) -> Exit {
        let told = *self.told.lock().expect("held for one store");
        Exit::wait(self.process, self.unix, told.unwrap_or_else(Instant::now), patience)
    }

    #[track_caller]
    fn wait_ready(&self, tls: bool) -> Vec<Target> {
        let stdout = &self.process.stdout;
        let line = stdout.wait_for("", Mark::START, 1, Instant::now() + PATIENCE);
        let Ok(line) = line else {
            // The drop prints its stderr.
            let code = self.process.wait(Instant::now() + OUTPUT_PATIENCE);
            panic!("the host did not become ready: {line:?}, exit {code:?}");
        };
        let fields: Vec<&str> = line.split(' ').collect();
        let pid = format!("pid={}", self.pid());
        assert!(
            fields.first() == Some(&"ready") && fields.last() == Some(&pid.as_str()),
            "not a ready line with {pid}: {line:?}"
        );
        let addrs = fields.iter().filter_map(|field| field.strip_prefix("addr="));
        let target = |text| Target::parse(text).unwrap_or_else(|| panic!("address in {line:?}"));
        let mut targets: Vec<Target> = addrs.map(target).collect();
        if tls
            && let Some(last) = targets.last_mut()
            && let Target::Tcp(addr) = *last
        {
            *last = Target::Tls(addr);
        }
        targets
    }
}

/// A running `host ctl`. Dropping it kills it.
#[derive(Debug)]
pub struct Ctl {
    process: Process,
    began: Instant,
}

impl Ctl {
    /// Waits for a line on its stdout with `text`.
    #[track_caller]
    pub fn wait_line(&self, text: &str) -> String {
        let line = self.process.stdout.wait_for(text, Mark::START, 1, Instant::now() + PATIENCE);
        line.unwrap_or_else(|missed| panic!("host ctl has not said {text:?}: {missed:?}"))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.process.wait(Instant::now()).is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn wait_exit(self) -> Exit {
        Exit::wait(self.process, None, self.began, PATIENCE)
    }
}
