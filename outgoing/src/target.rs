//! Where a request goes: scheme, host and port, in one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

use crate::SendError;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// In lower case; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Where a URI points, if it is an absolute one of HTTP.
    pub(crate) fn of(uri: &Uri) -> Result<Self, SendError> {
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
        let host = host(authority.host())?;
        let port = port(authority)?.unwrap_or_else(|| default_port(&scheme));
        Ok(Self { scheme, host, port })
    }

    /// The URI in the one spelling: what the pool knows connections by, and what `Host` says.
    pub(crate) fn uri(&self, path: Option<PathAndQuery>) -> Result<Uri, SendError> {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let authority = match self.port {
            port if port == default_port(&self.scheme) => host,
            port => format!("{host}:{port}"),
        };
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority =
            Some(authority.parse().map_err(|_| SendError::Uri("its host is not one"))?);
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(|_| SendError::Uri("its parts do not fit together"))
    }

    /// The address, if the host is written as one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

fn host(written: &str) -> Result<String, SendError> {
    let inside = written.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or(rest));
    if let Some(inside) = inside {
        let ip: Ipv6Addr =
            inside.parse().map_err(|_| SendError::Uri("its host is not an IPv6 address"))?;
        return Ok(ip.to_canonical().to_string());
    }
    if written.is_empty() || written.contains(':') {
        return Err(SendError::Uri("its host is not one"));
    }
    Ok(written.to_ascii_lowercase())
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

    fn target(uri: &str) -> Result<String, SendError> {
        Target::of(&uri.parse().unwrap()).map(|target| target.to_string())
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
            ("http://[::ffff:127.0.0.1]/", "http://127.0.0.1:80"),
            ("http://[::ffff:7f00:1]/", "http://127.0.0.1:80"),
            ("http://127.1/", "http://127.1:80"),
            ("http://0X7F.1/", "http://0x7f.1:80"),
        ] {
            assert_eq!(target(uri).unwrap(), expected, "{uri}");
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
        ] {
            assert!(matches!(target(uri), Err(SendError::Uri(_))), "{uri}");
        }
    }

    #[test]
    fn the_uri_that_is_sent_is_made_from_what_was_judged() {
        for (uri, expected) in [
            ("http://Example.COM:80/x?y", "http://example.com/x?y"),
            ("https://example.com:443", "https://example.com/"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("http://[::FFFF:127.0.0.1]:81/", "http://127.0.0.1:81/"),
            ("http://[0:0::1]/", "http://[::1]/"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let sent = Target::of(&uri).unwrap().uri(uri.path_and_query().cloned()).unwrap();
            assert_eq!(sent.to_string(), expected, "{uri}");
        }
    }
}
