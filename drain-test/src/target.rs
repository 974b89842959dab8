//! The server under test: what its URL says, and what connections to it are made with.

use std::io;
use std::net::SocketAddr;

use http::Uri;
use rustix::io::Errno;
use rustix::process::test_kill_process;
use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio_rustls::TlsConnector;

use super::plan::{Plan, StopTrigger};
use super::tls;

/// Why a test cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The URL is none that we can ask for.
    #[error("{url}: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// What TLS needs is not there.
    #[error("TLS: {0}")]
    Tls(String),
    /// The process that is to get the signal is not there, or not ours to signal.
    #[error("process {pid}: {why}")]
    Process {
        /// Its number.
        pid: i32,
        /// What the kernel says.
        why: String,
    },
    /// There is nothing to do.
    #[error("{0}")]
    Nothing(&'static str),
}

/// A server to connect to.
#[derive(Debug)]
pub(crate) struct Tested {
    /// What `Host` and `:authority` say.
    pub(crate) authority: String,
    /// The path of requests without an own one.
    pub(crate) path: String,
    host: String,
    port: u16,
    /// None for plain TCP.
    pub(crate) tls: Option<TestedTls>,
}

/// What its TLS sessions need.
pub(crate) struct TestedTls {
    pub(crate) name: ServerName<'static>,
    pub(crate) http1: TlsConnector,
    pub(crate) http2: TlsConnector,
}

impl std::fmt::Debug for TestedTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestedTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tested {
    /// The server of `plan`, which is checked by the way.
    pub(crate) fn of(plan: &Plan) -> Result<Self, PlanError> {
        if plan.kinds.is_empty() || plan.clients == 0 || plan.stops == 0 {
            return Err(PlanError::Nothing("without clients or without stops nothing is tested"));
        }
        if plan.patience.is_zero() {
            return Err(PlanError::Nothing(
                "with a patience of nothing no request can be answered",
            ));
        }
        if matches!(&plan.trigger, StopTrigger::Spawn(command) if command.is_empty()) {
            return Err(PlanError::Nothing("there is no command to start the server with"));
        }
        if let StopTrigger::Signal(pid, _) = plan.trigger {
            test_kill_process(pid).map_err(|e| PlanError::Process {
                pid: pid.as_raw_nonzero().get(),
                why: if e == Errno::SRCH { "there is none".to_owned() } else { e.to_string() },
            })?;
        }
        let wrong = |why: &str| PlanError::Url { url: plan.url.clone(), why: why.to_owned() };
        let uri: Uri =
            plan.url.parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("not http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        if let Some((user, _)) = authority.as_str().rsplit_once('@') {
            // RFC 9110, section 4.2.4: it has no place in a request. Passwords have none in a complaint.
            let url = plan.url.replacen(user, "…", 1);
            let why = "a user and a password in the URL are not sent; leave them out".to_owned();
            return Err(PlanError::Url { url, why });
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone()).map_err(|e| wrong(&e.to_string()))?;
            let connector = |alpn| tls::config(&plan.trust, alpn).map(TlsConnector::from);
            let http1 = connector(b"http/1.1").map_err(PlanError::Tls)?;
            let http2 = connector(b"h2").map_err(PlanError::Tls)?;
            Some(TestedTls { name, http1, http2 })
        } else {
            None
        };
        Ok(Self {
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            host,
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            tls,
        })
    }

    /// The addresses of its name now.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((self.host.as_str(), self.port)).await?.collect())
    }

    /// `path` with an id that no other request has.
    pub(crate) fn path_of(&self, path: Option<&str>, id: u64) -> String {
        let path = path.unwrap_or(&self.path);
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}x-drain-test={id}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fault(plan: &Plan) -> String {
        Tested::of(plan).map_or_else(|e| e.to_string(), |tested| format!("none: {tested:?}"))
    }

    fn plan(url: &str) -> Plan {
        Plan::new(url.to_owned(), StopTrigger::Exec("true".to_owned()))
    }

    /// It went into `Host`, and our own host answered each request with 400.
    #[test]
    fn user_in_the_url_is_refused_and_the_password_is_not_repeated() {
        for url in ["http://u:secret@t/", "https://u:secret@t:8443/x?y"] {
            let fault = fault(&plan(url));
            assert!(fault.contains("://…@t") && fault.contains("leave them out"), "{fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
        let tested = Tested::of(&plan("http://t:81/a?mail=me@t")).unwrap();
        assert_eq!((tested.authority.as_str(), tested.path.as_str()), ("t:81", "/a?mail=me@t"));
    }

    /// It gave eleven timeouts.
    #[test]
    fn patience_of_nothing_is_refused() {
        let fault = fault(&Plan { patience: Duration::ZERO, ..plan("http://t/") });
        assert!(fault.contains("patience"), "{fault}");
    }
}
