//! What can go wrong with a request of a guest.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::CertificateError;

/// An error of another crate, of any type.
pub(crate) type Other = Box<dyn StdError + Send + Sync>;

/// Why a request has no response, or a response no end.
///
/// Its text is for the log. It names scheme, host and port at most: never a path, a query, a header
/// or a body, where secrets are.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No grant covers it. Nothing was looked up or connected.
    #[error("no grant for {origin}")]
    Denied {
        /// Scheme, host and port.
        origin: String,
    },
    /// The name is granted, but not one of the addresses that it resolves to.
    #[error("{host}:{port} is granted, but resolves to {addresses}, which the grants do not reach")]
    AddressDenied {
        /// The host as it was asked for.
        host: String,
        /// The port.
        port: u16,
        /// What it resolved to, separated by commas.
        addresses: String,
    },
    /// The URI is not one that can be sent to.
    #[error("the URI of the request is refused: {0}")]
    Uri(&'static str),
    /// CONNECT would make a tunnel of the connection (RFC 9110 §9.3.6).
    #[error("the method CONNECT is refused")]
    Method,
    /// A header that decides where a message ends is wrong.
    #[error("a header of the request is refused: {0}")]
    Header(&'static str),
    /// As many requests as allowed are under way already.
    #[error("{limit} outgoing requests are under way already (limits.outgoing-requests)")]
    TooMany {
        /// How many may be under way at once.
        limit: usize,
    },
    /// The name does not resolve.
    #[error("{host} does not resolve: {why}")]
    Dns {
        /// The host as it was asked for.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// No process listens there.
    #[error("{host}:{port} refuses connections")]
    ConnectRefused {
        /// The host as it was asked for.
        host: String,
        /// The port.
        port: u16,
    },
    /// No connection for another reason.
    #[error("no connection to {host}:{port}: {why}")]
    Connect {
        /// The host as it was asked for.
        host: String,
        /// The port.
        port: u16,
        /// What the kernel says.
        why: String,
    },
    /// No connection in time: the look-up, the connect, the TLS handshake, all together.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The certificate of the server is not trusted, or not for this host.
    #[error("the certificate of {host}:{port} is refused: {why}")]
    Certificate {
        /// The host as it was asked for.
        host: String,
        /// The port.
        port: u16,
        /// What is wrong with it.
        why: String,
    },
    /// TLS failed otherwise.
    #[error("no TLS session with {host}: {why}")]
    Tls {
        /// The host as it was asked for; the system's roots, if they are the reason.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// The head of the response did not come in time.
    #[error("no head of a response in time")]
    HeadTimeout,
    /// The head of the response is larger than 64 KiB or has more than 100 headers.
    #[error("the head of the response is too large")]
    HeadTooLarge,
    /// The body of the response stood still for too long.
    #[error("the body of the response stood still for too long")]
    BodyTimeout,
    /// The body of the response is larger than allowed.
    #[error(
        "the body of the response is larger than {limit} bytes (limits.outgoing-response-body)"
    )]
    ResponseTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The body of the response comes in a transfer coding other than chunks, and no request asks for one.
    #[error("the response has a transfer coding that is not chunked alone")]
    TransferCoding,
    /// The connection ended before the message did. The server may have processed the request.
    #[error("the connection ended in the middle: {0}")]
    Incomplete(String),
    /// The server does not speak HTTP as it should.
    #[error("the server breaks the protocol: {0}")]
    Protocol(String),
    /// The body of the request is not as long as its `Content-Length` says.
    #[error("content-length says {said} bytes, and the body of the request has {bytes}")]
    BodyLength {
        /// Bytes that the head says.
        said: u64,
        /// Bytes there are; if they are more, so many that it was clear.
        bytes: u64,
    },
    /// The body of the request failed; the error is the one that the body gave.
    #[error("the body of the request failed: {0}")]
    RequestBody(Arc<dyn StdError + Send + Sync>),
}

impl SendError {
    /// What the pool, hyper and the connector say, in one word of ours.
    pub(crate) fn classify(error: &(dyn StdError + 'static)) -> Self {
        if let Some(ours) = find::<Self>(error) {
            return ours.clone();
        }
        let text = chain(error);
        let Some(hyper) = find::<hyper::Error>(error) else { return Self::Incomplete(text) };
        if hyper.is_parse_too_large() {
            Self::HeadTooLarge
        } else if hyper.is_parse() {
            Self::Protocol(text)
        } else {
            Self::Incomplete(text)
        }
    }

    /// What went wrong in TLS, once the connection was there.
    pub(crate) fn classify_tls(error: &(dyn StdError + 'static), host: &str, port: u16) -> Self {
        match find::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                Self::Certificate { host: host.to_owned(), port, why: in_words(why) }
            }
            Some(other) => Self::Tls { host: format!("{host}:{port}"), why: other.to_string() },
            None => Self::Tls { host: format!("{host}:{port}"), why: chain(error) },
        }
    }
}

/// What is wrong with a certificate. rustls has a sentence for what it knows more of, and the name of
/// a variant for the rest.
fn in_words(why: &CertificateError) -> String {
    let words = match why {
        CertificateError::Expired => "it has expired",
        CertificateError::NotValidYet => "it is not valid yet",
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnknownIssuer => {
            "its issuer is unknown (is a root of the system missing?)"
        }
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::NotValidForName => "it is for another name",
        CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForNameContext { presented, .. } => {
            return format!("it is for another name: {}", presented.join(", "));
        }
        CertificateError::InvalidPurpose => "it is not one for servers",
        CertificateError::BadEncoding => "it is malformed",
        other => return other.to_string(),
    };
    words.to_owned()
}

/// The first error of a type in a chain. `io::Error` hides the one inside it from `source`.
pub(crate) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        at = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// A chain of errors in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text.push_str(": ");
        text.push_str(&error.to_string());
        at = error.source();
    }
    text
}
