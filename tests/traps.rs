//! A guest that traps: the log says where, function by function, with file and line where the component tells them.

use crate::support::app::{App, Folder, bytes, component as wasm, text};
use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::json;
use crate::support::wire;

/// The guests that are built with names and lines.
const CRASH: [&str; 2] = ["crash_p2", "crash_p3"];

const WAYS: &str = include_str!("../guest/p2/crash/src/ways.rs");

/// The end of a line of a backtrace: the function, and the line of `ways.rs` that has this text.
#[track_caller]
fn at(function: &str, text: &str) -> [String; 2] {
    let line = WAYS.lines().position(|line| line.contains(text)).expect("a line of ours") + 1;
    [function.to_owned(), format!("/p2/crash/src/ways.rs:{line}")]
}

/// The lines below the `nth` line with `text` that have all come, to the one with `last`.
#[track_caller]
fn stack(host: &Host, text: &str, nth: usize, last: &str) -> Vec<String> {
    let line = host.wait_log_nth(text, nth);
    let below = |log: &str| -> Vec<String> {
        let mut lines = log.lines().skip_while(|it| **it != line).skip(1);
        let stack = lines.by_ref().take_while(|it| it.starts_with("    "));
        stack.map(|it| it.trim_start().to_owned()).collect()
    };
    // All lines are written at once, and read one by one.
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let stack = below(&host.log());
        if stack.iter().any(|line| line.contains(last)) {
            return stack;
        }
        assert!(std::time::Instant::now() < until, "no {last:?} below {line}: {stack:?}");
        std::thread::yield_now();
    }
}

/// Fails unless the stack begins with these functions, each with what stands at its end.
#[track_caller]
fn expect(stack: &[String], functions: &[[String; 2]]) {
    for (number, [function, place]) in functions.iter().enumerate() {
        let line = &stack[number];
        assert!(line.starts_with(&format!("{number}: ")), "{stack:#?}");
        assert!(line.contains(function.as_str()) && line.ends_with(place.as_str()), "{stack:#?}");
    }
}

/// The functions of the guest that a panic goes through.
fn panicking() -> [[String; 2]; 3] {
    [
        at("with_tax", "prices[item] * 119"),
        at("::ways::look_up_the_price", "with_tax(prices, item)"),
        at("::ways::break_down", "\"panic\" =>"),
    ]
}

/// The words of a panic, which a guest in Rust prints on stderr.
const PANIC: &str = ": index out of bounds: the len is 3 but the index is 7 (wasm `unreachable` instruction executed)";

#[test]
fn trap_is_logged_with_the_functions_files_and_lines_where_it_was() {
    for guest in CRASH {
        let host = Host::serve(guest).start();
        for (way, why, functions) in [
            ("panic", PANIC, &panicking()[..]),
            (
                "unreachable",
                "wasm `unreachable` instruction",
                &[at("::break_down", "\"unreachable\"")],
            ),
            ("bounds", "out of bounds memory access: memory fault at wasm address 0xfffffff0", &[]),
            ("memory", "wasm `unreachable` instruction", &[]),
        ] {
            assert_eq!(host.get(&format!("/{way}")).status(), 500, "{guest} {way}");
            let failed = format!("guest failed: GET /{way}");
            let line = host.wait_log(&failed);
            assert!(line.contains("guest trapped: ") && line.contains(why), "{line}");
            let stack = stack(&host, &failed, 1, "break_down");
            expect(&stack, functions);
            let way_through = match way {
                "bounds" => at("::ways::read_far_away", "read_volatile()"),
                "memory" => at("::ways::remember_everything", "vec![1_u8; 1 << 20]"),
                _ => continue,
            };
            let found = stack.iter().find(|line| line.contains(&way_through[0]));
            assert!(found.is_some_and(|line| line.ends_with(&way_through[1])), "{stack:#?}");
        }
        assert_eq!(host.get("/").text(), "in one piece\n");
    }
}

#[test]
fn frames_of_rusts_panic_are_counted_and_not_shown() {
    let host = Host::serve("crash_p2").start();
    host.get("/panic");
    let stack = stack(&host, "guest failed: GET /panic", 1, "functions with which Rust panics");
    assert!(stack.iter().all(|line| !line.contains("panic_fmt")), "{stack:#?}");
}

#[test]
fn stack_that_is_exhausted_is_told_without_its_repetitions() {
    for guest in CRASH {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/deep").status(), 500);
        let failed = "guest failed: GET /deep";
        assert!(host.wait_log(failed).contains("guest trapped: call stack exhausted"));
        let stack = stack(&host, failed, 1, "times more from there");
        assert!(stack.len() <= 4 && stack[0].contains("::ways::count_down"), "{stack:#?}");
    }
}

