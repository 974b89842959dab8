//! Reads the version of wasmtime out of the lock file, so that `host --version` tells the truth.

use std::{env, fs, path::Path};

fn main() {
    let lock =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(&lock).expect("Cargo.lock is committed");
    let version = text
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| package.split("version = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .expect("wasmtime is in Cargo.lock");
    println!("cargo:rustc-env=WASMTIME_VERSION={version}");
}
