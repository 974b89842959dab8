//! `host ctl kv`: operators look into buckets.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::keyvalue::{kv, three};
use crate::support::binary::binary;
use crate::support::prelude::*;
use crate::support::redis::Redis;

const MEMORY: &str = "backend = \"memory\"";

/// `host ctl kv ARGS` with these bytes on its stdin, and the bytes that it prints.
fn ctl_bytes(host: &Host, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = binary();
    command.arg("ctl").arg("--socket").arg(host.control_path()).arg("kv").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn prints(host: &Host, args: &[&str], text: &str) {
    let output = ctl_bytes(host, args, b"");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{args:?}");
}

#[track_caller]
fn refuses(host: &Host, args: &[&str], says: &str) {
    let exit = host.ctl([&["kv"], args].concat());
    exit.expect_code(1);
    assert!(exit.stderr.contains(says), "{args:?}: {}", exit.stderr);
}

#[test]
fn operators_read_and_write_what_guests_read_and_write() {
    let redis = Redis::start();
    let mut stores = vec![MEMORY.to_owned(), "backend = \"disk\"\npath = \"data.redb\"".to_owned()];
    stores.extend(
        redis.iter().map(|redis| format!("backend = \"redis\"\nurl = \"{}\"", redis.url())),
    );
    for store in &stores {
        let site = three(store);
        let host = site.serve().control().start();
        assert_eq!(kv(&host, "a", "many/set?bucket=own&key=p:1,p:2,q&value=1,2,3"), "set\n");
        prints(&host, &["get", "own", "p:1", "--component", "a"], "1");
        prints(&host, &["list", "--component", "a", "own", "--prefix", "q"], "q\n");
        let exit = host.ctl(["kv", "list", "own", "--component", "a"]);
        let mut keys: Vec<_> = exit.stdout.lines().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["p:1", "p:2", "q"]);
        let exit = host.ctl(["kv", "list", "own", "--component", "a", "--limit", "2"]);
        assert_eq!(exit.stdout.lines().count(), 2);
        prints(&host, &["set", "both", "k", "from ctl"], "set: k in both of a\n");
        assert_eq!(kv(&host, "b", "get?bucket=ours&key=k"), "from ctl\n");
        prints(&host, &["set", "both", "k", "x", "--ttl", "10m"], "set: k in both of a\n");
        prints(&host, &["set", "both", "gone", "x", "--ttl", "1ms"], "set: gone in both of a\n");
        while kv(&host, "a", "exists?bucket=both&key=gone") == "true\n" {}
        prints(&host, &["del", "both", "k"], "deleted: k in both of a\n");
        assert_eq!(kv(&host, "a", "exists?bucket=both&key=k"), "false\n");
    }
}

#[test]
fn a_value_is_bytes_on_stdin_and_stdout() {
    let site = three(MEMORY);
    let host = site.serve().control().start();
    let value: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let set = ctl_bytes(&host, &["set", "both", "k"], &value);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let got = ctl_bytes(&host, &["get", "both", "k"], b"");
    assert!(got.status.success() && got.stdout == value, "other bytes");
    let large = ctl_bytes(&host, &["set", "both", "k"], &vec![0; (8 << 20) + 1]);
    assert_eq!(large.status.code(), Some(2), "{}", String::from_utf8_lossy(&large.stderr));
    let empty = ctl_bytes(&host, &["set", "both", "k"], b"");
    assert!(empty.status.success());
    assert_eq!(ctl_bytes(&host, &["get", "both", "k"], b"").stdout, b"");
}

#[test]
fn a_wrong_name_gets_the_names_that_there_are() {
    let site = three(MEMORY);
    let host = site.serve().control().start();
    let all = "there are: both of a, own of a, ours of b, own of b";
    refuses(&host, &["get", "carts", "k"], all);
    refuses(&host, &["list", "both", "--component", "b"], all);
    refuses(
        &host,
        &["set", "own", "k", "v"],
        "several components have a bucket own: name one of a, b",
    );
    refuses(&host, &["get", "ours", "k"], "there is no key k in ours of b");
    refuses(&host, &["set", "both", &"k".repeat(1_025), "v"], "longer than 1024 bytes");
    refuses(&host, &["set", "both", "k", "v", "--ttl", "0s"], "less than a millisecond");
    let site = crate::support::site::Site::new(
        "[component.a]\nsource = \"guest:hello_p2\"\n[[route]]\npath = \"/\"\ncomponent = \"a\"\n",
    );
    let host = site.serve().control().start();
    refuses(&host, &["get", "carts", "k"], "no component has been granted any");
}

#[test]
fn json_is_the_hosts_own() {
    let site = three(MEMORY);
    let host = site.serve().control().start();
    let json_of = |args: &[&str]| -> Value {
        let exit = host.ctl([&["--json", "kv"], args].concat());
        exit.expect_code(0);
        serde_json::from_str(&exit.stdout).unwrap()
    };
    let bucket = |component: &str, bucket: &str| json!({"component": component, "bucket": bucket, "backend": "memory"});
    let all = [bucket("a", "both"), bucket("a", "own"), bucket("b", "ours"), bucket("b", "own")];
    assert_eq!(json_of(&["buckets"]), json!({ "buckets": all }));
    let written = json!({"component": "a", "bucket": "both"});
    assert_eq!(json_of(&["set", "both", "k", "hello"]), written);
    assert_eq!(json_of(&["get", "both", "k"]), json!({"value_base64": "aGVsbG8="}));
    assert_eq!(json_of(&["list", "both"]), json!({"keys": ["k"]}));
    assert_eq!(json_of(&["del", "both", "k"]), written);
}

#[test]
fn what_an_operator_does_is_in_the_log_without_the_value() {
    let site = three(MEMORY);
    let host = site.serve().control().start();
    prints(&host, &["set", "both", "k\u{1b}[2J", "SECRET"], "set: k\\u{1b}[2J in both of a\n");
    let line = host.wait_log("an operator sets a key-value pair");
    assert!(line.contains("component=\"a\"") && line.contains("bucket=\"both\""), "{line}");
    host.ctl(["kv", "get", "both", "k\u{1b}[2J"]).expect_code(0);
    host.wait_log("an operator reads a key-value pair");
    host.ctl(["kv", "list", "both"]).expect_code(0);
    host.wait_log("an operator lists keys");
    host.ctl(["kv", "del", "both", "k\u{1b}[2J"]).expect_code(0);
    host.wait_log("an operator deletes a key-value pair");
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains("SECRET"), "{}", exit.stderr);
}
