//! Keys that sign.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use x509_parser::asn1_rs::{Err, Error, FromDer as _, Sequence};
use x509_parser::x509::AlgorithmIdentifier;

use crate::cosign_key;
use crate::error::{KeyError, KeyProblem};
use crate::key_name::KeyName;
use crate::pem::{self, PRIVATE};
use crate::public_key::{KeyKind, PublicKey};

/// A key that signs. Its numbers are in no `Debug` and in no error.
pub struct PrivateKey {
    name: KeyName,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl PrivateKey {
    /// The key of a file in PEM: PKCS#8 that is not encrypted, or what `cosign generate-key-pair` writes, which takes
    /// a passphrase.
    ///
    /// # Errors
    /// If the text has anything else in it, a key of another kind, or one that the passphrase does not open.
    pub fn from_pem(
        name: &KeyName,
        text: &[u8],
        passphrase: Option<&str>,
    ) -> Result<Self, KeyError> {
        read(text, passphrase)
            .map(|pair| Self { name: name.clone(), pair })
            .map_err(|problem| KeyError { name: name.clone(), problem })
    }

    /// The key that its signatures are checked against.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let (kind, point) = match &self.pair {
            Pair::Ed25519(pair) => (KeyKind::Ed25519, pair.public_key().as_ref()),
            Pair::P256(pair) => (KeyKind::P256, pair.public_key().as_ref()),
        };
        PublicKey::new(self.name.clone(), kind, point)
    }

    /// A signature of these bytes. ECDSA takes their SHA-256, Ed25519 the bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, NoSignature> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), bytes).map_err(|_| NoSignature)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// The system has given no random numbers, which a signature of ECDSA takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was signed: the system gives no random numbers; try again")]
pub struct NoSignature;

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, of {:?})", self.name, self.public_key())
    }
}

fn read(text: &[u8], passphrase: Option<&str>) -> Result<Pair, KeyProblem> {
    let section = pem::only(text, PRIVATE)?;
    match section.label.as_str() {
        PRIVATE => pair(&section.contents),
        label if cosign_key::is_label(label) => {
            pair(&cosign_key::open(&section.contents, passphrase)?)
        }
        _ => Err(pem::other(section.label, PRIVATE)),
    }
}

/// The pair that PKCS#8 holds.
fn pair(der: &[u8]) -> Result<Pair, KeyProblem> {
    let kind = KeyKind::of(&algorithm(der).ok_or(KeyProblem::NotDer)?)?;
    let read = match kind {
        // openssl leaves the public half out; ring computes it then.
        KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519),
        KeyKind::P256 => {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random).map(Pair::P256)
        }
    };
    read.map_err(|_| KeyProblem::Numbers { kind: kind.name() })
}

/// What PKCS#8 says that it holds: a version, then the algorithm.
fn algorithm(der: &[u8]) -> Option<AlgorithmIdentifier<'_>> {
    let head = |inside| {
        let (rest, _version) = u8::from_der(inside).map_err(|_| NOT_DER)?;
        AlgorithmIdentifier::from_der(rest).map_err(|_| NOT_DER)
    };
    Sequence::from_der_and_then(der, head).ok().map(|(_, algorithm)| algorithm)
}

const NOT_DER: Err<Error> = Err::Error(Error::InvalidTag);
