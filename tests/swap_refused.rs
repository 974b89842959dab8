//! What cannot serve does not come to serve: the old version goes on, the reason is in the log and
//! in the answer, and the next good version is taken.

use std::fs;
use std::process::Command;

use crate::support::app::{
    App, Folder, bytes, component, expect_swapped, reload, slow_to_compile, swap_to, version,
};
use crate::support::compiler::Compiler;
use crate::support::prelude::*;
use crate::support::stop::Held;

/// What is put in the file's place, and what becomes of it.
struct Refused<'a> {
    args: &'a [&'a str],
    step: &'a str,
    words: &'a [&'a str],
}

impl Refused<'_> {
    /// Puts something in the place of version a by `spoil`, and expects that it is refused: by a
    /// swap, and at a start.
    #[track_caller]
    fn expect(&self, spoil: impl Fn(&App)) {
        for [a, b] in [["version_a_p2", "version_b_p2"], ["version_a_p3", "version_b_p3"]] {
            let app = App::new(a);
            let host = app.serve().control().args(self.args.iter().copied()).start();
            let mut conn = host.connect();
            assert_eq!(version(&conn.get("/").unwrap()), "a");
            spoil(&app);
            self.refused_by_signal(&host);
            self.refused_by_ctl(&host);
            assert_eq!(version(&conn.get("/").unwrap()), "a", "the old one serves on");
            self.refused_at_start(&app);
            restore(&app, b);
            assert_eq!(expect_swapped(&reload(&host)).0, 1);
            assert_eq!(version(&conn.get("/").unwrap()), "b", "the next good one is taken");
            assert!(!host.log().contains("panicked"), "{}", host.log());
        }
    }

    #[track_caller]
    fn refused_by_signal(&self, host: &Host) {
        let outcome = reload(host);
        let Self { step, words, .. } = self;
        let begin = format!("{}{step}: ", says::REJECTED);
        assert!(outcome.contains(&begin), "no {begin:?} in {outcome}");
        for word in *words {
            assert!(outcome.contains(word), "no {word:?} in {outcome}");
        }
    }

    #[track_caller]
    fn refused_by_ctl(&self, host: &Host) {
        let exit = host.ctl(["reload"]);
        exit.expect_code(1).expect_last_line(&format!("rejected ({}): ", self.step));
        self.expect_words(&exit);
        assert_eq!(exit.stdout, "");
    }

    #[track_caller]
    fn expect_words(&self, exit: &Exit) {
        for word in self.words {
            exit.expect_last_line(word);
        }
    }

    #[track_caller]
    fn refused_at_start(&self, app: &App) {
        let mut args = vec!["serve", app.text(), "--addr", "127.0.0.1:0", "--control", "off"];
        args.extend(self.args);
        if !self.args.contains(&"--cache-dir") {
            args.push("--no-cache");
        }
        let exit = Host::run(args);
        exit.expect_code(3).expect_last_line("host: cannot start: ");
        self.expect_words(&exit);
        assert_eq!(exit.stdout, "", "never ready");
    }
}

/// Puts a guest in the place of whatever is there.
fn restore(app: &App, name: &str) {
    if app.path().is_dir() {
        fs::remove_dir(app.path()).unwrap();
    }
    app.put(name);
}

const CHECK: Refused<'_> = Refused { args: &[], step: "check", words: &[] };
const READ: Refused<'_> = Refused { args: &[], step: "read", words: &["cannot read ", "app.wasm"] };
const ON_START: Refused<'_> =
    Refused { args: &[], step: "on-start", words: &["app.wasm does not start: "] };

#[test]
fn truncated_file_is_refused() {
    let refused = Refused { words: &["app.wasm", "is the file complete?"], ..CHECK };
    for part in [2, 3] {
        refused.expect(|app| {
            let whole = bytes("version_b_p2");
            app.put_bytes(&whole[..whole.len() / part]);
        });
    }
    refused.expect(|app| app.put_bytes(b""));
}

#[test]
fn core_module_is_refused() {
    let words = &["core WebAssembly module", "wasm32-wasip2", "wasm-tools component new"];
    Refused { words, ..CHECK }.expect(|app| app.put_bytes(b"\0asm\x01\0\0\0"));
}

#[test]
fn component_of_another_world_is_refused() {
    let words = &["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2", "build it against"];
    let other = "(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))";
    Refused { words, ..CHECK }.expect(|app| app.put_bytes(&component(other)));
}

#[test]
fn component_with_an_unknown_import_is_refused() {
    let words = &["acme:store/shelf@1.0.0", "which the host does not have"];
    let unknown = "(component (import \"acme:store/shelf@1.0.0\" \
         (instance (export \"open\" (func)))) (instance $i) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    Refused { words, ..CHECK }.expect(|app| app.put_bytes(&component(unknown)));
}

#[test]
fn component_that_traps_at_its_start_is_refused() {
    for guest in ["start_trap_p2", "start_trap_p3"] {
        Refused { words: &["guest trapped"], ..ON_START }.expect(|app| app.put(guest));
    }
}

