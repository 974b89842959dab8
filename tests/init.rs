//! `host init`: the manifest that it prints serves the component, with each grant that it proposes and with none.

use crate::support::prelude::*;
use crate::support::site::Site;

/// The manifest with all that stands in comments as an example.
fn granted(manifest: &str) -> String {
    let keys =
        ["smoke =", "limits.", "env =", "config =", "grants.", "[keyvalue", "backend =", "path ="];
    let line = |line: &str| {
        let key =
            line.strip_prefix("# ").filter(|rest| keys.iter().any(|key| rest.starts_with(key)));
        key.unwrap_or(line).to_owned() + "\n"
    };
    manifest.lines().map(line).collect()
}

#[test]
fn what_it_prints_serves_the_component_with_no_grant_and_with_all() {
    for name in ["grants_p2", "grants_p3"] {
        let site = Site::new("");
        site.put("app.wasm", name);
        site.put_text("assets/a", "");
        let init = Host::run(["init", &site.file("app.wasm")]);
        init.expect_code(0);
        let manifest = init.stdout;
        let said = Host::run(["check", &site.file("app.wasm"), "--no-cache"]).stdout;
        let imports = said.split("imports:\n").nth(1).unwrap();
        for import in imports.lines().map_while(|line| line.strip_prefix("  ")) {
            assert!(manifest.contains(&format!("#   {import}\n")), "{import}\n{manifest}");
        }
        site.put_text("host.toml", &manifest);
        let host = site.serve().start();
        assert_eq!(host.get("/env").text(), "");
        drop(host);

        let all = granted(&manifest);
        site.put_text("host.toml", &all);
        let check = Host::run(["check", site.text(), "--strict"]);
        assert!(check.stdout.contains("lacks: nothing"), "{}{}\n{all}", check.stdout, check.stderr);
        check.expect_code(0);
        let host = site.serve().start();
        assert_eq!(host.get("/env").text(), "NAME=value\n");
        assert_eq!(host.get("/dirs").text(), "/assets\n");
        assert_eq!(host.get("/config?key=name").text(), "value\n");
        assert_eq!(host.get("/kv/set?bucket=bucket&key=k&value=v").text(), "set\n");
    }
}

#[test]
fn what_is_no_component_is_told_what_it_is() {
    let site = Site::new("");
    for (name, bytes, says) in [
        ("a.json", &b"{\"name\": 1}"[..], "is JSON, not a WebAssembly component"),
        ("a.wasm", b"\0asm\x01\0\0\0", "core WebAssembly module"),
        ("a.cwasm", b"\x7fELF\x02\x01\x01\xc8", "code that `wasmtime compile` has made"),
        ("a.wat", b"(component", "not valid WebAssembly text"),
        ("a.txt", b"hello", "is text, not a WebAssembly component"),
    ] {
        site.put_bytes(name, bytes);
        for command in ["init", "serve", "check"] {
            let exit = Host::run([command, &site.file(name)]);
            exit.expect_code(3);
            assert!(exit.stderr.contains(says), "{command} {name}: {}", exit.stderr);
        }
    }
}

#[test]
fn component_of_another_patch_of_wasi_is_served() {
    let newer = std::fs::read(guest("newer_p3")).unwrap();
    let text = "@0.3.2";
    let site = Site::new("");
    site.put_bytes("two.wasm", &newer);
    // What a tool of 0.3.1 would have written: the same interfaces under another number.
    let mut older = newer;
    let places: Vec<usize> =
        (0..older.len()).filter(|at| older[*at..].starts_with(text.as_bytes())).collect();
    assert!(!places.is_empty(), "the guest is of another version: {text}");
    for at in places {
        older[at + text.len() - 1] = b'1';
    }
    site.put_bytes("one.wasm", &older);
    for file in ["one.wasm", "two.wasm"] {
        let host = Host::serve(&site.file(file)).start();
        assert_eq!(host.get("/there").text(), "hello from /there\n", "{file}");
    }
}
