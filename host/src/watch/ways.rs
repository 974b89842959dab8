//! What has to stay as it is for a path to lead to the same file: names in directories.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Symbolic links on the way to one file, as many as Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// Directories, each with the names in it that lead on. One before those in it.
pub(super) type Ways = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// The ways to all of `paths`. Blocks.
pub(super) fn ways_to(paths: &BTreeSet<PathBuf>) -> Ways {
    let mut ways = Ways::new();
    for path in paths {
        add_way_to(path, &mut ways);
    }
    ways
}

/// A change of any name on the way can make `path` another file: its own, that of a symbolic link,
/// that of a directory above it, which can be renamed, or exchanged for another.
fn add_way_to(path: &Path, ways: &mut Ways) {
    let mut rest = names(path);
    let mut here = if path.is_absolute() { "/".into() } else { PathBuf::from(".") };
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let next = here.join(&name);
        if name != OsStr::new("..") {
            ways.entry(here.clone()).or_default().insert(name);
        }
        match fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    here = "/".into();
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            }
            _ => here = next,
        }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
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
    fn every_name_on_the_way_is_watched_where_it_stands() {
        let root = std::env::temp_dir().join(format!("host-watch-{}", std::process::id()));
        // As Kubernetes mounts a ConfigMap.
        fs::create_dir_all(root.join("..2026")).unwrap();
        fs::write(root.join("..2026/app.wasm"), "").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/app.wasm", root.join("app.wasm")).unwrap();
        let way = |path: &str| ways_to(&BTreeSet::from([root.join(path)]));
        let names = |names: &[&str]| names.iter().map(Into::into).collect::<BTreeSet<OsString>>();
        let ways = way("app.wasm");
        assert_eq!(ways[&root], names(&["app.wasm", "..data", "..2026"]));
        assert_eq!(ways[&root.join("..2026")], names(&["app.wasm"]));
        for above in root.ancestors().skip(1) {
            assert!(ways.contains_key(above), "{}: {ways:?}", above.display());
        }
        let missing = way("a/b/c.wasm");
        assert_eq!(missing[&root], names(&["a"]), "where it would be made");
        assert_eq!(missing[&root.join("a/b")], names(&["c.wasm"]));
        let loops = root.join("loop");
        symlink(&loops, &loops).unwrap();
        assert_eq!(way("loop")[&root], names(&["loop"]));
        fs::remove_dir_all(&root).unwrap();
    }
}
