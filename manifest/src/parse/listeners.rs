//! `[[listener]]`: places to listen at, with their certificates.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::reader::Reader;
use super::spanned::{Spanned, Written};
use crate::error::Problem;
use crate::{
    AlpnProtocol, CertificateConfig, ClientAuth, ClientCertificates, ListenAddr, ListenerConfig,
    SniName, TlsConfig, TlsVersion,
};

/// A place to listen at, with what the short form in listen.addr cannot say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(super) struct Listener {
    /// HOST:PORT (IPv6 in brackets) or unix:PATH; port 0 lets the kernel choose. A change needs a restart.
    #[schemars(with = "Written<ListenAddr>")]
    pub(super) address: Option<Written<ListenAddr>>,
    /// What logs, `host ctl` and metrics call it, and the socket that systemd hands over for it: small letters, digits
    /// and `-`. Its address by default. A change needs a restart.
    pub(super) name: Option<Spanned<String>>,
    /// Encrypts connections: a certificate with its key, or a list of several. The first one is for clients that
    /// ask for none of the others.
    pub(super) tls: Option<CertificateTables>,
    /// The certificates of the authorities whose clients may connect: a file in PEM, relative to the manifest.
    /// What a client has shown is told to guests in headers.
    pub(super) client_ca: Option<Spanned<String>>,
    /// Whether clients have to show a certificate that client-ca has signed: `required` or `optional`.
    #[schemars(extend("default" = "required"))]
    pub(super) client_auth: Option<Written<ClientAuth>>,
    /// Protocols that are spoken, the best one first. A client that does not ask in the handshake is taken by its first
    /// bytes, or speaks the only one.
    #[schemars(extend("default" = ["h2", "http/1.1"]))]
    pub(super) alpn: Option<Spanned<Vec<Written<AlpnProtocol>>>>,
    /// The oldest version of TLS that clients may speak.
    #[schemars(extend("default" = "1.2"))]
    pub(super) tls_min: Option<Written<TlsVersion>>,
    /// Connections come from proxies that say by the PROXY protocol, version 1 or 2, who their client is. A change
    /// needs a restart.
    #[schemars(extend("default" = false))]
    pub(super) proxy_protocol: bool,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["cert", "key"]))]
pub(super) struct Certificate {
    /// The certificate, then those that lead from it to its authority: a file in PEM, relative to the manifest.
    #[schemars(with = "String")]
    pub(super) cert: Option<Spanned<String>>,
    /// Its private key: a file in PEM (PKCS#8, PKCS#1 or SEC1), relative to the manifest.
    #[schemars(with = "String")]
    pub(super) key: Option<Spanned<String>>,
    /// Names that clients ask for it by (SNI), as `shop.example` or `*.shop.example`. Those that stand in it by
    /// default.
    pub(super) names: Vec<Written<SniName>>,
}

/// One table, or a list of them.
#[derive(Debug)]
pub(super) struct CertificateTables(Spanned<Vec<Certificate>>);

impl<'de> Deserialize<'de> for CertificateTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `Spanned` of an untagged enum would lose the spans inside.
        let Spanned { value, span } = Spanned::<OneOrMany>::deserialize(deserializer)?;
        Ok(Self(Spanned { value: value.0, span }))
    }
}

struct OneOrMany(Vec<Certificate>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with `cert` and `key`, or a list of such tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
                let one = Certificate::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OneOrMany(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany(many))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for CertificateTables {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Certificates".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<Certificate>();
        json_schema!({ "anyOf": [table, { "type": "array", "items": table }] })
    }
}

/// Reads the tables, behind the listeners that `[listen]` names.
pub(super) fn listeners(
    reader: &mut Reader<'_>,
    raw: &[Spanned<Listener>],
    listeners: &mut Vec<ListenerConfig>,
) {
    for raw in raw {
        let name = raw.value.name.as_ref().and_then(|name| name_of(reader, name, listeners));
        let tls = tls(reader, raw);
        let written = raw.value.address.as_ref();
        // The validation has reported that it is missing.
        let Some(address) = written.and_then(|written| address(reader, written, listeners)) else {
            continue;
        };
        let proxy_protocol = raw.value.proxy_protocol;
        listeners.push(ListenerConfig { name, address, proxy_protocol, tls });
    }
}

