//! Compiling: by a child process, within bounds, and nothing of it is left.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::support::app::{
    App, Folder, beside, component, expect_swapped, reload, slow_to_compile, text, version,
};
use crate::support::compiler::Compiler;
use crate::support::memory::resident_kib;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::site::{Site, component as site_component, route};

/// A component of few bytes that takes all the memory there is: 1,000 nested blocks with 1,000 results
/// each, and a jump that may go to the end of any. In the process that served it took over 6 GiB in
/// 27 s, and the host was killed.
fn bomb() -> Vec<u8> {
    const SIZE: usize = 1_000;
    let results = "i32 ".repeat(SIZE);
    let begin = "block (type 0) ".repeat(SIZE);
    let values = "i32.const 0 ".repeat(SIZE);
    let labels: String = (0..SIZE).map(|label| format!("{label} ")).collect();
    let end = "end ".repeat(SIZE);
    let drops = "drop ".repeat(SIZE);
    component(&format!(
        "(component (core module (type (func (result {results}))) (func {begin} {values} \
         i32.const 0 br_table {labels} 0 {end} {drops})) (instance $i) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))"
    ))
}

#[test]
fn component_that_takes_too_much_memory_to_compile_is_refused_while_others_are_served() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--compile-memory", "200MiB"]).start();
    let before = resident_kib(&host);
    let bomb = bomb();
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    app.put_bytes(&bomb);
    let asked = host.start_ctl(["reload"]);
    let mut conn = host.connect();
    while !asked.has_ended() {
        assert_eq!(version(&conn.get("/").unwrap()), "a");
    }
    let why = "app.wasm was not compiled: compiling took more than 200MiB (--compile-memory)";
    asked.wait_exit().expect_code(1).expect_last_line(why);
    let after = resident_kib(&host);
    assert!(after < before + (32 << 10), "{before} KiB before, {after} KiB after");
    app.put("version_b_p2");
    expect_swapped(&reload(&host));
    assert_eq!(version(&conn.get("/").unwrap()), "b");
    // The same at a start.
    app.put_bytes(&bomb);
    let args =
        ["serve", app.text(), "--no-cache", "--compile-memory", "200MiB", "--control", "off"];
    Host::run(args).expect_code(3).expect_last_line(why);
}

/// Text was parsed in the process that serves: 20 MB of it took 1,180 MiB there, of which 884 stayed, and a
/// host in a cgroup of 256 MiB was killed by 5 MB.
#[test]
fn text_is_made_a_component_by_the_child_within_its_memory() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--no-cache", "--compile-memory", "64MiB"]).start();
    let before = resident_kib(&host);
    let written = |name: &str, body: &str| {
        let path = app.folder.join(name);
        let text = format!(
            "(component (core module (func {body})) (instance $i) \
             (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))"
        );
        fs::write(&path, text).unwrap();
        path
    };
    let large = written("large.wat", &"nop ".repeat(1 << 20));
    let why = "large.wat was not compiled: compiling took more than 64MiB (--compile-memory)";
    host.ctl(["swap", text(&large)]).expect_code(1).expect_last_line(why);
    let after = resident_kib(&host);
    assert!(after < before + (32 << 10), "{before} KiB before, {after} KiB after");
    for (name, body, says) in [
        ("wrong.wat", "noop", "wrong.wat is not valid WebAssembly text: unknown operator"),
        // It parses, and the linker finds that it is no handler.
        ("right.wat", "nop", "right.wat cannot be linked"),
    ] {
        let path = written(name, body);
        host.ctl(["swap", text(&path)]).expect_code(1).expect_last_line(says);
    }
    assert_eq!(version(&host.get("/")), "a");
}

#[test]
fn compiler_has_no_files_no_network_no_secrets_and_the_weakest_claim_to_a_core() {
    let app = App::new("version_a_p2");
    let args = ["--no-cache", "--compile-memory", "300MiB", "--compile-timeout", "50s"];
    let host = app.serve().args(args).env("SECRET", "s3cret").start();
    app.put_bytes(&slow_to_compile());
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    // A filter is in force, and no program can be started that would be without.
    assert!(compiler.status("Seccomp:").unwrap().ends_with('2'));
    assert!(compiler.status("NoNewPrivs:").unwrap().ends_with('1'));
    assert!(!compiler.proc("environ").unwrap().contains("s3cret"), "it has the environment");
    let stat = compiler.proc("stat").unwrap();
    let behind_the_name = stat.rsplit_once(") ").unwrap().1;
    let field = |number: usize| behind_the_name.split(' ').nth(number - 3);
    assert_eq!(field(19), Some("19"), "nice: {stat}");
    // sched(7): SCHED_IDLE. A request that wakes up takes the core from it at once.
    assert_eq!(field(41), Some("5"), "policy: {stat}");
    let limits = compiler.proc("limits").unwrap();
    let limit = |name: &str| -> u64 {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let rest = line.strip_prefix(name).unwrap();
        rest.split_ascii_whitespace().next().unwrap().parse().unwrap()
    };
    let memory = limit("Max address space");
    assert!((300 << 20..900 << 20).contains(&memory), "{limits}");
    assert!(limit("Max cpu time") >= 50, "{limits}");
    compiler.signal(Signal::KILL);
    host.wait_log(says::REJECTED);
}

