//! Private keys as `cosign generate-key-pair` writes them: PKCS#8 in a box of NaCl, whose key is made of a passphrase
//! by scrypt, described in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305};
use scrypt::Params;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::KeyProblem;

const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// cosign has 32,768 · 8 · 1. What a file asks for is memory (128 · N · r bytes) and time: here at most 128 MiB, and
/// 16 times of what cosign asks for.
const LARGEST_MEMORY: u64 = 128 * 1024 * 1024;
const LARGEST_WORK: u64 = 16 * 32_768 * 8;

/// Whether a section of PEM with this label is such a key.
pub(crate) fn is_label(label: &str) -> bool {
    LABELS.contains(&label)
}

/// The PKCS#8 in a section. Takes a tenth of a second.
pub(crate) fn open(
    section: &[u8],
    passphrase: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let other = || form("its JSON is of another form");
    // Not by types of its own: the code for them would be many times of this.
    let envelope: Value = serde_json::from_slice(section).map_err(|_| other())?;
    let text = |place| envelope.pointer(place).and_then(Value::as_str).ok_or_else(other);
    let number = |place| envelope.pointer(place).and_then(Value::as_u64).ok_or_else(other);
    if text("/kdf/name")? != "scrypt" {
        return Err(form("its key is not made by scrypt"));
    }
    if text("/cipher/name")? != "nacl/secretbox" {
        return Err(form("its cipher is not nacl/secretbox"));
    }
    let salt = decode(text("/kdf/salt")?)?;
    let nonce: [u8; 24] = decode(text("/cipher/nonce")?)?
        .try_into()
        .map_err(|_| form("its nonce has not 24 bytes"))?;
    let boxed = decode(text("/ciphertext")?)?;
    let asked = [number("/kdf/params/N")?, number("/kdf/params/r")?, number("/kdf/params/p")?];
    let params = params(asked)?;
    let passphrase = passphrase.ok_or(KeyProblem::NoPassphrase)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut *key)
        .map_err(|_| form("the numbers of its scrypt"))?;
    XSalsa20Poly1305::new((&*key).into())
        .decrypt(&Nonce::from(nonce), &*boxed)
        .map(Zeroizing::new)
        .map_err(|_| KeyProblem::WrongPassphrase)
}

fn params([n, r, p]: [u64; 3]) -> Result<Params, KeyProblem> {
    let numbers = || form("the numbers of its scrypt");
    let blocks = n.saturating_mul(r);
    let too_much =
        blocks.saturating_mul(128) > LARGEST_MEMORY || blocks.saturating_mul(p) > LARGEST_WORK;
    if n < 2 || !n.is_power_of_two() || too_much {
        return Err(numbers());
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| numbers())?;
    let (r, p) = (u32::try_from(r), u32::try_from(p));
    let (Ok(r), Ok(p)) = (r, p) else { return Err(numbers()) };
    Params::new(log_n, r, p, 32).map_err(|_| numbers())
}

fn decode(text: &str) -> Result<Vec<u8>, KeyProblem> {
    BASE64.decode(text).map_err(|_| form("what it holds is not base64"))
}

fn form(form: &'static str) -> KeyProblem {
    KeyProblem::CosignForm { form }
}
