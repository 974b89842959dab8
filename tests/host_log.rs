//! The log of the host: how much of it, in which form.

use serde_json::Value;

use crate::support::prelude::*;
use crate::support::site::{Site, beside_a_good_one};

/// The lines of a log in JSON.
fn parsed(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect()
}

#[test]
fn json_has_an_object_in_each_line_with_the_names_of_opentelemetry() {
    let host = Host::serve("trap_p2").args(["--log-format", "json"]).start();
    assert_eq!(host.get("/x").status(), 500);
    host.wait_log("guest failed");
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    let lines = parsed(&exit.stderr);
    let last = lines.last().unwrap()["body"].as_str().unwrap();
    assert!(last.starts_with(says::STOPPED) && last.ends_with(says::NOTHING_CUT), "{last}");
    let failed = lines.iter().find(|line| line["body"] == "guest failed: GET /x").expect("a line");
    assert_eq!(failed["severity_text"], "WARN");
    assert_eq!(failed["severity_number"], 13);
    assert_eq!(failed["http.response.status_code"], 500);
    assert_eq!(failed["component"], "trap_p2");
    assert_eq!(failed["trace_id"].as_str().map(str::len), Some(32));
    assert!(failed["error.message"].as_str().unwrap().contains("unreachable"), "{failed}");
    for name in ["timestamp", "exchange", "generation", "request_id", "otel.scope.name"] {
        assert!(!failed[name].is_null(), "{name}: {failed}");
    }
}

#[test]
fn level_is_that_of_the_flag_then_of_the_variable_then_of_the_manifest() {
    let ready = " ready addr=";
    let site = Site::new("[log]\nlevel = \"warn\"\n[component.app]\nsource = \"guest:hello_p2\"\n");
    for (flag, variable, logs) in [
        (&["--log", "info"][..], "error", true),
        (&["--log", "error"], "info", false),
        (&[], "info", true),
        (&[], "", false),
    ] {
        let host = site.serve().args(flag.iter().copied()).env("HOST_LOG", variable).start();
        assert_eq!(host.get("/").status(), 200);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        assert_eq!(exit.stderr.contains(ready), logs, "{flag:?} {variable}: {}", exit.stderr);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can_be() {
    let levels = "write a level (off, error, warn, info, debug, trace)";
    for (flag, says) in [
        (["--log", "inof"], levels),
        (["--log", "hots=debug"], "nobody logs as \"hots\""),
        (["--log-format", "xml"], "write text (for people) or json"),
        (["--access-log-format", "apache"], "write json (an object in each line) or combined"),
        (["--access-log", ""], "write the path of a file, stdout, stderr or off"),
    ] {
        let exit = Host::serve("hello_p2").args(flag).start_in_vain();
        exit.expect_code(2);
        assert!(exit.stderr.contains(says) && exit.stderr.contains(flag[0]), "{}", exit.stderr);
    }
    let exit = Host::serve("hello_p2").env("HOST_LOG", "inof").start_in_vain();
    exit.expect_code(2);
    exit.expect_last_line("HOST_LOG=\"inof\"");
    exit.expect_last_line(levels);
    let site = Site::new(
        "[log]\nlevel = \"loud\"\nformat = \"xml\"\n[component.a]\nsource = \"guest:hello_p2\"\n",
    );
    let exit = Host::run(["serve", site.text()]);
    exit.expect_code(2);
    for place in ["host.toml:2:", "host.toml:3:", levels] {
        assert!(exit.stderr.contains(place), "{}", exit.stderr);
    }
}

/// `component=` was once the file's name and once the manifest's, `generation=1` stood twice in a line of a failure,
/// and what was asked for as Rust prints it: `ask=Swap(Some("shop"), …`.
#[test]
fn lines_name_the_component_of_the_manifest_and_say_nothing_twice() {
    let site = Site::new(&beside_a_good_one("shop", "guest:trap_p2", "", ""));
    let host = site.serve().control().args(["--log", "debug"]).start();
    assert_eq!(host.get("/shop/x").status(), 500);
    assert_eq!(host.get("/good").status(), 200);
    host.ctl(["swap", "--component", "shop", &site.file("none.wasm")]);
    host.ctl(["reload"]);
    host.wait_log_nth(says::SWAP_BEGINS, 2);
    host.signal(Signal::TERM);
    let log = host.wait_exit().stderr;
    // Below a line stands where a guest trapped.
    for line in log.lines().filter(|line| !line.starts_with(' ')) {
        let names: Vec<_> = line
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
            .map(|(name, _)| name)
            .collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "twice: {line}");
        for debug in [" { ", "Some(", "=None", "Swap("] {
            assert!(!line.contains(debug), "{debug:?} in {line}");
        }
        let component = line.split_once("component=\"").map(|(_, rest)| rest);
        let named =
            component.is_none_or(|rest| rest.starts_with("shop\"") || rest.starts_with("good\""));
        assert!(named, "{line}");
    }
    let failed = log.lines().find(|line| line.contains(says::GUEST_FAILED)).unwrap();
    assert_eq!(failed.matches("generation=").count(), 1, "{failed}");
    assert!(
        log.contains(&format!("swap: begins: swap of shop to {}", site.file("none.wasm"))),
        "{log}"
    );
}
