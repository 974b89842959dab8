//! A host with few resources: as a user with a limit on threads, or in a cgroup of its own.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use rustix::process::geteuid;

use super::PATIENCE;
use super::app::Folder;
use super::host::Host;
use super::serve::Serve;

/// User numbers without a person: the limit on threads counts all threads of a user, and does not bind root.
const FIRST_UID: u32 = 200_000;

/// A user of the test's own.
#[derive(Debug)]
pub struct User {
    uid: u32,
    /// The folder that the user may write to.
    pub folder: Folder,
}

impl User {
    /// A new user. None without root, which it prints.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            println!("only root can become another user; nothing tested");
            return None;
        }
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let uid = FIRST_UID + process::id() % 100_000 * 16 + n;
        let folder = Folder::new();
        chown(folder.join(""), Some(uid), Some(uid)).expect("root may");
        Some(Self { uid, folder })
    }

    /// The command that runs another as this user, with these limits of prlimit(1).
    pub fn with(&self, limits: &[&str]) -> Vec<OsString> {
        let uid = self.uid.to_string();
        let mut words = vec!["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
        if !limits.is_empty() {
            words.push("prlimit");
            words.extend(limits);
            words.push("--");
        }
        words.into_iter().map(Into::into).collect()
    }

    /// Sets a soft limit of a host that runs as this user: `--nproc=1:`.
    #[track_caller]
    pub fn limit(&self, host: &Host, limit: &str) {
        let words = self.with(&["--pid", &host.pid().to_string(), limit]);
        let (first, rest) = words.split_first().expect("there are some");
        // Without a command after it.
        let rest = rest.iter().filter(|word| *word != "--");
        let status = Command::new(first).args(rest).status().expect("prlimit runs");
        assert!(status.success(), "{words:?}");
    }

    /// Runs `serve` as this user.
    pub fn runs(&self, serve: Serve) -> Serve {
        self.serve(serve, &[])
    }

    /// Runs `serve` as this user, with these limits and a code cache of its own, and with a copy of the component: the
    /// original may lie where only we can read, as in a clone in root's home.
    pub fn serve(&self, serve: Serve, limits: &[&str]) -> Serve {
        let cache: OsString = self.folder.join("cache").into();
        let serve = serve.serving_a_copy_in(&self.folder);
        serve.under(self.with(limits)).args(["--cache-dir".into(), cache])
    }
}

/// The number of a host's threads.
pub fn threads(host: &Host) -> usize {
    fs::read_dir(format!("/proc/{}/task", host.pid())).expect("it runs").count()
}

/// A cgroup of the test's own. Dropping it removes it, once it has no process any more.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    version: u8,
}

impl Cgroup {
    /// A cgroup with this controller. None where it cannot be made, which it prints.
    pub fn new(controller: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
        match controllers {
            Ok(all) if all.split_whitespace().any(|one| one == controller) => Self::at(root, 2),
            _ => Self::at(&root.join(controller), 1),
        }
    }

    fn at(parent: &Path, version: u8) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("host-e2e-{}-{n}", process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self { path, version }),
            Err(why) => {
                println!("no cgroup {} can be made: {why}; nothing tested", path.display());
                None
            }
        }
    }

    /// A cgroup that counts CPU time. None where it cannot be made, which it prints.
    pub fn of_cpu_time() -> Option<Self> {
        // Every cgroup of version 2 counts it, without a controller.
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            return Self::at(Path::new("/sys/fs/cgroup"), 2);
        }
        Self::at(Path::new("/sys/fs/cgroup/cpuacct"), 1)
    }

    /// The CPU time that its processes have had.
    pub fn cpu_time(&self) -> Duration {
        if self.version == 1 {
            return Duration::from_nanos(self.get("cpuacct.usage", ""));
        }
        let stat = fs::read_to_string(self.path.join("cpu.stat")).expect("the kernel tells");
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Duration::from_micros(usage.and_then(|micros| micros.parse().ok()).expect("a number"))
    }

    /// Sets a limit.
    pub fn set(&self, v1: &str, v2: &str, to: u64) {
        let file = if self.version == 1 { v1 } else { v2 };
        fs::write(self.path.join(file), to.to_string()).expect("the kernel takes a limit");
    }

    /// Reads a number.
    pub fn get(&self, v1: &str, v2: &str) -> u64 {
        let file = if self.version == 1 { v1 } else { v2 };
        let text = fs::read_to_string(self.path.join(file)).expect("the kernel tells");
        text.trim().parse().expect("a number")
    }

    /// The command that runs another in this cgroup.
    pub fn within(&self) -> Vec<OsString> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.path.display());
        ["sh".into(), "-c".into(), script, "sh".into()].map(OsString::from).into()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let until = Instant::now() + PATIENCE;
        // Its processes have been killed, and are gone in a moment.
        while fs::remove_dir(&self.path).is_err() && Instant::now() < until && !thread::panicking()
        {
            thread::yield_now();
        }
    }
}
