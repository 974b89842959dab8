//! The text of a manifest: that of its file, and behind it those of the files that it includes.

use std::path::{Path, PathBuf};

/// The text, and where each file begins in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestText {
    all: String,
    /// At least one, in their order.
    files: Vec<(usize, PathBuf)>,
    /// Folders whose files are looked through at each reload.
    folders: Vec<PathBuf>,
}

/// A file of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextFile<'a> {
    pub(crate) path: &'a Path,
    /// Where it begins in the whole.
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

impl ManifestText {
    pub(crate) fn new(file: &Path, text: &str) -> Self {
        Self { all: text.to_owned(), files: vec![(0, file.to_owned())], folders: Vec::new() }
    }

    /// Adds a file, which begins in a line of its own.
    pub(crate) fn add(&mut self, file: &Path, text: &str) {
        self.all.push('\n');
        self.files.push((self.all.len(), file.to_owned()));
        self.all.push_str(text);
    }

    /// A file that comes into this folder may be one of them.
    pub(crate) fn add_folder(&mut self, folder: PathBuf) {
        self.folders.push(folder);
    }

    /// Paths by which whoever can write there decides what is in the text: its files, and one in each folder.
    pub(crate) fn deciding_paths(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.files.iter().map(|(_, path)| path.clone());
        files.chain(self.folders.iter().map(|folder| folder.join("another.toml")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.all
    }

    /// The file that has this byte.
    pub(crate) fn file_at(&self, byte: usize) -> TextFile<'_> {
        let at = self.files.partition_point(|(start, _)| *start <= byte).saturating_sub(1);
        let end = self.files.get(at + 1).map_or(self.all.len(), |(start, _)| start - 1);
        match self.files.get(at) {
            Some((start, path)) => {
                let text = self.all.get(*start..end).unwrap_or_default();
                TextFile { path, start: *start, text }
            }
            None => TextFile { path: Path::new(""), start: 0, text: &self.all },
        }
    }

    /// The line of this byte in its file, counted from 1.
    pub(crate) fn line(&self, byte: usize) -> usize {
        let file = self.file_at(byte);
        let before = byte.saturating_sub(file.start);
        file.text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1
    }

    /// What relative paths are relative to that stand at this byte.
    pub(crate) fn directory_at(&self, byte: usize) -> &Path {
        self.file_at(byte).path.parent().unwrap_or_else(|| Path::new(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_file_and_its_line_there() {
        let mut text = ManifestText::new(Path::new("a/host.toml"), "one\ntwo");
        text.add(Path::new("a/b/c.toml"), "three\nfour\n");
        text.add(Path::new("d.toml"), "");
        assert_eq!(text.as_str(), "one\ntwo\nthree\nfour\n\n");
        for (word, path, line) in
            [("one", "a/host.toml", 1), ("two", "a/host.toml", 2), ("four", "a/b/c.toml", 2)]
        {
            let at = text.as_str().find(word).unwrap();
            let file = text.file_at(at);
            assert_eq!((file.path.to_str(), text.line(at)), (Some(path), line), "{word}");
        }
        assert_eq!(text.file_at(0).text, "one\ntwo");
        assert_eq!(text.directory_at(8), Path::new("a/b"));
        assert_eq!(text.file_at(usize::MAX).path, Path::new("d.toml"));
    }
}
