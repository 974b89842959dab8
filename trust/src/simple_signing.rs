//! What cosign signs of an image in a registry: a small JSON that names it.
//!
//! ```json
//! {"critical": {"identity": {"docker-reference": "ghcr.io/shop/cart"},
//!               "image": {"docker-manifest-digest": "sha256:…"},
//!               "type": "cosign container image signature"},
//!  "optional": null}
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::error::Untrusted;
use crate::private_key::{NoSignature, PrivateKey};
use crate::signature::DetachedSignature;

const TYPE: &str = "cosign container image signature";

/// Where Docker Hub is reached, and how cosign and others write it.
const DOCKER_HUB: [&str; 4] =
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// An image in a registry: what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageIdentity<'a> {
    /// The repository, with its registry and without a tag: `ghcr.io/shop/cart`.
    pub repository: &'a str,
    /// The digest of the manifest: `sha256:` and 64 digits in lower case.
    pub digest: &'a str,
}

/// A signature of an image, as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSignature {
    /// The bytes that are signed, to the byte.
    pub payload: Vec<u8>,
    /// The signature in base64, of the annotation `dev.cosignproject.cosign/signature`.
    pub signature: String,
}

impl ImageSignature {
    /// Signs an image.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn sign(key: &PrivateKey, image: ImageIdentity<'_>) -> Result<Self, NoSignature> {
        let payload = payload(image);
        let signature = DetachedSignature::sign_blob(key, &payload)?.to_base64();
        Ok(Self { payload, signature })
    }

    /// What the payload says. It is worth something only if a key that is trusted has signed it.
    pub(crate) fn claim(&self) -> Result<SignedClaim, Untrusted> {
        let other = || Untrusted::Malformed { why: "what is signed is not the JSON of cosign" };
        // Not by types of its own: the code for them would be many times of this.
        let payload: Value = serde_json::from_slice(&self.payload).map_err(|_| other())?;
        let text = |place| payload.pointer(place).and_then(Value::as_str).ok_or_else(other);
        if text("/critical/type")? != TYPE {
            return Err(Untrusted::Malformed { why: "what is signed is not an image" });
        }
        let repository = text("/critical/identity/docker-reference")?.to_owned();
        let digest = text("/critical/image/docker-manifest-digest")?.to_owned();
        Ok(SignedClaim { repository, digest })
    }
}

/// What a payload says is signed.
#[derive(Debug)]
pub(crate) struct SignedClaim {
    pub(crate) repository: String,
    pub(crate) digest: String,
}

impl SignedClaim {
    pub(crate) fn is_of(&self, image: ImageIdentity<'_>) -> bool {
        self.digest == image.digest && same_repository(&self.repository, image.repository)
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    critical: Critical<'a>,
    optional: (),
}

#[derive(Serialize)]
struct Critical<'a> {
    identity: SignedIdentity<'a>,
    image: SignedImage<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct SignedIdentity<'a> {
    #[serde(rename = "docker-reference")]
    reference: &'a str,
}

#[derive(Serialize)]
struct SignedImage<'a> {
    #[serde(rename = "docker-manifest-digest")]
    digest: &'a str,
}

fn payload(image: ImageIdentity<'_>) -> Vec<u8> {
    let critical = Critical {
        identity: SignedIdentity { reference: image.repository },
        image: SignedImage { digest: image.digest },
        kind: TYPE,
    };
    // A struct of texts has no key that JSON cannot write.
    serde_json::to_vec(&Payload { critical, optional: () }).unwrap_or_default()
}

/// Whether two references name one repository. A tag or a digest behind it counts for nothing, since the signature
/// names the digest itself; the registry is compared without regard to case, the path exactly; the names of Docker Hub
/// are one, with or without `library/`. Anything else is another repository: also a mirror of this one, and another
/// port.
#[must_use]
pub fn same_repository(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

fn normal(reference: &str) -> (String, &str) {
    let (name, _digest) = reference.split_once('@').unwrap_or((reference, ""));
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => ("docker.io", name),
    };
    let path = path.split_once(':').map_or(path, |(path, _tag)| path);
    let registry = registry.to_ascii_lowercase();
    if DOCKER_HUB.contains(&registry.as_str()) {
        return ("docker.io".into(), path.strip_prefix("library/").unwrap_or(path));
    }
    (registry, path)
}
