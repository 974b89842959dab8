//! From a path to a generation: read, survey, compile, link.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::time::Instant;
use tracing::info;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine::{self, Needs};
use super::generation::Generation;
use super::survey::{Kind, NotAComponent, Survey, one_line};
use super::{Cache, Limits};

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
    /// Not WebAssembly, or broken.
    #[error("{} is not a WebAssembly component: {why}; is the file complete?", path.display())]
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
    /// An import that the host does not have, or has with another type.
    #[error(
        "{} cannot be linked: {why}; the host has WASI 0.2 and 0.3, so build it against those only",
        path.display()
    )]
    Unlinkable {
        /// The file.
        path: PathBuf,
        /// Which import and why.
        why: String,
    },
    /// It does not compile.
    #[error("{} does not compile: {why}", path.display())]
    Uncompilable {
        /// The file.
        path: PathBuf,
        /// What the compiler says.
        why: String,
    },
    /// The machine does not give what the engine needs.
    #[error("the engine cannot be made: {0}; try a lower --max-instances or --max-memory")]
    Engine(String),
}

/// Reads, surveys, compiles and links a component. Blocks for as long as compiling takes, so call
/// it off the threads that serve.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path, limits: &Limits, cache: &Cache) -> Result<Generation, LoadError> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let bytes = read(path)?;
    let survey = survey(path, &bytes)?;
    let kind = kind(path, &survey)?;
    let concurrency = survey.needs_concurrency();
    let began = Instant::now();
    let (component, needs) = compile(path, &bytes, concurrency, limits, cache)?;
    info!(
        component = name(path),
        %kind,
        took = ?began.elapsed(),
        bytes = bytes.len(),
        memories = needs.memories,
        tables = needs.tables,
        "component compiled, or taken from the cache"
    );
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Generation::link(number, name(path), kind, &component, *limits, concurrency)
        .map_err(|why| LoadError::Unlinkable { path: path.to_owned(), why: chain(&why) })
}

/// Says what a component imports and exports, and whether it could serve.
///
/// # Errors
/// See [`LoadError`]: the same checks that come before compiling.
pub fn survey_file(path: &Path) -> Result<(Kind, Survey), LoadError> {
    let survey = survey(path, &read(path)?)?;
    Ok((kind(path, &survey)?, survey))
}

/// Compiles in an engine whose pool fits the component: first in one for the typical component,
/// then, if that does not fit, in one made to measure. The second time the code is in the cache.
fn compile(
    path: &Path,
    bytes: &[u8],
    concurrency: bool,
    limits: &Limits,
    cache: &Cache,
) -> Result<(Component, Needs), LoadError> {
    let engine = |needs: &Needs| -> Result<Engine, LoadError> {
        engine::engine(needs, concurrency, limits, cache)
            .map_err(|why| LoadError::Engine(chain(&why)))
    };
    let compile = |engine: &Engine| {
        Component::new(engine, bytes)
            .map_err(|why| LoadError::Uncompilable { path: path.to_owned(), why: chain(&why) })
    };
    let component = compile(&engine(&Needs::TYPICAL)?)?;
    let needs = Needs::of(&component).unwrap_or(Needs::TYPICAL);
    if Needs::TYPICAL.serves(&needs) {
        return Ok((component, needs));
    }
    info!(?needs, "component needs a pool made to measure");
    drop(component);
    Ok((compile(&engine(&needs)?)?, needs))
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why| LoadError::Unreadable { path: path.to_owned(), why };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > LARGEST_FILE {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes });
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let is_text = path.extension().is_some_and(|extension| extension == "wat");
    if !is_text {
        return Ok(bytes);
    }
    wat::parse_bytes(&bytes).map(std::borrow::Cow::into_owned).map_err(|why| LoadError::BadText {
        path: path.to_owned(),
        why: one_line(&why.to_string()),
    })
}

fn survey(path: &Path, bytes: &[u8]) -> Result<Survey, LoadError> {
    Survey::of(bytes).map_err(|why| match why {
        NotAComponent::CoreModule => LoadError::CoreModule { path: path.to_owned() },
        NotAComponent::Malformed(why) => LoadError::Malformed { path: path.to_owned(), why },
    })
}

fn kind(path: &Path, survey: &Survey) -> Result<Kind, LoadError> {
    survey.kind().ok_or_else(|| LoadError::NoHandler {
        path: path.to_owned(),
        exports: survey.exports.clone(),
    })
}

/// The component's name in logs: its file's name without the extension.
fn name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

/// An error with all its causes in one line.
fn chain(why: &wasmtime::Error) -> String {
    why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
