//! Why a file cannot be served as a component: what is wrong with it, and what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::cgroup;
use crate::component::code::rejected::{Rejected, Step};

/// A larger file is most likely a mistake. The largest components seen, in JavaScript and Python, have
/// 12 and 40 MB.
const LARGEST_FILE: u64 = 512 << 20;

/// An error lists this many names and counts the others.
const LISTED: usize = 20;

/// The largest file that is read, because this process and the compiler hold it in memory.
#[derive(Clone, Copy, Debug)]
pub struct FileSizeLimit {
    pub(super) bytes: u64,
    /// The reason for the bound.
    why: &'static str,
}

impl FileSizeLimit {
    /// The bound for a compiler with this many bytes and, if there is one, a cgroup with this limit.
    #[must_use]
    pub fn new(compile_memory: u64, cgroup: Option<u64>) -> Self {
        let bounds = [
            (LARGEST_FILE, "a larger file is taken for a mistake"),
            (compile_memory, "its compiler has no more memory: raise --compile-memory"),
            (
                cgroup.map_or(u64::MAX, cgroup::for_a_file),
                "the memory of the cgroup leaves the host no more for a file: raise that limit",
            ),
        ];
        let [first, rest @ ..] = bounds;
        let (bytes, why) =
            rest.into_iter().fold(first, |least, next| if next.0 < least.0 { next } else { least });
        Self { bytes, why }
    }

    /// Refuses a snapshot that would make a larger file.
    pub(super) fn check(&self, bytes: usize) -> Result<(), String> {
        if bytes as u64 <= self.bytes {
            return Ok(());
        }
        let Self { bytes: most, why } = self;
        Err(format!(
            "its snapshot would be a component of {bytes} bytes, with what is in its memory, more than {most}: {why}"
        ))
    }
}

/// Why a component is not served. Each says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        why: io::Error,
    },
    /// The file is larger than the bound.
    #[error("{} has more than {} bytes: {}", path.display(), largest.bytes, largest.why)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        largest: FileSizeLimit,
    },
    /// Nobody who is trusted vouches for it.
    #[error("{0}")]
    Untrusted(String),
    /// The text does not parse.
    #[error("{} is not valid WebAssembly text: {why}", path.display())]
    BadText {
        /// The file.
        path: PathBuf,
        /// Where and what, with the line.
        why: String,
    },
    /// A core module, not a component.
    #[error(
        "{} is a core WebAssembly module, not a component; build for the target wasm32-wasip2, or \
         make a component of it with `wasm-tools component new`",
        path.display()
    )]
    CoreModule {
        /// The file.
        path: PathBuf,
    },
    /// A file of another kind.
    #[error("{} is {what}", path.display())]
    Else {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// Not WebAssembly, or damaged.
    #[error(
        "{} is not a WebAssembly component: {why}; is the file complete? (the name of a manifest ends in \
         .toml)",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// A component that serves no requests.
    #[error(
        "{} exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3; it exports \
         {}; {}",
        path.display(),
        list(exports),
        instead(exports)
    )]
    NoHandler {
        /// The file.
        path: PathBuf,
        /// Its exports.
        exports: Vec<String>,
    },
    /// Imports that the host does not have.
    #[error(
        "{} imports {}, which the host does not have; {HAS}",
        path.display(),
        list(imports)
    )]
    UnknownImport {
        /// The file.
        path: PathBuf,
        /// All of them.
        imports: Vec<String>,
    },
    /// An import or export that the host has with another type.
    #[error(
        "{} cannot be linked: {why}; {HAS}",
        path.display()
    )]
    Unlinkable {
        /// The file.
        path: PathBuf,
        /// Which import and why.
        why: String,
    },
    /// Its code cannot be loaded into memory, or not into a pool.
    #[error("the code of {} cannot be loaded: {why}", path.display())]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// The system does not give what the engine needs.
    #[error("the engine cannot be made: {0}; try a lower --max-instances or --max-memory")]
    Engine(String),
}

/// What components may import.
const HAS: &str = "it has WASI 0.2 and 0.3, wasi:config, wasi:keyvalue (store, atomics, batch) and \
     host:lifecycle, so build it against those only";

fn list(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "nothing".into(),
        many if many > LISTED => format!("{listed} and {} more", many - LISTED),
        _ => listed,
    }
}

/// What to do about a component with these exports.
fn instead(exports: &[String]) -> &'static str {
    let exports_any = |prefixes: &[&str]| {
        exports.iter().any(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    };
    if exports_any(&["wasi:http/incoming-handler@", "wasi:http/handler@"]) {
        "that is another version, or a draft of one: build it with tools that know 0.2 or 0.3 as released"
    } else if exports_any(&["wasi:cli/run@"]) {
        "that is a program for the command line, for `wasmtime run`: to serve, build it against the world \
         wasi:http/proxy (0.2) or wasi:http/service (0.3)"
    } else {
        "build it against the world wasi:http/proxy (0.2) or wasi:http/service (0.3)"
    }
}

impl From<LoadError> for Rejected {
    fn from(why: LoadError) -> Self {
        let step = match &why {
            LoadError::Unreadable { .. } | LoadError::TooLarge { .. } => Step::Read,
            LoadError::Untrusted(_)
            | LoadError::BadText { .. }
            | LoadError::CoreModule { .. }
            | LoadError::Else { .. }
            | LoadError::Malformed { .. }
            | LoadError::UnknownImport { .. }
            | LoadError::NoHandler { .. } => Step::Check,
            LoadError::Unloadable { .. } | LoadError::Engine(_) => Step::Compile,
            LoadError::Unlinkable { .. } => Step::Link,
        };
        let passing = match &why {
            LoadError::Unreadable { why, .. } => is_passing(why),
            LoadError::Engine(_) => true,
            _ => false,
        };
        let why = match std::error::Error::source(&why) {
            Some(cause) => format!("{why}: {cause}"),
            None => why.to_string(),
        };
        Self { passing, ..Self::at(step, why) }
    }
}

/// Whether a file may be readable a moment later although nothing visible has changed.
fn is_passing(why: &io::Error) -> bool {
    !matches!(
        why.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_bounded_by_the_memory_that_holds_it() {
        for (compiler, cgroup, most) in [
            (1024 * MIB, None, LARGEST_FILE),
            (64 * MIB, None, 64 * MIB),
            (1024 * MIB, Some(256 * MIB), 32 * MIB),
            (16 * MIB, Some(256 * MIB), 16 * MIB),
        ] {
            assert_eq!(FileSizeLimit::new(compiler, cgroup).bytes, most, "{compiler} {cgroup:?}");
        }
    }

    #[test]
    fn a_component_without_a_handler_is_told_what_it_is() {
        for (export, says) in [
            ("wasi:http/handler@0.3.0-rc-2026-01-06", "a draft of one"),
            ("wasi:http/incoming-handler@0.4.0", "another version"),
            ("wasi:cli/run@0.2.3", "for `wasmtime run`"),
            ("acme:shop/cart@1.0.0", "build it against the world wasi:http/proxy"),
        ] {
            let (path, exports) = ("app.wasm".into(), vec![export.to_owned()]);
            let text = LoadError::NoHandler { path, exports }.to_string();
            assert!(text.contains(says) && text.contains(export), "{text}");
        }
    }

    #[test]
    fn an_error_lists_the_first_of_many_names() {
        let names: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        assert_eq!(list(&names[..2]), "0, 1");
        assert!(list(&names).ends_with(", 19 and 980 more"));
        assert_eq!(list(&[]), "nothing");
    }
}