/// The guests go through both rewriters before they are compiled, which move their code and half of their allocator.
#[test]
fn lines_are_right_after_the_component_was_rewritten() {
    for guest in CRASH {
        let whole = bytes(guest);
        let unshimmed = host_unshim::unshim(&whole).expect("it has a shim");
        let prefaulted = host_prefault::prefault(&unshimmed.bytes);
        assert_eq!(prefaulted.is_some(), guest == "crash_p3", "one has a large memory");
    }
}

/// A wat guest whose handler does this.
fn wat(body: &str, more: &str) -> String {
    format!(
        r#"(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $module
    (memory 1)
    (table 2 funcref)
    (func $price (param i32) {body})
    (func $handle (export "handle") (param i32 i32) (call $price (i32.const 0)))
    {more})
  (core instance $core (instantiate $module))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $core "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    )
}

#[test]
fn every_kind_of_trap_names_its_functions() {
    let traps = [
        ("(drop (i32.div_s (i32.const 1) (local.get 0)))", "integer divide by zero"),
        ("(drop (i64.rem_u (i64.const 1) (i64.const 0)))", "integer divide by zero"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "integer overflow"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
        ("(drop (i32.trunc_f64_u (f64.const 1e300)))", "integer overflow"),
        ("(drop (i32.load (i32.const -4)))", "out of bounds memory access"),
        (
            "(memory.fill (i32.const 65530) (i32.const 1) (i32.const 100))",
            "out of bounds memory access",
        ),
        ("(call_indirect (local.get 0))", "uninitialized element"),
        ("(call_indirect (i32.const 7))", "undefined element: out of bounds table access"),
        ("(call $price (local.get 0))", "call stack exhausted"),
        ("unreachable", "wasm `unreachable` instruction executed"),
    ];
    let names = (0..traps.len()).map(|number| format!("t{number}"));
    let manifest: String = names
        .clone()
        .map(|name| {
            format!(
                "[component.{name}]\nsource = \"{name}.wasm\"\n[[route]]\npath = \"/{name}\"\ncomponent = \"{name}\"\n"
            )
        })
        .collect();
    let site = Site::with(&manifest, &[]);
    for (name, (body, _)) in names.clone().zip(traps) {
        site.put_bytes(&format!("{name}.wasm"), &wasm(&wat(body, "")));
    }
    let host = site.serve().start();
    for (name, (body, why)) in names.zip(traps) {
        assert_eq!(host.get(&format!("/{name}")).status(), 500, "{body}");
        let failed = format!("guest failed: GET /{name}");
        let line = host.wait_log(&failed);
        assert!(line.contains(&format!("guest trapped: {why}")), "{body}: {line}");
        let stack = stack(&host, &failed, 1, "price");
        assert_eq!(stack[0], "0: price", "{body}");
    }
}

#[test]
fn trap_in_a_start_function_is_located_and_refuses_the_component() {
    let app = App::new("hello_p2");
    app.put_bytes(&wasm(&wat(
        "unreachable",
        "(start $begin) (func $begin (call $price (i32.const 1)))",
    )));
    let exit = Host::run(["check", app.text()]);
    exit.expect_code(3);
    assert!(exit.stderr.contains("does not start: guest trapped: "), "{}", exit.stderr);
    assert!(exit.stderr.contains("\n     0: price\n     1: begin"), "{}", exit.stderr);
}

#[test]
fn trap_behind_the_head_and_after_the_answer_is_located() {
    let host = Host::serve("crash_p3").start();
    for (path, text) in [
        ("/body/panic", "answer broken off: GET /body/panic "),
        ("/after/panic", "after its answer: GET /after/panic "),
    ] {
        let mut conn = host.connect();
        conn.send(wire::get(path)).unwrap();
        conn.read_head().unwrap();
        expect(&stack(&host, text, 1, "break_down"), &panicking());
        let line = host.wait_log(text);
        let ids = ["exchange=", "request_id=", "generation=", "trace_id="];
        assert!(ids.iter().all(|id| line.contains(id)), "{line}");
    }
}

/// Its client was told 500, and the log said that a part of the answer had gone out.
#[test]
fn trap_behind_a_head_that_is_not_out_yet_is_told_as_the_client_is() {
    let host = Host::serve("crash_p2").start();
    assert_eq!(host.get("/body/panic").status(), 500);
    let line = host.wait_log("guest failed: GET /body/panic ");
    assert!(line.contains(" status=500 "), "{line}");
    assert!(!host.log().contains("answer broken off"), "{}", host.log());
}

#[test]
fn trap_of_a_reused_instance_is_located() {
    for guest in CRASH {
        let host = Host::serve(guest).args(["--reuse", "100"]).start();
        assert_eq!(host.get("/").status(), 200);
        assert_eq!(host.get("/panic").status(), 500);
        expect(&stack(&host, "guest failed: GET /panic", 1, "break_down"), &panicking());
    }
}

#[test]
fn trap_of_a_plugin_is_located() {
    let host = Chain::new(&["crash_p3"], "hello_p3").start();
    assert_eq!(host.get("/panic").status(), 502);
    expect(&stack(&host, "guest failed: GET /panic", 1, "break_down"), &panicking());
}

/// The manifest of a component whose hook breaks down.
fn with_hook(guest: &str, hook: &str) -> String {
    format!("[component.shop]\nsource = \"guest:{guest}\"\nenv = {{ {hook} = \"panic\" }}\n")
}

#[test]
fn trap_in_on_start_is_in_the_error_of_a_check_a_start_and_a_swap() {
    for guest in CRASH {
        let site = Site::new(&with_hook(guest, "ON_START"));
        let check = Host::run(["check", site.text()]);
        check.expect_code(3);
        let below: Vec<String> =
            check.stderr.lines().skip(1).map(|it| it.trim_start().into()).collect();
        expect(&below, &panicking());
        let report = json(&Host::run(["check", site.text(), "--json"]));
        let first = report["components"][0]["refused"]["stack"][0].as_str().unwrap();
        assert!(first.contains("with_tax"), "{report}");
        let start = site.serve().start_in_vain();
        start.expect_code(3).expect_last_line("does not start: guest trapped: panicked at ");
        assert!(start.stderr.contains("::ways::look_up_the_price at "), "{}", start.stderr);

        let site = Site::new(&with_hook(guest, "ON_DRAIN"));
        let host = site.serve().control().start();
        site.write(&with_hook(guest, "ON_START"));
        let exit = host.ctl(["reload"]);
        exit.expect_code(1).expect_last_line("rejected (on-start): ");
        let below = exit.stderr.lines().skip(1).map(|it| it.trim_start().to_owned());
        expect(&below.collect::<Vec<_>>(), &panicking());
        let text = "guest trapped in its trial";
        expect(&stack(&host, text, 1, "break_down"), &panicking());
    }
}

#[test]
fn trap_in_a_hook_at_the_end_is_located() {
    for (guest, hook, log) in [
        ("crash_p2", "ON_DRAIN", says::HOOK_FAILED),
        ("crash_p2", "ON_SHUTDOWN", says::HOOK_FAILED),
        ("crash_p3", "ON_SHUTDOWN", says::HOOK_FAILED),
    ] {
        let host =
            Site::new(&(with_hook(guest, hook) + "reuse = { exchanges = 100 }\n")).serve().start();
        assert_eq!(host.get("/").status(), 200);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0);
        let lines = || exit.stderr.lines().skip_while(|line| !line.contains(log)).skip(1);
        let below: Vec<String> = lines().map(|line| line.trim_start().to_owned()).collect();
        expect(&below, &panicking());
    }
}

