//! Keys that are trusted.

use std::fmt;

use ring::digest::{self, SHA256};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, oid};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::error::{KeyError, KeyProblem};
use crate::key_name::KeyName;
use crate::pem::{self, PUBLIC};

/// A point of P-256 that is not compressed: its two numbers behind a 4.
const P256_POINT: usize = 65;
const UNCOMPRESSED: u8 = 4;
const ED25519_POINT: usize = 32;

/// The kinds of keys that are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ed25519,
    P256,
}

impl KeyKind {
    /// The kind that an algorithm is of.
    pub(crate) fn of(algorithm: &AlgorithmIdentifier<'_>) -> Result<Self, KeyProblem> {
        let named = &algorithm.algorithm;
        if *named == oid!(1.3.101.112) {
            return Ok(Self::Ed25519);
        }
        if *named == oid!(1.2.840.10045.2.1) {
            return Self::of_curve(algorithm.parameters.as_ref());
        }
        let found = match named {
            rsa if *rsa == oid!(1.2.840.113549.1.1.1) => "a key of RSA",
            ed448 if *ed448 == oid!(1.3.101.113) => "a key of Ed448",
            x25519 if *x25519 == oid!(1.3.101.110) => "a key of X25519, which signs nothing",
            _ => "a key of another algorithm",
        };
        Err(KeyProblem::Kind { found })
    }

    fn of_curve(parameters: Option<&Any<'_>>) -> Result<Self, KeyProblem> {
        let named = parameters.and_then(|any| Oid::try_from(any.clone()).ok());
        let Some(curve) = named else {
            return Err(KeyProblem::Kind { found: "a key of a curve that is not named" });
        };
        if curve == oid!(1.2.840.10045.3.1.7) {
            return Ok(Self::P256);
        }
        let found = match &curve {
            p384 if *p384 == oid!(1.3.132.0.34) => "a key of P-384",
            p521 if *p521 == oid!(1.3.132.0.35) => "a key of P-521",
            k256 if *k256 == oid!(1.3.132.0.10) => "a key of secp256k1",
            _ => "a key of another curve",
        };
        Err(KeyProblem::Kind { found })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "P-256",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
        }
    }

    fn is_point(self, point: &[u8]) -> bool {
        match self {
            Self::Ed25519 => point.len() == ED25519_POINT,
            Self::P256 => point.len() == P256_POINT && point.first() == Some(&UNCOMPRESSED),
        }
    }
}

/// A key that signatures are checked against: Ed25519, or ECDSA with P-256 and SHA-256.
#[derive(Clone)]
pub struct PublicKey {
    name: KeyName,
    kind: KeyKind,
    point: Vec<u8>,
}

impl PublicKey {
    /// The key of a file in PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// If the text has anything else in it, or a key of another kind.
    pub fn from_pem(name: &KeyName, text: &[u8]) -> Result<Self, KeyError> {
        Self::read(name, text).map_err(|problem| KeyError { name: name.clone(), problem })
    }

    fn read(name: &KeyName, text: &[u8]) -> Result<Self, KeyProblem> {
        let section = pem::only(text, PUBLIC)?;
        if section.label != PUBLIC {
            return Err(pem::other(section.label, PUBLIC));
        }
        let Ok((rest, info)) = SubjectPublicKeyInfo::from_der(&section.contents) else {
            return Err(KeyProblem::NotDer);
        };
        let kind = KeyKind::of(&info.algorithm)?;
        let point = &*info.subject_public_key.data;
        if !rest.is_empty() || !kind.is_point(point) {
            return Err(KeyProblem::Numbers { kind: kind.name() });
        }
        Ok(Self::new(name.clone(), kind, point))
    }

    pub(crate) fn new(name: KeyName, kind: KeyKind, point: &[u8]) -> Self {
        Self { name, kind, point: point.to_vec() }
    }

    /// What the operator calls it.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The beginning of the SHA-256 of its numbers: enough to see whether two keys are the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&SHA256, &self.point);
        digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this key has made a signature of these bytes.
    pub(crate) fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.kind.verification(), &self.point)
            .verify(bytes, signature)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {}, {})", self.name, self.kind.name(), self.fingerprint())
    }
}
