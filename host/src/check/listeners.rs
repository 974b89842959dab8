//! What `host check` says of listeners and their certificates.

use std::fmt::Write as _;
use std::path::Path;

use host_certs::{CertificateStatus, CertificateStore, ListenerError, TicketKeys};
use host_manifest::{AlpnProtocol, ClientAuth, ListenerConfig, TlsConfig, TlsVersion};
use serde::Serialize;

use crate::serve::certificate_trouble;

/// What was found of one listener.
#[derive(Debug, Serialize)]
pub(super) struct CheckedListener {
    /// Its name, or its address.
    name: String,
    address: String,
    /// None without TLS.
    tls: Option<CheckedTls>,
}

/// What was found of its TLS.
#[derive(Debug, Serialize)]
pub(super) struct CheckedTls {
    min_version: &'static str,
    alpn: Vec<&'static str>,
    /// `required` or `optional`; none if clients are not asked for certificates.
    client_auth: Option<&'static str>,
    certificates: Vec<CheckedCertificate>,
    /// Why it would not be served: a line for each file that cannot be used.
    refused: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CheckedCertificate {
    file: String,
    names: Vec<String>,
    not_after: String,
}

/// Looks at all listeners, and says what is near its end. `file`: the manifest, if there is one.
pub(super) fn check(
    listeners: &[ListenerConfig],
    file: Option<&Path>,
) -> (Vec<CheckedListener>, Vec<String>) {
    let (mut checked, mut warnings) = (Vec::new(), Vec::new());
    for listener in listeners {
        let tls = listener.tls.as_ref().map(|config| {
            let (certificates, refused) = match load(listener) {
                Ok(certificates) => (certificates, Vec::new()),
                Err(errors) => (Vec::new(), errors),
            };
            let trouble = certificates
                .iter()
                .filter_map(|certificate| certificate_trouble(certificate, host_certs::now()));
            let label = listener.label();
            warnings.extend(trouble.map(|why| format!("listener {label}: the certificate {why}")));
            let refused = refused.iter().map(|error| error.in_file(file)).collect();
            CheckedTls::new(config, &certificates, refused)
        });
        let (name, address) = (listener.label(), listener.address.to_string());
        checked.push(CheckedListener { name, address, tls });
    }
    (checked, warnings)
}

fn load(listener: &ListenerConfig) -> Result<Vec<CertificateStatus>, Vec<ListenerError>> {
    // Without keys of tickets nothing of it is used.
    let Ok(tickets) = TicketKeys::new() else { return Ok(Vec::new()) };
    let store = CertificateStore::load(std::slice::from_ref(listener), tickets)?;
    Ok(store.status().into_iter().flat_map(|listener| listener.certificates).collect())
}

impl CheckedTls {
    fn new(config: &TlsConfig, certificates: &[CertificateStatus], refused: Vec<String>) -> Self {
        let certificate = |it: &CertificateStatus| CheckedCertificate {
            file: it.file.display().to_string(),
            names: it.names.clone(),
            not_after: it.not_after(),
        };
        Self {
            min_version: match config.min_version {
                TlsVersion::Tls12 => "1.2",
                TlsVersion::Tls13 => "1.3",
            },
            alpn: config.alpn.iter().map(|it| AlpnProtocol::id(*it)).collect(),
            client_auth: config.clients.as_ref().map(|clients| match clients.auth {
                ClientAuth::Optional => "optional",
                ClientAuth::Required => "required",
            }),
            certificates: certificates.iter().map(certificate).collect(),
            refused,
        }
    }
}

impl CheckedListener {
    /// Why it would not be served.
    pub(super) fn refused(&self) -> &[String] {
        self.tls.as_ref().map(|tls| &tls.refused[..]).unwrap_or_default()
    }

    /// As people read it: nothing of one without TLS.
    pub(super) fn text(&self) -> String {
        let Some(tls) = &self.tls else { return String::new() };
        let clients = tls.client_auth.map(|auth| format!(", client certificates {auth}"));
        let mut text = format!(
            "listener {}: TLS from {}, {}{}\n",
            self.name,
            tls.min_version,
            tls.alpn.join(" "),
            clients.unwrap_or_default()
        );
        for CheckedCertificate { file, names, not_after } in &tls.certificates {
            let names = if names.is_empty() { "no names".into() } else { names.join(", ") };
            // Writing to a string cannot fail.
            writeln!(text, "  certificate {file}: {names}, until {not_after}").ok();
        }
        text
    }
}
