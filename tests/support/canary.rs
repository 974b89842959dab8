//! What a host says of its canaries.

use std::collections::BTreeMap;

use serde_json::Value;

use super::exit::Exit;
use super::host::Host;
use super::site::{Site, component, route};
use super::status::{ctl_json, status, wait_json};

/// Fails unless a command exited with `code` and has said `text`, on stdout or, where it was refused, on stderr.
#[track_caller]
pub fn expect(done: &Exit, code: i32, text: &str) {
    done.expect_code(code);
    assert!(done.stdout.contains(text) || done.stderr.contains(text), "no {text:?} in {done:?}");
}

pub fn canaries(host: &Host) -> Vec<Value> {
    list(&ctl_json(host, "canary"))
}

/// Waits until the list of canaries `is` so.
#[track_caller]
pub fn wait_canaries(host: &Host, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    list(&wait_json(host, "canary", "so", |all| is(&list(all))))
}

fn list(all: &Value) -> Vec<Value> {
    all["canaries"].as_array().expect("a list").clone()
}

/// The state of each generation, by its number.
pub fn states(host: &Host) -> BTreeMap<u64, String> {
    let list = ctl_json(host, "generations");
    let list = list["generations"].as_array().expect("a list");
    let state = |it: &Value| (it["number"].as_u64().unwrap(), it["state"].as_str().unwrap().into());
    list.iter().map(state).collect()
}

#[track_caller]
pub fn expect_states(host: &Host, expected: &[(u64, &str)]) {
    let expected = expected.iter().map(|(number, state)| (*number, (*state).to_owned())).collect();
    assert_eq!(states(host), expected);
}

/// A host whose `shop` has a canary, and the text of its manifest.
pub fn shop(canary: &str, more: &str) -> (Site, Host, String) {
    let toml = format!("{}{more}[component.shop.canary]\n{canary}\n", component("shop"));
    let toml = format!("{toml}{}", route("/", "shop"));
    let site = Site::with(&toml, &[("shop.wasm", "version_a_p2")]);
    let host = site.serve().control().start();
    (site, host, toml)
}

/// The end of a canary's table that keeps it in its first step for all of a test.
pub const LONG: &str = "for = \"10h\"";
