//! `host new`: the first ten minutes, from an empty folder to a guest that serves, by what README.md says; and what it
//! refuses. `make templates` does the same for all languages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::app::Folder;
use crate::support::binary::BINARY;
use crate::support::prelude::*;
use crate::support::tools;

fn new(folder: &Path, flags: &[&str]) -> Exit {
    Host::run(["new", folder.to_str().unwrap()].iter().chain(flags))
}

/// A command in the folder, as its author would give it: of our own build it knows nothing but the program.
#[track_caller]
fn run(folder: &Path, command: &str) {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap())
        .args(words)
        .current_dir(folder)
        .env_remove("CARGO_TARGET_DIR")
        .env("WASM_HOST", BINARY)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn guest_in_rust_is_made_built_tested_served_and_changed() {
    let empty = Folder::new();
    let folder = empty.join("my-shop");
    let made = new(&folder, &["--lang", "rust"]);
    made.expect_code(0);
    assert!(made.stdout.contains("host dev"), "{}", made.stdout);
    run(&folder, "cargo build --release --target wasm32-wasip2");
    run(&folder, "cargo test");

    let host = Host::serve(folder.to_str().unwrap())
        .under(["env", "-u", "CARGO_TARGET_DIR"])
        .dev()
        .start();
    let text = host.get("/you").text();
    assert!(text.contains("hello from /you"), "{text}");
    let (source, mark) = (folder.join("src/lib.rs"), host.mark());
    let changed = fs::read_to_string(&source).unwrap().replace("hello from", "good day from");
    fs::write(&source, changed).unwrap();
    host.wait_log_after(mark, "swap: reloaded in ");
    let text = host.get("/you").text();
    assert!(text.contains("good day from /you"), "{text}");
    let mark = host.mark();
    fs::write(&source, "this is no Rust").unwrap();
    host.wait_log_after(mark, "the next change builds again");
    assert_eq!(host.get("/you").head.status, 200, "what was built before goes on");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn plugin_in_c_is_made_built_tested_and_served() {
    if !tools::has("clang", "clang lld wasi-libc libclang-rt-dev-wasm32") {
        return;
    }
    let empty = Folder::new();
    let folder = empty.join("my-plugin");
    new(&folder, &["--lang", "c", "--kind", "plugin"]).expect_code(0);
    run(&folder, "make");
    run(&folder, "make test");
    let manifest = folder.join("host.toml");
    let host = Host::serve(manifest.to_str().unwrap()).start();
    let mut conn = host.connect();
    conn.send("GET / HTTP/1.1\r\nHost: t\r\nX-Tenant: one\r\n\r\n").unwrap();
    let head = conn.read_head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers_named("x-plugin").count(), 1);
}

#[test]
fn every_combination_is_written_or_refused_with_those_that_there_are() {
    let empty = Folder::new();
    for lang in ["rust", "js", "python", "c"] {
        for kind in ["app", "plugin"] {
            for wasi in ["0.2", "0.3"] {
                let folder = empty.join(&format!("{lang}-{kind}-{}", wasi.replace('.', "-")));
                let made = new(&folder, &["--lang", lang, "--kind", kind, "--wasi", wasi]);
                if made.code == 0 {
                    assert!(folder.join("wit/world.wit").exists(), "{}", folder.display());
                    let text = fs::read_to_string(folder.join("README.md")).unwrap();
                    assert!(!text.contains("{{"), "{text}");
                } else {
                    made.expect_code(2);
                    assert!(made.stderr.contains("write --wasi 0.2"), "{}", made.stderr);
                    assert!(!folder.exists(), "{}", folder.display());
                }
            }
            let newest = empty.join(&format!("{lang}-{kind}"));
            new(&newest, &["--lang", lang, "--kind", kind]).expect_code(0);
        }
    }
}

#[test]
fn what_is_there_is_never_overwritten_and_a_wrong_name_is_refused() {
    let empty = Folder::new();
    let folder = empty.join("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes"), "mine").unwrap();
    let made = new(&folder, &["--lang", "rust"]);
    made.expect_code(2);
    assert!(made.stderr.contains("is not empty"), "{}", made.stderr);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let file = empty.join("file");
    fs::write(&file, "").unwrap();
    new(&file, &["--lang", "rust"]).expect_code(2);
    for name in ["My-Shop", "1st", "a_b", "shop-", "ü", "."] {
        let made = new(&empty.join(name), &["--lang", "rust"]);
        made.expect_code(2);
        assert!(
            made.stderr.contains("the name of the folder is that of the component"),
            "{}",
            made.stderr
        );
    }
    new(&empty.join("a"), &["--lang", "cobol"]).expect_code(2);
    new(&empty.join("a"), &[]).expect_code(2);
}
