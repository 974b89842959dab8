//! Canaries that a manifest asks for: a reload begins them, and what a reload in their middle means.

use serde_json::{Value, json};

use crate::support::app::{bytes, one_more, variant, version};
use crate::support::canary::{LONG, canaries, expect, expect_states, shop, wait_canaries};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::status::ctl_json;
use crate::support::visitors::Visitors;

#[test]
fn reload_begins_a_canary_where_the_manifest_has_one() {
    let (site, host, toml) = shop(LONG, "");
    site.put("shop.wasm", "version_b_p2");
    let answer = ctl_json(&host, "reload");
    assert_eq!((&answer["canaries"], &answer["changed"]), (&json!(["shop"]), &json!([])));
    expect_states(&host, &[(1, "current"), (2, "canary")]);
    // The same again, and with another word on how it takes over: it goes on.
    site.write(&toml.replace("10h", "9h"));
    let answer = ctl_json(&host, "reload");
    assert_eq!(answer["canaries"], Value::Null, "{answer}");
    expect_states(&host, &[(1, "current"), (2, "canary")]);
    assert_eq!(canaries(&host).len(), 1);
    // Another file: another canary. The first file again: none.
    site.put_bytes("shop.wasm", &variant("version_b_p2", 1));
    ctl_json(&host, "reload");
    expect_states(&host, &[(1, "current"), (3, "canary")]);
    site.put("shop.wasm", "version_a_p2");
    ctl_json(&host, "reload");
    let list = canaries(&host);
    assert!(list.iter().all(|canary| canary["end"]["promoted"] == false), "{list:?}");
    assert_eq!(version(&host.get("/")), "a");
    // Other limits are another version too. What is in force is that of the version before.
    site.write(&format!("{toml}[component.shop.limits]\nrequest-body = \"3B\"\n"));
    let answer = ctl_json(&host, "reload");
    assert_eq!(answer["canaries"], json!(["shop"]), "{answer}");
    host.ctl(["canary", "promote"]).expect_code(0);
    let mut conn = host.connect();
    conn.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nfour").unwrap();
    assert_eq!(conn.read_response("POST").unwrap().status(), 413);
    // Without the table a swap is at once again.
    site.write(&toml.replace("[component.shop.canary]", "").replace(LONG, ""));
    ctl_json(&host, "reload");
    site.put("shop.wasm", "version_b_p2");
    assert_eq!(ctl_json(&host, "reload")["changed"], json!(["shop"]));
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn reload_that_waits_exits_as_its_canaries_end() {
    let (site, host, _) = shop("for = \"1s\"", "");
    let visitors = Visitors::of(&host, 4, Mode::H1Kept, None);
    site.put("shop.wasm", "trap_p2");
    expect(&host.ctl(["reload", "--wait"]), 5, "errors > 1%");
    site.put("shop.wasm", "version_b_p2");
    let done = host.ctl(["reload", "--wait"]);
    expect(&done, 0, "canary shop");
    expect(&done, 0, "promoted: generation 3 of shop serves");
    drop(visitors.stop());
    expect(&host.ctl(["reload", "--wait"]), 0, "unchanged");
    host.ctl(["canary", "--wait"]).expect_code(0);
}

#[test]
fn component_that_a_reload_removes_takes_its_canary_with_it() {
    let (site, host, toml) = shop(LONG, "[component.other]\nsource = \"guest:version_b_p3\"\n");
    site.put("shop.wasm", "trap_p2");
    let follower = host.start_ctl(["reload", "--wait"]);
    wait_canaries(&host, |list| list.len() == 1);
    let other = toml.split("[component.other]").nth(1).unwrap();
    let other = other.split("[component.shop.canary]").next().unwrap();
    site.write(&format!("[component.other]{other}{}", route("/", "other")));
    assert_eq!(ctl_json(&host, "reload")["removed"], json!(["shop"]));
    expect(&follower.wait_exit(), 5, "another change has replaced it");
    assert_eq!(version(&host.get("/")), "b");
    expect_states(&host, &[(1, "current")]);
}

#[test]
fn watch_does_not_begin_again_what_was_taken_back() {
    let toml =
        format!("{}[component.shop.canary]\n{LONG}\n{}", component("shop"), route("/", "shop"));
    let site = Site::with(&toml, &[("shop.wasm", "version_a_p2")]);
    let host = site.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    site.put("shop.wasm", "version_b_p2");
    wait_canaries(&host, |list| list.len() == 1);
    host.ctl(["canary", "abort"]).expect_code(0);
    // Something else changes: the manifest.
    let mark = host.mark();
    site.write(&format!("{toml}{}", route("/other", "shop")));
    let line = host.wait_log_after(mark, "swap: reloaded");
    assert!(line.contains("routes changed") && !line.contains("canary"), "{line}");
    // The file does.
    site.put_bytes("shop.wasm", &one_more(&bytes("version_b_p2"), 1));
    wait_canaries(&host, |list| list.len() == 2);
    // By hand it is begun again.
    host.ctl(["canary", "abort"]).expect_code(0);
    assert_eq!(ctl_json(&host, "reload")["canaries"], json!(["shop"]));
}
