//! The one section of a file in PEM (RFC 7468) that holds a key.

use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use crate::error::KeyProblem;

/// The label of a public key, of any algorithm.
pub(crate) const PUBLIC: &str = "PUBLIC KEY";

/// The label of a private key in PKCS#8, not encrypted.
pub(crate) const PRIVATE: &str = "PRIVATE KEY";

/// A section. What it holds is overwritten in memory when it is dropped, since it may be a private key.
pub(crate) struct Section {
    pub(crate) label: String,
    pub(crate) contents: Zeroizing<Vec<u8>>,
}

/// The only section of a text. `openssl ecparam` writes its parameters before the key: they are passed over.
pub(crate) fn only(text: &[u8], wanted: &'static str) -> Result<Section, KeyProblem> {
    let mut found = None;
    for section in Pem::iter_from_buffer(text) {
        // What the library says could show a line of the file, which may be a key.
        let Ok(Pem { label, contents }) = section else {
            return Err(KeyProblem::DamagedPem { form: "breaks off, or is not base64" });
        };
        let contents = Zeroizing::new(contents);
        if label == "EC PARAMETERS" {
            continue;
        }
        if found.replace(Section { label, contents }).is_some() {
            return Err(KeyProblem::Several);
        }
    }
    found.ok_or(KeyProblem::NotPem { wanted })
}

/// What a section that is not the wanted one is, and what to do about it.
pub(crate) fn other(found: String, wanted: &'static str) -> KeyProblem {
    let advice = match (found.as_str(), wanted) {
        ("ENCRYPTED PRIVATE KEY", PRIVATE) => return KeyProblem::Encrypted,
        ("EC PRIVATE KEY" | "RSA PRIVATE KEY" | "DSA PRIVATE KEY", PRIVATE) => {
            "write it as PKCS#8 (openssl pkcs8 -topk8 -nocrypt -in KEY -out plain.pem)"
        }
        (PUBLIC | "CERTIFICATE", PRIVATE) => "name the private key that belongs to it",
        ("CERTIFICATE", PUBLIC) => {
            "take the key out of it (openssl x509 -pubkey -noout -in CERTIFICATE)"
        }
        (label, PUBLIC) if label.ends_with("PRIVATE KEY") => {
            "name the public key that belongs to it (openssl pkey -in KEY -pubout, or cosign public-key --key KEY)"
        }
        _ => "name another file",
    };
    KeyProblem::OtherSection { found, wanted, advice }
}
