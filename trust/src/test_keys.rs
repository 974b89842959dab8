//! Keys for tests: made here, or by other programs (`fixtures/`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use crate::{KeyName, PrivateKey, PublicKey, TrustPolicy};

/// Made with Python's hashlib.scrypt and PyNaCl, which cosign's form is made of; its passphrase is PASSPHRASE.
pub(crate) const COSIGN_KEY: &str = include_str!("fixtures/cosign.key");
pub(crate) const COSIGN_PUB: &str = include_str!("fixtures/cosign.pub");
pub(crate) const PASSPHRASE: &str = "correct horse";

pub(crate) const P384_PUB: &str = include_str!("fixtures/p384.pub");
pub(crate) const P384_KEY: &str = include_str!("fixtures/p384.key");
pub(crate) const RSA_PUB: &str = include_str!("fixtures/rsa.pub");

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

pub(crate) fn private(name: &str, text: &str) -> PrivateKey {
    PrivateKey::from_pem(&KeyName::new(name), text.as_bytes(), None).unwrap()
}

pub(crate) fn ed25519(name: &str) -> PrivateKey {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    private(name, &pem("PRIVATE KEY", der.as_ref()))
}

pub(crate) fn p256(name: &str) -> PrivateKey {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    private(name, &pem("PRIVATE KEY", der.as_ref()))
}

pub(crate) fn public(name: &str, text: &str) -> Result<PublicKey, String> {
    PublicKey::from_pem(&KeyName::new(name), text.as_bytes()).map_err(|error| error.to_string())
}

pub(crate) fn trusting(keys: &[&PrivateKey]) -> TrustPolicy {
    TrustPolicy::new(keys.iter().map(|key| key.public_key()).collect(), true)
}
