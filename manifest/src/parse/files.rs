//! Files and directories that a manifest names.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::spanned::Spanned;
use crate::error::Problem;

impl Reader<'_> {
    /// A path, relative to the manifest.
    pub(super) fn path(&mut self, written: &Spanned<String>) -> Option<PathBuf> {
        let text = self.plain_text(written)?;
        if text.is_empty() {
            self.report(
                Problem::new(written.span.clone(), "there is no path in it")
                    .help("write a path; a relative one is relative to the manifest"),
            );
            return None;
        }
        Some(self.relative(Path::new(&text), &written.span))
    }

    /// A path that stands here, relative to the file that it stands in.
    pub(super) fn relative(&self, path: &Path, span: &Range<usize>) -> PathBuf {
        self.directory(span).join(path)
    }

    /// The path of a file that must exist.
    pub(super) fn file(&mut self, written: &Spanned<String>) -> Option<PathBuf> {
        let path = self.path(written)?;
        if self.look
            && let Err(why) = regular(&path)
        {
            self.unfit(written, "file", &path, &why);
        }
        Some(path)
    }

    /// The path of a directory that must exist.
    pub(crate) fn existing_directory(&mut self, written: &Spanned<String>) -> Option<PathBuf> {
        let path = self.path(written)?;
        if self.look
            && let Err(why) = directory(&path)
        {
            self.unfit(written, "directory", &path, &why);
        }
        Some(path)
    }

    /// The path of a file that can be created: its directory must exist. If the path exists, it must be a file.
    pub(super) fn new_file(&mut self, written: &Spanned<String>) -> Option<PathBuf> {
        let path = self.path(written)?;
        if !self.look {
            return Some(path);
        }
        if self.has_directory(written, &path)
            && path.exists()
            && let Err(why) = regular(&path)
        {
            self.unfit(written, "file", &path, &why);
        }
        Some(path)
    }

    /// The path of a file that lines are added to: its directory must exist. It may be a pipe or a device too.
    pub(super) fn log_file(&mut self, written: &Spanned<String>) -> Option<PathBuf> {
        let path = self.path(written)?;
        if !self.look {
            return Some(path);
        }
        if self.has_directory(written, &path) && path.is_dir() {
            self.unfit(written, "file", &path, "is a directory");
        }
        Some(path)
    }

    /// Whether a file can be made there, as far as its directory goes. Reports a directory that is none.
    fn has_directory(&mut self, written: &Spanned<String>, path: &Path) -> bool {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Some((parent, Err(why))) = parent.map(|parent| (parent, directory(parent))) else {
            return true;
        };
        self.unfit(written, "directory", parent, &why);
        false
    }

    /// Reports a path. A path with a variable is shown as it is written, because the variable's value may be a
    /// secret.
    pub(super) fn unfit(&mut self, written: &Spanned<String>, what: &str, path: &Path, why: &str) {
        let name = if written.value.contains('$') {
            written.value.clone()
        } else {
            path.display().to_string()
        };
        let help = if why == MISSING {
            "correct the path (it is relative to the manifest), or put it there"
        } else {
            "name another one, or make this one what it has to be"
        };
        let message = format!("the {what} {name} {why}");
        self.report(Problem::new(written.span.clone(), message).help(help));
    }
}

const MISSING: &str = "is not there";

/// Why a file cannot be read. Does not wait: it does not open what is no regular file, such as a pipe.
pub(super) fn regular(path: &Path) -> Result<(), String> {
    let meta = fs::metadata(path).map_err(|why| reason(&why))?;
    if meta.is_dir() {
        return Err("is a directory".into());
    }
    if !meta.is_file() {
        return Err("is not a regular file".into());
    }
    File::open(path).map(drop).map_err(|why| reason(&why))
}

fn directory(path: &Path) -> Result<(), String> {
    let meta = fs::metadata(path).map_err(|why| reason(&why))?;
    if meta.is_dir() { Ok(()) } else { Err("is not a directory".into()) }
}

fn reason(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => MISSING.into(),
        _ => format!("cannot be used: {why}"),
    }
}
