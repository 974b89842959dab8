//! The layer rule of the design, grepped: a folder may not know the others' insides.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder, and what may not stand in its sources.
const RULES: &[(&str, &[&str])] = &[
    (
        "lifecycle",
        &[
            "hyper",
            "http::",
            "wasmtime",
            "std::net",
            "tokio::net",
            "crate::net",
            "crate::http",
            "crate::component",
            "crate::config",
        ],
    ),
    (
        "site",
        &[
            "hyper",
            "tokio::net",
            "std::net",
            "clap",
            "wasmtime",
            "crate::net",
            "crate::http",
            "crate::lifecycle",
            "crate::config",
        ],
    ),
    ("net", &["wasmtime", "crate::component", "crate::site", "crate::http", "crate::config"]),
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
        ],
    ),
    (
        "component",
        &[
            "hyper::server",
            "tokio::net",
            "clap",
            "crate::net",
            "crate::http",
            "crate::lifecycle",
            "crate::config",
        ],
    ),
    (
        "control",
        &["wasmtime", "clap", "crate::net", "crate::http", "crate::component", "crate::config"],
    ),
    (
        "ctl",
        &["wasmtime", "clap", "crate::net", "crate::http", "crate::component", "crate::lifecycle"],
    ),
    ("config", &["crate::", "tokio", "hyper::", "wasmtime::"]),
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
fn exit_numbers_stand_in_one_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let others: Vec<_> = sources(&root)
        .into_iter()
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
