//! Commands for authors: `host new`, `host init` and `host dev`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use strum::Display;

use super::super::checked::{DevConfig, InitConfig, NewConfig};
use super::complaint::complaint;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The folder to make. Its name is that of the component: small letters, digits and `-`
    #[arg(value_name = "NAME")]
    folder: PathBuf,

    /// What it is written in
    #[arg(long, value_name = "LANGUAGE")]
    lang: Lang,

    /// An application, which answers requests; or a plugin, which stands before others
    #[arg(long, value_name = "KIND", default_value = "app")]
    kind: Kind,

    /// The version of wasi:http [default: the newest that the tools of the language know]
    #[arg(long, value_name = "VERSION")]
    wasi: Option<Wasi>,
}

#[derive(Clone, Copy, Debug, Display, ValueEnum)]
#[strum(serialize_all = "lowercase")]
enum Lang {
    Rust,
    Js,
    Python,
    C,
}

#[derive(Clone, Copy, Debug, Display, ValueEnum)]
#[strum(serialize_all = "lowercase")]
enum Kind {
    App,
    Plugin,
}

#[derive(Clone, Copy, Debug, Display, ValueEnum)]
enum Wasi {
    #[value(name = "0.2")]
    #[strum(serialize = "0.2")]
    P2,
    #[value(name = "0.3")]
    #[strum(serialize = "0.3")]
    P3,
}

impl NewArgs {
    pub(super) fn checked(self) -> Result<NewConfig, clap::Error> {
        let Self { folder, lang, kind, wasi } = self;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let fine = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
            && !name.ends_with('-')
            && name.len() <= 63;
        if !fine {
            return Err(complaint(
                "the name of the folder is that of the component: write it in small letters, digits and `-`, \
                 with a letter first, such as my-guest",
            ));
        }
        Ok(NewConfig {
            name: name.to_owned(),
            lang: lang.to_string(),
            kind: kind.to_string(),
            wasi: wasi.map(|wasi| wasi.to_string()),
            folder,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The component, a .wasm or .wat file
    #[arg(value_name = "APP.wasm")]
    app: PathBuf,
}

impl InitArgs {
    pub(super) fn checked(self) -> InitConfig {
        InitConfig { name: super::serve::component_name(&self.app), app: self.app }
    }
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// A folder with a dev.toml, which says how it is built (host new writes one). Or a component or a
    /// manifest: then nothing is built, and a file that changes is reloaded
    #[arg(value_name = "FOLDER", default_value = ".")]
    app: PathBuf,

    /// What `host serve` takes, such as: -- --addr 127.0.0.1:9000
    #[arg(last = true, value_name = "FLAGS OF SERVE")]
    flags: Vec<OsString>,
}

impl DevArgs {
    pub(super) fn checked(self) -> DevConfig {
        DevConfig { app: self.app, flags: self.flags }
    }
}
