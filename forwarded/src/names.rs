//! The names of the fields in which a host says who the client is.

use std::borrow::Cow;

use http::HeaderName;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The certificate that a client has shown, as a byte sequence of RFC 9651 (RFC 9440): `:MIIB…:`.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// Those that the client has sent to certify it, as a list of byte sequences (RFC 9440).
pub const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
/// SHA-256 of the certificate, in hexadecimal digits.
pub const CLIENT_CERT_SHA256: HeaderName = HeaderName::from_static("x-client-cert-sha256");
/// Its subject, as RFC 4514 writes it.
pub const CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
/// Its other names, as a list of strings of RFC 9651: `"DNS:client.example", "URI:spiffe://cluster/ns/a"`.
pub const CLIENT_CERT_SAN: HeaderName = HeaderName::from_static("x-client-cert-san");

/// All fields that say which certificate a client has shown.
pub const CERTIFICATE_FIELDS: [HeaderName; 5] =
    [CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SHA256, CLIENT_CERT_SUBJECT, CLIENT_CERT_SAN];

/// Whether a field of this name, in small letters, says who sent a request or what for, to somebody who takes `_` for
/// `-`, too. Only trusted proxies may say that.
#[must_use]
pub fn is_claim(name: &str) -> bool {
    let name = &*dashed(name);
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// The name as CGI and WSGI have it, which make one variable of `x-real-ip` and `x_real_ip`: with `-` for `_`.
#[must_use]
pub fn dashed(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => name.replace('_', "-").into(),
        false => name.into(),
    }
}