#[test]
fn component_that_says_it_cannot_start_is_refused_with_its_own_words() {
    for guest in ["start_error_p2", "start_error_p3"] {
        Refused { words: &["no database"], ..ON_START }.expect(|app| app.put(guest));
    }
}

#[test]
fn component_whose_start_never_ends_is_refused_in_time() {
    let args = &["--hook-timeout", "200ms"];
    let words = &["on-start did not return within 200ms"];
    for guest in ["start_spin_p2", "start_spin_p3"] {
        Refused { args, words, ..ON_START }.expect(|app| app.put(guest));
    }
}

#[test]
fn component_that_fails_its_smoke_request_is_refused() {
    let args = &["--smoke", "GET /?bytes=1 200", "--smoke", "GET /health 200"];
    let step = "smoke";
    for guest in ["broken_smoke_p2", "broken_smoke_p3"] {
        let words = &["fails the smoke request", "GET /?bytes=1 200", "the answer is 500"];
        Refused { args, step, words }.expect(|app| app.put(guest));
    }
    for guest in ["trap_p2", "trap_p3"] {
        Refused { args, step, words: &["guest trapped"] }.expect(|app| app.put(guest));
    }
    for guest in ["trap_late_p2", "trap_late_p3"] {
        let words = &["fails the smoke request"];
        Refused { args, step, words }.expect(|app| app.put(guest));
    }
}

#[test]
fn file_that_is_gone_is_refused() {
    Refused { words: &["cannot read ", "No such file"], ..READ }
        .expect(|app| fs::remove_file(app.path()).unwrap());
}

/// A reader would wait for a writer, perhaps for ever.
#[test]
fn fifo_is_refused_and_not_waited_for() {
    Refused { words: &["cannot read ", "it is not a regular file"], ..READ }.expect(|app| {
        fs::remove_file(app.path()).unwrap();
        assert!(Command::new("mkfifo").arg(app.path()).status().unwrap().success());
    });
}

#[test]
fn directory_is_refused() {
    Refused { words: &["cannot read ", "it is a directory"], ..READ }.expect(|app| {
        fs::remove_file(app.path()).unwrap();
        fs::create_dir(app.path()).unwrap();
    });
}

/// Its compiler is stopped, so it is too slow on any machine. It went on after its deadline once, and
/// all later swaps waited for it.
#[test]
fn component_that_takes_too_long_to_compile_is_refused_and_the_next_good_one_is_taken() {
    let cache = Folder::new();
    let cache = ["--cache-dir".to_owned(), cache.join("cache").to_str().unwrap().to_owned()];
    for guest in ["version_a_p2", "version_b_p2"] {
        drop(Host::serve(guest).args(cache.clone()).start());
    }
    let app = App::new("version_a_p2");
    let host = app.serve().args(cache).args(["--compile-timeout", "3s"]).start();
    let mut conn = host.connect();
    app.put_bytes(&slow_to_compile());
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("compile: "), "{rejected}");
    assert!(rejected.contains("did not compile within 3s; raise --compile-timeout"), "{rejected}");
    compiler.expect_end();
    assert_eq!(version(&conn.get("/").unwrap()), "a", "the old one serves on");
    app.put("version_b_p2");
    expect_swapped(&reload(&host));
    assert_eq!(version(&conn.get("/").unwrap()), "b");
}

#[test]
fn component_that_takes_too_long_to_compile_is_refused_at_start() {
    let app = App::new("version_a_p2");
    app.put_bytes(&slow_to_compile());
    // No process is started in that time.
    let args = &["--compile-timeout", "1ms"];
    let words = &["did not compile within 1ms", "--compile-timeout"];
    Refused { args, step: "compile", words }.refused_at_start(&app);
}

/// What runs on the old version does not notice.
#[test]
fn refusal_leaves_exchanges_and_their_generation_alone() {
    for guest in ["gate_p2", "gate_p3"] {
        let app = App::new(guest);
        let host = app.serve().start();
        let held = Held::on(&host);
        for bad in ["start_error_p2", "start_trap_p3"] {
            app.put(bad);
            assert!(reload(&host).contains(says::REJECTED));
        }
        let mut conn = held.open();
        assert!(!host.log().contains(says::RETIRED_GONE));
        swap_to(&host, &app, "version_b_p3");
        assert_eq!(version(&conn.get("/").unwrap()), "b");
        host.wait_log_nth(says::RETIRED_GONE, 1);
    }
}

#[test]
fn smoke_requests_are_answered_by_what_then_serves() {
    let app = App::new("version_a_p2");
    let smoke = ["--smoke", "GET / 200", "--smoke", "HEAD /?bytes=100000 200"];
    let host = app.serve().args(smoke).start();
    swap_to(&host, &app, "version_b_p3");
    assert_eq!(version(&host.get("/")), "b");
}
