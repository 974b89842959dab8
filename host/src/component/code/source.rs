//! A component's file: read, and surveyed before it is compiled.

use host_manifest::escape::quote;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_code::{BundledCode, CodeBundle, CompileError, Compiler, component_digest};
use host_manifest::Stamp;

use super::footprint::Footprint;
use super::load_error::{FileSizeLimit, LoadError};
use super::rejected::Rejected;
use super::survey::{Kind, NotAComponent, Survey};

/// The bytes of a component, with the file they came from.
#[derive(Debug)]
pub struct Source {
    pub(crate) path: PathBuf,
    /// The component, or its text if the file holds text.
    pub(crate) bytes: Vec<u8>,
    is_text: bool,
    /// SHA-256 of the file, in hex.
    pub(crate) digest: Arc<str>,
    /// SHA-256 of `bytes`.
    pub(crate) component_digest: [u8; 32],
    /// Its code, of a bundle that a key has signed that is trusted.
    pub(crate) code: Option<BundledCode>,
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

    /// Reads a file that no code is taken from. Blocks.
    pub(crate) fn read(path: &Path, largest: FileSizeLimit) -> Result<Self, LoadError> {
        let source = Self::read_vouched(path, largest, |_, _| Ok(()))?;
        Ok(Self { code: None, ..source })
    }

    /// Reads a file. `vouch` says of its bytes whether it may be loaded, and whether it is a bundle, whose code will
    /// run. Blocks.
    pub(crate) fn read_vouched(
        path: &Path,
        largest: FileSizeLimit,
        vouch: impl FnOnce(&[u8], bool) -> Result<(), String>,
    ) -> Result<Self, LoadError> {
        let stamp = Stamp::at(path);
        let bytes = read(path, largest)?;
        let is_bundle = CodeBundle::is_one(&bytes);
        vouch(&bytes, is_bundle).map_err(LoadError::Untrusted)?;
        let file_digest = component_digest(&bytes);
        let (bytes, code, component_digest) = match is_bundle {
            false => (bytes, None, file_digest),
            true => {
                let bundle = CodeBundle::read(bytes).map_err(|why| {
                    let why = format!("{} is damaged: {why}", path.display());
                    LoadError::Untrusted(why)
                })?;
                let digest = component_digest(&bundle.component);
                (bundle.component, Some(bundle.code), digest)
            }
        };
        let digest = hex(&file_digest).into();
        let is_text = path.extension().is_some_and(|extension| extension == "wat");
        Ok(Self { path: path.to_owned(), bytes, is_text, digest, component_digest, code, stamp })
    }

    /// Other bytes that were made of it, with the name of the file. Code that came with it is not theirs.
    pub(super) fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        let component_digest = component_digest(&bytes);
        let (path, digest) = (self.path.clone(), self.digest.clone());
        Self {
            path,
            bytes,
            is_text: false,
            digest,
            component_digest,
            code: None,
            stamp: self.stamp,
        }
    }

    /// The same, as far as it is known without its bytes.
    pub(super) fn without_bytes(&self) -> Self {
        let Self { path, digest, component_digest, stamp, .. } = self;
        let (path, digest, component_digest) = (path.clone(), digest.clone(), *component_digest);
        Self {
            path,
            bytes: Vec::new(),
            is_text: false,
            digest,
            component_digest,
            code: None,
            stamp: *stamp,
        }
    }

    /// Whether the file holds text, which only a compiler can read.
    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    /// If it is text, has `compiler` turn it into a component: parsing takes fifty times the memory of the
    /// text, and this process has requests in flight. Bounded in time.
    pub(crate) async fn parsed(self, compiler: &Compiler) -> Result<Self, Rejected> {
        if !self.is_text {
            return Ok(self);
        }
        match compiler.component(&self.bytes).await {
            Ok(bytes) => {
                let component_digest = component_digest(&bytes);
                Ok(Self { bytes, is_text: false, component_digest, ..self })
            }
            Err(CompileError::Refused(why)) => {
                Err(LoadError::BadText { path: self.path, why: quote(&why) }.into())
            }
            Err(why) => Err(Rejected::not_compiled(&self.path, &why)),
        }
    }

    /// Its imports, exports and footprint, as far as they can be read. Nothing for text.
    pub(crate) fn glance(&self) -> Glance {
        let missing = Survey::read(&self.bytes).map(|survey| survey.unknown_imports());
        let footprint = Footprint::read(&self.bytes).ok();
        Glance { survey: self.check().ok(), missing: missing.unwrap_or_default(), footprint }
    }

    /// Reads its kind and its survey, and refuses a component that cannot serve.
    pub(crate) fn check(&self) -> Result<(Kind, Survey), LoadError> {
        let survey = survey(&self.path, &self.bytes)?;
        let kind = kind(&self.path, &survey)?;
        let imports = survey.unknown_imports();
        if !imports.is_empty() {
            return Err(LoadError::UnknownImport { path: self.path.clone(), imports });
        }
        Ok((kind, survey))
    }
}

/// Reads a component, or the text of one, and surveys it. For a command that does nothing else: text is parsed by
/// this process. Blocks.
///
/// # Errors
/// As for one that is to be served.
pub fn survey_file(path: &Path, largest: FileSizeLimit) -> Result<(Kind, Survey), LoadError> {
    let mut source = Source::read(path, largest)?;
    if source.is_text() {
        let bad = |why: wat::Error| LoadError::BadText {
            path: path.into(),
            why: quote(&why.to_string()),
        };
        source.bytes = wat::parse_bytes(&source.bytes).map_err(bad)?.into_owned();
    }
    source.check()
}

/// The result of a look into a file.
#[derive(Debug, Default)]
pub struct Glance {
    /// Its imports and exports, if it could serve. The same checks come before compiling.
    pub survey: Option<(Kind, Survey)>,
    /// Imports that the host does not have. Empty if the file is no component.
    pub missing: Vec<String>,
    /// What each of its instances is made of, if its bytes can be read.
    pub footprint: Option<Footprint>,
}

fn read(path: &Path, largest: FileSizeLimit) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why| LoadError::Unreadable { path: path.to_owned(), why };
    // Opening a pipe could wait for ever, so look at the kind of file first.
    let meta = fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(unreadable(io::Error::other(what)));
    }
    let too_large = || LoadError::TooLarge { path: path.to_owned(), largest };
    if meta.len() > largest.bytes {
        return Err(too_large());
    }
    // The file may grow meanwhile.
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
    Survey::read(bytes).map_err(|why| match why {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_that_is_too_large_is_refused_with_the_bound_and_not_read() {
        let path = std::env::temp_dir().join(format!("host-source-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let read = |length: u64| {
            file.set_len(length).unwrap();
            Source::read(&path, FileSizeLimit::new(64 * MIB, Some(256 * MIB)))
        };
        assert_eq!(read(MIB).unwrap().bytes.len() as u64, MIB);
        let refused = read(1 << 40).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(
            refused.contains("more than 33554432 bytes: the memory of the cgroup"),
            "{refused}"
        );
    }
}
