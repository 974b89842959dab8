//! `host drain-test`: the strict client of the crate `host-drain-test`, from its report to an exit code.

use std::io::{self, IsTerminal as _};

use host_drain_test::{DrainReport, StopOutcome, Tally, TlsTrust};
use host_lifecycle::Signal;
use serde::Serialize;
use tokio::signal::unix::{self, SignalKind};

use crate::config::DrainTestConfig;
use crate::exit::Exit;
use host_log::outlet;

/// What this command is called in complaints.
const WHAT: &str = "host drain-test";

/// The report with what a script asks for first.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// Whether all stops were made, and nothing was lost.
    clean: bool,
    /// All lost requests.
    lost: u64,
    /// The sums of all kinds of clients.
    total: Tally,
    #[serde(flatten)]
    report: &'a DrainReport,
}

/// Makes the test and prints its report.
#[must_use]
pub fn run(ask: &DrainTestConfig) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(test(ask)));
    match ended {
        Ok(exit) => exit,
        Err(why) => {
            outlet::complain(&format!("{WHAT}: {why}"));
            Exit::Untested
        }
    }
}

/// Until its end, or a signal: then a server that we have started goes with us.
async fn test(ask: &DrainTestConfig) -> io::Result<Exit> {
    let mut plan = ask.plan.clone();
    if io::stderr().is_terminal() {
        plan.after_stop = Some(tell);
    }
    let mut interrupt = unix::signal(SignalKind::interrupt())?;
    let mut terminate = unix::signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        ended = host_drain_test::run(plan) => ended,
        _ = interrupt.recv() => return Ok(Exit::Signal(Signal::Interrupt.number())),
        _ = terminate.recv() => return Ok(Exit::Signal(Signal::Terminate.number())),
    };
    Ok(match ended {
        Ok(report) => print(ask, &report),
        Err(why) => {
            outlet::complain(&format!("{WHAT}: {why}"));
            Exit::Usage
        }
    })
}

/// That something happens, for somebody who waits for minutes.
fn tell(stop: &StopOutcome) {
    outlet::complain(stop.to_string().trim_end());
}

fn print(ask: &DrainTestConfig, report: &DrainReport) -> Exit {
    let (total, clean) = (report.total(), report.is_clean());
    let lost = total.lost_in_all();
    let printed = if ask.json {
        let document = Document { clean, lost, total, report };
        let json = serde_json::to_string(&document).map_err(io::Error::other);
        json.and_then(|json| outlet::print_json(format!("{json}\n").as_bytes()))
    } else if report.is_untested() {
        Ok(())
    } else {
        outlet::print(&report.to_string())
    };
    if let Some(why) = &report.trouble {
        outlet::complain(&format!("{WHAT}: {why}{}", advice(ask, report)));
    }
    // What was lost before a first stop says nothing of stops.
    let exit = match (lost, &report.trouble) {
        (1.., _) if !report.is_untested() => Exit::LostRequests,
        (_, Some(_)) => Exit::Untested,
        (_, None) => Exit::Clean,
    };
    exit.if_printed(WHAT, printed)
}

/// Which flag helps.
fn advice(ask: &DrainTestConfig, report: &DrainReport) -> &'static str {
    let ours = report.own_failure.as_deref().unwrap_or_default();
    let trusts = ask.plan.trust != TlsTrust::Anybody;
    match report.is_untested() {
        true if trusts && ours.contains("certificate") => {
            "; --ca FILE trusts an authority, --insecure anybody"
        }
        true if ours.contains("HTTP/2") => "; leave out --http2",
        _ => "",
    }
}
