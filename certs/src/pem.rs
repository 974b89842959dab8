//! Files in PEM (RFC 7468), read within bounds.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::error::CertificateError;

/// A bundle with all the authorities of the world takes a quarter.
const LARGEST: u64 = 1024 * 1024;

/// The text of a file. It is overwritten in memory when it is dropped, since it may be a key.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    read_file(path).map_err(|why| CertificateError::unreadable(path, &why))
}

fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Opening a pipe could wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    // Large enough from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(size + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All certificates of a file, in its order. At least one.
pub(crate) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .map(|one| one.map(CertificateDer::into_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| not_pem(path, text, &why))?;
    if certificates.is_empty() {
        let has_key = PrivateKeyDer::from_pem_slice(text).is_ok();
        let missing = || CertificateError::NoCertificate { path: path.to_owned(), has_key };
        return Err(form(path, text).unwrap_or_else(missing));
    }
    Ok(certificates)
}

/// The first private key of a file. It is overwritten in memory when it is dropped.
pub(crate) fn key(
    path: &Path,
    text: &[u8],
) -> Result<Zeroizing<PrivateKeyDer<'static>>, CertificateError> {
    if is_encrypted(text) {
        return Err(CertificateError::EncryptedKey { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(text).map(Zeroizing::new).map_err(|why| match why {
        PemError::NoItemsFound => {
            let has_certificate = CertificateDer::from_pem_slice(text).is_ok();
            let missing = || CertificateError::NoKey { path: path.to_owned(), has_certificate };
            form(path, text).unwrap_or_else(missing)
        }
        why => not_pem(path, text, &why),
    })
}

/// PKCS#8 says so in the name of its section, the older forms in a header.
fn is_encrypted(text: &[u8]) -> bool {
    [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| text.windows(mark.len()).any(|part| part == *mark))
}

fn not_pem(path: &Path, text: &[u8], why: &PemError) -> CertificateError {
    if let Some(error) = form(path, text) {
        return error;
    }
    // What the library says would show a line of the file, which may be a key.
    let form = match why {
        PemError::MissingSectionEnd { .. } => "breaks off in the middle of a section",
        _ => "has a section that is no PEM",
    };
    let advice = "write it anew (it may be changing just now)";
    CertificateError::NotPem { path: path.to_owned(), form, advice }
}

/// What a file is that has no section of PEM at all.
fn form(path: &Path, text: &[u8]) -> Option<CertificateError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let (form, advice) = match text {
        [] => ("is empty", "write it anew (it may be changing just now)"),
        // A SEQUENCE with a length of two bytes or one, or with a number in it: keys are short.
        [0x30, 0x81 | 0x82, ..] | [0x30, _, 0x02, ..] => {
            ("is in DER, not in PEM", "convert it with openssl x509 (or openssl pkey) -inform der")
        }
        text if text.windows(BEGIN.len()).any(|part| part == BEGIN) => return None,
        _ => (
            "is not in PEM",
            "it needs a line such as -----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY-----",
        ),
    };
    Some(CertificateError::NotPem { path: path.to_owned(), form, advice })
}
