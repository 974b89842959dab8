//! The URL of a Redis server. This check accepts only URLs that the client accepts. A problem names the line
//! and never shows the URL, because a password may stand in it.

use percent_encoding::percent_decode_str;

use crate::outgoing::UriHost;

const ADVICE: &str = "write redis://HOST:PORT/DATABASE, redis://USER:PASSWORD@HOST:PORT/DATABASE \
                      or unix:///PATH?db=DATABASE";

/// Checks a URL. The error has the problem and what to do, with `; ` between them.
pub(super) fn check(url: &str) -> Result<(), String> {
    if ["rediss://", "valkeys://"].iter().any(|scheme| url.starts_with(scheme)) {
        return wrong("there is no TLS to Redis; use a local TLS proxy, or a Unix socket");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("there is something in it that no URL has; write it as %XX");
    }
    let socket = ["redis+unix://", "unix://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    match (url.strip_prefix("redis://"), socket) {
        (Some(rest), _) => tcp(rest),
        (None, Some(rest)) => unix(rest),
        (None, None) => advised("this is no URL of a Redis server"),
    }
}

fn tcp(rest: &str) -> Result<(), String> {
    if rest.contains(['?', '#', '\\']) {
        return wrong("a URL of Redis has no `?`, `#` or `\\`; write them as %XX in a password");
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !is_text(user) {
        return wrong("user and password cannot be read; write what is no letter or digit as %XX");
    }
    // A colon within the brackets of an IPv6 address does not separate the port.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (place, None),
    };
    match UriHost::parse(host) {
        Some(UriHost::Address(ip)) if ip.is_unspecified() => {
            return advised("nobody can be reached at this address");
        }
        Some(_) => {}
        None => return advised("there is no host in it that could be reached"),
    }
    if let Some(port) = port
        && !is_number(port).is_some_and(|port| (1..=65535).contains(&port))
    {
        return advised("the port is a number from 1 to 65535");
    }
    if !database.is_empty() && is_number(database).is_none() {
        return advised("the database is a number");
    }
    Ok(())
}

fn unix(rest: &str) -> Result<(), String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path == "/" || path.contains('#') {
        return advised("there is no whole path in it");
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("db", number)) if is_number(number).is_none() => {
                return advised("the database is a number");
            }
            Some(("user" | "pass", text)) if !is_text(text) => {
                return wrong("user and password cannot be read; write what is no letter as %XX");
            }
            Some(("db" | "user" | "pass", _)) => {}
            _ => return wrong("there is a query in it that means nothing; db, user and pass do"),
        }
    }
    Ok(())
}

fn wrong(why: &str) -> Result<(), String> {
    Err(why.to_owned())
}

fn advised(why: &str) -> Result<(), String> {
    Err(format!("{why}; {ADVICE}"))
}

fn is_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether it is text once each `%XX` is decoded.
fn is_text(written: &str) -> bool {
    percent_decode_str(written).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn urls_that_the_client_accepts_pass() {
        for url in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379/",
            "redis://cache.internal:6379/15",
            "redis://[::1]:6379/0",
            "redis://:secret@cache",
            "redis://user:p%40ss%3F@cache:6379/1",
            "unix:///run/redis.sock",
            "redis+unix:///run/redis.sock?db=2&user=u&pass=%23",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    /// Each of these passed once, and then the start failed.
    #[test]
    fn urls_that_the_client_refuses_are_wrong() {
        for (url, says) in [
            ("redis://127.0.0.1:99999", "the port is a number"),
            ("redis://127.0.0.1:0", "the port is a number"),
            ("redis://127.0.0.1:+1", "the port is a number"),
            ("redis://127.0.0.1:", "the port is a number"),
            ("redis://127.0.0.1/abc", "the database is a number"),
            ("redis://127.0.0.1/-1", "the database is a number"),
            ("redis://127.0.0.1/1/2", "the database is a number"),
            ("redis://u:p@:99999", "no host"),
            ("redis://", "no host"),
            ("redis://::1", "no host"),
            ("redis://0.0.0.0", "nobody can be reached"),
            ("redis://[::]:1", "nobody can be reached"),
            ("redis://u:p#x@h", "%XX"),
            ("redis://u:p%FF@h", "%XX"),
            ("redis://h/0?protocol=resp9", "%XX"),
            ("rediss://h", "no TLS"),
            ("valkey://h", "no URL of a Redis server"),
            ("unix://run/redis.sock", "no whole path"),
            ("unix:///", "no whole path"),
            ("unix:///a?db=x", "the database is a number"),
            ("unix:///a?pass=%FF", "cannot be read"),
            ("unix:///a?protocol=4", "means nothing"),
            ("redis://ü", "%XX"),
        ] {
            let why = check(url).expect_err(url);
            assert!(why.contains(says) && why.contains("; "), "{url}: {why}");
        }
    }
}
