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
            "crate::net",
            "host_net",
            "crate::http",
            "crate::lifecycle",
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
            "crate::net",
            "host_net",
            "crate::http",
            "crate::lifecycle",
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
            "crate::net",
            "host_net",
            "crate::http",
            "crate::component",
            "crate::config",
        ],
    ),
    (
        "ctl",
        &[
            "wasmtime",
            "clap",
            "crate::net",
            "host_net",
            "crate::http",
            "crate::component",
            "crate::lifecycle",
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
    ("lifecycle", &["hyper", "http", "wasmtime", "socket2", "host-"]),
    ("net", &["wasmtime", "wasmparser", "host-code", "host-keyvalue", "host-outgoing"]),
    ("system", &["hyper", "http", "wasmtime", "host-"]),
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
