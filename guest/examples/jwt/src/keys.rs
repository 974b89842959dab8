//! Keys of an issuer: RFC 7517. The type of a key decides what it can verify, never the token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature as EdSignature;
use p256::ecdsa::Signature as EcSignature;
use rsa::BoxedUint;
use rsa::pkcs1v15::Signature as RsaSignature;
use rsa::signature::Verifier as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// What a token says of its key.
pub struct Wanted<'a> {
    pub kid: Option<&'a str>,
    pub algorithm: Algorithm,
}

pub enum Found {
    Key(Jwk),
    Unknown,
    /// The token names none of them.
    Several,
}

#[derive(Clone, Deserialize, Serialize)]
pub struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Keys that can verify; others of a set are left out.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

const MOST: usize = 64;

impl Jwks {
    /// The keys of a set, of which there may be none.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let set: Set =
            serde_json::from_slice(text).map_err(|error| format!("no JWK Set: {error}"))?;
        if set.keys.len() > MOST {
            return Err(format!("{} keys; {MOST} at most", set.keys.len()));
        }
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self { keys: keys.filter(|key: &Jwk| key.algorithm().is_some()).collect() })
    }

    /// Keys of the configuration: each of them has to be a good one.
    pub fn given(text: &str) -> Result<Self, String> {
        let keys = Self::read(text.as_bytes()).map_err(|error| format!("config.jwks: {error}"))?;
        if keys.is_empty() {
            return Err("config.jwks has no key for RS256, ES256 or EdDSA".into());
        }
        for key in &keys.keys {
            if key.verifier().is_none() {
                let kid = key.kid.as_deref().unwrap_or_default();
                return Err(format!(
                    "config.jwks: the key {kid:?} is no good public key (RSA has to have 2048 to 4096 bits)"
                ));
            }
        }
        Ok(keys)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn find(&self, wanted: &Wanted) -> Found {
        let fits = |key: &&Jwk| key.algorithm() == Some(wanted.algorithm);
        let mut fitting = self.keys.iter().filter(fits);
        let found = match wanted.kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)),
            None => {
                let first = fitting.next();
                if fitting.next().is_some() {
                    return Found::Several;
                }
                first
            }
        };
        found.map_or(Found::Unknown, |key| Found::Key(key.clone()))
    }
}

enum KeyOf {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Jwk {
    /// The algorithm of a key, if it is there to verify with one that we know.
    fn algorithm(&self) -> Option<Algorithm> {
        let (algorithm, name) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::Rs256, "RS256"),
            ("EC", Some("P-256")) => (Algorithm::Es256, "ES256"),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, "EdDSA"),
            _ => return None,
        };
        // RFC 9864 calls it by the curve.
        let named = self
            .alg
            .as_deref()
            .is_none_or(|alg| alg == name || (algorithm == Algorithm::EdDsa && alg == "Ed25519"));
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        (named && signs && verifies).then_some(algorithm)
    }

    fn verifier(&self) -> Option<KeyOf> {
        let part = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        Some(match self.algorithm()? {
            Algorithm::Rs256 => {
                let (n, e) = (part(&self.n)?, part(&self.e)?);
                let (n, e) = (unsigned(&n, 4096)?, unsigned(&e, 64)?);
                if n.bit_width_vartime() < 2048 {
                    return None;
                }
                KeyOf::Rsa(Box::new(rsa::PublicKey::new(n, e).ok()?))
            }
            Algorithm::Es256 => {
                let (x, y) = (part(&self.x)?, part(&self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                KeyOf::P256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?))
            }
            Algorithm::EdDsa => {
                let x: [u8; 32] = part(&self.x)?.try_into().ok()?;
                KeyOf::Ed25519(Box::new(ed25519_dalek::VerifyingKey::from_bytes(&x).ok()?))
            }
        })
    }

    /// None where the signature is not of this key.
    pub fn verify(&self, signed: &str, signature: &[u8]) -> Option<()> {
        let signed = signed.as_bytes();
        match self.verifier()? {
            KeyOf::Rsa(key) => {
                let signature = RsaSignature::try_from(signature).ok()?;
                rsa::pkcs1v15::VerifyingKey::<Sha256>::new(*key).verify(signed, &signature).ok()
            }
            KeyOf::P256(key) => key.verify(signed, &EcSignature::from_slice(signature).ok()?).ok(),
            KeyOf::Ed25519(key) => {
                key.verify_strict(signed, &EdSignature::from_slice(signature).ok()?).ok()
            }
        }
    }
}

/// A number of at most so many bits, without the zeroes that some write before it.
fn unsigned(bytes: &[u8], bits: u32) -> Option<BoxedUint> {
    let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeroes..];
    BoxedUint::from_be_slice(bytes, bits).ok()
}
