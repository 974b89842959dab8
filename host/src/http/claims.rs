//! Names under which only the host says who the client is: what else comes under them is a claim, and goes.
//!
//! Those of the head are replaced where they are written ([`RequestClient`](super::client::RequestClient),
//! [`ClientCertificate`](super::client_certificate::ClientCertificate)). Here is what would be taken for them by
//! somebody who is less exact: libraries that put trailers beside the fields of the head, and interfaces such as CGI and
//! WSGI, which make one variable of `x-real-ip` and `x_real_ip`.

use bytes::Bytes;
use host_forwarded::{CERTIFICATE_FIELDS, dashed, remove_all};
use http::HeaderMap;
use http_body::Frame;

/// Takes fields out of a head that would pass for one of the host's with a `-` for each `_`. nginx takes out all names
/// with a `_` for that reason.
pub(super) fn remove_lookalikes(headers: &mut HeaderMap) {
    remove_all(headers, |name| name.contains('_') && is_claim(name));
}

/// The frame without trailers that say who the client is. No guest and no proxy has a use for them there (RFC 9110
/// §6.5.1).
pub(super) fn without_claims(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        remove_all(trailers, is_claim);
    }
    frame
}

fn is_claim(name: &str) -> bool {
    host_forwarded::is_claim(name) || CERTIFICATE_FIELDS.iter().any(|field| *field == *dashed(name))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const FORGED: [&str; 12] = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-user",
        "x-real-ip",
        "client-cert",
        "client-cert-chain",
        "x-client-cert-subject",
        "x-client-cert-sha256",
        "x-client-cert-san",
        "client_cert",
        "x_client-cert_subject",
        "x-forwarded_for",
    ];

    fn headers(names: &[&'static str]) -> HeaderMap {
        let field = |name: &&'static str| {
            (HeaderName::from_static(name), HeaderValue::from_static("CN=root"))
        };
        names.iter().map(field).collect()
    }

    #[test]
    fn trailers_say_nothing_of_the_client() {
        let mut trailers = headers(&FORGED);
        trailers.extend(headers(&["grpc-status", "x_checksum", "x-forward"]));
        let frame = without_claims(Frame::trailers(trailers));
        let left = frame.into_trailers().unwrap();
        assert_eq!(left, headers(&["grpc-status", "x_checksum", "x-forward"]));
        let data = without_claims(Frame::data(Bytes::from_static(b"forwarded")));
        assert_eq!(data.into_data().unwrap(), "forwarded");
    }

    #[test]
    fn a_name_with_other_dashes_is_a_claim_too() {
        let mut head = headers(&FORGED);
        head.extend(headers(&["x_checksum", "accept"]));
        remove_lookalikes(&mut head);
        let mut left = headers(&FORGED[..9]);
        left.extend(headers(&["x_checksum", "accept"]));
        assert_eq!(head, left, "what has the name itself is replaced elsewhere");
    }
}
