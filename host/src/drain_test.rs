//! `host drain-test`: the strict client of the crate `host-drain-test`, from its report to an exit code.

use std::fs;
use std::future::poll_fn;
use std::io::{self, IsTerminal as _};
use std::task::Poll;

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
    let mut endings = endings()?;
    let ended = tokio::select! {
        ended = host_drain_test::run(plan) => ended,
        signal = first(&mut endings) => return Ok(Exit::Signal(signal.number())),
    };
    Ok(match ended {
        Ok(report) => print(ask, &report),
        Err(why) => {
            outlet::complain(&format!("{WHAT}: {why}"));
            Exit::Usage
        }
    })
}

/// The signals that break the test off: of a terminal, of its end, of a shell. Who was started by `nohup` goes on.
fn endings() -> io::Result<Vec<(Signal, unix::Signal)>> {
    let all = [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let heard = |signal: &Signal| *signal != Signal::Hangup || !is_ignored(&status, *signal);
    let listen = |signal: Signal| {
        let kind = SignalKind::from_raw(signal.number().into());
        unix::signal(kind).map(|stream| (signal, stream))
    };
    all.into_iter().filter(heard).map(listen).collect()
}

/// Whether this `/proc/self/status` says that the signal is ignored.
fn is_ignored(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
}

/// The first of them that comes.
async fn first(signals: &mut [(Signal, unix::Signal)]) -> Signal {
    poll_fn(|cx| {
        let mut each = signals.iter_mut();
        let come =
            each.find_map(|(signal, stream)| stream.poll_recv(cx).is_ready().then_some(*signal));
        come.map_or(Poll::Pending, Poll::Ready)
    })
    .await
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
fn advice(ask: &DrainTestConfig, report: &DrainReport) -> String {
    let trouble = report.trouble.as_deref().unwrap_or_default();
    let ours = report.own_failure.as_deref().unwrap_or_default();
    let status = trouble.rsplit_once(": status: status ").map(|(_, status)| status);
    match report.is_untested() {
        true if ours.contains("certificate") => about_certificate(&ask.plan.trust, ours).to_owned(),
        true if ours.contains("HTTP/2") => "; leave out --http2".to_owned(),
        true => {
            status.map_or(String::new(), |status| format!("; if it is right: --status {status}"))
        }
        false if trouble.contains("did not come back after the command") => {
            "; --no-return is for a command that stops it for good".to_owned()
        }
        false => String::new(),
    }
}

/// What somebody can do whose server has a certificate that was not believed, for this reason.
fn about_certificate(trust: &TlsTrust, why: &str) -> &'static str {
    match trust {
        // rustls gives no other name to it.
        _ if why.contains("CaUsedAsEndEntity") => {
            "; this certificate is one of an authority (CA:TRUE), and a server needs one that is not: \
             openssl req -x509 … -addext basicConstraints=critical,CA:FALSE; --insecure trusts anybody"
        }
        TlsTrust::System if why.contains("UnknownIssuer") => {
            "; --ca FILE trusts an authority, --insecure anybody"
        }
        TlsTrust::File(_) if why.contains("UnknownIssuer") => {
            "; the authority that has signed it is not in the file of --ca; --insecure trusts anybody"
        }
        TlsTrust::System | TlsTrust::File(_) => "; --insecure trusts anybody",
        TlsTrust::Anybody => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--ca` was once recommended to whoever had given it.
    #[test]
    fn advice_on_a_certificate_is_for_what_is_wrong_with_it() {
        let file = TlsTrust::File("ca.pem".into());
        let is_ca = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        let unknown = "invalid peer certificate: UnknownIssuer";
        let name = "invalid peer certificate: certificate not valid for name \"t\"";
        let cases = [
            (&file, is_ca, "CA:FALSE"),
            (&TlsTrust::System, is_ca, "CA:FALSE"),
            (&file, unknown, "is not in the file of --ca"),
            (&TlsTrust::System, unknown, "--ca FILE trusts an authority"),
            (&file, name, "; --insecure trusts anybody"),
        ];
        for (trust, why, words) in cases {
            let advice = about_certificate(trust, why);
            assert!(advice.contains(words) && advice.contains("--insecure"), "{why}: {advice}");
        }
    }

    #[test]
    fn signal_is_ignored_that_the_kernel_says_so_of() {
        let status = "SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t2\n";
        assert!(is_ignored(status, Signal::Hangup));
        assert!(!is_ignored(status, Signal::Interrupt));
        assert!(!is_ignored("", Signal::Hangup));
    }
}
