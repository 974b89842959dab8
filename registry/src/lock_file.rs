//! What each source led to when it was last looked at: `host.lock`.
//!
//! ```toml
//! [[component]]
//! source = "oci://ghcr.io/shop/cart:1.4"
//! manifest = "sha256:66a0…"
//! sha256 = "9f86…"
//! size = 2097152
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use crate::digest::ContentDigest;
use crate::reference::Reference;

const HEAD: &str = "\
# What each source of a component led to when it was last looked at. A start takes exactly this.
# Written by the host. Commit it, and let the host write it anew where a source is to lead to something else.
version = 1
";

/// What it may have at most: thousands of sources.
const LARGEST: u64 = 4 * 1024 * 1024;

/// What a source led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedComponent {
    /// The digest of the manifest of its image; none of a file.
    pub manifest: Option<ContentDigest>,
    /// The digest of the component.
    pub sha256: ContentDigest,
    /// Its size.
    pub size: u64,
}

/// What all sources led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile(BTreeMap<String, PinnedComponent>);

/// A lock file that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LockFileError {
    /// The file cannot be read or written.
    #[error("{} cannot be {what}: {why}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What could not be done.
        what: &'static str,
        /// What the system says.
        why: String,
    },
    /// It does not say what a lock file says.
    #[error("{}, line {line}: {why}; correct it, or remove it and have it written anew", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

/// A source leads to something else than the lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{source_name} is pinned to {pinned}, and leads to {found} now; have the lock file written anew if that is meant"
)]
pub struct PinMismatch {
    /// The source.
    pub source_name: String,
    /// The digest in the lock file.
    pub pinned: ContentDigest,
    /// The digest that was found.
    pub found: ContentDigest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLockFile {
    version: Spanned<u32>,
    #[serde(default)]
    component: Vec<RawPin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPin {
    source: Spanned<String>,
    manifest: Option<Spanned<String>>,
    sha256: Spanned<String>,
    size: u64,
}

impl LockFile {
    /// Reads a file. One that is not there has nothing in it.
    ///
    /// # Errors
    /// If it is there and cannot be read, or says something else.
    pub fn load(path: &Path) -> Result<Self, LockFileError> {
        let io = |why: io::Error| LockFileError::Io {
            path: path.to_owned(),
            what: "read",
            why: why.to_string(),
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io(error)),
            Ok(found) if found.len() > LARGEST => {
                return Err(io(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it has more than 4 MiB",
                )));
            }
            Ok(_) => {}
        }
        Self::parse(path, &fs::read_to_string(path).map_err(io)?)
    }

    /// Reads a text, which stands in this file.
    ///
    /// # Errors
    /// If it says something else than a lock file says: what, and in which line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockFileError> {
        let wrong = |at: usize, why: &str| {
            let before = text.get(..at).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            LockFileError::Wrong { path: path.to_owned(), line, why: why.to_owned() }
        };
        let raw: RawLockFile = toml::from_str(text)
            .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
        if *raw.version.get_ref() != 1 {
            return Err(wrong(raw.version.span().start, "this host reads version 1 of lock files"));
        }
        let mut pins = BTreeMap::new();
        for pin in raw.component {
            let (at, source) = (pin.source.span().start, pin.source.into_inner());
            let pinned = RawPin::read((pin.manifest, pin.sha256, pin.size), &source)
                .map_err(|(within, why)| wrong(within.unwrap_or(at), &why))?;
            if pins.insert(source, pinned).is_some() {
                return Err(wrong(at, "this source stands in it twice"));
            }
        }
        Ok(Self(pins))
    }

    /// What a source led to.
    #[must_use]
    pub fn look_up(&self, source: &Reference) -> Option<&PinnedComponent> {
        self.0.get(&source.to_string())
    }

    /// Takes note of what a source leads to. Whether it is something new.
    pub fn pin(&mut self, source: &Reference, pinned: PinnedComponent) -> bool {
        self.0.insert(source.to_string(), pinned) != Some(pinned)
    }

    /// Keeps only these sources. Whether there were others.
    pub fn retain<'a>(&mut self, sources: impl IntoIterator<Item = &'a Reference>) -> bool {
        let wanted: Vec<String> = sources.into_iter().map(ToString::to_string).collect();
        let before = self.0.len();
        self.0.retain(|source, _| wanted.contains(source));
        self.0.len() != before
    }

    /// All sources, in order, with what they led to.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PinnedComponent)> {
        self.0.iter().map(|(source, pinned)| (source.as_str(), pinned))
    }

    /// Whether a source still leads to what it led to: its manifest, or the component itself where a file is pinned.
    /// One that is not in it may lead anywhere.
    ///
    /// # Errors
    /// If it leads to something else: both digests.
    pub fn check(&self, source: &Reference, found: ContentDigest) -> Result<(), PinMismatch> {
        let Some(pin) = self.look_up(source) else { return Ok(()) };
        let pinned = pin.manifest.unwrap_or(pin.sha256);
        if pinned == found {
            return Ok(());
        }
        Err(PinMismatch { source_name: source.to_string(), pinned, found })
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (source, pin) in &self.0 {
            // A source has no character that a text of TOML would have to escape.
            let manifest =
                pin.manifest.map(|digest| format!("manifest = \"{digest}\"\n")).unwrap_or_default();
            let (sha256, size) = (pin.sha256.hex(), pin.size);
            // A text takes whatever is written.
            let _taken = write!(
                text,
                "\n[[component]]\nsource = \"{source}\"\n{manifest}sha256 = \"{sha256}\"\nsize = {size}\n"
            );
        }
        text
    }

    /// Writes the file in one step: whoever reads it sees the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LockFileError> {
        let written = || -> io::Result<()> {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = parent.unwrap_or_else(|| Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".host.lock-").tempfile_in(directory)?;
            file.write_all(self.text().as_bytes())?;
            readable(file.as_file())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(directory)?.sync_all()
        };
        written().map_err(|why| LockFileError::Io {
            path: path.to_owned(),
            what: "written",
            why: why.to_string(),
        })
    }
}

/// It is read by others, and committed: a temporary file is its owner's alone.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

type WrongPin = (Option<usize>, String);

impl RawPin {
    fn read(
        (manifest, sha256, size): (Option<Spanned<String>>, Spanned<String>, u64),
        source: &str,
    ) -> Result<PinnedComponent, WrongPin> {
        let reference: Reference = source.parse().map_err(|why| (None, format!("{why}")))?;
        if reference.to_string() != source {
            return Err((None, format!("this source is written {:?}", reference.to_string())));
        }
        let is_image = matches!(reference, Reference::Oci(_));
        if is_image != manifest.is_some() {
            let why = if is_image { "there is no manifest" } else { "a file has no manifest" };
            return Err((None, why.to_owned()));
        }
        let digest = |text: &Spanned<String>| {
            let why = "manifest has to be sha256: and 64 hexadecimal digits in lower case";
            text.get_ref().parse().map_err(|_| (Some(text.span().start), why.to_owned()))
        };
        let manifest = manifest.as_ref().map(digest).transpose()?;
        let why = "sha256 has to be 64 hexadecimal digits in lower case";
        let sha256 = ContentDigest::from_hex(sha256.get_ref())
            .map_err(|_| (Some(sha256.span().start), why.to_owned()))?;
        Ok(PinnedComponent { manifest, sha256, size })
    }
}
