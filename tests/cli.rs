//! The command line: it says what it wants, and refuses with a sentence that says what to do.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::prelude::*;

/// A file of this test's own with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A component that exports what no server serves.
const WRONG_WORLD: &str = "(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))";

/// A handler of 0.2 by its name, with an import that no host has.
const UNKNOWN_IMPORT: &str = "(component (import \"acme:store/shelf@1.0.0\" \
     (instance (export \"open\" (func)))) (instance $i) \
     (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// Runs `host serve` and `host check` on `app`, expects exit 3 from both, with all of `words` in
/// one line of stderr and nothing on stdout.
#[track_caller]
fn refused(app: &Path, words: &[&str]) {
    for args in
        [&["serve", text(app), "--addr", "127.0.0.1:0", "--no-cache"][..], &["check", text(app)]]
    {
        let exit = Host::run(args);
        exit.expect_code(3);
        assert_eq!(exit.stdout, "", "{args:?}");
        for word in words {
            assert!(exit.last_line.contains(word), "{args:?}: no {word:?} in {:?}", exit.last_line);
        }
    }
}

#[test]
fn help_names_the_commands() {
    let exit = Host::run(["--help"]);
    exit.expect_code(0);
    for word in ["serve", "check", "ctl", "--version"] {
        assert!(exit.stdout.contains(word), "no {word} in {}", exit.stdout);
    }
}

/// A level that was mistyped was replaced in silence, or silenced the host.
#[test]
fn mistyped_log_filter_is_refused_before_anything_is_loaded() {
    let app = file("never_read.wasm", b"");
    for (value, words) in [("inof", "\"inof\" is no level"), ("hots=debug", "\"hots\"")] {
        for args in [&["serve", text(&app)][..], &["serve", text(&app), "--dry-run"]] {
            let exit = Host::run_with(("HOST_LOG", Path::new(value)), args);
            exit.expect_code(2);
            for word in ["HOST_LOG", words, "debug, trace"] {
                assert!(exit.last_line.contains(word), "{value}: {:?}", exit.last_line);
            }
        }
    }
}

#[test]
fn help_of_serve_gives_every_flag_its_default() {
    let exit = Host::run(["serve", "--help"]);
    exit.expect_code(0);
    // A flag begins a paragraph: its text runs to the next flag.
    let paragraphs = exit.stdout.split("\n      --").skip(1);
    let mut flags = 0;
    for paragraph in paragraphs {
        flags += 1;
        let paragraph = paragraph.split("\n  -h, --help").next().unwrap_or_default();
        let switch = paragraph.starts_with("no-cache");
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("[default: ") || switch, "no default: --{text}");
        assert!(text.split_whitespace().count() > 3, "no reason: --{text}");
    }
    assert!(flags >= 23, "only {flags} flags in:\n{}", exit.stdout);
}

#[test]
fn version_names_that_of_wasmtime() {
    let exit = Host::run(["--version"]);
    exit.expect_code(0);
    assert!(exit.stdout.contains("wasmtime 48.0.8"), "{}", exit.stdout);
}

#[test]
fn wrong_usage_is_exit_2_with_a_sentence() {
    let app = guest("hello_p2");
    let app = text(&app);
    for args in [
        &[][..],
        &["serv"],
        &["serve"],
        &["serve", app, "--no-such-flag"],
        &["serve", app, "--drain-timeout", "soon"],
        &["serve", app, "--drain-timeout", "-1s"],
        &["serve", app, "--max-memory", "lots"],
        &["serve", app, "--max-memory", "0B"],
        &["serve", app, "--max-memory", "5GiB"],
        &["serve", app, "--max-instances", "0"],
        &["serve", app, "--max-instances", "1000000000"],
        &["serve", app, "--max-connections", "0"],
        &["serve", app, "--threads", "0"],
        &["serve", app, "--max-header-size", "1KiB"],
        &["serve", app, "--addr", "nonsense"],
        &["serve", app, "--addr", "localhost"],
        &["serve", app, "--addr", "127.0.0.1:99999"],
        &["serve", app, "--addr", "unix:"],
        &["serve", app, "--drain-delay", "30s", "--drain-timeout", "10s"],
        &["serve", app, "--health-addr", "8081"],
        &["check"],
        &["ctl"],
        &["ctl", "restart"],
        &["ctl", "swap"],
        &["ctl", "status", "--pid", "1", "--socket", "/a"],
    ] {
        let exit = Host::run(args);
        assert_eq!(exit.code, 2, "{args:?}: {}{}", exit.stdout, exit.stderr);
        assert_eq!(exit.stdout, "", "{args:?}");
        assert!(exit.stderr.contains(' '), "{args:?} is not told why");
        assert!(!exit.stderr.contains("panicked"), "{args:?}: {}", exit.stderr);
    }
}

