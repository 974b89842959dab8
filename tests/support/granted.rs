//! A manifest of one test's own, with what lies beside it.

use std::fs;
use std::path::{Path, PathBuf};

use super::app::{Folder, text};
use super::host::{Host, Serve, guest};

/// A `host.toml` in a folder of its own.
#[derive(Debug)]
pub struct Site {
    /// Where it is, for files beside it; paths in the manifest are relative to it.
    pub folder: Folder,
    manifest: PathBuf,
}

impl Site {
    /// A manifest with this text, where `"guest:NAME"` stands for the file of that guest.
    pub fn of(manifest: &str) -> Self {
        let folder = Folder::new();
        let path = folder.join("host.toml");
        let site = Self { folder, manifest: path };
        site.write(manifest);
        site
    }

    /// Puts another text in its place.
    pub fn write(&self, manifest: &str) {
        let new = self.folder.join("host.toml.new");
        fs::write(&new, filled(manifest)).expect("the folder takes files");
        fs::rename(&new, &self.manifest).expect("a file can be replaced");
    }

    /// A host that will serve it.
    pub fn serve(&self) -> Serve {
        Host::serve(text(&self.manifest))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.manifest
    }

    /// A file in its folder with this text.
    pub fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.folder.join(name);
        let parent = path.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("a folder can be made");
        fs::write(&path, contents).expect("a file can be written");
        path
    }
}

fn filled(manifest: &str) -> String {
    let mut parts = manifest.split("\"guest:");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('"').expect("a guest's name ends");
        all += &format!("\"{}\"{rest}", text(&guest(name)));
    }
    all
}
