//! Somebody who signs tokens: real keys and signatures, by the `openssl` program.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::app::{Folder, text};
use super::tools::has_with;

/// A key and its name. Its kind is what JOSE calls the algorithm.
#[derive(Debug)]
pub struct SigningKey {
    folder: Folder,
    kind: &'static str,
    kid: &'static str,
}

impl SigningKey {
    /// A new key for `RS256`, `ES256` or `EdDSA`. Without `openssl`, prints a sentence to stdout and returns None.
    pub fn new(kind: &'static str, kid: &'static str) -> Option<Self> {
        let algorithm: &[&str] = match kind {
            "RS256" => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "RS256 of 1024 bits" => &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            "ES256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            _ => &["ED25519"],
        };
        if !has_with("openssl", "version", "openssl") {
            return None;
        }
        let kind = kind.split(' ').next().expect("a name");
        let key = Self { folder: Folder::new(), kind, kid };
        let private = key.file("private.pem");
        openssl(&[&["genpkey", "-out", private.as_str(), "-algorithm"], algorithm].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &key.file("public.pem")]);
        openssl(&["pkey", "-in", &private, "-pubout", "-outform", "DER", "-out", &key.file("der")]);
        Some(key)
    }

    fn file(&self, name: &str) -> String {
        text(&self.folder.join(name)).to_owned()
    }

    /// The public key as PEM.
    pub fn public_pem(&self) -> Vec<u8> {
        fs::read(self.file("public.pem")).expect("it was written")
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> String {
        let der = fs::read(self.file("der")).expect("it was written");
        let end = |from_end: usize, length: usize| {
            let start = der.len() - from_end;
            base64url(&der[start..start + length])
        };
        let kid = self.kid;
        match self.kind {
            // The modulus is a positive number of DER, then come two bytes and 65537.
            "RS256" => {
                let bits = if der.len() > 200 { 256 } else { 128 };
                let n = end(bits + 5, bits);
                format!(
                    "{{\"kty\":\"RSA\",\"kid\":\"{kid}\",\"use\":\"sig\",\"n\":\"{n}\",\"e\":\"AQAB\"}}"
                )
            }
            "ES256" => {
                let (x, y) = (end(64, 32), end(32, 32));
                format!(
                    "{{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"{kid}\",\"x\":\"{x}\",\"y\":\"{y}\"}}"
                )
            }
            _ => {
                let x = end(32, 32);
                format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{kid}\",\"x\":\"{x}\"}}")
            }
        }
    }

    /// A token with these claims, as this key signs them.
    pub fn token(&self, claims: &str) -> String {
        let header = format!("{{\"alg\":\"{}\",\"kid\":\"{}\"}}", self.kind, self.kid);
        self.signed(&header, claims)
    }

    /// The same with this header, whatever it says.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        fs::write(self.file("signed"), &signed).expect("the folder takes files");
        let (private, input, out) =
            (self.file("private.pem"), self.file("signed"), self.file("signature"));
        let sign: &[&str] = match self.kind {
            "EdDSA" => {
                &["pkeyutl", "-sign", "-rawin", "-inkey", &private, "-in", &input, "-out", &out]
            }
            _ => &["dgst", "-sha256", "-sign", &private, "-out", &out, &input],
        };
        openssl(sign);
        let signature = fs::read(&out).expect("it was written");
        let signature = if self.kind == "ES256" { raw(&signature) } else { signature };
        format!("{signed}.{}", base64url(&signature))
    }
}

/// A set of keys.
pub fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// Header and claims as they are signed.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// A token that a secret has signed: HS256.
pub fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = unsigned(header, claims);
    let folder = Folder::new();
    let (input, out) = (folder.join("signed"), folder.join("mac"));
    fs::write(&input, &signed).expect("the folder takes files");
    let mut hex = "hexkey:".to_owned();
    for byte in secret {
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    let key = ["dgst", "-sha256", "-mac", "HMAC", "-macopt", &hex, "-binary", "-out"];
    openssl(&[&key[..], &[text(&out), text(&input)]].concat());
    format!("{signed}.{}", base64url(&fs::read(&out).expect("it was written")))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs()
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output();
    let output = output.expect("openssl runs");
    assert!(output.status.success(), "openssl {args:?}: {output:?}");
}

/// A signature of ECDSA as JOSE has it: two numbers of 32 bytes, in place of a sequence of DER.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let zeroes = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeroes..];
        raw.extend(vec![0; 32 - number.len()]);
        raw.extend(number);
        rest = &rest[2 + length..];
    }
    raw
}

/// Base64 for URLs, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let number = piece.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte));
        let number = number << (8 * (3 - piece.len()));
        for at in 0..=piece.len() {
            text.push(char::from(LETTERS[number >> (18 - 6 * at) & 63]));
        }
    }
    text
}
