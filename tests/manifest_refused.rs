//! A manifest that is wrong is refused before anything is bound: with the file, the place, and what to
//! do.

use std::fs;

use crate::support::prelude::*;
use crate::support::site::{Site, component};

/// A text that is wrong, where (line and column, unless it is nowhere), and the words of its refusal.
type Wrong<'a> = (&'a str, Option<(usize, usize)>, &'a [&'a str]);

/// What a person reads: without the picture's frame, and each pause of one width.
fn plain(text: &str) -> String {
    let frame = |char: char| matches!(char, '│' | '─' | '╭' | '╰' | '╮' | '┬' | '·');
    let words = text.split(|char: char| char.is_whitespace() || frame(char));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Expects that `serve`, `serve --dry-run` and `check` refuse the manifest in the same words, and that
/// nothing was bound.
#[track_caller]
pub fn refused(site: &Site, (wrong, at, words): Wrong<'_>) {
    for args in [&["serve"][..], &["serve", "--dry-run"], &["check"]] {
        let exit = Host::run(args.iter().copied().chain([site.text()]));
        assert_eq!((exit.code, &*exit.stdout), (2, ""), "{args:?} {wrong}\n{}", exit.stderr);
        assert!(exit.stderr.contains(site.text()), "no file in {}", exit.stderr);
        if let Some((line, column)) = at {
            let place = format!("[{}:{line}:{column}]", site.text());
            assert!(exit.stderr.contains(&place), "{args:?}: no {place} in {}", exit.stderr);
        }
        let said = plain(&exit.stderr);
        for word in words {
            assert!(said.contains(word), "{args:?}: no {word:?} in {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        for socket in ["bound.sock", "control.sock"] {
            assert!(!site.has(socket), "{socket} was bound: {wrong}");
        }
    }
}

/// Listens at paths of which a test sees whether they were bound. Three lines.
pub const LISTEN: &str = "[listen]\naddr = [\"unix:bound.sock\"]\ncontrol = \"control.sock\"\n";

/// Expects that each text, behind the lines of [`LISTEN`] and of a component called `shop` (which
/// makes six lines), is refused.
#[track_caller]
pub fn all_refused(all: &[Wrong<'_>]) {
    for (text, at, words) in all {
        let manifest = format!("{LISTEN}[component.shop]\nsource = \"app.wasm\"\n\n{text}");
        let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
        refused(&site, (text, *at, words));
    }
}

#[test]
fn unknown_key_is_refused_with_the_nearest_one() {
    all_refused(&[
        ("[sotp]\n", Some((7, 2)), &["there is no key `sotp`", "did you mean `stop`?"]),
        (
            "[stop]\ndrian-timeout = \"1s\"\n",
            Some((8, 1)),
            &["`stop`", "did you mean `drain-timeout`?"],
        ),
        (
            "[component.shop.limits]\ncpu_time = \"1s\"\n",
            Some((8, 1)),
            &["no key `cpu_time` in `component.shop.limits`", "did you mean `cpu-time`?"],
        ),
        (
            "[component.shop.grants]\noutgoin = []\n",
            Some((8, 1)),
            &["in `component.shop.grants`", "did you mean `outgoing`?"],
        ),
        (
            "[[route]]\npath = \"/\"\ncomponent = \"shop\"\nstrip_prefix = true\n",
            Some((10, 1)),
            &["did you mean `strip-prefix`?"],
        ),
        (
            "[component.auth]\nsource = \"app.wasm\"\nmemory = \"1MiB\"\n",
            Some((9, 1)),
            &["there is no key `memory` in `component.auth`", "[component.auth.limits]"],
        ),
        ("[keyvalue.main]\nbackend = \"memory\"\nsize = 1\n", Some((9, 1)), &["no key `size`"]),
    ]);
}

#[test]
fn two_routes_for_the_same_requests_are_refused() {
    let two = |first: &str, second: &str| {
        format!(
            "[[route]]\n{first}\ncomponent = \"shop\"\n[[route]]\n{second}\ncomponent = \"shop\"\n"
        )
    };
    let alike = "two routes are for the same requests";
    for (first, second) in [
        ("path = \"/x\"", "path = \"/x\""),
        ("exact = \"/x\"", "exact = \"/x\""),
        ("path = \"/x\"\nhost = \"a.b\"", "path = \"/x\"\nhost = \"A.b.\""),
        ("path = \"/x\"\nmethods = [\"GET\", \"PUT\"]", "path = \"/x\"\nmethods = [\"PUT\"]"),
    ] {
        let words = [alike, "the first one", "the second one"];
        all_refused(&[(&two(first, second), Some((7, 1)), &words)]);
    }
}

#[test]
fn route_that_makes_no_sense_is_refused() {
    all_refused(&[
        (
            "[[route]]\npath = \"/\"\ncomponent = \"shpo\"\n",
            Some((9, 13)),
            &["there is no component `shpo`", "did you mean `shop`?"],
        ),
        (
            "[[route]]\npath = \"/\"\ncomponent = \"shop\"\nchain = [\"sop\"]\n",
            Some((10, 10)),
            &["there is no component `sop`", "did you mean `shop`?"],
        ),
        (
            "[[route]]\npath = \"/\"\ncomponent = \"shop\"\nchain = [\"shop\"]\n",
            Some((10, 10)),
            &["`shop` stands before itself"],
        ),
        ("[[route]]\ncomponent = \"shop\"\n", Some((7, 1)), &["this route has no path"]),
        ("[[route]]\npath = \"/\"\n", Some((7, 1)), &["has no `component`"]),
        (
            "[[route]]\npath = \"x\"\ncomponent = \"shop\"\n",
            Some((8, 8)),
            &["a path begins with /"],
        ),
        ("[[route]]\npath = \"/x/\"\ncomponent = \"shop\"\n", Some((8, 8)), &["write /x:"]),
        ("[[route]]\npath = \"/x*\"\ncomponent = \"shop\"\n", Some((8, 8)), &["`*` means nothing"]),
        (
            "[[route]]\npath = \"/\"\nhost = \"a.b:80\"\ncomponent = \"shop\"\n",
            Some((9, 8)),
            &["this is no host", "without a port"],
        ),
        (
            "[[route]]\npath = \"/\"\nmethods = [\"get\"]\ncomponent = \"shop\"\n",
            Some((9, 12)),
            &["GET"],
        ),
        (
            "[[route]]\nexact = \"/\"\nstrip-prefix = true\ncomponent = \"shop\"\n",
            Some((8, 9)),
            &["strip-prefix takes path"],
        ),
        (
            "[component.two]\nsource = \"app.wasm\"\n",
            None,
            &["several components, but no route", "add [[route]]"],
        ),
    ]);
}

#[test]
fn value_that_makes_no_sense_is_refused() {
    all_refused(&[
        ("[stop]\ndrain-timeout = \"soon\"\n", Some((8, 17)), &["25s"]),
        ("[stop]\ndrain-timeout = 5\n", Some((8, 17)), &["`stop.drain-timeout`", "text"]),
        (
            "[stop]\ndrain-timeout = \"1s\"\ndrain-delay = \"2s\"\n",
            Some((8, 17)),
            &["drain-delay is part of drain-timeout", "9 drain-delay = \"2s\" here"],
        ),
        ("[limits]\nmemory = \"lots\"\n", Some((8, 10)), &["not a size", "64MiB"]),
        ("[limits]\nmemory = \"5GiB\"\n", Some((8, 10)), &["must lie between 1 byte and 4GiB"]),
        ("[limits]\ninstances = -1\n", Some((8, 13)), &[]),
        ("[limits]\ncpu-time = \"0s\"\n", Some((8, 12)), &["must be longer than 0s"]),
        (
            "[component.shop.limits]\ninstances = 20\n[total]\ninstances = 10\n",
            Some((8, 13)),
            &["instances is more than total.instances, 10"],
        ),
        (
            "[component.shop.limits]\nmemory-total = \"1MiB\"\n",
            Some((8, 16)),
            &["no instance could start"],
        ),
        ("[component.shop.reuse]\nexchanges = 0\n", Some((8, 13)), &["must be at least 1"]),
        ("[component.shop.breaker]\nfailures = 0\n", Some((8, 12)), &["must be at least 1"]),
        (
            "[component.two]\nsource = \"app.wasm\"\nfail = \"ajar\"\n",
            Some((9, 8)),
            &["open", "closed"],
        ),
        (
            "[component.two]\nsource = \"app.wasm\"\nsmoke = [\"GET /\"]\n",
            Some((9, 10)),
            &["METHOD /PATH STATUS"],
        ),
        (
            "[component.Two]\nsource = \"app.wasm\"\n",
            Some((7, 12)),
            &["no name for a component", "small letters"],
        ),
        ("[total]\ninstances = 8000\n", Some((8, 13)), &["at most 7500"]),
    ]);
}

#[test]
fn grant_that_cannot_be_met_is_refused() {
    all_refused(&[
        (
            "[component.shop.grants]\noutgoing = [\"https://a.b/path\"]\n",
            Some((8, 13)),
            &["https://api.example.com"],
        ),
        ("[component.shop.grants]\noutgoing = [\"ftp://a.b\"]\n", Some((8, 13)), &["http"]),
        ("[component.shop.grants]\noutgoing-addresses = [\"all\"]\n", Some((8, 23)), &["loopback"]),
        (
            "[component.shop.grants]\ndirectories = [{ host = \"nope\", guest = \"/x\" }]\n",
            Some((8, 25)),
            &["the directory ", "is not there"],
        ),
        (
            "[component.shop.grants.keyvalue]\nx = \"main\"\n",
            Some((8, 5)),
            &["there is no store `main`"],
        ),
        (
            "[keyvalue.main]\nbackend = \"memory\"\n[component.shop.grants.keyvalue]\nx = \"mian\"\n",
            Some((10, 5)),
            &["there is no store `mian`", "did you mean `main`?"],
        ),
        ("[keyvalue.main]\nbackend = \"disk\"\n", Some((7, 1)), &["path"]),
    ]);
}

#[test]
fn file_that_is_not_there_is_refused() {
    let missing = format!("{LISTEN}[component.shop]\nsource = \"shop.wasm\"\n");
    let site = Site::new(&missing);
    let is_not_there = format!("the file {} is not there", site.file("shop.wasm"));
    refused(&site, (&missing, Some((5, 10)), &[&is_not_there, "relative to the manifest"]));
    fs::create_dir(site.folder.join("shop.wasm")).unwrap();
    refused(&site, (&missing, Some((5, 10)), &["is a directory"]));
}

#[test]
fn variable_that_is_not_set_is_refused_and_a_value_is_not_shown() {
    all_refused(&[
        (
            "[component.two]\nsource = \"app.wasm\"\nargs = [\"x${HOST_E2E_NOT_SET}\"]\n",
            Some((9, 11)),
            &["the environment variable HOST_E2E_NOT_SET is not set"],
        ),
        (
            "[component.two]\nsource = \"app.wasm\"\nargs = [\"${1}\"]\n",
            Some((9, 9)),
            &["no name stands in ${…}", "$$ for a dollar"],
        ),
    ]);
    let manifest = component("app") + "[limits]\nmemory = \"${SECRET}\"\n";
    let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
    let secret = std::path::Path::new("hunter2");
    let exit = Host::run_with(("SECRET", secret), ["serve", site.text()]);
    exit.expect_code(2);
    assert!(exit.stderr.contains(":4:10]") && !exit.stderr.contains("hunter2"), "{}", exit.stderr);
}

#[test]
fn what_is_no_manifest_is_refused() {
    for (text, at, words) in [
        ("", None, &["the manifest has no component"][..]),
        ("[[route]\n", Some((1, 9)), &["the file is TOML"]),
        ("[listen]\naddr = [\n", Some((2, 9)), &["the file is TOML"]),
        ("a = 1\na = 2\n", Some((2, 1)), &["duplicate"]),
        ("[component.a]\n", Some((1, 1)), &["`component.a` has no `source`"]),
    ] {
        refused(&Site::new(text), (text, at, words));
    }
    let site = Site::new("");
    site.put_bytes("host.toml", b"\xff\xfe");
    refused(&site, ("no UTF-8", None, &["cannot be read"]));
    fs::remove_file(site.file("host.toml")).unwrap();
    refused(&site, ("no file", None, &["cannot be read: No such file"]));
}

#[test]
fn listener_that_makes_no_sense_is_refused() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
    let tls = "tls = { cert = \"none.pem\", key = \"app.wasm\" }\n";
    let text = |more: &str| format!("{listener}{more}");
    all_refused(&[
        (
            "[[listener]]\nname = \"a\"\n",
            Some((7, 1)),
            &["`listener` has no `address`", "add `address"],
        ),
        (&text("tls = { cert = \"a.pem\" }\n"), Some((9, 7)), &["`listener.tls` has no `key`"]),
        (&text("alpn = [\"h2\"]\n"), Some((9, 8)), &["this listener has no TLS", "add tls"]),
        (&text("tls-min = 1.3\n"), Some((9, 11)), &["is text, not a number", "quotes"]),
        (&text(tls), Some((9, 16)), &["none.pem is not there", "correct the path"]),
        (
            &text(&tls.replace("none.pem", "app.wasm").replace("}\n", "}\nalpn = [\"h3\"]\n")),
            Some((10, 9)),
            &["not a protocol that is spoken here", "write h2 or http/1.1"],
        ),
        (
            "[[listener]]\naddress = \"unix:bound.sock\"\n",
            Some((8, 11)),
            &["this address is here twice", "leave one of them out"],
        ),
    ]);
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_file() {
    let manifest = "[stop]\nlinger = \"x\"\n[component.a]\nsource = \"a.wasm\"\nx = 1\n\
                    [[route]]\npath = \"/\"\ncomponent = \"b\"\n";
    let site = Site::new(manifest);
    let exit = Host::run(["serve", site.text()]);
    exit.expect_code(2);
    let at = |line: usize| exit.stderr.find(&format!("host.toml:{line}:"));
    let places: Vec<_> = [2, 4, 5, 8].map(|line| at(line).expect("each line is named")).into();
    assert!(places.is_sorted(), "{}", exit.stderr);
}
