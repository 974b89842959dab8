//! What is built and served: `dev.toml`, and what it names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::{Context as _, bail, ensure};
use host_log::outlet;
use serde::Deserialize;
use tokio::time::Instant;

use super::changes::Files;

/// `dev.toml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct DevFile {
    /// The command that builds, and its arguments. Runs in the folder of the file.
    build: Vec<String>,
    /// The component that it builds, relative to the file. Served where there is no host.toml.
    component: PathBuf,
    /// Files and folders: when one changes, it is built again.
    watch: Vec<PathBuf>,
}

/// What `host dev` works on.
#[derive(Debug)]
pub(super) struct Project {
    directory: PathBuf,
    /// Nothing is built without.
    file: Option<DevFile>,
    /// The manifest, or the component.
    served: PathBuf,
}

impl Project {
    /// A folder with a dev.toml, or what `host serve` takes.
    pub(super) fn open(app: &Path) -> anyhow::Result<Self> {
        let meta = fs::metadata(app).with_context(|| format!("cannot read {}", app.display()))?;
        if !meta.is_dir() {
            return Ok(Self { directory: PathBuf::new(), file: None, served: app.to_owned() });
        }
        let path = app.join("dev.toml");
        let text = fs::read_to_string(&path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => anyhow::anyhow!(
                "{} has no dev.toml, which says how it is built: `host new` writes one; or name a \
                 component or a manifest",
                app.display()
            ),
            _ => anyhow::anyhow!("cannot read {}: {why}", path.display()),
        })?;
        let file: DevFile =
            toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        ensure!(!file.build.is_empty(), "{}: build has no command in it", path.display());
        let manifest = app.join("host.toml");
        let served = if manifest.exists() { manifest } else { app.join(&file.component) };
        Ok(Self { directory: app.to_owned(), file: Some(file), served })
    }

    /// The command line that serves it, and says what its author wants to see.
    pub(super) fn serve_line(&self, flags: &[OsString]) -> Vec<OsString> {
        let mut line: Vec<OsString> = ["host", "serve"].map(Into::into).into();
        // What an author gives comes last, and wins.
        let said = |flag: &str| flags.iter().any(|it| it.to_string_lossy().starts_with(flag));
        for (flag, value) in [("--access-log", "stderr"), ("--access-log-format", "combined")] {
            if !said(flag) {
                line.extend([flag.into(), value.into()]);
            }
        }
        if self.file.is_none() && !said("--watch") {
            line.push("--watch".into());
        }
        line.extend(flags.iter().cloned());
        line.extend(["--".into(), self.served.clone().into()]);
        line
    }

    /// Whether there is something to build.
    pub(super) fn is_built(&self) -> bool {
        self.file.is_some()
    }

    /// The files as they are now: what it is built from, and the manifest.
    pub(super) fn files(&self) -> anyhow::Result<(Files, Files)> {
        let Some(file) = &self.file else { return Ok(Default::default()) };
        let watched = file.watch.iter().map(|path| self.directory.join(path));
        Ok((Files::below(watched)?, Files::below([self.served.clone()])?))
    }

    /// Builds it, and says how that went. What the command prints goes where ours goes.
    pub(super) fn build(&self) -> bool {
        let Some(DevFile { build, .. }) = &self.file else { return true };
        let started = Instant::now();
        outlet::complain(&format!("dev: {}", build.join(" ")));
        match self.run(build) {
            Ok(()) => {
                outlet::complain(&format!("dev: built in {:.1?}", started.elapsed()));
                true
            }
            Err(why) => {
                outlet::complain(&format!("dev: {why:#}; the next change builds again"));
                false
            }
        }
    }

    fn run(&self, build: &[String]) -> anyhow::Result<()> {
        let [program, arguments @ ..] = build else { bail!("there is no command to build with") };
        let mut command = Command::new(program);
        // Stdout has the ready line and nothing else.
        command.args(arguments).stdin(Stdio::null()).stdout(io::stderr());
        if !self.directory.as_os_str().is_empty() {
            command.current_dir(&self.directory);
        }
        let status = command.status().with_context(|| format!("cannot run `{program}`"))?;
        ensure!(status.success(), "the build failed ({status})");
        Ok(())
    }
}
