//! What is asked of an upgrade, and what becomes of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host_handover::ChannelError;
use host_systemd::Barrier;
use thiserror::Error;

use crate::config::ServeConfig;

/// What is asked of an upgrade.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpgradeOrder {
    /// The program, if it is another file than that of this process.
    pub(crate) binary: Option<PathBuf>,
    /// The manifest or component, if it is another file.
    pub(crate) config: Option<PathBuf>,
    /// How long the new process may take until it is ready.
    pub(crate) within: Option<Duration>,
}

/// A new process has taken over.
#[derive(Clone, Debug)]
pub(crate) struct Upgraded {
    /// The number of the process that serves now.
    pub(crate) pid: u32,
    /// The version of its program.
    pub(crate) version: String,
    /// Idle connections that went over before the answer. More may follow.
    pub(crate) connections: u64,
    /// From the request until it had taken over.
    pub(crate) took: Duration,
}

/// Why there was no upgrade. The old process goes on in any case.
#[derive(Debug, Error)]
pub(crate) enum UpgradeError {
    /// One is under way.
    #[error("an upgrade is under way already; wait for its end")]
    UnderWay,
    /// There was one.
    #[error("process {0} has taken over: ask that one")]
    Succeeded(u32),
    /// The phase does not allow it.
    #[error("{0}")]
    NotNow(&'static str),
    /// The end of this process is taken for that of the service.
    #[error("{0}")]
    EndsService(String),
    /// There is no such program, or it cannot be run.
    #[error("{} cannot be started: {why}", .program.display())]
    NoProgram {
        program: PathBuf,
        #[source]
        why: io::Error,
    },
    /// Descriptors for the channel, or of the listeners, are not to be had.
    #[error("what is to be handed over cannot be: {0}")]
    NoDescriptors(io::Error),
    /// What was started has started another process that is the host.
    #[error(
        "what was started as process {pid} is not the host but has started it, as process {host}: have it exec the host"
    )]
    Wrapped { pid: u32, host: u32 },
    /// This program cannot start another one.
    #[error("no new process can be started: {0}")]
    NotLaunched(String),
    /// There is no thread to wait for it.
    #[error("no thread can be started to wait for a new process: {0}")]
    NoThread(io::Error),
    /// The other program speaks another language.
    #[error(
        "the new process is host {version}, which hands over in another way (protocol {theirs}, here {ours}): restart \
         the host in place of an upgrade"
    )]
    OtherProtocol { version: String, theirs: u32, ours: u32 },
    /// The new process has ended.
    #[error("the new process {pid} has ended with {how} {when}; its own log says why")]
    Ended { pid: u32, how: String, when: &'static str },
    /// The new process will not come up.
    #[error("the new process {pid} will not serve ({how}): {why}")]
    Refused { pid: u32, how: String, why: String },
    /// It does not do what is expected of it.
    #[error("the new process {pid} was given up: {why}")]
    GivenUp { pid: u32, why: ChannelError },
    /// A stop came first.
    #[error("a stop was asked for meanwhile, and the new process was ended")]
    Stopped,
}

/// Who tells the service manager of an upgrade.
pub(crate) struct ToldOfUpgrade {
    /// Another process is about to be the service, or is not after all.
    pub(crate) hands_over: Box<dyn Fn(bool) + Send + Sync>,
    /// The process of this number is the service from now on. Gives when the service manager knows.
    pub(crate) settled: Box<dyn Fn(u32) -> Barrier + Send + Sync>,
}

impl fmt::Debug for ToldOfUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToldOfUpgrade")
    }
}

/// How this process was started, so that another one can be in the same way.
#[derive(Clone, Debug)]
pub(crate) struct OwnProgram {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The argument that names what is served.
    app: PathBuf,
}

impl OwnProgram {
    /// To be asked at the start: later the file may have been replaced, and its name would say so.
    pub(crate) fn of(config: &ServeConfig) -> Self {
        let mut line = env::args_os();
        let name = line.next().map(PathBuf::from);
        // A link to the newest version is followed anew.
        let given = name.and_then(|name| match name.components().count() {
            1 => found(&name, &env::var_os("PATH")?),
            _ => Some(name),
        });
        let given = given.and_then(|path| std::path::absolute(path).ok());
        let program = given.or_else(|| env::current_exe().ok()).unwrap_or_else(|| "host".into());
        Self { program, arguments: line.collect(), app: app(config) }
    }

    /// The program and the arguments of the process that `order` asks for.
    pub(super) fn line(&self, order: &UpgradeOrder) -> (PathBuf, Vec<OsString>) {
        let program = order.binary.clone().unwrap_or_else(|| self.program.clone());
        let mut arguments = self.arguments.clone();
        let named = |argument: &&mut OsString| argument.as_os_str() == self.app.as_os_str();
        if let Some(config) = &order.config
            && let Some(app) = arguments.iter_mut().skip(1).find(named)
        {
            *app = config.clone().into_os_string();
        }
        (program, arguments)
    }
}

/// What the command line names to be served.
fn app(config: &ServeConfig) -> PathBuf {
    let component = || config.manifest.components.values().next();
    let source = || component().map(|component| component.source.clone()).unwrap_or_default();
    config.file.as_ref().map_or_else(source, |file| file.path.clone())
}

/// Where a shell finds the program of this name.
fn found(name: &Path, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(name)).find(|path| {
        let access = rustix::fs::access(path, rustix::fs::Access::EXEC_OK);
        access.is_ok() && path.is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link along PATH stays what it is: tomorrow it may lead to another version.
    #[test]
    fn bare_name_is_looked_for_where_a_shell_does() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("one/host")).unwrap();
        std::fs::create_dir(at("two")).unwrap();
        std::os::unix::fs::symlink("/bin/true", at("two/host")).unwrap();
        let path = env::join_paths([at("none"), at("one"), at("two")]).unwrap();
        assert_eq!(found(Path::new("host"), &path), Some(at("two/host")));
        assert_eq!(found(Path::new("hosts"), &path), None);
    }

    #[test]
    fn another_manifest_takes_the_place_of_the_one_that_was_named() {
        let arguments = ["serve", "--threads", "2", "host.toml", "--watch"].map(OsString::from);
        let own = OwnProgram {
            program: "/usr/bin/host".into(),
            arguments: arguments.to_vec(),
            app: "host.toml".into(),
        };
        let same = own.line(&UpgradeOrder::default());
        assert_eq!(same, ("/usr/bin/host".into(), arguments.to_vec()));
        let order = UpgradeOrder {
            binary: Some("/opt/host-2".into()),
            config: Some("/etc/host/new.toml".into()),
            within: None,
        };
        let (program, line) = own.line(&order);
        assert_eq!(program, Path::new("/opt/host-2"));
        assert_eq!(line.join(OsStr::new(" ")), "serve --threads 2 /etc/host/new.toml --watch");
    }
}
