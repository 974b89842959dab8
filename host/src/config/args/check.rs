//! `host check`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::operating::CacheArgs;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The component, a .wasm or .wat file, or the manifest, a .toml file
    #[arg(value_name = "APP.wasm|host.toml")]
    app: PathBuf,

    /// Print one document of JSON, also when something is refused (docs/manifest.md) [default: off]
    #[arg(long)]
    pub(super) json: bool,

    /// Exit with 1 if all would serve and there is a warning [default: off]
    #[arg(long)]
    pub(super) strict: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

impl CheckArgs {
    /// The command line of the start that is checked.
    pub(super) fn serve_line(self) -> Vec<OsString> {
        let Self { app, cache, .. } = self;
        let mut line = vec![OsString::from("host"), "serve".into()];
        if cache.no_cache {
            line.push("--no-cache".into());
        }
        if let Some(directory) = cache.cache_dir {
            line.extend(["--cache-dir".into(), directory.into()]);
        }
        line.extend(["--".into(), app.into()]);
        line
    }
}
