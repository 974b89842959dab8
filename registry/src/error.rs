//! Why nothing came from a registry, or went into it. No error has a secret in it: addresses are told without their
//! queries, and heads not at all.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use crate::credentials::CredentialsError;
use crate::digest::ContentDigest;

/// Why a registry, or a server of files, has not done what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no connection.
    #[error("no connection to {host}: {why}")]
    Unreachable {
        /// The server.
        host: String,
        /// What the system says.
        why: String,
    },
    /// The certificate of the server is not believed, or it speaks no TLS.
    #[error(
        "no TLS with {host}: {why}; if its certificate is of an authority of your own, name that one"
    )]
    Tls {
        /// The server.
        host: String,
        /// What the library says.
        why: String,
    },
    /// Nothing came for too long.
    #[error("{host} has been silent for {after:?}")]
    Silent {
        /// The server.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// All of it took too long.
    #[error("{host} was not done within {after:?}")]
    TooSlow {
        /// The server.
        host: String,
        /// How long all of it may take.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {why}")]
    Broken {
        /// The server.
        host: String,
        /// What the library says.
        why: String,
    },
    /// There is more than may be taken.
    #[error("{what} has more than {limit} bytes, which is the most that is taken")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The most that is taken.
        limit: u64,
    },
    /// There are fewer or more bytes than were said.
    #[error("{what} has {found} bytes where its manifest says {said}; it was altered or broke off")]
    OtherSize {
        /// What has another size.
        what: String,
        /// What the manifest says.
        said: u64,
        /// What came.
        found: u64,
    },
    /// What came is not what was asked for.
    #[error(
        "{what} has the digest {found}, and {asked} was asked for; it was altered, or the digest is another's"
    )]
    OtherDigest {
        /// What came.
        what: String,
        /// The digest that was asked for.
        asked: ContentDigest,
        /// The digest of what came.
        found: ContentDigest,
    },
    /// The server wants to know who asks, and does not let in whoever does.
    #[error("{host} lets nobody in {}: {said}; {}", whose(.known), advice(.known))]
    Denied {
        /// The server.
        host: String,
        /// Credentials for it were given.
        known: bool,
        /// What it says.
        said: String,
    },
    /// It is not there.
    #[error("{what} is not there: {said}")]
    Missing {
        /// What was asked for.
        what: String,
        /// What the server says.
        said: String,
    },
    /// There were too many requests.
    #[error("{host} takes no more requests for now{}", later(.again))]
    TooMany {
        /// The server.
        host: String,
        /// When to ask again, if the server has said so.
        again: Option<Duration>,
    },
    /// The server has failed, or says something that is not expected.
    #[error("{host} says {status}: {said}")]
    Refused {
        /// The server.
        host: String,
        /// The status of its answer.
        status: StatusCode,
        /// What it says.
        said: String,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects to {to}, and {why}")]
    Redirect {
        /// The server.
        host: String,
        /// Where to, without a query.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// An answer that no registry gives.
    #[error("{host} answers unlike a registry: {why}")]
    Protocol {
        /// The server.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The image is none of a component, or none of signatures.
    #[error("{image} cannot be used: {why}")]
    UnusableImage {
        /// The image.
        image: String,
        /// What it is.
        why: String,
    },
    /// The credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl RegistryError {
    /// Whether asking again later may help, without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::TooSlow { .. }
            | Self::Broken { .. }
            | Self::TooMany { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// How long the server asks to be left alone.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        match self {
            Self::TooMany { again, .. } => *again,
            _ => None,
        }
    }
}

fn whose(known: &bool) -> &'static str {
    if *known { "with these credentials" } else { "without credentials" }
}

fn advice(known: &bool) -> &'static str {
    if *known { "look whether they are right and may do this" } else { "give some for it" }
}

fn later(again: &Option<Duration>) -> String {
    again.map_or_else(String::new, |time| format!("; it asks to be left alone for {time:?}"))
}
