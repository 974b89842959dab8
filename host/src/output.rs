//! The file that `host compile` writes: made beside its place and renamed, so that nobody sees half of it,
//! and in place of nothing but a file.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process;

use crate::outlet;

/// Names that are tried for a file that is being written: others may be in the way, left behind by
/// processes that were killed or put there by somebody.
const NAMES_TRIED: u32 = 1000;

/// Who may read and write a new file, less what the umask takes.
const NEW_FILE: u32 = 0o666;

/// Where code goes.
#[derive(Debug)]
pub(crate) enum Output {
    /// To whoever reads our stdout.
    Stdout,
    /// To this file.
    File(PathBuf),
}

impl Output {
    /// What is called `name`; `input` is what its code is made from. `-` is stdout.
    ///
    /// # Errors
    /// Why nothing may be written there.
    pub(crate) fn of(name: &Path, input: &Path) -> io::Result<Self> {
        if name == "-" {
            if io::stdout().is_terminal() {
                return Err(io::Error::other("code is not for a terminal: name a file, or a pipe"));
            }
            return Ok(Self::Stdout);
        }
        replaced(name, input)?;
        Ok(Self::File(name.to_owned()))
    }

    /// Writes `bytes` there. A reader of stdout who has gone does not want to read them.
    ///
    /// # Errors
    /// What the kernel says, or that the place is another now.
    pub(crate) fn write(&self, bytes: &[u8], input: &Path) -> io::Result<()> {
        let Self::File(path) = self else { return outlet::pass(bytes) };
        let replaced = replaced(path, input)?;
        let (new, mut file) = create_new(path, replaced.as_ref())?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            fs::remove_file(&new).ok();
        }
        written
    }
}

/// The file that is replaced, if there is one. A link, a device or a pipe is none: whoever named that meant
/// what is behind it.
fn replaced(path: &Path, input: &Path) -> io::Result<Option<Metadata>> {
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

/// A file beside `path` that nobody else has, with owner and mode of the one that it is to replace.
fn create_new(path: &Path, replaced: Option<&Metadata>) -> io::Result<(PathBuf, File)> {
    // Until it has its owner it is for nobody else.
    let mode = if replaced.is_some() { 0o600 } else { NEW_FILE };
    for number in 0..NAMES_TRIED {
        let new = path.with_file_name(format!(".host-compile-{}-{number}", process::id()));
        let file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&new) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        if let Some(old) = replaced {
            // Only root may give it away; whoever else replaces it has it then, as with any rename.
            fchown(&file, Some(old.uid()), Some(old.gid())).ok();
            if let Err(why) = file.set_permissions(Permissions::from_mode(old.mode() & 0o777)) {
                fs::remove_file(&new).ok();
                return Err(why);
            }
        }
        return Ok((new, file));
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files are being written beside it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("host-output-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// `-o /dev/null`, a pipe or a link was replaced by a file; so was the component itself.
    #[test]
    fn nothing_but_a_file_is_replaced_and_never_the_component() {
        let folder = Folder::new("kinds");
        let app = folder.file("app.wasm", "component");
        let link = folder.0.join("link");
        symlink(folder.file("behind", "mine"), &link).unwrap();
        let other_name = folder.0.join("other-name");
        fs::hard_link(&app, &other_name).unwrap();
        let input = folder.0.join("input");
        symlink(&app, &input).unwrap();
        let below = folder.0.join("none/");
        for (path, says) in [
            (Path::new("/dev/null"), "no regular file"),
            (&link, "no regular file"),
            (&folder.0, "a directory"),
            (&below, "a directory"),
            (Path::new(".."), "a directory"),
            (&app, "the component itself"),
            (&other_name, "the component itself"),
            (&folder.0.join("./app.wasm"), "the component itself"),
        ] {
            let why = Output::of(path, &input).expect_err(says).to_string();
            assert!(why.contains(says), "{}: {why}", path.display());
        }
        // It was a file when it was looked at.
        let output = Output::of(&folder.0.join("later"), &input).unwrap();
        symlink(&app, folder.0.join("later")).unwrap();
        assert!(output.write(b"code", &input).is_err());
        assert_eq!(fs::read(&app).unwrap(), b"component");
    }

    /// The name of the new file was known, and a link that was put there led to the file of somebody else.
    #[test]
    fn what_lies_at_the_name_of_the_new_file_is_left_alone() {
        let folder = Folder::new("planted");
        let victim = folder.file("victim", "precious");
        let planted = format!(".host-compile-{}-0", process::id());
        symlink(&victim, folder.0.join(&planted)).unwrap();
        let output = folder.0.join("app.cwasm");
        Output::of(&output, Path::new("app.wasm"))
            .unwrap()
            .write(b"code", Path::new("app.wasm"))
            .unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"code");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(folder.names(), [&planted, "app.cwasm", "victim"]);
    }

    #[test]
    fn who_could_read_a_file_before_can_read_it_after() {
        let folder = Folder::new("mode");
        let output = folder.file("app.cwasm", "old");
        for mode in [0o600, 0o640, 0o444] {
            fs::set_permissions(&output, Permissions::from_mode(mode)).unwrap();
            let of = Output::of(&output, Path::new("app.wasm")).unwrap();
            of.write(b"code", Path::new("app.wasm")).unwrap();
            let meta = fs::metadata(&output).unwrap();
            assert_eq!((meta.mode() & 0o777, meta.len()), (mode, 4));
        }
        assert_eq!(folder.names(), ["app.cwasm"]);
    }
}
