//! A component's file: read, and asked what it is before anything is compiled.

use host_manifest::escape::quote;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_code::{CompileError, Compiler};
use host_manifest::Stamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::Rejected;
use super::compile::refused;
use super::survey::{Kind, NotAComponent, Survey};
use crate::cgroup;

/// A larger file is taken for a mistake. The largest components seen, JavaScript and Python, have
/// 12 and 40 MB.
const LARGEST_FILE: u64 = 512 << 20;

/// So many names in an error; the rest is counted.
const LISTED: usize = 20;

/// The largest file that is read: this process has to hold it, and the compiler too.
#[derive(Clone, Copy, Debug)]
pub struct Largest {
    bytes: u64,
    /// What bounds it.
    why: &'static str,
}

impl Largest {
    /// What the compiler may have, in bytes, and the limit of the cgroup, if there is one.
    #[must_use]
    pub fn of(compile_memory: u64, cgroup: Option<u64>) -> Self {
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
    /// The file is too large to be meant, or to be held.
    #[error("{} has more than {} bytes: {}", path.display(), largest.bytes, largest.why)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        largest: Largest,
    },
    /// The text does not parse.
    #[error("{} is not valid WebAssembly text: {why}", path.display())]
    BadText {
        /// The file.
        path: PathBuf,
        /// Where and what, with the line.
        why: String,
    },
    /// A core module instead of a component.
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
    /// Not WebAssembly, or broken.
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
         {}; build it against the world wasi:http/proxy (0.2) or wasi:http/service (0.3)",
        path.display(),
        list(exports)
    )]
    NoHandler {
        /// The file.
        path: PathBuf,
        /// What it does export.
        exports: Vec<String>,
    },
    /// Imports that the host knows nothing of.
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
    /// An import that the host has with another type, or an export that it knows with another.
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
    /// Its code cannot be put into memory, or not into a pool.
    #[error("the code of {} cannot be loaded: {why}", path.display())]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// The machine does not give what the engine needs.
    #[error("the engine cannot be made: {0}; try a lower --max-instances or --max-memory")]
    Engine(String),
}

/// What components may import.
const HAS: &str = "it has WASI 0.2 and 0.3, wasi:config, wasi:keyvalue (store, atomics, batch) and \
     host:lifecycle, so build it against those only";

/// A component's bytes and what they say of themselves.
#[derive(Debug)]
pub struct Source {
    pub(super) path: PathBuf,
    /// The component; of a file with text that.
    pub(super) bytes: Vec<u8>,
    is_text: bool,
    /// SHA-256 of the file, in hex.
    pub(super) digest: Arc<str>,
    stamp: Stamp,
}

impl Source {
    /// SHA-256 of the file, in hex.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file at this path when it was read.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Reads a file. Blocks.
    pub(super) fn read(path: &Path, largest: Largest) -> Result<Self, LoadError> {
        let stamp = Stamp::at(path);
        let bytes = read(path, largest)?;
        let digest = hex(&Sha256::digest(&bytes)).into();
        let is_text = path.extension().is_some_and(|extension| extension == "wat");
        Ok(Self { path: path.to_owned(), bytes, is_text, digest, stamp })
    }

