//! Who may ask: those who call this machine by a name that no other site can have.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

const REFUSED: &str =
    "not asked for by a name of this machine; open http://localhost or the address itself\n";

/// Whether a request calls us `localhost`, by a loopback address, or by the `address` that we listen at, in its `Host`
/// and where else it may. A number cannot be another site's name: at an address that stands for all of them, every
/// number will do.
///
/// # Errors
/// With a sentence for whoever asked.
pub(super) fn check(
    headers: &HeaderMap,
    uri: &Uri,
    address: SocketAddr,
) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(REFUSED) };
    let host = Authority::try_from(host.as_bytes()).map_err(|_| REFUSED)?;
    let is_ours = is_ours(&host, address) && uri.authority().is_none_or(|it| is_ours(it, address));
    if is_ours { Ok(()) } else { Err(REFUSED) }
}

fn is_ours(authority: &Authority, address: SocketAddr) -> bool {
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|ip| {
        let ip = ip.to_canonical();
        ip.is_loopback() || address.ip().is_unspecified() || ip == address.ip().to_canonical()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn may(host: &str, address: &str) -> bool {
        let headers: HeaderMap =
            [(HOST, HeaderValue::from_str(host).unwrap())].into_iter().collect();
        check(&headers, &Uri::from_static("/"), address.parse().unwrap()).is_ok()
    }

    #[test]
    fn names_of_this_machine_may_ask() {
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.1.2.3", "[::1]:9090"] {
            assert!(may(host, "127.0.0.1:9090"), "{host}");
        }
        assert!(may("10.0.0.7:9090", "10.0.0.7:9090"));
        assert!(may("10.0.0.7:9090", "0.0.0.0:9090"));
        assert!(may("[fd00::7]", "[fd00::7]:9090"));
    }

    #[test]
    fn other_names_may_not_wherever_they_lead() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.8",
            "",
            "2130706433",
            "0x7f.1",
            "a b",
            "[::2]",
        ] {
            assert!(!may(host, "127.0.0.1:9090"), "{host}");
        }
        assert!(!may("evil.example", "0.0.0.0:9090"));
    }

    #[test]
    fn a_request_without_one_name_is_refused() {
        let address = "127.0.0.1:1".parse().unwrap();
        let root = Uri::from_static("/");
        assert!(check(&HeaderMap::new(), &root, address).is_err());
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        check(&headers, &root, address).unwrap();
        let elsewhere = Uri::from_static("http://evil.example/");
        assert!(check(&headers, &elsewhere, address).is_err());
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert!(check(&headers, &root, address).is_err());
    }
}
