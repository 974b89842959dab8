//! Private keys as `cosign generate-key-pair` writes them: PKCS#8 in a box of NaCl, whose key is made of a passphrase
//! by scrypt, described in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305};
use scrypt::Params;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::KeyProblem;

const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// cosign has 32,768 · 8 · 1. What a file asks for is memory (128 · N · r bytes) and time: here at most 128 MiB, and
/// 16 times of what cosign asks for.
const LARGEST_MEMORY: u64 = 128 * 1024 * 1024;
const LARGEST_WORK: u64 = 16 * 32_768 * 8;

#[derive(Deserialize)]
struct Envelope {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    salt: String,
}

#[derive(Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Whether a section of PEM with this label is such a key.
pub(crate) fn is_label(label: &str) -> bool {
    LABELS.contains(&label)
}

/// The PKCS#8 in a section. Takes a tenth of a second.
pub(crate) fn open(
    section: &[u8],
    passphrase: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let envelope: Envelope =
        serde_json::from_slice(section).map_err(|_| form("its JSON is of another form"))?;
    if envelope.kdf.name != "scrypt" {
        return Err(form("its key is not made by scrypt"));
    }
    if envelope.cipher.name != "nacl/secretbox" {
        return Err(form("its cipher is not nacl/secretbox"));
    }
    let salt = decode(&envelope.kdf.salt)?;
    let nonce: [u8; 24] = decode(&envelope.cipher.nonce)?
        .try_into()
        .map_err(|_| form("its nonce has not 24 bytes"))?;
    let boxed = decode(&envelope.ciphertext)?;
    let params = params(&envelope.kdf.params)?;
    let passphrase = passphrase.ok_or(KeyProblem::NoPassphrase)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut *key)
        .map_err(|_| form("the numbers of its scrypt"))?;
    XSalsa20Poly1305::new((&*key).into())
        .decrypt(&Nonce::from(nonce), &*boxed)
        .map(Zeroizing::new)
        .map_err(|_| KeyProblem::WrongPassphrase)
}

fn params(asked: &ScryptParams) -> Result<Params, KeyProblem> {
    let ScryptParams { n, r, p } = *asked;
    let blocks = n.saturating_mul(u64::from(r));
    let too_much = blocks.saturating_mul(128) > LARGEST_MEMORY
        || blocks.saturating_mul(u64::from(p)) > LARGEST_WORK;
    if n < 2 || !n.is_power_of_two() || too_much {
        return Err(form("the numbers of its scrypt"));
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| form("the numbers of its scrypt"))?;
    Params::new(log_n, r, p, 32).map_err(|_| form("the numbers of its scrypt"))
}

fn decode(text: &str) -> Result<Vec<u8>, KeyProblem> {
    BASE64.decode(text).map_err(|_| form("what it holds is not base64"))
}

fn form(form: &'static str) -> KeyProblem {
    KeyProblem::CosignForm { form }
}
