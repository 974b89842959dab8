//! Where an answer sends us on to, and whether we go.

use http::StatusCode;
use http::header::LOCATION;
use url::Url;

use crate::error::RegistryError;
use crate::exchange::Told;
use crate::reference::is_loopback;
use crate::wire::host_of;

/// A registry redirects to its store of objects, and that one maybe to the nearest.
pub(crate) const MOST: usize = 5;

/// Whether an answer is a redirect that a GET or a HEAD follows.
pub(crate) fn is_one(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where `Location` leads from the URL that was asked for.
pub(crate) fn target(from: &Url, answer: &Told) -> Result<Url, RegistryError> {
    let host = || host_of(from);
    let Some(location) = answer.field(LOCATION.as_str()) else {
        let why = "it redirects and does not say where to (Location)".to_owned();
        return Err(RegistryError::Protocol { host: host(), why });
    };
    let mut to = from.join(location).map_err(|_| RegistryError::Protocol {
        host: host(),
        why: "it redirects to an address that is none".to_owned(),
    })?;
    to.set_fragment(None);
    allowed(from, &to).map_err(|why| RegistryError::Redirect {
        host: host(),
        to: shown(&to),
        why,
    })?;
    Ok(to)
}

/// Whether a server may name this address. Only a server on this machine may name one that is spoken to without TLS:
/// another one would have us ask services for it that it cannot reach.
pub(crate) fn allowed(from: &Url, to: &Url) -> Result<(), &'static str> {
    if !to.username().is_empty() || to.password().is_some() {
        return Err("a name or a password in an address is not sent");
    }
    match to.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(to) && is_loopback(from) => Ok(()),
        "http" if is_loopback(to) => {
            Err("another machine may not send us to addresses of this one")
        }
        "http" => Err("that is not TLS"),
        _ => Err("that is no address of HTTP"),
    }
}

/// Whether two URLs are of one server: only then do credentials go along.
pub(crate) fn same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// A URL for a sentence: without a query, which may be a signature, and without a name and a password.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), host_of(url), url.path())
}
