//! Why a certificate cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a certificate, its key or the authorities of clients cannot be used: what is wrong with which file, and
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}; name a file that is there and that the host may read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file is in no form that is read here.
    #[error("{} {form}; {advice}", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it is.
        form: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The file has no certificate in it.
    #[error("{} has no certificate in it{}", .path.display(), no_certificate(.has_key))]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// It has a private key in it.
        has_key: bool,
    },
    /// The file has no private key in it.
    #[error("{} has no private key in it{}", .path.display(), no_key(.has_certificate))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// It has a certificate in it.
        has_certificate: bool,
    },
    /// The key needs a passphrase.
    #[error(
        "the key in {path} is encrypted; write it without a passphrase (openssl pkey -in {path} -out plain.key) and \
         let nobody but the host read it", path = .path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that is not supported.
    #[error(
        "the key in {} cannot be used: {why}; use ECDSA with P-256 or P-384, Ed25519, or RSA with 2048 bits or more",
        .path.display()
    )]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// What the library says.
        why: String,
    },
    /// What is in a section is no certificate.
    #[error(
        "certificate {number} in {} cannot be used: {why}; it has to be X.509 of version 3, in one piece",
        .path.display()
    )]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one of the file, counted from 1.
        number: usize,
        /// What the library says.
        why: String,
    },
    /// The key is that of another certificate.
    #[error("{}", mismatch(.cert, .key, .belongs_to))]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The certificate of the file that the key belongs to, counted from 1, if there is one.
        belongs_to: Option<usize>,
    },
    /// The certificate has come to its end.
    #[error("the certificate in {} ended {ended}; renew it", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When, as RFC 3339 has it.
        ended: String,
    },
    /// No client could ask for the certificate.
    #[error(
        "the certificate in {} has no name that a client could ask for; add names = [\"shop.example\"] beside its \
         cert, or make it the first one, which is for all others", .path.display()
    )]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// A certificate among the authorities of clients is that of a client, a server or somebody else.
    #[error(
        "certificate {number} in {} is no authority; name the certificate that has signed those of clients \
         (basicConstraints CA:TRUE)", .path.display()
    )]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// Which one of the file, counted from 1.
        number: usize,
    },
    /// The authorities of clients cannot be used.
    #[error("the authorities in {} cannot be used: {why}", .path.display())]
    BadAuthorities {
        /// The file.
        path: PathBuf,
        /// What the library says.
        why: String,
    },
}

impl CertificateError {
    pub(crate) fn unreadable(path: &Path, why: &io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), why: why.to_string() }
    }
}

fn no_certificate(has_key: &bool) -> &'static str {
    match has_key {
        true => ", but a key; are the files of certificate and key exchanged?",
        false => "; it needs a section -----BEGIN CERTIFICATE-----",
    }
}

fn no_key(has_certificate: &bool) -> &'static str {
    match has_certificate {
        true => ", but a certificate; are the files of certificate and key exchanged?",
        false => "; it needs a section -----BEGIN PRIVATE KEY-----",
    }
}

fn mismatch(cert: &Path, key: &Path, belongs_to: &Option<usize>) -> String {
    let (cert, key) = (cert.display(), key.display());
    match belongs_to {
        Some(number) => format!(
            "the key in {key} belongs to certificate {number} in {cert}, not to the first one; write the server's \
             own certificate first, then those that lead to its authority"
        ),
        None => format!(
            "the key in {key} is not that of the certificate in {cert}; give both of one issue (they may be \
             changing just now)"
        ),
    }
}

/// What is wrong with a certificate of which listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerError {
    /// The listener, as it is called.
    pub listener: String,
    /// The line of the manifest with its certificates, if they stand there.
    pub line: Option<usize>,
    /// What is wrong.
    pub error: CertificateError,
}

impl ListenerError {
    /// The error with its place in the manifest `file`: `host.toml:12: listener public: …`.
    #[must_use]
    pub fn in_file(&self, file: Option<&Path>) -> String {
        match (file, self.line) {
            (Some(file), Some(line)) => format!("{}:{line}: {self}", file.display()),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}: {}", self.listener, self.error)
    }
}

impl std::error::Error for ListenerError {}
