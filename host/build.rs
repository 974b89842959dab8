//! Reads the version of wasmtime out of the lock file, so that `host --version` tells the truth, and packs the templates of
//! `host new`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::ZlibEncoder;

fn main() {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo:rustc-env=WASMTIME_VERSION={}", wasmtime_version(&own.join("../Cargo.lock")));
    let packed = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("templates");
    fs::write(packed, templates(&own.join("templates"))).expect("the folder is ours");
}

fn wasmtime_version(lock: &Path) -> String {
    println!("cargo:rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(lock).expect("Cargo.lock is committed");
    let version = text
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| package.split("version = \"").nth(1))
        .and_then(|rest| rest.split('"').next());
    version.expect("wasmtime is in Cargo.lock").to_owned()
}

/// All files below a folder, as JSON of their paths and texts, compressed: the same bytes for the same files.
fn templates(folder: &Path) -> Vec<u8> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("templates are committed") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("it is below").display().to_string();
            // What tries them out, and stands beside the templates, is no part of one.
            if name.contains('/') {
                files.insert(name, fs::read_to_string(&path).expect("templates are text"));
            }
        }
    }
    let json = serde_json::to_vec(&files).expect("texts are JSON");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&json).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