/// By the kernel when memory runs out, or by an operator: the process that serves goes on.
#[test]
fn compiler_that_is_killed_is_a_refusal_and_the_next_swap_is_taken() {
    let app = App::new("version_a_p2");
    let host = app.serve().args(["--no-cache"]).start();
    app.put_bytes(&slow_to_compile());
    host.signal(Signal::HUP);
    Compiler::stopped(host.pid()).signal(Signal::KILL);
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("compile: "), "{rejected}");
    assert!(rejected.contains("the compiler was killed"), "{rejected}");
    assert_eq!(version(&host.get("/")), "a");
    app.put("version_b_p2");
    expect_swapped(&reload(&host));
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn stop_kills_the_compiler_and_does_not_wait_for_it() {
    let app = App::new("version_a_p2");
    // A stop that waited for the compiler, which stands, would last longer than a test.
    let args = ["--no-cache", "--compile-timeout", "1h", "--drain-timeout", "1h"];
    let host = app.serve().args(args).start();
    app.put_bytes(&slow_to_compile());
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    compiler.expect_end();
}

/// Only the kernel is left to kill it then.
#[test]
fn compiler_ends_when_the_host_is_killed() {
    let app = App::new("version_a_p2");
    let host = app.serve().args(["--no-cache"]).start();
    app.put_bytes(&slow_to_compile());
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    host.signal(Signal::KILL);
    compiler.expect_end();
}

/// A deploy puts a new program in the place of the one that runs, and what runs must go on to compile.
#[test]
fn host_whose_own_file_has_gone_compiles_on() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host-that-goes");
    fs::remove_file(&program).ok();
    fs::hard_link(env!("CARGO_BIN_EXE_host"), &program).unwrap();
    let app = App::new("version_a_p2");
    let host = app.serve().program(&program).args(["--no-cache"]).start();
    fs::remove_file(&program).unwrap();
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    app.put("version_b_p2");
    expect_swapped(&reload(&host));
    assert_eq!(version(&host.get("/")), "b");
    fs::remove_file(&program).unwrap();
}

#[test]
fn compile_writes_the_code_of_a_component_and_says_what_it_took() {
    let folder = Folder::new();
    let code = folder.join("app.cwasm");
    for name in ["hello_p2", "hello_p3"] {
        let exit = Host::run(["compile", text(&guest(name)), "-o", text(&code)]);
        exit.expect_code(0);
        assert!(exit.stdout.contains(" bytes of code, compiled in "), "{}", exit.stdout);
        let (file, component) = (fs::read(&code).unwrap(), fs::read(guest(name)).unwrap());
        assert!(file.starts_with(b"hostwasm1"));
        assert!(file.windows(component.len()).any(|part| part == component), "it has both");
    }
    assert_eq!(fs::read_dir(folder.join("")).unwrap().count(), 1, "nothing else is left");
}

/// `-o -` wrote a file of that name, and `-o app.wasm` overwrote the component.
#[test]
fn compile_writes_to_stdout_when_asked_to_and_never_over_the_component() {
    let app = App::new("version_a_p2");
    let code = app.folder.join("app.cwasm");
    Host::run(["compile", app.text(), "-o", text(&code)]).expect_code(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(["compile", app.text(), "-o", "-"]).current_dir(app.folder.join(""));
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout == fs::read(&code).unwrap());
    assert!(String::from_utf8(output.stderr).unwrap().contains("bytes of code"));
    let before = fs::read(app.path()).unwrap();
    let exit = Host::run(["compile", app.text(), "-o", app.text()]);
    exit.expect_code(3).expect_last_line("it is the component itself");
    assert!(fs::read(app.path()).unwrap() == before);
    assert_eq!(fs::read_dir(app.folder.join("")).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn compile_refuses_what_cannot_serve_what_is_too_much_and_where_it_cannot_write() {
    let folder = Folder::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (bomb, slow) = (file("bomb.wasm", &bomb()), file("slow.wasm", &slow_to_compile()));
    let (core, hello) = (file("core.wasm", b"\0asm\x01\0\0\0"), guest("hello_p2"));
    let code = folder.join("app.cwasm");
    for (app, code, more, exit, says) in [
        (&bomb, &code, ["--compile-memory", "200MiB"], 3, "compiling took more than 200MiB"),
        (&slow, &code, ["--compile-timeout", "1ms"], 3, "did not compile within 1ms"),
        (&core, &code, ["--compile-timeout", "1m"], 3, "core WebAssembly module"),
        (&hello, &folder.join("none/app.cwasm"), ["--compile-timeout", "1m"], 3, "cannot write "),
        (&hello, &code, ["--compile-memory", "1MiB"], 2, "--compile-memory must be at least 64MiB"),
        (&hello, &code, ["--compile-timeout", "0s"], 2, "--compile-timeout must be"),
    ] {
        let args = ["compile", text(app), "--output", text(code)].into_iter().chain(more);
        Host::run(args).expect_code(exit).expect_last_line(says);
        assert!(!code.exists(), "{} was written", code.display());
    }
}

/// A user who starts it by hand is told what it is for.
#[test]
fn compiler_started_by_a_user_says_so() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_host")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["compiler"]).contains("use `host compile`"));
    let nobody = run(&["compiler", "0", "1000000000", "10", "1", "0", "0", "1"]);
    assert!(nobody.contains("nobody waits for it"), "{nobody}");
}

/// One that was too slow held up all later swaps, for as long as it went on.
#[test]
fn change_that_compiles_holds_up_no_other_and_a_later_one_of_its_component_wins() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    let slow = app.folder.join("slow.wasm");
    fs::write(&slow, slow_to_compile()).unwrap();
    let asked = host.start_ctl(["swap", text(&slow)]);
    let compiler = Compiler::stopped(host.pid());
    app.put("version_b_p2");
    let later = host.ctl(["swap", app.text()]);
    later.expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    asked.wait_exit().expect_code(1).expect_last_line("asked for later");
    compiler.expect_end();
    // A rollback compiles nothing, and waits for no compile.
    let asked = host.start_ctl(["swap", text(&slow)]);
    let compiler = Compiler::stopped(host.pid());
    host.ctl(["rollback"]).expect_code(0);
    assert_eq!(version(&host.get("/")), "a");
    asked.wait_exit().expect_code(1).expect_last_line("asked for later");
    compiler.expect_end();
}

