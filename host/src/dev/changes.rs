//! Files as they are at a moment, to be compared with another one. Looked at again and again, which works on every
//! file system, also those that tell of no changes, and costs little for the sources of one component.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;
use std::{fs, io};

use anyhow::{Context as _, ensure};

/// Folders that builds write to.
const BUILT: [&str; 5] = ["target", "node_modules", "__pycache__", "venv", "build"];

/// More is no source of one component, and takes long to look at.
const MOST: usize = 20_000;

/// Files, by what changes when they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, (Option<SystemTime>, u64)>);

impl Files {
    /// The files among `paths`, and below those that are folders; without what is hidden, and what builds write.
    pub(super) fn below(paths: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<Self> {
        let mut files = Self::default();
        let mut rest: Vec<PathBuf> = paths.into_iter().collect();
        while let Some(path) = rest.pop() {
            let meta = match fs::metadata(&path) {
                // It may be made later.
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                meta => meta.with_context(|| format!("cannot read {}", path.display()))?,
            };
            if meta.is_dir() {
                let entries = fs::read_dir(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let entries = entries.filter_map(Result::ok).filter(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    // A link to a folder may lead around in a circle.
                    let leads_away = entry.file_type().is_ok_and(|kind| kind.is_symlink())
                        && entry.path().is_dir();
                    !name.starts_with('.') && !BUILT.contains(&&*name) && !leads_away
                });
                rest.extend(entries.map(|entry| entry.path()));
            } else {
                files.0.insert(path, (meta.modified().ok(), meta.len()));
            }
            ensure!(
                files.0.len() <= MOST,
                "there are more than {MOST} files to watch: name fewer folders in `watch`"
            );
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written_made_or_gone_are_seen_and_what_builds_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["src/deep", "src/target", "src/.git"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path("src"), path("src/around")).unwrap();
        let look = || Files::below([path("src"), path("absent")]).unwrap();
        let none = look();
        assert_eq!(none, Files::default());
        for name in ["src/target/a.wasm", "src/.git/HEAD", "beside.rs"] {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(look(), none);
        fs::write(path("src/deep/lib.rs"), "one").unwrap();
        let one = look();
        assert_ne!(one, none);
        fs::write(path("src/deep/lib.rs"), "longer").unwrap();
        assert_ne!(look(), one);
        fs::remove_file(path("src/deep/lib.rs")).unwrap();
        assert_eq!(look(), none);
    }
}
