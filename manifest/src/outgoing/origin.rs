//! Entries of an allow-list.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::uri::Scheme;

use super::host::{UriHost, ends_in_number, is_name};
use super::{AddressKind, Reach};

/// `https://api.example.com`, `http://127.0.0.1:9000`, `*.svc.local:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`; both if none.
    scheme: Option<Scheme>,
    host: HostPattern,
    port: u16,
}

/// `tcp://db.internal:5432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address; no wildcard.
    pub host: UriHost,
    /// Not 0.
    pub port: u16,
}

/// Hosts that an origin names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exactly(UriHost),
    /// What a name must end with, one label or more before it: `.svc.local`.
    Below(String),
}

impl Origin {
    /// Whether it names this scheme, host and port. `host` is as a URI has it, see
    /// [`UriHost::parse`]; what the host leads to has yet to be judged.
    #[must_use]
    pub fn admits(&self, scheme: &Scheme, host: &str, port: u16) -> bool {
        UriHost::parse(host).is_some_and(|host| self.admits_host(scheme, &host, port))
    }

    pub(super) fn admits_host(&self, scheme: &Scheme, host: &UriHost, port: u16) -> bool {
        let speaks = match &self.scheme {
            Some(own) => own == scheme,
            None => *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS,
        };
        speaks && self.names(host, port)
    }

    /// Whether it names this host and port, whatever the scheme.
    pub(super) fn names(&self, host: &UriHost, port: u16) -> bool {
        let named = match (&self.host, host) {
            (HostPattern::Exactly(own), host) => own == host,
            (HostPattern::Below(end), UriHost::Name(name)) => {
                name.len() > end.len() && name.ends_with(end.as_str())
            }
            (HostPattern::Below(_), UriHost::Address(_)) => false,
        };
        named && port == self.port
    }
}

impl Origin {
    /// Whether all that it names is this machine, by the names that are kept for that (RFC 6761): they lead
    /// to loopback addresses only, which takes a word of its own.
    #[must_use]
    pub fn names_loopback(&self) -> bool {
        match &self.host {
            HostPattern::Exactly(host) => is_loopback(host),
            HostPattern::Below(end) => end == ".localhost" || end.ends_with(".localhost"),
        }
    }
}

fn is_loopback(host: &UriHost) -> bool {
    match host {
        UriHost::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        UriHost::Address(_) => false,
    }
}

impl Endpoint {
    /// As [`Origin::names_loopback`].
    #[must_use]
    pub fn names_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether a connection for this endpoint may go to `ip`: one of those that its name resolved
    /// to, or the address that it names, which is its own word.
    #[must_use]
    pub fn admits_address(&self, reach: &Reach, ip: IpAddr) -> bool {
        match self.host {
            UriHost::Name(_) => reach.admits(ip),
            UriHost::Address(own) => own == ip && AddressKind::classify(ip) != AddressKind::Never,
        }
    }
}

const ADVICE: &str = "write an origin as https://api.example.com, http://127.0.0.1:9000 or \
                      *.svc.local:8080";

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, authority) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                (Some(Scheme::HTTP), rest)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                (Some(Scheme::HTTPS), rest)
            }
            Some(_) => return Err(format!("the scheme is http, https or left out; {ADVICE}")),
        };
        only_authority(authority, ADVICE)?;
        let (host, port) = split_port(authority, ADVICE)?;
        if host.eq_ignore_ascii_case(NEXT) {
            return Err(format!(
                "{NEXT} is whoever comes next in a chain, and takes no grant; leave it out"
            ));
        }
        let default = scheme.as_ref().map(|scheme| if *scheme == Scheme::HTTP { 80 } else { 443 });
        let port = port
            .or(default)
            .ok_or_else(|| format!("an origin without a scheme needs a port; {ADVICE}"))?;
        Ok(Self { scheme, host: pattern(host, ADVICE)?, port })
    }
}

/// Reserved: by this name a plugin of wasi:http 0.2 passes a request on.
const NEXT: &str = "next.host";

const TCP_ADVICE: &str = "write an endpoint as tcp://db.internal:5432 or tcp://[fd00::1]:5432";

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let authority = text
            .strip_prefix("tcp://")
            .ok_or_else(|| format!("an endpoint begins with tcp://; {TCP_ADVICE}"))?;
        only_authority(authority, TCP_ADVICE)?;
        let (host, port) = split_port(authority, TCP_ADVICE)?;
        let port = port.ok_or_else(|| format!("an endpoint needs a port; {TCP_ADVICE}"))?;
        match pattern(host, TCP_ADVICE)? {
            HostPattern::Exactly(host) => Ok(Self { host, port }),
            HostPattern::Below(_) => {
                Err(format!("an endpoint names one host, without `*`; {TCP_ADVICE}"))
            }
        }
    }
}

fn only_authority(text: &str, advice: &str) -> Result<(), String> {
    if text.contains('@') {
        return Err(format!("there is no user in it; {advice}"));
    }
    if text.contains(['/', '?', '#', '\\']) {
        return Err(format!(
            "no path belongs into it: whoever may connect may ask for every path; {advice}"
        ));
    }
    Ok(())
}

/// Host and port, split at the colon that is not within brackets.
fn split_port<'a>(text: &'a str, advice: &str) -> Result<(&'a str, Option<u16>), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => return Ok((text, None)),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets; {advice}"));
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok((host, Some(port))),
        _ => Err(format!("the port is a number from 1 to 65535; {advice}")),
    }
}

fn pattern(text: &str, advice: &str) -> Result<HostPattern, String> {
    if let Some(end) = text.strip_prefix("*.") {
        let end = end.strip_suffix('.').unwrap_or(end);
        if !is_name(end) || ends_in_number(end) {
            return Err(format!("no name after `*.`; {advice}"));
        }
        return Ok(HostPattern::Below(format!(".{}", end.to_ascii_lowercase())));
    }
    if text.contains('*') {
        return Err(format!("`*` stands for whole labels at the beginning only; {advice}"));
    }
    if text.contains('%') {
        return Err(format!("neither zones nor escapes belong into a host; {advice}"));
    }
    match UriHost::parse(text) {
        Some(UriHost::Address(ip)) if AddressKind::classify(ip) == AddressKind::Never => {
            Err(format!("nobody can be reached at this address; {advice}"))
        }
        Some(host) => Ok(HostPattern::Exactly(host)),
        None if ends_in_number(text) => {
            Err(format!("an IPv4 address is written as four decimal numbers; {advice}"))
        }
        None if !text.is_ascii() => {
            Err(format!("write names of other scripts in ASCII, as xn--…; {advice}"))
        }
        None => Err(format!("not a host; {advice}")),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        match &self.host {
            HostPattern::Exactly(host) => write!(f, "{host}:{}", self.port),
            HostPattern::Below(end) => write!(f, "*{end}:{}", self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}
