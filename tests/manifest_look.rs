//! What can be learnt of a manifest without serving it: `host check`, `--dry-run`, `host schema`.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::app::slow_to_compile;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// What `host check` prints of the component `name`.
#[track_caller]
fn section<'a>(report: &'a str, name: &str) -> &'a str {
    let (_, from) = report
        .split_once(&format!("component {name}:\n"))
        .unwrap_or_else(|| panic!("no component {name} in {report}"));
    from.split("\ncomponent ").next().unwrap_or_default()
}

#[test]
fn check_prints_for_each_component_what_it_imports_what_it_is_granted_and_what_it_lacks() {
    let manifest = component("all")
        + "args = [\"x\"]\nenv = { B = \"secret\", A = \"\" }\nconfig = { k = \"v\" }\n\
           [component.all.grants]\n\
           outgoing = [\"https://api.example.com\", \"*.svc.local:8080\"]\n\
           tcp = [\"tcp://127.0.0.1:5432\"]\nname-lookup = true\nrequest-shutdown = true\n\
           directories = [{ host = \".\", guest = \"/here\" }]\n\
           [component.all.grants.keyvalue]\nkeys = \"main\"\n"
        + &component("none")
        + &component("hello")
        + "[keyvalue.main]\nbackend = \"memory\"\n"
        + &route("/", "all");
    let files = [("all.wasm", "grants_p2"), ("none.wasm", "grants_p2"), ("hello.wasm", "hello_p2")];
    let site = Site::with(&manifest, &files);
    let exit = Host::run(["check", site.text()]);
    exit.expect_code(0);
    let all = section(&exit.stdout, "all");
    for line in ["imports:\n", "  wasi:keyvalue/store@0.2.0-draft\n", "\nlacks: nothing"] {
        assert!(all.contains(line), "no {line:?} in {all}");
    }
    for granted in [
        "env: A, B",
        "args: 1",
        "config: k",
        &format!("directories: {} as /here (ro)", site.file(".")),
        "outgoing: https://api.example.com:443, *.svc.local:8080",
        "tcp: tcp://127.0.0.1:5432, name look-up",
        "keyvalue: keys",
        "request-shutdown: yes",
    ] {
        assert!(all.contains(&format!("\ngranted: {granted}\n")), "no {granted:?} in {all}");
    }
    assert!(!all.contains("secret"), "values of variables may be secrets: {all}");
    let none = section(&exit.stdout, "none");
    assert!(none.contains("  wasi:keyvalue/store@0.2.0-draft\n"), "{none}");
    let others = "network, outgoing HTTP, configuration, key-value buckets";
    let could = format!("\ngrants: could use {others}; nothing is granted");
    assert!(none.contains(&could), "no {could} in {none}");
    let common =
        |words| format!("\nnot granted: {words} (most programs import these, used or not)\n");
    assert!(none.contains(&common("environment variables, directories")), "{none}");
    assert!(!none.contains("\ngranted: "), "{none}");
    site.write(&(component("none") + "env = { A = \"\" }\n"));
    let partly = Host::run(["check", site.text()]);
    let lacks =
        common("directories") + &format!("granted: env: A\nlacks: {others}; it finds none there\n");
    assert!(partly.stdout.contains(&lacks), "no {lacks} in {}", partly.stdout);
    let hello = section(&exit.stdout, "hello");
    assert!(
        hello.contains("would serve: wasi:http 0.2 (wasi:http/incoming-handler@0.2)"),
        "{hello}"
    );
    assert!(hello.contains("grants: needs none"), "{hello}");
    site.put("none.wasm", "grants_p3");
    site.write(&component("none"));
    let p3 = Host::run(["check", site.text()]).stdout;
    let could = "grants: could use network, outgoing HTTP";
    assert!(p3.contains(could), "{p3}");
}

#[test]
fn check_of_a_component_that_cannot_serve_names_it_and_exits_with_3() {
    let manifest = component("good") + &component("bad") + &route("/", "good");
    let site = Site::with(&manifest, &[("good.wasm", "hello_p2")]);
    site.put_bytes("bad.wasm", b"\0asm\x01\0\0\0");
    for args in [&["check"][..], &["serve", "--dry-run", "--no-cache"], &["serve", "--no-cache"]] {
        let exit = Host::run(args.iter().copied().chain([site.text()]));
        exit.expect_code(3).expect_last_line("core WebAssembly module");
        exit.expect_last_line("bad.wasm");
        assert_eq!(exit.stdout, "", "{args:?}");
    }
    site.put("bad.wasm", "start_trap_p3");
    for args in [&["check"][..], &["serve", "--dry-run", "--no-cache"], &["serve", "--no-cache"]] {
        let exit = Host::run(args.iter().copied().chain([site.text()]));
        exit.expect_code(3).expect_last_message("component bad: ");
        exit.expect_last_message("does not start: ");
    }
}