    /// Whether a compiler is needed to see what it is.
    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }

    /// Has `compiler` make a component of it if it is text: that takes fifty times its memory, and this
    /// process has requests in flight. Bounded in time.
    pub(super) async fn parsed(self, compiler: &Compiler) -> Result<Self, Rejected> {
        if !self.is_text {
            return Ok(self);
        }
        match compiler.component(&self.bytes).await {
            Ok(bytes) => Ok(Self { bytes, is_text: false, ..self }),
            Err(CompileError::Refused(why)) => {
                Err(LoadError::BadText { path: self.path, why: quote(&why) }.into())
            }
            Err(why) => Err(refused(&self.path, &why)),
        }
    }

    /// What it says of itself. Of text it says nothing.
    pub(super) fn glance(&self) -> Glance {
        let missing = Survey::of(&self.bytes).map(|survey| survey.unknown_imports());
        Glance { survey: self.check().ok(), missing: missing.unwrap_or_default() }
    }

    /// Says what it is, and refuses what could not serve.
    pub(super) fn check(&self) -> Result<(Kind, Survey), LoadError> {
        let survey = survey(&self.path, &self.bytes)?;
        let kind = kind(&self.path, &survey)?;
        let imports = survey.unknown_imports();
        if !imports.is_empty() {
            return Err(LoadError::UnknownImport { path: self.path.clone(), imports });
        }
        Ok((kind, survey))
    }
}

/// What a component is called that nobody has named: its file's name without the extension.
pub(super) fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component")
}

/// What a look into a file has found.
#[derive(Debug, Default)]
pub struct Glance {
    /// What it imports and exports, if it could serve: the same checks that come before compiling.
    pub survey: Option<(Kind, Survey)>,
    /// What it imports and the host does not have; nothing if it is no component.
    pub missing: Vec<String>,
}

fn read(path: &Path, largest: Largest) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why| LoadError::Unreadable { path: path.to_owned(), why };
    // A pipe would be waited for, perhaps for ever, before it is known for one.
    let meta = fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(unreadable(io::Error::other(what)));
    }
    let too_large = || LoadError::TooLarge { path: path.to_owned(), largest };
    if meta.len() > largest.bytes {
        return Err(too_large());
    }
    // It may grow meanwhile.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    let mut file = File::open(path).map_err(unreadable)?.take(largest.bytes.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest.bytes {
        return Err(too_large());
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn survey(path: &Path, bytes: &[u8]) -> Result<Survey, LoadError> {
    Survey::of(bytes).map_err(|why| match why {
        NotAComponent::CoreModule => LoadError::CoreModule { path: path.to_owned() },
        NotAComponent::Else(what) => LoadError::Else { path: path.to_owned(), what },
        NotAComponent::Malformed(why) => LoadError::Malformed { path: path.to_owned(), why },
    })
}

fn kind(path: &Path, survey: &Survey) -> Result<Kind, LoadError> {
    survey.kind().ok_or_else(|| LoadError::NoHandler {
        path: path.to_owned(),
        exports: survey.exports.clone(),
    })
}

fn list(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "nothing".into(),
        many if many > LISTED => format!("{listed} and {} more", many - LISTED),
        _ => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_is_bounded_by_whoever_has_to_hold_it() {
        for (compiler, cgroup, most) in [
            (1024 * MIB, None, LARGEST_FILE),
            (64 * MIB, None, 64 * MIB),
            (1024 * MIB, Some(256 * MIB), 32 * MIB),
            (16 * MIB, Some(256 * MIB), 16 * MIB),
        ] {
            assert_eq!(Largest::of(compiler, cgroup).bytes, most, "{compiler} {cgroup:?}");
        }
    }

    /// A file of 300 MB killed a host that had 256 MiB.
    #[test]
    fn a_file_that_is_too_large_is_refused_with_the_bound_and_not_read() {
        let path = std::env::temp_dir().join(format!("host-source-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let read = |length: u64| {
            file.set_len(length).unwrap();
            Source::read(&path, Largest::of(64 * MIB, Some(256 * MIB)))
        };
        assert_eq!(read(MIB).unwrap().bytes.len() as u64, MIB);
        let refused = read(1 << 40).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(
            refused.contains("more than 33554432 bytes: the memory of the cgroup"),
            "{refused}"
        );
    }

    #[test]
    fn of_many_names_the_first_are_said() {
        let names: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        assert_eq!(list(&names[..2]), "0, 1");
        assert!(list(&names).ends_with(", 19 and 980 more"));
        assert_eq!(list(&[]), "nothing");
    }
}
