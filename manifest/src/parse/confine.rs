//! Keeps directories that a guest may write to apart from files that decide its grants. A guest that could
//! change the manifest, or the file of a component, could give itself any grant at the next reload.

use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::spanned::Spanned;
use crate::error::Problem;

/// Symbolic links on the way to one file; Linux follows as many (path_resolution(7)).
const LINKS: usize = 40;

/// Paths that a manifest names.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Directories that guests may write to, with their place in the manifest.
    writable: Vec<(PathBuf, Range<usize>)>,
    held: Vec<Held>,
}

/// A path that no guest may change.
#[derive(Debug)]
struct Held {
    /// Its name in a sentence: `the manifest`.
    what: String,
    path: PathBuf,
    /// Guests may write in it, but may not replace it.
    shared: bool,
}

impl Places {
    /// Adds a path of the host's own: no guest may write to it or in it.
    pub(super) fn hold(&mut self, what: impl Into<String>, path: &Path) {
        self.held.push(Held { what: what.into(), path: path.to_owned(), shared: false });
    }

    /// What holds this path, if something does, as far as one can tell before anything is made there.
    pub(super) fn holder(&self, path: &Path) -> Option<&str> {
        let mut held = self.held.iter().filter(|held| !held.shared);
        held.find(|held| same(&held.path, path)).map(|held| &*held.what)
    }

    /// Adds a directory that a guest sees. Two guests may see the same one. But a guest that could replace it
    /// by a symbolic link would choose what the other guest sees.
    pub(super) fn directory(&mut self, path: &Path, written: &Spanned<String>, writable: bool) {
        let what = format!("where the directory {} leads", written.value);
        self.held.push(Held { what, path: path.to_owned(), shared: true });
        if writable {
            self.writable.push((path.to_owned(), written.span.clone()));
        }
    }

    /// A problem for each directory through which a guest could change a path that is not its own: the
    /// process's `own` paths, and all that are held. Looks at links.
    pub(super) fn problems(mut self, own: &[(String, PathBuf)]) -> Vec<Problem> {
        if self.writable.is_empty() {
            return Vec::new();
        }
        for (what, path) in own {
            self.hold(what, path);
        }
        let held: Vec<(&Held, PathResolution)> =
            self.held.iter().map(|held| (held, PathResolution::follow(&held.path))).collect();
        let open = |path: &Path| {
            let own = PathResolution::follow(path).end;
            let mut held = held.iter();
            held.find(|(held, way)| way.is_open_to(&own, held.shared)).map(|(held, _)| &held.what)
        };
        let writable = self.writable.iter();
        writable
            .filter_map(|(path, span)| {
                let what = open(path)?;
                let message = format!("a guest that may write here could change {what}");
                let help = "give it a directory in which nothing else lies, or leave write out: what \
                            it wrote there would hold at the next reload";
                Some(Problem::new(span.clone(), message).help(help))
            })
            .collect()
    }
}

/// Whether two paths lead to the same place, as far as one can tell before anything is created there.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    one == other || PathResolution::follow(one).end == PathResolution::follow(other).end
}

/// The kernel's resolution of a path.
struct PathResolution {
    /// Each name that is looked up, in a directory without symbolic links. A guest that may write to that
    /// directory decides where the path leads.
    names: Vec<PathBuf>,
    end: PathBuf,
}

impl PathResolution {
    fn follow(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (mut names, mut end, mut links) = (Vec::new(), PathBuf::from("/"), 0);
        let mut rest = parts(&path);
        while let Some(part) = rest.pop() {
            if part == ".." {
                end.pop();
                continue;
            }
            let name = end.join(&part);
            match fs::read_link(&name) {
                Ok(target) if links < LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        end = PathBuf::from("/");
                    }
                    rest.extend(parts(&target));
                }
                _ => end.clone_from(&name),
            }
            names.push(name);
        }
        Self { names, end }
    }

    /// Whether a guest that may write to `directory` can change where this path leads, or the file at its end.
    fn is_open_to(&self, directory: &Path, shared: bool) -> bool {
        let below = |name: &PathBuf| name != directory && name.starts_with(directory);
        self.names.iter().any(below) || (!shared && directory.starts_with(&self.end))
    }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}
