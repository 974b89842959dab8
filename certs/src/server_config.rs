//! What a listener's handshakes go by.

use std::sync::Arc;

use host_manifest::{AlpnProtocol, TlsConfig, TlsVersion};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use crate::authorities::Authorities;
use crate::by_name::CertificatesByName;
use crate::certificate::{Certificate, provider};
use crate::tickets::TicketKeys;

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Puts together what handshakes go by. No early data (RFC 8446, section 8: it can be replayed), no sessions in
/// memory, nothing logged of keys. The suites of the provider all have forward secrecy.
pub(crate) fn server_config(
    config: &TlsConfig,
    certificates: &[Arc<Certificate>],
    authorities: Option<&Authorities>,
    tickets: &TicketKeys,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions = match config.min_version {
        TlsVersion::Tls12 => BOTH,
        TlsVersion::Tls13 => NEWEST,
    };
    let builder =
        ServerConfig::builder_with_provider(provider().into()).with_protocol_versions(versions)?;
    let builder = match authorities {
        Some(authorities) => builder.with_client_cert_verifier(authorities.verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let by_name = CertificatesByName::new(certificates.iter().map(|certificate| &**certificate));
    let mut server = builder.with_cert_resolver(Arc::new(by_name));
    server.alpn_protocols = config.alpn.iter().map(|it| AlpnProtocol::id(*it).into()).collect();
    server.session_storage = Arc::new(NoServerSessionStorage {});
    // A session that is resumed has its client's certificate from before, and nobody looks at its end again. Nor is a
    // session resumed here that began where no certificate was asked for (CVE-2025-23419 of nginx).
    if authorities.is_none() {
        server.ticketer = Arc::new(tickets.sealer());
    }
    server.max_early_data_size = 0;
    // The order of the provider: the strongest first.
    server.ignore_client_order = true;
    Ok(Arc::new(server))
}
