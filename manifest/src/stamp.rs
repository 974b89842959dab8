//! Which file it was, and which of its contents.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a file was at a moment, as far as can be told without reading it: another stamp at the same
/// path is another file there, or other contents. Equal stamps say the same, unless a file was written
/// twice within a tick of the file system's clock.
///
/// Taken before a file is read, so that no change is missed: what comes after it gives another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(Option<Inode>);

/// The time is that of the last change of any kind: the other one, of contents, is set by whoever
/// copies a file with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inode {
    device: u64,
    number: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// What is at `path` now, behind symbolic links; also that there is nothing. Blocks.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let inode = |meta: fs::Metadata| Inode {
            device: meta.dev(),
            number: meta.ino(),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        Self(fs::metadata(path).ok().map(inode))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_gives_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (file, link) = (at("file"), at("link"));
        symlink("file", &link).unwrap();
        let mut stamps = vec![Stamp::at(&link)];
        let mut changed = |what: &str| {
            let stamp = Stamp::at(&link);
            assert_eq!(stamp, Stamp::at(&link), "nothing has happened since");
            assert!(!stamps.contains(&stamp), "{what} is not seen");
            stamps.push(stamp);
        };
        fs::write(&file, "one").unwrap();
        changed("a file that was made");
        fs::write(at("other"), "two").unwrap();
        fs::rename(at("other"), &file).unwrap();
        changed("another file in its place");
        fs::write(&file, "longer").unwrap();
        changed("another length");
        let opened = File::options().write(true).open(&file).unwrap();
        opened.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
        changed("a date that was set");
        symlink("other", at("new")).unwrap();
        fs::write(at("other"), "longer").unwrap();
        fs::rename(at("new"), &link).unwrap();
        changed("a link that was turned");
        fs::remove_file(at("other")).unwrap();
        assert_eq!(Stamp::at(&link), stamps[0], "as before there was anything");
    }
}
