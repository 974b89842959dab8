//! A component's file: read, and asked what it is before anything is compiled.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_manifest::Stamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::survey::{Kind, NotAComponent, Survey, one_line};

/// A larger file is taken for a mistake. The largest components seen, JavaScript and Python, have
/// 12 and 40 MB.
const LARGEST_FILE: u64 = 512 << 20;

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
    /// The file is too large to be meant.
    #[error("{} has {bytes} bytes, more than a component of {LARGEST_FILE}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
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
    pub(super) bytes: Vec<u8>,
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
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        let stamp = Stamp::at(path);
        let (bytes, digest) = read(path)?;
        Ok(Self { path: path.to_owned(), bytes, digest, stamp })
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

/// What the component at `path` imports and the host does not have; nothing if it is no component.
#[must_use]
pub fn missing_imports(path: &Path) -> Vec<String> {
    let source = Source::read(path).ok();
    let survey = source.and_then(|source| Survey::of(&source.bytes).ok());
    survey.map(|survey| survey.unknown_imports()).unwrap_or_default()
}

/// Says what a component imports and exports, and whether it could serve.
///
/// # Errors
/// See [`LoadError`]: the same checks that come before compiling.
pub fn survey_file(path: &Path) -> Result<(Kind, Survey), LoadError> {
    Source::read(path)?.check()
}

fn read(path: &Path) -> Result<(Vec<u8>, Arc<str>), LoadError> {
    let unreadable = |why| LoadError::Unreadable { path: path.to_owned(), why };
    let meta = fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        // A pipe would be waited for, perhaps for ever.
        let what = if meta.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(unreadable(io::Error::other(what)));
    }
    let bytes = meta.len();
    if bytes > LARGEST_FILE {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes });
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let digest = hex(&Sha256::digest(&bytes)).into();
    let is_text = path.extension().is_some_and(|extension| extension == "wat");
    if !is_text {
        return Ok((bytes, digest));
    }
    let text = wat::parse_bytes(&bytes).map_err(|why| LoadError::BadText {
        path: path.to_owned(),
        why: one_line(&why.to_string()),
    })?;
    Ok((text.into_owned(), digest))
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
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
