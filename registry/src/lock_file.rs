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

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
        Self::read(text).map_err(|(at, why)| wrong(at, &why))
    }

    fn read(text: &str) -> Result<Self, WrongPin> {
        // Not by types of its own: the code for them would be many times of this.
        let table = DeTable::parse(text).map_err(|error| {
            (error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let [version, components] = keys(table.get_ref(), ["version", "component"])?;
        let version = version.ok_or_else(|| (0, "there is no version".to_owned()))?;
        if number(version)? != 1 {
            return Err(at(version, "this host reads version 1 of lock files"));
        }
        let mut pins = BTreeMap::new();
        let Some(components) = components else { return Ok(Self(pins)) };
        let wanted = || at(components, "component is [[component]], once for each");
        for component in components.get_ref().as_array().ok_or_else(wanted)?.iter() {
            let (source, pinned) = pin(component)?;
            if pins.insert(source, pinned).is_some() {
                return Err(at(component, "this source stands in it twice"));
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

/// What is wrong, and at which byte.
type WrongPin = (usize, String);

type Field<'a> = &'a Spanned<DeValue<'a>>;

fn at(field: Field<'_>, why: &str) -> WrongPin {
    (field.span().start, why.to_owned())
}

/// The values of these keys. There may be no others.
fn keys<'a, const N: usize>(
    table: &'a DeTable<'a>,
    known: [&str; N],
) -> Result<[Option<Field<'a>>; N], WrongPin> {
    let unknown = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()));
    if let Some(key) = unknown {
        return Err((key.span().start, format!("unknown key {:?}", key.get_ref())));
    }
    Ok(known.map(|known| {
        table.iter().find(|(key, _)| key.get_ref().as_ref() == known).map(|(_, value)| value)
    }))
}

/// One component of the file.
fn pin(component: Field<'_>) -> Result<(String, PinnedComponent), WrongPin> {
    let wanted = || at(component, "component is [[component]], once for each");
    let table = component.get_ref().as_table().ok_or_else(wanted)?;
    let [source, manifest, sha256, size] = keys(table, ["source", "manifest", "sha256", "size"])?;
    let missing = |key: &str| at(component, &format!("there is no {key}"));
    let source = source.ok_or_else(|| missing("source"))?;
    let sha256 = sha256.ok_or_else(|| missing("sha256"))?;
    let size = number(size.ok_or_else(|| missing("size"))?)?;
    let read: Result<Reference, _> = text(source)?.parse();
    let reference = read.map_err(|why| at(source, &why.to_string()))?;
    if reference.to_string() != text(source)? {
        return Err(at(source, &format!("this source is written {:?}", reference.to_string())));
    }
    match (&reference, manifest) {
        (Reference::Oci(_), None) => return Err(missing("manifest")),
        (Reference::File(_), Some(manifest)) => return Err(at(manifest, "a file has no manifest")),
        _ => {}
    }
    let why = "manifest has to be sha256: and 64 hexadecimal digits in lower case";
    let digest = |field| text(field)?.parse().map_err(|_| at(field, why));
    let manifest = manifest.map(digest).transpose()?;
    let why = "sha256 has to be 64 hexadecimal digits in lower case";
    let sha256 = ContentDigest::from_hex(text(sha256)?).map_err(|_| at(sha256, why))?;
    Ok((reference.to_string(), PinnedComponent { manifest, sha256, size }))
}

fn text<'a>(field: Field<'a>) -> Result<&'a str, WrongPin> {
    field.get_ref().as_str().ok_or_else(|| at(field, "this has to be a text"))
}

fn number(field: Field<'_>) -> Result<u64, WrongPin> {
    let read = field.get_ref().as_integer();
    let read = read.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    read.ok_or_else(|| at(field, "this has to be a number, and not a negative one"))
}
