//! Where requests come in, and with which certificates.

use std::path::PathBuf;

use clap::Args;
use host_manifest::{
    AlpnProtocol, CertificateConfig, ClientAuth, ClientCertificates, ListenAddr, ListenerConfig,
    TlsConfig, TlsVersion, TrustedProxy,
};

use super::complaint::complaint;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct ListenArgs {
    /// Where to listen: HOST:PORT (IPv6 in brackets; `[::]` takes IPv4 too) or unix:PATH (with a lock
    /// PATH.lock beside it); may be given several times, without overlap; port 0 lets the kernel choose. Loopback by default: being reachable from outside is your decision
    /// [default: 127.0.0.1:8080 without --tls-addr, or the manifest's]
    #[arg(long = "addr", value_name = "ADDR")]
    pub(super) addresses: Vec<ListenAddr>,

    /// Where to listen for TLS, as --addr; may be given several times. Offers HTTP/2 and HTTP/1.1 over TLS 1.3 and
    /// 1.2 [default: none, or the manifest's]
    #[arg(long = "tls-addr", value_name = "ADDR")]
    tls_addresses: Vec<ListenAddr>,

    /// A certificate for --tls-addr, and those that lead from it to its authority: a file in PEM. Several,
    /// each with its --tls-key in the same order: clients choose by name, the first one is for all others
    /// [default: none, or the manifest's]
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,

    /// Its private key, a file in PEM. Files are read again when they change, and at SIGHUP
    /// [default: none, or the manifest's]
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,

    /// Have clients of --tls-addr show a certificate that one of the authorities in this file has signed. What
    /// they show is told to guests in headers [default: none are asked for]
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Whether they have to: required or optional [default: required]
    #[arg(long, value_name = "WORD")]
    tls_client_auth: Option<ClientAuth>,

    /// Proxies that are believed who their client is, by Forwarded, X-Forwarded-For and the PROXY protocol: networks
    /// (10.0.0.0/8), addresses, or unix for whoever connects to a Unix socket [default: nobody, or the manifest's]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    pub(super) trusted_proxies: Vec<TrustedProxy>,
}

impl ListenArgs {
    /// The listeners that are asked for; none if nothing is said.
    pub(super) fn checked(&self) -> Result<Vec<ListenerConfig>, clap::Error> {
        let tls = self.tls()?;
        let plain = self.addresses.iter().cloned().map(ListenerConfig::plain);
        let encrypted = self
            .tls_addresses
            .iter()
            .cloned()
            .map(|address| ListenerConfig { tls: tls.clone(), ..ListenerConfig::plain(address) });
        Ok(plain.chain(encrypted).collect())
    }

    /// What no guest may change, with what to call it.
    pub(super) fn own(&self) -> Vec<(String, PathBuf)> {
        let socket = |address: &ListenAddr| match address {
            ListenAddr::Unix(path) => Some(("a socket that is listened at".into(), path.clone())),
            ListenAddr::Tcp(_) => None,
        };
        let sockets = self.addresses.iter().chain(&self.tls_addresses).filter_map(socket);
        let files = self.tls_cert.iter().chain(&self.tls_key).chain(&self.tls_client_ca);
        sockets.chain(files.map(|path| ("a file of a listener".into(), path.clone()))).collect()
    }

    fn tls(&self) -> Result<Option<TlsConfig>, clap::Error> {
        let Self { tls_addresses, tls_cert, tls_key, tls_client_ca, tls_client_auth, .. } = self;
        if tls_cert.len() != tls_key.len() {
            return Err(complaint(
                "each --tls-cert has its --tls-key, in the same order; give as many of one as of the other",
            ));
        }
        if tls_addresses.is_empty() {
            let given = [
                ("--tls-cert", !tls_cert.is_empty()),
                ("--tls-client-ca", tls_client_ca.is_some()),
                ("--tls-client-auth", tls_client_auth.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(complaint(&format!(
                    "{flag} is for --tls-addr, and there is none; add --tls-addr 127.0.0.1:8443"
                ))),
                None => Ok(None),
            };
        }
        if tls_cert.is_empty() {
            return Err(complaint(
                "--tls-addr needs a certificate; add --tls-cert cert.pem --tls-key key.pem",
            ));
        }
        let pairs = tls_cert.iter().zip(tls_key);
        let certificate = |(cert, key): (&PathBuf, &PathBuf)| CertificateConfig {
            cert: cert.clone(),
            key: key.clone(),
            names: Vec::new(),
        };
        let clients = match (tls_client_ca, tls_client_auth) {
            (Some(authorities), auth) => Some(ClientCertificates {
                authorities: authorities.clone(),
                auth: auth.unwrap_or_default(),
            }),
            (None, Some(_)) => {
                return Err(complaint(
                    "--tls-client-auth needs --tls-client-ca: the authorities that sign the certificates of clients",
                ));
            }
            (None, None) => None,
        };
        Ok(Some(TlsConfig {
            certificates: pairs.map(certificate).collect(),
            clients,
            alpn: AlpnProtocol::ALL.to_vec(),
            min_version: TlsVersion::default(),
            line: None,
        }))
    }
}
