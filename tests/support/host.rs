//! The real binary, from its command line to its exit code.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, process};

use rustix::process::{Signal, geteuid};

use super::PATIENCE;
use super::app::Folder;
use super::exit::{Exit, OUTPUT_PATIENCE};
use super::http1::Response;
use super::lines::{Mark, Missed};
use super::process::{Process, TempPath};
use super::raw::Conn;
use super::scarce::{User, binary_for_all};
use super::target::Target;

/// The file of the guest called `name` (`hello_p2`), which `make guests` has built.
///
/// # Panics
/// When there is none.
pub fn guest(name: &str) -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests");
    let folder = env::var_os("HOST_GUESTS").map_or_else(|| PathBuf::from(built), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.exists(), "no guest {}: run `make guests` first", path.display());
    path
}

/// A pipe or a terminal in place of the usual pipe.
struct Stderr {
    writer: OwnedFd,
    reader: Box<dyn Read + Send>,
}

impl fmt::Debug for Stderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stderr").field(&self.writer).finish()
    }
}

/// A host to be started: `Host::serve("hello_p2").args([...]).start()`.
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct Serve {
    program: PathBuf,
    app: PathBuf,
    tcp: bool,
    unix: Option<TempPath>,
    control: Option<TempPath>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    under: Vec<OsString>,
    stderr: Option<Stderr>,
    user: Option<User>,
}

impl Serve {
    /// Adds arguments.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Is run by this command, which takes another and becomes it: `setpriv`, `prlimit`, `env`.
    pub fn under<S: Into<OsString>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.under.splice(0..0, command.into_iter().map(Into::into));
        self
    }

    /// Runs as a user who has no right of root's. Where we are not root, we are one already.
    pub fn unprivileged(self) -> Self {
        let user = geteuid().is_root().then(User::new).flatten();
        let serve = match &user {
            Some(user) => user.runs(self),
            None => self,
        };
        Self { user, ..serve }
    }

    /// Serves a copy of what it would have served, in `folder`.
    pub(super) fn serving_a_copy_in(mut self, folder: &Folder) -> Self {
        let name = self.app.file_name().and_then(OsStr::to_str).expect("a file of ours");
        let copy = folder.join(name);
        fs::copy(&self.app, &copy).expect("the folder takes files");
        self.app = copy;
        self
    }

    /// Gives it `writer` as its stderr, and reads its log from `reader`.
    pub fn stderr(
        mut self,
        writer: impl Into<OwnedFd>,
        reader: impl Read + Send + 'static,
    ) -> Self {
        let writer = writer.into();
        self.stderr = Some(Stderr { writer, reader: Box::new(reader) });
        self
    }

    /// Listens on a Unix socket too. Its path is new, short, and removed in the end.
    pub fn unix(mut self) -> Self {
        self.unix = Some(new_socket());
        self
    }

    /// Has a control socket, for [`Host::ctl`]. Its path is new, short, and removed in the end. Without
    /// this, without `--control` and without a runtime directory of the test's own there is none: a
    /// test may not meet the hosts of others.
    pub fn control(mut self) -> Self {
        self.control = Some(new_socket());
        self
    }

    /// Starts the host from another file than the one that was built.
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Does not listen on TCP.
    pub fn no_tcp(mut self) -> Self {
        self.tcp = false;
        self
    }

    /// Starts the host and waits for its ready line.
    ///
    /// # Panics
    /// When it ends or stays silent instead; its stderr is in the message.
    #[track_caller]
    pub fn start(self) -> Host {
        let (process, Self { unix, control, user, .. }) = self.spawn();
        let (targets, told) = (Vec::new(), Mutex::default());
        let mut host = Host { process, targets, unix, control, told, _user: user };
        let ready = host.wait_ready();
        host.targets = ready;
        host
    }

    /// Starts the host, which is to end by itself.
    #[track_caller]
    pub fn start_in_vain(self) -> Exit {
        let (process, _serve) = self.spawn();
        Exit::of(process, None, Instant::now(), PATIENCE)
    }

    fn spawn(mut self) -> (Process, Self) {
        let mut command = started_from(&self.program, &self.under);
        command.arg("serve").arg(&self.app);
        if self.tcp {
            command.args(["--addr", "127.0.0.1:0"]);
        }
        if let Some(path) = &self.unix {
            command.arg("--addr").arg(format!("unix:{}", path.0.display()));
        }
        let caches = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            arg == "--no-cache" || arg.starts_with("--cache-dir")
        };
        if !self.args.iter().any(caches) {
            // Ours, so that a test neither fills nor depends on the cache of the user.
            command.args(["--cache-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache")]);
        }
        if let Some(path) = &self.control {
            command.arg("--control").arg(&path.0);
        } else if !self.args.iter().any(|arg| arg == "--control")
            && !self.env.iter().any(|(name, _)| name == "XDG_RUNTIME_DIR")
        {
            command.args(["--control", "off"]);
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        let process = match self.stderr.take() {
            Some(Stderr { writer, reader }) => Process::spawn_writing(&mut command, writer, reader),
            None => Process::spawn(&mut command),
        };
        (process, self)
    }
}

