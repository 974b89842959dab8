//! A manifest with its files, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::app::{Folder, bytes, text};
use super::binary::guest;
use super::host::Host;
use super::serve::Serve;

/// A manifest, `host.toml` in a folder with the files that it names by relative paths.
#[derive(Debug)]
pub struct Site {
    /// Its folder, for files beside it.
    pub folder: Folder,
    path: PathBuf,
}

impl Site {
    /// The manifest with this text, in which `"guest:NAME"` stands for the file of that guest.
    pub fn new(manifest: &str) -> Self {
        Self::with(manifest, &[])
    }

    /// The same, with these files: for each its name and its guest.
    pub fn with(manifest: &str, files: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let path = folder.join("host.toml");
        let site = Self { folder, path };
        files.iter().for_each(|(file, guest)| site.put(file, guest));
        site.write(manifest);
        site
    }

    /// A host that will serve it. The harness chooses where it listens: the manifest's `addr` counts only with
    /// [`Serve::no_tcp`].
    pub fn serve(&self) -> Serve {
        Host::serve(self.text())
    }

    /// The path of the manifest as text.
    pub fn text(&self) -> &str {
        text(&self.path)
    }

    /// The path of the file `name` as text.
    pub fn file(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    /// Replaces the manifest by this text. It names guests as in [`Site::new`].
    pub fn write(&self, manifest: &str) {
        self.put_bytes("host.toml", filled(manifest).as_bytes());
    }

    /// Puts the guest called `guest` into the file `name`.
    pub fn put(&self, name: &str, guest: &str) {
        self.put_bytes(name, &bytes(guest));
    }

    /// Puts this text into the file `name`.
    pub fn put_text(&self, name: &str, text: &str) {
        self.put_bytes(name, text.as_bytes());
    }

    /// Puts these bytes into the file `name` by a rename, so that no reader sees half of it.
    pub fn put_bytes(&self, name: &str, bytes: &[u8]) {
        // It belongs to no component, and --watch does not take it for a change of one.
        let new = self.folder.join(&format!("{name}.new"));
        let parent = new.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("a folder can be made");
        fs::write(&new, bytes).expect("the folder takes files");
        fs::rename(&new, self.folder.join(name)).expect("a file can be replaced");
    }

    /// Whether a file `name` exists, of any kind.
    pub fn has(&self, name: &str) -> bool {
        Path::new(&self.file(name)).symlink_metadata().is_ok()
    }
}

/// `manifest` with the path of the guest for each `"guest:NAME"`.
fn filled(manifest: &str) -> String {
    let mut parts = manifest.split("\"guest:");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('"').expect("a guest's name ends");
        all += &format!("\"{}\"{rest}", text(&guest(name)));
    }
    all
}

/// The table of a component that is served from `NAME.wasm`.
pub fn component(name: &str) -> String {
    format!("[component.{name}]\nsource = \"{name}.wasm\"\n")
}

/// The route of a path and all below it.
pub fn route(path: &str, component: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\ncomponent = \"{component}\"\n")
}

/// The component `name` with this source under `/NAME`, and `more` in its table, beside `good` (`hello_p2`)
/// under `/good`. `rest` stands before both.
pub fn beside_a_good_one(name: &str, source: &str, more: &str, rest: &str) -> String {
    format!(
        r#"
        {rest}
        [component.{name}]
        source = "{source}"
        {more}
        [component.good]
        source = "guest:hello_p2"
        [[route]]
        path = "/{name}"
        component = "{name}"
        strip-prefix = true
        [[route]]
        path = "/good"
        component = "good"
        "#
    )
}
