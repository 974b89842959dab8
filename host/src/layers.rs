//! The layer rule of the design, grepped: a folder may not know the others' insides. Where a folder is a
//! crate, the compiler keeps the rule, and what is looked at is the list of what the crate depends on.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder, and what may not stand in its sources.
const RULES: &[(&str, &[&str])] = &[
    (
        "site",
        &[
            "hyper",
            "tokio::net",
            "std::net",
            "clap",
            "wasmtime",
            "host_net",
            "crate::http",
            "use host_lifecycle",
            "host_lifecycle::",
            "crate::config",
        ],
    ),
    (
        "http",
        &[
            "tokio::net",
            // An address that stands in a request is no socket.
            "std::net::Tcp",
            "std::net::Udp",
            "socket2",
            "tokio::signal",
            "wasmtime::",
            "crate::config",
            // The generation, or the slot, tells an exchange that it ends now.
            "Phase",
        ],
    ),
    (
        "component",
        &[
            "hyper::server",
            "tokio::net",
            "clap",
            "host_net",
            "crate::http",
            "use host_lifecycle",
            "host_lifecycle::",
            "crate::config",
        ],
    ),
    (
        "component/code",
        &["component::sandbox", "component::imports", "component::run", "component::generation"],
    ),
    (
        "component/sandbox",
        &["component::code", "component::imports", "component::run", "component::generation"],
    ),
    ("component/imports", &["component::code", "component::run", "component::generation"]),
    ("component/run", &["component::generation", "component::load"]),
    (
        "control",
        &[
            "wasmtime",
            "clap",
            "host_net",
            "crate::http",
            "crate::component",
            "crate::site",
            "crate::serve",
            "crate::admin",
            "crate::config",
        ],
    ),
    (
        "ctl",
        &[
            "wasmtime",
            "clap",
            "host_net",
            "crate::http",
            "crate::component",
            "crate::site",
            "crate::serve",
            "crate::admin",
            "crate::watch",
            "use host_lifecycle",
            "host_lifecycle::",
        ],
    ),
    ("config", &["crate::", "tokio", "hyper::", "wasmtime::"]),
    // The compiler does not keep these apart: they are of a crate that this one needs.
    ("../../lifecycle/src", &["std::net", "tokio::net", "unix::net"]),
];

/// Crate, and what it may not depend on. What it does not list it cannot name.
const CRATES: &[(&str, &[&str])] = &[
    (
        "lifecycle",
        &[
            "hyper",
            "http",
            "wasmtime",
            "socket2",
            "host-body",
            "host-clock",
            "host-code",
            "host-keyvalue",
            "host-manifest",
            "host-net",
            "host-outgoing",
            "host-system",
        ],
    ),
    (
        "net",
        &["wasmtime", "wasmparser", "host-code", "host-keyvalue", "host-manifest", "host-outgoing"],
    ),
    ("body", &["hyper", "tokio", "wasmtime", "host-"]),
    ("certs", &["hyper", "http", "wasmtime", "socket2", "host-net", "host-lifecycle", "host-log"]),
    ("clock", &["hyper", "http", "wasmtime", "host-"]),
    ("forwarded", &["hyper", "tokio", "wasmtime", "host-"]),
    (
        "manifest",
        &[
            "hyper",
            "tokio",
            "wasmtime",
            "host-clock",
            "host-code",
            "host-keyvalue",
            "host-lifecycle",
            "host-log",
            "host-net",
            "host-outgoing",
            "host-system",
            "host-telemetry",
        ],
    ),
    ("outgoing", &["wasmtime", "host-net", "host-lifecycle", "host-code", "host-keyvalue"]),
    ("keyvalue", &["wasmtime", "host-net", "host-lifecycle", "host-code", "host-outgoing"]),
    ("code", &["hyper", "host-net", "host-lifecycle", "host-manifest", "host-outgoing"]),
    (
        "log",
        &[
            "hyper",
            "wasmtime",
            "socket2",
            "host-net",
            "host-lifecycle",
            "host-code",
            "host-outgoing",
            "host-keyvalue",
        ],
    ),
    ("ratelimit", &["hyper", "http", "wasmtime", "host-net", "host-manifest", "host-lifecycle"]),
    ("shards", &["hyper", "http", "tokio", "wasmtime", "host-"]),
    ("symbols", &["hyper", "http", "tokio", "wasmtime", "host-"]),
    ("system", &["hyper", "http", "wasmtime", "host-"]),
    ("systemd", &["hyper", "http", "tokio", "wasmtime", "host-"]),
];

#[test]
fn layers_keep_apart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (folder, forbidden) in RULES {
        let sources = sources(&root.join(folder));
        assert!(!sources.is_empty(), "no sources in {folder}");
        for source in sources {
            wrong.extend(violations(&source, forbidden));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_keep_apart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = Vec::new();
    for (name, forbidden) in CRATES {
        let text = fs::read_to_string(root.join(name).join("Cargo.toml")).expect("there is one");
        let dependencies: Vec<_> = text.lines().filter(|line| line.contains(" = ")).collect();
        assert!(dependencies.len() > 3, "no dependencies in {name}");
        let wrong_ones = dependencies
            .iter()
            .skip_while(|line| !line.starts_with("rust-version"))
            .filter(|line| forbidden.iter().any(|word| line.starts_with(word)))
            .map(|line| format!("{name}: {line}"));
        wrong.extend(wrong_ones);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn exit_numbers_stand_in_one_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let others: Vec<_> = ["src", "../lifecycle/src", "../net/src", "../system/src"]
        .into_iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .filter(|source| !source.ends_with("exit.rs") && !source.ends_with("layers.rs"))
        .flat_map(|source| violations(&source, &["process::exit"]))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// ARCHITECTURE.md says where to look: each file and folder that it names is there.
#[test]
fn what_the_architecture_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("there is one");
    let (map, rest) = page.split_once("```diff").expect("it shows a diff");
    let table = rest.split_once("## Where to change what").expect("it has a table").1;
    // A file is named from the root, or from where its part of the page is about.
    let within = [
        "",
        "host/src",
        "host/src/http",
        "host/src/site",
        "host/src/component",
        "host/src/component/imports",
        "lifecycle/src",
        "net/src",
        "net/src/h1",
        "net/src/h2",
    ];
    let is_path = |word: &&str| word.ends_with(".rs") || word.ends_with('/');
    let named: Vec<&str> = map.split('`').chain(table.split('`')).filter(is_path).collect();
    let there = |word: &str| within.iter().any(|folder| root.join(folder).join(word).exists());
    let missing: Vec<_> = named.iter().filter(|word| !there(word)).collect();
    assert!(named.len() > 100, "{} names", named.len());
    assert!(missing.is_empty(), "{missing:?}");
}

fn violations(source: &Path, forbidden: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(source).expect("sources are text");
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            forbidden
                .iter()
                .filter(move |word| line.contains(**word))
                .map(move |word| format!("{}:{}: {word}", source.display(), number + 1))
        })
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