/// A manifest whose addresses are taken, so that no host could bind them. They differ, because one twice
/// is refused as such.
fn unbindable(rest: &str) -> ([TcpListener; 2], String) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [addr, health] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let listen = format!(
        "[listen]\naddr = [\"{addr}\", \"unix:bound.sock\"]\nhealth-addr = \"{health}\"\n\
         control = \"control.sock\"\n"
    );
    (listeners, listen + rest)
}

#[test]
fn dry_run_sends_the_smoke_requests_and_binds_nothing() {
    for guest in ["version_a_p2", "version_a_p3"] {
        let smoke = |status| {
            component("one")
                + &component("two")
                + &format!("smoke = [\"GET /?bytes=10 200\", \"POST /x {status}\"]\n")
                + &route("/", "one")
        };
        let (_kept, manifest) = unbindable(&smoke(200));
        let site = Site::with(&manifest, &[("one.wasm", "hello_p2"), ("two.wasm", guest)]);
        let run = || Host::run(["serve", site.text(), "--dry-run", "--no-cache"]);
        let exit = run();
        exit.expect_code(0);
        assert!(!exit.stdout.contains("ready"), "{}", exit.stdout);
        for name in ["one", "two"] {
            assert!(section(&exit.stdout, name).contains("would serve: "), "{}", exit.stdout);
        }
        let (_kept, manifest) = unbindable(&smoke(404));
        site.write(&manifest);
        let exit = run();
        exit.expect_code(3).expect_last_line("component two: ");
        exit.expect_last_line("fails the smoke request `POST /x 404`: the answer is 200");
        assert_eq!(exit.stdout, "");
        for socket in ["bound.sock", "control.sock"] {
            assert!(!site.has(socket), "{socket} was bound");
        }
    }
}

#[test]
fn dry_run_of_a_component_takes_the_flags_of_a_component() {
    let app = guest("version_a_p2");
    let app = app.to_str().unwrap();
    for (smoke, code) in [("GET / 200", 0), ("GET / 204", 3)] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let args = ["serve", app, "--dry-run", "--no-cache", "--addr", &addr, "--smoke", smoke];
        Host::run(args).expect_code(code);
    }
}

#[test]
fn smoke_request_that_traps_or_never_ends_fails_a_dry_run() {
    let limits = "[limits]\ncpu-time = \"300ms\"\n";
    for (guest, word) in
        [("trap_p2", "GET / 200"), ("trap_p3", "GET / 200"), ("busy_p2", "GET / 200")]
    {
        let manifest = limits.to_owned() + &component("bad") + "smoke = [\"GET / 200\"]\n";
        let site = Site::with(&manifest, &[("bad.wasm", guest)]);
        let exit = Host::run(["serve", site.text(), "--dry-run", "--no-cache"]);
        exit.expect_code(3).expect_last_message("component bad: ");
        exit.expect_last_message(word);
    }
}

#[test]
fn dry_run_keeps_to_the_compile_timeout() {
    let manifest = "[swap]\ncompile-timeout = \"1ms\"\n".to_owned() + &component("slow");
    let site = Site::new(&manifest);
    site.put_bytes("slow.wasm", &slow_to_compile());
    let exit = Host::run(["serve", site.text(), "--dry-run", "--no-cache"]);
    exit.expect_code(3).expect_last_line("component slow: ");
}

/// What a look says is what a start would: it passed stores over with which a start was refused.
#[test]
fn store_that_a_start_would_refuse_is_refused_by_a_look() {
    let manifest = |path: &str| {
        component("kv")
            + "[component.kv.grants.keyvalue]\nbucket = \"main\"\n"
            + &format!("[keyvalue.main]\nbackend = \"disk\"\npath = \"{path}\"\n")
    };
    let site = Site::with(&manifest("text.redb"), &[("kv.wasm", "grants_p2")]);
    site.put_text("text.redb", "this is no database");
    for path in ["text.redb", "/proc/x.redb"] {
        site.write(&manifest(path));
        for args in
            [&["check"][..], &["serve", "--dry-run", "--no-cache"], &["serve", "--no-cache"]]
        {
            let exit = Host::run(args.iter().copied().chain([site.text()]));
            exit.expect_code(3).expect_last_line("component kv: the key-value database ");
            exit.expect_last_line("cannot be opened: ");
        }
    }
    site.write(&manifest("new.redb"));
    for args in [&["check"][..], &["serve", "--dry-run", "--no-cache"]] {
        Host::run(args.iter().copied().chain([site.text()])).expect_code(0);
        assert!(!site.has("new.redb"), "a look leaves nothing behind");
    }
}

