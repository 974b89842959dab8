//! A host to be started, with its command line and its environment.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fmt, fs};

use rustix::process::geteuid;

use super::PATIENCE;
use super::app::Folder;
use super::binary::{BINARY, new_socket, started_from};
use super::exit::Exit;
use super::host::Host;
use super::process::{Process, TempPath};
use super::scarce::User;
use super::tls_client;

/// A pipe or a terminal in place of the usual pipe for stderr.
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
    /// `host dev`, which passes flags on.
    dev: bool,
    tcp: bool,
    tls: bool,
    unix: Option<TempPath>,
    control: Option<TempPath>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    under: Vec<OsString>,
    stderr: Option<Stderr>,
    user: Option<User>,
}

impl Serve {
    /// A host that will serve the file `app`, on a port of 127.0.0.1 that the kernel chooses.
    pub(super) fn new(app: PathBuf) -> Self {
        Self {
            program: BINARY.into(),
            app,
            dev: false,
            tcp: true,
            tls: false,
            unix: None,
            control: None,
            args: Vec::new(),
            env: Vec::new(),
            under: Vec::new(),
            stderr: None,
            user: None,
        }
    }

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

    /// Has the host run by this command, which takes another and becomes it: `setpriv`, `prlimit`, `env`.
    pub fn under<S: Into<OsString>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.under.splice(0..0, command.into_iter().map(Into::into));
        self
    }

    /// Runs as a user without any right of root's. If we are not root, our own user is such a user.
    pub fn unprivileged(self) -> Self {
        let user = geteuid().is_root().then(User::new).flatten();
        let serve = match &user {
            Some(user) => user.runs(self),
            None => self,
        };
        Self { user, ..serve }
    }

    /// Serves a copy of its component, in `folder`. A manifest stays where it is, beside what it names.
    pub(super) fn serving_a_copy_in(mut self, folder: &Folder) -> Self {
        if self.app.extension() != Some(OsStr::new("wasm")) {
            return self;
        }
        let name = self.app.file_name().and_then(OsStr::to_str).expect("a file of ours");
        let copy = folder.join(name);
        fs::copy(&self.app, &copy).expect("the folder takes files");
        self.app = copy;
        self
    }

    /// Uses `writer` as its stderr, and reads its log from `reader`.
    pub fn stderr(
        mut self,
        writer: impl Into<OwnedFd>,
        reader: impl Read + Send + 'static,
    ) -> Self {
        let writer = writer.into();
        self.stderr = Some(Stderr { writer, reader: Box::new(reader) });
        self
    }

    /// Listens on a Unix socket too. Its path is new and short, and removed at the end.
    pub fn unix(mut self) -> Self {
        self.unix = Some(new_socket());
        self
    }

    /// Speaks TLS on an address of its own too, with the certificate of [`tls_client`](super::tls_client).
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Listens wherever it can: on TCP, on a Unix socket, and over TLS.
    pub fn everywhere(self) -> Self {
        self.unix().tls()
    }

    /// Has a control socket, for [`Host::ctl`]. Its path is new and short, and removed at the end. Without
    /// this, without `--control` and without a runtime directory of the test's own there is no control
    /// socket, so that a test does not meet other hosts.
    pub fn control(mut self) -> Self {
        self.control = Some(new_socket());
        self
    }

    /// Starts the host from another file than the built one.
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// By `host dev`.
    pub fn dev(mut self) -> Self {
        self.dev = true;
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
    /// When it ends or stays silent instead. The message has its stderr.
    #[track_caller]
    pub fn start(self) -> Host {
        let (process, Self { unix, control, user, tls, .. }) = self.spawn();
        Host::ready((process, tls), [unix, control], user)
    }

    /// Starts a host that must end by itself.
    #[track_caller]
    pub fn start_in_vain(self) -> Exit {
        let (process, _serve) = self.spawn();
        Exit::wait(process, None, Instant::now(), PATIENCE)
    }

    fn spawn(mut self) -> (Process, Self) {
        let mut command = started_from(&self.program, &self.under);
        match self.dev {
            true => command.arg("dev").arg(&self.app).arg("--"),
            false => command.arg("serve").arg(&self.app),
        };
        if self.tcp {
            command.args(["--addr", "127.0.0.1:0"]);
        }
        if let Some(path) = &self.unix {
            command.arg("--addr").arg(format!("unix:{}", path.0.display()));
        }
        if self.tls {
            command
                .args(["--tls-addr", "127.0.0.1:0", "--tls-cert"])
                .arg(tls_client::certificate());
            command.arg("--tls-key").arg(tls_client::key());
        }
        let caches = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            arg == "--no-cache" || arg.starts_with("--cache-dir")
        };
        if !self.args.iter().any(caches) {
            // Our own, so that a test neither fills nor depends on the user's cache.
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