#[test]
fn trap_in_a_smoke_request_is_in_the_error() {
    let shop = "[component.shop]\nsource = \"guest:crash_p2\"\nsmoke = [\"GET /panic 200\"]\n";
    let exit = Host::run(["check", Site::new(shop).text()]);
    exit.expect_code(3);
    assert!(exit.stderr.contains("fails the smoke request"), "{}", exit.stderr);
    assert!(exit.stderr.contains("::ways::look_up_the_price at "), "{}", exit.stderr);
}

/// The second start takes code and symbols from the cache.
#[test]
fn cached_code_has_its_lines() {
    let cache = Folder::new();
    for cached in ["cached=false", "cached=true"] {
        let host = Host::serve("crash_p2").args(["--cache-dir", text(&cache.join("c"))]).start();
        host.wait_log(cached);
        host.get("/panic");
        expect(&stack(&host, "guest failed: GET /panic", 1, "break_down"), &panicking());
    }
}

#[test]
fn component_without_names_is_told_once_what_to_build() {
    let host = Host::serve("trap_p2").start();
    for nth in 1..=2 {
        assert_eq!(host.get("/").status(), 500);
        let stack = stack(&host, "guest failed: GET /", nth, "function ");
        assert!(stack[0].starts_with("0: function "), "{stack:?}");
        assert!(stack[0].contains("(at 0x"), "{stack:?}");
        let told = stack.iter().any(|line| line.contains("debug = \"line-tables-only\""));
        assert_eq!(told, nth == 1, "{stack:?}");
    }
}

/// Names are the guest's, and so is what it prints.
#[test]
fn names_of_a_guest_can_neither_make_a_line_nor_command_a_terminal() {
    let evil = r#"(func $"evil\0a2026-11-29T00:00:00Z  INFO host: ready\1b[2J" unreachable)"#;
    let text = wat(r#"(call $"evil\0a2026-11-29T00:00:00Z  INFO host: ready\1b[2J")"#, evil);
    let app = App::new("hello_p2");
    app.put_bytes(&wasm(&text));
    let host = app.serve().start();
    assert_eq!(host.get("/").status(), 500);
    let stack = stack(&host, "guest failed: GET /", 1, "price");
    assert_eq!(stack[0], r"0: evil\n2026-11-29T00:00:00Z  INFO host: ready\u{1b}[2J");
    assert!(!host.log().contains('\x1b'));
}
