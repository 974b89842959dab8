//! The built files: the host, and the guests.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::{env, fs};

use super::process::TempPath;

/// The file of the guest called `name` (`hello_p2`), which `make guests` has built.
///
/// # Panics
/// When the guest is not built.
pub fn guest(name: &str) -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests");
    let folder = env::var_os("HOST_GUESTS").map_or_else(|| PathBuf::from(built), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.exists(), "no guest {}: run `make guests` first", path.display());
    path
}

/// A path for a socket that no other test uses, or has used.
pub(super) fn new_socket() -> TempPath {
    TempPath::new("s")
}

/// The binary, without our own settings in its environment.
pub fn binary() -> Command {
    started_from(Path::new(BINARY), &[])
}

/// The built host.
pub const BINARY: &str = env!("CARGO_BIN_EXE_host");

/// `program` in place of the host, or the host run by a command such as `env`.
pub(super) fn started_from(program: &Path, under: &[OsString]) -> Command {
    let mut command = match under {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary_for_all());
            command
        }
    };
    // Our own, so that tests neither fill nor depend on the user's cache.
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache-home"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HOST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary, at a path that every user can reach.
pub fn binary_for_all() -> PathBuf {
    let built = PathBuf::from(BINARY);
    let open = |folder: &Path| {
        fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    };
    if built.ancestors().skip(1).all(open) {
        return built;
    }
    // One for each build. The system cleans the folder of temporary files.
    let meta = fs::metadata(&built).expect("it was built");
    let name = format!("host-e2e-binary-{}-{}.{}", meta.ino(), meta.mtime(), meta.mtime_nsec());
    let copy = env::temp_dir().join(name);
    if !copy.exists() {
        let new = copy.with_extension(process::id().to_string());
        // Another process copies it. Otherwise a child started meanwhile would inherit the open file, which
        // could then not be run ("Text file busy").
        let copied = Command::new("cp").arg(&built).arg(&new).status();
        assert!(copied.is_ok_and(|copied| copied.success()), "a copy of ours");
        fs::rename(&new, &copy).expect("nobody runs half of it");
    }
    copy
}
