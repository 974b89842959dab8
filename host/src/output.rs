//! The file that `host compile` writes. It is made beside its place and renamed, so that no reader sees half of
//! it, and it takes the place of nothing but a file.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use host_log::outlet;

/// The mode of a new file, less what the umask takes.
const NEW_FILE: u32 = 0o666;

/// Where code goes.
#[derive(Debug)]
pub(crate) enum Output {
    /// To the reader of our stdout.
    Stdout,
    /// To this file.
    File(PathBuf),
}

impl Output {
    /// What is called `name`; `input` is the file that its code is made from. `-` is stdout.
    ///
    /// # Errors
    /// Why nothing may be written there.
    pub(crate) fn open(name: &Path, input: &Path) -> io::Result<Self> {
        if name == "-" {
            if io::stdout().is_terminal() {
                return Err(io::Error::other("code is not for a terminal: name a file, or a pipe"));
            }
            return Ok(Self::Stdout);
        }
        replaced_file(name, input)?;
        Ok(Self::File(name.to_owned()))
    }

    /// Writes `bytes` there. If the reader of stdout has gone, that is no error.
    ///
    /// # Errors
    /// What the kernel says, or that the place is another now.
    pub(crate) fn write(&self, bytes: &[u8], input: &Path) -> io::Result<()> {
        let Self::File(path) = self else { return outlet::pass(bytes) };
        let replaced = replaced_file(path, input)?;
        // Without a rename it is removed when it is dropped.
        let mut file = file_beside(path, replaced.as_ref())?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    }
}

/// The file that is replaced, if there is one. A link, a device or a pipe is refused: they were named for what
/// is behind them.
fn replaced_file(path: &Path, input: &Path) -> io::Result<Option<Metadata>> {
    let refused = |why: &str| Err(io::Error::other(why.to_owned()));
    if path.file_name().is_none() || path.as_os_str().as_bytes().ends_with(b"/") {
        return refused("that is the name of a directory: name a file");
    }
    let meta = match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta?,
    };
    if meta.is_dir() {
        return refused("it is a directory: name a file");
    }
    if !meta.is_file() {
        return refused("it is there and no regular file: name another, or `-` for stdout");
    }
    let same = |input: &Metadata| (input.dev(), input.ino()) == (meta.dev(), meta.ino());
    if fs::metadata(input).is_ok_and(|input| same(&input)) {
        return refused("it is the component itself: name another file");
    }
    Ok(Some(meta))
}

/// A new file beside `path`, with owner and mode of the one that it is to replace.
fn file_beside(path: &Path, replaced: Option<&Metadata>) -> io::Result<NamedTempFile<File>> {
    // Until it has its owner it is for that one alone.
    let mode = if replaced.is_some() { 0o600 } else { NEW_FILE };
    let folder = match path.parent() {
        Some(folder) if folder != "" => folder,
        Some(_) | None => Path::new("."),
    };
    let mode = Permissions::from_mode(mode);
    let file = Builder::new().prefix(".host-compile-").permissions(mode).tempfile_in(folder)?;
    if let Some(old) = replaced {
        // Only root may give it away. If another user replaces it, it is that user's, as with any rename.
        fchown(file.as_file(), Some(old.uid()), Some(old.gid())).ok();
        file.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    /// `-o /dev/null`, a pipe or a link was replaced by a file; so was the component itself.
    #[test]
    fn nothing_but_a_file_is_replaced_and_never_the_component() {
        let folder = Folder::new();
        let app = folder.file("app.wasm", "component");
        let link = folder.path().join("link");
        symlink(folder.file("behind", "mine"), &link).unwrap();
        let other_name = folder.path().join("other-name");
        fs::hard_link(&app, &other_name).unwrap();
        let input = folder.path().join("input");
        symlink(&app, &input).unwrap();
        let below = folder.path().join("none/");
        for (path, says) in [
            (Path::new("/dev/null"), "no regular file"),
            (&link, "no regular file"),
            (folder.path(), "a directory"),
            (&below, "a directory"),
            (Path::new(".."), "a directory"),
            (&app, "the component itself"),
            (&other_name, "the component itself"),
            (&folder.path().join("./app.wasm"), "the component itself"),
        ] {
            let why = Output::open(path, &input).expect_err(says).to_string();
            assert!(why.contains(says), "{}: {why}", path.display());
        }
        // It was a file when it was looked at.
        let output = Output::open(&folder.path().join("later"), &input).unwrap();
        symlink(&app, folder.path().join("later")).unwrap();
        assert!(output.write(b"code", &input).is_err());
        assert_eq!(fs::read(&app).unwrap(), b"component");
    }

    /// The name of the new file was known before, so a link that was planted there could lead to another
    /// file.
    #[test]
    fn new_file_has_a_name_of_its_own_and_goes_if_it_is_not_kept() {
        let folder = Folder::new();
        let output = folder.path().join("app.cwasm");
        let (one, other) =
            (file_beside(&output, None).unwrap(), file_beside(&output, None).unwrap());
        assert_ne!(one.path(), other.path(), "no one knows the next name");
        for file in [&one, &other] {
            assert_eq!(file.path().parent(), Some(folder.path()), "a rename must be enough");
            assert!(fs::symlink_metadata(file.path()).unwrap().is_file());
        }
        drop((one, other));
        assert_eq!(folder.names(), [""; 0]);
        let written = Output::open(&output, Path::new("app.wasm")).unwrap();
        written.write(b"code", Path::new("app.wasm")).unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"code");
        assert_eq!(folder.names(), ["app.cwasm"]);
    }

    #[test]
    fn file_that_is_replaced_keeps_its_mode() {
        let folder = Folder::new();
        let output = folder.file("app.cwasm", "old");
        for mode in [0o600, 0o640, 0o444] {
            fs::set_permissions(&output, Permissions::from_mode(mode)).unwrap();
            let written = Output::open(&output, Path::new("app.wasm")).unwrap();
            written.write(b"code", Path::new("app.wasm")).unwrap();
            let meta = fs::metadata(&output).unwrap();
            assert_eq!((meta.mode() & 0o777, meta.len()), (mode, 4));
        }
        assert_eq!(folder.names(), ["app.cwasm"]);
    }
}
