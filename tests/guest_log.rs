//! What guests print: whose it is, that it is not lost, and that it can have a file of its own.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::app::text;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;

/// Waits until the file has a line with this text, and gives it.
#[track_caller]
fn line_with(path: &str, text: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(path).unwrap_or_default();
        if let Some(line) = log.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        assert!(Instant::now() < until, "no {text:?} in {log}");
        thread::yield_now();
    }
}

/// `HOST_LOG=warn` and `HOST_LOG=host=debug` dropped what guests print, tracebacks too.
#[test]
fn level_of_the_host_keeps_no_line_of_a_guest_back() {
    for guest in ["chatty_p2", "chatty_p3"] {
        for level in ["warn", "off", "host=debug", "host_net=info"] {
            let host = Host::serve(guest).args(["--log", level]).start();
            assert_eq!(host.get("/?n=1").status(), 200);
            host.wait_log("stream=\"stdout\"");
        }
        let host = Host::serve(guest).args(["--log", "info,guest=off"]).start();
        assert_eq!(host.get("/?n=1").status(), 200);
        host.signal(Signal::TERM);
        assert!(!host.wait_exit().stderr.contains("stream="), "unless an operator says so");
    }
}

#[test]
fn a_line_says_which_exchange_generation_and_trace_it_is_of() {
    for guest in ["gate_p2", "gate_p3"] {
        let reuse = ["--reuse", "10"];
        for flags in [&[][..], &reuse] {
            let host = Host::serve(guest).args(flags.iter().copied()).start();
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
            let mut conn = host.connect();
            conn.send(format!(
                "POST /head HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\
                 traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"
            ))
            .unwrap();
            assert_eq!(conn.read_response("POST").unwrap().status(), 200);
            let line = host.wait_log(says::GATE_STARTED);
            let fields = [
                format!("trace_id={trace}"),
                format!("component=\"{guest}\""),
                "exchange=".into(),
                "generation=1".into(),
            ];
            for field in &fields {
                assert!(line.contains(field), "{guest} {flags:?}: no {field} in {line}");
            }
        }
    }
}

const TWO_FILES: &str = r#"
    [log]
    format = "json"
    [component.one]
    source = "guest:chatty_p2"
    log = "one.log"
    [component.two]
    source = "guest:chatty_p3"
    log = "two.log"
    [[route]]
    path = "/one"
    component = "one"
    [[route]]
    path = "/two"
    component = "two"
"#;

#[test]
fn each_component_can_have_a_file_that_is_opened_again_and_flushed() {
    let site = Site::new(TWO_FILES);
    let host = site.serve().start();
    for name in ["one", "two"] {
        assert_eq!(host.get(&format!("/{name}?n=3")).status(), 200);
        let line = line_with(&site.file(&format!("{name}.log")), "stdout");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["component"], &line["log.iostream"]), (&name.into(), &"stdout".into()));
        assert!(line["exchange"].is_number() && line["trace_id"].is_string(), "{line}");
    }
    fs::rename(site.file("one.log"), site.file("one.log.1")).unwrap();
    host.signal(Signal::USR1);
    host.wait_log("log of one: opened again");
    assert_eq!(host.get("/one?n=2").status(), 200);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains("log.iostream"), "not in the log of the host: {}", exit.stderr);
    let lines = |name: &str| fs::read_to_string(site.file(name)).unwrap().lines().count();
    assert_eq!((lines("one.log.1"), lines("one.log"), lines("two.log")), (3, 2, 3));
}

#[test]
fn files_of_two_components_are_two_and_no_guest_can_change_one() {
    let same = TWO_FILES.replace("two.log", "one.log");
    let open = "[component.app]\nsource = \"guest:files_p2\"\nlog = \"data/app.log\"\n\
                grants.directories = [{ host = \"data\", guest = \"/data\", write = true }]\n";
    let access = "[log]\naccess = \"x.log\"\n[component.app]\nsource = \"guest:hello_p2\"\nlog = \"./x.log\"\n";
    for (manifest, says) in [
        (&*same, "this path is the log of component `one` too"),
        (open, "a guest that may write here could change the log of component `app`"),
        (access, "this path is the log of component `app` too"),
    ] {
        let site = Site::new(manifest);
        fs::create_dir_all(site.file("data")).unwrap();
        let exit = Host::run(["serve", site.text()]);
        exit.expect_code(2);
        assert!(exit.stderr.contains(says), "no {says:?} in {}", exit.stderr);
    }
}

#[test]
fn a_reload_gives_a_component_another_file() {
    let site = Site::new(TWO_FILES);
    let host = site.serve().control().start();
    assert_eq!(host.get("/one?n=1").status(), 200);
    line_with(&site.file("one.log"), "stdout");
    site.write(&TWO_FILES.replace("one.log", "new.log"));
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(host.get("/one?n=1").status(), 200);
    line_with(&site.file("new.log"), "stdout");
    site.write(&TWO_FILES.replace("one.log", "none/x.log"));
    let exit = host.ctl(["reload"]);
    assert!(exit.stderr.contains("none is not there") || exit.stdout.contains("none is not there"));
    assert_eq!(host.get("/one?n=1").status(), 200, "the old one goes on");
}

#[test]
fn a_full_disk_costs_lines_and_the_guest_nothing() {
    let site = Site::new("[component.app]\nsource = \"guest:chatty_p2\"\nlog = \"/dev/full\"\n");
    let host = site.serve().start();
    assert_eq!(host.get("/?n=5").status(), 200);
    let line = host.wait_log("log of app: lines were dropped");
    assert!(line.contains("No space left"), "{line}");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Each generation had a rate of its own: a component that was swapped often printed as often as it liked.
#[test]
fn rate_is_that_of_the_component_over_its_generations() {
    let site = Site::new(
        "[component.app]\nsource = \"guest:chatty_p2\"\nlimits.log-rate = \"1KiB/s\"\nlog = \"app.log\"\n",
    );
    let host = site.serve().control().args(metrics::ARGS).start();
    // Takes more than there is, by far.
    assert_eq!(host.get("/?n=100&len=200").status(), 200);
    let before = printed(&site.file("app.log"));
    assert!((1..20).contains(&before), "{before}");
    let other = guest("chatty_p3");
    host.ctl(["swap", "--component", "app", text(&other)]).expect_code(0);
    assert_eq!(host.get("/?n=100&len=200").status(), 200);
    let line = host.wait_log("lines left out");
    assert!(line.contains("component=\"app\"") && line.contains("limits.log-rate"), "{line}");
    let dropped = |told: &Metrics| told.sum("host_log_lines_dropped_total", &[("log", "guest")]);
    Metrics::wait(&host, |told| dropped(told) > 150.0);
    assert!(printed(&site.file("app.log")) < 40, "two generations, and one bucket");
}

/// Lines beyond those that an exchange may print were said in the log and counted nowhere.
#[test]
fn lines_beyond_those_of_an_exchange_are_counted() {
    let host = Host::serve("chatty_p2").args(metrics::ARGS).start();
    assert_eq!(host.get("/?n=1500&len=10").status(), 200);
    assert!(host.wait_log("guest printed too much").contains("lines=500"));
    let dropped = |told: &Metrics| told.sum("host_log_lines_dropped_total", &[("log", "guest")]);
    assert_eq!(dropped(&Metrics::of(&host)), 500.0);
}

fn printed(path: &str) -> usize {
    line_with(path, "stdout");
    fs::read_to_string(Path::new(path)).unwrap().lines().count()
}