/// It stayed, empty, wherever a mistyped path had led.
#[test]
fn refused_start_leaves_no_database_behind() {
    let manifest = component("kv")
        + "[component.kv.grants.keyvalue]\nbucket = \"main\"\n\
           [keyvalue.main]\nbackend = \"disk\"\npath = \"data.redb\"\n"
        + &component("last")
        + &route("/", "kv");
    let files = [("kv.wasm", "grants_p2"), ("last.wasm", "start_trap_p3")];
    let site = Site::with(&manifest, &files);
    Host::run(["serve", site.text(), "--no-cache"])
        .expect_code(3)
        .expect_last_line("component last");
    assert!(!site.has("data.redb"), "a refused start has left its database behind");
}

/// Each of these was served without a word, and did not do what the operator meant.
#[test]
fn what_is_served_to_no_purpose_is_said_by_check_start_and_reload() {
    let manifest = component("app")
        + &component("deaf")
        + &component("idle")
        + "[component.idle.reuse]\nexchanges = 5\nconcurrency = 2\n";
    let files =
        [("app.wasm", "version_a_p2"), ("deaf.wasm", "hello_p2"), ("idle.wasm", "version_a_p2")];
    let chained = "chain = [\"deaf\"]\n";
    let site = Site::with(&(manifest.clone() + &route("/", "app") + chained), &files);
    let warnings = [
        "component deaf: it stands in a chain and can pass nothing on",
        "component idle: no route leads to it",
        "component idle: reuse.concurrency is for wasi:http 0.3",
    ];
    let exit = Host::run(["check", site.text()]);
    exit.expect_code(0);
    for warning in warnings {
        assert!(exit.stdout.contains(&format!("\nwarning: {warning}")), "{}", exit.stdout);
    }
    assert!(exit.stdout.contains("\nroute /: deaf, app\n"), "{}", exit.stdout);
    let host = site.serve().control().start();
    for warning in warnings {
        host.wait_log(warning);
    }
    let mark = host.mark();
    site.write(&(manifest + &route("/", "app") + &route("/deaf", "deaf")));
    host.ctl(["reload"]).expect_code(0);
    // The last one that is said: they are by name.
    host.wait_log_after(mark, warnings[2]);
    let log = host.log();
    assert_eq!(log.matches(warnings[0]).count(), 1, "it was put right: {log}");
}

/// Its import of outgoing HTTP is how it passes requests on, and takes no grant.
#[test]
fn plugin_lacks_no_outgoing_http() {
    let chained = "[[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [\"pass\"]\n";
    let manifest = component("pass") + &component("app") + chained;
    let site = Site::with(&manifest, &[("pass.wasm", "pass_p2"), ("app.wasm", "hello_p2")]);
    let exit = Host::run(["check", site.text()]);
    exit.expect_code(0);
    let pass = section(&exit.stdout, "pass");
    assert!(pass.contains("wasi:http/outgoing-handler@"), "{pass}");
    assert!(!pass.contains("outgoing HTTP"), "{pass}");
    assert!(!exit.stdout.contains("warning"), "{}", exit.stdout);
}

/// A look is no use of what it looks at.
#[test]
fn check_and_dry_run_leave_a_host_that_serves_the_same_manifest_alone() {
    let manifest = component("kv")
        + "[component.kv.grants.keyvalue]\nbucket = \"main\"\n\
           [keyvalue.main]\nbackend = \"disk\"\npath = \"data.redb\"\n";
    let site = Site::with(&manifest, &[("kv.wasm", "grants_p2")]);
    Host::run(["check", site.text()]).expect_code(0);
    let host = site.serve().start();
    assert_eq!(host.get("/kv/set?bucket=bucket&key=k&value=v").status(), 200);
    for args in [&["check"][..], &["serve", "--dry-run", "--no-cache"]] {
        Host::run(args.iter().copied().chain([site.text()])).expect_code(0);
    }
    assert!(host.get("/kv/get?bucket=bucket&key=k").text().contains('v'));
}

#[test]
fn schema_is_json_that_names_every_table_and_refuses_other_keys() {
    let exit = Host::run(["schema"]);
    exit.expect_code(0);
    assert_eq!(exit.stderr, "");
    let schema: Value = serde_json::from_str(&exit.stdout).expect("it is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let tables: Vec<&str> = schema["properties"]
        .as_object()
        .expect("it is of an object")
        .keys()
        .map(|k| &**k)
        .collect();
    let all = [
        "component",
        "include",
        "keyvalue",
        "limits",
        "listen",
        "listener",
        "log",
        "registry",
        "route",
        "stop",
        "swap",
        "total",
        "trace",
        "trust",
    ];
    assert_eq!(tables, all);
    assert_eq!(schema["additionalProperties"], false);
    let limits = &schema["$defs"]["Limits"]["properties"];
    for key in ["memory", "cpu-time", "request-body", "queue-timeout"] {
        let says = &limits[key]["description"];
        assert!(says.as_str().is_some_and(|text| text.len() > 10), "{key}: {says}");
    }
    assert_eq!(limits["cpu-time"]["default"], "10s");
    Host::run(["schema", "x"]).expect_code(2);
}
