//! Header fields.

use std::net::IpAddr;

use crate::{ErrorCode, Fields};

/// Sets a field. It fails where the head would become larger than the host takes, which a client can bring about: so
/// that is an error and no panic.
pub fn set(headers: &Fields, name: &str, value: &[u8]) -> Result<(), ErrorCode> {
    headers.set(name, &[value.into()]).map_err(|_| ErrorCode::HttpRequestHeaderSectionSize(None))
}

/// The value of a field that is there once, and is text.
pub fn only(headers: &Fields, name: &str) -> Option<String> {
    let mut values = headers.get(name);
    let value = values.pop().filter(|_| values.is_empty())?;
    String::from_utf8(value).ok()
}

/// A name in small letters, with `-` for `_`: one name for whoever reads headers as CGI does.
pub fn dashed(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Takes out the fields whose [dashed] name is ours, which a client must not write.
pub fn remove(headers: &Fields, is_ours: impl Fn(&str) -> bool) {
    for (name, _) in headers.copy_all() {
        if is_ours(&dashed(&name)) {
            let _ = headers.delete(&name);
        }
    }
}

/// For `on-start`: whether a plugin may write a header `name` that the configuration has under `key`.
pub fn check_name(key: &str, name: &str, of_request: bool) -> Result<(), String> {
    if let Some(why) = refused_name(name, of_request) {
        return Err(format!("config.{key}: {name} {why}"));
    }
    // The host knows what a name is, and what no guest may set.
    let tried = Fields::new().append(name, b"x");
    tried.map_err(|error| format!("config.{key}: {name:?} is no name of a header: {error:?}"))
}

/// The address of the client as the host tells it: the first entry of `x-forwarded-for`, which nobody else can write
/// (docs/guests.md). None where the host does not know it.
pub fn client(headers: &Fields) -> Option<IpAddr> {
    let list = only(headers, "x-forwarded-for")?;
    let address: IpAddr = list.split(',').next()?.trim().parse().ok()?;
    Some(address.to_canonical())
}

/// Why a plugin may not write a field of this name, if it may not: those that `[route.headers]` refuses (docs/http.md).
fn refused_name(name: &str, of_request: bool) -> Option<&'static str> {
    let name = dashed(name);
    match name.as_str() {
        "content-length" | "transfer-encoding" | "trailer" => {
            return Some("says where a message ends, which only its sender knows");
        }
        "host" => return Some("says which route a request takes, and has been read by then"),
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "upgrade"
        | "proxy-authenticate"
        | "proxy-authorization" => {
            return Some("is of one connection, not of a message");
        }
        _ => {}
    }
    let claims = ["x-forwarded-", "x-client-cert-"];
    match name.as_str() {
        "expect" if of_request => Some("is of one connection, not of a message"),
        "forwarded" | "x-real-ip" | "client-cert" | "client-cert-chain" | "host-hops"
        | "traceparent" | "tracestate"
            if of_request =>
        {
            Some("is written by the host")
        }
        name if of_request && claims.iter().any(|claim| name.starts_with(claim)) => {
            Some("is written by the host")
        }
        "date" if !of_request => Some("is written by the host"),
        _ => None,
    }
}
