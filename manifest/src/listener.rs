//! Where connections come in, and with which certificates.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use strum::{EnumString, VariantNames};

use crate::units::ListenAddr;

/// One place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// What logs, `host ctl` and metrics call it; its address if it has no name.
    pub name: Option<Arc<str>>,
    /// Where it is.
    pub address: ListenAddr,
    /// Each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Connections are encrypted.
    pub tls: Option<TlsConfig>,
}

impl ListenerConfig {
    /// A listener without TLS.
    #[must_use]
    pub fn plain(address: ListenAddr) -> Self {
        Self { name: None, address, proxy_protocol: false, tls: None }
    }

    /// What logs, `host ctl` and metrics call it.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.address.to_string(), |name| name.to_string())
    }

    /// What a complaint about its address calls it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.tls.is_some() { "listener" } else { "addr" }
    }

    /// Whether `[listen] addr` can say all that there is of it.
    pub(crate) fn is_short(&self) -> bool {
        self.name.is_none() && !self.proxy_protocol && self.tls.is_none()
    }

    /// Whether a reload can make it the other one: certificates, and what else belongs to TLS, may differ.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        let place = |it: &Self| Self { tls: None, ..it.clone() };
        place(self) == place(other) && self.tls.is_some() == other.tls.is_some()
    }
}

/// How connections of a listener are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// At least one. The first one is for clients that ask for none of the others.
    pub certificates: Vec<CertificateConfig>,
    /// Which certificates clients show; none are asked for without.
    pub clients: Option<ClientCertificates>,
    /// Protocols that are offered, the best one first.
    pub alpn: Vec<AlpnProtocol>,
    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,
    /// The line of the manifest on which it stands, counted from 1; none if it is made of flags.
    pub line: Option<usize>,
}

/// The files of a certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// The certificate, then those that lead from it to its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Names that clients ask for it by (SNI); those that stand in it if this is empty.
    pub names: Vec<SniName>,
}

/// Which certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The file with the certificates of their authorities, PEM.
    pub authorities: PathBuf,
    /// Whether they have to show one.
    pub auth: ClientAuth,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_client_auth)]
pub enum ClientAuth {
    /// It may. One that it shows has to be valid.
    Optional,
    /// It has to; without one the handshake fails.
    #[default]
    Required,
}

fn no_client_auth(_: &str) -> String {
    "neither optional nor required; write required (no connection without a certificate) or optional".into()
}

/// A protocol that is agreed upon in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(parse_err_ty = String, parse_err_fn = no_protocol)]
pub enum AlpnProtocol {
    /// HTTP/2.
    #[strum(serialize = "h2")]
    Http2,
    /// HTTP/1.1.
    #[strum(serialize = "http/1.1")]
    Http1,
}

impl AlpnProtocol {
    /// All of them, the best one first.
    pub const ALL: [Self; 2] = [Self::Http2, Self::Http1];

    /// Its name on the wire (RFC 7301, section 6).
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

fn no_protocol(_: &str) -> String {
    "not a protocol that is spoken here; write h2 or http/1.1".into()
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(parse_err_ty = String, parse_err_fn = no_version)]
pub enum TlsVersion {
    /// TLS 1.2, with forward secrecy only.
    #[default]
    #[strum(serialize = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[strum(serialize = "1.3")]
    Tls13,
}

fn no_version(_: &str) -> String {
    "not a version of TLS that is spoken here; write 1.2 or 1.3".into()
}

/// A name that clients ask for in the handshake, in small letters: `shop.example`, or `*.shop.example` for all
/// names one label longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SniName(String);

impl SniName {
    /// The name; of `*.` and the rest, all of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SniName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        // A number at its end makes it an address (RFC 6066, section 3: no addresses).
        let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let is_address = labels.rsplit('.').next().is_some_and(number);
        if name.len() > 253 || !labels.split('.').all(label) || is_address {
            return Err(
                "not a name that clients can ask for; write shop.example or *.shop.example, other letters than \
                 those of ASCII as xn--…"
                    .into(),
            );
        }
        Ok(Self(name))
    }
}

impl fmt::Display for SniName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_clients_can_ask_for() {
        for name in
            ["localhost", "shop.example", "*.shop.example", "a_b.example", "xn--bcher-kva.example"]
        {
            assert_eq!(name.parse::<SniName>().as_ref().map(SniName::as_str), Ok(name));
        }
        assert_eq!("Shop.Example".parse::<SniName>().unwrap().to_string(), "shop.example");
        let long = "a.".repeat(127) + "a";
        for no_name in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            "shop.example.",
            "*.*.example",
            "a.*.b",
            "127.0.0.1",
            "::1",
            "bücher.de",
            &long,
        ] {
            assert!(no_name.parse::<SniName>().is_err(), "{no_name}");
        }
    }

    #[test]
    fn protocols_are_named_as_on_the_wire() {
        for protocol in AlpnProtocol::ALL {
            assert_eq!(protocol.id().parse(), Ok(protocol));
        }
        for no_protocol in ["h2c", "http/1.0", "h3", "HTTP/1.1"] {
            assert!(no_protocol.parse::<AlpnProtocol>().is_err(), "{no_protocol}");
        }
    }
}
