//! Who a client is, by the certificate that it has shown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::rfc4514;

/// What a certificate says of whom it was issued to. The certificate has to be verified: here it is only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject as RFC 4514 writes it, in printable ASCII: `CN=client,O=Example`. Empty if there is none.
    pub subject: String,
    /// Its other names, in the order of the certificate. Those of other kinds, and those with characters that
    /// do not print, are left out.
    pub names: Vec<AlternativeName>,
    /// SHA-256 of the certificate.
    pub sha256: Fingerprint,
}

/// SHA-256 of a certificate in DER. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub(crate) fn of(der: &[u8]) -> Self {
        Self(digest(der))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A name in a certificate beside its subject (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host.
    Dns(String),
    /// A URI, such as `spiffe://cluster/ns/shop`.
    Uri(String),
    /// An address of e-mail.
    Email(String),
    /// An IP address.
    Ip(IpAddr),
}

impl ClientIdentity {
    /// What the certificate, in DER, says. None if it cannot be read.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| &extension.value.general_names);
        Some(Self {
            subject: rfc4514::name(certificate.subject()),
            names: names.into_iter().flatten().filter_map(alternative_name).collect(),
            sha256: Fingerprint::of(der),
        })
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let printable = |text: &str| {
        let prints = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        (prints && !text.is_empty()).then(|| text.to_owned())
    };
    match name {
        GeneralName::DNSName(name) => printable(name).map(AlternativeName::Dns),
        GeneralName::URI(uri) => printable(uri).map(AlternativeName::Uri),
        GeneralName::RFC822Name(address) => printable(address).map(AlternativeName::Email),
        GeneralName::IPAddress(bytes) => ip(bytes).map(AlternativeName::Ip),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(|_| v6()).ok()
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn issue(subject: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = Default::default();
        for (kind, text) in subject {
            params.distinguished_name.push(kind.clone(), DnValue::Utf8String((*text).into()));
        }
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_client_is_who_its_certificate_says() {
        let names = vec![
            SanType::DnsName("client.example".try_into().unwrap()),
            SanType::URI("spiffe://cluster/ns/a,b".try_into().unwrap()),
            SanType::Rfc822Name("me@example.com".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::DnsName("line\nbreak.example".try_into().unwrap()),
        ];
        let subject = [
            (DnType::CountryName, "CH"),
            (DnType::OrganizationName, "Bücher, Inc."),
            (DnType::CommonName, "client 1"),
            (DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]), "me"),
        ];
        let der = issue(&subject, names);
        let identity = ClientIdentity::from_der(&der).unwrap();
        assert_eq!(
            identity.subject,
            "1.2.840.113549.1.9.1=#0C026D65,CN=client 1,O=B\\C3\\BCcher\\, Inc.,C=CH"
        );
        assert_eq!(
            identity.names,
            [
                AlternativeName::Dns("client.example".into()),
                AlternativeName::Uri("spiffe://cluster/ns/a,b".into()),
                AlternativeName::Email("me@example.com".into()),
                AlternativeName::Ip("10.0.0.1".parse().unwrap()),
                AlternativeName::Ip("2001:db8::1".parse().unwrap()),
            ]
        );
        assert_eq!(identity.sha256, Fingerprint(digest(&der)));
    }

    #[test]
    fn what_says_nothing_gives_nothing_and_what_is_no_certificate_neither() {
        let identity = ClientIdentity::from_der(&issue(&[], Vec::new())).unwrap();
        assert_eq!((identity.subject.as_str(), identity.names.len()), ("", 0));
        let der = issue(&[(DnType::CommonName, "a")], Vec::new());
        for end in 0..der.len() {
            assert_eq!(ClientIdentity::from_der(&der[..end]), None, "{end} bytes");
        }
    }
}