#[test]
fn wrong_value_is_named_with_its_flag() {
    let app = guest("hello_p2");
    for (flag, value) in [("--linger", "ages"), ("--max-request-body", "big"), ("--addr", "here")] {
        let exit = Host::run(["serve", text(&app), flag, value]);
        exit.expect_code(2);
        assert!(exit.stderr.contains(flag) && exit.stderr.contains(value), "{}", exit.stderr);
    }
}

#[test]
fn wrong_usage_binds_nothing() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("never.sock");
    let addr = format!("unix:{}", path.display());
    let exit = Host::run(["serve", text(&guest("hello_p2")), "--addr", &addr, "--linger", "ages"]);
    exit.expect_code(2);
    assert!(!path.exists(), "{} was bound", path.display());
}

#[test]
fn missing_file_is_refused() {
    refused(Path::new("/nowhere/app.wasm"), &["cannot read /nowhere/app.wasm", "No such file"]);
}

#[test]
fn folder_in_place_of_a_file_is_refused() {
    refused(Path::new("/tmp"), &["cannot read /tmp", "directory"]);
}

#[test]
fn core_module_is_refused_with_what_to_do() {
    for (name, bytes) in [("core.wasm", &b"\0asm\x01\0\0\0"[..]), ("core.wat", &b"(module)"[..])] {
        let path = file(name, bytes);
        refused(&path, &["core WebAssembly module", "wasm32-wasip2", "wasm-tools component new"]);
    }
}

#[test]
fn component_of_another_world_is_refused_with_its_exports() {
    let path = file("world.wat", WRONG_WORLD.as_bytes());
    refused(&path, &["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2", "build it against"]);
}

#[test]
fn component_without_exports_is_refused() {
    refused(&file("empty.wat", b"(component)"), &["it exports nothing"]);
}

#[test]
fn truncated_component_is_refused() {
    for name in ["hello_p2", "hello_p3"] {
        let whole = fs::read(guest(name)).unwrap();
        for length in [whole.len() / 2, whole.len() - 1, 9] {
            let path = file(&format!("cut-{name}-{length}.wasm"), &whole[..length]);
            refused(&path, &["is the file complete?"]);
        }
    }
}

#[test]
fn file_that_is_no_wasm_is_refused() {
    refused(&file("script.wasm", b"#!/bin/sh\necho\n"), &["not a WebAssembly component"]);
    refused(&file("bad.wat", b"(component (nonsense))"), &["not valid WebAssembly text"]);
    refused(&file("nothing.wasm", b""), &["nothing.wasm"]);
}

#[test]
fn component_with_an_unknown_import_is_refused_with_its_name() {
    let path = file("import.wat", UNKNOWN_IMPORT.as_bytes());
    refused(&path, &["acme:store/shelf@1.0.0", "WASI 0.2 and 0.3"]);
}

#[test]
fn handler_in_name_only_is_refused() {
    let app =
        "(component (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    refused(&file("name.wat", app.as_bytes()), &["name.wat", "handle"]);
}