/// An address to listen at. Reports one that cannot be had beside those before it.
pub(super) fn address(
    reader: &mut Reader<'_>,
    written: &Written<ListenAddr>,
    before: &[ListenerConfig],
) -> Option<ListenAddr> {
    let address = match reader.parse(written)? {
        ListenAddr::Unix(path) => {
            let path = reader.relative(&path, &written.text.span);
            reader.places.hold("a socket that is listened at", &path);
            ListenAddr::Unix(path)
        }
        address @ ListenAddr::Tcp(_) => address,
    };
    let mut before = before.iter().map(|listener| &listener.address);
    if let Some(before) = before.find(|before| before.overlaps(&address)) {
        let what = if *before == address {
            "this address is here twice".to_owned()
        } else {
            format!("{address} and {before} cannot be listened at both: one is part of the other")
        };
        let help = "leave one of them out; [::] takes every address of IPv6 and of IPv4";
        reader.report(Problem::new(written.text.span.clone(), what).help(help));
    }
    Some(address)
}

fn name_of(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    before: &[ListenerConfig],
) -> Option<Arc<str>> {
    let value = reader.plain_text(written)?;
    let name = Spanned { value, span: written.span.clone() };
    reader.check_name(&name, "listener");
    if before.iter().any(|listener| listener.name.as_deref() == Some(&name.value)) {
        let problem = Problem::new(name.span, "another listener has this name");
        reader.report(problem.help("give each its own, or leave it out"));
    }
    Some(name.value.into())
}

fn tls(reader: &mut Reader<'_>, raw: &Spanned<Listener>) -> Option<TlsConfig> {
    let Listener { tls, client_ca, client_auth, alpn, tls_min, .. } = &raw.value;
    let Some(CertificateTables(tables)) = tls else {
        let spans = [
            client_ca.as_ref().map(|it| &it.span),
            client_auth.as_ref().map(|it| &it.text.span),
            alpn.as_ref().map(|it| &it.span),
            tls_min.as_ref().map(|it| &it.text.span),
        ];
        if let Some(span) = spans.into_iter().flatten().next()
            && !reader.is_damaged(&raw.span)
        {
            let problem = Problem::new(span.clone(), "this listener has no TLS");
            reader.report(problem.help(
                "add tls = { cert = \"cert.pem\", key = \"key.pem\" } to it, or leave this out",
            ));
        }
        return None;
    };
    let certificates: Vec<_> =
        tables.value.iter().filter_map(|table| certificate(reader, table)).collect();
    if tables.value.is_empty() {
        let problem = Problem::new(tables.span.clone(), "there is no certificate in it");
        reader.report(problem.help("write { cert = \"cert.pem\", key = \"key.pem\" }"));
    }
    let line = reader.line(tables.span.start);
    Some(TlsConfig {
        certificates,
        clients: clients(reader, raw),
        alpn: protocols(reader, alpn.as_ref()),
        min_version: tls_min.as_ref().and_then(|it| reader.parse(it)).unwrap_or_default(),
        line: Some(line),
    })
}

fn certificate(reader: &mut Reader<'_>, raw: &Certificate) -> Option<CertificateConfig> {
    let cert = raw.cert.as_ref().and_then(|cert| reader.file(cert));
    let key = raw.key.as_ref().and_then(|key| reader.file(key));
    let names = reader.parse_all(&raw.names);
    let (cert, key) = (cert?, key?);
    reader.places.hold("a certificate of a listener", &cert);
    reader.places.hold("the key of a certificate", &key);
    Some(CertificateConfig { cert, key, names })
}

fn clients(reader: &mut Reader<'_>, raw: &Spanned<Listener>) -> Option<ClientCertificates> {
    let Listener { client_ca, client_auth, .. } = &raw.value;
    let auth = client_auth.as_ref().and_then(|auth| reader.parse(auth)).unwrap_or_default();
    let Some(written) = client_ca else {
        if let Some(auth) = client_auth
            && !reader.is_damaged(&raw.span)
        {
            let what = "there is no client-ca that could have signed the certificates of clients";
            let problem = Problem::new(auth.text.span.clone(), what);
            reader.report(problem.help("add client-ca = \"clients.pem\", or leave this out"));
        }
        return None;
    };
    let authorities = reader.file(written)?;
    reader.places.hold("whose clients may connect", &authorities);
    Some(ClientCertificates { authorities, auth })
}

fn protocols(
    reader: &mut Reader<'_>,
    raw: Option<&Spanned<Vec<Written<AlpnProtocol>>>>,
) -> Vec<AlpnProtocol> {
    let Some(raw) = raw else { return AlpnProtocol::ALL.to_vec() };
    if raw.value.is_empty() {
        let problem = Problem::new(raw.span.clone(), "there is no protocol in it");
        reader.report(problem.help("write h2, http/1.1 or both, or leave alpn out for both"));
    }
    reader.parse_all(&raw.value)
}
