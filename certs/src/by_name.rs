//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;

/// Certificates with the same name, in the order of the manifest.
type Candidates = Vec<Arc<CertifiedKey>>;

/// Chooses a certificate by the name that a client asks for (SNI, RFC 6066 section 3): the exact name, then the
/// wildcard one label above, then the first certificate. Of several for a name, such as an ECDSA and an RSA one, the
/// first that the client can verify.
#[derive(Debug)]
pub(crate) struct CertificatesByName {
    exact: HashMap<String, Candidates>,
    /// By what stands behind `*.`.
    wildcards: HashMap<String, Candidates>,
    all: Candidates,
}

impl CertificatesByName {
    pub(crate) fn new<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        let mut all = Candidates::new();
        for certificate in certificates {
            let key = &certificate.key;
            for name in &certificate.names {
                let (names, name) = match name.as_str().strip_prefix("*.") {
                    Some(rest) => (&mut wildcards, rest),
                    None => (&mut exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_insert_with(Candidates::new).push(key.clone());
            }
            all.push(key.clone());
        }
        Self { exact, wildcards, all }
    }

    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let candidates = name.and_then(|name| self.named(name)).unwrap_or(&self.all);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        candidates.iter().find(fits).or_else(|| candidates.first()).cloned()
    }

    fn named(&self, name: &str) -> Option<&Candidates> {
        let name = name.to_ascii_lowercase();
        self.exact.get(&name).or_else(|| self.wildcards.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
