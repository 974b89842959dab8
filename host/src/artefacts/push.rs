//! `host push`: a component into a registry.

use std::fs;

use anyhow::Context as _;
use host_registry::{ComponentInterfaces, ComponentToPush, RegistrySignature};
use host_trust::{ImageIdentity, ImageSignature};

use super::{carry_out, client, image, private_key};
use crate::cgroup;
use crate::component::{FileSizeLimit, survey_file};
use crate::config::PushConfig;
use crate::exit::Exit;
use crate::supply::RegistryAccesses;

/// Pushes a component, and signs it if there is a key.
#[must_use]
pub fn run(ask: &PushConfig) -> Exit {
    carry_out("host push", push(ask))
}

async fn push(ask: &PushConfig) -> anyhow::Result<String> {
    let PushConfig { app, to, annotations, key, registry } = ask;
    let to = image(to)?;
    // Before anything is sent.
    let key = key.as_deref().map(private_key).transpose()?;
    let largest = FileSizeLimit::new(u64::MAX, cgroup::memory_limit());
    let (kind, survey) = survey_file(app, largest)?;
    let bytes = fs::read(app).with_context(|| format!("cannot read {}", app.display()))?;
    let mut annotations = annotations.clone();
    annotations.entry("wasm.world".to_owned()).or_insert_with(|| kind.to_string());
    let component = ComponentToPush {
        bytes: bytes.into(),
        annotations,
        interfaces: Some(ComponentInterfaces { exports: survey.exports, imports: survey.imports }),
    };
    let accesses = RegistryAccesses::read(registry).map_err(anyhow::Error::msg)?;
    let (client, source) = (client(), host_registry::Reference::Oci(to.clone()));
    let access = accesses.to(&source).map_err(anyhow::Error::msg)?;
    let digest = client.push(&component, &to, &access).await?;
    if let Some(key) = key {
        let (repository, text) = (to.identity(), digest.to_string());
        let identity = ImageIdentity { repository: &repository, digest: &text };
        let ImageSignature { payload, signature } = ImageSignature::sign(&key, identity)?;
        let signature = RegistrySignature { payload, signature };
        client.add_signature(&to, digest, signature, &access).await?;
    }
    Ok(format!("{}\n", host_registry::Reference::Oci(to.pinned(digest))))
}
