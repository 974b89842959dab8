//! Commands for authors: `host init` and `host dev`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::super::checked::{DevConfig, InitConfig};

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
