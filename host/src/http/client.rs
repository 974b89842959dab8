//! The client of a request: who counts as its sender, for limits, logs and guests
//! (docs/adr/0052-one-rule-for-who-the-client-is.md). The rule itself is in the crate `forwarded/`.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use host_forwarded::{ForwardedFields, Forwarding, TrustedProxies, remove_claims};
use host_net::Peer;
use http::uri::Scheme;
use http::{HeaderMap, Request};

use super::validate::NAMELESS;

/// The client of one request, as it counts for everything that asks who sent it.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestClient {
    address: Option<IpAddr>,
    /// None for a request that no guest sees.
    fields: Option<Arc<ForwardedFields>>,
}

/// Finds the clients of the requests of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientRule {
    peer: Option<IpAddr>,
    is_secure: bool,
    /// None where the peer is not trusted.
    trusted: Option<Arc<TrustedProxies>>,
    /// Those of a request that the peer has sent for itself. Most requests of a connection are for the same host.
    known: OnceLock<Arc<ForwardedFields>>,
}

impl RequestClient {
    /// That of a request which has come this way, before a guest is told of it.
    pub(super) fn of(way: &Forwarding) -> Self {
        Self { address: way.client, fields: None }
    }

    /// Its IP address; one of IPv4 is never written as one of IPv6. None where nobody who is believed knows it: on a
    /// Unix socket, for example.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Tells the next guest of it, whatever the one before has written there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Some(fields) = &self.fields {
            fields.write(headers);
        }
    }
}

impl ClientRule {
    /// For a connection from this peer, where these are believed.
    pub(super) fn new(peer: &Peer, trusted: &Arc<TrustedProxies>) -> Self {
        let address = peer.address.map(|address| address.ip().to_canonical());
        // Whom a proxy far away has got from a Unix socket of its own has come to none of ours.
        let is_elsewhere = address.is_none() && peer.proxy.is_some();
        let trusted = (!is_elsewhere && trusted.has(address)).then(|| trusted.clone());
        let is_secure = peer.tls.is_some() || peer.is_secured_by_proxy;
        Self { peer: address, is_secure, trusted, known: OnceLock::new() }
    }

    /// The way of a request with these headers.
    pub(super) fn way(&self, headers: &HeaderMap) -> Forwarding {
        match &self.trusted {
            Some(trusted) => Forwarding::read(headers, self.peer, trusted),
            None => Forwarding::direct(self.peer),
        }
    }

    /// The scheme that the client of a request has asked by.
    pub(super) fn scheme(&self, way: &Forwarding) -> Scheme {
        let own = if self.is_secure { Scheme::HTTPS } else { Scheme::HTTP };
        way.scheme.clone().unwrap_or(own)
    }

    /// Tells the guest of a request that has come this way who its client is, and takes out what nobody vouches for.
    /// Its URI is absolute.
    pub(super) fn tell<B>(&self, way: &Forwarding, request: &mut Request<B>) -> RequestClient {
        let fields = self.fields(way, request);
        let headers = request.headers_mut();
        if self.trusted.is_none() {
            remove_claims(headers);
        }
        fields.write(headers);
        RequestClient { address: way.client, fields: Some(fields) }
    }

    fn fields<B>(&self, way: &Forwarding, request: &Request<B>) -> Arc<ForwardedFields> {
        let nameless = NAMELESS;
        let named = way.host.as_ref().or_else(|| request.uri().authority()).unwrap_or(&nameless);
        let known = self
            .known
            .get()
            .filter(|known| self.trusted.is_none() && known.host() == named.as_str().as_bytes());
        known.cloned().unwrap_or_else(|| {
            let scheme = self.scheme(way);
            let fields = Arc::new(ForwardedFields::new(way, &scheme, named));
            if self.trusted.is_none() {
                // The first one stays.
                self.known.set(fields.clone()).ok();
            }
            fields
        })
    }
}

#[cfg(test)]
mod tests {
    use host_forwarded::TrustedProxy;

    use super::*;

    fn rule(peer: &str, trusted: &[&str]) -> ClientRule {
        let trusted = trusted.iter().map(|text| text.parse::<TrustedProxy>().unwrap()).collect();
        ClientRule::new(&Peer { address: peer.parse().ok(), ..Peer::default() }, &Arc::new(trusted))
    }

    /// The client of a request to `uri` with these headers, and the headers as its guest sees them.
    fn told(rule: &ClientRule, uri: &str, sent: &[(&str, &str)]) -> (RequestClient, HeaderMap) {
        let mut request = Request::builder().uri(uri);
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let way = rule.way(request.headers());
        let client = rule.tell(&way, &mut request);
        (client, request.into_parts().0.headers)
    }

    #[test]
    fn an_address_has_one_form() {
        let client = |peer: &str| told(&rule(peer, &[]), "http://a/", &[]).0.address();
        assert_eq!(client("[::ffff:192.0.2.1]:80"), "192.0.2.1".parse().ok());
        assert_eq!(client("[2001:db8::1]:80"), "2001:db8::1".parse().ok());
        assert_eq!(client("unix"), None);
    }

    #[test]
    fn what_a_stranger_says_is_replaced_and_what_a_proxy_says_is_kept() {
        let sent = [
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "root"),
        ];
        let (client, seen) = told(&rule("10.0.0.1:9", &[]), "http://a/", &sent);
        assert_eq!(client.address(), "10.0.0.1".parse().ok());
        assert_eq!((&seen["x-forwarded-for"], seen.len()), (&"10.0.0.1".parse().unwrap(), 4));
        assert_eq!(seen["x-forwarded-proto"], "http");
        let (client, seen) = told(&rule("10.0.0.1:9", &["10.0.0.0/8"]), "http://a/", &sent);
        assert_eq!(client.address(), "203.0.113.7".parse().ok());
        assert_eq!(seen["x-forwarded-for"], "203.0.113.7, 10.0.0.1");
        assert_eq!(
            (&seen["x-forwarded-proto"], &seen["x-forwarded-user"]),
            (&"https".parse().unwrap(), &"root".parse().unwrap())
        );
    }

    /// `unix` stands for whoever may connect to a Unix socket of this host.
    #[test]
    fn a_client_that_a_proxy_has_from_its_own_unix_socket_is_not_believed() {
        let unix = Arc::new(["unix".parse::<TrustedProxy>().unwrap()].into_iter().collect());
        for (proxy, is_believed) in [(None, true), (Some("10.0.0.1:9"), false)] {
            let proxy = proxy.map(|text| text.parse().unwrap());
            let rule = ClientRule::new(&Peer { proxy, ..Peer::default() }, &unix);
            let (client, _) = told(&rule, "http://a/", &[("x-forwarded-for", "203.0.113.7")]);
            assert_eq!(client.address().is_some(), is_believed);
        }
    }

    /// The fields that a connection knows are those of its first host.
    #[test]
    fn each_request_has_the_host_that_it_asks_for() {
        let direct = rule("192.0.2.1:9", &[]);
        for host in ["a", "b:8080", "a"] {
            let (_, seen) = told(&direct, &format!("http://{host}/"), &[]);
            assert_eq!(seen["x-forwarded-host"], host);
        }
        let proxied = rule("10.0.0.1:9", &["10.0.0.0/8"]);
        for client in ["203.0.113.7", "203.0.113.8", "unknown"] {
            let (_, seen) = told(&proxied, "http://a/", &[("x-forwarded-for", client)]);
            assert_eq!(seen["x-forwarded-for"], format!("{client}, 10.0.0.1"));
        }
    }
}
