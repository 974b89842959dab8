//! A systemd of its own stops a host that was upgraded, or is being upgraded, and starts it again after a crash.

use std::process::Command;

use crate::support::app::Folder;
use crate::support::binary::guest;
use crate::support::tools::has;

/// The script polls, for nobody but systemd knows. After this it has hung.
const AT_MOST: &str = "120s";

/// What the script says that cannot run.
const CANNOT: i32 = 77;

/// For a main process that is not its child systemd waits neither at a stop nor for its crash: the successor is one of those,
/// unless the host takes care.
#[test]
fn upgraded_host_is_waited_for_at_a_stop_and_started_again_after_a_crash() {
    if !has("systemctl", "systemd") || !has("unshare", "util-linux") {
        return;
    }
    let (folder, guest) = (Folder::new(), guest("gate_p2"));
    let mut script = Command::new("unshare");
    script.args(["--mount", "timeout", AT_MOST, "bash"]);
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/support/systemd.sh"));
    script.arg(env!("CARGO_BIN_EXE_host")).arg(&guest).arg(folder.join(""));
    let ran = script.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    if ran.status.code() == Some(CANNOT) {
        println!("{}; so nothing is shown", said.trim_end().lines().last().unwrap_or_default());
        return;
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let why = format!("{said}{}{log}", String::from_utf8_lossy(&ran.stderr));
    // The rest of the body, and its end.
    assert!(said.contains("the answer goes on: 5done0\n"), "{why}");
    assert!(said.contains("stopped: success 0\n"), "{why}");
    assert!(said.contains("restarted: 1\n"), "{why}");
    assert!(said.contains("stopped in the middle: 5done0\n"), "{why}");
    assert!(said.contains("then: success 0\n"), "{why}");
}
