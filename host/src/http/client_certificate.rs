//! The certificate that a client has shown, as guests see it: in headers that nobody else can set.
//!
//! `Client-Cert` and `Client-Cert-Chain` are those of RFC 9440. What most guests want to know of them stands beside
//! them, so that no guest has to read DER.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_certs::{AlternativeName, ClientIdentity};
use host_forwarded::{
    CERTIFICATE_FIELDS, CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SAN, CLIENT_CERT_SHA256,
    CLIENT_CERT_SUBJECT,
};
use host_net::Peer;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

/// A field is no larger: guests have a limit for all fields together, and clients choose what they send as a chain.
const LARGEST: usize = 16 * 1024;

/// What is said of the certificate of a client; nothing if it has shown none. One for each connection, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientCertificate(Option<Arc<[(HeaderName, HeaderValue)]>>);

impl ClientCertificate {
    /// What this peer has shown in its handshake.
    pub(super) fn of_peer(peer: &Peer) -> Self {
        let shown = peer.tls.as_ref().and_then(|tls| tls.certificates.split_first());
        let Some((certificate, chain)) = shown else { return Self(None) };
        let chain: Vec<_> = chain.iter().map(|one| bytes(one)).collect();
        let mut fields =
            vec![(CLIENT_CERT, bytes(certificate)), (CLIENT_CERT_CHAIN, chain.join(", "))];
        if let Some(ClientIdentity { subject, names, sha256 }) =
            ClientIdentity::from_der(certificate)
        {
            fields.push((CLIENT_CERT_SHA256, sha256.to_string()));
            fields.push((CLIENT_CERT_SUBJECT, subject));
            fields.push((CLIENT_CERT_SAN, names.iter().map(string).collect::<Vec<_>>().join(", ")));
        }
        let fits = |text: &String| !text.is_empty() && text.len() <= LARGEST;
        let field = |(name, text): (HeaderName, String)| {
            let value = Some(text).filter(fits).and_then(|text| text.try_into().ok())?;
            Some((name, value))
        };
        Self(Some(fields.into_iter().filter_map(field).collect()))
    }

    /// What a request says that [`write`](Self::write) has been through: of the client of its whole exchange.
    pub(super) fn in_request<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        if !headers.keys().any(is_one_of_all) {
            return Self(None);
        }
        let field = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
        Self(Some(CERTIFICATE_FIELDS.into_iter().filter_map(field).collect()))
    }

    /// Says it in a request's headers, in place of whatever the sender of the request has said there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if headers.keys().any(is_one_of_all) {
            for name in CERTIFICATE_FIELDS {
                headers.remove(name);
            }
        }
        for (name, value) in self.0.iter().flat_map(|fields| fields.iter()) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// A look at each name costs less than five look-ups: mostly there is none of them.
fn is_one_of_all(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most names have another length, or begin otherwise.
    matches!(name.len(), 11 | 17 | 20 | 21) && name.contains("client-cert")
}

/// RFC 9651, section 3.3.5.
fn bytes(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// RFC 9651, section 3.3.3. Names have only characters that print: a quote cannot end the string.
fn string(name: &AlternativeName) -> String {
    let text = match name {
        AlternativeName::Dns(name) => format!("DNS:{name}"),
        AlternativeName::Uri(uri) => format!("URI:{uri}"),
        AlternativeName::Email(address) => format!("email:{address}"),
        AlternativeName::Ip(address) => format!("IP:{address}"),
    };
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use host_net::TlsPeer;

    use super::*;

    /// A certificate of OpenSSL's: `CN=client 1,O=Example\, Inc.` with names of each kind, one of which tries to pass
    /// for two.
    const PEM: &str = include_str!("client_certificate_test.pem");

    fn der() -> Vec<u8> {
        let lines = PEM.lines().filter(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    }

    fn peer(certificates: Vec<Vec<u8>>) -> Peer {
        let certificates = certificates.into_iter().map(Into::into).collect();
        let tls = TlsPeer { certificates, ..TlsPeer::default() };
        Peer { tls: Some(Arc::new(tls)), ..Peer::default() }
    }

    fn forged() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in CERTIFICATE_FIELDS {
            headers.append(name.clone(), HeaderValue::from_static("CN=admin"));
            headers.append(name, HeaderValue::from_static("CN=root"));
        }
        headers.insert("x-other", HeaderValue::from_static("stays"));
        headers.insert("client-certain", HeaderValue::from_static("stays"));
        headers
    }

    #[test]
    fn what_a_client_says_of_its_certificate_itself_is_gone() {
        for nobody in [Peer::default(), peer(Vec::new())] {
            let mut headers = forged();
            ClientCertificate::of_peer(&nobody).write(&mut headers);
            assert_eq!(headers.len(), 2, "{headers:?}");
        }
        let all: Vec<_> = CERTIFICATE_FIELDS.iter().map(is_one_of_all).collect();
        assert_eq!(all, [true; 5]);
    }

    #[test]
    fn a_guest_is_told_what_the_client_has_shown() {
        let mut headers = forged();
        ClientCertificate::of_peer(&peer(vec![der(), vec![1, 2], vec![3]])).write(&mut headers);
        let say = |name: HeaderName| {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(all.len(), 1, "{all:?}");
            all[0].to_str().unwrap().to_owned()
        };
        assert_eq!(say(CLIENT_CERT), format!(":{}:", STANDARD.encode(der())));
        assert_eq!(say(CLIENT_CERT_CHAIN), ":AQI=:, :Aw==:");
        assert_eq!(say(CLIENT_CERT_SUBJECT), "CN=client 1,O=Example\\, Inc.");
        assert_eq!(
            say(CLIENT_CERT_SAN),
            "\"DNS:client.example\", \"URI:spiffe://cluster/ns/a?b=, DNS:admin.example\", \
             \"email:me@example.com\", \"IP:10.0.0.1\", \"IP:2001:db8::1\""
        );
        assert_eq!(say(CLIENT_CERT_SHA256).len(), 64);
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        let passed = ClientCertificate::in_request(&request);
        let mut onward = forged();
        passed.write(&mut onward);
        for name in CERTIFICATE_FIELDS {
            assert_eq!(
                onward.get(&name),
                request.headers().get(&name),
                "a plugin changes nothing of it"
            );
        }
    }

    #[test]
    fn what_is_too_large_or_says_nothing_is_left_out() {
        let mut headers = forged();
        let chain = vec![0; LARGEST];
        ClientCertificate::of_peer(&peer(vec![b"no certificate".to_vec(), chain]))
            .write(&mut headers);
        assert_eq!(headers.len(), 3, "{headers:?}");
        assert!(headers.contains_key(CLIENT_CERT), "it was verified by another reader");
        let none = ClientCertificate::in_request(&Request::new(()));
        none.write(&mut headers);
        assert_eq!(headers.len(), 2, "{headers:?}");
    }
}