/// A component, or a manifest, had its say on the operator's terminal: it could clear it and forge lines.
#[test]
fn nothing_that_a_stranger_wrote_is_a_command_to_the_terminal() {
    let name = "\\1b[2J\\1b]0;owned\\07\\c2\\9b2J";
    let twice = format!(
        "(component (core module (func (export \"{name}\")) (func (export \"{name}\"))) \
         (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))"
    );
    let twice = file("twice.wat", twice.as_bytes());
    let wrong = file("wrong.wat", b"(component \x1b[2J\xc2\x9b)");
    let manifest = file("escape.toml", b"[component.a]\nsource = \"\x1b[2J\"\n");
    let named = b"[component.a]\nsource = \"\\u001b[2J.wasm\"\n[[route]]\npath = \"/\"\ncomponent = \"a\"\n";
    let named = file("named.toml", named);
    let odd = file("odd\x1b[2J.wasm", b"no");
    let harmless = |exit: &Exit| {
        let said = format!("{}{}", exit.stdout, exit.stderr);
        let command = |letter: &char| letter.is_control() && *letter != '\n';
        assert_eq!(said.chars().find(command), None, "{said:?}");
        assert!(said.contains("2J") || said.contains("\\u{9b}"), "{said:?}");
    };
    for app in [&twice, &wrong, &manifest, &named, &odd] {
        harmless(&Host::run(["check", "--no-cache", text(app)]));
        harmless(&Host::run(["check", "--no-cache", "--json", text(app)]));
        harmless(&Host::run([
            "serve",
            "--no-cache",
            "--control",
            "off",
            "--addr",
            "127.0.0.1:0",
            text(app),
        ]));
    }
    let host = Host::serve("version_a_p2").control().args(["--no-cache"]).start();
    for app in [&twice, &wrong, &odd] {
        harmless(&Host::run(["compile", "-o", text(&app.with_extension("cwasm")), text(app)]));
        harmless(&host.ctl(["swap", text(app)]));
    }
}

/// Words that a component chooses were taken for the reason: that one took too much memory.
#[test]
fn reason_is_not_the_component_s_to_choose() {
    for name in ["out of memory", "memory allocation of 8 bytes failed", "mmap failed"] {
        let twice = format!(
            "(component (core module (func (export \"{name}\")) (func (export \"{name}\"))) \
             (instance $i) (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))"
        );
        refused(&file("reason.wat", twice.as_bytes()), &["does not compile", name]);
    }
}

/// They wrote nothing and exited with 0: a pipeline went on with an empty schema.
#[test]
fn answer_that_cannot_be_written_is_exit_4() {
    let app = guest("hello_p2");
    let code = file("full.cwasm", b"");
    let host = Host::serve("version_a_p2").control().start();
    let socket = text(host.control_path());
    let full = ["sh", "-c", "exec \"$@\" >/dev/full", "sh"].map(OsString::from);
    for args in [
        &["schema"][..],
        &["--help"],
        &["--version"],
        &["check", text(&app)],
        &["check", "--json", text(&app)],
        &["serve", "--dry-run", text(&app)],
        &["compile", text(&app), "-o", text(&code)],
        &["ctl", "--socket", socket, "status"],
        &["ctl", "--socket", socket, "--json", "generations"],
    ] {
        let exit = Host::run_under(&full, args);
        exit.expect_code(4).expect_last_line("to stdout: No space left on device");
    }
}

#[test]
fn port_that_is_taken_is_exit_3_with_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let exit = Host::run(["serve", text(&guest("hello_p2")), "--no-cache", "--addr", &addr]);
    exit.expect_code(3).expect_last_line(&addr);
    assert!(exit.last_line.contains("in use"), "{}", exit.last_line);
    assert_eq!(exit.stdout, "");
}

#[test]
fn socket_of_a_living_host_is_not_taken_from_it() {
    let host = Host::serve("hello_p2").unix().start();
    let path = text(host.unix_path());
    let addr = format!("unix:{path}");
    let exit = Host::run(["serve", text(&guest("hello_p2")), "--no-cache", "--addr", &addr]);
    exit.expect_code(3).expect_last_line(path);
    let mut conn = Conn::connect(host.unix_path()).unwrap();
    assert_eq!(conn.get("/").unwrap().status(), 200);
}

#[test]
fn check_tells_kind_imports_exports_and_grants() {
    for (name, words) in [
        (
            "hello_p2",
            [
                "wasi:http 0.2",
                "wasi:http/incoming-handler@0.2",
                "wasi:http/types@0.2",
                "needs none",
            ],
        ),
        (
            "hello_p3",
            ["wasi:http 0.3", "wasi:http/handler@0.3", "wasi:http/types@0.3", "needs none"],
        ),
        ("grants_p2", ["outgoing HTTP", "network", "directories", "environment variables"]),
        ("grants_p3", ["outgoing HTTP", "network", "directories", "environment variables"]),
    ] {
        let exit = Host::run(["check", text(&guest(name))]);
        exit.expect_code(0);
        for word in ["would serve", "exports:", "imports:", "grants:"].iter().chain(&words) {
            assert!(exit.stdout.contains(word), "{name}: no {word:?} in {}", exit.stdout);
        }
    }
}
