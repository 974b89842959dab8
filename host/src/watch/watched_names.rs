//! The names in directories that decide which file a path leads to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Symbolic links on the way to one file, as many as Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// Directories, each with the names in it that lead on. A directory comes before those in it.
pub(super) type WatchedNames = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// The names that lead to any of `paths`. Blocks.
pub(super) fn names_leading_to(paths: &BTreeSet<PathBuf>) -> WatchedNames {
    let mut watched = WatchedNames::new();
    for path in paths {
        add_names(path, &mut watched);
    }
    watched
}

/// A change of any of these names can make `path` another file: its own, that of a symbolic link,
/// that of a directory above it, which can be renamed or exchanged for another.
fn add_names(path: &Path, watched: &mut WatchedNames) {
    let mut rest = parts(path);
    let mut here = if path.is_absolute() { "/".into() } else { PathBuf::from(".") };
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let next = here.join(&name);
        if name != OsStr::new("..") {
            watched.entry(here.clone()).or_default().insert(name);
        }
        match fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    here = "/".into();
                }
                for name in parts(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            }
            _ => here = next,
        }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_name_that_leads_to_a_file_is_watched_where_it_stands() {
        let root = std::env::temp_dir().join(format!("host-watch-{}", std::process::id()));
        // As Kubernetes mounts a ConfigMap.
        fs::create_dir_all(root.join("..2026")).unwrap();
        fs::write(root.join("..2026/app.wasm"), "").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/app.wasm", root.join("app.wasm")).unwrap();
        let watched = |path: &str| names_leading_to(&BTreeSet::from([root.join(path)]));
        let names = |names: &[&str]| names.iter().map(Into::into).collect::<BTreeSet<OsString>>();
        let app = watched("app.wasm");
        assert_eq!(app[&root], names(&["app.wasm", "..data", "..2026"]));
        assert_eq!(app[&root.join("..2026")], names(&["app.wasm"]));
        for above in root.ancestors().skip(1) {
            assert!(app.contains_key(above), "{}: {app:?}", above.display());
        }
        let missing = watched("a/b/c.wasm");
        assert_eq!(missing[&root], names(&["a"]), "where it would be made");
        assert_eq!(missing[&root.join("a/b")], names(&["c.wasm"]));
        let loops = root.join("loop");
        symlink(&loops, &loops).unwrap();
        assert_eq!(watched("loop")[&root], names(&["loop"]));
        fs::remove_dir_all(&root).unwrap();
    }
}