#[test]
fn component_that_compiles_does_not_hold_up_a_swap_of_another() {
    let manifest = site_component("one") + &site_component("two") + &route("/one", "one");
    let manifest = manifest + &route("/two", "two");
    let files = [("one.wasm", "version_a_p2"), ("two.wasm", "version_a_p2")];
    let site = Site::with(&manifest, &files);
    let host = site.serve().control().start();
    site.put_bytes("slow.wasm", &slow_to_compile());
    let slow = host.start_ctl(["swap", "--component", "one", &site.file("slow.wasm")]);
    let compiler = Compiler::stopped(host.pid());
    site.put("new.wasm", "version_b_p3");
    host.ctl(["swap", "--component", "two", &site.file("new.wasm")]).expect_code(0);
    assert_eq!(version(&host.get("/two")), "b");
    assert!(!slow.has_ended(), "it was given up for a swap of another");
    compiler.signal(Signal::KILL);
    slow.wait_exit().expect_code(1).expect_last_line("the compiler was killed");
    assert_eq!(version(&host.get("/one")), "a");
}

#[test]
fn compile_that_takes_longer_than_a_second_is_said_and_then_the_host_is_ready() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    let app = guest("version_a_p2");
    command.args(["serve", text(&app), "--no-cache", "--control", "off", "--addr", "127.0.0.1:0"]);
    let process = Process::spawn(&mut command);
    let compiler = Compiler::stopped(process.pid());
    let until = Instant::now() + PATIENCE;
    let line = process.stderr.wait_for("compiling ", Mark::START, 1, until).expect("it is said");
    assert!(line.contains("version_a_p2.wasm (") && line.contains(" kB)"), "{line}");
    compiler.signal(Signal::CONT);
    process.stdout.wait_for("ready addr=", Mark::START, 1, until).expect("it is ready");
    assert!(!process.stdout.text().contains("compiling"), "{}", process.stdout.text());
}

/// Composed components, as `wac plug` makes them, killed the compiler: what passes a string from one memory to another has
/// both, and modules with two memories were switched off.
#[test]
fn parts_of_a_composed_component_call_each_other() {
    let composed = component(
        r#"(component
            (component $told
                (core module $module
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                    (func (export "length") (param i32 i32) (result i32)
                        (if (i32.ne (i32.load8_u (local.get 0)) (i32.const 0x66)) (then unreachable))
                        local.get 1))
                (core instance $it (instantiate $module))
                (func (export "length") (param "text" string) (result u32)
                    (canon lift (core func $it "length") (memory (core memory $it "memory")) (realloc (core func $it "realloc")))))
            (component $teller
                (import "length" (func $length (param "text" string) (result u32)))
                (core module $memory (memory (export "memory") 1) (data (i32.const 8) "four"))
                (core instance $memory (instantiate $memory))
                (core func $lowered (canon lower (func $length) (memory (core memory $memory "memory"))))
                (core module $module
                    (import "" "length" (func $length (param i32 i32) (result i32)))
                    (func $start
                        (if (i32.ne (call $length (i32.const 8) (i32.const 4)) (i32.const 4)) (then unreachable)))
                    (start $start))
                (core instance
                    (instantiate $module (with "" (instance (export "length" (func $lowered)))))))
            (instance $told (instantiate $told))
            (instance (instantiate $teller (with "length" (func $told "length")))))"#,
    );
    let app = App::new("hello_p2");
    app.put_bytes(&beside("hello_p2", &composed));
    let host = app.serve().start();
    for _ in 0..3 {
        assert_eq!(host.get("/").text(), "hello world\n");
    }
}
