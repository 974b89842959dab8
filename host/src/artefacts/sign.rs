//! `host sign` and `host verify`: signatures beside files, and of images in registries.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use host_manifest::{TrustConfig, is_remote};
use host_registry::{Reference, RegistrySignature};
use host_trust::{DetachedSignature, ImageIdentity, ImageSignature, TrustPolicy, Vouched};

use super::{carry_out, client, image, private_key};
use crate::config::{SignConfig, VerifyConfig};
use crate::exit::Exit;
use crate::supply::{RegistryAccesses, read_keys, signature_path};

/// Signs a file or an image.
#[must_use]
pub fn sign(ask: &SignConfig) -> Exit {
    carry_out("host sign", async {
        match is_remote(&ask.what) {
            true => sign_image(ask).await,
            false => sign_file(ask),
        }
    })
}

/// Says whose signature a file or an image has. It fails if it has none of these keys.
#[must_use]
pub fn verify(ask: &VerifyConfig) -> Exit {
    carry_out("host verify", async {
        let config = TrustConfig { keys: ask.keys.clone(), require: true };
        let policy = read_keys(&config).map_err(anyhow::Error::msg)?;
        let vouched = match is_remote(&ask.what) {
            true => verify_image(ask, &policy).await?,
            false => verify_file(Path::new(&ask.what), &policy)?,
        };
        match vouched {
            Vouched::By(key) => Ok(format!("{}: signed by {key}\n", ask.what)),
            Vouched::Nobody(why) => bail!("{}: {why}", ask.what),
        }
    })
}

fn sign_file(ask: &SignConfig) -> anyhow::Result<String> {
    let (path, key) = (Path::new(&ask.what), private_key(&ask.key)?);
    let signature = DetachedSignature::sign_blob(&key, &read(path)?)?;
    let beside = signature_path(path);
    let text = format!("{}\n", signature.to_base64());
    fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
    Ok(format!("{}\n", beside.display()))
}

async fn sign_image(ask: &SignConfig) -> anyhow::Result<String> {
    let (image, key) = (image(&ask.what)?, private_key(&ask.key)?);
    let accesses = RegistryAccesses::read(&ask.registry).map_err(anyhow::Error::msg)?;
    let (client, source) = (client(), Reference::Oci(image.clone()));
    let access = accesses.to(&source).map_err(anyhow::Error::msg)?;
    let digest = client.resolve(&source, &access).await?;
    let (repository, text) = (image.identity(), digest.to_string());
    let identity = ImageIdentity { repository: &repository, digest: &text };
    let ImageSignature { payload, signature } = ImageSignature::sign(&key, identity)?;
    let signature = RegistrySignature { payload, signature };
    client.add_signature(&image, digest, signature, &access).await?;
    Ok(format!("{}: signed\n", Reference::Oci(image.pinned(digest))))
}

fn verify_file(path: &Path, policy: &TrustPolicy) -> anyhow::Result<Vouched> {
    let (bytes, beside) = (read(path)?, signature_path(path));
    let signature = beside.exists().then(|| read(&beside)).transpose()?;
    policy
        .verify_blob(&bytes, signature.as_deref())
        .map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
}

async fn verify_image(ask: &VerifyConfig, policy: &TrustPolicy) -> anyhow::Result<Vouched> {
    let image = image(&ask.what)?;
    let accesses = RegistryAccesses::read(&ask.registry).map_err(anyhow::Error::msg)?;
    let (client, source) = (client(), Reference::Oci(image.clone()));
    let access = accesses.to(&source).map_err(anyhow::Error::msg)?;
    let digest = client.resolve(&source, &access).await?;
    let found = client.signatures(&image, digest, &access).await?;
    let signatures: Vec<_> = found
        .into_iter()
        .map(|RegistrySignature { payload, signature }| ImageSignature { payload, signature })
        .collect();
    let (repository, text) = (image.identity(), digest.to_string());
    let identity = ImageIdentity { repository: &repository, digest: &text };
    policy.verify(identity, &signatures).map_err(|why| anyhow::anyhow!("{}: {why}", ask.what))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
