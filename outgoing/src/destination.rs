//! Where a request goes: scheme, host and port, in one spelling.

use std::fmt;

use host_manifest::outgoing::UriHost;
use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

use crate::SendError;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) scheme: Scheme,
    pub(crate) host: UriHost,
    pub(crate) port: u16,
}

impl Destination {
    /// Where a URI points, if it is an absolute one of HTTP.
    pub(crate) fn from_uri(uri: &Uri) -> Result<Self, SendError> {
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => scheme.clone(),
            Some(_) => return Err(SendError::Uri("only http and https are sent")),
            None => return Err(SendError::Uri("it has no scheme")),
        };
        let authority = uri.authority().ok_or(SendError::Uri("it has no host"))?;
        // RFC 9110 §4.2.4: not to be sent, and a way to make one host look like another.
        if authority.as_str().contains('@') {
            return Err(SendError::Uri("it has a user or a password before the host"));
        }
        let host = UriHost::parse(authority.host()).ok_or(SendError::Uri("its host is not one"))?;
        let port = port(authority)?.unwrap_or_else(|| default_port(&scheme));
        Ok(Self { scheme, host, port })
    }

    /// The URI in the one spelling: what the pool knows connections by, and what `UriHost` says.
    pub(crate) fn uri(&self, path: Option<PathAndQuery>) -> Result<Uri, SendError> {
        let Self { host, .. } = self;
        let authority = match self.port {
            port if port == default_port(&self.scheme) => host.to_string(),
            port => format!("{host}:{port}"),
        };
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority =
            Some(authority.parse().map_err(|_| SendError::Uri("its host is not one"))?);
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(|_| SendError::Uri("its parts do not fit together"))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}:{port}")
    }
}

/// `http` says None to a port that does not fit into 16 bits, as it does to none at all.
fn port(authority: &Authority) -> Result<Option<u16>, SendError> {
    let written = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    match written.strip_prefix(':') {
        None | Some("") => Ok(None),
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => Err(SendError::Uri("its port is not one from 1 to 65535")),
            Ok(port) => Ok(Some(port)),
        },
    }
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(uri: &str) -> Result<String, SendError> {
        Destination::from_uri(&uri.parse().unwrap()).map(|destination| destination.to_string())
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (uri, expected) in [
            ("http://Example.COM/x?y", "http://example.com:80"),
            ("https://example.com", "https://example.com:443"),
            ("https://example.com:/", "https://example.com:443"),
            ("https://example.com:80/", "https://example.com:80"),
            ("http://[::1]:9000/", "http://[::1]:9000"),
            ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]:80"),
            ("http://example.com./", "http://example.com:80"),
        ] {
            assert_eq!(destination(uri).unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for uri in [
            "/only/a/path",
            "ftp://example.com/",
            "http://user@example.com/",
            "http://user:password@example.com/",
            "http://example.com:0/",
            "http://example.com:65536/",
            "http://example.com:99999/",
            "http://127.1/",
            "http://0X7F.1/",
            "http://2130706433/",
        ] {
            assert!(matches!(destination(uri), Err(SendError::Uri(_))), "{uri}");
        }
    }

    #[test]
    fn the_uri_that_is_sent_is_made_from_what_was_judged() {
        for (uri, expected) in [
            ("http://Example.COM:80/x?y", "http://example.com/x?y"),
            ("https://example.com:443", "https://example.com/"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("http://[0:0::1]/", "http://[::1]/"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let sent =
                Destination::from_uri(&uri).unwrap().uri(uri.path_and_query().cloned()).unwrap();
            assert_eq!(sent.to_string(), expected, "{uri}");
        }
    }
}
