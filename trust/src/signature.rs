//! A signature beside a file: `app.wasm.sig`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::Untrusted;
use crate::private_key::{NoSignature, PrivateKey};

/// The signature of a file, which stands beside it in base64, as `cosign sign-blob --key` writes it. An ECDSA
/// signature is of the SHA-256 of the bytes, one by Ed25519 of the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct DetachedSignature(Vec<u8>);

impl DetachedSignature {
    /// Signs these bytes.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn sign_blob(key: &PrivateKey, bytes: &[u8]) -> Result<Self, NoSignature> {
        key.sign(bytes).map(Self)
    }

    /// The signature that a text holds: one in base64, maybe with white space around it.
    ///
    /// # Errors
    /// If the text holds anything else.
    pub fn from_base64(text: &[u8]) -> Result<Self, Untrusted> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(Untrusted::Malformed { why: "it is empty" });
        }
        BASE64
            .decode(text)
            .map(Self)
            .map_err(|_| Untrusted::Malformed { why: "it is not in base64" })
    }

    /// The text to write beside the file.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DetachedSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DetachedSignature({})", self.to_base64())
    }
}
