//! Which keys are trusted, and whether one of them vouches for what is here.

use crate::error::Untrusted;
use crate::key_name::KeyName;
use crate::public_key::PublicKey;
use crate::signature::DetachedSignature;
use crate::simple_signing::{ImageIdentity, ImageSignature};

/// Which keys are trusted, and whether a signature by one of them is required.
#[derive(Clone, Debug, Default)]
pub struct TrustPolicy {
    keys: Vec<PublicKey>,
    require: bool,
}

/// What a check that has passed says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// A key that is trusted has signed it.
    By(KeyName),
    /// No key that is trusted has, and none has to.
    Nobody(Untrusted),
}

impl TrustPolicy {
    /// A policy. Without `require` a signature is looked at and may be missing or wrong: whoever could alter what is
    /// signed could remove the signature too.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, require: bool) -> Self {
        Self { keys, require }
    }

    /// Whether a signature is required.
    #[must_use]
    pub fn requires(&self) -> bool {
        self.require
    }

    /// The keys that are trusted.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Checks an image against the signatures that its registry has of it. One that is right is enough.
    ///
    /// # Errors
    /// If a signature is required and none is right: why the one that is nearest to it is not.
    pub fn verify(
        &self,
        image: ImageIdentity<'_>,
        signatures: &[ImageSignature],
    ) -> Result<Vouched, Untrusted> {
        let mut nearest: Option<Untrusted> = None;
        for signature in signatures {
            match self.image_signer(image, signature) {
                Ok(key) => return Ok(Vouched::By(key.clone())),
                Err(why) if nearest.as_ref().is_none_or(|old| rank(&why) > rank(old)) => {
                    nearest = Some(why);
                }
                Err(_) => {}
            }
        }
        self.without(nearest.unwrap_or_else(|| self.unsigned()))
    }

    /// Checks the bytes of a file against the signature that stands beside it: its text, if there is one.
    ///
    /// # Errors
    /// If a signature is required, and this is none by a key that is trusted.
    pub fn verify_blob(
        &self,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<Vouched, Untrusted> {
        let Some(text) = signature else { return self.without(self.unsigned()) };
        let checked = DetachedSignature::from_base64(text).and_then(|signature| {
            let signer = self.signer(bytes, &signature);
            signer.ok_or_else(|| Untrusted::OtherKeyOrAltered { keys: self.named() })
        });
        match checked {
            Ok(key) => Ok(Vouched::By(key.clone())),
            Err(why) => self.without(why),
        }
    }

    fn without(&self, why: Untrusted) -> Result<Vouched, Untrusted> {
        match (self.require, self.keys.is_empty()) {
            (false, _) => Ok(Vouched::Nobody(why)),
            (true, true) => Err(Untrusted::NoKeys),
            (true, false) => Err(why),
        }
    }

    /// The key that has signed this image for this repository.
    fn image_signer(
        &self,
        image: ImageIdentity<'_>,
        signature: &ImageSignature,
    ) -> Result<&KeyName, Untrusted> {
        let numbers = DetachedSignature::from_base64(signature.signature.as_bytes())?;
        let signer = self.signer(&signature.payload, &numbers);
        let claim = signature.claim()?;
        match signer {
            Some(key) if claim.is_of(image) => Ok(key),
            Some(key) if claim.digest != image.digest => Err(Untrusted::OtherDigest {
                key: key.clone(),
                signed: claim.digest,
                found: image.digest.to_owned(),
            }),
            Some(key) => Err(Untrusted::OtherRepository {
                key: key.clone(),
                signed: claim.repository,
                found: image.repository.to_owned(),
            }),
            None if claim.is_of(image) => Err(Untrusted::OtherKey { keys: self.named() }),
            None => Err(Untrusted::OtherKeyOrAltered { keys: self.named() }),
        }
    }

    fn signer(&self, bytes: &[u8], signature: &DetachedSignature) -> Option<&KeyName> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.has_signed(bytes, signature.bytes())).map(PublicKey::name)
    }

    fn unsigned(&self) -> Untrusted {
        Untrusted::Unsigned { keys: self.named() }
    }

    /// The keys, for a sentence.
    fn named(&self) -> String {
        let names: Vec<&str> = self.keys.iter().map(|key| key.name().as_str()).collect();
        match names.as_slice() {
            [] => "a key that is trusted (none is named)".into(),
            names => names.join(" or "),
        }
    }
}

/// How much a reason says: of several signatures the one that comes nearest is told.
fn rank(why: &Untrusted) -> u8 {
    match why {
        Untrusted::OtherRepository { .. } => 4,
        Untrusted::OtherDigest { .. } => 3,
        Untrusted::OtherKey { .. } => 2,
        Untrusted::OtherKeyOrAltered { .. } => 1,
        Untrusted::Unsigned { .. } | Untrusted::Malformed { .. } | Untrusted::NoKeys => 0,
    }
}