/// A running host. Dropping it kills it with all that it started.
#[derive(Debug)]
pub struct Host {
    process: Process,
    targets: Vec<Target>,
    unix: Option<TempPath>,
    control: Option<TempPath>,
    /// When it got its latest signal.
    told: Mutex<Option<Instant>>,
    /// Whom it runs as, with what it reads and writes.
    _user: Option<User>,
}

impl Host {
    /// A host that will serve the guest called `name`, or the file at `name` if that is a path.
    pub fn serve(name: &str) -> Serve {
        let app = if name.contains('/') { PathBuf::from(name) } else { guest(name) };
        let (args, env, under) = (Vec::new(), Vec::new(), Vec::new());
        let program = BINARY.into();
        Serve {
            program,
            app,
            tcp: true,
            unix: None,
            control: None,
            args,
            env,
            under,
            stderr: None,
            user: None,
        }
    }

    /// Runs `host ARGS...` to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Exit {
        let process = Process::spawn(binary().args(args));
        Exit::of(process, None, Instant::now(), PATIENCE)
    }

    /// The same with an environment variable.
    #[track_caller]
    pub fn run_with<S: AsRef<OsStr>>(
        (name, value): (&str, &Path),
        args: impl IntoIterator<Item = S>,
    ) -> Exit {
        let process = Process::spawn(binary().env(name, value).args(args));
        Exit::of(process, None, Instant::now(), PATIENCE)
    }

    /// The same, run by this command, which takes another and becomes it.
    #[track_caller]
    pub fn run_under<S: AsRef<OsStr>>(
        under: &[OsString],
        args: impl IntoIterator<Item = S>,
    ) -> Exit {
        let process = Process::spawn(started_from(Path::new(BINARY), under).args(args));
        Exit::of(process, None, Instant::now(), PATIENCE)
    }

    /// Runs `host ctl ARGS...` about this host to its end.
    #[track_caller]
    pub fn ctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Exit {
        self.start_ctl(args).wait_exit()
    }

    /// Starts `host ctl ARGS...` about this host.
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
            Target::Unix(_) => None,
        };
        self.targets.iter().find_map(tcp).expect("the host listens on TCP")
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

    /// Waits for the first log line with `text`, be it there already, and returns it.
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
    /// When it does not come within [`PATIENCE`].
    #[track_caller]
    pub fn wait_exit(self) -> Exit {
        self.wait_exit_within(PATIENCE)
    }

    /// Waits for its end, which may take longer than usual.
    #[track_caller]
    pub fn wait_exit_within(self, patience: Duration) -> Exit {
        let told = *self.told.lock().expect("held for one store");
        Exit::of(self.process, self.unix, told.unwrap_or_else(Instant::now), patience)
    }

    #[track_caller]
    fn wait_ready(&self) -> Vec<Target> {
        let stdout = &self.process.stdout;
        let line = stdout.wait_for("", Mark::START, 1, Instant::now() + PATIENCE);
        let Ok(line) = line else {
            // Its stderr is printed by the drop.
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
        addrs.map(target).collect()
    }
}

/// A `host ctl` that runs. Dropping it kills it.
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

    /// Whether it has ended by now.
    pub fn has_ended(&self) -> bool {
        self.process.wait(Instant::now()).is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come within [`PATIENCE`].
    #[track_caller]
    pub fn wait_exit(self) -> Exit {
        Exit::of(self.process, None, self.began, PATIENCE)
    }
}

/// A path for a socket that nobody else uses.
fn new_socket() -> TempPath {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    TempPath(env::temp_dir().join(format!("host-e2e-{}-{n}.sock", process::id())))
}

/// The binary, with none of our own settings in its environment.
fn binary() -> Command {
    started_from(Path::new(BINARY), &[])
}

/// The host that was built.
const BINARY: &str = env!("CARGO_BIN_EXE_host");

/// A program in its place, or the host run by a command of others.
fn started_from(program: &Path, under: &[OsString]) -> Command {
    let mut command = match under {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary_for_all());
            command
        }
    };
    // Ours, so that no test fills or depends on the cache of the user.
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache-home"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HOST_") {
            command.env_remove(name);
        }
    }
    command
}
