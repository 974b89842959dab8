//! Why a key cannot be used, and why something is not trusted.

use thiserror::Error;

use crate::key_name::KeyName;

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the key {name} cannot be used: {problem}")]
pub struct KeyError {
    /// The key, as the caller has named it.
    pub name: KeyName,
    /// What is wrong with it, and what to do.
    pub problem: KeyProblem,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// There is no section of PEM in it.
    #[error("it is not in PEM; it needs a section that begins with -----BEGIN {wanted}-----")]
    NotPem {
        /// The label of what is wanted.
        wanted: &'static str,
    },
    /// There is a section, but it is damaged.
    #[error("its PEM {form}; write it anew, or copy it whole")]
    DamagedPem {
        /// What is wrong with it.
        form: &'static str,
    },
    /// It is something else.
    #[error("it has a section {found:?} where {wanted:?} is wanted; {advice}")]
    OtherSection {
        /// The label that it has.
        found: String,
        /// The label of what is wanted.
        wanted: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// There is more than one section.
    #[error("it has more than one section; name each key in a file of its own")]
    Several,
    /// What the section holds is no key.
    #[error("its section holds no key in DER; write it anew (openssl genpkey -algorithm ed25519)")]
    NotDer,
    /// The key is of a kind that is not supported.
    #[error(
        "it is {found}, and signatures here are by Ed25519 or ECDSA with P-256; make one with openssl genpkey \
         -algorithm ed25519, or with cosign generate-key-pair"
    )]
    Kind {
        /// What it is.
        found: &'static str,
    },
    /// The numbers of the key are not those of a key.
    #[error("its numbers are not those of a key of {kind}; write it anew, or copy it whole")]
    Numbers {
        /// The kind that it says it is.
        kind: &'static str,
    },
    /// It is encrypted in a form that is not read.
    #[error(
        "it is encrypted in a form that is not read here; write it without a passphrase (openssl pkey -in KEY -out \
         plain.pem) and let nobody else read it"
    )]
    Encrypted,
    /// It is cosign's, and there is no passphrase.
    #[error(
        "it is encrypted by cosign; set COSIGN_PASSWORD to its passphrase (empty, if it has none), or make a key with \
         openssl genpkey -algorithm ed25519"
    )]
    NoPassphrase,
    /// It is cosign's, and the passphrase is not its own.
    #[error(
        "it is encrypted by cosign, and the passphrase (COSIGN_PASSWORD) is not the one of this key"
    )]
    WrongPassphrase,
    /// It is cosign's in a form that is not known.
    #[error(
        "it is encrypted by cosign in a form that is not read here ({form}); make one with openssl genpkey \
         -algorithm ed25519"
    )]
    CosignForm {
        /// What is not known.
        form: &'static str,
    },
}

/// Why something is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// There is no signature.
    #[error("it is not signed; a signature by {keys} is required")]
    Unsigned {
        /// The keys that are trusted.
        keys: String,
    },
    /// No key that is trusted has made a signature of it. Whether somebody else has or whether what was signed was
    /// altered afterwards cannot be told apart: both times the numbers do not fit.
    #[error("it is signed by another key than {keys}, or was altered after it was signed")]
    OtherKeyOrAltered {
        /// The keys that are trusted.
        keys: String,
    },
    /// The signature is of this image as it says itself, and no key that is trusted has made it.
    #[error("it is signed by another key than {keys}, or its signature is damaged")]
    OtherKey {
        /// The keys that are trusted.
        keys: String,
    },
    /// A key that is trusted has signed something else.
    #[error(
        "{key} has signed {signed}, and this is {found}: it was altered, or the signature belongs to another image"
    )]
    OtherDigest {
        /// The key.
        key: KeyName,
        /// The digest that it has signed.
        signed: String,
        /// The digest of what is here.
        found: String,
    },
    /// A key that is trusted has signed this image for another repository.
    #[error(
        "{key} has signed it for the repository {signed}, and it comes from {found}; sign it again for that one"
    )]
    OtherRepository {
        /// The key.
        key: KeyName,
        /// The repository that it has signed.
        signed: String,
        /// Where the image comes from.
        found: String,
    },
    /// The signature is none.
    #[error("its signature cannot be read: {why}; sign it again")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Signatures are required and no key is trusted.
    #[error("signatures are required, and there is no key that is trusted; name one")]
    NoKeys,
}
