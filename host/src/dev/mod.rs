//! `host dev`: builds, serves, and builds again when a source changes. It is `host serve` in this process, and a thread
//! beside it that builds and asks for a reload by a signal. So a stop goes as ever, and what does not build or cannot
//! serve leaves the version before in service.
//!
//! ```text
//! sources ─→ changes ─→ project (build) ─→ SIGHUP ─→ the swap, as ever
//! ```

mod changes;
mod project;

use std::fs;
use std::thread;
use std::time::Duration;

use host_log::outlet;
use host_systemd::{HandedError, HandedSockets};
use rustix::process::Signal;

use crate::component::manifest_grammar;
use crate::config::DevConfig;
use crate::config::args::{self, Invocation};
use crate::exit::Exit;
use crate::serve;
use changes::Files;
use project::Project;

/// Files are looked at this often. A change is taken when two looks find the same: then its editor is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Builds until something can be served, and serves it until it is stopped.
#[must_use]
pub fn run(ask: &DevConfig, sockets: Result<HandedSockets, HandedError>) -> Exit {
    let complain = |why: &str| {
        outlet::complain(&format!("host dev: {why}"));
        Exit::Usage
    };
    let project = match Project::open(&ask.app) {
        Ok(project) => project,
        Err(why) => return complain(&format!("{why:#}")),
    };
    let seen = match first_build(&project) {
        Ok(seen) => seen,
        Err(why) => return complain(&format!("{why:#}")),
    };
    let config = match args::parse(project.serve_line(&ask.flags), manifest_grammar()) {
        Ok(Invocation::Serve(config)) => config,
        Ok(_) => return complain("behind `--` stand flags of `host serve`"),
        Err(why) => return complain(why.render().to_string().trim_end()),
    };
    let filter = match config.log_filter() {
        Ok(filter) => filter,
        Err(why) => return complain(&why.to_string()),
    };
    if let Err(why) = build_beside(project, seen) {
        return complain(&why.to_string());
    }
    serve::run(&config, filter, sockets)
}

/// Sources, and the manifest.
type Seen = (Files, Files);

/// Builds until that succeeds.
fn first_build(project: &Project) -> anyhow::Result<Seen> {
    loop {
        let seen = project.files()?;
        if project.build() {
            return Ok(seen);
        }
        next_change(project, &seen)?;
    }
}

/// Returns when the files are others than `seen`, and stay as they are for a moment.
fn next_change(project: &Project, seen: &Seen) -> anyhow::Result<Seen> {
    let mut before = project.files()?;
    loop {
        thread::sleep(LOOK_EVERY);
        let now = project.files()?;
        if now == before && now != *seen {
            return Ok(now);
        }
        before = now;
    }
}

/// Starts the thread that builds. It ends with the process.
fn build_beside(project: Project, seen: Seen) -> std::io::Result<()> {
    if !project.is_built() {
        return Ok(());
    }
    thread::Builder::new().name("dev".into()).spawn(move || {
        if let Err(why) = build_again(&project, seen) {
            outlet::complain(&format!(
                "dev: {why:#}; what is served goes on, and nothing is built"
            ));
        }
    })?;
    Ok(())
}

fn build_again(project: &Project, mut seen: Seen) -> anyhow::Result<()> {
    loop {
        let now = next_change(project, &seen)?;
        let built = now.0 == seen.0 || project.build();
        seen = now;
        if built {
            reload()?;
        }
    }
}

/// Asks for a reload, as an operator would. The log says what comes of it.
fn reload() -> anyhow::Result<()> {
    // Before the signal is caught, it would end the process.
    while !catches_hangups()? {
        thread::sleep(LOOK_EVERY);
    }
    rustix::process::kill_process(rustix::process::getpid(), Signal::HUP)?;
    Ok(())
}

/// Whether a SIGHUP is caught, by the mask of caught signals in proc_pid_status(5).
fn catches_hangups() -> anyhow::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap_or_default().trim(), 16)?;
    let hangup = u64::from(Signal::HUP.as_raw().unsigned_abs());
    Ok(caught & (1 << (hangup - 1)) != 0)
}
