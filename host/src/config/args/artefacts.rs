//! Commands for components as artefacts: `host lock`, `host push`, `host sign` and `host verify`.

use std::path::PathBuf;

use clap::Args;
use host_manifest::{Grammar, LoadContext, PairFlag, RegistryConfig, is_remote};

use super::super::checked::{LockConfig, PushConfig, SignConfig, VerifyConfig};
use super::super::file::read;
use super::complaint::complaint;
use super::serve::check_remote;

/// How registries are spoken to, for commands without a manifest.
#[derive(Clone, Debug, Args)]
struct RegistryArgs {
    /// Certificates of an authority that vouches for the registry, beside those of the system: a file in PEM
    #[arg(long = "authority", value_name = "CA.pem")]
    authorities: Vec<PathBuf>,

    /// Docker's file with credentials [default: that of the user]
    #[arg(long, value_name = "config.json")]
    docker_config: Option<PathBuf>,
}

impl RegistryArgs {
    fn checked(self) -> RegistryConfig {
        let Self { authorities, docker_config } = self;
        RegistryConfig { authorities, docker_config, ..RegistryConfig::default() }
    }
}

#[derive(Debug, Args)]
pub(super) struct LockArgs {
    /// The manifest
    #[arg(value_name = "host.toml", default_value = "host.toml")]
    manifest: PathBuf,
}

impl LockArgs {
    pub(super) fn checked(self, grammar: &Grammar) -> Result<LockConfig, clap::Error> {
        let context = LoadContext { check_remote, ..LoadContext::default() };
        let manifest = read(&self.manifest, grammar, &context);
        let manifest = manifest.map_err(|why| complaint(&why.to_string()))?;
        let remote = manifest.components.values().filter_map(|it| it.remote.clone());
        Ok(LockConfig { sources: remote.collect(), registry: manifest.registry })
    }
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The component, a .wasm file
    #[arg(value_name = "APP.wasm")]
    app: PathBuf,

    /// Where it goes: oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "oci://…")]
    to: String,

    /// Say something of it in its manifest, such as org.opencontainers.image.source=https://…
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    annotations: Vec<PairFlag>,

    /// Sign it with this private key, as `host sign` does
    #[arg(long, value_name = "KEY.pem")]
    key: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,
}

impl PushArgs {
    pub(super) fn checked(self) -> Result<PushConfig, clap::Error> {
        let Self { app, to, annotations, key, registry } = self;
        if !to.starts_with("oci://") {
            return Err(complaint("write where it goes as oci://REGISTRY/REPOSITORY:TAG"));
        }
        check_remote(&to).map_err(|why| complaint(&why))?;
        let annotation = |PairFlag { name, value }| (name, value.unwrap_or_default());
        let annotations = annotations.into_iter().map(annotation).collect();
        Ok(PushConfig { app, to, annotations, key, registry: registry.checked() })
    }
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// A component: a file, whose signature is written beside it as FILE.sig; or an image that has been pushed,
    /// oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "APP.wasm|oci://…")]
    what: String,

    /// The private key, Ed25519 or ECDSA P-256, PKCS#8 in PEM; or one of cosign, with COSIGN_PASSWORD
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,

    #[command(flatten)]
    registry: RegistryArgs,
}

impl SignArgs {
    pub(super) fn checked(self) -> Result<SignConfig, clap::Error> {
        let Self { what, key, registry } = self;
        checked_source(&what)?;
        Ok(SignConfig { what, key, registry: registry.checked() })
    }
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A component: a file with FILE.sig beside it, or an image, oci://REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "APP.wasm|oci://…")]
    what: String,

    /// A public key, Ed25519 or ECDSA P-256, in PEM. One of several is enough
    #[arg(long = "key", value_name = "KEY.pub", required = true)]
    keys: Vec<PathBuf>,

    #[command(flatten)]
    registry: RegistryArgs,
}

impl VerifyArgs {
    pub(super) fn checked(self) -> Result<VerifyConfig, clap::Error> {
        let Self { what, keys, registry } = self;
        checked_source(&what)?;
        Ok(VerifyConfig { what, keys, registry: registry.checked() })
    }
}

fn checked_source(what: &str) -> Result<(), clap::Error> {
    match is_remote(what) {
        true => check_remote(what).map_err(|why| complaint(&why)),
        false => Ok(()),
    }
}
