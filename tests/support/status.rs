//! The output of `host ctl --json status`, and waits for a state in it. No event announces that state, so the
//! waits ask again and again.

use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;
use super::exit::Exit;
use super::host::Host;

/// The output of a command with `--json`.
#[track_caller]
pub fn json(exit: &Exit) -> Value {
    serde_json::from_str(&exit.stdout).unwrap_or_else(|why| panic!("{why}: {exit:?}"))
}

/// The output of this command of `host ctl`, which must succeed.
#[track_caller]
pub fn ctl_json(host: &Host, command: &str) -> Value {
    let exit = host.ctl(["--json", command]);
    exit.expect_code(0);
    json(&exit)
}

/// The whole status.
#[track_caller]
pub fn status(host: &Host) -> Value {
    ctl_json(host, "status")
}

/// Waits until the status `is` so, and returns it. `what` names the state.
#[track_caller]
pub fn wait_status(host: &Host, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait_json(host, "status", what, is)
}

/// Waits until what this command of `host ctl` says `is` so, and returns it. `what` names the state.
#[track_caller]
pub fn wait_json(host: &Host, command: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = ctl_json(host, command);
        if is(&now) {
            return now;
        }
        assert!(Instant::now() < until, "not {what}: {now}");
    }
}

/// The status of the component called `name`.
#[track_caller]
pub fn component<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["components"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).expect("it is served")
}

/// The instances of each component that are in use, by name.
#[track_caller]
pub fn in_use(status: &Value) -> Vec<(String, u64)> {
    let of = |one: &'_ Value| {
        let count = one["instances"]["in_use"].as_u64().expect("a number");
        (one["name"].as_str().expect("a name").to_owned(), count)
    };
    let all = status["components"].as_array().expect("a list");
    all.iter().map(of).collect()
}

/// Returns when `count` exchanges are in flight, served or in a queue.
#[track_caller]
pub fn wait_in_flight(host: &Host, count: u64) {
    wait_status(host, "in flight", |status| status["exchanges_in_flight"] == count);
}

/// Returns when `count` exchanges have an instance.
#[track_caller]
pub fn wait_in_use(host: &Host, count: u64) {
    let all = |status: &Value| in_use(status).iter().map(|(_, count)| count).sum::<u64>();
    wait_status(host, "that many", |status| all(status) == count);
}

/// Returns when no component has an instance in use.
#[track_caller]
pub fn wait_all_instances_free(host: &Host) {
    wait_in_use(host, 0);
}
